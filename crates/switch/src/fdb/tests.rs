//! What the FDB promises to one thread, and what is left after a storm of several.

use super::*;
use helio_types::MAX_PORTS;
use std::collections::{HashMap, HashSet};

const A: MacAddr = MacAddr([2, 0, 0, 0, 0, 0xa]);
const B: MacAddr = MacAddr([2, 0, 0, 0, 0, 0xb]);
const V: VlanId = VlanId::UNTAGGED;

fn port(index: usize) -> PortId {
    PortId::new(index).unwrap()
}

fn vlan(id: u16) -> VlanId {
    VlanId::new(id).unwrap()
}

/// A unicast address for each number.
fn mac(number: u32) -> MacAddr {
    MacAddr::from_u64(0x0200_0000_0000 | u64::from(number))
}

fn fdb(capacity: usize) -> Fdb {
    Fdb::new(FdbSettings { capacity, ageing_s: 300, seed: 42 })
}

fn assert_counts_agree(fdb: &Fdb) {
    let entries = fdb.entries();
    let learned = |entry: &&FdbEntry| entry.kind == EntryKind::Learned;
    assert_eq!(entries.iter().filter(learned).count() as u64, fdb.counts().learned);
    assert_eq!(entries.iter().filter(|e| !learned(e)).count() as u64, fdb.counts().statics);
    let mut of_port = [0; MAX_PORTS];
    entries.iter().filter(learned).for_each(|entry| of_port[entry.port.index()] += 1);
    for (index, count) in of_port.into_iter().enumerate() {
        assert_eq!(count, fdb.learned_on(port(index)), "port {index}");
    }
}

#[test]
fn an_address_is_found_where_it_was_learned_and_in_its_vlan_only() {
    let fdb = fdb(64);
    assert_eq!(fdb.lookup(V, A), None);
    assert_eq!(fdb.learn(V, A, port(1)), Learned::New);
    assert_eq!(fdb.learn(V, A, port(1)), Learned::Known);
    assert_eq!(fdb.lookup(V, A), Some(port(1)));
    assert_eq!(fdb.lookup(vlan(1), A), None);
    assert_eq!(fdb.lookup(V, B), None);
}

#[test]
fn one_address_may_be_on_different_ports_in_different_vlans() {
    let fdb = fdb(64);
    fdb.learn(vlan(1), A, port(1));
    fdb.learn(vlan(2), A, port(2));
    assert_eq!((fdb.lookup(vlan(1), A), fdb.lookup(vlan(2), A)), (Some(port(1)), Some(port(2))));
}

#[test]
fn an_address_moves_with_its_port_and_the_counts_move_with_it() {
    let fdb = fdb(64);
    fdb.learn(V, A, port(1));
    assert_eq!(fdb.learn(V, A, port(2)), Learned::Moved);
    assert_eq!(fdb.lookup(V, A), Some(port(2)));
    assert_eq!((fdb.learned_on(port(1)), fdb.learned_on(port(2))), (0, 1));
    assert_eq!(fdb.counts().moves, 1);
    assert_counts_agree(&fdb);
}

/// An FDB whose epochs last a second.
fn exact_fdb() -> Fdb {
    Fdb::new(FdbSettings { capacity: 64, ageing_s: 30, seed: 42 })
}

fn pass_to(fdb: &Fdb, seconds: u32) -> usize {
    fdb.set_clock(seconds);
    fdb.age()
}

#[test]
fn an_entry_with_a_short_ageing_time_ages_one_second_after_it() {
    let fdb = exact_fdb();
    fdb.set_clock(1000);
    fdb.learn(V, A, port(1));
    assert_eq!((pass_to(&fdb, 1030), fdb.lookup(V, A)), (0, Some(port(1))));
    assert_eq!((pass_to(&fdb, 1031), fdb.lookup(V, A)), (1, None));
    assert_counts_agree(&fdb);
}

#[test]
fn an_entry_ages_after_the_ageing_time_and_within_a_step_of_it() {
    // A step of 300 s is 6 s.
    for learned_s in 0..40 {
        let fdb = fdb(64);
        (0..=learned_s).for_each(|second| assert_eq!(pass_to(&fdb, second), 0));
        fdb.learn(V, A, port(1));
        let aged_s = (learned_s..).find(|second| pass_to(&fdb, *second) == 1).unwrap();
        assert!((301..=306).contains(&(aged_s - learned_s)), "from {learned_s} to {aged_s}");
    }
}

#[test]
fn an_address_that_is_seen_again_does_not_age() {
    let fdb = fdb(64);
    for second in 0..2000 {
        fdb.set_clock(second);
        if second % 299 == 0 {
            fdb.learn(V, A, port(1));
        }
        assert_eq!(fdb.age(), 0);
    }
    assert_eq!(fdb.lookup(V, A), Some(port(1)));
}

