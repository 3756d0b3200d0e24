//! Frames that lie in one buffer in one piece of memory: nearly all.

use helio_frame::{Frame, HEAD_BYTES};
use helio_mem::{GuestAddr, GuestBytes, MemoryTable};
use helio_offload::{NetHeader, Offloads, RawNetHeader, check};
use helio_types::{DropReason, MAX_FRAME_BYTES, MIN_FRAME_BYTES};

use crate::descriptor::Descriptor;

/// Bytes fetched ahead of time of one frame: what the hardware does not fetch by itself.
const FETCHED_BYTES: u32 = 4 * 64;

/// How far a frame reaches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Extent {
    /// It lies in its snapshot as a whole.
    Snapshot,
    /// Its rest lies in guest memory.
    Beyond,
}

impl Extent {
    pub(crate) fn of(frame: &Frame) -> Self {
        if frame.rest.is_empty() { Self::Snapshot } else { Self::Beyond }
    }
}

/// The only buffer of a transmit chain.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Single<'table> {
    addr: GuestAddr,
    bytes: GuestBytes<'table>,
}

impl<'table> Single<'table> {
    /// The buffer of a chain that begins with `first`, if it has no other.
    #[inline]
    pub(crate) fn find(memory: &'table MemoryTable, first: &Descriptor) -> Option<Self> {
        if !first.is_single_and_readable() {
            return None;
        }
        let bytes = memory.bytes_at(first.addr, first.bytes)?;
        Some(Self { addr: first.addr, bytes })
    }

    /// Fetches what will be read.
    #[inline]
    pub(crate) fn fetch(&self) {
        self.bytes.prefetch_read(FETCHED_BYTES);
    }

    /// Reads the net header and the first bytes of the frame into `frame`, each once, and notes where the rest lies.
    ///
    /// The net header of a guest without offloads says nothing, and is not read: it may be in a line of its own.
    ///
    /// # Errors
    ///
    /// As for a chain of several buffers. See [`Reading`](crate::reading::Reading).
    #[inline]
    pub(crate) fn read(
        &self,
        memory: &MemoryTable,
        header_bytes: u32,
        allowed: Offloads,
        frame: &mut Frame,
    ) -> Result<Extent, DropReason> {
        let place = self.bytes.skip(header_bytes).ok_or(DropReason::HeaderShort)?;
        let bytes = place.bytes();
        if !(MIN_FRAME_BYTES..=MAX_FRAME_BYTES).contains(&bytes) {
            let is_short = bytes < MIN_FRAME_BYTES;
            return Err(if is_short { DropReason::Runt } else { DropReason::Oversize });
        }
        let head_bytes = place.read_blocks(frame.head.room());
        frame.head.set_len(head_bytes);
        frame.bytes = bytes;
        frame.rest.clear();
        let mut extent = Extent::Snapshot;
        if head_bytes == HEAD_BYTES {
            extent = self.note_rest(memory, header_bytes, frame);
        }
        frame.net = NetHeader::PLAIN;
        if allowed != Offloads::NONE {
            frame.net = self.read_net_header(memory, header_bytes, allowed, frame)?;
        }
        Ok(extent)
    }

    /// Not inlined, as the next one: so what short frames without offloads need stays in registers.
    #[inline(never)]
    fn note_rest(&self, memory: &MemoryTable, header_bytes: u32, frame: &mut Frame) -> Extent {
        let skip = header_bytes + u32::try_from(HEAD_BYTES).unwrap_or(u32::MAX);
        let whole = memory.resolve_whole(self.addr, self.bytes.bytes());
        if let Some(rest) = whole.map(|whole| whole.skip(skip)).filter(|rest| rest.bytes > 0) {
            frame.rest.push(rest);
        }
        Extent::of(frame)
    }

    #[inline(never)]
    fn read_net_header(
        &self,
        memory: &MemoryTable,
        header_bytes: u32,
        allowed: Offloads,
        frame: &Frame,
    ) -> Result<NetHeader, DropReason> {
        let mut raw = [0; 12];
        let raw = raw.get_mut(..header_bytes as usize).unwrap_or_default();
        let buffer = memory.resolve_whole(self.addr, self.bytes.bytes());
        memory.read(buffer.unwrap_or_default(), raw);
        let raw = RawNetHeader::from_bytes(raw).ok_or(DropReason::HeaderShort)?;
        check(&raw, allowed, frame.head.bytes(), frame.bytes)
    }
}
