//! What a worker measures of itself.

use std::fmt;
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;

/// One working turn in so many is timed.
const TURNS_PER_SAMPLE: u64 = 64;
/// A turn of 100 ms counts as such, and a longer one too.
const LONGEST_NS: u64 = 100_000_000;

/// What a worker has done since it started.
#[derive(Clone)]
pub struct WorkerReport {
    /// Turns taken.
    pub turns: u64,
    /// Turns that found something to do.
    pub working_turns: u64,
    /// Frames taken from ports and from other workers.
    pub frames: u64,
    /// Times it went to sleep.
    pub sleeps: u64,
    /// Time spent in working turns, in ns: what the timed ones took, times all of them.
    pub busy_ns: u64,
    /// Time since the worker was made, in ns.
    pub elapsed_ns: u64,
    /// Duration of working turns in ns, one in 64.
    pub turn_ns: Histogram<u32>,
    /// Private buffers in use.
    pub chunks_in_use: usize,
}

impl fmt::Debug for WorkerReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WorkerReport")
            .field("turns", &self.turns)
            .field("frames", &self.frames)
            .field("sleeps", &self.sleeps)
            .finish_non_exhaustive()
    }
}

/// Counts turns and times some of them.
#[derive(Debug)]
pub(crate) struct Meter {
    started: Instant,
    /// What the timed turns took in all, and how many they were.
    timed_ns: u64,
    timed: u64,
    report: WorkerReport,
}

impl Meter {
    pub(crate) fn new() -> Self {
        let turn_ns = match Histogram::new_with_bounds(1, LONGEST_NS, 2) {
            Ok(histogram) => histogram,
            Err(_) => unreachable!("the bounds are those that the library allows"),
        };
        let report = WorkerReport {
            turns: 0,
            working_turns: 0,
            frames: 0,
            sleeps: 0,
            busy_ns: 0,
            elapsed_ns: 0,
            turn_ns,
            chunks_in_use: 0,
        };
        Self { started: Instant::now(), timed_ns: 0, timed: 0, report }
    }

    /// Begins a turn; gives the time when this one is to be timed.
    pub(crate) fn begin(&mut self) -> Option<Instant> {
        self.report.turns += 1;
        self.report.turns.is_multiple_of(TURNS_PER_SAMPLE).then(Instant::now)
    }

    /// Ends a turn that found `found` frames and receipts, `frames` of them frames.
    pub(crate) fn end(&mut self, began: Option<Instant>, found: u64, frames: u64) {
        if found == 0 {
            return;
        }
        self.report.working_turns += 1;
        self.report.frames += frames;
        if let Some(began) = began {
            let ns = nanoseconds(began.elapsed());
            self.timed_ns = self.timed_ns.saturating_add(ns);
            self.timed += 1;
            // Within its bounds the histogram never grows.
            self.report.turn_ns.saturating_record(ns);
        }
    }

    pub(crate) fn slept(&mut self) {
        self.report.sleeps += 1;
    }

    pub(crate) fn report(&self, chunks_in_use: usize) -> WorkerReport {
        let all = u128::from(self.timed_ns) * u128::from(self.report.working_turns);
        let busy_ns = all.checked_div(u128::from(self.timed)).unwrap_or(0);
        let elapsed_ns = nanoseconds(self.started.elapsed());
        let busy_ns = u64::try_from(busy_ns).unwrap_or(u64::MAX).min(elapsed_ns);
        WorkerReport { chunks_in_use, busy_ns, elapsed_ns, ..self.report.clone() }
    }
}

fn nanoseconds(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}
