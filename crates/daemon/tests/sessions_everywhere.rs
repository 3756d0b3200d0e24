//! Each kind of source of a named session with each kind of destination, in each direction: the right frames, once, and
//! nothing else, frame by frame; what is sent to collectors as tshark and the kernel take it apart.
//!
//! Each test has a network namespace without a name, which is gone when the test is. They need root.
#![cfg(test)]

mod support;

use std::collections::HashMap;

use serde_json::{Value, json};

use support::collector::{Arrived, Form, Network};
use support::everywhere::{Everywhere, FLOWS, Flow, RSPAN, STATIONS, Seen, Sent, Who};
use support::station::{assert_same, number_of};
use support::switch::Placement;
use support::tshark::{Decoded, Decoder};

/// What a session watches, and which flows that means when they are looked at from one side.
struct Source {
    settings: Value,
    /// Whether it is a source of frames that come from, or go to, `who` on `vlan`. Frames of another switch are in none of the
    /// VLANs of this one.
    is_source: fn(who: Who, vlan: u16) -> bool,
}

/// Which way a frame crossed its source, and the port at which it did.
type Crossing = (u64, Who);

impl Source {
    fn crossing(&self, flow: &Flow, direction: &str) -> Option<Crossing> {
        let ingress = direction != "egress" && (self.is_source)(flow.from, flow.vlan());
        // What a decap port takes is copied and goes nowhere else.
        let leaves = flow.from != Who::Remote;
        let egress = direction != "ingress" && leaves && (self.is_source)(flow.to, flow.vlan());
        if ingress { Some((0, flow.from)) } else { egress.then_some((1, flow.to)) }
    }
}

/// With the tag of the RSPAN destination in front, of the priority that the frame has.
fn with_rspan_tag(frame: &[u8]) -> Vec<u8> {
    let priority = if frame[12..14] == [0x81, 0] { frame[14] & 0xe0 } else { 0 };
    let [high, low] = RSPAN.to_be_bytes();
    [&frame[..12], &[0x81, 0, high | priority, low], &frame[12..]].concat()
}

/// Production: each station got what was sent to it.
#[track_caller]
fn assert_production(seen: &Seen, sent: &[Sent]) {
    for (who, frames) in STATIONS.iter().zip(&seen.stations) {
        let to = |sent: &&Sent| sent.flow.to == *who && sent.flow.from != Who::Remote;
        let wanted: Vec<_> = sent.iter().filter(to).map(|sent| sent.bytes.clone()).collect();
        assert_same(&format!("production for {who:?}"), frames.clone(), &wanted);
    }
}

/// Each destination got these frames, once, and nothing else.
#[track_caller]
fn assert_copies(all: &Everywhere, seen: &Seen, wanted: &[Vec<u8>]) {
    assert_same("VM port", seen.sniffer.clone(), wanted);
    assert_same("TAP", seen.watch.clone(), wanted);
    assert_same("uplink", seen.span.clone(), wanted);
    let tagged: Vec<_> = wanted.iter().map(|frame| with_rspan_tag(frame)).collect();
    assert_same("RSPAN", seen.rspan.clone(), &tagged);
    for stream in &all.streams {
        let of_stream = seen.far.iter().filter(|arrived| arrived.stream == *stream);
        let copies = of_stream.map(|arrived| arrived.copy.clone()).collect();
        assert_same(&format!("{stream:?}"), copies, wanted);
    }
    for (interface, frames) in ["over IPv4", "over IPv6"].iter().zip(&seen.vxlan) {
        assert_same(&format!("kernel VXLAN {interface}"), frames.clone(), wanted);
    }
}

/// What tshark shall find in a copy that came to the collector.
struct Expected {
    arrived: Arrived,
    crossing: Crossing,
    flow: Flow,
}

/// Fields that are compared.
const FIELDS: [&str; 46] = [
    "ip.src",
    "ip.dst",
    "ip.dsfield.dscp",
    "ip.ttl",
    "ip.flags.df",
    "ip.checksum.status",
    "ipv6.src",
    "ipv6.dst",
    "ipv6.tclass.dscp",
    "ipv6.hlim",
    "eth.dst",
    "eth.type",
    "frame.len",
    "gre.proto",
    "gre.flags_and_version",
    "gre.key",
    "gre.sequence_number",
    "udp.dstport",
    "udp.checksum.status",
    "udp.srcport",
    "vxlan.flags",
    "vxlan.vni",
    "erspan.version",
    "erspan.vlan",
    "erspan.cos",
    "erspan.encap",
    "erspan.truncated",
    "erspan.spanid",
    "erspan.reserved",
    "erspan.index",
    "erspan.timestamp",
    "erspan.sgt",
    "erspan.p",
    "erspan.ft",
    "erspan.hw",
    "erspan.direction",
    "erspan.gra",
    "erspan.o",
    "erspan.platid",
    "erspan.pid7.source_index",
    "erspan.pid7.timestamp",
    "erspan.bso",
    "vlan.id",
    "vlan.priority",
    "eth.src",
    "ip.version",
];

