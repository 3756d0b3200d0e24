//! What monitors see of a pair that pings.

use std::collections::BTreeSet;
use std::time::Instant;

use helio_guest::{Flow, Guest, GuestConfig, Racer, Received};
use serde_json::json;

use crate::support::PATIENCE;
use crate::support::capture::Capture;
use crate::support::lane::{Lane, ping};
use crate::support::switch::{Placement, Plan, TestSwitch};

const PINGS: u64 = 50;

/// Senders' numbers in their frames: the last byte of their addresses.
const COLUMBIA: u16 = 1;
const CRUSADER: u16 = 2;

/// Two guests that ping, and monitors.
struct Story {
    columbia: Guest,
    crusader: Guest,
    sniffie: Guest,
    pegasus: Guest,
    // Dropped last.
    switch: TestSwitch,
}

/// What the ports are like, in TOML.
#[derive(Clone, Copy, Default)]
struct Ports {
    columbia: &'static str,
    crusader: &'static str,
    sniffie: &'static str,
    pegasus: &'static str,
    more: &'static str,
}

const SOURCE: &str = "mirroring = \"source\"";
const DESTINATION: &str = "mirroring = \"destination\"";

impl Story {
    fn new(placement: Placement, ports: Ports) -> Self {
        let plan = Plan::new(placement)
            .port("columbia", ports.columbia)
            .port("crusader", ports.crusader)
            .port("sniffie", ports.sniffie)
            .port("pegasus", ports.pegasus)
            .more(ports.more);
        let switch = plan.start();
        let [columbia, crusader, sniffie, pegasus] =
            ["columbia", "crusader", "sniffie", "pegasus"].map(|name| switch.guest(name));
        Self { columbia, crusader, sniffie, pegasus, switch }
    }

    fn ping(&mut self) {
        ping(&mut self.columbia, &mut self.crusader, PINGS);
    }

    #[track_caller]
    fn sniffie_sees_each_once(&mut self) {
        let capture = Capture::take(&mut self.sniffie, 2 * PINGS);
        capture.assert_each_once(&[COLUMBIA, CRUSADER], PINGS);
    }

    #[track_caller]
    fn sniffie_sees_nothing(&mut self) {
        Capture::take(&mut self.sniffie, 0).assert_nothing();
    }
}

pub fn with_mirroring_none_a_monitor_sees_nothing(placement: Placement) {
    let ports = Ports { sniffie: DESTINATION, ..Ports::default() };
    let mut story = Story::new(placement, ports);
    story.ping();
    story.sniffie_sees_nothing();
    assert_eq!(story.switch.copies("sniffie").wanted, 0);
}

pub fn with_one_source_a_monitor_sees_requests_and_replies_once(placement: Placement) {
    let ports = Ports { columbia: SOURCE, sniffie: DESTINATION, ..Ports::default() };
    let mut story = Story::new(placement, ports);
    story.ping();
    story.sniffie_sees_each_once();
    let copies = story.switch.settled_copies("sniffie");
    assert_eq!((copies.wanted, copies.delivered), (2 * PINGS, 2 * PINGS));
}

pub fn mirroring_begins_and_ends_at_once_on_running_traffic(placement: Placement) {
    let ports = Ports { sniffie: DESTINATION, ..Ports::default() };
    let mut story = Story::new(placement, ports);
    for _ in 0..5 {
        story.switch.set_mirroring("columbia", "source");
        story.ping();
        story.sniffie_sees_each_once();
        story.switch.set_mirroring("columbia", "none");
        story.ping();
        story.sniffie_sees_nothing();
    }
}

pub fn s4_5_with_both_as_sources_a_monitor_sees_each_once(placement: Placement) {
    let ports =
        Ports { columbia: SOURCE, crusader: SOURCE, sniffie: DESTINATION, ..Ports::default() };
    let mut story = Story::new(placement, ports);
    story.ping();
    story.sniffie_sees_each_once();
}

pub fn s4_3_two_destinations_see_all_each(placement: Placement) {
    let ports =
        Ports { columbia: SOURCE, sniffie: DESTINATION, pegasus: DESTINATION, ..Ports::default() };
    let mut story = Story::new(placement, ports);
    story.ping();
    story.sniffie_sees_each_once();
    let capture = Capture::take(&mut story.pegasus, 2 * PINGS);
    capture.assert_each_once(&[COLUMBIA, CRUSADER], PINGS);
}

