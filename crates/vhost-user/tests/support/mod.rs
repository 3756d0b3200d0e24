//! A small switch for the tests: one worker thread that repeats each frame of a port to all others.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::missing_panics_doc,
    clippy::missing_errors_doc,
    reason = "tests"
)]
#![allow(
    dead_code,
    missing_debug_implementations,
    unreachable_pub,
    missing_docs,
    reason = "shared by several test programs"
)]

pub mod hub;
pub mod lab;
pub mod lie;

use std::time::{Duration, Instant};

/// Longer than anything here takes, unless it is broken.
pub const PATIENCE: Duration = Duration::from_secs(10);

/// Waits until `done` says so.
#[track_caller]
pub fn wait_until(what: &str, mut done: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !done() {
        assert!(Instant::now() < deadline, "waited in vain until {what}");
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// How often `take` says that an event was signalled: waits for the first time. The control thread tells the front-end, a
/// moment after the worker stopped the port.
#[track_caller]
pub fn signals(mut take: impl FnMut() -> u64) -> u64 {
    let mut count = 0;
    wait_until("the event is signalled", || {
        count += take();
        count > 0
    });
    count
}
