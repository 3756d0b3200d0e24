use super::*;
use proptest::prelude::*;
use std::fs::File;
use vm_memory::FileOffset;

fn table(ranges: &[(u64, usize)]) -> MemoryTable {
    let ranges: Vec<_> =
        ranges.iter().map(|&(start, bytes)| (GuestAddress(start), bytes)).collect();
    MemoryTable::new(Arc::new(GuestMemoryMmap::from_ranges(&ranges).unwrap())).unwrap()
}

fn resolved(table: &MemoryTable, addr: u64, bytes: u32) -> Result<Vec<Segment>, AddressFault> {
    let mut segments = Vec::new();
    table.resolve(GuestAddr(addr), bytes, |segment| {
        segments.push(segment);
        true
    })?;
    Ok(segments)
}

#[test]
fn c013_a_buffer_that_ends_at_the_last_byte_is_accepted_and_one_past_is_refused() {
    let table = table(&[(0x1000, 0x1000)]);
    assert_eq!(resolved(&table, 0x1ff0, 16).unwrap().len(), 1);
    assert_eq!(resolved(&table, 0x1ff0, 17), Err(AddressFault));
    assert_eq!(resolved(&table, 0xfff, 1), Err(AddressFault));
}

#[test]
fn c013_an_address_that_wraps_is_refused() {
    let table = table(&[(0x1000, 0x1000)]);
    assert_eq!(resolved(&table, u64::MAX, 2), Err(AddressFault));
    assert_eq!(resolved(&table, u64::MAX - 0xfff, u32::MAX), Err(AddressFault));
}

#[test]
fn c013_a_buffer_across_two_adjacent_regions_comes_in_two_pieces() {
    let table = table(&[(0x1000, 0x1000), (0x2000, 0x3000)]);
    let segments = resolved(&table, 0x1ff8, 24).unwrap();
    assert_eq!(segments.iter().map(|s| s.bytes).collect::<Vec<_>>(), [8, 16]);
    assert_eq!(table.write(segments[0], &[7; 8]), 8);
    assert_eq!(table.write(segments[1], &[9; 16]), 16);
    let mut back = [0; 8];
    assert_eq!(table.read(resolved(&table, 0x1ffc, 4).unwrap()[0], &mut back), 4);
    assert_eq!(back, [7, 7, 7, 7, 0, 0, 0, 0]);
}

#[test]
fn t07_an_empty_buffer_still_needs_a_mapped_address() {
    let table = table(&[(0x1000, 0x1000)]);
    assert_eq!(resolved(&table, 0x1000, 0), Ok(vec![]));
    assert_eq!(resolved(&table, 0x1fff, 0), Ok(vec![]));
    for addr in [0, 0xfff, 0x2000, u64::MAX] {
        assert_eq!(resolved(&table, addr, 0), Err(AddressFault));
    }
}

#[test]
fn a_segment_may_end_with_its_region_and_one_byte_more_is_not_touched() {
    let table = table(&[(0x1000, 0x1000)]);
    let last = Segment { offset: 0xff0, bytes: 16, region: 0 };
    let past = Segment { bytes: 17, ..last };
    let elsewhere = Segment { region: 1, ..last };
    assert_eq!(table.write(last, &[7; 16]), 16);
    let mut out = [0; 32];
    assert_eq!(table.read(last, &mut out), 16);
    for bad in [past, elsewhere, Segment { offset: u64::MAX, ..last }] {
        assert_eq!(table.read(bad, &mut out), 0);
        assert_eq!(table.write(bad, &[9; 32]), 0);
        assert_eq!(table.copy_to(bad, &table, last), 0);
        assert_eq!(table.copy_to(last, &table, bad), 0);
    }
    assert_eq!(table.read(last, &mut out), 16);
    assert_eq!(out[..16], [7; 16]);
}

#[test]
fn a_region_may_hold_the_last_address_but_one() {
    let start = u64::MAX - 0xfff;
    let table = table(&[(start - 0x1000, 0x1000), (start, 0xfff)]);
    assert_eq!(resolved(&table, u64::MAX - 16, 16).unwrap().len(), 1);
    assert_eq!(resolved(&table, u64::MAX - 16, 17), Err(AddressFault));
    assert_eq!(resolved(&table, start - 8, 16).unwrap().len(), 2);
}

#[test]
fn what_push_has_no_room_for_is_an_error_and_nothing_more_is_passed() {
    let table = table(&[(0x1000, 0x1000), (0x2000, 0x1000), (0x3000, 0x1000)]);
    let mut pushed = 0;
    let result = table.resolve(GuestAddr(0x1ff0), 0x1020, |_| {
        pushed += 1;
        pushed < 2
    });
    assert_eq!((result, pushed), (Err(AddressFault), 2));
    assert_eq!(resolved(&table, 0x1ff0, 0x1020).unwrap().len(), 3);
}

#[test]
fn twelve_bytes_are_written_whole_or_not_at_all() {
    let table = table(&[(0, 0x1000)]);
    let place = |bytes| Segment { offset: 0xfe0, bytes, region: 0 };
    assert!(!table.write_12(place(11), u64::MAX, u32::MAX));
    assert!(!table.write_12(place(33), u64::MAX, u32::MAX));
    assert!(table.write_12(place(12), 0x0807_0605_0403_0201, 0x0c0b_0a09));
    let mut bytes = [0; 16];
    table.read(place(16), &mut bytes);
    assert_eq!(bytes, [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 0, 0, 0, 0]);
}

