//! Where mirror streams arrive that a port takes.

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
}

impl DecapInfo {
    /// The point of this plan.
    #[must_use]
    pub fn new(point: &DecapPoint) -> Self {
        Self {
            uplink: point.uplink.clone(),
            local: format!("{}/{}", point.local, point.prefix_len),
            vlan: point.vlan.map(helio_types::VlanId::get),
        }
    }
}

impl fmt::Display for DecapInfo {
    /// `10.0.0.2/24 by uplink0`, `10.0.0.2/24 by uplink0 VLAN 7`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} by {}", self.local, self.uplink)?;
        self.vlan.map_or(Ok(()), |vlan| write!(f, " VLAN {vlan}"))
    }
}
