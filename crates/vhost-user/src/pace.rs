//! How fast one session may follow another, how fast notes may be told, and how fast we try to connect. Time is passed in.

use std::time::{Duration, Instant};

/// Sessions, or notes, that may follow each other at once.
const AT_ONCE: u32 = 16;
/// Afterwards one per this time.
const INTERVAL: Duration = Duration::from_millis(50);

/// What may be spent: [`AT_ONCE`] at first, and one more after each [`INTERVAL`] up to that.
#[derive(Debug)]
struct Allowance {
    /// What may be spent now.
    left: u32,
    /// When `left` was last raised.
    since: Instant,
}

impl Allowance {
    fn new(now: Instant) -> Self {
        Self { left: AT_ONCE, since: now }
    }

    /// Whether there was one to spend at `now`.
    fn spend(&mut self, now: Instant) -> bool {
        while self.left < AT_ONCE && now >= self.since + INTERVAL {
            self.left += 1;
            self.since += INTERVAL;
        }
        if self.left == AT_ONCE {
            self.since = now;
        }
        let left = self.left.checked_sub(1);
        self.left = left.unwrap_or(0);
        left.is_some()
    }

    /// When there will be one, which is spent.
    fn spend_next(&mut self) -> Instant {
        self.since += INTERVAL;
        self.since
    }
}

/// Bounds what front-ends that come and go can cost.
#[derive(Debug)]
pub(crate) struct SessionPace(Allowance);

impl SessionPace {
    pub(crate) fn new(now: Instant) -> Self {
        Self(Allowance::new(now))
    }

    /// How long the next session must wait that wants to begin at `now`.
    pub(crate) fn next(&mut self, now: Instant) -> Duration {
        match self.0.spend(now) {
            true => Duration::ZERO,
            false => self.0.spend_next().saturating_duration_since(now),
        }
    }
}

/// Bounds what a front-end can have told: guests that break and come back at once would fill a log.
#[derive(Debug)]
pub(crate) struct EventPace(Allowance);

impl EventPace {
    pub(crate) fn new(now: Instant) -> Self {
        Self(Allowance::new(now))
    }

    /// Whether one more may be told at `now`.
    pub(crate) fn permits(&mut self, now: Instant) -> bool {
        self.0.spend(now)
    }
}

/// Time between two front-ends that are turned away.
const VISITOR_PAUSE: Duration = Duration::from_millis(1);

/// Bounds what front-ends can cost that come while another one is served.
#[derive(Debug)]
pub(crate) struct VisitorPace {
    next: Instant,
}

impl VisitorPace {
    pub(crate) fn new(now: Instant) -> Self {
        Self { next: now }
    }

    /// How long none is looked at from `now` on.
    pub(crate) fn pause(&self, now: Instant) -> Duration {
        self.next.saturating_duration_since(now)
    }

    /// One was turned away at `now`.
    pub(crate) fn turned_away(&mut self, now: Instant) {
        self.next = now + VISITOR_PAUSE;
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
    fn c060_of_notes_without_end_a_few_are_told_at_once_and_then_one_in_each_interval() {
        let start = Instant::now();
        let mut pace = EventPace::new(start);
        let told = (0..100_000_u32)
            .filter(|step| pace.permits(start + INTERVAL * 20 * *step / 100_000))
            .count();
        assert_eq!(told, usize::try_from(AT_ONCE).unwrap() + 19);
        assert!(pace.permits(start + INTERVAL * 100));
    }

    #[test]
    fn c058_between_two_front_ends_that_are_turned_away_there_is_a_pause() {
        let now = Instant::now();
        let mut pace = VisitorPace::new(now);
        assert_eq!(pace.pause(now), Duration::ZERO);
        pace.turned_away(now);
        assert_eq!(pace.pause(now), VISITOR_PAUSE);
        assert_eq!(pace.pause(now + VISITOR_PAUSE), Duration::ZERO);
    }

    #[test]
    fn tries_to_connect_become_rarer_up_to_one_per_second() {
        let mut delay = RetryDelay::new();
        let delays: Vec<_> = (0..6).map(|_| delay.next().as_millis()).collect();
        assert_eq!(delays, [100, 200, 400, 800, 1000, 1000]);
    }
}
