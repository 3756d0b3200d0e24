//! Memory that is not as it was said to be, or does not stay so.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]

mod support;

use std::fs::File;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use helio_frame::PortFault;
use helio_guest::{
    FrontEnd, Guest, GuestConfig, MemoryLayout, MemoryRegion, MessageId, PAGE_BYTES, RegionPlan,
    Sealing,
};
use helio_vhost_user::StateWord;
use rustix::fs::{FallocateFlags, fallocate};
use support::lab::{Lab, config, hear_out, ping};
use support::{PATIENCE, lie, signals, wait_until};

const REGION: MemoryRegion =
    MemoryRegion { guest_addr: 0, size_bytes: 0x4000, front_end_addr: 0x1000_0000, file_offset: 0 };

fn file(bytes: u64) -> File {
    let file = tempfile::tempfile().unwrap();
    file.set_len(bytes).unwrap();
    file
}

fn session(lab: &Lab) -> FrontEnd {
    let session = lie::opened(&lab.ports[0].socket);
    session.set_features().unwrap();
    session
}

/// Sends a memory table; all regions share one file.
#[track_caller]
fn table_is_refused(lab: &Lab, regions: &[MemoryRegion], file: &impl AsFd) {
    let fds = lie::copies(file, regions.len());
    let fds: Vec<_> = fds.iter().map(AsFd::as_fd).collect();
    let payload = MemoryRegion::encode_table(regions);
    lie::command_is_refused(&session(lab), MessageId::SetMemTable, &payload, &fds);
}

/// A guest whose memory can shrink.
fn open_memory(index: usize) -> GuestConfig {
    GuestConfig { memory: MemoryLayout::FittingWith(Sealing::Open), ..config(index) }
}

#[test]
fn c061_memory_tables_that_cannot_be_are_refused() {
    let lab = Lab::new(1);
    let page = file(0x10_0000);
    let region = REGION;
    table_is_refused(&lab, &[], &page);
    table_is_refused(&lab, &[MemoryRegion { size_bytes: 0, ..region }], &page);
    table_is_refused(&lab, &[MemoryRegion { size_bytes: u64::MAX, ..region }], &page);
    table_is_refused(&lab, &[MemoryRegion { guest_addr: u64::MAX - 1, ..region }], &page);
    table_is_refused(&lab, &[MemoryRegion { front_end_addr: u64::MAX - 1, ..region }], &page);
    table_is_refused(&lab, &[MemoryRegion { file_offset: u64::MAX - 1, ..region }], &page);
    table_is_refused(&lab, &[MemoryRegion { file_offset: 1, ..region }], &page);
    table_is_refused(&lab, &[region, MemoryRegion { guest_addr: 0x2000, ..region }], &page);
    table_is_refused(&lab, &[region, region], &page);
}

#[test]
fn c061_a_file_that_is_shorter_than_its_region_is_named() {
    let lab = Lab::new(1);
    for (bytes, offset) in [(0x3fff, 0), (0, 0), (0x4000, 0x1000)] {
        let region = MemoryRegion { file_offset: offset, ..REGION };
        table_is_refused(&lab, &[region], &file(bytes));
    }
    lab.ports[0].wait_ends(3);
    let end = lab.ports[0].last_end();
    assert!(end.contains("needs 20480 bytes of its file, which has 16384"), "{end}");
}

#[test]
fn c061_what_is_no_memory_file_is_refused() {
    let lab = Lab::new(1);
    for fd in lie::odd_descriptors() {
        table_is_refused(&lab, &[REGION], &fd);
    }
    let named = tempfile::NamedTempFile::new().unwrap();
    named.as_file().set_len(0x4000).unwrap();
    let read_only = File::open(named.path()).unwrap();
    table_is_refused(&lab, &[REGION], &read_only);
    table_is_refused(&lab, &[REGION], &support_epoll());
}

fn support_epoll() -> OwnedFd {
    rustix::event::epoll::create(rustix::event::epoll::CreateFlags::CLOEXEC).unwrap()
}

