//! What was built is what is read, and no bytes confuse the reader.

use std::net::IpAddr;

use proptest::prelude::*;

use super::strategies;
use super::{WIDE, datagram, datagrams, frame};
use crate::{
    Addresses, CopyFields, Decapsulated, Encapsulation, ErspanII, ErspanIII, Granularity,
    GreSequence, Oversize, Path, Refusal, SnapLen, Stream, SubHeader, SubHeaderChoice, Template,
    Truncation, Underlay, VXLAN_PORT, parse,
};

/// What a reader must find.
fn stream(encapsulation: Encapsulation, copy: &CopyFields, truncation: Truncation) -> Stream {
    let sequence = copy.sequence;
    let (vlan, cos) = (copy.vlan.into(), copy.cos);
    match encapsulation {
        Encapsulation::ErspanI => Stream::ErspanI,
        Encapsulation::ErspanII { session } => {
            let (original_tag, index) = (copy.original_tag, copy.source);
            let header = ErspanII { vlan, cos, original_tag, truncation, session, index };
            Stream::ErspanII { sequence, header }
        }
        Encapsulation::ErspanIII { session, security_group, hardware, sub_header } => {
            let header = ErspanIII {
                vlan,
                cos,
                integrity: copy.integrity,
                truncation,
                session,
                timestamp: copy.timestamp.low(),
                security_group,
                hardware,
                direction: copy.direction,
                granularity: Granularity::HundredNanoseconds,
                sub_header: (sub_header == SubHeaderChoice::SourceIndex)
                    .then_some(SubHeader::of_source(copy.source, copy.timestamp)),
            };
            Stream::ErspanIII { sequence, header }
        }
        Encapsulation::Gre { key, sequence: numbered } => {
            let sequence = (numbered == GreSequence::Present).then_some(sequence);
            Stream::Gre { key, sequence }
        }
        Encapsulation::Vxlan { vni, .. } => Stream::Vxlan { vni },
    }
}

fn ends(underlay: &Underlay) -> (IpAddr, IpAddr) {
    match underlay.addresses {
        Addresses::V4 { source, destination } => (source.into(), destination.into()),
        Addresses::V6 { source, destination } => (source.into(), destination.into()),
    }
}

fn port(encapsulation: Encapsulation) -> u16 {
    match encapsulation {
        Encapsulation::Vxlan { port, .. } => port,
        _ => VXLAN_PORT,
    }
}

proptest! {
    #[test]
    fn what_was_built_is_what_is_read(
        underlay in strategies::underlay(),
        encapsulation in strategies::encapsulation(),
        copy in strategies::copy(),
        frame_bytes in 14_u32..2000,
        snap in 14_u32..2000,
        padding in 0_usize..30,
    ) {
        let template = Template::new(&underlay, encapsulation);
        let plan = template.plan(frame_bytes, SnapLen::new(snap).unwrap(), WIDE).unwrap();
        let inner = frame(frame_bytes);
        let mut wire = datagrams(&template, &copy, &plan, &inner).remove(0);
        let sent = frame_bytes.min(snap);
        prop_assert_eq!(wire.len(), template.outer_bytes() + sent as usize);
        wire.resize(wire.len() + padding, 0xee);
        // Here, or before it came here.
        let is_cut = snap < frame_bytes || copy.truncation == Truncation::Cut;
        let truncation = if is_cut { Truncation::Cut } else { Truncation::Whole };
        let (source, destination) = ends(&underlay);
        let tag = underlay.tag;
        let expected = Decapsulated {
            source,
            destination,
            outer_tci: tag.map(|tag| u16::from(tag.cos.get()) << 13 | tag.vlan.get()),
            stream: stream(encapsulation, &copy, truncation),
            inner_start: u32::try_from(template.outer_bytes()).unwrap(),
            inner_bytes: sent,
        };
        let wire_bytes = u32::try_from(wire.len()).unwrap();
        prop_assert_eq!(parse(&wire, wire_bytes, port(encapsulation)), Ok(expected));
        // The headers are all that is needed, and all of them are.
        let outer = template.outer_bytes();
        prop_assert_eq!(parse(&wire[..outer], wire_bytes, port(encapsulation)), Ok(expected));
        for head in 0..outer {
            let cut = parse(&wire[..head], wire_bytes, port(encapsulation));
            prop_assert_eq!(cut, Err(Refusal::HeaderLong));
            let short = parse(&wire[..head], u32::try_from(head).unwrap(), port(encapsulation));
            prop_assert!(matches!(short, Err(Refusal::Short | Refusal::IpLength)));
        }
        let read = expected.stream;
        prop_assert_eq!(read.sequence().is_some(), encapsulation.is_numbered());
        if let Stream::ErspanIII { header, .. } = read {
            let full = header.sub_header.map(|_| copy.timestamp);
            prop_assert_eq!(header.full_timestamp(), full);
        }
    }

    #[test]
    fn every_fragment_is_told_from_a_copy(
        underlay in strategies::underlay(),
        encapsulation in strategies::encapsulation(),
        copy in strategies::copy(),
        frame_bytes in 1500_u32..9000,
    ) {
        let template = Template::new(&underlay, encapsulation);
        let path = Path { mtu_bytes: 1400, oversize: Oversize::Fragment };
        let plan = template.plan(frame_bytes, SnapLen::WHOLE, path).unwrap();
        prop_assert!(plan.count() > 1);
        for wire in datagrams(&template, &copy, &plan, &frame(frame_bytes)) {
            let bytes = u32::try_from(wire.len()).unwrap();
            prop_assert_eq!(parse(&wire, bytes, port(encapsulation)), Err(Refusal::Fragment));
        }
    }

    #[test]
    fn no_bytes_make_the_reader_panic_or_point_outside_the_frame(
        bytes in proptest::collection::vec(any::<u8>(), 0..200),
        more in 0_u32..2000,
    ) {
        assert_bounded(&bytes, more);
    }

    #[test]
    fn no_change_of_a_good_frame_makes_the_reader_panic_or_point_outside_the_frame(
        underlay in strategies::underlay(),
        encapsulation in strategies::encapsulation(),
        copy in strategies::copy(),
        changes in proptest::collection::vec((0_usize..110, any::<u8>()), 0..4),
        cut in 0_usize..130,
    ) {
        let mut wire = datagram(&Template::new(&underlay, encapsulation), &copy, &frame(60));
        for (at, byte) in changes {
            if let Some(place) = wire.get_mut(at) {
                *place = byte;
            }
        }
        wire.truncate(cut);
        assert_bounded(&wire, 10);
    }
}

fn assert_bounded(head: &[u8], more: u32) {
    let frame_bytes = u32::try_from(head.len()).unwrap() + more;
    if let Ok(read) = parse(head, frame_bytes, VXLAN_PORT) {
        assert!(read.inner_bytes >= 14);
        assert!(read.inner_start + read.inner_bytes <= frame_bytes);
    }
}
