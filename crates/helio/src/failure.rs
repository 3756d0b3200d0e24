//! Why a command failed: one plain sentence that says what, where, why, and what to do.

use std::io;
use std::path::PathBuf;

use helio_api::FaultInfo;
use helio_config::{ConfigError, HostError};
use helio_daemon::DaemonError;

use crate::wording::Typed;

/// What ends the program with exit code 1.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    /// The configuration is not right. One line for each problem, after a line of our own.
    #[error("the configuration is not right:\n{0}")]
    Config(#[from] ConfigError),
    #[error("{0}")]
    Host(#[from] HostError),
    #[error("the control socket cannot be moved: {0}")]
    Control(String),
    #[error("{0}")]
    Daemon(#[from] DaemonError),
    /// Nobody answers on the control socket.
    #[error("cannot reach the switch at {path}: {why}", path = path.display())]
    Unreachable { path: PathBuf, why: String },
    /// The switch answered, and its answer was no.
    #[error("{error}{}{hint}", if hint.is_empty() { "" } else { "; " })]
    Refused { error: String, hint: String, faults: Vec<FaultInfo> },
    /// What answered is no switch, or one of another version.
    #[error("the answer from {path} was not understood: {why}; is the switch of another version than this command?", path = path.display())]
    Answer { path: PathBuf, why: String },
    #[error("{0}")]
    Bench(#[from] helio_bench::BenchError),
    #[error("the output cannot be written: {0}")]
    Output(#[from] io::Error),
}

impl Failure {
    /// The same, with settings named as they were typed.
    pub(crate) fn of(self, typed: &Typed) -> Self {
        match self {
            Self::Refused { hint, faults, .. } if !faults.is_empty() => {
                Self::Refused { error: typed.sentence(&faults), hint, faults }
            }
            other => other,
        }
    }
}
