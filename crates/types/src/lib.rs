//! The vocabulary of the switch: identifiers, addresses of the wire and drop reasons, with the parsing
//! of each. Nothing here does I/O, and nothing here allocates except when it is printed.
#![forbid(unsafe_code)]

mod drop_reason;
mod leg;
mod mac_addr;
mod mirroring;
mod pass_rule;
mod port_id;
mod port_set;
mod session_id;
mod uplink_mode;
mod vlan_id;
mod vlan_mode;
mod worker_id;

pub use drop_reason::DropReason;
pub use leg::{LegId, LegSet, LegSetIter, MAX_LEGS};
pub use mac_addr::{MacAddr, ParseMacError};
pub use mirroring::{Mirroring, ParseMirroringError};
pub use pass_rule::{ParsePassRuleError, PassRule};
pub use port_id::{MAX_PORTS, PortId};
pub use port_set::{PortSet, PortSetIter};
pub use session_id::SessionId;
pub use uplink_mode::{ParseUplinkModeError, UplinkMode};
pub use vlan_id::{VlanId, VlanSet};
pub use vlan_mode::VlanMode;
pub use worker_id::{MAX_WORKERS, WorkerId};

/// Longest Ethernet frame the switch takes, in bytes without the FCS: a TSO frame of 64 KiB of IP packet
/// with an Ethernet header and one VLAN tag.
pub const MAX_FRAME_BYTES: u32 = 65_535 + 14 + 4;

/// Shortest Ethernet frame: two addresses and a type.
pub const MIN_FRAME_BYTES: u32 = 14;
