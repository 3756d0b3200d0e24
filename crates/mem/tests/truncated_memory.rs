//! A front-end that takes away memory it had shared.
#![cfg(test)]

use std::fs::File;
use std::os::unix::process::ExitStatusExt;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use helio_mem::{GuestAddr, MemoryTable, Segment};
use rustix::fs::{MemfdFlags, memfd_create};
use vm_memory::{FileOffset, GuestAddress, GuestMemoryBackend, GuestMemoryMmap};

type Map = Arc<GuestMemoryMmap<()>>;

/// Regions of one file, one behind the other, and the file to truncate.
fn shared(regions: &[(u64, usize)]) -> (Map, File) {
    let file = tempfile::tempfile().unwrap();
    let total: usize = regions.iter().map(|region| region.1).sum();
    file.set_len(total as u64).unwrap();
    let mut offset = 0;
    let ranges: Vec<_> = regions
        .iter()
        .map(|&(start, bytes)| {
            let place = FileOffset::new(file.try_clone().unwrap(), offset);
            offset += bytes as u64;
            (GuestAddress(start), bytes, Some(place))
        })
        .collect();
    (Arc::new(GuestMemoryMmap::from_ranges_with_files(ranges).unwrap()), file)
}

fn table(map: &Map) -> MemoryTable {
    MemoryTable::new(Arc::clone(map)).unwrap()
}

/// Reads 16 bytes at a guest address.
fn read(table: &MemoryTable, addr: u64) -> [u8; 16] {
    let mut out = [0xee; 16];
    table.resolve(GuestAddr(addr), 16, |segment| table.read(segment, &mut out) == 16).unwrap();
    out
}

fn write(table: &MemoryTable, addr: u64) {
    table.resolve(GuestAddr(addr), 16, |segment| table.write(segment, &[7; 16]) == 16).unwrap();
}

#[test]
fn c100_a_hole_under_any_region_marks_the_table_and_leaves_the_other_regions_alone() {
    for hole in [0x10_0000, 0x20_0000, 0x30_0000] {
        let (map, file) = shared(&[(0x10_0000, 0x4000), (0x20_0000, 0x8000), (0x30_0000, 0x1000)]);
        let table = table(&map);
        for start in [0x10_0000, 0x20_0000, 0x30_0000] {
            write(&table, start);
        }
        let keep = [(0x10_0000, 0), (0x20_0000, 0x4000), (0x30_0000, 0xc000)];
        let kept = keep.iter().find(|place| place.0 == hole).unwrap().1;
        file.set_len(kept).unwrap();
        assert!(!table.is_poisoned());
        assert_eq!(read(&table, hole), [0; 16]);
        assert!(table.is_poisoned());
        for (start, at) in keep {
            if at < kept {
                assert_eq!(read(&table, start), [7; 16]);
            }
        }
    }
}

#[test]
fn c100_all_tables_over_one_mapping_are_marked() {
    let (map, file) = shared(&[(0, 0x4000)]);
    let (older, newer) = (table(&map), table(&map));
    file.set_len(0).unwrap();
    assert_eq!(read(&newer, 0), [0; 16]);
    assert!(older.is_poisoned());
    assert!(newer.is_poisoned());
}

#[test]
fn c100_a_table_made_after_another_was_dropped_is_not_marked() {
    for _ in 0..50 {
        let (map, file) = shared(&[(0, 0x2000)]);
        let first = table(&map);
        assert!(!first.is_poisoned());
        file.set_len(0).unwrap();
        assert_eq!(read(&first, 0x1000), [0; 16]);
        assert!(first.is_poisoned());
    }
}

