//! Writing a frame into the buffers of a guest.
//!
//! For frames that fill many buffers, three things were tried and thrown out: to fetch the next buffer for writing while one is
//! filled (half as dear again between cores far apart, see `helio-mem`), to fetch the used entries of all of them (no change),
//! and to fetch the descriptors that the next frame will need (2 % between cores far apart, nothing between near ones).

use helio_mem::{MemoryTable, Segment};
use helio_offload::RawNetHeader;

use crate::NetHeaderSize;

/// Writes bytes one after the other into a list of places.
#[derive(Debug)]
pub(crate) struct Writer<'a> {
    memory: &'a MemoryTable,
    places: std::slice::Iter<'a, Segment>,
    current: Segment,
}

impl<'a> Writer<'a> {
    #[inline]
    pub(crate) fn new(memory: &'a MemoryTable, places: &'a [Segment]) -> Self {
        Self { memory, places: places.iter(), current: Segment::default() }
    }

    /// Writes the net header, of which the guest has `size`.
    #[inline]
    pub(crate) fn write_net_header(&mut self, header: &RawNetHeader, size: NetHeaderSize) {
        let (low, high) = header.to_words();
        if size == NetHeaderSize::Twelve
            && self.advance()
            && self.memory.write_12(self.current, low, high)
        {
            self.consume(size.bytes());
        } else {
            self.write(header.to_bytes().get(..size.bytes()).unwrap_or_default());
        }
    }

    /// Writes `data`; what finds no place is left out.
    #[inline]
    pub(crate) fn write(&mut self, mut data: &[u8]) {
        while !data.is_empty() && self.advance() {
            let written = self.memory.write(self.current, data);
            self.consume(written);
            data = data.get(written..).unwrap_or_default();
        }
    }

    /// Copies `from` of table `source`.
    #[inline]
    pub(crate) fn copy(&mut self, source: &MemoryTable, mut from: Segment) {
        while from.bytes > 0 && self.advance() {
            let copied = source.copy_to(from, self.memory, self.current);
            self.consume(copied);
            from = from.skip(u32::try_from(copied).unwrap_or(u32::MAX));
        }
    }

    /// Goes to the next place with room.
    #[inline]
    fn advance(&mut self) -> bool {
        while self.current.bytes == 0 {
            match self.places.next() {
                Some(place) => self.current = *place,
                None => return false,
            }
        }
        true
    }

    #[inline]
    fn consume(&mut self, bytes: usize) {
        // A place that takes nothing is skipped: the loops above end for whatever the places are.
        let bytes =
            if bytes == 0 { self.current.bytes } else { u32::try_from(bytes).unwrap_or(u32::MAX) };
        self.current = self.current.skip(bytes);
    }
}
