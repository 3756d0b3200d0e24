//! The queue by which a guest receives. Used by one worker.
//!
//! Nearly every frame takes the short way: its buffer is found when the frame is announced, fetched, and kept until the frame is
//! written there. What these two loops need of ring and table they hold by value, and what only long frames need is not
//! inlined: so it stays in registers, and is not loaded again after each write to memory of the guest. A copy of a frame of 64
//! bytes takes 132 instructions so and took 178 before, when each buffer was looked up twice; with four mirrors the frame costs
//! 39.2 ns instead of 47.7 between near cores, without 13.6 instead of 15.4.

use std::sync::Arc;

use arrayvec::ArrayVec;
use helio_frame::{Delivery, Frame, PortFault, Readiness, Run, RunEnd};
use helio_mem::{GuestBytes, MemoryTable, PlaceQueue, Segment, Written};
use helio_offload::NetHeader;
use helio_types::DropReason;

use crate::descriptor::Descriptor;
use crate::ring::{Call, Ring, RingSetup, Upcoming};
use crate::writer::Writer;
use crate::{MAX_CHAIN_DESCRIPTORS, NetHeaderSize, feature};

/// Chains looked at ahead of time, at most: those of two bursts.
const READY_CHAINS: usize = 128;
/// Bytes fetched ahead of time for one frame; the hardware fetches what follows while they are written. Frames of 1518 bytes
/// cost 56.5 ns with all their lines fetched, 51.2 so, and 50.2 with three lines, which cost 3 % between far cores.
const FETCHED_BYTES: u32 = 6 * 64;

/// The net header of a frame that nothing is left to do to, in one chain.
const PLAIN_HEADER: (u64, u32) = {
    let plain = NetHeader::PLAIN.to_raw();
    plain.to_words()
};

/// Most chains that one frame is spread over.
const MAX_CHAINS: usize = 256;
/// Most pieces that the part of these chains lies in that a frame fills.
const MAX_PLACES: usize = MAX_CHAIN_DESCRIPTORS as usize;

/// Descriptors walked in one turn before frames are refused until the next. What is walked for a frame that then finds no
/// room is walked again for the next frame, so the ring does not bound it.
///
/// Looking at chains ahead of time takes none of them. A chain that is found so is looked at once and waits until it is used,
/// and one that is not ends the looking: so the frames bound it, whatever the guest offers.
const STEPS_PER_TURN: u32 = 8 * MAX_CHAIN_DESCRIPTORS as u32;

/// A receiveq. Used by one worker.
#[derive(Debug)]
pub struct ReceiveQueue {
    ring: Ring,
    header: NetHeaderSize,
    max_chains: usize,
    /// Chains that were available when the index was last read, and not used since.
    available: u16,
    /// Descriptors walked in this turn.
    steps: u32,
    /// Whether the net headers of the last frames stood in their buffers already: most drivers never change them.
    headers: Written,
    /// The buffers of the next chains, as far as they were looked at: each chain is one, and its head the number. They leave
    /// only as their chains are used, so that none is looked at for every frame that it is too small for.
    ready: PlaceQueue<READY_CHAINS>,
    chains: ArrayVec<Chain, MAX_CHAINS>,
    places: ArrayVec<Segment, MAX_PLACES>,
}

/// The buffer of the chain at `head`, if it is one that is device-writable, named by the ring's own table. The descriptor is
/// read once; any other chain is for [`Ring::walk`].
#[inline]
fn only_buffer(upcoming: Upcoming<'_>, head: u16) -> Option<Descriptor> {
    let only = upcoming.descriptor(head)?;
    (only.is_single_and_writable() && only.bytes > 0).then_some(only)
}

#[derive(Clone, Copy, Debug)]
struct Chain {
    head: u16,
    bytes: u32,
}

impl ReceiveQueue {
    /// Starts the queue in `memory`.
    ///
    /// # Errors
    ///
    /// When the ring breaks the rules of VIRTIO 1.2, section 2.7.
    pub fn start(setup: RingSetup, memory: &Arc<MemoryTable>) -> Result<Self, PortFault> {
        let mergeable = setup.features & feature::MRG_RXBUF != 0;
        let header = NetHeaderSize::of(setup.features);
        Ok(Self {
            ring: Ring::start(setup, memory)?,
            header,
            max_chains: if mergeable { MAX_CHAINS } else { 1 },
            available: 0,
            steps: 0,
            headers: Written::All,
            ready: PlaceQueue::new(Arc::clone(memory)),
            chains: ArrayVec::new(),
            places: ArrayVec::new(),
        })
    }

