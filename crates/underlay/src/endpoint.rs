//! The way to one encapsulated destination, checked, and the frames that may have to do with it.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use helio_types::MacAddr;
use ipnet::IpNet;

use crate::ethernet::{ARP, Ethernet, IPV4, IPV6};
use crate::{Carrier, EndpointError, EndpointSettings, UnderlayTag};

/// All nodes of a link. RFC 4291, section 2.7.1.
pub(crate) const ALL_NODES: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1);

/// Places in the IPv4 header.
const V4_PROTOCOL: usize = 9;
const V4_DESTINATION: usize = 16;
/// Places in the IPv6 header.
const V6_NEXT: usize = 6;
const V6_DESTINATION: usize = 24;
/// Numbers of the protocols that are heeded. IANA protocol numbers.
const ICMP: u8 = 1;
const ICMP_V6: u8 = 58;

/// MTU of an address that only listens: that of Ethernet.
const LISTENING_MTU: u16 = 1500;

/// The way to one encapsulated destination: [`EndpointSettings`] that can be reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Endpoint {
    pub(crate) own_mac: MacAddr,
    pub(crate) tag: Option<UnderlayTag>,
    pub(crate) way: Way,
    pub(crate) carrier: Carrier,
    mtu_bytes: u16,
}

/// The addresses, all of one version.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    V4(Hops<Ipv4Addr>),
    V6(Hops<Ipv6Addr>),
}

/// From us to the collector.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Hops<A> {
    pub(crate) own: A,
    /// The neighbour that copies are handed to.
    pub(crate) next: A,
    pub(crate) remote: A,
}

impl Endpoint {
    /// Checks `settings`.
    ///
    /// # Errors
    ///
    /// The first thing that is wrong with them.
    pub fn new(settings: &EndpointSettings) -> Result<Self, EndpointError> {
        let next = settings.next_hop()?;
        let (own, remote) = (settings.own.addr(), settings.remote);
        let way = match (own, next, remote) {
            (IpAddr::V4(own), IpAddr::V4(next), IpAddr::V4(remote)) => {
                Way::V4(Hops { own, next, remote })
            }
            (IpAddr::V6(own), IpAddr::V6(next), IpAddr::V6(remote)) => {
                Way::V6(Hops { own, next, remote })
            }
            _ => return Err(EndpointError::RemoteVersion { own, remote }),
        };
        let EndpointSettings { own_mac, tag, carrier, mtu_bytes, .. } = *settings;
        Ok(Self { own_mac, tag, way, carrier, mtu_bytes })
    }

    /// An address of ours to which others send, with nobody to send to: its [`Neighbour`](crate::Neighbour) answers, and
    /// takes no turns.
    ///
    /// # Errors
    ///
    /// What is wrong with the address.
    pub fn listening(
        own_mac: MacAddr,
        own: IpNet,
        tag: Option<UnderlayTag>,
    ) -> Result<Self, EndpointError> {
        let (remote, mtu_bytes) = (own.addr(), LISTENING_MTU);
        let carrier = Carrier::Nothing;
        let settings =
            EndpointSettings { own_mac, own, tag, remote, gateway: None, carrier, mtu_bytes };
        settings.check_alone()?;
        let way = match remote {
            IpAddr::V4(own) => Way::V4(Hops { own, next: own, remote: own }),
            IpAddr::V6(own) => Way::V6(Hops { own, next: own, remote: own }),
        };
        Ok(Self { own_mac, tag, way, carrier, mtu_bytes })
    }

    /// Whether a frame that begins with `head` is a datagram for our address, and for this card.
    #[inline]
    #[must_use]
    pub fn is_addressed(&self, head: &[u8]) -> bool {
        let Some(ethernet) = Ethernet::read(head, self.tag) else { return false };
        let ip = head.get(ethernet.bytes..).unwrap_or_default();
        ethernet.destination == self.own_mac
            && match &self.way {
                Way::V4(hops) => {
                    let to = ip.get(V4_DESTINATION..).and_then(|to| to.first_chunk());
                    ethernet.kind == IPV4 && to == Some(&hops.own.octets())
                }
                Way::V6(hops) => {
                    let to = ip.get(V6_DESTINATION..).and_then(|to| to.first_chunk());
                    ethernet.kind == IPV6 && to == Some(&hops.own.octets())
                }
            }
    }

    /// Source of what we send.
    #[must_use]
    pub const fn own_mac(&self) -> MacAddr {
        self.own_mac
    }

    /// Our address on the underlay.
    #[must_use]
    pub const fn own_address(&self) -> IpAddr {
        match self.way {
            Way::V4(hops) => IpAddr::V4(hops.own),
            Way::V6(hops) => IpAddr::V6(hops.own),
        }
    }

    /// The neighbour that copies are handed to: the collector, or the router towards it.
    #[must_use]
    pub const fn next_hop(&self) -> IpAddr {
        match self.way {
            Way::V4(hops) => IpAddr::V4(hops.next),
            Way::V6(hops) => IpAddr::V6(hops.next),
        }
    }

    /// The collector.
    #[must_use]
    pub const fn remote(&self) -> IpAddr {
        match self.way {
            Way::V4(hops) => IpAddr::V4(hops.remote),
            Way::V6(hops) => IpAddr::V6(hops.remote),
        }
    }

    /// The tag of the underlay.
    #[must_use]
    pub const fn tag(&self) -> Option<UnderlayTag> {
        self.tag
    }

    /// Longest datagram that the underlay takes, as configured.
    #[must_use]
    pub const fn mtu_bytes(&self) -> u16 {
        self.mtu_bytes
    }

