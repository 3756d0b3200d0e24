//! The header snapshot: the private copy of the first bytes of a frame.

use std::fmt;

/// Most bytes of a frame that are copied when it is taken. Enough for Ethernet, a VLAN tag, IPv6 and TCP with all its
/// options.
pub const HEAD_BYTES: usize = 128;

/// The first bytes of a frame, copied once. Parsing, policy and every delivery use this copy, so what was judged is
/// what is delivered.
#[repr(C)]
pub struct Head {
    bytes: [u8; HEAD_BYTES],
    len: u8,
}

/// Bytes of a head that lie in its first line.
const LINE_BYTES: usize = 64;

impl Clone for Head {
    fn clone(&self) -> Self {
        Self { bytes: self.bytes, len: self.len }
    }

    /// Copies one line where that is all.
    #[inline]
    fn clone_from(&mut self, source: &Self) {
        let lines = (self.bytes.first_chunk_mut(), source.bytes.first_chunk::<LINE_BYTES>());
        match lines {
            (Some(to), Some(from)) if usize::from(source.len) <= LINE_BYTES => *to = *from,
            _ => self.bytes = source.bytes,
        }
        self.len = source.len;
    }
}

impl Head {
    /// A head without bytes.
    pub const EMPTY: Self = Self { bytes: [0; HEAD_BYTES], len: 0 };

    /// A copy of the first bytes of `bytes`.
    #[must_use]
    pub fn copy_of(bytes: &[u8]) -> Self {
        let mut head = Self::EMPTY;
        for (to, from) in head.bytes.iter_mut().zip(bytes) {
            *to = *from;
        }
        head.set_len(bytes.len());
        head
    }

    /// The bytes there are.
    #[inline]
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        // The least of both says what the compiler cannot know, and no check is left.
        self.bytes.get(..usize::from(self.len).min(HEAD_BYTES)).unwrap_or_default()
    }

    /// The bytes there are, to be edited.
    #[inline]
    pub fn bytes_mut(&mut self) -> &mut [u8] {
        self.bytes.get_mut(..usize::from(self.len)).unwrap_or_default()
    }

    /// Room for all [`HEAD_BYTES`], to be filled before [`Head::set_len`].
    #[inline]
    pub fn room(&mut self) -> &mut [u8; HEAD_BYTES] {
        &mut self.bytes
    }

    /// Says how many bytes of the room are filled; at most [`HEAD_BYTES`] count.
    #[inline]
    pub fn set_len(&mut self, len: usize) {
        self.len = u8::try_from(len.min(HEAD_BYTES)).unwrap_or(0);
    }
}

impl fmt::Debug for Head {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Head({:02x?})", self.bytes())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_head_holds_the_first_128_bytes_and_no_more() {
        let bytes: Vec<u8> = (0..200).collect();
        for len in [0, 1, 14, 127, 128, 129, 200] {
            assert_eq!(
                Head::copy_of(&bytes[..len]).bytes(),
                &bytes[..len.min(HEAD_BYTES)],
                "{len}"
            );
        }
        assert_eq!(Head::EMPTY.bytes(), []);
    }

    #[test]
    fn a_head_written_over_another_one_has_its_bytes_and_no_others() {
        let bytes: Vec<u8> = (0..200).collect();
        for len in [0, 1, 63, 64, 65, 127, 128] {
            let mut head = Head::copy_of(&[200; HEAD_BYTES]);
            head.clone_from(&Head::copy_of(&bytes[..len]));
            assert_eq!(head.bytes(), &bytes[..len]);
        }
    }

    #[test]
    fn only_what_was_filled_counts() {
        let mut head = Head::EMPTY;
        head.room().fill(7);
        assert_eq!(head.bytes(), []);
        head.set_len(60);
        assert_eq!(head.bytes(), [7; 60]);
        head.set_len(500);
        assert_eq!(head.bytes(), [7; HEAD_BYTES]);
    }
}