    /// Where a front-end may start the ring again.
    #[must_use]
    pub fn next_avail(&self) -> u16 {
        self.ring.next_avail.get()
    }

    /// Replaces the way to tell the guest.
    pub fn set_call(&mut self, call: Call) {
        self.ring.set_call(call);
    }

    /// Descriptors walked in this turn.
    #[inline]
    #[must_use]
    pub fn steps(&self) -> u32 {
        self.steps
    }

    /// So many descriptors were walked in this turn, by this and the other receiveqs of the port: what a guest can have its worker
    /// do does not grow with its queues.
    #[inline]
    pub fn go_on_from(&mut self, steps: u32) {
        self.steps = steps;
    }

    /// Whether chains were looked at that no frame was written to yet.
    #[inline]
    #[must_use]
    pub fn is_prepared(&self) -> bool {
        !self.ready.is_empty()
    }

    /// Prepares for frames that will be offered soon, by [`ReceiveQueue::look_ahead`].
    #[inline]
    pub fn prepare(&mut self, frames: &[Frame]) -> Readiness {
        if self.is_exhausted() {
            return Readiness::NoBuffer;
        }
        self.look_ahead(frames);
        if self.is_prepared() { Readiness::Room } else { Readiness::Unknown }
    }

    /// Looks at the next chains that were not looked at yet, one for each frame, and fetches their first lines: the frames
    /// will be written soon. What cannot be prepared is found by [`ReceiveQueue::offer`]. Buffers that were looked at for frames
    /// which then did not come are the first to be used. Always inlined: a frame that comes alone takes 30 instructions less.
    #[inline(always)]
    pub fn look_ahead(&mut self, frames: &[Frame]) {
        if self.steps >= STEPS_PER_TURN {
            return;
        }
        let ahead = u16::try_from(self.ready.len()).unwrap_or(u16::MAX);
        let room = u16::try_from(self.ready.room().min(frames.len())).unwrap_or(0);
        let wanted = ahead + room;
        if wanted > self.available {
            // An impossible index shows when a frame is offered.
            self.available = self.ring.available().unwrap_or(self.available);
        }
        let found = wanted.min(self.available);
        if found <= ahead {
            return;
        }
        self.ring.prefetch_used(ahead, found);
        let header_bytes = u32::try_from(self.header.bytes()).unwrap_or(0);
        // A net header that stands there already is only read, and may have a line of its own.
        let skip = if self.headers == Written::OnlyData { header_bytes } else { 0 };
        let upcoming = self.ring.upcoming();
        let mut ready = self.ready.filler();
        for (frame, ahead) in frames.iter().zip(ahead..found) {
            let head = upcoming.head(ahead);
            let Some(only) = only_buffer(upcoming, head) else { break };
            let Some(place) = ready.push(only.addr, only.bytes, head) else { break };
            place.prefetch_write(skip, frame.bytes.min(FETCHED_BYTES) + (header_bytes - skip));
        }
    }

    /// Writes frames that nothing must be done to, in order, until one is refused. The fault is there when the avail index is
    /// impossible: the queue cannot go on.
    #[inline]
    pub fn offer_run(&mut self, run: Run<'_>) -> (RunEnd, Option<PortFault>) {
        if self.is_exhausted() {
            // Seen before any of the frames is touched.
            return (RunEnd::none(run.frames.len(), DropReason::NoRxBuffer), None);
        }
        let mut written = 0;
        loop {
            let left = run.frames.get(written..).unwrap_or_default();
            written += self.offer_ready(&run, left);
            let Some(frame) = run.frames.get(written) else { break };
            if let Err(end) = self.offer_unready(&run, frame, written) {
                return end;
            }
            written += 1;
        }
        (RunEnd::all(run.frames.len()), None)
    }

    /// Whether the guest has offered no buffer that is not used yet.
    #[inline]
    fn is_exhausted(&self) -> bool {
        self.knows_of_none() && self.ring.available() == Ok(0)
    }

    /// Whether no buffer is left of those that the guest was seen to offer. A guest that takes its offers back cannot take
    /// back what was looked at.
    #[inline]
    fn knows_of_none(&self) -> bool {
        self.available == 0 && self.ready.is_empty()
    }

