//! The control thread of an uplink: it opens the interface, lends its queues to the worker, watches it, and closes it.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{RecvTimeoutError, sync_channel};
use std::time::Duration;

use helio_frame::MemoryId;
use rustix::event::{EventfdFlags, PollFd, PollFlags, Timespec, eventfd};

use crate::interface::Interfaces;
use crate::mailbox::{Answer, Order};
use crate::opening::{Opening, open, wanted_queues};
use crate::parts::{Shared, UplinkEvent};
use crate::port::Queues;
use crate::status::{Link, sentence};
use crate::watch::LinkEvents;

/// Pause between two tries to open the interface, unless some interface changes before.
const RETRY: Duration = Duration::from_secs(1);
/// How often an open interface is looked at, unless some interface changes before.
const LOOK: Duration = Duration::from_secs(1);
/// How long the worker may take for an order. It takes a turn or two; frames that others hold may take longer.
const WORKER_PATIENCE: Duration = Duration::from_secs(5);

/// How the handle of an uplink ends its control thread.
#[derive(Debug)]
pub(crate) struct Stop {
    wanted: AtomicBool,
    event: OwnedFd,
}

impl Stop {
    pub(crate) fn new() -> io::Result<Self> {
        let event = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
        Ok(Self { wanted: AtomicBool::new(false), event })
    }

    /// Asks the thread to end.
    pub(crate) fn request(&self) {
        self.wanted.store(true, Ordering::Release);
        // A count that is full says the same.
        let _ = rustix::io::write(&self.event, &1_u64.to_ne_bytes());
    }

    pub(crate) fn is_wanted(&self) -> bool {
        self.wanted.load(Ordering::Acquire)
    }

    /// Waits for a request, for `ready`, or for the end of `timeout`.
    pub(crate) fn wait(&self, ready: Option<BorrowedFd<'_>>, timeout: Duration) {
        let mut fds = vec![PollFd::from_borrowed_fd(self.event.as_fd(), PollFlags::IN)];
        fds.extend(ready.map(|fd| PollFd::from_borrowed_fd(fd, PollFlags::IN)));
        // An interruption is like an early end: all callers look at what they wait for, or try again.
        let _ = rustix::event::poll(&mut fds, Timespec::try_from(timeout).ok().as_ref());
    }
}

/// What the thread asks the host by. Both belong to the network namespace in which they were made.
#[derive(Debug)]
pub(crate) struct Senses {
    interfaces: Interfaces,
    events: LinkEvents,
}

impl Senses {
    pub(crate) fn new() -> io::Result<Self> {
        Ok(Self { interfaces: Interfaces::new()?, events: LinkEvents::new()? })
    }
}

/// Runs until it is asked to stop.
pub(crate) fn run(shared: &Shared, stop: &Stop, senses: &Senses) {
    while !stop.is_wanted() {
        senses.events.forget();
        match open(shared, &senses.interfaces, stop) {
            Ok(opening) => {
                if serve(shared, stop, senses, opening) == Worker::Gone {
                    break;
                }
            }
            Err(error) => {
                let why = error.to_string();
                if shared.status.refuse(&why) {
                    shared.tell(&UplinkEvent::Refused(why));
                }
                stop.wait(Some(senses.events.as_fd()), RETRY);
            }
        }
    }
    shared.status.end();
}

/// Whether there is still somebody to lend queues to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Worker {
    There,
    Gone,
}

