//! TAP ports in a whole switch: the host takes part in it by an interface, and watches it with tcpdump.
//!
//! Each test has a network namespace without a name, which is gone when the test is. They need root.
#![cfg(test)]

mod support;

use std::collections::HashSet;
use std::io::{BufRead as _, BufReader};
use std::net::UdpSocket;
use std::process::{Command, Stdio};
use std::time::Duration;

use helio_api::PortState;
use helio_guest::{Flow, Guest, GuestConfig, NetHeader, Numbered, features};
use helio_testkit::{FrameBuilder, Seen};
use helio_types::{DropReason, MacAddr};
use rustix::process::{Pid, Signal, kill_process};
use rustix::thread::{UnshareFlags, unshare_unsafe};

use support::capture::Capture;
use support::lane::ping;
use support::switch::{Placement, Plan, TestSwitch};
use support::wire::arrived_on;
use support::{PATIENCE, wait_until};

/// Runs `ip` in the namespace of this thread. Whether it succeeded.
fn try_ip(arguments: &str) -> bool {
    Command::new("ip").args(arguments.split(' ')).output().unwrap().status.success()
}

#[track_caller]
fn ip(arguments: &str) {
    assert!(try_ip(arguments), "ip {arguments}");
}

/// A namespace of its own for this thread, and those that it starts from now on.
fn enter_namespace() {
    // SAFETY: they get another network namespace, nothing else.
    unsafe { unshare_unsafe(UnshareFlags::NEWNET) }.unwrap();
    // No frames but those of the test.
    for which in ["all", "default"] {
        std::fs::write(format!("/proc/sys/net/ipv6/conf/{which}/disable_ipv6"), "1").ok();
    }
}

/// A switch with two guests' ports and one for the host.
fn with_host(placement: Placement, lines: &str) -> TestSwitch {
    Plan::new(placement)
        .port("alice", "")
        .port("bob", "")
        .more(&format!("[[port]]\nname = \"host\"\ntap = \"helio0\"\nmtu = 1500\n{lines}"))
        .start()
}

/// The same with an address for the host, in a namespace of its own.
fn addressed(placement: Placement) -> TestSwitch {
    enter_namespace();
    let switch = with_host(placement, "");
    switch.wait_state("host", PortState::Up);
    ip("address add 10.9.0.1/24 dev helio0");
    switch
}

/// What a host at 10.9.0.2 answers to ARP, echo requests and datagrams.
fn answer(frame: &[u8], own: [u8; 6]) -> Option<Vec<u8>> {
    let mut reply = frame.to_vec();
    reply[..6].copy_from_slice(&frame[6..12]);
    reply[6..12].copy_from_slice(&own);
    match (frame[12], frame[13], frame[23]) {
        (8, 6, _) if frame[38..42] == [10, 9, 0, 2] => {
            reply[21] = 2;
            reply[22..28].copy_from_slice(&own);
            reply[28..32].copy_from_slice(&frame[38..42]);
            reply[32..42].copy_from_slice(&frame[22..32]);
        }
        (8, 0, protocol @ (1 | 17)) => {
            // What is swapped has the same sum.
            reply[26..30].copy_from_slice(&frame[30..34]);
            reply[30..34].copy_from_slice(&frame[26..30]);
            if protocol == 17 {
                reply[34..36].copy_from_slice(&frame[36..38]);
                reply[36..38].copy_from_slice(&frame[34..36]);
            } else {
                let sum = u16::from_be_bytes([frame[36], frame[37]]);
                let (sum, carry) = sum.overflowing_add(0x0800);
                reply[34] = 0;
                reply[36..38].copy_from_slice(&(sum + u16::from(carry)).to_be_bytes());
            }
        }
        _ => return None,
    }
    Some(reply)
}

/// Lets the guest answer until `done`. Returns all frames that it received.
#[track_caller]
fn answer_until(guest: &mut Guest, mut done: impl FnMut() -> bool) -> Vec<Vec<u8>> {
    let own = guest.mac();
    let mut received = Vec::new();
    wait_until("the host had its answers", || {
        let seen = received.len();
        guest.poll_once(|_, _, frame| received.push(frame.to_vec()));
        for reply in received[seen..].iter().filter_map(|frame| answer(frame, own)) {
            guest.send_blocking(&reply, PATIENCE).unwrap();
        }
        done()
    });
    received
}

