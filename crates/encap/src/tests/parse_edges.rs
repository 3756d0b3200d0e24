//! Frames at the edge of what is taken, on both sides, written byte by byte.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::num::NonZeroU8;

use helio_offload::sum_words;
use helio_types::MacAddr;

use super::{datagram, frame};
use crate::{
    Addresses, CopyFields, Decapsulated, Direction, DontFragment, Dscp, Encapsulation,
    ErspanSession, GreSequence, HardwareId, Refusal, RemoteSession, Stream, StreamKind,
    SubHeaderChoice, Template, Truncation, UdpChecksum, Underlay, VXLAN_PORT, Vni, parse,
};

const V4: Addresses =
    Addresses::V4 { source: Ipv4Addr::new(192, 0, 2, 1), destination: Ipv4Addr::new(192, 0, 2, 2) };
const V6: Addresses = Addresses::V6 {
    source: Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1),
    destination: Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 2),
};

fn underlay(addresses: Addresses) -> Underlay {
    Underlay {
        source_mac: MacAddr([2, 0, 0, 0, 0, 1]),
        destination_mac: MacAddr([2, 0, 0, 0, 0, 2]),
        tag: None,
        addresses,
        dscp: Dscp::default(),
        hop_limit: NonZeroU8::new(64).unwrap(),
        dont_fragment: DontFragment::Set,
    }
}

pub(super) fn underlay_v4() -> Underlay {
    underlay(V4)
}

pub(super) fn underlay_v6() -> Underlay {
    underlay(V6)
}

const TYPE_II: Encapsulation = Encapsulation::ErspanII { session: ErspanSession::MAX };
const TYPE_III: Encapsulation = Encapsulation::ErspanIII {
    session: ErspanSession::MAX,
    security_group: 0,
    hardware: HardwareId::MAX,
    sub_header: SubHeaderChoice::SourceIndex,
};
const GRE: Encapsulation = Encapsulation::Gre { key: None, sequence: GreSequence::Absent };
const VXLAN: Encapsulation =
    Encapsulation::Vxlan { vni: Vni::MAX, port: VXLAN_PORT, checksum: UdpChecksum::Zero };

fn wire(underlay: &Underlay, encapsulation: Encapsulation, inner_bytes: u32) -> Vec<u8> {
    let template = Template::new(underlay, encapsulation);
    datagram(&template, &CopyFields::default(), &frame(inner_bytes))
}

fn read(wire: &[u8]) -> Result<Decapsulated, Refusal> {
    parse(wire, u32::try_from(wire.len()).unwrap(), VXLAN_PORT)
}

fn refusal(wire: &[u8]) -> Option<Refusal> {
    read(wire).err()
}

/// `wire` with other bytes at `at`, and a checksum to match.
fn with(mut wire: Vec<u8>, at: usize, bytes: &[u8]) -> Vec<u8> {
    wire[at..at + bytes.len()].copy_from_slice(bytes);
    if wire[12..14] == [8, 0] {
        wire[24..26].fill(0);
        let sum = !sum_words(&wire[14..34]);
        wire[24..26].copy_from_slice(&sum.to_be_bytes());
    }
    wire
}

/// An IPv6 frame with `extensions` before the GRE header, the first of which is of type `first`.
fn extended(first: u8, extensions: &[u8]) -> Vec<u8> {
    let mut frame = wire(&underlay_v6(), GRE, 60);
    frame.splice(54..54, extensions.iter().copied());
    let payload = u16::try_from(frame.len() - 54).unwrap();
    let frame = with(frame, 18, &payload.to_be_bytes());
    with(frame, 20, &[first])
}

