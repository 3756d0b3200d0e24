//! The small replies.

use serde::{Deserialize, Serialize};

/// Why a request was refused. Sent with every status that is not a success.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ErrorReply {
    /// What is wrong, in one sentence.
    pub error: String,
    /// What to do about it; empty when the sentence says it all.
    #[serde(default)]
    pub hint: String,
}

/// How many entries left the FDB.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FlushReply {
    /// Learned entries that were forgotten. Static ones stay.
    pub removed: u64,
}

/// Who answers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct VersionInfo {
    /// Version of the program.
    pub version: String,
    /// Process id of the switch.
    pub pid: u32,
}
