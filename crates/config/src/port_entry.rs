//! A port as people write it, and the checks that turn it into a [`PortConfig`].

use std::collections::HashSet;
use std::str::FromStr;

use helio_types::{MacAddr, Mirroring, SessionId, VlanMode, WorkerId};
use serde::{Deserialize, Serialize};

use crate::nearest::nearest;
use crate::port::{StaticMac, check_label, check_port_name};
use crate::problem::Faults;
use crate::range::within;
use crate::session_entry::each_once;
use crate::vlan_setting::{VlanSetting, vlan_id};
use crate::{DecapEntry, PortConfig, PortError};

/// A port as written, in TOML and in JSON: nothing is checked yet, and `None` stands for the default.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PortEntry {
    /// Name of the port.
    pub name: String,
    /// Path of the vhost-user socket; empty for an uplink and a TAP.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub socket: String,
    /// The interface of an uplink.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub interface: Option<String>,
    /// The interface that a TAP port makes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tap: Option<String>,
    /// `server` or `client`; of an uplink `auto`, `zero-copy`, `copy` or `skb`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mode: Option<String>,
    /// `none`, `source` or `destination`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mirroring: Option<String>,
    /// Mirror session, 0 to 255.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub session: Option<u64>,
    /// VLAN membership.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub vlan: Option<VlanSetting>,
    /// MTU in bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mtu: Option<u64>,
    /// Whether frames that the port sends are refused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub receive_only: Option<bool>,
    /// Position of its worker in the configuration.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub worker: Option<u64>,
    /// Queue pairs offered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub queue_pairs: Option<u64>,
    /// Queues that an uplink uses.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub queues: Option<u64>,
    /// Frames that an uplink leaves to the host.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub pass: Vec<String>,
    /// Most addresses learned.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mac_limit: Option<u64>,
    /// Addresses known without learning.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub static_mac: Vec<StaticMacEntry>,
    /// Where mirror streams arrive that the port takes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub decap: Option<DecapEntry>,
    /// Labels by which mirror sessions may call it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub labels: Vec<String>,
}

/// A static address as written: the address alone, or with its VLAN.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum StaticMacEntry {
    /// `"52:54:00:12:34:56"`
    Mac(String),
    /// `{ mac = "52:54:00:12:34:56", vlan = 10 }`
    MacOnVlan {
        /// The address.
        mac: String,
        /// Its VLAN, 1 to 4094.
        vlan: u64,
    },
}

impl PortEntry {
    /// Name and socket of a VM port, and the defaults for all else.
    #[must_use]
    pub fn new(name: &str, socket: &str) -> Self {
        Self { name: name.to_owned(), socket: socket.to_owned(), ..Self::default() }
    }

    /// The checked port.
    ///
    /// # Errors
    ///
    /// All keys that are wrong, each with a sentence that says what to write instead.
    pub fn check(&self) -> Result<PortConfig, PortError> {
        let mut faults = Faults::default();
        let checked = self.check_into(&mut faults);
        faults.none_or(checked)
    }

    /// Every check is made before the first `?`, so that one call names all faults.
    fn check_into(&self, faults: &mut Faults) -> Option<PortConfig> {
        let name = faults.keep("name", check_port_name(&self.name).map(|()| self.name.clone()));
        let attachment = self.check_attachment(faults);
        let mirroring = faults.keep("mirroring", mirroring(self.mirroring.as_deref()));
        let session = faults.keep("session", session_id(self.session.unwrap_or(0)));
        let vlan = faults.keep("vlan", self.vlan.clone().unwrap_or_default().mode());
        let mtu = faults.keep("mtu", mtu(self.mtu.unwrap_or(u64::from(PortConfig::DEFAULT_MTU))));
        let worker = faults.keep("worker", self.worker.map(worker_id).transpose());
        let mac_limit = self.mac_limit.unwrap_or(u64::from(PortConfig::DEFAULT_MAC_LIMIT));
        let mac_limit = faults.keep("mac-limit", within("mac-limit", mac_limit, 1..=1_048_576));
        let static_macs =
            vlan.as_ref().and_then(|vlan| faults.keep("static-mac", self.check_static_macs(vlan)));
        let labels = faults.keep("labels", labels(&self.labels));
        let receive_only = self.receive_only.unwrap_or(false);
        if receive_only && mirroring == Some(Mirroring::Source) {
            faults.add("receive-only", RECEIVE_ONLY_SOURCE.to_owned());
        }
        Some(PortConfig {
            name: name?,
            attachment: attachment?,
            mirroring: mirroring?,
            session: session?,
            vlan: vlan?,
            mtu: mtu?,
            receive_only,
            worker: worker?,
            mac_limit: mac_limit?,
            static_macs: static_macs?,
            labels: labels?,
        })
    }

