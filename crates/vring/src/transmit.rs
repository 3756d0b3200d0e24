//! The queue by which a guest sends.

use std::sync::Arc;

use helio_frame::{Frame, Head, Intake, MemoryId, Origin, PortFault, SegmentList};
use helio_mem::{MemoryTable, Segment};
use helio_offload::{NetHeader, Offloads, RawNetHeader, check};
use helio_types::{DropReason, MAX_FRAME_BYTES, MIN_FRAME_BYTES, PortId};

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
        let mut steps = 0;
        let mut taken = 0;
        while taken < available && intake.burst.has_room() && steps < STEPS_PER_TURN {
            let head = self.ring.head(0);
            let slot = self.ring.next_avail;
            self.ring.next_avail = slot.wrapping_add(1);
            taken += 1;
            steps += 1;
            let held = match self.read(head, slot, intake, &mut steps) {
                Ok(frame) => {
                    let held = u16::from(matches!(frame.origin, Origin::Chain { .. }));
                    intake.burst.push(frame);
                    held
                }
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

    /// Reads the chain at `head`: each descriptor once, the net header and the first bytes of the frame once.
    fn read(
        &self,
        head: u16,
        slot: u16,
        intake: &mut Intake<'_>,
        steps: &mut u32,
    ) -> Result<Frame, DropReason> {
        let memory = self.ring.memory();
        let mut reading = Reading::new(memory, self.header, self.sender.port);
        let walked = self.ring.walk(head, |descriptor| {
            *steps += 1;
            if descriptor.is_device_writable() {
                return Err(DropReason::ChainDirection);
            }
            reading.count(descriptor.bytes)?;
            let mut room = Ok(());
            memory
                .resolve(descriptor.addr, descriptor.bytes, |segment| {
                    room = reading.add(segment, intake);
                    room.is_ok()
                })
                .map_err(|_| room.err().unwrap_or(DropReason::ChainAddress))
        });
        let finished = walked.and_then(|()| reading.finish(self.allowed));
        match finished {
            Ok((bytes, net)) => Ok(Frame {
                bytes,
                head: reading.head,
                net,
                memory: if reading.chunk.is_some() {
                    intake.pool.id()
                } else {
                    MemoryId::of_port(self.sender.port)
                },
                rest: reading.rest,
                origin: match reading.chunk {
                    Some(chunk) => Origin::Chunk(chunk),
                    None => {
                        Origin::Chain { port: self.sender.port, queue: self.sender.queue, slot }
                    }
                },
            }),
            Err(reason) => {
                if let Some(chunk) = reading.chunk {
                    intake.pool.release(chunk);
                }
                Err(reason)
            }
        }
    }
}

/// A frame that is being read: first the net header, then the head, then the places of the rest.
struct Reading<'a> {
    memory: &'a MemoryTable,
    sender: PortId,
    header: [u8; 12],
    header_bytes: usize,
    /// Bytes of net header and head read so far.
    read: usize,
    head: Head,
    rest: SegmentList,
    /// Bytes of the chain so far, net header included.
    total: u32,
    /// Private buffer that holds the rest, when it lies in too many pieces.
    chunk: Option<u16>,
    /// Bytes in it.
    chunk_bytes: u32,
}

impl<'a> Reading<'a> {
    fn new(memory: &'a MemoryTable, size: NetHeaderSize, sender: PortId) -> Self {
        Self {
            memory,
            sender,
            header: [0; 12],
            header_bytes: size.bytes(),
            read: 0,
            head: Head::EMPTY,
            rest: SegmentList::new(),
            total: 0,
            chunk: None,
            chunk_bytes: 0,
        }
    }

    /// Adds the length of a buffer before it is read: a frame that is too long is not read at all.
    #[inline]
    fn count(&mut self, bytes: u32) -> Result<(), DropReason> {
        let limit = MAX_FRAME_BYTES + u32::try_from(self.header_bytes).unwrap_or(0);
        self.total = self
            .total
            .checked_add(bytes)
            .filter(|total| *total <= limit)
            .ok_or(DropReason::Oversize)?;
        Ok(())
    }

    #[inline]
    fn add(&mut self, segment: Segment, intake: &mut Intake<'_>) -> Result<(), DropReason> {
        let mut left = segment;
        if self.read < self.header_bytes {
            left = self.fill(left, self.header_bytes - self.read, Part::NetHeader);
        }
        let head_end = self.header_bytes + helio_frame::HEAD_BYTES;
        if left.bytes > 0 && self.read < head_end {
            left = self.fill(left, head_end - self.read, Part::Head);
        }
        if left.bytes == 0 {
            return Ok(());
        }
        if self.chunk.is_none() && self.rest.try_push(left).is_ok() {
            return Ok(());
        }
        self.spill(left, intake)
    }

    /// Reads up to `room` bytes of `segment` into the net header or the head. Returns what is left of it.
    #[inline]
    fn fill(&mut self, segment: Segment, room: usize, part: Part) -> Segment {
        let room = match part {
            Part::NetHeader => self.header.get_mut(self.read..self.read + room),
            Part::Head => {
                let from = self.read - self.header_bytes;
                self.head.room().get_mut(from..from + room)
            }
        };
        let read = self.memory.read(segment, room.unwrap_or_default());
        self.read += read;
        segment.skip(u32::try_from(read).unwrap_or(u32::MAX))
    }

    /// The rest lies in more pieces than a frame can name: it moves to a private buffer, and what follows with it.
    fn spill(&mut self, segment: Segment, intake: &mut Intake<'_>) -> Result<(), DropReason> {
        let chunk = match self.chunk {
            Some(chunk) => chunk,
            None => intake.pool.take(self.sender).ok_or(DropReason::NoPrivateBuffer)?,
        };
        let buffer = intake.pool.segment(chunk);
        if self.chunk.replace(chunk).is_none() {
            for piece in std::mem::take(&mut self.rest) {
                self.append(piece, buffer, intake);
            }
        }
        self.append(segment, buffer, intake);
        self.rest.clear();
        self.rest.push(buffer.limit(self.chunk_bytes));
        Ok(())
    }

    fn append(&mut self, piece: Segment, buffer: Segment, intake: &Intake<'_>) {
        let copied = self.memory.copy_to(piece, intake.pool.table(), buffer.skip(self.chunk_bytes));
        self.chunk_bytes += u32::try_from(copied).unwrap_or(0);
    }

    /// Judges what was read. Returns the length of the frame and what is asked to be done to it.
    fn finish(&mut self, allowed: Offloads) -> Result<(u32, NetHeader), DropReason> {
        if self.read < self.header_bytes {
            return Err(DropReason::HeaderShort);
        }
        self.head.set_len(self.read - self.header_bytes);
        let bytes = self.total - u32::try_from(self.header_bytes).unwrap_or(0);
        if bytes < MIN_FRAME_BYTES {
            return Err(DropReason::Runt);
        }
        let header = self.header.get(..self.header_bytes).unwrap_or_default();
        let raw = RawNetHeader::from_bytes(header).ok_or(DropReason::HeaderShort)?;
        Ok((bytes, check(&raw, allowed, self.head.bytes(), bytes)?))
    }
}

#[derive(Clone, Copy)]
enum Part {
    NetHeader,
    Head,
}
