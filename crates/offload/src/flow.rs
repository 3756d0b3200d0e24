//! Which flow a frame belongs to, so that frames of one flow keep their order. Called by workers.

use crate::headers::{Link, Network, Transport, Version, Wholeness, chunk};

const TCP: u8 = 6;
const UDP: u8 = 17;
const DCCP: u8 = 33;
const SCTP: u8 = 132;
const UDP_LITE: u8 = 136;

/// In IPv4, the more-fragments bit and the offset.
const FRAGMENTED: u16 = 0x3fff;

/// A number that is the same for all frames of a flow, in both directions, and spreads well in its low
/// bits. From addresses, protocol and ports; a fragment has no ports, so that all of a datagram agree;
/// what is not IP is told apart by its Ethernet addresses. `head` may be cut anywhere.
///
/// A guest can choose its frames so that they meet in one number: nothing may depend on them not to.
#[must_use]
pub fn flow_hash(head: &[u8]) -> u32 {
    let key = usual_key(head).or_else(|| parsed_key(head));
    // The high half of the last multiplication is the well-mixed one.
    let [a, b, c, d, ..] = mix(key.unwrap_or(0)).to_be_bytes();
    u32::from_be_bytes([a, b, c, d])
}

/// The key of what most frames are: whole TCP or UDP over IPv4, without tags and options. That of [`parsed_key`], for a third of
/// its instructions.
fn usual_key(head: &[u8]) -> Option<u64> {
    const IPV4: [u8; 3] = [8, 0, 0x45];
    let [type_and_version @ .., _] = chunk::<4>(head, 12)?;
    let [f0, f1, _, protocol] = chunk(head, 20)?;
    let is_whole = u16::from_be_bytes([f0, f1]) & FRAGMENTED == 0;
    if type_and_version != IPV4 || !is_whole || !matches!(protocol, TCP | UDP) {
        return None;
    }
    let (addresses, ports) = (chunk(head, 26)?, chunk(head, 34)?);
    Some(narrow_key(protocol, u64::from_be_bytes(addresses), u32::from_be_bytes(ports)))
}

fn parsed_key(head: &[u8]) -> Option<u64> {
    let link = Link::parse(head);
    link.and_then(|link| network_key(head, &link)).or_else(|| link_key(head))
}

fn network_key(head: &[u8], link: &Link) -> Option<u64> {
    let network = Network::parse(head, link).ok()?;
    let transport = Transport::parse(head, &network).ok();
    let (protocol, ports) = match transport {
        Some(Transport { protocol, start, wholeness: Wholeness::Whole, .. }) => {
            (protocol, ports(head, protocol, start).unwrap_or(0))
        }
        Some(part) => (part.protocol, 0),
        None => (network.protocol, 0),
    };
    let at = network.source().start;
    match network.version {
        Version::V4 => Some(narrow_key(protocol, u64::from_be_bytes(chunk(head, at)?), ports)),
        Version::V6 => {
            let source = wide_end(ports >> 16, head, at)?;
            let destination = wide_end(ports & 0xffff, head, network.destination().start)?;
            Some(pair(source, destination) ^ u64::from(protocol))
        }
    }
}

/// From the two addresses of IPv4 and the two ports, the source's before the destination's.
const fn narrow_key(protocol: u8, addresses: u64, ports: u32) -> u64 {
    let (ports, protocol) = (ports as u64, protocol as u64);
    let source = narrow_end(ports >> 16, addresses >> 32);
    pair(source, narrow_end(ports & 0xffff, addresses & 0xffff_ffff)) ^ protocol
}

/// The source port, and below it the destination port, for protocols that have them in their first four bytes.
fn ports(head: &[u8], protocol: u8, start: usize) -> Option<u32> {
    match protocol {
        TCP | UDP | DCCP | SCTP | UDP_LITE => chunk(head, start).map(u32::from_be_bytes),
        _ => None,
    }
}

fn link_key(head: &[u8]) -> Option<u64> {
    let address = |at| {
        let [a, b, c, d, e, f] = chunk(head, at)?;
        Some(narrow_end(0, u64::from_be_bytes([0, 0, a, b, c, d, e, f])))
    };
    Some(pair(address(0)?, address(6)?))
}

/// One side of the flow as a number: a port and an address of four bytes, or an Ethernet address alone.
const fn narrow_end(port: u64, address: u64) -> u64 {
    mix(port << 32 | address)
}

/// One side of the flow as a number: a port and the address of 16 bytes at `at`.
fn wide_end(port: u32, head: &[u8], at: usize) -> Option<u64> {
    let (first, last) = (chunk(head, at)?, chunk(head, at + 8)?);
    Some(mix(mix(mix(u64::from(port)) ^ u64::from_be_bytes(first)) ^ u64::from_be_bytes(last)))
}

/// Both sides, in either order.
const fn pair(one: u64, other: u64) -> u64 {
    one.wrapping_add(other)
}

/// The finaliser of SplitMix64: a bijection in which every input bit reaches every output bit.
const fn mix(number: u64) -> u64 {
    let number = number.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let number = (number ^ number >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let number = (number ^ number >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    number ^ number >> 31
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// UDP, or a protocol without ports, in one piece or in several, with or without options, cut anywhere.
    fn heads() -> impl Strategy<Value = Vec<u8>> {
        let bytes = prop::collection::vec(any::<u8>(), 60);
        let protocol = prop_oneof![Just(TCP), Just(UDP), Just(SCTP), Just(1)];
        let fragment = prop_oneof![Just(0_u16), Just(0x4000), Just(0x2000), Just(0x00b9)];
        let first = prop_oneof![4 => Just(0x45_u8), 1 => Just(0x46), 1 => Just(0x55)];
        let ether_type = prop_oneof![4 => Just(0x0800_u16), 1 => Just(0x8100), 1 => Just(0x86dd)];
        let length = prop_oneof![Just(60_usize), 12_usize..60];
        (bytes, protocol, fragment, first, ether_type, length).prop_map(
            |(mut head, protocol, fragment, first, ether_type, length)| {
                head[12..14].copy_from_slice(&ether_type.to_be_bytes());
                head[14] = first;
                head[20..22].copy_from_slice(&fragment.to_be_bytes());
                head[23] = protocol;
                head.truncate(length);
                head
            },
        )
    }

    proptest! {
        #[test]
        fn the_short_way_to_a_key_gives_what_the_long_way_gives(head in heads()) {
            if let Some(key) = usual_key(&head) {
                prop_assert_eq!(Some(key), parsed_key(&head));
            }
            let is_usual = head.len() >= 38 && head[12..15] == [8, 0, 0x45]
                && (head[20] & 0x3f, head[21]) == (0, 0) && [TCP, UDP].contains(&head[23]);
            prop_assert_eq!(usual_key(&head).is_some(), is_usual);
        }
    }
}
