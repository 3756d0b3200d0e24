//! Switching a mirror on while frames flow: how long until the first copy, and what it costs the source.

use std::time::Duration;

use helio_bench::{BenchError, FirstCopy, FirstCopyPlan};

use super::json;
use crate::error::PerfError;
use crate::proc::as_f64;
use crate::station::Station;
use crate::window::Measured;

/// The first port that watches.
const DESTINATION: usize = 2;

/// Commands after which no copy came at all, until it is given up. Open vSwitch needs a second one now and then.
const TRIES: u32 = 5;

/// How long is waited for the first copy.
const PATIENCE: Duration = Duration::from_secs(1);

pub(super) fn measure(station: &mut Station) -> Result<Measured, PerfError> {
    let mut without_effect = 0;
    let first = loop {
        match command(station) {
            // What this says is that none came in time.
            Err(PerfError::Bench(BenchError::Plan(_))) => without_effect += 1,
            other => break Some(other?),
        }
        if without_effect == TRIES {
            break None;
        }
    };
    station.peer.mirror_to(&[])?;
    let measured = Measured::default().with("without_effect", f64::from(without_effect));
    let Some(first) = first else { return Ok(measured) };
    let measured = Measured { lost: first.lost, detail: json(&first), ..measured };
    Ok(measured.with("first_copy_us", as_f64(first.first_copy_ns) / 1e3))
}

fn command(station: &mut Station) -> Result<FirstCopy, PerfError> {
    station.peer.mirror_to(&[])?;
    let mut command = station.peer.mirror_command(DESTINATION)?;
    let issue = || {
        let what = "issue the command".to_owned();
        command.issue().map_err(|cause| BenchError::Host { what, cause })
    };
    let plan = FirstCopyPlan { patience: PATIENCE, ..FirstCopyPlan::default() };
    Ok(station.subject.first_copy(&plan, issue)?)
}
