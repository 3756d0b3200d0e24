//! The oracle: what `virtio-queue` reads from a table, we read from it too.
//!
//! `virtio-queue` ends the walk silently where a rule is broken, so a chain counts as whole for it when the last
//! descriptor it yields has no next. We are stricter in what its iterator leaves to its user: direction, addresses, and
//! the length of a frame. A descriptor of the ring with both a table and a next, which it follows, we refuse; chains of
//! more than 1024 descriptors too. Neither is generated here.
#![cfg(test)]

mod support;

use std::sync::Arc;

use helio_types::{DropReason, MAX_FRAME_BYTES};
use helio_vring::feature;
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use support::{
    AVAIL, DATA, DATA_END, DESCRIPTORS, Descriptor, Driver, INDIRECT, Map, NEXT, Receiver, SEAM,
    TABLES, Transmitter, USED, WRITE, pattern,
};
use virtio_queue::desc::split::Descriptor as Theirs;
use virtio_queue::{Queue, QueueT};
use vm_memory::{Address, GuestAddress, GuestMemoryBackend};

const FEATURES: u64 = feature::VERSION_1 | feature::INDIRECT_DESC;
/// Where a net header without wishes lies.
const HEADER: u64 = DATA + 0x8000;

/// A table of the ring and a table for indirect descriptors.
#[derive(Clone, Debug)]
struct Tables {
    ring: Vec<Descriptor>,
    indirect: Vec<Descriptor>,
}

fn address() -> impl Strategy<Value = u64> {
    prop_oneof![
        20 => DATA..DATA + 0x1000,
        4 => SEAM - 200..SEAM + 200,
        1 => DATA_END - 300..DATA_END + 1,
        1 => Just(0x50_0000),
        1 => any::<u64>(),
    ]
}

fn length() -> impl Strategy<Value = u32> {
    prop_oneof![12 => 0..200_u32, 4 => 0..3_u32, 2 => 0..40_000_u32, 1 => any::<u32>()]
}

fn flags(direction: u16) -> impl Strategy<Value = u16> {
    let reserved = prop_oneof![8 => Just(0), 1 => (0..0x2000_u16).prop_map(|bits| bits << 3)];
    let plain = prop_oneof![
        50 => Just(direction | NEXT), 20 => Just(direction), 1 => Just(direction ^ WRITE),
    ];
    (plain, reserved).prop_map(|(plain, reserved)| plain | reserved)
}

fn descriptor(count: u16, direction: u16) -> impl Strategy<Value = Descriptor> {
    let next = prop_oneof![30 => 0..count, 1 => count..count + 2, 1 => any::<u16>()];
    (address(), length(), flags(direction), next).prop_map(|(addr, len, flags, next)| Descriptor {
        addr,
        len,
        flags,
        next,
    })
}

/// A descriptor that names the indirect table, or nearly so.
fn naming(count: u16) -> impl Strategy<Value = Descriptor> {
    let bytes = prop_oneof![
        20 => Just(16 * u32::from(count)), 2 => 0..16 * u32::from(count), 1 => any::<u32>(),
    ];
    let addr = prop_oneof![20 => Just(TABLES), 1 => Just(DESCRIPTORS), 1 => any::<u64>()];
    (addr, bytes, any::<bool>(), any::<u16>()).prop_map(|(addr, len, write, next)| Descriptor {
        addr,
        len,
        flags: INDIRECT | if write { WRITE } else { 0 },
        next,
    })
}

fn tables(direction: u16) -> impl Strategy<Value = Tables> {
    (0..=5_u32, 1..=40_u16).prop_flat_map(move |(power, count)| {
        let size = 1_u16 << power;
        let entry = prop_oneof![5 => descriptor(size, direction), 1 => naming(count)];
        let inner = prop_oneof![30 => descriptor(count, direction), 1 => naming(count)];
        (
            prop::collection::vec(entry, usize::from(size)),
            prop::collection::vec(inner, usize::from(count)),
        )
            .prop_map(|(ring, indirect)| Tables { ring, indirect })
    })
}

impl Tables {
    fn size(&self) -> u16 {
        u16::try_from(self.ring.len()).unwrap()
    }

    fn write(&self, driver: &Driver) {
        driver.put_table(DESCRIPTORS, &self.ring);
        driver.put_table(TABLES, &self.indirect);
    }

    /// The same with a net header that asks for nothing in the first buffer.
    fn with_header(mut self) -> Self {
        let first = match self.ring[0].flags & INDIRECT {
            0 => &mut self.ring[0],
            _ => &mut self.indirect[0],
        };
        if first.flags & INDIRECT == 0 {
            (first.addr, first.len) = (HEADER, 12);
        }
        self
    }
}

fn fill(driver: &Driver) {
    driver.write(DATA, &pattern(0x1000));
    driver.write(HEADER, &[0; 12]);
    driver.write(SEAM - 0x800, &pattern(0x1000));
    driver.write(DATA_END - 0x800, &pattern(0x800));
}

/// Their queue over the same ring.
fn theirs(driver: &Driver) -> Queue {
    let mut queue = Queue::new(32_768).unwrap();
    queue.set_size(driver.size);
    queue.try_set_desc_table_address(GuestAddress(DESCRIPTORS)).unwrap();
    queue.try_set_avail_ring_address(GuestAddress(AVAIL)).unwrap();
    queue.try_set_used_ring_address(GuestAddress(USED)).unwrap();
    queue.set_ready(true);
    queue
}

