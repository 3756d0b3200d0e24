//! The queue by which a guest sends.
//!
//! A burst is read in two passes: heads and first descriptors, so that all frames are on their way, then the frames. To look
//! at the next burst already while this one is delivered was tried, and cost 3 ns of 26 for a frame of 64 bytes when both
//! cores shared a cache and 3 of 44 when they did not; to fetch the descriptors that probably come next changed nothing.

use std::sync::Arc;

use arrayvec::ArrayVec;
use helio_frame::{BURST_FRAMES, Frame, Intake, MemoryId, Origin, PortFault};
use helio_mem::{MemoryTable, WatchedIndex};
use helio_offload::Offloads;
use helio_types::{DropReason, PortId};

use crate::reading::Reading;
use crate::ring::{Call, Ring, RingSetup};
use crate::single::{Extent, Single};
use crate::{MAX_CHAIN_DESCRIPTORS, NetHeaderSize};

/// Chains that are discarded in one turn while the queue is disabled.
const DISCARDED_PER_TURN: u16 = 256;

/// Chains and descriptors read in one turn before they have to wait for the next: a refused chain fills no place in the burst,
/// so the burst does not bound them.
const STEPS_PER_TURN: u32 = 2 * MAX_CHAIN_DESCRIPTORS as u32;

/// Chains and descriptors read in one turn, by all transmitqs of a port together: what a guest can have its worker do does not
/// grow with its queues. With chains without end in 128 of them a turn takes 8 µs so, and took 1.0 ms when each counted by itself.
#[derive(Debug, Default)]
pub struct TakeSteps(u32);

impl TakeSteps {
    /// Whether nothing more is read in this turn.
    #[inline]
    #[must_use]
    pub fn are_used_up(&self) -> bool {
        self.0 >= STEPS_PER_TURN
    }
}

/// A transmitq. Used by one worker.
#[derive(Debug)]
pub struct TransmitQueue {
    ring: Ring,
    memory: Arc<MemoryTable>,
    slots: Slots,
    reader: Reader,
}

/// A slot for each chain taken and not completed, at its place in the avail ring.
#[derive(Debug)]
struct Slots(Box<[Slot]>);

impl Slots {
    /// The slot of the entry at index `slot` of the avail ring, whose size is a power of two.
    #[inline]
    fn get(&mut self, slot: u16) -> Option<&mut Slot> {
        let mask = self.0.len().wrapping_sub(1);
        self.0.get_mut(usize::from(slot) & mask)
    }

    #[inline]
    fn set(&mut self, slot: u16, value: Slot) {
        if let Some(place) = self.get(slot) {
            *place = value;
        }
    }
}

/// How the frames of this queue are read.
#[derive(Debug)]
struct Reader {
    header: NetHeaderSize,
    header_bytes: u32,
    allowed: Offloads,
    sender: Sender,
}

/// A chain that was looked at before it is read.
#[derive(Clone, Copy, Debug)]
struct Ahead<'table> {
    head: u16,
    /// Its buffer, if it has one only.
    single: Option<Single<'table>>,
}

