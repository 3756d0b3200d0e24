//! Segments, byte for byte against the slow reference.

use etherparse::{IpHeaders, TcpHeader};
use helio_types::DropReason;
use proptest::prelude::*;

use super::frames::{HEAD_BYTES, TcpFrame, everything, kinds};
use super::reference;
use crate::{Checksum, NetHeader, RawNetHeader, SegmentChecksum, Segmenter, check};

const BOTH: [SegmentChecksum; 2] = [SegmentChecksum::Complete, SegmentChecksum::Partial];

fn checked(frame: &TcpFrame, raw: &RawNetHeader, bytes: &[u8]) -> NetHeader {
    let head = &bytes[..bytes.len().min(frame.header_bytes())];
    check(raw, everything(), head, u32::try_from(bytes.len()).unwrap()).unwrap()
}

/// The planned segments of `bytes` as whole frames.
fn written(segmenter: &Segmenter, bytes: &[u8]) -> Vec<Vec<u8>> {
    let write = |segment: crate::SegmentPlan<'_>| {
        let start = segment.body_start as usize;
        let body = &bytes[start..start + segment.body_bytes as usize];
        [segment.header, body].concat()
    };
    segmenter.segments().map(write).collect()
}

/// Cuts `frame`, of which the first `cut` bytes are the head, into segments of `segment_bytes`.
fn cut_up(
    segmenter: &mut Segmenter,
    frame: &TcpFrame,
    segment_bytes: u16,
    cut: usize,
    checksum: SegmentChecksum,
) -> Vec<Vec<u8>> {
    let bytes = frame.clone().with_partial_checksum().write();
    let net = checked(frame, &frame.raw(segment_bytes), &bytes);
    let (head, rest) = bytes.split_at(cut.min(bytes.len()));
    segmenter.plan(head, &net, &rest, checksum, u16::MAX).unwrap();
    let frame_bytes = u32::try_from(bytes.len()).unwrap();
    assert_eq!(u32::from(segmenter.count()), net.segment_count(frame_bytes));
    written(segmenter, &bytes)
}

#[test]
fn t13_c142_segments_are_those_of_the_reference() {
    let mut segmenter = Segmenter::new();
    for payload_bytes in [0, 1, 7, 8, 9, 100, 127, 128, 900, 1448, 1449, 8001, 65_000] {
        for frame in kinds(payload_bytes) {
            for size in [1_u16, 7, 8, 536, 1448, 65_535] {
                if payload_bytes.div_ceil(usize::from(size)) > 128 {
                    continue;
                }
                for checksum in BOTH {
                    let ours = cut_up(&mut segmenter, &frame, size, HEAD_BYTES, checksum);
                    let theirs = reference::segments(&frame, usize::from(size), checksum);
                    assert!(ours == theirs, "{payload_bytes} {size} {checksum:?} {frame:?}");
                }
            }
        }
    }
}

#[test]
fn the_head_may_end_anywhere_behind_the_headers() {
    let mut segmenter = Segmenter::new();
    for frame in kinds(150) {
        for checksum in BOTH {
            let expected = reference::segments(&frame, 47, checksum);
            for cut in frame.header_bytes()..=frame.header_bytes() + 150 {
                let ours = cut_up(&mut segmenter, &frame, 47, cut, checksum);
                assert_eq!(ours, expected, "head of {cut}");
            }
        }
    }
}

/// The TCP headers of `frame` cut into three.
fn tcp_of_three(frame: &TcpFrame) -> Vec<TcpHeader> {
    let start = frame.tcp_start();
    let segments = cut_up(&mut Segmenter::new(), frame, 100, HEAD_BYTES, SegmentChecksum::Complete);
    assert_eq!(segments.len(), 3);
    segments.iter().map(|bytes| TcpHeader::from_slice(&bytes[start..]).unwrap().0).collect()
}

