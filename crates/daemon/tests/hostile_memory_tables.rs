//! Memory tables and single regions that cannot be, each while a pair on other ports exchanges frames and loses none of
//! them. Afterwards a guest can use the port, and no descriptor is left open.

mod support;

use std::os::fd::AsFd;

use helio_api::PortState;
use helio_guest::{FrontEnd, GuestError, MemoryRegion, MessageId, PAGE_BYTES};

use support::front_end::{Garbage, is_refused};
use support::memory_lies::{tables, two_pages};
use support::odd_descriptors::no_memory;

#[test]
fn c061_memory_tables_that_cannot_be_are_refused() {
    let (garbage, memory) = Garbage::with(two_pages);
    for (what, table) in tables(&memory.table()) {
        let session = garbage.port().session();
        let files = memory.files();
        let answer = session.set_memory_table(&table, &files[..table.len()]);
        assert!(is_refused(&answer), "{what}: the table was taken");
    }
    garbage.end();
}

#[test]
fn c061_c062_single_regions_that_cannot_be_are_refused() {
    let (garbage, memory) = Garbage::with(two_pages);
    for (what, table) in tables(&memory.table()) {
        let Some(lie) = table.get(1) else { continue };
        let session = garbage.port().session();
        let files = memory.files();
        let add = |region: &MemoryRegion, file| {
            session.command(MessageId::AddMemReg, &region.encode_single(), &[file])
        };
        let answer = add(&table[0], files[0]).and_then(|()| add(lie, files[1]));
        assert!(is_refused(&answer), "{what}: {answer:?}");
    }
    garbage.end();
}

#[test]
fn c061_files_that_are_no_memory_are_refused() {
    let (garbage, (memory, files)) = Garbage::with(|| (two_pages(), no_memory()));
    for (what, file) in &files {
        let session = garbage.port().session();
        let table = &memory.table()[..1];
        assert!(is_refused(&session.set_memory_table(table, &[file.as_fd()])), "{what} was taken");
    }
    garbage.end();
}

#[test]
fn c062_as_many_regions_as_announced_and_not_one_more() {
    let (garbage, memory) = Garbage::with(two_pages);
    let session = garbage.port().session();
    let slots = session.memory_slots().unwrap();
    let region = memory.table()[0];
    let add = |number: u64| {
        let region = MemoryRegion {
            guest_addr: number * PAGE_BYTES,
            front_end_addr: number * PAGE_BYTES,
            ..region
        };
        session.command(MessageId::AddMemReg, &region.encode_single(), &memory.files()[..1])
    };
    for number in 0..slots {
        add(number).unwrap_or_else(|error| panic!("region {number} of {slots}: {error}"));
    }
    assert!(is_refused(&add(slots)), "{slots} regions are announced, and one more was taken");
    drop(session);
    garbage.end();
}

#[test]
fn c063_a_region_that_is_not_there_cannot_be_removed() {
    let (garbage, memory) = Garbage::with(two_pages);
    let region = memory.table()[0];
    let strangers = [
        MemoryRegion { guest_addr: 1 << 30, ..region },
        MemoryRegion { size_bytes: 2 * PAGE_BYTES, ..region },
        MemoryRegion { size_bytes: 1, ..region },
    ];
    for stranger in strangers {
        let session = garbage.port().session();
        session.share_memory(&memory).unwrap();
        let answer = session.command(MessageId::RemMemReg, &stranger.encode_single(), &[]);
        assert!(is_refused(&answer), "{stranger:?} was removed");
    }
    garbage.end();
}

#[test]
fn c063_a_descriptor_that_comes_with_a_removal_is_closed() {
    let (garbage, memory) = Garbage::with(two_pages);
    let session: FrontEnd = garbage.port().session();
    session.share_memory(&memory).unwrap();
    let payload = memory.table()[0].encode_single();
    let answer: Result<(), GuestError> =
        session.command(MessageId::RemMemReg, &payload, &memory.files()[..1]);
    // It may be taken or refused; in both cases nothing is left open.
    drop(answer);
    drop(session);
    garbage.end();
}

#[test]
fn c066_the_same_table_again_while_rings_run_loses_nothing() {
    let garbage = Garbage::new();
    let port = garbage.port();
    let mut guest = port.guest_without_slots();
    let mut other = garbage.switch.guest("tempter");
    for _ in 0..50 {
        support::lane::ping(&mut guest, &mut other, 100);
        let memory = guest.memory().clone();
        guest.session().set_memory_table(&memory.table(), &memory.files()).unwrap();
        garbage.switch.wait_state(&port.name, PortState::Up);
    }
    support::lane::ping(&mut guest, &mut other, 100);
    drop((guest, other));
    garbage.end();
}
