//! What is configured for copies that go to a collector: tags, lengths, fragments, marks and numbers, as tshark and the kernel
//! see them.
//!
//! Each test has a network namespace without a name, which is gone when the test is. They need root.
#![cfg(test)]
#![allow(clippy::cast_possible_truncation, reason = "tests")]

mod support;

use helio_api::PortState;
use helio_types::DropReason;
use serde_json::json;

use support::collector::{
    Arrived, FORMS, Form, NETWORKS, Network, Stream, UPLINK, all_streams, collect_copies,
    destination, destination_json, lay_collector_wire,
};
use support::station::{Station, assert_same, collect, number_of, numbered};
use support::switch::{Placement, Plan, TestSwitch};
use support::tshark::{Decoded, Decoder};
use support::wire::{Card, enter_namespace, ip, mac_of, mac_text};

const TEN: &str = "vlan = { access = 10 }";

/// Two guests, a third one that watches, and a collector.
struct Scene {
    switch: TestSwitch,
    alice: Station,
    bob: Station,
    sniffie: Station,
    far: Card,
    next_number: u32,
}

/// A session that watches alice, unless `keys` say something else, with these destinations.
fn session(keys: &str, destinations: &[String]) -> String {
    let sources = if keys.contains("source-") { "" } else { "source-ports = [\"alice\"]" };
    format!("[[mirror]]\nname = \"watch\"\n{sources}\n{keys}\n{}", destinations.concat())
}

impl Scene {
    /// `far` is laid already. `vlans` are those of alice, bob and sniffie: not that of the uplink, whose network says a lot.
    #[track_caller]
    fn start(placement: Placement, far: Card, vlans: [&str; 3], session: &str) -> Self {
        let plan = Plan::new(placement).port("alice", vlans[0]).port("bob", vlans[1]);
        let switch = plan.port("sniffie", vlans[2]).more(UPLINK).more(session).start();
        switch.wait_state("uplink0", PortState::Up);
        switch.wait_collectors("watch");
        let [alice, bob, sniffie] =
            ["alice", "bob", "sniffie"].map(|name| Station::guest(switch.guest(name)));
        Self { switch, alice, bob, sniffie, far, next_number: 1 }
    }

    #[track_caller]
    fn simple(session: &str) -> Self {
        enter_namespace();
        let far = lay_collector_wire(1500);
        Self::start(Placement::OneWorker, far, [TEN; 3], session)
    }

    fn number(&mut self) -> u32 {
        self.next_number += 1;
        self.next_number
    }

    /// Alice sends a frame to bob.
    #[track_caller]
    fn send(&mut self, tci: Option<u16>, bytes: usize) -> Vec<u8> {
        let [alice, bob] = ["alice", "bob"].map(|name| self.switch.mac(name));
        let frame = numbered(alice, bob, tci, self.number(), bytes);
        self.alice.send(&frame);
        frame
    }

    /// Bob sends a frame to alice.
    #[track_caller]
    fn send_back(&mut self, tci: Option<u16>, bytes: usize) -> Vec<u8> {
        let [alice, bob] = ["alice", "bob"].map(|name| self.switch.mac(name));
        let frame = numbered(bob, alice, tci, self.number(), bytes);
        self.bob.send(&frame);
        frame
    }
}

fn destinations(streams: &[Stream], more: &str) -> Vec<String> {
    streams.iter().map(|stream| destination(*stream, more)).collect()
}

fn decode(copies: &[Arrived], fields: &[&str]) -> Vec<Decoded> {
    let mut decoder = Decoder::default();
    for copy in copies {
        decoder.push(&copy.datagram);
    }
    decoder.decode(fields)
}

fn of_stream(copies: &[Arrived], stream: Stream) -> Vec<Arrived> {
    copies.iter().filter(|copy| copy.stream == stream).cloned().collect()
}

fn frames(copies: &[Arrived]) -> Vec<Vec<u8>> {
    copies.iter().map(|copy| copy.copy.clone()).collect()
}

/// With one more tag behind the addresses.
fn tagged(frame: &[u8], tci: u16) -> Vec<u8> {
    let [high, low] = tci.to_be_bytes();
    [&frame[..12], &[0x81, 0, high, low], &frame[12..]].concat()
}

/// Without its outermost tag.
fn untagged(frame: &[u8]) -> Vec<u8> {
    [&frame[..12], &frame[16..]].concat()
}

