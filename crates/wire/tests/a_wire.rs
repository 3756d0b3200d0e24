//! Frames through the forwarder, counted where they arrive. Needs root; each test has a network namespace of its own, which
//! is gone when the test is.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::process::Command;
use std::time::{Duration, Instant};

use helio_wire::{Counted, Forwarder, WireCount, WireSender};
use rustix::thread::{UnshareFlags, unshare_unsafe};

const PATIENCE: Duration = Duration::from_secs(30);

fn ip(arguments: &str) {
    let run = Command::new("ip").args(arguments.split(' ')).output().unwrap();
    assert!(run.status.success(), "ip {arguments}: {}", String::from_utf8_lossy(&run.stderr));
}

/// Wires `near0`-`far0` and so on, in another namespace, with nothing on them but what the test sends.
fn lay_wires(count: usize) {
    // SAFETY: this thread gets another network namespace, nothing else.
    unsafe { unshare_unsafe(UnshareFlags::NEWNET) }.unwrap();
    for which in ["all", "default"] {
        std::fs::write(format!("/proc/sys/net/ipv6/conf/{which}/disable_ipv6"), "1").ok();
    }
    for wire in 0..count {
        ip(&format!(
            "link add near{wire} numrxqueues 1 numtxqueues 1 type veth peer name far{wire} numrxqueues 1 numtxqueues 1"
        ));
        ip(&format!("link set near{wire} up"));
        ip(&format!("link set far{wire} up"));
    }
}

fn wait_for(count: &WireCount, frames: u64, mut meanwhile: impl FnMut()) -> Counted {
    let until = Instant::now() + PATIENCE;
    while count.now().frames < frames && Instant::now() < until {
        meanwhile();
    }
    count.now()
}

#[test]
fn every_frame_that_is_sent_is_counted_with_its_bytes() {
    lay_wires(1);
    let count = WireCount::begin("near0").unwrap();
    let mut sender = WireSender::open("far0", &[0x52; 60], 20).unwrap();
    assert_eq!(sender.send(10_000), 10_000);
    assert_eq!(wait_for(&count, 10_000, || {}), Counted { frames: 10_000, bytes: 600_000 });
    sender.send_other(&[0x54; 60]).unwrap();
    assert_eq!(wait_for(&count, 10_001, || {}).frames, 10_001);
    assert_eq!(sender.next(), 10_000);
}

#[test]
fn the_forwarder_passes_every_frame_on_both_ways() {
    lay_wires(2);
    let mut forwarder = Forwarder::open(["near0", "near1"], None).unwrap();
    for (from, to) in [("far0", "far1"), ("far1", "far0")] {
        let count = WireCount::begin(to).unwrap();
        let mut sender = WireSender::open(from, &[0x52; 1514], 20).unwrap();
        for round in 1..=100 {
            assert_eq!(sender.send(500), 500);
            let counted = wait_for(&count, round * 500, || forwarder.turn());
            assert_eq!(counted, Counted { frames: round * 500, bytes: round * 500 * 1514 });
        }
    }
}

#[test]
fn a_watcher_gets_every_frame_of_both_ways_and_no_chunk_is_lost() {
    lay_wires(3);
    let mut forwarder = Forwarder::open(["near0", "near1"], Some("near2")).unwrap();
    let watched = WireCount::begin("far2").unwrap();
    for (from, to, before) in [("far0", "far1", 0), ("far1", "far0", 10_000)] {
        let count = WireCount::begin(to).unwrap();
        let mut sender = WireSender::open(from, &[0x52; 60], 20).unwrap();
        // More frames than there are chunks: each must come back from both who sent it.
        for round in 1..=20 {
            assert_eq!(sender.send(500), 500);
            let counted = wait_for(&count, round * 500, || forwarder.turn());
            assert_eq!(counted.frames, round * 500);
            let copies = wait_for(&watched, before + round * 500, || forwarder.turn());
            assert_eq!(copies.frames, before + round * 500);
        }
    }
}

#[test]
fn an_interface_that_is_not_there_is_an_error() {
    lay_wires(0);
    assert!(WireCount::begin("far0").is_err());
    assert!(WireSender::open("far0", &[0; 60], 20).is_err());
    assert!(Forwarder::open(["near0", "near1"], None).is_err());
}
