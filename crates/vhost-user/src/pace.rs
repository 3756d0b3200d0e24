//! How fast one session may follow another, and how fast we try to connect. Time is passed in.

use std::time::{Duration, Instant};

/// Sessions that may follow each other at once.
const AT_ONCE: u32 = 16;
/// Afterwards one per this time.
const INTERVAL: Duration = Duration::from_millis(50);

/// Bounds what front-ends that come and go can cost.
#[derive(Debug)]
pub(crate) struct SessionPace {
    /// Sessions that may begin now.
    left: u32,
    /// When `left` was last raised.
    since: Instant,
}

impl SessionPace {
    pub(crate) fn new(now: Instant) -> Self {
        Self { left: AT_ONCE, since: now }
    }

    /// How long the next session must wait that wants to begin at `now`.
    pub(crate) fn next(&mut self, now: Instant) -> Duration {
        while self.left < AT_ONCE && now >= self.since + INTERVAL {
            self.left += 1;
            self.since += INTERVAL;
        }
        if self.left == AT_ONCE {
            self.since = now;
        }
        match self.left.checked_sub(1) {
            Some(left) => {
                self.left = left;
                Duration::ZERO
            }
            None => {
                let due = self.since + INTERVAL;
                // The session that waits uses what will have been added by then.
                self.since = due;
                due.saturating_duration_since(now)
            }
        }
    }
}

const FIRST_DELAY: Duration = Duration::from_millis(100);
const LAST_DELAY: Duration = Duration::from_secs(1);

/// Delay before the next try to connect: it grows while tries fail.
#[derive(Debug)]
pub(crate) struct RetryDelay(Duration);

impl RetryDelay {
    pub(crate) fn new() -> Self {
        Self(FIRST_DELAY)
    }

    pub(crate) fn next(&mut self) -> Duration {
        let delay = self.0;
        self.0 = (delay * 2).min(LAST_DELAY);
        delay
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn c058_after_a_few_at_once_sessions_begin_at_a_fixed_pace() {
        let start = Instant::now();
        let mut pace = SessionPace::new(start);
        let mut now = start;
        for _ in 0..1000 {
            now += pace.next(now);
        }
        assert_eq!(now - start, INTERVAL * (1000 - AT_ONCE));
    }

    #[test]
    fn a_front_end_that_comes_back_seldom_never_waits() {
        let mut now = Instant::now();
        let mut pace = SessionPace::new(now);
        for _ in 0..100 {
            assert_eq!(pace.next(now), Duration::ZERO);
            now += INTERVAL;
        }
    }

    #[test]
    fn tries_to_connect_become_rarer_up_to_one_per_second() {
        let mut delay = RetryDelay::new();
        let delays: Vec<_> = (0..6).map(|_| delay.next().as_millis()).collect();
        assert_eq!(delays, [100, 200, 400, 800, 1000, 1000]);
    }
}
