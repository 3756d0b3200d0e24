//! Segmentation as one would explain it: for each piece of the payload, the frame is described anew and
//! written by etherparse.

use etherparse::IpHeaders;

use super::frames::TcpFrame;
use crate::SegmentChecksum;

/// The frames that `frame` stands for.
pub(super) fn segments(
    frame: &TcpFrame,
    segment_bytes: usize,
    checksum: SegmentChecksum,
) -> Vec<Vec<u8>> {
    let pieces: Vec<&[u8]> = match frame.payload.len() {
        0 => vec![&[]],
        _ => frame.payload.chunks(segment_bytes).collect(),
    };
    let mut sequence = frame.tcp.sequence_number;
    let mut identification = match &frame.ip {
        IpHeaders::Ipv4(ip, _) => ip.identification,
        IpHeaders::Ipv6(..) => 0,
    };
    let mut written = Vec::new();
    for (index, piece) in pieces.iter().enumerate() {
        let is_first = index == 0;
        let is_last = index + 1 == pieces.len();
        let mut segment = frame.clone();
        segment.payload = piece.to_vec();
        segment.tcp.sequence_number = sequence;
        segment.tcp.fin = frame.tcp.fin && is_last;
        segment.tcp.psh = frame.tcp.psh && is_last;
        segment.tcp.cwr = frame.tcp.cwr && is_first;
        if let IpHeaders::Ipv4(ip, _) = &mut segment.ip {
            ip.identification = identification;
        }
        let segment = match checksum {
            SegmentChecksum::Complete => segment.with_complete_checksum(),
            SegmentChecksum::Partial => segment.with_partial_checksum(),
        };
        written.push(segment.write());
        sequence = sequence.wrapping_add(u32::try_from(piece.len()).unwrap());
        identification = identification.wrapping_add(1);
    }
    written
}
