//! The checked plan of one named mirror session.

use std::fmt;
use std::net::IpAddr;
use std::num::{NonZeroU8, NonZeroU32, NonZeroU64};

use helio_encap::{Cos, Dscp, Encapsulation, Oversize};
use helio_types::{MacAddr, VlanId};
use serde::{Deserialize, Serialize};

use crate::SessionEntry;
use crate::decap::DecapPoint;
use crate::own_address::OwnAddress;
use crate::underlay::{Network, is_on_link};

/// Most destinations of one session.
pub const MAX_DESTINATIONS: usize = 16;

/// A named mirror session as it shall be. Made by [`SessionEntry::check`], which is also what its JSON form goes through.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "SessionEntry", into = "SessionEntry")]
pub struct SessionConfig {
    /// As the name of a port, but no number; unique among the sessions.
    pub name: String,
    /// What is watched; at least one thing in all.
    pub sources: Sources,
    /// Which way the frames go that are watched.
    pub direction: MirrorDirection,
    /// Which of them are wanted, in the syntax of pcap-filter(7). Neither empty nor longer than a filter may be, and not
    /// compiled here.
    pub filter: Option<String>,
    /// Most bytes of each copy, 14 or more; `None`: all.
    pub snap_len: Option<u32>,
    /// One frame in so many is wanted, as guests send them: one of TSO counts once.
    pub sample: NonZeroU32,
    /// How much may leave in a second.
    pub rate: Option<MirrorRate>,
    /// Whether every frame is copied once into private memory first.
    pub exact: bool,
    /// Whether frames are copied that the switch refused.
    pub include_dropped: bool,
    /// Where copies go: 1 to [`MAX_DESTINATIONS`], none of them twice.
    pub destinations: Vec<MirrorDestination>,
}

/// What a session watches. A frame that several of them mean is copied once.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sources {
    /// Names of ports. One that does not exist is watched once it does.
    pub ports: Vec<String>,
    /// All ports that have one of these labels, now or later.
    pub labels: Vec<String>,
    /// All frames of these VLANs, 1 to 4094.
    pub vlans: Vec<VlanId>,
    /// All frames from and to these addresses; none of them a group address.
    pub macs: Vec<MacAddr>,
}

/// Which way the frames of a session go, seen from the switch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum MirrorDirection {
    /// What sources send into the switch.
    Ingress,
    /// What leaves the switch for sources.
    Egress,
    /// Both.
    #[default]
    Both,
}

impl MirrorDirection {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Ingress, Self::Egress, Self::Both];

    /// The word in configuration and on the command line.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Ingress => "ingress",
            Self::Egress => "egress",
            Self::Both => "both",
        }
    }
}

impl fmt::Display for MirrorDirection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// How much of a session may leave in a second.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MirrorRate {
    /// So many bytes of copies.
    BytesPerSecond {
        /// Bytes in a second.
        rate: NonZeroU64,
        /// Bytes that may leave at once after a silence. A burst shorter than the longest frame is taken for that.
        burst_bytes: u32,
    },
    /// So many copies.
    FramesPerSecond {
        /// Copies in a second.
        rate: NonZeroU64,
        /// Copies that may leave at once after a silence.
        burst_frames: NonZeroU32,
    },
}

/// Where copies go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MirrorDestination {
    /// To a port as they are.
    Port {
        /// Its name. While there is no such port, this destination sleeps.
        port: String,
    },
    /// To a port, on a VLAN that carries nothing else.
    Rspan {
        /// Its name, mostly that of an uplink.
        port: String,
        /// 1 to 4094.
        vlan: VlanId,
    },
    /// To a collector in an IP network.
    Remote(RemoteDestination),
}

/// A collector of copies, and the way to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RemoteDestination {
    /// Name of the uplink behind which it is.
    pub uplink: String,
    /// Address of the switch itself in that network.
    pub local: IpAddr,
    /// How many bits of `local` are those of the network behind the uplink.
    pub prefix_len: u8,
    /// Address of the collector, of the same version as `local`.
    pub remote: IpAddr,
    /// The next hop when the collector is in another network.
    pub gateway: Option<IpAddr>,
    /// MAC address of the switch itself there; `None`: that of the interface.
    pub mac: Option<MacAddr>,
    /// MAC address of the next hop; `None`: the switch asks for it.
    pub remote_mac: Option<MacAddr>,
    /// VLAN of the outer tag, 1 to 4094; `None`: no tag.
    pub vlan: Option<VlanId>,
    /// Priority of the outer tag.
    pub pcp: Cos,
    /// The form of the copies.
    pub encapsulation: Encapsulation,
    /// Longest datagram that the path takes, in bytes with its IP header.
    pub mtu: u16,
    /// What becomes of copies that are longer.
    pub oversize: Oversize,
    /// Traffic class of the outer header.
    pub dscp: Dscp,
    /// Time to live, or hop limit.
    pub ttl: NonZeroU8,
}

