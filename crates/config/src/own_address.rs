//! Addresses of the switch itself behind its uplinks: whoever uses one, hosts there are told one card for it.

use std::net::IpAddr;

use helio_types::{MacAddr, VlanId};

use crate::decap::DecapPoint;
use crate::session::RemoteDestination;

/// An address of the switch itself in the network behind an uplink, and the card that it is at.
#[derive(Clone, Copy, Debug)]
pub(crate) struct OwnAddress<'a> {
    uplink: &'a str,
    vlan: Option<VlanId>,
    local: IpAddr,
    /// `None`: that of the interface.
    mac: Option<MacAddr>,
}

impl OwnAddress<'_> {
    /// Whether this address and another one, which `owner` has, can both be answered for.
    pub(crate) fn check_beside(&self, other: &OwnAddress<'_>, owner: &str) -> Result<(), String> {
        let is_same =
            (self.uplink, self.vlan, self.local) == (other.uplink, other.vlan, other.local);
        if !is_same || self.mac == other.mac {
            return Ok(());
        }
        let (local, here, there) = (self.local, card(self.mac), card(other.mac));
        Err(format!(
            "{local} is at {here} here and at {there} for {owner}, and hosts that ask for it can be told one of them only; write the same mac for both, or another local"
        ))
    }
}

fn card(mac: Option<MacAddr>) -> String {
    mac.map_or_else(|| "the card of the interface".to_owned(), |mac| mac.to_string())
}

impl<'a> From<&'a RemoteDestination> for OwnAddress<'a> {
    fn from(remote: &'a RemoteDestination) -> Self {
        Self { uplink: &remote.uplink, vlan: remote.vlan, local: remote.local, mac: remote.mac }
    }
}

impl<'a> From<&'a DecapPoint> for OwnAddress<'a> {
    fn from(point: &'a DecapPoint) -> Self {
        Self { uplink: &point.uplink, vlan: point.vlan, local: point.local, mac: point.mac }
    }
}
