//! What named mirror sessions were made for, one test for each: a VLAN, a cluster of VMs, one service of one server, many to many,
//! a physical port, a collector elsewhere.
//!
//! Each test has a network namespace without a name, which is gone when the test is. They need root.
#![cfg(test)]
#![allow(clippy::cast_possible_truncation, reason = "tests")]

mod support;

use helio_api::PortState;
use helio_guest::{Guest, GuestConfig};
use helio_testkit::FrameBuilder;
use helio_types::{DropReason, MacAddr};
use serde_json::json;

use support::capture::Capture;
use support::collector::{Arrived, Form, Network, UPLINK, destination, lay_collector_wire};
use support::far_host::ip;
use support::lane::ping;
use support::station::{Station, assert_same, collect, numbered};
use support::switch::{Placement, Plan, TestSwitch};
use support::wire::{Card, enter_namespace, lay_wire};
use support::{PATIENCE, wait_until};

const PLACEMENTS: [Placement; 2] = [Placement::OneWorker, Placement::Alternating];

/// A session with these sources, whose copies go to these ports.
fn session(sources: &str, ports: &[&str]) -> String {
    let to = |port: &&str| format!("[[mirror.destination]]\nport = \"{port}\"\n");
    let destinations: String = ports.iter().map(to).collect();
    format!("[[mirror]]\nname = \"watch\"\n{sources}\n{destinations}")
}

/// All copies that were wanted were delivered: so many by each destination.
#[track_caller]
fn assert_delivered(switch: &TestSwitch, count: u64) {
    for leg in switch.settled("watch") {
        assert_eq!((leg.wanted, leg.delivered), (count, count), "{leg:?}");
    }
}

fn guests<const N: usize>(switch: &TestSwitch, names: [&str; N]) -> [Guest; N] {
    names.map(|name| switch.guest(name))
}

fn senders(guests: &[&Guest]) -> Vec<u16> {
    guests.iter().map(|guest| u16::from(guest.mac()[5])).collect()
}

#[test]
fn a_vlan_is_watched_and_nothing_of_another() {
    for placement in PLACEMENTS {
        let (ten, twenty) = ("vlan = { access = 10 }", "vlan = { access = 20 }");
        let plan = Plan::new(placement).port("alice", ten).port("bob", ten);
        let plan = plan.port("carol", twenty).port("dave", twenty).port("sniffie", ten);
        let switch = plan.more(&session("source-vlans = [10]", &["sniffie"])).start();
        let [mut alice, mut bob, mut carol, mut dave] =
            guests(&switch, ["alice", "bob", "carol", "dave"]);
        let mut sniffie = switch.guest("sniffie");
        ping(&mut alice, &mut bob, 50);
        ping(&mut carol, &mut dave, 50);
        Capture::take(&mut sniffie, 100).assert_each_once(&senders(&[&alice, &bob]), 50);
        assert_delivered(&switch, 100);
    }
}

#[test]
fn a_cluster_is_watched_by_its_label_with_a_vm_that_joins_later() {
    for placement in PLACEMENTS {
        let label = "labels = [\"cluster\", \"linux\"]";
        let plan = Plan::new(placement).port("alice", label).port("bob", "").port("carol", "");
        let plan = plan.port("dave", "").port("sniffie", "");
        let switch = plan.more(&session("source-labels = [\"cluster\"]", &["sniffie"])).start();
        let [mut alice, mut bob, mut carol, mut dave] =
            guests(&switch, ["alice", "bob", "carol", "dave"]);
        let mut sniffie = switch.guest("sniffie");
        ping(&mut alice, &mut bob, 50);
        ping(&mut carol, &mut dave, 50);
        Capture::take(&mut sniffie, 100).assert_each_once(&senders(&[&alice, &bob]), 50);
        let socket = switch.socket("erin");
        let mac = [0x52, 0x54, 0, 0, 0, 99];
        let erin = json!({
            "name": "erin", "socket": socket, "labels": ["cluster"], "static_mac": ["52:54:00:00:00:63"]
        });
        let answer = switch.control().request("POST", "/v1/ports", &erin.to_string());
        assert_eq!(answer.status, 201, "{}", answer.body);
        assert_eq!(switch.session("watch").sources, ["alice", "erin"]);
        let mut erin = Guest::connect(&socket, GuestConfig::with_mac(mac)).unwrap();
        erin.start().unwrap();
        switch.wait_state("erin", PortState::Up);
        ping(&mut erin, &mut dave, 50);
        Capture::take(&mut sniffie, 100).assert_each_once(&senders(&[&erin, &dave]), 50);
        assert_delivered(&switch, 200);
    }
}

