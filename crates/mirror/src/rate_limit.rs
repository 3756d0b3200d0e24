//! How much of a session may leave in a second.

use std::num::{NonZeroU32, NonZeroU64};

use helio_types::MAX_FRAME_BYTES;

const NANOS: i64 = 1_000_000_000;

/// A token bucket in bytes or in frames. In any stretch of time no more passes than the burst and what the rate gives
/// for that time, to the unit; nothing is lost to rounding. Only copies that belong together and are more than the burst exceed
/// it: they pass a full bucket, and what is missing is earned before anything else passes. The time is told, never read. Each
/// worker has its own for each session, with its share of the rate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RateLimit {
    /// Units times 10^9, so that a nanosecond adds exactly the rate. Below zero is what is owed.
    tokens: i64,
    burst: i64,
    per_second: NonZeroU64,
    /// When `tokens` was right.
    then_ns: u64,
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
    pub fn bytes_per_second(rate: NonZeroU64, burst_bytes: u32, now_ns: u64) -> Self {
        Self::full(rate, burst_bytes.max(MAX_FRAME_BYTES), now_ns, Unit::Bytes)
    }

    /// Copies, whatever their lengths.
    #[must_use]
    pub fn frames_per_second(rate: NonZeroU64, burst_frames: NonZeroU32, now_ns: u64) -> Self {
        Self::full(rate, burst_frames.get(), now_ns, Unit::Frames)
    }

    fn full(per_second: NonZeroU64, burst: u32, now_ns: u64, unit: Unit) -> Self {
        let burst = i64::from(burst) * NANOS;
        Self { tokens: burst, burst, per_second, then_ns: now_ns, unit }
    }

    /// Whether `copies` may pass at `now_ns`, nanoseconds of any clock. What may is paid for; what may not costs nothing. A
    /// clock that goes back gives nothing until it has caught up.
    #[inline]
    #[must_use]
    pub fn passes(&mut self, copies: Copies, now_ns: u64) -> bool {
        let elapsed_ns = now_ns.saturating_sub(self.then_ns);
        self.then_ns = self.then_ns.max(now_ns);
        // What does not fit into a word is far more than the burst.
        let earned = elapsed_ns.saturating_mul(self.per_second.get());
        let earned = i64::try_from(earned).unwrap_or(i64::MAX);
        self.tokens = self.tokens.saturating_add(earned).min(self.burst);
        let units = match self.unit {
            Unit::Bytes => copies.bytes,
            Unit::Frames => copies.frames,
        };
        let price = i64::try_from(units).unwrap_or(i64::MAX).saturating_mul(NANOS);
        let passes = self.tokens >= price.min(self.burst);
        if passes {
            self.tokens = self.tokens.saturating_sub(price);
        }
        passes
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
        RateLimit::frames_per_second(rate(per_second), NonZeroU32::new(burst).unwrap(), 0)
    }

    #[test]
    fn a_burst_passes_at_once_and_then_one_frame_for_each_part_of_a_second() {
        let mut limit = frames(1000, 3);
        let at = |limit: &mut RateLimit, now_ns| limit.passes(one(9000), now_ns);
        assert_eq!([0; 4].map(|now| at(&mut limit, now)), [true, true, true, false]);
        assert!(!at(&mut limit, 999_999));
        assert!(at(&mut limit, 1_000_000));
        assert!(!at(&mut limit, 1_999_999));
        assert!(at(&mut limit, 2_000_000));
    }

    #[test]
    fn bytes_are_paid_for_by_length_and_a_refused_frame_is_free() {
        let mut limit = RateLimit::bytes_per_second(rate(1_000_000), 100_000, 0);
        assert!(limit.passes(one(60_000), 0));
        assert!(!limit.passes(one(40_001), 0));
        assert!(limit.passes(one(40_000), 0));
        assert!(!limit.passes(one(1500), 1_499_999));
        assert!(limit.passes(one(1500), 1_500_000));
    }

    #[test]
    fn the_longest_frame_passes_whatever_the_burst() {
        let mut limit = RateLimit::bytes_per_second(rate(1), 0, 5);
        assert!(limit.passes(one(MAX_FRAME_BYTES), 5));
        assert!(!limit.passes(one(1), 5));
    }

    #[test]
    fn a_long_silence_fills_the_bucket_and_no_more() {
        let mut limit = RateLimit::frames_per_second(NonZeroU64::MAX, NonZeroU32::MAX, 0);
        assert!(limit.passes(one(1), u64::MAX));
        let mut limit = frames(1_000_000, 2);
        assert_eq!([u64::MAX; 4].map(|now| limit.passes(one(1), now)), [true, true, false, false]);
    }

    #[test]
    fn a_clock_that_goes_back_gives_nothing_twice() {
        let mut limit = frames(1, 1);
        assert!(limit.passes(one(1), 10 * SECOND_NS));
        assert!(!limit.passes(one(1), 5 * SECOND_NS));
        assert!(!limit.passes(one(1), 10 * SECOND_NS + SECOND_NS - 1));
        assert!(limit.passes(one(1), 11 * SECOND_NS));
    }

    #[test]
    fn copies_that_belong_together_are_paid_for_together() {
        let together = |frames, bytes| Copies { frames, bytes };
        let mut limit = frames(1000, 5);
        assert!(limit.passes(together(4, 9000), 0));
        assert!(!limit.passes(together(2, 100), 0));
        assert!(limit.passes(together(1, 100), 0));
        let mut limit = RateLimit::bytes_per_second(rate(1_000_000), 100_000, 0);
        assert!(limit.passes(together(70, 99_999), 0));
        assert!(!limit.passes(together(2, 2), 0));
        assert!(limit.passes(together(1, 1), 0));
    }

    #[test]
    fn copies_that_are_more_than_the_burst_pass_a_full_bucket_and_are_paid_for_afterwards() {
        let mut limit = frames(1000, 5);
        let many = Copies { frames: 8, bytes: 1 };
        assert!(limit.passes(one(1), 0));
        assert!(!limit.passes(many, 999_999));
        assert!(limit.passes(many, 1_000_000));
        // Three are owed, and one is wanted.
        assert!(!limit.passes(one(1), 4_999_999));
        assert!(limit.passes(one(1), 5_000_000));
        assert!(!limit.passes(many, 9_999_999));
        assert!(limit.passes(many, 10_000_000));
        let mut limit = frames(1, 1);
        assert!(limit.passes(Copies { frames: u64::MAX, bytes: u64::MAX }, 0));
        assert!(!limit.passes(one(1), 1_000_000 * SECOND_NS));
    }

    proptest! {
        #[test]
        fn in_every_stretch_no_more_passes_than_burst_and_rate_and_no_less_when_all_is_wanted(
            per_second in 1..5000_u64,
            burst in 1..50_u32,
            gaps in prop::collection::vec(0..20_000_000_u64, 1..200),
        ) {
            let mut limit = frames(per_second, burst);
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
                    prop_assert!(count * SECOND_NS <= u64::from(burst) * SECOND_NS + (to - from) * per_second);
                }
            }
            prop_assert!(limit.tokens < NANOS);
        }
    }
}