#[test]
fn c061_regions_may_come_in_any_order_and_share_a_file() {
    let lab = Lab::new(1);
    let page = file(0x8000);
    let session = session(&lab);
    let high = MemoryRegion {
        guest_addr: 0x10_0000,
        front_end_addr: 0x2000_0000,
        file_offset: 0x4000,
        ..REGION
    };
    session.set_memory_table(&[high, REGION], &[page.as_fd(), page.as_fd()]).unwrap();
    assert_eq!(lab.ports[0].handle.memory().unwrap().regions, 2);
    assert!(!lab.ports[0].handle.memory().unwrap().shrink_sealed);
}

#[test]
fn c062_regions_come_and_go_one_by_one() {
    let lab = Lab::new(1);
    let page = file(0x4000);
    let session = session(&lab);
    let at = |number: u64| MemoryRegion {
        guest_addr: number * 0x1_0000,
        front_end_addr: 0x1000_0000 + number * 0x1_0000,
        ..REGION
    };
    let regions = || lab.ports[0].handle.memory().map_or(0, |memory| memory.regions);
    for number in 0..40 {
        session
            .command(MessageId::AddMemReg, &at(number).encode_single(), &[page.as_fd()])
            .unwrap();
    }
    assert_eq!(regions(), 40);
    // With a descriptor or without: it is closed.
    session.command(MessageId::RemMemReg, &at(7).encode_single(), &[page.as_fd()]).unwrap();
    session.command(MessageId::RemMemReg, &at(8).encode_single(), &[]).unwrap();
    assert_eq!(regions(), 38);
    // The same region again is one that another queue pair adds; one beside it that reaches into it is a mistake.
    session.command(MessageId::AddMemReg, &at(9).encode_single(), &[page.as_fd()]).unwrap();
    assert_eq!(regions(), 38);
    let overlapping =
        MemoryRegion { guest_addr: at(9).guest_addr + 0x1000, ..at(9) }.encode_single();
    lie::command_is_refused(&session, MessageId::AddMemReg, &overlapping, &[page.as_fd()]);
}

#[test]
fn c063_a_region_that_is_not_there_cannot_be_taken_away() {
    let lab = Lab::new(1);
    for wrong in [
        MemoryRegion { guest_addr: 0x1000, ..REGION },
        MemoryRegion { size_bytes: 0x2000, ..REGION },
        MemoryRegion { guest_addr: 0x10_0000, ..REGION },
    ] {
        let session = session(&lab);
        let page = file(0x4000);
        session.command(MessageId::AddMemReg, &REGION.encode_single(), &[page.as_fd()]).unwrap();
        let wrong = wrong.encode_single();
        lie::command_is_refused(&session, MessageId::RemMemReg, &wrong, &[]);
    }
}

#[test]
fn c066_the_same_and_another_memory_table_while_frames_flow() {
    let lab = Lab::new(2);
    let (mut one, mut other) = (lab.guest(0), lab.guest(1));
    let more = file(0x4000);
    for _ in 0..10 {
        ping(&mut one, &mut other);
        let table = one.memory().table();
        one.session().set_memory_table(&table, &one.memory().files()).unwrap();
        ping(&mut one, &mut other);
        let added = MemoryRegion { guest_addr: 1 << 32, front_end_addr: 1 << 32, ..REGION };
        let files = [&one.memory().files()[..], &[more.as_fd()]].concat();
        one.session().set_memory_table(&[&table[..], &[added]].concat(), &files).unwrap();
        assert_eq!(lab.ports[0].handle.memory().unwrap().regions, 2);
    }
    assert_eq!(lab.ports[0].handle.state().word, StateWord::Up);
}

