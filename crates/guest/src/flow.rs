//! A source of numbered frames with the same addresses.
//!
//! Owned by the thread that sends. Writing a frame allocates nothing when the caller's vector is large enough.

use crate::net_header::NetHeader;
use crate::test_frame::{MIN_TEST_FRAME_BYTES, TestFrame};

/// What is done about the UDP checksum.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Checksum {
    /// Right and complete.
    #[default]
    Complete,
    /// Left to the device: the net header says so. Needs CSUM.
    Partial,
    /// None: the field is 0, as UDP over IPv4 allows.
    Absent,
}

/// Addresses and form of the frames of one sender.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Flow {
    /// Number of the sender in its frames.
    pub sender: u16,
    /// Ethernet address of the sender.
    pub source: [u8; 6],
    /// Ethernet address it sends to.
    pub destination: [u8; 6],
    /// VLAN tag, when there is one.
    pub vlan: Option<u16>,
    /// IPv4 addresses, sender first.
    pub addresses: [[u8; 4]; 2],
    /// UDP ports, sender first.
    pub ports: [u16; 2],
    /// Length of each frame in bytes, tag included.
    pub frame_bytes: usize,
    /// What is done about the UDP checksum.
    pub checksum: Checksum,
}

impl Default for Flow {
    /// 60 bytes to everybody.
    fn default() -> Self {
        Self {
            sender: 1,
            source: [0x52, 0x54, 0, 0, 0, 1],
            destination: [0xff; 6],
            vlan: None,
            addresses: [[10, 0, 0, 1], [10, 0, 0, 2]],
            ports: [1024, 4096],
            frame_bytes: 60,
            checksum: Checksum::Complete,
        }
    }
}

impl Flow {
    /// From `source` to `destination`; its number is the last byte of the source address.
    #[must_use]
    pub fn between(source: [u8; 6], destination: [u8; 6]) -> Self {
        let [.., from] = source;
        let [.., to] = destination;
        Self {
            sender: u16::from(from),
            source,
            destination,
            addresses: [[10, 0, 0, from], [10, 0, 0, to]],
            ..Self::default()
        }
    }

    /// Bytes before the IPv4 header.
    fn link_bytes(&self) -> usize {
        if self.vlan.is_some() { 18 } else { 14 }
    }
}

/// Writes the frames of a flow, numbered from 0.
#[derive(Clone, Debug)]
pub struct Numbered {
    flow: Flow,
    next: u64,
    /// All bytes of a frame before the UDP payload, the UDP checksum left out.
    front: Vec<u8>,
    /// Sum of the UDP pseudo header and of the UDP header.
    front_sum: u64,
}

impl Numbered {
    /// Begins with number 0. Frames are never shorter than [`MIN_TEST_FRAME_BYTES`], nor longer than an IPv4
    /// packet can be.
    #[must_use]
    pub fn new(mut flow: Flow) -> Self {
        let tag = flow.link_bytes() - 14;
        flow.frame_bytes = flow.frame_bytes.clamp(MIN_TEST_FRAME_BYTES + tag, 65_535 + 14 + tag);
        let front = front(&flow);
        let udp = flow.link_bytes() + 20;
        let pseudo = word_sum(front.get(udp - 8..udp).unwrap_or_default()) + 17;
        let header = word_sum(front.get(udp..).unwrap_or_default());
        let length = (flow.frame_bytes - udp) as u64;
        Self { flow, next: 0, front, front_sum: pseudo + length + header }
    }

    /// The flow.
    #[must_use]
    pub fn flow(&self) -> &Flow {
        &self.flow
    }

    /// Number of the next frame: how many were written, when it began with 0.
    #[must_use]
    pub fn next(&self) -> u64 {
        self.next
    }

    /// Changes the number of the next frame: back, to send a frame again that found no room.
    pub fn set_next(&mut self, number: u64) {
        self.next = number;
    }

    /// Replaces `frame` by the next frame. The net header to send with it.
    #[inline]
    pub fn write_next(&mut self, frame: &mut Vec<u8>) -> NetHeader {
        frame.clear();
        frame.extend_from_slice(&self.front);
        frame.resize(self.flow.frame_bytes, 0);
        let payload = frame.get_mut(self.front.len()..).unwrap_or_default();
        TestFrame { sender: self.flow.sender, sequence: self.next }.write_payload(payload);
        self.next += 1;
        self.finish(frame)
    }

    /// Fills in the UDP checksum.
    fn finish(&self, frame: &mut [u8]) -> NetHeader {
        let udp = self.flow.link_bytes() + 20;
        let (sum, header) = match self.flow.checksum {
            Checksum::Absent => return NetHeader::default(),
            Checksum::Complete => {
                let payload = frame.get(udp + 8..).unwrap_or_default();
                let sum = !fold(self.front_sum + word_sum(payload));
                (if sum == 0 { 0xffff } else { sum }, NetHeader::default())
            }
            Checksum::Partial => (self.pseudo_sum(), partial_header(udp)),
        };
        if let Some(field) = frame.get_mut(udp + 6..udp + 8) {
            field.copy_from_slice(&sum.to_be_bytes());
        }
        header
    }

