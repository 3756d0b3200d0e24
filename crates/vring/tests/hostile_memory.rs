//! A guest that writes anything anywhere, before and while we read it.
#![cfg(test)]

mod support;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use helio_types::DropReason;
use helio_vring::feature;
use proptest::prelude::*;
use support::{
    AVAIL, DATA, DESCRIPTORS, Descriptor, Driver, INDIRECT, Map, NEXT, Receiver, SEAM, TABLES,
    Transmitter, USED, WRITE, pattern,
};
use vm_memory::{Bytes, GuestAddress};

fn features() -> impl Strategy<Value = u64> {
    let bits = [feature::MRG_RXBUF, feature::INDIRECT_DESC, feature::EVENT_IDX, feature::VERSION_1];
    prop::sample::subsequence(bits.to_vec(), 0..=4).prop_map(|bits| bits.iter().sum())
}

fn anything() -> impl Strategy<Value = Descriptor> {
    let addr = prop_oneof![
        any::<u64>(),
        DATA..DATA + 0x1000,
        SEAM - 64..SEAM + 64,
        DESCRIPTORS..DESCRIPTORS + 0x400,
        AVAIL..AVAIL + 0x80,
        USED..USED + 0x80,
        TABLES..TABLES + 0x400,
    ];
    let len = prop_oneof![any::<u32>(), 0..2000_u32, (0..40_u32).prop_map(|count| 16 * count)];
    let flags = prop_oneof![any::<u16>(), 0..8_u16, Just(NEXT), Just(WRITE | NEXT), Just(INDIRECT)];
    let next = prop_oneof![any::<u16>(), 0..40_u16];
    (addr, len, flags, next).prop_map(|(addr, len, flags, next)| Descriptor {
        addr,
        len,
        flags,
        next,
    })
}

#[derive(Clone, Debug)]
struct Mess {
    ring: Vec<Descriptor>,
    indirect: Vec<Descriptor>,
    heads: Vec<u16>,
    bytes: Vec<u8>,
}

fn mess() -> impl Strategy<Value = Mess> {
    let head = prop_oneof![8 => 0..32_u16, 1 => any::<u16>()];
    (
        prop::collection::vec(anything(), 32),
        prop::collection::vec(anything(), 40),
        prop::collection::vec(head, 1..32),
        prop::collection::vec(any::<u8>(), 64),
    )
        .prop_map(|(ring, indirect, heads, bytes)| Mess { ring, indirect, heads, bytes })
}

