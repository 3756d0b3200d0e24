//! Where a ring starts, how its indices wrap, and which of them are impossible.
#![cfg(test)]

mod support;

use helio_frame::PortFault;
use helio_mem::GuestAddr;
use helio_vring::{Call, ReceiveQueue, RingSetup, TransmitQueue, feature};
use support::{
    AVAIL, DATA, DESCRIPTORS, Descriptor, Driver, RINGS_END, Receiver, SEAM, Transmitter, USED,
    WRITE, memory, pattern, sender,
};

const V1: u64 = feature::VERSION_1;
const ENTRIES: u32 = 200_100;

/// A ring in which each descriptor is a chain of its own over `flags` bytes of `DATA`.
fn fill(driver: &Driver, len: u32, flags: u16) {
    for index in 0..driver.size {
        driver.put(index, Descriptor::new(DATA, len, flags, 0));
    }
}

/// Heads in an order that is not that of the table.
fn head(entry: u32, size: u16) -> u16 {
    u16::try_from((entry * 5 + 3) % u32::from(size)).unwrap()
}

#[test]
fn c020_transmit_indices_wrap_with_rings_of_1_2_256_and_32768() {
    for size in [1_u16, 2, 256, 32_768] {
        let mut guest = Transmitter::new(size, V1);
        guest.driver.write(DATA, &[&[0; 12][..], &pattern(60)].concat());
        fill(&guest.driver, 72, 0);
        let (mut offered, mut done) = (0, 0);
        while done < ENTRIES {
            let burst = u32::from(size).min(done % 40 + 1);
            for _ in 0..burst {
                guest.driver.offer(head(offered, size));
                offered += 1;
            }
            while done < offered {
                let taken = u32::from(guest.take().unwrap());
                assert_eq!(taken, (offered - done).min(32));
                let expected: Vec<_> =
                    (done..done + taken).map(|entry| (u32::from(head(entry, size)), 0)).collect();
                assert_eq!(guest.settle(), expected);
                done += taken;
            }
        }
        assert_eq!(guest.refusals(), []);
        assert_eq!(u32::from(guest.queue.next_avail()), done % 65_536);
    }
}

#[test]
fn c020_receive_indices_wrap_with_rings_of_1_2_256_and_32768() {
    for size in [1_u16, 2, 256, 32_768] {
        let mut guest = Receiver::new(size, V1);
        fill(&guest.driver, 100, WRITE);
        let mut done = 0;
        while done < ENTRIES {
            let burst = u32::from(size).min(done % 40 + 1);
            for entry in done..done + burst {
                guest.driver.offer(head(entry, size));
            }
            for _ in 0..burst {
                assert_eq!(guest.offer(&[1; 20]), Ok(Ok(())));
            }
            let expected: Vec<_> =
                (done..done + burst).map(|entry| (u32::from(head(entry, size)), 32)).collect();
            assert_eq!(guest.settle(), expected);
            done += burst;
        }
        assert_eq!(u32::from(guest.queue.next_avail()), done % 65_536);
    }
}

#[test]
fn c020_a_ring_may_be_full_across_the_wrap() {
    for size in [1_u16, 2, 256, 32_768] {
        for before in [0, 1, size - 1, size] {
            let mut guest = Transmitter::resumed(size, V1, 0_u16.wrapping_sub(before));
            fill(&guest.driver, 12 + 129, 0);
            for entry in 0..u32::from(size) {
                guest.driver.offer(head(entry, size));
            }
            let mut taken = 0;
            let mut origins = Vec::new();
            while taken < size {
                taken += guest.take().unwrap();
                origins.extend(guest.burst.frames().iter().map(|frame| frame.origin));
            }
            assert_eq!(guest.queue.in_flight(), size);
            guest.queue.publish();
            assert_eq!(guest.driver.used(), []);
            for origin in origins {
                guest.release(origin);
            }
            guest.queue.publish();
            assert_eq!(guest.driver.used().len(), usize::from(size));
        }
    }
}

#[test]
fn a_ring_starts_where_its_used_index_stands() {
    let mut guest = Transmitter::resumed(16, V1, 65_533);
    assert_eq!(guest.queue.next_avail(), 65_533);
    assert_eq!(guest.queue.in_flight(), 0);
    fill(&guest.driver, 72, 0);
    guest.driver.offer(7);
    assert_eq!(guest.take(), Ok(1));
    assert_eq!(guest.settle(), [(7, 0)]);
    assert_eq!(guest.driver.used_index(), 65_534);
    assert_eq!(Receiver::resumed(16, V1, 65_533).queue.next_avail(), 65_533);
}

