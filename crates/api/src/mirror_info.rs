//! What a mirror session watches, and what became of the copies.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// One mirror session.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MirrorInfo {
    /// Number of the session.
    pub session: u8,
    /// Whether all receive identical bytes even when the sender rewrites its buffer meanwhile.
    pub exact: bool,
    /// Names of the ports that are watched.
    pub sources: Vec<String>,
    /// The ports that watch.
    pub destinations: Vec<MirrorDestinationInfo>,
}

/// What became of the copies for one destination. `wanted` is always `delivered` plus all of `dropped`, in
/// frames and in bytes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MirrorDestinationInfo {
    /// Name of the port.
    pub port: String,
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_session_has_the_keys_that_scripts_rely_on() {
        let json = serde_json::json!([{
            "session": 0, "exact": false, "sources": ["columbia"],
            "destinations": [{
                "port": "sniffie", "wanted": 3, "delivered": 2, "dropped": {"no-rx-buffer": 1},
                "wanted_bytes": 180, "delivered_bytes": 120, "dropped_bytes": {"no-rx-buffer": 60}
            }]
        }]);
        let sessions: Vec<MirrorInfo> = serde_json::from_value(json.clone()).unwrap();
        assert_eq!(sessions[0].destinations[0].dropped["no-rx-buffer"], 1);
        assert_eq!(serde_json::to_value(&sessions).unwrap(), json);
    }
}
