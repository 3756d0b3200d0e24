//! Routers that say that a copy was too long for their next link.

use std::net::{IpAddr, Ipv6Addr};

use helio_types::MacAddr;
use helio_underlay::{Carrier, EndpointSettings, Observed, Refusal};

use crate::wire::{Ipv4, ethernet, icmp4, icmp6, ipv4};
use crate::world::{
    BOTH, FAR4, FAR6, OTHER_MAC, OTHER4, OTHER6, OWN_MAC, OWN4, OWN6, PEER_MAC, PEER4, PEER6,
    SOME_GRE, Version, World,
};

pub(crate) const GRE: u8 = 47;
const UDP: u8 = 17;
const MAY_NOT_BE_FRAGMENTED: u16 = 0x4000;
pub(crate) const VXLAN: Carrier = Carrier::Udp { port: 4789 };
/// From an unused port to that of VXLAN, and the beginning of the rest.
const PORTS: [u8; 8] = [0xc0, 0, 0x12, 0xb5, 5, 0, 0, 0];

/// A copy of 1500 bytes on its way to a collector beyond the router.
pub(crate) fn copy4(protocol: u8) -> Ipv4 {
    let total = Some(1500);
    Ipv4 { source: OWN4, destination: FAR4, protocol, fragment: MAY_NOT_BE_FRAGMENTED, total }
}

/// The same with IPv6.
pub(crate) fn copy6(protocol: u8, payload: &[u8]) -> Vec<u8> {
    let head = [0x60, 0, 0, 0, 5, 180, protocol, 60];
    [&head[..], &OWN6.octets(), &FAR6.octets(), payload].concat()
}

/// A router that speaks to us. It need not be our neighbour.
fn from_router4(message: &[u8]) -> Vec<u8> {
    let ip = Ipv4 { source: OTHER4, destination: OWN4, protocol: 1, fragment: 0, total: None };
    ethernet(OWN_MAC, PEER_MAC, 0x0800, &ipv4(ip, message))
}

fn from_router6(message: &[u8]) -> Vec<u8> {
    ethernet(OWN_MAC, PEER_MAC, 0x86dd, &icmp6(OTHER6, OWN6, 60, message))
}

pub(crate) fn too_big4(mtu: u16, quote: &[u8]) -> Vec<u8> {
    from_router4(&icmp4(3, 4, mtu, quote))
}

pub(crate) fn too_big6(mtu: u32, quote: &[u8]) -> Vec<u8> {
    from_router6(&[&[2, 0, 0, 0][..], &mtu.to_be_bytes(), quote].concat())
}

pub(crate) fn world(version: Version, carrier: Carrier, mtu_bytes: u16) -> World {
    let (remote, gateway) = match version {
        Version::V4 => (IpAddr::V4(FAR4), IpAddr::V4(PEER4)),
        Version::V6 => (IpAddr::V6(FAR6), IpAddr::V6(PEER6)),
    };
    let gateway = Some(gateway);
    let settings = EndpointSettings { remote, gateway, carrier, mtu_bytes, ..version.settings() };
    World::of(version, &settings)
}

fn seen4(carrier: Carrier, frame: &[u8]) -> Observed {
    world(Version::V4, carrier, 1500).see(frame)
}

fn seen6(carrier: Carrier, frame: &[u8]) -> Observed {
    world(Version::V6, carrier, 1500).see(frame)
}

pub(crate) const NOT_QUOTED: Observed = Observed::Refused(Refusal::NotQuoted);

#[test]
fn a_router_that_quotes_a_copy_of_ours_is_heeded_for_ten_minutes() {
    let frames = [
        (Version::V4, too_big4(1400, &ipv4(copy4(GRE), &[0; 8]))),
        (Version::V6, too_big6(1400, &copy6(GRE, &[0; 8]))),
    ];
    for (version, frame) in frames {
        let mut world = world(version, SOME_GRE, 1500);
        assert_eq!(
            (world.see(&frame), world.neighbour.mtu_bytes()),
            (Observed::PathMtu(1400), 1400)
        );
        world.pass(599_999);
        world.turn();
        assert_eq!(world.neighbour.mtu_bytes(), 1400);
        world.pass(1);
        world.turn();
        assert_eq!(world.neighbour.mtu_bytes(), 1500);
    }
}

