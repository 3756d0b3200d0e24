//! Uplinks in a whole switch. One switch plays two, by VLANs: what port "alice" sends leaves by the uplink "near", comes back
//! by the uplink "far" at the other end of a wire, and goes to port "bob".
//!
//! Each test has a network namespace without a name, which is gone when the test is. They need root.
#![cfg(test)]

mod support;

use std::io;
use std::os::fd::BorrowedFd;
use std::process::Command;
use std::sync::Arc;

use helio_api::{PortInfo, PortState};
use helio_frame::{MemoryDirectory, MemoryId, Wakeups};
use helio_guest::{Flow, GuestConfig, NetHeader, features};
use helio_mem::MemoryTable;
use helio_testkit::{FrameBuilder, Seen};
use helio_types::{MacAddr, PortId, UplinkMode};
use helio_uplink::{UplinkHandle, UplinkParts, UplinkPort, UplinkQueues, WorkerPolling};
use rustix::thread::{UnshareFlags, unshare_unsafe};
use serde_json::json;

use support::capture::Capture;
use support::lane::ping;
use support::switch::{Placement, Plan, TestSwitch};
use support::wait_until;

/// Runs `ip` in the namespace of this thread.
fn ip(arguments: &str) -> String {
    let run = Command::new("ip").args(arguments.split(' ')).output().unwrap();
    assert!(run.status.success(), "ip {arguments}: {}", String::from_utf8_lossy(&run.stderr));
    String::from_utf8(run.stdout).unwrap()
}

fn lay_wire(mtu: u32) {
    lay_wire_between("near", "far", mtu);
}

fn lay_wire_between(one: &str, other: &str, mtu: u32) {
    ip(&format!("link add {one} mtu {mtu} type veth peer name {other} mtu {mtu}"));
    ip(&format!("link set {one} up"));
    ip(&format!("link set {other} up"));
}

/// A network namespace for this thread, and those that it starts from now on, with no frames but those of the test.
fn enter_namespace() {
    // SAFETY: they get another network namespace, nothing else.
    unsafe { unshare_unsafe(UnshareFlags::NEWNET) }.unwrap();
    for which in ["all", "default"] {
        std::fs::write(format!("/proc/sys/net/ipv6/conf/{which}/disable_ipv6"), "1").ok();
    }
}

/// A switch with a wire between its uplinks.
fn joined(placement: Placement, mtu: u32, mode: &str) -> TestSwitch {
    enter_namespace();
    lay_wire(mtu);
    let uplink = |name: &str, vlan: u16| {
        format!(
            "[[port]]\nname = \"up-{name}\"\ninterface = \"{name}\"\nmode = \"{mode}\"\nvlan = {{ access = {vlan} }}\n"
        )
    };
    let switch = Plan::new(placement)
        .port("alice", "vlan = { access = 10 }")
        .port("bob", "vlan = { access = 20 }")
        .more(&uplink("near", 10))
        .more(&uplink("far", 20))
        .start();
    // Each end waits for the other one's link, too.
    switch.wait_state("up-near", PortState::Up);
    switch.wait_state("up-far", PortState::Up);
    switch
}

#[test]
fn guests_exchange_frames_over_a_wire_in_each_mode_and_none_is_lost() {
    for placement in [Placement::OneWorker, Placement::Alternating] {
        for mode in ["auto", "skb"] {
            let switch = joined(placement, 1500, mode);
            let (mut alice, mut bob) = (switch.guest("alice"), switch.guest("bob"));
            ping(&mut alice, &mut bob, 20_000);
            for name in ["up-near", "up-far"] {
                let port = switch.port(name);
                assert_eq!((port.ingress_frames, port.egress_frames), (20_000, 20_000));
                assert_eq!((port.drops_total(), port.queue_pairs), (0, 0), "{:?}", port.drops);
                let uplink = port.uplink.unwrap();
                let got = if mode == "auto" { "copy" } else { "skb" };
                assert_eq!(
                    (uplink.wanted_mode.as_str(), uplink.mode.as_deref()),
                    (mode, Some(got))
                );
                assert_eq!((uplink.interface_mtu, uplink.kernel_drops.len()), (1500, 0));
            }
        }
    }
}

