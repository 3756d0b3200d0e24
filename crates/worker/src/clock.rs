//! What time it is, for what depends on it: rate limits, stamps, neighbours.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Instant, SystemTime, UNIX_EPOCH};

/// A clock in nanoseconds since 1970 that never goes back.
#[derive(Clone, Debug)]
pub enum Clock {
    /// The host's: it begins at the time of day, and goes on evenly whatever is done to that afterwards.
    Host {
        /// When it began.
        began: Instant,
        /// The time of day then, in nanoseconds since 1970.
        at_ns: u64,
    },
    /// One that somebody sets.
    Set(Arc<AtomicU64>),
}

impl Clock {
    /// The host's clock, beginning now.
    #[must_use]
    pub fn host() -> Self {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Self::Host { began: Instant::now(), at_ns: u64::try_from(since.as_nanos()).unwrap_or(0) }
    }

    /// The time.
    #[must_use]
    pub fn now_ns(&self) -> u64 {
        match self {
            Self::Host { began, at_ns } => {
                at_ns.saturating_add(u64::try_from(began.elapsed().as_nanos()).unwrap_or(u64::MAX))
            }
            Self::Set(now) => now.load(Ordering::Relaxed),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hosts_clock_begins_at_the_time_of_day_and_goes_on() {
        let clock = Clock::host();
        let (first, second) = (clock.now_ns(), clock.now_ns());
        assert!(second >= first);
        // 2020 to 2100.
        assert!((1_577_000_000_000_000_000..4_102_000_000_000_000_000).contains(&first));
    }

    #[test]
    fn a_clock_that_is_set_says_what_it_was_set_to() {
        let now = Arc::new(AtomicU64::new(5));
        let clock = Clock::Set(Arc::clone(&now));
        now.store(7, Ordering::Relaxed);
        assert_eq!(clock.now_ns(), 7);
    }
}
