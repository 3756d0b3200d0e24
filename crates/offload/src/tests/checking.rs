//! What net headers are accepted for which frames.

use etherparse::{IpHeaders, IpNumber, Ipv6RawExtHeader};
use helio_types::{DropReason, MAX_FRAME_BYTES};

use super::frames::{HEAD_BYTES, TcpFrame, everything, kinds};
use crate::{
    Checksum, Ecn, Gso, GsoKind, NetHeader, Offloads, RawNetHeader, VIRTIO_NET_HDR_F_DATA_VALID,
    VIRTIO_NET_HDR_F_NEEDS_CSUM, VIRTIO_NET_HDR_F_RSC_INFO, VIRTIO_NET_HDR_GSO_ECN,
    VIRTIO_NET_HDR_GSO_NONE, VIRTIO_NET_HDR_GSO_TCPV4, VIRTIO_NET_HDR_GSO_TCPV6,
    VIRTIO_NET_HDR_GSO_UDP, VIRTIO_NET_HDR_GSO_UDP_L4, check,
};

const BAD: Result<NetHeader, DropReason> = Err(DropReason::BadOffload);
const LONG: Result<NetHeader, DropReason> = Err(DropReason::HeaderLong);

/// The verdict on `frame`, of which the worker keeps the first bytes.
fn judge(raw: &RawNetHeader, allowed: Offloads, frame: &[u8]) -> Result<NetHeader, DropReason> {
    let head = &frame[..frame.len().min(HEAD_BYTES)];
    check(raw, allowed, head, u32::try_from(frame.len()).unwrap())
}

fn partial(csum_start: u16, csum_offset: u16) -> RawNetHeader {
    let flags = VIRTIO_NET_HDR_F_NEEDS_CSUM;
    RawNetHeader { flags, csum_start, csum_offset, ..RawNetHeader::default() }
}

/// A frame of `bytes` of a type nobody knows.
fn opaque(bytes: usize) -> Vec<u8> {
    let mut frame = vec![0x55; bytes];
    frame[12..14].copy_from_slice(&[0x88, 0xb5]);
    frame
}

#[test]
fn t11_c141_a_checksum_is_accepted_only_where_all_of_it_lies_behind_the_ethernet_header() {
    let offsets = [0, 1, 6, 16, 46, 47, 1498, 1499, 65_519, 65_520, 65_534, 65_535];
    for bytes in [14, 15, 16, 60, 61, 1514, 65_553] {
        let frame = opaque(bytes);
        for start in 0..=u16::MAX {
            for offset in offsets {
                let end = u64::from(start) + u64::from(offset) + 2;
                let lies_inside = start >= 14 && end <= bytes as u64;
                let checksum = Checksum::Partial { start, offset };
                let expected =
                    if lies_inside { Ok(NetHeader { checksum, gso: None }) } else { BAD };
                let verdict = judge(&partial(start, offset), Offloads::CSUM, &frame);
                assert_eq!(verdict, expected, "{bytes} {start} {offset}");
            }
        }
    }
}

#[test]
fn a_checksum_cannot_be_asked_for_inside_a_tag_or_a_network_header() {
    for frame in kinds(100) {
        // In IPv6 extension headers count as transport here: they are not judged.
        let extensions = match &frame.ip {
            IpHeaders::Ipv4(..) => 0,
            IpHeaders::Ipv6(_, extensions) => extensions.header_len(),
        };
        let first = u16::try_from(frame.tcp_start() - extensions).unwrap();
        let bytes = frame.write();
        for start in 14..first {
            assert_eq!(judge(&partial(start, 16), Offloads::CSUM, &bytes), BAD, "{start}");
        }
        assert!(judge(&partial(first, 16), Offloads::CSUM, &bytes).is_ok());
    }
}

#[test]
fn a_network_header_that_ends_beyond_the_frame_or_the_head_has_no_transport() {
    let frame = TcpFrame::v4(100).write();
    assert_eq!(judge(&partial(20, 0), Offloads::CSUM, &frame[..30]), BAD);
    assert_eq!(check(&partial(34, 16), Offloads::CSUM, &frame[..30], 154), LONG);
    assert_eq!(check(&partial(34, 16), Offloads::CSUM, &frame[..13], 154), LONG);
}