#[test]
fn c142_fin_and_psh_are_on_the_last_segment_and_cwr_on_the_first() {
    for mut frame in [TcpFrame::v4(250), TcpFrame::v6(250)] {
        (frame.tcp.fin, frame.tcp.psh, frame.tcp.cwr) = (true, true, true);
        (frame.tcp.ece, frame.tcp.urg, frame.tcp.ns) = (true, true, true);
        let tcp = tcp_of_three(&frame);
        assert_eq!(tcp.iter().map(|tcp| tcp.fin).collect::<Vec<_>>(), [false, false, true]);
        assert_eq!(tcp.iter().map(|tcp| tcp.psh).collect::<Vec<_>>(), [false, false, true]);
        assert_eq!(tcp.iter().map(|tcp| tcp.cwr).collect::<Vec<_>>(), [true, false, false]);
        assert!(tcp.iter().all(|tcp| tcp.ece && tcp.urg && tcp.ns && tcp.ack));
    }
}

#[test]
fn one_segment_is_first_and_last() {
    let mut frame = TcpFrame::v4(100);
    (frame.tcp.fin, frame.tcp.psh, frame.tcp.cwr) = (true, true, true);
    let ours = cut_up(&mut Segmenter::new(), &frame, 100, HEAD_BYTES, SegmentChecksum::Complete);
    assert_eq!(ours, [frame.with_complete_checksum().write()]);
}

#[test]
fn c142_sequence_numbers_and_identifications_wrap() {
    let mut frame = TcpFrame::v4(250);
    frame.tcp.sequence_number = u32::MAX - 99;
    if let IpHeaders::Ipv4(ip, _) = &mut frame.ip {
        ip.identification = u16::MAX;
    }
    let tcp = tcp_of_three(&frame);
    let sequence: Vec<_> = tcp.iter().map(|tcp| tcp.sequence_number).collect();
    assert_eq!(sequence, [u32::MAX - 99, 0, 100]);
    let ours = cut_up(&mut Segmenter::new(), &frame, 100, HEAD_BYTES, SegmentChecksum::Complete);
    let identifications: Vec<_> = ours.iter().map(|bytes| [bytes[18], bytes[19]]).collect();
    assert_eq!(identifications, [[0xff, 0xff], [0, 0], [0, 1]]);
}

#[test]
fn the_longest_frame_is_cut_into_wire_sizes() {
    let mut segmenter = Segmenter::new();
    for frame in [TcpFrame::v4(65_495), TcpFrame::v6(65_479)] {
        for size in [536, 1448, 8948] {
            for checksum in BOTH {
                let ours = cut_up(&mut segmenter, &frame, size, HEAD_BYTES, checksum);
                assert!(ours == reference::segments(&frame, usize::from(size), checksum));
            }
        }
    }
}

#[test]
fn a_receiver_may_ask_for_shorter_segments_but_not_for_longer_or_too_many() {
    let frame = TcpFrame::v4(1280);
    let bytes = frame.write();
    let net = checked(&frame, &frame.raw(640), &bytes);
    let (head, rest) = bytes.split_at(HEAD_BYTES);
    let mut segmenter = Segmenter::new();
    let mut plan = |max_segment_bytes| {
        let complete = SegmentChecksum::Complete;
        let verdict = segmenter.plan(head, &net, &rest, complete, max_segment_bytes);
        verdict.map(|()| written(&segmenter, &bytes))
    };
    let expected = |size| reference::segments(&frame, size, SegmentChecksum::Complete);
    assert_eq!(plan(u16::MAX), Ok(expected(640)));
    assert_eq!(plan(641), Ok(expected(640)));
    assert_eq!(plan(639), Ok(expected(639)));
    assert_eq!(plan(10), Ok(expected(10)));
    assert_eq!(plan(9), Err(DropReason::Mtu));
    assert_eq!(plan(0), Err(DropReason::Mtu));
}

#[test]
fn the_net_header_of_a_segment_says_what_is_left_to_do() {
    let frame = TcpFrame::v6(3000).tagged(&[(0x8100, 10)]);
    let bytes = frame.write();
    let net = checked(&frame, &frame.raw(1448), &bytes);
    let (head, rest) = bytes.split_at(HEAD_BYTES);
    let mut segmenter = Segmenter::new();
    segmenter.plan(head, &net, &rest, SegmentChecksum::Complete, u16::MAX).unwrap();
    assert!(segmenter.segments().all(|segment| segment.net == NetHeader::PLAIN));
    segmenter.plan(head, &net, &rest, SegmentChecksum::Partial, u16::MAX).unwrap();
    let checksum = Checksum::Partial { start: 58, offset: 16 };
    assert_eq!(segmenter.count(), 3);
    assert!(segmenter.segments().all(|segment| segment.net == NetHeader { checksum, gso: None }));
}