#[test]
fn datagrams_have_the_tag_of_their_network() {
    enter_namespace();
    let far = lay_collector_wire(1500);
    let next_hop = mac_text(mac_of("far"));
    let tag = format!("vlan = 77\npcp = 3\nremote-mac = \"{next_hop}\"");
    let legs = destinations(&all_streams(), &tag);
    let mut scene = Scene::start(Placement::OneWorker, far, [TEN; 3], &session("", &legs));
    let sent: Vec<_> = [60, 200, 1300].map(|bytes| scene.send(None, bytes)).into();
    let copies = collect_copies(&mut scene.far, sent.len() * legs.len());
    for stream in all_streams() {
        assert_same("copies", frames(&of_stream(&copies, stream)), &sent);
    }
    for found in decode(&copies, &["vlan.id", "vlan.priority", "vlan.dei"]) {
        found.assert(&[("vlan.id", "77"), ("vlan.priority", "3"), ("vlan.dei", "0")]);
    }
}

#[test]
fn copies_for_another_network_are_handed_to_the_gateway() {
    enter_namespace();
    let far = lay_collector_wire(1500);
    let mac = mac_text(mac_of("far"));
    let legs = destinations(&all_streams(), "");
    let beyond = legs.iter().map(|leg| {
        leg.replace("remote = \"10.9.0.9\"", "remote = \"192.0.2.9\"\ngateway = \"10.9.0.9\"")
            .replace("remote = \"fd09::9\"", "remote = \"fd10::9\"\ngateway = \"fd09::9\"")
    });
    let text = session("", &beyond.collect::<Vec<_>>());
    let mut scene = Scene::start(Placement::OneWorker, far, [TEN; 3], &text);
    let sent = vec![scene.send(None, 200)];
    let copies = collect_copies(&mut scene.far, legs.len());
    for stream in all_streams() {
        assert_same("copies", frames(&of_stream(&copies, stream)), &sent);
    }
    for (copy, found) in copies.iter().zip(decode(&copies, &["eth.dst", "ip.dst", "ipv6.dst"])) {
        assert!(found.get("eth.dst").starts_with(&mac), "{found:?}");
        match copy.stream.0 {
            Network::V4 => found.assert(&[("ip.dst", "192.0.2.9")]),
            Network::V6 => found.assert(&[("ipv6.dst", "fd10::9")]),
        }
    }
}

#[test]
fn copies_have_no_more_bytes_than_their_session_wants_and_say_what_was_cut() {
    let mut legs = destinations(&all_streams(), "");
    legs.push("[[mirror.destination]]\nport = \"sniffie\"\n".to_owned());
    let mut scene = Scene::simple(&session("snap-len = 100", &legs));
    let sent: Vec<_> = [99, 100, 101, 1400].map(|bytes| scene.send(None, bytes)).into();
    let wanted: Vec<_> = sent.iter().map(|frame| frame[..frame.len().min(100)].to_vec()).collect();
    let copies = collect_copies(&mut scene.far, sent.len() * all_streams().len());
    for stream in all_streams() {
        assert_same("copies", frames(&of_stream(&copies, stream)), &wanted);
    }
    assert_same("sniffie", collect(&mut scene.sniffie, sent.len()), &wanted);
    assert_cut(&copies, &sent);
}

/// Types II and III say of each copy whether it is all of the frame.
#[track_caller]
fn assert_cut(copies: &[Arrived], sent: &[Vec<u8>]) {
    for (copy, found) in copies.iter().zip(decode(copies, &["erspan.truncated"])) {
        let frame = sent.iter().find(|frame| number_of(frame) == number_of(&copy.copy)).unwrap();
        if matches!(copy.stream.1, Form::Erspan2 | Form::Erspan3) {
            let is_cut = copy.copy.len() < frame.len();
            assert_eq!(found.number("erspan.truncated"), u64::from(is_cut), "{copy:?}");
        }
    }
}

/// Bytes between the beginning of the datagram and the copy.
fn outer_bytes((network, form): Stream) -> usize {
    let ip = [20, 40][network as usize];
    ip + match form {
        Form::Erspan1 => 4,
        Form::Erspan2 => 16,
        Form::Erspan3 => 28,
        Form::Gre => 12,
        Form::Vxlan => 16,
    }
}

/// Path MTU, which IPv6 has no shorter.
fn path_mtu(network: Network) -> usize {
    [400, 1280][network as usize]
}

