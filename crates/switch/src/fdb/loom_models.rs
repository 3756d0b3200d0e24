//! All interleavings of a few calls on a table of two buckets, each of two slots.
//!
//! Run by `RUSTFLAGS="--cfg loom" cargo test -p helio-switch --release loom`.

use super::epochs::Stamp;
use super::*;
use loom::sync::Arc;
use loom::thread;
use std::sync::atomic::AtomicUsize;

const A: MacAddr = MacAddr([2, 0, 0, 0, 0, 0xa]);
const B: MacAddr = MacAddr([2, 0, 0, 0, 0, 0xb]);
const V: VlanId = VlanId::UNTAGGED;

fn port(index: usize) -> PortId {
    PortId::new(index).unwrap()
}

/// Runs `body` with its few threads in all interleavings with up to four preemptions, and checks the FDB after each.
fn model(body: impl Fn(&Arc<Fdb>) + Send + Sync + 'static) {
    model_with(4, body);
}

/// As [`model`], for more threads with fewer preemptions.
fn model_with(preemptions: usize, body: impl Fn(&Arc<Fdb>) + Send + Sync + 'static) {
    let runs = std::sync::Arc::new(AtomicUsize::new(0));
    let counted = runs.clone();
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(preemptions);
    builder.check(move || {
        counted.fetch_add(1, Ordering::Relaxed);
        let fdb = Arc::new(Fdb::new(FdbSettings { capacity: 1, ageing_s: 300, seed: 1 }));
        (0..3).for_each(|index| fdb.set_limit(port(index), 10));
        body(&fdb);
        assert_sound(&fdb);
    });
    // The model checker would say nothing if it saw no race and ran the model once.
    assert!(runs.load(Ordering::Relaxed) > 200, "only {runs:?} interleavings");
}

fn worker(fdb: &Arc<Fdb>, body: impl FnOnce(&Fdb) + 'static) -> thread::JoinHandle<()> {
    let fdb = Arc::clone(fdb);
    thread::spawn(move || body(&fdb))
}

fn entries_of(fdb: &Fdb, mac: MacAddr) -> Vec<FdbEntry> {
    fdb.entries().into_iter().filter(|entry| entry.mac == mac).collect()
}

fn assert_sound(fdb: &Fdb) {
    let entries = fdb.entries();
    let learned = |entry: &&FdbEntry| entry.kind == EntryKind::Learned;
    assert_eq!(entries.iter().filter(|e| !learned(e)).count() as u64, fdb.counts().statics);
    for index in 0..3 {
        let of_port = entries.iter().filter(learned).filter(|entry| entry.port == port(index));
        assert_eq!(of_port.count(), fdb.learned_on(port(index)) as usize);
    }
}

#[test]
fn two_workers_that_learn_one_new_address_leave_one_entry() {
    model(|fdb| {
        let other = worker(fdb, |fdb| {
            fdb.learn(V, A, port(1));
        });
        fdb.learn(V, A, port(0));
        other.join().unwrap();
        assert_eq!(entries_of(fdb, A).len(), 1);
    });
}

#[test]
fn a_flush_beside_a_worker_that_moves_an_address_leaves_at_most_one_entry() {
    model(|fdb| {
        fdb.learn(V, A, port(0));
        let other = worker(fdb, |fdb| {
            fdb.flush(FlushFilter::Port(port(0)));
        });
        fdb.learn(V, A, port(1));
        other.join().unwrap();
        assert!(entries_of(fdb, A).len() <= 1);
    });
}

#[test]
fn an_address_that_is_seen_while_it_ages_is_there_afterwards() {
    model(|fdb| {
        fdb.learn(V, A, port(0));
        fdb.set_clock(301);
        let other = worker(fdb, |fdb| {
            fdb.age();
        });
        fdb.learn(V, A, port(0));
        other.join().unwrap();
        assert_eq!(entries_of(fdb, A).len(), 1);
    });
}

#[test]
fn an_address_that_moves_while_it_ages_is_there_afterwards() {
    model(|fdb| {
        fdb.learn(V, A, port(0));
        fdb.set_clock(301);
        let other = worker(fdb, |fdb| {
            fdb.age();
        });
        fdb.learn(V, A, port(1));
        other.join().unwrap();
        assert_eq!(fdb.lookup(V, A), Some(port(1)));
    });
}

#[test]
fn an_address_that_is_seen_while_time_goes_on_does_not_age_before_its_time() {
    model(|fdb| {
        fdb.learn(V, A, port(0));
        fdb.set_clock(200);
        let other = worker(fdb, |fdb| {
            fdb.learn(V, A, port(0));
        });
        fdb.set_clock(301);
        fdb.age();
        other.join().unwrap();
        fdb.set_clock(500);
        fdb.age();
        assert_eq!(fdb.lookup(V, A), Some(port(0)));
    });
}