#[test]
fn the_host_pings_a_guest_and_each_request_is_answered_once() {
    for placement in [Placement::OneWorker, Placement::Alternating] {
        let switch = addressed(placement);
        let mut bob = switch.guest("bob");
        let arguments = ["-n", "-c", "5", "-i", "0.05", "-W", "5", "-s", "1400", "10.9.0.2"];
        let ping = Command::new("ping").args(arguments).stdout(Stdio::piped()).spawn();
        let mut ping = ping.unwrap();
        answer_until(&mut bob, || ping.try_wait().unwrap().is_some());
        let output = ping.wait_with_output().unwrap();
        let said = String::from_utf8(output.stdout).unwrap();
        assert!(said.contains("5 received, 0% packet loss") && !said.contains("DUP"), "{said}");
        assert_eq!(switch.port("host").drops_total(), 0);
    }
}

#[test]
fn datagrams_of_every_length_come_back_byte_for_byte() {
    let switch = addressed(Placement::Alternating);
    let mut bob = switch.guest("bob");
    let socket = UdpSocket::bind("10.9.0.1:4711").unwrap();
    socket.set_nonblocking(true).unwrap();
    for bytes in [1_usize, 18, 85, 86, 87, 512, 1472] {
        let sent: Vec<u8> = (0..bytes).map(|at| u8::try_from(at * 7 % 251).unwrap()).collect();
        socket.send_to(&sent, "10.9.0.2:53").unwrap();
        let mut back = vec![0; 2000];
        let mut got = None;
        let received = answer_until(&mut bob, || {
            got = socket.recv(&mut back).ok();
            got.is_some()
        });
        assert_eq!(back[..got.unwrap()], sent);
        let frame = received.iter().find(|frame| frame.len() == bytes + 42).unwrap();
        assert_eq!((&frame[42..], Seen::of(frame).wrong), (&sent[..], None));
    }
    let port = switch.port("host");
    assert_eq!((port.ingress_drops.len(), port.egress_drops.len()), (0, 0), "{:?}", port.drops);
    assert_eq!(port.tap.unwrap().interface_mtu, 1500);
}

/// Frames of a capture file, in order.
fn frames_in(capture: &[u8]) -> Vec<Vec<u8>> {
    let mut frames = Vec::new();
    let mut left = capture.get(24..).unwrap_or_default();
    while let Some((header, after)) = left.split_at_checked(16) {
        let bytes = u32::from_le_bytes(header[8..12].try_into().unwrap()) as usize;
        let Some((frame, after)) = after.split_at_checked(bytes) else { break };
        frames.push(frame.to_vec());
        left = after;
    }
    frames
}

#[test]
fn tcpdump_on_a_mirror_destination_sees_each_echo_once() {
    for placement in [Placement::OneWorker, Placement::PairApart] {
        enter_namespace();
        let switch = with_host(placement, "mirroring = \"destination\"\n");
        switch.wait_state("host", PortState::Up);
        let (mut alice, mut bob) = (switch.guest("alice"), switch.guest("bob"));
        let file = switch.folder().join("helio0.pcap");
        let mut tcpdump = Command::new("tcpdump")
            .args(["-i", "helio0", "-n", "-U", "-B", "32768", "-Z", "root", "-w"])
            .arg(&file)
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut said = BufReader::new(tcpdump.stderr.take().unwrap()).lines();
        assert!(said.by_ref().any(|line| line.unwrap().contains("listening on helio0")));
        // Both are sources: a frame between them is wanted twice, and shown once.
        for name in ["alice", "bob"] {
            switch.set_mirroring(name, "source");
        }
        ping(&mut alice, &mut bob, 500);
        let copies = switch.settled_copies("host");
        assert_eq!((copies.wanted, copies.delivered), (1000, 1000));
        wait_until("tcpdump wrote all", || {
            std::fs::read(&file).is_ok_and(|capture| frames_in(&capture).len() >= 1000)
        });
        kill_process(Pid::from_child(&tcpdump), Signal::INT).unwrap();
        tcpdump.wait().unwrap();
        let frames = frames_in(&std::fs::read(&file).unwrap());
        let different: HashSet<_> = frames.iter().collect();
        assert_eq!((frames.len(), different.len()), (1000, 1000));
    }
}