    /// Writes the frame after the first `written` ones of a run by looking for buffers.
    fn offer_unready(
        &mut self,
        run: &Run<'_>,
        frame: &Frame,
        written: usize,
    ) -> Result<(), (RunEnd, Option<PortFault>)> {
        let left = run.frames.len() - written;
        let end = |reason, count| RunEnd { written, refused: Some((reason, count)) };
        let Some(rest) = run.rest_of(frame) else {
            return Err((end(DropReason::PortDown, 1), None));
        };
        let whole = Delivery::whole(frame.net, frame.head.bytes(), &[], rest);
        match self.offer(&whole) {
            Ok(Ok(())) => Ok(()),
            // Without any buffer there is none for the frames after it either.
            Ok(Err(reason @ DropReason::NoRxBuffer)) if self.knows_of_none() => {
                Err((end(reason, left), None))
            }
            Ok(Err(reason)) => Err((end(reason, 1), None)),
            Err(fault) => Err((end(DropReason::PortDown, left), Some(fault))),
        }
    }

    /// Writes frames into the next chains, as long as those were looked at and are large enough, and the frames are plain.
    /// Returns how many it wrote.
    #[inline]
    fn offer_ready(&mut self, run: &Run<'_>, frames: &[Frame]) -> usize {
        if self.header != NetHeaderSize::Twelve {
            return 0;
        }
        let (count, headers) = self.write_ready(run, frames);
        if count > 0 {
            self.headers = headers;
        }
        self.chains_used(count);
        usize::from(count)
    }

    /// Writes the frames and the used entries. Returns how many, and whether a net header had to be written. Not inlined: so
    /// what the loop needs stays in registers, which is 2 instructions less for each frame.
    #[inline(never)]
    fn write_ready(&self, run: &Run<'_>, frames: &[Frame]) -> (u16, Written) {
        let mut headers = Written::OnlyData;
        let mut used = self.ring.used_writer();
        let mut ready = self.ready.iter();
        for frame in frames {
            let Some((place, head)) = ready.next() else { break };
            let Some(written) = write_plain(run, frame, place) else { break };
            headers = headers.max(written);
            used.push(head, frame.bytes + 12);
        }
        (used.count(), headers)
    }

    /// Writes one frame into the next buffers of the guest: first all buffers it needs are found, then it is written, then
    /// the buffers are completed. A frame that is refused has used no buffer, except those that broke the rules.
    ///
    /// # Errors
    ///
    /// The outer one when the avail index is impossible and the queue cannot go on; the inner one when this frame is
    /// dropped.
    pub fn offer(&mut self, delivery: &Delivery<'_>) -> Result<Result<(), DropReason>, PortFault> {
        let header_bytes = u32::try_from(self.header.bytes()).unwrap_or(0);
        let needed = delivery.bytes().saturating_add(header_bytes);
        let next = self.ready.iter().next();
        if let Some((place, head)) = next {
            if place.bytes() < needed {
                if self.max_chains == 1 {
                    // A shorter frame may fit.
                    return Ok(Err(DropReason::RxBufferTooSmall));
                }
            } else if let Some(place) = self.ready.table().segment_of(place) {
                self.write(delivery, 1, &[place]);
                self.use_chain(head, needed);
                return Ok(Ok(()));
            }
        }
        if let Err(reason) = self.find_buffers(needed)? {
            return Ok(Err(reason));
        }
        self.write(delivery, self.chains.len(), &self.places);
        self.complete(needed);
        Ok(Ok(()))
    }

    /// Makes the frames written so far visible. Called once per turn.
    #[inline]
    pub fn publish(&mut self) {
        self.steps = 0;
        self.ring.publish();
    }

    /// Tells the guest of frames, if it asked for that. A fence must lie between publishing and this.
    #[inline]
    pub fn notify(&mut self) {
        self.ring.notify();
    }

    /// Collects chains until they hold `needed` bytes.
    fn find_buffers(&mut self, needed: u32) -> Result<Result<(), DropReason>, PortFault> {
        self.chains.clear();
        self.places.clear();
        let mut room = 0_u32;
        while room < needed {
            let ahead = u16::try_from(self.chains.len()).unwrap_or(u16::MAX);
            if usize::from(ahead) >= self.max_chains || self.steps >= STEPS_PER_TURN {
                return Ok(Err(DropReason::RxBufferTooSmall));
            }
            if ahead >= self.available {
                self.available = self.ring.available()?;
                if ahead >= self.available {
                    return Ok(Err(DropReason::NoRxBuffer));
                }
            }
            let head = self.ring.head(ahead);
            match self.read_chain(head, needed - room) {
                Ok(bytes) => {
                    room = room.saturating_add(bytes);
                    self.chains.push(Chain { head, bytes });
                }
                // Nothing is wrong with the chain: a shorter frame may fit.
                Err(DropReason::RxBufferTooSmall) => return Ok(Err(DropReason::RxBufferTooSmall)),
                Err(reason) => {
                    self.give_back(head);
                    return Ok(Err(reason));
                }
            }
        }
        Ok(Ok(()))
    }

