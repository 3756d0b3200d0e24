//! How busy the switch was: what it says itself, or what the kernel says about its process.

use std::path::PathBuf;

use crate::error::BenchError;
use crate::frame_plan::as_f64;

/// What a switch has done since it started.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Busy {
    /// Nanoseconds that it worked.
    pub busy_ns: u64,
}

/// Somebody who knows how busy the switch was.
pub trait BusyMeter {
    /// Where the figure comes from, in a few words for the report.
    fn source(&self) -> &'static str;

    /// What it has done so far.
    ///
    /// # Errors
    ///
    /// When it cannot be asked.
    fn read(&mut self) -> Result<Busy, BenchError>;
}

/// Processor time of a process. A switch that polls without end takes all of it, busy or not.
#[derive(Clone, Copy, Debug)]
pub struct ProcessTime {
    process: u32,
}

impl ProcessTime {
    /// Of the process with this id.
    #[must_use]
    pub fn of(process: u32) -> Self {
        Self { process }
    }
}

impl BusyMeter for ProcessTime {
    fn source(&self) -> &'static str {
        "processor time of the process, idle polling included"
    }

    fn read(&mut self) -> Result<Busy, BenchError> {
        let folder = PathBuf::from(format!("/proc/{}/task", self.process));
        let failed = |cause| {
            let what = format!("read the processor time of process {}", self.process);
            BenchError::Host { what, cause }
        };
        let mut busy_ns = 0;
        for task in std::fs::read_dir(folder).map_err(failed)? {
            // A thread may end while we look; what it had done is then missed once.
            let Ok(text) = std::fs::read_to_string(task.map_err(failed)?.path().join("schedstat"))
            else {
                continue;
            };
            let on_core =
                text.split_whitespace().next().and_then(|first| first.parse::<u64>().ok());
            busy_ns += on_core.unwrap_or(0);
        }
        Ok(Busy { busy_ns })
    }
}

/// Nanoseconds per frame between two readings.
pub(crate) fn per_frame(before: Busy, after: Busy, frames: u64) -> Option<f64> {
    let busy = after.busy_ns.saturating_sub(before.busy_ns);
    (frames > 0).then(|| as_f64(busy) / as_f64(frames))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_that_works_takes_processor_time() {
        let mut meter = ProcessTime::of(std::process::id());
        let before = meter.read().unwrap();
        let began = std::time::Instant::now();
        while began.elapsed().as_millis() < 30 {
            std::hint::black_box(began);
        }
        let after = meter.read().unwrap();
        assert!(after.busy_ns > before.busy_ns);
        assert_eq!(per_frame(before, before, 10), Some(0.0));
        assert_eq!(per_frame(before, after, 0), None);
    }

    #[test]
    fn a_process_that_is_not_there_is_an_error() {
        assert!(ProcessTime::of(u32::MAX).read().is_err());
    }
}