#[test]
fn flags_that_are_not_known_and_those_of_a_receiver_are_ignored() {
    let frame = TcpFrame::v4(100).write();
    let others = !VIRTIO_NET_HDR_F_NEEDS_CSUM;
    assert_ne!(others & VIRTIO_NET_HDR_F_DATA_VALID & !VIRTIO_NET_HDR_F_RSC_INFO, 0);
    let mut raw = partial(34, 16);
    raw.flags |= others;
    assert_eq!(judge(&raw, everything(), &frame), judge(&partial(34, 16), everything(), &frame));
    raw.flags = others;
    assert_eq!(judge(&raw, everything(), &frame), Ok(NetHeader::PLAIN));
}

#[test]
fn flags_of_a_guest_without_csum_are_ignored_but_not_its_segmentation() {
    let frame = TcpFrame::v4(100);
    let bytes = frame.write();
    assert_eq!(judge(&partial(0, 65_535), Offloads::NONE, &bytes), Ok(NetHeader::PLAIN));
    assert_eq!(judge(&frame.raw(50), Offloads::NONE, &bytes), BAD);
    assert_eq!(judge(&frame.raw(50), Offloads::TSO4, &bytes), BAD);
}

#[test]
fn c142_every_kind_of_headers_is_measured_by_us_whatever_hdr_len_says() {
    for frame in kinds(3000) {
        let raw = frame.raw(1448);
        let net = judge(&raw, everything(), &frame.write()).unwrap();
        let gso = net.gso.unwrap();
        assert_eq!(usize::from(gso.header_bytes), frame.header_bytes());
        assert_eq!(gso.segment_bytes, 1448);
        assert_eq!(gso.kind, if frame.is_v4() { GsoKind::Tcp4 } else { GsoKind::Tcp6 });
        assert_eq!(net.checksum, Checksum::Partial { start: raw.csum_start, offset: 16 });
    }
}

#[test]
fn t13_c142_gso_grid() {
    for (frame, own) in
        [(TcpFrame::v4(0), VIRTIO_NET_HDR_GSO_TCPV4), (TcpFrame::v6(0), VIRTIO_NET_HDR_GSO_TCPV6)]
    {
        for payload_bytes in [0, 1, 127, 128, 129, 896, 897, 1024, 1025, 1448, 9000, 65_000] {
            let mut frame = frame.clone();
            frame.payload = vec![0; payload_bytes];
            let bytes = frame.write();
            for gso_type in 0..=u8::MAX {
                for gso_size in [0, 1, 7, 8, 536, 1448, 65_535] {
                    let raw = RawNetHeader { gso_type, ..frame.raw(gso_size) };
                    let few = gso_size > 0 && payload_bytes <= usize::from(gso_size) * 128;
                    let known = gso_type & !VIRTIO_NET_HDR_GSO_ECN == own;
                    let good = gso_type == VIRTIO_NET_HDR_GSO_NONE || known && few;
                    let verdict = judge(&raw, everything(), &bytes);
                    assert_eq!(verdict.is_ok(), good, "{payload_bytes} {raw:?}");
                    assert!(good || verdict == BAD);
                }
            }
        }
    }
}

#[test]
fn c145_udp_segmentation_and_fragmentation_are_refused() {
    let frame = TcpFrame::v4(3000);
    for gso_type in [VIRTIO_NET_HDR_GSO_UDP, VIRTIO_NET_HDR_GSO_UDP_L4] {
        let raw = RawNetHeader { gso_type, ..frame.raw(1448) };
        assert_eq!(judge(&raw, everything(), &frame.write()), BAD);
    }
}

