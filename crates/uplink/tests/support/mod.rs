//! What all tests of uplinks share: a wire of veth, its far end, and a worker that is a loop.
//!
//! Each test lives in a network namespace without a name, which is gone when the test is, however it ends.
#![allow(dead_code, unreachable_pub, unused_imports)]

mod far_end;
mod rig;
mod wire;

pub use far_end::FarEnd;
pub use rig::{Rig, Setting, unused_port};
pub use wire::{Wire, frame, ip};
