//! The control thread of a port: it waits for a front-end, runs the session, and waits for the next one.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{TryRecvError, sync_channel};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec};
use vhost_user_backend::Error;

use crate::backend::{self, Daemon};
use crate::event_fd;
use crate::gate::{Attention, Closed, Gate, Sight, private_link};
use crate::mailbox::{Command, Order};
use crate::pace::{RetryDelay, SessionPace};
use crate::parts::{PortEvent, PortShared};
use crate::ring_id::RingId;
use crate::session::Session;
use crate::session_end;
use crate::socket::{self, ServerSocket};
use crate::state;
use crate::status::Link;

/// Pause after the host refused a session, so that refusals are not repeated without end.
const REFUSED_PAUSE: Duration = Duration::from_millis(100);

/// Between two looks at whether a worker that was silent has answered.
const WORKER_LOOK: Duration = Duration::from_millis(50);

/// How the handle of a port ends its control thread.
#[derive(Debug)]
pub(crate) struct Stop {
    wanted: AtomicBool,
    event: OwnedFd,
}

impl Stop {
    pub(crate) fn new() -> io::Result<Self> {
        Ok(Self { wanted: AtomicBool::new(false), event: event_fd::make()? })
    }

    /// Asks the thread to end.
    pub(crate) fn request(&self) {
        self.wanted.store(true, Ordering::Release);
        event_fd::signal(&self.event);
    }

    fn is_wanted(&self) -> bool {
        self.wanted.load(Ordering::Acquire)
    }

    /// Waits for a request, for `ready`, or for the end of `timeout`.
    fn wait(&self, ready: Option<BorrowedFd<'_>>, timeout: Option<Duration>) {
        let mut fds = vec![PollFd::from_borrowed_fd(self.event.as_fd(), PollFlags::IN)];
        fds.extend(ready.map(|fd| PollFd::from_borrowed_fd(fd, PollFlags::IN)));
        let timeout = timeout.and_then(|time| Timespec::try_from(time).ok());
        // An interruption is like an early end: all callers look at what they wait for, or try again.
        let _ = rustix::event::poll(&mut fds, timeout.as_ref());
    }
}

/// How front-ends and we come together.
pub(crate) enum Way {
    /// They come to us.
    Server(ServerSocket),
    /// We go to them.
    Client,
}

impl Way {
    /// Where the connection stands while there is no session.
    pub(crate) fn link(&self) -> Link {
        match self {
            Self::Server(_) => Link::Listening,
            Self::Client => Link::Connecting(None),
        }
    }

    /// The socket to which front-ends come.
    fn server(&self) -> Option<&ServerSocket> {
        match self {
            Self::Server(socket) => Some(socket),
            Self::Client => None,
        }
    }
}

/// Runs until it is asked to stop.
pub(crate) fn run(port: &Arc<PortShared>, stop: &Stop, way: &Way) {
    let mut pace = SessionPace::new(Instant::now());
    let mut retry = RetryDelay::new();
    while !stop.is_wanted() {
        if port.status.is_worker_silent() {
            await_worker(port, stop);
            continue;
        }
        let front = match way {
            Way::Server(socket) => accept(port, stop, socket),
            Way::Client => connect(port, stop, &mut retry),
        };
        let Some(front) = front else { continue };
        let early = pace.next(Instant::now());
        if !early.is_zero() {
            stop.wait(None, Some(early));
        }
        let why = session(port, stop, way, front).unwrap_or_else(|error| {
            stop.wait(None, Some(REFUSED_PAUSE));
            error.to_string()
        });
        let mut facts = port.status.facts();
        facts.link = way.link();
        facts.last_end = Some(why.clone());
        drop(facts);
        port.tell(&PortEvent::SessionEnded(why));
    }
    port.status.facts().link = Link::Down;
}

/// Waits until the worker answers again, as nobody can be served before it does.
fn await_worker(port: &PortShared, stop: &Stop) {
    let Some(ring) = RingId::new(0) else { return };
    let (answer, answered) = sync_channel(1);
    port.mailbox.post(Order { ring, command: Command::Quiesce, answer });
    port.wakeups.wake();
    while !stop.is_wanted() {
        if !matches!(answered.try_recv(), Err(TryRecvError::Empty)) {
            return port.heard_worker();
        }
        stop.wait(None, Some(WORKER_LOOK));
    }
}

/// The next front-end that comes; `None` when there is none yet.
fn accept(port: &PortShared, stop: &Stop, socket: &ServerSocket) -> Option<UnixStream> {
    stop.wait(Some(socket.as_fd()), None);
    if stop.is_wanted() {
        return None;
    }
    match socket.accept() {
        Ok(front) => Some(front),
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => None,
        Err(error) => {
            port.status.facts().last_end = Some(format!("no connection could be taken: {error}"));
            stop.wait(None, Some(REFUSED_PAUSE));
            None
        }
    }
}

/// A front-end that we reach; `None` when there is none yet.
fn connect(port: &PortShared, stop: &Stop, retry: &mut RetryDelay) -> Option<UnixStream> {
    match socket::connect(&port.socket) {
        Ok(front) => {
            *retry = RetryDelay::new();
            Some(front)
        }
        Err(error) => {
            let why = socket::connect_sentence(error);
            port.status.facts().link = Link::Connecting(Some(why));
            stop.wait(None, Some(retry.next()));
            None
        }
    }
}

/// Runs one session from its connection to its end. Returns why it ended.
fn session(
    port: &Arc<PortShared>,
    stop: &Stop,
    way: &Way,
    front: UnixStream,
) -> Result<String, Error> {
    let session = Arc::new(Session::new(Arc::clone(port)));
    let (back, mut listener) = private_link().map_err(Error::StartDaemon)?;
    let mut daemon = backend::daemon(&session)?;
    daemon.start(&mut listener)?;
    drop(listener);
    let mut facts = port.status.facts();
    (facts.link, facts.turned_away) = (Link::Connected, 0);
    drop(facts);
    port.tell(&PortEvent::Connected);
    let gate = Gate::new(front, &back, 2 * u32::from(port.queue_pairs));
    let attention = Attention {
        stop: stop.event.as_fd(),
        fault: port.fault_event.as_fd(),
        visitors: way.server(),
    };
    let closed = gate.run(&attention, |sight| match sight {
        Sight::Fault => {
            tell_fault(port);
            session.heed_fault();
        }
        Sight::TurnedAway => tell_turned_away(port),
    });
    drop(back);
    Ok(end(&session, daemon, &closed))
}

fn end(session: &Session, mut daemon: Daemon, closed: &Closed) -> String {
    let end = daemon.wait();
    let cause = session.end();
    // The mappings of the crate go with the daemon, after the rings that lay in them.
    drop(daemon);
    let why = session_end::sentence(closed, &end);
    match (closed, cause) {
        (Closed::ByBackEnd, Some(refusal)) => refusal,
        (_, Some(fault)) => format!("{why}, after a fault: {fault}"),
        (_, None) => why,
    }
}

/// Says that the port broke a rule, once for each time it did.
fn tell_fault(port: &PortShared) {
    // Only empties the count; it was not zero.
    let _ = rustix::io::read(&port.fault_event, &mut [0; 8]);
    if let Some(fault) = port.status.fault() {
        port.tell_note(format!("faulted: {fault}"));
    }
}

/// Says that another front-end came, once in a session.
fn tell_turned_away(port: &PortShared) {
    let mut facts = port.status.facts();
    facts.turned_away += 1;
    let first = facts.turned_away == 1;
    drop(facts);
    if first {
        port.tell_note(state::TURNED_AWAY);
    }
}