/// A switch through which frames go three times: from alice by "near" to "far", from there by "mid" to "back", and to bob. In the
/// middle they go from uplink to uplink, where carol is, too.
fn joined_twice(placement: Placement, mode: &str) -> TestSwitch {
    enter_namespace();
    lay_wire(1500);
    lay_wire_between("mid", "back", 1500);
    let uplink = |(name, vlan): (&str, u16)| {
        format!(
            "[[port]]\nname = \"up-{name}\"\ninterface = \"{name}\"\nmode = \"{mode}\"\nvlan = {{ access = {vlan} }}\n"
        )
    };
    let uplinks = [("near", 10), ("far", 20), ("mid", 20), ("back", 30)];
    let switch = Plan::new(placement)
        .port("alice", "vlan = { access = 10 }")
        .port("bob", "vlan = { access = 30 }")
        .port("carol", "vlan = { access = 20 }")
        .more(&uplinks.map(uplink).concat())
        .start();
    for (name, _) in uplinks {
        switch.wait_state(&format!("up-{name}"), PortState::Up);
    }
    switch
}

#[test]
fn frames_from_uplink_to_uplink_lie_in_memory_that_both_share_and_none_is_lost_or_changed() {
    for placement in [Placement::OneWorker, Placement::Alternating] {
        for mode in ["auto", "skb"] {
            let switch = joined_twice(placement, mode);
            let (mut alice, mut bob) = (switch.guest("alice"), switch.guest("bob"));
            ping(&mut alice, &mut bob, 20_000);
            // With a monitor, which gets them last.
            let mut carol = switch.guest("carol");
            switch.set("up-far", &json!({ "mirroring": "source", "session": 1 }));
            switch.set("carol", &json!({ "mirroring": "destination", "session": 1 }));
            ping(&mut alice, &mut bob, 30);
            let senders =
                [Flow::between(alice.mac(), bob.mac()), Flow::between(bob.mac(), alice.mac())]
                    .map(|flow| flow.sender);
            Capture::take(&mut carol, 60).assert_each_once(&senders, 30);
            for name in ["up-near", "up-far", "up-mid", "up-back"] {
                let port = switch.port(name);
                assert_eq!(port.drops_total(), 0, "{name}: {:?}", port.drops);
                let uplink = port.uplink.unwrap();
                assert!(uplink.shared_umem, "{name}: {uplink}");
                wait_until("all chunks are at rest", || {
                    let chunks = switch.port(name).uplink.unwrap().chunks;
                    assert_eq!(chunks.total, 4096);
                    (chunks.spare, chunks.lent, chunks.free) == (960, 1088, 2048)
                });
            }
        }
    }
}

/// What one TSO frame of a guest becomes on a wire with this MTU.
fn segments_of_a_tso_frame(mtu: u32, mode: &str, payload: usize, segment_bytes: u16) -> Vec<Seen> {
    let switch = joined(Placement::Alternating, mtu, mode);
    let config = |name: &str| GuestConfig {
        features: features::PLAIN | features::OFFLOADS,
        rx_buffer_bytes: 9100,
        tx_buffer_bytes: 66_000,
        ..switch.guest_config(name)
    };
    let mut alice = switch.guest_with("alice", config("alice"));
    let mut bob = switch.guest_with("bob", config("bob"));
    let builder = FrameBuilder::new(MacAddr(alice.mac()), MacAddr(bob.mac()));
    let builder = builder.tcp().payload(payload, 7);
    let frame = builder.to_segment(segment_bytes);
    let header = NetHeader {
        flags: NetHeader::NEEDS_CSUM,
        gso_type: NetHeader::GSO_TCPV4,
        hdr_len: 54,
        gso_size: segment_bytes,
        csum_start: 34,
        csum_offset: 16,
        num_buffers: 0,
    };
    alice.send_on(0, &header, &frame.bytes).unwrap();
    alice.kick();
    let count = payload.div_ceil(usize::from(segment_bytes)) as u64;
    let seen: Vec<_> =
        Capture::take(&mut bob, count).frames.iter().map(|frame| Seen::of(frame)).collect();
    assert_eq!(seen.len() as u64, count);
    let whole = Seen::of(&builder.complete().bytes).payload;
    assert!(seen.iter().all(|segment| segment.wrong.is_none()), "{:?}", seen[0].wrong);
    assert_eq!(seen.iter().flat_map(|segment| segment.payload.clone()).collect::<Vec<_>>(), whole);
    seen
}