pub fn s4_5_a_destination_that_is_the_receiver_gets_each_once(placement: Placement) {
    let ports = Ports { columbia: SOURCE, crusader: DESTINATION, ..Ports::default() };
    let mut story = Story::new(placement, ports);
    let mut lane = Lane::new(&story.columbia, &story.crusader);
    lane.send(&mut story.columbia, PINGS);
    let capture = Capture::take(&mut story.crusader, PINGS);
    capture.assert_each_once(&[COLUMBIA], PINGS);
    let copies = story.switch.settled_copies("crusader");
    assert_eq!((copies.wanted, copies.delivered), (PINGS, PINGS));
}

pub fn s4_10_a_frame_never_returns_to_the_monitor_that_sent_it(placement: Placement) {
    let ports = Ports { columbia: SOURCE, sniffie: DESTINATION, ..Ports::default() };
    let mut story = Story::new(placement, ports);
    let mut lane = Lane::new(&story.sniffie, &story.columbia);
    lane.send(&mut story.sniffie, PINGS);
    Capture::take(&mut story.columbia, PINGS).assert_each_once(&[lane.sender()], PINGS);
    story.sniffie_sees_nothing();
    let copies = story.switch.settled_copies("sniffie");
    assert_eq!(copies.dropped.get("return-to-sender"), Some(&PINGS));
}

pub fn s4_9_a_destination_stays_an_ordinary_port(placement: Placement) {
    let ports = Ports { columbia: SOURCE, sniffie: DESTINATION, ..Ports::default() };
    let mut story = Story::new(placement, ports);
    ping(&mut story.sniffie, &mut story.pegasus, PINGS);
    story.ping();
    story.sniffie_sees_each_once();
}

pub fn a_receive_only_destination_sees_all_and_sends_nothing(placement: Placement) {
    let receive_only = "mirroring = \"destination\"\nreceive-only = true";
    let ports = Ports { columbia: SOURCE, sniffie: receive_only, ..Ports::default() };
    let mut story = Story::new(placement, ports);
    let mut lane = Lane::new(&story.sniffie, &story.pegasus);
    lane.send(&mut story.sniffie, PINGS);
    story.sniffie.wait_all_sent(PATIENCE).unwrap();
    Capture::take(&mut story.pegasus, 0).assert_nothing();
    let dropped = story.switch.drops("sniffie", helio_types::DropReason::ReceiveOnly);
    assert_eq!(dropped, PINGS);
    story.ping();
    story.sniffie_sees_each_once();
}

pub fn s4_1_sessions_do_not_see_each_other(placement: Placement) {
    let ports = Ports {
        columbia: "mirroring = \"source\"\nsession = 1",
        sniffie: "mirroring = \"destination\"\nsession = 1",
        pegasus: "mirroring = \"destination\"\nsession = 2",
        ..Ports::default()
    };
    let mut story = Story::new(placement, ports);
    story.ping();
    story.sniffie_sees_each_once();
    Capture::take(&mut story.pegasus, 0).assert_nothing();
    story.switch.set("columbia", &json!({ "session": 2 }));
    story.ping();
    story.sniffie_sees_nothing();
    let capture = Capture::take(&mut story.pegasus, 2 * PINGS);
    capture.assert_each_once(&[COLUMBIA, CRUSADER], PINGS);
}

/// The VLAN of a tagged frame.
fn tag(frame: &[u8]) -> Option<u16> {
    (frame[12..14] == [0x81, 0]).then(|| u16::from_be_bytes([frame[14], frame[15]]) & 0xfff)
}

pub fn s4_7_a_trunk_destination_sees_the_vlan_and_one_outside_sees_nothing(placement: Placement) {
    let ports = Ports {
        columbia: "mirroring = \"source\"\nvlan = { access = 10 }",
        crusader: "vlan = { access = 10 }",
        sniffie: "mirroring = \"destination\"\nvlan = { trunk = [10, 20], native = 1 }",
        pegasus: "mirroring = \"destination\"\nvlan = { access = 20 }",
        ..Ports::default()
    };
    let mut story = Story::new(placement, ports);
    story.ping();
    let capture = Capture::take(&mut story.sniffie, 2 * PINGS);
    capture.assert_each_once(&[COLUMBIA, CRUSADER], PINGS);
    assert!(capture.frames.iter().all(|frame| tag(frame) == Some(10)));
    Capture::take(&mut story.pegasus, 0).assert_nothing();
    let copies = story.switch.settled_copies("pegasus");
    assert_eq!((copies.wanted, copies.dropped.get("vlan")), (2 * PINGS, Some(&(2 * PINGS))));
}

