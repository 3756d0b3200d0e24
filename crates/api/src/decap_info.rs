//! Where mirror streams arrive that a port takes.

use std::collections::BTreeMap;
use std::fmt;

use helio_config::DecapPoint;
use serde::{Deserialize, Serialize};

/// The address for which a port takes mirror streams.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DecapInfo {
    /// Name of the uplink on which they arrive.
    pub uplink: String,
    /// The address and the length of its network, as `10.0.0.2/24`.
    pub local: String,
    /// VLAN of the outer tag; `None`: no tag.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub vlan: Option<u16>,
    /// UDP port of VXLAN streams.
    pub udp_port: u16,
    /// Datagrams for that address that were no copies, and fragments of which no datagram became, by reason.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub refused: BTreeMap<String, u64>,
    /// What became of the other fragments; `None` while there are none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fragments: Option<FragmentInfo>,
    /// Frames of neighbours that should have concerned that address and were not believed, by reason.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub neighbour_refused: BTreeMap<String, u64>,
    /// The numbered streams that arrived, in the order they came; at most 64 are followed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub sessions: Vec<RemoteSessionInfo>,
    /// Copies of numbered streams that are not followed.
    #[serde(default)]
    pub unfollowed: u64,
}

/// What became of fragments that were not refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FragmentInfo {
    /// Fragments that were put together.
    pub joined: u64,
    /// The datagrams that were made of them.
    pub datagrams: u64,
    /// Fragments that wait for the others of their datagrams.
    pub waiting: u64,
}

/// A numbered stream of another host. None of the numbers ever goes down.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RemoteSessionInfo {
    /// Address of the sender.
    pub source: String,
    /// `erspan-2`, `erspan-3` or `gre`.
    pub encapsulation: String,
    /// The session of ERSPAN, or the key of GRE.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<u32>,
    /// Copies that arrived.
    pub received: u64,
    /// Copies that were missing and have not arrived since.
    pub lost: u64,
    /// Copies that arrived after later ones.
    pub late: u64,
    /// Copies that arrived again.
    pub duplicates: u64,
    /// Copies with a number far from all others.
    pub strays: u64,
    /// How often the sender began anew.
    pub restarts: u64,
}

impl DecapInfo {
    /// The point of this plan.
    #[must_use]
    pub fn new(point: &DecapPoint) -> Self {
        Self {
            uplink: point.uplink.clone(),
            local: format!("{}/{}", point.local, point.prefix_len),
            vlan: point.vlan.map(helio_types::VlanId::get),
            udp_port: point.udp_port,
            refused: BTreeMap::new(),
            fragments: None,
            neighbour_refused: BTreeMap::new(),
            sessions: Vec::new(),
            unfollowed: 0,
        }
    }
}

impl fmt::Display for DecapInfo {
    /// `10.0.0.2/24 by uplink0, VXLAN port 4789`, `10.0.0.2/24 by uplink0 VLAN 7, VXLAN port 8472`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} by {}", self.local, self.uplink)?;
        self.vlan.map_or(Ok(()), |vlan| write!(f, " VLAN {vlan}"))?;
        write!(f, ", VXLAN port {}", self.udp_port)
    }
}