impl Mess {
    fn write(&self, driver: &mut Driver) {
        driver.put_table(DESCRIPTORS, &self.ring);
        driver.put_table(TABLES, &self.indirect);
        for at in 0..0x40 {
            driver.write(DATA + 64 * at, &self.bytes);
        }
        self.heads.iter().for_each(|head| driver.offer(*head));
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    #[test]
    fn whatever_the_memory_says_each_chain_sent_comes_back(features in features(), mess in mess()) {
        let mut guest = Transmitter::new(32, features);
        mess.write(&mut guest.driver);
        let count = u16::try_from(mess.heads.len()).unwrap();
        let mut taken = 0;
        while taken < count {
            taken += guest.take().unwrap();
            let contents: usize =
                guest.burst.frames().iter().map(|frame| guest.content(frame).len()).sum();
            prop_assert!(contents <= 32 * 65_553);
            guest.settle();
            guest.queue.notify();
            guest.queue.ask_for_kick();
            guest.queue.refuse_kicks();
        }
        let heads: Vec<_> = mess.heads.iter().map(|head| u32::from(*head)).collect();
        let back: Vec<u32> = (0..count)
            .map(|slot| u32::from_le(guest.driver.map.read_obj(GuestAddress(USED + 4 + 8 * u64::from(slot))).unwrap()))
            .collect();
        prop_assert_eq!(back, heads);
        prop_assert_eq!(guest.driver.used_index(), count);
        prop_assert_eq!((guest.queue.in_flight(), guest.pool.in_use()), (0, 0));
    }

    #[test]
    fn whatever_the_memory_says_a_receive_queue_ends_each_frame(features in features(), mess in mess(), bytes in 14..9000_usize) {
        let mut guest = Receiver::new(32, features);
        mess.write(&mut guest.driver);
        for _ in 0..40 {
            // The guest may have aimed a buffer at its own indices: then this is a fault.
            let before = guest.queue.next_avail();
            let offered = guest.offer(&pattern(bytes));
            let used = guest.queue.next_avail().wrapping_sub(before);
            match offered {
                Ok(Ok(())) => prop_assert!((1..=32).contains(&used)),
                Ok(Err(DropReason::NoRxBuffer | DropReason::RxBufferTooSmall)) | Err(_) => prop_assert_eq!(used, 0),
                Ok(Err(_)) => prop_assert!((1..=32).contains(&used)),
            }
            guest.queue.publish();
            guest.queue.notify();
        }
    }
}

/// Runs `work` while another thread runs `race` over the same memory, again and again.
fn against(map: &Arc<Map>, race: impl Fn(&Map, u64) + Send + 'static, mut work: impl FnMut()) {
    let stop = Arc::new(AtomicBool::new(false));
    let racer = thread::spawn({
        let (map, stop) = (Arc::clone(map), Arc::clone(&stop));
        move || {
            let mut round = 0;
            while !stop.load(Ordering::Relaxed) {
                race(&map, round);
                round += 1;
            }
            round
        }
    });
    let end = Instant::now() + Duration::from_millis(400);
    while Instant::now() < end {
        work();
    }
    stop.store(true, Ordering::Relaxed);
    assert!(racer.join().unwrap() > 100);
}

fn put(map: &Map, index: u64, descriptor: Descriptor) {
    map.write_slice(&descriptor.to_bytes(), GuestAddress(DESCRIPTORS + 16 * index)).unwrap();
}

#[test]
fn r1_c015_a_chain_that_changes_while_it_is_read_costs_its_own_frame_at_most() {
    let mut guest = Transmitter::new(16, feature::VERSION_1 | feature::INDIRECT_DESC);
    let map = Arc::clone(&guest.driver.map);
    let race = |map: &Map, round: u64| {
        let len = [60, 60_000, u32::MAX, 0][(round % 4) as usize];
        let addr = [DATA, SEAM - 30, 0x50_0000, u64::MAX][(round / 4 % 4) as usize];
        let flags = [0, NEXT, INDIRECT, WRITE, NEXT | INDIRECT][(round % 5) as usize];
        let next = [2, 1, 16, 0xffff][(round / 3 % 4) as usize];
        put(map, 1, Descriptor { addr, len, flags, next });
        map.write_slice(&[u8::try_from(round % 256).unwrap(); 40], GuestAddress(DATA + 0x1000))
            .unwrap();
    };
    guest.driver.put(0, Descriptor::new(DATA + 0x1000, 30, NEXT, 1));
    guest.driver.put(2, Descriptor::new(DATA, 60, 0, 0));
    let mut chains = 0_u32;
    against(&map, race, || {
        guest.driver.offer(0);
        assert_eq!(guest.take(), Ok(1));
        for frame in guest.burst.frames() {
            // What was judged does not change any more: length and pieces agree.
            assert_eq!(guest.content(frame).len(), frame.bytes as usize);
        }
        assert_eq!(guest.settle(), [(0, 0)]);
        chains += 1;
    });
    assert_eq!(guest.pool.in_use(), 0);
    assert!(chains > 100);
}

#[test]
fn c015_a_receive_buffer_that_changes_while_it_is_filled_lets_no_byte_fall_beside_it() {
    let mut guest = Receiver::new(16, feature::VERSION_1);
    let map = Arc::clone(&guest.driver.map);
    let (near, far) = (DATA + 0x1000, SEAM - 50);
    // Address and length never belong together for long: 100 bytes at either place are the guest's, all else is not.
    let race = move |map: &Map, round: u64| {
        let (addr, len) = if round.is_multiple_of(2) { (near, 100) } else { (far, 72) };
        put(map, 0, Descriptor { addr, len, flags: WRITE, next: 0 });
    };
    race(&map, 0);
    against(&map, race, || {
        guest.driver.offer(0);
        assert_eq!(guest.offer(&[0xee; 60]), Ok(Ok(())));
        assert_eq!(guest.settle(), [(0, 72)]);
    });
    for (start, end) in [(DATA, near), (near + 100, far), (far + 100, SEAM + 0x1000)] {
        let bytes = guest.driver.read(start, usize::try_from(end - start).unwrap());
        assert!(bytes.iter().all(|byte| *byte == 0), "between {start:#x} and {end:#x}");
    }
}

#[test]
fn r2_c014_an_avail_index_that_changes_all_the_time_is_a_fault_or_not_and_nothing_else() {
    let mut guest = Transmitter::new(16, feature::VERSION_1);
    let map = Arc::clone(&guest.driver.map);
    guest.driver.put(0, Descriptor::new(DATA, 72, 0, 0));
    let race = |map: &Map, round: u64| {
        let index = u16::try_from(round * 7 % 65_536).unwrap();
        map.store(index.to_le(), GuestAddress(AVAIL + 2), Ordering::Release).unwrap();
    };
    against(&map, race, || {
        let _ = guest.take();
        guest.settle();
        assert_eq!(guest.queue.in_flight(), 0);
    });
}
