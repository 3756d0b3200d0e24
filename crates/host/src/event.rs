//! What a log is told of a port on an interface.

use std::fmt;

/// What is said of a worker that takes too long.
pub(crate) const WORKER_SILENT: &str =
    "the worker of the port does not answer; the port goes on when it does";

/// Something worth a line in a log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PortEvent {
    /// The interface is open; the sentence says how.
    Opened(String),
    /// It cannot be opened, for a reason that is not that of the try before. It is tried again.
    Refused(String),
    /// It was open, and is not any more.
    Closed(String),
    /// Something is not as an operator would expect.
    Note(String),
    /// It carries no frames any more. Told when all that had come from it are decided, and at each later look while it lasts,
    /// as some may come late.
    LinkDown,
    /// The worker does not answer; it is waited for. It must not happen.
    WorkerSilent,
}

impl fmt::Display for PortEvent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Opened(text) | Self::Refused(text) | Self::Closed(text) | Self::Note(text) => {
                f.write_str(text)
            }
            Self::LinkDown => f.write_str("it carries no frames any more"),
            Self::WorkerSilent => f.write_str(WORKER_SILENT),
        }
    }
}
