//! Ports, front-ends and queue pairs that come and go while a pair on other ports exchanges frames and loses none of
//! them, and what is left afterwards: nothing.
#![allow(clippy::unwrap_used, reason = "tests")]

mod support;

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use helio_api::PortState;
use helio_guest::{Connection, Flow, Guest, GuestConfig, Listener, Numbered};
use serde_json::json;

use support::lane::{FRAME_BYTES, ping};
use support::pair::{Pair, VLAN};
use support::process::{guest_mappings, open_files, port_threads, resident_bytes};
use support::switch::{Placement, Plan, TestSwitch};
use support::{PATIENCE, wait_until};

/// The pair, and ports for those that come and go.
fn start(placement: Placement) -> (TestSwitch, Pair) {
    let plan = Plan::new(placement).port("columbia", VLAN).port("crusader", VLAN);
    let switch = plan.port("guest", "").port("peer", "").start();
    let pair = Pair::start(switch.guest("columbia"), switch.guest("crusader"));
    (switch, pair)
}

/// What this process holds now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Held {
    files: usize,
    guest_mappings: usize,
    threads: usize,
}

fn held() -> Held {
    Held { files: open_files(), guest_mappings: guest_mappings(), threads: port_threads() }
}

/// Waits until no more is held than before.
#[track_caller]
fn assert_nothing_left(before: Held) {
    wait_until(&format!("no more is held than {before:?}"), || {
        let now = held();
        now.files <= before.files
            && now.guest_mappings <= before.guest_mappings
            && now.threads <= before.threads
    });
}

#[test]
fn c077_ports_are_added_and_removed_by_two_clients_at_once() {
    for placement in [Placement::OneWorker, Placement::Alternating] {
        let (switch, pair) = start(placement);
        add_and_remove(&switch, 0, 1);
        let before = held();
        std::thread::scope(|scope| {
            for client in 0..2 {
                let switch = &switch;
                scope.spawn(move || add_and_remove(switch, client, 50));
            }
        });
        let names: Vec<_> = switch.control().ports().into_iter().map(|port| port.name).collect();
        assert_eq!(names, ["columbia", "crusader", "guest", "peer"]);
        assert_nothing_left(before);
        pair.go_on();
        pair.end();
    }
}

/// Adds a port of its own and one that the other client adds too, uses one that came to be, and removes both.
fn add_and_remove(switch: &TestSwitch, client: usize, rounds: usize) {
    let mut control = switch.control();
    for round in 0..rounds {
        let own = format!("own-{client}");
        for name in [own.as_str(), "contested"] {
            let port =
                json!({ "name": name, "socket": switch.socket(name), "mirroring": "source" });
            let answer = control.request("POST", "/v1/ports", &port.to_string());
            let expected: &[u16] = if name == own { &[201] } else { &[201, 409] };
            assert!(expected.contains(&answer.status), "{name}: {}", answer.body);
        }
        let config = GuestConfig::with_mac([0x52, 0x54, 0, 0, 1, u8::try_from(client).unwrap()]);
        let mut guest = Guest::connect(&switch.socket(&own), config).unwrap();
        guest.start().unwrap();
        let mut frame = Vec::new();
        Numbered::new(Flow::between(guest.mac(), switch.mac("guest"))).write_next(&mut frame);
        for _ in 0..20 {
            guest.send_blocking(&frame, PATIENCE).unwrap();
        }
        if round % 2 == 0 {
            // The port goes with frames under way and its guest connected.
            let answer = control.request("DELETE", &format!("/v1/ports/{own}"), "");
            assert_eq!(answer.status, 204, "{}", answer.body);
            wait_until("the connection is closed", || guest.is_disconnected());
        } else {
            drop(guest);
            let answer = control.request("DELETE", &format!("/v1/ports/{own}"), "");
            assert_eq!(answer.status, 204, "{}", answer.body);
        }
        let status = control.request("DELETE", "/v1/ports/contested", "").status;
        assert!([204, 404].contains(&status), "{status}");
    }
}

