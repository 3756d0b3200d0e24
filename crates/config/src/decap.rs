//! A port that takes mirror streams which arrive on an uplink: its address there.

use std::net::IpAddr;

use helio_encap::{Cos, VXLAN_PORT};
use helio_types::{MacAddr, VlanId};
use serde::{Deserialize, Serialize};

use crate::destination_entry::check_tag;
use crate::port::check_port_name;
use crate::problem::Faults;
use crate::range::within;
use crate::underlay::{card_address, local_address};

/// Where mirror streams arrive: ERSPAN, GRE and VXLAN for one address behind one uplink.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DecapPoint {
    /// Name of the uplink.
    pub uplink: String,
    /// The address.
    pub local: IpAddr,
    /// How many bits of `local` are those of the network behind the uplink.
    pub prefix_len: u8,
    /// VLAN of the outer tag, 1 to 4094; `None`: no tag.
    pub vlan: Option<VlanId>,
    /// Priority of the outer tag.
    pub pcp: Cos,
    /// MAC address of the switch itself there; `None`: that of the interface.
    pub mac: Option<MacAddr>,
    /// UDP port that VXLAN streams are sent to.
    pub udp_port: u16,
}

impl DecapPoint {
    /// Whether a datagram for `other` would be one for this point.
    pub(crate) fn is_same_place(&self, other: &Self) -> bool {
        (&self.uplink, self.vlan, self.local) == (&other.uplink, other.vlan, other.local)
    }
}

/// [`DecapPoint`] as written, in TOML and in JSON: nothing is checked yet.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DecapEntry {
    /// The uplink.
    pub uplink: String,
    /// The address and the length of its network, as `10.0.0.2/24`.
    pub local: String,
    /// VLAN of the outer tag.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub vlan: Option<u64>,
    /// Priority of the outer tag, 0 to 7.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pcp: Option<u64>,
    /// MAC address of the switch itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mac: Option<String>,
    /// UDP port of VXLAN streams.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub udp_port: Option<u64>,
}

impl DecapEntry {
    /// The checked point. Every check is made before the first `?`. A fault is one of `decap`: it is one short table.
    pub(crate) fn check_into(&self, faults: &mut Faults) -> Option<DecapPoint> {
        let mut own = Faults::default();
        let uplink = own.keep("uplink", check_port_name(&self.uplink));
        let local = own.keep("local", local_address("local", &self.local));
        let mac = self.mac.as_deref().map(|mac| card_address("mac", mac)).transpose();
        let mac = own.keep("mac", mac);
        let tag = check_tag(self.vlan, self.pcp, &mut own);
        let udp_port = within("udp-port", self.udp_port.unwrap_or(VXLAN_PORT.into()), 1..=65_535);
        let udp_port = own.keep("udp-port", udp_port);
        faults.take_as("decap", own);
        uplink?;
        let ((local, prefix_len), (vlan, pcp)) = (local?, tag?);
        let (uplink, mac, udp_port) = (self.uplink.clone(), mac?, udp_port?);
        Some(DecapPoint { uplink, local, prefix_len, vlan, pcp, mac, udp_port })
    }
}

impl From<&DecapPoint> for DecapEntry {
    fn from(point: &DecapPoint) -> Self {
        Self {
            uplink: point.uplink.clone(),
            local: format!("{}/{}", point.local, point.prefix_len),
            vlan: point.vlan.map(|vlan| u64::from(vlan.get())),
            pcp: point.vlan.map(|_| u64::from(point.pcp.get())),
            mac: point.mac.map(|mac| mac.to_string()),
            udp_port: Some(u64::from(point.udp_port)),
        }
    }
}
