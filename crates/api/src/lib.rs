//! Requests and replies between the running switch and the command line.
//!
//! Plain values that turn into JSON and back; nothing here does I/O or knows a thread. Numbers count from
//! the start of the port, session or worker they belong to, and never go back while it lives. Keys are in
//! `snake_case`; a key is never renamed or given another meaning, only added.
#![forbid(unsafe_code)]

mod chunk_info;
mod decap_info;
mod fdb_info;
mod mirror_info;
mod mirroring_word;
mod port_info;
mod qemu_args;
mod reply;
mod tap_info;
mod uplink_info;
mod worker_info;

pub use chunk_info::ChunkInfo;
pub use decap_info::{DecapInfo, FragmentInfo, RemoteSessionInfo};
pub use fdb_info::{FdbEntryInfo, FdbEntryKind, FdbFilter};
pub use helio_config::{
    Attachment, DEFAULT_CONTROL, DecapEntry, DestinationEntry, PortConfig, PortEntry, PortSettings,
    SessionConfig, SessionEntry, SessionSettings, SettingsEntry, SocketMode, StaticMacEntry,
    VlanSetting,
};
pub use mirror_info::{MirrorDestinationInfo, MirrorDestinationKind, MirrorInfo, RemoteInfo};
pub use port_info::{MemoryInfo, PortInfo, PortState};
pub use qemu_args::{QemuArgs, QemuRequest};
pub use reply::{ConfigInfo, ErrorReply, FaultInfo, FlushReply, VersionInfo};
pub use tap_info::TapInfo;
pub use uplink_info::UplinkInfo;
pub use worker_info::{TurnTimes, WorkerInfo};
