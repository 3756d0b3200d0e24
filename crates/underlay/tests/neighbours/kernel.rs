//! The kernel as the neighbour: it answers our questions, asks us, moves, and routes.
//!
//! Each test lives in a network namespace without a name, which is gone when the test is, however it ends. We are at one
//! end of a wire, where the kernel has no address, and the kernel is at the other.

use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use helio_underlay::{EndpointSettings, NeighbourState, Observed};
use nix::sched::{CloneFlags, unshare};
use pcap::{Active, Capture, Direction};

use crate::wire::{Ipv4, ethernet, ipv4};
use crate::world::{
    BOTH, FAR4, FAR6, OTHER_MAC, OWN_MAC, OWN4, OWN6, PEER_MAC, PEER4, PEER6, Version, World,
};

/// How long anything may take that is to happen.
const PATIENCE: Duration = Duration::from_secs(30);
/// What a worker has of each frame.
const HEAD_BYTES: usize = 128;

/// Runs `ip` in the namespace of this thread.
fn ip(arguments: &str) -> String {
    let run = Command::new("ip").args(arguments.split(' ')).output().unwrap();
    assert!(run.status.success(), "ip {arguments}: {}", String::from_utf8_lossy(&run.stderr));
    String::from_utf8(run.stdout).unwrap()
}

fn set(setting: &str, value: &str) {
    std::fs::write(format!("/proc/sys/net/{setting}"), value).unwrap();
}

/// A neighbour of the kernel's, with its end of the wire.
struct Rig {
    world: World,
    wire: Capture<Active>,
    /// What the clock is put forward by.
    ahead: Duration,
    /// All that was observed, and is neither nothing nor a reply.
    observed: Vec<Observed>,
    /// The frames that came.
    frames: Vec<Vec<u8>>,
}

/// A process that ends with its test.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        self.0.kill().ok();
        self.0.wait().ok();
    }
}

impl Rig {
    fn new(version: Version) -> Self {
        Self::with(version, &version.settings())
    }

    fn with(version: Version, settings: &EndpointSettings) -> Self {
        unshare(CloneFlags::CLONE_NEWNET).expect("these tests need root");
        ip(&format!("link add near type veth peer name far address {PEER_MAC}"));
        set("ipv6/conf/near/disable_ipv6", "1");
        ip("link set near up");
        ip("link set far up");
        ip(&format!("addr add {PEER4}/24 dev far"));
        ip(&format!("addr add {PEER6}/64 dev far nodad"));
        let wire = Capture::from_device("near").unwrap().immediate_mode(true).open().unwrap();
        let wire = wire.setnonblock().unwrap();
        // What we send does not come back.
        wire.direction(Direction::In).unwrap();
        let world = World::of(version, settings);
        Self { world, wire, ahead: Duration::ZERO, observed: Vec::new(), frames: Vec::new() }
    }

    /// One turn of a worker that sends a copy each time.
    fn turn(&mut self) {
        self.world.now = Instant::now() + self.ahead;
        self.world.neighbour.use_mac();
        let question = self.world.turn();
        let mut ours: Vec<_> = question.iter().map(|frame| frame.bytes().to_vec()).collect();
        while let Ok(packet) = self.wire.next_packet() {
            self.frames.push(packet.data.to_vec());
            let head = &packet.data[..packet.data.len().min(HEAD_BYTES)];
            let seen = self.world.neighbour.observe(head, packet.header.len, self.world.now);
            let may_concern = self.world.neighbour.endpoint().may_concern(head);
            match seen {
                Observed::NotOurs => continue,
                Observed::Reply(reply) => ours.push(reply.bytes().to_vec()),
                other => self.observed.push(other),
            }
            assert!(may_concern);
        }
        for frame in ours {
            self.wire.sendpacket(frame).unwrap();
        }
    }

    fn until(&mut self, what: &str, mut done: impl FnMut(&Self) -> bool) {
        let until = Instant::now() + PATIENCE;
        while !done(self) {
            let neighbour = &self.world.neighbour;
            assert!(Instant::now() < until, "{what}: {neighbour:?}, {:?}", self.observed);
            self.turn();
            std::thread::yield_now();
        }
    }

    fn until_reachable(&mut self) {
        self.until("reachable", |rig| rig.world.neighbour.state() == NeighbourState::Reachable);
    }

    fn own_address(&self) -> String {
        self.world.neighbour.endpoint().own_address().to_string()
    }

    /// Starts to ping us. Nobody answers.
    fn ping(&self) -> Running {
        let command = ["-c", "1", "-W", "30", &self.own_address()].map(str::to_owned);
        let silent = || Stdio::null();
        let mut ping = Command::new("ping");
        Running(ping.args(command).stdout(silent()).stderr(silent()).spawn().unwrap())
    }

    /// What the kernel knows of us.
    fn known_to_the_kernel(&self) -> String {
        ip(&format!("neigh show {}", self.own_address()))
    }
}