#[test]
fn c077_a_port_is_removed_while_frames_flow_to_and_from_it() {
    for placement in [Placement::OneWorker, Placement::Alternating] {
        let (switch, pair) = start(placement);
        for _ in 0..20 {
            let traffic = Pair::start(switch.guest("guest"), switch.guest("peer"));
            let mut control = switch.control();
            let answer = control.request("DELETE", "/v1/ports/peer", "");
            assert_eq!(answer.status, 204, "{}", answer.body);
            drop(traffic.abandon());
            let mac = "52:54:00:00:00:04";
            let port =
                json!({ "name": "peer", "socket": switch.socket("peer"), "static_mac": [mac] });
            let answer = control.request("POST", "/v1/ports", &port.to_string());
            assert_eq!(answer.status, 201, "{}", answer.body);
            switch.wait_state("guest", PortState::Waiting);
        }
        pair.end();
    }
}

#[test]
fn c071_two_hundred_front_ends_come_and_break_off_under_load_and_leave_nothing() {
    let (switch, pair) = start(Placement::OneWorker);
    let mut peer = switch.guest("peer");
    let round = |peer: &mut Guest, number: usize| {
        let mut guest = switch.guest("guest");
        let flow = Flow { frame_bytes: FRAME_BYTES, ..Flow::between(guest.mac(), peer.mac()) };
        let mut frame = Vec::new();
        let mut numbered = Numbered::new(flow);
        for _ in 0..number % 64 {
            numbered.write_next(&mut frame);
            guest.send(&frame).unwrap();
        }
        guest.kick();
        // Gone with what it sent still on its way, at times.
        drop(guest);
        peer.poll_once(|_, _, _| ());
        switch.wait_state("guest", PortState::Waiting);
    };
    for number in 0..20 {
        round(&mut peer, number);
    }
    let (before, resident) = (held(), resident_bytes());
    for number in 0..200 {
        round(&mut peer, number);
    }
    assert_nothing_left(before);
    let grown = resident_bytes().saturating_sub(resident);
    // One guest alone has more than a MiB: not even every tenth was kept.
    assert!(grown < 16 << 20, "the process grew by {grown} bytes");
    pair.go_on();
    pair.end();
}

#[test]
fn c072_in_client_mode_the_switch_finds_a_front_end_that_comes_late_and_comes_back() {
    let plan = Plan::new(Placement::OneWorker).port("columbia", VLAN).port("crusader", VLAN);
    let switch = plan.port("guest", "mode = \"client\"").port("peer", "").start();
    let pair = Pair::start(switch.guest("columbia"), switch.guest("crusader"));
    let mut peer = switch.guest("peer");
    let path = switch.socket("guest");
    for _ in 0..5 {
        switch.wait_detail("guest", "connecting to");
        let listener = Listener::bind(&path).unwrap();
        let mut guest = listener.accept(switch.guest_config("guest"), PATIENCE).unwrap();
        guest.start().unwrap();
        switch.wait_state("guest", PortState::Up);
        ping(&mut guest, &mut peer, 100);
        // Both the front-end and its socket are gone.
        drop((guest, listener));
    }
    pair.go_on();
    pair.end();
}

#[test]
fn c072_c073_a_front_end_that_lost_its_connection_goes_on_where_it_stood() {
    let (switch, pair) = start(Placement::OneWorker);
    let (mut guest, mut peer) = (switch.guest("guest"), switch.guest("peer"));
    let path = switch.socket("guest");
    let mut numbered = Numbered::new(Flow::between(guest.mac(), peer.mac()));
    let mut ledger = helio_guest::Ledger::new();
    let mut frame = Vec::new();
    for _ in 0..30 {
        for _ in 0..50 {
            numbered.write_next(&mut frame);
            guest.send(&frame).unwrap();
        }
        guest.kick();
        // Cut in the middle: what was not completed is offered again.
        let old = std::os::fd::AsFd::as_fd(guest.session().connection());
        rustix::net::shutdown(old, rustix::net::Shutdown::Both).unwrap();
        switch.wait_state("guest", PortState::Waiting);
        guest.resume(Connection::connect(&path).unwrap()).unwrap();
        guest.wait_all_sent(PATIENCE).unwrap();
        peer.poll_once(|_, _, frame| {
            ledger.record(frame);
        });
    }
    wait_until("all have arrived", || {
        peer.poll_once(|_, _, frame| {
            ledger.record(frame);
        });
        ledger.received() == numbered.next()
    });
    let tally = ledger.from(numbered.flow().sender);
    assert!(tally.is_complete(30 * 50), "{} twice, {} late", tally.duplicates, tally.reordered);
    assert_eq!((guest.faults().total(), peer.faults().total()), (0, 0));
    pair.end();
}

