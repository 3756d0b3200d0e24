//! The sustained rate: as many frames as go through, for some time, all lanes at once.
//!
//! Closed loop: no lane has more frames on the way than fit in the rings, so a switch that keeps up loses none, and
//! the rate is the highest without loss. Open loop: every lane sends whenever its ring has room, whatever becomes of
//! the frames.

use std::time::{Duration, Instant};

use serde::Serialize;

use crate::error::BenchError;
use crate::frame_plan::{FCS_BYTES, as_f64};
use crate::meter::{BusyMeter, per_frame};
use crate::progress::Progress;
use crate::spread::Spread;
use crate::stage::{Oddities, Stage};
use crate::stage_plan::StagePlan;

/// How long nothing may arrive, all frames of a lane completed, before a closed loop gives up what is on the way.
const STALL: Duration = Duration::from_millis(50);

/// The same when the switch still has frames: longer than one that shares its core is kept from running.
const STANDSTILL: Duration = Duration::from_secs(2);

/// Bytes between frames on a wire: preamble and gap.
const WIRE_GAP_BYTES: f64 = 20.0;

/// Whether senders wait for receivers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Loop {
    /// They do: no more frames are on the way than the rings hold.
    #[default]
    Closed,
    /// They do not.
    Open,
}

/// How long to measure.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct RatePlan {
    /// Whether senders wait.
    pub kind: Loop,
    /// Time before the first window.
    pub warm_up: Duration,
    /// Number of windows.
    pub windows: usize,
    /// Length of each.
    pub window: Duration,
}

impl Default for RatePlan {
    /// Five windows of a second, after half a second.
    fn default() -> Self {
        Self {
            kind: Loop::Closed,
            warm_up: Duration::from_millis(500),
            windows: 5,
            window: Duration::from_secs(1),
        }
    }
}

/// What was counted at the receivers.
#[derive(Clone, Debug, Serialize)]
pub struct Rate {
    /// Whether senders waited.
    pub kind: Loop,
    /// Millions of frames per second, all lanes together, for each window.
    pub windows_mpps: Vec<f64>,
    /// The same, in order of size.
    pub mpps: Spread,
    /// Gigabits per second of frames with their checksums, by the median window.
    pub gbps: f64,
    /// The same with the gaps that a wire has between frames.
    pub wire_gbps: f64,
    /// Frames sent in the whole run, before the first window and after the last one too.
    pub sent: u64,
    /// Of those, frames that did not arrive.
    pub lost: u64,
    /// Copies that arrived at guests that only watch, by guest.
    pub copies: Vec<u64>,
    /// What else became of frames.
    pub oddities: Oddities,
    /// Nanoseconds per frame that the switch was busy.
    pub busy_ns: Option<f64>,
    /// Where that figure comes from.
    pub busy_source: Option<&'static str>,
    /// Kicks that the switch asked for.
    pub kicks: u64,
}

/// What was seen at one moment.
struct Moment {
    at: Instant,
    received: u64,
    bytes: u64,
}

/// Runs all lanes.
struct Run<'a> {
    stage: &'a mut Stage,
    kind: Loop,
    burst: u16,
    window: u64,
    last_arrival: Instant,
}

