//! Orders from the session of a port to the worker that owns it. The worker looks at one flag per turn and takes the
//! lock only when it is set; whoever gave an order waits for the answer, the worker never waits.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering, fence};
use std::sync::mpsc::SyncSender;
use std::sync::{Arc, Mutex, PoisonError};

use helio_mem::MemoryTable;
use helio_offload::Offloads;
use helio_vring::{Call, ReceiveQueue, TransmitQueue};

use crate::ring_id::RingId;

/// A queue on its way to the worker or back. Made and dropped by the session, so that the worker need not allocate.
#[derive(Debug)]
pub(crate) enum Queue {
    Transmit(Box<TransmitQueue>),
    Receive(Box<ReceiveQueue>),
}

impl Queue {
    /// Where a front-end may start the ring again.
    pub(crate) fn next_avail(&self) -> u16 {
        match self {
            Self::Transmit(queue) => queue.next_avail(),
            Self::Receive(queue) => queue.next_avail(),
        }
    }

    /// Tells the guest of what the worker published last, if it wants that, by the descriptor that it has now: a ring that broke
    /// a rule kept the one that it had. Called by the session: it may take long.
    pub(crate) fn tell_guest(&mut self, call: &Call) {
        fence(Ordering::SeqCst);
        match self {
            Self::Transmit(queue) => {
                queue.set_call(call.clone());
                queue.notify();
            }
            Self::Receive(queue) => {
                queue.set_call(call.clone());
                queue.notify();
            }
        }
    }
}

/// Whether a running ring may carry frames. vhost-user, "Ring states".
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mode {
    /// It may.
    Enabled,
    /// What the guest sends is discarded, and it gets nothing.
    Disabled,
}

/// All that the worker needs to run a ring.
#[derive(Debug)]
pub(crate) struct Installation {
    pub(crate) queue: Queue,
    pub(crate) mode: Mode,
    /// What the guest accepts undone; of a receiveq only.
    pub(crate) accepts: Offloads,
    pub(crate) memory: Arc<MemoryTable>,
}

/// What the worker is to do with one ring.
#[derive(Debug)]
pub(crate) enum Command {
    /// Run it. Answered with the queue when its place is not free yet.
    Install(Installation),
    /// Take nothing more, and give the queue back when nothing is in flight.
    Remove,
    /// Let it carry frames, or not.
    SetMode(Mode),
    /// Tell the guest in another way.
    SetCall(Call),
    /// Only answer: as with every order, all frames that were taken before are decided by then.
    Quiesce,
}

/// The way back: the queue that is given back, if there is one.
pub(crate) type Answer = SyncSender<Option<Queue>>;

/// A command, and where its answer goes.
#[derive(Debug)]
pub(crate) struct Order {
    pub(crate) ring: RingId,
    pub(crate) command: Command,
    /// Has room for one answer, so answering never waits.
    pub(crate) answer: Answer,
}

/// The mailbox of one port.
#[derive(Debug, Default)]
pub(crate) struct Mailbox {
    waiting: AtomicBool,
    orders: Mutex<Orders>,
}

#[derive(Debug, Default)]
struct Orders {
    queue: VecDeque<Order>,
    /// The worker has let go of the port: nobody obeys any more.
    closed: bool,
}

impl Mailbox {
    /// Leaves an order. When the port is gone the order is dropped, and with it the answer's sender.
    pub(crate) fn post(&self, order: Order) {
        let mut orders = self.orders.lock().unwrap_or_else(PoisonError::into_inner);
        if !orders.closed {
            orders.queue.push_back(order);
            self.waiting.store(true, Ordering::Relaxed);
        }
    }

    /// Whether an order waits. Relaxed: the lock orders what matters, and the sender wakes the worker afterwards.
    #[inline]
    pub(crate) fn has_orders(&self) -> bool {
        self.waiting.load(Ordering::Relaxed)
    }

    /// Fetches what [`Mailbox::has_orders`] reads.
    #[inline]
    pub(crate) fn fetch(&self) {
        helio_mem::fetch(&self.waiting);
    }

    /// The next order.
    pub(crate) fn take(&self) -> Option<Order> {
        let mut orders = self.orders.lock().unwrap_or_else(PoisonError::into_inner);
        let order = orders.queue.pop_front();
        self.waiting.store(!orders.queue.is_empty(), Ordering::Relaxed);
        order
    }

    /// Lets the worker look again, though there may be no order: it has left something for its next look.
    pub(crate) fn remind(&self) {
        self.waiting.store(true, Ordering::Relaxed);
    }

    /// Drops all orders, those to come as well.
    pub(crate) fn close(&self) {
        let mut orders = self.orders.lock().unwrap_or_else(PoisonError::into_inner);
        orders.closed = true;
        orders.queue.clear();
        self.waiting.store(false, Ordering::Relaxed);
    }
}
