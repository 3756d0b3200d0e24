//! Mirror streams that arrive: what one switch sends to another is delivered there as it was, losses are seen, and what is not
//! right is refused and counted.
//!
//! Each test has a network namespace without a name, which is gone when the test is. They need root.
#![cfg(test)]
#![allow(clippy::cast_possible_truncation, reason = "tests")]

mod support;

use std::collections::BTreeMap;

use helio_api::{DecapInfo, FragmentInfo, PortState};
use serde_json::json;

use support::collector::{
    Form, Network, Stream, UPLINK, all_streams, destination, destination_json, lay_collector_wire,
};
use support::datagram::{Datagram, erspan_2, vxlan};
use support::random::Random;
use support::station::{Station, assert_same, collect, numbered};
use support::switch::{Placement, Plan, TestSwitch};
use support::wait_until;
use support::wire::{Card, enter_namespace, ip, lay_wire, mac_of, mac_text};

/// At the other end of the wire of `UPLINK`, the addresses of the collector.
const OTHER_SIDE: &str = "
[[port]]
name = \"uplink1\"
interface = \"far\"
vlan = { access = 4001 }
[[port]]
name = \"remote4\"
decap = { uplink = \"uplink1\", local = \"10.9.0.9/24\" }
[[port]]
name = \"remote6\"
decap = { uplink = \"uplink1\", local = \"fd09::9/64\" }
[[mirror]]
name = \"in\"
source-ports = [\"remote4\", \"remote6\"]
[[mirror.destination]]
port = \"sniffie\"
";

/// The tag of the network between the two, for all that need it.
#[derive(Clone, Copy)]
enum Tag {
    Absent,
    Present,
}

impl Tag {
    fn keys(self) -> &'static str {
        match self {
            Self::Absent => "",
            Self::Present => "vlan = 77\npcp = 3",
        }
    }

    fn other_side(self) -> String {
        match self {
            Self::Absent => OTHER_SIDE.to_owned(),
            Self::Present => OTHER_SIDE
                .replace("/24\" }", "/24\", vlan = 77 }")
                .replace("/64\" }", "/64\", vlan = 77 }"),
        }
    }
}

/// One switch plays two: what session "out" sends by one uplink arrives at the other one, and session "in" shows it to sniffie.
fn joined(placement: Placement, tag: Tag, more: &str) -> TestSwitch {
    joined_by_wire(1500, placement, tag, more)
}

/// The same with a wire that takes datagrams of `mtu` bytes.
fn joined_by_wire(mtu: u32, placement: Placement, tag: Tag, more: &str) -> TestSwitch {
    enter_namespace();
    lay_wire("near", "far", mtu);
    let out = "[[mirror]]\nname = \"out\"\nsource-ports = [\"alice\"]\n";
    let first = destination((Network::V4, Form::Erspan1), tag.keys());
    // Not on the VLANs of the uplinks, where neighbours ask everybody.
    let vlans = "vlan = { trunk = [20], native = 5 }";
    let plan = Plan::new(placement).port("alice", vlans).port("bob", vlans).port("sniffie", "");
    let plan = plan.more(UPLINK).more(&tag.other_side()).more(out).more(&first).more(more);
    let switch = plan.start();
    for uplink in ["uplink0", "uplink1"] {
        switch.wait_state(uplink, PortState::Up);
    }
    switch
}

fn decap(switch: &TestSwitch, port: &str) -> DecapInfo {
    switch.port(port).decap.unwrap()
}

/// Lengths of frames around those that matter, each of which fits a datagram.
const LENGTHS: [usize; 10] = [60, 64, 100, 127, 128, 129, 150, 300, 1000, 1400];

/// Alice and bob exchange frames of these lengths; what they sent.
fn talk(
    switch: &TestSwitch,
    vms: &mut [Station; 2],
    first: u32,
    lengths: &[usize; 10],
) -> Vec<Vec<u8>> {
    let macs = ["alice", "bob"].map(|name| switch.mac(name));
    let mut sent = Vec::new();
    for (number, bytes) in (first..).zip(*lengths) {
        let (from, to) = (number as usize % 2, (number as usize + 1) % 2);
        let tci = (bytes == 150).then_some(3 << 13 | 20);
        let frame = numbered(macs[from], macs[to], tci, number, bytes);
        vms[from].send(&frame);
        sent.push(frame);
    }
    sent
}

#[test]
fn what_a_switch_sends_in_each_form_is_delivered_by_another_as_it_was() {
    for (placement, tag) in
        [(Placement::OneWorker, Tag::Absent), (Placement::Alternating, Tag::Present)]
    {
        let switch = joined(placement, tag, "");
        let mut vms = ["alice", "bob"].map(|name| Station::guest(switch.guest(name)));
        let mut sniffie = Station::guest(switch.guest("sniffie"));
        let mut total = 0;
        for (round, stream) in (1..).zip(all_streams()) {
            let settings = json!({ "destination": [destination_json(stream, tag.keys())] });
            switch.change_session("out", &settings);
            switch.wait_collectors("out");
            let sent = talk(&switch, &mut vms, round * 100, &LENGTHS);
            // The tagged one is flooded on its VLAN, of which sniffie is a member: that is not a copy.
            let is_tagged = |frame: &&Vec<u8>| frame[12..14] == [0x81, 0];
            let flooded = sent.iter().filter(is_tagged).cloned().collect();
            let wanted = [sent.clone(), flooded].concat();
            assert_same(&format!("{stream:?}"), collect(&mut sniffie, wanted.len()), &wanted);
            total += sent.len() as u64;
            for leg in switch.settled("out") {
                assert_eq!((leg.wanted, leg.delivered), (10, 10), "{leg:?}");
            }
            for leg in switch.settled("in") {
                assert_eq!((leg.wanted, leg.delivered), (total, total), "{leg:?}");
            }
        }
        for (port, source) in [("remote4", "10.9.0.1"), ("remote6", "fd09::1")] {
            let info = decap(&switch, port);
            assert_eq!((info.refused.len(), info.unfollowed), (0, 0), "{info:?}");
            let forms: Vec<_> = info.sessions.iter().map(|it| it.encapsulation.as_str()).collect();
            assert_eq!(forms, ["erspan-2", "erspan-3", "gre"]);
            let ids: Vec<_> = info.sessions.iter().map(|it| it.id).collect();
            assert_eq!(ids, [Some(702), Some(703), Some(704)]);
            for it in info.sessions {
                assert_eq!((it.source.as_str(), it.received, it.lost), (source, 10, 0), "{it:?}");
                assert_eq!((it.late, it.duplicates, it.strays, it.restarts), (0, 0, 0, 0));
            }
        }
    }
}

/// Longest datagram on a wire that is narrower than those of the guests.
const NARROW: u32 = 1300;

/// Lengths of frames around what fits one datagram there, whatever the form.
const LONG: [usize; 10] = [60, 1000, 1232, 1233, 1252, 1253, 1276, 1277, 1400, 1514];

/// How many of those do not fit in this form.
fn too_long((network, form): Stream) -> u64 {
    let shim = [4, 16, 28, 12, 16][form as usize];
    let fits = NARROW as usize - [20, 40][network as usize] - shim;
    LONG.iter().filter(|bytes| **bytes > fits).count() as u64
}

#[test]
fn what_a_switch_sends_in_fragments_is_put_together_by_another_as_it_was() {
    for (placement, tag) in
        [(Placement::OneWorker, Tag::Absent), (Placement::Alternating, Tag::Present)]
    {
        let switch = joined_by_wire(NARROW, placement, tag, "");
        let mut vms = ["alice", "bob"].map(|name| Station::guest(switch.guest(name)));
        let mut sniffie = Station::guest(switch.guest("sniffie"));
        let keys = format!("{}\noversize = \"fragment\"", tag.keys());
        for (round, stream) in (1..).zip(all_streams()) {
            let settings = json!({ "destination": [destination_json(stream, &keys)] });
            switch.change_session("out", &settings);
            switch.wait_collectors("out");
            let sent = talk(&switch, &mut vms, round * 100, &LONG);
            assert_same(&format!("{stream:?}"), collect(&mut sniffie, sent.len()), &sent);
            for leg in switch.settled("out") {
                assert_eq!((leg.wanted, leg.delivered), (10, 10), "{leg:?}");
            }
            for leg in switch.settled("in") {
                let total = u64::from(round) * 10;
                assert_eq!((leg.wanted, leg.delivered), (total, total), "{leg:?}");
            }
        }
        for (port, network) in [("remote4", Network::V4), ("remote6", Network::V6)] {
            let info = decap(&switch, port);
            assert!(info.refused.is_empty(), "{info:?}");
            assert!(info.sessions.iter().all(|it| (it.received, it.lost) == (10, 0)), "{info:?}");
            let streams = all_streams().into_iter().filter(|(found, _)| *found == network);
            let datagrams = streams.map(too_long).sum();
            // The longest is not longer than two of them.
            let wanted = FragmentInfo { joined: 2 * datagrams, datagrams, waiting: 0 };
            assert_eq!(info.fragments, Some(wanted));
        }
    }
}

#[test]
fn a_copy_on_its_way_is_never_copied_again() {
    // Whatever leaves and arrives by the carrier is watched, too.
    let more = "
[[mirror]]
name = \"again\"
source-ports = [\"uplink0\"]
[[mirror.destination]]
port = \"second\"
[[mirror]]
name = \"loop\"
source-ports = [\"uplink0\"]
direction = \"ingress\"
[[mirror.destination]]
uplink = \"uplink0\"
encapsulation = \"gre\"
local = \"10.9.0.1/24\"
remote = \"10.9.0.9\"
[[port]]
name = \"second\"
tap = \"helio0\"
mtu = 1500
";
    for placement in [Placement::OneWorker, Placement::Alternating] {
        let switch = joined(placement, Tag::Absent, more);
        let mut vms = ["alice", "bob"].map(|name| Station::guest(switch.guest(name)));
        let mut sniffie = Station::guest(switch.guest("sniffie"));
        switch.wait_state("second", PortState::Up);
        let mut second = Station::Card(Card::on("helio0"));
        switch.wait_collectors("out");
        switch.wait_collectors("loop");
        let sent: Vec<_> = talk(&switch, &mut vms, 2, &LENGTHS);
        let flooded: Vec<_> =
            sent.iter().filter(|frame| frame[12..14] == [0x81, 0]).cloned().collect();
        let wanted = [sent.clone(), flooded.clone()].concat();
        assert_same("sniffie", collect(&mut sniffie, wanted.len()), &wanted);
        // What is flooded is production: it leaves by no uplink, and "second" has it as any port does.
        assert_same("second", collect(&mut second, flooded.len()), &flooded);
        for session in ["again", "loop"] {
            for leg in switch.settled(session) {
                assert_eq!((leg.wanted, leg.delivered), (0, 0), "{session}: {leg:?}");
            }
        }
    }
}

#[test]
fn an_uplink_that_is_watched_on_its_way_out_carries_no_copies_of_that_session() {
    let switch = joined(Placement::OneWorker, Tag::Absent, "");
    let leg = destination_json((Network::V4, Form::Gre), "");
    let mut session = json!({ "name": "loop", "source_ports": ["uplink0"], "destination": [leg] });
    for direction in ["both", "egress"] {
        session["direction"] = json!(direction);
        let answer = switch.control().request("POST", "/v1/mirrors", &session.to_string());
        assert_eq!(answer.status, 400, "{}", answer.body);
        assert!(answer.body.contains("would be watched again"), "{}", answer.body);
    }
    session["direction"] = json!("ingress");
    let answer = switch.control().request("POST", "/v1/mirrors", &session.to_string());
    assert_eq!(answer.status, 201, "{}", answer.body);
}

/// A switch with a decap port, and a card that says what it wants to it.
struct Listener {
    switch: TestSwitch,
    sniffie: Station,
    far: Card,
    /// Address of the card of the switch.
    mac: [u8; 6],
}

impl Listener {
    fn start() -> Self {
        enter_namespace();
        let far = lay_collector_wire(1500);
        let more = "
[[port]]
name = \"remote0\"
decap = { uplink = \"uplink0\", local = \"10.9.0.2/24\", udp-port = 8472 }
[[port]]
name = \"remote6\"
decap = { uplink = \"uplink0\", local = \"fd09::2/64\" }
[[mirror]]
name = \"in\"
source-ports = [\"remote0\"]
[[mirror.destination]]
port = \"sniffie\"
";
        let plan =
            Plan::new(Placement::OneWorker).port("sniffie", "vlan = { trunk = [20], native = 30 }");
        let switch = plan.more(UPLINK).more(more).start();
        switch.wait_state("uplink0", PortState::Up);
        let sniffie = Station::guest(switch.guest("sniffie"));
        let mac = mac_of("near");
        Self { switch, sniffie, far, mac }
    }

    fn gre(&self, payload: Vec<u8>) -> Datagram {
        Datagram::new(self.mac, 47, payload)
    }

    /// Waits until the decap port has seen so many datagrams in all.
    #[track_caller]
    fn wait_seen(&self, count: u64) {
        wait_until("each datagram was judged", || {
            let refused: u64 = decap(&self.switch, "remote0").refused.values().sum();
            refused + self.switch.port("remote0").ingress_frames >= count
        });
    }
}

/// A frame on VLAN 20.
fn inner(number: u32, bytes: usize) -> Vec<u8> {
    numbered([0x52, 0x54, 0, 0, 0, 0x11], [0x52, 0x54, 0, 0, 0, 0x12], Some(20), number, bytes)
}

#[test]
fn losses_and_disorder_of_each_remote_session_are_seen() {
    let mut listener = Listener::start();
    let mut sent = Vec::new();
    // 3 and 4 are missing, 4 comes late, 6 comes twice; in the other session nothing is wrong.
    for (session, number) in
        [0, 1, 2, 5, 6, 4, 6].map(|number| (7, number)).into_iter().chain((9..15).map(|n| (8, n)))
    {
        let frame = inner(sent.len() as u32 + 1, 300);
        let datagram = listener.gre(erspan_2(session, number, &frame));
        listener.far.send(&datagram.frame());
        sent.push(frame);
    }
    assert_same("sniffie", collect(&mut listener.sniffie, sent.len()), &sent);
    let info = decap(&listener.switch, "remote0");
    assert!(info.refused.is_empty(), "{info:?}");
    let found: Vec<_> = info
        .sessions
        .iter()
        .map(|it| (it.id, it.source.as_str(), it.received, it.lost, it.late, it.duplicates))
        .collect();
    assert_eq!(found, [(Some(7), "10.9.0.9", 7, 1, 1, 1), (Some(8), "10.9.0.9", 6, 0, 0, 0)]);
    assert_eq!(listener.switch.port("remote0").ingress_frames, 13);
}

/// Datagrams that are wrong in one thing each, and what that is called.
fn wrong(listener: &Listener) -> Vec<(&'static str, Vec<u8>)> {
    let frame = inner(1, 100);
    let good = listener.gre(erspan_2(7, 0, &frame));
    let udp = |payload| Datagram::new(listener.mac, 17, payload).frame();
    let with = |change: fn(&mut Datagram)| {
        let mut datagram = good.clone();
        change(&mut datagram);
        datagram.frame()
    };
    let byte = |place: usize, value: u8| {
        let mut datagram = good.clone();
        datagram.payload[place] = value;
        datagram.frame()
    };
    let mut udp_length = vxlan(8472, 8, &frame);
    udp_length[4] = 0xff;
    vec![
        ("outer-ip-checksum", with(|it| it.sum_lie = 1)),
        ("outer-ip-version", with(|it| it.first = 0x65)),
        ("outer-ip-length", with(|it| it.first = 0x44)),
        // Of 116 bytes, of which another one could not go on.
        ("fragment-length", with(|it| it.fragment = 0x2000)),
        ("fragment-incomplete", with(|it| it.fragment = 3)),
        ("outer-protocol", with(|it| it.protocol = 6)),
        ("gre-flags", byte(0, 0x50)),
        ("gre-protocol", byte(2, 0x08)),
        ("erspan-version", byte(8, 0x50)),
        ("udp-port", udp(vxlan(4789, 8, &frame))),
        ("udp-length", udp(udp_length)),
        ("vxlan-flags", udp(vxlan(8472, 0, &frame))),
        ("inner-runt", listener.gre(erspan_2(7, 0, &frame[..13])).frame()),
    ]
}

#[test]
fn the_tag_that_a_sender_took_out_is_put_back_and_what_it_left_stays() {
    let mut listener = Listener::start();
    let mut sent = Vec::new();
    // No tag of its own, one of ISL, one taken out, one left; lengths around what is looked at of a frame.
    for (number, bytes) in (0..).zip([64, 123, 124, 125, 127, 128, 129, 1000]) {
        for pair in 0..4 {
            let tagged = inner(number * 4 + u32::from(pair), bytes);
            let mut wanted = tagged.clone();
            let mut copy = tagged;
            if pair == 2 {
                copy.drain(12..16);
                wanted[14] |= 5 << 5;
            }
            let mut payload = erspan_2(7, number * 4 + u32::from(pair), &copy);
            // VLAN 20 and class 5.
            (payload[9], payload[10]) = (20, 5 << 5 | pair << 3);
            listener.far.send(&listener.gre(payload).frame());
            sent.push(wanted);
        }
    }
    assert_same("sniffie", collect(&mut listener.sniffie, sent.len()), &sent);
    assert!(decap(&listener.switch, "remote0").refused.is_empty());
}

#[test]
fn datagrams_that_are_no_copies_are_refused_and_each_reason_is_counted() {
    let mut listener = Listener::start();
    let mut reasons = BTreeMap::<String, u64>::new();
    for (reason, frame) in wrong(&listener) {
        listener.far.send(&frame);
        *reasons.entry(reason.to_owned()).or_default() += 1;
    }
    let right = [inner(2, 200), inner(3, 300)];
    listener.far.send(&listener.gre(erspan_2(7, 1, &right[0])).frame());
    listener.far.send(&Datagram::new(listener.mac, 17, vxlan(8472, 8, &right[1])).frame());
    assert_same("sniffie", collect(&mut listener.sniffie, 2), &right);
    // Others of a fragment are waited for.
    listener.wait_seen(reasons.values().sum::<u64>() + 2);
    let info = decap(&listener.switch, "remote0");
    assert_eq!(info.refused, reasons);
    assert_eq!(listener.switch.port("remote0").ingress_frames, 2);
    for leg in listener.switch.settled("in") {
        assert_eq!((leg.wanted, leg.delivered), (2, 2), "{leg:?}");
    }
}

#[test]
fn whatever_bytes_a_datagram_has_it_is_taken_or_refused_and_the_switch_goes_on() {
    let mut listener = Listener::start();
    let mut random = Random::new();
    let good = listener.gre(erspan_2(7, 0, &inner(1, 100)));
    let count = 2000;
    for number in 1..=count {
        let mut datagram = good.clone();
        for _ in 0..=random.below(3) {
            let place = random.below(16) as usize;
            datagram.payload[place] = random.below(256) as u8;
        }
        datagram.protocol = [47, 47, 47, 17][random.below(4) as usize];
        listener.far.send(&datagram.frame());
        listener.sniffie.take();
        // The kernel drops what it has no chunk for.
        if number % 500 == 0 {
            listener.wait_seen(number);
        }
    }
    let refused: u64 = decap(&listener.switch, "remote0").refused.values().sum();
    let taken = listener.switch.port("remote0").ingress_frames;
    assert_eq!(refused + taken, count);
    assert!(refused > 0 && taken > 0, "{refused} {taken}");
    for leg in listener.switch.settled("in") {
        assert_eq!(leg.wanted, taken, "{leg:?}");
    }
    collect(&mut listener.sniffie, 0);
    let last = inner(3, 200);
    listener.far.send(&listener.gre(erspan_2(7, 1, &last)).frame());
    assert_same("sniffie", collect(&mut listener.sniffie, 1), &[last]);
}

#[test]
fn a_decap_port_answers_a_neighbour_that_asks_it_alone_whether_it_is_still_there() {
    let listener = Listener::start();
    let mac = mac_text(listener.mac);
    for address in ["10.9.0.2", "fd09::2"] {
        // From then on the kernel asks by unicast.
        ip(&format!("neigh replace {address} lladdr {mac} dev far nud probe"));
        wait_until("the neighbour is reachable", || {
            ip(&format!("neigh show {address} dev far")).contains("REACHABLE")
        });
    }
    let info = decap(&listener.switch, "remote6");
    assert!(info.refused.is_empty(), "{info:?}");
}

#[test]
fn a_decap_port_and_destinations_wait_while_their_uplink_carries_nothing() {
    let switch = joined(Placement::OneWorker, Tag::Absent, "");
    let out = || switch.session("out").destinations.remove(0).detail;
    switch.wait_state("remote4", PortState::Up);
    assert_eq!(out(), "");
    ip("link set near down");
    switch.wait_detail("remote4", "port \"uplink1\" is waiting: far has no link");
    switch.wait_detail("uplink0", "near is set down");
    assert!(out().starts_with("port \"uplink0\" is waiting: near is set down"), "{}", out());
    assert_eq!(switch.port("remote4").state, PortState::Waiting);
    ip("link set near up");
    switch.wait_state("remote4", PortState::Up);
    switch.control().request("DELETE", "/v1/ports/uplink1", "");
    switch.wait_detail("remote4", "there is no port \"uplink1\"");
    let vm = json!({ "name": "uplink1", "socket": switch.socket("uplink1") });
    assert_eq!(switch.control().request("POST", "/v1/ports", &vm.to_string()).status, 201);
    switch.wait_detail("remote4", "port \"uplink1\" is no uplink");
    // Nobody is at the other end of that socket, nor at that of sniffie, who watches.
    let sniffie = switch.session("in").destinations.remove(0);
    assert!(sniffie.detail.starts_with("port \"sniffie\" is waiting"), "{}", sniffie.detail);
}
