//! The driver side of a ring against a device of a few lines that works on the raw bytes.

use proptest::prelude::*;

use super::*;
use crate::memory::MemoryLayout;

const MODES: [RingMode; 4] = [
    RingMode { event_idx: false, in_order: false, indirect_entries: 8 },
    RingMode { event_idx: true, in_order: false, indirect_entries: 8 },
    RingMode { event_idx: false, in_order: true, indirect_entries: 8 },
    RingMode { event_idx: true, in_order: true, indirect_entries: 8 },
];

fn ring(size: u16, mode: RingMode) -> SplitRing {
    let plans = MemoryLayout::Fitting.plans(SplitRing::needed_bytes(size, mode));
    SplitRing::new(&GuestMemory::new(&plans).unwrap(), size, mode).unwrap()
}

fn buffers(count: u32) -> Vec<Buffer> {
    let buffer =
        |n: u32| Buffer { addr: u64::from(n) << 12, len: n, access: BufferAccess::Readable };
    (1..=count).map(buffer).collect()
}

/// Takes all published heads, as a device that has seen `seen` of them before.
fn device_takes(area: &RingArea, seen: &mut u16) -> Vec<u16> {
    let mut heads = Vec::new();
    while *seen != area.avail_idx() {
        heads.push(area.avail_entry(*seen % area.size()));
        *seen = seen.wrapping_add(1);
    }
    heads
}

fn device_completes(area: &RingArea, head: u16, len: u32) {
    let idx = area.used_idx();
    area.set_used_entry(idx % area.size(), u32::from(head), len);
    area.set_used_idx(idx.wrapping_add(1));
}

/// Buffers of a chain as a device finds them.
fn device_walks(memory: &Arc<GuestMemory>, area: &RingArea, head: u16) -> Vec<(u64, u32)> {
    let first = area.descriptor(head);
    let (table, mut index) = if first.flags & descriptor_flags::INDIRECT == 0 {
        (memory.window(area.place().table, 16 * u64::from(area.size())).unwrap(), head)
    } else {
        (memory.window(first.addr, u64::from(first.len)).unwrap(), 0)
    };
    let mut found = Vec::new();
    loop {
        let at = usize::from(index) * 16;
        let len = table.load_u32(at + 8, Ordering::Relaxed);
        found.push((table.load_u64(at, Ordering::Relaxed), len));
        if table.load_u16(at + 12, Ordering::Relaxed) & descriptor_flags::NEXT == 0 {
            return found;
        }
        index = table.load_u16(at + 14, Ordering::Relaxed);
    }
}

#[test]
fn a_device_finds_the_buffers_that_were_added_in_order() {
    for mode in MODES {
        for form in [ChainForm::Direct, ChainForm::Indirect] {
            let mut ring = ring(8, mode);
            let memory = Arc::clone(ring.area().memory());
            for count in [1, 3, 2] {
                let head = ring.add(&buffers(count), form, 0).unwrap();
                let expected: Vec<_> = buffers(count).iter().map(|b| (b.addr, b.len)).collect();
                assert_eq!(device_walks(&memory, ring.area(), head), expected);
            }
        }
    }
}

#[test]
fn a_chain_is_seen_when_it_is_published_and_not_before() {
    let mut ring = ring(4, MODES[0]);
    ring.add(&buffers(1), ChainForm::Direct, 0).unwrap();
    assert_eq!(ring.area().avail_idx(), 0);
    ring.publish();
    assert_eq!(ring.area().avail_idx(), 1);
}

#[test]
fn a_full_ring_takes_no_chain_and_one_chain_fewer_fits() {
    let mut ring = ring(4, MODES[0]);
    assert_eq!(ring.add(&buffers(5), ChainForm::Direct, 0), Err(RingFull));
    assert!(ring.add(&buffers(4), ChainForm::Direct, 0).is_ok());
    assert_eq!(ring.add(&buffers(1), ChainForm::Indirect, 0), Err(RingFull));
    assert_eq!(ring.add(&[], ChainForm::Direct, 0), Err(RingFull));
}

