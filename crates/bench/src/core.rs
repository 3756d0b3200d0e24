//! Where threads run.

use rustix::thread::{CpuSet, sched_getcpu, sched_setaffinity};

use crate::error::BenchError;

/// Keeps the calling thread on one core.
///
/// # Errors
///
/// When there is no such core, or the process may not use it.
pub fn pin(core: usize) -> Result<(), BenchError> {
    let what = || format!("run on core {core} (is there one, and may this process use it?)");
    let refused = |cause| BenchError::Host { what: what(), cause };
    if core >= CpuSet::MAX_CPU {
        return Err(refused(std::io::ErrorKind::InvalidInput.into()));
    }
    let mut set = CpuSet::new();
    set.set(core);
    sched_setaffinity(None, &set).map_err(|cause| refused(cause.into()))
}

/// A core that is not the one of the calling thread: the next one that is there, used by others or not.
pub(crate) fn other_core() -> Option<usize> {
    let ours = sched_getcpu();
    let count = std::thread::available_parallelism().map_or(1, usize::from);
    let all = online_cores().max(count);
    (1..all).map(|step| (ours + step) % all).find(|core| can_run_on(*core))
}

/// Cores of the machine, whatever this thread is pinned to.
pub(crate) fn online_cores() -> usize {
    let list = std::fs::read_to_string("/sys/devices/system/cpu/online").unwrap_or_default();
    let last = list.trim().rsplit(['-', ',']).next().and_then(|core| core.parse::<usize>().ok());
    last.map_or(1, |last| last + 1)
}

/// Whether a thread of ours may be moved there.
fn can_run_on(core: usize) -> bool {
    std::thread::spawn(move || pin(core).is_ok()).join().unwrap_or(false)
}
