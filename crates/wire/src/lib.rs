//! The far ends of wires, for whoever measures switches that have uplinks: who sends, who counts, and the least that any
//! switch must do in between.
//!
//! A wire is a pair of veth interfaces. All of it is used by one thread, which owns the core of the generator; what it needs
//! of the kernel is gone when its values are dropped, or with the process.

mod bpf;
mod count;
mod forwarder;
mod sender;
mod socket;

pub use count::{Counted, WireCount};
pub use forwarder::Forwarder;
pub use sender::WireSender;
