//! Which flow a frame belongs to, so that frames of one flow keep their order. Called by workers.

use crate::headers::{Link, Network, Transport, Wholeness, chunk};

const TCP: u8 = 6;
const UDP: u8 = 17;
const DCCP: u8 = 33;
const SCTP: u8 = 132;
const UDP_LITE: u8 = 136;

/// A number that is the same for all frames of a flow, in both directions, and spreads well in its low
/// bits. From addresses, protocol and ports; a fragment has no ports, so that all of a datagram agree;
/// what is not IP is told apart by its Ethernet addresses. `head` may be cut anywhere.
///
/// A guest can choose its frames so that they meet in one number: nothing may depend on them not to.
#[must_use]
pub fn flow_hash(head: &[u8]) -> u32 {
    let link = Link::parse(head);
    let key = link.and_then(|link| network_key(head, &link)).or_else(|| link_key(head));
    // The high half of the last multiplication is the well-mixed one.
    let [a, b, c, d, ..] = mix(key.unwrap_or(0)).to_be_bytes();
    u32::from_be_bytes([a, b, c, d])
}

fn network_key(head: &[u8], link: &Link) -> Option<u64> {
    let network = Network::parse(head, link).ok()?;
    let transport = Transport::parse(head, &network).ok();
    let (protocol, ports) = match transport {
        Some(Transport { protocol, start, wholeness: Wholeness::Whole, .. }) => {
            (protocol, ports(head, protocol, start).unwrap_or([0; 4]))
        }
        Some(part) => (part.protocol, [0; 4]),
        None => (network.protocol, [0; 4]),
    };
    let [s0, s1, d0, d1] = ports;
    let source = endpoint(head.get(network.source())?, [s0, s1]);
    let destination = endpoint(head.get(network.destination())?, [d0, d1]);
    Some(pair(source, destination) ^ u64::from(protocol))
}

/// The source and destination port, for protocols that have them in their first four bytes.
fn ports(head: &[u8], protocol: u8, start: usize) -> Option<[u8; 4]> {
    match protocol {
        TCP | UDP | DCCP | SCTP | UDP_LITE => chunk(head, start),
        _ => None,
    }
}

fn link_key(head: &[u8]) -> Option<u64> {
    let destination = endpoint(head.get(0..6)?, [0; 2]);
    let source = endpoint(head.get(6..12)?, [0; 2]);
    Some(pair(source, destination))
}

/// One side of the flow as a number.
fn endpoint(address: &[u8], [p0, p1]: [u8; 2]) -> u64 {
    let port = u64::from_be_bytes([0, 0, 0, 0, 0, 0, p0, p1]);
    address.chunks(8).fold(mix(port), |hash, part| {
        let mut bytes = [0; 8];
        for (to, from) in bytes.iter_mut().zip(part) {
            *to = *from;
        }
        mix(hash ^ u64::from_be_bytes(bytes))
    })
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