#[test]
fn a_ring_must_lie_in_one_region_and_be_aligned() {
    let table = Arc::new(table(&[(0x1000, 0x1000), (0x2000, 0x1000)]));
    assert!(table.ring_area(GuestAddr(0x1f00), 0x100, 16).is_ok());
    assert!(table.ring_area(GuestAddr(0x1f10), 0x100, 16).is_err());
    assert!(table.ring_area(GuestAddr(0x1008), 0x10, 16).is_err());
}

#[test]
fn c061_a_file_shorter_than_its_region_is_refused() {
    let file: File = tempfile::tempfile().unwrap();
    file.set_len(0x1000).unwrap();
    let range = (GuestAddress(0), 0x2000, Some(FileOffset::new(file, 0)));
    // vm-memory maps it without complaint; touching the second page would raise SIGBUS.
    let mappings = GuestMemoryMmap::<()>::from_ranges_with_files([range]).unwrap();
    assert!(matches!(MemoryTable::new(Arc::new(mappings)), Err(MemoryError::FileTooShort { .. })));
}

#[test]
fn c100_memory_that_is_truncated_while_in_use_reads_as_zero_and_marks_its_table_only() {
    let file = tempfile::tempfile().unwrap();
    file.set_len(0x4000).unwrap();
    let shrink = file.try_clone().unwrap();
    let range = (GuestAddress(0), 0x4000, Some(FileOffset::new(file, 0)));
    let table =
        MemoryTable::new(Arc::new(GuestMemoryMmap::from_ranges_with_files([range]).unwrap()))
            .unwrap();
    let other = self::table(&[(0, 0x1000)]);
    let segment = Segment { offset: 0x3000, bytes: 4, region: 0 };
    assert_eq!(table.write(segment, b"data"), 4);
    shrink.set_len(0x1000).unwrap();
    let mut out = *b"none";
    assert_eq!(table.read(segment, &mut out), 4);
    assert_eq!(out, [0; 4]);
    assert!(table.is_poisoned());
    assert!(!other.is_poisoned());
    assert_eq!(table.write(segment, b"data"), 4);
}

#[test]
fn memory_of_a_library_stays_mapped_as_long_as_its_table() {
    /// Says when it is dropped.
    struct Owner(Arc<MemoryTable>, std::sync::mpsc::Sender<()>);
    impl Drop for Owner {
        fn drop(&mut self) {
            assert_eq!(self.0.total_bytes(), 0x2000);
            self.1.send(()).unwrap();
        }
    }
    let (dropped, is_dropped) = std::sync::mpsc::channel();
    let library = Arc::new(table(&[(0, 0x2000)]));
    let start = library.regions[0].host;
    let owner = Box::new(Owner(Arc::clone(&library), dropped));
    // SAFETY: the owner keeps the table, and so the mapping; both tables reach it by opaque copies only.
    let table = unsafe { MemoryTable::of_mapping(start, 0x2000, owner) }.unwrap();
    let last = Segment { offset: 0x1ff0, bytes: 16, region: 0 };
    assert_eq!(table.write(last, b"from the library"), 16);
    let mut out = [0; 16];
    assert_eq!(library.read(last, &mut out), 16);
    assert_eq!(out, *b"from the library");
    assert_eq!(table.write(Segment { bytes: 17, ..last }, &out), 0);
    assert!(!table.is_poisoned() && is_dropped.try_recv().is_err());
    drop(table);
    assert!(is_dropped.try_recv().is_ok());
}

#[test]
fn memory_that_begins_inside_a_page_is_refused() {
    let library = table(&[(0, 0x2000)]);
    let start = library.regions[0].host.as_ptr().wrapping_add(64);
    // SAFETY: the bytes are mapped as long as `library`, which outlives what is made here.
    let refused =
        unsafe { MemoryTable::of_mapping(NonNull::new(start).unwrap(), 64, Box::new(())) };
    assert!(matches!(refused, Err(MemoryError::Host(_))));
}

proptest! {
    #[test]
    fn an_access_never_reaches_outside_its_region(offset in any::<u64>(), bytes in any::<u32>(), region in any::<u16>()) {
        let table = table(&[(0, 0x1000)]);
        let segment = Segment { offset, bytes, region };
        let inside = region == 0 && offset.checked_add(u64::from(bytes)).is_some_and(|end| end <= 0x1000);
        let mut out = vec![0; 0x1000];
        let read = table.read(segment, &mut out);
        prop_assert_eq!(read, if inside { bytes as usize } else { 0 });
    }
}

#[test]
fn bytes_are_the_segment_that_their_address_resolves_to_and_those_of_another_table_are_none() {
    let (table, other) = (table(&[(0x1000, 0x1000), (0x8000, 0x3000)]), table(&[(0, 0x1000)]));
    for (addr, bytes) in [(0x1000, 0x1000), (0x1fff, 1), (0x8000, 1), (0xaff0, 16), (0xafff, 0)] {
        let place = table.bytes_at(GuestAddr(addr), bytes).unwrap();
        assert_eq!(table.segment_of(place), table.resolve_whole(GuestAddr(addr), bytes));
        assert!(table.segment_of(place).is_some() && other.segment_of(place).is_none());
    }
    let foreign = other.bytes_at(GuestAddr(0xff0), 16).unwrap();
    assert_eq!(table.segment_of(foreign), None);
}