#[test]
fn segments_can_be_had_by_number_until_the_next_plan() {
    let frame = TcpFrame::v4(3000);
    let bytes = frame.write();
    let net = checked(&frame, &frame.raw(1448), &bytes);
    let (head, rest) = bytes.split_at(HEAD_BYTES);
    let mut segmenter = Segmenter::new();
    assert!(segmenter.segment(0).is_none());
    segmenter.plan(head, &net, &rest, SegmentChecksum::Complete, u16::MAX).unwrap();
    for (index, segment) in (0..).zip(segmenter.segments()) {
        let same = segmenter.segment(index).unwrap();
        assert_eq!((same.header, same.body_start), (segment.header, segment.body_start));
    }
    assert!(segmenter.segment(2).is_some() && segmenter.segment(3).is_none());
    let refused =
        segmenter.plan(head, &NetHeader::PLAIN, &rest, SegmentChecksum::Complete, u16::MAX);
    assert_eq!(refused, Err(DropReason::BadOffload));
    assert!(segmenter.count() == 0 && segmenter.segment(0).is_none());
}

#[test]
fn a_net_header_of_another_frame_is_refused() {
    let frame = TcpFrame::v4(3000);
    let bytes = frame.write();
    let net = checked(&frame, &frame.raw(1448), &bytes);
    for other in kinds(3000).into_iter().skip(1) {
        let bytes = other.write();
        let (head, rest) = bytes.split_at(HEAD_BYTES);
        let refused = Segmenter::new().plan(head, &net, &rest, SegmentChecksum::Complete, u16::MAX);
        assert_eq!(refused, Err(DropReason::BadOffload));
    }
}

#[test]
fn a_frame_that_got_a_tag_is_cut_as_if_it_had_come_with_it() {
    let plain = TcpFrame::v4(3000);
    let tagged = plain.clone().tagged(&[(0x8100, 42)]);
    let bytes = plain.write();
    let net = checked(&plain, &plain.raw(1448), &bytes).shifted(4).unwrap();
    // The worker edits its private head; the rest stays where it is.
    let (head, rest) = bytes.split_at(HEAD_BYTES);
    let mut head = head.to_vec();
    head.splice(12..12, [0x81, 0, 0, 42]);
    let mut segmenter = Segmenter::new();
    segmenter.plan(&head, &net, &rest, SegmentChecksum::Complete, u16::MAX).unwrap();
    let ours = written(&segmenter, &[&head[..], rest].concat());
    assert_eq!(ours, reference::segments(&tagged, 1448, SegmentChecksum::Complete));
}

/// A frame with a routing header of two addresses in front of TCP.
fn routed(kind: u8, segments_left: u8) -> (TcpFrame, Vec<u8>) {
    let frame = TcpFrame::v6(2000);
    let mut bytes = frame.write();
    bytes[20] = 43;
    let header = [&[6, 4, kind, segments_left, 0, 0, 0, 0][..], &[0xaa; 16], &[0xbb; 16]].concat();
    bytes.splice(54..54, header);
    (frame, bytes)
}

#[test]
fn c142_the_pseudo_header_has_the_final_destination_of_a_routing_header() {
    let cases = [
        (0, 2, Some([0xbb; 16])),
        (0, 0, Some([0x20; 16])),
        (2, 1, Some([0xaa; 16])),
        (4, 1, Some([0xaa; 16])),
        (4, 0, Some([0x20; 16])),
        (3, 0, Some([0x20; 16])),
        (3, 1, None),
    ];
    for (kind, segments_left, destination) in cases {
        let (frame, bytes) = routed(kind, segments_left);
        let raw = RawNetHeader { csum_start: 94, ..frame.raw(1448) };
        let (head, rest) = bytes.split_at(HEAD_BYTES);
        let verdict = check(&raw, everything(), head, u32::try_from(bytes.len()).unwrap());
        let Some(destination) = destination else {
            assert_eq!(verdict, Err(DropReason::BadOffload));
            continue;
        };
        let mut segmenter = Segmenter::new();
        let complete = SegmentChecksum::Complete;
        segmenter.plan(head, &verdict.unwrap(), &rest, complete, u16::MAX).unwrap();
        for segment in written(&segmenter, &bytes) {
            let (tcp, payload) = TcpHeader::from_slice(&segment[94..]).unwrap();
            let mut source = [0xfe; 16];
            source[15] = 1;
            let expected = tcp.calc_checksum_ipv6_raw(source, destination, payload).unwrap();
            assert_eq!(tcp.checksum, expected, "type {kind}, {segments_left} left");
        }
    }
}

