//! Cuts a frame that stands for several TCP segments into those segments: fresh headers in storage of our
//! own, and ranges of the payload, which stays where it is. One [`Segmenter`] per worker.
//!
//! What always holds: the ranges of a plan are the payload, in order, without gap or overlap.

use helio_types::DropReason;

use crate::headers::{TcpHeaders, Version};
use crate::rest::{Rest, frame_bytes, sum_frame};
use crate::sum::{RunningSum, sum_words};
use crate::{Checksum, GsoKind, MAX_SEGMENTS, NetHeader, SegmentChecksum};

/// Longest headers of one segment: a header snapshot of 128 bytes, and room for tags.
pub const MAX_HEADER_BYTES: usize = 192;

const TCP: u8 = 6;
const TCP_CHECKSUM_OFFSET: u16 = 16;
const FIN: u8 = 0x01;
const PSH: u8 = 0x08;
const CWR: u8 = 0x80;

/// Plans the segments of one frame at a time; the plan stays until the next one is made.
#[derive(Debug)]
pub struct Segmenter {
    headers: Box<[[u8; MAX_HEADER_BYTES]]>,
    /// Of the plan that stands; 0 when there is none.
    count: u16,
    cut: Cut,
    net: NetHeader,
}

/// How a frame is cut.
#[derive(Clone, Copy, Debug, Default)]
struct Cut {
    header_bytes: usize,
    payload_start: u32,
    segment_bytes: u32,
    frame_bytes: u32,
}

/// One segment: `header`, then `body_bytes` of the planned frame from `body_start` on.
#[derive(Clone, Copy, Debug)]
pub struct SegmentPlan<'a> {
    /// Link, network and transport header, complete but for a partial checksum.
    pub header: &'a [u8],
    /// First payload byte, counted from the start of the frame (`head` and `rest` as they were planned).
    pub body_start: u32,
    /// Number of payload bytes.
    pub body_bytes: u32,
    /// The net header to deliver it with.
    pub net: NetHeader,
}

impl Default for Segmenter {
    fn default() -> Self {
        Self::new()
    }
}

impl Segmenter {
    /// Allocates the headers of [`MAX_SEGMENTS`] segments: the only allocation.
    #[must_use]
    pub fn new() -> Self {
        let headers = vec![[0; MAX_HEADER_BYTES]; usize::from(MAX_SEGMENTS)].into_boxed_slice();
        Self { headers, count: 0, cut: Cut::default(), net: NetHeader::PLAIN }
    }

    /// Plans the segments of the frame made of `head` and `rest`, each with at most the payload that `net`
    /// says and at most `max_segment_bytes` of it.
    ///
    /// As Linux does it: the IP length of each, consecutive IPv4 identifications, sequence numbers, FIN
    /// and PSH on the last only, CWR on the first only; all other fields are those of the frame.
    ///
    /// # Errors
    ///
    /// No plan stands then.
    /// - [`DropReason::Mtu`]: `max_segment_bytes` is 0 or makes more than [`MAX_SEGMENTS`].
    /// - [`DropReason::HeaderLong`]: the headers do not fit [`MAX_HEADER_BYTES`].
    /// - [`DropReason::BadOffload`]: `net` is not that of the frame; not after [`check`](crate::check).
    pub fn plan(
        &mut self,
        head: &[u8],
        net: &NetHeader,
        rest: &impl Rest,
        checksum: SegmentChecksum,
        max_segment_bytes: u16,
    ) -> Result<(), DropReason> {
        self.count = 0;
        let headers = parse(head, net)?;
        let (cut, count) = Cut::new(&headers, net, frame_bytes(head, rest), max_segment_bytes)?;
        let template = head.get(..cut.header_bytes).ok_or(DropReason::BadOffload)?;
        for (index, room) in (0..count).zip(self.headers.iter_mut()) {
            let header = room.get_mut(..cut.header_bytes).ok_or(DropReason::HeaderLong)?;
            header.copy_from_slice(template);
            let position = Position { index, is_last: index + 1 == count };
            write_header(header, &headers, &cut, position).ok_or(DropReason::BadOffload)?;
            if checksum == SegmentChecksum::Complete {
                let body = cut.body(index);
                let body_sum = sum_frame(head, rest, body);
                complete(header, &headers, body_sum).ok_or(DropReason::BadOffload)?;
            }
        }
        self.net = match checksum {
            SegmentChecksum::Complete => NetHeader::PLAIN,
            SegmentChecksum::Partial => NetHeader { checksum: net.checksum, gso: None },
        };
        self.cut = cut;
        self.count = count;
        Ok(())
    }

    /// Number of segments planned; 0 when no plan stands.
    #[must_use]
    pub const fn count(&self) -> u16 {
        self.count
    }

    /// The segments planned, in order.
    pub fn segments(&self) -> impl Iterator<Item = SegmentPlan<'_>> {
        (0..self.count).zip(self.headers.iter()).map(|(index, header)| self.at(index, header))
    }

    /// Segment `index` of the plan, counted from 0.
    #[must_use]
    pub fn segment(&self, index: u16) -> Option<SegmentPlan<'_>> {
        let header = self.headers.get(usize::from(index)).filter(|_| index < self.count)?;
        Some(self.at(index, header))
    }

    fn at<'a>(&self, index: u16, header: &'a [u8; MAX_HEADER_BYTES]) -> SegmentPlan<'a> {
        let body = self.cut.body(index);
        SegmentPlan {
            header: header.get(..self.cut.header_bytes).unwrap_or_default(),
            body_start: body.start,
            body_bytes: body.end - body.start,
            net: self.net,
        }
    }
}

