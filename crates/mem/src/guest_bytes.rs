//! Guest bytes that were found once and are reached several times.

use std::marker::PhantomData;
use std::ptr::NonNull;

use crate::copy::{copy, copy_64, load_12, store_12};
use crate::{MemoryTable, prefetch};

/// Bytes of one region, mapped here for as long as the table is borrowed. Only a [`MemoryTable`] makes one, so holding it
/// proves that the range lies inside one mapped region: nothing is checked again but its length.
///
/// The guest can change the bytes at any time; no reference to them is ever made.
#[derive(Clone, Copy, Debug)]
pub struct GuestBytes<'table> {
    start: NonNull<u8>,
    bytes: u32,
    /// Bytes from the start on that are mapped in this region, at least `bytes`: more than [`u32::MAX`] count as that.
    mapped: u32,
    table: PhantomData<&'table MemoryTable>,
}

/// What [`GuestBytes::write_12_and`] had to write.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Written {
    /// The 12 bytes stood there already.
    OnlyData,
    /// The 12 bytes differed.
    All,
}

impl<'table> GuestBytes<'table> {
    /// # Safety
    ///
    /// `mapped` bytes from `start` on must be mapped, for reading and writing, as long as `'table` lasts, and reached by
    /// opaque copies and atomics only. `bytes` must not be more than `mapped`.
    #[inline]
    pub(crate) unsafe fn new(start: NonNull<u8>, bytes: u32, mapped: u32) -> Self {
        debug_assert!(bytes <= mapped);
        Self { start, bytes, mapped, table: PhantomData }
    }

    /// Where the first byte lies.
    #[inline]
    pub(crate) fn start(&self) -> NonNull<u8> {
        self.start
    }

    /// Length in bytes.
    #[inline]
    #[must_use]
    pub fn bytes(&self) -> u32 {
        self.bytes
    }

    /// The same bytes without the first `skip`. `None` when there are fewer.
    #[inline]
    #[must_use]
    pub fn skip(self, skip: u32) -> Option<Self> {
        let bytes = self.bytes.checked_sub(skip)?;
        // SAFETY: `skip <= bytes <= mapped`, so the start stays inside one mapping, or right behind it.
        let start = unsafe { self.start.add(skip as usize) };
        Some(Self { start, bytes, mapped: self.mapped - skip, ..self })
    }

    /// Fetches the lines of the first `bytes` bytes, to be read soon.
    #[inline]
    pub fn prefetch_read(&self, bytes: u32) {
        each_line(self.start.as_ptr(), bytes.min(self.bytes) as usize, prefetch::to_read);
    }

    /// Fetches the line of the first byte, to be read soon, and those of the `bytes` bytes after the first `skip`, at least
    /// one, to be written soon: they need not be asked back from the core that has them when the write comes. Lines behind the
    /// end are fetched as well.
    #[inline]
    pub fn prefetch_write(&self, skip: u32, bytes: u32) {
        let start = self.start.as_ptr();
        prefetch::to_read(start);
        each_line(start.wrapping_add(skip as usize), bytes as usize, prefetch::to_write);
    }

    /// The first 12 bytes, as a little-endian number of 8 bytes and one of 4. `None` when there are fewer.
    #[inline]
    #[must_use]
    pub fn read_12(&self) -> Option<(u64, u32)> {
        if self.bytes < 12 {
            return None;
        }
        // SAFETY: at least 12 bytes are mapped at `start`, by `new`.
        Some(unsafe { load_12(self.start.as_ptr()) })
    }

    /// Copies the first bytes out, up to 128, in whole blocks of 64: bytes of `out` after those may be overwritten with what
    /// lies behind in the same region. Returns how many were copied.
    #[inline]
    pub fn read_blocks(&self, out: &mut [u8; 128]) -> usize {
        let (src, dst) = (self.start.as_ptr(), out.as_mut_ptr());
        let bytes = self.bytes.min(128) as usize;
        if self.mapped < 128 {
            // SAFETY: `bytes` bytes are mapped at `src`, by `new`; `out` is exclusively borrowed and has at least as many.
            unsafe { copy(src, dst, bytes) };
            return bytes;
        }
        // SAFETY: at least 128 bytes are mapped at `src`; `out` has 128.
        unsafe { copy_64(src, dst) };
        if bytes > 64 {
            // SAFETY: as above: the second half of both.
            unsafe { copy_64(src.wrapping_add(64), dst.wrapping_add(64)) };
        }
        bytes
    }

    /// Copies from `source`, as much as both hold; the two may overlap: the bytes are then a mixture of old and new. Returns
    /// how much.
    #[inline]
    pub fn copy_from(&self, source: &GuestBytes<'_>) -> u32 {
        let bytes = self.bytes.min(source.bytes);
        // SAFETY: both have as many bytes mapped, by `new`; no reference into either exists, by the rules of this crate.
        unsafe { copy(source.start.as_ptr(), self.start.as_ptr(), bytes as usize) };
        bytes
    }

    /// Writes 12 bytes, the little-endian bytes of `low` and then of `high`, and `data` right behind them. Where the 12 bytes
    /// stand already they are not written again, so that a line that holds nothing else stays shared with who reads it.
    /// `None` when there is no room for both: nothing is written then.
    #[inline]
    pub fn write_12_and(&self, (low, high): (u64, u32), data: &[u8]) -> Option<Written> {
        let dst = self.start.as_ptr();
        if data.len().saturating_add(12) > self.bytes as usize {
            return None;
        }
        // SAFETY: at least 12 bytes are mapped at `dst`, by `new`.
        let stood = unsafe { load_12(dst) };
        let differs = (stood.0 ^ low) | u64::from(stood.1 ^ high);
        if differs != 0 {
            // SAFETY: as above.
            unsafe { store_12(dst, low, high) };
        }
        // SAFETY: `12 + data.len() <= bytes`; `data` is borrowed, and no reference into guest memory exists.
        unsafe { copy(data.as_ptr(), dst.wrapping_add(12), data.len()) };
        Some(if differs == 0 { Written::OnlyData } else { Written::All })
    }
}

