//! Once a queue runs, nothing that a worker calls allocates.
#![cfg(test)]

mod support;

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

use helio_frame::{Delivery, RestBytes};
use helio_mem::{MemoryTable, Segment};
use helio_offload::NetHeader;
use helio_vring::{TakeSteps, feature};
use support::{
    DATA, Descriptor, INDIRECT, NEXT, Receiver, Source, TABLES, Transmitter, WRITE, cut, event,
    pattern, scattered,
};

thread_local! {
    static ALLOCATIONS: Cell<u64> = const { Cell::new(0) };
}

/// The system's allocator, counting what each thread asks of it.
struct Counting;

// SAFETY: every call is passed to the system's allocator as it is; counting touches a thread-local integer only, which
// needs no memory and no destructor.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.set(ALLOCATIONS.get() + 1);
        // SAFETY: the caller's promise, passed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, place: *mut u8, layout: Layout) {
        // SAFETY: the caller's promise, passed on.
        unsafe { System.dealloc(place, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Runs `work` and returns how often it allocated.
fn allocations(work: impl FnOnce()) -> u64 {
    let before = ALLOCATIONS.get();
    work();
    ALLOCATIONS.get() - before
}

const FEATURES: u64 = feature::VERSION_1 | feature::INDIRECT_DESC | feature::EVENT_IDX;

#[test]
fn the_counter_counts() {
    assert!(allocations(|| drop(std::hint::black_box(vec![1_u8; 100]))) > 0);
    assert_eq!(allocations(|| ()), 0);
}

#[test]
fn r12_a_turn_of_a_transmit_queue_allocates_nothing() {
    let (call, _fd) = event();
    let mut guest = Transmitter::with_call(256, FEATURES, call);
    let good = guest.driver.chain(&[(DATA, 12), (DATA + 12, 1500)], 0);
    let table = guest.driver.indirect_chain(TABLES, &scattered(DATA, 1500, &[80]), 0);
    let moved = guest.driver.indirect_chain(TABLES + 0x1000, &scattered(DATA, 1500, &[8]), 0);
    let bad = guest.driver.chain(&[(0x50_0000, 100)], 0);
    guest.driver.put(200, Descriptor::new(DATA, 1, NEXT, 200));
    guest.driver.put(201, Descriptor::new(TABLES, 15, INDIRECT, 0));
    for turn in 0..100_u16 {
        for head in [good, table, moved, bad, 200, 201, 999, moved] {
            guest.driver.offer(head);
        }
        guest.driver.set_used_event(guest.driver.used_index());
        let allocated = allocations(|| {
            assert!(guest.take().unwrap() > 0);
            for at in 0..guest.burst.frames().len() {
                let origin = guest.burst.frames()[at].origin;
                if let helio_frame::Origin::Chain { slot, .. } = origin {
                    guest.queue.hold(slot);
                    guest.queue.release(slot);
                }
                guest.release(origin);
            }
            guest.burst.clear();
            guest.queue.publish();
            guest.queue.notify();
            guest.queue.ask_for_kick();
            guest.queue.refuse_kicks();
            guest.queue.discard(&mut TakeSteps::default()).unwrap();
            guest.queue.publish();
        });
        assert_eq!(allocated, 0, "turn {turn}");
    }
    assert_eq!(guest.driver.used_index(), 800);
    assert!(guest.refusals().len() >= 4);
}

#[test]
fn a_turn_of_a_receive_queue_allocates_nothing() {
    let source = MemoryTable::anonymous(0x2_0000).unwrap();
    let pieces = [(0, 4000), (8000, 4000), (20_000, 60_000 - 128)].map(|(offset, bytes)| Segment {
        offset,
        bytes,
        region: 0,
    });
    let rest = RestBytes::new(Some(&source), &pieces);
    let (header, tail) = ([1; 18], [2; 110]);
    let large = Delivery::whole(NetHeader::PLAIN, &header, &tail, rest);
    let small = Delivery { rest_bytes: 1300, rest_skip: 100, ..large };
    for features in [FEATURES, FEATURES | feature::MRG_RXBUF] {
        let (call, _fd) = event();
        let mut guest = Receiver::with_call(256, features, call);
        for turn in 0..100 {
            guest.post_many(DATA, 1526, 60);
            guest.driver.offer(999);
            guest.driver.put(255, Descriptor::new(DATA, 100, WRITE | NEXT, 255));
            guest.driver.offer(255);
            guest.driver.set_used_event(guest.driver.used_index());
            let allocated = allocations(|| {
                for delivery in [&small, &large, &small, &small, &large, &large, &small] {
                    let _ = guest.queue.offer(delivery).unwrap();
                }
                guest.queue.publish();
                guest.queue.notify();
                // Leave no chain behind for the next turn.
                for _ in 0..100 {
                    let _ = guest.queue.offer(&small).unwrap();
                }
                guest.queue.publish();
            });
            assert_eq!(allocated, 0, "turn {turn}");
        }
        assert_eq!(guest.driver.used_index(), 100 * 62);
    }
}

#[test]
fn a_run_allocates_nothing_whatever_becomes_of_its_frames() {
    let mut source = Source::new();
    let lengths = [60, 1400, 128, 9000, 60, 2000, 129, 60];
    let mut frames = lengths.map(|bytes| source.plain(&pattern(bytes))).to_vec();
    frames.insert(2, source.lost(&pattern(200)));
    for features in [FEATURES, FEATURES | feature::MRG_RXBUF] {
        let (call, _fd) = event();
        let mut guest = Receiver::with_call(256, features, call);
        let mut written = 0;
        for turn in 0..100 {
            guest.post_many(DATA, 1526, 12);
            guest.post(&cut(DATA, 3000, &[100]));
            guest.driver.offer(999);
            guest.driver.set_used_event(guest.driver.used_index());
            let allocated = allocations(|| {
                for prepared in [0, 4, frames.len()] {
                    guest.queue.prepare(&frames[..prepared]);
                    let mut left = &frames[..];
                    while !left.is_empty() {
                        let (end, fault) = guest.queue.offer_run(source.run(left));
                        assert!(fault.is_none());
                        written += end.written;
                        left = &left[end.written + end.refused.map_or(0, |refused| refused.1)..];
                    }
                }
                guest.queue.publish();
                guest.queue.notify();
            });
            assert_eq!(allocated, 0, "turn {turn}");
        }
        assert!(written > 500, "{written} frames were written");
    }
}

#[test]
fn a_fault_allocates_nothing() {
    let mut transmit = Transmitter::new(16, FEATURES);
    let mut receive = Receiver::new(16, FEATURES);
    transmit.driver.set_avail_index(17);
    receive.driver.set_avail_index(17);
    let delivery = Delivery::whole(NetHeader::PLAIN, &[0; 60], &[], RestBytes::EMPTY);
    let allocated = allocations(|| {
        assert!(transmit.take().is_err());
        assert!(receive.queue.offer(&delivery).is_err());
    });
    assert_eq!(allocated, 0);
}
