//! The frames that are offered: they lie in memory of another guest, and their bytes tell where they come from.

use std::sync::{Arc, LazyLock};

use helio_frame::{Delivery, Frame, HEAD_BYTES, Head, MemoryId, Precedence, RestBytes, Run};
use helio_mem::{GuestAddr, MemoryTable, Segment};
use helio_offload::{Checksum, Ecn, Gso, GsoKind, NetHeader};
use helio_types::PortId;

use super::MAX_READY;
use crate::input::Input;

/// Most frames in one run, and the length that none of them reaches: long ones come alone.
const MAX_RUN: u8 = 48;
const MAX_BYTES: u16 = 0x2800;

type Memories = [Option<Arc<MemoryTable>>; 1];

/// The bytes, and the memory, which is the only one. Only ever read.
static SOURCE: LazyLock<(Vec<u8>, Memories)> = LazyLock::new(|| {
    let bytes: Vec<u8> =
        (0..0x4_0000_u32).map(|at| u8::try_from((at * 7 + at / 251) % 251).unwrap()).collect();
    let table = MemoryTable::anonymous(bytes.len()).unwrap();
    let whole = u32::try_from(bytes.len()).unwrap();
    table.resolve(GuestAddr(0), whole, |all| table.write(all, &bytes) == bytes.len()).unwrap();
    (bytes, [Some(Arc::new(table))])
});

/// Frames that have nothing but a length.
static LENGTHS: LazyLock<Vec<Frame>> = LazyLock::new(|| {
    let frame = |at| Frame { bytes: 60 + 40 * at, ..Frame::vacant() };
    (0..u32::try_from(2 * MAX_READY).unwrap()).map(frame).collect()
});

/// Frames to prepare for.
pub(super) fn lengths() -> &'static [Frame] {
    &LENGTHS
}

/// A frame for one port, in parts.
#[derive(Debug)]
pub(super) struct Parts {
    net: NetHeader,
    header: &'static [u8],
    tail: &'static [u8],
    segments: Vec<Segment>,
    skip: u16,
    rest_bytes: u16,
}

impl Parts {
    /// As the input says.
    pub(super) fn new(input: &mut Input<'_>) -> Self {
        let (net, header_bytes, tail_bytes) = (net_header(input), input.u8(), input.u8());
        let (rest_bytes, skip, cut) = (input.u16(), u16::from(input.u8()), input.u8());
        let (source, _) = &*SOURCE;
        let header = &source[..14 + usize::from(header_bytes % 179)];
        let tail = &source[1000..1000 + usize::from(tail_bytes % 129)];
        let segments = segments(0, u32::from(rest_bytes) + u32::from(skip), u32::from(cut));
        Self { net, header, tail, segments, skip, rest_bytes }
    }

    pub(super) fn delivery(&self) -> Delivery<'_> {
        let (_, memories) = &*SOURCE;
        Delivery {
            net: self.net,
            header: self.header,
            tail: self.tail,
            rest: RestBytes::new(memories[0].as_deref(), &self.segments),
            rest_skip: u32::from(self.skip),
            rest_bytes: u32::from(self.rest_bytes),
            precedence: Precedence::Production,
        }
    }

    pub(super) fn bytes(&self) -> Vec<u8> {
        let rest = bytes_of(&self.segments);
        let rest = rest.skip(usize::from(self.skip)).take(usize::from(self.rest_bytes));
        self.header.iter().chain(self.tail).chain(rest).copied().collect()
    }
}

/// Frames of a run: the first is as long as the input says, and each is longer than the one before it by the same.
pub(super) fn frames(input: &mut Input<'_>) -> Vec<Frame> {
    let (count, net, bytes) = (1 + input.u8() % MAX_RUN, net_header(input), input.u16());
    let (longer, cut) = (u16::from(input.u8()), u32::from(input.u8()));
    let (source, _) = &*SOURCE;
    let frame = |at: u8| {
        let bytes = usize::from(bytes.wrapping_add(longer * u16::from(at)) % MAX_BYTES).max(14);
        let head = Head::copy_of(&source[usize::from(at)..][..bytes.min(HEAD_BYTES)]);
        let rest = bytes.saturating_sub(HEAD_BYTES);
        let rest = segments(3 * u64::from(at), u32::try_from(rest).unwrap(), cut);
        Frame {
            head,
            bytes: u32::try_from(bytes).unwrap(),
            net,
            memory: MemoryId::of_port(PortId::new(0).unwrap()),
            rest: rest.into_iter().collect(),
            ..Frame::vacant()
        }
    };
    (0..count).map(frame).collect()
}

pub(super) fn run(frames: &[Frame]) -> Run<'_> {
    Run { frames, memories: &SOURCE.1, precedence: Precedence::Production }
}

/// All bytes of a frame of a run.
pub(super) fn content(frame: &Frame) -> Vec<u8> {
    frame.head.bytes().iter().chain(bytes_of(&frame.rest)).copied().collect()
}

fn bytes_of(segments: &[Segment]) -> impl Iterator<Item = &u8> {
    segments.iter().flat_map(|segment| {
        let start = usize::try_from(segment.offset).unwrap();
        &SOURCE.0[start..start + segment.bytes as usize]
    })
}

/// What a frame may be delivered with: the queue passes it on without a look.
fn net_header(input: &mut Input<'_>) -> NetHeader {
    let kind = input.u8();
    if kind & 1 == 0 {
        return NetHeader::PLAIN;
    }
    let (start, offset) = (input.u16(), input.u16());
    let gso =
        Gso { kind: GsoKind::Tcp6, ecn: Ecn::Present, segment_bytes: start, header_bytes: offset };
    NetHeader { checksum: Checksum::Partial { start, offset }, gso: (kind & 2 != 0).then_some(gso) }
}

/// `total` bytes of the source from `start` on, in at most 20 pieces with a gap before each.
fn segments(start: u64, total: u32, cut: u32) -> Vec<Segment> {
    let piece = (total / 20 + 1).max(16 * cut + 1);
    let mut segments = Vec::new();
    let mut done = 0;
    while done < total {
        let bytes = piece.min(total - done);
        let gaps = 5 * u64::try_from(segments.len() + 1).unwrap();
        segments.push(Segment { offset: start + u64::from(done) + gaps, bytes, region: 0 });
        done += bytes;
    }
    segments
}
