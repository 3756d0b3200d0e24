//! What the kernel says about a process and about the cores: the figures that tell whether a window was quiet.

use std::fs;
use std::time::{Duration, Instant};

use rustix::process::Pid;
use rustix::thread::{CpuSet, sched_getcpu, sched_setaffinity};

use crate::error::PerfError;

/// How long a process may take until a signal has stopped all its threads.
const PARKING: Duration = Duration::from_millis(100);

/// What the cores have done since the machine started, in ticks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CoreTicks {
    all: u64,
    stolen: u64,
}

impl CoreTicks {
    /// Of all cores together.
    ///
    /// # Errors
    ///
    /// When `/proc/stat` cannot be read.
    pub fn now() -> Result<Self, PerfError> {
        let text = fs::read_to_string("/proc/stat").map_err(PerfError::io("read /proc/stat"))?;
        Ok(Self::parse(&text))
    }

    fn parse(text: &str) -> Self {
        let first = text.lines().next().unwrap_or_default();
        let ticks: Vec<u64> =
            first.split_whitespace().skip(1).map(|word| word.parse().unwrap_or(0)).collect();
        // The last two of ten are part of the first two.
        Self { all: ticks.iter().take(8).sum(), stolen: ticks.get(7).copied().unwrap_or(0) }
    }

    /// Share of time since `before` that other machines had, in percent.
    #[must_use]
    pub fn stolen_percent(&self, before: &Self) -> f64 {
        let all = self.all.saturating_sub(before.all);
        let stolen = self.stolen.saturating_sub(before.stolen);
        if all == 0 { 0.0 } else { 100.0 * as_f64(stolen) / as_f64(all) }
    }
}

/// How often threads that may run on `core` only were taken off it.
#[must_use]
pub fn involuntary_switches(process: u32, core: usize) -> u64 {
    let Ok(tasks) = fs::read_dir(format!("/proc/{process}/task")) else { return 0 };
    let status = |task: std::io::Result<fs::DirEntry>| {
        fs::read_to_string(task.ok()?.path().join("status")).ok()
    };
    let core = core.to_string();
    tasks
        .filter_map(status)
        .filter(|status| word_of(status, "Cpus_allowed_list:") == Some(&core))
        .filter_map(|status| word_of(&status, "nonvoluntary_ctxt_switches:")?.parse::<u64>().ok())
        .sum()
}

/// Keeps all threads of a process on `core` but those that are bound to `worker_core`: those would be in each other's way.
pub fn confine(process: u32, core: usize, worker_core: usize) {
    let Ok(tasks) = fs::read_dir(format!("/proc/{process}/task")) else { return };
    let mut only = CpuSet::new();
    only.set(core);
    let worker_core = worker_core.to_string();
    for task in tasks.flatten() {
        let status = fs::read_to_string(task.path().join("status")).unwrap_or_default();
        let id = task.file_name().to_string_lossy().parse().ok().and_then(Pid::from_raw);
        if word_of(&status, "Cpus_allowed_list:") != Some(&worker_core) && id.is_some() {
            // A thread that has ended meanwhile is nowhere at all.
            let _ = sched_setaffinity(id, &only);
        }
    }
}

/// Waits until no thread of a process runs any more, after it was told to stop.
pub fn wait_until_parked(process: u32) {
    let began = Instant::now();
    let is_stopped = |task: std::io::Result<fs::DirEntry>| {
        let text = task.ok().and_then(|task| fs::read_to_string(task.path().join("stat")).ok());
        // The state stands behind the name, which is in brackets.
        text.is_none_or(|text| text.rsplit(") ").next().is_some_and(|rest| rest.starts_with('T')))
    };
    while began.elapsed() < PARKING {
        let Ok(mut tasks) = fs::read_dir(format!("/proc/{process}/task")) else { return };
        if tasks.all(is_stopped) {
            return;
        }
    }
}

/// Nanoseconds that all threads of a process have run.
#[must_use]
pub fn processor_ns(process: u32) -> u64 {
    let Ok(tasks) = fs::read_dir(format!("/proc/{process}/task")) else { return 0 };
    let ran = |task: std::io::Result<fs::DirEntry>| {
        let text = fs::read_to_string(task.ok()?.path().join("schedstat")).ok()?;
        text.split_whitespace().next()?.parse::<u64>().ok()
    };
    tasks.filter_map(ran).sum()
}

/// Memory of a process, in KiB: ordinary pages in memory, and huge ones.
#[must_use]
pub fn memory_kib(process: u32) -> [u64; 2] {
    let status = fs::read_to_string(format!("/proc/{process}/status")).unwrap_or_default();
    ["VmRSS:", "HugetlbPages:"]
        .map(|key| word_of(&status, key).and_then(|word| word.parse().ok()).unwrap_or(0))
}

/// Keeps the calling thread where it is told, and says where it is.
#[must_use]
pub fn core_now() -> usize {
    sched_getcpu()
}

fn word_of<'a>(text: &'a str, key: &str) -> Option<&'a str> {
    text.lines().find_map(|line| line.strip_prefix(key))?.split_whitespace().next()
}

/// Counts are far below 2^53 here: nothing is lost.
#[allow(clippy::as_conversions, reason = "there is no other way from u64 to f64")]
pub(crate) fn as_f64(count: u64) -> f64 {
    count as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stolen_time_is_a_share_of_all_time() {
        let before = CoreTicks::parse("cpu  10 0 10 70 0 0 0 10 5 5\ncpu0 1 1\n");
        let after = CoreTicks::parse("cpu  20 0 20 150 0 0 0 10 9 9\n");
        assert_eq!(before, CoreTicks { all: 100, stolen: 10 });
        assert_eq!(after.stolen_percent(&before), 0.0);
        assert_eq!(before.stolen_percent(&before), 0.0);
        assert_eq!(CoreTicks { all: 300, stolen: 11 }.stolen_percent(&before), 0.5);
    }

    #[test]
    fn this_process_has_memory_and_time() {
        let own = std::process::id();
        assert!(memory_kib(own)[0] > 100);
        assert!(processor_ns(own) > 0);
        assert_eq!(involuntary_switches(own, 9999), 0);
        assert!(core_now() < 4096);
    }
}