#[test]
fn c062_a_region_that_goes_and_comes_back_while_frames_flow_costs_frames_and_not_the_port() {
    let lab = Lab::new(2);
    let (mut one, mut other) = (lab.guest(0), lab.guest(1));
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let (done, other) = (&done, &mut other);
        scope.spawn(move || {
            let began = Instant::now();
            while !done.load(Ordering::Relaxed) && began.elapsed() < PATIENCE {
                other.send_blocking(&[2; 64], PATIENCE).unwrap();
            }
        });
        for _ in 0..20 {
            one.session().withdraw_memory(one.memory()).unwrap();
            assert_eq!(lab.ports[0].handle.fault(), None);
            one.session().share_memory(one.memory()).unwrap();
            lab.ports[0].wait_active(1);
            one.wait_received(1, PATIENCE).unwrap();
        }
        done.store(true, Ordering::Relaxed);
    });
    let mut guests = [one, other];
    hear_out(&mut guests);
    let [mut one, mut other] = guests;
    ping(&mut one, &mut other);
    assert_eq!(lab.ports[0].handle.state().detail, "1 of 4 queue pairs running");
    assert_eq!(lab.ports[0].events.lock().unwrap().len(), 1, "a connection, and nothing else");
}

#[test]
fn c062_rings_in_the_regions_that_stay_or_come_back_run_whichever_goes() {
    let lab = Lab::new(2);
    let layout = GuestConfig { memory: MemoryLayout::adjacent(8, 64 * PAGE_BYTES), ..config(0) };
    let (mut one, mut other) = (lab.guest_with(0, layout), lab.guest(1));
    for (gone, region) in one.memory().table().iter().enumerate() {
        let region = region.encode_single();
        one.session().command(MessageId::RemMemReg, &region, &[]).unwrap();
        let file = one.memory().files()[gone];
        one.session().command(MessageId::AddMemReg, &region, &[file]).unwrap();
        lab.ports[0].wait_active(1);
        ping(&mut one, &mut other);
    }
}

#[test]
fn c101_a_hole_that_is_punched_reads_as_zeroes_and_is_no_fault() {
    let lab = Lab::new(2);
    let long = GuestConfig { tx_buffer_bytes: 9000, ..open_memory(0) };
    let (mut one, mut other) = (lab.guest_with(0, long), lab.guest(1));
    ping(&mut one, &mut other);
    // The frame is in the ring, and nobody has read it yet.
    lab.hub.shared.pause();
    one.send(&[7; 9000]).unwrap();
    one.kick();
    let (area, _) = one.driver().rings().nth(1).unwrap();
    let last = area.avail_entry(area.avail_idx().wrapping_sub(1) % area.size());
    let buffer = area.descriptor(last);
    // A page in the middle of it.
    let hole = (buffer.addr + 1000).next_multiple_of(PAGE_BYTES);
    let region = one.memory().table()[0];
    let offset = hole - region.guest_addr + region.file_offset;
    let flags = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
    fallocate(one.memory().files()[0], flags, offset, PAGE_BYTES).unwrap();
    lab.hub.shared.resume();
    let received = other.wait_received(1, PATIENCE).unwrap();
    let header_bytes = u64::from(buffer.len) - 9000;
    let mut expected = vec![7; 9000];
    let start = usize::try_from(hole - buffer.addr - header_bytes).unwrap();
    expected[start..start + 4096].fill(0);
    assert!(received[0].frame == expected, "other bytes than those of the hole changed");
    assert_eq!(lab.ports[0].handle.fault(), None);
    ping(&mut one, &mut other);
}

#[test]
fn c013_a_guest_whose_memory_lies_in_many_regions_exchanges_frames() {
    let lab = Lab::new(2);
    let layout =
        |index| GuestConfig { memory: MemoryLayout::adjacent(8, 64 * PAGE_BYTES), ..config(index) };
    let (mut one, mut other) = (lab.guest_with(0, layout(0)), lab.guest_with(1, layout(1)));
    ping(&mut one, &mut other);
}

/// A guest with memory in these places, all of it in the order of one file as a PC has it.
fn scattered(index: usize, places: &[(u64, u64)]) -> GuestConfig {
    let region = |&(guest_addr, size_bytes): &(u64, u64)| RegionPlan {
        guest_addr,
        size_bytes,
        file_offset: guest_addr,
        sealing: Sealing::Sealed,
    };
    let memory = MemoryLayout::Regions(places.iter().map(region).collect());
    GuestConfig { memory, ..config(index) }
}