/// Measures on a stage that is set.
pub(crate) fn measure(
    stage: &mut Stage,
    plan: &StagePlan,
    rate: &RatePlan,
    meter: Option<&mut (dyn BusyMeter + '_)>,
    progress: &mut Progress,
) -> Result<Rate, BenchError> {
    let mut meter = meter;
    let mut run = Run {
        stage,
        kind: rate.kind,
        burst: plan.burst.min(plan.window()),
        window: u64::from(plan.window()),
        last_arrival: Instant::now(),
    };
    run.until(Instant::now() + rate.warm_up);
    run.stage.check()?;
    let busy_before = meter.as_mut().map(|meter| meter.read()).transpose()?;
    let kicks = run.stage.kicks();
    progress.expect(rate.window.saturating_mul(u32::try_from(rate.windows).unwrap_or(u32::MAX)));
    let mut moments = vec![run.moment()];
    for number in 0..rate.windows {
        progress.step(number, rate.windows, "sustained rate");
        run.until(Instant::now() + rate.window);
        moments.push(run.moment());
    }
    let busy_after = meter.as_mut().map(|meter| meter.read()).transpose()?;
    let (Some(first), Some(last)) = (moments.first(), moments.last()) else {
        return Err(BenchError::Plan("a rate needs a window".to_owned()));
    };
    let received = last.received - first.received;
    let busy_ns = busy_before.zip(busy_after).and_then(|(a, b)| per_frame(a, b, received));
    let busy_source = meter.map(|meter| meter.source());
    let stage = run.stage;
    let kicks = stage.kicks() - kicks;
    let (sent, lost) = settle_and_count(stage);
    stage.check()?;
    let watchers = plan.watchers().map(|guest| stage.copies(guest)).collect();
    let summary = Summary::of(&moments, plan);
    Ok(Rate {
        kind: rate.kind,
        mpps: Spread::of(summary.mpps.clone()),
        windows_mpps: summary.mpps,
        gbps: summary.gbps,
        wire_gbps: summary.wire_gbps,
        sent,
        lost,
        copies: watchers,
        oddities: stage.oddities(),
        busy_ns,
        busy_source,
        kicks,
    })
}

/// Frames that were sent, and those of them that never arrived.
fn settle_and_count(stage: &mut Stage) -> (u64, u64) {
    stage.settle();
    let counts = (0..stage.lane_count()).map(|lane| stage.counts(lane));
    let (sent, arrived) = counts
        .fold((0, 0), |(sent, arrived), counts| (sent + counts.sent, arrived + counts.received));
    (sent, sent.saturating_sub(arrived))
}

impl Run<'_> {
    fn until(&mut self, end: Instant) {
        let mut now = Instant::now();
        while now < end {
            let arrived = self.turn();
            now = Instant::now();
            if arrived > 0 {
                self.last_arrival = now;
            } else if self.kind == Loop::Closed && now - self.last_arrival > STALL {
                self.write_off(now);
            }
        }
    }

    /// Waits no more for frames that cannot be on the way any more.
    fn write_off(&mut self, now: Instant) {
        let silence = now - self.last_arrival;
        for lane in 0..self.stage.lane_count() {
            let is_completed = self.stage.outstanding(lane) == 0;
            // We may have been kept from running ourselves: then the frames are there by now.
            if self.stage.receive_all() > 0 {
                self.last_arrival = Instant::now();
                return;
            }
            if is_completed || silence > STANDSTILL {
                self.stage.write_off(lane);
            }
        }
        if silence > STANDSTILL {
            self.last_arrival = now;
        }
    }

    /// One burst on each lane, and all that arrived; how many that were.
    #[inline]
    fn turn(&mut self) -> u64 {
        for lane in 0..self.stage.lane_count() {
            let room = match self.kind {
                Loop::Open => self.burst,
                Loop::Closed => {
                    let free = self.window.saturating_sub(self.stage.in_flight(lane));
                    u16::try_from(free).unwrap_or(u16::MAX).min(self.burst)
                }
            };
            // Few frames cost as much as many: a burst is sent whole.
            if room == self.burst && self.stage.room(lane) >= self.burst {
                self.stage.offer(lane, self.burst);
                self.stage.publish(lane);
            }
        }
        self.stage.receive_all()
    }

    fn moment(&self) -> Moment {
        let mut moment = Moment { at: Instant::now(), received: 0, bytes: 0 };
        for lane in 0..self.stage.lane_count() {
            let counts = self.stage.counts(lane);
            moment.received += counts.received;
            moment.bytes += counts.bytes;
        }
        moment
    }
}

/// Rates between moments.
struct Summary {
    mpps: Vec<f64>,
    gbps: f64,
    wire_gbps: f64,
}

impl Summary {
    fn of(moments: &[Moment], plan: &StagePlan) -> Self {
        let mut mpps = Vec::new();
        for pair in moments.windows(2) {
            let [before, after] = pair else { continue };
            let micros = (after.at - before.at).as_secs_f64() * 1e6;
            mpps.push(as_f64(after.received - before.received) / micros);
        }
        let median = Spread::of(mpps.clone()).median;
        // The mean length that arrived, or the planned one when nothing did.
        let mean = match (moments.first(), moments.last()) {
            (Some(first), Some(last)) if last.received > first.received => {
                let frames = as_f64(last.received - first.received);
                as_f64(last.bytes - first.bytes) / frames + f64::from(FCS_BYTES)
            }
            _ => plan.frames.mean_wire_bytes(),
        };
        let gbps = median * mean * 8.0 / 1e3;
        let wire_gbps = median * (mean + WIRE_GAP_BYTES) * 8.0 / 1e3;
        Self { mpps, gbps, wire_gbps }
    }
}