#[test]
fn a_clock_that_jumps_ages_what_is_old_and_nothing_else() {
    for jump_s in [31, 62, 1000, 1 << 30] {
        let fdb = exact_fdb();
        fdb.learn(V, A, port(1));
        fdb.set_clock(jump_s);
        fdb.learn(V, B, port(1));
        assert_eq!((fdb.age(), fdb.lookup(V, A), fdb.lookup(V, B)), (1, None, Some(port(1))));
        assert_eq!(pass_to(&fdb, jump_s + 30), 0);
        assert_eq!(pass_to(&fdb, jump_s + 31), 1);
    }
}

#[test]
fn nothing_old_passes_for_new_when_nobody_called_for_ageing() {
    let fdb = exact_fdb();
    fdb.learn(V, A, port(1));
    // Longer than there are numbers for epochs.
    (0..500).for_each(|second| fdb.set_clock(second));
    fdb.learn(V, B, port(1));
    assert_eq!((fdb.age(), fdb.lookup(V, A), fdb.lookup(V, B)), (1, None, Some(port(1))));
    (500..530).for_each(|second| assert_eq!(pass_to(&fdb, second), 0));
    assert_eq!(pass_to(&fdb, 530), 1);
}

#[test]
fn an_ageing_time_of_zero_keeps_entries_for_ever_and_tells_ages_up_to_an_hour() {
    let fdb = Fdb::new(FdbSettings { capacity: 64, ageing_s: 0, seed: 1 });
    fdb.learn(V, A, port(1));
    for second in 0..20_000 {
        assert_eq!(pass_to(&fdb, second), 0);
        // A step of an hour is 72 s.
        let (age_s, told_s) = (second.min(3600), fdb.entries()[0].age_s);
        assert!((age_s.saturating_sub(71)..=age_s).contains(&told_s), "{told_s} at {second}");
    }
    assert_eq!((pass_to(&fdb, u32::MAX), fdb.lookup(V, A)), (0, Some(port(1))));
    fdb.learn(V, A, port(1));
    assert_eq!(fdb.entries()[0].age_s, 0);
    assert_eq!(fdb.learn(V, A, port(2)), Learned::Moved);
    assert_counts_agree(&fdb);
}

#[test]
fn a_static_entry_neither_moves_nor_ages_nor_is_flushed() {
    let fdb = fdb(64);
    fdb.add_static(V, A, port(1)).unwrap();
    assert_eq!(fdb.learn(V, A, port(2)), Learned::Static);
    assert_eq!(fdb.learn(V, A, port(1)), Learned::Known);
    fdb.set_clock(1000);
    assert_eq!(
        (fdb.age(), fdb.flush(FlushFilter::All), fdb.flush(FlushFilter::Port(port(1)))),
        (0, 0, 0)
    );
    assert_eq!(fdb.lookup(V, A), Some(port(1)));
    assert_counts_agree(&fdb);
}

#[test]
fn a_static_entry_takes_the_place_of_a_learned_one() {
    let fdb = fdb(64);
    fdb.learn(V, A, port(2));
    fdb.add_static(V, A, port(1)).unwrap();
    fdb.add_static(V, A, port(3)).unwrap();
    assert_eq!(fdb.lookup(V, A), Some(port(3)));
    assert_eq!((fdb.counts().learned, fdb.counts().statics), (0, 1));
    assert_counts_agree(&fdb);
}

#[test]
fn a_static_entry_is_removed_by_name_and_a_learned_one_is_not() {
    let fdb = fdb(64);
    fdb.add_static(V, A, port(1)).unwrap();
    fdb.learn(V, B, port(1));
    assert!(fdb.remove_static(V, A));
    assert!(!fdb.remove_static(V, A) && !fdb.remove_static(V, B));
    assert_eq!((fdb.lookup(V, A), fdb.lookup(V, B)), (None, Some(port(1))));
    assert_counts_agree(&fdb);
}

#[test]
fn a_group_address_cannot_be_pinned() {
    let refused = fdb(64).add_static(V, MacAddr::BROADCAST, port(1));
    assert_eq!(refused, Err(StaticRefused::GroupAddress));
}

