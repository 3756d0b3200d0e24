//! A receiveq whose buffers are posted again as soon as they were looked at.
//!
//! One owner, the thread that plays the guest. Frames are read where they lie, before their buffers go back.
//!
//! What is the same for all frames of a burst is looked up once for it, and a frame is shown by values that fit registers:
//! receiving and judging takes 9.3 ns per frame beside another core, and took 11.9 with both in memory.

use std::sync::Arc;

use super::config::{BurstConfig, LINE_BYTES, Rewriting, stride};
use super::standing_ring::{BATCH, Completed, Entries, Row, StandingRing};
use crate::error::GuestError;
use crate::event_fd::RingEvents;
use crate::fault::Faults;
use crate::features;
use crate::memory::GuestMemory;
use crate::net_header::{MAX_HEADER_BYTES, NetHeader, NetHeaderLen};
use crate::ring_area::{Descriptor, RingArea, descriptor_flags};
use crate::window::{Piece, Window};

/// One receiveq.
#[derive(Debug)]
pub struct BurstReceiver {
    ring: StandingRing,
    buffers: Window,
    rewriting: Rewriting,
    shape: Shape,
    capacity: u32,
    is_mergeable: bool,
    lines: usize,
    entries: Box<Entries>,
    /// What the entries say. A frame takes at most as many buffers.
    batch: Box<[Completed; BATCH]>,
    faults: Faults,
}

/// Whether buffers came back in the order in which they were posted.
#[derive(Clone, Copy, Debug)]
enum Order {
    Kept,
    Broken,
}

/// Buffers that one used entry completes: all are full but the last one, which it names. Needs IN_ORDER. VIRTIO 1.2, 2.7.9.
#[derive(Clone, Copy, Debug, Default)]
struct Group {
    last: Completed,
    /// Buffers that were not looked at yet, the last one included.
    left: u16,
    /// Where in the order of buffers the next of them is.
    row: Option<Row>,
    ahead: u16,
}

impl Group {
    /// Those that `last` completes, the first of which stands `ahead` of the next one to be taken; `None` when it is alone.
    #[cold]
    fn find(ring: &StandingRing, last: Completed, ahead: u16) -> Option<Self> {
        let left = ring.group(last.chain, ahead).filter(|count| *count > 1)?;
        Some(Self { last, left, row: ring.returning(), ahead })
    }

    /// The next of them, whose buffer has room for `capacity` bytes.
    #[inline(always)]
    fn next(&mut self, capacity: u32) -> Option<Completed> {
        let (left, ahead) = (self.left.checked_sub(1)?, self.ahead);
        (self.left, self.ahead) = (left, ahead.wrapping_add(1));
        match self.row {
            Some(row) if left > 0 => Some(Completed { chain: row.chain(ahead), written: capacity }),
            _ => Some(self.last),
        }
    }
}

/// How the buffers lie.
#[derive(Clone, Copy, Debug)]
struct Shape {
    /// From one to the next.
    stride: usize,
    /// Where the net header begins in each.
    header_at: usize,
    header_bytes: usize,
}

impl Shape {
    #[inline(always)]
    fn header_of(self, chain: u16) -> usize {
        usize::from(chain) * self.stride + self.header_at
    }
}

/// A frame that arrived, where it lies.
#[derive(Clone, Copy, Debug)]
pub struct FrameView<'a> {
    /// Those bytes of the frame that lie in its first buffer.
    first: Piece<'a>,
    len: usize,
    buffers: &'a Window,
    shape: Shape,
    parts: &'a [Completed],
}

