//! The entries of a ring in guest memory, reached by index.

use std::fmt;
use std::marker::PhantomData;
use std::ptr::NonNull;
use std::sync::Arc;
use std::sync::atomic::{AtomicU16, AtomicU32, AtomicU64, Ordering};

use crate::{MemoryTable, RingArea, prefetch};

/// Entries of `BYTES` bytes each, whose number is a power of two: an index is taken modulo that, so every index has an entry,
/// and only one that a guest chose is checked. It keeps its memory table mapped.
pub struct RingEntries<const BYTES: usize> {
    entries: Entries<'static, BYTES>,
    table: Arc<MemoryTable>,
}

/// The entries of a ring, borrowed from [`RingEntries`]: a value of its own, so that a loop need not load again where they are
/// after each of its writes to memory of guests.
#[derive(Clone, Copy, Debug)]
pub struct Entries<'ring, const BYTES: usize> {
    start: NonNull<u8>,
    mask: usize,
    ring: PhantomData<&'ring ()>,
}

// SAFETY: the pointer leads into a mapping kept by `table` and is only used through atomics.
unsafe impl<const BYTES: usize> Send for RingEntries<BYTES> {}
// SAFETY: as for Send.
unsafe impl<const BYTES: usize> Sync for RingEntries<BYTES> {}

impl<const BYTES: usize> RingEntries<BYTES> {
    /// `start` must be the place of `count` times `BYTES` mapped bytes of `table`, aligned as the words of an entry ask for.
    /// `count` must be a power of two.
    fn new(start: NonNull<u8>, count: usize, table: Arc<MemoryTable>) -> Self {
        Self { entries: Entries { start, mask: count - 1, ring: PhantomData }, table }
    }

    /// Number of entries.
    #[must_use]
    pub fn count(&self) -> usize {
        self.entries.mask + 1
    }

    /// The entries, to be reached many times.
    #[inline]
    #[must_use]
    pub fn borrow(&self) -> Entries<'_, BYTES> {
        self.entries
    }

    /// The table the entries lie in.
    #[must_use]
    pub fn table(&self) -> &Arc<MemoryTable> {
        &self.table
    }
}

impl<const BYTES: usize> Entries<'_, BYTES> {
    /// Fetches the line of an entry, to be written soon.
    #[inline]
    pub fn prefetch_write(&self, index: u16) {
        prefetch::to_write(self.place(index));
    }

    /// Where the entry lies: `BYTES` bytes that are mapped and aligned, by [`RingEntries::new`].
    #[inline]
    fn place(&self, index: u16) -> *mut u8 {
        self.start.as_ptr().wrapping_add((usize::from(index) & self.mask) * BYTES)
    }
}

impl Entries<'_, 2> {
    /// Loads the little-endian word of an entry.
    #[inline]
    #[must_use]
    pub fn load(&self, index: u16) -> u16 {
        // SAFETY: `from_ptr` asks for alignment, validity and no mixed accesses.
        // - Alignment and validity: by `place`, for as long as the ring entries that these are borrowed from keep their table.
        // - Mixing: shared memory is reached by atomics and by the opaque copies of this crate only.
        let word = unsafe { AtomicU16::from_ptr(self.place(index).cast()) };
        u16::from_le(word.load(Ordering::Relaxed))
    }
}

impl Entries<'_, 8> {
    /// Stores the two little-endian words of an entry: each is seen whole.
    #[inline]
    pub fn store(&self, index: u16, first: u32, second: u32) {
        let place = self.place(index);
        // SAFETY: as for the entries of 2 bytes, with the first 4 of 8 bytes.
        let low = unsafe { AtomicU32::from_ptr(place.cast()) };
        low.store(first.to_le(), Ordering::Relaxed);
        // SAFETY: and the last 4 of them.
        let high = unsafe { AtomicU32::from_ptr(place.wrapping_add(4).cast()) };
        high.store(second.to_le(), Ordering::Relaxed);
    }
}

impl Entries<'_, 16> {
    /// Loads the three little-endian words of an entry, of 8, 4 and 4 bytes, each once. `None` when the index is not below the
    /// number of entries.
    #[inline]
    #[must_use]
    pub fn load(&self, index: u16) -> Option<(u64, u32, u32)> {
        if usize::from(index) > self.mask {
            return None;
        }
        // As in `place`, where the index was not checked.
        let place = self.start.as_ptr().wrapping_add(usize::from(index) * 16);
        // SAFETY: as for the entries of 2 bytes, with the first 8 of 16 bytes.
        let first = unsafe { AtomicU64::from_ptr(place.cast()) };
        // SAFETY: and the 4 after those.
        let second = unsafe { AtomicU32::from_ptr(place.wrapping_add(8).cast()) };
        // SAFETY: and the last 4 of them.
        let third = unsafe { AtomicU32::from_ptr(place.wrapping_add(12).cast()) };
        let (second, third) = (second.load(Ordering::Relaxed), third.load(Ordering::Relaxed));
        Some((
            u64::from_le(first.load(Ordering::Relaxed)),
            u32::from_le(second),
            u32::from_le(third),
        ))
    }
}