#[test]
fn t33_an_avail_index_up_to_one_ring_ahead_is_taken_and_one_further_is_a_fault() {
    for size in [1_u16, 2, 256, 32_768] {
        for start in [0_u16, 1, 65_535, 40_000] {
            let fits = |index: u16| u32::from(index.wrapping_sub(start)) <= u32::from(size);
            for jump in [0, 1, size - 1, size, size + 1, 32_768, 32_769, 65_535] {
                let index = start.wrapping_add(jump);
                let mut guest = Transmitter::resumed(size, V1, start);
                guest.driver.set_avail_index(index);
                assert_eq!(guest.take().is_ok(), fits(index), "{size} {start} {jump}");
                let mut guest = Receiver::resumed(size, V1, start);
                guest.driver.set_avail_index(index);
                let offered = guest.offer(&pattern(60));
                let fault = Err(PortFault::AvailIndex);
                assert_eq!(offered == fault, !fits(index), "{size} {start} {jump}");
            }
        }
    }
}

#[test]
fn t33_chains_in_flight_count_against_the_ring() {
    let mut guest = Transmitter::new(16, V1);
    fill(&guest.driver, 72, 0);
    for entry in 0..10 {
        guest.driver.offer(entry);
    }
    assert_eq!(guest.take(), Ok(10));
    guest.driver.set_avail_index(16);
    assert_eq!(guest.take(), Ok(6));
    guest.driver.set_avail_index(17);
    assert_eq!(guest.take(), Err(PortFault::AvailIndex));
    assert_eq!(guest.queue.in_flight(), 16);
}

#[test]
fn c014_an_avail_index_that_goes_backwards_is_a_fault() {
    for size in [2_u16, 256, 32_768] {
        let mut guest = Transmitter::new(size, V1);
        fill(&guest.driver, 72, 0);
        guest.driver.offer(0);
        guest.driver.offer(1);
        assert_eq!(guest.take(), Ok(2));
        let origins: Vec<_> = guest.burst.frames().iter().map(|frame| frame.origin).collect();
        for index in [1, 0, 65_535] {
            guest.driver.set_avail_index(index);
            assert_eq!(guest.take(), Err(PortFault::AvailIndex), "{size} {index}");
        }
        assert_eq!(guest.queue.in_flight(), 2);
        for origin in origins {
            guest.release(origin);
        }
        assert_eq!(guest.settle(), [(0, 0), (1, 0)]);
    }
}

#[test]
fn c014_a_full_ring_of_the_largest_size_is_not_taken_twice() {
    let size = 32_768;
    let mut guest = Transmitter::new(size, V1);
    fill(&guest.driver, 72, 0);
    guest.driver.set_avail_index(size);
    let mut taken = 0;
    while taken < size {
        taken += guest.take().unwrap();
    }
    assert_eq!(guest.take(), Ok(0));
    // Back to the start, or on by another ring: in 16 bits this is the same.
    guest.driver.set_avail_index(0);
    assert_eq!(guest.take(), Err(PortFault::AvailIndex));
    assert_eq!(guest.queue.in_flight(), size);
}

#[test]
fn c014_chains_offered_while_a_burst_is_taken_wait_for_the_next() {
    let mut guest = Transmitter::new(16, V1);
    fill(&guest.driver, 72, 0);
    guest.driver.offer(0);
    assert_eq!(guest.take(), Ok(1));
    guest.driver.offer(1);
    assert_eq!(guest.settle(), [(0, 0)]);
    assert_eq!(guest.take(), Ok(1));
    assert_eq!(guest.settle(), [(1, 0)]);
}

#[test]
fn c014_a_receive_queue_with_an_impossible_index_writes_nothing() {
    let mut guest = Receiver::new(16, V1);
    guest.post(&[(DATA, 2000)]);
    guest.driver.set_avail_index(17);
    assert_eq!(guest.offer(&pattern(60)), Err(PortFault::AvailIndex));
    assert_eq!(guest.settle(), []);
    assert_eq!(guest.driver.read(DATA, 2000), [0; 2000]);
}

