//! The bytes of a frame that lie in memory of others.

use helio_mem::{MemoryTable, Segment};
use helio_offload::{Rest, RunningSum};

/// The rest of a frame together with the memory it lies in: it can be summed, and copied to another memory.
#[derive(Clone, Copy, Debug)]
pub struct RestBytes<'a> {
    table: Option<&'a MemoryTable>,
    segments: &'a [Segment],
}

impl<'a> RestBytes<'a> {
    /// The bytes of `segments` in `table`. Without a table they read as nothing.
    #[must_use]
    pub fn new(table: Option<&'a MemoryTable>, segments: &'a [Segment]) -> Self {
        Self { table, segments }
    }

    /// No bytes.
    pub const EMPTY: RestBytes<'static> = RestBytes { table: None, segments: &[] };

    /// The memory the bytes lie in.
    #[must_use]
    pub fn table(&self) -> Option<&'a MemoryTable> {
        self.table
    }

    /// The pieces of the range of `bytes` bytes after the first `skip`, in order.
    #[inline]
    pub fn range(&self, skip: u32, bytes: u32) -> impl Iterator<Item = Segment> + use<'a> {
        let mut skip = skip;
        let mut left = bytes;
        self.segments.iter().filter_map(move |segment| {
            let piece = segment.skip(skip).limit(left);
            skip = skip.saturating_sub(segment.bytes);
            left -= piece.bytes;
            (piece.bytes > 0).then_some(piece)
        })
    }
}

impl Rest for RestBytes<'_> {
    fn len(&self) -> u32 {
        self.segments.iter().fold(0, |sum, segment| sum.saturating_add(segment.bytes))
    }

    /// Guest memory is copied out in small pieces and summed here: what is summed is what one reading saw.
    fn sum(&self, skip: u32, len: u32) -> u16 {
        const PIECE: u32 = 512;
        let Some(table) = self.table else { return 0 };
        let mut buffer = [0_u8; PIECE as usize];
        let mut sum = RunningSum::new();
        for segment in self.range(skip, len) {
            let mut left = segment;
            while left.bytes > 0 {
                let read = table.read(left.limit(PIECE), &mut buffer);
                sum.push(buffer.get(..read).unwrap_or_default());
                left = left.skip(PIECE);
            }
        }
        sum.value()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use helio_mem::GuestAddr;

    fn table() -> MemoryTable {
        let table = MemoryTable::anonymous(8192).unwrap();
        let bytes: Vec<u8> = (0..8192_u32).map(|i| u8::try_from(i * 7 % 251).unwrap()).collect();
        table.resolve(GuestAddr(0), 8192, |segment| table.write(segment, &bytes) == 8192).unwrap();
        table
    }

    #[test]
    fn a_range_is_cut_out_of_the_pieces_it_touches() {
        let pieces = [(0, 10), (100, 5), (200, 20)].map(|(offset, bytes)| Segment {
            offset,
            bytes,
            region: 0,
        });
        let rest = RestBytes::new(None, &pieces);
        let range: Vec<_> = rest.range(8, 10).map(|s| (s.offset, s.bytes)).collect();
        assert_eq!(range, [(8, 2), (100, 5), (200, 3)]);
        assert_eq!(rest.range(0, 100).map(|s| s.bytes).sum::<u32>(), 35);
        assert_eq!(rest.range(35, 5).count(), 0);
    }

    #[test]
    fn the_sum_over_odd_pieces_is_the_sum_over_the_bytes_in_a_row() {
        let table = table();
        let pieces = [(0, 601), (601, 3), (604, 1), (605, 700)].map(|(offset, bytes)| Segment {
            offset,
            bytes,
            region: 0,
        });
        let whole = [Segment { offset: 0, bytes: 1305, region: 0 }];
        for skip in [0, 1, 2, 600, 601, 604] {
            let cut = RestBytes::new(Some(&table), &pieces).sum(skip, 700);
            let row = RestBytes::new(Some(&table), &whole).sum(skip, 700);
            assert_eq!(cut, row, "{skip}");
        }
    }

    #[test]
    fn bytes_without_a_table_or_outside_it_sum_to_nothing() {
        let pieces = [Segment { offset: 0, bytes: 100, region: 0 }];
        assert_eq!(RestBytes::new(None, &pieces).sum(0, 100), 0);
        let table = table();
        let outside = [Segment { offset: 8192, bytes: 100, region: 0 }];
        assert_eq!(RestBytes::new(Some(&table), &outside).sum(0, 100), 0);
        assert_eq!((RestBytes::EMPTY.len(), RestBytes::EMPTY.sum(0, 0)), (0, 0));
    }

    #[test]
    fn every_range_has_the_bytes_that_a_copy_of_all_has_there() {
        let pieces = [(5, 3), (100, 1), (700, 40), (50, 0), (300, 20)]
            .map(|(offset, bytes)| Segment { offset, bytes, region: 0 });
        let table = table();
        let rest = RestBytes::new(Some(&table), &pieces);
        let gather = |skip, bytes| {
            let mut out = Vec::new();
            for segment in rest.range(skip, bytes) {
                let mut piece = vec![0; segment.bytes as usize];
                assert_eq!(table.read(segment, &mut piece), piece.len());
                out.extend(piece);
            }
            out
        };
        let all = gather(0, u32::MAX);
        assert_eq!(all.len(), 64);
        for skip in 0..=65_usize {
            for bytes in 0..=65_usize {
                let (start, end) = (skip.min(64), (skip + bytes).min(64));
                let (skip, bytes) = (u32::try_from(skip).unwrap(), u32::try_from(bytes).unwrap());
                assert_eq!(gather(skip, bytes), all[start..end]);
            }
        }
    }
}