impl RingArea {
    /// The `count` entries that begin at `offset`. `None` when they are not all inside, `count` is no power of two, or they
    /// are not aligned to `align`, which must be what the words of an entry ask for: 2, 4 or 8 bytes for entries of 2, 8 or
    /// 16.
    #[must_use]
    pub fn entries<const BYTES: usize>(
        &self,
        offset: usize,
        count: u16,
    ) -> Option<RingEntries<BYTES>> {
        let align = if BYTES == 2 { 2 } else { BYTES / 2 };
        let bytes = usize::from(count).checked_mul(BYTES)?;
        let inside = offset.checked_add(bytes)? <= self.bytes();
        let start = self.start().as_ptr().wrapping_add(offset);
        let aligned = start.addr().is_multiple_of(align);
        if !inside || !aligned || !count.is_power_of_two() {
            return None;
        }
        // Inside a mapping that is kept by the table, and aligned: what the entries ask for.
        let table = Arc::clone(self.table());
        Some(RingEntries::new(NonNull::new(start)?, usize::from(count), table))
    }
}

impl<const BYTES: usize> fmt::Debug for RingEntries<BYTES> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RingEntries").field("count", &self.count()).finish_non_exhaustive()
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

    fn write(table: &MemoryTable, offset: u64, data: &[u8]) {
        let bytes = u32::try_from(data.len()).unwrap();
        assert_eq!(table.write(Segment { offset, bytes, region: 0 }, data), data.len());
    }

    #[test]
    fn words_are_little_endian_at_their_place_and_nowhere_else() {
        let (table, area) = area(0x1000, 64);
        write(&table, 0x1000, &(0..64).collect::<Vec<u8>>());
        assert_eq!(area.entries::<2>(4, 8).unwrap().borrow().load(3), 0x0b0a);
        let expected = (0x1716_1514_1312_1110, 0x1b1a_1918, 0x1f1e_1d1c);
        let descriptors = area.entries::<16>(0, 4).unwrap();
        assert_eq!(descriptors.borrow().load(1), Some(expected));
        area.entries::<8>(4, 4).unwrap().borrow().store(2, 0x1122_3344, 0x5566_7788);
        let mut out = [0; 64];
        table.read(Segment { offset: 0x1000, bytes: 64, region: 0 }, &mut out);
        let mut should: Vec<u8> = (0..64).collect();
        should[20..28].copy_from_slice(&[0x44, 0x33, 0x22, 0x11, 0x88, 0x77, 0x66, 0x55]);
        assert_eq!(out[..], should[..]);
    }

    #[test]
    fn every_index_has_an_entry_and_no_descriptor_is_read_for_one_too_large() {
        let (table, area) = area(0x1ff0, 16);
        write(&table, 0x1ff0, &[1, 0, 2, 0, 3, 0, 4, 0]);
        let entries = area.entries::<2>(0, 4).unwrap();
        for (index, value) in [(0, 1), (3, 4), (4, 1), (u16::MAX, 4)] {
            assert_eq!(entries.borrow().load(index), value);
            entries.borrow().prefetch_write(index);
        }
        let last = area.entries::<16>(0, 1).unwrap();
        assert!(last.borrow().load(0).is_some() && last.borrow().load(1).is_none());
        assert_eq!(last.count(), 1);
    }

    #[test]
    fn entries_must_be_inside_aligned_and_a_power_of_two() {
        let (_table, area) = area(0x1004, 64);
        assert!(area.entries::<2>(0, 32).is_some() && area.entries::<2>(2, 32).is_none());
        assert!(area.entries::<2>(1, 4).is_none() && area.entries::<2>(0, 3).is_none());
        assert!(area.entries::<2>(0, 0).is_none() && area.entries::<2>(usize::MAX, 1).is_none());
        assert!(area.entries::<8>(0, 8).is_some() && area.entries::<8>(2, 4).is_none());
        assert!(area.entries::<16>(4, 2).is_some() && area.entries::<16>(0, 2).is_none());
    }

    #[test]
    fn entries_keep_their_memory_mapped_when_their_table_is_let_go() {
        let (table, area) = area(0x1000, 16);
        let entries = area.entries::<2>(0, 8).unwrap();
        drop((table, area));
        assert_eq!(entries.borrow().load(5), 0);
        assert_eq!(entries.table().region_count(), 1);
    }
}