#[test]
fn each_flush_removes_what_it_names() {
    let fdb = fdb(64);
    let fill = || {
        fdb.learn(vlan(1), mac(1), port(1));
        fdb.learn(vlan(2), mac(2), port(1));
        fdb.learn(vlan(2), mac(3), port(2));
        fdb.add_static(vlan(2), mac(4), port(1)).unwrap();
    };
    fill();
    assert_eq!(fdb.flush(FlushFilter::Vlan(vlan(2))), 2);
    fill();
    assert_eq!(fdb.flush(FlushFilter::Port(port(1))), 2);
    fill();
    assert_eq!(fdb.flush(FlushFilter::All), 3);
    fill();
    assert_eq!(fdb.flush(FlushFilter::RemovedPort(port(1))), 3);
    assert_eq!(fdb.entries().len(), 1);
    assert_counts_agree(&fdb);
}

#[test]
fn a_port_at_its_limit_learns_nothing_new_and_takes_nothing_over() {
    let fdb = fdb(64);
    fdb.set_limit(port(1), 2);
    assert_eq!(fdb.learn(V, mac(1), port(1)), Learned::New);
    assert_eq!(fdb.learn(V, mac(2), port(1)), Learned::New);
    assert_eq!(fdb.learn(V, mac(3), port(1)), Learned::LimitReached);
    fdb.learn(V, mac(4), port(2));
    assert_eq!(fdb.learn(V, mac(4), port(1)), Learned::LimitReached);
    assert_eq!((fdb.lookup(V, mac(3)), fdb.lookup(V, mac(4))), (None, Some(port(2))));
    assert_eq!(fdb.learn(V, mac(1), port(1)), Learned::Known, "what is known stays known");
    assert_eq!((fdb.limit_hits_on(port(1)), fdb.counts().limit_hits), (2, 2));
    assert_counts_agree(&fdb);
}

#[test]
fn a_place_under_the_limit_is_free_again_when_an_entry_is_gone() {
    let fdb = fdb(64);
    fdb.set_limit(port(1), 1);
    fdb.learn(V, mac(1), port(1));
    fdb.flush(FlushFilter::Port(port(1)));
    assert_eq!(fdb.learn(V, mac(2), port(1)), Learned::New);
    fdb.learn(V, mac(2), port(2));
    assert_eq!(fdb.learn(V, mac(3), port(1)), Learned::New);
}

#[test]
fn t46_a_guest_that_invents_addresses_fills_its_limit_and_others_keep_their_entries() {
    let fdb = fdb(4096);
    for number in 0..1000 {
        fdb.learn(V, mac(number), port(1));
    }
    for number in 1_000_000..1_200_000 {
        fdb.learn(V, mac(number), port(2));
    }
    assert_eq!(fdb.learned_on(port(2)), 1024, "the limit without a setting is a quarter");
    assert!((0..1000).all(|number| fdb.lookup(V, mac(number)) == Some(port(1))));
    assert!(fdb.limit_hits_on(port(2)) >= 200_000 - 1024);
    assert_eq!(fdb.learn(V, mac(5000), port(3)), Learned::New, "and a third port learns as before");
    assert_counts_agree(&fdb);
}

fn assert_all_find_a_place(seed: u64, macs: impl ExactSizeIterator<Item = MacAddr> + Clone) {
    let fdb = Fdb::new(FdbSettings { capacity: macs.len(), ageing_s: 300, seed });
    fdb.set_limit(port(1), u32::MAX);
    for (number, mac) in macs.clone().enumerate() {
        assert_eq!(fdb.learn(V, mac, port(1)), Learned::New, "address {number}, seed {seed}");
    }
    assert!(macs.into_iter().all(|mac| fdb.lookup(V, mac) == Some(port(1))));
    assert_counts_agree(&fdb);
}

#[test]
fn as_many_entries_as_the_capacity_find_a_place() {
    // A power of two has the fewest slots to spare.
    (0..8).for_each(|seed| assert_all_find_a_place(seed, (0..16_384).map(mac)));
    assert_all_find_a_place(20, (0..131_072).map(mac));
}

#[test]
fn addresses_in_rows_of_any_step_find_a_place() {
    for seed in 0..2 {
        for bit in 1..34 {
            let in_a_row = move |number: u32| MacAddr::from_u64(u64::from(number) << bit);
            assert_all_find_a_place(seed, (0..16_384).map(in_a_row));
        }
    }
}

#[test]
fn a_full_table_refuses_and_keeps_what_it_has() {
    let fdb = fdb(1);
    fdb.set_limit(port(1), u32::MAX);
    let learned: Vec<_> =
        (0..100_000).filter(|&number| fdb.learn(V, mac(number), port(1)) == Learned::New).collect();
    assert_eq!(learned.len(), 8 * 4096, "slots of the smallest table");
    assert_eq!(fdb.counts().table_full, 100_000 - learned.len() as u64);
    assert!(learned.iter().all(|&number| fdb.lookup(V, mac(number)) == Some(port(1))));
    assert_eq!(fdb.add_static(V, mac(1_000_000), port(1)), Err(StaticRefused::TableFull));
    assert_counts_agree(&fdb);
}

