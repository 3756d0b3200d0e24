//! ARP of Ethernet and IPv4, as it arrives. RFC 826, RFC 5227.

use std::net::{IpAddr, Ipv4Addr};

use etherparse::{ArpHardwareId, ArpOperation, ArpPacketSlice, EtherType};
use helio_types::MacAddr;

use crate::claim::{Asker, Claim, Message, Occasion, Weight};
use crate::endpoint::Hops;
use crate::ethernet::{Body, Ethernet};
use crate::settings::is_host;
use crate::{Endpoint, Refusal};

/// With addresses of Ethernet and IPv4.
const ARP_BYTES: usize = 28;

/// Who says what about whom.
struct Arp {
    operation: ArpOperation,
    sender_mac: MacAddr,
    sender: Ipv4Addr,
    target_mac: MacAddr,
    target: Ipv4Addr,
}

impl Arp {
    /// `None` when it is of another network than Ethernet with IPv4.
    fn read(bytes: &[u8]) -> Option<Self> {
        let slice = ArpPacketSlice::from_slice(bytes).ok()?;
        let kinds = (slice.hw_addr_type(), slice.proto_addr_type());
        if kinds != (ArpHardwareId::ETHERNET, EtherType::IPV4) {
            return None;
        }
        let mac = |bytes: &[u8]| bytes.try_into().map(MacAddr).ok();
        let address = |bytes: &[u8]| <[u8; 4]>::try_from(bytes).map(Ipv4Addr::from).ok();
        Some(Self {
            operation: slice.operation(),
            sender_mac: mac(slice.sender_hw_addr())?,
            sender: address(slice.sender_protocol_addr())?,
            target_mac: mac(slice.target_hw_addr())?,
            target: address(slice.target_protocol_addr())?,
        })
    }
}

/// What the ARP in `body` says to us. `None` when that is nothing.
pub(crate) fn read(
    endpoint: &Endpoint,
    hops: &Hops<Ipv4Addr>,
    ethernet: &Ethernet,
    body: &Body<'_>,
) -> Result<Option<Message>, Refusal> {
    let Some(arp) = Arp::read(body.first(ARP_BYTES)?) else { return Ok(None) };
    let asks = arp.operation == ArpOperation::REQUEST && arp.target == hops.own;
    let answers = arp.operation == ArpOperation::REPLY && arp.target == hops.own;
    let is_known = matches!(arp.operation, ArpOperation::REQUEST | ArpOperation::REPLY);
    let announces = is_known && arp.target == arp.sender;
    let is_next = arp.sender == hops.next && (asks || answers || announces);
    let is_conflict = is_known && arp.sender == hops.own;
    if !asks && !is_next && !is_conflict {
        return Ok(None);
    }
    ethernet.check_sender(endpoint.own_mac, arp.sender_mac)?;
    if is_conflict {
        return Err(Refusal::AddressConflict);
    }
    let occasion = if answers && arp.target_mac == endpoint.own_mac {
        Occasion::Answer
    } else {
        Occasion::Mention
    };
    let claim = Claim { mac: arp.sender_mac, occasion, weight: Weight::Replaces };
    if !asks {
        return Ok(Some(Message::Told(claim)));
    }
    if !arp.sender.is_unspecified() && !is_host(IpAddr::V4(arp.sender)) {
        return Err(Refusal::SenderAddress);
    }
    let asker = Asker::Arp { mac: arp.sender_mac, address: arp.sender };
    Ok(Some(Message::Asked { asker, claim: is_next.then_some(claim) }))
}