#[test]
fn the_list_knows_the_epoch_of_each_entry_it_sees() {
    model_with(3, |fdb| {
        let other = worker(fdb, |fdb| {
            fdb.learn(V, A, port(0));
        });
        let lister = worker(fdb, |fdb| {
            let stamps = fdb.buckets.entries().map(|(_, held)| held.value.stamp());
            let present = Stamp::of_epoch(1);
            // What was seen in the epoch that begins at 1000 s cannot seem to have ended at 0 s.
            stamps
                .filter(|stamp| *stamp == present)
                .for_each(|stamp| assert_eq!(fdb.epochs.age_s(stamp), 0));
        });
        fdb.set_clock(1000);
        other.join().unwrap();
        lister.join().unwrap();
    });
}

#[test]
fn a_slot_that_is_freed_and_taken_again_gives_each_entry_back_once() {
    model(|fdb| {
        let rival = rival_of_a(fdb);
        fdb.learn(V, A, port(0));
        // The entry that the flush has looked at goes, and one of another address, or an equal one, takes its slot.
        let other = worker(fdb, move |fdb| {
            fdb.flush(FlushFilter::Port(port(0)));
            fdb.learn(V, rival, port(1));
            fdb.learn(V, A, port(0));
        });
        fdb.flush(FlushFilter::Port(port(0)));
        other.join().unwrap();
        assert_eq!(fdb.lookup(V, rival), Some(port(1)));
        assert!(entries_of(fdb, A).len() <= 1);
    });
}

#[test]
fn three_workers_that_learn_one_new_address_leave_one_entry() {
    model_with(2, |fdb| {
        let one = worker(fdb, |fdb| {
            fdb.learn(V, A, port(1));
        });
        let other = worker(fdb, |fdb| {
            fdb.learn(V, A, port(2));
        });
        fdb.learn(V, A, port(0));
        one.join().unwrap();
        other.join().unwrap();
        assert_eq!(entries_of(fdb, A).len(), 1);
    });
}

/// An address that takes the same slot as [`A`] in an empty table.
fn rival_of_a(fdb: &Fdb) -> MacAddr {
    (0..64)
        .map(|number| MacAddr([2, 0, 0, 0, 1, number]))
        .find(|mac| fdb.address(V, *mac).first == fdb.address(V, A).first)
        .unwrap()
}

#[test]
fn two_workers_that_put_an_address_into_different_buckets_leave_one_entry() {
    model_with(2, |fdb| {
        let rival = rival_of_a(fdb);
        fdb.learn(V, rival, port(2));
        // While the rival is there, A goes into its second bucket; then into the first.
        let other = worker(fdb, |fdb| {
            fdb.learn(V, A, port(1));
        });
        fdb.flush(FlushFilter::Port(port(2)));
        fdb.learn(V, A, port(0));
        other.join().unwrap();
        assert_eq!(entries_of(fdb, A).len(), 1);
    });
}

#[test]
fn a_lookup_never_finds_the_port_of_another_address() {
    model(|fdb| {
        let rival = rival_of_a(fdb);
        fdb.learn(V, A, port(0));
        // The slot is freed, taken by the rival, freed, and taken by A again.
        let other = worker(fdb, move |fdb| {
            fdb.flush(FlushFilter::All);
            fdb.learn(V, rival, port(1));
            fdb.flush(FlushFilter::All);
            fdb.learn(V, A, port(0));
        });
        assert_ne!(fdb.lookup(V, A), Some(port(1)));
        other.join().unwrap();
        assert_eq!(fdb.lookup(V, A), Some(port(0)));
    });
}

#[test]
fn a_worker_that_learns_an_address_while_it_is_pinned_leaves_the_static_entry() {
    model(|fdb| {
        let other = worker(fdb, |fdb| {
            fdb.learn(V, A, port(1));
        });
        fdb.add_static(V, A, port(0)).unwrap();
        other.join().unwrap();
        assert_eq!(fdb.lookup(V, A), Some(port(0)));
        assert_eq!(entries_of(fdb, A).len(), 1);
    });
}

#[test]
fn two_workers_at_the_limit_of_a_port_do_not_pass_it() {
    model(|fdb| {
        fdb.set_limit(port(0), 1);
        let other = worker(fdb, |fdb| {
            fdb.learn(V, A, port(0));
        });
        fdb.learn(V, B, port(0));
        other.join().unwrap();
        assert_eq!(fdb.learned_on(port(0)), 1);
    });
}

#[test]
fn two_workers_that_see_a_known_address_elsewhere_leave_one_entry() {
    model(|fdb| {
        fdb.learn(V, A, port(0));
        let other = worker(fdb, |fdb| {
            fdb.learn(V, A, port(1));
        });
        fdb.learn(V, A, port(2));
        other.join().unwrap();
        assert_eq!(entries_of(fdb, A).len(), 1);
        assert_ne!(fdb.lookup(V, A), Some(port(0)));
    });
}

#[test]
fn a_flush_beside_two_workers_that_learn_leaves_at_most_one_entry() {
    model_with(3, |fdb| {
        let one = worker(fdb, |fdb| {
            fdb.learn(V, A, port(1));
        });
        let other = worker(fdb, |fdb| {
            fdb.learn(V, A, port(2));
        });
        fdb.flush(FlushFilter::All);
        one.join().unwrap();
        other.join().unwrap();
        assert!(entries_of(fdb, A).len() <= 1);
    });
}
