//! The queue by which a guest sends.

use std::sync::Arc;

use helio_frame::{BURST_FRAMES, Frame, Intake, MemoryId, Origin, Pool, PortFault};
use helio_mem::{MemoryTable, Segment};
use helio_offload::Offloads;
use helio_types::{DropReason, PortId};

use crate::reading::Reading;
use crate::ring::{Call, Ring, RingSetup};
use crate::single;
use crate::{MAX_CHAIN_DESCRIPTORS, NetHeaderSize};

/// Chains that are discarded in one turn while the queue is disabled.
const DISCARDED_PER_TURN: u16 = 256;

/// Bytes fetched ahead of time of one frame: what the hardware does not fetch by itself.
const FETCHED_BYTES: u32 = 4 * 64;

/// Chains and descriptors read in one turn before the queue has to wait for its next turn: a refused chain fills no place
/// in the burst, so the burst does not bound them.
const STEPS_PER_TURN: u32 = 2 * MAX_CHAIN_DESCRIPTORS as u32;

/// A transmitq. Used by one worker.
#[derive(Debug)]
pub struct TransmitQueue {
    ring: Ring,
    /// A slot for each chain taken and not completed, at its place in the avail ring.
    slots: Box<[Slot]>,
    /// The next chains, as far as they were looked at in this turn.
    ahead: Box<[Ahead; BURST_FRAMES]>,
    header: NetHeaderSize,
    allowed: Offloads,
    sender: Sender,
}

#[derive(Clone, Copy, Debug, Default)]
struct Slot {
    head: u16,
    holds: u16,
}

/// A chain that was looked at and not taken yet.
#[derive(Clone, Copy, Debug, Default)]
struct Ahead {
    head: u16,
    /// Its buffer, when it is a chain of one in one piece of memory.
    buffer: Option<Segment>,
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
            ahead: Box::default(),
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
        let mut steps = 0;
        let mut taken = 0;
        while taken < available && intake.burst.has_room() && steps < STEPS_PER_TURN {
            let count = (available - taken).min(intake.burst.room());
            let looked_at = self.look_at(count);
            for index in 0..looked_at {
                if !intake.burst.has_room() || steps >= STEPS_PER_TURN {
                    return Ok(taken);
                }
                self.take_one(index, intake, &mut steps);
                taken += 1;
            }
        }
        Ok(taken)
    }

    /// Reads the heads and first descriptors of the next `count` chains, at most a burst of them, and fetches the frames of
    /// those that are one buffer. Returns how many.
    #[inline]
    fn look_at(&mut self, count: u16) -> u16 {
        let mut looked_at = 0;
        self.ring.prefetch_used(count);
        for (ahead, place) in (0..count).zip(self.ahead.iter_mut()) {
            let (head, buffer) = self.ring.single_frame(ahead);
            if let Some(buffer) = buffer {
                self.ring.memory().prefetch_read(buffer.limit(FETCHED_BYTES));
            }
            *place = Ahead { head, buffer };
            looked_at += 1;
        }
        looked_at
    }

    /// Takes the next chain, which was looked at as that with number `index`.
    #[inline]
    fn take_one(&mut self, index: u16, intake: &mut Intake<'_>, steps: &mut u32) {
        let ahead = self.ahead.get(usize::from(index)).copied().unwrap_or_default();
        let slot = self.ring.next_avail;
        self.ring.next_avail = slot.wrapping_add(1);
        *steps += 1;
        let held = self.read(ahead, slot, intake, steps).unwrap_or_else(|reason| {
            intake.refuse(reason);
            0
        });
        self.set_slot(slot, Slot { head: ahead.head, holds: held });
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

    /// Reads a chain into the vacancy of the burst: each descriptor once, the net header and the first bytes of the frame
    /// once. Returns how often its slot is held.
    #[inline]
    fn read(
        &self,
        ahead: Ahead,
        slot: u16,
        intake: &mut Intake<'_>,
        steps: &mut u32,
    ) -> Result<u16, DropReason> {
        let Intake { burst, pool, .. } = intake;
        let frame = burst.vacancy().ok_or(DropReason::NoPrivateBuffer)?;
        let chunk = match ahead.buffer {
            Some(buffer) => {
                *steps += 1;
                single::read(self.ring.memory(), buffer, self.header, self.allowed, frame)?;
                None
            }
            None => self.read_chain(ahead.head, frame, pool, steps)?,
        };
        let Sender { port, queue } = self.sender;
        (frame.memory, frame.origin) = match chunk {
            Some(chunk) => (pool.id(), Origin::Chunk(chunk)),
            // What lies in the snapshot as a whole needs the guest's buffer no more.
            None if frame.rest.is_empty() => (MemoryId::of_port(port), Origin::Nothing),
            None => (MemoryId::of_port(port), Origin::Chain { port, queue, slot }),
        };
        let held = matches!(frame.origin, Origin::Chain { .. });
        burst.commit();
        Ok(u16::from(held))
    }

    /// Reads a chain of several buffers, or one that breaks a rule. Returns the private buffer that its rest was moved to, if
    /// it was.
    fn read_chain(
        &self,
        head: u16,
        frame: &mut Frame,
        pool: &mut Pool,
        steps: &mut u32,
    ) -> Result<Option<u16>, DropReason> {
        let memory = self.ring.memory();
        let mut reading = Reading::new(memory, self.header, self.sender.port, frame, pool);
        let walked = self.ring.walk(head, |descriptor| {
            *steps += 1;
            reading.add_buffer(descriptor)
        });
        let finished = walked.and_then(|()| reading.finish(self.allowed));
        if finished.is_err() {
            reading.abandon();
        }
        finished
    }
}
