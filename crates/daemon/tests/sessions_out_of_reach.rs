//! Collectors that cannot be reached, or do not take what they get: their copies are counted, each under its reason, and the
//! frames of those who are watched neither wait nor are lost.
//!
//! Each test has a network namespace without a name, which is gone when the test is. They need root.
#![cfg(test)]

mod support;

use std::collections::BTreeMap;

use helio_api::{MirrorDestinationInfo, PortState};
use helio_guest::{GuestConfig, Refill};

use support::collector::{
    Arrived, Form, Network, UPLINK, arrived, destination, lay_collector_wire,
};
use support::pair::{Pair, VLAN};
use support::station::Station;
use support::switch::{Placement, Plan, TestSwitch};
use support::wait_until;
use support::wire::{Card, enter_namespace, ip, lay_wire, mac_of};

const PLACEMENTS: [Placement; 3] =
    [Placement::OneWorker, Placement::Alternating, Placement::PairApart];

/// Collectors in this order: one that answers, one that nobody has heard of, one behind a link that is down, a physical port
/// behind it, a VM that takes nothing.
fn destinations() -> String {
    let good = destination((Network::V4, Form::Erspan2), "");
    let unknown = good.replace("10.9.0.9", "10.9.0.77");
    let unplugged = good.replace("uplink0", "uplink1").replace("10.9.0.9", "10.9.0.88");
    let ports =
        ["uplink1", "sniffie"].map(|port| format!("[[mirror.destination]]\nport = \"{port}\"\n"));
    [good, unknown, unplugged + "remote-mac = \"52:54:00:00:00:88\"\n", ports.concat()].concat()
}

fn reasons(leg: &MirrorDestinationInfo) -> BTreeMap<&str, u64> {
    leg.dropped.iter().map(|(reason, count)| (reason.as_str(), *count)).collect()
}

/// Starts alice and bob, whom a session watches, and everybody that is mentioned in `destinations`.
fn start(placement: Placement) -> (TestSwitch, Card) {
    enter_namespace();
    let far = lay_collector_wire(1500);
    lay_wire("near1", "far1", 1500);
    let uplink1 = "[[port]]\nname = \"uplink1\"\ninterface = \"near1\"\nvlan = { trunk = [10] }\n";
    let session = "[[mirror]]\nname = \"watch\"\nsource-ports = [\"alice\"]\n";
    let plan = Plan::new(placement).port("alice", VLAN).port("bob", VLAN).port("sniffie", VLAN);
    let switch = plan.more(UPLINK).more(uplink1).more(session).more(&destinations()).start();
    for uplink in ["uplink0", "uplink1"] {
        switch.wait_state(uplink, PortState::Up);
    }
    wait_until("the collector is known", || {
        let legs = switch.session("watch").destinations;
        legs[0].remote.as_ref().unwrap().mac.is_some()
    });
    ip("link set far1 down");
    switch.wait_detail("uplink1", "no link");
    (switch, far)
}

#[test]
fn collectors_out_of_reach_cost_nobody_a_frame_and_each_copy_is_counted_under_its_reason() {
    for placement in PLACEMENTS {
        let (switch, mut far) = start(placement);
        let config = GuestConfig { refill: Refill::ByHand, ..switch.guest_config("sniffie") };
        let _sniffie = switch.guest_with("sniffie", config);
        let pair = Pair::start(switch.guest("alice"), switch.guest("bob"));
        let mut copies = Vec::new();
        let goal = pair.received() + 20_000;
        wait_until("the pair goes on", || {
            copies.extend(arrived(&far.take()));
            pair.received() >= goal
        });
        let report = pair.stop();
        report.assert_nothing_lost();
        let total = report.there.sent() + report.back.sent();
        let legs = switch.settled("watch");
        assert!(legs.iter().all(|leg| leg.wanted == total), "of {total}: {legs:?}");
        let known = [(1, "no-neighbour"), (2, "port-down"), (3, "port-down"), (4, "no-rx-buffer")];
        for (place, reason) in known {
            let mut dropped = reasons(&legs[place]);
            // Another worker may be kept from its turns so long that it is sent no more.
            let on_the_way = match placement {
                Placement::OneWorker => 0,
                _ => dropped.remove("handoff-full").unwrap_or(0),
            };
            let expected = BTreeMap::from([(reason, total - on_the_way)]);
            assert_eq!(dropped, expected, "{:?}", legs[place]);
        }
        assert_seen(&mut far, copies, &legs[0]);
    }
}

/// The collector that can be reached has what is said to be delivered, and what is missing can be told from the numbers.
#[track_caller]
fn assert_seen(far: &mut Card, mut copies: Vec<Arrived>, leg: &MirrorDestinationInfo) {
    wait_until("all copies have come", || {
        copies.extend(arrived(&far.take()));
        copies.len() as u64 >= leg.delivered
    });
    assert_eq!(copies.len() as u64, leg.delivered, "{leg:?}");
    let numbers: Vec<_> = copies.iter().filter_map(|copy| copy.sequence).collect();
    assert!(numbers.windows(2).all(|two| two[0] < two[1]), "in order, each once");
    let last = numbers.last().copied().unwrap();
    assert!(u64::from(last) < leg.wanted, "{last} of {leg:?}");
}