    /// Whether copies go the way of `other` as well: from the same address of ours to the same collector, in the same carrier. A
    /// router that quotes one of them does not tell whose it was.
    #[must_use]
    pub fn is_way_of(&self, other: &Self) -> bool {
        let ends = |endpoint: &Self| (endpoint.own_address(), endpoint.remote());
        let link = |endpoint: &Self| (endpoint.own_mac, endpoint.tag.map(|tag| tag.vlan));
        ends(self) == ends(other) && link(self) == link(other) && self.carrier == other.carrier
    }

    /// Whether copies are handed to the next hop of `other`, and it is asked from the same card and address.
    pub(crate) fn has_hop_of(&self, other: &Self) -> bool {
        let hop = |endpoint: &Self| (endpoint.own_address(), endpoint.next_hop());
        let link = |endpoint: &Self| (endpoint.own_mac, endpoint.tag.map(|tag| tag.vlan));
        hop(self) == hop(other) && link(self) == link(other)
    }

    /// Whether a frame that begins with `head` is worth showing to [`Neighbour::observe`](crate::Neighbour::observe):
    /// ARP, or ICMP to our address or to all, in the VLAN of the underlay. Looks at a few bytes at fixed places, whatever
    /// they say, so it can be asked of each frame that comes from the uplink. A frame of which it is false is not ours.
    #[inline]
    #[must_use]
    pub fn may_concern(&self, head: &[u8]) -> bool {
        Ethernet::read(head, self.tag).is_some_and(|ethernet| self.is_for_us(&ethernet, head))
    }

    pub(crate) fn is_for_us(&self, ethernet: &Ethernet, head: &[u8]) -> bool {
        let ip = head.get(ethernet.bytes..).unwrap_or_default();
        let is_unicast = ethernet.destination == self.own_mac;
        match &self.way {
            Way::V4(_) if ethernet.kind == ARP => {
                is_unicast || ethernet.destination == MacAddr::BROADCAST
            }
            Way::V4(hops) => {
                let to = ip.get(V4_DESTINATION..).and_then(|to| to.first_chunk());
                is_unicast
                    && ethernet.kind == IPV4
                    && ip.get(V4_PROTOCOL) == Some(&ICMP)
                    && to == Some(&hops.own.octets())
            }
            Way::V6(hops) => {
                let to = ip.get(V6_DESTINATION..).and_then(|to| to.first_chunk::<16>());
                let to = to.map(|to| Ipv6Addr::from_octets(*to));
                let is_to_group = to == Some(ALL_NODES) || to == Some(solicited_node(hops.own));
                ethernet.kind == IPV6
                    && ip.get(V6_NEXT) == Some(&ICMP_V6)
                    && (is_unicast && to == Some(hops.own)
                        || is_to_group
                            && (is_unicast || is_multicast_of_ipv6(ethernet.destination)))
            }
        }
    }
}

/// The group that those hosts listen to whose addresses end like `address`. RFC 4291, section 2.7.1.
pub(crate) const fn solicited_node(address: Ipv6Addr) -> Ipv6Addr {
    let [.., high, low] = address.segments();
    Ipv6Addr::new(0xff02, 0, 0, 0, 0, 1, 0xff00 | high & 0xff, low)
}

/// Where frames to a group go. RFC 2464, section 7.
pub(crate) const fn multicast_mac(group: Ipv6Addr) -> MacAddr {
    let [.., a, b, c, d] = group.octets();
    MacAddr([0x33, 0x33, a, b, c, d])
}

const fn is_multicast_of_ipv6(mac: MacAddr) -> bool {
    matches!(mac.0, [0x33, 0x33, ..])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_group_of_an_address_has_its_last_three_bytes() {
        let address = "2001:db8::aabb:ccdd:eeff".parse().unwrap();
        assert_eq!(solicited_node(address), "ff02::1:ffdd:eeff".parse::<Ipv6Addr>().unwrap());
        let mac = multicast_mac(solicited_node(address));
        assert_eq!(mac, MacAddr([0x33, 0x33, 0xff, 0xdd, 0xee, 0xff]));
        assert_eq!(multicast_mac(ALL_NODES), MacAddr([0x33, 0x33, 0, 0, 0, 1]));
    }

    const OWN_MAC: MacAddr = MacAddr([2, 0, 0, 0, 0, 1]);

    fn listening(own: &str) -> Result<Endpoint, EndpointError> {
        Endpoint::listening(OWN_MAC, own.parse().unwrap(), None)
    }

    /// The head of a datagram of IPv4.
    fn head(to_mac: MacAddr, to: [u8; 4]) -> Vec<u8> {
        let mut head = [&to_mac.0[..], &[2, 0, 0, 0, 0, 9], &[8, 0], &[0x45; 20]].concat();
        head[30..34].copy_from_slice(&to);
        head
    }

    #[test]
    fn who_listens_is_addressed_by_card_and_address_together() {
        let endpoint = listening("192.0.2.1/24").unwrap();
        let other = MacAddr([2, 0, 0, 0, 0, 2]);
        assert!(endpoint.is_addressed(&head(OWN_MAC, [192, 0, 2, 1])));
        assert!(!endpoint.is_addressed(&head(other, [192, 0, 2, 1])));
        assert!(!endpoint.is_addressed(&head(OWN_MAC, [192, 0, 2, 2])));
        assert!(!endpoint.is_addressed(&head(OWN_MAC, [192, 0, 2, 1])[..33]));
        let v6 = listening("2001:db8::1/64").unwrap();
        assert!(!v6.is_addressed(&head(OWN_MAC, [192, 0, 2, 1])));
    }

    #[test]
    fn nobody_listens_at_an_address_that_no_host_can_have() {
        for address in ["192.0.2.0/24", "224.0.0.1/24", "0.0.0.0/0", "::1/128"] {
            assert!(listening(address).is_err(), "{address}");
        }
    }
}