/// What stands in front of a copy is as configured, and as the copy was seen.
fn assert_fields(decoded: &[Decoded], expected: &[Expected]) {
    let mut stamps = HashMap::new();
    for (found, Expected { arrived, crossing, flow }) in decoded.iter().zip(expected) {
        let (network, form) = arrived.stream;
        match network {
            Network::V4 => found.assert(&[
                ("ip.src", "10.9.0.1"),
                ("ip.dst", "10.9.0.9"),
                ("ip.dsfield.dscp", "10"),
                ("ip.ttl", "61"),
                ("ip.checksum.status", "1"),
                ("ip.flags.df", "1"),
            ]),
            Network::V6 => found.assert(&[
                ("ipv6.src", "fd09::1"),
                ("ipv6.dst", "fd09::9"),
                ("ipv6.tclass.dscp", "10"),
                ("ipv6.hlim", "61"),
            ]),
        }
        found.assert(form.fields());
        let (direction, at) = *crossing;
        let (vlan, priority) = (u64::from(flow.vlan()), flow.tci.map_or(0, |tci| tci >> 13));
        if matches!(form, Form::Erspan2 | Form::Erspan3) {
            assert_eq!(found.number("erspan.vlan"), vlan);
            assert_eq!(found.number("erspan.cos"), u64::from(priority));
            assert_eq!(found.number("erspan.truncated"), 0);
        }
        match form {
            Form::Erspan2 => {
                assert_eq!(found.number("erspan.encap"), if flow.tci.is_some() { 3 } else { 0 });
                assert_eq!(found.number("erspan.index"), at as u64);
            }
            Form::Erspan3 => {
                assert_eq!(found.number("erspan.direction"), direction);
                assert_eq!(found.number("erspan.pid7.source_index"), at as u64);
                assert_eq!(found.number("erspan.bso"), 0);
                let (high, low) = ("erspan.pid7.timestamp", "erspan.timestamp");
                let stamp = found.number(high) << 32 | found.number(low);
                let before = stamps.insert(network, stamp).unwrap_or(0);
                assert!(before <= stamp, "the stamp {stamp} is before {before}");
            }
            Form::Vxlan => {
                let status = if network == Network::V4 { "3" } else { "1" };
                found.assert(&[("udp.checksum.status", status)]);
            }
            Form::Erspan1 | Form::Gre => {}
        }
    }
    let span = stamps.values().copied().max().unwrap_or(0);
    assert!(stamps.is_empty() || span > 0, "there is a clock");
}

/// Copies of each stream have numbers without a gap.
fn assert_numbers(all: &Everywhere, seen: &[Arrived]) {
    for stream in &all.streams {
        let of_stream = seen.iter().filter(|arrived| arrived.stream == *stream);
        let numbers: Vec<_> = of_stream.filter_map(|arrived| arrived.sequence).collect();
        let is_numbered = matches!(stream.1, Form::Erspan2 | Form::Erspan3 | Form::Gre);
        assert_eq!(!numbers.is_empty(), is_numbered, "{stream:?}");
        assert!(numbers.windows(2).all(|two| two[1] == two[0] + 1), "{stream:?}: {numbers:?}");
    }
}

