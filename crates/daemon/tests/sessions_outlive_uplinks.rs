//! An uplink is removed and added again, at the same worker or at another one: what was numbered and counted behind it goes on.
//!
//! Each test has a network namespace without a name, which is gone when the test is. They need root.
#![cfg(test)]
#![allow(clippy::cast_possible_truncation, reason = "tests")]

mod support;

use helio_api::{PortState, RemoteSessionInfo};
use serde_json::{Value, json};

use support::collector::{
    Form, Network, Stream, UPLINK, collect_copies, destination, lay_collector_wire,
};
use support::datagram::{Datagram, erspan_2};
use support::station::{Station, numbered};
use support::switch::{Placement, Plan, TestSwitch};
use support::wait_until;
use support::wire::{enter_namespace, mac_of};

/// The forms whose copies are numbered.
const NUMBERED: [Stream; 3] =
    [(Network::V4, Form::Erspan2), (Network::V6, Form::Erspan3), (Network::V4, Form::Gre)];

/// The workers at which the uplink is added again, one after the other: each one hands over to the other, and to itself.
const WORKERS: [usize; 5] = [0, 1, 1, 0, 0];

#[track_caller]
fn add(switch: &TestSwitch, port: &Value) {
    let answer = switch.control().request("POST", "/v1/ports", &port.to_string());
    assert_eq!(answer.status, 201, "{}", answer.body);
}

#[track_caller]
fn remove(switch: &TestSwitch, name: &str) {
    let answer = switch.control().request("DELETE", &format!("/v1/ports/{name}"), "");
    assert!(answer.status < 300, "{}", answer.body);
}

#[track_caller]
fn add_uplink(switch: &TestSwitch, worker: usize) {
    let vlan = json!({ "access": 4000 });
    let port = json!({ "name": "uplink0", "interface": "near", "vlan": vlan, "worker": worker });
    add(switch, &port);
    switch.wait_state("uplink0", PortState::Up);
    assert_eq!(switch.port("uplink0").worker, Some(worker));
}

#[test]
fn copies_are_numbered_on_when_their_uplink_was_removed_and_is_there_again() {
    enter_namespace();
    let mut far = lay_collector_wire(1500);
    let legs = NUMBERED.map(|stream| destination(stream, "")).concat();
    let session = format!("[[mirror]]\nname = \"watch\"\nsource-ports = [\"alice\"]\n{legs}");
    // Not the VLAN of the uplink, whose network says a lot.
    let vlan = "vlan = { access = 10 }";
    let plan = Plan::new(Placement::Alternating).port("alice", vlan).port("bob", vlan);
    let switch = plan.more(UPLINK).more(&session).start();
    switch.wait_state("uplink0", PortState::Up);
    let [mut alice, _bob] = ["alice", "bob"].map(|name| Station::guest(switch.guest(name)));
    let macs = ["alice", "bob"].map(|name| switch.mac(name));
    let mut say = |number| alice.send(&numbered(macs[0], macs[1], None, number, 200));
    let mut next = 0;
    for worker in WORKERS {
        switch.wait_collectors("watch");
        (next..next + 4).for_each(&mut say);
        let copies = collect_copies(&mut far, 4 * NUMBERED.len());
        for stream in NUMBERED {
            let of_stream = copies.iter().filter(|copy| copy.stream == stream);
            let numbers: Vec<_> = of_stream.filter_map(|copy| copy.sequence).collect();
            assert_eq!(numbers, (next..next + 4).collect::<Vec<_>>(), "{stream:?}");
        }
        next += 4;
        for leg in switch.settled("watch") {
            assert_eq!((leg.wanted, leg.delivered), (u64::from(next), u64::from(next)), "{leg:?}");
        }
        remove(&switch, "uplink0");
        add_uplink(&switch, worker);
    }
}

const REMOTE: &str = "
[[port]]
name = \"remote0\"
decap = { uplink = \"uplink0\", local = \"10.9.0.2/24\" }
[[mirror]]
name = \"in\"
source-ports = [\"remote0\"]
[[mirror.destination]]
port = \"sniffie\"
";

/// The remote sessions that the decap port has heard, and how many datagrams it refused.
fn heard(switch: &TestSwitch) -> (Vec<RemoteSessionInfo>, u64) {
    let info = switch.port("remote0").decap.unwrap();
    (info.sessions, info.refused.values().sum())
}

#[test]
fn a_decap_port_goes_on_counting_when_its_uplink_was_removed_and_is_there_again() {
    enter_namespace();
    let mut far = lay_collector_wire(1500);
    let plan = Plan::new(Placement::Alternating).port("sniffie", "vlan = { access = 20 }");
    let switch = plan.more(UPLINK).more(REMOTE).start();
    switch.wait_state("uplink0", PortState::Up);
    let mac = mac_of("near");
    let frame = numbered([0x52, 0x54, 0, 0, 0, 0x11], [0x52, 0x54, 0, 0, 0, 0x12], None, 1, 300);
    let mut hear = |numbers: [u32; 3]| {
        for number in numbers {
            far.send(&Datagram::new(mac, 47, erspan_2(7, number, &frame)).frame());
        }
        // That is no copy.
        far.send(&Datagram::new(mac, 6, erspan_2(7, 0, &frame)).frame());
    };
    for (round, worker) in (1..).zip(WORKERS) {
        // Two are missed while nobody listens.
        let first = 5 * round as u32;
        hear([first, first + 1, first + 2]);
        wait_until("all was judged", || heard(&switch).1 == round);
        let before = heard(&switch);
        let [it] = &before.0[..] else { panic!("{before:?}") };
        assert_eq!((it.id, it.received, it.lost), (Some(7), 3 * round, 2 * (round - 1)));
        assert_eq!((it.late, it.duplicates, it.strays, it.restarts), (0, 0, 0, 0));
        remove(&switch, "uplink0");
        assert_eq!(heard(&switch), before, "while no worker serves it");
        add_uplink(&switch, worker);
        assert_eq!(heard(&switch), before, "at worker {worker}");
    }
    // Another port of the same name has heard nothing.
    remove(&switch, "remote0");
    let point = json!({ "uplink": "uplink0", "local": "10.9.0.2/24" });
    add(&switch, &json!({ "name": "remote0", "decap": point }));
    assert_eq!(heard(&switch), (Vec::new(), 0));
}
