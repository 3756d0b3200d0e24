//! Why a run could not be made.

use std::path::PathBuf;
use std::time::Duration;

use helio_guest::GuestError;

/// What went wrong.
#[derive(Debug, thiserror::Error)]
pub enum BenchError {
    /// The plan contradicts itself.
    #[error("{0}")]
    Plan(String),
    /// Nobody listens at a socket.
    #[error(
        "no switch listens at {socket} ({cause}); start it first, or listen here if it is the switch that connects",
        socket = socket.display()
    )]
    NoSwitch {
        /// The socket.
        socket: PathBuf,
        /// What was said when it was tried last.
        cause: GuestError,
    },
    /// Nobody connected to a socket.
    #[error(
        "no switch connected to {socket} within {waited:?}; has it a port that connects to this socket?",
        socket = socket.display()
    )]
    NobodyCame {
        /// The socket.
        socket: PathBuf,
        /// How long was waited.
        waited: Duration,
    },
    /// Somebody is there who does not talk as the back-end of a guest.
    #[error(
        "what answers at {socket} does not take a guest ({cause}); is it the socket of a port, and has the port no other guest?",
        socket = socket.display()
    )]
    NotAPort {
        /// The socket.
        socket: PathBuf,
        /// What happened instead.
        cause: GuestError,
    },
    /// A guest could not be attached, or lost its switch.
    #[error("the guest at {socket}: {cause}", socket = socket.display())]
    Guest {
        /// Its socket.
        socket: PathBuf,
        /// What it says.
        cause: GuestError,
    },
    /// Guests without a switch could not be made.
    #[error("guests cannot be made for the self-test: {0}")]
    SelfTest(GuestError),
    /// Nothing comes through.
    #[error(
        "no frame from {from} reaches {to} within {waited:?}; are both ports in one VLAN, and do they take such frames?",
        from = from.display(),
        to = to.display()
    )]
    Silent {
        /// Socket of the sender.
        from: PathBuf,
        /// Socket of the receiver.
        to: PathBuf,
        /// How long it was tried.
        waited: Duration,
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