#[test]
fn segmentation_must_have_been_acknowledged_for_the_version() {
    for (frame, own, other) in [
        (TcpFrame::v4(3000), Offloads::TSO4, Offloads::TSO6),
        (TcpFrame::v6(3000), Offloads::TSO6, Offloads::TSO4),
    ] {
        let bytes = frame.write();
        assert!(judge(&frame.raw(1448), Offloads::CSUM.union(own), &bytes).is_ok());
        assert_eq!(judge(&frame.raw(1448), Offloads::CSUM.union(other), &bytes), BAD);
        assert_eq!(judge(&frame.raw(1448), Offloads::CSUM, &bytes), BAD);
    }
}

#[test]
fn ecn_must_have_been_acknowledged() {
    let frame = TcpFrame::v4(3000);
    let bytes = frame.write();
    let raw = frame.raw(1448);
    let raw = RawNetHeader { gso_type: raw.gso_type | VIRTIO_NET_HDR_GSO_ECN, ..raw };
    let without = Offloads::CSUM.union(Offloads::TSO4);
    assert_eq!(judge(&raw, without, &bytes), BAD);
    let gso = judge(&raw, without.union(Offloads::ECN), &bytes).unwrap().gso.unwrap();
    let kind = GsoKind::Tcp4;
    assert_eq!(gso, Gso { kind, ecn: Ecn::Present, segment_bytes: 1448, header_bytes: 54 });
}

#[test]
fn segmentation_needs_the_checksum_of_tcp() {
    let frame = TcpFrame::v4(3000);
    let bytes = frame.write();
    let good = frame.raw(1448);
    assert!(judge(&good, everything(), &bytes).is_ok());
    for raw in [
        RawNetHeader { flags: 0, ..good },
        RawNetHeader { csum_start: good.csum_start - 1, ..good },
        RawNetHeader { csum_start: good.csum_start + 1, ..good },
        RawNetHeader { csum_offset: 6, ..good },
        RawNetHeader { csum_offset: 17, ..good },
    ] {
        assert_eq!(judge(&raw, everything(), &bytes), BAD, "{raw:?}");
    }
}

#[test]
fn segmentation_of_the_wrong_headers_is_refused() {
    let frame = TcpFrame::v4(3000);
    let good = frame.write();
    // Position and value: version, header length 16 and 64, fragments, UDP, TCP header of 16 bytes, ARP.
    for (at, value) in [
        (14, 0x65),
        (14, 0x44),
        (14, 0x4f),
        (20, 0x20),
        (20, 0x60),
        (20, 0x1f),
        (21, 0x01),
        (23, 17),
        (23, 0),
        (46, 0x40),
        (13, 0x06),
    ] {
        let mut bytes = good.clone();
        bytes[at] = value;
        assert_eq!(judge(&frame.raw(1448), everything(), &bytes), BAD, "{at} {value:#x}");
    }
    let v6 = TcpFrame::v6(3000);
    let mut bytes = v6.write();
    bytes[20] = 44;
    assert_eq!(judge(&v6.raw(1448), everything(), &bytes), BAD, "an IPv6 fragment");
    let mut bytes = v6.write();
    bytes[14] = 0x45;
    assert_eq!(judge(&v6.raw(1448), everything(), &bytes), BAD, "another version inside");
    let gso_type = VIRTIO_NET_HDR_GSO_TCPV6;
    let mixed = RawNetHeader { gso_type, ..frame.raw(1448) };
    assert_eq!(judge(&mixed, everything(), &good), BAD, "IPv4 sold as IPv6");
}

#[test]
fn dont_fragment_is_not_a_fragment() {
    let frame = TcpFrame::v4(3000);
    let mut bytes = frame.write();
    for flags in [0x00, 0x40] {
        bytes[20] = flags;
        assert!(judge(&frame.raw(1448), everything(), &bytes).is_ok());
    }
}

