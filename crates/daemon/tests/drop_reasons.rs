//! Reasons for which frames and copies are dropped that nothing else here provokes. Each is counted once for each frame, where it
//! belongs, and the sums agree: what was wanted was delivered or dropped.
//!
//! The last test has a network namespace without a name, which is gone when the test is. It needs root.
#![cfg(test)]

mod support;

use std::collections::BTreeMap;

use helio_api::{MirrorDestinationInfo, PortState};
use helio_guest::{Flow, Guest, GuestConfig, NetHeader, features};
use helio_types::DropReason;

use support::apart::serve_if_asked;
use support::collector::{UPLINK, all_streams, destination, lay_collector_wire};
use support::lane::Lane;
use support::pair::{Pair, VLAN};
use support::station::{SURPRISES, numbered};
use support::stopped_thread::StoppedThread;
use support::switch::{Placement, Plan, TestSwitch, mac};
use support::wire::{arrived_on, enter_namespace};
use support::{PATIENCE, wait_until};

/// Handoffs of copies under way to a worker, at most; and those of production that find room beside them.
const HANDOFFS: u64 = 512;
/// Private buffers of a worker that frames can have which could do without.
const SPARE_BUFFERS: u64 = 384;

/// An address that nobody has been told of, behind the port of whoever sends from it.
const ELSEWHERE: [u8; 6] = [2, 0, 0, 0, 0, 0x77];

fn counts(reasons: &[(DropReason, u64)]) -> BTreeMap<String, u64> {
    reasons.iter().map(|(reason, count)| (reason.name().to_owned(), *count)).collect()
}

/// Alice and bob on one network; carol alone on another.
fn three() -> (TestSwitch, [Guest; 3]) {
    let plan = Plan::new(Placement::OneWorker);
    let plan = plan.port("alice", VLAN).port("bob", VLAN).port("carol", "vlan = { access = 77 }");
    let switch = plan.start();
    let guests = ["alice", "bob", "carol"].map(|name| {
        let config = switch.guest_config(name);
        let features = config.features | features::OFFLOADS;
        switch.guest_with(name, GuestConfig { features, ..config })
    });
    (switch, guests)
}

#[track_caller]
fn send(guest: &mut Guest, header: &NetHeader, frames: &[Vec<u8>]) {
    for frame in frames {
        guest.send_on(0, header, frame).unwrap();
    }
    guest.kick();
    guest.wait_all_sent(PATIENCE).unwrap();
}

/// The guest sends frames, each of which is refused when it comes in; nobody gets one.
#[track_caller]
fn is_refused(from: usize, header: &NetHeader, frames: &[Vec<u8>], reason: DropReason) {
    let (switch, mut guests) = three();
    let name = ["alice", "bob", "carol"][from];
    send(&mut guests[from], header, frames);
    let port = switch.port(name);
    let count = frames.len() as u64;
    assert_eq!((port.ingress_frames, port.ingress_drops), (0, counts(&[(reason, count)])));
    std::thread::sleep(SURPRISES);
    for (guest, other) in guests.iter_mut().zip(["alice", "bob", "carol"]) {
        assert_eq!(guest.poll_once(|_, _, _| ()), 0, "{other}");
        let port = switch.port(other);
        assert_eq!((port.egress_frames, port.egress_drops), (0, BTreeMap::new()), "{other}");
    }
}

fn frames(from: [u8; 6], to: [u8; 6]) -> Vec<Vec<u8>> {
    (1..=20).map(|number| numbered(from, to, None, number, 300)).collect()
}

#[test]
fn frames_from_a_group_are_refused_as_bad_source_mac() {
    let from = [3, 0, 0, 0, 0, 1];
    is_refused(0, &NetHeader::default(), &frames(from, mac(1)), DropReason::BadSourceMac);
}

#[test]
fn frames_for_the_bridge_itself_are_refused_as_link_local() {
    for last in [0, 2, 3, 0x0e] {
        let to = [1, 0x80, 0xc2, 0, 0, last];
        is_refused(0, &NetHeader::default(), &frames(mac(0), to), DropReason::LinkLocal);
    }
}

#[test]
fn frames_on_a_network_without_others_are_refused_as_no_destination() {
    let to_all = frames(mac(2), [0xff; 6]);
    is_refused(2, &NetHeader::default(), &to_all, DropReason::NoDestination);
}

