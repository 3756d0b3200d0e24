//! Why a comparison could not be made, told by whose turn it is to act.

use std::io;

use helio_bench::BenchError;
use helio_lab::LabError;

/// What went wrong.
#[derive(Debug, thiserror::Error)]
pub enum PerfError {
    /// The file of cells, or what was asked on the command line, contradicts itself.
    #[error("{0}")]
    Plan(String),
    /// The machine lacks something.
    #[error("{what} is missing; {remedy}")]
    Missing {
        /// What.
        what: String,
        /// How to get it.
        remedy: &'static str,
    },
    /// The host refused.
    #[error("{doing}: {source}")]
    Io {
        /// What was being done.
        doing: String,
        /// The answer.
        source: io::Error,
    },
    /// A peer does not do what it was told.
    #[error("{peer}: {what}")]
    Peer {
        /// Its name.
        peer: String,
        /// What it did or said.
        what: String,
    },
    /// A process could not be started or watched.
    #[error(transparent)]
    Lab(#[from] LabError),
    /// The generator could not measure.
    #[error(transparent)]
    Bench(#[from] BenchError),
}

impl PerfError {
    /// For `map_err`: names what was being done when the host refused.
    pub(crate) fn io(doing: impl Into<String>) -> impl FnOnce(io::Error) -> Self {
        let doing = doing.into();
        move |source| Self::Io { doing, source }
    }

    /// A peer and what it did.
    pub(crate) fn peer(peer: impl Into<String>, what: impl Into<String>) -> Self {
        Self::Peer { peer: peer.into(), what: what.into() }
    }
}
