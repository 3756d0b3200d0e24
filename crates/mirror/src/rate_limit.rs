//! How much of a session may leave in a second.

use std::num::{NonZeroU32, NonZeroU64};
use std::sync::atomic::{AtomicU64, Ordering};

use helio_types::MAX_FRAME_BYTES;

const NANOS: u64 = 1_000_000_000;

/// Stands for a time that is not known yet.
const NEVER: u64 = u64::MAX;

/// How often a worker tries again when another one was faster.
const MOST_TRIES: usize = 16;

/// A token bucket in bytes or in frames, which all workers share. In any stretch of time no more passes than the burst and what
/// the rate gives for that time, but for a part of one unit. Only copies that belong together and are more than the burst exceed
/// it: they pass a full bucket, and what is missing is earned before anything else passes. The time is told, never read.
///
/// A worker tells the time of its turn: one that is behind another by so much sees a bucket that is smaller by what the rate gives for
/// that time, so with a burst of one frame a session may stay somewhat below its rate.
///
/// One word is all that changes, so nobody waits: who finds that another worker was faster tries again, and after
/// [`MOST_TRIES`] lets the copy go.
#[derive(Debug)]
pub struct RateLimit {
    /// Units that have passed, and those that the rate gave while the bucket had no room for them.
    passed: AtomicU64,
    /// When it was asked first: then the bucket was full.
    began_ns: AtomicU64,
    burst: u64,
    per_second: NonZeroU64,
    unit: Unit,
}

/// Copies that belong together: the segments of one frame, or one alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Copies {
    /// How many.
    pub frames: u64,
    /// Bytes in them.
    pub bytes: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Unit {
    Bytes,
    Frames,
}

impl RateLimit {
    /// Bytes of copies. A burst shorter than the longest frame is taken for that, because a frame longer than the burst
    /// would never pass.
    #[must_use]
    pub fn bytes_per_second(rate: NonZeroU64, burst_bytes: u32) -> Self {
        Self::full(rate, burst_bytes.max(MAX_FRAME_BYTES), Unit::Bytes)
    }

    /// Copies, whatever their lengths.
    #[must_use]
    pub fn frames_per_second(rate: NonZeroU64, burst_frames: NonZeroU32) -> Self {
        Self::full(rate, burst_frames.get(), Unit::Frames)
    }

    fn full(per_second: NonZeroU64, burst: u32, unit: Unit) -> Self {
        let (passed, began_ns) = (AtomicU64::new(0), AtomicU64::new(NEVER));
        Self { passed, began_ns, burst: u64::from(burst), per_second, unit }
    }

    /// Whether `copies` may pass at `now_ns`, nanoseconds of any clock. What may is paid for; what may not costs nothing. A
    /// clock that goes back, or a worker whose time is older than that of another one, gives nothing until it has caught up.
    #[inline]
    #[must_use]
    pub fn passes(&self, copies: Copies, now_ns: u64) -> bool {
        // More than a word can count is no limit.
        let Some(given) = self.given(now_ns) else { return true };
        let units = match self.unit {
            Unit::Bytes => copies.bytes,
            Unit::Frames => copies.frames,
        };
        let most = given.saturating_add(self.burst);
        let mut seen = self.passed.load(Ordering::Relaxed);
        for _ in 0..MOST_TRIES {
            let passed = seen.max(given);
            // Below zero is what is owed.
            let left = most.checked_sub(passed);
            if left.is_none_or(|left| left < units.min(self.burst)) {
                return false;
            }
            // Relaxed: the word stands for itself.
            match self.passed.compare_exchange_weak(
                seen,
                passed.saturating_add(units),
                Ordering::Relaxed,
                Ordering::Relaxed,
            ) {
                Ok(_) => return true,
                Err(other) => seen = other,
            }
        }
        false
    }

