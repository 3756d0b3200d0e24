//! What a log is told of a port on an interface.

use std::fmt;

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
    /// The worker did not answer in time. It must not happen.
    WorkerSilent,
}

impl fmt::Display for PortEvent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Opened(text) | Self::Refused(text) | Self::Closed(text) | Self::Note(text) => {
                f.write_str(text)
            }
            Self::WorkerSilent => f.write_str("the worker did not answer in time"),
        }
    }
}
