//! What the FDB promises to one thread, and what is left after a storm of several.

use super::*;
use helio_types::MAX_PORTS;
use std::collections::HashMap;

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
    for index in 0..MAX_PORTS {
        let of_port = entries.iter().filter(learned).filter(|entry| entry.port == port(index));
        assert_eq!(of_port.count(), fdb.learned_on(port(index)) as usize, "port {index}");
    }
    assert!(!fdb.buckets.slots().any(Slot::is_stuck), "a slot is neither free nor live");
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

#[test]
fn an_entry_ages_one_second_after_the_ageing_time() {
    let fdb = fdb(64);
    fdb.set_clock(1000);
    fdb.learn(V, A, port(1));
    fdb.set_clock(1300);
    assert_eq!((fdb.age(), fdb.lookup(V, A)), (0, Some(port(1))));
    fdb.set_clock(1301);
    assert_eq!((fdb.age(), fdb.lookup(V, A)), (1, None));
    assert_counts_agree(&fdb);
}

#[test]
fn an_address_that_is_seen_again_does_not_age() {
    let fdb = fdb(64);
    fdb.learn(V, A, port(1));
    fdb.set_clock(300);
    fdb.learn(V, A, port(1));
    fdb.set_clock(600);
    assert_eq!(fdb.age(), 0);
    assert_eq!(fdb.entries()[0].age_s, 300);
}

#[test]
fn an_ageing_time_of_zero_keeps_entries_for_ever() {
    let fdb = Fdb::new(FdbSettings { capacity: 64, ageing_s: 0, seed: 1 });
    fdb.learn(V, A, port(1));
    fdb.set_clock(u32::MAX);
    assert_eq!((fdb.age(), fdb.lookup(V, A)), (0, Some(port(1))));
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

#[test]
fn as_many_entries_as_the_capacity_find_a_place() {
    let fdb = fdb(16_384);
    fdb.set_limit(port(1), u32::MAX);
    assert!((0..16_384).all(|number| fdb.learn(V, mac(number), port(1)) == Learned::New));
    assert!((0..16_384).all(|number| fdb.lookup(V, mac(number)) == Some(port(1))));
    assert_counts_agree(&fdb);
}

#[test]
fn a_full_table_refuses_and_keeps_what_it_has() {
    let fdb = fdb(1);
    fdb.set_limit(port(1), u32::MAX);
    let learned: Vec<_> =
        (0..100).filter(|&number| fdb.learn(V, mac(number), port(1)) == Learned::New).collect();
    assert!(learned.len() <= 8 && learned.len() >= 4, "{} slots of two buckets", learned.len());
    assert_eq!(fdb.counts().table_full, 100 - learned.len() as u64);
    assert!(learned.iter().all(|&number| fdb.lookup(V, mac(number)) == Some(port(1))));
    assert_eq!(fdb.add_static(V, mac(1000), port(1)), Err(StaticRefused::TableFull));
    assert_counts_agree(&fdb);
}

#[test]
fn the_list_names_each_entry_once_with_its_kind_and_age() {
    let fdb = fdb(64);
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

/// Addresses of the storm; address `n` is only ever learned on ports `n % 4` and `n % 4 + 4`.
const STORM_ADDRESSES: u32 = 24;

fn storm_of_a_worker(fdb: &Fdb, worker: u64) {
    let mut random = worker.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    for _ in 0..40_000 {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        let number = u32::try_from(random % u64::from(STORM_ADDRESSES)).unwrap();
        let side = if random & 1 << 40 == 0 { 0 } else { 4 };
        fdb.learn(V, mac(number), port(number as usize % 4 + side));
        let found = fdb.lookup(V, mac(number));
        assert!(found.is_none_or(|port| port.index() % 4 == number as usize % 4));
    }
}

#[test]
fn after_a_storm_of_all_threads_each_address_has_one_entry_and_the_counts_agree() {
    // Small enough that keys meet in slots, large enough that they find one.
    let fdb = fdb(32);
    std::thread::scope(|scope| {
        for worker in 1..4 {
            scope.spawn({
                let fdb = &fdb;
                move || storm_of_a_worker(fdb, worker)
            });
        }
        for second in 0..2000 {
            fdb.set_clock(second);
            fdb.flush(FlushFilter::Port(port(second as usize % 8)));
            fdb.add_static(V, mac(3), port(3)).unwrap();
            fdb.remove_static(V, mac(3));
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
