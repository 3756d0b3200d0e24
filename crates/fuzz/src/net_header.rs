//! A net header and a frame, both of them any bytes: judged, finished and segmented.
//!
//! What is accepted can be carried out: its checksum becomes right, its segments are the payload in order, and another
//! switch would judge it the same. What is refused has a documented reason.

use helio_offload::{
    Checksum, Form, Gso, MAX_SEGMENTS, NET_HEADER_BYTES, NetHeader, Offloads, RawNetHeader,
    SegmentChecksum, Segmenter, check, finish, flow_hash,
};
use helio_types::{DropReason, MAX_FRAME_BYTES};

use crate::Outcome;
use crate::input::Input;

/// Runs one input.
///
/// # Panics
///
/// When something does not hold.
pub fn run(data: &[u8]) -> Outcome {
    let mut input = Input::new(data);
    let (features, cut, repeat) = (input.u8(), input.u8(), input.u16());
    let (max_segment_bytes, header) = (input.u16(), input.bytes(NET_HEADER_BYTES));
    let mut frame = input.rest().to_vec();
    // Long frames need no long input.
    frame.resize(frame.len() + usize::from(repeat), features);
    let mut outcome = Outcome::default();
    let Some(raw) = RawNetHeader::from_bytes(header) else {
        assert!(header.len() < 10);
        return Outcome { accepted: 0, refused: 1 };
    };
    assert_eq!(raw.to_bytes()[..10], header[..10]);
    let head = &frame[..frame.len().min(usize::from(cut)).min(helio_frame::HEAD_BYTES)];
    std::hint::black_box(flow_hash(head));
    let (allowed, frame_bytes) = (offloads(features), u32::try_from(frame.len()).unwrap());
    let judged = check(&raw, allowed, head, frame_bytes);
    outcome.count(&judged);
    match judged {
        Ok(net) => {
            assert_eq!(check(&net.to_raw(), allowed, head, frame_bytes), Ok(net));
            let frame = Frame { head, rest: &frame[head.len()..], net };
            frame.assert_forms(allowed);
            frame.assert_shifts();
            frame.assert_finishes();
            frame.assert_segments(max_segment_bytes);
        }
        Err(DropReason::Oversize) => assert!(frame_bytes > MAX_FRAME_BYTES),
        // Only what lies beyond the head cannot be judged.
        Err(DropReason::HeaderLong) => assert!(head.len() < frame.len()),
        Err(reason) => assert_eq!(reason, DropReason::BadOffload),
    }
    outcome
}

/// The offloads that the low four bits of `bits` stand for, as a guest can acknowledge them.
fn offloads(bits: u8) -> Offloads {
    let features = [0, 11, 12, 13]
        .iter()
        .enumerate()
        .map(|(bit, feature)| u64::from(bits >> bit & 1) << feature);
    Offloads::of_sender(features.sum())
}

/// A frame that was accepted.
struct Frame<'a> {
    head: &'a [u8],
    rest: &'a [u8],
    net: NetHeader,
}