/// The buffers of the chain on offer, if they see all of it.
fn their_chain(queue: &mut Queue, map: &Arc<Map>) -> Option<Vec<Theirs>> {
    let chain: Vec<_> = queue.pop_descriptor_chain(Arc::clone(map)).unwrap().collect();
    chain.last().is_some_and(|last| !last.has_next()).then_some(chain)
}

/// Whether each buffer lies in memory, and an empty one at least begins there.
fn mapped(map: &Map, chain: &[Theirs]) -> bool {
    chain.iter().all(|buffer| match buffer.len() {
        0 => map.address_in_range(buffer.addr()),
        len => map.check_range(buffer.addr(), len as usize),
    })
}

fn places(chain: &[Theirs]) -> Vec<(u64, u32)> {
    chain.iter().map(|buffer| (buffer.addr().raw_value(), buffer.len())).collect()
}

fn total(chain: &[Theirs]) -> u64 {
    chain.iter().map(|buffer| u64::from(buffer.len())).sum()
}

/// The frame we must see in the chain they see.
fn expected_frame(driver: &Driver, chain: Option<Vec<Theirs>>) -> Option<Vec<u8>> {
    let chain = chain?;
    let readable = chain.iter().all(|buffer| !buffer.is_write_only());
    let long = 12 + 14..=12 + u64::from(MAX_FRAME_BYTES);
    (readable && mapped(&driver.map, &chain) && long.contains(&total(&chain)))
        .then(|| driver.gather(&places(&chain))[12..].to_vec())
}

fn transmit_agrees(tables: &Tables) -> Result<bool, TestCaseError> {
    let mut guest = Transmitter::new(tables.size(), FEATURES);
    fill(&guest.driver);
    tables.write(&guest.driver);
    guest.driver.offer(0);
    let chain = their_chain(&mut theirs(&guest.driver), &guest.driver.map);
    let expected = expected_frame(&guest.driver, chain);
    prop_assert_eq!(guest.take(), Ok(1));
    let ours = guest.burst.frames().first().map(|frame| guest.content(frame));
    prop_assert_eq!(&ours, &expected, "refused: {:?}", guest.refusals());
    prop_assert_eq!(guest.settle(), [(0, 0)]);
    prop_assert_eq!(guest.pool.in_use(), 0);
    Ok(expected.is_some())
}

fn receive_agrees(tables: &Tables, frame: &[u8]) -> Result<bool, TestCaseError> {
    let needed = u32::try_from(frame.len()).unwrap() + 12;
    let mut guest = Receiver::new(tables.size(), FEATURES);
    let mut twin = Receiver::new(tables.size(), FEATURES);
    for driver in [&mut guest.driver, &mut twin.driver] {
        fill(driver);
        tables.write(driver);
        driver.offer(0);
    }
    let mut queue = theirs(&twin.driver);
    let chain = their_chain(&mut queue, &twin.driver.map)
        .filter(|chain| chain.iter().all(Theirs::is_write_only) && mapped(&twin.driver.map, chain));
    let fits = chain.as_ref().map(|chain| total(chain) >= u64::from(needed));
    let ours = guest.offer(frame).unwrap();
    let expected = match fits {
        Some(true) => {
            let header = [&[0; 10][..], &[1, 0], frame].concat();
            twin.driver.scatter(&places(&chain.unwrap()), &header);
            queue.add_used(&*twin.driver.map, 0, needed).unwrap();
            prop_assert_eq!(ours, Ok(()));
            vec![(0, needed)]
        }
        Some(false) => {
            prop_assert_eq!(ours, Err(DropReason::RxBufferTooSmall));
            vec![]
        }
        None => {
            prop_assert!(ours.is_err());
            queue.add_used(&*twin.driver.map, 0, 0).unwrap();
            vec![(0, 0)]
        }
    };
    prop_assert_eq!(guest.settle(), expected);
    prop_assert_eq!(guest.driver.used_index(), twin.driver.used_index());
    for (start, bytes) in
        [(DATA, 0x1_0000), (SEAM - 0x1_0000, 0x2_0000), (DATA_END - 0x1000, 0x1000)]
    {
        prop_assert!(
            guest.driver.read(start, bytes) == twin.driver.read(start, bytes),
            "memory differs"
        );
    }
    Ok(fits == Some(true))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1000, ..ProptestConfig::default() })]

    #[test]
    fn a_transmit_chain_has_the_bytes_that_virtio_queue_reads(tables in tables(0)) {
        transmit_agrees(&tables.with_header())?;
    }

    #[test]
    fn a_receive_chain_has_the_places_that_virtio_queue_writes(tables in tables(WRITE), bytes in 14..3000_usize) {
        receive_agrees(&tables, &pattern(bytes))?;
    }
}

/// How many of a thousand generated tables hold a chain without a fault.
fn share_of_good(agrees: impl Fn(&Tables) -> Result<bool, TestCaseError>, direction: u16) -> usize {
    let mut runner = proptest::test_runner::TestRunner::deterministic();
    (0..1000)
        .filter(|_| {
            let tables = tables(direction).new_tree(&mut runner).unwrap().current().with_header();
            agrees(&tables).unwrap()
        })
        .count()
}

#[test]
fn the_tables_generated_are_neither_nearly_all_good_nor_nearly_all_bad() {
    let sent = share_of_good(transmit_agrees, 0);
    assert!((150..850).contains(&sent), "{sent} of 1000 transmit chains are good");
    let received = share_of_good(|tables| receive_agrees(tables, &pattern(20)), WRITE);
    assert!((150..850).contains(&received), "{received} of 1000 receive chains are good");
}