/// Lends an open interface to the worker until it is gone or the uplink ends.
fn serve(shared: &Shared, stop: &Stop, senses: &Senses, opening: Opening) -> Worker {
    let Opening { grip, queues, table, wakers, watched, interface, facts, note } = opening;
    let memory = MemoryId::of_port(shared.id);
    shared.directory.replace(memory, Some(table));
    let refused = match ask(shared, |answer| Order::Install(queues, answer)) {
        Reply::Answer(refused) => refused,
        Reply::Silence => {
            shared.tell(&UplinkEvent::WorkerSilent);
            None
        }
        Reply::Gone => {
            shared.directory.replace(memory, None);
            return Worker::Gone;
        }
    };
    debug_assert!(refused.is_none(), "the worker had queues already");
    drop(refused);
    for socket in &wakers {
        if let Err(error) = shared.wakeups.watch(socket.as_fd()) {
            let text = format!("a sleeping worker is not woken by frames: {error}");
            shared.tell(&UplinkEvent::Note(text));
        }
    }
    shared.tell(&UplinkEvent::Opened(sentence(&shared.interface, &facts)));
    shared.status.open(facts, watched, note);
    shared.status.set_link(interface.link);
    // What came before the worker could be woken shows now.
    shared.wakeups.wake();

    let why = watch(shared, stop, senses, &interface, || grip.attached.is_attached());

    // The program first: what arrives from now on is the host's.
    drop(grip);
    for socket in &wakers {
        shared.wakeups.unwatch(socket.as_fd());
    }
    drop(wakers);
    shared.status.close(why.clone());
    let end = take_back(shared);
    shared.directory.replace(memory, None);
    if !stop.is_wanted() {
        shared.tell(&UplinkEvent::Closed(why));
    }
    end
}

/// Looks at the interface whenever something changes. Returns why it must be closed.
fn watch(
    shared: &Shared,
    stop: &Stop,
    senses: &Senses,
    opened: &crate::interface::Interface,
    is_attached: impl Fn() -> bool,
) -> String {
    let name = &shared.interface;
    let mut link = opened.link;
    loop {
        stop.wait(Some(senses.events.as_fd()), LOOK);
        if stop.is_wanted() {
            return "stopped".to_owned();
        }
        senses.events.forget();
        let now = match senses.interfaces.find(name) {
            Ok(Some(now)) => now,
            Ok(None) => return format!("{name} is gone"),
            Err(error) => return format!("{name} cannot be asked: {error}"),
        };
        if now.index != opened.index {
            return format!("{name} is another interface now");
        }
        if !is_attached() {
            return format!("the XDP program was taken away from {name}");
        }
        if wanted_queues(shared.queues, &now) != wanted_queues(shared.queues, opened) {
            return format!("{name} has another number of queues now");
        }
        shared.status.set_mtu(now.mtu);
        if now.link != link {
            link = now.link;
            shared.status.set_link(link);
            // What waits to be sent can go now, or need not be tried any more.
            shared.wakeups.wake();
            let text = match (link, now.is_set_up) {
                (Link::Up, _) => format!("{name} has a link"),
                (Link::Down, true) => format!("{name} has no link"),
                (Link::Down, false) => format!("{name} was set down"),
            };
            shared.tell(&UplinkEvent::Note(text));
        }
    }
}

/// Takes the queues back from the worker and closes their sockets.
fn take_back(shared: &Shared) -> Worker {
    match ask(shared, Order::Remove) {
        Reply::Answer(queues) => {
            drop(queues);
            Worker::There
        }
        Reply::Silence => {
            // It must not happen; the worker drops the queues when it comes to it.
            shared.tell(&UplinkEvent::WorkerSilent);
            Worker::There
        }
        Reply::Gone => Worker::Gone,
    }
}

enum Reply {
    Answer(Option<Box<Queues>>),
    /// Not in time.
    Silence,
    /// The worker has let go of the port.
    Gone,
}

fn ask(shared: &Shared, order: impl FnOnce(Answer) -> Order) -> Reply {
    let (answer, answered) = sync_channel(1);
    shared.mailbox.post(order(answer));
    shared.wakeups.wake();
    match answered.recv_timeout(WORKER_PATIENCE) {
        Ok(queues) => Reply::Answer(queues),
        Err(RecvTimeoutError::Timeout) => Reply::Silence,
        Err(RecvTimeoutError::Disconnected) => Reply::Gone,
    }
}