/// Sends a frame on `helio0` as the host's TCP would: to be cut by the card.
fn send_as_host(frame: &[u8], header: [u8; 10]) {
    let all = i32::from(u16::try_from(libc::ETH_P_ALL).unwrap().to_be());
    // SAFETY: no pointers are passed.
    let socket = unsafe { libc::socket(libc::AF_PACKET, libc::SOCK_RAW | libc::SOCK_CLOEXEC, all) };
    assert!(socket >= 0);
    // SAFETY: all zeroes are an address.
    let mut address: libc::sockaddr_ll = unsafe { std::mem::zeroed() };
    address.sll_family = u16::try_from(libc::AF_PACKET).unwrap();
    // SAFETY: the name ends with a zero and lives as long as the call.
    address.sll_ifindex = unsafe { libc::if_nametoindex(c"helio0".as_ptr()) }.try_into().unwrap();
    let on = 1_i32;
    let packet_vnet_hdr = 15;
    // SAFETY: the kernel reads 4 bytes of an `i32`.
    let set = unsafe {
        libc::setsockopt(socket, libc::SOL_PACKET, packet_vnet_hdr, (&raw const on).cast(), 4)
    };
    assert_eq!(set, 0);
    let message = [&header, frame].concat();
    let bytes = u32::try_from(size_of_val(&address)).unwrap();
    let to = (&raw const address).cast();
    // SAFETY: the kernel reads message and address, which have as many bytes as is said.
    let sent =
        unsafe { libc::sendto(socket, message.as_ptr().cast(), message.len(), 0, to, bytes) };
    assert_eq!(usize::try_from(sent), Ok(message.len()), "{}", std::io::Error::last_os_error());
    // SAFETY: it was opened here, and nobody else has it.
    unsafe { libc::close(socket) };
}

#[test]
fn a_tso_frame_of_the_host_arrives_in_right_segments_at_a_guest_without_offloads() {
    for placement in [Placement::OneWorker, Placement::Alternating] {
        let switch = addressed(placement);
        let mut bob = switch.guest("bob");
        let builder = FrameBuilder::new(MacAddr([0x52, 0x54, 0, 0, 0, 77]), MacAddr(bob.mac()));
        let builder = builder.tcp().payload(60_000, 7);
        let frame = builder.to_segment(1448);
        let header = frame.net.to_raw().to_bytes();
        send_as_host(&frame.bytes, header[..10].try_into().unwrap());
        let count = 60_000_u64.div_ceil(1448);
        let capture = Capture::take(&mut bob, count);
        let seen: Vec<_> = capture.frames.iter().map(|frame| Seen::of(frame)).collect();
        assert!(seen.iter().all(|segment| segment.wrong.is_none()), "{:?}", seen[0].wrong);
        let payload: Vec<_> = seen.iter().flat_map(|segment| segment.payload.clone()).collect();
        assert_eq!(
            (seen.len() as u64, payload),
            (count, Seen::of(&builder.complete().bytes).payload)
        );
        // It came as one frame: the host cut nothing.
        assert_eq!(switch.port("host").ingress_frames, 1);
    }
}