#[test]
fn frames_for_whoever_is_behind_the_same_port_are_refused_as_hairpin() {
    is_refused(0, &NetHeader::default(), &frames(ELSEWHERE, mac(0)), DropReason::Hairpin);
}

#[test]
fn frames_whose_headers_go_on_beyond_the_snapshot_are_refused_as_header_long() {
    // TCP to be cut, behind options of 200 bytes.
    let mut frame = [&mac(1)[..], &mac(0), &[0x86, 0xdd, 0x60, 0, 0, 0, 4, 0, 0, 64]].concat();
    frame.resize(14 + 40, 1);
    frame.extend([6, 24]);
    frame.resize(14 + 40 + 1024, 0);
    let header = NetHeader {
        flags: NetHeader::NEEDS_CSUM,
        gso_type: NetHeader::GSO_TCPV6,
        gso_size: 500,
        csum_start: 14 + 40 + 200,
        csum_offset: 16,
        ..NetHeader::default()
    };
    is_refused(0, &header, &vec![frame; 20], DropReason::HeaderLong);
}

/// Sends numbered frames of this length to bob, who gets them all.
#[track_caller]
fn deliver(alice: &mut Guest, bob: &mut Guest, frame_bytes: usize, count: u64) {
    let mut lane = Lane::of(Flow { frame_bytes, ..Flow::between(alice.mac(), bob.mac()) });
    wait_until("bob has all", || {
        while lane.send(alice, count) + lane.receive(bob) > 0 {}
        lane.received() == count
    });
    lane.assert_complete();
}

fn only_leg(switch: &TestSwitch) -> MirrorDestinationInfo {
    let mut legs = switch.settled("watch");
    assert_eq!(legs.len(), 1);
    legs.remove(0)
}

const WATCH: &str =
    "[[mirror]]\nname = \"watch\"\nsource-ports = [\"alice\"]\ndirection = \"ingress\"\n";
const TO_SNIFFIE: &str = "[[mirror.destination]]\nport = \"sniffie\"\n";

#[test]
fn copies_beyond_the_rate_of_their_session_are_dropped_as_rate_limit() {
    let rate = "rate-frames-per-s = 1\nrate-burst-frames = 10\n";
    let plan = Plan::new(Placement::OneWorker).port("alice", "").port("bob", "");
    let plan = plan.port("sniffie", "").more(&[WATCH, rate, TO_SNIFFIE].concat());
    let switch = plan.start();
    let [mut alice, mut bob, mut sniffie] = ["alice", "bob", "sniffie"].map(|it| switch.guest(it));
    deliver(&mut alice, &mut bob, 300, 1000);
    let leg = only_leg(&switch);
    assert_eq!(leg.wanted, 1000);
    let limited = leg.dropped.get(DropReason::RateLimit.name()).copied().unwrap_or(0);
    assert_eq!(leg.dropped, counts(&[(DropReason::RateLimit, limited)]));
    // One more each second, and it did not take a quarter of an hour.
    assert!((10..1000).contains(&leg.delivered), "{leg:?}");
    let mut seen = 0;
    wait_until("the copies have come", || {
        seen += sniffie.poll_once(|_, _, _| ()) as u64;
        seen == leg.delivered
    });
}

/// A switch in a process of its own, with alice and bob on one worker, and sniffie and carol on another.
fn apart(test: &'static str, more: &str) -> (TestSwitch, [Guest; 4]) {
    let plan = Plan::new(Placement::PairApart).port("alice", "").port("bob", "");
    let switch = plan.port("sniffie", "").port("carol", "").more(more).start_apart(test);
    let guests = ["alice", "bob", "sniffie", "carol"].map(|name| {
        let config = GuestConfig { ring_size: 1024, ..switch.guest_config(name) };
        switch.guest_with(name, config)
    });
    (switch, guests)
}

