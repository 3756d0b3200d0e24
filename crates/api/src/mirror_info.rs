//! What a mirror session watches, and what became of the copies.

use std::collections::BTreeMap;

use helio_config::{MirrorDestination, RemoteDestination, SessionConfig, SessionEntry};
use serde::{Deserialize, Serialize};

use crate::DestinationEntry;

/// One mirror session. It has a number, when ports take part in it by their own setting, or else a name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MirrorInfo {
    /// Number of the session.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub session: Option<u8>,
    /// Name of the session.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Whether all receive identical bytes even when the sender rewrites its buffer meanwhile.
    pub exact: bool,
    /// Names of the ports that are watched now, whether they were named or have a label.
    pub sources: Vec<String>,
    /// The ports and collectors that watch.
    pub destinations: Vec<MirrorDestinationInfo>,
    /// What a session with a name was told to do, with all defaults.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub settings: Option<SessionEntry>,
}

/// What a destination is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum MirrorDestinationKind {
    /// A port, which gets copies as they are.
    #[default]
    Port,
    /// A port, which gets copies on a VLAN of their own.
    Rspan,
    /// A collector in an IP network.
    Remote,
}

/// What became of the copies for one destination. `wanted` is always `delivered` plus all of `dropped`, in
/// frames and in bytes. Frames that sampling or the filter left out are not wanted; those beyond the rate are, and are
/// dropped. Counted are frames as on a wire, whereas sampling takes one in N of those that guests send.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct MirrorDestinationInfo {
    /// What it is.
    #[serde(default)]
    pub kind: MirrorDestinationKind,
    /// Name of the port; of a collector, the uplink by which it is reached.
    pub port: String,
    /// The VLAN on which a port gets copies of their own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub vlan: Option<u16>,
    /// The collector.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub remote: Option<RemoteInfo>,
    /// One sentence when no copy can arrive there now, or else empty.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub detail: String,
    /// Frames it should have received for this session.
    pub wanted: u64,
    /// Frames it did receive.
    pub delivered: u64,
    /// Frames it did not receive, by reason.
    pub dropped: BTreeMap<String, u64>,
    /// Bytes of the frames in `wanted`.
    pub wanted_bytes: u64,
    /// Bytes of the frames in `delivered`.
    pub delivered_bytes: u64,
    /// Bytes of the frames in `dropped`, by reason.
    pub dropped_bytes: BTreeMap<String, u64>,
}

/// A collector, and the way to it as it is now.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RemoteInfo {
    /// `erspan-1`, `erspan-2`, `erspan-3`, `gre` or `vxlan`.
    pub encapsulation: String,
    /// The session of ERSPAN, the key of GRE, or the network of VXLAN.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<u64>,
    /// Address of the switch itself, and the length of its network.
    pub local: String,
    /// Address of the collector.
    pub remote: String,
    /// One sentence: what is known of the next hop.
    pub neighbour: String,
    /// MAC address of the next hop, once it is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mac: Option<String>,
    /// Longest datagram that the path takes now, in bytes.
    pub path_mtu: u16,
    /// Frames of neighbours and routers that should have concerned this collector and were not believed, by reason. Collectors
    /// that share an address of the switch count each for itself. A router that says that a copy was too long concerns the
    /// collector to which, and in whose encapsulation, it quotes one; a quote that names none is counted nowhere.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub neighbour_refused: BTreeMap<String, u64>,
}

impl MirrorInfo {
    /// The session with this number, of which nothing is known yet.
    #[must_use]
    pub fn numbered(session: u8) -> Self {
        Self {
            session: Some(session),
            name: None,
            exact: false,
            sources: Vec::new(),
            destinations: Vec::new(),
            settings: None,
        }
    }

    /// The session of this plan, with no port watched and all counters at zero.
    #[must_use]
    pub fn named(session: &SessionConfig) -> Self {
        Self {
            session: None,
            name: Some(session.name.clone()),
            exact: session.exact,
            sources: Vec::new(),
            destinations: session.destinations.iter().map(MirrorDestinationInfo::new).collect(),
            settings: Some(SessionEntry::from(session.clone())),
        }
    }

