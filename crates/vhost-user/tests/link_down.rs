//! That no queue pair carries frames any more is told when the worker has decided all that it took, whoever is the cause; and
//! never while one does.
#![cfg(test)]

mod support;

use helio_guest::{Connection, FrontEnd, GuestConfig, features};
use helio_vhost_user::{PortEvent, StateWord};
use support::lab::{Lab, PAIRS, config, ping};
use support::wait_until;

/// How often it was told of port 0.
fn told(lab: &Lab) -> usize {
    let events = lab.ports[0].events.lock().unwrap();
    events.iter().filter(|event| **event == PortEvent::LinkDown).count()
}

#[test]
fn a_guest_that_stops_is_told_before_it_hears_so_and_one_that_goes_before_its_session_has_ended() {
    let lab = Lab::new(2);
    let mut other = lab.guest(1);
    let mut guest = lab.guest(0);
    ping(&mut guest, &mut other);
    assert_eq!(told(&lab), 0);
    guest.stop().unwrap();
    let stopped = told(&lab);
    assert!(stopped > 0);
    guest.start().unwrap();
    lab.ports[0].wait_active(1);
    ping(&mut guest, &mut other);
    assert_eq!(told(&lab), stopped);
    drop(guest);
    lab.ports[0].wait_ends(1);
    assert_eq!(told(&lab), stopped + 1);
}

#[test]
fn a_front_end_that_never_ran_a_queue_has_no_link_to_lose() {
    let lab = Lab::new(1);
    let connection = Connection::connect(&lab.ports[0].socket).unwrap();
    let session = FrontEnd::open(connection, features::PLAIN, features::protocol::USUAL).unwrap();
    drop(session);
    lab.ports[0].wait_ends(1);
    assert_eq!(told(&lab), 0);
}

#[test]
fn pairs_that_are_given_up_are_not_told_while_one_is_left_and_the_last_one_is() {
    let lab = Lab::new(2);
    let mut other = lab.guest(1);
    let pairs = u16::from(PAIRS);
    let config = GuestConfig { queue_pairs: pairs, active_pairs: pairs, ..config(0) };
    let mut guest = lab.guest_with(0, config);
    guest.set_active_pairs(1).unwrap();
    lab.ports[0].wait_active(1);
    ping(&mut guest, &mut other);
    assert_eq!(told(&lab), 0);
    guest.set_active_pairs(0).unwrap();
    wait_until("the last pair is told", || told(&lab) > 0);
}

#[test]
fn memory_that_goes_and_comes_back_is_not_told_and_rings_that_stop_without_it_are() {
    let lab = Lab::new(2);
    let mut other = lab.guest(1);
    let mut guest = lab.guest(0);
    for _ in 0..10 {
        guest.session().withdraw_memory(guest.memory()).unwrap();
        lab.ports[0].wait_active(0);
        guest.session().share_memory(guest.memory()).unwrap();
        ping(&mut guest, &mut other);
    }
    guest.session().withdraw_memory(guest.memory()).unwrap();
    lab.ports[0].wait_active(0);
    assert_eq!(told(&lab), 0);
    guest.session().stop_ring(0).unwrap();
    assert_eq!(told(&lab), 1);
    drop(guest);
    lab.ports[0].wait_ends(1);
    assert_eq!(told(&lab), 1, "nothing ran since it was told");
}

#[test]
fn a_guest_that_broke_a_rule_is_told() {
    let lab = Lab::new(2);
    let mut other = lab.guest(1);
    let mut guest = lab.guest(0);
    ping(&mut guest, &mut other);
    let (area, events) = guest.driver().rings().nth(1).unwrap();
    area.set_avail_idx(area.used_idx().wrapping_add(1000));
    events.kick.signal();
    lab.ports[0].wait_word(StateWord::Faulted);
    wait_until("the fault is told", || told(&lab) > 0);
    guest.restart().unwrap();
    lab.ports[0].wait_active(1);
    ping(&mut guest, &mut other);
}

#[test]
fn while_the_worker_does_not_answer_nothing_is_told_but_that_and_its_next_answer_makes_up_for_it() {
    let lab = Lab::new(2);
    let (mut guest, mut other) = (lab.guest(0), lab.guest(1));
    ping(&mut guest, &mut other);
    guest.session().stop_ring(0).unwrap();
    assert_eq!((told(&lab), lab.ports[0].handle.active_pairs()), (1, 0));
    lab.hub.shared.pause();
    drop(guest);
    lab.ports[0].wait_ends(1);
    assert!(lab.ports[0].was_worker_silent());
    assert!(lab.ports[0].handle.state().detail.contains("does not answer"));
    assert_eq!(told(&lab), 1, "the worker may still send what it took of the other queue");
    lab.hub.shared.resume();
    wait_until("it is told", || told(&lab) == 2);
    let mut guest = lab.guest(0);
    assert_eq!(told(&lab), 2);
    ping(&mut guest, &mut other);
}
