//! What an uplink is made from, what its two halves share, and why it may have no interface.

use std::fmt;
use std::io;
use std::sync::Arc;

use helio_frame::{MemoryDirectory, Wakeups};
use helio_host::{Answer, Mailbox, Order, PortEvent, Reply, ask};
use helio_types::{PassRule, PortId, UplinkMode};

use crate::noted::Noted;
use crate::port::Queues;
use crate::shared_umem::SharedUmem;
use crate::status::Status;

/// Which queues of its interface an uplink uses.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum UplinkQueues {
    /// All that the interface receives on, 64 at most: one with more is refused.
    #[default]
    All,
    /// The first ones, this many. What arrives on others is the host's.
    First(u32),
}

/// What the worker of an uplink does when there are no frames.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum WorkerPolling {
    /// It sleeps after a while, and is woken.
    #[default]
    Adaptive,
    /// It goes on looking: then a card that moves the bytes itself need not interrupt.
    Busy,
}

/// Most queues of one uplink: each takes 16 MiB of memory.
pub(crate) const MAX_QUEUES: u32 = 64;

/// What an uplink is made from.
pub struct UplinkParts {
    /// Which port of the switch.
    pub id: PortId,
    /// Its name, for threads and sentences.
    pub name: String,
    /// The interface, in the network namespace of the thread that starts the uplink.
    pub interface: String,
    /// How it is to be reached.
    pub mode: UplinkMode,
    /// Which of its queues.
    pub queues: UplinkQueues,
    /// Frames that go to the host instead of the switch.
    pub pass: Vec<PassRule>,
    /// The worker that will own the port.
    pub wakeups: Arc<dyn Wakeups>,
    /// What that does when there are no frames.
    pub polling: WorkerPolling,
    /// Memory that it shares with other uplinks, if the kernel copies frames and there is room.
    pub umem: Option<Arc<SharedUmem>>,
    /// Where all workers look up memory.
    pub directory: Arc<dyn MemoryDirectory>,
    /// Told what happens; called by the thread of the uplink.
    pub events: Box<dyn Fn(&PortEvent) + Send + Sync>,
}

impl fmt::Debug for UplinkParts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("UplinkParts")
            .field("id", &self.id)
            .field("interface", &self.interface)
            .field("mode", &self.mode)
            .finish_non_exhaustive()
    }
}

/// Why an uplink has no interface. Each is one sentence for the operator.
#[derive(Debug, thiserror::Error)]
pub enum UplinkError {
    /// There is none of that name.
    #[error("there is no interface {interface}: create it, or name another one")]
    NoInterface {
        /// Its name.
        interface: String,
    },
    /// It has fewer queues.
    #[error(
        "{interface} receives on {there} of {wanted} queues that are asked for: ask for fewer, or add some by ethtool -L"
    )]
    Queues {
        /// Its name.
        interface: String,
        /// How many are asked for.
        wanted: u32,
        /// How many there are.
        there: u32,
    },
    /// It has more queues than an uplink can have. Frames of the others would pass the switch by.
    #[error(
        "{interface} has {there} queues, and an uplink can use {MAX_QUEUES}: set fewer by ethtool -L {interface} combined \
         {MAX_QUEUES}, or leave the others to the host by queues = {MAX_QUEUES}"
    )]
    TooManyQueues {
        /// Its name.
        interface: String,
        /// How many there are.
        there: u32,
    },
    /// The process may not do that.
    #[error(
        "{interface} cannot be used without the right to {what}: run this process as root, or give it {capabilities}"
    )]
    NotPermitted {
        /// Its name.
        interface: String,
        /// What was refused.
        what: &'static str,
        /// The rights that allow it.
        capabilities: &'static str,
    },
    /// Another XDP program is attached.
    #[error(
        "another XDP program is attached to {interface}{which}: stop the process that did it, or, if that has left it behind, take it away by \
         ip link set dev {interface} {word} off"
    )]
    OtherProgram {
        /// Its name.
        interface: String,
        /// Number and name of the program, in brackets; empty when they are not known.
        which: String,
        /// What `ip link` calls the place where it is attached.
        word: &'static str,
    },
    /// Another AF_XDP socket has the queue.
    #[error(
        "queue {queue} of {interface} is in use by another AF_XDP socket: stop the process that has it"
    )]
    QueueInUse {
        /// Its name.
        interface: String,
        /// Which queue.
        queue: u32,
    },
    /// Driver or kernel do not have the mode.
    #[error("{interface} has no mode \"{mode}\" ({cause}): choose another one, or \"auto\"")]
    NoSuchMode {
        /// Its name.
        interface: String,
        /// What was asked for.
        mode: UplinkMode,
        /// What the host says.
        cause: io::Error,
    },
    /// The process may not keep as much memory in place.
    #[error(
        "{interface} needs {mib} MiB of locked memory, and this process may not have as much: run it as root, give it \
         CAP_IPC_LOCK, or raise its limit (ulimit -l, or LimitMEMLOCK= in its unit)"
    )]
    LockedMemory {
        /// Its name.
        interface: String,
        /// How much its queues need.
        mib: u32,
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
    /// A number of queues that is not possible.
    #[error("{0} queues are not possible: choose 1 to 64")]
    QueueCount(u32),
    /// No thread, or no descriptor.
    #[error("the control thread of the uplink cannot start: {0}")]
    Thread(io::Error),
}

/// What both halves of an uplink share.
pub(crate) struct Shared {
    pub(crate) id: PortId,
    pub(crate) name: String,
    pub(crate) interface: String,
    pub(crate) mode: UplinkMode,
    pub(crate) queues: UplinkQueues,
    pub(crate) pass: Vec<PassRule>,
    pub(crate) mailbox: Mailbox<Queues>,
    pub(crate) status: Status,
    pub(crate) noted: Noted,
    pub(crate) wakeups: Arc<dyn Wakeups>,
    pub(crate) polling: WorkerPolling,
    pub(crate) umem: Option<Arc<SharedUmem>>,
    pub(crate) directory: Arc<dyn MemoryDirectory>,
    events: Box<dyn Fn(&PortEvent) + Send + Sync>,
}

impl Shared {
    pub(crate) fn new(parts: UplinkParts) -> Self {
        Self {
            id: parts.id,
            name: parts.name,
            interface: parts.interface,
            mode: parts.mode,
            queues: parts.queues,
            pass: parts.pass,
            mailbox: Mailbox::default(),
            status: Status::default(),
            noted: Noted::default(),
            wakeups: parts.wakeups,
            polling: parts.polling,
            umem: parts.umem,
            directory: parts.directory,
            events: parts.events,
        }
    }

    /// Gives the worker an order and waits for the answer, however long it takes. One that takes too long is told once.
    pub(crate) fn ask(&self, order: impl FnOnce(Answer<Queues>) -> Order<Queues>) -> Reply<Queues> {
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