#[test]
fn copies_beyond_what_a_tap_takes_in_one_turn_are_dropped_as_host_busy() {
    enter_namespace();
    let switch = with_host(Placement::OneWorker, "mirroring = \"destination\"\n");
    switch.wait_state("host", PortState::Up);
    let mut guests = ["alice", "bob"].map(|name| {
        switch.set_mirroring(name, "source");
        let config = switch.guest_config(name);
        let features = config.features | features::OFFLOADS;
        switch.guest_with(name, GuestConfig { features, ..config })
    });
    // Each is 125 frames on a wire, and each of those a call of the kernel. As short segments count for more than they are long, a
    // burst has three of them, and it takes the bursts of two guests.
    let macs = guests.each_ref().map(|guest| MacAddr(guest.mac()));
    let frame = |from: usize| {
        let builder = FrameBuilder::new(macs[from], macs[1 - from]);
        builder.tcp().payload(1000, 7).to_segment(8).bytes
    };
    let frames = [frame(0), frame(1)];
    let header = NetHeader {
        flags: NetHeader::NEEDS_CSUM,
        gso_type: NetHeader::GSO_TCPV4,
        gso_size: 8,
        csum_start: 34,
        csum_offset: 16,
        ..NetHeader::default()
    };
    let mut sent = 0;
    wait_until("more came in one turn than the host takes", || {
        for (guest, frame) in guests.iter_mut().zip(&frames) {
            (0..50).for_each(|_| guest.send_on(0, &header, frame).unwrap());
            sent += 50;
        }
        guests.iter_mut().for_each(|guest| guest.kick());
        guests.iter_mut().for_each(|guest| guest.wait_all_sent(PATIENCE).unwrap());
        switch.copies("host").dropped.contains_key(DropReason::HostBusy.name())
    });
    let copies = switch.settled_copies("host");
    let dropped = [(DropReason::HostBusy.name().to_owned(), copies.wanted - copies.delivered)];
    assert_eq!((copies.wanted, copies.dropped), (125 * sent, dropped.into()));
    wait_until("the host has what was delivered", || arrived_on("helio0") == copies.delivered);
}

#[test]
fn an_interface_that_is_set_down_drops_frames_as_port_down_and_works_again_when_set_up() {
    let switch = addressed(Placement::OneWorker);
    let mut alice = switch.guest("alice");
    ip("link set helio0 down");
    switch.wait_detail("host", "helio0 was set down");
    let mut frame = Vec::new();
    let mut numbered = Numbered::new(Flow::between(alice.mac(), [0xff; 6]));
    for _ in 0..20 {
        numbered.write_next(&mut frame);
        alice.send_blocking(&frame, PATIENCE).unwrap();
    }
    // One for each other port: bob is not there either.
    wait_until("all were dropped", || switch.drops("host", DropReason::PortDown) == 20);
    ip("link set helio0 up");
    switch.wait_state("host", PortState::Up);
    let before = switch.port("host").egress_frames;
    numbered.write_next(&mut frame);
    alice.send_blocking(&frame, PATIENCE).unwrap();
    wait_until("one was delivered", || switch.port("host").egress_frames == before + 1);
}

#[test]
fn a_name_that_another_interface_has_is_told_and_taken_when_it_is_free() {
    enter_namespace();
    ip("link add helio0 type veth peer name other");
    let switch = with_host(Placement::OneWorker, "");
    let port = switch.wait_state("host", PortState::Waiting);
    assert!(port.detail.contains("helio0 already, and it is not a TAP"), "{}", port.detail);
    ip("link del helio0");
    switch.wait_state("host", PortState::Up);
    // A TAP that is deleted behind our back is made anew.
    ip("link del helio0");
    wait_until("it is there again", || try_ip("link show helio0"));
    switch.wait_state("host", PortState::Up);
}

#[test]
fn the_interface_has_the_mtu_of_its_port_and_goes_with_it() {
    let switch = addressed(Placement::OneWorker);
    switch.set("host", &serde_json::json!({ "mtu": 4000 }));
    wait_until("it has the new one", || {
        switch.port("host").tap.is_some_and(|tap| tap.interface_mtu == 4000)
    });
    let answer = switch.control().request("DELETE", "/v1/ports/host", "");
    assert_eq!(answer.status, 204, "{}", answer.body);
    assert!(!try_ip("link show helio0"));
}

/// Started by the test below, in its namespace, and killed by it.
const SERVE: &str = "HELIO_TEST_SERVE";

#[test]
fn a_switch_that_is_killed_leaves_no_interface_behind() {
    if std::env::var_os(SERVE).is_some() {
        let _switch = with_host(Placement::OneWorker, "");
        std::thread::sleep(Duration::from_secs(60));
        return;
    }
    enter_namespace();
    let own_name = "a_switch_that_is_killed_leaves_no_interface_behind";
    let mut other = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", own_name])
        .env(SERVE, "1")
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    wait_until("it made the interface", || try_ip("link show helio0"));
    other.kill().unwrap();
    other.wait().unwrap();
    wait_until("it is gone", || !try_ip("link show helio0"));
}
