//! One frame.

use arrayvec::ArrayVec;
use helio_mem::Segment;
use helio_offload::NetHeader;

use crate::{Head, MemoryId, Origin};

/// Most pieces the rest of a frame may lie in. A TSO frame of a Linux guest has at most 18; a frame in more pieces is
/// copied into a private buffer when it is taken. 20 would do: see [`Frame`] for why it is 24.
pub const MAX_SEGMENTS: usize = 24;

/// Bytes that a segment counts for at least which a frame stands for: to cut one off costs about as much as to copy so many.
pub const SEGMENT_WEIGHT: u32 = 256;

/// The pieces of memory that hold the rest of a frame, in order.
pub type SegmentList = ArrayVec<Segment, MAX_SEGMENTS>;

/// A frame that a worker has taken.
///
/// What is used of a short frame lies in two cache lines: the first 64 bytes of the head in one, all the rest in another.
///
/// Its size is an odd number of lines, so that the frames of a burst do not begin in the same few sets of a cache. With 512
/// bytes instead of 576, 64 bytes from guest to guest cost 3 to 5 % more near and 3 to 8 % far, and with one, two or four
/// mirrors 5, 4 and 2 % more (nine rounds each, in turn).
#[derive(Debug)]
#[repr(C, align(64))]
pub struct Frame {
    /// The first bytes.
    pub head: Head,
    /// Length in bytes, from the destination address to the end of the payload.
    pub bytes: u32,
    /// What the guest asked to be done to it, checked.
    pub net: NetHeader,
    /// Whose memory `rest` lies in.
    pub memory: MemoryId,
    /// What must be given back.
    pub origin: Origin,
    /// The bytes after the head.
    pub rest: SegmentList,
}

const _: () = assert!(size_of::<Frame>() == 576 && (size_of::<Frame>() / 64) % 2 == 1);

impl Clone for Frame {
    fn clone(&self) -> Self {
        let mut copy = Self::vacant();
        copy.clone_from(self);
        copy
    }

    /// Writes what is used of `source` over what was here: of a short frame that is two lines and not nine.
    #[inline]
    fn clone_from(&mut self, source: &Self) {
        let Self { head, bytes, net, memory, origin, rest } = source;
        self.head.clone_from(head);
        (self.bytes, self.net, self.memory, self.origin) = (*bytes, *net, *memory, *origin);
        self.rest.clear();
        // Asked for itself: to copy nothing is a call.
        if !rest.is_empty() {
            let copied = self.rest.try_extend_from_slice(rest);
            debug_assert!(copied.is_ok(), "both have the same room");
        }
    }
}

impl Default for Frame {
    fn default() -> Self {
        Self::vacant()
    }
}

impl Frame {
    /// A place for a frame, with nothing in it.
    #[must_use]
    pub fn vacant() -> Self {
        Self {
            bytes: 0,
            head: Head::EMPTY,
            net: NetHeader::PLAIN,
            memory: MemoryId::NONE,
            rest: SegmentList::new(),
            origin: Origin::Nothing,
        }
    }

    /// Whether nothing is left to do to the frame, whoever receives it.
    #[inline]
    #[must_use]
    pub fn is_plain(&self) -> bool {
        self.net == NetHeader::PLAIN
    }

    /// Bytes that the frame counts for where they bound what is done in a turn: its own. A guest that asks for segments of one byte
    /// has as many of them made of a short frame as of a long one, so one that stands for segments counts by their number if they
    /// are short.
    #[inline]
    #[must_use]
    pub fn weight(&self) -> u32 {
        if self.net.gso.is_none() { self.bytes } else { self.weight_of_segments() }
    }

    /// Not inlined: so what other frames need stays in registers.
    #[inline(never)]
    fn weight_of_segments(&self) -> u32 {
        self.bytes.max(SEGMENT_WEIGHT * self.net.segment_count(self.bytes))
    }

    /// Length of the part that lies in memory of others, in bytes.
    #[must_use]
    pub fn rest_bytes(&self) -> u32 {
        self.bytes.saturating_sub(u32::try_from(self.head.bytes().len()).unwrap_or(0))
    }
}
