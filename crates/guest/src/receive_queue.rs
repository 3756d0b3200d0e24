//! A receiveq: posts buffers, and puts the frames together that come back in them.
//!
//! One owner, the thread that plays the guest. It checks all that a device must keep (VIRTIO 1.2, 5.1.6.4.1)
//! and counts what it did not. No allocation after it was made.

use std::sync::Arc;

use crate::chain_layout::{ChainForm, Piece, pieces, room_bytes};
use crate::error::GuestError;
use crate::event_fd::RingEvents;
use crate::fault::Faults;
use crate::features;
use crate::guest_config::GuestConfig;
use crate::memory::GuestMemory;
use crate::net_header::{MAX_HEADER_BYTES, NetHeader, NetHeaderLen};
use crate::split_ring::{Buffer, BufferAccess, RingFull, RingMode, SplitRing, Used};
use crate::window::Window;

/// Longest frame, net header included, that is put together.
const MAX_RECEIVED_BYTES: usize = helio_types::MAX_FRAME_BYTES as usize + MAX_HEADER_BYTES + 64;

/// One receiveq.
#[derive(Debug)]
pub struct ReceiveQueue {
    ring: SplitRing,
    events: RingEvents,
    buffers: Window,
    /// Bytes from one buffer to the next.
    stride: u32,
    /// Bytes that a device can write to one buffer.
    capacity: u32,
    cuts: Box<[u32]>,
    form: ChainForm,
    header_len: NetHeaderLen,
    features: u64,
    /// Numbers of the buffers that the device does not have.
    unposted: Vec<u32>,
    /// The descriptors of one chain while it is made.
    chain: Vec<Buffer>,
    /// The frame that is put together, net header first.
    frame: Box<[u8]>,
    kicks: u64,
    faults: Faults,
}

/// Bytes between the beginnings of two receive buffers.
fn stride(config: &GuestConfig) -> u64 {
    room_bytes(&config.receive_layout.cuts, config.rx_buffer_bytes).next_multiple_of(64)
}

/// Buffers that the ring can hold at once: as many as it has descriptors for.
fn buffer_count(config: &GuestConfig) -> u32 {
    let largest = pieces(&config.receive_layout.cuts, config.rx_buffer_bytes).count().max(1);
    let size = u32::from(config.ring_size);
    match config.receive_layout.form {
        ChainForm::Direct => size / u32::try_from(largest).unwrap_or(u32::MAX),
        ChainForm::Indirect => size,
    }
}

impl ReceiveQueue {
    pub(crate) fn needed_bytes(config: &GuestConfig, mode: RingMode) -> u64 {
        SplitRing::needed_bytes(config.ring_size, mode)
            + u64::from(buffer_count(config)) * stride(config)
            + 64
    }

    pub(crate) fn new(
        memory: &Arc<GuestMemory>,
        config: &GuestConfig,
        features: u64,
    ) -> Result<Self, GuestError> {
        let ring = SplitRing::new(memory, config.ring_size, config.ring_mode(features))?;
        let count = buffer_count(config);
        let stride = stride(config);
        let buffers = memory.allocate(u64::from(count) * stride, 64)?;
        Ok(Self {
            ring,
            events: RingEvents::new()?,
            buffers,
            stride: u32::try_from(stride)
                .map_err(|_| GuestError::Config("a receive buffer over 4 GiB"))?,
            capacity: config.rx_buffer_bytes,
            cuts: config.receive_layout.cuts.clone().into(),
            form: config.receive_layout.form,
            header_len: NetHeaderLen::of(features),
            features,
            unposted: (0..count).rev().collect(),
            chain: Vec::with_capacity(config.receive_layout.cuts.len() + 1),
            frame: vec![0; MAX_RECEIVED_BYTES].into(),
            kicks: 0,
            faults: Faults::default(),
        })
    }

    /// The ring below.
    #[must_use]
    pub fn ring(&self) -> &SplitRing {
        &self.ring
    }

    /// The ring below, for chains of the caller's own.
    pub fn ring_mut(&mut self) -> &mut SplitRing {
        &mut self.ring
    }

    /// Its eventfds.
    #[must_use]
    pub fn events(&self) -> &RingEvents {
        &self.events
    }

    /// Buffers that the back-end does not have.
    #[must_use]
    pub fn unposted(&self) -> usize {
        self.unposted.len()
    }

    /// Kicks sent.
    #[must_use]
    pub fn kicks(&self) -> u64 {
        self.kicks
    }

    /// Rules that the back-end broke.
    #[must_use]
    pub fn faults(&self) -> Faults {
        let mut faults = self.faults;
        faults.add(self.ring.faults());
        faults
    }