    /// Adds the places of one chain, as far as they are needed for `missing` bytes. Returns how many bytes the whole chain
    /// has.
    ///
    /// # Errors
    ///
    /// The rule that the chain breaks, or [`DropReason::RxBufferTooSmall`] when it lies in too many pieces for this frame.
    fn read_chain(&mut self, head: u16, mut missing: u32) -> Result<u32, DropReason> {
        let (ring, places, steps) = (&self.ring, &mut self.places, &mut self.steps);
        let mut bytes = 0_u32;
        *steps += 1;
        ring.walk(head, |descriptor| {
            *steps += 1;
            if !descriptor.is_device_writable() {
                return Err(DropReason::ChainDirection);
            }
            bytes = bytes.checked_add(descriptor.bytes).ok_or(DropReason::Oversize)?;
            let mut refused = DropReason::ChainAddress;
            ring.memory()
                .resolve(descriptor.addr, descriptor.bytes, |segment| {
                    let place = segment.limit(missing);
                    missing -= place.bytes;
                    let fits = place.bytes == 0 || places.try_push(place).is_ok();
                    if !fits {
                        refused = DropReason::RxBufferTooSmall;
                    }
                    fits
                })
                .map_err(|_| refused)
        })?;
        Ok(bytes)
    }

    /// Completes, with nothing written, the chains found so far and the one at `bad_head`, which breaks the rules: so the
    /// guest gets them back, and the next frame finds others.
    fn give_back(&mut self, bad_head: u16) {
        let count = self.chains.len() + 1;
        for index in 0..count {
            let head = self.chains.get(index).map_or(bad_head, |chain| chain.head);
            self.use_chain(head, 0);
        }
    }

    #[inline]
    fn write(&self, delivery: &Delivery<'_>, chains: usize, places: &[Segment]) {
        let mut header = delivery.net.to_raw();
        header.num_buffers = u16::try_from(chains).unwrap_or(u16::MAX);
        let mut writer = Writer::new(self.ring.memory(), places);
        writer.write_net_header(&header, self.header);
        writer.write(delivery.header);
        writer.write(delivery.tail);
        if let Some(source) = delivery.rest.table() {
            for segment in delivery.rest.range(delivery.rest_skip, delivery.rest_bytes) {
                writer.copy(source, segment);
            }
        }
    }

    /// Completes the chains of a frame of `needed` bytes: all but the last are full. VIRTIO 1.2, section 5.1.6.4.
    fn complete(&mut self, needed: u32) {
        let mut left = needed;
        for index in 0..self.chains.len() {
            let Some(chain) = self.chains.get(index).copied() else { return };
            let written = chain.bytes.min(left);
            left -= written;
            self.use_chain(chain.head, written);
        }
    }

    #[inline]
    fn use_chain(&mut self, head: u16, written: u32) {
        self.ring.used_writer().push(head, written);
        self.chains_used(1);
    }

    /// The next `count` chains are used, and their used entries written. Those that were looked at are the first of them.
    #[inline]
    fn chains_used(&mut self, count: u16) {
        self.ready.drop_front(usize::from(count));
        self.ring.completed(count);
        self.ring.next_avail = self.ring.next_avail.after(count);
        self.available = self.available.saturating_sub(count);
    }
}

/// Writes a plain frame into the buffer at `place`, if that is large enough.
#[inline]
fn write_plain(run: &Run<'_>, frame: &Frame, place: GuestBytes<'_>) -> Option<Written> {
    if !frame.is_plain() || place.bytes() < frame.bytes + 12 {
        return None;
    }
    if !frame.rest.is_empty() && !write_rest(run, frame, place) {
        return None;
    }
    place.write_12_and(PLAIN_HEADER, frame.head.bytes())
}

/// Writes the part of a plain frame that is not in its snapshot, where it belongs in `place`, which is long enough. `false`
/// when the memory it lies in is gone. Not inlined: so what short frames need stays in registers.
#[inline(never)]
fn write_rest(run: &Run<'_>, frame: &Frame, place: GuestBytes<'_>) -> bool {
    let Some(source) = run.rest_of(frame).and_then(|rest| rest.table()) else { return false };
    let head_bytes = u32::try_from(frame.head.bytes().len()).unwrap_or(u32::MAX);
    let mut left = head_bytes.checked_add(12).and_then(|start| place.skip(start));
    for segment in &frame.rest {
        let (Some(to), Some(from)) = (left, source.bytes_of(*segment)) else { return false };
        left = to.skip(to.copy_from(&from));
    }
    true
}
