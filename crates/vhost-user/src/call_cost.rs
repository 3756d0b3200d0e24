//! What it costs a worker to tell the guest of used buffers, and when that is too much. Used by the worker.
//!
//! A call descriptor is an eventfd of the front-end, which can have thousands of epolls watch it: each signal walks them all, 0.2 ms
//! for 5000 of them, while the other ports of the worker wait. Who watches cannot be asked, so now and then the worker looks at its
//! CPU time before and after. That leaves out the time in which others ran on its core, as a guest does that was just told.
//!
//! What always holds: the worker signals a guest nowhere but where this looks, at the end of a turn.

use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

/// Times that a guest was told between two that are timed, unless it cost too much lately.
const UNTIMED: u32 = 255;
/// What it may cost to tell one queue pair. A signal that interrupts a guest takes a few µs, and far more where this host is
/// itself emulated.
const FAIR_NS: u64 = 100_000;
/// A port with more pairs may cost no more than one with so many: it is what the other ports of the worker wait in a turn.
const MOST_PAIRS: usize = 16;
/// One time counts for no more than so many fair ones: an interrupt of the host may have come in between.
const MOST_FAIR: u64 = 8;
/// What may be spent beyond the fair, as so many fair ones.
const CREDIT_FAIR: u64 = 64;

/// Whether it costs too much.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Cost {
    Fair,
    TooHigh,
}

/// What it cost lately.
#[derive(Debug, Default)]
pub(crate) struct CallCost {
    untimed: u32,
    /// What was spent for each pair beyond the fair, less what was not spent of it.
    excess_ns: u64,
}

impl CallCost {
    /// Whether this time is to be timed.
    #[inline]
    pub(crate) fn is_due(&mut self) -> bool {
        if self.untimed < UNTIMED {
            self.untimed += 1;
            return false;
        }
        self.untimed = 0;
        true
    }

    /// The next time is to be timed: the guest is told in another way than before.
    pub(crate) fn time_next(&mut self) {
        self.untimed = UNTIMED;
    }

    /// To tell the guest of `pairs` queue pairs took so long. Also the next time is timed while it was too long lately. When it
    /// was too much half of the credit is left, so that who only starts again is found out sooner.
    pub(crate) fn note(&mut self, took: Duration, pairs: usize) -> Cost {
        let pairs = u128::try_from(pairs.clamp(1, MOST_PAIRS)).unwrap_or(1);
        let took_ns = u64::try_from(took.as_nanos() / pairs).unwrap_or(u64::MAX);
        let counted_ns = took_ns.min(MOST_FAIR * FAIR_NS);
        self.excess_ns = (self.excess_ns + counted_ns).saturating_sub(FAIR_NS);
        if self.excess_ns > CREDIT_FAIR * FAIR_NS {
            self.excess_ns = CREDIT_FAIR / 2 * FAIR_NS;
            self.time_next();
            return Cost::TooHigh;
        }
        if self.excess_ns > 0 {
            self.time_next();
        }
        Cost::Fair
    }
}

/// CPU time of the calling thread.
pub(crate) fn cpu_time() -> Duration {
    // It cannot be negative.
    Duration::try_from(clock_gettime(ClockId::ThreadCPUTime)).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    const FAIR: Duration = Duration::from_nanos(FAIR_NS);

    /// How often it may cost so much before it is too much; `None`: a thousand times at least.
    fn times(cost: &mut CallCost, took: Duration, pairs: usize) -> Option<usize> {
        (1..=1000).find(|_| {
            cost.is_due();
            cost.note(took, pairs) == Cost::TooHigh
        })
    }

    #[test]
    fn what_is_fair_is_never_too_much_four_times_that_is_and_sixteen_pairs_are_the_most_that_count()
    {
        for (pairs, fair) in
            [(0, FAIR), (1, FAIR), (15, 15 * FAIR), (16, 16 * FAIR), (128, 16 * FAIR)]
        {
            assert_eq!(times(&mut CallCost::default(), fair, pairs), None);
            assert_eq!(times(&mut CallCost::default(), 4 * fair, pairs), Some(22));
        }
    }

    #[test]
    fn who_goes_on_after_it_was_too_much_is_timed_at_once_and_found_out_in_half_the_time() {
        let mut cost = CallCost::default();
        assert_eq!(times(&mut cost, 4 * FAIR, 1), Some(22));
        for _ in 0..3 {
            assert!(cost.is_due());
            assert_eq!(times(&mut cost, 4 * FAIR, 1), Some(11));
        }
    }

    #[test]
    fn a_guest_that_is_told_in_another_way_is_timed_at_once() {
        let mut cost = CallCost::default();
        assert!(!cost.is_due());
        cost.time_next();
        assert_eq!((cost.is_due(), cost.is_due()), (true, false));
    }

    #[test]
    fn a_moment_that_was_lost_to_the_host_is_forgotten() {
        let mut cost = CallCost::default();
        for _ in 0..100 {
            for _ in 0..5 {
                assert_eq!(cost.note(Duration::from_secs(1), 1), Cost::Fair);
            }
            assert_eq!(times(&mut cost, Duration::ZERO, 1), None);
        }
    }

    #[test]
    fn one_time_in_many_is_timed_and_each_while_it_was_too_long_lately() {
        let mut cost = CallCost::default();
        let due = |cost: &mut CallCost| (1..=UNTIMED + 1).find(|_| cost.is_due());
        assert_eq!(due(&mut cost), Some(UNTIMED + 1));
        cost.note(FAIR, 1);
        assert_eq!(due(&mut cost), Some(UNTIMED + 1));
        cost.note(3 * FAIR, 1);
        assert_eq!(due(&mut cost), Some(1));
        cost.note(Duration::ZERO, 1);
        assert_eq!(due(&mut cost), Some(1));
        cost.note(Duration::ZERO, 1);
        assert_eq!(due(&mut cost), Some(UNTIMED + 1));
    }
}