    fn check_static_macs(&self, vlan: &VlanMode) -> Result<Vec<StaticMac>, String> {
        let mut macs = Vec::with_capacity(self.static_mac.len());
        let mut seen = HashSet::new();
        for entry in &self.static_mac {
            let entry = check_static_mac(entry, vlan)?;
            // An entry without a VLAN and one that names the VLAN it stands for are the same.
            if !seen.insert((entry.vlan.or(vlan.untagged_vlan()), entry.mac)) {
                let mac = entry.mac;
                return Err(format!("static-mac {mac} is there twice; keep one of the two"));
            }
            macs.push(entry);
        }
        Ok(macs)
    }
}

const RECEIVE_ONLY_SOURCE: &str = "a receive-only port sends nothing that could be watched; write mirroring = \"destination\" or \"none\", or let it send";

/// Whether `path` can be bound at all: the kernel's address has room for 107 bytes. See unix(7).
pub(crate) fn check_socket_path(key: &str, path: &str) -> Result<(), String> {
    if path.is_empty() {
        return Err(format!("{key} is empty; write a path, as in \"/run/helio/columbia.sock\""));
    }
    if path.contains('\0') {
        return Err(format!("{key} has a zero byte in its path; write a path without it"));
    }
    if path.len() > PortConfig::MAX_SOCKET_BYTES {
        return Err(format!(
            "{key} is a path of {} bytes, and a Unix socket has room for {}; write a shorter path",
            path.len(),
            PortConfig::MAX_SOCKET_BYTES
        ));
    }
    Ok(())
}

pub(crate) fn mirroring(word: Option<&str>) -> Result<Mirroring, String> {
    let word = word.unwrap_or(Mirroring::None.name());
    Mirroring::from_str(word)
        .map_err(|_| wrong_word("mirroring", word, &["none", "source", "destination"]))
}

/// The sentence for a word that is none of `known`.
pub(crate) fn wrong_word(key: &str, written: &str, known: &[&str]) -> String {
    match nearest(written, known) {
        Some(meant) => format!("{key} = {written:?} is not known; did you mean {meant:?}?"),
        None => {
            let known: Vec<_> = known.iter().map(|word| format!("{word:?}")).collect();
            format!("{key} = {written:?} is not known; write {}", known.join(" or "))
        }
    }
}

pub(crate) fn session_id(number: u64) -> Result<SessionId, String> {
    within("session", number, 0..=255).map(SessionId)
}

pub(crate) fn mtu(bytes: u64) -> Result<u16, String> {
    within("mtu", bytes, 68..=65_535)
}

pub(crate) fn labels(labels: &[String]) -> Result<Vec<String>, String> {
    each_once("labels", labels, |label: &String| check_label(label).map(|()| label.clone()))
}

fn worker_id(position: u64) -> Result<WorkerId, String> {
    let index = within("worker", position, 0..=63)?;
    WorkerId::new(index).ok_or_else(|| format!("worker = {position} is no worker"))
}

fn check_static_mac(entry: &StaticMacEntry, mode: &VlanMode) -> Result<StaticMac, String> {
    let (text, vlan) = match entry {
        StaticMacEntry::Mac(text) => (text, None),
        StaticMacEntry::MacOnVlan { mac, vlan } => (mac, Some(vlan_id("vlan", *vlan)?)),
    };
    let mac = MacAddr::from_str(text).map_err(|error| format!("static-mac {text:?}: {error}"))?;
    if mac.is_group() {
        return Err(format!("static-mac {text} is a group address; write the address of one card"));
    }
    match vlan.or(mode.untagged_vlan()) {
        Some(member) if mode.is_member(member) => Ok(StaticMac { mac, vlan }),
        Some(stranger) => Err(format!(
            "static-mac {text} is on VLAN {stranger}, of which the port is no member; write one of its VLANs"
        )),
        None => Err(format!(
            "static-mac {text} names no VLAN, and the trunk has no native one; write {{ mac = {text:?}, vlan = 10 }}"
        )),
    }
}

impl TryFrom<PortEntry> for PortConfig {
    type Error = PortError;

    fn try_from(entry: PortEntry) -> Result<Self, PortError> {
        entry.check()
    }
}

impl From<PortConfig> for PortEntry {
    fn from(port: PortConfig) -> Self {
        let mut entry = Self {
            mirroring: Some(port.mirroring.name().to_owned()),
            session: Some(u64::from(port.session.0)),
            vlan: Some(VlanSetting::from(&port.vlan)),
            mtu: Some(u64::from(port.mtu)),
            receive_only: Some(port.receive_only),
            worker: port.worker.and_then(|worker| u64::try_from(worker.index()).ok()),
            mac_limit: Some(u64::from(port.mac_limit)),
            static_mac: port.static_macs.iter().map(StaticMacEntry::from).collect(),
            labels: port.labels,
            name: port.name,
            ..Self::default()
        };
        port.attachment.write_to(&mut entry);
        entry
    }
}