    /// The name, or the number.
    #[must_use]
    pub fn title(&self) -> String {
        match (&self.name, self.session) {
            (Some(name), _) => name.clone(),
            (None, Some(session)) => session.to_string(),
            (None, None) => String::new(),
        }
    }
}

impl MirrorDestinationInfo {
    /// The destination of this plan, with all counters at zero.
    #[must_use]
    pub fn new(destination: &MirrorDestination) -> Self {
        let port = destination.port().to_owned();
        match destination {
            MirrorDestination::Port { .. } => Self { port, ..Self::default() },
            MirrorDestination::Rspan { vlan, .. } => Self {
                kind: MirrorDestinationKind::Rspan,
                port,
                vlan: Some(vlan.get()),
                ..Self::default()
            },
            MirrorDestination::Remote(remote) => Self {
                kind: MirrorDestinationKind::Remote,
                port,
                remote: Some(RemoteInfo::new(remote)),
                ..Self::default()
            },
        }
    }

    /// Frames it did not receive, whatever the reason.
    #[must_use]
    pub fn dropped_total(&self) -> u64 {
        self.dropped.values().fold(0, |sum, count| sum.saturating_add(*count))
    }
}

impl RemoteInfo {
    /// The collector of this plan, to which no way is known.
    #[must_use]
    pub fn new(remote: &RemoteDestination) -> Self {
        let entry = DestinationEntry::from(remote);
        Self {
            encapsulation: entry.encapsulation.unwrap_or_default(),
            id: entry.id,
            local: entry.local.unwrap_or_default(),
            remote: remote.remote.to_string(),
            neighbour: "the next hop has not been asked for".to_owned(),
            mac: entry.remote_mac,
            path_mtu: remote.mtu,
            neighbour_refused: BTreeMap::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_session_has_the_keys_that_scripts_rely_on() {
        let json = serde_json::json!([{
            "session": 0, "exact": false, "sources": ["columbia"],
            "destinations": [{
                "port": "sniffie", "wanted": 3, "delivered": 2, "dropped": {"no-rx-buffer": 1},
                "wanted_bytes": 180, "delivered_bytes": 120, "dropped_bytes": {"no-rx-buffer": 60},
                "kind": "port"
            }]
        }]);
        let sessions: Vec<MirrorInfo> = serde_json::from_value(json.clone()).unwrap();
        assert_eq!(sessions[0].destinations[0].dropped["no-rx-buffer"], 1);
        assert_eq!(serde_json::to_value(&sessions).unwrap(), json);
        assert_eq!(sessions[0].title(), "0");
    }

    #[test]
    fn a_session_with_a_name_tells_its_settings_and_what_each_destination_is() {
        let session: SessionConfig = serde_json::from_value(serde_json::json!({
            "name": "sql", "source_labels": ["sql"], "filter": "tcp port 1433", "exact": true,
            "destination": [
                {"port": "sniffie"},
                {"port": "uplink0", "rspan_vlan": 99},
                {"uplink": "uplink0", "encapsulation": "erspan-2", "id": 7, "local": "10.0.0.1/24",
                 "remote": "10.0.0.9", "remote_mac": "52:54:00:00:00:09"}
            ]
        }))
        .unwrap();
        let info = MirrorInfo::named(&session);
        let json = serde_json::to_value(&info).unwrap();
        assert_eq!((&json["name"], &json["exact"]), (&"sql".into(), &true.into()));
        assert!(json.get("session").is_none());
        assert_eq!(json["settings"]["filter"], "tcp port 1433");
        let destinations = &json["destinations"];
        assert_eq!(destinations[0]["kind"], "port");
        assert_eq!(
            (&destinations[1]["kind"], &destinations[1]["vlan"]),
            (&"rspan".into(), &99.into())
        );
        let remote = &destinations[2]["remote"];
        for (key, value) in [
            ("encapsulation", "erspan-2".into()),
            ("id", 7.into()),
            ("local", "10.0.0.1/24".into()),
            ("remote", "10.0.0.9".into()),
            ("mac", "52:54:00:00:00:09".into()),
            ("path_mtu", serde_json::Value::from(1500)),
        ] {
            assert_eq!(remote[key], value, "{key}");
        }
        assert_eq!(serde_json::from_value::<MirrorInfo>(json).unwrap(), info);
        assert_eq!(info.title(), "sql");
    }
}