#[test]
fn c065_a_guest_with_a_hole_in_its_memory_exchanges_frames() {
    let lab = Lab::new(2);
    let guest = |index| scattered(index, &[(0, 0xa_0000), (0xc_0000, 0x40_0000)]);
    let (mut one, mut other) = (lab.guest_with(0, guest(0)), lab.guest_with(1, guest(1)));
    ping(&mut one, &mut other);
}

#[test]
fn c067_a_guest_whose_buffers_lie_in_the_last_of_as_many_regions_as_can_be_exchanges_frames() {
    let lab = Lab::new(2);
    let guest = |index| {
        // Too small for a ring, each.
        let pages = (0..63).map(|number| (number * 0x10_0000, PAGE_BYTES));
        scattered(index, &pages.chain([(63 * 0x10_0000, 0x40_0000)]).collect::<Vec<_>>())
    };
    let (mut one, mut other) = (lab.guest_with(0, guest(0)), lab.guest_with(1, guest(1)));
    assert_eq!(one.session().memory_slots(), Some(64));
    ping(&mut one, &mut other);
}

#[test]
fn c100_memory_that_is_truncated_while_frames_flow_costs_its_guest_the_port() {
    for keep_bytes in [0, 2 * PAGE_BYTES] {
        let mut lab = Lab::new(3);
        let mut one = lab.guest_with(0, open_memory(0));
        let (mut two, mut three) = (lab.guest(1), lab.guest(2));
        ping(&mut two, &mut three);
        let (_, events) = one.driver().rings().nth(1).unwrap();
        let (kick, err) = (events.kick.try_clone().unwrap(), events.err.try_clone().unwrap());
        one.memory().truncate(0, keep_bytes).unwrap();
        kick.signal();
        two.send_blocking(&[2; 64], PATIENCE).unwrap();
        lab.ports[0].wait_word(StateWord::Faulted);
        assert_eq!(lab.ports[0].handle.fault(), Some(PortFault::MemoryTruncated));
        assert_eq!(signals(|| err.take()), 1);
        three.wait_received(1, PATIENCE).unwrap();
        ping(&mut two, &mut three);
        // A driver that starts again in the same memory is refused as long as nothing else is shared.
        let state = helio_guest::RingState { index: 1, number: 0 }.encode();
        one.session().connection().send(MessageId::GetVringBase, &state, &[]).unwrap();
        one.session().connection().receive_reply(MessageId::GetVringBase).unwrap();
        assert_eq!(lab.ports[0].handle.active_pairs(), 0);
        lab.ports[0].handle.stop();
        assert!(one.session_mut().connection().wait_closed(PATIENCE));
    }
}

#[test]
fn c102_after_a_truncation_the_next_front_end_is_served() {
    let lab = Lab::new(2);
    let one = lab.guest_with(0, open_memory(0));
    let mut other = lab.guest(1);
    one.memory().truncate(0, 0).unwrap();
    other.send_blocking(&[2; 64], PATIENCE).unwrap();
    lab.ports[0].wait_word(StateWord::Faulted);
    drop(one);
    lab.ports[0].wait_ends(1);
    let end = lab.ports[0].last_end();
    assert!(end.contains("after a fault: the front-end truncated"), "{end}");
    let mut one = lab.guest(0);
    ping(&mut one, &mut other);
}

#[test]
fn c100_a_front_end_that_truncates_while_its_memory_is_replaced_harms_nobody() {
    let lab = Lab::new(3);
    let (mut two, mut three) = (lab.guest(1), lab.guest(2));
    for round in 0..20 {
        let mut one = Guest::connect(&lab.ports[0].socket, open_memory(0)).unwrap();
        let table = one.memory().table();
        one.memory().truncate(0, PAGE_BYTES * (round % 3)).unwrap();
        let told = one.start();
        let replaced = one.session().set_memory_table(&table, &one.memory().files());
        assert!(told.is_err() || replaced.is_err());
        drop(one);
        ping(&mut two, &mut three);
    }
    wait_until("all is let go", || !lab.hub.shared.has_memory(lab.ports[0].id));
}
