//! Neighbour solicitations and advertisements, as they arrive. RFC 4861, sections 7.1 and 7.2.

use std::net::{IpAddr, Ipv6Addr};

use etherparse::icmpv6::{
    NdpOptionSlice, NdpOptionsIterator, NeighborAdvertisementHeader,
    NeighborSolicitationPayloadSlice,
};
use etherparse::{Icmpv6Slice, Icmpv6Type, Ipv6HeaderSlice};
use helio_types::MacAddr;

use crate::claim::{Asker, Claim, Message, Occasion, Weight};
use crate::endpoint::{Hops, solicited_node};
use crate::ethernet::{Body, Ethernet};
use crate::settings::is_host;
use crate::{Endpoint, Refusal};

/// The ICMPv6 header with the target address.
const TARGET_BYTES: usize = 24;
/// What a router sets to less. RFC 4861, section 7.1.
const NEVER_ROUTED: u8 = 255;

/// What a solicitation or an advertisement says, once it is known to be valid.
struct Ndisc {
    kind: Icmpv6Type,
    target: Ipv6Addr,
    source: Ipv6Addr,
    destination: Ipv6Addr,
    /// The option that says where the sender, or the target, is.
    link: Option<MacAddr>,
}

/// What the solicitation or advertisement in `message` says to us. `None` when that is nothing.
pub(crate) fn read(
    endpoint: &Endpoint,
    hops: &Hops<Ipv6Addr>,
    ethernet: &Ethernet,
    ip: &Ipv6HeaderSlice<'_>,
    message: &Body<'_>,
) -> Result<Option<Message>, Refusal> {
    let target = message.first(TARGET_BYTES)?.last_chunk().copied().map(Ipv6Addr::from_octets);
    if target != Some(hops.own) && target != Some(hops.next) {
        return Ok(None);
    }
    let ndisc = valid(ip, message)?;
    let mac = ndisc.link.unwrap_or(ethernet.source);
    ethernet.check_sender(endpoint.own_mac, mac)?;
    match ndisc.kind {
        Icmpv6Type::NeighborSolicitation if ndisc.target == hops.own => asked(hops, &ndisc, mac),
        Icmpv6Type::NeighborAdvertisement(_) if ndisc.target == hops.own => {
            Err(Refusal::AddressConflict)
        }
        Icmpv6Type::NeighborAdvertisement(flags) => told(&ndisc, flags, mac),
        _ => Ok(None),
    }
}

/// RFC 4861, sections 7.1.1 and 7.1.2, as far as it is the same for both.
fn valid(ip: &Ipv6HeaderSlice<'_>, message: &Body<'_>) -> Result<Ndisc, Refusal> {
    let icmp = Icmpv6Slice::from_slice(message.whole()?).map_err(|_| Refusal::Malformed)?;
    if ip.hop_limit() != NEVER_ROUTED {
        return Err(Refusal::HopLimit);
    }
    if !icmp.is_checksum_valid(ip.source(), ip.destination()) {
        return Err(Refusal::Checksum);
    }
    let kind = icmp.icmp_type();
    let is_solicitation = match kind {
        Icmpv6Type::NeighborSolicitation => true,
        Icmpv6Type::NeighborAdvertisement(_) => false,
        // Of a code that there is not.
        _ => return Err(Refusal::Malformed),
    };
    // The payloads of both begin with the target.
    let payload = NeighborSolicitationPayloadSlice::from_slice(icmp.payload());
    let payload = payload.map_err(|_| Refusal::Malformed)?;
    let mut link = None;
    for option in NdpOptionsIterator::from_slice(payload.options()) {
        match option.map_err(|_| Refusal::Malformed)? {
            NdpOptionSlice::SourceLinkLayerAddress(source) if is_solicitation => {
                link = Some(ethernet_address(source.link_layer_address())?);
            }
            NdpOptionSlice::TargetLinkLayerAddress(target) if !is_solicitation => {
                link = Some(ethernet_address(target.link_layer_address())?);
            }
            _ => {}
        }
    }
    let (source, destination) = (ip.source_addr(), ip.destination_addr());
    Ok(Ndisc { kind, target: payload.target_address(), source, destination, link })
}

/// The only one that there is here. RFC 2464, section 6.
fn ethernet_address(link: &[u8]) -> Result<MacAddr, Refusal> {
    link.try_into().map(MacAddr).map_err(|_| Refusal::Malformed)
}

/// RFC 4861, section 7.2.3.
fn asked(hops: &Hops<Ipv6Addr>, ndisc: &Ndisc, mac: MacAddr) -> Result<Option<Message>, Refusal> {
    if ndisc.source.is_unspecified() {
        let is_to_group = ndisc.destination == solicited_node(hops.own);
        if !is_to_group || ndisc.link.is_some() {
            return Err(Refusal::Malformed);
        }
        return Ok(Some(Message::Asked { asker: Asker::DuplicateCheck, claim: None }));
    }
    check_source(hops, ndisc.source)?;
    let weight = if ndisc.link.is_some() { Weight::Replaces } else { Weight::Confirms };
    let claim = Claim { mac, occasion: Occasion::Mention, weight };
    let claim = (ndisc.source == hops.next).then_some(claim);
    Ok(Some(Message::Asked { asker: Asker::Ndisc { mac, address: ndisc.source }, claim }))
}

/// RFC 4861, section 7.2.5.
fn told(
    ndisc: &Ndisc,
    flags: NeighborAdvertisementHeader,
    mac: MacAddr,
) -> Result<Option<Message>, Refusal> {
    if flags.solicited && ndisc.destination.is_multicast() {
        return Err(Refusal::Malformed);
    }
    if !is_host(IpAddr::V6(ndisc.source)) {
        return Err(Refusal::SenderAddress);
    }
    let occasion = if flags.solicited { Occasion::Answer } else { Occasion::Mention };
    let weight = match ndisc.link {
        None => Weight::Confirms,
        Some(_) if flags.r#override => Weight::Replaces,
        Some(_) => Weight::Yields,
    };
    Ok(Some(Message::Told(Claim { mac, occasion, weight })))
}

fn check_source(hops: &Hops<Ipv6Addr>, source: Ipv6Addr) -> Result<(), Refusal> {
    if source == hops.own {
        return Err(Refusal::AddressConflict);
    }
    if is_host(IpAddr::V6(source)) { Ok(()) } else { Err(Refusal::SenderAddress) }
}