impl FrameView<'_> {
    /// Its length in bytes.
    #[inline(always)]
    #[must_use]
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there are no bytes behind the net header.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Copies bytes of the frame from `offset` on; whether it has them all.
    #[inline(always)]
    pub fn read(&self, offset: usize, into: &mut [u8]) -> bool {
        let Some(end) = offset.checked_add(into.len()).filter(|end| *end <= self.len) else {
            return false;
        };
        if end <= self.first.len() {
            self.first.read(offset, into);
            return true;
        }
        self.gather(offset, into)
    }

    /// 8 bytes of the frame from `offset` on, when it has them and they lie in one buffer: the fastest way to read a few.
    #[inline(always)]
    #[must_use]
    pub fn word(&self, offset: usize) -> Option<[u8; 8]> {
        self.first.word(offset)
    }

    /// The net header before it.
    #[must_use]
    pub fn net_header(&self) -> NetHeader {
        let mut bytes = [0; MAX_HEADER_BYTES];
        let header_bytes = self.shape.header_bytes;
        if let Some(first) = self.parts.first() {
            let start = self.shape.header_of(first.chain);
            self.buffers.read(start, bytes.get_mut(..header_bytes).unwrap_or_default());
        }
        let len = if header_bytes == NetHeaderLen::Legacy.bytes() {
            NetHeaderLen::Legacy
        } else {
            NetHeaderLen::Full
        };
        NetHeader::decode(&bytes, len)
    }

    /// Reads from several buffers.
    #[inline(never)]
    fn gather(self, offset: usize, mut into: &mut [u8]) -> bool {
        let mut skip = self.shape.header_bytes + offset;
        for part in self.parts {
            let written = part.written as usize;
            if skip < written && !into.is_empty() {
                let count = into.len().min(written - skip);
                let (now, later) = into.split_at_mut(count);
                self.buffers.read(self.shape.header_of(part.chain) + skip, now);
                into = later;
                skip = 0;
            } else {
                skip = skip.saturating_sub(written);
            }
        }
        into.is_empty()
    }
}

fn buffer_stride(config: &BurstConfig) -> usize {
    stride(LINE_BYTES + config.rx_buffer_bytes as usize)
}

impl BurstReceiver {
    pub(crate) fn needed_bytes(config: &BurstConfig) -> u64 {
        let buffers = u64::from(config.ring_size) * buffer_stride(config) as u64;
        RingArea::needed_bytes(config.ring_size) + buffers + 192
    }

    pub(crate) fn new(
        memory: &Arc<GuestMemory>,
        config: &BurstConfig,
        features: u64,
    ) -> Result<Self, GuestError> {
        let ring = StandingRing::new(memory, config, features, 1)?;
        let stride = buffer_stride(config);
        let buffers = memory.allocate(u64::from(config.ring_size) * stride as u64, 64)?;
        let header_bytes = NetHeaderLen::of(features).bytes();
        let header_at = config.header_place.frame_at(header_bytes) - header_bytes;
        let receiver = Self {
            ring,
            buffers,
            rewriting: config.rewriting,
            shape: Shape { stride, header_at, header_bytes },
            capacity: config.rx_buffer_bytes,
            is_mergeable: features & features::MRG_RXBUF != 0,
            lines: (config.read_bytes as usize).div_ceil(LINE_BYTES),
            entries: Box::new([0; 8 * BATCH]),
            batch: Box::new([Completed::default(); BATCH]),
            faults: Faults::default(),
        };
        (0..config.ring_size).for_each(|chain| receiver.describe(chain));
        Ok(receiver)
    }

    /// Its bytes in guest memory.
    #[must_use]
    pub fn area(&self) -> &RingArea {
        self.ring.area()
    }

    /// The memory of its buffers.
    #[must_use]
    pub fn buffers(&self) -> &Window {
        &self.buffers
    }

    /// Its eventfds.
    #[must_use]
    pub fn events(&self) -> &RingEvents {
        self.ring.events()
    }

    /// Number of buffers.
    #[must_use]
    pub fn capacity(&self) -> u16 {
        self.ring.chains()
    }

    /// Kicks sent.
    #[must_use]
    pub fn kicks(&self) -> u64 {
        self.ring.kicks()
    }

    /// Rules that the back-end broke.
    #[must_use]
    pub fn faults(&self) -> Faults {
        let mut faults = self.faults;
        faults.add(&self.ring.faults);
        faults
    }

    /// Posts all buffers that the back-end does not have, with one store.
    #[inline]
    pub fn post_all(&mut self) {
        let count = self.ring.free();
        if self.rewriting == Rewriting::Always {
            (0..count).for_each(|ahead| self.describe(self.ring.upcoming(ahead)));
        }
        self.ring.offer_next(count);
        self.ring.publish();
    }

    /// Changes whether unchanged ring bytes are stored again.
    pub fn set_rewriting(&mut self, rewriting: Rewriting) {
        self.rewriting = rewriting;
        self.ring.set_rewriting(rewriting);
    }

    /// Buffers that came back and were not taken yet.
    #[inline]
    pub fn ready(&mut self) -> u16 {
        self.ring.ready()
    }

