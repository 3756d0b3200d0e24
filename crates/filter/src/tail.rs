//! The bytes of a frame that are not in its head.

use helio_frame::RestBytes;

/// Bytes that follow the head of a frame.
pub trait Tail {
    /// Copies the bytes after the first `skip` to `out`, and returns how many there were.
    fn read(&self, skip: u32, out: &mut [u8]) -> usize;
}

/// Memory of a guest: each byte is copied out once per call, and may be another one at the next.
impl Tail for RestBytes<'_> {
    fn read(&self, skip: u32, out: &mut [u8]) -> usize {
        let Some(table) = self.table() else { return 0 };
        let mut written = 0;
        for piece in self.range(skip, u32::try_from(out.len()).unwrap_or(u32::MAX)) {
            let Some(room) = out.get_mut(written..) else { break };
            let read = table.read(piece, room);
            written += read;
            // A piece that is not there moves nothing of what follows into its place.
            if u32::try_from(read) != Ok(piece.bytes) {
                break;
            }
        }
        written
    }
}

/// Private bytes.
impl Tail for [u8] {
    fn read(&self, skip: u32, out: &mut [u8]) -> usize {
        let from = usize::try_from(skip).ok().and_then(|skip| self.get(skip..)).unwrap_or_default();
        let count = from.len().min(out.len());
        if let (Some(out), Some(from)) = (out.get_mut(..count), from.get(..count)) {
            out.copy_from_slice(from);
        }
        count
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use helio_mem::{GuestAddr, MemoryTable, Segment};

    fn table() -> MemoryTable {
        let table = MemoryTable::anonymous(4096).unwrap();
        let bytes: Vec<u8> = (0..=255).collect();
        table.resolve(GuestAddr(0), 256, |segment| table.write(segment, &bytes) == 256).unwrap();
        table
    }

    fn pieces(places: &[(u64, u32)]) -> Vec<Segment> {
        places.iter().map(|&(offset, bytes)| Segment { offset, bytes, region: 0 }).collect()
    }

    #[test]
    fn guest_memory_reads_like_its_bytes_in_a_row() {
        let table = table();
        let pieces = pieces(&[(10, 3), (200, 1), (90, 0), (50, 6)]);
        let rest = RestBytes::new(Some(&table), &pieces);
        let row = [10, 11, 12, 200, 50, 51, 52, 53, 54, 55];
        for skip in 0..12 {
            for count in 0..5 {
                let (mut of_guest, mut private) = ([0; 4], [0; 4]);
                let count = count.min(4);
                let read = rest.read(skip, &mut of_guest[..count]);
                assert_eq!(read, row[..].read(skip, &mut private[..count]));
                assert_eq!(of_guest, private);
            }
        }
    }

    #[test]
    fn memory_that_is_not_there_reads_as_nothing() {
        let table = table();
        let pieces = pieces(&[(0, 2), (4095, 4), (8, 2)]);
        let mut out = [0; 4];
        assert_eq!(RestBytes::new(None, &pieces).read(0, &mut out), 0);
        let rest = RestBytes::new(Some(&table), &pieces);
        assert!(rest.read(0, &mut out) < 4);
        assert_eq!(rest.read(2, &mut out), 0);
        assert_eq!(RestBytes::EMPTY.read(0, &mut out), 0);
    }
}
