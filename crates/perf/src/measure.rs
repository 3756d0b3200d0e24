//! What is done in one window with one switch.
//!
//! The switch runs, all others are parked. A short warm-up before the window wakes caches and whatever slept.

mod idle;
mod life;
mod mirror_on;
mod other_generator;
mod wire;

use std::collections::BTreeMap;
use std::time::Duration;

use helio_bench::{DrainPlan, LatencyPlan, Load, Loop, Oddities, RatePlan, Subject};
use serde::Serialize;
use serde_json::Value;

use crate::cells::{Cell, Measure, Scene, Tier};
use crate::error::PerfError;
use crate::proc::as_f64;
use crate::station::Station;
use crate::window::Measured;

pub use life::{memory, start};
pub use other_generator::rate as rate_by_testpmd;
pub(crate) use wire::measure as over_wires;

/// How long windows are.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Effort {
    /// Pairs of rings in a drain.
    pub drains: usize,
    /// Length of a window for rates and latencies.
    pub window: Duration,
    /// How long an idle process is watched.
    pub idle: Duration,
    /// Ports that memory is divided by, besides the first two.
    pub ports: usize,
}

impl Effort {
    /// For a tier.
    #[must_use]
    pub fn of(tier: Tier) -> Self {
        let seconds = Duration::from_secs;
        let daily =
            Self { drains: 200, window: Duration::from_millis(800), idle: seconds(10), ports: 62 };
        match tier {
            Tier::Smoke => {
                let window = Duration::from_millis(100);
                Self { drains: 30, window, idle: seconds(1), ports: 6 }
            }
            Tier::Daily => daily,
            Tier::Full => Self { window: seconds(2), ..daily },
        }
    }
}

/// What only the cell as a whole knows.
#[derive(Clone, Copy, Debug, Default)]
pub struct Common {
    /// Frames per second for latencies, the same for all.
    pub load_fps: f64,
}

/// Whether every round starts the switch anew.
#[must_use]
pub fn starts_anew(measure: Measure) -> bool {
    matches!(measure, Measure::Memory | Measure::Start | Measure::OtherGenerator)
}

/// Measures a switch that runs.
///
/// # Errors
///
/// When the switch or the generator cannot go on.
pub fn window(
    station: &mut Station,
    cell: &Cell,
    scene: &Scene,
    effort: &Effort,
    common: &Common,
) -> Result<Measured, PerfError> {
    let before = station.subject.oddities();
    let (sent, _) = station.subject.totals();
    let copies = station.subject.copies();
    let mut measured = match cell.measure {
        Measure::Drain => drain(&mut station.subject, effort)?,
        Measure::Rate => rate(&mut station.subject, effort)?,
        Measure::Latency => latency(&mut station.subject, effort, common)?,
        Measure::MirrorOn => mirror_on::measure(station)?,
        Measure::IdleCpu => idle::measure(station, effort)?,
        Measure::Memory | Measure::Start | Measure::OtherGenerator | Measure::Wire => {
            let what = format!("cell {} is not measured with guests that are attached", cell.name);
            return Err(PerfError::Plan(what));
        }
    };
    let mirrors = scene.mirrors;
    if mirrors > 0 && cell.measure != Measure::MirrorOn {
        station.subject.settle();
        let sent = station.subject.totals().0 - sent;
        let now = station.subject.copies();
        let came = now.iter().zip(copies).take(mirrors).map(|(now, before)| now - before);
        let lost = came.map(|came| sent.saturating_sub(came)).max().unwrap_or(sent);
        measured = measured.with("copies_lost_percent", 100.0 * as_f64(lost) / as_f64(sent.max(1)));
    }
    measured.oddities = difference(&before, &station.subject.oddities());
    Ok(measured)
}

fn drain(subject: &mut Subject, effort: &Effort) -> Result<Measured, PerfError> {
    let plan = |rounds| DrainPlan { rounds, ..DrainPlan::default() };
    subject.drain(&plan(effort.drains / 8 + 1))?;
    let drain = subject.drain(&plan(effort.drains))?;
    let measured = Measured { lost: drain.lost, detail: json(&drain), ..Measured::default() };
    if drain.service_ns.count == 0 {
        // Frames were lost in every ring: there is no time to speak of.
        return Ok(measured);
    }
    Ok(measured
        .with("service_ns", drain.service_ns.median)
        .with("whole_ns", drain.whole_ns.median)
        .with("start_ns", drain.start_ns))
}

fn rate(subject: &mut Subject, effort: &Effort) -> Result<Measured, PerfError> {
    let rate = subject.rate(&RatePlan {
        kind: Loop::Closed,
        warm_up: effort.window / 8,
        windows: 4,
        window: effort.window / 4,
    })?;
    let measured = Measured { lost: rate.lost, detail: json(&rate), ..Measured::default() };
    Ok(measured.with("mpps", rate.mpps.median).with("gbps", rate.gbps))
}

/// The rate of a closed loop, in frames per second; to find out what a tenth of it is.
///
/// # Errors
///
/// As [`window`].
pub fn closed_loop_fps(station: &mut Station) -> Result<f64, PerfError> {
    let window = Duration::from_millis(100);
    let plan = RatePlan { kind: Loop::Closed, warm_up: window, windows: 3, window };
    Ok(station.subject.rate(&plan)?.mpps.median * 1e6)
}

fn latency(subject: &mut Subject, effort: &Effort, common: &Common) -> Result<Measured, PerfError> {
    let load = Load::Frames(common.load_fps);
    let plan = |duration| LatencyPlan { loads: vec![load], duration, ..LatencyPlan::default() };
    subject.latency(&plan(effort.window / 8))?;
    let latency = subject.latency(&plan(effort.window))?;
    let measured = Measured { detail: json(&latency), ..Measured::default() };
    let Some(load) = latency.loads.first() else { return Ok(measured) };
    let ns = as_f64;
    // A generator that was kept from running says nothing about the switch; what it saw then stands beside it.
    let (clean, all) = (&load.undisturbed_ns, &load.latency_ns);
    let set_apart = ns(all.count - clean.count) / ns(all.count.max(1));
    Ok(measured
        .with("p50_ns", ns(clean.p50))
        .with("p99_ns", ns(clean.p99))
        .with("p999_ns", ns(clean.p999))
        .with("with_standstills_p99_ns", ns(all.p99))
        .with("set_apart_percent", 100.0 * set_apart)
        .with("machine_p99_ns", ns(latency.machine_ns.p99))
        .with("load_mpps", load.mpps)
        .with("loss", load.loss))
}

/// What a report of the generator says, whole.
fn json(report: &impl Serialize) -> Value {
    serde_json::to_value(report).unwrap_or(Value::Null)
}

fn difference(before: &Oddities, after: &Oddities) -> BTreeMap<&'static str, u64> {
    let kinds = [
        ("corrupt", after.corrupt - before.corrupt),
        ("foreign", after.foreign - before.foreign),
        ("duplicates", after.duplicates - before.duplicates),
        ("reordered", after.reordered - before.reordered),
        ("strayed", after.strayed - before.strayed),
    ];
    kinds.into_iter().filter(|(_kind, count)| *count > 0).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_happened_in_a_window_is_odd_there() {
        let before = Oddities { corrupt: 1, duplicates: 2, ..Oddities::default() };
        let after = Oddities { duplicates: 5, ..before };
        assert_eq!(difference(&before, &after), BTreeMap::from([("duplicates", 3)]));
        assert!(difference(&after, &after).is_empty());
    }
}