proptest! {
    #[test]
    fn any_cut_of_any_kind_of_frame_is_that_of_the_reference(
        kind in 0_usize..10,
        payload_bytes in 0_usize..4000,
        size in 32_u16..2000,
        cut in 0_usize..300,
        sequence: u32,
        flags in proptest::array::uniform4(any::<bool>()),
        complete: bool,
    ) {
        let mut frame = kinds(payload_bytes).swap_remove(kind);
        frame.tcp.sequence_number = sequence;
        [frame.tcp.fin, frame.tcp.psh, frame.tcp.cwr, frame.tcp.ece] = flags;
        let checksum = BOTH[usize::from(complete)];
        let cut = frame.header_bytes() + cut;
        let ours = cut_up(&mut Segmenter::new(), &frame, size, cut, checksum);
        prop_assert_eq!(ours, reference::segments(&frame, usize::from(size), checksum));
    }

    #[test]
    fn whatever_is_accepted_lies_in_the_frame_and_can_be_finished_and_cut(
        kind in 0_usize..10,
        payload_bytes in 0_usize..400,
        hits in proptest::collection::vec((0_usize..140, any::<u8>()), 0..4),
        raw in any::<[u8; 12]>(),
        keep in 0_u8..8,
        len in 0_usize..600,
    ) {
        let frame = kinds(payload_bytes).swap_remove(kind);
        let mut bytes = frame.write();
        for (at, value) in hits {
            if let Some(byte) = bytes.get_mut(at) {
                *byte = value;
            }
        }
        bytes.truncate(len.max(14));
        // Some of the net header is that of the frame, so that not everything is refused at once.
        let good = frame.raw(8);
        let mut raw = RawNetHeader::from_bytes(&raw).unwrap();
        raw.flags |= 1;
        if keep & 1 == 0 {
            (raw.csum_start, raw.csum_offset) = (good.csum_start, good.csum_offset);
        }
        if keep & 2 == 0 {
            raw.gso_type = good.gso_type;
        }
        if keep & 4 == 0 {
            raw.gso_size = good.gso_size;
        }
        assert_accepted_is_sound(&raw, &bytes);
    }

    #[test]
    fn bytes_that_mean_nothing_do_no_harm(
        bytes in proptest::collection::vec(any::<u8>(), 14..300),
        raw in any::<[u8; 12]>(),
    ) {
        assert_accepted_is_sound(&RawNetHeader::from_bytes(&raw).unwrap(), &bytes);
    }
}

fn assert_accepted_is_sound(raw: &RawNetHeader, bytes: &[u8]) {
    let (head, rest) = bytes.split_at(bytes.len().min(HEAD_BYTES));
    let frame_bytes = u32::try_from(bytes.len()).unwrap();
    let Ok(net) = check(raw, everything(), head, frame_bytes) else { return };
    if let Checksum::Partial { start, offset } = net.checksum {
        let end = usize::from(start) + usize::from(offset) + 2;
        assert!(start >= 14 && end <= bytes.len());
        let finished = crate::finish(&mut head.to_vec(), start, offset, &rest);
        assert_eq!(finished.is_ok(), end <= head.len());
    }
    let Some(gso) = net.gso else { return };
    assert!(usize::from(gso.header_bytes) <= head.len());
    for checksum in BOTH {
        let mut segmenter = Segmenter::new();
        segmenter.plan(head, &net, &rest, checksum, u16::MAX).unwrap();
        let mut next = u32::from(gso.header_bytes);
        for segment in segmenter.segments() {
            assert_eq!(segment.body_start, next);
            assert!(segment.body_bytes <= u32::from(gso.segment_bytes));
            next += segment.body_bytes;
        }
        assert_eq!(next, frame_bytes);
    }
}
