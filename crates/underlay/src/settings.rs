//! What an operator says about the way to an encapsulated destination, and what is wrong with it. Checked by the control
//! thread; an [`Endpoint`](crate::Endpoint) is what passed.

use std::net::IpAddr;

use helio_types::{MacAddr, VlanId};
use ipnet::IpNet;
use thiserror::Error;

/// The tag of the underlay's frames.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct UnderlayTag {
    /// VLAN of the underlay; [`VlanId::UNTAGGED`] makes a priority tag.
    pub vlan: VlanId,
    /// Priority code point of what we send, 0 to 7. What arrives may have any.
    pub priority: u8,
}

/// What copies travel in: what a router quotes when one was too long.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Carrier {
    /// Nothing: the address only listens.
    Nothing,
    /// ERSPAN and plain GRE.
    Gre {
        /// Flags and type, with which each copy begins. RFC 2784, section 2.
        first_word: [u8; 4],
        /// The key that follows, if the flags say so. RFC 2890, section 2.1.
        key: Option<u32>,
    },
    /// VXLAN.
    Udp {
        /// The port of the collector.
        port: u16,
    },
}

/// The way to one encapsulated destination, as an operator says it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct EndpointSettings {
    /// Source of what we send: mostly the address of the uplink's interface.
    pub own_mac: MacAddr,
    /// Our address on the underlay. Its prefix says who is reached without a router.
    pub own: IpNet,
    /// The tag of the underlay, if it has one.
    pub tag: Option<UnderlayTag>,
    /// The collector.
    pub remote: IpAddr,
    /// The router, for a collector elsewhere.
    pub gateway: Option<IpAddr>,
    /// What copies travel in.
    pub carrier: Carrier,
    /// Longest datagram that the underlay takes, IP header included, Ethernet not.
    pub mtu_bytes: u16,
}

/// Why copies cannot go that way, and what to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum EndpointError {
    /// A group address, or zero.
    #[error(
        "{0} cannot send frames: give the MAC address of the uplink's interface, or another that is no group's"
    )]
    OwnMac(MacAddr),
    /// An address that no host can have.
    #[error(
        "the switch cannot have the address {0}: give one that is free in the network of the uplink"
    )]
    Own(IpAddr),
    /// The first or the last address of a prefix.
    #[error(
        "{0} names the network or its broadcast address: give the address of a host in it, with its prefix length"
    )]
    OwnIsNetwork(IpNet),
    /// An address that no collector can have.
    #[error("copies cannot be sent to {0}: give the address of one host")]
    Remote(IpAddr),
    /// The collector has our own address.
    #[error(
        "{0} is the address of the switch itself: give the collector's as remote, or the switch another one"
    )]
    RemoteIsOwn(IpAddr),
    /// One is IPv4, the other is IPv6.
    #[error(
        "{own} and {remote} are of two IP versions: give the switch an address of the version of the remote"
    )]
    RemoteVersion {
        /// Our address.
        own: IpAddr,
        /// The collector's.
        remote: IpAddr,
    },
    /// One is of link-local scope and the other is not.
    #[error(
        "{own} and {remote} cannot reach each other, as only one of them is link-local: give both addresses of one kind"
    )]
    Scope {
        /// Our address.
        own: IpAddr,
        /// The collector's.
        remote: IpAddr,
    },
    /// Not in our prefix, and no router is named.
    #[error(
        "{remote} is not in the network of {own}: name the gateway that leads there, or correct the prefix length"
    )]
    NoGateway {
        /// Our address.
        own: IpNet,
        /// The collector's.
        remote: IpAddr,
    },
    /// An address that no router can have.
    #[error("{0} cannot be a gateway: give the address of the router in the network of the uplink")]
    Gateway(IpAddr),
    /// We are the router.
    #[error(
        "{0} is the address of the switch itself: give the router's as gateway, or the switch another one"
    )]
    GatewayIsOwn(IpAddr),
    /// One is IPv4, the other is IPv6.
    #[error(
        "{own} and the gateway {gateway} are of two IP versions: give the router's address of the version of the remote"
    )]
    GatewayVersion {
        /// Our address.
        own: IpAddr,
        /// The router's.
        gateway: IpAddr,
    },
    /// The router is beyond a router.
    #[error(
        "the gateway {gateway} is not in the network of {own}: name one that is, or correct the prefix length"
    )]
    GatewayOffLink {
        /// Our address.
        own: IpNet,
        /// The router's.
        gateway: IpAddr,
    },
    /// More than three bits.
    #[error("a priority of {0} does not fit in a tag: give 0 to 7")]
    Priority(u8),
    /// Less than each link of that version must take.
    #[error(
        "an MTU of {given} is less than {least}, which each link of that IP version takes: give {least} or more"
    )]
    Mtu {
        /// What was given.
        given: u16,
        /// The least. RFC 791, section 3.2; RFC 8200, section 5.
        least: u16,
    },
}

