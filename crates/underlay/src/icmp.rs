//! ICMP as it arrives: neighbour discovery, and routers that say that a datagram of ours was too long. Nothing else is
//! heeded, and nothing is echoed.

use std::net::{Ipv4Addr, Ipv6Addr};

use etherparse::checksum::Sum16BitWords;
use etherparse::{
    Icmpv6Slice, IpNumber, Ipv4HeaderSlice, Ipv6FragmentHeaderSlice, Ipv6HeaderSlice,
};

use crate::claim::Message;
use crate::endpoint::Hops;
use crate::ethernet::{Body, Ethernet};
use crate::{Carrier, Endpoint, Refusal, ndisc};

/// An IPv4 header without options. RFC 791, section 3.1.
const IPV4_BYTES: usize = 20;
/// The fixed IPv6 header. RFC 8200, section 3.
const IPV6_BYTES: usize = 40;
/// The IPv6 fragment header. RFC 8200, section 4.5.
const FRAGMENT_BYTES: usize = 8;
/// The header of each ICMP message. RFC 792; RFC 4443, section 3.2.
const ICMP_BYTES: usize = 8;
/// "Destination unreachable", "fragmentation needed". RFC 792; RFC 1191, section 4.
const TOO_BIG_V4: [u8; 2] = [3, 4];
/// "Packet too big". RFC 4443, section 3.2.
const TOO_BIG_V6: u8 = 2;
/// Least port that copies by VXLAN leave from. RFC 7348, section 5.
const LEAST_SOURCE_PORT: u16 = 49_152;
/// Neighbour solicitation and advertisement. RFC 4861, sections 4.3 and 4.4.
const SOLICITATION: u8 = 135;
const ADVERTISEMENT: u8 = 136;

/// What the IPv4 datagram in `body` says to us. `None` when that is nothing.
pub(crate) fn read_v4(
    endpoint: &Endpoint,
    hops: &Hops<Ipv4Addr>,
    ethernet: &Ethernet,
    body: &Body<'_>,
) -> Result<Option<Message>, Refusal> {
    let ip = ipv4_header(body)?;
    let icmp = body.part(ip.slice().len(), usize::from(ip.total_len()))?;
    if ip.is_fragmenting_payload() || icmp.first(2)? != TOO_BIG_V4 {
        return Ok(None);
    }
    if ethernet.source == endpoint.own_mac {
        return Err(Refusal::OwnSource);
    }
    // A sum over bytes that are not here is not checked.
    let is_right = is_sum_right(ip.slice()) && (!icmp.is_whole() || is_sum_right(icmp.here()));
    if !is_right {
        return Err(Refusal::Checksum);
    }
    let [.., m0, m1] = *icmp.first(ICMP_BYTES)? else { return Err(Refusal::Malformed) };
    let mtu_bytes = u32::from(u16::from_be_bytes([m0, m1]));
    check_quote_v4(endpoint, hops, &icmp.behind(ICMP_BYTES)?, mtu_bytes)?;
    Ok(Some(Message::TooBig { mtu_bytes }))
}

/// What the IPv6 datagram in `body` says to us. `None` when that is nothing.
pub(crate) fn read_v6(
    endpoint: &Endpoint,
    hops: &Hops<Ipv6Addr>,
    ethernet: &Ethernet,
    body: &Body<'_>,
) -> Result<Option<Message>, Refusal> {
    let ip = ipv6_header(body)?;
    let message = body.part(IPV6_BYTES, IPV6_BYTES + usize::from(ip.payload_length()))?;
    let is_to_us = ip.destination_addr() == hops.own && ethernet.destination == endpoint.own_mac;
    match message.first(2)? {
        [SOLICITATION | ADVERTISEMENT, _] => ndisc::read(endpoint, hops, ethernet, &ip, &message),
        [TOO_BIG_V6, 0] if is_to_us => too_big_v6(endpoint, hops, ethernet, &ip, &message),
        _ => Ok(None),
    }
}

fn too_big_v6(
    endpoint: &Endpoint,
    hops: &Hops<Ipv6Addr>,
    ethernet: &Ethernet,
    ip: &Ipv6HeaderSlice<'_>,
    message: &Body<'_>,
) -> Result<Option<Message>, Refusal> {
    if ethernet.source == endpoint.own_mac {
        return Err(Refusal::OwnSource);
    }
    message.first(ICMP_BYTES)?;
    let icmp = Icmpv6Slice::from_slice(message.here()).map_err(|_| Refusal::Malformed)?;
    // A sum over bytes that are not here is not checked.
    if message.is_whole() && !icmp.is_checksum_valid(ip.source(), ip.destination()) {
        return Err(Refusal::Checksum);
    }
    let mtu_bytes = u32::from_be_bytes(icmp.bytes5to8());
    check_quote_v6(endpoint, hops, &message.behind(ICMP_BYTES)?, mtu_bytes)?;
    Ok(Some(Message::TooBig { mtu_bytes }))
}

