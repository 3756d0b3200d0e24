//! The control thread of a port: it waits for a front-end, runs the session, and waits for the next one.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec};
use vhost_user_backend::{Error, ShutdownHandle};

use crate::backend::{self, Daemon};
use crate::event_fd;
use crate::pace::{RetryDelay, SessionPace};
use crate::parts::{PortEvent, PortShared};
use crate::session::Session;
use crate::session_end;
use crate::socket::ServerSocket;
use crate::status::Link;

/// How the handle of a port ends its control thread.
#[derive(Debug)]
pub(crate) struct Stop {
    wanted: AtomicBool,
    /// Wakes the thread while there is no session.
    event: OwnedFd,
    /// Ends the session while there is one.
    session: Mutex<Option<SessionEnd>>,
}

struct SessionEnd(ShutdownHandle);

impl std::fmt::Debug for SessionEnd {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("SessionEnd")
    }
}

impl Stop {
    pub(crate) fn new() -> std::io::Result<Self> {
        let event = event_fd::make()?;
        Ok(Self { wanted: AtomicBool::new(false), event, session: Mutex::new(None) })
    }

    /// Asks the thread to end.
    pub(crate) fn request(&self) {
        self.wanted.store(true, Ordering::SeqCst);
        event_fd::signal(&self.event);
        self.end_session();
    }

    fn is_wanted(&self) -> bool {
        self.wanted.load(Ordering::SeqCst)
    }

    fn end_session(&self) {
        let session = self.session.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(SessionEnd(handle)) = &*session {
            handle.shutdown();
        }
    }

    /// Keeps the way to end the session that has begun. A request that came just before ends it here.
    fn session_began(&self, daemon: &Daemon) {
        let handle = daemon.shutdown_handle().map(SessionEnd);
        *self.session.lock().unwrap_or_else(PoisonError::into_inner) = handle;
        if self.is_wanted() {
            self.end_session();
        }
    }

    fn session_ended(&self) {
        *self.session.lock().unwrap_or_else(PoisonError::into_inner) = None;
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

/// What the thread works with.
pub(crate) enum Way {
    /// Front-ends come to us.
    Server(ServerSocket),
    /// We go to them.
    Client,
}

/// Runs until it is asked to stop.
pub(crate) fn run(port: &Arc<PortShared>, stop: &Stop, mut way: Way) {
    port.status.facts().link = match way {
        Way::Server(_) => Link::Listening,
        Way::Client => Link::Connecting(None),
    };
    let mut pace = SessionPace::new(Instant::now());
    let mut retry = RetryDelay::new();
    while !stop.is_wanted() {
        let began = match &mut way {
            Way::Server(socket) => serve(port, stop, socket, &mut pace),
            Way::Client => connect(port, stop),
        };
        if began == Began::Yes {
            retry = RetryDelay::new();
        }
        if matches!(way, Way::Client) && !stop.is_wanted() {
            stop.wait(None, Some(retry.next()));
        }
    }
    port.status.facts().link = Link::Down;
}

/// Whether a session took place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Began {
    Yes,
    No,
}

fn serve(
    port: &Arc<PortShared>,
    stop: &Stop,
    socket: &mut ServerSocket,
    pace: &mut SessionPace,
) -> Began {
    stop.wait(Some(socket.poll_fd()), None);
    if stop.is_wanted() || !is_readable(socket) {
        return Began::No;
    }
    let early = pace.next(Instant::now());
    if !early.is_zero() {
        stop.wait(None, Some(early));
    }
    if stop.is_wanted() {
        return Began::No;
    }
    session(port, stop, Link::Listening, |daemon| daemon.start(&mut socket.listener))
}

/// A connection waits, so accepting does not block.
fn is_readable(socket: &ServerSocket) -> bool {
    let mut fds = [PollFd::from_borrowed_fd(socket.poll_fd(), PollFlags::IN)];
    let now = Timespec { tv_sec: 0, tv_nsec: 0 };
    matches!(rustix::event::poll(&mut fds, Some(&now)), Ok(1))
}

fn connect(port: &Arc<PortShared>, stop: &Stop) -> Began {
    // The path was checked to be text when the port was made.
    let path = port.socket.to_str().unwrap_or_default();
    session(port, stop, Link::Connecting(None), |daemon| daemon.start_client(path))
}

/// Runs one session from its connection to its end, after which the link is `idle` again.
fn session(
    port: &Arc<PortShared>,
    stop: &Stop,
    idle: Link,
    open: impl FnOnce(&mut Daemon) -> Result<(), Error>,
) -> Began {
    let session = Arc::new(Session::new(Arc::clone(port)));
    let opened = backend::daemon(&session).and_then(|mut daemon| {
        open(&mut daemon)?;
        Ok(daemon)
    });
    let mut daemon = match opened {
        Ok(daemon) => daemon,
        Err(error) => {
            failed(port, &error);
            return Began::No;
        }
    };
    port.status.facts().link = Link::Connected;
    port.tell(&PortEvent::Connected);
    stop.session_began(&daemon);
    let end = daemon.wait();
    stop.session_ended();
    let why = session.end().unwrap_or_else(|| session_end::sentence(&end));
    // The mappings of the crate go with the daemon, after the rings that lay in them.
    drop(daemon);
    let mut facts = port.status.facts();
    facts.link = idle;
    facts.last_end = Some(why.clone());
    drop(facts);
    port.tell(&PortEvent::SessionEnded(why));
    Began::Yes
}

/// No session began: a server says so as the end of one, a client while it tries again.
fn failed(port: &PortShared, error: &Error) {
    let why = session_end::connect_sentence(error);
    let mut facts = port.status.facts();
    match facts.link {
        Link::Listening => facts.last_end = Some(why),
        _ => facts.link = Link::Connecting(Some(why)),
    }
}
