//! What a port is made from, and what its two halves share.

use std::fmt;
use std::io;
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use helio_frame::{MemoryDirectory, PortFault, Wakeups};
use helio_types::PortId;

use crate::event_fd;
use crate::mailbox::Mailbox;
use crate::pace::EventPace;
use crate::status::PortStatus;

/// Most queue pairs of one port: messages name a ring by one byte.
pub const MAX_QUEUE_PAIRS: u8 = 128;

/// Who waits on the socket, and who connects.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SocketRole {
    /// We listen, front-ends connect.
    Server,
    /// The front-end listens, we connect, and again after each session.
    Client,
}

/// Who may connect to a socket on which we listen: its owner, as the mode says, and one group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SocketAccess {
    /// Permission bits of the file, as in chmod(2).
    pub mode: u32,
    /// The group of the file; `None` leaves it to the process.
    pub group: Option<u32>,
}

impl Default for SocketAccess {
    /// The user and the group of this process.
    fn default() -> Self {
        Self { mode: 0o660, group: None }
    }
}

/// What a port is made from.
pub struct PortParts {
    /// Which port of the switch.
    pub id: PortId,
    /// Its name, for threads and sentences.
    pub name: String,
    /// Path of the socket.
    pub socket: PathBuf,
    /// Our role on it.
    pub role: SocketRole,
    /// Who may connect, when we listen.
    pub access: SocketAccess,
    /// Most queue pairs that a front-end may use; 1 to [`MAX_QUEUE_PAIRS`].
    pub queue_pairs: u8,
    /// The worker that will own the port.
    pub wakeups: Arc<dyn Wakeups>,
    /// Where all workers look up memory.
    pub directory: Arc<dyn MemoryDirectory>,
    /// Told what happens; called by the threads of the port.
    pub events: Box<dyn Fn(&PortEvent) + Send + Sync>,
}

impl fmt::Debug for PortParts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PortParts")
            .field("id", &self.id)
            .field("socket", &self.socket)
            .finish_non_exhaustive()
    }
}

/// Something worth a line in a log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PortEvent {
    /// A session began.
    Connected,
    /// A session ended, for this reason.
    SessionEnded(String),
    /// The port stopped because a rule was broken, or something the front-end asked for was not done as asked. Of the
    /// latter, at most one per session and kind. Of all together, at most 20 in a second and 16 at once.
    Note(String),
    /// Queues were stopped, and no pair carries frames any more. All frames that the worker took from the guest are decided
    /// when this is told; that can be more than once for what was one stop to the guest, as its queues stop one by one. A worker
    /// that does not answer puts it off until it does.
    LinkDown,
    /// The worker did not answer in time. It must not happen. Told once until it answers, and once more for each time that
    /// [`VhostPortHandle::stop`](crate::VhostPortHandle::stop) waits in vain.
    WorkerSilent,
}

impl fmt::Display for PortEvent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Connected => f.write_str("a front-end is connected"),
            Self::SessionEnded(why) => write!(f, "the session ended: {why}"),
            Self::Note(note) => f.write_str(note),
            Self::LinkDown => f.write_str("no queue pair carries frames any more"),
            Self::WorkerSilent => f.write_str("the worker did not answer in time"),
        }
    }
}

/// Why a port cannot be made. Each is one sentence for the operator.
#[derive(Debug, thiserror::Error)]
pub enum PortError {
    /// Longer than the kernel takes.
    #[error(
        "socket path {path:?} has {bytes} bytes, and at most 107 are possible: choose a shorter one"
    )]
    PathTooLong {
        /// The path.
        path: PathBuf,
        /// Its length.
        bytes: usize,
    },
    /// Not text.
    #[error("socket path {0:?} is not UTF-8: choose another one")]
    PathNotText(PathBuf),
    /// There is no directory for the socket.
    #[error("socket {0:?} cannot be made, as its directory does not exist: create the directory")]
    NoDirectory(PathBuf),
    /// Somebody answers on the path.
    #[error("socket {0:?} is in use by another process: stop that process or choose another path")]
    InUse(PathBuf),
    /// A file that is no socket stands in the way.
    #[error("{0:?} exists and is not a socket: remove it or choose another path")]
    NotASocket(PathBuf),
    /// The host refused for another reason.
    #[error(
        "socket {path:?} cannot be opened: {cause}; check that the user of this process may write to its directory"
    )]
    Socket {
        /// The path.
        path: PathBuf,
        /// The reason.
        cause: io::Error,
    },
    /// The socket cannot be given to its group.
    #[error(
        "socket {path:?} cannot be given to group {group}: {cause}; run this process as root or as a member of that group, or choose another group"
    )]
    Group {
        /// The path.
        path: PathBuf,
        /// The group, as a number.
        group: u32,
        /// The reason.
        cause: io::Error,
    },
    /// Number of queue pairs out of range.
    #[error("{0} queue pairs are not possible: choose 1 to 128")]
    QueuePairs(u8),
    /// No thread, or no descriptor.
    #[error("the control thread of the port cannot start: {0}")]
    Thread(io::Error),
}

/// What both halves of a port, its threads and its sessions share.
pub(crate) struct PortShared {
    pub(crate) id: PortId,
    pub(crate) name: String,
    pub(crate) socket: PathBuf,
    pub(crate) queue_pairs: u8,
    pub(crate) mailbox: Mailbox,
    pub(crate) status: PortStatus,
    pub(crate) wakeups: Arc<dyn Wakeups>,
    pub(crate) directory: Arc<dyn MemoryDirectory>,
    /// Readable after the port broke a rule, until the control thread has told so.
    pub(crate) fault_event: OwnedFd,
    /// How fast notes may follow each other.
    note_pace: Mutex<EventPace>,
    events: Box<dyn Fn(&PortEvent) + Send + Sync>,
}

impl PortShared {
    pub(crate) fn new(parts: PortParts) -> io::Result<Self> {
        Ok(Self {
            id: parts.id,
            name: parts.name,
            socket: parts.socket,
            queue_pairs: parts.queue_pairs,
            mailbox: Mailbox::default(),
            status: PortStatus::default(),
            wakeups: parts.wakeups,
            directory: parts.directory,
            fault_event: event_fd::make()?,
            note_pace: Mutex::new(EventPace::new(Instant::now())),
            events: parts.events,
        })
    }

    /// The port has broken a rule. Called by its worker or its session.
    pub(crate) fn fail(&self, fault: PortFault) {
        self.status.set_fault(fault);
        event_fd::signal(&self.fault_event);
    }

    /// The worker has not answered in time, which is told once until it answers.
    pub(crate) fn missed_worker(&self) {
        if !self.status.miss_worker() {
            self.tell(&PortEvent::WorkerSilent);
        }
    }

    /// The worker has answered, or let go of the port. If it was silent before, what was not told then may be so by now.
    pub(crate) fn heard_worker(&self) {
        if self.status.hear_worker() && self.status.active_pairs() == 0 {
            self.tell(&PortEvent::LinkDown);
        }
    }

    pub(crate) fn tell(&self, event: &PortEvent) {
        (self.events)(event);
    }

    /// Tells a note, unless too many were told just now: the state of the port says the last one all the same.
    pub(crate) fn tell_note(&self, note: impl Into<String>) {
        let mut pace = self.note_pace.lock().unwrap_or_else(PoisonError::into_inner);
        let permitted = pace.permits(Instant::now());
        drop(pace);
        if permitted {
            self.tell(&PortEvent::Note(note.into()));
        }
    }
}

impl fmt::Debug for PortShared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PortShared")
            .field("id", &self.id)
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}
