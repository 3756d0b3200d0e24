//! The switch's figures as any script would read them from its JSON: only the keys it needs, by their names.

use std::collections::BTreeMap;

use serde::Deserialize;

/// One port, from `helio port list --json`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct PortFigures {
    /// Name of the port.
    pub name: String,
    /// What the switch does with it, in one word.
    pub state: String,
    /// `none`, `source` or `destination`.
    pub mirroring: String,
    /// Mirror session.
    pub session: u8,
    /// Frames the guest sent.
    pub ingress_frames: u64,
    /// Their bytes.
    pub ingress_bytes: u64,
    /// Frames delivered to the guest.
    pub egress_frames: u64,
    /// Their bytes.
    pub egress_bytes: u64,
    /// Frames refused, by reason.
    pub drops: BTreeMap<String, u64>,
    /// The interface, if the port is an uplink.
    pub uplink: Option<UplinkFigures>,
}

/// The interface of an uplink.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct UplinkFigures {
    /// The mode that was got; none while the interface is not open.
    pub mode: Option<String>,
    /// Frames that the kernel could not bring to the switch, by reason.
    pub kernel_drops: BTreeMap<String, u64>,
}

impl PortFigures {
    /// Frames refused, for whatever reason.
    #[must_use]
    pub fn dropped(&self) -> u64 {
        self.drops.values().sum()
    }
}

/// One session, from `helio mirror list --json`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct MirrorFigures {
    /// Number of the session.
    pub session: u8,
    /// Names of the watched ports.
    pub sources: Vec<String>,
    /// The watching ports.
    pub destinations: Vec<DestinationFigures>,
}

/// What became of the copies for one destination.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct DestinationFigures {
    /// Name of the port.
    pub port: String,
    /// Copies it should have had.
    pub wanted: u64,
    /// Copies it had.
    pub delivered: u64,
    /// Copies it did not have, by reason.
    pub dropped: BTreeMap<String, u64>,
}

impl DestinationFigures {
    /// Copies it did not have, for whatever reason.
    #[must_use]
    pub fn lost(&self) -> u64 {
        self.dropped.values().sum()
    }
}