pub fn s4_7_an_access_destination_sees_frames_of_a_trunk_without_their_tag(placement: Placement) {
    let ports = Ports {
        columbia: "mirroring = \"source\"\nvlan = { trunk = [10, 20], native = 1 }",
        crusader: "vlan = { trunk = [10, 20], native = 1 }",
        sniffie: "mirroring = \"destination\"\nvlan = { access = 10 }",
        pegasus: "mirroring = \"destination\"\nvlan = { trunk = [10], native = 1 }",
        ..Ports::default()
    };
    let mut story = Story::new(placement, ports);
    let between = Flow::between(story.columbia.mac(), story.crusader.mac());
    let flow = |vlan| Flow { frame_bytes: 300, vlan, sender: vlan.unwrap_or(1), ..between };
    for vlan in [Some(10), Some(20), None] {
        let mut lane = Lane::of(flow(vlan));
        lane.send(&mut story.columbia, PINGS);
        let received = Capture::take(&mut story.crusader, PINGS);
        received.assert_each_once(&[lane.sender()], PINGS);
        assert!(received.frames.iter().all(|frame| tag(frame) == vlan));
    }
    let of_ten = Capture::take(&mut story.sniffie, PINGS);
    of_ten.assert_each_once(&[10], PINGS);
    assert!(of_ten.frames.iter().all(|frame| tag(frame).is_none()));
    let of_trunk = Capture::take(&mut story.pegasus, 2 * PINGS);
    of_trunk.assert_each_once(&[10, 1], PINGS);
    assert!(of_trunk.frames.iter().all(|frame| matches!(tag(frame), Some(10) | None)));
}

/// Bytes of a frame whose payload is rewritten while it is copied: long, so that a copy takes time.
const RACED_BYTES: usize = 8000;

/// A frame without numbers, so that nobody judges its bytes.
fn raced_frame(from: [u8; 6], to: [u8; 6], number: u32) -> Vec<u8> {
    let mut frame = [to.as_slice(), &from, &[0x88, 0xb5], &number.to_be_bytes()].concat();
    frame.resize(RACED_BYTES, 0x11);
    frame
}

fn bytes_of(received: Vec<Received>) -> Vec<Vec<u8>> {
    received.into_iter().map(|received| received.frame).collect()
}

pub fn r8_c120_in_an_exact_session_all_get_identical_bytes_of_a_racing_source(
    placement: Placement,
) {
    let switch = Plan::new(placement)
        .port("columbia", SOURCE)
        .port("crusader", "")
        .port("sniffie", DESTINATION)
        .port("pegasus", DESTINATION)
        .more("[[mirror]]\nsession = 0\nexact = true\n")
        .start();
    let [mut columbia, mut crusader, mut sniffie, mut pegasus] =
        ["columbia", "crusader", "sniffie", "pegasus"].map(|name| {
            let config = GuestConfig {
                rx_buffer_bytes: 9000,
                tx_buffer_bytes: 9000,
                ..switch.guest_config(name)
            };
            switch.guest_with(name, config)
        });
    let racer = race_payload(&mut columbia);
    let mut seen = BTreeSet::new();
    // The scheduler decides when the racer runs: it gets the time that it needs.
    let end = Instant::now() + PATIENCE;
    let mut number = 0;
    while number < 400 || (seen.len() < 2 && Instant::now() < end) {
        number += 1;
        let frame = raced_frame(columbia.mac(), crusader.mac(), number);
        columbia.send_blocking(&frame, PATIENCE).unwrap();
        let [there, first, second] = [&mut crusader, &mut sniffie, &mut pegasus]
            .map(|guest| bytes_of(guest.wait_received(1, PATIENCE).unwrap()));
        columbia.wait_all_sent(PATIENCE).unwrap();
        assert_eq!((there.len(), there[0].len()), (1, RACED_BYTES));
        assert!(there == first && there == second, "frame {number} differs");
        seen.extend(there[0][1000..].iter().copied());
    }
    assert!(racer.stop() > 0);
    assert!(seen.contains(&0xaa) && seen.contains(&0x55), "nobody raced: {seen:x?}");
}

/// Rewrites a part of the payload of the frame that lies in the first transmit buffer, without end. A driver that sends
/// one frame at a time uses that buffer for each.
fn race_payload(guest: &mut Guest) -> Racer {
    let buffers = guest.driver_mut().transmit_queue(0).unwrap().buffers().clone();
    let place = guest.memory().window(buffers.guest_addr() + 1000, 4000).unwrap();
    Racer::flip_bytes(place, vec![vec![0xaa; 4000], vec![0x55; 4000]])
}
