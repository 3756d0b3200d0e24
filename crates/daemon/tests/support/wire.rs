//! Interfaces in a network namespace of the test, and cards of stations that are no guests.

use std::process::Command;

use pcap::{Active, Capture, Direction};
use rustix::thread::{UnshareFlags, unshare_unsafe};

/// Longest frame that a card takes. A ring of the kernel has a place of this length for each frame.
const LONGEST_FRAME: i32 = 10_000;
/// Bytes of that ring.
const RING_BYTES: i32 = 32 << 20;

/// Runs `ip` in the namespace of this thread.
#[track_caller]
pub fn ip(arguments: &str) -> String {
    run("ip", arguments)
}

#[track_caller]
fn run(program: &str, arguments: &str) -> String {
    let run = Command::new(program).args(arguments.split(' ')).output().unwrap();
    let errors = String::from_utf8_lossy(&run.stderr);
    assert!(run.status.success(), "{program} {arguments}: {errors}");
    String::from_utf8(run.stdout).unwrap()
}

/// A network namespace for this thread, and those that it starts from now on, in which nobody sends but the test.
pub fn enter_namespace() {
    // SAFETY: they get another network namespace, nothing else.
    unsafe { unshare_unsafe(UnshareFlags::NEWNET) }.unwrap();
    for which in ["all", "default"] {
        allow_ipv6(which, "1");
    }
    ip("link set lo up");
}

fn allow_ipv6(interface: &str, disabled: &str) {
    std::fs::write(format!("/proc/sys/net/ipv6/conf/{interface}/disable_ipv6"), disabled).ok();
}

/// A wire for frames of at most `mtu` bytes, whose ends send complete frames as cards do.
#[track_caller]
pub fn lay_wire(one: &str, other: &str, mtu: u32) {
    ip(&format!("link add {one} mtu {mtu} type veth peer name {other} mtu {mtu}"));
    for end in [one, other] {
        run("ethtool", &format!("-K {end} tx off tso off gso off gro off rxvlan off txvlan off"));
        ip(&format!("link set {end} up"));
    }
}

/// Gives the kernel an address on an interface, as `10.9.0.9/24` or `fd09::9/64`.
#[track_caller]
pub fn give_address(interface: &str, address: &str) {
    if address.contains(':') {
        allow_ipv6(interface, "0");
        // Nobody asks whether somebody else has it.
        ip(&format!("addr add {address} dev {interface} nodad"));
    } else {
        ip(&format!("addr add {address} dev {interface}"));
    }
}

/// The address of the card of an interface.
#[track_caller]
pub fn mac_of(interface: &str) -> [u8; 6] {
    let text = ip(&format!("link show {interface}"));
    let (_, rest) = text.split_once("link/ether ").unwrap();
    let mut bytes = rest[..17].split(':').map(|byte| u8::from_str_radix(byte, 16).unwrap());
    std::array::from_fn(|_| bytes.next().unwrap())
}

/// Frames that have arrived on an interface, as the kernel counts them.
#[track_caller]
pub fn arrived_on(interface: &str) -> u64 {
    let told = ip(&format!("-s -j link show {interface}"));
    let told: serde_json::Value = serde_json::from_str(&told).unwrap();
    told[0]["stats64"]["rx"]["packets"].as_u64().unwrap()
}

/// As people write it.
pub fn mac_text(mac: [u8; 6]) -> String {
    mac.map(|byte| format!("{byte:02x}")).join(":")
}

/// The card of a station: sees all that arrives on an interface, and sends.
pub struct Card {
    capture: Capture<Active>,
}

impl Card {
    #[track_caller]
    pub fn on(interface: &str) -> Self {
        let capture = Capture::from_device(interface).unwrap().promisc(true).immediate_mode(true);
        let capture = capture.snaplen(LONGEST_FRAME).buffer_size(RING_BYTES).timeout(100);
        let capture = capture.open().unwrap();
        capture.direction(Direction::In).unwrap();
        Self { capture: capture.setnonblock().unwrap() }
    }

    #[track_caller]
    pub fn send(&mut self, frame: &[u8]) {
        self.capture.sendpacket(frame).unwrap();
    }

    /// What arrived since the last time.
    pub fn take(&mut self) -> Vec<Vec<u8>> {
        std::iter::from_fn(|| self.capture.next_packet().ok().map(|packet| packet.data.to_vec()))
            .collect()
    }
}