impl Frame<'_> {
    fn bytes(&self) -> Vec<u8> {
        [self.head, self.rest].concat()
    }

    /// What the sender may leave undone can be passed on as it is to a receiver that accepts as much.
    fn assert_forms(&self, allowed: Offloads) {
        for accepted in (0..16).map(offloads) {
            let form = Form::towards(&self.net, accepted);
            assert!(form == Form::Whole || accepted != allowed);
            assert!(self.net != NetHeader::PLAIN || form == Form::Whole);
            let is_cut = matches!(form, Form::Segmented(_));
            assert!(!is_cut || self.net.gso.is_some());
        }
    }

    /// One tag more or less never hurts a frame that was accepted with it or without.
    fn assert_shifts(&self) {
        if let Ok(longer) = self.net.shifted(4) {
            assert_eq!(longer.shifted(-4), Ok(self.net));
        }
        if let Ok(shorter) = self.net.shifted(-4) {
            assert_eq!(shorter.shifted(4), Ok(self.net));
        }
    }

    fn assert_finishes(&self) {
        let Checksum::Partial { start, offset } = self.net.checksum else { return };
        let place = usize::from(start) + usize::from(offset);
        let mut head = self.head.to_vec();
        let finished = finish(&mut head, start, offset, &self.rest);
        if place + 2 > self.head.len() {
            assert_eq!(finished, Err(DropReason::HeaderLong));
            assert_eq!(head, self.head);
            return;
        }
        assert_eq!(finished, Ok(()));
        assert_eq!(
            (&head[..place], &head[place + 2..]),
            (&self.head[..place], &self.head[place + 2..])
        );
        // A field across two words adds its bytes the other way round, which no protocol does.
        if offset % 2 == 0 {
            let before = u64::from(u16::from_be_bytes([self.head[place], self.head[place + 1]]));
            let after = sum(&[&head[start.into()..], self.rest].concat());
            assert_eq!((after + before) % 0xffff, 0, "the checksum is wrong");
        }
    }

    fn assert_segments(&self, max_segment_bytes: u16) {
        let mut segmenter = Segmenter::new();
        let Some(gso) = self.net.gso else {
            let refused =
                segmenter.plan(self.head, &self.net, &self.rest, SegmentChecksum::Complete, 1);
            assert_eq!((refused, segmenter.count()), (Err(DropReason::BadOffload), 0));
            return;
        };
        for (max, must_fit) in [(u16::MAX, true), (max_segment_bytes, false)] {
            let planned =
                segmenter.plan(self.head, &self.net, &self.rest, SegmentChecksum::Partial, max);
            let segment_bytes = max.min(gso.segment_bytes);
            if planned.is_err() {
                let count = self.payload(gso).len().div_ceil(usize::from(segment_bytes.max(1)));
                assert!(segment_bytes == 0 || count > usize::from(MAX_SEGMENTS) && !must_fit);
                assert_eq!((planned, segmenter.count()), (Err(DropReason::Mtu), 0));
                continue;
            }
            self.assert_plan(&segmenter, gso, segment_bytes);
            let mut complete = Segmenter::new();
            let planned =
                complete.plan(self.head, &self.net, &self.rest, SegmentChecksum::Complete, max);
            assert_eq!(planned, Ok(()));
            self.assert_same_when_finished(&segmenter, &complete);
        }
    }

    fn payload(&self, gso: Gso) -> Vec<u8> {
        self.bytes()[gso.header_bytes.into()..].to_vec()
    }

    /// The segments are the payload, in order, each no longer than allowed, with sequence numbers to match.
    fn assert_plan(&self, segmenter: &Segmenter, gso: Gso, segment_bytes: u16) {
        let Checksum::Partial { start, .. } = self.net.checksum else {
            panic!("segments need a checksum")
        };
        let sequence = usize::from(start) + 4;
        let number =
            |header: &[u8]| u32::from_be_bytes(header[sequence..sequence + 4].try_into().unwrap());
        let mut next = u32::from(gso.header_bytes);
        for (index, segment) in (0..).zip(segmenter.segments()) {
            self.assert_counted(segment.header, usize::from(start), index, segmenter.count());
            assert_eq!(segment.header.len(), usize::from(gso.header_bytes));
            assert_eq!(segment.body_start, next);
            assert!(segment.body_bytes <= u32::from(segment_bytes));
            assert!(segment.body_bytes > 0 || segmenter.count() == 1);
            let progress = number(segment.header).wrapping_sub(number(self.head));
            assert_eq!(progress, next - u32::from(gso.header_bytes));
            assert_eq!((segment.net.gso, segment.net.checksum), (None, self.net.checksum));
            next += segment.body_bytes;
        }
        let frame_bytes = self.head.len() + self.rest.len();
        assert_eq!(next as usize, frame_bytes);
        assert_eq!(segmenter.segment(segmenter.count()).map(|beyond| beyond.body_bytes), None);
        let unlimited = self.net.segment_count(u32::try_from(frame_bytes).unwrap());
        assert!(u32::from(segmenter.count()) == unlimited || segment_bytes < gso.segment_bytes);
    }

    /// FIN and PSH are on the last segment only, CWR is on the first only, and IPv4 identifications count up.
    fn assert_counted(&self, header: &[u8], tcp: usize, index: u16, count: u16) {
        let (last, first) = (0x09, 0x80);
        let mut flags = self.head[tcp + 13];
        flags &= if index + 1 == count { 0xff } else { !last };
        flags &= if index == 0 { 0xff } else { !first };
        assert_eq!(header[tcp + 13], flags);
        if header[12..14] == [0x08, 0x00] {
            let number = |header: &[u8]| u16::from_be_bytes([header[18], header[19]]);
            assert_eq!(number(header).wrapping_sub(number(self.head)), index);
        }
    }

    /// Two ways to a complete segment lead to the same bytes, and each is a frame that needs nothing more.
    fn assert_same_when_finished(&self, partial: &Segmenter, complete: &Segmenter) {
        let frame = self.bytes();
        assert_eq!(partial.count(), complete.count());
        for (partial, complete) in partial.segments().zip(complete.segments()) {
            let Checksum::Partial { start, offset } = partial.net.checksum else {
                panic!("it is complete")
            };
            let body = &frame[partial.body_start as usize..][..partial.body_bytes as usize];
            let mut header = partial.header.to_vec();
            assert_eq!(finish(&mut header, start, offset, &body), Ok(()));
            assert_eq!(header, complete.header);
            assert_eq!(complete.net, NetHeader::PLAIN);
            assert_ip_header(complete.header, body.len());
        }
    }
}

/// Length and checksum of an IPv4 header without a tag before it, and the length in an IPv6 header.
fn assert_ip_header(header: &[u8], body_bytes: usize) {
    let length = |at: usize| usize::from(u16::from_be_bytes([header[at], header[at + 1]]));
    match header[12..14] {
        [0x08, 0x00] => {
            assert_eq!(length(16), header.len() + body_bytes - 14);
            let end = 14 + usize::from(header[14] & 0xf) * 4;
            assert_eq!(sum(&header[14..end]) % 0xffff, 0, "the header checksum is wrong");
        }
        [0x86, 0xdd] => assert_eq!(length(18), header.len() + body_bytes - 54),
        _ => {}
    }
}

/// Sum of the 16-bit words of `bytes`, the last one filled up with zero: a multiple of 0xffff where the checksum is right.
fn sum(bytes: &[u8]) -> u64 {
    bytes
        .chunks(2)
        .map(|word| u64::from(word[0]) << 8 | u64::from(*word.get(1).unwrap_or(&0)))
        .sum()
}
