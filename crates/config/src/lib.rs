//! Configuration text to a checked, typed plan.
//!
//! Runs on the thread that starts the program and on control threads, never on a worker. A value of
//! [`Config`] or [`PortConfig`] that came out of this crate has passed every check that does not need the
//! host; [`check_host`] makes the ones that do.
#![forbid(unsafe_code)]

mod attachment;
mod decap;
mod destination_entry;
mod encapsulation_entry;
mod host;
mod key_values;
mod nearest;
mod own_address;
mod plan;
mod port;
mod port_entry;
mod port_settings;
mod problem;
mod range;
mod read;
mod read_mirror;
mod session;
mod session_entry;
mod session_fits;
mod session_settings;
mod socket_access;
mod stream_loop;
mod table;
mod underlay;
mod vlan_setting;
mod write;

pub use attachment::{Attachment, TapInterface, UplinkInterface, VmSocket};
pub use decap::{DecapEntry, DecapPoint};
pub use destination_entry::DestinationEntry;
pub use encapsulation_entry::encapsulation_name;
pub use host::{HostError, check_host};
pub use plan::{Config, DEFAULT_CONTROL, MirrorConfig, PollMode, SwitchConfig, WorkerConfig};
pub use port::{PortConfig, SocketMode, StaticMac, check_port_name};
pub use port_entry::{PortEntry, StaticMacEntry};
pub use port_settings::{PortSettings, SettingsEntry};
pub use problem::{ConfigError, PortError, PortFault, Problem, SessionError, SessionFault};
pub use read_mirror::FilterCheck;
pub use session::{
    MAX_DESTINATIONS, MirrorDestination, MirrorDirection, MirrorRate, RemoteDestination,
    SessionConfig, Sources,
};
pub use session_entry::{SessionEntry, check_session_name};
pub use session_settings::SessionSettings;
pub use socket_access::{SocketAccess, SocketGroup};
pub use vlan_setting::VlanSetting;
