//! The bytes that are put in front of a copy. Owned by the worker that sends it, and used again for the next copy.

use std::fmt;

use helio_offload::MAX_HEADER_BYTES;

use crate::underlay::{ETHERNET_BYTES, FRAGMENT_BYTES, IPV6_BYTES, TAG_BYTES};

/// Most bytes that are the same for a whole session: Ethernet with a tag, and IPv6.
pub(crate) const PREFIX_BYTES: usize = ETHERNET_BYTES + TAG_BYTES + IPV6_BYTES;

/// Most bytes in front of a copy: tagged Ethernet, IPv6 with a fragment header, GRE with a sequence number, and ERSPAN
/// type III with its sub-header.
pub const MAX_OUTER_BYTES: usize = PREFIX_BYTES + FRAGMENT_BYTES + 28;

/// Room behind the outer headers for first bytes of the copy that are written anew: the header of a segment and a tag.
pub const INNER_ROOM_BYTES: usize = MAX_HEADER_BYTES + TAG_BYTES;

const ROOM: usize = MAX_OUTER_BYTES + INNER_ROOM_BYTES;

/// Fresh header bytes: the outer headers of one copy, or of one fragment of it, and what was added behind them.
#[derive(Clone)]
pub struct OuterHeader {
    bytes: [u8; ROOM],
    len: usize,
}

impl Default for OuterHeader {
    fn default() -> Self {
        Self::new()
    }
}

impl OuterHeader {
    /// Without bytes.
    #[must_use]
    pub const fn new() -> Self {
        Self { bytes: [0; ROOM], len: 0 }
    }

    /// The bytes there are.
    #[inline]
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        self.bytes.get(..self.len).unwrap_or_default()
    }

    /// Adds first bytes of the copy. `None`, with nothing added, when they do not fit: up to [`INNER_ROOM_BYTES`] always
    /// fit behind the outer headers.
    #[must_use]
    pub fn append(&mut self, bytes: &[u8]) -> Option<()> {
        let end = self.len.checked_add(bytes.len())?;
        self.bytes.get_mut(self.len..end)?.copy_from_slice(bytes);
        self.len = end;
        Some(())
    }

    /// Begins anew with the first `len` bytes of `prefix`.
    #[inline]
    pub(crate) fn begin(&mut self, prefix: &[u8; PREFIX_BYTES], len: usize) {
        if let Some(start) = self.bytes.first_chunk_mut() {
            *start = *prefix;
        }
        self.len = len.min(PREFIX_BYTES);
    }

    /// Writes over bytes that are there.
    #[inline]
    pub(crate) fn put<const N: usize>(&mut self, at: usize, bytes: [u8; N]) {
        let place = self.bytes.get_mut(at..).and_then(<[u8]>::first_chunk_mut);
        debug_assert!(place.is_some() && at + N <= self.len, "an outer header has no byte {at}");
        if let Some(place) = place {
            *place = bytes;
        }
    }

    /// Adds bytes of an outer header, for which there is always room.
    #[inline]
    pub(crate) fn push<const N: usize>(&mut self, bytes: [u8; N]) {
        let at = self.len;
        self.len = (at + N).min(ROOM);
        self.put(at, bytes);
    }
}

impl fmt::Debug for OuterHeader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "OuterHeader({:02x?})", self.bytes())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_room_ends_where_it_says() {
        let mut header = OuterHeader::new();
        header.begin(&[7; PREFIX_BYTES], PREFIX_BYTES);
        header.push([8; MAX_OUTER_BYTES - PREFIX_BYTES]);
        assert_eq!(header.bytes().len(), MAX_OUTER_BYTES);
        assert_eq!(header.append(&[9; INNER_ROOM_BYTES + 1]), None);
        assert_eq!(header.bytes().len(), MAX_OUTER_BYTES);
        assert_eq!(header.append(&[9; INNER_ROOM_BYTES]), Some(()));
        assert_eq!(header.bytes().len(), MAX_OUTER_BYTES + INNER_ROOM_BYTES);
        assert_eq!((header.append(&[]), header.append(&[1])), (Some(()), None));
    }

    #[test]
    fn a_new_beginning_forgets_what_was_there() {
        let mut header = OuterHeader::new();
        header.begin(&[7; PREFIX_BYTES], 34);
        assert_eq!(header.append(b"abc"), Some(()));
        header.begin(&[5; PREFIX_BYTES], 34);
        header.put(32, [1, 2]);
        assert_eq!(header.bytes(), [&[5; 32][..], &[1, 2]].concat());
    }
}
