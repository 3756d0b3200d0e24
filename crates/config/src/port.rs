//! The checked plan of one port.

use std::fmt;

use helio_types::{MacAddr, Mirroring, SessionId, VlanId, VlanMode, WorkerId};
use serde::{Deserialize, Serialize};

use crate::{Attachment, PortEntry, PortError};

/// Which side of the vhost-user socket the switch is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SocketMode {
    /// The switch listens, the front-end connects.
    #[default]
    Server,
    /// The front-end listens; the switch connects, and connects again when the connection is lost.
    Client,
}

impl SocketMode {
    /// The word in configuration and on the command line.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Server => "server",
            Self::Client => "client",
        }
    }
}

impl fmt::Display for SocketMode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// An address that is known to be behind a port without being learned.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct StaticMac {
    /// The address; never a group address.
    pub mac: MacAddr,
    /// Its VLAN; `None` stands for the VLAN of the untagged frames of the port.
    pub vlan: Option<VlanId>,
}

/// A port as it shall be. Made by [`PortEntry::check`], which is also what its JSON form goes through.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "PortEntry", into = "PortEntry")]
pub struct PortConfig {
    /// 1 to 63 letters, digits, `_`, `.` and `-`; unique in the switch.
    pub name: String,
    /// What it is attached to.
    pub attachment: Attachment,
    /// Part the port takes in mirroring.
    pub mirroring: Mirroring,
    /// Mirror session it takes part in.
    pub session: SessionId,
    /// VLAN membership.
    pub vlan: VlanMode,
    /// Longest IP packet delivered unsegmented, in bytes: the frame without Ethernet header and tag.
    pub mtu: u16,
    /// Whether frames that the port sends are refused. Not for a source.
    pub receive_only: bool,
    /// The worker to serve it; `None` lets the switch choose.
    pub worker: Option<WorkerId>,
    /// Most addresses learned behind the port.
    pub mac_limit: u32,
    /// Addresses that are behind the port without being learned.
    pub static_macs: Vec<StaticMac>,
    /// What mirror sessions may call it by, with other ports: names like those of ports, none of them twice.
    pub labels: Vec<String>,
}

impl PortConfig {
    /// MTU of a port that names none, in bytes.
    pub const DEFAULT_MTU: u16 = 9000;
    /// Addresses learned behind a port that names no limit.
    pub const DEFAULT_MAC_LIMIT: u32 = 4096;
    /// Longest path of a Unix socket, in bytes without the final zero. See unix(7).
    pub const MAX_SOCKET_BYTES: usize = 107;

    /// A VM port with all settings at their defaults.
    ///
    /// # Errors
    ///
    /// The name or the path is not allowed.
    pub fn new(name: &str, socket: &str) -> Result<Self, PortError> {
        PortEntry::new(name, socket).check()
    }

    /// The static addresses with the VLANs they belong to.
    pub fn static_entries(&self) -> impl Iterator<Item = (VlanId, MacAddr)> + '_ {
        let own = self.vlan.untagged_vlan();
        self.static_macs.iter().filter_map(move |entry| Some((entry.vlan.or(own)?, entry.mac)))
    }
}

/// Whether `name` can be the name of a port.
///
/// # Errors
///
/// A sentence that says what to write. A name begins with a letter, a digit or `_`, so that it can neither
/// be taken for an option on a command line nor for a directory in a path.
pub fn check_port_name(name: &str) -> Result<(), String> {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"_.-".contains(&byte);
    let starts_well = name.bytes().next().is_some_and(|byte| byte != b'.' && byte != b'-');
    if starts_well && name.len() <= 63 && name.bytes().all(allowed) {
        return Ok(());
    }
    Err(format!(
        "{name:?} cannot be the name of a port; write 1 to 63 letters, digits, \"_\", \".\" or \"-\", not beginning with \".\" or \"-\""
    ))
}

/// Whether `label` can be a label of ports.
pub(crate) fn check_label(label: &str) -> Result<(), String> {
    check_port_name(label).map_err(|text| text.replace("the name of a port", "a label"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_has_1_to_63_plain_letters() {
        for good in ["a", "sniffie", "VM_1.eth-0", &"x".repeat(63)] {
            assert_eq!(check_port_name(good), Ok(()), "{good}");
        }
        for bad in ["", "a b", "a/b", "..", "-x", "größe", &"x".repeat(64)] {
            assert!(check_port_name(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_static_address_without_a_vlan_belongs_to_the_untagged_vlan_of_its_port() {
        let mut port = PortConfig::new("columbia", "/run/columbia.sock").unwrap();
        let mac = "52:54:00:12:34:56".parse().unwrap();
        port.static_macs = vec![StaticMac { mac, vlan: None }];
        assert_eq!(port.static_entries().collect::<Vec<_>>(), [(VlanId::UNTAGGED, mac)]);
        port.vlan = VlanMode::Access(VlanId::new(10).unwrap());
        assert_eq!(port.static_entries().collect::<Vec<_>>(), [(VlanId::new(10).unwrap(), mac)]);
    }
}
