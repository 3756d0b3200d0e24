//! Orders from the control thread of a port to the worker that owns it. The worker looks at one flag whenever it asks the port
//! for frames; whoever gave an order waits for the answer, the worker never waits.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{RecvError, RecvTimeoutError, SyncSender, sync_channel};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use helio_frame::Wakeups;

/// How long the worker may take for an order before operators are told. It takes a turn or two; frames that others hold may
/// take longer.
const WORKER_PATIENCE: Duration = Duration::from_secs(5);

/// The way back: what is given back, if there is anything. It has room for one answer, so answering never waits.
pub type Answer<T> = SyncSender<Option<Box<T>>>;

/// What the worker is to do.
#[derive(Debug)]
pub enum Order<T> {
    /// Use this. It is given back when another is in use.
    Install(Box<T>, Answer<T>),
    /// Take no more frames, and give back what is used when no frame lies in it.
    Remove(Answer<T>),
    /// Answer when no frame waits any more; after so many looks in any case, as more may come than are taken. Until then the
    /// worker leaves it where it was. As with every order, all frames that were taken before the answer are decided by then.
    Quiesce(Answer<T>, u32),
}

/// The place for one order. There is never a second one: the control thread waits for each answer, however long it takes.
#[derive(Debug)]
pub struct Mailbox<T> {
    waiting: AtomicBool,
    slot: Mutex<Slot<T>>,
}

#[derive(Debug)]
struct Slot<T> {
    order: Option<Order<T>>,
    /// The worker has let go of the port: nobody obeys any more.
    closed: bool,
}

impl<T> Default for Mailbox<T> {
    fn default() -> Self {
        let slot = Mutex::new(Slot { order: None, closed: false });
        Self { waiting: AtomicBool::new(false), slot }
    }
}

impl<T> Mailbox<T> {
    /// Leaves an order. When the port is gone the order is dropped, and with it the sender of its answer. Called by the control
    /// thread, and by the worker for one that it puts off.
    pub fn post(&self, order: Order<T>) {
        let mut slot = self.lock();
        if !slot.closed {
            slot.order = Some(order);
            self.waiting.store(true, Ordering::Relaxed);
        }
    }

    /// Whether an order waits. Relaxed: the lock orders what matters, and the sender wakes the worker afterwards.
    #[inline]
    pub fn has_order(&self) -> bool {
        self.waiting.load(Ordering::Relaxed)
    }

    /// Takes the order.
    pub fn take(&self) -> Option<Order<T>> {
        let mut slot = self.lock();
        self.waiting.store(false, Ordering::Relaxed);
        slot.order.take()
    }

    /// Drops the order, and those to come as well.
    pub fn close(&self) {
        let mut slot = self.lock();
        slot.closed = true;
        let left = slot.order.take();
        self.waiting.store(false, Ordering::Relaxed);
        drop(slot);
        // Descriptors are closed after the lock is free.
        drop(left);
    }

    fn lock(&self) -> MutexGuard<'_, Slot<T>> {
        self.slot.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What became of an order.
#[derive(Debug)]
pub enum Reply<T> {
    /// It was obeyed, and this was given back.
    Answer(Option<Box<T>>),
    /// The worker has let go of the port.
    Gone,
}

/// Gives an order and waits for the answer: what the worker has, and the memory it lies in, must stay as they are until it
/// says that it is done. One that takes too long is told to `silent`, once, and waited for all the same.
pub fn ask<T>(
    mailbox: &Mailbox<T>,
    wakeups: &dyn Wakeups,
    silent: impl FnOnce(),
    order: impl FnOnce(Answer<T>) -> Order<T>,
) -> Reply<T> {
    ask_within(WORKER_PATIENCE, mailbox, wakeups, silent, order)
}

fn ask_within<T>(
    patience: Duration,
    mailbox: &Mailbox<T>,
    wakeups: &dyn Wakeups,
    silent: impl FnOnce(),
    order: impl FnOnce(Answer<T>) -> Order<T>,
) -> Reply<T> {
    let (answer, answered) = sync_channel(1);
    mailbox.post(order(answer));
    wakeups.wake();
    let answer = answered.recv_timeout(patience).or_else(|error| match error {
        RecvTimeoutError::Timeout => {
            silent();
            answered.recv()
        }
        RecvTimeoutError::Disconnected => Err(RecvError),
    });
    answer.map_or(Reply::Gone, Reply::Answer)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io;
    use std::os::fd::BorrowedFd;
    use std::sync::mpsc::channel;
    use std::thread;

    /// The worker of a test never sleeps.
    struct Sleepless;

    impl Wakeups for Sleepless {
        fn wake(&self) {}
        fn watch(&self, _: BorrowedFd<'_>) -> io::Result<()> {
            Ok(())
        }
        fn unwatch(&self, _: BorrowedFd<'_>) {}
    }

    /// Asks a worker that does `work` once it was found silent. Returns the reply, and how often silence was told.
    fn ask_a_silent_worker(
        work: impl FnOnce(&Mailbox<u32>) + Send,
    ) -> (Reply<u32>, usize, Option<Order<u32>>) {
        let mailbox = Mailbox::default();
        let (tell, told) = channel();
        thread::scope(|scope| {
            let (began, begin) = channel();
            let mailbox = &mailbox;
            let worker = scope.spawn(move || {
                begin.recv().unwrap();
                work(mailbox);
            });
            let silent = || {
                tell.send(()).unwrap();
                began.send(()).unwrap();
            };
            let patience = Duration::from_millis(1);
            let reply = ask_within(patience, mailbox, &Sleepless, silent, Order::Remove);
            worker.join().unwrap();
            drop(tell);
            (reply, told.iter().count(), mailbox.take())
        })
    }

    #[test]
    fn a_worker_that_answers_late_is_told_to_be_silent_once_and_its_answer_counts() {
        let (reply, silences, left) = ask_a_silent_worker(|mailbox| {
            let Some(Order::Remove(answer)) = mailbox.take() else { panic!("no order") };
            answer.send(Some(Box::new(7))).unwrap();
        });
        assert!(matches!(reply, Reply::Answer(Some(value)) if *value == 7));
        assert!(silences == 1 && left.is_none());
    }

    #[test]
    fn a_silent_worker_that_lets_go_of_the_port_is_not_waited_for() {
        let (reply, silences, left) = ask_a_silent_worker(Mailbox::close);
        assert!(matches!(reply, Reply::Gone));
        assert!(silences == 1 && left.is_none());
    }
}
