//! The control thread of a port: it opens the interface, serves it until it is gone, and begins again, until it is stopped.

use std::fmt;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use rustix::event::{EventfdFlags, PollFd, PollFlags, Timespec, eventfd};

use crate::{Interfaces, LinkEvents};

/// Pause between two tries to open the interface, unless some interface changes before.
const RETRY: Duration = Duration::from_secs(1);

/// Between a try that failed and the next one at least.
const SETTLING: Duration = Duration::from_millis(200);
/// How often an open interface is looked at, unless some interface changes before.
const LOOK: Duration = Duration::from_secs(1);
/// Between two looks at whether the first try has ended.
const FIRST_TRY_LOOK: Duration = Duration::from_millis(2);

/// How long the end of a thread is waited for. Longer than a worker may be silent, so that operators are told of that first.
const STOP_PATIENCE: Duration = Duration::from_secs(10);

/// How a control thread is ended.
#[derive(Debug)]
pub struct Stop {
    wanted: AtomicBool,
    event: OwnedFd,
}

impl Stop {
    fn new() -> io::Result<Self> {
        let event = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
        Ok(Self { wanted: AtomicBool::new(false), event })
    }

    /// Asks the thread to end.
    fn request(&self) {
        self.wanted.store(true, Ordering::Release);
        // A count that is full says the same.
        let _ = rustix::io::write(&self.event, &1_u64.to_ne_bytes());
    }

    /// Whether the thread was asked to end.
    #[must_use]
    pub fn is_wanted(&self) -> bool {
        self.wanted.load(Ordering::Acquire)
    }

    /// Waits for a request, for `ready`, or for the end of `timeout`.
    pub fn wait(&self, ready: Option<BorrowedFd<'_>>, timeout: Duration) {
        let mut fds = vec![PollFd::from_borrowed_fd(self.event.as_fd(), PollFlags::IN)];
        fds.extend(ready.map(|fd| PollFd::from_borrowed_fd(fd, PollFlags::IN)));
        // An interruption is like an early end: all callers look at what they wait for, or try again.
        let _ = rustix::event::poll(&mut fds, Timespec::try_from(timeout).ok().as_ref());
    }
}

/// What a control thread asks the host by. Both belong to the network namespace in which they were made.
#[derive(Debug)]
pub struct Senses {
    /// By which interfaces are asked.
    pub interfaces: Interfaces,
    events: LinkEvents,
}

impl Senses {
    /// Those of the network namespace of the calling thread.
    ///
    /// # Errors
    ///
    /// When the host has no descriptors for us.
    pub fn new() -> io::Result<Self> {
        Ok(Self { interfaces: Interfaces::new()?, events: LinkEvents::new()? })
    }

    /// Waits until an open interface should be looked at again, or `stop` is wanted.
    pub fn wait_for_change(&self, stop: &Stop) {
        stop.wait(Some(self.events.as_fd()), LOOK);
        self.events.forget();
    }
}

/// Whether there is still somebody to lend things to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Worker {
    /// There is.
    There,
    /// The worker has let go of the port.
    Gone,
}

/// Opens and serves an interface until `stop` is wanted or the worker is gone. A try that failed is told to `refused`, and
/// made again when some interface has changed or a second has passed, but not at once.
pub fn keep_open<O, E: fmt::Display>(
    senses: &Senses,
    stop: &Stop,
    open: impl Fn() -> Result<O, E>,
    serve: impl Fn(O) -> Worker,
    refused: impl Fn(String),
) {
    while !stop.is_wanted() {
        senses.events.forget();
        match open() {
            Ok(opening) => {
                if serve(opening) == Worker::Gone {
                    break;
                }
            }
            Err(error) => {
                refused(error.to_string());
                // A try changes the interface itself: what that told must not lead to the next try at once.
                stop.wait(None, SETTLING);
                senses.events.forget();
                stop.wait(Some(senses.events.as_fd()), RETRY);
            }
        }
    }
}

/// The first try of a control thread to open its interface. Waited for without the handle of the port, which others may want
/// meanwhile.
pub struct FirstTry {
    is_opening: Box<dyn Fn() -> bool + Send + Sync>,
}

impl FirstTry {
    /// One that goes on as long as `is_opening` says so.
    pub fn new(is_opening: impl Fn() -> bool + Send + Sync + 'static) -> Self {
        Self { is_opening: Box::new(is_opening) }
    }

    /// Returns when the interface was opened or refused, or the port was stopped; at `latest` in any case.
    pub fn wait(&self, latest: Instant) {
        while (self.is_opening)() && Instant::now() < latest {
            thread::sleep(FIRST_TRY_LOOK);
        }
    }
}

impl fmt::Debug for FirstTry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FirstTry").finish_non_exhaustive()
    }
}

/// A thread that may run, and how it is ended. Dropping it ends the thread; by then the worker must have dropped the port, or
/// answer.
#[derive(Debug)]
pub struct ControlThread {
    stop: Arc<Stop>,
    thread: Option<Running>,
}

#[derive(Debug)]
struct Running {
    thread: JoinHandle<()>,
    /// Disconnected when the thread ends, however it does.
    ended: Receiver<()>,
}

impl ControlThread {
    /// A thread that does not run yet.
    ///
    /// # Errors
    ///
    /// When the host has no descriptor for us.
    pub fn new() -> io::Result<Self> {
        Ok(Self { stop: Arc::new(Stop::new()?), thread: None })
    }

    /// Whether the thread was started or stopped already: it is not started twice.
    #[must_use]
    pub fn is_used(&self) -> bool {
        self.thread.is_some() || self.stop.is_wanted()
    }

    /// Starts the thread, which shall end when the stop is wanted.
    ///
    /// # Errors
    ///
    /// When the host has no thread for us.
    pub fn start(
        &mut self,
        name: String,
        run: impl FnOnce(&Stop) + Send + 'static,
    ) -> io::Result<()> {
        let stop = Arc::clone(&self.stop);
        let (alive, ended) = channel();
        let run = move || {
            let _alive = alive;
            run(&stop);
        };
        let thread = thread::Builder::new().name(name).spawn(run)?;
        self.thread = Some(Running { thread, ended });
        Ok(())
    }

    /// Ends the thread and waits for it; not for ever, as it may itself wait for a silent worker. Then it ends when the worker
    /// has dropped the port, and this can be called once more.
    pub fn stop(&mut self) {
        self.stop_within(STOP_PATIENCE);
    }

    fn stop_within(&mut self, patience: Duration) {
        self.stop.request();
        let ended = |running: &mut Running| {
            running.ended.recv_timeout(patience) != Err(RecvTimeoutError::Timeout)
        };
        if let Some(running) = self.thread.take_if(ended) {
            // A thread that failed has said so on standard error.
            let _ = running.thread.join();
        }
    }
}

impl Drop for ControlThread {
    fn drop(&mut self) {
        self.stop.request();
        if let Some(running) = self.thread.take() {
            let _ = running.thread.join();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thread_that_waits_for_something_is_left_to_it_and_joined_when_it_has_ended() {
        let mut control = ControlThread::new().unwrap();
        let (let_go, waits) = channel::<()>();
        control.start("waits".to_owned(), move |_| waits.iter().for_each(drop)).unwrap();
        control.stop_within(Duration::from_millis(1));
        assert!(control.is_used() && control.thread.is_some());
        drop(let_go);
        control.stop();
        assert!(control.is_used() && control.thread.is_none());
    }
}
