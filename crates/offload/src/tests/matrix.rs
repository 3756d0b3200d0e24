//! Every kind of sender's frame to every kind of receiver.

use super::frames::{HEAD_BYTES, TcpFrame, everything};
use super::reference;
use crate::{
    Checksum, Ecn, Form, GsoKind, NetHeader, Offloads, RawNetHeader, SegmentChecksum, Segmenter,
    VIRTIO_NET_HDR_GSO_ECN, VIRTIO_NET_HDR_GSO_NONE, check, finish,
};

const SEGMENT_BYTES: u16 = 1000;

/// What a receiver gets: frames, each with its net header.
type Delivered = Vec<(NetHeader, Vec<u8>)>;

/// The senders' frames: complete, partial checksum, to be segmented without and with ECN.
fn sent(frame: &TcpFrame) -> Vec<(RawNetHeader, Vec<u8>)> {
    let segmented = frame.raw(SEGMENT_BYTES);
    let partial = RawNetHeader { gso_type: VIRTIO_NET_HDR_GSO_NONE, gso_size: 0, ..segmented };
    let gso_type = segmented.gso_type | VIRTIO_NET_HDR_GSO_ECN;
    let ecn = RawNetHeader { gso_type, ..segmented };
    let complete = frame.clone().with_complete_checksum().write();
    let unfinished = frame.clone().with_partial_checksum().write();
    vec![
        (RawNetHeader::default(), complete),
        (partial, unfinished.clone()),
        (segmented, unfinished.clone()),
        (ecn, unfinished),
    ]
}

/// What a worker does for a receiver that accepts `accepted`.
fn deliver(net: NetHeader, frame: &[u8], accepted: Offloads) -> Delivered {
    let (head, rest) = frame.split_at(HEAD_BYTES);
    match Form::towards(&net, accepted) {
        Form::Whole => vec![(net, frame.to_vec())],
        Form::Finished => {
            let mut whole = head.to_vec();
            if let Checksum::Partial { start, offset } = net.checksum {
                finish(&mut whole, start, offset, &rest).unwrap();
            }
            whole.extend(rest);
            vec![(NetHeader::PLAIN, whole)]
        }
        Form::Segmented(checksum) => {
            let mut segmenter = Segmenter::new();
            segmenter.plan(head, &net, &rest, checksum, u16::MAX).unwrap();
            let write = |segment: crate::SegmentPlan<'_>| {
                let start = segment.body_start as usize;
                let body = &frame[start..start + segment.body_bytes as usize];
                (segment.net, [segment.header, body].concat())
            };
            segmenter.segments().map(write).collect()
        }
    }
}

/// What it should get, said with the feature bits and the net header as they are on the wire.
fn expected(frame: &TcpFrame, raw: &RawNetHeader, bytes: &[u8], features: u64) -> Vec<Vec<u8>> {
    let has = |bit: u32| features >> bit & 1 == 1;
    let (csum, tso4, tso6, ecn) = (has(1), has(7), has(8), has(9));
    let gso = raw.gso_type & 0x7f;
    let takes_gso = csum && if gso == 1 { tso4 } else { tso6 } && (raw.gso_type < 0x80 || ecn);
    let complete = frame.clone().with_complete_checksum().write();
    let segment_bytes = usize::from(SEGMENT_BYTES);
    match (raw.flags, gso) {
        (0, _) => vec![bytes.to_vec()],
        (_, 0) if csum => vec![bytes.to_vec()],
        (_, 0) => vec![complete],
        (..) if takes_gso => vec![bytes.to_vec()],
        (..) if csum => reference::segments(frame, segment_bytes, SegmentChecksum::Partial),
        (..) => reference::segments(frame, segment_bytes, SegmentChecksum::Complete),
    }
}

/// Whether `net` asks nothing of a receiver that it did not accept.
fn is_understood(net: &NetHeader, accepted: Offloads) -> bool {
    let csum = net.checksum == Checksum::Complete || accepted.contains(Offloads::CSUM);
    let gso = net.gso.is_none_or(|gso| {
        let kind = match gso.kind {
            GsoKind::Tcp4 => Offloads::TSO4,
            GsoKind::Tcp6 => Offloads::TSO6,
        };
        accepted.contains(kind) && (gso.ecn == Ecn::Absent || accepted.contains(Offloads::ECN))
    });
    csum && gso
}

#[test]
fn c140_every_receiver_gets_what_it_understands_and_the_bytes_of_the_reference() {
    let sets = (0_u64..16).map(|set| (set & 1) << 1 | (set >> 1) << 7);
    for features in sets {
        let accepted = Offloads::of_receiver(features);
        for frame in [TcpFrame::v4(2500), TcpFrame::v6(2500).with_tcp_options(12)] {
            for (raw, bytes) in sent(&frame) {
                let head = &bytes[..HEAD_BYTES];
                let frame_bytes = u32::try_from(bytes.len()).unwrap();
                let net = check(&raw, everything(), head, frame_bytes).unwrap();
                let delivered = deliver(net, &bytes, accepted);
                assert!(delivered.iter().all(|(net, _)| is_understood(net, accepted)));
                let frames: Vec<_> = delivered.into_iter().map(|(_, frame)| frame).collect();
                assert_eq!(frames, expected(&frame, &raw, &bytes, features), "{features:#x}");
            }
        }
    }
}

#[test]
fn c140_a_receiver_that_accepts_all_gets_the_frame_whole() {
    for (raw, bytes) in sent(&TcpFrame::v6(2500)) {
        let head = &bytes[..HEAD_BYTES];
        let net = check(&raw, everything(), head, u32::try_from(bytes.len()).unwrap()).unwrap();
        assert_eq!(Form::towards(&net, everything()), Form::Whole);
        let sent = net.to_raw();
        assert_eq!((sent.flags, sent.gso_type), (raw.flags, raw.gso_type));
        assert_eq!(sent.gso_size, raw.gso_size);
    }
}