#[test]
fn what_a_router_says_is_bounded_by_what_is_configured_and_by_what_paths_have() {
    let bounds = Observed::Refused(Refusal::MtuBounds);
    let quote = |total| ipv4(Ipv4 { total: Some(total), ..copy4(GRE) }, &[0; 8]);
    let seen = |mtu, total| world(Version::V4, SOME_GRE, 1400).see(&too_big4(mtu, &quote(total)));
    assert_eq!((seen(575, 1400), seen(576, 1400)), (bounds, Observed::PathMtu(576)));
    assert_eq!((seen(0, 1400), seen(1399, 1400)), (bounds, Observed::PathMtu(1399)));
    // The configured length is that of the longest copy.
    assert_eq!((seen(1400, 1400), seen(1399, 1401)), (NOT_QUOTED, NOT_QUOTED));
    let seen = |mtu| seen6(SOME_GRE, &too_big6(mtu, &copy6(GRE, &[0; 8])));
    assert_eq!((seen(1279), seen(1280)), (bounds, Observed::PathMtu(1280)));
    assert_eq!(seen(1481), Observed::PathMtu(1481));
    // One that says more than the copy had says nothing of that copy.
    assert_eq!(seen(0x1_0000 + 1400), NOT_QUOTED);
}

#[test]
fn a_copy_that_was_not_too_long_was_not_quoted() {
    let quote = |total| ipv4(Ipv4 { total: Some(total), ..copy4(GRE) }, &[0; 8]);
    assert_eq!(seen4(SOME_GRE, &too_big4(1400, &quote(1401))), Observed::PathMtu(1400));
    assert_eq!(seen4(SOME_GRE, &too_big4(1400, &quote(1400))), NOT_QUOTED);
    let quote = copy6(GRE, &[0; 8]);
    // Its 1460 bytes and the header.
    assert_eq!(seen6(SOME_GRE, &too_big6(1500, &quote)), NOT_QUOTED);
    assert_eq!(seen6(SOME_GRE, &too_big6(1499, &quote)), Observed::PathMtu(1499));
}

#[test]
fn only_copies_of_ours_to_the_collector_count() {
    let quote = |change: fn(&mut Ipv4)| {
        let mut copy = copy4(GRE);
        change(&mut copy);
        seen4(SOME_GRE, &too_big4(1400, &ipv4(copy, &[0; 8])))
    };
    assert_eq!(quote(|_| ()), Observed::PathMtu(1400));
    assert_eq!(quote(|it| it.source = OTHER4), NOT_QUOTED);
    assert_eq!(quote(|it| it.destination = PEER4), Observed::NotOurs);
    assert_eq!(quote(|it| it.protocol = UDP), Observed::NotOurs);
    assert_eq!(quote(|it| it.protocol = 6), Observed::NotOurs);
    // A router would have fragmented these.
    assert_eq!(quote(|it| it.fragment = 0), NOT_QUOTED);
    assert_eq!(quote(|it| it.fragment = MAY_NOT_BE_FRAGMENTED | 0x2000), NOT_QUOTED);
    for (place, expected) in [(8, NOT_QUOTED), (24, Observed::NotOurs)] {
        let mut other = copy6(GRE, &[0; 8]);
        other[place + 15] ^= 1;
        assert_eq!(seen6(SOME_GRE, &too_big6(1400, &other)), expected);
    }
    assert_eq!(seen6(SOME_GRE, &too_big6(1400, &copy6(UDP, &PORTS))), Observed::NotOurs);
}

#[test]
fn a_copy_by_udp_has_the_port_of_the_collector() {
    let quotes = |ports: &[u8]| {
        [
            seen4(VXLAN, &too_big4(1400, &ipv4(copy4(UDP), ports))),
            seen6(VXLAN, &too_big6(1400, &copy6(UDP, ports))),
        ]
    };
    assert_eq!(quotes(&PORTS), [Observed::PathMtu(1400); 2]);
    assert_eq!(quotes(&[0xc0, 0, 0x12, 0xb6, 5, 0, 0, 0]), [Observed::NotOurs; 2]);
    // None of ours leaves from there.
    assert_eq!(quotes(&[0xbf, 0xff, 0x12, 0xb5, 5, 0, 0, 0]), [NOT_QUOTED; 2]);
    assert_eq!(quotes(&[0xff, 0xff, 0x12, 0xb5, 5, 0, 0, 0]), [Observed::PathMtu(1400); 2]);
    // Not even the ports.
    assert_eq!(quotes(&PORTS[..3]), [Observed::Refused(Refusal::Malformed); 2]);
    let by_gre = too_big4(1400, &ipv4(copy4(GRE), &PORTS));
    assert_eq!(seen4(VXLAN, &by_gre), Observed::NotOurs);
}

