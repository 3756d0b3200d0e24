//! The switch's own addresses behind an uplink: what it asks there, what it answers, and what it counts.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::num::NonZeroU8;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use helio_encap::{
    Dscp, Encapsulation, ErspanSession, GreSequence, HardwareId, Oversize, SubHeaderChoice,
};
use helio_mirror::{DecapPoint, LegForm, Numbering, Remote};
use helio_testkit::TestFrame;
use helio_types::{DropReason, MacAddr};
use helio_underlay::{Carrier, Endpoint, EndpointSettings, IpNet, Refusal};

use crate::sessions::{frames_of, session};
use crate::stage::{Stage, access, frame, ordinary, port, trunk, vid};

/// The port that plays an uplink, and the one behind which mirror streams end.
pub(crate) const UPLINK: usize = 1;
pub(crate) const DECAP: usize = 2;
pub(crate) const OWN_MAC: MacAddr = MacAddr([2, 0xaa, 0, 0, 0, 1]);
const OTHER_MAC: MacAddr = MacAddr([2, 0xaa, 0, 0, 0, 2]);
pub(crate) const COLLECTOR_MAC: MacAddr = MacAddr([2, 0xcc, 0, 0, 0, 1]);
pub(crate) const OWN: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 1);
const COLLECTOR: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 2);
const OWN_V6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1);
const ROUTER_V6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 2);

/// A collector that is sent GRE from `own_mac`.
pub(crate) fn collector(
    own_mac: MacAddr,
    next_hop: Option<MacAddr>,
    oversize: Oversize,
) -> LegForm {
    let endpoint = Endpoint::new(&EndpointSettings {
        own_mac,
        own: IpNet::new(IpAddr::V4(OWN), 24).unwrap(),
        tag: None,
        remote: IpAddr::V4(COLLECTOR),
        gateway: None,
        carrier: Carrier::Gre { first_word: [0x10, 0, 0x65, 0x58], key: None },
        mtu_bytes: 1500,
    });
    LegForm::Remote(Arc::new(Remote {
        number: 1,
        numbering: Numbering::default(),
        endpoint: endpoint.unwrap(),
        next_hop,
        encapsulation: Encapsulation::Gre { key: None, sequence: GreSequence::Present },
        oversize,
        dscp: Dscp::default(),
        hop_limit: NonZeroU8::new(64).unwrap(),
    }))
}

/// The same collector with something changed.
pub(crate) fn with(form: LegForm, change: impl FnOnce(&mut Remote)) -> LegForm {
    let LegForm::Remote(remote) = form else { panic!("no collector") };
    let mut remote = (*remote).clone();
    change(&mut remote);
    LegForm::Remote(Arc::new(remote))
}

fn configure(stage: &mut Stage, form: LegForm) {
    let plans = vec![ordinary(); 4];
    stage.configure_sessions(&plans, vec![session(&[0], &[(0, UPLINK, form)])]);
}

/// A stage where what port 0 sends and receives goes to a collector too.
fn stage(form: LegForm) -> Stage {
    let mut stage = Stage::new(1, &vec![ordinary(); 4]);
    configure(&mut stage, form);
    stage
}

/// ARP from the collector to us.
fn arp(operation: u8, to: MacAddr) -> TestFrame {
    let parts: [&[u8]; 8] = [
        &to.0,
        &COLLECTOR_MAC.0,
        &[8, 6, 0, 1, 8, 0, 6, 4, 0, operation],
        &COLLECTOR_MAC.0,
        &COLLECTOR.octets(),
        &to.0,
        &OWN.octets(),
        &[0; 18],
    ];
    TestFrame::raw(parts.concat())
}

/// Who sends a frame.
fn sender(frame: &[u8]) -> MacAddr {
    MacAddr(frame[6..12].try_into().unwrap())
}

#[test]
fn a_next_hop_that_was_configured_is_not_asked_for() {
    let stage = stage(collector(OWN_MAC, Some(COLLECTOR_MAC), Oversize::Truncate));
    assert_eq!(stage.counts(UPLINK).egress.frames, 0);
    assert!(stage.bytes_at(UPLINK).is_empty());
}

#[test]
fn a_next_hop_that_is_configured_no_longer_is_asked_for_at_once() {
    let mut stage = stage(collector(OWN_MAC, Some(COLLECTOR_MAC), Oversize::Truncate));
    let pass_second = |stage: &mut Stage| {
        stage.now_ns.fetch_add(1_000_000_000, Ordering::Relaxed);
        stage.settle();
        stage.bytes_at(UPLINK)
    };
    // Who does not answer is asked every 30 s in the end; nobody was asked here.
    assert!((0..70).all(|_| pass_second(&mut stage).is_empty()));
    configure(&mut stage, collector(OWN_MAC, None, Oversize::Truncate));
    let questions = pass_second(&mut stage);
    assert!(!questions.is_empty() && questions.iter().all(|bytes| bytes[12..14] == [8, 6]));
}

