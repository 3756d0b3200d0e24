//! Outer headers as another library reads and writes them.

use etherparse::{
    Ethernet2Header, IpFragOffset, Ipv4Header, Ipv6FragmentHeader, Ipv6Header, SingleVlanHeader,
    UdpHeader,
};
use proptest::prelude::*;

use super::strategies;
use super::{datagram, datagrams, frame};
use crate::{
    Addresses, CopyFields, DontFragment, Encapsulation, Oversize, Path, SnapLen, Template,
    UdpChecksum, Underlay, Vni,
};

const GRE: u8 = 47;
const UDP: u8 = 17;

/// Checks Ethernet and returns what follows.
fn after_ethernet<'a>(underlay: &Underlay, wire: &'a [u8]) -> &'a [u8] {
    let (ethernet, mut rest) = Ethernet2Header::from_slice(wire).unwrap();
    assert_eq!(ethernet.source, underlay.source_mac.0);
    assert_eq!(ethernet.destination, underlay.destination_mac.0);
    let mut ether_type = ethernet.ether_type;
    if let Some(tag) = underlay.tag {
        let (header, after) = SingleVlanHeader::from_slice(rest).unwrap();
        assert_eq!(ether_type.0, 0x8100);
        assert_eq!(header.vlan_id.value(), tag.vlan.get());
        assert_eq!(header.pcp.value(), tag.cos.get());
        assert!(!header.drop_eligible_indicator);
        (ether_type, rest) = (header.ether_type, after);
    }
    let expected = match underlay.addresses {
        Addresses::V4 { .. } => 0x0800,
        Addresses::V6 { .. } => 0x86dd,
    };
    assert_eq!(ether_type.0, expected);
    rest
}

/// What the fragment fields say: offset in bytes, and whether more follow.
#[derive(Debug, PartialEq, Eq)]
struct Piece {
    offset: usize,
    more: bool,
}

/// Checks IP and returns the fragment fields and what follows.
fn after_ip<'a>(
    underlay: &Underlay,
    copy: &CopyFields,
    protocol: u8,
    ip: &'a [u8],
) -> (Piece, &'a [u8]) {
    match underlay.addresses {
        Addresses::V4 { source, destination } => {
            let (header, payload) = Ipv4Header::from_slice(ip).unwrap();
            assert_eq!(header.header_checksum, header.calc_header_checksum());
            assert_eq!(header.source, source.octets());
            assert_eq!(header.destination, destination.octets());
            assert_eq!(header.dscp.value(), underlay.dscp.get());
            assert_eq!(header.ecn.value(), 0);
            assert_eq!(header.time_to_live, underlay.hop_limit.get());
            assert_eq!(u32::from(header.identification), copy.identification & 0xffff);
            assert_eq!(header.protocol.0, protocol);
            assert_eq!(usize::from(header.total_len), ip.len());
            let is_whole = header.fragment_offset == IpFragOffset::ZERO && !header.more_fragments;
            let forbids = is_whole && underlay.dont_fragment == DontFragment::Set;
            assert_eq!(header.dont_fragment, forbids);
            let offset = usize::from(header.fragment_offset.byte_offset());
            (Piece { offset, more: header.more_fragments }, payload)
        }
        Addresses::V6 { source, destination } => {
            let (header, payload) = Ipv6Header::from_slice(ip).unwrap();
            assert_eq!(header.source, source.octets());
            assert_eq!(header.destination, destination.octets());
            assert_eq!(header.traffic_class, underlay.dscp.get() << 2);
            assert_eq!(header.flow_label.value(), copy.flow_hash & 0xf_ffff);
            assert_eq!(header.hop_limit, underlay.hop_limit.get());
            assert_eq!(usize::from(header.payload_length), payload.len());
            if header.next_header.0 != 44 {
                assert_eq!(header.next_header.0, protocol);
                return (Piece { offset: 0, more: false }, payload);
            }
            let (fragment, payload) = Ipv6FragmentHeader::from_slice(payload).unwrap();
            assert_eq!(fragment.next_header.0, protocol);
            assert_eq!(fragment.identification, copy.identification);
            let offset = usize::from(fragment.fragment_offset.byte_offset());
            (Piece { offset, more: fragment.more_fragments }, payload)
        }
    }
}

fn protocol(encapsulation: Encapsulation) -> u8 {
    if matches!(encapsulation, Encapsulation::Vxlan { .. }) { UDP } else { GRE }
}