/// Fetches the lines of the `bytes` bytes from `start` on; that of the first in any case.
#[inline]
fn each_line(start: *const u8, bytes: usize, fetch: impl Fn(*const u8)) {
    let last = bytes.saturating_sub(1);
    fetch(start);
    let mut line = prefetch::LINE_BYTES;
    while line < last {
        fetch(start.wrapping_add(line));
        line += prefetch::LINE_BYTES;
    }
    fetch(start.wrapping_add(last));
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;
    use std::collections::BTreeSet;

    use super::*;
    use crate::GuestAddr;

    fn table() -> MemoryTable {
        let table = MemoryTable::anonymous(0x1000).unwrap();
        let bytes: Vec<u8> = (0..0x1000_u32).map(|i| u8::try_from(i % 251).unwrap()).collect();
        table.resolve(GuestAddr(0), 0x1000, |place| table.write(place, &bytes) == 0x1000).unwrap();
        table
    }

    fn at(table: &MemoryTable, addr: u64, bytes: u32) -> Option<GuestBytes<'_>> {
        table.bytes_at(GuestAddr(addr), bytes)
    }

    fn read(table: &MemoryTable, addr: u64, bytes: u32) -> Vec<u8> {
        let mut out = vec![0; bytes as usize];
        table.resolve(GuestAddr(addr), bytes, |place| table.read(place, &mut out) > 0).unwrap();
        out
    }

    #[test]
    fn bytes_end_with_their_region_and_one_more_is_refused() {
        let table = table();
        assert!(at(&table, 0xff0, 16).is_some() && at(&table, 0x1000, 0).is_none());
        assert!(at(&table, 0xff0, 17).is_none() && at(&table, u64::MAX, 2).is_none());
        assert!(at(&table, 0, u32::MAX).is_none());
        let last = at(&table, 0xff0, 16).unwrap();
        assert_eq!(last.skip(16).unwrap().bytes(), 0);
        assert!(last.skip(17).is_none());
    }

    #[test]
    fn twelve_bytes_are_read_whole_or_not_at_all() {
        let table = table();
        let expected = (0x0706_0504_0302_0100, 0x0b0a_0908);
        assert_eq!(at(&table, 0, 12).unwrap().read_12(), Some(expected));
        assert_eq!(at(&table, 0, 11).unwrap().read_12(), None);
    }

    #[test]
    fn blocks_are_read_up_to_128_bytes_and_at_the_end_of_a_region_no_further() {
        let table = table();
        for addr in [0_u64, 7, 0xf00, 0xf7f, 0xf80, 0xf81, 0xfbf, 0xfc0, 0xfc1, 0xfff] {
            for bytes in [0_u32, 1, 60, 63, 64, 65, 127, 128, 129, 1514] {
                let Some(place) = at(&table, addr, bytes) else {
                    assert!(addr + u64::from(bytes) > 0x1000);
                    continue;
                };
                let mut out = [0xee; 128];
                let copied = place.read_blocks(&mut out);
                assert_eq!(copied, bytes.min(128) as usize);
                assert_eq!(out[..copied], read(&table, addr, bytes.min(128)), "{addr} {bytes}");
            }
        }
    }

    #[test]
    fn a_header_that_stands_already_is_not_written_again_and_the_data_is() {
        let table = table();
        let place = at(&table, 0xf00, 20).unwrap();
        let header = (0x0807_0605_0403_0201, 0x0c0b_0a09);
        assert_eq!(place.write_12_and(header, b"12345678"), Some(Written::All));
        assert_eq!(place.write_12_and(header, b"abcd"), Some(Written::OnlyData));
        let written = read(&table, 0xf00, 20);
        assert_eq!(written[..12], [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12]);
        assert_eq!(written[12..], *b"abcd5678");
        for refused in [b"123456789".as_slice(), &[0; 4096]] {
            assert_eq!(place.write_12_and((0, 1 << 16), refused), None);
        }
        assert_eq!(place.read_12(), Some(header));
        assert_eq!(at(&table, 0xf00, 11).unwrap().write_12_and(header, b""), None);
    }

    #[test]
    fn as_much_is_copied_as_both_ends_hold() {
        let (table, other) = (table(), MemoryTable::anonymous(0x1000).unwrap());
        let (from, to) = (at(&table, 0x100, 300).unwrap(), at(&other, 0xf00, 0x100).unwrap());
        assert_eq!(to.copy_from(&from), 0x100);
        assert_eq!(read(&other, 0xf00, 0x100), read(&table, 0x100, 0x100));
        assert_eq!(from.copy_from(&to.skip(0xff).unwrap()), 1);
        assert_eq!(from.copy_from(&to.skip(0x100).unwrap()), 0);
    }

    #[test]
    fn each_line_of_a_range_is_fetched_wherever_it_begins() {
        let memory = [0_u8; 4096];
        for (start, bytes) in [(0, 1), (0, 64), (0, 65), (63, 2), (12, 60), (60, 72), (5, 1514)] {
            let lines =
                |from: usize, to: usize| (from..to).map(|at| at / 64).collect::<BTreeSet<_>>();
            let fetched = RefCell::new(BTreeSet::new());
            let base = memory.as_ptr();
            each_line(base.wrapping_add(start), bytes, |place| {
                fetched.borrow_mut().insert((place.addr() - base.addr()) / 64);
            });
            assert_eq!(fetched.into_inner(), lines(start, start + bytes), "{start} {bytes}");
        }
    }
}
