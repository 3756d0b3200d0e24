//! A transmitq whose chains stand: each has its buffer, and descriptors that name it.
//!
//! One owner, the thread that plays the guest. A frame costs what is rewritten of it.
//!
//! A store to a line that the other side has waits for it, and all later stores wait behind it: the loop over a burst
//! stores nothing of its own between frames, so that the processor can wait for many lines at once. With the ring's index,
//! the slot and the arguments of checks kept in memory, sending took 31 ns per frame beside another core; without, 10.

use std::sync::Arc;

use super::config::{BurstConfig, Cutting, LINE_BYTES, Rewriting, stride};
use super::standing_ring::{BATCH, Completed, Entries, Row, StandingRing, chain_count};
use crate::error::GuestError;
use crate::event_fd::RingEvents;
use crate::fault::Faults;
use crate::features;
use crate::memory::GuestMemory;
use crate::net_header::NetHeaderLen;
use crate::ring_area::{
    DESCRIPTOR_BYTES, Descriptor, RingArea, descriptor_flags, write_descriptor,
};
use crate::window::{Piece, Window};

/// Cache lines that are asked for ahead of the frame that is written. Measured with the other side on another core, for
/// sending and receiving together: 16 take 23.6 ns per frame, 24 to 64 take 21.4.
const LINES_AHEAD: usize = 32;

/// One transmitq.
#[derive(Debug)]
pub struct BurstSender {
    ring: StandingRing,
    buffers: Window,
    /// One table for each chain, when they are indirect.
    tables: Option<Window>,
    cutting: Cutting,
    rewriting: Rewriting,
    places: Places,
    header_bytes: usize,
    /// How many chains ahead their lines are asked for.
    chains_ahead: u16,
    /// Length of the frame in each chain, as its descriptors say.
    lens: Box<[u32]>,
    /// Used entries while they are taken.
    entries: Box<Entries>,
    faults: Faults,
}

/// Where frames lie among the buffers.
#[derive(Clone, Copy, Debug)]
struct Places {
    /// From one buffer to the next.
    stride: usize,
    /// Where a frame begins in its buffer.
    frame_at: usize,
    /// Cache lines of each frame that are rewritten.
    lines: usize,
}

impl Places {
    #[inline(always)]
    fn frame_of(self, chain: u16) -> usize {
        usize::from(chain) * self.stride + self.frame_at
    }
}

/// Where the next frame is to be written.
#[derive(Clone, Copy, Debug)]
pub struct FrameSlot<'a> {
    piece: Piece<'a>,
    chain: u16,
}

impl FrameSlot<'_> {
    /// Number of the chain: what was written to it before is still there.
    #[inline]
    #[must_use]
    pub fn chain(&self) -> u16 {
        self.chain
    }

    /// Writes bytes of the frame.
    ///
    /// # Panics
    ///
    /// When they do not all lie in the buffers.
    #[inline]
    pub fn write(&self, offset: usize, bytes: &[u8]) {
        self.piece.write(offset, bytes);
    }

    /// Writes 8 bytes of the frame: the fastest way for a few of them.
    ///
    /// # Panics
    ///
    /// As [`FrameSlot::write`].
    #[inline]
    pub fn write_word(&self, offset: usize, word: [u8; 8]) {
        self.piece.write_word(offset, word);
    }
}

/// Descriptors of the ring's table that one chain takes.
fn ring_descriptors(config: &BurstConfig) -> u16 {
    match config.cutting {
        Cutting::Whole | Cutting::Indirect(_) => 1,
        Cutting::Linked(_) => piece_count(config),
    }
}

/// Descriptors of the longest chain, wherever they are.
fn piece_count(config: &BurstConfig) -> u16 {
    match config.cutting {
        Cutting::Whole => 1,
        Cutting::Linked(piece) | Cutting::Indirect(piece) => {
            let pieces = config.max_frame_bytes.div_ceil(piece.max(1)) + 1;
            u16::try_from(pieces).unwrap_or(u16::MAX)
        }
    }
}

fn buffer_stride(config: &BurstConfig) -> usize {
    stride(LINE_BYTES + config.max_frame_bytes as usize)
}

impl BurstSender {
    pub(crate) fn needed_bytes(config: &BurstConfig) -> u64 {
        let chains = u64::from(chain_count(config.ring_size, ring_descriptors(config)));
        let table = u64::from(piece_count(config)) * DESCRIPTOR_BYTES as u64;
        let ring = RingArea::needed_bytes(config.ring_size) + 192;
        ring + chains * (buffer_stride(config) as u64 + table)
    }