impl<'table> Ahead<'table> {
    /// Looks at the chain `step` entries after the next one, and fetches its buffer.
    #[inline]
    fn look(ring: &Ring, memory: &'table MemoryTable, step: u16) -> Self {
        let head = ring.head(step);
        let single = ring.descriptor(head).and_then(|first| Single::find(memory, &first));
        if let Some(single) = &single {
            single.fetch();
        }
        Self { head, single }
    }
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
            slots: Slots(vec![Slot::default(); usize::from(ring.size())].into_boxed_slice()),
            ring,
            memory: Arc::clone(memory),
            reader: Reader {
                header: NetHeaderSize::of(features),
                header_bytes: u32::try_from(NetHeaderSize::of(features).bytes()).unwrap_or(0),
                allowed: Offloads::of_sender(features),
                sender,
            },
        })
    }

    /// Chains taken and not completed.
    #[must_use]
    pub fn in_flight(&self) -> u16 {
        self.ring.next_used.until(self.ring.next_avail)
    }

    /// Where a front-end may start the ring again, once nothing is in flight.
    #[inline]
    #[must_use]
    pub fn next_avail(&self) -> u16 {
        self.ring.next_avail.get()
    }

    /// Replaces the way to tell the guest.
    pub fn set_call(&mut self, call: Call) {
        self.ring.set_call(call);
    }

    /// The index by which the guest offers chains. It offers nothing while that is [`TransmitQueue::next_avail`].
    #[must_use]
    pub fn watch(&self) -> WatchedIndex {
        self.ring.watch()
    }

    /// Whether the guest offers nothing, so that [`TransmitQueue::take`] would take nothing.
    #[inline]
    #[must_use]
    pub fn is_silent(&self) -> bool {
        self.ring.available() == Ok(0)
    }

    /// Takes frames, as many as the burst has room for. Each is held once, but for those that lie in their heads as a whole:
    /// their chains are completed at the next [`TransmitQueue::publish`]. A chain that holds no frame is refused with its
    /// reason and will be completed like any other. Returns the number of chains taken.
    ///
    /// # Errors
    ///
    /// When the avail index is impossible: the queue cannot go on.
    pub fn take(
        &mut self,
        intake: &mut Intake<'_>,
        steps: &mut TakeSteps,
    ) -> Result<u16, PortFault> {
        let available = self.ring.available()?;
        let mut taken = 0;
        while taken < available && intake.burst.has_room() && !steps.are_used_up() {
            taken += self.take_some(available - taken, intake, &mut steps.0);
        }
        Ok(taken)
    }

    /// Takes up to `count` chains, no more than the burst has room for: first all heads and first descriptors are read and
    /// the frames fetched, then the frames are read. Returns how many were taken.
    #[inline]
    fn take_some(&mut self, count: u16, intake: &mut Intake<'_>, steps: &mut u32) -> u16 {
        let Self { ring, memory, slots, reader } = self;
        let count = count.min(intake.burst.room());
        // Not an array: to fill all its places took longer than to take a frame that comes by itself.
        let mut ahead = ArrayVec::<Ahead, BURST_FRAMES>::new();
        ring.prefetch_used(0, count);
        ahead.extend((0..count).map(|step| Ahead::look(ring, memory, step)).take(BURST_FRAMES));
        let mut taken = 0;
        for Ahead { head, single } in &ahead {
            if !intake.burst.has_room() {
                break;
            }
            let slot = ring.next_avail.after(taken).get();
            let read = match single {
                Some(single) => reader.read_single(single, memory, slot, intake),
                None if *steps >= STEPS_PER_TURN => break,
                None => reader.read_chain(ring, *head, slot, intake, steps),
            };
            let holds = read.unwrap_or_else(|reason| {
                intake.refuse(reason);
                0
            });
            slots.set(slot, Slot { head: *head, holds });
            taken += 1;
        }
        *steps += u32::from(taken);
        ring.next_avail = ring.next_avail.after(taken);
        taken
    }

    /// Takes chains without reading them: what a guest sends on a disabled queue has no effect. Returns how many.
    ///
    /// # Errors
    ///
    /// When the avail index is impossible.
    pub fn discard(&mut self, steps: &mut TakeSteps) -> Result<u16, PortFault> {
        let most = if steps.are_used_up() { 0 } else { DISCARDED_PER_TURN };
        let discarded = self.ring.available()?.min(most);
        steps.0 += u32::from(discarded);
        for _ in 0..discarded {
            let head = self.ring.head(0);
            let slot = self.ring.next_avail.get();
            self.ring.next_avail = self.ring.next_avail.after(1);
            self.slots.set(slot, Slot { head, holds: 0 });
        }
        Ok(discarded)
    }

    /// Holds the frame in `slot` once more.
    #[inline]
    pub fn hold(&mut self, slot: u16) {
        if let Some(slot) = self.slots.get(slot) {
            slot.holds += 1;
        }
    }

    /// Gives one hold of the frame in `slot` back.
    #[inline]
    pub fn release(&mut self, slot: u16) {
        let index = slot;
        if let Some(slot) = self.slots.get(slot) {
            debug_assert!(slot.holds > 0, "slot {index} is released more often than it was held");
            slot.holds = slot.holds.saturating_sub(1);
        }
    }

    /// Completes the chains that nobody holds, in the order taken, up to the first that is held, and makes that visible.
    #[inline]
    pub fn publish(&mut self) {
        let in_flight = self.in_flight();
        let mut used = self.ring.used_writer();
        while used.count() < in_flight {
            match self.slots.get(self.ring.next_used.after(used.count()).get()) {
                Some(slot) if slot.holds == 0 => used.push(slot.head, 0),
                _ => break,
            }
        }
        let completed = used.count();
        self.ring.completed(completed);
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
}

impl Reader {
    /// Reads a frame in one buffer into the vacancy of the burst. Returns how often its slot is held.
    #[inline]
    fn read_single(
        &self,
        single: &Single<'_>,
        memory: &MemoryTable,
        slot: u16,
        intake: &mut Intake<'_>,
    ) -> Result<u16, DropReason> {
        let filled = intake.burst.fill(|frame| {
            let extent = single.read(memory, self.header_bytes, self.allowed, frame)?;
            Ok(self.settle_origin(frame, slot, extent))
        });
        filled.unwrap_or(Err(DropReason::NoPrivateBuffer))
    }

    /// Reads a chain of several buffers, or one that breaks a rule, into the vacancy of the burst: each descriptor once, also
    /// the first, as nothing is kept of the look at it; the net header and the first bytes of the frame once. Returns how often
    /// its slot is held.
    #[cold]
    fn read_chain(
        &self,
        ring: &Ring,
        head: u16,
        slot: u16,
        intake: &mut Intake<'_>,
        steps: &mut u32,
    ) -> Result<u16, DropReason> {
        let Intake { burst, pool, .. } = intake;
        let filled = burst.fill(|frame| {
            let mut reading =
                Reading::new(ring.memory(), self.header, self.sender.port, frame, pool);
            let walked = ring.walk(head, |descriptor| {
                *steps += 1;
                reading.add_buffer(descriptor)
            });
            let finished = walked.and_then(|()| reading.finish(self.allowed));
            if finished.is_err() {
                reading.abandon();
            }
            if let Some(chunk) = finished? {
                (frame.memory, frame.origin) = (pool.id(), Origin::Chunk(chunk));
                return Ok(0);
            }
            let extent = Extent::of(frame);
            Ok(self.settle_origin(frame, slot, extent))
        });
        filled.unwrap_or(Err(DropReason::NoPrivateBuffer))
    }

    /// Says where a frame lies that stayed where it was, and what must be given back for it. Returns how often its slot is held.
    #[inline]
    fn settle_origin(&self, frame: &mut Frame, slot: u16, extent: Extent) -> u16 {
        let Sender { port, queue } = self.sender;
        frame.memory = MemoryId::of_port(port);
        match extent {
            // The guest's buffer is needed no more.
            Extent::Snapshot => {
                frame.origin = Origin::Nothing;
                0
            }
            Extent::Beyond => {
                frame.origin = Origin::Chain { port, queue, slot };
                1
            }
        }
    }
}
