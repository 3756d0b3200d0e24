//! Collectors and a decap port that have one address of the switch: which of them hears what a router says of a copy.

use std::net::{IpAddr, Ipv4Addr};
use std::num::NonZeroU8;
use std::sync::Arc;

use helio_encap::{Dscp, Encapsulation, GreSequence, Oversize};
use helio_mirror::{DecapPoint, LegForm, Numbering, Remote};
use helio_testkit::TestFrame;
use helio_underlay::{Carrier, Endpoint, EndpointSettings, IpNet, Refusal};

use crate::sessions::session;
use crate::stage::{Stage, ordinary, port};
use crate::underlay::{COLLECTOR_MAC, DECAP, OWN, OWN_MAC, UPLINK, checksum};

const FIRST: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 2);
const SECOND: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 3);
/// Flags and type of a copy with a key, and without a number.
const FIRST_WORD: [u8; 4] = [0x20, 0, 0x65, 0x58];

fn own() -> IpNet {
    IpNet::new(IpAddr::V4(OWN), 24).unwrap()
}

/// A collector that is sent GRE with this key, in datagrams of `mtu_bytes` at most.
fn collector(number: u64, remote: Ipv4Addr, key: u32, mtu_bytes: u16) -> LegForm {
    let endpoint = Endpoint::new(&EndpointSettings {
        own_mac: OWN_MAC,
        own: own(),
        tag: None,
        remote: IpAddr::V4(remote),
        gateway: None,
        carrier: Carrier::Gre { first_word: FIRST_WORD, key: Some(key) },
        mtu_bytes,
    });
    LegForm::Remote(Arc::new(Remote {
        number,
        numbering: Numbering::default(),
        endpoint: endpoint.unwrap(),
        next_hop: Some(COLLECTOR_MAC),
        encapsulation: Encapsulation::Gre { key: Some(key), sequence: GreSequence::Absent },
        oversize: Oversize::Truncate,
        dscp: Dscp::default(),
        hop_limit: NonZeroU8::new(64).unwrap(),
    }))
}

/// The first collector with the key 7, the second with the same, the first with another, and a decap port.
fn stage() -> Stage {
    stage_of(&[(FIRST, 7, 1500), (SECOND, 7, 1500), (FIRST, 8, 1500)])
}

/// Collectors, each with a key and the longest datagram that goes there, and a decap port.
fn stage_of(collectors: &[(Ipv4Addr, u32, u16)]) -> Stage {
    let plans = vec![ordinary(); 4];
    let legs = (1..).zip(collectors);
    let legs = legs.map(|(number, (remote, key, bytes))| collector(number, *remote, *key, *bytes));
    let legs: Vec<_> = legs.enumerate().map(|(id, it)| (id, UPLINK, it)).collect();
    let point = DecapPoint {
        number: 9,
        port: port(DECAP),
        uplink: port(UPLINK),
        endpoint: Endpoint::listening(OWN_MAC, own(), None).unwrap(),
        vxlan_port: 4789,
    };
    let mut stage = Stage::new(1, &plans);
    stage.configure_underlay(&plans, vec![session(&[0], &legs)], vec![point]);
    stage
}

fn ipv4(protocol: u8, bytes: usize, [source, destination]: [Ipv4Addr; 2]) -> Vec<u8> {
    let [high, low] = u16::try_from(bytes).unwrap().to_be_bytes();
    let head = [0x45, 0, high, low, 0, 7, 0x40, 0, 60, protocol, 0, 0];
    let mut header = [&head[..], &source.octets(), &destination.octets()].concat();
    let sum = checksum(&header);
    header[10..12].copy_from_slice(&sum);
    header
}

/// A router says that its next link takes 1400 bytes, and quotes a copy of `bytes`.
fn too_big(remote: Ipv4Addr, key: u32, bytes: usize) -> TestFrame {
    too_big_for(1400, remote, key, bytes)
}

fn too_big_for(mtu: u16, remote: Ipv4Addr, key: u32, bytes: usize) -> TestFrame {
    let [high, low] = mtu.to_be_bytes();
    let quote = ipv4(47, bytes, [OWN, remote]);
    let mut icmp =
        [&[3, 4, 0, 0, 0, 0, high, low][..], &quote, &FIRST_WORD, &key.to_be_bytes()].concat();
    let sum = checksum(&icmp);
    icmp[2..4].copy_from_slice(&sum);
    let header = ipv4(1, 20 + icmp.len(), [SECOND, OWN]);
    let frame: [&[u8]; 5] = [&OWN_MAC.0, &COLLECTOR_MAC.0, &[8, 0], &header, &icmp];
    TestFrame::raw(frame.concat())
}

