//! A transmitq: puts frames into buffers, offers them, and takes the buffers back.
//!
//! One owner, the thread that plays the guest. No allocation after it was made.

use std::sync::Arc;

use crate::chain_layout::{ChainForm, ChainLayout, GAP_BYTES, pieces, room_bytes};
use crate::error::GuestError;
use crate::event_fd::RingEvents;
use crate::fault::Faults;
use crate::guest_config::GuestConfig;
use crate::memory::GuestMemory;
use crate::net_header::{MAX_HEADER_BYTES, NetHeader, NetHeaderLen};
use crate::split_ring::{Buffer, BufferAccess, RingFull, RingMode, SplitRing};
use crate::window::Window;

/// Gaps for which a transmit buffer has room besides its bytes.
const ROOM_FOR_CUTS: u64 = 64;

/// Why a frame was not sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SendError {
    /// The back-end has all buffers or all descriptors; later there may be some.
    #[error("the transmitq is full")]
    RingFull,
    /// Longer than `tx_buffer_bytes`, or cut into more pieces than the buffer has room for.
    #[error("the frame is longer than a transmit buffer")]
    TooLong,
}

impl From<RingFull> for SendError {
    fn from(_: RingFull) -> Self {
        Self::RingFull
    }
}

/// One transmitq.
#[derive(Debug)]
pub struct TransmitQueue {
    ring: SplitRing,
    events: RingEvents,
    buffers: Window,
    /// Bytes from one buffer to the next.
    stride: u32,
    header_len: NetHeaderLen,
    /// Numbers of the buffers that the device does not have.
    free: Vec<u32>,
    /// Net header and frame while they are cut.
    bytes: Vec<u8>,
    /// The descriptors of one chain while it is made.
    chain: Vec<Buffer>,
    kicks: u64,
    faults: Faults,
}

/// Bytes between the beginnings of two transmit buffers.
fn stride(config: &GuestConfig) -> u64 {
    let gaps = ROOM_FOR_CUTS * u64::from(GAP_BYTES);
    (u64::from(config.tx_buffer_bytes) + MAX_HEADER_BYTES as u64 + gaps).next_multiple_of(64)
}

impl TransmitQueue {
    pub(crate) fn needed_bytes(config: &GuestConfig, mode: RingMode) -> u64 {
        SplitRing::needed_bytes(config.ring_size, mode)
            + u64::from(config.ring_size) * stride(config)
            + 64
    }