#[test]
fn c100_rings_copies_and_both_ends_of_them_survive_a_hole() {
    let (map, file) = shared(&[(0, 0x4000)]);
    let shrunk = Arc::new(table(&map));
    let ring = shrunk.ring_area(GuestAddr(0x2000), 0x100, 16).unwrap();
    let whole = MemoryTable::anonymous(0x4000).unwrap();
    write(&whole, 0);
    file.set_len(0).unwrap();
    ring.store_u16(2, 5, Ordering::Release);
    assert_eq!(ring.load_u16(2, Ordering::Acquire), 5, "it is memory again, of our own");
    let (map, file) = shared(&[(0, 0x4000)]);
    let shrunk = table(&map);
    file.set_len(0).unwrap();
    let all = Segment { offset: 0, bytes: 0x4000, region: 0 };
    assert_eq!(shrunk.copy_to(all, &whole, all), 0x4000);
    assert_eq!(read(&whole, 0), [0; 16]);
    assert!(shrunk.is_poisoned());
    let (map, file) = shared(&[(0, 0x4000)]);
    let shrunk = table(&map);
    file.set_len(0).unwrap();
    write(&whole, 0x1000);
    assert_eq!(whole.copy_to(all, &shrunk, all), 0x4000);
    assert_eq!(read(&shrunk, 0x1000), [7; 16]);
    assert!(shrunk.is_poisoned());
    assert!(!whole.is_poisoned());
}

#[test]
fn c100_several_workers_may_find_the_hole_at_once() {
    for _ in 0..50 {
        let (map, file) = shared(&[(0, 0x8000)]);
        let table = Arc::new(table(&map));
        let stop = Arc::new(AtomicBool::new(false));
        let workers: Vec<_> = (0..3_u64)
            .map(|worker| {
                let (table, stop) = (Arc::clone(&table), Arc::clone(&stop));
                thread::spawn(move || {
                    while !stop.load(Ordering::Relaxed) {
                        read(&table, 0x2000 * worker);
                    }
                })
            })
            .collect();
        file.set_len(0).unwrap();
        while !table.is_poisoned() {
            thread::yield_now();
        }
        stop.store(true, Ordering::Relaxed);
        workers.into_iter().for_each(|worker| worker.join().unwrap());
    }
}

#[test]
fn t23_a_region_that_ends_inside_a_huge_page_survives_a_hole() {
    let Ok(fd) = memfd_create("guest", MemfdFlags::HUGETLB | MemfdFlags::HUGE_2MB) else {
        println!("not tested: the kernel has no huge pages");
        return;
    };
    let file = File::from(fd);
    file.set_len(0x40_0000).unwrap();
    // As a PC without its hole: 640 KiB, in the first huge page.
    let place = FileOffset::new(file.try_clone().unwrap(), 0);
    let Ok(map) =
        GuestMemoryMmap::<()>::from_ranges_with_files([(GuestAddress(0), 0xa_0000, Some(place))])
    else {
        println!("not tested: no huge page is free");
        return;
    };
    let table = table(&Arc::new(map));
    write(&table, 0);
    file.set_len(0).unwrap();
    assert_eq!(read(&table, 0x8_0000), [0; 16]);
    assert!(table.is_poisoned());
}

/// Set for a copy of this test program that is to die.
const VICTIM: &str = "HELIO_TEST_TOUCHES_A_HOLE";

#[test]
fn c103_a_sigbus_outside_guest_memory_is_fatal_as_it_always_was() {
    let (map, file) = shared(&[(0, 0x1000)]);
    if std::env::var_os(VICTIM).is_some() {
        // The guard is installed, and knows another mapping only.
        let (other, _file) = shared(&[(0, 0x1000)]);
        let _guarded = table(&other);
        file.set_len(0).unwrap();
        let start = map.iter().next().unwrap().as_ptr();
        // SAFETY: the byte is mapped. That its page has no memory behind it is the point: the process must die here.
        println!("{}", unsafe { start.read_volatile() });
        return;
    }
    let name = "c103_a_sigbus_outside_guest_memory_is_fatal_as_it_always_was";
    let run = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", name])
        .env(VICTIM, "1")
        .output()
        .unwrap();
    assert_eq!(run.status.signal(), Some(7), "{run:?}");
}
