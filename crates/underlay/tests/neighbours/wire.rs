//! Frames as others send them, written byte by byte.

use std::net::{Ipv4Addr, Ipv6Addr};

use helio_types::MacAddr;

pub(crate) const NOBODY: MacAddr = MacAddr([0; 6]);

pub(crate) fn ethernet(destination: MacAddr, source: MacAddr, kind: u16, rest: &[u8]) -> Vec<u8> {
    [&destination.0[..], &source.0, &kind.to_be_bytes(), rest].concat()
}

/// With a tag behind the addresses.
pub(crate) fn tagged(mut frame: Vec<u8>, control: u16) -> Vec<u8> {
    let [high, low] = control.to_be_bytes();
    frame.splice(12..12, [0x81, 0, high, low]);
    frame
}

/// A request or a reply.
#[derive(Clone, Copy)]
pub(crate) struct Arp {
    pub(crate) to: MacAddr,
    pub(crate) from: MacAddr,
    pub(crate) operation: u16,
    pub(crate) sender_mac: MacAddr,
    pub(crate) sender: Ipv4Addr,
    pub(crate) target_mac: MacAddr,
    pub(crate) target: Ipv4Addr,
}

impl Arp {
    pub(crate) fn frame(&self) -> Vec<u8> {
        let head = [0, 1, 8, 0, 6, 4];
        let operation = self.operation.to_be_bytes();
        let sender = [&self.sender_mac.0[..], &self.sender.octets()].concat();
        let target = [&self.target_mac.0[..], &self.target.octets()].concat();
        let body = [&head[..], &operation, &sender, &target].concat();
        ethernet(self.to, self.from, 0x0806, &body)
    }
}

/// Ones' complement sum of `bytes`, complemented. RFC 1071.
pub(crate) fn checksum(bytes: &[u8]) -> u16 {
    let words =
        bytes.chunks(2).map(|word| u32::from(word[0]) << 8 | u32::from(*word.get(1).unwrap_or(&0)));
    let mut sum: u32 = words.sum();
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !u16::try_from(sum).unwrap()
}

/// An IPv6 datagram of ICMPv6, with its checksum filled in.
pub(crate) fn icmp6(source: Ipv6Addr, destination: Ipv6Addr, hops: u8, message: &[u8]) -> Vec<u8> {
    let length = u16::try_from(message.len()).unwrap();
    let ends = [source.octets(), destination.octets()].concat();
    let mut message = message.to_vec();
    let pseudo = [&ends[..], &[0, 0], &length.to_be_bytes(), &[0, 0, 0, 58], &message].concat();
    message[2..4].copy_from_slice(&checksum(&pseudo).to_be_bytes());
    let [high, low] = length.to_be_bytes();
    [&[0x60, 0, 0, 0, high, low, 58, hops][..], &ends, &message].concat()
}

/// A solicitation or advertisement.
#[derive(Clone)]
pub(crate) struct Ndisc {
    pub(crate) to: MacAddr,
    pub(crate) from: MacAddr,
    pub(crate) source: Ipv6Addr,
    pub(crate) destination: Ipv6Addr,
    pub(crate) hops: u8,
    pub(crate) kind: u8,
    pub(crate) code: u8,
    /// Router, solicited, override: the three highest bits.
    pub(crate) flags: u8,
    pub(crate) target: Ipv6Addr,
    pub(crate) options: Vec<u8>,
}

impl Ndisc {
    pub(crate) fn frame(&self) -> Vec<u8> {
        let head = [self.kind, self.code, 0, 0, self.flags, 0, 0, 0];
        let message = [&head[..], &self.target.octets(), &self.options].concat();
        let datagram = icmp6(self.source, self.destination, self.hops, &message);
        ethernet(self.to, self.from, 0x86dd, &datagram)
    }
}

/// The option that says where the source (1) or the target (2) is.
pub(crate) fn link_option(kind: u8, mac: MacAddr) -> Vec<u8> {
    [&[kind, 1][..], &mac.0].concat()
}

/// An IPv4 datagram with its checksum.
pub(crate) fn ipv4(fields: Ipv4, payload: &[u8]) -> Vec<u8> {
    let total = fields.total.unwrap_or(u16::try_from(20 + payload.len()).unwrap());
    let ([t0, t1], [f0, f1]) = (total.to_be_bytes(), fields.fragment.to_be_bytes());
    let mut header = [0x45, 0, t0, t1, 0, 7, f0, f1, 60, fields.protocol, 0, 0].to_vec();
    header.extend([fields.source.octets(), fields.destination.octets()].concat());
    let sum = checksum(&header).to_be_bytes();
    header[10..12].copy_from_slice(&sum);
    [&header[..], payload].concat()
}

#[derive(Clone, Copy)]
pub(crate) struct Ipv4 {
    pub(crate) source: Ipv4Addr,
    pub(crate) destination: Ipv4Addr,
    pub(crate) protocol: u8,
    /// Flags and offset; 0x4000 forbids fragments.
    pub(crate) fragment: u16,
    /// Another length than the true one.
    pub(crate) total: Option<u16>,
}

/// An ICMPv4 message with its checksum.
pub(crate) fn icmp4(kind: u8, code: u8, mtu: u16, quote: &[u8]) -> Vec<u8> {
    let [high, low] = mtu.to_be_bytes();
    let mut message = [&[kind, code, 0, 0, 0, 0, high, low][..], quote].concat();
    let sum = checksum(&message).to_be_bytes();
    message[2..4].copy_from_slice(&sum);
    message
}