#[test]
fn frames_and_copies_for_a_worker_that_stands_still_are_dropped_as_handoff_full() {
    serve_if_asked();
    let test = "frames_and_copies_for_a_worker_that_stands_still_are_dropped_as_handoff_full";
    let more = [WATCH, TO_SNIFFIE].concat();
    let (switch, [mut alice, mut bob, mut sniffie, mut carol]) = apart(test, &more);
    // Short ones, which are complete in themselves: nobody waits until they are given back.
    let to_carol: Vec<_> =
        (1..=600).map(|number| numbered(mac(0), mac(3), None, number, 60)).collect();
    let stopped = StoppedThread::of(switch.process(), "worker 1");
    deliver(&mut alice, &mut bob, 60, 3000);
    send(&mut alice, &NetHeader::default(), &to_carol);
    drop(stopped);
    // Where production found room its copies went with it.
    let leg = only_leg(&switch);
    assert_eq!((leg.wanted, leg.delivered), (3600, 2 * HANDOFFS));
    assert_eq!(leg.dropped, counts(&[(DropReason::HandoffFull, 3600 - 2 * HANDOFFS)]));
    let port = switch.port("carol");
    assert_eq!(port.egress_frames, HANDOFFS);
    assert_eq!(port.egress_drops, counts(&[(DropReason::HandoffFull, 600 - HANDOFFS)]));
    assert_eq!(sniffie.wait_received(1024, PATIENCE).unwrap().len(), 1024);
    assert_eq!(carol.wait_received(512, PATIENCE).unwrap().len(), 512);
    // It goes on.
    send(&mut alice, &NetHeader::default(), &to_carol[..100]);
    assert_eq!(carol.wait_received(100, PATIENCE).unwrap().len(), 100);
    let leg = only_leg(&switch);
    assert_eq!((leg.wanted, leg.delivered), (3700, 2 * HANDOFFS + 100));
}

#[test]
fn exact_copies_for_which_no_buffer_is_left_are_dropped_as_no_private_buffer() {
    serve_if_asked();
    let test = "exact_copies_for_which_no_buffer_is_left_are_dropped_as_no_private_buffer";
    let more = [WATCH, "exact = true\n", TO_SNIFFIE].concat();
    let (switch, [mut alice, mut bob, mut sniffie, _carol]) = apart(test, &more);
    let stopped = StoppedThread::of(switch.process(), "worker 1");
    deliver(&mut alice, &mut bob, 300, 2000);
    drop(stopped);
    let leg = only_leg(&switch);
    assert_eq!((leg.wanted, leg.delivered), (2000, SPARE_BUFFERS));
    assert_eq!(leg.dropped, counts(&[(DropReason::NoPrivateBuffer, 2000 - SPARE_BUFFERS)]));
    assert_eq!(sniffie.wait_received(384, PATIENCE).unwrap().len(), 384);
    // All buffers are back.
    deliver(&mut alice, &mut bob, 300, 200);
    assert_eq!(only_leg(&switch).delivered, SPARE_BUFFERS + 200);
}

#[test]
fn copies_for_which_the_uplink_has_no_chunk_left_are_dropped_as_no_tx_chunk() {
    enter_namespace();
    let _far = lay_collector_wire(1500);
    let legs: String = all_streams().into_iter().map(|stream| destination(stream, "")).collect();
    let session = format!("[[mirror]]\nname = \"watch\"\nsource-ports = [\"alice\"]\n{legs}");
    let plan = Plan::new(Placement::OneWorker).port("alice", VLAN).port("bob", VLAN);
    let switch = plan.more(UPLINK).more(&session).start();
    switch.wait_state("uplink0", PortState::Up);
    switch.wait_collectors("watch");
    // The kernel takes fewer frames in a call than a burst has copies.
    let pair = Pair::start(switch.guest("alice"), switch.guest("bob"));
    let reason = DropReason::NoTxChunk.name();
    wait_until("each destination has lost copies", || {
        let legs = switch.session("watch").destinations;
        legs.iter().all(|leg| leg.dropped.contains_key(reason))
    });
    let report = pair.stop();
    report.assert_nothing_lost();
    let total = report.there.sent() + report.back.sent();
    let legs = switch.settled("watch");
    for leg in &legs {
        let dropped = counts(&[(DropReason::NoTxChunk, total - leg.delivered)]);
        assert_eq!((leg.wanted, &leg.dropped), (total, &dropped));
    }
    let delivered: u64 = legs.iter().map(|leg| leg.delivered).sum();
    wait_until("the kernel has sent all that was taken", || {
        arrived_on("far") == switch.port("uplink0").egress_frames
    });
    assert!(arrived_on("far") >= delivered);
}
