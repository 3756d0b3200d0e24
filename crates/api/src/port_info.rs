//! What a port is and does.

use std::collections::BTreeMap;
use std::fmt;

use helio_config::{Attachment, PortConfig, SocketMode, StaticMacEntry, VlanSetting};
use helio_types::Mirroring;
use serde::{Deserialize, Serialize};

use crate::{DecapInfo, TapInfo, UplinkInfo, mirroring_word};

/// What we do with a port, in one word.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum PortState {
    /// Not served: just added, or being removed.
    Down,
    /// Served, and waiting for something that [`PortInfo::detail`] names; no frame can pass.
    Waiting,
    /// Frames pass.
    Up,
    /// The guest or its front-end broke a rule that cost it the port; a reset of the guest brings it back.
    Faulted,
}

impl PortState {
    /// The word in JSON and in tables.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Down => "down",
            Self::Waiting => "waiting",
            Self::Up => "up",
            Self::Faulted => "faulted",
        }
    }
}

impl fmt::Display for PortState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// The memory that the front-end of a port shares.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MemoryInfo {
    /// Regions of guest memory.
    pub regions: usize,
    /// Bytes in them.
    pub bytes: u64,
    /// Whether the kernel keeps all of it from being truncated. Memory that is truncated while it is in use costs
    /// the port, and nothing else.
    pub sealed: bool,
}

impl fmt::Display for MemoryInfo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seal = if self.sealed { "sealed against truncation" } else { "not sealed" };
        let word = if self.regions == 1 { "region" } else { "regions" };
        write!(f, "{} MiB in {} {word}, {seal}", self.bytes >> 20, self.regions)
    }
}

/// A port: its state, its settings and its counters. Ingress is into the switch: what the guest sends.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PortInfo {
    /// Name of the port.
    pub name: String,
    /// What we do with it.
    pub state: PortState,
    /// One sentence: what the port waits for, or what went wrong.
    pub detail: String,
    /// Part it takes in mirroring.
    #[serde(with = "mirroring_word")]
    pub mirroring: Mirroring,
    /// Mirror session it takes part in.
    pub session: u8,
    /// Frames received from the guest.
    pub ingress_frames: u64,
    /// Bytes of those frames, without net header and FCS.
    pub ingress_bytes: u64,
    /// Frames delivered to the guest, mirror copies included.
    pub egress_frames: u64,
    /// Bytes of those frames, without net header and FCS.
    pub egress_bytes: u64,
    /// Frames refused at this port, by reason, in both directions. Mirror copies that were refused are
    /// counted on their session instead.
    pub drops: BTreeMap<String, u64>,
    /// Those of `drops` that the port had sent. Each chain that the guest sent is in here or in
    /// `ingress_frames`.
    #[serde(default)]
    pub ingress_drops: BTreeMap<String, u64>,
    /// Those of `drops` that were meant for the port.
    #[serde(default)]
    pub egress_drops: BTreeMap<String, u64>,
    /// Path of the vhost-user socket; empty for a port without one.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub socket: String,
    /// Which side of the socket the switch is; `None` for a port without one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mode: Option<SocketMode>,
    /// The interface of an uplink.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub uplink: Option<UplinkInfo>,
    /// The interface of a TAP port.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tap: Option<TapInfo>,
    /// Where the mirror streams arrive that the port takes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub decap: Option<DecapInfo>,
    /// Labels by which mirror sessions may call it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub labels: Vec<String>,
    /// The worker that serves it; `None` while there is none.
    pub worker: Option<usize>,
    /// The number by which ERSPAN tells collectors that a frame crossed this port; `None` while the port is not there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source_index: Option<usize>,
    /// VLAN membership.
    pub vlan: VlanSetting,
    /// MTU in bytes.
    pub mtu: u16,
    /// Whether frames that the port sends are refused.
    pub receive_only: bool,
    /// Queue pairs offered to the front-end; 0 for a port that has no guest.
    pub queue_pairs: u16,
    /// Queue pairs that the guest uses now.
    pub queue_pairs_active: u16,
    /// Most addresses learned behind the port.
    pub mac_limit: u32,
    /// Addresses that are behind the port without being learned.
    #[serde(default)]
    pub static_mac: Vec<StaticMacEntry>,
    /// The memory that the front-end shares; `None` before it does.
    #[serde(default)]
    pub memory: Option<MemoryInfo>,
    /// Features that switch and guest agreed on, by their VIRTIO names in lower case, as `guest_tso4`.
    pub features: Vec<String>,
}

