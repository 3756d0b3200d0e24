//! Named mirror sessions in a whole switch, with real interfaces: the right frames, once, in the form that was configured.
//!
//! Each test has a network namespace without a name, which is gone when the test is. They need root.
#![cfg(test)]

mod support;

use std::process::Command;
use std::time::Duration;

use helio_api::PortState;
use pcap::{Active, Capture};
use rustix::thread::{UnshareFlags, unshare_unsafe};

use support::lane::ping;
use support::switch::{Placement, Plan, TestSwitch};
use support::wait_until;

/// Runs `ip` in the namespace of this thread.
fn ip(arguments: &str) -> String {
    let run = Command::new("ip").args(arguments.split(' ')).output().unwrap();
    assert!(run.status.success(), "ip {arguments}: {}", String::from_utf8_lossy(&run.stderr));
    String::from_utf8(run.stdout).unwrap()
}

/// A switch with an uplink, and the host as a collector at its other end.
fn with_collector(placement: Placement, session: &str) -> TestSwitch {
    // SAFETY: this thread, and those that it starts from now on, get another network namespace, nothing else.
    unsafe { unshare_unsafe(UnshareFlags::NEWNET) }.unwrap();
    for which in ["all", "default"] {
        std::fs::write(format!("/proc/sys/net/ipv6/conf/{which}/disable_ipv6"), "1").ok();
    }
    ip("link add near type veth peer name far");
    ip("link set near up");
    ip("link set far up");
    ip("addr add 10.9.0.9/24 dev far");
    let switch = Plan::new(placement)
        .port("alice", "")
        .port("bob", "")
        .more("[[port]]\nname = \"uplink0\"\ninterface = \"near\"\nvlan = { access = 4000 }\n")
        .more(session)
        .start();
    switch.wait_state("uplink0", PortState::Up);
    switch
}

fn listen(interface: &str) -> Capture<Active> {
    let capture = Capture::from_device(interface).unwrap().promisc(true).immediate_mode(true);
    capture.timeout(100).open().unwrap().setnonblock().unwrap()
}

fn captured(capture: &mut Capture<Active>) -> Vec<Vec<u8>> {
    std::iter::from_fn(|| capture.next_packet().ok().map(|packet| packet.data.to_vec())).collect()
}

#[test]
fn a_collector_gets_each_frame_of_a_source_once_by_erspan() {
    let session = "[[mirror]]\nname = \"remote\"\nsource-ports = [\"alice\"]\n[[mirror.destination]]\nuplink = \"uplink0\"\nencapsulation = \"erspan-2\"\nlocal = \"10.9.0.1/24\"\nremote = \"10.9.0.9\"\nid = 7\n";
    let switch = with_collector(Placement::OneWorker, session);
    let mut far = listen("far");
    let (mut alice, mut bob) = (switch.guest("alice"), switch.guest("bob"));
    let mut seen = Vec::new();
    wait_until("the collector is known", || {
        ping(&mut alice, &mut bob, 1);
        std::thread::sleep(Duration::from_millis(50));
        seen.extend(captured(&mut far));
        seen.iter().any(|frame| frame[12..14] == [8, 0])
    });
    eprintln!("{:02x?}", seen);
    eprintln!("{}", ip("neigh"));
}