/// Takes a port away, and puts one of the same name in its place.
#[track_caller]
fn replace(switch: &TestSwitch, name: &str, meanwhile: impl FnOnce()) -> Guest {
    let answer = switch.control().request("DELETE", &format!("/v1/ports/{name}"), "");
    assert!(answer.status < 300, "{} {}", answer.status, answer.body);
    meanwhile();
    let mac = MacAddr(switch.mac(name)).to_string();
    let port = json!({ "name": name, "socket": switch.socket(name), "static_mac": [mac] });
    let answer = switch.control().request("POST", "/v1/ports", &port.to_string());
    assert_eq!(answer.status, 201, "{}", answer.body);
    switch.guest(name)
}

#[test]
fn a_session_outlives_its_ports_and_goes_on_with_those_that_have_their_names() {
    for placement in PLACEMENTS {
        let plan = Plan::new(placement).port("alice", "").port("bob", "").port("sniffie", "");
        let switch = plan.more(&session("source-ports = [\"alice\"]", &["sniffie"])).start();
        let [mut alice, mut bob, mut sniffie] = guests(&switch, ["alice", "bob", "sniffie"]);
        ping(&mut alice, &mut bob, 50);
        Capture::take(&mut sniffie, 100).assert_each_once(&senders(&[&alice, &bob]), 50);
        drop(sniffie);
        let mut sniffie = replace(&switch, "sniffie", || {
            let detail = switch.session("watch").destinations.remove(0).detail;
            assert!(detail.starts_with("there is no port \"sniffie\""), "{detail}");
            ping(&mut alice, &mut bob, 50);
        });
        ping(&mut alice, &mut bob, 50);
        Capture::take(&mut sniffie, 100).assert_each_once(&senders(&[&alice, &bob]), 50);
        drop(alice);
        let mut alice = replace(&switch, "alice", || {
            assert!(switch.session("watch").sources.is_empty());
        });
        assert_eq!(switch.session("watch").sources, ["alice"]);
        ping(&mut alice, &mut bob, 50);
        Capture::take(&mut sniffie, 100).assert_each_once(&senders(&[&alice, &bob]), 50);
        // Nobody was there to want what was sent meanwhile.
        assert_delivered(&switch, 300);
    }
}

/// A TCP segment between two ports.
fn segment(from: &Guest, to: &Guest, ports: [u16; 2], seed: u8) -> Vec<u8> {
    let builder = FrameBuilder::new(MacAddr(from.mac()), MacAddr(to.mac())).tcp();
    let mut bytes = builder.payload(200, seed).complete().bytes;
    bytes[34..36].copy_from_slice(&ports[0].to_be_bytes());
    bytes[36..38].copy_from_slice(&ports[1].to_be_bytes());
    bytes
}