fn narrow_legs(oversize: &str) -> Vec<String> {
    let legs = all_streams().into_iter().map(|stream| {
        let keys = format!("mtu = {}\noversize = \"{oversize}\"", path_mtu(stream.0));
        destination(stream, &keys)
    });
    legs.collect()
}

/// For each stream a frame that just fits the path, and one that does not.
fn lengths_around_limits() -> Vec<usize> {
    let limit = |stream: Stream| path_mtu(stream.0) - outer_bytes(stream);
    all_streams().into_iter().map(limit).flat_map(|limit| [limit, limit + 1]).collect()
}

#[test]
fn what_is_too_long_for_the_path_is_truncated_to_the_byte() {
    let legs = narrow_legs("truncate");
    let mut scene = Scene::simple(&session("", &legs));
    let sent: Vec<_> =
        lengths_around_limits().into_iter().map(|bytes| scene.send(None, bytes)).collect();
    let copies = collect_copies(&mut scene.far, sent.len() * legs.len());
    for stream in all_streams() {
        let limit = path_mtu(stream.0) - outer_bytes(stream);
        let cut = |frame: &Vec<u8>| frame[..frame.len().min(limit)].to_vec();
        let wanted: Vec<_> = sent.iter().map(cut).collect();
        assert_same("copies", frames(&of_stream(&copies, stream)), &wanted);
    }
    assert_cut(&copies, &sent);
    for leg in scene.switch.settled("watch") {
        assert_eq!((leg.wanted, leg.delivered), (20, 20), "{leg:?}");
    }
}

#[test]
fn what_is_too_long_for_the_path_is_dropped_and_counted_and_leaves_a_gap() {
    let legs = narrow_legs("drop");
    let mut scene = Scene::simple(&session("", &legs));
    let mut sent: Vec<_> =
        lengths_around_limits().into_iter().map(|bytes| scene.send(None, bytes)).collect();
    sent.push(scene.send(None, 60));
    let fits = |stream: Stream| {
        let limit = path_mtu(stream.0) - outer_bytes(stream);
        sent.iter().enumerate().filter(move |(_, frame)| frame.len() <= limit)
    };
    let total = all_streams().into_iter().map(|stream| fits(stream).count()).sum();
    let copies = collect_copies(&mut scene.far, total);
    let counts = scene.switch.settled("watch");
    for (stream, leg) in all_streams().into_iter().zip(counts) {
        let wanted: Vec<_> = fits(stream).map(|(_, frame)| frame.clone()).collect();
        let got = of_stream(&copies, stream);
        assert_same("copies", frames(&got), &wanted);
        let numbers: Vec<_> = got.iter().filter_map(|copy| copy.sequence).collect();
        let places: Vec<_> = fits(stream).map(|(place, _)| place as u32).collect();
        assert!(numbers.is_empty() || numbers == places, "{stream:?}: {numbers:?}");
        let dropped = (sent.len() - wanted.len()) as u64;
        assert_eq!((leg.delivered, leg.dropped["mtu"]), (wanted.len() as u64, dropped));
        assert_eq!(leg.dropped.len(), 1, "{leg:?}");
    }
    assert_same("production", collect(&mut scene.bob, sent.len()), &sent);
}

#[test]
fn what_is_too_long_for_the_path_is_put_together_from_fragments_by_the_kernel_and_by_tshark() {
    enter_namespace();
    let far = lay_collector_wire(1500);
    let mut vxlan = [("vx4", "10.9.0.9"), ("vx6", "fd09::9")].map(|(name, local)| {
        ip(&format!("link add {name} type vxlan id 705 dev far local {local} dstport 4789"));
        ip(&format!("link set {name} up"));
        Station::Card(Card::on(name))
    });
    let text = session("", &narrow_legs("fragment"));
    let mut scene = Scene::start(Placement::OneWorker, far, [TEN; 3], &text);
    let sent: Vec<_> =
        [60, 371, 372, 800, 1231, 1232, 1400, 1514].map(|bytes| scene.send(None, bytes)).into();
    for interface in &mut vxlan {
        assert_same("kernel VXLAN", collect(interface, sent.len()), &sent);
    }
    let mut decoder = Decoder::default();
    // Whole datagrams, and the first and the last fragments: more than the frames.
    for frame in scene.far.take() {
        if matches!((frame[12], frame[13]), (8, 0) | (0x86, 0xdd)) {
            decoder.push(&frame);
        }
    }
    for leg in scene.switch.settled("watch") {
        assert_eq!((leg.wanted, leg.delivered), (8, 8), "{leg:?}");
    }
    assert_reassembled(&decoder, &sent);
}

