//! The frames that an endpoint sends of its own: requests for its next hop, and answers to requests for its address.

use std::fmt;
use std::net::{Ipv4Addr, Ipv6Addr};

use etherparse::icmpv6::{
    NdpOptionHeader, NdpOptionType, NeighborAdvertisementHeader, NeighborSolicitationPayload,
};
use etherparse::{
    ArpEthIpv4Packet, ArpOperation, Icmpv6Header, Icmpv6Type, IpNumber, Ipv6FlowLabel, Ipv6Header,
};
use helio_types::MacAddr;

use crate::Endpoint;
use crate::claim::Asker;
use crate::endpoint::{ALL_NODES, Way, multicast_mac, solicited_node};
use crate::ethernet::{ARP, IPV6, VLAN};
use crate::resolution::Ask;

/// Longest frame of an endpoint's own: Ethernet with a tag, IPv6, and an advertisement with its option.
pub const MAX_OWN_FRAME_BYTES: usize = 14 + 4 + 40 + LINK_MESSAGE_BYTES;

/// A solicitation or advertisement with one option.
const LINK_MESSAGE_BYTES: usize = 8 + LINK_PAYLOAD_BYTES;
/// What of it follows the ICMPv6 header.
const LINK_PAYLOAD_BYTES: usize = 16 + 8;
/// What a router sets to less. RFC 4861, section 7.1.
const NEVER_ROUTED: u8 = 255;

/// A frame of an endpoint's own: Ethernet with the tag of the underlay, without padding and FCS.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct OwnFrame {
    bytes: [u8; MAX_OWN_FRAME_BYTES],
    len: usize,
}

impl OwnFrame {
    /// All of it. Shorter than the wire demands: the uplink pads it.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        self.bytes.get(..self.len).unwrap_or_default()
    }

    fn begin(endpoint: &Endpoint, destination: MacAddr, kind: [u8; 2]) -> Self {
        let mut frame = Self { bytes: [0; MAX_OWN_FRAME_BYTES], len: 0 };
        frame.push(&destination.0);
        frame.push(&endpoint.own_mac.0);
        if let Some(tag) = endpoint.tag {
            frame.push(&VLAN);
            frame.push(&(u16::from(tag.priority) << 13 | tag.vlan.get()).to_be_bytes());
        }
        frame.push(&kind);
        frame
    }

    fn push(&mut self, bytes: &[u8]) {
        let room = self.bytes.get_mut(self.len..).unwrap_or_default();
        for (to, from) in room.iter_mut().zip(bytes) {
            *to = *from;
            self.len += 1;
        }
    }
}

impl fmt::Debug for OwnFrame {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "OwnFrame({:02x?})", self.bytes())
    }
}

impl Endpoint {
    /// Asks where the next hop is.
    pub(crate) fn solicitation(&self, ask: Ask) -> OwnFrame {
        match &self.way {
            Way::V4(hops) => {
                let destination = match ask {
                    Ask::Everybody => MacAddr::BROADCAST,
                    Ask::Only(mac) => mac,
                };
                let nobody = MacAddr([0; 6]);
                let request = self.arp(ArpOperation::REQUEST, hops.own, nobody, hops.next);
                self.arp_frame(destination, &request)
            }
            Way::V6(hops) => {
                let group = solicited_node(hops.next);
                let (mac, destination) = match ask {
                    Ask::Everybody => (multicast_mac(group), group),
                    Ask::Only(mac) => (mac, hops.next),
                };
                let source_address = NdpOptionType::SOURCE_LINK_LAYER_ADDRESS;
                let payload = self.link_payload(hops.next, source_address);
                let ends = [hops.own, destination];
                self.icmp_frame(mac, ends, Icmpv6Type::NeighborSolicitation, payload)
            }
        }
    }

    /// Tells `asker` that our address is here. `None` when it asked in a protocol that has no such addresses.
    pub(crate) fn answer(&self, asker: Asker) -> Option<OwnFrame> {
        match (&self.way, asker) {
            (Way::V4(hops), Asker::Arp { mac, address }) => {
                let reply = self.arp(ArpOperation::REPLY, hops.own, mac, address);
                Some(self.arp_frame(mac, &reply))
            }
            (Way::V6(hops), Asker::Ndisc { mac, address }) => {
                Some(self.advertisement(hops.own, mac, address))
            }
            // It cannot be reached by itself yet. RFC 4861, section 7.2.4.
            (Way::V6(hops), Asker::DuplicateCheck) => {
                Some(self.advertisement(hops.own, multicast_mac(ALL_NODES), ALL_NODES))
            }
            _ => None,
        }
    }

    fn arp(
        &self,
        operation: ArpOperation,
        own: Ipv4Addr,
        target_mac: MacAddr,
        target: Ipv4Addr,
    ) -> ArpEthIpv4Packet {
        ArpEthIpv4Packet {
            operation,
            sender_mac: self.own_mac.0,
            sender_ipv4: own.octets(),
            target_mac: target_mac.0,
            target_ipv4: target.octets(),
        }
    }

    fn arp_frame(&self, destination: MacAddr, arp: &ArpEthIpv4Packet) -> OwnFrame {
        let mut frame = OwnFrame::begin(self, destination, ARP);
        frame.push(&arp.to_bytes());
        frame
    }

    /// Says where our address is. To a group, nobody has asked for it by name. RFC 4861, section 7.2.4.
    fn advertisement(&self, own: Ipv6Addr, mac: MacAddr, destination: Ipv6Addr) -> OwnFrame {
        let flags = NeighborAdvertisementHeader {
            router: false,
            solicited: !destination.is_multicast(),
            r#override: true,
        };
        let payload = self.link_payload(own, NdpOptionType::TARGET_LINK_LAYER_ADDRESS);
        let kind = Icmpv6Type::NeighborAdvertisement(flags);
        self.icmp_frame(mac, [own, destination], kind, payload)
    }

    /// A target, and an option that says where we are. RFC 4861, sections 4.3, 4.4 and 4.6.1.
    fn link_payload(
        &self,
        target: Ipv6Addr,
        option_type: NdpOptionType,
    ) -> [u8; LINK_PAYLOAD_BYTES] {
        let target = NeighborSolicitationPayload { target_address: target }.to_bytes();
        let option = NdpOptionHeader { option_type, length_units: 1 }.to_bytes();
        let parts = target.into_iter().chain(option).chain(self.own_mac.0);
        let mut payload = [0; LINK_PAYLOAD_BYTES];
        for (to, from) in payload.iter_mut().zip(parts) {
            *to = from;
        }
        payload
    }

    fn icmp_frame(
        &self,
        mac: MacAddr,
        [source, destination]: [Ipv6Addr; 2],
        icmp_type: Icmpv6Type,
        payload: [u8; LINK_PAYLOAD_BYTES],
    ) -> OwnFrame {
        let (source, destination) = (source.octets(), destination.octets());
        let ip = Ipv6Header {
            traffic_class: 0,
            flow_label: Ipv6FlowLabel::ZERO,
            payload_length: u16::try_from(LINK_MESSAGE_BYTES).unwrap_or(0),
            next_header: IpNumber::IPV6_ICMP,
            hop_limit: NEVER_ROUTED,
            source,
            destination,
        };
        // Nothing of this length is refused.
        let checksum = icmp_type.calc_checksum(source, destination, &payload).unwrap_or(0);
        let mut frame = OwnFrame::begin(self, mac, IPV6);
        frame.push(&ip.to_bytes());
        frame.push(&Icmpv6Header { icmp_type, checksum }.to_bytes());
        frame.push(&payload);
        frame
    }
}