#[test]
fn each_form_tells_what_it_can() {
    let told = |encapsulation| {
        let stream = read(&wire(&underlay_v4(), encapsulation, 60)).unwrap().stream;
        (
            stream.kind(),
            stream.session(),
            stream.sequence(),
            stream.truncation(),
            stream.direction(),
        )
    };
    let whole = Some(Truncation::Whole);
    assert_eq!(told(Encapsulation::ErspanI), (StreamKind::ErspanI, None, None, None, None));
    assert_eq!(told(TYPE_II), (StreamKind::ErspanII, Some(1023), Some(0), whole, None));
    let ingress = Some(Direction::Ingress);
    assert_eq!(told(TYPE_III), (StreamKind::ErspanIII, Some(1023), Some(0), whole, ingress));
    let gre = Encapsulation::Gre { key: Some(7), sequence: GreSequence::Present };
    assert_eq!(told(gre), (StreamKind::Gre, Some(7), Some(0), None, None));
    assert_eq!(told(VXLAN), (StreamKind::Vxlan, Some(0xff_ffff), None, None, None));
}

#[test]
fn only_type_ii_tells_of_a_tag_that_was_taken_out() {
    let told = |encapsulation, pair: u8| {
        // VLAN 10 and class 3; then the two bits, and the highest session.
        let frame = wire(&underlay_v4(), encapsulation, 60);
        let version = frame[42] & 0xf0;
        let frame = with(frame, 42, &[version, 10, 3 << 5 | pair << 3 | 3]);
        read(&frame).unwrap().stream.removed_tag()
    };
    let tag = Some([0x81, 0, 0x60, 10]);
    assert_eq!([0, 1, 2, 3].map(|pair| told(TYPE_II, pair)), [None, None, tag, None]);
    assert_eq!([0, 1, 2, 3].map(|pair| told(TYPE_III, pair)), [None; 4]);
}

#[test]
fn the_headers_are_as_long_as_the_formats_say() {
    let outer = |underlay: Underlay, encapsulation| {
        let template = Template::new(&underlay, encapsulation);
        assert_eq!(template.mtu_overhead() + 14, template.outer_bytes());
        template.outer_bytes()
    };
    assert_eq!(outer(underlay_v4(), Encapsulation::ErspanI), 38);
    assert_eq!(outer(underlay_v4(), TYPE_II), 50);
    assert_eq!(outer(underlay_v4(), TYPE_III), 62);
    assert_eq!(outer(underlay_v4(), GRE), 38);
    assert_eq!(outer(underlay_v4(), VXLAN), 50);
    assert_eq!(outer(underlay_v6(), VXLAN), 70);
}

#[test]
fn a_remote_session_is_told_by_both_ends_the_form_and_the_number() {
    let remote = read(&wire(&underlay_v4(), TYPE_II, 60)).unwrap().remote_session();
    let expected = RemoteSession {
        source: IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1)),
        destination: IpAddr::V4(Ipv4Addr::new(192, 0, 2, 2)),
        kind: StreamKind::ErspanII,
        session: Some(1023),
    };
    assert_eq!(remote, expected);
}

#[test]
fn a_copy_is_an_ethernet_header_at_least() {
    for encapsulation in [Encapsulation::ErspanI, TYPE_II, TYPE_III, GRE, VXLAN] {
        for underlay in [underlay_v4(), underlay_v6()] {
            assert_eq!(read(&wire(&underlay, encapsulation, 14)).unwrap().inner_bytes, 14);
            let runt = wire(&underlay, encapsulation, 13);
            assert_eq!(refusal(&runt), Some(Refusal::InnerRunt));
        }
    }
}

#[test]
fn two_tags_outside_are_stepped_over_and_a_third_is_not() {
    let plain = wire(&underlay_v4(), GRE, 60);
    let tagged = |tags: &[u8]| [&plain[..12], tags, &plain[12..]].concat();
    let one = read(&tagged(&[0x81, 0, 0x60, 5])).unwrap();
    assert_eq!((one.outer_tci, one.inner_start), (Some(0x6005), 42));
    let two = read(&tagged(&[0x88, 0xa8, 0, 7, 0x81, 0, 0, 5])).unwrap();
    assert_eq!((two.outer_tci, two.inner_start), (Some(7), 46));
    let three = tagged(&[0x81, 0, 0, 7, 0x81, 0, 0, 5, 0x81, 0, 0, 5]);
    assert_eq!(refusal(&three), Some(Refusal::NotIp));
}

