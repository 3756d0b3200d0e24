//! A whole switch in this process, guests in user space, and what tests ask of them.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    clippy::missing_panics_doc,
    reason = "tests"
)]
#![allow(
    dead_code,
    missing_debug_implementations,
    missing_docs,
    unreachable_pub,
    reason = "shared by several test programs"
)]

pub mod apart;
pub mod capture;
pub mod collector;
pub mod control;
pub mod datagram;
pub mod descriptors;
pub mod everywhere;
pub mod far_host;
pub mod front_end;
pub mod hostile;
pub mod lane;
pub mod liar;
pub mod load;
pub mod memory_lies;
pub mod monitor;
pub mod namespace;
pub mod odd_descriptors;
pub mod pair;
pub mod process;
pub mod random;
pub mod router;
pub mod station;
pub mod stopped_thread;
pub mod switch;
pub mod tshark;
pub mod wire;

use std::time::{Duration, Instant};

/// Longer than anything here takes, unless it is broken.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// Waits until `done` says so.
#[track_caller]
pub fn wait_until(what: &str, mut done: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !done() {
        assert!(Instant::now() < deadline, "waited {PATIENCE:?} until {what}");
        std::thread::sleep(Duration::from_millis(1));
    }
}
