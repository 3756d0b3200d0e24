//! TAP ports: an interface of the host that the switch itself makes, for the host to take part, and for `tcpdump -i`.
//!
//! A TAP port has two halves. [`TapPort`] goes to a worker, which reads and writes frames. [`TapHandle`] stays with control:
//! its thread makes the interface, lends its descriptor to the worker, watches it, and takes the descriptor back.
//!
//! The exception of the data path: a TAP takes and gives one frame with each system call. So a worker makes at most
//! [`MOST_READS`] and [`MOST_WRITES`] of them for one TAP in one turn; what is left to read waits in the kernel, and what
//! cannot be written any more is dropped and counted. No call waits.

mod control_thread;
mod device;
mod handle;
mod parts;
mod port;
mod status;

pub use handle::TapHandle;
pub use helio_host::{PortEvent as TapEvent, PortState as TapState, StateWord};
pub use parts::{TapError, TapParts};
pub use port::{MOST_READS, MOST_WRITES, TapPort};
