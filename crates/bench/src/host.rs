//! The machine under a run, as far as it matters to the figures.

use serde::Serialize;

use crate::core::online_cores;

/// What the report says about it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Host {
    /// Name of the processor.
    pub processor: String,
    /// Number of cores that are there.
    pub cores: usize,
    /// Version of the kernel.
    pub kernel: String,
    /// Processes that were ready to run, as an average over a minute, times 100: what else goes on.
    pub load_percent: u64,
}

impl Host {
    /// This one; what cannot be read stays empty.
    #[must_use]
    pub fn this() -> Self {
        let read = |path| std::fs::read_to_string(path).unwrap_or_default();
        let processor = read("/proc/cpuinfo")
            .lines()
            .find_map(|line| line.strip_prefix("model name")?.split_once(": "))
            .map(|(_colon, name)| name.to_owned())
            .unwrap_or_default();
        let load = read("/proc/loadavg");
        let load_percent = load.split_whitespace().next().and_then(|first| {
            let (whole, part) = first.split_once('.')?;
            Some(whole.parse::<u64>().ok()? * 100 + part.parse::<u64>().ok()?)
        });
        Self {
            processor,
            cores: online_cores(),
            kernel: read("/proc/sys/kernel/osrelease").trim().to_owned(),
            load_percent: load_percent.unwrap_or(0),
        }
    }
}