/// tshark has each frame whole, once by each stream.
#[track_caller]
fn assert_reassembled(decoder: &Decoder, sent: &[Vec<u8>]) {
    let fields = ["ip.version", "gre.proto", "gre.flags_and_version", "vxlan.vni", "data.data"];
    let mut seen = Vec::new();
    for found in decoder.decode(&fields) {
        let is_copy = !found.get("gre.proto").is_empty() || !found.get("vxlan.vni").is_empty();
        if is_copy {
            let keys = ["ip.version", "gre.proto", "gre.flags_and_version", "vxlan.vni"];
            seen.push((
                keys.map(|key| found.get(key).to_owned()),
                found.get("data.data").to_owned(),
            ));
        }
    }
    let mut streams: Vec<_> = seen.iter().map(|(stream, _)| stream.clone()).collect();
    streams.sort();
    streams.dedup();
    assert_eq!(streams.len(), NETWORKS.len() * FORMS.len(), "{streams:?}");
    let hex =
        |frame: &Vec<u8>| frame[14..].iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    let wanted: Vec<String> = sent.iter().map(hex).collect();
    for stream in streams {
        let of_stream = seen.iter().filter(|(found, _)| *found == stream);
        let mut got: Vec<_> = of_stream.map(|(_, data)| data.clone()).collect();
        let mut wanted = wanted.clone();
        got.sort();
        wanted.sort();
        assert_eq!(got, wanted, "{stream:?}");
    }
}

#[test]
fn a_copy_has_the_tags_with_which_the_frame_crossed_its_source() {
    let rspan = "[[mirror.destination]]\nport = \"sniffie\"\nrspan-vlan = 999\n".to_owned();
    let vlans = [TEN, "vlan = { trunk = [10, 20], native = 5 }", "vlan = { access = 30 }"];
    let tci = 6 << 13 | 10;
    for (source, placement) in [("alice", Placement::OneWorker), ("bob", Placement::Alternating)] {
        enter_namespace();
        let far = lay_collector_wire(1500);
        let mut legs = destinations(&all_streams(), "");
        legs.push(rspan.clone());
        let text = session(&format!("source-ports = [\"{source}\"]"), &legs);
        let mut scene = Scene::start(placement, far, vlans, &text);
        let (there, back) = (scene.send(None, 200), scene.send_back(Some(tci), 200));
        // Alice is an untagged member, bob a tagged one.
        let wanted = match source {
            "alice" => [there.clone(), untagged(&back)],
            _ => [tagged(&there, 10), back.clone()],
        };
        let copies = collect_copies(&mut scene.far, 2 * all_streams().len());
        for stream in all_streams() {
            assert_same("copies", frames(&of_stream(&copies, stream)), &wanted);
        }
        let fields = ["erspan.vlan", "erspan.cos", "erspan.encap", "erspan.direction"];
        for (copy, found) in copies.iter().zip(decode(&copies, &fields)) {
            let is_back = number_of(&copy.copy) == number_of(&back);
            if matches!(copy.stream.1, Form::Erspan2 | Form::Erspan3) {
                assert_eq!(found.number("erspan.vlan"), 10);
                assert_eq!(found.number("erspan.cos"), if is_back { 6 } else { 0 });
            }
            if copy.stream.1 == Form::Erspan2 {
                assert_eq!(found.number("erspan.encap"), if source == "bob" { 3 } else { 0 });
            }
            if copy.stream.1 == Form::Erspan3 {
                let egress = is_back == (source == "alice");
                assert_eq!(found.number("erspan.direction"), u64::from(egress));
            }
        }
        let wanted = [tagged(&wanted[0], 999), tagged(&wanted[1], 6 << 13 | 999)];
        assert_same("RSPAN", collect(&mut scene.sniffie, 2), &wanted);
    }
}