#[test]
fn a_copy_by_gre_has_the_flags_the_type_and_the_key_of_the_session() {
    let erspan = Carrier::Gre { first_word: [0x10, 0, 0x88, 0xbe], key: None };
    let keyed = Carrier::Gre { first_word: [0x20, 0, 0x65, 0x58], key: Some(0x0102_0304) };
    let quotes = |carrier, payload: &[u8]| {
        [
            seen4(carrier, &too_big4(1400, &ipv4(copy4(GRE), payload))),
            seen6(carrier, &too_big6(1400, &copy6(GRE, payload))),
        ]
    };
    let ours = [0x10, 0, 0x88, 0xbe, 0, 0, 0, 9];
    assert_eq!(quotes(erspan, &ours), [Observed::PathMtu(1400); 2]);
    assert_eq!(quotes(erspan, &ours[..4]), [Observed::PathMtu(1400); 2]);
    assert_eq!(quotes(erspan, &ours[..3]), [Observed::Refused(Refusal::Malformed); 2]);
    let ours = [0x20, 0, 0x65, 0x58, 1, 2, 3, 4];
    assert_eq!(quotes(keyed, &ours), [Observed::PathMtu(1400); 2]);
    assert_eq!(quotes(keyed, &ours[..7]), [Observed::Refused(Refusal::Malformed); 2]);
    for place in 0..8 {
        let mut other = ours;
        other[place] ^= 1;
        assert_eq!(quotes(keyed, &other), [Observed::NotOurs; 2], "{place}");
    }
    assert_eq!(quotes(erspan, &ours), [Observed::NotOurs; 2]);
}

#[test]
fn a_path_becomes_shorter_once_in_a_second() {
    let say4 = |mtu| too_big4(mtu, &ipv4(copy4(GRE), &[0; 8]));
    let say6 = |mtu: u16| too_big6(mtu.into(), &copy6(GRE, &[0; 8]));
    let too_soon = Observed::Refused(Refusal::MtuTooSoon);
    for version in BOTH {
        let mut world = world(version, SOME_GRE, 1500);
        let say = |mtu| if version == Version::V4 { say4(mtu) } else { say6(mtu) };
        assert_eq!(world.see(&say(1400)), Observed::PathMtu(1400));
        world.pass(999);
        assert_eq!((world.see(&say(1300)), world.neighbour.mtu_bytes()), (too_soon, 1400));
        world.pass(1);
        assert_eq!(world.see(&say(1300)), Observed::PathMtu(1300));
        assert_eq!(world.neighbour.refused().of(Refusal::MtuTooSoon), 1);
    }
}

/// A quoted fragment, at this offset in units of eight bytes, of a copy that carries `beginning` there.
fn fragment6(next: u8, offset: u16, beginning: &[u8]) -> Vec<u8> {
    let [high, low] = (offset << 3 | 1).to_be_bytes();
    copy6(44, &[&[next, 0, high, low, 0, 0, 0, 9][..], beginning].concat())
}

#[test]
fn a_fragment_that_we_made_may_be_too_long_over_ipv6() {
    let seen =
        |next, beginning: &[u8]| seen6(VXLAN, &too_big6(1400, &fragment6(next, 0, beginning)));
    assert_eq!(
        (seen(UDP, &PORTS), seen(GRE, &PORTS)),
        (Observed::PathMtu(1400), Observed::NotOurs)
    );
    assert_eq!(seen(UDP, &[0xc0, 0, 0x12, 0xb4, 5, 0, 0, 0]), Observed::NotOurs);
}

#[test]
fn a_fragment_behind_the_first_tells_nobody_of_whose_copy_it_is_and_is_nobodys() {
    // Also when there stands by chance, or by design, what a copy begins with.
    for offset in [1, 180, 0x1fff] {
        for (carrier, protocol, beginning) in [(VXLAN, UDP, PORTS), (SOME_GRE, GRE, [0; 8])] {
            let quote = fragment6(protocol, offset, &beginning);
            assert_eq!(seen6(carrier, &too_big6(1400, &quote)), Observed::NotOurs, "{offset}");
            for flags in [0, MAY_NOT_BE_FRAGMENTED, 0x2000] {
                let fragment = flags | offset;
                let quote = ipv4(Ipv4 { fragment, ..copy4(protocol) }, &beginning);
                assert_eq!(seen4(carrier, &too_big4(1400, &quote)), Observed::NotOurs, "{offset}");
            }
        }
    }
}

