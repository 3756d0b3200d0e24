//! A part of a ring in guest memory, reached word by word through atomics.

use std::fmt;
use std::ptr::NonNull;
use std::sync::Arc;
use std::sync::atomic::{AtomicU16, Ordering};

use crate::{MemoryTable, prefetch};

/// A range of one region that holds a descriptor table, an avail ring or a used ring. The range is resolved once; each
/// access checks that it stays inside. It keeps its memory table mapped.
///
/// Offsets are in bytes and must be multiples of the size of the word. An access outside is a mistake of ours: it
/// fails in a debug build, and reads zero or writes nothing in a release build.
#[derive(Clone)]
pub struct RingArea {
    start: NonNull<u8>,
    bytes: usize,
    table: Arc<MemoryTable>,
}

// SAFETY: the pointer leads into a mapping kept by `table` and is only used through atomics.
unsafe impl Send for RingArea {}
// SAFETY: as for Send.
unsafe impl Sync for RingArea {}

impl RingArea {
    /// `start` must be the place of `bytes` mapped bytes of `table`, aligned to at least 2.
    pub(crate) fn new(start: NonNull<u8>, bytes: usize, table: Arc<MemoryTable>) -> Self {
        Self { start, bytes, table }
    }

    /// Where the first byte lies.
    pub(crate) fn start(&self) -> NonNull<u8> {
        self.start
    }

    /// The table the ring lies in.
    #[must_use]
    pub fn table(&self) -> &Arc<MemoryTable> {
        &self.table
    }

    /// Length in bytes.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Loads the little-endian word at `offset`.
    #[inline]
    #[must_use]
    pub fn load_u16(&self, offset: usize, order: Ordering) -> u16 {
        match self.word_16(offset) {
            Some(word) => u16::from_le(word.load(order)),
            None => 0,
        }
    }

    /// Fetches the line of the byte at `offset`, to be read soon.
    #[inline]
    pub(crate) fn prefetch(&self, offset: usize) {
        prefetch::to_read(self.start.as_ptr().wrapping_add(offset));
    }

    /// Stores a little-endian word at `offset`.
    #[inline]
    pub fn store_u16(&self, offset: usize, value: u16, order: Ordering) {
        if let Some(word) = self.word_16(offset) {
            word.store(value.to_le(), order);
        }
    }

    #[inline]
    fn word_16(&self, offset: usize) -> Option<&AtomicU16> {
        let inside = offset.is_multiple_of(2) && offset.checked_add(2)? <= self.bytes;
        debug_assert!(inside, "ring access at {offset} of {}", self.bytes);
        if !inside {
            return None;
        }
        // SAFETY: `from_ptr` asks for alignment, validity and no mixed accesses.
        // - Alignment: `start` is aligned to 2 by `new`, `offset` is even.
        // - Validity: `offset + 2 <= bytes`, all of which is mapped as long as `table` lives, which is as long as self.
        // - Mixing: shared memory is reached by atomics and by the opaque copies of this crate only.
        Some(unsafe { AtomicU16::from_ptr(self.start.as_ptr().wrapping_add(offset).cast()) })
    }
}

impl fmt::Debug for RingArea {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RingArea").field("bytes", &self.bytes).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{GuestAddr, Segment};

    fn area(addr: u64, bytes: usize) -> (Arc<MemoryTable>, RingArea) {
        let table = Arc::new(MemoryTable::anonymous(0x2000).unwrap());
        let area = table.ring_area(GuestAddr(addr), bytes, 4).unwrap();
        (table, area)
    }

    fn bytes(table: &MemoryTable, offset: u64, count: usize) -> Vec<u8> {
        let mut out = vec![0; count];
        let segment = Segment { offset, bytes: u32::try_from(count).unwrap(), region: 0 };
        assert_eq!(table.read(segment, &mut out), count);
        out
    }

    #[test]
    fn words_are_little_endian_at_their_place_and_nowhere_else() {
        let (table, area) = area(0x1004, 16);
        area.store_u16(2, 0x1234, Ordering::Relaxed);
        assert_eq!(bytes(&table, 0x1000, 12), [0, 0, 0, 0, 0, 0, 0x34, 0x12, 0, 0, 0, 0]);
        assert_eq!(area.load_u16(2, Ordering::Relaxed), 0x1234);
    }

    #[test]
    fn a_ring_keeps_its_memory_mapped_when_its_table_is_let_go() {
        let (table, area) = area(0x1000, 16);
        area.store_u16(0, 7, Ordering::Relaxed);
        drop(table);
        assert_eq!(area.load_u16(0, Ordering::Relaxed), 7);
        assert_eq!(area.table().region_count(), 1);
        assert_eq!(area.bytes(), 16);
    }

    #[test]
    fn the_last_word_of_a_ring_can_be_reached() {
        let (_table, area) = area(0x1ff0, 16);
        area.store_u16(14, 9, Ordering::Relaxed);
        assert_eq!(area.load_u16(14, Ordering::Relaxed), 9);
    }

    #[test]
    #[cfg(debug_assertions)]
    #[should_panic(expected = "ring access at 16 of 16")]
    fn an_access_behind_the_ring_is_found_in_a_debug_build() {
        let (_table, area) = area(0x1000, 16);
        let _ = area.load_u16(16, Ordering::Relaxed);
    }

    #[test]
    #[cfg(not(debug_assertions))]
    fn an_access_behind_the_ring_does_nothing_in_a_release_build() {
        let (table, area) = area(0x1000, 16);
        area.store_u16(16, 7, Ordering::Relaxed);
        assert_eq!(area.load_u16(16, Ordering::Relaxed), 0);
        assert_eq!(bytes(&table, 0x1010, 2), [0, 0]);
    }
}