#[test]
fn frames_that_the_switch_refuses_are_marked_when_they_are_wanted() {
    enter_namespace();
    let far = lay_collector_wire(1500);
    let mut legs = destinations(&all_streams(), "");
    legs.push("[[mirror.destination]]\nport = \"sniffie\"\nrspan-vlan = 999\n".to_owned());
    let text = session("include-dropped = true", &legs);
    let mut scene = Scene::start(Placement::OneWorker, far, [TEN; 3], &text);
    let good = scene.send(None, 200);
    let refused = scene.send(Some(20), 200);
    let copies = collect_copies(&mut scene.far, 2 * all_streams().len());
    for stream in all_streams() {
        let wanted = [good.clone(), refused.clone()];
        assert_same("copies", frames(&of_stream(&copies, stream)), &wanted);
    }
    let mark = 1 << 19 | (DropReason::Vlan.index() as u64) << 8;
    let fields = ["erspan.index", "erspan.bso", "erspan.pid7.source_index", "erspan.vlan"];
    let alice = scene.switch.port("alice").source_index.unwrap() as u64;
    for (copy, found) in copies.iter().zip(decode(&copies, &fields)) {
        let is_refused = number_of(&copy.copy) == number_of(&refused);
        let source = if is_refused { mark | alice } else { alice };
        if matches!(copy.stream.1, Form::Erspan2 | Form::Erspan3) {
            assert_eq!(found.number("erspan.vlan"), if is_refused { 20 } else { 10 });
        }
        match copy.stream.1 {
            Form::Erspan2 => assert_eq!(found.number("erspan.index"), source),
            Form::Erspan3 => {
                assert_eq!(found.number("erspan.pid7.source_index"), source);
                assert_eq!(found.number("erspan.bso"), if is_refused { 3 } else { 0 });
            }
            _ => {}
        }
    }
    let dei = 1 << 12;
    let wanted = [tagged(&good, 999), tagged(&refused, dei | 999)];
    assert_same("RSPAN", collect(&mut scene.sniffie, 2), &wanted);
    assert_eq!(scene.switch.drops("alice", DropReason::Vlan), 1);
    assert_same("production", collect(&mut scene.bob, 1), &[good]);
}

#[test]
fn each_session_numbers_the_copies_for_each_of_its_destinations_by_itself() {
    let leg = |id: u32| {
        let text = destination((Network::V4, Form::Erspan2), "");
        text.replace("id = 702", &format!("id = {id}"))
    };
    let first = session("direction = \"ingress\"", &[leg(1), leg(2)]);
    let second = format!(
        "[[mirror]]\nname = \"other\"\nsource-ports = [\"bob\"]\ndirection = \"ingress\"\n{}",
        leg(3)
    );
    let mut scene = Scene::simple(&(first + &second));
    scene.switch.wait_collectors("other");
    for _ in 0..10 {
        scene.send(None, 100);
        scene.send_back(None, 100);
        scene.send(None, 100);
    }
    let copies = collect_copies(&mut scene.far, 50);
    let decoded = decode(&copies, &["erspan.spanid"]);
    for (id, count) in [(1, 20), (2, 20), (3, 10)] {
        let of_session = copies.iter().zip(&decoded);
        let of_session = of_session.filter(|(_, found)| found.number("erspan.spanid") == id);
        let numbers: Vec<_> = of_session.filter_map(|(copy, _)| copy.sequence).collect();
        assert_eq!(numbers, (0..count).collect::<Vec<_>>(), "session {id}");
    }
}

#[test]
fn copies_are_numbered_on_when_only_their_way_is_set_anew() {
    let stream = (Network::V4, Form::Erspan2);
    let mut scene = Scene::simple(&session("", &[destination(stream, "")]));
    let ways = ["", "dscp = 46", "dscp = 46\nttl = 3", "oversize = \"drop\"", "mtu = 1400"];
    let mut copies = Vec::new();
    for way in ways {
        let settings = json!({ "destination": [destination_json(stream, way)] });
        scene.switch.change_session("watch", &settings);
        scene.send(None, 200);
        scene.send_back(None, 200);
        // Before the next change: what still waits in a ring then goes the next way.
        copies.extend(collect_copies(&mut scene.far, 2));
    }
    let numbers: Vec<_> = copies.iter().filter_map(|copy| copy.sequence).collect();
    assert_eq!(numbers, (0..10).collect::<Vec<_>>());
    let classes = decode(&copies, &["ip.dsfield.dscp", "ip.ttl"]);
    let told = |found: &Decoded| (found.number("ip.dsfield.dscp"), found.number("ip.ttl"));
    let classes: Vec<_> = classes.iter().step_by(2).map(told).collect();
    assert_eq!(classes, [(0, 64), (46, 64), (46, 3), (0, 64), (0, 64)]);
    let leg = scene.switch.settled("watch").remove(0);
    assert_eq!((leg.wanted, leg.delivered), (10, 10));
}
