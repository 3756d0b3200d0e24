//! When a worker that finds nothing to do goes to sleep.

use std::time::{Duration, Instant};

/// How a worker waits for frames.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Polling {
    /// It sleeps after this long without a frame, and lets the guests wake it.
    Adaptive {
        /// Time without a frame before it sleeps.
        idle: Duration,
    },
    /// It never sleeps.
    Busy,
}

/// Empty turns between two looks at the clock: a look costs as much as a turn.
const TURNS_PER_LOOK: u32 = 16;

/// Counts empty turns.
#[derive(Debug)]
pub(crate) struct Idleness {
    polling: Polling,
    empty_turns: u32,
    since: Option<Instant>,
}

impl Idleness {
    pub(crate) fn new(polling: Polling) -> Self {
        Self { polling, empty_turns: 0, since: None }
    }

    /// A turn found work.
    pub(crate) fn end(&mut self) {
        self.empty_turns = 0;
        self.since = None;
    }

    /// A turn found nothing. Returns whether the worker should sleep now.
    pub(crate) fn should_sleep(&mut self, clock: impl FnOnce() -> Instant) -> bool {
        let Polling::Adaptive { idle } = self.polling else { return false };
        self.empty_turns = self.empty_turns.wrapping_add(1);
        if !self.empty_turns.is_multiple_of(TURNS_PER_LOOK) {
            return false;
        }
        let now = clock();
        let since = *self.since.get_or_insert(now);
        now.duration_since(since) >= idle
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn turns_until_sleep(idleness: &mut Idleness, turn: Duration) -> Option<u32> {
        let start = Instant::now();
        (1..10_000).find(|&turns| idleness.should_sleep(|| start + turn * turns))
    }

    #[test]
    fn an_adaptive_worker_sleeps_once_its_idle_time_is_over() {
        let idle = Duration::from_micros(100);
        let mut idleness = Idleness::new(Polling::Adaptive { idle });
        // The clock is looked at every 16 turns: idle from turn 16 on, and 100 turns of a microsecond later.
        assert_eq!(turns_until_sleep(&mut idleness, Duration::from_micros(1)), Some(128));
    }

    #[test]
    fn work_begins_the_idle_time_anew() {
        let mut idleness = Idleness::new(Polling::Adaptive { idle: Duration::from_micros(100) });
        let start = Instant::now();
        for turn in 0..127 {
            assert!(!idleness.should_sleep(|| start + Duration::from_micros(turn)));
        }
        idleness.end();
        assert_eq!(turns_until_sleep(&mut idleness, Duration::from_micros(1)), Some(128));
    }

    #[test]
    fn a_busy_worker_never_sleeps() {
        let mut idleness = Idleness::new(Polling::Busy);
        assert_eq!(turns_until_sleep(&mut idleness, Duration::from_secs(1)), None);
    }
}
