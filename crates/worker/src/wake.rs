//! How a sleeping worker is woken.
//!
//! A worker that finds nothing to do says so ([`Doze::announce`]), looks once more, and sleeps in epoll. Whoever puts
//! something in front of it afterwards asks [`Doze::must_wake`]. The two fences make sure that one of them sees the
//! other: either the worker finds the work on its second look, or the other side finds it asleep.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use helio_frame::Wakeups;
use rustix::event::{EventfdFlags, Timespec, epoll, eventfd};

#[cfg(loom)]
use loom::sync::atomic::{AtomicBool, Ordering, fence};
#[cfg(not(loom))]
use std::sync::atomic::{AtomicBool, Ordering, fence};

/// Whether a worker sleeps.
#[derive(Debug)]
pub(crate) struct Doze {
    asleep: AtomicBool,
}

impl Doze {
    pub(crate) fn new() -> Self {
        Self { asleep: AtomicBool::new(false) }
    }

    /// The worker is about to sleep. It must look for work once more after this.
    pub(crate) fn announce(&self) {
        self.asleep.store(true, Ordering::Relaxed);
        fence(Ordering::SeqCst);
    }

    /// The worker goes on.
    pub(crate) fn end(&self) {
        self.asleep.store(false, Ordering::Relaxed);
    }

    /// To be asked after work was put in front of the worker.
    pub(crate) fn must_wake(&self) -> bool {
        fence(Ordering::SeqCst);
        self.asleep.load(Ordering::Relaxed)
    }
}

/// The bed of one worker, shared with everybody who may wake it.
#[derive(Debug)]
pub(crate) struct Bed {
    pub(crate) doze: Doze,
    event: OwnedFd,
    poll: OwnedFd,
}

impl Bed {
    pub(crate) fn new() -> io::Result<Self> {
        let event = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
        let poll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        let bed = Self { doze: Doze::new(), event, poll };
        bed.watch(bed.event.as_fd())?;
        Ok(bed)
    }

    /// Sleeps until woken, or for a second: a worker that is never needed still shows that it lives.
    pub(crate) fn sleep(&self) {
        let second = Timespec { tv_sec: 1, tv_nsec: 0 };
        let mut events = [epoll::Event {
            flags: epoll::EventFlags::empty(),
            data: epoll::EventData::new_u64(0),
        }; 8];
        // An interrupted or failed wait is an early waking, which does no harm.
        let _ = epoll::wait(&self.poll, &mut events, Some(&second));
    }
}

impl Wakeups for Bed {
    fn wake(&self) {
        if self.doze.must_wake() {
            // Edge-triggered and never read: each write wakes anew, and a full counter cannot be reached.
            let _ = rustix::io::write(&self.event, &1_u64.to_ne_bytes());
        }
    }

    fn watch(&self, fd: BorrowedFd<'_>) -> io::Result<()> {
        let flags = epoll::EventFlags::IN | epoll::EventFlags::ET;
        Ok(epoll::add(&self.poll, fd, epoll::EventData::new_u64(0), flags)?)
    }

    fn unwatch(&self, fd: BorrowedFd<'_>) {
        // What is not watched need not be taken out.
        let _ = epoll::delete(&self.poll, fd);
    }
}

#[cfg(all(test, loom))]
mod models {
    use super::*;
    use loom::sync::Arc;
    use loom::sync::atomic::AtomicUsize;

    /// A worker that finds nothing announces that it sleeps, by `announce`, and looks once more, while another thread puts
    /// work in front of it.
    fn doze_beside_a_mailbox(announce: fn(&Doze)) {
        loom::model(move || {
            let shared = Arc::new((Doze::new(), AtomicUsize::new(0), AtomicBool::new(false)));
            let sender = Arc::clone(&shared);
            let other = loom::thread::spawn(move || {
                let (doze, mailbox, woken) = &*sender;
                mailbox.store(1, Ordering::Release);
                if doze.must_wake() {
                    woken.store(true, Ordering::Release);
                }
            });
            let (doze, mailbox, woken) = &*shared;
            announce(doze);
            let found = mailbox.load(Ordering::Acquire) == 1;
            other.join().unwrap();
            assert!(found || woken.load(Ordering::Acquire), "the worker sleeps beside its work");
            doze.end();
        });
    }

    #[test]
    fn no_work_is_left_before_a_sleeping_worker() {
        doze_beside_a_mailbox(Doze::announce);
    }

    #[test]
    #[should_panic(expected = "the worker sleeps beside its work")]
    fn the_model_finds_the_work_that_is_left_when_the_fence_is_missing() {
        doze_beside_a_mailbox(|doze| doze.asleep.store(true, Ordering::Release));
    }

    #[test]
    fn a_worker_that_falls_asleep_once_more_leaves_no_work_either() {
        doze_beside_a_mailbox(|doze| {
            doze.announce();
            doze.end();
            doze.announce();
        });
    }
}
