//! Entries of the FDB, and which of them a request means.

use std::fmt;

use serde::{Deserialize, Serialize};

/// How an address came into the FDB.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum FdbEntryKind {
    /// Seen as the sender of a frame; it ages and can move to another port.
    Learned,
    /// Named in the configuration; it stays.
    Static,
}

impl fmt::Display for FdbEntryKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Learned => "learned",
            Self::Static => "static",
        })
    }
}

/// One address and the port behind which it is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FdbEntryInfo {
    /// The VLAN, or 0 for frames without one.
    pub vlan: u16,
    /// The address.
    pub mac: String,
    /// Name of the port.
    pub port: String,
    /// How it came into the FDB.
    pub kind: FdbEntryKind,
    /// Seconds since it was last seen, or up to a fiftieth of the ageing time less; 0 for a static entry.
    pub age_s: u64,
}

/// Which entries a request means; what is `None` does not restrict.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FdbFilter {
    /// Only those behind this port.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub port: Option<String>,
    /// Only those of this VLAN; 0 for frames without one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub vlan: Option<u16>,
}

impl FdbFilter {
    /// Whether `entry` is meant.
    #[must_use]
    pub fn matches(&self, entry: &FdbEntryInfo) -> bool {
        self.port.as_ref().is_none_or(|port| *port == entry.port)
            && self.vlan.is_none_or(|vlan| vlan == entry.vlan)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_filter_means_entries_that_agree_with_all_of_it() {
        let entry = FdbEntryInfo {
            vlan: 10,
            mac: "52:54:00:00:00:01".to_owned(),
            port: "columbia".to_owned(),
            kind: FdbEntryKind::Learned,
            age_s: 0,
        };
        let filter = |port: Option<&str>, vlan| FdbFilter { port: port.map(str::to_owned), vlan };
        assert!(filter(None, None).matches(&entry));
        assert!(filter(Some("columbia"), Some(10)).matches(&entry));
        assert!(!filter(Some("crusader"), Some(10)).matches(&entry));
        assert!(!filter(Some("columbia"), Some(0)).matches(&entry));
    }
}