impl PortInfo {
    /// The port of this plan, down, with all counters at zero.
    #[must_use]
    pub fn new(port: &PortConfig) -> Self {
        let (mut socket, mut uplink, mut tap, mut decap) = (None, None, None, None);
        match &port.attachment {
            Attachment::Vm(of_vm) => socket = Some(of_vm),
            Attachment::Uplink(interface) => uplink = Some(UplinkInfo::new(interface)),
            Attachment::Tap(interface) => tap = Some(TapInfo::new(interface)),
            Attachment::Decap(point) => decap = Some(DecapInfo::new(point)),
        }
        Self {
            name: port.name.clone(),
            state: PortState::Down,
            detail: "the port has not been started".to_owned(),
            mirroring: port.mirroring,
            session: port.session.0,
            ingress_frames: 0,
            ingress_bytes: 0,
            egress_frames: 0,
            egress_bytes: 0,
            drops: BTreeMap::new(),
            ingress_drops: BTreeMap::new(),
            egress_drops: BTreeMap::new(),
            socket: socket.map_or_else(String::new, |vm| vm.path.to_string_lossy().into_owned()),
            mode: socket.map(|vm| vm.mode),
            uplink,
            tap,
            decap,
            labels: port.labels.clone(),
            worker: port.worker.map(helio_types::WorkerId::index),
            source_index: None,
            vlan: VlanSetting::from(&port.vlan),
            mtu: port.mtu,
            receive_only: port.receive_only,
            queue_pairs: socket.map_or(0, |vm| vm.queue_pairs),
            queue_pairs_active: 0,
            mac_limit: port.mac_limit,
            static_mac: port.static_macs.iter().map(StaticMacEntry::from).collect(),
            memory: None,
            features: Vec::new(),
        }
    }

    /// Frames refused, whatever the reason.
    #[must_use]
    pub fn drops_total(&self) -> u64 {
        self.drops.values().fold(0, |sum, count| sum.saturating_add(*count))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn c104_memory_is_shown_with_its_seal() {
        let memory = MemoryInfo { regions: 2, bytes: 192 << 20, sealed: false };
        assert_eq!(memory.to_string(), "192 MiB in 2 regions, not sealed");
        let sealed = MemoryInfo { sealed: true, regions: 1, ..memory };
        assert_eq!(sealed.to_string(), "192 MiB in 1 region, sealed against truncation");
    }

    #[test]
    fn a_port_survives_json_and_has_the_keys_that_scripts_rely_on() {
        let config = PortConfig::new("columbia", "/run/helio/columbia.sock").unwrap();
        let mut port = PortInfo::new(&config);
        port.drops.insert("no-rx-buffer".to_owned(), 3);
        port.drops.insert("vlan".to_owned(), 4);
        let json = serde_json::to_value(&port).unwrap();
        for key in [
            "name",
            "state",
            "mirroring",
            "session",
            "ingress_frames",
            "ingress_bytes",
            "egress_frames",
            "egress_bytes",
            "drops",
        ] {
            assert!(json.get(key).is_some(), "{key}");
        }
        assert_eq!((&json["state"], &json["mirroring"]), (&"down".into(), &"none".into()));
        assert_eq!(port.drops_total(), 7);
        assert_eq!(serde_json::from_value::<PortInfo>(json).unwrap(), port);
    }
}
