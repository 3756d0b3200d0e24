//! Why a guest could not be set up or talked for: the back-end refused, or the host did.

use std::time::Duration;

use crate::message::MessageId;

/// What went wrong between this guest, its back-end and the host.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum GuestError {
    /// A system call failed.
    #[error("cannot {what}: {cause}")]
    Host {
        /// What was to be done.
        what: &'static str,
        /// The answer of the kernel.
        cause: rustix::io::Errno,
    },
    /// A socket could not be made, reached or read.
    #[error("socket: {0}")]
    Socket(#[from] std::io::Error),
    /// The back-end closed the connection.
    #[error("the back-end closed the connection")]
    Closed,
    /// The back-end did not answer, or did not do what was waited for.
    #[error("waited {waited:?} for {what}")]
    Timeout {
        /// What was waited for.
        what: &'static str,
        /// How long.
        waited: Duration,
    },
    /// The back-end answered a message with a failure.
    #[error("the back-end refused {message:?} with code {code}")]
    Refused {
        /// The message.
        message: MessageId,
        /// The number it answered; not 0.
        code: u64,
    },
    /// The back-end sent bytes that are not the reply to the message.
    #[error("no valid reply to {message:?}: {what}")]
    BadReply {
        /// The message that was to be answered.
        message: MessageId,
        /// What is wrong with the answer.
        what: &'static str,
    },
    /// The regions asked for cannot be made.
    #[error("memory layout: {0}")]
    MemoryLayout(&'static str),
    /// The regions are too small for the rings and the buffers.
    #[error("guest memory has no {wanted_bytes} bytes left")]
    MemoryExhausted {
        /// What should have been allocated.
        wanted_bytes: u64,
    },
    /// The configuration contradicts itself or the protocol.
    #[error("guest configuration: {0}")]
    Config(&'static str),
}

impl GuestError {
    /// For `map_err` after a system call that was to do `what`.
    pub(crate) fn host(what: &'static str) -> impl Fn(rustix::io::Errno) -> Self {
        move |cause| Self::Host { what, cause }
    }
}
