//! Sending on schedule: bursts leave when they are due, whether earlier ones arrived or not.
//!
//! The number of a frame tells when it was due, so that a stall of the switch, or of the generator, shows in the
//! latency of every frame that had to wait. A frame for which the ring has no room is lost; nobody waits for it.

use std::time::{Duration, Instant};

use hdrhistogram::Histogram;

use crate::error::BenchError;
use crate::frame_plan::as_f64;
use crate::stage::Stage;
use crate::standstill::Standstills;

/// Longest latency that is told apart, in nanoseconds: a minute.
const MAX_LATENCY_NS: u64 = 60_000_000_000;

/// How long the generator may still send what was due before the end: it may have been kept from running just then.
const GRACE: Duration = Duration::from_millis(50);

/// One frame in a thousand may come too late to be offered at all.
pub(crate) const MAY_BE_MISSED: f64 = 0.001;

/// Frames at a fixed rate for some time.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Schedule {
    /// Frames per second, all lanes together.
    pub(crate) fps: f64,
    pub(crate) duration: Duration,
    /// Frames that leave together on one lane.
    pub(crate) burst: u16,
}

/// What became of them.
#[derive(Clone, Debug)]
pub(crate) struct Kept {
    /// Frames that were due.
    pub(crate) due: u64,
    /// Frames that were due and did not arrive.
    pub(crate) lost: u64,
    /// Of those, frames that the generator could not even offer in time: no word about the switch.
    pub(crate) missed: u64,
    /// How far the generator was behind its schedule at worst.
    pub(crate) lag: Duration,
    /// From when a frame was due until it was seen, in nanoseconds.
    pub(crate) latency: Histogram<u64>,
    /// The same of frames that no standstill of the generator touched.
    pub(crate) undisturbed: Histogram<u64>,
}

impl Kept {
    /// The share of frames that were lost.
    pub(crate) fn loss(&self) -> f64 {
        if self.due == 0 { 0.0 } else { as_f64(self.lost) / as_f64(self.due) }
    }

    /// The share of frames that the generator could not even offer in time.
    pub(crate) fn missed_share(&self) -> f64 {
        if self.due == 0 { 0.0 } else { as_f64(self.missed) / as_f64(self.due) }
    }

    /// Whether the generator did its part.
    pub(crate) fn is_valid(&self) -> bool {
        self.missed_share() <= MAY_BE_MISSED
    }
}

/// An empty histogram of latencies, with three significant digits.
pub(crate) fn latencies() -> Result<Histogram<u64>, BenchError> {
    Histogram::new_with_bounds(1, MAX_LATENCY_NS, 3)
        .map_err(|error| BenchError::Plan(format!("a histogram of latencies: {error}")))
}

/// When the bursts of one lane are due.
#[derive(Clone, Copy, Debug)]
struct Timetable {
    /// Number of the first frame.
    first: u64,
    /// The guest that receives.
    to: usize,
    /// After the beginning, in picoseconds.
    offset_ps: u64,
    interval_ps: u64,
    bursts: u64,
    /// Bursts that have left, or never will.
    gone: u64,
}

/// Latencies of the frames that were seen, in nanoseconds.
#[derive(Debug)]
struct Seen {
    standstills: Standstills,
    undisturbed: Histogram<u64>,
    touched: Histogram<u64>,
}

impl Seen {
    fn new(lanes: usize) -> Result<Self, BenchError> {
        let standstills = Standstills::new(lanes);
        Ok(Self { standstills, undisturbed: latencies()?, touched: latencies()? })
    }

    #[inline]
    fn record(&mut self, lane: usize, burst: u64, ns: u64) {
        let touched = self.standstills.touches(lane, burst);
        let histogram = if touched { &mut self.touched } else { &mut self.undisturbed };
        histogram.saturating_record(ns);
    }

    /// Of all frames, and of those that no standstill touched.
    fn latencies(self) -> (Histogram<u64>, Histogram<u64>) {
        let mut all = self.touched;
        all += &self.undisturbed;
        (all, self.undisturbed)
    }
}