#[test]
fn one_sql_server_is_watched_by_a_filter_and_nothing_else_that_it_does() {
    for placement in PLACEMENTS {
        let plan = Plan::new(placement).port("server", "").port("client", "").port("sniffie", "");
        let sources = "source-ports = [\"server\"]\nfilter = \"tcp port 1433\"";
        let switch = plan.more(&session(sources, &["sniffie"])).start();
        let [mut server, mut client, mut sniffie] =
            guests(&switch, ["server", "client", "sniffie"]);
        let mut wanted = Vec::new();
        for seed in 0..20 {
            for ports in [[50_000, 1433], [50_001, 22], [50_002, 14_330], [1433, 50_003]] {
                let request = segment(&client, &server, ports, seed);
                let reply = segment(&server, &client, [ports[1], ports[0]], seed);
                client.send_blocking(&request, PATIENCE).unwrap();
                server.wait_received(1, PATIENCE).unwrap();
                server.send_blocking(&reply, PATIENCE).unwrap();
                client.wait_received(1, PATIENCE).unwrap();
                if ports.contains(&1433) {
                    wanted.extend([request, reply]);
                }
            }
        }
        assert_eq!(Capture::take(&mut sniffie, 80).frames, wanted);
        assert_delivered(&switch, 80);
    }
}

#[test]
fn many_sources_are_watched_by_many_destinations_and_each_gets_each_frame_once() {
    const VMS: [&str; 5] = ["alice", "bob", "carol", "dave", "erin"];
    for placement in PLACEMENTS {
        let monitors = ["one", "two", "three"];
        let plan = VMS
            .iter()
            .chain(&monitors)
            .fold(Plan::new(placement), |plan, name| plan.port(name, ""));
        let sources = "source-ports = [\"alice\", \"bob\", \"carol\", \"dave\"]";
        let switch = plan.more(&session(sources, &monitors)).start();
        let mut vms = VMS.map(|name| Station::guest(switch.guest(name)));
        let mut monitors = monitors.map(|name| Station::guest(switch.guest(name)));
        let mut sent = Vec::new();
        for round in 0..10 {
            for (from, vm) in vms.iter_mut().enumerate() {
                for to in (0..VMS.len()).filter(|to| *to != from) {
                    let number = u32::try_from(sent.len()).unwrap() + 1;
                    let macs = [from, to].map(|place| switch.mac(VMS[place]));
                    let frame = numbered(macs[0], macs[1], None, number, 60 + 131 * round);
                    vm.send(&frame);
                    sent.push((to, frame));
                }
            }
            let all = sent.iter().map(|(_, frame)| frame.clone()).collect::<Vec<_>>();
            let new = &all[all.len() - 20..];
            for monitor in &mut monitors {
                assert_same("monitor", collect(monitor, new.len()), new);
            }
            for (place, vm) in vms.iter_mut().enumerate() {
                let to_it = |(to, _): &&(usize, Vec<u8>)| *to == place;
                let new = &sent[sent.len() - 20..];
                let wanted: Vec<_> = new.iter().filter(to_it).map(|(_, f)| f.clone()).collect();
                assert_same("production", collect(vm, wanted.len()), &wanted);
            }
        }
        assert_delivered(&switch, 200);
    }
}

#[test]
fn a_physical_port_shows_what_a_vm_sends_and_receives() {
    for placement in PLACEMENTS {
        enter_namespace();
        lay_wire("span", "span-far", 1500);
        let uplink = "[[port]]\nname = \"span\"\ninterface = \"span\"\n";
        let plan = Plan::new(placement).port("alice", "").port("bob", "").more(uplink);
        let switch = plan.more(&session("source-ports = [\"alice\"]", &["span"])).start();
        switch.wait_state("span", PortState::Up);
        let mut analyser = Station::Card(Card::on("span-far"));
        assert_copies(&switch, &mut analyser, |frame| Some(frame.to_vec()));
    }
}