#[test]
fn an_indirect_chain_is_as_long_as_its_table_and_not_longer() {
    let mut ring = ring(4, MODES[0]);
    assert!(ring.add(&buffers(8), ChainForm::Indirect, 0).is_ok());
    assert_eq!(ring.add(&buffers(9), ChainForm::Indirect, 0), Err(RingFull));
    assert_eq!(ring.free_descriptors(), 3);
}

#[test]
fn a_kick_is_wanted_as_the_back_end_says() {
    let mut by_flag = ring(4, MODES[0]);
    by_flag.add(&buffers(1), ChainForm::Direct, 0).unwrap();
    assert!(by_flag.publish());
    assert!(!by_flag.publish(), "nothing new to tell");
    by_flag.area().set_used_flags(USED_NO_NOTIFY);
    by_flag.add(&buffers(1), ChainForm::Direct, 0).unwrap();
    assert!(!by_flag.publish());

    let mut by_index = ring(4, MODES[1]);
    by_index.area().set_avail_event(1);
    by_index.add(&buffers(1), ChainForm::Direct, 0).unwrap();
    assert!(!by_index.publish(), "the back-end waits for the second chain");
    by_index.add(&buffers(1), ChainForm::Direct, 0).unwrap();
    assert!(by_index.publish());
    by_index.add(&buffers(1), ChainForm::Direct, 0).unwrap();
    assert!(!by_index.publish(), "it did not ask again");
}

#[test]
fn calls_are_asked_for_by_flag_or_by_index() {
    let mut by_flag = ring(4, MODES[0]);
    assert_eq!(by_flag.area().avail_flags(), AVAIL_NO_INTERRUPT);
    by_flag.set_calls(Calls::Wanted);
    assert_eq!(by_flag.area().avail_flags(), 0);
    let mut by_index = ring(4, MODES[1]);
    assert_eq!(by_index.area().used_event(), u16::MAX);
    by_index.set_calls(Calls::Wanted);
    assert_eq!((by_index.area().used_event(), by_index.area().avail_flags()), (0, 0));
}

#[test]
fn a_head_that_was_not_offered_and_one_completed_twice_are_faults() {
    let mut ring = ring(4, MODES[0]);
    for _ in 0..3 {
        ring.add(&buffers(1), ChainForm::Direct, 7).unwrap();
    }
    ring.publish();
    device_completes(ring.area(), 0, 5);
    device_completes(ring.area(), 0, 5);
    device_completes(ring.area(), 9, 5);
    assert_eq!(ring.take_used(), Some(Used { token: 7, written: Some(5) }));
    assert_eq!(ring.take_used(), None);
    assert_eq!(ring.faults().unknown_head, 2);
}

#[test]
fn a_used_index_beyond_what_was_offered_stops_the_ring() {
    let mut ring = ring(4, MODES[0]);
    ring.add(&buffers(1), ChainForm::Direct, 0).unwrap();
    ring.publish();
    ring.area().set_used_idx(2);
    assert_eq!(ring.take_used(), None);
    assert_eq!(ring.take_used(), None);
    assert_eq!(ring.faults().used_idx_jump, 1);
}

#[test]
fn heads_without_chains_come_back_without_a_fault() {
    let mut ring = ring(4, MODES[0]);
    ring.offer_raw(60_000);
    ring.publish();
    assert_eq!(ring.area().avail_entry(0), 60_000);
    device_completes(ring.area(), 60_000, 0);
    assert_eq!(ring.take_used(), None);
    assert_eq!((ring.raw_returned(), ring.faults().total()), (1, 0));
}

#[test]
fn in_order_one_entry_completes_all_chains_up_to_its_head() {
    let mut ring = ring(8, MODES[2]);
    let heads: Vec<u16> =
        (0..5).map(|token| ring.add(&buffers(1), ChainForm::Direct, token).unwrap()).collect();
    ring.publish();
    ring.area().set_used_entry(0, u32::from(heads[2]), 9);
    ring.area().set_used_idx(3);
    let taken: Vec<Used> = std::iter::from_fn(|| ring.take_used()).collect();
    let whole = |token| Used { token, written: None };
    assert_eq!(taken, [whole(0), whole(1), Used { token: 2, written: Some(9) }]);
    assert_eq!(ring.faults().total(), 0);
    assert_eq!(ring.outstanding(), 2);
}

