//! Switching a mirror on while frames flow: how long until the first copy, and what it costs the source.

use helio_bench::{BenchError, FirstCopyPlan};

use super::json;
use crate::error::PerfError;
use crate::proc::as_f64;
use crate::station::Station;
use crate::window::Measured;

/// The first port that watches.
const DESTINATION: usize = 2;

pub(super) fn measure(station: &mut Station) -> Result<Measured, PerfError> {
    station.peer.mirror_to(&[])?;
    let mut command = station.peer.mirror_command(DESTINATION)?;
    let issue = || {
        let what = "issue the command".to_owned();
        command.issue().map_err(|cause| BenchError::Host { what, cause })
    };
    let first = station.subject.first_copy(&FirstCopyPlan::default(), issue)?;
    station.peer.mirror_to(&[])?;
    let measured = Measured { lost: first.lost, detail: json(&first), ..Measured::default() };
    Ok(measured.with("first_copy_us", as_f64(first.first_copy_ns) / 1e3))
}