    /// What a device expects in the field that it completes: the sum of the pseudo header.
    fn pseudo_sum(&self) -> u16 {
        let udp = self.flow.link_bytes() + 20;
        let addresses = word_sum(self.front.get(udp - 8..udp).unwrap_or_default());
        fold(addresses + 17 + (self.flow.frame_bytes - udp) as u64)
    }
}

/// The net header that asks for a UDP checksum.
fn partial_header(udp: usize) -> NetHeader {
    NetHeader {
        flags: NetHeader::NEEDS_CSUM,
        csum_start: u16::try_from(udp).unwrap_or(0),
        csum_offset: 6,
        ..NetHeader::default()
    }
}

/// Ethernet, tag, IPv4 and UDP header of a flow.
fn front(flow: &Flow) -> Vec<u8> {
    let packet_bytes = flow.frame_bytes - flow.link_bytes();
    let len = |bytes: usize| u16::try_from(bytes).unwrap_or(u16::MAX).to_be_bytes();
    let mut front = Vec::with_capacity(46);
    front.extend(flow.destination);
    front.extend(flow.source);
    if let Some(vlan) = flow.vlan {
        front.extend([0x81, 0x00]);
        front.extend(vlan.to_be_bytes());
    }
    front.extend([0x08, 0x00]);
    let ip = front.len();
    front.extend([0x45, 0]);
    front.extend(len(packet_bytes));
    front.extend([0, 0, 0x40, 0, 64, 17, 0, 0]);
    front.extend(flow.addresses.as_flattened());
    let sum = !fold(word_sum(front.get(ip..).unwrap_or_default()));
    if let Some(field) = front.get_mut(ip + 10..ip + 12) {
        field.copy_from_slice(&sum.to_be_bytes());
    }
    for port in flow.ports {
        front.extend(port.to_be_bytes());
    }
    front.extend(len(packet_bytes - 20));
    front.extend([0, 0]);
    front
}

/// Sum of 16-bit words in network order; an odd last byte counts as the high half. RFC 1071.
#[inline]
fn word_sum(bytes: &[u8]) -> u64 {
    let mut words = bytes.chunks_exact(2);
    let sum: u64 = words.by_ref().map(word_of).sum();
    sum + words.remainder().first().map_or(0, |last| u64::from(*last) << 8)
}

#[inline]
fn word_of(word: &[u8]) -> u64 {
    word.try_into().map_or(0, |word| u64::from(u16::from_be_bytes(word)))
}

/// The sum with its carries added in.
fn fold(mut sum: u64) -> u16 {
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    u16::try_from(sum).unwrap_or(u16::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(flow: Flow) -> (Vec<u8>, NetHeader) {
        let mut frame = Vec::new();
        let header = Numbered::new(flow).write_next(&mut frame);
        (frame, header)
    }

    /// The UDP checksum over pseudo header and datagram; 0xffff or 0 when the stored one is right.
    fn verify_udp(frame: &[u8], udp: usize) -> u16 {
        let len = (frame.len() - udp) as u64;
        fold(word_sum(&frame[udp - 8..udp]) + 17 + len + word_sum(&frame[udp..]))
    }

    #[test]
    fn checksums_are_right_at_every_length_and_with_a_tag() {
        for frame_bytes in [58, 60, 61, 128, 1514, 1515, 9014] {
            for vlan in [None, Some(10)] {
                let flow = Flow { frame_bytes: frame_bytes + 4, vlan, ..Flow::default() };
                let (frame, header) = frame(flow);
                let ip = flow.link_bytes();
                assert_eq!(frame.len(), frame_bytes + 4);
                assert_eq!(fold(word_sum(&frame[ip..ip + 20])), 0xffff);
                assert_eq!(verify_udp(&frame, ip + 20), 0xffff);
                assert_eq!(header, NetHeader::default());
            }
        }
    }

    #[test]
    fn a_partial_checksum_becomes_right_when_a_device_completes_it() {
        let (mut frame, header) = frame(Flow { checksum: Checksum::Partial, ..Flow::default() });
        assert_eq!((header.flags, header.csum_start, header.csum_offset), (1, 34, 6));
        let sum = !fold(word_sum(&frame[34..]));
        frame[40..42].copy_from_slice(&sum.to_be_bytes());
        assert_eq!(verify_udp(&frame, 34), 0xffff);
    }

    #[test]
    fn a_frame_is_never_too_short_to_be_numbered_nor_longer_than_ip_allows() {
        assert_eq!(frame(Flow { frame_bytes: 0, ..Flow::default() }).0.len(), MIN_TEST_FRAME_BYTES);
        assert_eq!(frame(Flow { frame_bytes: 70_000, ..Flow::default() }).0.len(), 65_549);
    }
}