#[test]
fn what_is_not_ip_is_left_to_others() {
    let arp = with(wire(&underlay_v6(), GRE, 60), 12, &[8, 6]);
    assert_eq!(refusal(&arp), Some(Refusal::NotIp));
    assert_eq!(refusal(&[0; 13]), Some(Refusal::Short));
}

#[test]
fn the_version_in_the_header_is_that_of_the_type() {
    let v4 = with(wire(&underlay_v4(), GRE, 60), 14, &[0x55]);
    assert_eq!(refusal(&v4), Some(Refusal::IpVersion));
    let v6 = with(wire(&underlay_v6(), GRE, 60), 14, &[0x40]);
    assert_eq!(refusal(&v6), Some(Refusal::IpVersion));
}

#[test]
fn the_lengths_of_ipv4_agree_with_each_other_and_the_frame() {
    let good = wire(&underlay_v4(), GRE, 60);
    let total = |bytes: u16| with(good.clone(), 16, &bytes.to_be_bytes());
    assert_eq!(refusal(&total(84)), None);
    assert_eq!(refusal(&total(85)), Some(Refusal::IpLength));
    assert_eq!(refusal(&total(19)), Some(Refusal::IpLength));
    assert_eq!(refusal(&total(20)), Some(Refusal::Short));
    // A header of 16 bytes.
    assert_eq!(refusal(&with(good, 14, &[0x44])), Some(Refusal::IpLength));
}

#[test]
fn ipv4_options_are_stepped_over() {
    let mut wire = wire(&underlay_v4(), GRE, 60);
    wire.splice(34..34, [1; 40]);
    wire[14] = 0x4f;
    wire[16..18].copy_from_slice(&124_u16.to_be_bytes());
    wire[24..26].fill(0);
    let sum = !sum_words(&wire[14..74]);
    wire[24..26].copy_from_slice(&sum.to_be_bytes());
    assert_eq!(read(&wire).map(|copy| (copy.inner_start, copy.inner_bytes)), Ok((78, 60)));
    wire[73] = 2;
    assert_eq!(refusal(&wire), Some(Refusal::IpChecksum));
}

#[test]
fn a_wrong_checksum_of_ipv4_is_refused() {
    let mut wire = wire(&underlay_v4(), GRE, 60);
    wire[25] ^= 1;
    assert_eq!(refusal(&wire), Some(Refusal::IpChecksum));
}

#[test]
fn fragments_of_ipv4_are_no_copies_and_the_other_flags_do_not_matter() {
    let flags = |word: u16| refusal(&with(wire(&underlay_v4(), GRE, 60), 20, &word.to_be_bytes()));
    assert_eq!((flags(0), flags(0x4000), flags(0x8000)), (None, None, None));
    assert_eq!(flags(0x2000), Some(Refusal::Fragment));
    assert_eq!(flags(0x0001), Some(Refusal::Fragment));
}

#[test]
fn the_length_of_ipv6_agrees_with_the_frame() {
    let payload =
        |bytes: u16| refusal(&with(wire(&underlay_v6(), GRE, 60), 18, &bytes.to_be_bytes()));
    assert_eq!((payload(64), payload(18)), (None, None));
    assert_eq!(payload(65), Some(Refusal::IpLength));
    assert_eq!(payload(17), Some(Refusal::InnerRunt));
    // As a jumbogram has it.
    assert_eq!(payload(0), Some(Refusal::Short));
}

