//! What is missing in a numbered stream, what came twice, and when its sender began anew. One per
//! [`RemoteSession`](crate::RemoteSession), kept by the worker that receives it.

/// What one number says about the stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Arrival {
    /// The first copy of a stream.
    First,
    /// The one after the highest so far.
    InOrder,
    /// Higher than the next: so many are missing before it.
    Gap(u32),
    /// One that was missing.
    Late,
    /// It was here before.
    Duplicate,
    /// Far from all so far: a stray, or the first of a stream that begins anew.
    Stray,
    /// The one after a stray: the sender has begun anew.
    Restart,
}

/// Numbers of copies since the stream is watched. None ever goes down.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SequenceCounts {
    /// Copies that arrived.
    pub received: u64,
    /// Copies that were missing when a later one arrived.
    pub missing: u64,
    /// Of those, copies that arrived after all. The rest is lost.
    pub late: u64,
    /// Copies that arrived again.
    pub duplicates: u64,
    /// Copies with a number far from all others; also the first after a restart.
    pub strays: u64,
    /// How often the sender began anew.
    pub restarts: u64,
}

impl SequenceCounts {
    /// Copies that are missing still.
    #[must_use]
    pub const fn lost(&self) -> u64 {
        self.missing.saturating_sub(self.late)
    }
}

/// How far back a number is remembered.
const WINDOW: u32 = 64;

/// The longest gap that is believed, at 10 Gbit/s of shortest frames more than four seconds of them. What jumps further
/// has begun anew.
const LONGEST_GAP: u32 = 1 << 26;

/// The state of one stream. Numbers wrap at 2^32 and are compared as RFC 1982 does; a jump is believed when the number
/// after it follows, as RTP does (RFC 3550, appendix A.1).
///
/// A sender that begins anew within the last 64 numbers looks like one that repeats itself, for as many copies.
#[derive(Clone, Copy, Debug, Default)]
pub struct SequenceTracker {
    /// One more than the highest number; `None` before the first.
    next: Option<u32>,
    /// Bit n: whether the number n + 1 below `next` has arrived.
    seen: u64,
    /// How many of these bits lie within the stream.
    known: u32,
    /// What would follow a stray.
    suspect: Option<u32>,
    counts: SequenceCounts,
}

impl SequenceTracker {
    /// Before the first copy.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The numbers so far.
    #[must_use]
    pub const fn counts(&self) -> SequenceCounts {
        self.counts
    }

    /// Takes the number of a copy that arrived.
    pub fn observe(&mut self, sequence: u32) -> Arrival {
        self.counts.received += 1;
        let Some(next) = self.next else {
            self.begin(sequence, 1);
            return Arrival::First;
        };
        let ahead = sequence.wrapping_sub(next);
        let behind = next.wrapping_sub(sequence);
        if ahead <= LONGEST_GAP {
            self.suspect = None;
            self.advance(sequence, ahead)
        } else if behind <= WINDOW {
            self.suspect = None;
            self.look_back(behind)
        } else if self.suspect == Some(sequence) {
            self.counts.restarts += 1;
            // The stray was its first.
            self.begin(sequence, 2);
            Arrival::Restart
        } else {
            self.counts.strays += 1;
            self.suspect = Some(sequence.wrapping_add(1));
            Arrival::Stray
        }
    }

    /// A stream of which the last `count` numbers, up to `sequence`, have arrived.
    fn begin(&mut self, sequence: u32, count: u32) {
        self.next = Some(sequence.wrapping_add(1));
        self.seen = (1 << count) - 1;
        self.known = count;
        self.suspect = None;
    }

    fn advance(&mut self, sequence: u32, missing: u32) -> Arrival {
        self.next = Some(sequence.wrapping_add(1));
        let step = missing + 1;
        self.seen = self.seen.checked_shl(step).unwrap_or(0) | 1;
        self.known = self.known.saturating_add(step).min(WINDOW);
        self.counts.missing += u64::from(missing);
        if missing == 0 { Arrival::InOrder } else { Arrival::Gap(missing) }
    }