#[test]
fn the_list_names_each_entry_once_with_its_kind_and_age() {
    let fdb = exact_fdb();
    fdb.set_clock(10);
    fdb.learn(vlan(7), A, port(1));
    fdb.add_static(V, B, port(255)).unwrap();
    fdb.set_clock(15);
    let mut entries = fdb.entries();
    entries.sort_by_key(|entry| entry.mac);
    let learned =
        FdbEntry { vlan: vlan(7), mac: A, port: port(1), age_s: 5, kind: EntryKind::Learned };
    let pinned = FdbEntry { vlan: V, mac: B, port: port(255), age_s: 0, kind: EntryKind::Static };
    assert_eq!(entries, [learned, pinned]);
}

#[test]
fn the_age_in_the_list_is_less_than_a_step_too_low_and_never_too_high() {
    let fdb = fdb(64);
    for second in 0..100 {
        fdb.set_clock(second);
        fdb.learn(V, mac(second), port(1));
    }
    for entry in fdb.entries() {
        let learned_s = u32::try_from(entry.mac.to_u64() & 0xff).unwrap();
        let age_s = 99 - learned_s;
        assert!((age_s.saturating_sub(5)..=age_s).contains(&entry.age_s), "{entry:?}");
    }
}

#[test]
fn an_address_is_looked_up_and_moved_and_removed_in_either_of_its_buckets() {
    let fdb = fdb(64);
    fdb.set_limit(port(1), u32::MAX);
    let macs = neighbours(&fdb, 8);
    macs.iter().for_each(|mac| assert_eq!(fdb.learn(V, *mac, port(1)), Learned::New));
    let seconds = fdb.buckets.entries().filter(|(_, held)| held.is_in_second()).count();
    assert!(seconds >= 1, "the first bucket keeps room for itself");
    assert_eq!(
        fdb.entries().into_iter().map(|entry| entry.mac).collect::<HashSet<_>>(),
        macs.iter().copied().collect()
    );
    for mac in &macs {
        assert_eq!(fdb.lookup(V, *mac), Some(port(1)));
        assert_eq!(fdb.learn(V, *mac, port(1)), Learned::Known);
        assert_eq!(fdb.learn(V, *mac, port(2)), Learned::Moved);
        fdb.add_static(V, *mac, port(3)).unwrap();
        assert_eq!(fdb.lookup(V, *mac), Some(port(3)));
        assert!(fdb.remove_static(V, *mac));
        assert_eq!(fdb.lookup(V, *mac), None);
    }
    assert_counts_agree(&fdb);
}

/// So many addresses with the same first bucket.
fn neighbours(fdb: &Fdb, count: usize) -> Vec<MacAddr> {
    let first = |mac| fdb.address(V, mac).first;
    (0..).map(mac).filter(|mac| first(*mac) == first(A)).take(count).collect()
}

/// Addresses of the storm; address `n` is only ever learned on ports `n % 4` and `n % 4 + 4`.
const STORM_ADDRESSES: usize = 24;

fn storm_of_a_worker(fdb: &Fdb, macs: &[MacAddr], worker: u64) {
    let mut random = worker.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    for _ in 0..40_000 {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        let number = usize::try_from(random).unwrap() % STORM_ADDRESSES;
        let side = if random & 1 << 40 == 0 { 0 } else { 4 };
        fdb.learn(V, macs[number], port(number % 4 + side));
        let found = fdb.lookup(V, macs[number]);
        assert!(found.is_none_or(|port| port.index() % 4 == number % 4));
    }
}

#[test]
fn after_a_storm_of_all_threads_each_address_has_one_entry_and_the_counts_agree() {
    let fdb = fdb(32);
    let macs = &neighbours(&fdb, STORM_ADDRESSES);
    std::thread::scope(|scope| {
        for worker in 1..4 {
            scope.spawn({
                let fdb = &fdb;
                move || storm_of_a_worker(fdb, macs, worker)
            });
        }
        for second in 0..2000 {
            fdb.set_clock(second);
            fdb.flush(FlushFilter::Port(port(second as usize % 8)));
            if fdb.add_static(V, macs[3], port(3)).is_ok() {
                assert!(fdb.remove_static(V, macs[3]));
            }
            if second % 8 == 0 {
                fdb.age();
            }
        }
    });
    assert_counts_agree(&fdb);
    let mut seen = HashMap::new();
    for entry in fdb.entries() {
        assert_eq!(
            seen.insert((entry.vlan, entry.mac), entry.port),
            None,
            "{entry:?} is there twice"
        );
    }
}
