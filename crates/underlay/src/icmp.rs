//! ICMP as it arrives: neighbour discovery, and routers that say that a datagram of ours was too long. Nothing else is
//! heeded, and nothing is echoed.
//!
//! Anybody can send such a message, from anywhere. A host is to see to it that what is quoted was really sent (RFC 8201, section
//! 4), down to what only those know who have seen it (RFC 5927, sections 4 and 7). A fragment behind the first quotes addresses
//! and a protocol, which are no secret, and tells neither port nor key, so not even whose copy it was: it is nobody's. Nothing is
//! missed by that, as no fragment of a copy is longer than its first: where one is too long the first is too, and the router
//! says so of that as well. Over IPv4 our fragments may be cut again, and no router has reason to complain of them (RFC 1191,
//! section 4).

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
    let copy_bytes = copied_v4(endpoint, hops, &icmp.behind(ICMP_BYTES)?)?;
    Ok(copy_bytes.map(|copy_bytes| Message::TooBig { mtu_bytes, copy_bytes }))
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
    let copy_bytes = copied_v6(endpoint, hops, &message.behind(ICMP_BYTES)?)?;
    Ok(copy_bytes.map(|copy_bytes| Message::TooBig { mtu_bytes, copy_bytes }))
}

/// How long the datagram is that `quote` is the beginning of, if that is a copy to this collector. Addresses of ours are shared:
/// what went to somebody else, or in another carrier, is the business of another collector, or of none. What is as if it had gone
/// here, but cannot be a copy that routers may not cut, is refused.
fn copied_v4(
    endpoint: &Endpoint,
    hops: &Hops<Ipv4Addr>,
    quote: &Body<'_>,
) -> Result<Option<u32>, Refusal> {
    let ip = ipv4_header(quote)?;
    let is_first = ip.fragments_offset().value() == 0;
    if ip.destination_addr() != hops.remote || !is_first {
        return Ok(None);
    }
    let beginning = quote.behind(ip.slice().len())?;
    if !is_carried(endpoint.carrier, ip.protocol(), &beginning)? {
        return Ok(None);
    }
    let is_whole = ip.dont_fragment() && !ip.is_fragmenting_payload();
    let is_ours = ip.source_addr() == hops.own && is_whole;
    if is_ours { Ok(Some(u32::from(ip.total_len()))) } else { Err(Refusal::NotQuoted) }
}

/// The same for IPv6, where also fragments that we made can be too long.
fn copied_v6(
    endpoint: &Endpoint,
    hops: &Hops<Ipv6Addr>,
    quote: &Body<'_>,
) -> Result<Option<u32>, Refusal> {
    let ip = ipv6_header(quote)?;
    if ip.destination_addr() != hops.remote {
        return Ok(None);
    }
    let payload = quote.behind(IPV6_BYTES)?;
    let carried = match ip.next_header() {
        IpNumber::IPV6_FRAGMENTATION_HEADER => fragment_v6(&payload)?,
        protocol => Some((protocol, payload)),
    };
    let Some((protocol, beginning)) = carried else { return Ok(None) };
    if !is_carried(endpoint.carrier, protocol, &beginning)? {
        return Ok(None);
    }
    let is_ours = ip.source_addr() == hops.own;
    let bytes = u32::from(ip.payload_length()) + 40;
    if is_ours { Ok(Some(bytes)) } else { Err(Refusal::NotQuoted) }
}

/// The protocol of a first fragment, and the beginning of what it carries. `None` of another one.
fn fragment_v6<'a>(fragment: &Body<'a>) -> Result<Option<(IpNumber, Body<'a>)>, Refusal> {
    let header = Ipv6FragmentHeaderSlice::from_slice(fragment.first(FRAGMENT_BYTES)?);
    let header = header.map_err(|_| Refusal::Malformed)?;
    let payload = fragment.behind(FRAGMENT_BYTES)?;
    let is_first = header.fragment_offset().value() == 0;
    Ok(is_first.then_some((header.next_header(), payload)))
}

/// Whether what was quoted, and has this `beginning`, travelled in `carrier`. Looks at no more than the eight bytes that each
/// router quotes. RFC 792.
fn is_carried(carrier: Carrier, protocol: IpNumber, beginning: &Body<'_>) -> Result<bool, Refusal> {
    if Some(protocol) != protocol_of(carrier) {
        return Ok(false);
    }
    match carrier {
        Carrier::Nothing => Ok(false),
        Carrier::Gre { first_word, key } => Ok(beginning.first(4)? == first_word
            && match key {
                Some(key) => beginning.first(8)?.ends_with(&key.to_be_bytes()),
                None => true,
            }),
        Carrier::Udp { port } => is_from_us(beginning.first(4)?, port),
    }
}

/// Whether a UDP header that begins with `ports` is for `port`. One that is must come from where copies leave.
fn is_from_us(ports: &[u8], port: u16) -> Result<bool, Refusal> {
    let [s0, s1, d0, d1] = *ports else { return Err(Refusal::Malformed) };
    if u16::from_be_bytes([d0, d1]) != port {
        return Ok(false);
    }
    let is_likely = u16::from_be_bytes([s0, s1]) >= LEAST_SOURCE_PORT;
    if is_likely { Ok(true) } else { Err(Refusal::NotQuoted) }
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