impl Cut {
    fn new(
        headers: &TcpHeaders,
        net: &NetHeader,
        frame_bytes: u32,
        max_segment_bytes: u16,
    ) -> Result<(Self, u16), DropReason> {
        let mut gso = net.gso.ok_or(DropReason::BadOffload)?;
        gso.segment_bytes = gso.segment_bytes.min(max_segment_bytes);
        if gso.segment_bytes == 0 {
            return Err(DropReason::Mtu);
        }
        let count = u16::try_from(gso.segment_count(frame_bytes))
            .ok()
            .filter(|count| *count <= MAX_SEGMENTS)
            .ok_or(DropReason::Mtu)?;
        let cut = Self {
            header_bytes: headers.end,
            payload_start: u32::from(gso.header_bytes),
            segment_bytes: u32::from(gso.segment_bytes),
            frame_bytes,
        };
        Ok((cut, count))
    }

    /// Where the payload of segment `index` lies in the frame.
    fn body(&self, index: u16) -> std::ops::Range<u32> {
        let start = self.payload_start + u32::from(index) * self.segment_bytes;
        let start = start.min(self.frame_bytes);
        start..(start + self.segment_bytes).min(self.frame_bytes)
    }
}

/// Which of the segments.
#[derive(Clone, Copy)]
struct Position {
    index: u16,
    is_last: bool,
}

/// The headers of `head`, if they are those that `net` tells of.
fn parse(head: &[u8], net: &NetHeader) -> Result<TcpHeaders, DropReason> {
    let headers = TcpHeaders::parse(head).map_err(|_| DropReason::BadOffload)?;
    let gso = net.gso.ok_or(DropReason::BadOffload)?;
    let version = match gso.kind {
        GsoKind::Tcp4 => Version::V4,
        GsoKind::Tcp6 => Version::V6,
    };
    let start = u16::try_from(headers.transport.start).map_err(|_| DropReason::HeaderLong)?;
    let expected = Checksum::Partial { start, offset: TCP_CHECKSUM_OFFSET };
    let agrees = headers.end == usize::from(gso.header_bytes)
        && headers.network.version == version
        && net.checksum == expected;
    if agrees { Ok(headers) } else { Err(DropReason::BadOffload) }
}

/// Makes the copy of the frame's headers in `header` that of one segment, with a partial checksum. `None`
/// when a field lies outside, which the parser rules out, or cannot say the length.
fn write_header(
    header: &mut [u8],
    headers: &TcpHeaders,
    cut: &Cut,
    position: Position,
) -> Option<()> {
    let body = cut.body(position.index);
    let segment_end = u32::try_from(headers.end).ok()? + (body.end - body.start);
    let length = headers.network.length_field(segment_end)?;
    let ip = headers.network.start;
    match headers.network.version {
        Version::V4 => write_ipv4(header, ip..headers.network.end, length, position.index)?,
        Version::V6 => *field(header, ip + 4)? = length.to_be_bytes(),
    }
    let tcp = headers.transport.start;
    let sequence: &mut [u8; 4] = field(header, tcp + 4)?;
    let progress = body.start - cut.payload_start;
    *sequence = u32::from_be_bytes(*sequence).wrapping_add(progress).to_be_bytes();
    let flags = header.get_mut(tcp + 13)?;
    if !position.is_last {
        *flags &= !(FIN | PSH);
    }
    if position.index > 0 {
        *flags &= !CWR;
    }
    let tcp_bytes = segment_end - u32::try_from(tcp).ok()?;
    let sum = pseudo_header_sum(header, headers, tcp_bytes)?;
    *field(header, tcp + usize::from(TCP_CHECKSUM_OFFSET))? = sum.to_be_bytes();
    Some(())
}

/// Length, identification and checksum of an IPv4 header. RFC 791, section 3.1.
fn write_ipv4(
    header: &mut [u8],
    ip: std::ops::Range<usize>,
    length: u16,
    index: u16,
) -> Option<()> {
    *field(header, ip.start + 2)? = length.to_be_bytes();
    let identification: &mut [u8; 2] = field(header, ip.start + 4)?;
    *identification = u16::from_be_bytes(*identification).wrapping_add(index).to_be_bytes();
    *field(header, ip.start + 10)? = [0; 2];
    let checksum = !sum_words(header.get(ip.clone())?);
    *field(header, ip.start + 10)? = checksum.to_be_bytes();
    Some(())
}

/// Sum of the pseudo-header of a segment with `tcp_bytes` of TCP. RFC 9293, section 3.1; RFC 8200, 8.1.
fn pseudo_header_sum(header: &[u8], headers: &TcpHeaders, tcp_bytes: u32) -> Option<u16> {
    let mut sum = RunningSum::new();
    sum.push(header.get(headers.network.source())?);
    sum.push(header.get(headers.transport.destination.clone())?);
    sum.push(&[0, TCP]);
    sum.push(&tcp_bytes.to_be_bytes());
    Some(sum.value())
}

/// Completes the checksum of a segment whose header has a partial one.
fn complete(header: &mut [u8], headers: &TcpHeaders, body_sum: u16) -> Option<()> {
    let tcp = header.get(headers.transport.start..)?;
    let mut sum = RunningSum::new();
    // A TCP header is a whole number of words, so the body begins a new one.
    sum.push(tcp);
    sum.push_summed(body_sum, 0);
    let at = headers.transport.start + usize::from(TCP_CHECKSUM_OFFSET);
    *field(header, at)? = (!sum.value()).to_be_bytes();
    Some(())
}

fn field<const N: usize>(header: &mut [u8], at: usize) -> Option<&mut [u8; N]> {
    header.get_mut(at..)?.first_chunk_mut()
}
