//! The neighbour that mirror copies go to when they leave the host encapsulated. The switch has the interface of an uplink
//! for itself, so the host's kernel resolves nothing there: each encapsulated destination has an address of ours, finds
//! its next hop by ARP or by neighbour discovery, answers those who ask for that address, and heeds routers that say
//! that copies are too long.
//!
//! Pure: no I/O, no clock, no shared state. The control thread checks an [`Endpoint`]; the worker that owns the uplink
//! drives its [`Neighbour`]: [`Neighbour::turn`] now and then, [`Neighbour::observe`] with each frame of which
//! [`Endpoint::may_concern`] says so, [`Neighbour::use_mac`] per copy. What always holds: nothing here allocates or
//! panics, no loop has a bound that a sender chooses, and nothing that nobody asked for makes an unknown neighbour known.
#![forbid(unsafe_code)]

mod arp;
mod claim;
mod endpoint;
mod ethernet;
mod icmp;
mod ndisc;
mod neighbour;
mod observed;
mod own_frame;
mod path_mtu;
mod resolution;
mod settings;

pub use endpoint::Endpoint;
pub use neighbour::Neighbour;
pub use observed::{Observed, Refusal, RefusalCounts};
pub use own_frame::{MAX_OWN_FRAME_BYTES, OwnFrame};
pub use path_mtu::{PathMtu, PathMtuError};
pub use resolution::NeighbourState;
pub use settings::{Carrier, EndpointError, EndpointSettings, UnderlayTag};

/// Settings take it: an address with the length of its prefix, written like `192.0.2.10/24`.
pub use ipnet::IpNet;