#[test]
fn what_is_not_for_us_alone_is_not_ours() {
    let datagram = too_big4(1400, &ipv4(copy4(GRE), &[0; 8]));
    let seen = |to: MacAddr| seen4(SOME_GRE, &[&to.0[..], &datagram[6..]].concat());
    assert_eq!((seen(OTHER_MAC), seen(MacAddr::BROADCAST)), (Observed::NotOurs, Observed::NotOurs));
    let quote = copy6(GRE, &[0; 8]);
    let message = [&[2, 0, 0, 0, 0, 0, 5, 120][..], &quote].concat();
    let group: Ipv6Addr = "ff02::1".parse().unwrap();
    let datagram = icmp6(OTHER6, group, 60, &message);
    let frame = ethernet(MacAddr([0x33, 0x33, 0, 0, 0, 1]), PEER_MAC, 0x86dd, &datagram);
    assert_eq!(seen6(SOME_GRE, &frame), Observed::NotOurs);
}

#[test]
fn sums_that_can_be_checked_are_checked() {
    let checksum = Observed::Refused(Refusal::Checksum);
    let frame = too_big4(1400, &ipv4(copy4(GRE), &[0; 8]));
    for place in [22, 40, 69] {
        let mut wrong = frame.clone();
        wrong[place] ^= 1;
        assert_eq!(seen4(SOME_GRE, &wrong), checksum, "{place}");
    }
    let frame = too_big6(1400, &copy6(GRE, &[0; 8]));
    for place in [25, 61, 109] {
        let mut wrong = frame.clone();
        wrong[place] ^= 1;
        assert_eq!(seen6(SOME_GRE, &wrong), checksum, "{place}");
    }
}

#[test]
fn a_quote_may_be_longer_than_the_head_but_not_what_matters_of_it() {
    let quotes = [
        (Version::V4, 128, too_big4(1400, &ipv4(copy4(UDP), &[&PORTS[..], &[7; 500]].concat()))),
        (Version::V6, 128, too_big6(1400, &copy6(UDP, &[&PORTS[..], &[7; 1180]].concat()))),
    ];
    for (version, head, frame) in quotes {
        let bytes = u32::try_from(frame.len()).unwrap();
        let enough = if version == Version::V4 { 14 + 28 + 24 } else { 14 + 48 + 44 };
        for cut in [head, enough] {
            let mut world = world(version, VXLAN, 1500);
            let seen = world.neighbour.observe(&frame[..cut], bytes, world.now);
            assert_eq!(seen, Observed::PathMtu(1400), "{cut}");
        }
        let mut world = world(version, VXLAN, 1500);
        let seen = world.neighbour.observe(&frame[..enough - 1], bytes, world.now);
        assert_eq!(seen, Observed::Refused(Refusal::HeaderLong));
        let seen = world.see(&frame[..enough - 1]);
        assert_eq!(seen, Observed::Refused(Refusal::Malformed));
    }
}

#[test]
fn options_of_the_datagram_do_not_matter_and_fragments_of_it_are_not_ours() {
    let message = icmp4(3, 4, 1400, &ipv4(copy4(GRE), &[0; 8]));
    let ip = Ipv4 { source: OTHER4, destination: OWN4, protocol: 1, fragment: 0, total: None };
    let mut datagram = ipv4(ip, &[&[1, 1, 1, 0][..], &message].concat());
    datagram[0] = 0x46;
    datagram[10..12].fill(0);
    let sum = crate::wire::checksum(&datagram[..24]).to_be_bytes();
    datagram[10..12].copy_from_slice(&sum);
    let frame = ethernet(OWN_MAC, PEER_MAC, 0x0800, &datagram);
    assert_eq!(seen4(SOME_GRE, &frame), Observed::PathMtu(1400));
    for fragment in [0x2000, 1] {
        let datagram = ipv4(Ipv4 { fragment, ..ip }, &message);
        let frame = ethernet(OWN_MAC, PEER_MAC, 0x0800, &datagram);
        assert_eq!(seen4(SOME_GRE, &frame), Observed::NotOurs);
    }
}

#[test]
fn lengths_that_contradict_each_other_are_refused() {
    let malformed = Observed::Refused(Refusal::Malformed);
    let frame = too_big4(1400, &ipv4(copy4(GRE), &[0; 8]));
    for (place, wrong) in [(14, 0x44), (14, 0x65), (16, 0xff), (17, 19)] {
        let mut frame = frame.clone();
        frame[place] = wrong;
        assert_eq!(seen4(SOME_GRE, &frame), malformed, "{place}");
    }
    let frame = too_big6(1400, &copy6(GRE, &[0; 8]));
    for (place, wrong) in [(14, 0x40), (18, 0xff), (19, 1)] {
        let mut frame = frame.clone();
        frame[place] = wrong;
        assert_eq!(seen6(SOME_GRE, &frame), malformed, "{place}");
    }
}