#[test]
fn in_order_a_chain_before_an_older_one_is_a_fault() {
    let mut ring = ring(8, MODES[2]);
    let heads: Vec<u16> =
        (0..2).map(|token| ring.add(&buffers(1), ChainForm::Direct, token).unwrap()).collect();
    ring.publish();
    device_completes(ring.area(), heads[1], 0);
    while ring.take_used().is_some() {}
    assert_eq!(ring.faults().out_of_order, 1);
}

#[test]
fn in_order_descriptors_are_used_in_ring_order() {
    let mut ring = ring(4, MODES[2]);
    let mut seen = 0;
    let mut all = Vec::new();
    for token in 0..10 {
        ring.add(&buffers(1), ChainForm::Direct, token).unwrap();
        ring.publish();
        for head in device_takes(ring.area(), &mut seen) {
            all.push(head);
            device_completes(ring.area(), head, 0);
        }
        assert!(ring.take_used().is_some());
    }
    assert_eq!(all, [0, 1, 2, 3, 0, 1, 2, 3, 0, 1]);
}

#[test]
fn after_a_reset_the_ring_is_as_new() {
    let mut ring = ring(4, MODES[1]);
    ring.add(&buffers(3), ChainForm::Direct, 0).unwrap();
    ring.publish();
    ring.area().set_used_idx(77);
    assert_eq!(ring.take_used(), None);
    ring.reset();
    assert_eq!((ring.free_descriptors(), ring.outstanding(), ring.area().avail_idx()), (4, 0, 0));
    assert!(ring.add(&buffers(4), ChainForm::Direct, 0).is_ok());
}

#[test]
fn a_size_that_is_no_power_of_two_is_refused() {
    let memory = GuestMemory::new(&MemoryLayout::Fitting.plans(65_536)).unwrap();
    for size in [0, 3, 100] {
        assert!(SplitRing::new(&memory, size, RingMode::default()).is_err(), "size {size}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn every_chain_comes_back_once_whatever_the_order_and_past_the_wrap(
        mode in 0_usize..4,
        steps in proptest::collection::vec((1_u32..4, any::<bool>(), any::<u8>()), 200..400),
    ) {
        let mode = MODES[mode];
        let mut ring = ring(16, mode);
        // Begin near the end of the index space, as after 65,500 chains.
        ring.start_at_index(65_500);
        let mut seen = 65_500;
        let mut held: Vec<u16> = Vec::new();
        let (mut added, mut taken) = (0_u32, Vec::new());
        for (count, indirect, pick) in steps {
            let form = if indirect { ChainForm::Indirect } else { ChainForm::Direct };
            if ring.add(&buffers(count), form, added).is_ok() {
                added += 1;
            }
            ring.publish();
            held.extend(device_takes(ring.area(), &mut seen));
            if pick % 3 != 0 && !held.is_empty() {
                let at = if mode.in_order { 0 } else { usize::from(pick) % held.len() };
                device_completes(ring.area(), held.remove(at), 0);
            }
            taken.extend(std::iter::from_fn(|| ring.take_used()).map(|used| used.token));
        }
        for head in held.drain(..) {
            device_completes(ring.area(), head, 0);
        }
        taken.extend(std::iter::from_fn(|| ring.take_used()).map(|used| used.token));
        if mode.in_order {
            prop_assert!(taken.is_sorted());
        }
        taken.sort_unstable();
        prop_assert_eq!(taken, (0..added).collect::<Vec<_>>());
        prop_assert_eq!(ring.free_descriptors(), 16);
        prop_assert_eq!(*ring.faults(), Faults::default());
    }
}

impl SplitRing {
    /// As if `index` chains had been offered and had come back.
    fn start_at_index(&mut self, index: u16) {
        (self.avail_idx, self.published, self.last_used, self.seen_used) =
            (index, index, index, index);
        self.area.set_avail_idx(index);
        self.area.set_used_idx(index);
    }
}