impl From<&StaticMac> for StaticMacEntry {
    fn from(entry: &StaticMac) -> Self {
        let mac = entry.mac.to_string();
        match entry.vlan {
            None => Self::Mac(mac),
            Some(vlan) => Self::MacOnVlan { mac, vlan: u64::from(vlan.get()) },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn columbia() -> PortEntry {
        PortEntry::new("columbia", "/run/helio/columbia.sock")
    }

    fn faulty_keys(entry: &PortEntry) -> Vec<&'static str> {
        entry.check().unwrap_err().faults.iter().map(|fault| fault.key).collect()
    }

    #[test]
    fn every_setting_survives_json() {
        let json = r#"{"name":"columbia","socket":"/run/columbia.sock","mode":"client",
            "mirroring":"destination","session":7,"vlan":{"trunk":[10,20],"native":1},"mtu":1500,
            "receive_only":true,"worker":1,"queue_pairs":4,"mac_limit":16,
            "static_mac":["52:54:00:00:00:01",{"mac":"52:54:00:00:00:02","vlan":20}]}"#;
        let port: PortConfig = serde_json::from_str(json).unwrap();
        let crate::Attachment::Vm(socket) = &port.attachment else { panic!("{port:?}") };
        assert_eq!((socket.mode, socket.queue_pairs), (crate::SocketMode::Client, 4));
        assert_eq!(port.session, SessionId(7));
        assert_eq!(port.static_entries().count(), 2);
        let again = serde_json::to_value(&port).unwrap();
        assert_eq!(again, serde_json::from_str::<serde_json::Value>(json).unwrap());
    }

    #[test]
    fn c162_a_socket_path_of_107_bytes_is_accepted_and_one_of_108_is_refused() {
        let mut entry = columbia();
        entry.socket = format!("/{}", "s".repeat(106));
        assert!(entry.check().is_ok());
        entry.socket.push('s');
        let error = entry.check().unwrap_err().to_string();
        assert!(error.contains("108 bytes") && error.contains("room for 107"), "{error}");
    }

    #[test]
    fn all_faults_of_a_port_are_named_at_once() {
        let entry = PortEntry {
            name: "a b".to_owned(),
            mode: Some("sever".to_owned()),
            mtu: Some(67),
            session: Some(256),
            queue_pairs: Some(129),
            ..columbia()
        };
        assert_eq!(faulty_keys(&entry), ["name", "mode", "queue-pairs", "session", "mtu"]);
        assert!(entry.check().unwrap_err().to_string().contains("did you mean \"server\"?"));
    }

    #[test]
    fn a_receive_only_port_is_a_destination_of_a_numbered_session_or_of_named_ones_and_no_source() {
        let mut entry = PortEntry { receive_only: Some(true), ..columbia() };
        assert!(entry.check().is_ok());
        entry.mirroring = Some("source".to_owned());
        assert_eq!(faulty_keys(&entry), ["receive-only"]);
        entry.mirroring = Some("destination".to_owned());
        assert!(entry.check().is_ok());
    }

    #[test]
    fn a_static_address_needs_a_vlan_that_the_port_is_a_member_of() {
        let mac = "52:54:00:00:00:01";
        let mut entry =
            PortEntry { static_mac: vec![StaticMacEntry::Mac(mac.to_owned())], ..columbia() };
        assert!(entry.check().is_ok());
        entry.vlan = Some(VlanSetting { trunk: Some(vec![10]), ..VlanSetting::default() });
        assert_eq!(faulty_keys(&entry), ["static-mac"]);
        entry.static_mac = vec![StaticMacEntry::MacOnVlan { mac: mac.to_owned(), vlan: 10 }];
        assert!(entry.check().is_ok());
        entry.static_mac = vec![StaticMacEntry::MacOnVlan { mac: mac.to_owned(), vlan: 11 }];
        assert_eq!(faulty_keys(&entry), ["static-mac"]);
    }

    #[test]
    fn an_address_is_static_once_in_each_vlan() {
        let mac = || "52:54:00:00:00:01".to_owned();
        let on = |vlan| StaticMacEntry::MacOnVlan { mac: mac(), vlan };
        let trunk =
            VlanSetting { trunk: Some(vec![10]), native: Some(1), ..VlanSetting::default() };
        let mut entry = PortEntry { vlan: Some(trunk), ..columbia() };
        entry.static_mac = vec![on(10), StaticMacEntry::Mac(mac())];
        assert!(entry.check().is_ok());
        entry.static_mac.push(on(1));
        assert_eq!(faulty_keys(&entry), ["static-mac"]);
    }

    #[test]
    fn a_group_address_cannot_be_static() {
        let group = StaticMacEntry::Mac("01:00:5e:00:00:01".to_owned());
        let entry = PortEntry { static_mac: vec![group], ..columbia() };
        assert_eq!(faulty_keys(&entry), ["static-mac"]);
    }
}