    /// Adds up to `count` buffers to the ring; how many. See [`ReceiveQueue::publish`].
    pub fn post(&mut self, count: usize) -> usize {
        let mut posted = 0;
        while posted < count {
            let Some(number) = self.unposted.pop() else { break };
            if self.post_buffer(number).is_err() {
                self.unposted.push(number);
                break;
            }
            posted += 1;
        }
        posted
    }

    /// Shows added buffers to the back-end, and kicks it if it wants that.
    pub fn publish(&mut self) {
        if self.ring.publish() {
            self.kicks += 1;
            self.events.kick.signal();
        }
    }

    /// Gives every frame that is there to `sink`, with its net header; how many. At most those that were
    /// complete when it began.
    pub fn receive(&mut self, mut sink: impl FnMut(&NetHeader, &[u8])) -> usize {
        if !self.ring.has_used() {
            return 0;
        }
        let mut frames = 0;
        for _ in 0..self.ring.ready() {
            let Some(used) = self.ring.take_used() else { break };
            if let Some((header, end)) = self.assemble(used) {
                let frame = self.frame.get(self.header_len.bytes()..end).unwrap_or_default();
                sink(&header, frame);
                frames += 1;
            }
        }
        frames
    }

    /// Begins anew, with all buffers unposted, as a driver that is loaded again.
    pub fn reset(&mut self) {
        self.ring.reset();
        let count = self.buffers.len() / self.stride as usize;
        self.unposted.clear();
        self.unposted.extend((0..u32::try_from(count).unwrap_or(u32::MAX)).rev());
    }

    fn post_buffer(&mut self, number: u32) -> Result<(), RingFull> {
        let start = self.buffers.guest_addr() + u64::from(number) * u64::from(self.stride);
        let buffer = |piece: Piece| Buffer {
            addr: start + u64::from(piece.at),
            len: piece.len,
            access: BufferAccess::Writable,
        };
        self.chain.clear();
        self.chain.extend(pieces(&self.cuts, self.capacity).map(buffer));
        self.ring.add(&self.chain, self.form, number).map(drop)
    }

    /// Reads the frame that begins in the buffer `first`. The header, and where the frame ends in `self.frame`.
    fn assemble(&mut self, first: Used) -> Option<(NetHeader, usize)> {
        let end = self.read_buffer(first, 0)?;
        if end < self.header_len.bytes() {
            self.faults.header_short += 1;
            return None;
        }
        let raw = self.frame.first_chunk::<MAX_HEADER_BYTES>()?;
        let header = NetHeader::decode(raw, self.header_len);
        if !header.is_allowed_by(self.features) {
            self.faults.offload += 1;
        }
        if self.features & features::MRG_RXBUF == 0 {
            // A driver without mergeable buffers does not look; that it must be 1 is a rule all the same.
            self.faults.unmerged_count += u64::from(header.num_buffers != 1);
            return Some((header, end));
        }
        match header.num_buffers {
            0 => {
                self.faults.buffer_count += 1;
                None
            }
            1 => Some((header, end)),
            count => self.merge(count, first, end).map(|end| (header, end)),
        }
    }

    /// Reads the other `count - 1` buffers of a frame behind the first one.
    fn merge(&mut self, count: u16, first: Used, mut end: usize) -> Option<usize> {
        let mut last = first;
        for _ in 1..count {
            if last.written.is_some_and(|written| written < self.capacity) {
                self.faults.buffer_not_full += 1;
            }
            let Some(used) = self.ring.take_used() else {
                self.faults.merge_incomplete += 1;
                return None;
            };
            end = self.read_buffer(used, end)?;
            last = used;
        }
        Some(end)
    }

    /// Copies a completed buffer to `self.frame` from `at` on, and frees it. Where its bytes end.
    fn read_buffer(&mut self, used: Used, at: usize) -> Option<usize> {
        self.unposted.push(used.token);
        let written = used.written.unwrap_or(self.capacity);
        if written > self.capacity {
            self.faults.len_beyond_buffer += 1;
            return None;
        }
        let end = at + written as usize;
        let Some(target) = self.frame.get_mut(at..end) else {
            self.faults.oversize += 1;
            return None;
        };
        let start = used.token as usize * self.stride as usize;
        if self.cuts.is_empty() {
            self.buffers.read(start, target);
            return Some(end);
        }
        for piece in pieces(&self.cuts, self.capacity) {
            let (from, to) = (piece.offset.min(written), (piece.offset + piece.len).min(written));
            let part = target.get_mut(from as usize..to as usize)?;
            self.buffers.read(start + piece.at as usize, part);
        }
        Some(end)
    }
}
