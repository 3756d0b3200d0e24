//! Uplinks: ports on interfaces of the host, by AF_XDP.
//!
//! An uplink has two halves. [`UplinkPort`] goes to a worker, which receives and sends through the rings of the sockets.
//! [`UplinkHandle`] stays with control: its thread opens the interface, hands the rings to the worker, watches the link,
//! takes the rings back when the interface goes away, and opens it again when it comes back.

mod book;
#[cfg(test)]
mod book_random_tests;
mod busy_poll;
mod census;
mod chunk_set;
mod control_thread;
mod ethtool;
mod handle;
mod in_place;
mod insistence;
mod noted;
mod opening;
mod parts;
mod port;
mod prepared;
mod program;
mod promiscuous;
mod receiver;
mod sender;
mod shared_umem;
mod sockets;
mod status;
mod umem;
mod waker;
mod window;

// What the tests of whole uplinks have, too.
#[cfg(test)]
#[allow(dead_code, unreachable_pub, reason = "shared by several test programs")]
#[path = "../tests/support/far_end.rs"]
mod far_end;
#[cfg(test)]
#[allow(dead_code, unreachable_pub, reason = "shared by several test programs")]
#[path = "../tests/support/wire.rs"]
mod wire;

pub use census::Census;
pub use handle::UplinkHandle;
pub use helio_host::{PortEvent as UplinkEvent, PortState as UplinkState, StateWord};
pub use parts::{UplinkError, UplinkParts, UplinkQueues, WorkerPolling};
pub use port::UplinkPort;
pub use shared_umem::SharedUmem;
pub use sockets::KernelDrops;
pub use status::{UmemUse, UplinkFacts, UplinkWay};
pub use umem::Pages;
