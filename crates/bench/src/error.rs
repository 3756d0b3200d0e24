//! Why a run could not be made.

use std::path::PathBuf;

use helio_guest::GuestError;

/// What went wrong.
#[derive(Debug, thiserror::Error)]
pub enum BenchError {
    /// The plan contradicts itself.
    #[error("{0}")]
    Plan(String),
    /// A guest could not be attached, or lost its switch.
    #[error("the guest at {socket}: {cause}", socket = socket.display())]
    Guest {
        /// Its socket.
        socket: PathBuf,
        /// What it says.
        cause: GuestError,
    },
    /// Guests without a switch could not be made.
    #[error("the self-test: {0}")]
    SelfTest(GuestError),
    /// Nothing comes through.
    #[error("no frame from {from} reaches {to} within {seconds} s", from = from.display(), to = to.display())]
    Silent {
        /// Socket of the sender.
        from: PathBuf,
        /// Socket of the receiver.
        to: PathBuf,
        /// How long it was tried.
        seconds: u64,
    },
    /// The switch broke a rule of the ring, so that the figures are worth nothing.
    #[error("the switch broke a rule on the rings of {socket}: {faults}", socket = socket.display())]
    Fault {
        /// Socket of the guest.
        socket: PathBuf,
        /// Which.
        faults: String,
    },
    /// The operating system refused.
    #[error("cannot {what}: {cause}")]
    Host {
        /// What was to be done.
        what: String,
        /// Its answer.
        cause: std::io::Error,
    },
}
