//! Processor time of a switch whose guests are attached and silent.

use std::time::Instant;

use super::Effort;
use crate::error::PerfError;
use crate::proc;
use crate::station::Station;
use crate::window::Measured;

/// A worker that never sleeps shows that in a tenth of the time.
const POLLER_SHARE: u32 = 10;

pub(super) fn measure(station: &Station, effort: &Effort) -> Result<Measured, PerfError> {
    let time = match station.peer.polls_always() {
        true => effort.idle / POLLER_SHARE,
        false => effort.idle,
    };
    // What waking up costs is not what being idle costs.
    std::thread::sleep(effort.idle / POLLER_SHARE);
    let process = station.peer.process().id();
    let (began, before) = (Instant::now(), proc::processor_ns(process));
    std::thread::sleep(time);
    let ran = proc::processor_ns(process).saturating_sub(before);
    let percent = proc::as_f64(ran) / began.elapsed().as_secs_f64() / 1e7;
    Ok(Measured::default().with("cpu_percent", percent))
}
