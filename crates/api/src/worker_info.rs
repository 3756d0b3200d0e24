//! What a worker does with its time.

use serde::{Deserialize, Serialize};

/// One worker.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WorkerInfo {
    /// Its position in the configuration.
    pub worker: usize,
    /// The core it is pinned to.
    pub core: usize,
    /// `adaptive` or `busy`.
    pub poll: String,
    /// Names of the ports it serves.
    pub ports: Vec<String>,
    /// Passes over its rings.
    pub turns: u64,
    /// Frames taken from its rings.
    pub frames: u64,
    /// Times it went to sleep.
    pub sleeps: u64,
    /// Nanoseconds spent in turns that met work.
    pub busy_ns: u64,
    /// Nanoseconds spent asleep, or in turns that met none.
    pub idle_ns: u64,
    /// How long a turn that met work takes.
    pub turn_ns: TurnTimes,
}

/// Percentiles in nanoseconds; all 0 before the first turn that met work.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TurnTimes {
    /// Half of the turns were no longer.
    pub p50: u64,
    /// 99 of 100 were no longer.
    pub p99: u64,
    /// The longest.
    pub max: u64,
}

impl WorkerInfo {
    /// Busy time in thousandths of all time since the start.
    #[must_use]
    pub fn busy_per_mille(&self) -> u64 {
        let (busy, all) =
            (u128::from(self.busy_ns), u128::from(self.busy_ns) + u128::from(self.idle_ns));
        u64::try_from((busy * 1000).checked_div(all).unwrap_or(0)).unwrap_or(1000)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn busy_time_is_a_share_of_all_time() {
        let mut worker = WorkerInfo {
            worker: 0,
            core: 1,
            poll: "adaptive".to_owned(),
            ports: Vec::new(),
            turns: 0,
            frames: 0,
            sleeps: 0,
            busy_ns: 0,
            idle_ns: 0,
            turn_ns: TurnTimes::default(),
        };
        assert_eq!(worker.busy_per_mille(), 0);
        (worker.busy_ns, worker.idle_ns) = (u64::MAX, u64::MAX);
        assert_eq!(worker.busy_per_mille(), 500);
        worker.idle_ns = 0;
        assert_eq!(worker.busy_per_mille(), 1000);
    }
}
