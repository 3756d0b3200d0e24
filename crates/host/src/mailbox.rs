//! Orders from the control thread of a port to the worker that owns it. The worker looks at one flag per turn; whoever
//! gave an order waits for the answer, the worker never waits.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{RecvTimeoutError, SyncSender, sync_channel};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use helio_frame::Wakeups;

/// How long the worker may take for an order. It takes a turn or two; frames that others hold may take longer.
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
}

/// The place for one order. There is never a second one: the control thread waits for each answer, or gives up for good.
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
    /// Leaves an order. When the port is gone the order is dropped, and with it the sender of its answer.
    fn post(&self, order: Order<T>) {
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
    /// Not in time.
    Silence,
    /// The worker has let go of the port.
    Gone,
}

/// Gives an order and waits for the answer.
pub fn ask<T>(
    mailbox: &Mailbox<T>,
    wakeups: &dyn Wakeups,
    order: impl FnOnce(Answer<T>) -> Order<T>,
) -> Reply<T> {
    let (answer, answered) = sync_channel(1);
    mailbox.post(order(answer));
    wakeups.wake();
    match answered.recv_timeout(WORKER_PATIENCE) {
        Ok(given_back) => Reply::Answer(given_back),
        Err(RecvTimeoutError::Timeout) => Reply::Silence,
        Err(RecvTimeoutError::Disconnected) => Reply::Gone,
    }
}
