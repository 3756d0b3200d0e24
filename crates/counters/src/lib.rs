//! Counters with one writer and many readers.
//!
//! Each worker has a bank of its own and is the only one that writes to it, with plain loads and stores; anybody may
//! read at any time and adds the banks up. A reader sees each counter at some recent value, and once the traffic
//! stands still, at its final one.
#![forbid(unsafe_code)]

mod bank;
mod counter;
mod snapshot;

pub use bank::{CounterBank, MirrorBlock, PortBlock};
pub use counter::{Counter, FrameCount, FrameCounter};
pub use snapshot::{MirrorCounts, PortCounts};