/// A TCP frame over IPv6 whose hop-by-hop header makes all headers `bytes` long.
fn with_headers_of(bytes: usize) -> TcpFrame {
    let mut frame = TcpFrame::v6(3000);
    let options = vec![0; bytes - frame.header_bytes() - 2];
    if let IpHeaders::Ipv6(_, extensions) = &mut frame.ip {
        let header = Ipv6RawExtHeader::new_raw(IpNumber::TCP, &options).unwrap();
        extensions.hop_by_hop_options = Some(header);
    }
    frame.ip.set_next_headers(IpNumber::TCP);
    assert_eq!(frame.header_bytes(), bytes);
    frame
}

#[test]
fn headers_may_fill_the_head_but_not_go_on_beyond_it() {
    let frame = with_headers_of(122);
    assert!(judge(&frame.raw(1448), everything(), &frame.write()).is_ok());
    let frame = with_headers_of(130);
    assert_eq!(judge(&frame.raw(1448), everything(), &frame.write()), LONG);
    let frame = with_headers_of(122).with_tcp_options(8);
    assert_eq!(judge(&frame.raw(1448), everything(), &frame.write()), LONG);
    let frame = with_headers_of(114).with_tcp_options(12).tagged(&[]);
    assert_eq!(frame.header_bytes(), 126);
    let frame = TcpFrame { payload: vec![1; 2], ..frame };
    assert!(judge(&frame.raw(1448), everything(), &frame.write()).is_ok());
}

#[test]
fn headers_beyond_the_end_of_the_frame_are_wrong_not_long() {
    for frame in kinds(3000) {
        let bytes = frame.write();
        for len in 14..frame.header_bytes() {
            assert_eq!(judge(&frame.raw(1448), everything(), &bytes[..len]), BAD, "{len}");
        }
    }
}

#[test]
fn eight_extension_headers_are_walked_and_nine_are_not() {
    let chain = |count: usize| {
        let plain = TcpFrame::v6(100);
        let mut bytes = plain.write();
        let mut extensions = [60, 0, 1, 4, 0, 0, 0, 0].repeat(count);
        extensions[8 * (count - 1)] = 6;
        bytes[20] = 60;
        bytes.splice(54..54, extensions);
        let csum_start = u16::try_from(54 + 8 * count).unwrap();
        let raw = RawNetHeader { csum_start, ..plain.raw(50) };
        // The whole frame is the head, so that its length plays no part.
        check(&raw, everything(), &bytes, u32::try_from(bytes.len()).unwrap())
    };
    assert!(chain(1).is_ok());
    assert!(chain(8).is_ok());
    assert_eq!(chain(9), BAD);
}

#[test]
fn a_frame_longer_than_its_ip_length_field_can_say_is_not_segmented() {
    let frame = TcpFrame::v4(65_495);
    let bytes = frame.write();
    assert!(judge(&frame.raw(1448), everything(), &bytes).is_ok());
    let longer = [&bytes[..], &[0]].concat();
    assert_eq!(judge(&frame.raw(1448), everything(), &longer), BAD);
    let v6 = TcpFrame::v6(65_479);
    assert_eq!(v6.write().len(), 65_553);
    assert!(judge(&v6.raw(1448), everything(), &v6.write()).is_ok());
}

#[test]
fn a_frame_longer_than_any_is_refused_and_the_longest_is_not() {
    let frame = opaque(HEAD_BYTES);
    let raw = RawNetHeader::default();
    let longest = check(&raw, everything(), &frame, MAX_FRAME_BYTES);
    assert_eq!(longest, Ok(NetHeader::PLAIN));
    let longer = check(&raw, everything(), &frame, MAX_FRAME_BYTES + 1);
    assert_eq!(longer, Err(DropReason::Oversize));
}

#[test]
fn t43_padding_behind_the_packet_changes_no_verdict() {
    let frame = TcpFrame::v4(3);
    let bytes = frame.write();
    let raw = RawNetHeader { gso_type: VIRTIO_NET_HDR_GSO_NONE, ..frame.raw(0) };
    let verdict = judge(&raw, everything(), &bytes);
    assert!(verdict.is_ok());
    for padding in 0..=1446 {
        let padded = [&bytes[..], &vec![0; padding]].concat();
        assert_eq!(judge(&raw, everything(), &padded), verdict);
    }
}