#[test]
fn a_card_with_another_address_asks_and_sends_with_that_and_the_numbers_go_on() {
    let mut stage = stage(collector(OWN_MAC, None, Oversize::Truncate));
    let mut copies = Vec::new();
    let numbering = Numbering::default();
    for own_mac in [OWN_MAC, OTHER_MAC] {
        let form = collector(own_mac, None, Oversize::Truncate);
        configure(&mut stage, with(form, |remote| remote.numbering = numbering.clone()));
        // Questions are a second apart.
        stage.now_ns.fetch_add(2_000_000_000, Ordering::Relaxed);
        stage.settle();
        stage.send(UPLINK, &arp(2, own_mac));
        stage.settle();
        stage.bytes_at(UPLINK);
        stage.send(0, &frame(0, 3).payload(100, 1).complete());
        stage.settle();
        let all = stage.bytes_at(UPLINK);
        let copy: Vec<_> =
            all.iter().filter(|bytes| bytes[12..14] == [8, 0] && bytes[23] == 47).collect();
        assert_eq!(copy.len(), 1);
        assert_eq!(sender(copy[0]), own_mac);
        copies.push(u32::from_be_bytes(copy[0][38..42].try_into().unwrap()));
    }
    assert_eq!(copies[1], copies[0] + 1);
}

#[test]
fn a_collector_whose_copies_travel_in_another_class_gets_the_next_number_in_that_class() {
    let form = collector(OWN_MAC, Some(COLLECTOR_MAC), Oversize::Truncate);
    let mut stage = stage(form.clone());
    let mut found = Vec::new();
    for class in [0, 46] {
        configure(&mut stage, with(form.clone(), |remote| remote.dscp = Dscp::of_low_bits(class)));
        stage.send(0, &frame(0, 3).payload(100, 1).complete());
        stage.settle();
        let sent = stage.bytes_at(UPLINK);
        let copy = sent.iter().find(|bytes| bytes[0..6] == COLLECTOR_MAC.0).unwrap();
        found.push((copy[15] >> 2, u32::from_be_bytes(copy[38..42].try_into().unwrap())));
    }
    assert_eq!(found, [(0, 0), (46, 1)]);
}

/// What ERSPAN III says of the length of a frame of 1514 bytes that comes untagged and leaves tagged, as it is seen at `source`,
/// which has this MTU.
fn length_told(source: usize, mtu: u16) -> u8 {
    let encapsulation = Encapsulation::ErspanIII {
        session: ErspanSession::of_low_bits(7),
        security_group: 0,
        hardware: HardwareId::of_low_bits(0),
        sub_header: SubHeaderChoice::Absent,
    };
    let form = collector(OWN_MAC, Some(COLLECTOR_MAC), Oversize::Truncate);
    let form = with(form, |remote| remote.encapsulation = encapsulation);
    let mut plans = vec![ordinary(); 4];
    plans[0] = ordinary().vlan(access(10));
    plans[3] = ordinary().vlan(trunk(&[10], None));
    plans[source].mtu = mtu;
    let mut stage = Stage::new(1, &plans);
    stage.configure_sessions(&plans, vec![session(&[source], &[(0, UPLINK, form)])]);
    stage.know_all(vid(10));
    stage.send(0, &frame(0, 3).payload(1472, 1).complete());
    stage.settle();
    let sent = stage.bytes_at(UPLINK);
    assert_eq!(sent.len(), 1);
    sent[0][44] >> 3 & 3
}

#[test]
fn a_tag_makes_no_frame_too_long_for_its_port() {
    for source in [0, 3] {
        assert_eq!((length_told(source, 1500), length_told(source, 1499)), (0, 2), "{source}");
    }
}

#[test]
fn what_neighbours_say_in_vain_is_counted_by_reason_also_when_the_way_changes() {
    let mut stage = stage(collector(OWN_MAC, None, Oversize::Truncate));
    let refused = |stage: &mut Stage| {
        let report = stage.ask(|fleet, _| fleet.report_underlay());
        report.collectors[0].refused.iter().collect::<Vec<_>>()
    };
    assert_eq!(refused(&mut stage), []);
    let lie = |own_mac| {
        let mut frame = arp(2, own_mac);
        frame.bytes[11] ^= 1;
        frame
    };
    stage.send(UPLINK, &lie(OWN_MAC));
    stage.settle();
    assert_eq!(refused(&mut stage), [(Refusal::SenderMac, 1)]);
    configure(&mut stage, collector(OTHER_MAC, None, Oversize::Truncate));
    stage.send(UPLINK, &lie(OTHER_MAC));
    stage.settle();
    assert_eq!(refused(&mut stage), [(Refusal::SenderMac, 2)]);
}

