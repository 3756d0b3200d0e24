//! A delivered frame as a capture tool reads it.

use etherparse::{NetSlice, SlicedPacket, TransportSlice};
use helio_types::MacAddr;

/// Addresses, VLAN, transport and payload of a frame, and whether it is sound.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen {
    /// Source address.
    pub from: MacAddr,
    /// Destination address.
    pub to: MacAddr,
    /// The content of its tag.
    pub tci: Option<u16>,
    /// Sequence number, for TCP.
    pub sequence: Option<u32>,
    /// Payload of the transport.
    pub payload: Vec<u8>,
    /// What is wrong with it: lengths that contradict each other, or a checksum.
    pub wrong: Option<&'static str>,
}

impl Seen {
    /// Reads a frame of TCP or UDP.
    #[must_use]
    pub fn of(bytes: &[u8]) -> Self {
        let packet = SlicedPacket::from_ethernet(bytes).expect("no capture tool could read this");
        let transport = packet.transport.as_ref().expect("neither TCP nor UDP");
        let (sequence, payload) = match transport {
            TransportSlice::Tcp(tcp) => (Some(tcp.sequence_number()), tcp.payload()),
            TransportSlice::Udp(udp) => (None, udp.payload()),
            _ => panic!("neither TCP nor UDP"),
        };
        let tagged = bytes[12..14] == [0x81, 0];
        Self {
            to: MacAddr(bytes[..6].try_into().unwrap()),
            from: MacAddr(bytes[6..12].try_into().unwrap()),
            tci: tagged.then(|| u16::from_be_bytes([bytes[14], bytes[15]])),
            sequence,
            payload: payload.to_vec(),
            wrong: complaint(&packet, bytes.len()),
        }
    }
}

fn complaint(packet: &SlicedPacket<'_>, bytes: usize) -> Option<&'static str> {
    let tags = packet.link_exts.len() * 4;
    match packet.net.as_ref()? {
        NetSlice::Ipv4(ip) if usize::from(ip.header().total_len()) + 14 + tags != bytes => {
            return Some("the IPv4 length");
        }
        NetSlice::Ipv4(ip)
            if ip.header().header_checksum() != ip.header().to_header().calc_header_checksum() =>
        {
            return Some("the IPv4 header checksum");
        }
        NetSlice::Ipv6(ip) if usize::from(ip.header().payload_length()) + 54 + tags != bytes => {
            return Some("the IPv6 length");
        }
        _ => {}
    }
    (!is_transport_right(packet)?).then_some("the checksum of the transport")
}

/// Whether the checksum of the transport is the right one; `None` when there is none to judge.
fn is_transport_right(packet: &SlicedPacket<'_>) -> Option<bool> {
    match (packet.net.as_ref()?, packet.transport.as_ref()?) {
        (NetSlice::Ipv4(ip), TransportSlice::Tcp(tcp)) => {
            let (from, to) = (ip.header().source(), ip.header().destination());
            Some(tcp.calc_checksum_ipv4(from, to) == Ok(tcp.checksum()))
        }
        (NetSlice::Ipv6(ip), TransportSlice::Tcp(tcp)) => {
            let (from, to) = (ip.header().source(), ip.header().destination());
            Some(tcp.calc_checksum_ipv6(from, to) == Ok(tcp.checksum()))
        }
        (NetSlice::Ipv4(ip), TransportSlice::Udp(udp)) => {
            let (from, to) = (ip.header().source(), ip.header().destination());
            let right = udp.to_header().calc_checksum_ipv4_raw(from, to, udp.payload());
            Some(right == Ok(udp.checksum()))
        }
        (NetSlice::Ipv6(ip), TransportSlice::Udp(udp)) => {
            let (from, to) = (ip.header().source(), ip.header().destination());
            let right = udp.to_header().calc_checksum_ipv6_raw(from, to, udp.payload());
            Some(right == Ok(udp.checksum()))
        }
        _ => None,
    }
}