/// Whether `quote` is the beginning of a copy of ours that is longer than `mtu_bytes`. Routers forward those that may be
/// fragmented. Anybody can send such a message; who has not seen our copies must guess what they look like. RFC 5927,
/// section 7.
fn check_quote_v4(
    endpoint: &Endpoint,
    hops: &Hops<Ipv4Addr>,
    quote: &Body<'_>,
    mtu_bytes: u32,
) -> Result<(), Refusal> {
    let ip = ipv4_header(quote)?;
    let ends = (ip.source_addr(), ip.destination_addr());
    let is_whole = ip.dont_fragment() && !ip.is_fragmenting_payload();
    let bytes = u32::from(ip.total_len());
    if ends != (hops.own, hops.remote) || !is_whole || !is_too_long(bytes, endpoint, mtu_bytes) {
        return Err(Refusal::NotQuoted);
    }
    check_carrier(endpoint.carrier, ip.protocol(), &quote.behind(ip.slice().len())?)
}

/// The same for IPv6, where also fragments that we made can be too long.
fn check_quote_v6(
    endpoint: &Endpoint,
    hops: &Hops<Ipv6Addr>,
    quote: &Body<'_>,
    mtu_bytes: u32,
) -> Result<(), Refusal> {
    let ip = ipv6_header(quote)?;
    let ends = (ip.source_addr(), ip.destination_addr());
    let bytes = u32::from(ip.payload_length()) + 40;
    if ends != (hops.own, hops.remote) || !is_too_long(bytes, endpoint, mtu_bytes) {
        return Err(Refusal::NotQuoted);
    }
    let carrier = endpoint.carrier;
    let payload = quote.behind(IPV6_BYTES)?;
    if ip.next_header() != IpNumber::IPV6_FRAGMENTATION_HEADER {
        return check_carrier(carrier, ip.next_header(), &payload);
    }
    let fragment = Ipv6FragmentHeaderSlice::from_slice(payload.first(FRAGMENT_BYTES)?);
    let fragment = fragment.map_err(|_| Refusal::Malformed)?;
    if fragment.fragment_offset().value() == 0 {
        return check_carrier(carrier, fragment.next_header(), &payload.behind(FRAGMENT_BYTES)?);
    }
    // Only the first fragment has ports.
    let is_ours = Some(fragment.next_header()) == protocol_of(carrier);
    if is_ours { Ok(()) } else { Err(Refusal::NotQuoted) }
}

/// Whether a datagram of `bytes` can be a copy of ours, and one that a link of `mtu_bytes` does not take.
fn is_too_long(bytes: u32, endpoint: &Endpoint, mtu_bytes: u32) -> bool {
    mtu_bytes < bytes && bytes <= u32::from(endpoint.mtu_bytes())
}

/// Whether `payload` begins as all copies do. Looks at no more than the eight bytes that each router quotes. RFC 792.
fn check_carrier(carrier: Carrier, protocol: IpNumber, payload: &Body<'_>) -> Result<(), Refusal> {
    let is_right = Some(protocol) == protocol_of(carrier)
        && match carrier {
            Carrier::Nothing => false,
            Carrier::Gre { first_word, key: None } => payload.first(4)? == first_word,
            Carrier::Gre { first_word, key: Some(key) } => {
                *payload.first(8)? == *[first_word, key.to_be_bytes()].as_flattened()
            }
            Carrier::Udp { port } => has_ports(payload.first(4)?, port),
        };
    if is_right { Ok(()) } else { Err(Refusal::NotQuoted) }
}

/// Whether a UDP header begins with the ports of a copy for `port`.
fn has_ports(ports: &[u8], port: u16) -> bool {
    let [s0, s1, d0, d1] = *ports else { return false };
    u16::from_be_bytes([s0, s1]) >= LEAST_SOURCE_PORT && u16::from_be_bytes([d0, d1]) == port
}

const fn protocol_of(carrier: Carrier) -> Option<IpNumber> {
    match carrier {
        Carrier::Nothing => None,
        Carrier::Gre { .. } => Some(IpNumber::GRE),
        Carrier::Udp { .. } => Some(IpNumber::UDP),
    }
}

fn ipv4_header<'a>(body: &Body<'a>) -> Result<Ipv4HeaderSlice<'a>, Refusal> {
    let words = body.first(1)?.first().map_or(0, |first| first & 0xf);
    let header = body.first(IPV4_BYTES.max(usize::from(words) * 4))?;
    Ipv4HeaderSlice::from_slice(header).map_err(|_| Refusal::Malformed)
}

fn ipv6_header<'a>(body: &Body<'a>) -> Result<Ipv6HeaderSlice<'a>, Refusal> {
    Ipv6HeaderSlice::from_slice(body.first(IPV6_BYTES)?).map_err(|_| Refusal::Malformed)
}

/// Whether bytes that contain their own checksum have the right one. RFC 1071.
fn is_sum_right(bytes: &[u8]) -> bool {
    Sum16BitWords::new().add_slice(bytes).ones_complement() == 0
}
