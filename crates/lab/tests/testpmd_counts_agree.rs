//! DPDK's own driver on ports of the switch: what one testpmd counts as sent, the switch and the other testpmd account
//! for to the frame.
#![cfg(test)]

use std::thread;
use std::time::Duration;

use helio_lab::{
    Feature, ForwardMode, LabDir, MachineLock, Mode, Polling, PortFigures, PortPlan, SocketRole,
    Switch, SwitchPlan, Testpmd, TestpmdPlan, VirtioUser,
};
use helio_types::{Mirroring, SessionId};

const SENDER: &str = "02:00:00:00:00:0a";
const RECEIVER: &str = "02:00:00:00:00:0b";
const MONITOR: &str = "02:00:00:00:00:0c";

/// Frames that entered at the sender's port, left at the receiver's, and were refused anywhere.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Account {
    entered: u64,
    left: u64,
    refused: u64,
}

fn account(ports: &[PortFigures], sender: &str, receiver: &str) -> Account {
    let port = |name: &str| ports.iter().find(|port| port.name == name).unwrap();
    Account {
        entered: port(sender).ingress_frames,
        left: port(receiver).egress_frames,
        refused: ports.iter().map(PortFigures::dropped).sum(),
    }
}

/// Sends from one port to the other for a while; all that the testpmds and the switch counted must agree.
fn exchange(
    dir: &LabDir,
    switch: &Switch,
    sender: (&str, VirtioUser),
    receiver: (&str, VirtioUser),
) {
    let before = account(&switch.ports_at_rest().unwrap(), sender.0, receiver.0);
    let mut sending = TestpmdPlan::new("lab-send", ForwardMode::TxOnly, &[sender.1]);
    sending.peers = vec![RECEIVER.to_owned()];
    let receiving = TestpmdPlan::new("lab-receive", ForwardMode::RxOnly, &[receiver.1]);
    let mut receiving = Testpmd::start(dir, &receiving).unwrap();
    let mut sending = Testpmd::start(dir, &sending).unwrap();
    switch.wait_up(sender.0).unwrap();
    switch.wait_up(receiver.0).unwrap();

    receiving.forward().unwrap();
    sending.forward().unwrap();
    thread::sleep(Duration::from_millis(500));
    let sent = sending.halt().unwrap()[0].sent_frames;
    let after = account(&switch.ports_at_rest().unwrap(), sender.0, receiver.0);
    let received = receiving.halt().unwrap()[0].received_frames;

    assert!(sent > 0 && received > 0, "sent {sent}, received {received}");
    assert_eq!(after.entered - before.entered, sent);
    assert_eq!(after.left - before.left, received);
    assert_eq!(received + after.refused - before.refused, sent);
}

#[test]
fn every_kind_of_virtio_user_port_sends_and_receives_in_both_socket_roles() {
    let _lock = MachineLock::take().unwrap();
    let dir = LabDir::new().unwrap();
    let sending = |name: &str, mode| PortPlan::new(name).mode(mode);
    let receiving = |name: &str, mode| {
        PortPlan::new(name).mode(mode).line(&format!("static-mac = [\"{RECEIVER}\"]"))
    };
    // Each pair has a switch of its own, so that nothing is flooded to the ports of the other.
    for (mode, role) in
        [(Mode::Server, SocketRole::GuestConnects), (Mode::Client, SocketRole::GuestListens)]
    {
        let ports = vec![sending("from", mode), receiving("to", mode)];
        let switch = Switch::start(&dir, &SwitchPlan::new(ports)).unwrap();
        for kind in 0..8_u8 {
            let port = |name: &str, mac: &str, kind: u8| {
                let mut port = VirtioUser::new(mac, switch.socket(name));
                port.role = role;
                port.mergeable = if kind & 1 == 0 { Feature::On } else { Feature::Off };
                port.in_order = if kind & 2 == 0 { Feature::On } else { Feature::Off };
                port.queue_pairs = if kind & 4 == 0 { 1 } else { 4 };
                port
            };
            println!("{mode:?} {kind:03b}");
            // The receiver is of the opposite kind: so each kind both sends and receives.
            exchange(
                &dir,
                &switch,
                ("from", port("from", SENDER, kind)),
                ("to", port("to", RECEIVER, 7 - kind)),
            );
        }
    }
}

/// Ten seconds at full speed, the sender's port being a source; `plan` says how many workers share the ports.
fn ten_seconds_with_a_monitor(plan: impl Fn(Vec<PortPlan>) -> SwitchPlan) {
    let _lock = MachineLock::take().unwrap();
    let dir = LabDir::new().unwrap();
    let ports = vec![
        PortPlan::new("from").mirroring(Mirroring::Source, SessionId(0)),
        PortPlan::new("to").line(&format!("static-mac = [\"{RECEIVER}\"]")),
        PortPlan::new("monitor").mirroring(Mirroring::Destination, SessionId(0)),
    ];
    let switch = Switch::start(&dir, &plan(ports)).unwrap();
    let port = |name: &str, mac: &str| VirtioUser::new(mac, switch.socket(name));
    let mut sending = TestpmdPlan::new("lab-send", ForwardMode::TxOnly, &[port("from", SENDER)]);
    sending.peers = vec![RECEIVER.to_owned()];
    let receiving = [port("to", RECEIVER), port("monitor", MONITOR)];
    let receiving = TestpmdPlan::new("lab-receive", ForwardMode::RxOnly, &receiving);
    let mut receiving = Testpmd::start(&dir, &receiving).unwrap();
    let mut sending = Testpmd::start(&dir, &sending).unwrap();
    for name in ["from", "to", "monitor"] {
        switch.wait_up(name).unwrap();
    }

    receiving.forward().unwrap();
    sending.forward().unwrap();
    thread::sleep(Duration::from_secs(10));
    let sent = sending.halt().unwrap()[0].sent_frames;
    let ports = switch.ports_at_rest().unwrap();
    let monitor = switch.destination("monitor").unwrap();
    let received = receiving.halt().unwrap();

    println!("sent {sent}, received {received:?}, {ports:#?}, {monitor:#?}");
    let account = account(&ports, "from", "to");
    assert!(received[0].received_frames > 0 && received[1].received_frames > 0);
    assert_eq!(account.entered, sent);
    assert_eq!(account.left, received[0].received_frames);
    assert_eq!(account.left + account.refused, sent);
    assert_eq!(monitor.wanted, sent);
    assert_eq!(monitor.wanted, monitor.delivered + monitor.lost());
    assert_eq!(monitor.delivered, received[1].received_frames);
}

#[test]
fn ten_seconds_at_full_speed_are_accounted_for_to_the_frame() {
    ten_seconds_with_a_monitor(|ports| SwitchPlan::new(ports).worker(1, Polling::Adaptive));
}

#[test]
fn two_workers_account_for_ten_seconds_to_the_frame() {
    ten_seconds_with_a_monitor(|ports| {
        let spread = [0, 1, 0].into_iter().zip(ports);
        let ports = spread.map(|(worker, port)| port.line(&format!("worker = {worker}"))).collect();
        SwitchPlan::new(ports).worker(0, Polling::Adaptive).worker(1, Polling::Adaptive)
    });
}
