//! The queue by which a guest sends.

use std::sync::Arc;

use helio_frame::{Intake, MemoryId, Origin, PortFault};
use helio_mem::MemoryTable;
use helio_offload::Offloads;
use helio_types::{DropReason, PortId};

use crate::reading::Reading;
use crate::ring::{Call, Ring, RingSetup};
use crate::{MAX_CHAIN_DESCRIPTORS, NetHeaderSize};

/// Chains that are discarded in one turn while the queue is disabled.
const DISCARDED_PER_TURN: u16 = 256;

/// Chains and descriptors read in one turn before the queue has to wait for its next turn: a refused chain fills no place
/// in the burst, so the burst does not bound them.
const STEPS_PER_TURN: u32 = 2 * MAX_CHAIN_DESCRIPTORS as u32;

/// A transmitq. Used by one worker.
#[derive(Debug)]
pub struct TransmitQueue {
    ring: Ring,
    /// A slot for each chain taken and not completed, at its place in the avail ring.
    slots: Box<[Slot]>,
    header: NetHeaderSize,
    allowed: Offloads,
    sender: Sender,
}

#[derive(Clone, Copy, Debug, Default)]
struct Slot {
    head: u16,
    holds: u16,
}

/// Whose frames they are.
#[derive(Clone, Copy, Debug)]
pub struct Sender {
    /// The port.
    pub port: PortId,
    /// Which transmitq of the port.
    pub queue: u8,
}

impl TransmitQueue {
    /// Starts the queue in `memory`.
    ///
    /// # Errors
    ///
    /// When the ring breaks the rules of VIRTIO 1.2, section 2.7.
    pub fn start(
        setup: RingSetup,
        memory: &Arc<MemoryTable>,
        sender: Sender,
    ) -> Result<Self, PortFault> {
        let features = setup.features;
        let ring = Ring::start(setup, memory)?;
        Ok(Self {
            slots: vec![Slot::default(); usize::from(ring.size())].into_boxed_slice(),
            ring,
            header: NetHeaderSize::of(features),
            allowed: Offloads::of_sender(features),
            sender,
        })
    }

    /// Chains taken and not completed.
    #[must_use]
    pub fn in_flight(&self) -> u16 {
        self.ring.next_avail.wrapping_sub(self.ring.next_used)
    }

    /// Where a front-end may start the ring again, once nothing is in flight.
    #[must_use]
    pub fn next_avail(&self) -> u16 {
        self.ring.next_avail
    }

    /// Replaces the way to tell the guest.
    pub fn set_call(&mut self, call: Call) {
        self.ring.set_call(call);
    }

    /// Takes frames, each held once, as many as the burst has room for. A chain that holds no frame is refused with its
    /// reason and will be completed like any other. Returns the number of chains taken.
    ///
    /// # Errors
    ///
    /// When the avail index is impossible: the queue cannot go on.
    pub fn take(&mut self, intake: &mut Intake<'_>) -> Result<u16, PortFault> {
        let available = self.ring.available()?;
        for ahead in 0..available.min(intake.burst.room()) {
            self.ring.prefetch(ahead);
        }
        let mut steps = 0;
        let mut taken = 0;
        while taken < available && intake.burst.has_room() && steps < STEPS_PER_TURN {
            let head = self.ring.head(0);
            let slot = self.ring.next_avail;
            self.ring.next_avail = slot.wrapping_add(1);
            taken += 1;
            steps += 1;
            let held = match self.read(head, slot, intake, &mut steps) {
                Ok(held) => held,
                Err(reason) => {
                    intake.refuse(reason);
                    0
                }
            };
            self.set_slot(slot, Slot { head, holds: held });
        }
        Ok(taken)
    }

    /// Takes chains without reading them: what a guest sends on a disabled queue has no effect. Returns how many.
    ///
    /// # Errors
    ///
    /// When the avail index is impossible.
    pub fn discard(&mut self) -> Result<u16, PortFault> {
        let discarded = self.ring.available()?.min(DISCARDED_PER_TURN);
        for _ in 0..discarded {
            let head = self.ring.head(0);
            let slot = self.ring.next_avail;
            self.ring.next_avail = slot.wrapping_add(1);
            self.set_slot(slot, Slot { head, holds: 0 });
        }
        Ok(discarded)
    }

    /// Holds the frame in `slot` once more.
    #[inline]
    pub fn hold(&mut self, slot: u16) {
        let index = usize::from(slot & self.ring.mask());
        if let Some(slot) = self.slots.get_mut(index) {
            slot.holds += 1;
        }
    }

    /// Gives one hold of the frame in `slot` back.
    #[inline]
    pub fn release(&mut self, slot: u16) {
        let index = usize::from(slot & self.ring.mask());
        if let Some(slot) = self.slots.get_mut(index) {
            debug_assert!(slot.holds > 0, "slot {index} is released more often than it was held");
            slot.holds = slot.holds.saturating_sub(1);
        }
    }

    /// Completes the chains that nobody holds, in the order taken, up to the first that is held, and makes that visible.
    #[inline]
    pub fn publish(&mut self) {
        while self.ring.next_used != self.ring.next_avail {
            let index = usize::from(self.ring.next_used & self.ring.mask());
            match self.slots.get(index) {
                Some(slot) if slot.holds == 0 => self.ring.complete(slot.head, 0),
                _ => break,
            }
        }
        self.ring.publish();
    }

    /// Tells the guest of completed chains, if it asked for that. A fence must lie between publishing and this.
    #[inline]
    pub fn notify(&mut self) {
        self.ring.notify();
    }

    /// Asks the guest to kick. Returns whether it has sent something meanwhile.
    pub fn ask_for_kick(&self) -> bool {
        self.ring.ask_for_kick()
    }

    /// Asks the guest not to kick.
    pub fn refuse_kicks(&self) {
        self.ring.refuse_kicks();
    }

    fn set_slot(&mut self, slot: u16, value: Slot) {
        let index = usize::from(slot & self.ring.mask());
        if let Some(place) = self.slots.get_mut(index) {
            *place = value;
        }
    }

    /// Reads the chain at `head` into the vacancy of the burst: each descriptor once, the net header and the first bytes of
    /// the frame once. Returns how often its slot is held.
    #[inline]
    fn read(
        &self,
        head: u16,
        slot: u16,
        intake: &mut Intake<'_>,
        steps: &mut u32,
    ) -> Result<u16, DropReason> {
        let Intake { burst, pool, .. } = intake;
        let frame = burst.vacancy().ok_or(DropReason::NoPrivateBuffer)?;
        let memory = self.ring.memory();
        let mut reading = Reading::new(memory, self.header, self.sender.port, frame, pool);
        let walked = self.ring.walk(head, |descriptor| {
            *steps += 1;
            reading.add_buffer(descriptor)
        });
        let chunk = match walked.and_then(|()| reading.finish(self.allowed)) {
            Ok(chunk) => chunk,
            Err(reason) => {
                reading.abandon();
                return Err(reason);
            }
        };
        (frame.memory, frame.origin) = match chunk {
            Some(chunk) => (pool.id(), Origin::Chunk(chunk)),
            None => {
                let Sender { port, queue } = self.sender;
                (MemoryId::of_port(port), Origin::Chain { port, queue, slot })
            }
        };
        burst.commit();
        Ok(u16::from(chunk.is_none()))
    }
}
