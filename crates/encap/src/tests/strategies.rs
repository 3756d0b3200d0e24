//! Any way to a collector, any encapsulation, any copy.

use std::net::{Ipv4Addr, Ipv6Addr};
use std::num::NonZeroU8;

use helio_types::{MacAddr, VlanId};
use proptest::prelude::*;

use crate::{
    Addresses, CopyFields, Cos, Direction, DontFragment, Dscp, Encapsulation, ErspanSession,
    GreSequence, HardwareId, Integrity, OriginalTag, OuterTag, SourceIndex, SubHeaderChoice,
    Timestamp, Truncation, UdpChecksum, Underlay, Vni,
};

pub(super) fn addresses() -> impl Strategy<Value = Addresses> {
    prop_oneof![
        any::<[Ipv4Addr; 2]>()
            .prop_map(|[source, destination]| Addresses::V4 { source, destination }),
        any::<[Ipv6Addr; 2]>()
            .prop_map(|[source, destination]| Addresses::V6 { source, destination }),
    ]
}

fn vlan() -> impl Strategy<Value = VlanId> {
    (0_u16..4095).prop_map(|id| VlanId::new(id).unwrap())
}

fn cos() -> impl Strategy<Value = Cos> {
    any::<u8>().prop_map(Cos::of_low_bits)
}

fn tag() -> impl Strategy<Value = Option<OuterTag>> {
    proptest::option::of((vlan(), cos()).prop_map(|(vlan, cos)| OuterTag { vlan, cos }))
}

pub(super) fn underlay() -> impl Strategy<Value = Underlay> {
    let fragment = prop_oneof![Just(DontFragment::Set), Just(DontFragment::Clear)];
    (any::<[[u8; 6]; 2]>(), tag(), addresses(), any::<u8>(), any::<NonZeroU8>(), fragment).prop_map(
        |([source, destination], tag, addresses, dscp, hop_limit, dont_fragment)| Underlay {
            source_mac: MacAddr(source),
            destination_mac: MacAddr(destination),
            tag,
            addresses,
            dscp: Dscp::of_low_bits(dscp),
            hop_limit,
            dont_fragment,
        },
    )
}

pub(super) fn encapsulation() -> impl Strategy<Value = Encapsulation> {
    let session = || any::<u16>().prop_map(ErspanSession::of_low_bits);
    let sub_header = prop_oneof![Just(SubHeaderChoice::Absent), Just(SubHeaderChoice::SourceIndex)];
    let type_iii = (session(), any::<u16>(), any::<u8>(), sub_header).prop_map(
        |(session, security_group, hardware, sub_header)| {
            let hardware = HardwareId::of_low_bits(hardware);
            Encapsulation::ErspanIII { session, security_group, hardware, sub_header }
        },
    );
    let sequence = prop_oneof![Just(GreSequence::Absent), Just(GreSequence::Present)];
    let gre = (any::<Option<u32>>(), sequence)
        .prop_map(|(key, sequence)| Encapsulation::Gre { key, sequence });
    let checksum = prop_oneof![Just(UdpChecksum::Zero), Just(UdpChecksum::Complete)];
    let vxlan = (any::<u32>(), any::<u16>(), checksum).prop_map(|(vni, port, checksum)| {
        Encapsulation::Vxlan { vni: Vni::of_low_bits(vni), port, checksum }
    });
    prop_oneof![
        Just(Encapsulation::ErspanI),
        session().prop_map(|session| Encapsulation::ErspanII { session }),
        type_iii,
        gre,
        vxlan,
    ]
}

pub(super) fn copy() -> impl Strategy<Value = CopyFields> {
    let original_tag = prop_oneof![
        Just(OriginalTag::Absent),
        Just(OriginalTag::Isl),
        Just(OriginalTag::Removed),
        Just(OriginalTag::Kept),
    ];
    let integrity = prop_oneof![
        Just(Integrity::GoodOrUnknown),
        Just(Integrity::Short),
        Just(Integrity::Oversized),
        Just(Integrity::Bad),
    ];
    let direction = prop_oneof![Just(Direction::Ingress), Just(Direction::Egress)];
    let truncation = prop_oneof![Just(Truncation::Whole), Just(Truncation::Cut)];
    let frame = (vlan(), cos(), original_tag, integrity, truncation, direction);
    (frame, any::<[u32; 4]>(), any::<u64>()).prop_map(|(frame, numbers, timestamp)| {
        let (vlan, cos, original_tag, integrity, truncation, direction) = frame;
        let [sequence, identification, source, flow_hash] = numbers;
        CopyFields {
            sequence,
            identification,
            vlan,
            cos,
            original_tag,
            integrity,
            truncation,
            direction,
            source: SourceIndex::of_low_bits(source),
            timestamp: Timestamp(timestamp),
            flow_hash,
            inner_sum: 0,
        }
    })
}
