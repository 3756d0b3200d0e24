//! Changes to a named mirror session while frames flow.

use serde::{Deserialize, Serialize};

use crate::{DestinationEntry, SessionConfig, SessionEntry, SessionError};

/// Changes to a session, as written in JSON: what is `None` stays as it is, and a list takes the place of the whole old
/// one. Nothing is checked before [`SessionSettings::applied_to`].
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SessionSettings {
    /// New source ports, all of them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source_ports: Option<Vec<String>>,
    /// New source labels, all of them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source_labels: Option<Vec<String>>,
    /// New source VLANs, all of them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source_vlans: Option<Vec<u64>>,
    /// New source addresses, all of them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source_macs: Option<Vec<String>>,
    /// `ingress`, `egress` or `both`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub direction: Option<String>,
    /// New filter; an empty text takes it away.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub filter: Option<String>,
    /// Most bytes of each copy; 0: all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub snap_len: Option<u64>,
    /// One frame in so many is wanted, as guests send them: one of TSO counts once. 1: all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sample: Option<u64>,
    /// Most bytes of copies in a second, instead of any rate there was; 0: no limit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rate_bytes_per_s: Option<u64>,
    /// Bytes that may leave at once after a silence.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rate_burst_bytes: Option<u64>,
    /// Most copies in a second, instead of any rate there was; 0: no limit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rate_frames_per_s: Option<u64>,
    /// Copies that may leave at once after a silence.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rate_burst_frames: Option<u64>,
    /// Whether every frame is copied once into private memory first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exact: Option<bool>,
    /// Whether frames are copied that the switch refused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub include_dropped: Option<bool>,
    /// New destinations, all of them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub destination: Option<Vec<DestinationEntry>>,
}

impl SessionSettings {
    /// Whether nothing would change, whatever the session.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// `session` with these changes, checked as a whole.
    ///
    /// # Errors
    ///
    /// A change is wrong in itself, or does not fit what stays.
    pub fn applied_to(&self, session: &SessionConfig) -> Result<SessionConfig, SessionError> {
        let mut entry = SessionEntry::from(session.clone());
        replace(&mut entry.source_ports, self.source_ports.as_ref());
        replace(&mut entry.source_labels, self.source_labels.as_ref());
        replace(&mut entry.source_vlans, self.source_vlans.as_ref());
        replace(&mut entry.source_macs, self.source_macs.as_ref());
        replace(&mut entry.destination, self.destination.as_ref());
        if let Some(filter) = &self.filter {
            entry.filter = (!filter.is_empty()).then(|| filter.clone());
        }
        if let Some(bytes) = self.snap_len {
            entry.snap_len = not_zero(bytes);
        }
        self.change_rate(&mut entry);
        entry.direction = self.direction.clone().or(entry.direction);
        entry.sample = self.sample.or(entry.sample);
        entry.exact = self.exact.or(entry.exact);
        entry.include_dropped = self.include_dropped.or(entry.include_dropped);
        entry.check()
    }

    fn change_rate(&self, entry: &mut SessionEntry) {
        if self.rate_bytes_per_s.is_some() || self.rate_frames_per_s.is_some() {
            // A new rate has a burst of its own.
            (entry.rate_burst_bytes, entry.rate_burst_frames) = (None, None);
            entry.rate_bytes_per_s = self.rate_bytes_per_s.and_then(not_zero);
            entry.rate_frames_per_s = self.rate_frames_per_s.and_then(not_zero);
        }
        entry.rate_burst_bytes = self.rate_burst_bytes.or(entry.rate_burst_bytes);
        entry.rate_burst_frames = self.rate_burst_frames.or(entry.rate_burst_frames);
    }
}

fn replace<T: Clone>(list: &mut Vec<T>, new: Option<&Vec<T>>) {
    if let Some(new) = new {
        list.clone_from(new);
    }
}

fn not_zero(number: u64) -> Option<u64> {
    (number != 0).then_some(number)
}