impl EndpointSettings {
    /// The neighbour that copies are handed to: the collector, or the router towards it.
    ///
    /// # Errors
    ///
    /// The first thing that is wrong with the settings.
    pub fn next_hop(&self) -> Result<IpAddr, EndpointError> {
        self.check_alone()?;
        self.check_remote()?;
        let gateway = self.gateway.map(|gateway| self.check_gateway(gateway)).transpose()?;
        let (own, remote) = (self.own, self.remote);
        if own.contains(&remote) {
            return Ok(remote);
        }
        if is_link_local(own.addr()) {
            // A router forwards neither from nor to such an address. RFC 3927, section 2.7; RFC 4291, section 2.5.6.
            return Err(EndpointError::Scope { own: own.addr(), remote });
        }
        gateway.ok_or(EndpointError::NoGateway { own, remote })
    }

    /// All that does not depend on who is at the other end.
    pub(crate) fn check_alone(&self) -> Result<(), EndpointError> {
        self.check_link()?;
        self.check_own()
    }

    fn check_link(&self) -> Result<(), EndpointError> {
        if !is_host_mac(self.own_mac) {
            return Err(EndpointError::OwnMac(self.own_mac));
        }
        let least = least_link_mtu(self.own.addr());
        if self.mtu_bytes < least {
            return Err(EndpointError::Mtu { given: self.mtu_bytes, least });
        }
        match self.tag {
            Some(tag) if tag.priority > 7 => Err(EndpointError::Priority(tag.priority)),
            _ => Ok(()),
        }
    }

    fn check_own(&self) -> Result<(), EndpointError> {
        let own = self.own.addr();
        if !is_host(own) {
            return Err(EndpointError::Own(own));
        }
        if is_edge(self.own, own) {
            return Err(EndpointError::OwnIsNetwork(self.own));
        }
        Ok(())
    }

    fn check_remote(&self) -> Result<(), EndpointError> {
        let (own, remote) = (self.own.addr(), self.remote);
        if own.is_ipv4() != remote.is_ipv4() {
            return Err(EndpointError::RemoteVersion { own, remote });
        }
        if !is_host(remote) || is_edge(self.own, remote) {
            return Err(EndpointError::Remote(remote));
        }
        if own == remote {
            return Err(EndpointError::RemoteIsOwn(remote));
        }
        if is_link_local(own) != is_link_local(remote) {
            return Err(EndpointError::Scope { own, remote });
        }
        Ok(())
    }

    /// Also of one that is not needed: it is a mistake all the same.
    fn check_gateway(&self, gateway: IpAddr) -> Result<IpAddr, EndpointError> {
        let own = self.own.addr();
        if own.is_ipv4() != gateway.is_ipv4() {
            return Err(EndpointError::GatewayVersion { own, gateway });
        }
        if !is_host(gateway) || is_edge(self.own, gateway) {
            return Err(EndpointError::Gateway(gateway));
        }
        if own == gateway {
            return Err(EndpointError::GatewayIsOwn(gateway));
        }
        // Routers of IPv6 are known by their link-local addresses, which are on the link whatever the prefix.
        let is_on_link = self.own.contains(&gateway) || gateway.is_ipv6() && is_link_local(gateway);
        if is_on_link {
            Ok(gateway)
        } else {
            Err(EndpointError::GatewayOffLink { own: self.own, gateway })
        }
    }
}

/// Whether a frame can come from there.
pub(crate) fn is_host_mac(mac: MacAddr) -> bool {
    !mac.is_group() && mac != MacAddr([0; 6])
}

/// Whether one host of a network can have this address.
pub(crate) fn is_host(address: IpAddr) -> bool {
    let is_special = address.is_unspecified() || address.is_loopback() || address.is_multicast();
    match address {
        IpAddr::V4(address) => !is_special && !address.is_broadcast(),
        // An IPv4 address in the form of IPv6 is never on a wire. RFC 4291, section 2.5.5.2.
        IpAddr::V6(address) => !is_special && address.to_ipv4_mapped().is_none(),
    }
}

fn is_link_local(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => address.is_link_local(),
        IpAddr::V6(address) => address.is_unicast_link_local(),
    }
}

/// Whether `address` stands for all of `network`, or for nobody in it. A prefix of 31 or 32 bits has no such addresses
/// (RFC 3021), and IPv6 has none that a router does not answer for.
fn is_edge(network: IpNet, address: IpAddr) -> bool {
    network.addr().is_ipv4()
        && network.prefix_len() < 31
        && (address == network.network() || address == network.broadcast())
}

/// What each link must take. RFC 791, section 3.2; RFC 8200, section 5.
fn least_link_mtu(own: IpAddr) -> u16 {
    match own {
        IpAddr::V4(_) => 68,
        IpAddr::V6(_) => 1280,
    }
}