#[test]
fn fragments_that_left_before_one_found_no_room_are_counted() {
    let mut stage = stage(collector(OWN_MAC, Some(COLLECTOR_MAC), Oversize::Fragment));
    stage.know_all(vid(0));
    stage.ports[UPLINK].set_room(1);
    stage.send(0, &frame(0, 3).payload(1480, 1).complete());
    stage.settle();
    assert_eq!(frames_of(&stage, 0, DropReason::NoRxBuffer), [1, 0, 1]);
    let fragments = stage.bytes_at(UPLINK);
    assert_eq!(fragments.len(), 1);
    let egress = stage.counts(UPLINK).egress;
    assert_eq!((egress.frames, egress.bytes), (1, fragments[0].len() as u64));
}

#[test]
fn copies_in_fragments_for_one_collector_are_told_apart_whichever_legs_they_came_by() {
    const OTHER_UPLINK: usize = 2;
    let form = || collector(OWN_MAC, Some(COLLECTOR_MAC), Oversize::Fragment);
    for (other, worker) in [(UPLINK, 0), (OTHER_UPLINK, 0), (OTHER_UPLINK, 1)] {
        let mut plans = vec![ordinary(); 4];
        plans[OTHER_UPLINK] = ordinary().on(worker);
        let mut stage = Stage::new(2, &plans);
        let legs = [(0, UPLINK, form()), (1, other, with(form(), |remote| remote.number = 2))];
        stage.configure_sessions(&plans, vec![session(&[0], &legs)]);
        stage.know_all(vid(0));
        for _ in 0..3 {
            stage.send(0, &frame(0, 3).payload(1480, 1).complete());
        }
        stage.settle();
        let fragments = [UPLINK, OTHER_UPLINK].map(|port| stage.bytes_at(port)).concat();
        assert_eq!((fragments.len(), identifications(&fragments).len()), (12, 6));
    }
}

/// The different identifications of datagrams in fragments.
fn identifications(fragments: &[Vec<u8>]) -> BTreeSet<u16> {
    fragments
        .iter()
        .filter(|bytes| u16::from_be_bytes([bytes[20], bytes[21]]) & 0x1fff == 0)
        .map(|bytes| u16::from_be_bytes([bytes[18], bytes[19]]))
        .collect()
}

/// RFC 1071, of an even number of bytes.
pub(crate) fn checksum(bytes: &[u8]) -> [u8; 2] {
    let words = bytes.chunks(2).map(|word| u32::from(u16::from_be_bytes([word[0], word[1]])));
    let mut sum: u32 = words.sum();
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    (!u16::try_from(sum).unwrap()).to_be_bytes()
}

/// Whether the switch is still where it was, as a router asks a neighbour that it knows. RFC 4861, section 7.3.
fn probe() -> TestFrame {
    let icmp: [&[u8]; 4] =
        [&[135, 0, 0, 0, 0, 0, 0, 0], &OWN_V6.octets(), &[1, 1], &COLLECTOR_MAC.0];
    let mut icmp = icmp.concat();
    let bytes = u8::try_from(icmp.len()).unwrap();
    let summed: [&[u8]; 4] = [&ROUTER_V6.octets(), &OWN_V6.octets(), &[0, bytes, 0, 58], &icmp];
    let summed = summed.concat();
    icmp[2..4].copy_from_slice(&checksum(&summed));
    let parts: [&[u8]; 7] = [
        &OWN_MAC.0,
        &COLLECTOR_MAC.0,
        &[0x86, 0xdd, 0x60, 0, 0, 0, 0, bytes, 58, 255],
        &ROUTER_V6.octets(),
        &OWN_V6.octets(),
        &icmp,
        &[],
    ];
    TestFrame::raw(parts.concat())
}

#[test]
fn a_decap_port_tells_who_asks_it_alone_that_it_is_still_there() {
    let own = IpNet::new(IpAddr::V6(OWN_V6), 64).unwrap();
    let point = DecapPoint {
        number: 1,
        port: port(DECAP),
        uplink: port(UPLINK),
        endpoint: Endpoint::listening(OWN_MAC, own, None).unwrap(),
        vxlan_port: 4789,
    };
    let plans = vec![ordinary(); 4];
    let mut stage = Stage::new(1, &plans);
    stage.configure_underlay(&plans, Vec::new(), vec![point]);
    stage.send(UPLINK, &probe());
    stage.settle();
    let answers = stage.bytes_at(UPLINK);
    assert_eq!(answers.len(), 1);
    assert_eq!((sender(&answers[0]), answers[0][54]), (OWN_MAC, 136));
    let report = stage.ask(|fleet, _| fleet.report_underlay());
    assert!(report.decaps[0].refused.iter().all(|count| *count == 0), "it is no broken copy");
    // It is for the switch, and for nobody else.
    assert!([0, DECAP, 3].iter().all(|index| stage.received(*index).is_empty()));
}
