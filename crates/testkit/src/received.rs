//! What was delivered to a fake port.

use helio_frame::Delivery;
use helio_mem::{MemoryTable, Segment};
use helio_offload::NetHeader;
use std::sync::Arc;

/// Deliveries, and bytes of them, that are kept without allocating.
const KEPT_FRAMES: usize = 16 * 1024;
const KEPT_BYTES: usize = 32 * 1024 * 1024;

/// One frame as it was delivered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Received {
    /// All its bytes.
    pub bytes: Vec<u8>,
    /// What was said about it.
    pub net: NetHeader,
}

/// What is overwritten with a new byte after each delivery: what a hostile sender does to its own buffer.
#[derive(Debug)]
pub(crate) struct Scribble {
    pub(crate) memory: Arc<MemoryTable>,
    pub(crate) place: Segment,
    pub(crate) next: u8,
}

/// All deliveries, in order.
#[derive(Debug)]
pub(crate) struct Log {
    bytes: Vec<u8>,
    /// Where each ends in `bytes`.
    frames: Vec<(NetHeader, usize)>,
    /// How many of the frames the far side may see.
    published: usize,
    seen: usize,
}

impl Log {
    pub(crate) fn new() -> Self {
        Self {
            bytes: Vec::with_capacity(KEPT_BYTES),
            frames: Vec::with_capacity(KEPT_FRAMES),
            published: 0,
            seen: 0,
        }
    }

    pub(crate) fn push(&mut self, delivery: &Delivery<'_>) {
        let start = self.bytes.len();
        self.bytes.extend_from_slice(delivery.header);
        self.bytes.extend_from_slice(delivery.tail);
        for segment in delivery.rest.range(delivery.rest_skip, delivery.rest_bytes) {
            let at = self.bytes.len();
            self.bytes.resize(at + segment.bytes as usize, 0);
            let table = delivery.rest.table().expect("a rest lies in some memory");
            let read = table.read(segment, &mut self.bytes[at..]);
            assert_eq!(read, segment.bytes as usize, "a place lies outside its memory");
        }
        let bytes = self.bytes.len() - start;
        assert_eq!(bytes, delivery.bytes() as usize, "a delivery is as long as it says");
        self.frames.push((delivery.net, self.bytes.len()));
    }

    pub(crate) fn publish(&mut self) {
        self.published = self.frames.len();
    }

    pub(crate) fn is_published(&self) -> bool {
        self.published == self.frames.len()
    }

    /// What was published and not asked for before.
    pub(crate) fn take(&mut self) -> Vec<Received> {
        let mut start = self.seen.checked_sub(1).map_or(0, |last| self.frames[last].1);
        let mut taken = Vec::new();
        for &(net, end) in &self.frames[self.seen..self.published] {
            taken.push(Received { bytes: self.bytes[start..end].to_vec(), net });
            start = end;
        }
        self.seen = self.published;
        if self.is_published() {
            self.frames.clear();
            self.bytes.clear();
            (self.seen, self.published) = (0, 0);
        }
        taken
    }
}

impl Scribble {
    pub(crate) fn write(&mut self) {
        let bytes = [self.next; 4096];
        let mut left = self.place;
        while left.bytes > 0 {
            let written = self.memory.write(left, &bytes);
            left = left.skip(u32::try_from(written).unwrap());
        }
        self.next = self.next.wrapping_add(1);
    }
}
