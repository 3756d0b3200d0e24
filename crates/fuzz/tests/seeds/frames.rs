//! Frames with the wishes of their net headers.

use crate::Seed;

/// A net header of 12 bytes.
pub(crate) fn net_header(flags: u8, gso: u8, segment: u16, start: u16, offset: u16) -> Vec<u8> {
    let words = [0, segment, start, offset, 0].map(u16::to_le_bytes).concat();
    [&[flags, gso][..], &words].concat()
}

const ADDRESSES: [u8; 12] = [2, 0, 0, 0, 0, 2, 2, 0, 0, 0, 0, 1];

/// TCP header with FIN, PSH and CWR.
const TCP: [u8; 20] = [4, 0, 8, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0x50, 0x99, 1, 0, 0, 0, 0, 0];

/// A TCP frame over IPv4, 54 bytes and the payload.
pub(crate) fn tcp4(payload: usize) -> Vec<u8> {
    let ip = [0x45, 0, 0, 0, 0, 7, 0x40, 0, 64, 6, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2];
    [&ADDRESSES[..], &[8, 0], &ip, &TCP, &vec![0x5a; payload]].concat()
}

/// A tagged TCP frame over IPv6 with a hop-by-hop header: TCP begins at 66.
fn tcp6(payload: usize) -> Vec<u8> {
    let fixed = [0x60, 0, 0, 0, 0, 0, 0, 64];
    let options = [6, 0, 1, 4, 0, 0, 0, 0];
    let addresses = [[0xfd; 16], [0xfe; 16]].concat();
    let tag = [0x81, 0, 0, 10, 0x86, 0xdd];
    [&ADDRESSES[..], &tag, &fixed, &addresses, &options, &TCP, &vec![0xa5; payload]].concat()
}

fn udp4(payload: usize) -> Vec<u8> {
    let mut frame = tcp4(payload);
    frame[23] = 17;
    frame
}

/// An input: the offloads that the sender may use, the length of the head, bytes to add to the frame, and the most payload
/// of a segment; then both headers.
fn input(offloads: u8, head: u8, added: u16, max: u16, header: &[u8], frame: &[u8]) -> Vec<u8> {
    [&[offloads, head][..], &added.to_le_bytes(), &max.to_le_bytes(), header, frame].concat()
}

pub(crate) fn seeds() -> Vec<Seed> {
    let seed = |name, bytes, outcome| Seed::new("net_header", name, bytes, outcome);
    let (good, bad) = ([1, 0], [0, 1]);
    let tso4 = net_header(1, 1, 100, 34, 16);
    let (tso6, ecn) = (net_header(1, 4, 1440, 66, 16), net_header(1, 0x81, 536, 34, 16));
    let checksum = net_header(1, 0, 0, 34, 6);
    vec![
        seed("plain", input(0, 128, 0, 0, &net_header(0, 0, 0, 0, 0), &tcp4(5)), good),
        seed("tcp4_segments", input(3, 128, 1000, 60, &tso4, &tcp4(101)), good),
        seed("tcp6_segments", input(5, 128, 60_000, 1000, &tso6, &tcp6(80)), good),
        seed("tcp4_segments_with_ecn", input(11, 128, 5000, 0, &ecn, &tcp4(0)), good),
        seed("udp_checksum", input(1, 128, 0, 0, &checksum, &udp4(33)), good),
        seed("more_segments_than_allowed", input(3, 128, 60_000, 9, &tso4, &tcp4(0)), bad),
        seed("segments_not_negotiated", input(1, 128, 0, 9, &tso4, &tcp4(300)), bad),
        seed("headers_beyond_the_head", input(3, 50, 0, 9, &tso4, &tcp4(300)), bad),
        seed(
            "longer_than_any_frame",
            input(0, 128, 65_535, 9, &net_header(0, 0, 0, 0, 0), &tcp4(0)),
            bad,
        ),
        seed("a_short_net_header", input(0, 128, 0, 9, &[0; 9], &[]), bad),
    ]
}
