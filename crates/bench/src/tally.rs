//! Counts what became of numbered frames: each once, in order?
//!
//! Owned by the thread that receives. One step per frame that comes in order; no allocation after it was made.

/// Words of 64 numbers that are remembered behind the highest one: far more than all rings of a switch hold.
const WORDS: usize = 4096;

/// What arrived of one sender at one receiver.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Tally {
    /// Different frames that arrived.
    pub(crate) received: u64,
    /// Frames that had arrived before, or are too old to tell.
    pub(crate) duplicates: u64,
    /// Frames that arrived after one with a higher number on the same receiveq: flows on different ones may overtake.
    pub(crate) reordered: u64,
    /// Bytes of all frames, as in a ring.
    pub(crate) bytes: u64,
    /// One more than the highest number that arrived.
    end: u64,
    /// The same for each receiveq, when there are several.
    ends: Box<[u64]>,
    seen: Box<[u64; WORDS]>,
}

impl Tally {
    /// Nothing arrived of frames that begin with number `first`, at a receiver with so many receiveqs.
    pub(crate) fn new(first: u64, receiveqs: usize) -> Self {
        Self {
            received: 0,
            duplicates: 0,
            reordered: 0,
            bytes: 0,
            end: first,
            ends: if receiveqs > 1 { vec![first; receiveqs].into() } else { Box::default() },
            seen: Box::new([0; WORDS]),
        }
    }

    /// One more than the highest number that arrived.
    #[inline]
    pub(crate) fn end(&self) -> u64 {
        self.end
    }

    /// Enters a frame that came on this receiveq.
    #[inline]
    pub(crate) fn record(&mut self, sequence: u64, bytes: u64, receiveq: usize) {
        self.bytes += bytes;
        let mut end = self.end;
        if let Some(own) = self.ends.get_mut(receiveq) {
            end = *own;
            *own = end.max(sequence + 1);
        }
        if sequence >= self.end {
            self.forget_up_to(sequence);
            self.mark(sequence);
            self.received += 1;
            self.end = sequence + 1;
        } else if self.end - sequence > (WORDS as u64 - 1) * 64 || !self.mark(sequence) {
            self.duplicates += 1;
        } else {
            self.received += 1;
            self.reordered += u64::from(sequence < end);
        }
    }

    /// Clears the words that numbers up to `sequence` use for the first time.
    #[inline]
    fn forget_up_to(&mut self, sequence: u64) {
        // The word of `end` is in use unless `end` is its first number.
        let first = self.end.div_ceil(64);
        let last = sequence / 64;
        if first > last {
            return;
        }
        if last - first >= WORDS as u64 {
            self.seen.fill(0);
            return;
        }
        for word in first..=last {
            if let Some(bits) = self.seen.get_mut(place(word)) {
                *bits = 0;
            }
        }
    }

    /// Whether it was not marked before.
    #[inline]
    fn mark(&mut self, sequence: u64) -> bool {
        let bit = 1 << (sequence % 64);
        let Some(bits) = self.seen.get_mut(place(sequence / 64)) else { return false };
        let is_new = *bits & bit == 0;
        *bits |= bit;
        is_new
    }
}

/// Where the bits of a word are kept.
#[inline]
fn place(word: u64) -> usize {
    usize::try_from(word % WORDS as u64).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use proptest::prelude::*;

    use super::*;

    fn tally(numbers: &[u64]) -> Tally {
        let mut tally = Tally::new(0, 1);
        numbers.iter().for_each(|number| tally.record(*number, 60, 0));
        tally
    }

    #[test]
    fn loss_duplicates_and_order_are_told_apart() {
        let tally = tally(&[0, 1, 1, 5, 3, 3, 900]);
        assert_eq!((tally.received, tally.duplicates, tally.reordered), (5, 2, 1));
        assert_eq!(tally.bytes, 7 * 60);
    }

    #[test]
    fn receiveqs_may_overtake_each_other_but_each_has_its_order() {
        let mut tally = Tally::new(0, 2);
        for (sequence, receiveq) in [(5, 0), (2, 1), (3, 1), (7, 0), (1, 1), (6, 0), (3, 0)] {
            tally.record(sequence, 60, receiveq);
        }
        assert_eq!((tally.received, tally.reordered, tally.duplicates), (6, 2, 1));
    }

    #[test]
    fn a_number_too_old_to_tell_is_no_new_frame() {
        let far = 64 * WORDS as u64;
        assert_eq!(tally(&[0, far, 1]).duplicates, 1);
        assert_eq!(tally(&[0, far, far - 64 * (WORDS as u64 - 2)]).received, 3);
    }

    #[test]
    fn a_jump_over_all_that_is_remembered_forgets_all_of_it() {
        let far = 64 * WORDS as u64 * 3;
        let tally = tally(&[0, 1, far, far + 1, far]);
        assert_eq!((tally.received, tally.duplicates), (4, 1));
    }

    #[test]
    fn numbers_need_not_begin_with_zero() {
        let mut tally = Tally::new(1000, 1);
        (1000..3000).for_each(|number| tally.record(number, 60, 0));
        assert_eq!((tally.received, tally.duplicates, tally.reordered), (2000, 0, 0));
    }

    proptest! {
        #[test]
        fn it_agrees_with_a_set_of_all_numbers(
            numbers in proptest::collection::vec(0_u64..5000, 0..400),
        ) {
            let tally = tally(&numbers);
            let different: HashSet<_> = numbers.iter().collect();
            prop_assert_eq!(tally.received, different.len() as u64);
            prop_assert_eq!(tally.duplicates, (numbers.len() - different.len()) as u64);
        }
    }
}