/// Starts both kinds of queue with `setup`, which must come to the same.
fn start(setup: RingSetup) -> Result<(), PortFault> {
    let (_, table) = memory();
    let transmit = TransmitQueue::start(setup.clone(), &table, sender()).map(drop);
    assert_eq!(ReceiveQueue::start(setup, &table).map(drop), transmit);
    transmit
}

fn setup(size: u16) -> RingSetup {
    Driver::new(memory().0, size).setup(V1, Call::default())
}

#[test]
fn c019_sizes_that_are_powers_of_two_up_to_32768_are_accepted_and_no_others() {
    for size in 0..=u16::MAX {
        if size.is_power_of_two() {
            assert_eq!(start(setup(size)), Ok(()), "{size}");
        }
    }
    for size in [0, 3, 7, 100, 255, 257, 32_767, 32_769, 49_152, 65_535] {
        assert_eq!(start(setup(size)), Err(PortFault::RingSize), "{size}");
    }
}

#[test]
fn c016_each_part_of_a_ring_must_be_aligned() {
    let at = |descriptors: u64, avail: u64, used: u64| {
        let (descriptors, avail, used) = (DESCRIPTORS + descriptors, AVAIL + avail, USED + used);
        start(RingSetup {
            descriptors: GuestAddr(descriptors),
            avail: GuestAddr(avail),
            used: GuestAddr(used),
            ..setup(16)
        })
    };
    assert_eq!(at(16, 2, 4), Ok(()));
    for (descriptors, avail, used) in [(8, 0, 0), (1, 0, 0), (0, 1, 0), (0, 0, 2), (0, 0, 1)] {
        assert_eq!(at(descriptors, avail, used), Err(PortFault::RingAddress));
    }
}

#[test]
fn c016_each_part_of_a_ring_must_lie_in_one_region_to_its_last_byte() {
    let (descriptor_bytes, avail_bytes, used_bytes) = (16 * 16, 6 + 2 * 16, 6 + 8 * 16 + 2);
    for end in [RINGS_END, SEAM] {
        let fits = [
            RingSetup { descriptors: GuestAddr(end - descriptor_bytes), ..setup(16) },
            RingSetup { avail: GuestAddr(end - avail_bytes), ..setup(16) },
            RingSetup { used: GuestAddr(end - used_bytes), ..setup(16) },
        ];
        for setup in fits {
            assert_eq!(start(setup), Ok(()));
        }
        let crosses = [
            RingSetup { descriptors: GuestAddr(end - descriptor_bytes + 16), ..setup(16) },
            RingSetup { avail: GuestAddr(end - avail_bytes + 2), ..setup(16) },
            RingSetup { used: GuestAddr(end - used_bytes + 4), ..setup(16) },
            RingSetup { used: GuestAddr(u64::MAX - 3), ..setup(16) },
        ];
        for setup in crosses {
            assert_eq!(start(setup), Err(PortFault::RingAddress));
        }
    }
}

#[test]
fn c016_a_used_ring_on_top_of_the_other_parts_harms_its_own_queue_only() {
    for place in [DESCRIPTORS, DESCRIPTORS + 16, AVAIL, AVAIL + 4] {
        let (map, table) = memory();
        let mut driver = Driver::new(map, 16);
        let setup = RingSetup { used: GuestAddr(place), ..driver.setup(V1, Call::default()) };
        fill(&driver, 72, 0);
        let mut queue = TransmitQueue::start(setup, &table, sender()).unwrap();
        let mut guest = Transmitter::start(Driver::new(memory().0, 16), table, V1, Call::default());
        std::mem::swap(&mut guest.queue, &mut queue);
        for entry in 0..40 {
            driver.offer(entry % 20);
            let _ = guest.take();
            guest.settle();
        }
        assert!(guest.queue.in_flight() <= 16);
    }
}

#[test]
fn c017_two_queues_in_the_same_place_harm_their_own_guest_only() {
    let (map, table) = memory();
    let driver = Driver::new(map.clone(), 16);
    fill(&driver, 72, 0);
    let mut one = Transmitter::start(driver, table.clone(), V1, Call::default());
    let mut two = Receiver::start(Driver::new(map, 16), table, V1, Call::default());
    for entry in 0..40 {
        one.driver.offer(entry % 16);
        let _ = one.take();
        let _ = two.offer(&pattern(60));
        one.settle();
        two.settle();
    }
    assert!(one.queue.in_flight() <= 16);
}