    /// `behind` is 1 for the highest number so far, and at most [`WINDOW`].
    fn look_back(&mut self, behind: u32) -> Arrival {
        // A stream that is overtaken before we saw its first copy began earlier than we thought.
        let earlier = behind.saturating_sub(self.known);
        self.known += earlier;
        self.counts.missing += u64::from(earlier);
        let bit = 1 << (behind - 1);
        if self.seen & bit != 0 {
            self.counts.duplicates += 1;
            return Arrival::Duplicate;
        }
        self.seen |= bit;
        self.counts.late += 1;
        Arrival::Late
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    fn arrivals(numbers: impl IntoIterator<Item = u32>) -> (Vec<Arrival>, SequenceCounts) {
        let mut tracker = SequenceTracker::new();
        let arrivals = numbers.into_iter().map(|number| tracker.observe(number)).collect();
        (arrivals, tracker.counts())
    }

    #[test]
    fn a_stream_in_order_misses_nothing_also_where_its_numbers_wrap() {
        let (arrivals, counts) = arrivals((0..200).map(|n| (u32::MAX - 99).wrapping_add(n)));
        assert_eq!(arrivals[0], Arrival::First);
        assert!(arrivals[1..].iter().all(|arrival| *arrival == Arrival::InOrder));
        assert_eq!(counts, SequenceCounts { received: 200, ..Default::default() });
    }

    #[test]
    fn a_gap_is_missing_until_its_copies_arrive() {
        let (arrivals, counts) = arrivals([10, 13, 11, 12, 14]);
        use Arrival::{First, Gap, InOrder, Late};
        assert_eq!(arrivals, [First, Gap(2), Late, Late, InOrder]);
        assert_eq!((counts.missing, counts.late, counts.lost()), (2, 2, 0));
    }

    #[test]
    fn a_copy_that_comes_twice_is_a_duplicate_each_time() {
        let (arrivals, counts) = arrivals([1, 1, 2, 4, 3, 3, 1]);
        use Arrival::{Duplicate, First, Gap, InOrder, Late};
        assert_eq!(arrivals, [First, Duplicate, InOrder, Gap(1), Late, Duplicate, Duplicate]);
        assert_eq!((counts.duplicates, counts.lost()), (3, 0));
    }

    #[test]
    fn copies_from_before_the_first_make_the_stream_begin_earlier() {
        let (arrivals, counts) = arrivals([100, 98, 99, 96]);
        use Arrival::{First, Late};
        assert_eq!(arrivals, [First, Late, Late, Late]);
        assert_eq!((counts.missing, counts.late, counts.lost()), (4, 3, 1));
    }

    #[test]
    fn a_number_is_remembered_for_64_copies() {
        let behind = |number| *arrivals((1000..1100).chain([number])).0.last().unwrap();
        assert_eq!(behind(1036), Arrival::Duplicate);
        assert_eq!(behind(1035), Arrival::Stray);
    }

    #[test]
    fn the_longest_gap_is_believed_and_one_more_is_not() {
        let (near, _) = arrivals([0, LONGEST_GAP + 1]);
        assert_eq!(near[1], Arrival::Gap(LONGEST_GAP));
        let (far, counts) = arrivals([0, LONGEST_GAP + 2]);
        assert_eq!((far[1], counts.missing), (Arrival::Stray, 0));
    }

    #[test]
    fn a_sender_that_begins_anew_is_believed_by_its_second_copy() {
        let (arrivals, counts) = arrivals((5000..5010).chain([0, 1, 2, 0]));
        use Arrival::{Duplicate, InOrder, Restart, Stray};
        assert_eq!(arrivals[10..], [Stray, Restart, InOrder, Duplicate]);
        assert_eq!((counts.restarts, counts.strays, counts.missing), (1, 1, 0));
    }

    #[test]
    fn a_stray_does_not_disturb_the_stream() {
        let (arrivals, counts) = arrivals([5000, 7, 5001, 8, 5002]);
        use Arrival::{First, InOrder, Stray};
        assert_eq!(arrivals, [First, Stray, InOrder, Stray, InOrder]);
        assert_eq!((counts.strays, counts.restarts, counts.missing), (2, 0, 0));
    }

    proptest! {
        #[test]
        fn what_is_lost_is_what_of_the_stream_never_arrived(
            start in any::<u32>(),
            delays in proptest::collection::vec((0_u32..30, 0_u8..10), 1..300),
        ) {
            // Each copy is delayed by less than the window, and some are dropped or doubled.
            let mut wire: Vec<(u32, u32)> = Vec::new();
            for (number, (delay, fate)) in (0_u32..).zip(&delays) {
                let copies = match fate { 0 => 0, 1 => 2, _ => 1 };
                wire.extend((0..copies).map(|copy| (number + delay + copy, number)));
            }
            wire.sort_by_key(|(time, _)| *time);
            let numbers: Vec<u32> = wire.iter().map(|(_, number)| *number).collect();
            let (_, counts) = arrivals(numbers.iter().map(|number| start.wrapping_add(*number)));
            let distinct: BTreeSet<_> = numbers.iter().collect();
            let span = match (distinct.first(), distinct.last()) {
                (Some(first), Some(last)) => u64::from(*last - *first) + 1,
                _ => 0,
            };
            let arrived = distinct.len() as u64;
            prop_assert_eq!(counts.received, numbers.len() as u64);
            prop_assert_eq!(counts.duplicates, counts.received - arrived);
            prop_assert_eq!(counts.lost(), span - arrived);
            prop_assert_eq!((counts.strays, counts.restarts), (0, 0));
        }

        #[test]
        fn no_numbers_lose_count(numbers in proptest::collection::vec(any::<u32>(), 0..200)) {
            let (_, counts) = arrivals(numbers.iter().copied());
            prop_assert_eq!(counts.received, numbers.len() as u64);
            prop_assert!(counts.late <= counts.missing);
        }
    }
}