/// Watches `source` in each of `directions`, with everybody talking.
fn watch(placement: Placement, source: &Source, directions: &[&str]) {
    let mut all = Everywhere::start(placement);
    let (mut decoder, mut expected, mut arrived) = (Decoder::default(), Vec::new(), Vec::new());
    let mut total = 0;
    for direction in directions {
        all.watch(&source.settings, direction);
        let sent = all.send();
        let crossing = |sent: &Sent| source.crossing(&sent.flow, direction);
        let copied: Vec<_> = sent.iter().filter(|sent| crossing(sent).is_some()).collect();
        let wanted: Vec<_> = copied.iter().map(|sent| sent.bytes.clone()).collect();
        assert!(!wanted.is_empty() && wanted.len() < sent.len(), "{direction}");
        let (count, streams) = (wanted.len(), all.streams.len());
        let production = sent.iter().filter(|sent| sent.flow.from != Who::Remote).count();
        let seen = all.see(|seen| {
            seen.far.len() >= count * streams
                && [&seen.sniffer, &seen.watch, &seen.span, &seen.rspan]
                    .iter()
                    .all(|at| at.len() >= count)
                && seen.vxlan.iter().all(|at| at.len() >= count)
                && seen.stations.iter().map(Vec::len).sum::<usize>() >= production
        });
        assert_production(&seen, &sent);
        assert_copies(&all, &seen, &wanted);
        total += count as u64;
        for leg in all.switch.settled("all") {
            assert_eq!((leg.wanted, leg.delivered), (total, total), "{direction}: {leg:?}");
        }
        for found in &seen.far {
            decoder.push(&found.datagram);
            let number = number_of(&found.copy);
            let sent = copied.iter().find(|sent| number_of(&sent.bytes) == number).unwrap();
            let (crossing, flow) = (crossing(sent).unwrap(), sent.flow);
            expected.push(Expected { arrived: found.clone(), crossing, flow });
        }
        arrived.extend(seen.far);
    }
    assert_numbers(&all, &arrived);
    assert_fields(&decoder.decode(&FIELDS), &expected);
}

const WAYS: [&str; 3] = ["ingress", "egress", "both"];

#[test]
fn what_a_vm_port_sends_and_receives_is_copied_once_to_destinations_of_every_kind() {
    let alice = |settings| Source { settings, is_source: |who, _| who == Who::Alice };
    for placement in [Placement::OneWorker, Placement::Alternating] {
        watch(placement, &alice(json!({ "source_ports": ["alice"] })), &WAYS);
    }
}

#[test]
fn what_a_label_means_is_copied_once_to_destinations_of_every_kind() {
    let settings = json!({ "source_labels": ["sql"] });
    let source = Source { settings, is_source: |who, _| who == Who::Alice };
    watch(Placement::OneWorker, &source, &WAYS);
}

#[test]
fn what_an_address_sends_and_receives_is_copied_once_to_destinations_of_every_kind() {
    let settings = json!({ "source_macs": [Who::Bob.mac_text()] });
    let source = Source { settings, is_source: |who, _| who == Who::Bob };
    watch(Placement::Alternating, &source, &WAYS);
}

#[test]
fn what_a_vlan_carries_is_copied_once_to_destinations_of_every_kind() {
    let source = Source {
        settings: json!({ "source_vlans": [10] }),
        is_source: |who, vlan| who != Who::Remote && vlan == 10,
    };
    watch(Placement::OneWorker, &source, &WAYS);
}

#[test]
fn what_an_uplink_receives_and_sends_is_copied_once_to_destinations_of_every_kind() {
    let settings = json!({ "source_ports": ["side"] });
    let source = Source { settings, is_source: |who, _| who == Who::Side };
    watch(Placement::Alternating, &source, &WAYS);
}

#[test]
fn what_the_host_sends_and_receives_by_a_tap_is_copied_once_to_destinations_of_every_kind() {
    let settings = json!({ "source_ports": ["host"] });
    let source = Source { settings, is_source: |who, _| who == Who::Host };
    watch(Placement::OneWorker, &source, &WAYS);
}

#[test]
fn what_another_switch_sends_to_a_decap_port_is_copied_once_to_destinations_of_every_kind() {
    for placement in [Placement::OneWorker, Placement::Alternating] {
        let settings = json!({ "source_ports": ["remote0"] });
        let source = Source { settings, is_source: |who, _| who == Who::Remote };
        watch(placement, &source, &["ingress", "both"]);
    }
}

#[test]
fn a_frame_that_several_sources_mean_is_copied_once_to_destinations_of_every_kind() {
    let settings = json!({
        "source_ports": ["alice", "host"], "source_labels": ["sql"], "source_vlans": [20],
        "source_macs": [Who::Alice.mac_text()]
    });
    let is_source =
        |who, vlan| matches!(who, Who::Alice | Who::Host) || who != Who::Remote && vlan == 20;
    watch(Placement::Alternating, &Source { settings, is_source }, &WAYS);
    assert!(FLOWS.iter().any(|flow| flow.from == Who::Alice && flow.to == Who::Host));
}
