//! A ring in guest memory, reached word by word through atomics.

use std::fmt;
use std::ptr::NonNull;
use std::sync::Arc;
use std::sync::atomic::{AtomicU16, AtomicU32, AtomicU64, Ordering};

use crate::{MemoryTable, prefetch};

/// A range of one region that holds a descriptor table, an avail ring or a used ring. The range is resolved once; each
/// access checks that it stays inside. It keeps its memory table mapped.
///
/// Offsets are in bytes and must be multiples of the size of the word. An access outside is a mistake of ours: it
/// fails in a debug build, and reads zero or writes nothing in a release build.
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

    /// Stores a little-endian word at `offset`.
    #[inline]
    pub fn store_u16(&self, offset: usize, value: u16, order: Ordering) {
        if let Some(word) = self.word_16(offset) {
            word.store(value.to_le(), order);
        }
    }

    /// Loads the little-endian word at `offset`, which must be aligned to 8.
    #[inline]
    #[must_use]
    pub fn load_u64(&self, offset: usize) -> u64 {
        match self.word_64(offset) {
            Some(word) => u64::from_le(word.load(Ordering::Relaxed)),
            None => 0,
        }
    }

    /// Loads two little-endian words at `offset`, which must be aligned to 8.
    #[inline]
    #[must_use]
    pub fn load_u64_pair(&self, offset: usize) -> [u64; 2] {
        match self.words_64(offset) {
            Some([first, second]) => {
                [first, second].map(|word| u64::from_le(word.load(Ordering::Relaxed)))
            }
            None => [0; 2],
        }
    }

    /// Stores two little-endian words of 32 bits at `offset`, which must be aligned to 4: each is seen whole.
    #[inline]
    pub fn store_u32_pair(&self, offset: usize, first: u32, second: u32) {
        if let Some([low, high]) = self.words_32(offset) {
            low.store(first.to_le(), Ordering::Relaxed);
            high.store(second.to_le(), Ordering::Relaxed);
        }
    }

    /// Fetches the line at `offset`, to be written soon.
    #[inline]
    pub fn prefetch_write(&self, offset: usize) {
        if offset < self.bytes {
            prefetch::to_write(self.start.as_ptr().wrapping_add(offset));
        }
    }

    /// Fetches the line at `offset`, to be read soon.
    #[inline]
    pub fn prefetch_read(&self, offset: usize) {
        if offset < self.bytes {
            prefetch::to_read(self.start.as_ptr().wrapping_add(offset));
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

    /// Two words of 4 bytes, side by side.
    #[inline]
    fn words_32(&self, offset: usize) -> Option<&[AtomicU32; 2]> {
        let place = self.start.as_ptr().wrapping_add(offset);
        let inside = place.addr().is_multiple_of(4) && offset.checked_add(8)? <= self.bytes;
        debug_assert!(inside, "ring access at {offset} of {}", self.bytes);
        if !inside {
            return None;
        }
        // SAFETY: as in `word_16`, with alignment and length checked for two words of 4 bytes, which an array has side by
        // side; an atomic is laid out as its number.
        Some(unsafe { &*place.cast::<[AtomicU32; 2]>() })
    }

    /// Two words of 8 bytes, side by side.
    #[inline]
    fn words_64(&self, offset: usize) -> Option<&[AtomicU64; 2]> {
        let place = self.start.as_ptr().wrapping_add(offset);
        let inside = place.addr().is_multiple_of(8) && offset.checked_add(16)? <= self.bytes;
        debug_assert!(inside, "ring access at {offset} of {}", self.bytes);
        if !inside {
            return None;
        }
        // SAFETY: as in `words_32`, with 8 bytes each.
        Some(unsafe { &*place.cast::<[AtomicU64; 2]>() })
    }

    #[inline]
    fn word_64(&self, offset: usize) -> Option<&AtomicU64> {
        let place = self.start.as_ptr().wrapping_add(offset);
        let inside = place.addr().is_multiple_of(8) && offset.checked_add(8)? <= self.bytes;
        debug_assert!(inside, "ring access at {offset} of {}", self.bytes);
        if !inside {
            return None;
        }
        // SAFETY: as in `word_16`, with alignment and length checked for 8 bytes.
        Some(unsafe { AtomicU64::from_ptr(place.cast()) })
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
        area.store_u32_pair(8, 0x1122_3344, 0x5566_7788);
        let expected = [
            0, 0, 0, 0, 0, 0, 0x34, 0x12, 0, 0, 0, 0, 0x44, 0x33, 0x22, 0x11, 0x88, 0x77, 0x66,
            0x55, 0, 0, 0, 0,
        ];
        assert_eq!(bytes(&table, 0x1000, 24), expected);
        assert_eq!(area.load_u16(2, Ordering::Relaxed), 0x1234);
        assert_eq!(area.load_u64(4), 0x1122_3344_0000_0000);
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
        assert_eq!(area.load_u64(8), 9 << 48);
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
        assert_eq!(area.load_u64(12), 0);
        assert_eq!(bytes(&table, 0x1010, 2), [0, 0]);
    }
}
