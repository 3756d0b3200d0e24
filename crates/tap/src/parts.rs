//! What a TAP port is made from, what its two halves share, and why it may have no interface.

use std::fmt;
use std::io;
use std::sync::Arc;

use helio_frame::Wakeups;
use helio_host::{Answer, Mailbox, Order, PortEvent, Reply, ask};
use helio_types::PortId;

use crate::device::Device;
use crate::status::Status;

/// What a TAP port is made from.
pub struct TapParts {
    /// Which port of the switch.
    pub id: PortId,
    /// Its name, for threads and sentences.
    pub name: String,
    /// The interface to make, in the network namespace of the thread that starts the port.
    pub interface: String,
    /// Bytes of the longest packet that the interface shall send, without link headers.
    pub mtu: u16,
    /// The worker that will own the port.
    pub wakeups: Arc<dyn Wakeups>,
    /// Told what happens; called by the thread of the port.
    pub events: Box<dyn Fn(&PortEvent) + Send + Sync>,
}

impl fmt::Debug for TapParts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TapParts")
            .field("id", &self.id)
            .field("interface", &self.interface)
            .field("mtu", &self.mtu)
            .finish_non_exhaustive()
    }
}

/// Why a TAP port has no interface. Each is one sentence for the operator.
#[derive(Debug, thiserror::Error)]
pub enum TapError {
    /// The kernel has no TAPs, or does not show them here.
    #[error(
        "/dev/net/tun cannot be opened ({0}): load the module tun, and let this process see the file"
    )]
    NoTaps(io::Error),
    /// The process may not do that.
    #[error(
        "{interface} cannot be made without CAP_NET_ADMIN: run this process as root, or give it that right"
    )]
    NotPermitted {
        /// Its name.
        interface: String,
    },
    /// Something has the name that is no TAP like ours.
    #[error(
        "there is an interface {interface} already, and it is not a TAP: name another one, or remove it by \
         ip link del {interface}"
    )]
    OtherKind {
        /// Its name.
        interface: String,
    },
    /// Somebody else has the TAP.
    #[error("{interface} is in use by another process: stop that, or name another one")]
    InUse {
        /// Its name.
        interface: String,
    },
    /// The host refused for another reason.
    #[error("{interface} cannot be used: {what}: {cause}")]
    Host {
        /// Its name.
        interface: String,
        /// What was refused.
        what: &'static str,
        /// What the host says.
        cause: io::Error,
    },
    /// No thread, or no descriptor.
    #[error("the control thread of the TAP cannot start: {0}")]
    Thread(io::Error),
}

/// What both halves of a TAP port share.
pub(crate) struct Shared {
    pub(crate) id: PortId,
    pub(crate) name: String,
    pub(crate) interface: String,
    pub(crate) mailbox: Mailbox<Device>,
    pub(crate) status: Status,
    pub(crate) wakeups: Arc<dyn Wakeups>,
    events: Box<dyn Fn(&PortEvent) + Send + Sync>,
}

impl Shared {
    pub(crate) fn new(parts: TapParts) -> Self {
        Self {
            id: parts.id,
            name: parts.name,
            interface: parts.interface,
            mailbox: Mailbox::default(),
            status: Status::new(parts.mtu),
            wakeups: parts.wakeups,
            events: parts.events,
        }
    }

    /// Gives the worker an order and waits for the answer, however long it takes. One that takes too long is told once.
    pub(crate) fn ask(&self, order: impl FnOnce(Answer<Device>) -> Order<Device>) -> Reply<Device> {
        let silent = || {
            self.status.worker_silent();
            self.tell(&PortEvent::WorkerSilent);
        };
        ask(&self.mailbox, &*self.wakeups, silent, order)
    }

    pub(crate) fn tell(&self, event: &PortEvent) {
        (self.events)(event);
    }
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shared")
            .field("id", &self.id)
            .field("interface", &self.interface)
            .finish_non_exhaustive()
    }
}
