//! The virtio-net driver: queue pairs in guest memory, without a word about sockets.
//!
//! One owner, the thread that plays the guest. Nothing here waits and, after [`NetDriver::new`], nothing
//! allocates: `poll` can be called in a loop for many guests in turn.

use std::sync::Arc;

use crate::chain_layout::ChainLayout;
use crate::error::GuestError;
use crate::event_fd::RingEvents;
use crate::fault::Faults;
use crate::guest_config::{GuestConfig, Refill};
use crate::memory::GuestMemory;
use crate::net_header::NetHeader;
use crate::receive_queue::ReceiveQueue;
use crate::ring_area::RingArea;
use crate::split_ring::Calls;
use crate::transmit_queue::{SendError, TransmitQueue};

/// A receiveq and the transmitq beside it.
#[derive(Debug)]
struct QueuePair {
    receive: ReceiveQueue,
    transmit: TransmitQueue,
}

/// All queues of a guest.
#[derive(Debug)]
pub struct NetDriver {
    pairs: Vec<QueuePair>,
    refill: Refill,
}

impl NetDriver {
    /// Guest memory that a driver of this kind takes.
    #[must_use]
    pub fn needed_bytes(config: &GuestConfig, features: u64) -> u64 {
        let mode = config.ring_mode(features);
        let pair =
            ReceiveQueue::needed_bytes(config, mode) + TransmitQueue::needed_bytes(config, mode);
        u64::from(config.queue_pairs) * pair
    }

    /// The queues, in fresh memory. With [`Refill::AtOnce`] all receive buffers are posted.
    ///
    /// # Errors
    ///
    /// [`GuestError::MemoryExhausted`], or [`GuestError::Config`] for a ring of no valid size.
    pub fn new(
        memory: &Arc<GuestMemory>,
        config: &GuestConfig,
        features: u64,
    ) -> Result<Self, GuestError> {
        let pair = |_| -> Result<QueuePair, GuestError> {
            Ok(QueuePair {
                receive: ReceiveQueue::new(memory, config, features)?,
                transmit: TransmitQueue::new(memory, config, features)?,
            })
        };
        let pairs = (0..config.queue_pairs).map(pair).collect::<Result<_, _>>()?;
        let mut driver = Self { pairs, refill: config.refill };
        driver.refill();
        Ok(driver)
    }

    /// Number of queue pairs.
    #[must_use]
    pub fn queue_pairs(&self) -> usize {
        self.pairs.len()
    }

    /// The receiveq of a pair.
    pub fn receive_queue(&mut self, pair: usize) -> Option<&mut ReceiveQueue> {
        self.pairs.get_mut(pair).map(|pair| &mut pair.receive)
    }

    /// The transmitq of a pair.
    pub fn transmit_queue(&mut self, pair: usize) -> Option<&mut TransmitQueue> {
        self.pairs.get_mut(pair).map(|pair| &mut pair.transmit)
    }

    /// Bytes and eventfds of all rings, in the order of their numbers: receiveq 0, transmitq 0, receiveq 1, …
    pub fn rings(&self) -> impl Iterator<Item = (&RingArea, &RingEvents)> {
        self.pairs.iter().flat_map(|pair| {
            let receive = (pair.receive.ring().area(), pair.receive.events());
            let transmit = (pair.transmit.ring().area(), pair.transmit.events());
            [receive, transmit]
        })
    }

    /// Adds a frame to the transmitq of `pair`; [`NetDriver::publish`] shows it to the back-end.
    ///
    /// # Errors
    ///
    /// [`SendError::RingFull`], also when there is no such pair; [`SendError::TooLong`].
    #[inline]
    pub fn send(&mut self, pair: usize, header: &NetHeader, frame: &[u8]) -> Result<(), SendError> {
        self.pairs.get_mut(pair).ok_or(SendError::RingFull)?.transmit.send(header, frame)
    }

    /// As [`NetDriver::send`], cut into descriptors as `layout` says.
    ///
    /// # Errors
    ///
    /// As [`NetDriver::send`].
    pub fn send_with(
        &mut self,
        pair: usize,
        header: &NetHeader,
        frame: &[u8],
        layout: ChainLayout<'_>,
    ) -> Result<(), SendError> {
        let pair = self.pairs.get_mut(pair).ok_or(SendError::RingFull)?;
        pair.transmit.send_with(header, frame, layout)
    }

    /// Shows all that was added to the back-end, and kicks it where it wants that.
    pub fn publish(&mut self) {
        for pair in &mut self.pairs {
            pair.receive.publish();
            pair.transmit.publish();
        }
    }

    /// Kicks every ring, wanted or not.
    pub fn kick_all(&self) {
        for (_area, events) in self.rings() {
            events.kick.signal();
        }
    }

    /// Takes all frames that are there, posts their buffers again, and takes back transmit buffers. Gives the
    /// number of the pair, the net header and the frame to `sink`; returns the number of frames.
    pub fn poll(&mut self, mut sink: impl FnMut(usize, &NetHeader, &[u8])) -> usize {
        let mut frames = 0;
        for (number, pair) in self.pairs.iter_mut().enumerate() {
            pair.transmit.reclaim();
            frames += pair.receive.receive(|header, frame| sink(number, header, frame));
        }
        if frames > 0 {
            self.refill();
        }
        frames
    }

    /// Takes back the transmit buffers that the back-end is done with; how many.
    pub fn reclaim(&mut self) -> usize {
        self.pairs.iter_mut().map(|pair| pair.transmit.reclaim()).sum()
    }

    /// Transmit chains that the back-end still has.
    #[must_use]
    pub fn unfinished(&self) -> usize {
        self.pairs.iter().map(|pair| usize::from(pair.transmit.ring().outstanding())).sum()
    }

    /// Tells the back-end whether to call for received frames.
    pub fn set_calls(&mut self, calls: Calls) {
        for pair in &mut self.pairs {
            pair.receive.ring_mut().set_calls(calls);
        }
    }

    /// Whether a frame is there.
    pub fn has_received(&mut self) -> bool {
        self.pairs.iter_mut().any(|pair| pair.receive.ring_mut().has_used())
    }

    /// All rings empty, all buffers ours, receive buffers posted again: a driver that is loaded again.
    pub fn reset(&mut self) {
        for pair in &mut self.pairs {
            pair.receive.reset();
            pair.transmit.reset();
        }
        self.refill();
    }

    /// Rules that the back-end broke, on all rings.
    #[must_use]
    pub fn faults(&self) -> Faults {
        let mut sum = Faults::default();
        for pair in &self.pairs {
            sum.add(&pair.receive.faults());
            sum.add(&pair.transmit.faults());
        }
        sum
    }

    fn refill(&mut self) {
        if self.refill == Refill::AtOnce {
            for pair in &mut self.pairs {
                pair.receive.post(usize::MAX);
                pair.receive.publish();
            }
        }
    }
}
