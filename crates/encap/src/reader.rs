//! The first bytes of a frame, read from front to back within the limits that its headers announce.

use crate::Refusal;

/// Where reading has come to in a frame of which only the head is here.
#[derive(Clone, Debug)]
pub(crate) struct Reader<'a> {
    head: &'a [u8],
    at: usize,
    /// Where the frame, or the datagram in it, ends; mostly beyond the head.
    end: usize,
}

impl<'a> Reader<'a> {
    /// From the first byte of a frame of `frame_bytes` that begins with `head`.
    pub(crate) fn new(head: &'a [u8], frame_bytes: u32) -> Self {
        let end = usize::try_from(frame_bytes).unwrap_or(usize::MAX).max(head.len());
        Self { head, at: 0, end }
    }

    /// The next `N` bytes.
    pub(crate) fn take<const N: usize>(&mut self) -> Result<[u8; N], Refusal> {
        let bytes = self.peek()?;
        self.at += N;
        Ok(bytes)
    }

    /// The next `N` bytes, which stay the next.
    pub(crate) fn peek<const N: usize>(&self) -> Result<[u8; N], Refusal> {
        self.ensure(N)?;
        let after = self.head.get(self.at..).ok_or(Refusal::HeaderLong)?;
        after.first_chunk().copied().ok_or(Refusal::HeaderLong)
    }

    /// The next `count` bytes.
    pub(crate) fn slice(&mut self, count: usize) -> Result<&'a [u8], Refusal> {
        self.ensure(count)?;
        let bytes = self.head.get(self.at..self.at + count).ok_or(Refusal::HeaderLong)?;
        self.at += count;
        Ok(bytes)
    }

    /// Steps over `count` bytes, which need not be in the head.
    pub(crate) fn skip(&mut self, count: usize) -> Result<(), Refusal> {
        self.ensure(count)?;
        self.at += count;
        Ok(())
    }

    fn ensure(&self, count: usize) -> Result<(), Refusal> {
        if count <= self.left() { Ok(()) } else { Err(Refusal::Short) }
    }

    /// Bytes up to the end.
    pub(crate) fn left(&self) -> usize {
        self.end.saturating_sub(self.at)
    }

    /// Where reading has come to.
    pub(crate) fn at(&self) -> usize {
        self.at
    }

    /// Moves the end to `count` bytes from here. `None` when it would move back.
    pub(crate) fn limit(&mut self, count: usize) -> Option<()> {
        if count > self.left() {
            return None;
        }
        self.end = self.at + count;
        Some(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_in_the_frame_and_what_is_not_in_the_head_are_told_apart() {
        let mut reader = Reader::new(&[1, 2, 3, 4], 6);
        assert_eq!(reader.take(), Ok([1, 2, 3]));
        assert_eq!(reader.peek(), Ok([4]));
        assert_eq!(reader.take::<2>(), Err(Refusal::HeaderLong));
        assert_eq!(reader.take::<3>(), Err(Refusal::HeaderLong));
        assert_eq!(reader.take::<4>(), Err(Refusal::Short));
        assert_eq!(
            (reader.left(), reader.skip(4), reader.skip(3)),
            (3, Err(Refusal::Short), Ok(()))
        );
        assert_eq!(reader.left(), 0);
    }

    #[test]
    fn an_end_moves_forward_only() {
        let mut reader = Reader::new(&[0; 10], 10);
        assert_eq!((reader.skip(2), reader.limit(9), reader.limit(8)), (Ok(()), None, Some(())));
        assert_eq!((reader.limit(3), reader.left()), (Some(()), 3));
        assert_eq!((reader.slice(4).is_err(), reader.slice(3)), (true, Ok(&[0; 3][..])));
    }

    #[test]
    fn a_frame_is_never_shorter_than_its_head() {
        assert_eq!(Reader::new(&[0; 10], 3).left(), 10);
    }
}
