//! Mirror copies on their way through an IP network: the outer headers that carry a copy to a collector, and the reading
//! of such headers where copies arrive. ERSPAN types I, II and III, GRE with Ethernet in it, and VXLAN, over IPv4 and IPv6.
//!
//! Pure: no I/O, no clock, no shared state. The control thread compiles a [`Template`] per session and destination;
//! the worker that sends a copy asks it for a [`Plan`] and fills one [`OuterHeader`] per part of the plan. The worker that
//! receives asks [`parse()`], keeps a [`SequenceTracker`] per remote session, and a [`Reassembly`] for what comes in
//! fragments. What always holds: nothing here panics or, but for [`Reassembly::new`], allocates, and no loop has a bound that
//! a sender chooses.
//!
//! A remote VLAN (RSPAN) needs no outer header: its tag is an edit of the frame's own head, which is the switch's.
#![forbid(unsafe_code)]

mod copy_fields;
mod encapsulation;
mod erspan;
mod field;
mod fragment;
mod gre;
mod outer_header;
mod parse;
mod plan;
mod reader;
mod reassembly;
mod refusal;
mod sequence;
mod stream;
mod template;
mod underlay;
mod vxlan;

#[cfg(test)]
mod tests;

pub use copy_fields::{CopyFields, Direction, Timestamp};
pub use encapsulation::{Encapsulation, GreSequence, SubHeaderChoice, UdpChecksum};
pub use erspan::{ErspanII, ErspanIII, Granularity, Integrity, OriginalTag, SubHeader, Truncation};
pub use field::{Cos, Dscp, ErspanSession, HardwareId, SourceIndex, VlanField, Vni};
pub use fragment::Fragment;
pub use outer_header::{INNER_ROOM_BYTES, MAX_OUTER_BYTES, OuterHeader};
pub use parse::{Decapsulated, parse, parse_assembled};
pub use plan::{MAX_FRAGMENTS, NoFit, Oversize, Part, Path, Plan, SnapLen};
pub use reassembly::{Assembled, Buffers, FragmentCounts, MOST_DATAGRAMS, Reassembly, WAIT_NS};
pub use refusal::Refusal;
pub use sequence::{Arrival, SequenceCounts, SequenceTracker};
pub use stream::{RemoteSession, Stream, StreamKind};
pub use template::Template;
pub use underlay::{Addresses, DontFragment, IpVersion, OuterTag, Underlay};
pub use vxlan::VXLAN_PORT;
