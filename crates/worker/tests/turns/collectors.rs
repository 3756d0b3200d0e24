//! Collectors behind an uplink: what the switch itself asks there, and what is sent to it.

use std::net::{IpAddr, Ipv4Addr};
use std::num::NonZeroU8;
use std::sync::atomic::Ordering;

use helio_encap::{Dscp, Encapsulation, Oversize};
use helio_mirror::{LegForm, Numbering, Remote};
use helio_testkit::{Received, TestFrame};
use helio_types::MacAddr;
use helio_underlay::{Carrier, Endpoint, EndpointSettings, IpNet};

use crate::sessions::{session, stage_with};
use crate::stage::{Stage, frame, mac, ordinary};

const OWN_MAC: MacAddr = MacAddr([2, 9, 9, 9, 9, 9]);
const OWN: Ipv4Addr = Ipv4Addr::new(10, 9, 0, 1);
const COLLECTOR: Ipv4Addr = Ipv4Addr::new(10, 9, 0, 9);

/// A session that watches port 0 and sends its copies to a collector behind port 1, of whom nobody has told where he is.
fn with_collector() -> Stage {
    let form = LegForm::Remote(collector().into());
    let plans = [ordinary(), ordinary(), ordinary()];
    stage_with(&plans, vec![session(&[0], &[(0, 1, form)])])
}

fn collector() -> Remote {
    let endpoint = Endpoint::new(&EndpointSettings {
        own_mac: OWN_MAC,
        own: IpNet::new_assert(IpAddr::V4(OWN), 24),
        tag: None,
        remote: IpAddr::V4(COLLECTOR),
        gateway: None,
        carrier: Carrier::Gre { first_word: [0, 0, 0x88, 0xbe], key: None },
        mtu_bytes: 1500,
    });
    Remote {
        number: 1,
        numbering: Numbering::default(),
        endpoint: endpoint.unwrap(),
        next_hop: None,
        encapsulation: Encapsulation::ErspanI,
        oversize: Oversize::Fragment,
        dscp: Dscp::of_low_bits(0),
        hop_limit: NonZeroU8::MIN,
    }
}

#[test]
fn a_neighbour_is_asked_by_a_turn_that_has_nothing_else_to_do() {
    let mut stage = with_collector();
    stage.settle();
    let asked = stage.bytes_at(1);
    assert_eq!(asked.len(), 1);
    assert_eq!((&asked[0][..6], &asked[0][12..14]), (&[0xff; 6][..], &[8, 6][..]));
    assert_eq!(
        (&asked[0][28..32], &asked[0][38..42]),
        (&OWN.octets()[..], &COLLECTOR.octets()[..])
    );
    assert_eq!((stage.received(0).len(), stage.received(2).len()), (0, 0));
}

/// Questions that the switch asks within so many milliseconds.
fn questions_within(stage: &mut Stage, milliseconds: u64) -> usize {
    let before = stage.received(1).len();
    for _ in 0..milliseconds / 20 {
        stage.now_ns.fetch_add(20_000_000, Ordering::Relaxed);
        stage.settle();
    }
    stage.received(1).len() - before
}

#[test]
fn who_does_not_answer_is_asked_at_once_when_the_wire_is_plugged_in_again() {
    let mut stage = with_collector();
    stage.settle();
    assert!(questions_within(&mut stage, 70_000) > 3);
    assert_eq!(questions_within(&mut stage, 1000), 0, "by now he is asked twice a minute");
    stage.ports[1].unplug();
    questions_within(&mut stage, 40);
    stage.ports[1].plug();
    assert_eq!(questions_within(&mut stage, 40), 1);
}

#[test]
fn a_storm_of_questions_is_answered_in_part() {
    let mut stage = with_collector();
    stage.settle();
    let asker = mac(1);
    let mut question = [&[0xff; 6][..], &asker.0, &[8, 6, 0, 1, 8, 0, 6, 4, 0, 1]].concat();
    question.extend([&asker.0[..], &COLLECTOR.octets(), &[0; 6], &OWN.octets()].concat());
    question.resize(60, 0);
    for _ in 0..2 {
        for _ in 0..200 {
            stage.send(1, &TestFrame::raw(question.clone()));
            stage.turn(0);
        }
        stage.settle();
        let is_answer = |it: &&Received| it.bytes[20..22] == [0, 2];
        assert_eq!(stage.received(1).iter().filter(is_answer).count(), 64);
        stage.now_ns.fetch_add(20_000_000, Ordering::Relaxed);
    }
}

/// An IPv4 datagram of the collector for the card of the switch.
fn datagram(protocol: u8, to: Ipv4Addr) -> TestFrame {
    let mut bytes = [&OWN_MAC.0[..], &mac(1).0, &[8, 0, 0x45, 0, 0, 46]].concat();
    bytes.extend([0, 0, 0, 0, 64, protocol, 0, 0]);
    bytes.extend(COLLECTOR.octets());
    bytes.extend(to.octets());
    bytes.resize(60, 0);
    TestFrame::raw(bytes)
}

#[test]
fn what_is_sent_to_the_switch_itself_is_shown_to_nobody_and_copied_to_nobody() {
    let mut stage = with_collector();
    stage.settle();
    let (icmp, tcp) = (1, 6);
    for protocol in [icmp, tcp] {
        stage.send(1, &datagram(protocol, OWN));
        stage.settle();
    }
    assert_eq!((stage.received(0).len(), stage.received(2).len()), (0, 0));
    assert_eq!((stage.counts(1).ingress.frames, stage.leg_counts(0).wanted.frames), (2, 0));
    // To others it is a card that the switch has not heard of.
    stage.send(1, &datagram(icmp, Ipv4Addr::new(10, 9, 0, 2)));
    stage.settle();
    assert_eq!((stage.received(0).len(), stage.received(2).len()), (1, 1));
}

#[test]
fn the_first_link_of_a_path_takes_no_more_than_its_port_and_its_wire() {
    let remote = Remote { next_hop: Some(mac(1)), oversize: Oversize::Truncate, ..collector() };
    let sessions = || vec![session(&[0], &[(0, 1, LegForm::Remote(remote.clone().into()))])];
    let plans = |mtu| [ordinary(), ordinary().mtu(mtu), ordinary()];
    let mut stage = stage_with(&plans(9000), sessions());
    let mut longest = |port_mtu: u16, link_mtu: u32| {
        stage.configure_sessions(&plans(port_mtu), sessions());
        stage.ports[1].set_link_mtu(link_mtu);
        stage.send(0, &frame(0, 2).payload(1450, 1).complete());
        stage.settle();
        let report = stage.ask(|fleet, _| fleet.report_underlay());
        let copy = stage.bytes_at(1).pop().unwrap();
        (copy.len() - 14, usize::from(report.collectors[0].mtu_bytes))
    };
    // What is configured of the path, what its link takes, and what its port may send.
    for (port_mtu, link_mtu, least) in
        [(9000, u32::MAX, 1500), (9000, 1501, 1500), (9000, 1400, 1400), (1300, 1400, 1300)]
    {
        assert_eq!(longest(port_mtu, link_mtu), (least, least), "{port_mtu}, {link_mtu}");
    }
}
