//! The lab against an independent switch: testpmd's own vhost ports, wired to each other. What fails here is not the
//! fault of our switch.
#![cfg(test)]

use std::path::PathBuf;
use std::thread;
use std::time::Duration;

use helio_lab::{
    Feature, ForwardMode, GuestImage, GuestPlan, LabDir, MachineLock, Qemu, Testpmd, TestpmdPlan,
    VirtioUser, Vnic,
};

const MACS: [&str; 2] = ["02:00:00:00:00:01", "02:00:00:00:00:02"];

/// Two ports, wired to each other.
fn wire(dir: &LabDir) -> (Testpmd, [PathBuf; 2]) {
    let sockets = [dir.file("left.sock"), dir.file("right.sock")];
    let plan = TestpmdPlan::vhost("lab-wire", ForwardMode::Io, &sockets);
    let mut testpmd = Testpmd::start(dir, &plan).unwrap();
    testpmd.forward().unwrap();
    (testpmd, sockets)
}

#[test]
fn guests_ping_are_stopped_and_boot_again() {
    let _lock = MachineLock::take().unwrap();
    let dir = LabDir::new().unwrap();
    let (_wire, sockets) = wire(&dir);
    let image = GuestImage::prepare().unwrap();
    let boot = |name: &str, index: usize| {
        let nic = Vnic::new("eth0", MACS[index], sockets[index].clone())
            .address(&format!("10.0.0.{}/24", index + 1));
        Qemu::start(&dir, &image, &GuestPlan::new(name, vec![nic])).unwrap()
    };
    let (mut left, mut right) = (boot("left", 0), boot("right", 1));
    left.wait_ready().unwrap();
    right.wait_ready().unwrap();
    left.must("ping -c 2 -i 0.2 -W 5 10.0.0.2").unwrap();
    assert_eq!(left.exec("echo a; echo b >&2; exit 3").unwrap().status, 3);

    let capture = right.spawn("tcpdump -nel -i eth0 icmp").unwrap();
    right.job_says(capture, "listening on").unwrap();
    left.must("ping -c 1 10.0.0.2").unwrap();
    right.job_says(capture, "echo reply").unwrap();
    let seen = right.finish(capture).unwrap();
    assert_eq!(seen.matches("ICMP echo request").count(), 1, "{seen}");

    let pinging = left.spawn("ping -i 0.2 10.0.0.2").unwrap();
    left.must("sleep 1").unwrap();
    let pinged = left.finish(pinging).unwrap();
    assert!(pinged.contains("packets transmitted"), "{pinged}");

    right.pause().unwrap();
    assert_ne!(left.exec("ping -c 1 -W 1 10.0.0.2").unwrap().status, 0);
    right.resume().unwrap();
    right.freeze().unwrap();
    assert_ne!(left.exec("ping -c 1 -W 1 10.0.0.2").unwrap().status, 0);
    right.thaw().unwrap();
    right.reset().unwrap();
    right.wait_ready().unwrap();
    left.must("ping -c 2 -i 0.2 -W 5 10.0.0.2").unwrap();
}

#[test]
fn what_one_testpmd_sends_the_other_receives() {
    let _lock = MachineLock::take().unwrap();
    let dir = LabDir::new().unwrap();
    let (mut wire, sockets) = wire(&dir);
    let port = |index: usize| {
        let mut port = VirtioUser::new(MACS[index], sockets[index].clone());
        port.mergeable = Feature::Off;
        port
    };
    let mut sending = TestpmdPlan::new("lab-send", ForwardMode::TxOnly, &[port(0)]);
    sending.peers = vec![MACS[1].to_owned()];
    sending.frame_bytes = 128;
    let mut receiver =
        Testpmd::start(&dir, &TestpmdPlan::new("lab-receive", ForwardMode::RxOnly, &[port(1)]))
            .unwrap();
    let mut sender = Testpmd::start(&dir, &sending).unwrap();
    receiver.forward().unwrap();
    sender.forward().unwrap();
    thread::sleep(Duration::from_secs(1));
    let sent = sender.halt().unwrap()[0].sent_frames;
    thread::sleep(Duration::from_millis(500));
    let received = receiver.halt().unwrap()[0].received_frames;
    let wired = wire.halt().unwrap();
    assert!(sent > 0);
    assert_eq!(wired[0].received_frames, sent);
    assert_eq!(wired[1].sent_frames, received);
    assert_eq!(sender.port_stats().unwrap()[0].sent_bytes, sent * 128);
}