#[test]
fn what_guests_leave_to_their_card_is_done_before_a_frame_goes_to_the_wire() {
    for mode in ["auto", "skb"] {
        let segments = segments_of_a_tso_frame(1500, mode, 60_000, 1448);
        assert_eq!(segments[0].payload.len(), 1448);
        let jumbo = segments_of_a_tso_frame(9000, mode, 60_000, 8900);
        assert_eq!(jumbo[0].payload.len(), 8900);
    }
}

#[test]
fn an_uplink_is_a_mirror_destination_and_a_source_like_any_port() {
    let switch = joined(Placement::Alternating, 1500, "auto");
    let (mut alice, mut bob) = (switch.guest("alice"), switch.guest("bob"));
    // Another guest of alice's VLAN, so that production does not need the wire.
    let body =
        json!({ "name": "carol", "socket": switch.socket("carol"), "vlan": { "access": 10 } });
    switch.control().request("POST", "/v1/ports", &body.to_string());
    let config = GuestConfig::with_mac([0x52, 0x54, 0, 0, 0, 9]);
    let mut carol = helio_guest::Guest::connect(&switch.socket("carol"), config).unwrap();
    carol.start().unwrap();
    switch.wait_state("carol", PortState::Up);
    ping(&mut alice, &mut carol, 1);
    Capture::take(&mut bob, 0);
    let base = switch.port("up-near").egress_frames;
    // The copies leave by one uplink, and what the other one receives is copied to bob.
    switch.set("alice", &json!({ "mirroring": "source", "session": 1 }));
    switch.set("up-near", &json!({ "mirroring": "destination", "session": 1 }));
    switch.set("up-far", &json!({ "mirroring": "source", "session": 2 }));
    switch.set("bob", &json!({ "mirroring": "destination", "session": 2 }));
    ping(&mut alice, &mut carol, 30);
    let senders =
        [Flow::between(alice.mac(), carol.mac()), Flow::between(carol.mac(), alice.mac())]
            .map(|flow| flow.sender);
    Capture::take(&mut bob, 60).assert_each_once(&senders, 30);
    for destination in ["up-near", "bob"] {
        let copies = switch.settled_copies(destination);
        assert_eq!((copies.wanted, copies.delivered), (60, 60), "{destination}");
    }
    assert_eq!(switch.port("up-near").egress_frames, base + 60);
}

#[test]
fn an_uplink_that_loses_its_interface_says_so_and_comes_back_while_vm_ports_do_not_notice() {
    let switch = joined(Placement::OneWorker, 1500, "auto");
    let (mut alice, mut bob) = (switch.guest("alice"), switch.guest("bob"));
    ping(&mut alice, &mut bob, 1000);
    ip("link set far down");
    switch.wait_detail("up-near", "near has no link");
    ip("link set far up");
    switch.wait_state("up-near", PortState::Up);
    switch.wait_state("up-far", PortState::Up);
    ping(&mut alice, &mut bob, 1000);
    ip("link del near");
    switch.wait_detail("up-near", "there is no interface near");
    switch.wait_detail("up-far", "there is no interface far");
    for name in ["alice", "bob"] {
        assert_eq!(switch.port(name).state, PortState::Up);
    }
    lay_wire(1500);
    switch.wait_state("up-near", PortState::Up);
    switch.wait_state("up-far", PortState::Up);
    ping(&mut alice, &mut bob, 1000);
}