impl RemoteDestination {
    /// Path MTU of a destination that names none, in bytes.
    pub const DEFAULT_MTU: u16 = 1500;
    /// Time to live of a destination that names none.
    pub const DEFAULT_TTL: NonZeroU8 = NonZeroU8::MIN.saturating_add(63);

    /// Whether copies for both leave by one address of ours for one collector.
    fn has_ends_of(&self, other: &Self) -> bool {
        (&self.uplink, self.vlan, self.local, self.remote)
            == (&other.uplink, other.vlan, other.local, other.remote)
    }

    /// Whether copies of both can come to one collector as those of one address, by whichever uplinks they leave.
    fn can_have_ends_of(&self, other: &Self) -> bool {
        let (here, there) = (self.network(), other.network());
        (self.local, self.remote) == (other.local, other.remote)
            && !(self.is_near() && other.is_near() && here.is_apart_from(&there))
    }

    /// The form and the id are those by which receivers tell numbered copies for `other` apart, too.
    fn is_numbered_as(&self, other: &Self) -> bool {
        let stream = self.encapsulation.numbered_stream();
        stream.is_some() && stream == other.encapsulation.numbered_stream()
    }

    /// Whether no router lies between the switch and the collector.
    fn is_near(&self) -> bool {
        is_on_link(self.remote, self.local, self.prefix_len)
    }

    fn network(&self) -> Network<'_> {
        Network { uplink: &self.uplink, vlan: self.vlan }
    }

    /// Whether copies arrive at `point`, as far as a plan shows that: by a router they may, wherever that is.
    pub(crate) fn arrives_at(&self, point: &DecapPoint) -> bool {
        let is_taken = match self.encapsulation {
            Encapsulation::Vxlan { port, .. } => port == point.udp_port,
            _ => true,
        };
        let there = Network { uplink: &point.uplink, vlan: point.vlan };
        let is_elsewhere = self.is_near() && self.network().is_apart_from(&there);
        self.remote == point.local && is_taken && !is_elsewhere
    }
}

impl MirrorDestination {
    /// Name of the port by which the copies leave.
    #[must_use]
    pub fn port(&self) -> &str {
        match self {
            Self::Port { port } | Self::Rspan { port, .. } => port,
            Self::Remote(remote) => &remote.uplink,
        }
    }

    /// The key by which a configuration names [`MirrorDestination::port`].
    pub(crate) fn port_key(&self) -> &'static str {
        match self {
            Self::Port { .. } | Self::Rspan { .. } => "port",
            Self::Remote(_) => "uplink",
        }
    }

    /// Whether a receiver could not tell copies for `other` from those for this one.
    pub(crate) fn is_same_place(&self, other: &Self) -> bool {
        let (Self::Remote(this), Self::Remote(that)) = (self, other) else { return self == other };
        this.has_ends_of(that) && this.encapsulation == that.encapsulation
    }

    /// Whether copies for `other` go on with what a receiver has of those for this one: with their numbers, if they have some.
    #[must_use]
    pub fn is_continued_by(&self, other: &Self) -> bool {
        let is_one_stream = match (self, other) {
            (Self::Remote(this), Self::Remote(that)) => {
                this.has_ends_of(that) && this.is_numbered_as(that)
            }
            _ => false,
        };
        is_one_stream || self.is_same_place(other)
    }

    /// Whether a receiver can tell the numbers of copies for this one from those for `other`, which is `owner`'s: each of the two
    /// is numbered by itself.
    pub(crate) fn check_numbers(&self, other: &Self, owner: &str) -> Result<(), String> {
        let (Self::Remote(this), Self::Remote(that)) = (self, other) else { return Ok(()) };
        if !this.is_numbered_as(that) || !this.can_have_ends_of(that) {
            return Ok(());
        }
        let remote = this.remote;
        let id = this.encapsulation.numbered_stream().and_then(|(_, id)| id);
        let id = id.map_or_else(|| "no id".to_owned(), |id| format!("id = {id}"));
        Err(format!(
            "copies for {remote} with {id} are those of {owner} too, and the numbers of the two cannot be told apart there; write another id"
        ))
    }

    /// Whether the switch can have its addresses of this one and of `other`, which is `owner`'s, at once.
    pub(crate) fn check_own_address(&self, other: &Self, owner: &str) -> Result<(), String> {
        match (self, other) {
            (Self::Remote(this), Self::Remote(that)) => {
                OwnAddress::from(this).check_beside(&that.into(), owner)
            }
            _ => Ok(()),
        }
    }
}

impl fmt::Display for MirrorDestination {
    /// `sniffie`, `uplink0 VLAN 99`, `10.0.0.9 by uplink0`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Port { port } => f.write_str(port),
            Self::Rspan { port, vlan } => write!(f, "{port} VLAN {vlan}"),
            Self::Remote(remote) => write!(f, "{} by {}", remote.remote, remote.uplink),
        }
    }
}
