//! The echo frames that guests in user space send, and the line that tcpdump would print for one.
//!
//! Formats: RFC 791 §3.1, RFC 792 (echo), RFC 826.

use crate::echo::{Echo, EchoKind};

const MAC_BYTES: usize = 6;
/// Where the IPv4 header begins.
const IP: usize = 14;
/// Where the ICMP header begins.
const ICMP: usize = IP + 20;
/// Bytes behind the ICMP header, as many as `ping` sends.
const PAYLOAD_BYTES: usize = 56;
const FRAME_BYTES: usize = ICMP + 8 + PAYLOAD_BYTES;
const REQUEST: u8 = 8;
const REPLY: u8 = 0;

/// One end of the conversation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Host {
    pub(crate) mac: [u8; MAC_BYTES],
    pub(crate) address: [u8; 4],
}

/// An echo frame from one host to the other.
pub(crate) fn echo_frame(from: Host, to: Host, echo: Echo) -> Vec<u8> {
    let mut icmp = vec![icmp_type(echo.kind), 0, 0, 0, 0, 1];
    icmp.extend(echo.sequence.to_be_bytes());
    icmp.resize(8 + PAYLOAD_BYTES, 0x5a);
    finish(&mut icmp, 2);

    // Version 4 with five words, length, no fragments, 64 hops, ICMP.
    let mut ip = vec![0x45, 0, 0, 84, 0, 0, 0x40, 0, 64, 1, 0, 0];
    ip.extend(from.address);
    ip.extend(to.address);
    finish(&mut ip, 10);

    [&to.mac[..], &from.mac[..], &[0x08, 0x00], &ip, &icmp].concat()
}

/// A frame that tells everyone where a host is: the ARP request for its own address.
pub(crate) fn announcement(host: Host) -> Vec<u8> {
    let mut frame = vec![0xff; MAC_BYTES];
    frame.extend(host.mac);
    // ARP for IPv4 over Ethernet, a request.
    frame.extend([0x08, 0x06, 0, 1, 0x08, 0x00, 6, 4, 0, 1]);
    frame.extend(host.mac);
    frame.extend(host.address);
    frame.extend([0; MAC_BYTES]);
    frame.extend(host.address);
    frame.resize(60, 0);
    frame
}

/// What tcpdump would print for an echo frame; `None` for any other frame, also for a damaged one.
pub(crate) fn describe(frame: &[u8]) -> Option<String> {
    let is_icmp = frame.get(12..IP)? == [0x08, 0x00] && frame.get(IP + 9) == Some(&1);
    let (ip, icmp) = (frame.get(IP..ICMP)?, frame.get(ICMP..)?);
    if !is_icmp || frame.len() != FRAME_BYTES || sum(ip) != 0xffff || sum(icmp) != 0xffff {
        return None;
    }
    let kind = match *icmp.first()? {
        REQUEST => "request",
        REPLY => "reply",
        _ => return None,
    };
    let (to, from) = (mac(frame.get(..6)?), mac(frame.get(6..12)?));
    let (source, destination) = (address(ip.get(12..16)?), address(ip.get(16..20)?));
    let (id, sequence) = (number(icmp, 4)?, number(icmp, 6)?);
    Some(format!(
        "{from} > {to}, ethertype IPv4 (0x0800), length {}: {source} > {destination}: ICMP echo {kind}, id {id}, seq \
         {sequence}, length {}",
        frame.len(),
        icmp.len()
    ))
}

fn icmp_type(kind: EchoKind) -> u8 {
    match kind {
        EchoKind::Request => REQUEST,
        EchoKind::Reply => REPLY,
    }
}

/// Puts the internet checksum of `header` into its two bytes at `place`, which are zero.
fn finish(header: &mut [u8], place: usize) {
    let checksum = !sum(header);
    if let Some(bytes) = header.get_mut(place..place + 2) {
        bytes.copy_from_slice(&checksum.to_be_bytes());
    }
}

/// Sum in one's complement of 16-bit words (RFC 1071).
fn sum(bytes: &[u8]) -> u16 {
    let words = bytes.chunks(2).map(|pair| match *pair {
        [high, low] => u16::from_be_bytes([high, low]),
        [high] => u16::from_be_bytes([high, 0]),
        _ => 0,
    });
    words.fold(0, |sum: u16, word| {
        let (sum, carry) = sum.overflowing_add(word);
        sum + u16::from(carry)
    })
}

fn number(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_be_bytes([*bytes.get(at)?, *bytes.get(at + 1)?]))
}

fn mac(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect::<Vec<_>>().join(":")
}

fn address(bytes: &[u8]) -> String {
    bytes.iter().map(u8::to_string).collect::<Vec<_>>().join(".")
}

#[cfg(test)]
mod tests {
    use super::*;

    const LEFT: Host = Host { mac: [2, 0, 0, 0, 0, 1], address: [10, 0, 0, 1] };
    const RIGHT: Host = Host { mac: [2, 0, 0, 0, 0, 2], address: [10, 0, 0, 2] };

    #[test]
    fn a_frame_is_described_as_tcpdump_does_and_read_back() {
        let echo = Echo { kind: EchoKind::Reply, sequence: 3 };
        let line = describe(&echo_frame(LEFT, RIGHT, echo)).unwrap();
        assert_eq!(
            line,
            "02:00:00:00:00:01 > 02:00:00:00:00:02, ethertype IPv4 (0x0800), length 98: \
             10.0.0.1 > 10.0.0.2: ICMP echo reply, id 1, seq 3, length 64"
        );
        assert_eq!(Echo::read(&line), Some(echo));
    }

    #[test]
    fn a_damaged_frame_and_another_kind_of_frame_are_not_described() {
        let mut frame = echo_frame(LEFT, RIGHT, Echo { kind: EchoKind::Request, sequence: 0 });
        frame[60] ^= 1;
        assert_eq!(describe(&frame), None);
        assert_eq!(describe(&announcement(LEFT)), None);
    }
}