/// The path MTU of each collector, and how often it and then the decap port did not believe a router, once `frame` has arrived.
/// Nobody else receives it.
fn told(frame: &TestFrame) -> (Vec<u16>, Vec<u64>) {
    told_to(&mut stage(), frame)
}

fn told_to(stage: &mut Stage, frame: &TestFrame) -> (Vec<u16>, Vec<u64>) {
    stage.send(UPLINK, frame);
    stage.settle();
    assert!([0, DECAP, 3].iter().all(|index| stage.received(*index).is_empty()));
    let report = stage.ask(|fleet, _| fleet.report_underlay());
    assert!(report.decaps[0].refused.iter().all(|count| *count == 0), "it is no broken copy");
    let refused = report.collectors.iter().map(|collector| &collector.refused);
    let refused = refused.chain(report.decaps.iter().map(|decap| &decap.neighbour_refused));
    let refused = refused.map(|refused| {
        assert_eq!(refused.total(), refused.of(Refusal::NotQuoted));
        refused.total()
    });
    (report.collectors.iter().map(|collector| collector.mtu_bytes).collect(), refused.collect())
}

#[test]
fn a_copy_that_was_too_long_shortens_the_path_of_its_collector_alone_and_is_believed_by_all() {
    assert_eq!(told(&too_big(FIRST, 7, 1500)), (vec![1400, 1500, 1500], vec![0; 4]));
    assert_eq!(told(&too_big(SECOND, 7, 1500)), (vec![1500, 1400, 1500], vec![0; 4]));
    assert_eq!(told(&too_big(FIRST, 8, 1500)), (vec![1500, 1500, 1400], vec![0; 4]));
}

#[test]
fn a_copy_that_cannot_be_is_counted_once_at_the_collector_that_it_names() {
    for bytes in [1400, 1501] {
        assert_eq!(told(&too_big(FIRST, 7, bytes)), (vec![1500; 3], vec![1, 0, 0, 0]));
        assert_eq!(told(&too_big(SECOND, 7, bytes)), (vec![1500; 3], vec![0, 1, 0, 0]));
    }
}

#[test]
fn a_copy_to_nobody_of_ours_is_for_the_switch_and_counted_at_no_collector() {
    assert_eq!(told(&too_big(SECOND, 8, 1500)), (vec![1500; 3], vec![0; 4]));
}

#[test]
fn a_copy_by_one_leg_says_the_path_of_all_legs_to_that_collector_in_that_carrier_and_is_refused_by_none()
 {
    let legs = [(FIRST, 7, 1500), (FIRST, 7, 1350), (FIRST, 7, 1450), (FIRST, 8, 1350)];
    let told = |mtu, bytes| told_to(&mut stage_of(&legs), &too_big_for(mtu, FIRST, 7, bytes));
    // Each has what is less: what it was told, or what it is configured for.
    assert_eq!(told(1300, 1500), (vec![1300, 1300, 1300, 1350], vec![0; 5]));
    assert_eq!(told(1400, 1500), (vec![1400, 1350, 1400, 1350], vec![0; 5]));
    assert_eq!(told(1450, 1500), (vec![1450, 1350, 1450, 1350], vec![0; 5]));
    assert_eq!(told(1499, 1500), (vec![1499, 1350, 1450, 1350], vec![0; 5]));
    // No leg has sent that.
    assert_eq!(told(1400, 1501), (vec![1500, 1350, 1450, 1350], vec![1, 1, 1, 0, 0]));
}

#[test]
fn a_leg_that_goes_takes_the_length_of_its_copies_with_it() {
    let mut stage = stage_of(&[(FIRST, 7, 1500), (FIRST, 7, 1350)]);
    let kept = vec![(1, UPLINK, collector(2, FIRST, 7, 1350))];
    stage.configure_sessions(&vec![ordinary(); 4], vec![session(&[0], &kept)]);
    stage.send(UPLINK, &too_big_for(1300, FIRST, 7, 1500));
    stage.settle();
    let report = stage.ask(|fleet, _| fleet.report_underlay());
    let refused = report.collectors[0].refused.of(Refusal::NotQuoted);
    assert_eq!((report.collectors[0].mtu_bytes, refused), (1350, 1));
}