    pub(crate) fn new(
        memory: &Arc<GuestMemory>,
        config: &BurstConfig,
        features: u64,
    ) -> Result<Self, GuestError> {
        let is_indirect = matches!(config.cutting, Cutting::Indirect(_));
        if is_indirect && features & features::INDIRECT_DESC == 0 {
            return Err(GuestError::Config("the back-end does not offer indirect tables"));
        }
        let ring = StandingRing::new(memory, config, features, ring_descriptors(config))?;
        let chains = u64::from(ring.chains());
        let stride = buffer_stride(config);
        let buffers = memory.allocate(chains * stride as u64, 64)?;
        let table_bytes = u64::from(piece_count(config)) * DESCRIPTOR_BYTES as u64;
        let tables = is_indirect.then(|| memory.allocate(chains * table_bytes, 64)).transpose()?;
        let header_bytes = NetHeaderLen::of(features).bytes();
        let lines = (config.rewritten_bytes as usize).div_ceil(LINE_BYTES);
        let mut sender = Self {
            cutting: config.cutting,
            rewriting: config.rewriting,
            places: Places { stride, frame_at: config.header_place.frame_at(header_bytes), lines },
            header_bytes,
            chains_ahead: u16::try_from(LINES_AHEAD / lines.max(1)).unwrap_or(1).max(1),
            lens: vec![0; usize::from(ring.chains())].into(),
            entries: Box::new([0; 8 * BATCH]),
            faults: Faults::default(),
            ring,
            buffers,
            tables,
        };
        sender.write_headers(&config.net_header.encode());
        Ok(sender)
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

    /// Frames that the ring holds.
    #[must_use]
    pub fn capacity(&self) -> u16 {
        self.ring.chains()
    }

    /// Frames that the back-end has not completed.
    #[must_use]
    pub fn outstanding(&self) -> u16 {
        self.ring.outstanding()
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

    /// Changes whether unchanged ring bytes are stored again.
    pub fn set_rewriting(&mut self, rewriting: Rewriting) {
        self.rewriting = rewriting;
        self.ring.set_rewriting(rewriting);
    }

    /// Takes back what the back-end completed, and says how many frames can be offered.
    #[inline]
    pub fn room(&mut self) -> u16 {
        while self.ring.ready() > 0 {
            let count = self.ring.copy_ready(&mut self.entries);
            let mut at = 0;
            while at < count {
                let Some((completed, chains)) = self.completed(at) else {
                    self.ring.give_up();
                    break;
                };
                self.faults.transmit_len += u64::from(completed.written != 0);
                match chains {
                    1 => self.ring.take(completed.chain),
                    several => self.ring.take_row(several),
                }
                at += usize::from(chains);
            }
        }
        self.ring.free()
    }

    /// What entry `at` says of the next chain to be taken, and how many chains it completes.
    #[inline(always)]
    fn completed(&self, at: usize) -> Option<(Completed, u16)> {
        let completed = self.ring.decode(&self.entries, at, 0)?;
        Some((completed, self.ring.group(completed.chain, 0)?))
    }

    /// Shows every buffer to `write`, to be filled before the back-end runs.
    pub fn prepare(&mut self, mut write: impl FnMut(&FrameSlot<'_>)) {
        for chain in 0..self.ring.chains() {
            write(&self.slot(self.places, chain));
        }
    }

    /// Offers up to `count` frames, as far as there is room. `write` rewrites each one and says how long it is, up to
    /// `max_frame_bytes`; the back-end sees them after [`BurstSender::publish`]. How many were offered.
    #[inline]
    pub fn offer(&mut self, count: u16, mut write: impl FnMut(&FrameSlot<'_>) -> u32) -> u16 {
        let count = count.min(self.ring.free());
        let (places, row) = (self.places, self.ring.row());
        let ahead = self.chains_ahead.min(count);
        for number in 0..ahead {
            self.prefetch(places, self.chain_at(row, number));
        }
        for number in 0..count {
            // Not further than what is offered now: the lines behind it may be in use at the other side.
            if number + ahead < count {
                self.prefetch(places, self.chain_at(row, number + ahead));
            }
            let chain = self.chain_at(row, number);
            let len = write(&self.slot(places, chain));
            let is_said = self.lens.get(usize::from(chain)) == Some(&len);
            if !is_said || self.rewriting == Rewriting::Always {
                self.describe(chain, len);
            }
        }
        self.ring.offer_next(count);
        count
    }

    /// Number of the chain that stands `ahead` of the next one to be offered.
    #[inline(always)]
    fn chain_at(&self, row: Option<Row>, ahead: u16) -> u16 {
        row.map_or_else(|| self.ring.upcoming(ahead), |row| row.chain(ahead))
    }

    #[inline(always)]
    fn slot(&self, places: Places, chain: u16) -> FrameSlot<'_> {
        let room = places.stride - places.frame_at;
        FrameSlot { piece: self.buffers.piece(places.frame_of(chain), room), chain }
    }

    /// Shows all offered frames to the back-end with one store, and kicks it if it wants that.
    #[inline]
    pub fn publish(&mut self) {
        self.ring.publish();
    }

    /// All frames ours, from index 0. The back-end must not use the ring.
    pub(crate) fn reset(&mut self) {
        self.ring.reset();
    }

    #[inline]
    fn prefetch(&self, places: Places, chain: u16) {
        let start = places.frame_of(chain);
        for line in 0..places.lines {
            self.buffers.prefetch_to_write(start + line * LINE_BYTES);
        }
    }

    /// Makes the descriptors of `chain` say that its frame has `len` bytes.
    #[cold]
    fn describe(&mut self, chain: u16, len: u32) {
        let Some(said) = self.lens.get_mut(usize::from(chain)) else { return };
        *said = len;
        let start = self.places.frame_of(chain) - self.header_bytes;
        let addr = self.buffers.guest_addr() + start as u64;
        // At most 12.
        let header = u32::try_from(self.header_bytes).unwrap_or(0);
        match self.cutting {
            Cutting::Whole => {
                let whole = Descriptor { addr, len: header + len, flags: 0, next: 0 };
                self.ring.area().write_descriptor(chain, whole);
            }
            Cutting::Linked(piece) => self.describe_linked(chain, addr, header, len, piece),
            Cutting::Indirect(piece) => self.describe_indirect(chain, addr, header, len, piece),
        }
    }

    fn describe_linked(&self, chain: u16, addr: u64, header: u32, len: u32, piece: u32) {
        let head = chain << self.ring.shift();
        let pieces = pieces(addr, header, len, piece).zip(head..);
        for ((addr, len, is_last), index) in pieces {
            let (flags, next) = if is_last { (0, 0) } else { (descriptor_flags::NEXT, index + 1) };
            self.ring.area().write_descriptor(index, Descriptor { addr, len, flags, next });
        }
    }

    fn describe_indirect(&self, chain: u16, addr: u64, header: u32, len: u32, piece: u32) {
        let Some(tables) = &self.tables else { return };
        let entries = tables.len() / DESCRIPTOR_BYTES / usize::from(self.ring.chains());
        let first = usize::from(chain) * entries;
        let mut count = 0_u16;
        for (addr, len, is_last) in pieces(addr, header, len, piece) {
            let at = first + usize::from(count);
            count += 1;
            let (flags, next) = if is_last { (0, 0) } else { (descriptor_flags::NEXT, count) };
            write_descriptor(tables, at, Descriptor { addr, len, flags, next });
        }
        let table = Descriptor {
            addr: tables.guest_addr() + (first * DESCRIPTOR_BYTES) as u64,
            len: u32::from(count) * 16,
            flags: descriptor_flags::INDIRECT,
            next: 0,
        };
        self.ring.area().write_descriptor(chain, table);
    }

    fn write_headers(&mut self, header: &[u8; 12]) {
        for chain in 0..self.ring.chains() {
            let start = self.places.frame_of(chain) - self.header_bytes;
            self.buffers.write(start, header.get(..self.header_bytes).unwrap_or_default());
        }
    }
}

/// Address, length, and whether it is the last, of the descriptors of a chain: the net header, then the frame in
/// pieces.
fn pieces(addr: u64, header: u32, len: u32, piece: u32) -> impl Iterator<Item = (u64, u32, bool)> {
    let piece = piece.max(1);
    let first = std::iter::once((addr, header, false));
    let rest = (0..len.div_ceil(piece)).map(move |number| {
        let from = number * piece;
        let bytes = piece.min(len - from);
        (addr + u64::from(header + from), bytes, from + bytes == len)
    });
    first.chain(rest)
}