#[test]
fn a_collector_that_comes_back_gets_copies_again_without_a_change_of_the_session() {
    let (switch, _far) = start(Placement::Alternating);
    let (mut alice, mut bob) = (switch.guest("alice"), switch.guest("bob"));
    support::lane::ping(&mut alice, &mut bob, 10);
    assert_eq!(reasons(&switch.settled("watch")[2]), BTreeMap::from([("port-down", 20)]));
    ip("link set far1 up");
    switch.wait_state("uplink1", PortState::Up);
    let mut analyser = Station::Card(Card::on("far1"));
    support::lane::ping(&mut alice, &mut bob, 10);
    let legs = switch.settled("watch");
    for leg in [&legs[2], &legs[3]] {
        assert_eq!((leg.wanted, leg.delivered), (40, 20), "{leg:?}");
        assert_eq!(reasons(leg), BTreeMap::from([("port-down", 20)]));
    }
    let mut seen = Vec::new();
    wait_until("both kinds of copies have come", || {
        seen.extend(analyser.take());
        seen.len() >= 40
    });
    let copies = arrived(&seen);
    assert_eq!(copies.len(), 20);
    let numbers: Vec<_> = copies.iter().filter_map(|copy| copy.sequence).collect();
    assert_eq!(numbers, (20..40).collect::<Vec<_>>(), "the gap tells of those that were lost");
}

/// A question of the collector, from a card that it does not name.
fn lie(to: [u8; 6]) -> Vec<u8> {
    let (from, named) = ([2, 0, 0, 0, 0, 0x66], [2, 0, 0, 0, 0, 0x67]);
    let head = [&to[..], &from, &[8, 6, 0, 1, 8, 0, 6, 4, 0, 1]].concat();
    [&head[..], &named, &[10, 9, 0, 9], &to, &[10, 9, 0, 1], &[0; 18]].concat()
}

#[test]
fn what_neighbours_of_a_collector_say_in_vain_is_counted_by_reason() {
    enter_namespace();
    let mut far = lay_collector_wire(1500);
    let session = "[[mirror]]\nname = \"watch\"\nsource-ports = [\"alice\"]\n";
    let collector = destination((Network::V4, Form::Erspan2), "");
    let decap =
        "[[port]]\nname = \"streams\"\ndecap = { uplink = \"uplink0\", local = \"10.9.0.1/24\" }\n";
    let plan = Plan::new(Placement::OneWorker).port("alice", "").more(UPLINK).more(decap);
    let switch = plan.more(session).more(&collector).start();
    switch.wait_state("uplink0", PortState::Up);
    switch.wait_collectors("watch");
    let known = || switch.session("watch").destinations.remove(0).remote.unwrap();
    assert!(known().neighbour_refused.is_empty(), "{:?}", known());
    for _ in 0..3 {
        far.send(&lie(mac_of("near")));
    }
    let all = BTreeMap::from([("neighbour-sender-mac".to_owned(), 3)]);
    wait_until("the lies are counted", || known().neighbour_refused == all);
    let streams = switch.port("streams").decap.unwrap();
    assert!(streams.refused.is_empty(), "a neighbour is no copy: {streams:?}");
    assert_eq!(streams.neighbour_refused, all);
}

#[test]
fn what_a_collector_complains_of_goes_to_nobody() {
    enter_namespace();
    let far = lay_collector_wire(1500);
    let text = [Network::V4, Network::V6].map(|network| destination((network, Form::Erspan2), ""));
    let session =
        format!("[[mirror]]\nname = \"watch\"\nsource-ports = [\"alice\"]\n{}", text.concat());
    let plan = Plan::new(Placement::OneWorker).port("alice", "").port("bob", "");
    let switch = plan.more(UPLINK).more(&session).start();
    switch.wait_state("uplink0", PortState::Up);
    switch.wait_collectors("watch");
    let (mut alice, mut bob) = (switch.guest("alice"), switch.guest("bob"));
    let card = mac_of("near");
    // The kernel does not take GRE, and says so to the card of the switch.
    let complaints = || {
        let text = std::fs::read_to_string("/proc/thread-self/net/snmp").unwrap();
        let mut lines = text.lines().filter_map(|line| line.strip_prefix("Icmp: "));
        let (names, values) = (lines.next().unwrap(), lines.next().unwrap());
        let place = names.split(' ').position(|name| name == "OutDestUnreachs").unwrap();
        values.split(' ').nth(place).unwrap().parse::<u64>().unwrap()
    };
    let frame = support::station::numbered(switch.mac("alice"), switch.mac("bob"), None, 1, 100);
    let mut seen = Vec::new();
    let before = switch.port("uplink0").ingress_frames;
    wait_until("the collector complains", || {
        alice.send_blocking(&frame, support::PATIENCE).unwrap();
        bob.poll_once(|_, _, frame| seen.push(frame.to_vec()));
        complaints() > 0 && switch.port("uplink0").ingress_frames > before
    });
    std::thread::sleep(support::station::SURPRISES);
    for guest in [&mut alice, &mut bob] {
        guest.poll_once(|_, _, frame| seen.push(frame.to_vec()));
    }
    let for_switch: Vec<_> = seen.iter().filter(|frame| frame[..6] == card).collect();
    assert!(for_switch.is_empty(), "{for_switch:02x?}");
    drop(far);
}