impl Schedule {
    /// Keeps the schedule on a stage that is set and quiet.
    pub(crate) fn keep(&self, stage: &mut Stage) -> Result<Kept, BenchError> {
        let mut tables = self.timetables(stage)?;
        let mut seen = Seen::new(tables.len())?;
        let before: u64 = received(stage);
        let began = Instant::now();
        let mut lag_ps = 0;
        loop {
            let now_ps = picoseconds(began.elapsed());
            seen.standstills.look(now_ps);
            for (lane, table) in tables.iter_mut().enumerate() {
                if table.is_due(now_ps) {
                    lag_ps = lag_ps.max(now_ps - table.due_ps(table.gone));
                    let offered = stage.room(lane).min(self.burst);
                    stage.offer(lane, offered);
                    stage.publish(lane);
                    seen.standstills.moved(u64::from(offered));
                    stage.skip(lane, u64::from(self.burst - offered));
                    table.gone += 1;
                }
            }
            if tables.iter().all(|table| !table.is_due(now_ps)) {
                seen.standstills.caught_up(tables.iter().map(|table| table.gone));
            }
            self.receive(stage, &tables, began, &mut seen);
            let is_late = now_ps > picoseconds(self.duration + GRACE);
            if is_late || tables.iter().all(Timetable::is_over) {
                break;
            }
        }
        let mut missed = 0;
        for (lane, table) in tables.iter().enumerate() {
            let frames = (table.bursts - table.gone) * u64::from(self.burst);
            stage.skip(lane, frames);
            missed += frames;
        }
        // What comes late has waited long: it counts as the rest does.
        stage.settle_by(|stage| self.receive(stage, &tables, began, &mut seen));
        stage.check()?;
        let due: u64 = tables.iter().map(|table| table.bursts * u64::from(self.burst)).sum();
        let received = received(stage) - before;
        let lag = Duration::from_nanos(lag_ps / 1000);
        let lost = due.saturating_sub(received);
        let (latency, undisturbed) = seen.latencies();
        Ok(Kept { due, lost, missed, lag, latency, undisturbed })
    }

    fn timetables(&self, stage: &Stage) -> Result<Vec<Timetable>, BenchError> {
        let lanes = stage.lane_count() as u64;
        let per_burst = f64::from(self.burst) * as_f64(lanes) / self.fps;
        // A thousandfold in nanoseconds: whole ones would be percents off at many millions of frames per second.
        let interval = Duration::try_from_secs_f64(per_burst * 1e3)
            .map_err(|_| BenchError::Plan(format!("{} frames per second", self.fps)))?;
        let interval_ps = u64::try_from(interval.as_nanos()).unwrap_or(u64::MAX).max(1);
        let bursts = (picoseconds(self.duration) / interval_ps).max(1);
        let table = |lane| Timetable {
            first: stage.next_sequence(lane),
            to: stage.receiver_of(lane),
            offset_ps: interval_ps * lane as u64 / lanes,
            interval_ps,
            bursts,
            gone: 0,
        };
        Ok((0..stage.lane_count()).map(table).collect())
    }

    /// Takes what is there; the time is taken once for all of it, after it was seen to be there.
    #[inline]
    fn receive(
        &self,
        stage: &mut Stage,
        tables: &[Timetable],
        began: Instant,
        seen: &mut Seen,
    ) -> u64 {
        let mut frames = 0;
        for guest in 0..stage.guest_count() {
            if stage.ready(guest) == 0 {
                continue;
            }
            let now_ps = picoseconds(began.elapsed());
            seen.standstills.look(now_ps);
            let burst = u64::from(self.burst);
            let received = stage.receive_with(guest, |lane, sequence| {
                if let Some(table) = tables.get(lane).filter(|table| table.to == guest) {
                    let number = sequence.saturating_sub(table.first) / burst;
                    let waited = now_ps.saturating_sub(table.due_ps(number)) / 1000;
                    seen.record(lane, number, waited.max(1));
                }
            });
            seen.standstills.moved(received);
            frames += received;
        }
        frames
    }
}

impl Timetable {
    #[inline]
    fn due_ps(&self, burst: u64) -> u64 {
        self.offset_ps + burst * self.interval_ps
    }

    #[inline]
    fn is_due(&self, now_ps: u64) -> bool {
        self.gone < self.bursts && self.due_ps(self.gone) <= now_ps
    }

    fn is_over(&self) -> bool {
        self.gone == self.bursts
    }
}

fn received(stage: &Stage) -> u64 {
    (0..stage.lane_count()).map(|lane| stage.counts(lane).received).sum()
}

/// Good for half a year.
#[inline]
fn picoseconds(time: Duration) -> u64 {
    u64::try_from(time.as_nanos() * 1000).unwrap_or(u64::MAX)
}