#[test]
fn extension_headers_are_stepped_over_in_bounded_steps() {
    let options = |count: usize| {
        let last = [&[47, 0][..], &[0; 6]].concat();
        [[60, 0, 0, 0, 0, 0, 0, 0].repeat(count - 1), last].concat()
    };
    assert_eq!(read(&extended(60, &options(1))).map(|copy| copy.inner_start), Ok(66));
    assert_eq!(read(&extended(0, &options(8))).map(|copy| copy.inner_start), Ok(122));
    assert_eq!(refusal(&extended(60, &options(9))), Some(Refusal::Extensions));
    // One of 24 bytes.
    let long = [&[47, 2][..], &[0; 22]].concat();
    assert_eq!(read(&extended(60, &long)).map(|copy| copy.inner_start), Ok(82));
    // One that ends behind the datagram.
    assert_eq!(refusal(&extended(60, &[47, 255, 0, 0, 0, 0, 0, 0])), Some(Refusal::Short));
}

#[test]
fn a_datagram_that_is_on_its_way_to_others_is_refused() {
    let routing = |left| extended(43, &[47, 0, 0, left, 0, 0, 0, 0]);
    assert_eq!(refusal(&routing(0)), None);
    assert_eq!(refusal(&routing(1)), Some(Refusal::Routed));
}

#[test]
fn a_fragment_that_is_the_whole_datagram_is_none() {
    let fragment = |word: u16| {
        let [high, low] = word.to_be_bytes();
        refusal(&extended(44, &[47, 0, high, low, 1, 2, 3, 4]))
    };
    assert_eq!((fragment(0), fragment(6)), (None, None));
    assert_eq!(fragment(1), Some(Refusal::Fragment));
    assert_eq!(fragment(8), Some(Refusal::Fragment));
}

#[test]
fn only_gre_and_udp_carry_copies() {
    let v4 = with(wire(&underlay_v4(), GRE, 60), 23, &[6]);
    let v6 = with(wire(&underlay_v6(), GRE, 60), 20, &[59]);
    assert_eq!((refusal(&v4), refusal(&v6)), (Some(Refusal::Protocol), Some(Refusal::Protocol)));
}

#[test]
fn gre_flags_of_old_are_refused_and_reserved_ones_are_not_looked_at() {
    let flags = |word: u16| refusal(&with(wire(&underlay_v4(), GRE, 60), 34, &word.to_be_bytes()));
    for bit in [0x4000, 0x0800, 0x0400, 4, 2, 1] {
        assert_eq!(flags(bit), Some(Refusal::GreFlags), "{bit:#x}");
    }
    for bit in [0, 0x0200, 0x0100, 0x0080, 0x0008] {
        assert_eq!(flags(bit), None, "{bit:#x}");
    }
}

#[test]
fn gre_fields_are_stepped_over_in_their_order() {
    let frame = wire(&underlay_v4(), GRE, 60);
    let frame = with(frame, 34, &[0xb0, 0, 0x65, 0x58, 9, 9, 0, 0, 0, 0, 0, 7, 0, 0, 0, 8]);
    let copy = read(&frame).unwrap();
    assert_eq!(copy.stream, Stream::Gre { key: Some(7), sequence: Some(8) });
    assert_eq!((copy.inner_start, copy.inner_bytes), (50, 48));
}

#[test]
fn erspan_has_no_checksum_and_no_key() {
    for encapsulation in [TYPE_II, TYPE_III] {
        for flags in [0x90, 0x30] {
            let frame = with(wire(&underlay_v4(), encapsulation, 60), 34, &[flags]);
            assert_eq!(refusal(&frame), Some(Refusal::GreFlags), "{flags:#x}");
        }
    }
    let unnumbered = with(wire(&underlay_v4(), TYPE_III, 60), 34, &[0]);
    assert_eq!(refusal(&unnumbered), Some(Refusal::GreFlags));
}

#[test]
fn gre_around_something_else_is_refused() {
    let ip_in_gre = with(wire(&underlay_v4(), GRE, 60), 36, &[8, 0]);
    assert_eq!(refusal(&ip_in_gre), Some(Refusal::GreProtocol));
}