/// Checks the UDP header of the whole datagram in `payload`.
fn assert_udp(
    underlay: &Underlay,
    encapsulation: Encapsulation,
    copy: &CopyFields,
    payload: &[u8],
) {
    let Encapsulation::Vxlan { port, checksum, .. } = encapsulation else { return };
    let (header, body) = UdpHeader::from_slice(payload).unwrap();
    assert_eq!(header.destination_port, port);
    assert_eq!(header.source_port, 0xc000 | u16::try_from(copy.flow_hash & 0x3fff).unwrap());
    assert_eq!(usize::from(header.length), payload.len());
    let expected = match (checksum, underlay.addresses) {
        (UdpChecksum::Zero, _) => 0,
        (UdpChecksum::Complete, Addresses::V4 { source, destination }) => {
            header.calc_checksum_ipv4_raw(source.octets(), destination.octets(), body).unwrap()
        }
        (UdpChecksum::Complete, Addresses::V6 { source, destination }) => {
            header.calc_checksum_ipv6_raw(source.octets(), destination.octets(), body).unwrap()
        }
    };
    assert_eq!(header.checksum, expected);
}

proptest! {
    #[test]
    fn etherparse_reads_what_was_configured(
        underlay in strategies::underlay(),
        encapsulation in strategies::encapsulation(),
        copy in strategies::copy(),
        inner_bytes in 14_u32..3000,
    ) {
        let template = Template::new(&underlay, encapsulation);
        let inner = frame(inner_bytes);
        let wire = datagram(&template, &copy, &inner);
        let ip = after_ethernet(&underlay, &wire);
        let (piece, payload) = after_ip(&underlay, &copy, protocol(encapsulation), ip);
        prop_assert_eq!(piece, Piece { offset: 0, more: false });
        prop_assert_eq!(payload.len(), encapsulation.header_bytes() + inner.len());
        prop_assert!(payload.ends_with(&inner));
        assert_udp(&underlay, encapsulation, &copy, payload);
    }

    #[test]
    fn fragments_put_together_are_the_datagram_that_was_not_fragmented(
        underlay in strategies::underlay(),
        encapsulation in strategies::encapsulation(),
        copy in strategies::copy(),
        inner_bytes in 14_u32..9500,
        mtu_bytes in 300_u16..2000,
    ) {
        let template = Template::new(&underlay, encapsulation);
        let inner = frame(inner_bytes);
        let path = Path { mtu_bytes, oversize: Oversize::Fragment };
        let plan = template.plan(inner_bytes, SnapLen::WHOLE, path).unwrap();
        let wires = datagrams(&template, &copy, &plan, &inner);
        prop_assert_eq!(wires.len(), usize::from(plan.count()));
        let mut payload = Vec::new();
        for (index, wire) in wires.iter().enumerate() {
            let ip = after_ethernet(&underlay, wire);
            prop_assert!(ip.len() <= usize::from(mtu_bytes));
            let (piece, part) = after_ip(&underlay, &copy, protocol(encapsulation), ip);
            let more = index + 1 < wires.len();
            prop_assert_eq!(piece, Piece { offset: payload.len(), more });
            prop_assert!(!more || part.len() % 8 == 0);
            payload.extend_from_slice(part);
        }
        let whole = datagram(&template, &copy, &inner);
        let (_, expected) =
            after_ip(&underlay, &copy, protocol(encapsulation), after_ethernet(&underlay, &whole));
        prop_assert_eq!(payload, expected);
    }
}

#[test]
fn a_udp_checksum_that_comes_out_as_zero_is_sent_as_ones() {
    let underlay = super::parse_edges::underlay_v6();
    let encapsulation =
        Encapsulation::Vxlan { vni: Vni::MAX, port: 4789, checksum: UdpChecksum::Complete };
    let template = Template::new(&underlay, encapsulation);
    let copy = CopyFields::default();
    let seen: Vec<u16> = (0..=u16::MAX)
        .map(|word| {
            let inner = [&[0; 14][..], &word.to_be_bytes()].concat();
            let wire = datagram(&template, &copy, &inner);
            u16::from_be_bytes([wire[60], wire[61]])
        })
        .collect();
    // One word makes a sum whose complement would be zero.
    assert!(!seen.contains(&0));
    assert_eq!(seen.iter().filter(|checksum| **checksum == u16::MAX).count(), 1);
    let wire = datagram(&template, &copy, &[0; 16]);
    let payload = &after_ethernet(&underlay, &wire)[40..];
    assert_udp(&underlay, encapsulation, &copy, payload);
}