    pub(crate) fn new(
        memory: &Arc<GuestMemory>,
        config: &GuestConfig,
        features: u64,
    ) -> Result<Self, GuestError> {
        let ring = SplitRing::new(memory, config.ring_size, config.ring_mode(features))?;
        let stride = stride(config);
        let count = u32::from(config.ring_size);
        let buffers = memory.allocate(u64::from(count) * stride, 64)?;
        Ok(Self {
            ring,
            events: RingEvents::new()?,
            buffers,
            stride: u32::try_from(stride)
                .map_err(|_| GuestError::Config("a transmit buffer over 4 GiB"))?,
            header_len: NetHeaderLen::of(features),
            free: (0..count).rev().collect(),
            bytes: Vec::with_capacity(config.tx_buffer_bytes as usize + MAX_HEADER_BYTES),
            chain: Vec::with_capacity(usize::from(config.ring_size)),
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

    /// Kicks sent.
    #[must_use]
    pub fn kicks(&self) -> u64 {
        self.kicks
    }

    /// Buffers that the back-end does not have.
    #[must_use]
    pub fn free_buffers(&self) -> usize {
        self.free.len()
    }

    /// The memory of the buffers: the next frame goes to the one that was freed last.
    #[must_use]
    pub fn buffers(&self) -> &Window {
        &self.buffers
    }

    /// Rules that the back-end broke.
    #[must_use]
    pub fn faults(&self) -> Faults {
        let mut faults = self.faults;
        faults.add(self.ring.faults());
        faults
    }

    /// Adds a frame to the ring, in one descriptor. See [`TransmitQueue::publish`].
    ///
    /// # Errors
    ///
    /// See [`SendError`]; nothing was added.
    #[inline]
    pub fn send(&mut self, header: &NetHeader, frame: &[u8]) -> Result<(), SendError> {
        let header_bytes = self.header_len.bytes();
        let len = u32::try_from(header_bytes + frame.len()).map_err(|_| SendError::TooLong)?;
        if len > self.stride {
            return Err(SendError::TooLong);
        }
        let number = self.take_buffer()?;
        let start = number as usize * self.stride as usize;
        self.buffers.write(start, header.encode().get(..header_bytes).unwrap_or_default());
        self.buffers.write(start + header_bytes, frame);
        let addr = self.buffers.guest_addr() + start as u64;
        let whole = [Buffer { addr, len, access: BufferAccess::Readable }];
        let added = self.ring.add(&whole, ChainForm::Direct, number);
        self.settle_buffer(number, added)
    }

    /// Adds a frame that is cut into descriptors as `layout` says.
    ///
    /// # Errors
    ///
    /// See [`SendError`]; nothing was added.
    pub fn send_with(
        &mut self,
        header: &NetHeader,
        frame: &[u8],
        layout: ChainLayout<'_>,
    ) -> Result<(), SendError> {
        let mut bytes = std::mem::take(&mut self.bytes);
        bytes.clear();
        bytes.extend_from_slice(header.encode().get(..self.header_len.bytes()).unwrap_or_default());
        bytes.extend_from_slice(frame);
        let sent = self.send_chain(&bytes, layout);
        self.bytes = bytes;
        sent
    }

    /// Adds a chain of any bytes, which need not even hold a net header.
    ///
    /// # Errors
    ///
    /// See [`SendError`]; nothing was added.
    pub fn send_chain(&mut self, bytes: &[u8], layout: ChainLayout<'_>) -> Result<(), SendError> {
        let total = u32::try_from(bytes.len()).map_err(|_| SendError::TooLong)?;
        if room_bytes(layout.cuts, total) > u64::from(self.stride) {
            return Err(SendError::TooLong);
        }
        let number = self.take_buffer()?;
        let start = number as usize * self.stride as usize;
        self.chain.clear();
        for piece in pieces(layout.cuts, total) {
            let (from, to) = (piece.offset as usize, (piece.offset + piece.len) as usize);
            let at = start + piece.at as usize;
            self.buffers.write(at, bytes.get(from..to).unwrap_or_default());
            let addr = self.buffers.guest_addr() + at as u64;
            self.chain.push(Buffer { addr, len: piece.len, access: BufferAccess::Readable });
        }
        let added = self.ring.add(&self.chain, layout.form, number);
        self.settle_buffer(number, added)
    }

    /// Shows added frames to the back-end, and kicks it if it wants that.
    pub fn publish(&mut self) {
        if self.ring.publish() {
            self.kicks += 1;
            self.events.kick.signal();
        }
    }

    /// Takes back the buffers of frames that the back-end is done with; how many.
    pub fn reclaim(&mut self) -> usize {
        let mut count = 0;
        while let Some(used) = self.ring.take_used() {
            if used.written.is_some_and(|written| written != 0) {
                self.faults.transmit_len += 1;
            }
            self.free.push(used.token);
            count += 1;
        }
        count
    }

    /// Begins anew, with all buffers free, as a driver that is loaded again.
    pub fn reset(&mut self) {
        self.ring.reset();
        self.free.clear();
        self.free.extend((0..u32::from(self.ring.area().size())).rev());
    }

    #[inline]
    fn take_buffer(&mut self) -> Result<u32, SendError> {
        if let Some(number) = self.free.pop() {
            return Ok(number);
        }
        self.reclaim();
        self.free.pop().ok_or(SendError::RingFull)
    }

    #[inline]
    fn settle_buffer(
        &mut self,
        number: u32,
        added: Result<u16, RingFull>,
    ) -> Result<(), SendError> {
        if added.is_err() {
            self.free.push(number);
        }
        Ok(added.map(drop)?)
    }
}
