//! The forwarding decision: from the first bytes of a frame to the set of ports it goes to, and the VLAN tag it
//! carries there.
//!
//! [`decide`] runs on worker threads, once per frame. It reads a [`SwitchTable`], which never changes after it
//! was built, and the [`Fdb`], which all workers share. On that path nothing allocates, locks or panics.
#![forbid(unsafe_code)]

mod admit;
mod decide;
mod fdb;
mod parse;
#[cfg(test)]
mod reference_tests;
mod sync;
mod table;
mod tag_edit;

pub use admit::classify;
pub use decide::{Decision, DecisionKind, Inquiry, decide, inquire};
pub use fdb::{
    Address, EntryKind, Fdb, FdbCounts, FdbEntry, FdbSettings, FlushFilter, Learned, MAX_CAPACITY,
    StaticRefused,
};
pub use parse::{ETHERNET_HEADER_BYTES, L2, TAG_BYTES, TPID, Tci};
pub use table::{PortRole, PortSettings, SwitchTable};
pub use tag_edit::{TagEdit, egress_edit};
