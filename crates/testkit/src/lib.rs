//! Tools for tests of the data path: ports without guests, frames, captures, and an allocator that counts.
//!
//! Development only. A broken promise panics, with a sentence that says which.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::missing_panics_doc,
    reason = "a test fails by panicking, also in what it calls"
)]

mod alloc_guard;
mod chains;
mod fake_port;
mod far_side;
mod frame_builder;
mod received;
mod seen;

pub use alloc_guard::{CountingAllocator, allocations_in};
pub use fake_port::FakePort;
pub use far_side::{FarSide, fake_port};
pub use frame_builder::{FrameBuilder, TestFrame};
pub use received::Received;
pub use seen::Seen;