fn assert_kernel_answers(version: Version) {
    let mut rig = Rig::new(version);
    rig.until_reachable();
    assert_eq!(rig.world.neighbour.mac(), Some(PEER_MAC));
    // Our question told it where we are.
    let known = rig.known_to_the_kernel();
    assert!(known.contains(&OWN_MAC.to_string()), "{known}");

    // Half a minute later it is asked alone.
    rig.ahead += Duration::from_secs(31);
    rig.until("asked", |rig| rig.world.neighbour.state() == NeighbourState::Probe);
    rig.until_reachable();
    assert_eq!(rig.world.neighbour.mac(), Some(PEER_MAC));
    assert_eq!(rig.observed, [Observed::Learned; 2]);
}

#[test]
fn the_kernel_answers_our_questions_and_our_probes() {
    for version in BOTH {
        assert_kernel_answers(version);
    }
}

#[test]
fn a_kernel_that_has_no_such_address_does_not_answer() {
    for version in BOTH {
        let mut rig = Rig::new(version);
        ip("addr flush dev far scope global");
        rig.until("asked", |rig| rig.world.neighbour.state() == NeighbourState::Failed);
        assert_eq!((rig.world.neighbour.mac(), rig.observed), (None, vec![]));
    }
}

#[test]
fn the_kernel_finds_us_and_its_ping_is_not_answered() {
    for version in BOTH {
        let mut rig = Rig::new(version);
        let ping = rig.ping();
        rig.until("found", |rig| {
            let known = rig.known_to_the_kernel();
            known.contains(&OWN_MAC.to_string()) && known.contains("REACHABLE")
        });
        // The ping comes, and is not ours.
        let protocol = if version == Version::V4 { [8, 0, 0x45] } else { [0x86, 0xdd, 0x60] };
        rig.until("pinged", |rig| {
            let to_us = |frame: &&Vec<u8>| frame[..6] == OWN_MAC.0 && frame[12..15] == protocol;
            let is_echo = |frame: &Vec<u8>| frame[if version == Version::V4 { 34 } else { 54 }];
            rig.frames.iter().filter(to_us).any(|frame| matches!(is_echo(frame), 8 | 128))
        });
        drop(ping);
    }
}

#[test]
fn a_kernel_that_wants_our_address_learns_that_it_is_taken() {
    let mut rig = Rig::new(Version::V6);
    ip(&format!("addr add {OWN6}/64 dev far"));
    rig.until("defended", |_| ip("addr show dev far").contains("dadfailed"));
}

#[test]
fn a_kernel_that_moves_is_followed() {
    for version in BOTH {
        let mut rig = Rig::new(version);
        set("ipv4/conf/far/arp_notify", "1");
        set("ipv6/conf/far/ndisc_notify", "1");
        rig.until_reachable();
        rig.ahead += Duration::from_secs(2);
        ip(&format!("link set far address {OTHER_MAC}"));
        rig.until("moved", |rig| rig.world.neighbour.mac() == Some(OTHER_MAC));
        rig.until_reachable();
        assert_eq!(rig.world.neighbour.mac(), Some(OTHER_MAC));
    }
}

/// A copy of 1500 bytes to the collector beyond the router.
fn copy(version: Version) -> Vec<u8> {
    match version {
        Version::V4 => {
            let (source, destination) = (OWN4, FAR4);
            let fields = Ipv4 { source, destination, protocol: 47, fragment: 0x4000, total: None };
            ethernet(PEER_MAC, OWN_MAC, 0x0800, &ipv4(fields, &[0; 1480]))
        }
        Version::V6 => {
            let head = [0x60, 0, 0, 0, 5, 180, 47, 64];
            let ends = [OWN6.octets(), FAR6.octets()].concat();
            let datagram = [&head[..], &ends, &[0; 1460]].concat();
            ethernet(PEER_MAC, OWN_MAC, 0x86dd, &datagram)
        }
    }
}

fn assert_router_is_heeded(version: Version) {
    let settings = EndpointSettings {
        remote: if version == Version::V4 { FAR4.into() } else { FAR6.into() },
        gateway: Some(if version == Version::V4 { PEER4.into() } else { PEER6.into() }),
        ..version.settings()
    };
    let mut rig = Rig::with(version, &settings);
    ip("link add out mtu 1400 type veth peer name beyond mtu 1400");
    ip("link set out up");
    ip("link set beyond up");
    ip(&format!("route add {FAR4}/32 dev out"));
    ip(&format!("-6 route add {FAR6}/128 dev out"));
    set("ipv4/ip_forward", "1");
    set("ipv6/conf/all/forwarding", "1");
    rig.until_reachable();
    rig.wire.sendpacket(copy(version)).unwrap();
    rig.until("heeded", |rig| rig.observed.contains(&Observed::PathMtu(1400)));
    assert_eq!(rig.world.neighbour.mtu_bytes(), 1400);
}

#[test]
fn a_kernel_that_routes_says_what_is_too_long_and_is_heeded() {
    for version in BOTH {
        assert_router_is_heeded(version);
    }
}
