//! One ring as the front-end has described it so far. Owned by a session.

use std::sync::Arc;

use helio_frame::PortFault;
use helio_mem::{GuestAddr, MemoryTable};
use helio_offload::Offloads;
use helio_types::PortId;
use helio_vring::{Call, ReceiveQueue, RingSetup, Sender, TransmitQueue};

use crate::event_fd::{self, EventFd};
use crate::mailbox::{Installation, Mode, Queue};
use crate::ring_id::{QueueKind, RingId};

/// Whether the front-end has started the ring, and what became of that.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    /// Not started, or stopped again.
    Stopped,
    /// Started; it runs as soon as its size, its place and memory are known.
    Started,
    /// Started, but the memory it lies in is not shared, or not any more. Tried again with the next memory table, as a
    /// front-end that moves a region takes it away before it shares it again.
    Displaced,
    /// The worker has it.
    Running,
    /// It broke a rule. Left when the front-end stops it.
    Refused,
}

/// Where a ring lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) descriptors: u64,
    pub(crate) avail: u64,
    pub(crate) used: u64,
}

/// One ring.
#[derive(Debug)]
pub(crate) struct Ring {
    pub(crate) id: RingId,
    pub(crate) phase: Phase,
    /// As wanted, even when it is not a size that a ring can have.
    pub(crate) size: Option<u16>,
    pub(crate) place: Option<Place>,
    pub(crate) mode: Mode,
    /// It has run since it was last told that no pair carries frames.
    pub(crate) has_run: bool,
    /// The front-end has stopped the ring, and its descriptors are about to be closed.
    pub(crate) is_closing: bool,
    pub(crate) kick: Option<EventFd>,
    pub(crate) call: Call,
    pub(crate) err: Option<EventFd>,
    /// Where the worker stood when it gave the ring back, until the front-end has asked for that.
    pub(crate) stood_at: Option<u16>,
}

impl Ring {
    pub(crate) fn new(id: RingId) -> Self {
        Self {
            id,
            phase: Phase::Stopped,
            size: None,
            place: None,
            mode: Mode::Disabled,
            has_run: false,
            is_closing: false,
            kick: None,
            call: Call::default(),
            err: None,
            stood_at: None,
        }
    }

    pub(crate) fn is_running(&self) -> bool {
        self.phase == Phase::Running
    }

    /// Tells the front-end that the port broke off, if it wants to know.
    pub(crate) fn tell_fault(&self) {
        if let Some(err) = &self.err {
            event_fd::signal(err);
        }
    }

    /// Makes the queue of a ring that is started and described. `None` while something is missing.
    pub(crate) fn build(
        &self,
        port: PortId,
        features: u64,
        memory: &Arc<MemoryTable>,
    ) -> Option<Result<Installation, PortFault>> {
        if self.phase != Phase::Started {
            return None;
        }
        let (size, place) = (self.size?, self.place?);
        if memory.is_poisoned() {
            return Some(Err(PortFault::MemoryTruncated));
        }
        let setup = RingSetup {
            size,
            descriptors: GuestAddr(place.descriptors),
            avail: GuestAddr(place.avail),
            used: GuestAddr(place.used),
            features,
            call: self.call.clone(),
        };
        let queue = match self.id.kind {
            QueueKind::Receive => {
                ReceiveQueue::start(setup, memory).map(|queue| Queue::Receive(Box::new(queue)))
            }
            QueueKind::Transmit => {
                TransmitQueue::start(setup, memory, Sender { port, queue: self.id.pair })
                    .map(|queue| Queue::Transmit(Box::new(queue)))
            }
        };
        Some(queue.map(|queue| Installation {
            queue,
            mode: self.mode,
            accepts: Offloads::of_receiver(features),
            memory: Arc::clone(memory),
        }))
    }
}
