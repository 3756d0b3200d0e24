//! Latency under a load that does not wait: from the moment when a frame was due until it was seen.
//!
//! Beside it stands the same without what the generator itself spoilt by standing still, and what the machine does to a
//! thread that only looks at the clock: no switch can be better.

use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use serde::Serialize;

use crate::error::BenchError;
use crate::frame_plan::Payload;
use crate::progress::Progress;
use crate::rate::{Loop, RatePlan};
use crate::schedule::{Schedule, latencies};
use crate::stage::Stage;
use crate::stage_plan::StagePlan;

/// How much is sent.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Load {
    /// Frames per second, all lanes together.
    Frames(f64),
    /// Part of the rate that the closed loop reached, in percent.
    Percent(f64),
}

/// Which loads, and how long.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct LatencyPlan {
    /// One after the other.
    pub loads: Vec<Load>,
    /// Time for each.
    pub duration: Duration,
    /// Frames that leave together.
    pub burst: u16,
}

impl Default for LatencyPlan {
    fn default() -> Self {
        let loads = vec![Load::Percent(10.0), Load::Percent(50.0), Load::Percent(90.0)];
        Self { loads, duration: Duration::from_secs(2), burst: 1 }
    }
}

/// Nanoseconds at which a share of all frames had arrived.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Percentiles {
    /// How many there were.
    pub count: u64,
    /// The shortest.
    pub min: u64,
    /// Half were no longer.
    pub p50: u64,
    /// 90 of 100.
    pub p90: u64,
    /// 99 of 100.
    pub p99: u64,
    /// 999 of 1000.
    pub p999: u64,
    /// 9999 of 10 000.
    pub p9999: u64,
    /// The longest.
    pub max: u64,
}

impl Percentiles {
    fn of(histogram: &Histogram<u64>) -> Self {
        if histogram.is_empty() {
            return Self::default();
        }
        Self {
            count: histogram.len(),
            min: histogram.min(),
            p50: histogram.value_at_quantile(0.5),
            p90: histogram.value_at_quantile(0.9),
            p99: histogram.value_at_quantile(0.99),
            p999: histogram.value_at_quantile(0.999),
            p9999: histogram.value_at_quantile(0.9999),
            max: histogram.max(),
        }
    }
}

/// Latency at one load.
#[derive(Clone, Debug, Serialize)]
pub struct LoadLatency {
    /// What was asked for.
    pub load: Load,
    /// The same in millions of frames per second.
    pub mpps: f64,
    /// From due to seen.
    pub latency_ns: Percentiles,
    /// The same of frames that were neither due nor on their way while the generator itself stood still.
    pub undisturbed_ns: Percentiles,
    /// Share of frames that did not arrive.
    pub loss: f64,
    /// Share of frames that the generator could not even offer in time; part of the loss, and no word about the switch.
    pub missed: f64,
    /// How far the generator was behind its schedule at worst, in nanoseconds; part of the latencies.
    pub generator_lag_ns: u64,
}

/// Latency at all loads.
#[derive(Clone, Debug, Serialize)]
pub struct Latency {
    /// One entry for each load.
    pub loads: Vec<LoadLatency>,
    /// Nanoseconds between two looks at the clock, with nothing else to do.
    pub machine_ns: Percentiles,
    /// Rate of the closed loop, when a load was a part of it.
    pub closed_loop_mpps: Option<f64>,
}

/// Measures on a stage that is set.
pub(crate) fn measure(
    stage: &mut Stage,
    plan: &StagePlan,
    latency: &LatencyPlan,
    progress: &mut Progress,
) -> Result<Latency, BenchError> {
    if plan.frames.payload == Payload::None {
        let text = "latency needs numbered frames: payload \"line\" or \"all\"";
        return Err(BenchError::Plan(text.to_owned()));
    }
    let needs_rate = latency.loads.iter().any(|load| matches!(load, Load::Percent(_)));
    let closed_loop_mpps = match needs_rate {
        true => Some(closed_loop(stage, plan, progress)?),
        false => None,
    };
    let count = u32::try_from(latency.loads.len()).unwrap_or(u32::MAX);
    progress.expect(latency.duration.saturating_mul(count));
    let mut loads = Vec::new();
    for (number, load) in latency.loads.iter().enumerate() {
        let fps = match load {
            Load::Frames(fps) => *fps,
            Load::Percent(percent) => closed_loop_mpps.unwrap_or(0.0) * 1e4 * percent,
        };
        let what = format!("latency, {:.3} Mpps for {:?}", fps / 1e6, latency.duration);
        progress.step(number, latency.loads.len(), &what);
        let schedule = Schedule { fps, duration: latency.duration, burst: latency.burst };
        stage.settle();
        let kept = schedule.keep(stage)?;
        loads.push(LoadLatency {
            load: *load,
            mpps: fps / 1e6,
            latency_ns: Percentiles::of(&kept.latency),
            undisturbed_ns: Percentiles::of(&kept.undisturbed),
            loss: kept.loss(),
            missed: kept.missed_share(),
            generator_lag_ns: u64::try_from(kept.lag.as_nanos()).unwrap_or(u64::MAX),
        });
    }
    let machine_ns = Percentiles::of(&look_at_the_clock(latency.duration)?);
    Ok(Latency { loads, machine_ns, closed_loop_mpps })
}

/// The rate that the closed loop reaches, in millions of frames per second.
pub(crate) fn closed_loop(
    stage: &mut Stage,
    plan: &StagePlan,
    progress: &mut Progress,
) -> Result<f64, BenchError> {
    let window = Duration::from_millis(300);
    let short = RatePlan { kind: Loop::Closed, warm_up: window, windows: 3, window };
    let rate = crate::rate::measure(stage, plan, &short, None, progress)?;
    stage.settle();
    Ok(rate.mpps.median)
}

/// What happens to a thread that does nothing else.
fn look_at_the_clock(duration: Duration) -> Result<Histogram<u64>, BenchError> {
    let mut gaps = latencies()?;
    let began = Instant::now();
    let mut last = began;
    while last - began < duration {
        let now = Instant::now();
        gaps.saturating_record(u64::try_from((now - last).as_nanos()).unwrap_or(u64::MAX));
        last = now;
    }
    Ok(gaps)
}
