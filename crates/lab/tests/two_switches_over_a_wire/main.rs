//! Two switches, each in a network namespace of its own, joined by a wire between their uplinks: a Linux guest on each side
//! reaches the other one as if there were one switch, in each mode that the wire has.
#![cfg(test)]

mod host;
mod recovery;
mod sniffer;

use helio_lab::{MachineLock, transfer};
use helio_types::{Mirroring, SessionId};

use host::{Host, pair};
use sniffer::Sniffer;

const SESSION: SessionId = SessionId(0);

/// Size of the files that are sent, in MiB.
const FILE_MIB: u32 = 2;

/// Pings the other guest's address in a VLAN; the first answer may take a while when a port has just come up.
fn reaches(from: &mut Host, to: &Host, vlan: u8) {
    let address = to.address(vlan);
    let once = format!("ping -c 1 -W 1 {address} >/dev/null");
    from.guest.must(&format!("for i in $(seq 30); do {once} && exit 0; done; exit 1")).unwrap();
    let said = from.guest.must(&format!("ping -c 3 -i 0.2 -W 5 {address}")).unwrap();
    assert!(said.contains("3 packets received") && !said.contains("DUP"), "{said}");
}

/// Files go both ways by TCP in a VLAN.
fn exchanges_files(near: &mut Host, far: &mut Host, vlan: u8) {
    let (here, there) = (near.address(vlan), far.address(vlan));
    transfer(&mut near.guest, &mut far.guest, &there, FILE_MIB).unwrap();
    transfer(&mut far.guest, &mut near.guest, &here, FILE_MIB).unwrap();
}

/// The same while a sniffer on the near switch watches: it sees all of it, as a wire would show it.
fn exchanges_files_and_the_sniffer_sees_them(near: &mut Host, far: &mut Host, mtu: u64) {
    let add = ["port", "add", "sniffie", "--vlan", "trunk=10", "--mirroring", "destination"];
    let socket = near.switch.socket("sniffie").display().to_string();
    near.switch.cli(&[&add[..], &["--socket", &socket]].concat()).unwrap();
    let sniffer = Sniffer::join(&near.switch, "sniffie");
    let before = near.switch.port("inside").unwrap().ingress_frames;
    near.switch.set_mirroring("inside", Mirroring::Source, SESSION).unwrap();
    exchanges_files(near, far, 10);
    near.switch.set_mirroring("inside", Mirroring::None, SESSION).unwrap();
    near.switch.ports_at_rest().unwrap();
    let copies = near.switch.destination("sniffie").unwrap();
    assert_eq!((copies.lost(), copies.delivered), (0, copies.wanted), "{copies:?}");
    let capture = sniffer.leave_after(copies.delivered);
    near.switch.cli(&["port", "remove", "sniffie"]).unwrap();
    let payload = (2 * u64::from(FILE_MIB)) << 20;
    capture.assert_whole_and_right(payload, mtu);
    // The guest handed over frames that were longer than the wire takes.
    let entered = near.switch.port("inside").unwrap().ingress_frames - before;
    let sent = capture.tshark("tcp && ip.src == 10.0.10.1", &["frame.number"]).len() as u64;
    assert!(entered < sent, "{entered} frames became {sent}");
}

/// What the guests' kernels leave to their cards, which is finished or passed by the switches.
fn offloads_are_on(host: &mut Host) {
    let features = host.guest.must("ethtool -k inside").unwrap();
    for feature in ["tx-checksumming", "tcp-segmentation-offload", "generic-receive-offload"] {
        assert!(features.contains(&format!("{feature}: on")), "{features}");
    }
}

/// Jumbo frames pass whole, also such as may not be cut on their way.
fn jumbo_frames_pass(near: &mut Host, far: &mut Host) {
    let capture = far.guest.spawn("tcpdump -nvl --immediate-mode -i inside icmp").unwrap();
    far.guest.job_says(capture, "listening on").unwrap();
    let address = far.address(10);
    let said = near.guest.must(&format!("ping -c 3 -i 0.2 -W 5 -s 8900 {address}")).unwrap();
    assert!(said.contains("3 packets received"), "{said}");
    far.guest.job_says(capture, "echo reply").unwrap();
    let seen = far.guest.finish(capture).unwrap();
    let requests = seen.matches("ICMP echo request").count();
    assert_eq!((requests, seen.matches("length 8908").count()), (3, 6), "{seen}");
    // The requests; a kernel lets its answers be cut.
    assert_eq!(seen.matches("flags [DF]").count(), 3, "{seen}");
}

fn set_mtu(hosts: [&mut Host; 2], mtu: u32) {
    for host in hosts {
        for card in ["inside", "tagging", "tagged"] {
            // Only one guest has the last one.
            host.guest.exec(&format!("ip link set {card} mtu {mtu}")).unwrap();
        }
        let shown = host.guest.must("ip link show inside").unwrap();
        assert!(shown.contains(&format!("mtu {mtu}")), "{shown}");
    }
}

/// Waits for both uplinks: each end has its link when both are there. They have got the mode `got`.
fn are_joined(hosts: [&Host; 2], got: &str) {
    for host in hosts {
        let uplink = host.switch.wait_up("uplink0").unwrap().uplink.unwrap();
        assert_eq!(uplink.mode.as_deref(), Some(got));
    }
}

/// All that must pass between the hosts.
fn plays(near: &mut Host, far: &mut Host) {
    // What is in VLAN 10 or 30 is none of the business of VLAN 20.
    let outside = far.guest.spawn("tcpdump -nel --immediate-mode -i outside").unwrap();
    far.guest.job_says(outside, "listening on").unwrap();
    reaches(near, far, 10);
    reaches(far, near, 10);
    reaches(near, far, 30);
    // Nobody has this address: the question goes everywhere it may.
    near.guest.exec("ping -c 1 -W 1 10.0.10.77").unwrap();
    exchanges_files_and_the_sniffer_sees_them(near, far, 1500);
    exchanges_files(near, far, 30);
    set_mtu([&mut *near, &mut *far], 9000);
    jumbo_frames_pass(near, far);
    exchanges_files_and_the_sniffer_sees_them(near, far, 9000);
    exchanges_files(near, far, 30);
    set_mtu([&mut *near, &mut *far], 1500);
    let seen = far.guest.job_output(outside).unwrap();
    assert!(!seen.contains("10.0.10.") && !seen.contains("10.0.30."), "{seen}");
    // It would have been seen.
    reaches(near, far, 20);
    far.guest.job_says(outside, "10.0.20.1 > 10.0.20.2: ICMP echo request").unwrap();
    far.guest.finish(outside).unwrap();
    for host in [&mut *near, &mut *far] {
        let port = host.switch.port("uplink0").unwrap();
        // No file has more frames than there are chunks, so there was room for each.
        assert_eq!(port.dropped(), 0, "{port:?}");
        let uplink = port.uplink.unwrap();
        assert!(uplink.kernel_drops.is_empty(), "{uplink:?}");
        host.switch.must_run().unwrap();
    }
}

#[test]
fn guests_on_two_hosts_exchange_all_kinds_of_frames_in_each_mode_of_the_uplinks() {
    let _lock = MachineLock::take().unwrap();
    let [mut near, mut far] = pair();
    for host in [&mut near, &mut far] {
        host.wait_ready();
        offloads_are_on(host);
    }
    are_joined([&near, &far], "copy");
    plays(&mut near, &mut far);
    for host in [&near, &far] {
        host.remove_uplink();
        host.add_uplink("skb");
    }
    are_joined([&near, &far], "skb");
    plays(&mut near, &mut far);
}
