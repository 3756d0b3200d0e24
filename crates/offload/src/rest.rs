//! The bytes of a frame beyond its private head: they may lie in guest memory, so nothing here can look
//! at one of them. Called by the worker that holds the frame.

use std::ops::Range;

use crate::sum::{RunningSum, sum_words};

/// The bytes of a frame that follow its head.
///
/// A guest may rewrite them at any time: a sum is true for the moment it was taken.
pub trait Rest {
    /// Number of bytes.
    fn len(&self) -> u32;

    /// Whether the head is the whole frame.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Ones' complement sum of the 16-bit words, read in wire order (the first byte is the high one), of
    /// the `len` bytes from `skip` on, as if they began at the first byte of a word.
    ///
    /// Folded to 16 bits, not complemented; an odd last byte counts as a high byte; 0 when the range is
    /// empty. [`RunningSum`](crate::RunningSum) makes it from pieces. Callers here never pass a range
    /// that ends beyond `self.len()`; what lies beyond counts as 0.
    fn sum(&self, skip: u32, len: u32) -> u16;
}

/// A frame that is private as a whole.
impl Rest for &[u8] {
    fn len(&self) -> u32 {
        u32::try_from((**self).len()).unwrap_or(u32::MAX)
    }

    fn sum(&self, skip: u32, len: u32) -> u16 {
        let after = self.get(skip as usize..).unwrap_or_default();
        sum_words(after.get(..len as usize).unwrap_or(after))
    }
}

/// Length of the frame made of `head` and `rest`.
pub(crate) fn frame_bytes(head: &[u8], rest: &impl Rest) -> u32 {
    u32::try_from(head.len()).unwrap_or(u32::MAX).saturating_add(rest.len())
}

/// Sum of the bytes in `range` of the frame made of `head` and `rest`.
pub(crate) fn sum_frame(head: &[u8], rest: &impl Rest, range: Range<u32>) -> u16 {
    let head_bytes = u32::try_from(head.len()).unwrap_or(u32::MAX);
    let from_head = range.start.min(head_bytes) as usize..range.end.min(head_bytes) as usize;
    let mut sum = RunningSum::new();
    sum.push(head.get(from_head).unwrap_or_default());
    let skip = range.start.saturating_sub(head_bytes);
    let len = range.end.saturating_sub(head_bytes).saturating_sub(skip);
    if len > 0 {
        sum.push_summed(rest.sum(skip, len), len as usize);
    }
    sum.value()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_has_the_same_sum_wherever_the_head_ends() {
        let frame: Vec<u8> = (0..=90).map(|i: u8| i.wrapping_mul(37) ^ 0x5a).collect();
        for cut in 0..=frame.len() {
            let (head, rest) = frame.split_at(cut);
            for start in 0..frame.len() {
                for end in start..=frame.len() {
                    let range = u32::try_from(start).unwrap()..u32::try_from(end).unwrap();
                    assert_eq!(sum_frame(head, &rest, range), sum_words(&frame[start..end]));
                }
            }
        }
    }

    #[test]
    fn bytes_beyond_the_end_count_as_zero() {
        let rest: &[u8] = &[1, 2, 3];
        assert_eq!(rest.sum(2, 9), 0x0300);
        assert_eq!(rest.sum(4, 9), 0);
        assert_eq!(rest.sum(0, 0), 0);
    }
}
