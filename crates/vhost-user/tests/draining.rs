//! A ring is stopped only when nothing of it is in flight.
#![allow(clippy::unwrap_used, reason = "tests")]

mod support;

use std::sync::atomic::Ordering;
use std::time::Duration;

use helio_guest::{Flow, Guest, GuestConfig, Numbered, features};
use support::lab::{Lab, config, ping, wait_ends};
use support::{PATIENCE, wait_until};

/// Sends frames that the hub holds: they are longer than what is copied of them when they are taken.
fn send_held(lab: &Lab, guest: &mut Guest, other: &Guest, count: u64) {
    lab.hub.shared.hold_frames();
    let flow = Flow { frame_bytes: 400, ..Flow::between(guest.mac(), other.mac()) };
    let mut frames = Numbered::new(flow);
    let mut bytes = Vec::new();
    for _ in 0..count {
        frames.write_next(&mut bytes);
        guest.send_blocking(&bytes, PATIENCE).unwrap();
    }
    wait_until("all are held", || lab.hub.shared.held.load(Ordering::SeqCst) == count);
}

/// Does something in a thread; it lasts until the hub gives the frames back.
fn waits_for_release<T: Send>(lab: &Lab, what: impl FnOnce() -> T + Send) -> T {
    std::thread::scope(|scope| {
        let thread = scope.spawn(what);
        std::thread::sleep(Duration::from_millis(100));
        assert!(!thread.is_finished(), "it did not wait for what is in flight");
        lab.hub.shared.release_frames();
        thread.join().unwrap()
    })
}

#[test]
fn c085_a_ring_stops_when_its_frames_are_given_back_and_all_are_completed() {
    let lab = Lab::new(2);
    let (mut one, mut other) = (lab.guest(0), lab.guest(1));
    send_held(&lab, &mut one, &other, 7);
    assert_eq!(one.driver().unfinished(), 7);
    let bases = waits_for_release(&lab, || one.stop().unwrap());
    assert_eq!(bases, [0, 7]);
    one.reclaim();
    assert_eq!(one.driver().unfinished(), 0);
    one.start().unwrap();
    lab.ports[0].wait_active(1);
    other.wait_received(7, PATIENCE).unwrap();
    ping(&mut one, &mut other);
}

#[test]
fn r10_c029_chains_are_completed_in_the_order_they_were_offered_also_when_given_back_in_another() {
    let features = features::VERSION_1 | features::IN_ORDER;
    for features in [features, features::VERSION_1] {
        let lab = Lab::new(2);
        let with = GuestConfig { features, ..config(0) };
        let (mut one, other) = (lab.guest_with(0, with), lab.guest(1));
        let (area, _) = one.driver().rings().nth(1).unwrap();
        let first = area.avail_idx();
        send_held(&lab, &mut one, &other, 9);
        let (area, _) = one.driver().rings().nth(1).unwrap();
        let offered: Vec<_> =
            (0..9).map(|step| area.avail_entry(first.wrapping_add(step) % area.size())).collect();
        assert_eq!(area.used_idx(), first, "nothing is given back while it is in flight");
        lab.hub.shared.release_frames();
        wait_until("all are completed", || area.used_idx() == first.wrapping_add(9));
        let completed: Vec<_> =
            (0..9).map(|step| area.used_entry(first.wrapping_add(step) % area.size()).0).collect();
        let offered: Vec<_> = offered.into_iter().map(u32::from).collect();
        assert_eq!(completed, offered);
        one.wait_all_sent(PATIENCE).unwrap();
        assert_eq!(one.faults().out_of_order, 0);
    }
}

#[test]
fn r9_c066_another_memory_table_waits_for_what_is_in_flight_and_rings_go_on() {
    let lab = Lab::new(2);
    let (mut one, mut other) = (lab.guest(0), lab.guest(1));
    send_held(&lab, &mut one, &other, 3);
    let (table, files) = (one.memory().table(), one.memory().files());
    waits_for_release(&lab, || one.session().set_memory_table(&table, &files).unwrap());
    assert_eq!(one.driver().unfinished(), 3);
    one.wait_all_sent(PATIENCE).unwrap();
    lab.ports[0].wait_active(1);
    other.wait_received(3, PATIENCE).unwrap();
    ping(&mut one, &mut other);
}

#[test]
fn a_session_ends_when_its_frames_are_given_back() {
    let lab = Lab::new(2);
    let (mut one, other) = (lab.guest(0), lab.guest(1));
    send_held(&lab, &mut one, &other, 5);
    drop(one);
    let events = std::sync::Arc::clone(&lab.ports[0].events);
    waits_for_release(&lab, || wait_ends(&events, 1));
    assert!(!lab.hub.shared.has_memory(lab.ports[0].id));
    let (mut one, mut other) = (lab.guest(0), other);
    other.wait_received(5, PATIENCE).unwrap();
    ping(&mut one, &mut other);
}

#[test]
fn a_port_is_stopped_when_its_frames_are_given_back() {
    let mut lab = Lab::new(2);
    let (mut one, other) = (lab.guest(0), lab.guest(1));
    send_held(&lab, &mut one, &other, 5);
    let mut port = lab.ports.remove(0);
    waits_for_release(&lab, || port.handle.stop());
    assert!(!port.was_worker_silent());
    assert_eq!(lab.hub.shared.watched.load(Ordering::Relaxed), 1);
}

#[test]
fn a_worker_that_stands_still_costs_patience_and_nothing_else() {
    let lab = Lab::new(2);
    let (one, other) = (lab.guest(0), lab.guest(1));
    lab.hub.shared.pause();
    drop(one);
    lab.ports[0].wait_ends(1);
    assert!(lab.ports[0].was_worker_silent());
    lab.hub.shared.resume();
    lab.ports[0].wait_active(0);
    let (mut one, mut other) = (lab.guest(0), other);
    ping(&mut one, &mut other);
}

#[test]
fn c085_not_one_byte_changes_after_a_ring_was_stopped() {
    let lab = Lab::new(2);
    let (mut one, mut other) = (lab.guest(0), lab.guest(1));
    ping(&mut one, &mut other);
    one.stop().unwrap();
    let table = one.memory().table();
    let contents = || {
        let region = table[0];
        let window = one.memory().window(region.guest_addr, region.size_bytes).unwrap();
        let mut bytes = vec![0; window.len()];
        window.read(0, &mut bytes);
        bytes
    };
    let before = contents();
    for _ in 0..50 {
        other.send_blocking(&[2; 64], PATIENCE).unwrap();
    }
    other.wait_all_sent(PATIENCE).unwrap();
    assert!(contents() == before, "memory changed");
}
