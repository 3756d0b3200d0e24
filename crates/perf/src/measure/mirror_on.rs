//! Switching a mirror on while frames flow: how long until the first copy, and what it costs the source.

use std::time::Duration;

use helio_bench::{BenchError, FirstCopy, FirstCopyPlan};
use serde_json::json;

use crate::error::PerfError;
use crate::proc::as_f64;
use crate::station::Station;
use crate::window::Measured;

/// The first port that watches.
const DESTINATION: usize = 2;

/// Commands after which no copy came at all, until it is given up.
const TRIES: u32 = 5;

/// How long is waited for the first copy.
const PATIENCE: Duration = Duration::from_secs(1);

pub(super) fn measure(station: &mut Station) -> Result<Measured, PerfError> {
    let mut measured = Measured::default();
    let mut without_effect = 0;
    while without_effect < TRIES {
        let (first, words) = command(station)?;
        measured.lost += first.lost;
        measured.detail = json!({ "command": words, "last_try": first });
        if let Some(ns) = first.first_copy_ns {
            measured = measured.with("first_copy_us", as_f64(ns) / 1e3);
            break;
        }
        without_effect += 1;
    }
    station.peer.mirror_to(&[])?;
    Ok(measured.with("without_effect", f64::from(without_effect)))
}

/// Switches the mirror on; what was seen, and what the command was.
fn command(station: &mut Station) -> Result<(FirstCopy, String), PerfError> {
    station.peer.mirror_to(&[])?;
    let mut command = station.peer.mirror_command(DESTINATION)?;
    let issue = || {
        let what = "issue the command".to_owned();
        command.issue().map_err(|cause| BenchError::Host { what, cause })
    };
    let plan = FirstCopyPlan { patience: PATIENCE, ..FirstCopyPlan::default() };
    let first = station.subject.first_copy(&plan, issue)?;
    let words = command.words().to_owned();
    command.end()?;
    Ok((first, words))
}
