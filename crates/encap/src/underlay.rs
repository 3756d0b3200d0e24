//! The network between the switch and a collector: what of Ethernet and IP is the same for all copies. Written by the
//! control thread; compiled into a [`Template`](crate::Template).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::num::NonZeroU8;

use helio_types::{MacAddr, VlanId};

use crate::{Cos, Dscp};

/// Type field of IPv4. IEEE 802 numbers.
pub(crate) const ETHER_IPV4: [u8; 2] = [0x08, 0x00];
/// Type field of IPv6.
pub(crate) const ETHER_IPV6: [u8; 2] = [0x86, 0xdd];
/// Type field of a customer tag. IEEE 802.1Q-2018, table 9-1.
pub(crate) const ETHER_VLAN: [u8; 2] = [0x81, 0x00];
/// Type field of a service tag. IEEE 802.1Q-2018, table 9-1.
pub(crate) const ETHER_SERVICE_VLAN: [u8; 2] = [0x88, 0xa8];
/// Two addresses and a type.
pub(crate) const ETHERNET_BYTES: usize = 14;
/// What a tag adds.
pub(crate) const TAG_BYTES: usize = 4;
/// An IPv4 header without options. RFC 791, section 3.1.
pub(crate) const IPV4_BYTES: usize = 20;
/// The fixed IPv6 header. RFC 8200, section 3.
pub(crate) const IPV6_BYTES: usize = 40;
/// The IPv6 fragment header. RFC 8200, section 4.5.
pub(crate) const FRAGMENT_BYTES: usize = 8;

/// The IPv6 fragment header in the field for the next header. RFC 8200, section 4.5.
pub(crate) const FRAGMENT_HEADER: u8 = 44;

/// Version of the Internet Protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum IpVersion {
    /// RFC 791.
    V4,
    /// RFC 8200.
    V6,
}

impl IpVersion {
    /// Bytes of the header without options or extension headers.
    pub(crate) const fn header_bytes(self) -> usize {
        match self {
            Self::V4 => IPV4_BYTES,
            Self::V6 => IPV6_BYTES,
        }
    }
}

/// Both ends of the way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Addresses {
    /// Over IPv4.
    V4 {
        /// Address of the switch.
        source: Ipv4Addr,
        /// Address of the collector.
        destination: Ipv4Addr,
    },
    /// Over IPv6.
    V6 {
        /// Address of the switch.
        source: Ipv6Addr,
        /// Address of the collector.
        destination: Ipv6Addr,
    },
}

impl Addresses {
    /// `None` when the two are of different versions.
    #[must_use]
    pub const fn new(source: IpAddr, destination: IpAddr) -> Option<Self> {
        match (source, destination) {
            (IpAddr::V4(source), IpAddr::V4(destination)) => Some(Self::V4 { source, destination }),
            (IpAddr::V6(source), IpAddr::V6(destination)) => Some(Self::V6 { source, destination }),
            _ => None,
        }
    }

    /// Version of both.
    #[must_use]
    pub const fn version(&self) -> IpVersion {
        match self {
            Self::V4 { .. } => IpVersion::V4,
            Self::V6 { .. } => IpVersion::V6,
        }
    }
}

/// Whether routers may fragment a copy. IPv6 routers never do. RFC 791, section 3.1.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum DontFragment {
    /// The bit is set, on copies that we do not fragment ourselves.
    #[default]
    Set,
    /// The bit is clear.
    Clear,
}

/// The tag outside.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct OuterTag {
    /// VLAN of the way to the collector; [`VlanId::UNTAGGED`] makes a priority tag.
    pub vlan: VlanId,
    /// Its priority.
    pub cos: Cos,
}

/// Ethernet and IP of the way to one collector.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Underlay {
    /// Address of the uplink.
    pub source_mac: MacAddr,
    /// Address of the collector, or of the router towards it.
    pub destination_mac: MacAddr,
    /// The tag outside, if any.
    pub tag: Option<OuterTag>,
    /// Both ends.
    pub addresses: Addresses,
    /// How routers treat the copies. The congestion bits beside it are zero: nobody slows a mirror down.
    pub dscp: Dscp,
    /// Time to live, or hop limit.
    pub hop_limit: NonZeroU8,
    /// For IPv4.
    pub dont_fragment: DontFragment,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_ends_speak_one_version() {
        let (v4, v6) = (IpAddr::V4(Ipv4Addr::LOCALHOST), IpAddr::V6(Ipv6Addr::LOCALHOST));
        assert_eq!(Addresses::new(v4, v4).map(|both| both.version()), Some(IpVersion::V4));
        assert_eq!(Addresses::new(v6, v6).map(|both| both.version()), Some(IpVersion::V6));
        assert_eq!((Addresses::new(v4, v6), Addresses::new(v6, v4)), (None, None));
    }
}