#[test]
fn the_erspan_version_is_that_of_its_type() {
    let versions = |encapsulation| {
        let version = |number: u8| {
            let frame = wire(&underlay_v4(), encapsulation, 60);
            refusal(&with(frame, 42, &[number << 4]))
        };
        [0, 1, 2, 3].map(version)
    };
    let other = Some(Refusal::ErspanVersion);
    assert_eq!(versions(TYPE_II), [other, None, other, other]);
    assert_eq!(versions(TYPE_III), [other, other, None, other]);
}

#[test]
fn type_iii_carries_ethernet_whether_it_says_so_or_not() {
    let mark = |byte: u8| refusal(&with(wire(&underlay_v4(), TYPE_III, 60), 52, &[byte]));
    // The P bit, and none.
    assert_eq!((mark(0x80), mark(0)), (None, None));
    // A frame type of IP, and the highest.
    assert_eq!(
        (mark(2 << 2), mark(0x7c)),
        (Some(Refusal::NotEthernet), Some(Refusal::NotEthernet))
    );
}

#[test]
fn the_stamp_is_whole_where_the_platform_tells_the_upper_half() {
    let stamp = |platform: u8, granularity: u8| {
        let frame = with(wire(&underlay_v4(), TYPE_III, 60), 46, &[0, 0, 0, 5]);
        let frame = with(frame, 53, &[granularity << 1 | 1]);
        let frame = with(frame, 54, &[platform << 2, 0, 0, 9, 0, 0, 0, 1]);
        let Stream::ErspanIII { header, .. } = read(&frame).unwrap().stream else {
            panic!("it is of type III")
        };
        let source = header.sub_header.and_then(|sub_header| sub_header.source());
        (header.full_timestamp().map(|stamp| stamp.0), source)
    };
    let whole = Some((1 << 32) + 5);
    assert_eq!(stamp(7, 1), (whole, Some(9)));
    assert_eq!((stamp(0, 1), stamp(3, 1)), ((whole, Some(9)), (whole, Some(9))));
    assert_eq!((stamp(5, 1), stamp(1, 1)), ((None, Some(9)), (None, None)));
    assert_eq!(stamp(7, 0), (None, Some(9)));
}

#[test]
fn vxlan_comes_to_its_port_and_has_a_valid_number() {
    let good = wire(&underlay_v4(), VXLAN, 60);
    let bytes = u32::try_from(good.len()).unwrap();
    assert_eq!(parse(&good, bytes, VXLAN_PORT + 1), Err(Refusal::UdpPort));
    let flags = |byte| refusal(&with(good.clone(), 42, &[byte]));
    assert_eq!((flags(0x08), flags(0xff)), (None, None));
    assert_eq!((flags(0x00), flags(0xf7)), (Some(Refusal::VxlanFlags), Some(Refusal::VxlanFlags)));
}

#[test]
fn a_udp_message_is_no_longer_than_its_datagram() {
    let good = wire(&underlay_v4(), VXLAN, 60);
    let length = |bytes: u16| with(good.clone(), 38, &bytes.to_be_bytes());
    assert_eq!(read(&length(76)).map(|copy| copy.inner_bytes), Ok(60));
    assert_eq!(refusal(&length(77)), Some(Refusal::UdpLength));
    // What follows a shorter message is not in it.
    assert_eq!(read(&length(30)).map(|copy| copy.inner_bytes), Ok(14));
    assert_eq!(refusal(&length(29)), Some(Refusal::InnerRunt));
    assert_eq!(refusal(&length(15)), Some(Refusal::Short));
    assert_eq!(refusal(&length(7)), Some(Refusal::UdpLength));
}

#[test]
fn a_header_that_ends_behind_the_head_cannot_be_judged() {
    let good = wire(&underlay_v4(), TYPE_II, 60);
    assert_eq!(parse(&good[..49], 110, VXLAN_PORT), Err(Refusal::HeaderLong));
    assert_eq!(parse(&good[..50], 110, VXLAN_PORT).map(|copy| copy.inner_start), Ok(50));
}