    /// Shows every frame that is there to `sink`, and posts its buffers again, with one store for up to 64; how many
    /// frames.
    #[inline]
    pub fn receive(&mut self, mut sink: impl FnMut(&FrameView<'_>)) -> u64 {
        let mut frames = 0;
        loop {
            if self.ring.ready() == 0 {
                return frames;
            }
            let (looked_at, order) = self.look();
            let taken = self.show(looked_at, &mut sink, &mut frames);
            match order {
                Order::Kept => self.ring.take_row(taken.try_into().unwrap_or(0)),
                Order::Broken => {
                    self.batch.iter().take(taken).for_each(|part| self.ring.take(part.chain));
                }
            }
            if taken == 0 || taken < looked_at && looked_at < BATCH {
                // What is left is not ours, or belongs to a frame that is not complete: rules were broken.
                self.faults.merge_incomplete += u64::from(looked_at != 0);
                self.ring.give_up();
                return frames;
            }
            self.post_all();
        }
    }

    /// Copies up to [`BATCH`] used entries, and asks for the lines of their frames; how many, and in which order.
    #[inline]
    fn look(&mut self) -> (usize, Order) {
        let copied = self.ring.copy_ready(&mut self.entries);
        let (shape, lines) = (self.shape, self.lines.min(4));
        let row = self.ring.returning();
        let mut order = if row.is_some() { Order::Kept } else { Order::Broken };
        let mut group = Group::default();
        let mut count = 0;
        for (slot, ahead) in self.batch.iter_mut().take(copied).zip(0..) {
            let completed = if let Some(part) = group.next(self.capacity) {
                part
            } else {
                let Some(named) = self.ring.decode(&self.entries, count, ahead) else { break };
                if named.written > self.capacity {
                    self.faults.len_beyond_buffer += 1;
                    break;
                }
                if row.is_none_or(|row| row.chain(ahead) == named.chain) {
                    named
                } else if self.ring.is_in_order() {
                    let Some(found) = Group::find(&self.ring, named, ahead) else { break };
                    // One that does not fit what was copied is looked at again when it comes first.
                    if count + usize::from(found.left) > copied {
                        break;
                    }
                    group = found;
                    let Some(part) = group.next(self.capacity) else { break };
                    part
                } else {
                    order = Order::Broken;
                    named
                }
            };
            *slot = completed;
            count += 1;
            let start = shape.header_of(completed.chain);
            if self.is_mergeable {
                self.buffers.prefetch(start);
            }
            for line in 0..lines {
                self.buffers.prefetch(start + shape.header_bytes + line * LINE_BYTES);
            }
        }
        (count, order)
    }

    /// Shows the complete frames among the first `count` of the batch; how many buffers they take.
    #[inline]
    fn show(
        &mut self,
        count: usize,
        sink: &mut impl FnMut(&FrameView<'_>),
        frames: &mut u64,
    ) -> usize {
        let (shape, is_mergeable) = (self.shape, self.is_mergeable);
        let mut shown = 0;
        let mut complete = 0;
        while shown < count {
            let Some(first) = self.batch.get(shown).copied() else { break };
            let wanted = if is_mergeable { self.buffers_of(first.chain) } else { 1 };
            if shown + wanted > count {
                break;
            }
            let Some(parts) = self.batch.get(shown..shown + wanted) else { break };
            shown += wanted;
            let bytes = match parts {
                [only] => only.written as usize,
                many => many.iter().map(|part| part.written as usize).sum(),
            };
            let Some(len) = bytes.checked_sub(shape.header_bytes) else {
                self.faults.header_short += 1;
                continue;
            };
            let start = shape.header_of(first.chain) + shape.header_bytes;
            let here = (first.written as usize).saturating_sub(shape.header_bytes);
            let first = self.buffers.piece(start, here);
            sink(&FrameView { first, len, buffers: &self.buffers, shape, parts });
            complete += 1;
        }
        *frames += complete;
        shown
    }

    /// Buffers of the frame that begins in this one, as its net header says; at least 1.
    #[inline]
    fn buffers_of(&mut self, chain: u16) -> usize {
        let mut count = [0; 2];
        self.buffers.read(self.shape.header_of(chain) + 10, &mut count);
        match u16::from_le_bytes(count) {
            0 => {
                self.faults.buffer_count += 1;
                1
            }
            count => usize::from(count),
        }
    }

    #[inline]
    fn describe(&self, chain: u16) {
        let start = self.shape.header_of(chain);
        let descriptor = Descriptor {
            addr: self.buffers.guest_addr() + start as u64,
            len: self.capacity,
            flags: descriptor_flags::WRITE,
            next: 0,
        };
        self.ring.area().write_descriptor(chain, descriptor);
    }

    /// No buffer posted, from index 0. The back-end must not use the ring.
    pub(crate) fn reset(&mut self) {
        self.ring.reset();
    }
}