    /// Units that the rate gave since it began. `None` when a word cannot count them.
    #[inline]
    fn given(&self, now_ns: u64) -> Option<u64> {
        let mut began_ns = self.began_ns.load(Ordering::Relaxed);
        if began_ns == NEVER {
            let first =
                self.began_ns.compare_exchange(NEVER, now_ns, Ordering::Relaxed, Ordering::Relaxed);
            began_ns = first.map_or_else(|other| other, |_| now_ns);
        }
        let elapsed_ns = now_ns.saturating_sub(began_ns);
        let (seconds, rest_ns) = (elapsed_ns / NANOS, elapsed_ns % NANOS);
        let of_rest = match rest_ns.checked_mul(self.per_second.get()) {
            Some(product) => product / NANOS,
            None => {
                let product = u128::from(rest_ns) * u128::from(self.per_second.get());
                u64::try_from(product / u128::from(NANOS)).ok()?
            }
        };
        seconds.checked_mul(self.per_second.get())?.checked_add(of_rest)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const SECOND_NS: u64 = 1_000_000_000;

    /// One copy.
    fn one(bytes: u32) -> Copies {
        Copies { frames: 1, bytes: u64::from(bytes) }
    }

    fn rate(per_second: u64) -> NonZeroU64 {
        NonZeroU64::new(per_second).unwrap()
    }

    fn frames(per_second: u64, burst: u32) -> RateLimit {
        RateLimit::frames_per_second(rate(per_second), NonZeroU32::new(burst).unwrap())
    }

    #[test]
    fn a_burst_passes_at_once_and_then_one_frame_for_each_part_of_a_second() {
        let limit = frames(1000, 3);
        let at = |limit: &RateLimit, now_ns| limit.passes(one(9000), now_ns);
        assert_eq!([0; 4].map(|now| at(&limit, now)), [true, true, true, false]);
        assert!(!at(&limit, 999_999));
        assert!(at(&limit, 1_000_000));
        assert!(!at(&limit, 1_999_999));
        assert!(at(&limit, 2_000_000));
    }

    #[test]
    fn bytes_are_paid_for_by_length_and_a_refused_frame_is_free() {
        let limit = RateLimit::bytes_per_second(rate(1_000_000), 100_000);
        assert!(limit.passes(one(60_000), 0));
        assert!(!limit.passes(one(40_001), 0));
        assert!(limit.passes(one(40_000), 0));
        assert!(!limit.passes(one(1500), 1_499_999));
        assert!(limit.passes(one(1500), 1_500_000));
    }

    #[test]
    fn the_longest_frame_passes_whatever_the_burst() {
        let limit = RateLimit::bytes_per_second(rate(1), 0);
        assert!(limit.passes(one(MAX_FRAME_BYTES), 5));
        assert!(!limit.passes(one(1), 5));
    }

    #[test]
    fn a_long_silence_fills_the_bucket_and_no_more() {
        let limit = RateLimit::frames_per_second(NonZeroU64::MAX, NonZeroU32::MAX);
        assert!(limit.passes(one(1), u64::MAX));
        let limit = frames(1_000_000, 2);
        assert_eq!([u64::MAX; 4].map(|now| limit.passes(one(1), now)), [true, true, false, false]);
    }

    #[test]
    fn a_clock_that_goes_back_gives_nothing_twice() {
        let limit = frames(1, 1);
        assert!(limit.passes(one(1), 10 * SECOND_NS));
        assert!(!limit.passes(one(1), 5 * SECOND_NS));
        assert!(!limit.passes(one(1), 10 * SECOND_NS + SECOND_NS - 1));
        assert!(limit.passes(one(1), 11 * SECOND_NS));
    }

    #[test]
    fn copies_that_belong_together_are_paid_for_together() {
        let together = |frames, bytes| Copies { frames, bytes };
        let limit = frames(1000, 5);
        assert!(limit.passes(together(4, 9000), 0));
        assert!(!limit.passes(together(2, 100), 0));
        assert!(limit.passes(together(1, 100), 0));
        let limit = RateLimit::bytes_per_second(rate(1_000_000), 100_000);
        assert!(limit.passes(together(70, 99_999), 0));
        assert!(!limit.passes(together(2, 2), 0));
        assert!(limit.passes(together(1, 1), 0));
    }

    #[test]
    fn copies_that_are_more_than_the_burst_pass_a_full_bucket_and_are_paid_for_afterwards() {
        let limit = frames(1000, 5);
        let many = Copies { frames: 8, bytes: 1 };
        assert!(limit.passes(one(1), 0));
        assert!(!limit.passes(many, 999_999));
        assert!(limit.passes(many, 1_000_000));
        // Three are owed, and one is wanted.
        assert!(!limit.passes(one(1), 4_999_999));
        assert!(limit.passes(one(1), 5_000_000));
        assert!(!limit.passes(many, 9_999_999));
        assert!(limit.passes(many, 10_000_000));
        let limit = frames(1, 1);
        assert!(limit.passes(Copies { frames: u64::MAX, bytes: u64::MAX }, 0));
        assert!(!limit.passes(one(1), 1_000_000 * SECOND_NS));
    }

    #[test]
    fn workers_that_ask_at_once_get_together_what_one_would_get() {
        let limit = frames(1000, 50);
        let ask = |now_ns| {
            let asking = || (0..1000).filter(|_| limit.passes(one(60), now_ns)).count();
            std::thread::scope(|scope| {
                let workers: Vec<_> = (0..4).map(|_| scope.spawn(asking)).collect();
                workers.into_iter().map(|worker| worker.join().unwrap()).sum::<usize>()
            })
        };
        assert_eq!([0, 20_000_000, 10 * SECOND_NS].map(ask), [50, 20, 50]);
    }

    proptest! {
        #[test]
        fn in_every_stretch_no_more_passes_than_burst_and_rate_and_no_less_when_all_is_wanted(
            per_second in 1..5000_u64,
            burst in 1..50_u32,
            gaps in prop::collection::vec(0..20_000_000_u64, 1..200),
        ) {
            let limit = frames(per_second, burst);
            let (mut now, mut passed) = (0, Vec::new());
            for gap in gaps {
                now += gap;
                // As many as want to, so that the bucket is always empty afterwards.
                while limit.passes(one(60), now) {
                    passed.push(now);
                }
            }
            for (index, from) in passed.iter().enumerate() {
                for (count, to) in (1_u64..).zip(&passed[index..]) {
                    prop_assert!(count <= u64::from(burst) + (to - from) * per_second / SECOND_NS + 1);
                }
            }
            let given = limit.given(now).unwrap();
            prop_assert_eq!(limit.passed.into_inner(), given + u64::from(burst));
        }
    }
}
