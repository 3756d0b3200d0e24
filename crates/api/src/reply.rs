//! The small replies.

use helio_config::{PortFault, SessionFault};
use serde::{Deserialize, Serialize};

/// Why a request was refused. Sent with every status that is not a success.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ErrorReply {
    /// What is wrong, in one sentence.
    pub error: String,
    /// What to do about it; empty when the sentence says it all.
    #[serde(default)]
    pub hint: String,
    /// The same, setting by setting; empty when no setting is to blame.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub faults: Vec<FaultInfo>,
}

/// One setting that is wrong.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FaultInfo {
    /// Position of the destination it belongs to, counted from 0; left out for one of a port, or of a session itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub destination: Option<usize>,
    /// The key as it is in JSON, as `snap_len`.
    pub key: String,
    /// What is wrong and what to write instead, in one sentence with the spelling of a configuration file: `key = value`.
    pub message: String,
}

impl From<&PortFault> for FaultInfo {
    fn from(fault: &PortFault) -> Self {
        let key = fault.key.replace('-', "_");
        Self { destination: None, key, message: fault.message.clone() }
    }
}

impl From<&SessionFault> for FaultInfo {
    fn from(fault: &SessionFault) -> Self {
        let key = fault.key.replace('-', "_");
        Self { destination: fault.destination, key, message: fault.message.clone() }
    }
}

/// How many entries left the FDB.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FlushReply {
    /// Learned entries that were forgotten. Static ones stay.
    pub removed: u64,
}

/// The configuration as it is now.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConfigInfo {
    /// The text of a configuration file: what the switch started with, and what was added, changed and removed since.
    pub toml: String,
    /// Why that would be refused; empty when a switch would start with it. A session may have outlived ports it names.
    #[serde(default)]
    pub problems: Vec<String>,
}

/// Who answers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct VersionInfo {
    /// Version of the program.
    pub version: String,
    /// Process id of the switch.
    pub pid: u32,
}
