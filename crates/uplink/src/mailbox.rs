//! Orders from the control thread of an uplink to the worker that owns it. The worker looks at one flag per turn; whoever
//! gave an order waits for the answer, the worker never waits.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::SyncSender;
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::port::Queues;

/// The way back: the queues that are given back, if there are any. It has room for one answer, so answering never waits.
pub(crate) type Answer = SyncSender<Option<Box<Queues>>>;

/// What the worker is to do.
#[derive(Debug)]
pub(crate) enum Order {
    /// Use these queues. They are given back when others are in use.
    Install(Box<Queues>, Answer),
    /// Take no more frames, and give the queues back when none of their chunks is held.
    Remove(Answer),
}

/// The place for one order. There is never a second one: the control thread waits for each answer, or gives up for good.
#[derive(Debug, Default)]
pub(crate) struct Mailbox {
    waiting: AtomicBool,
    slot: Mutex<Slot>,
}

#[derive(Debug, Default)]
struct Slot {
    order: Option<Order>,
    /// The worker has let go of the port: nobody obeys any more.
    closed: bool,
}

impl Mailbox {
    /// Leaves an order. When the port is gone the order is dropped, and with it the sender of its answer.
    pub(crate) fn post(&self, order: Order) {
        let mut slot = self.lock();
        if !slot.closed {
            slot.order = Some(order);
            self.waiting.store(true, Ordering::Relaxed);
        }
    }

    /// Whether an order waits. Relaxed: the lock orders what matters, and the sender wakes the worker afterwards.
    #[inline]
    pub(crate) fn has_order(&self) -> bool {
        self.waiting.load(Ordering::Relaxed)
    }

    /// Takes the order.
    pub(crate) fn take(&self) -> Option<Order> {
        let mut slot = self.lock();
        self.waiting.store(false, Ordering::Relaxed);
        slot.order.take()
    }

    /// Drops the order, and those to come as well.
    pub(crate) fn close(&self) {
        let mut slot = self.lock();
        slot.closed = true;
        let left = slot.order.take();
        self.waiting.store(false, Ordering::Relaxed);
        drop(slot);
        // Sockets are closed after the lock is free.
        drop(left);
    }

    fn lock(&self) -> MutexGuard<'_, Slot> {
        self.slot.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