#[test]
fn c075_a_driver_that_is_loaded_again_goes_on() {
    for placement in [Placement::OneWorker, Placement::Alternating] {
        let (switch, pair) = start(placement);
        let (mut guest, mut peer) = (switch.guest("guest"), switch.guest("peer"));
        for _ in 0..50 {
            ping(&mut guest, &mut peer, 20);
            guest.restart().unwrap();
            ping(&mut peer, &mut guest, 20);
            peer.restart().unwrap();
        }
        pair.end();
    }
}

#[test]
fn c040_queue_pairs_come_and_go_while_frames_flow() {
    for placement in [Placement::OneWorker, Placement::Alternating] {
        let (switch, pair) = start(placement);
        let mut peer = switch.guest("peer");
        let config = GuestConfig { queue_pairs: 4, ..switch.guest_config("guest") };
        let mut guest = switch.guest_with("guest", config);
        for round in 0..20 {
            for pairs in [1, 4, 2, 3, 1] {
                guest.set_active_pairs(pairs).unwrap();
                wait_until("the pairs run", || switch.port("guest").queue_pairs_active == pairs);
                send_on_all(&mut guest, &mut peer, pairs, round);
                ping(&mut guest, &mut peer, 50);
            }
        }
        assert_eq!(switch.port("guest").drops_total(), 0);
        pair.end();
    }
}

/// A frame on each pair in use arrives.
fn send_on_all(guest: &mut Guest, peer: &mut Guest, pairs: u16, round: u16) {
    for pair in 0..pairs {
        let flow =
            Flow { sender: 100 + pair + 8 * round, ..Flow::between(guest.mac(), peer.mac()) };
        let mut frame = Vec::new();
        let header = Numbered::new(flow).write_next(&mut frame);
        guest.send_on(usize::from(pair), &header, &frame).unwrap();
    }
    guest.kick();
    let received = peer.wait_received(usize::from(pairs), PATIENCE).unwrap();
    assert_eq!(received.len(), usize::from(pairs));
}

#[test]
fn c040_with_more_pairs_than_one_all_frames_of_a_flow_keep_their_order() {
    let (switch, pair) = start(Placement::OneWorker);
    let mut peer = switch.guest("peer");
    let config = GuestConfig { queue_pairs: 8, active_pairs: 8, ..switch.guest_config("guest") };
    let mut guest = switch.guest_with("guest", config);
    assert_eq!(switch.port("guest").queue_pairs_active, 8);
    ping(&mut guest, &mut peer, 5000);
    pair.end();
}

#[test]
fn the_whole_switch_starts_and_stops_and_leaves_nothing() {
    let stopping = AtomicBool::new(false);
    drop(start(Placement::Alternating));
    let mut before = None;
    for _ in 0..10 {
        let (switch, pair) = start(Placement::Alternating);
        pair.go_on();
        // Guests that are connected to the end, and the other way round.
        if stopping.fetch_xor(true, Ordering::Relaxed) {
            pair.end();
            drop(switch);
        } else {
            drop(switch);
            drop(pair.abandon());
        }
        std::thread::sleep(Duration::from_millis(5));
        before.get_or_insert_with(held);
    }
    assert_nothing_left(before.unwrap());
}