/// Alice and bob exchange frames, and `analyser` gets them all, as `copy_in` takes them out of what it gets.
#[track_caller]
fn assert_copies(
    switch: &TestSwitch,
    analyser: &mut Station,
    copy_in: impl Fn(&[u8]) -> Option<Vec<u8>>,
) {
    let names = ["alice", "bob"];
    let mut vms = names.map(|name| Station::guest(switch.guest(name)));
    let [alice, bob] = names.map(|name| switch.mac(name));
    let mut sent = Vec::new();
    for number in 1..=100 {
        let bytes = 60 + 13 * number as usize;
        for (from, macs) in [(0, [alice, bob]), (1, [bob, alice])] {
            let frame = numbered(macs[0], macs[1], None, 2 * number + from, bytes);
            vms[from as usize].send(&frame);
            sent.push(frame);
        }
    }
    let got = collect(analyser, sent.len());
    let copies: Vec<_> = got.iter().filter_map(|frame| copy_in(frame)).collect();
    assert_same("analyser", copies, &sent);
    for (place, vm) in vms.iter_mut().enumerate() {
        let wanted: Vec<_> = sent.iter().skip(1 - place).step_by(2).cloned().collect();
        assert_same("production", collect(vm, wanted.len()), &wanted);
    }
    assert_delivered(switch, sent.len() as u64);
}

#[test]
fn a_collector_elsewhere_gets_what_a_vm_sends_and_receives_by_erspan() {
    for placement in PLACEMENTS {
        enter_namespace();
        let far = lay_collector_wire(1500);
        // On another VLAN than the uplink, whose network says a lot to everybody.
        let vlan = "vlan = { access = 10 }";
        let plan = Plan::new(placement).port("alice", vlan).port("bob", vlan).more(UPLINK);
        let text = session("source-ports = [\"alice\"]", &[]);
        let collector = destination((Network::V4, Form::Erspan2), "");
        let switch = plan.more(&text).more(&collector).start();
        switch.wait_state("uplink0", PortState::Up);
        switch.wait_collectors("watch");
        let mut far = Station::Card(far);
        // What neighbours said to each other.
        far.take();
        assert_copies(&switch, &mut far, |frame| Arrived::read(frame).map(|found| found.copy));
    }
}

#[test]
fn copies_that_a_cable_brings_back_to_a_watched_port_are_not_copied_again() {
    for placement in PLACEMENTS {
        enter_namespace();
        lay_wire("near", "far", 1500);
        let other_end =
            "[[port]]\nname = \"uplink1\"\ninterface = \"far\"\nvlan = { access = 4001 }\n";
        let vlan = "vlan = { access = 10 }";
        let plan = Plan::new(placement).port("alice", vlan).port("bob", vlan).more(UPLINK);
        let text = session("source-ports = [\"alice\", \"uplink1\"]\ninclude-dropped = true", &[]);
        let mac = "remote-mac = \"52:54:00:00:00:88\"";
        let collector = destination((Network::V4, Form::Erspan2), mac);
        let switch = plan.more(other_end).more(&text).more(&collector).start();
        for uplink in ["uplink0", "uplink1"] {
            switch.wait_state(uplink, PortState::Up);
        }
        let [mut alice, mut bob] = guests(&switch, ["alice", "bob"]);
        ping(&mut alice, &mut bob, 50);
        wait_until("all copies are back", || {
            switch.drops("uplink1", DropReason::NoDestination) >= 100
        });
        assert_delivered(&switch, 100);
        assert_eq!(switch.drops("uplink1", DropReason::NoDestination), 100);
    }
}

#[test]
fn a_collector_is_asked_from_the_address_that_the_card_has_now() {
    enter_namespace();
    let mut far = Station::Card(lay_collector_wire(1500));
    let text = session("source-ports = [\"alice\"]", &[]);
    let collector = destination((Network::V4, Form::Gre), "");
    let plan = Plan::new(Placement::OneWorker).port("alice", "").more(UPLINK);
    let switch = plan.more(&text).more(&collector).start();
    switch.wait_state("uplink0", PortState::Up);
    switch.wait_collectors("watch");
    ip("link set near address 52:54:00:00:aa:01");
    let is_question = |frame: &Vec<u8>| frame[6..14] == [0x52, 0x54, 0, 0, 0xaa, 1, 8, 6];
    wait_until("the collector is asked anew", || far.take().iter().any(is_question));
    switch.wait_collectors("watch");
}