#[test]
fn uplinks_are_added_and_removed_while_the_switch_runs_and_the_answer_says_what_is_wrong() {
    let switch = joined(Placement::OneWorker, 1500, "auto");
    let (mut alice, mut bob) = (switch.guest("alice"), switch.guest("bob"));
    let near = json!({ "name": "up-near", "interface": "near", "vlan": { "access": 10 } });
    for _ in 0..5 {
        ping(&mut alice, &mut bob, 500);
        switch.control().request("DELETE", "/v1/ports/up-near", "");
        assert!(!ip("link show near").contains("xdp"));
        let answer = switch.control().request("POST", "/v1/ports", &near.to_string());
        assert_eq!((answer.status, answer.json()["state"].clone()), (201, json!("up")));
    }
    let refused = json!({ "name": "other", "interface": "near" });
    let answer = switch.control().request("POST", "/v1/ports", &refused.to_string());
    assert_eq!(answer.status, 409);
    let missing = json!({ "name": "other", "interface": "none-such" });
    let answer = switch.control().request("POST", "/v1/ports", &missing.to_string());
    let detail = answer.json()["detail"].to_string();
    assert!(detail.contains("there is no interface none-such"), "{detail}");
    let answer = switch.control().request("GET", "/v1/ports/up-near/qemu-args", "");
    assert!(answer.status >= 400, "an uplink has no guest");
}

/// A control thread that nobody listens to.
struct Nobody;

impl Wakeups for Nobody {
    fn wake(&self) {}
    fn watch(&self, _: BorrowedFd<'_>) -> io::Result<()> {
        Ok(())
    }
    fn unwatch(&self, _: BorrowedFd<'_>) {}
}

impl MemoryDirectory for Nobody {
    fn replace(&self, _: MemoryId, _: Option<Arc<MemoryTable>>) {}
}

/// Another one who has the interface: until the port is dropped, which no worker serves.
fn taken(interface: &str) -> (UplinkPort, UplinkHandle) {
    let parts = UplinkParts {
        id: PortId::new(0).unwrap(),
        name: "other".to_owned(),
        interface: interface.to_owned(),
        mode: UplinkMode::Auto,
        queues: UplinkQueues::All,
        pass: Vec::new(),
        wakeups: Arc::new(Nobody),
        polling: WorkerPolling::Adaptive,
        umem: None,
        directory: Arc::new(Nobody),
        events: Box::new(|_| {}),
    };
    let (port, mut handle) = UplinkPort::create(parts).unwrap();
    handle.start().unwrap();
    wait_until("the interface is taken", || {
        ip(&format!("link show {interface}")).contains("helio_uplink")
    });
    (port, handle)
}

#[test]
fn while_an_uplink_waits_for_its_interface_all_others_are_served() {
    let switch = joined(Placement::OneWorker, 1500, "auto");
    ip("link add third type veth peer name fourth");
    let other = taken("third");
    let late = json!({ "name": "late", "interface": "third" }).to_string();
    std::thread::scope(|scope| {
        let adding = scope.spawn(|| switch.control().request("POST", "/v1/ports", &late));
        // It tries for a while to get the interface, and is told to do so.
        let opening = |port: &PortInfo| port.name == "late" && port.detail == "opening third";
        wait_until("the port is seen while it opens", || {
            switch.control().ports().iter().any(opening)
        });
        let carol = json!({ "name": "carol", "socket": switch.socket("carol") });
        let answer = switch.control().request("POST", "/v1/ports", &carol.to_string());
        assert_eq!(answer.status, 201, "{}", answer.body);
        let answer = switch.control().request("POST", "/v1/ports", &late);
        assert_eq!(answer.status, 409, "{}", answer.body);
        let answer = adding.join().unwrap();
        assert_eq!(answer.status, 201, "{}", answer.body);
    });
    drop(other);
    ip("link set third up");
    ip("link set fourth up");
    switch.wait_state("late", PortState::Up);
}
