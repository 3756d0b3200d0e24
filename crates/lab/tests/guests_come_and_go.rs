//! A guest is reset, killed, started again, reloads its driver and changes its queues, while two others go on.
#![cfg(test)]

use helio_lab::{
    GuestImage, GuestPlan, LabDir, MachineLock, Mode, PortPlan, Qemu, SocketRole, Switch,
    SwitchPlan, Vnic,
};

/// Pings crusader; the first answer may take a while when the port has just come up.
fn reaches_crusader(guest: &mut Qemu) {
    guest.must("for i in $(seq 20); do ping -c 1 -W 1 10.0.0.2 && exit 0; done; exit 1").unwrap();
}

/// Checks that every ping of the background job was answered, in order.
fn lost_nothing(said: &str) {
    let sequences: Vec<usize> = said
        .lines()
        .filter_map(|line| line.split_once("seq=")?.1.split(' ').next()?.parse().ok())
        .collect();
    let expected: Vec<usize> = (0..sequences.len()).collect();
    assert!(sequences.len() > 20, "{said}");
    assert_eq!(sequences, expected, "{said}");
}

fn guests_come_and_go(mode: Mode, role: SocketRole) {
    let _lock = MachineLock::take().unwrap();
    let dir = LabDir::new().unwrap();
    let image = GuestImage::prepare().unwrap();
    let ports = ["columbia", "crusader", "pegasus"].map(|name| PortPlan::new(name).mode(mode));
    let mut switch = Switch::start(&dir, &SwitchPlan::new(ports.to_vec())).unwrap();
    let nic = |port: &str, number: u8| {
        Vnic::new(port, &format!("02:00:00:00:00:0{number}"), switch.socket(port))
            .address(&format!("10.0.0.{number}/24"))
            .role(role)
    };
    let boot = |plan: &GuestPlan| Qemu::start(&dir, &image, plan).unwrap();
    let mut columbia = boot(&GuestPlan::new("columbia", vec![nic("columbia", 1)]));
    let mut crusader = boot(&GuestPlan::new("crusader", vec![nic("crusader", 2)]));
    let mut plan = GuestPlan::new("pegasus", vec![nic("pegasus", 3).queue_pairs(4)]);
    plan.processors = 2;
    let mut pegasus = boot(&plan);
    for guest in [&mut columbia, &mut crusader, &mut pegasus] {
        guest.wait_ready().unwrap();
    }
    reaches_crusader(&mut columbia);
    reaches_crusader(&mut pegasus);
    let files = switch.process().open_files().unwrap();
    let pinging = columbia.spawn("ping -i 0.2 10.0.0.2").unwrap();

    for queues in [1, 4, 2] {
        pegasus.must(&format!("ethtool -L pegasus combined {queues}")).unwrap();
        reaches_crusader(&mut pegasus);
    }
    pegasus.must("rmmod virtio_net && insmod /lib/modules/virtio_net.ko").unwrap();
    pegasus.must("ip link set eth0 name pegasus && ip address add 10.0.0.3/24 dev pegasus && ip link set pegasus up").unwrap();
    reaches_crusader(&mut pegasus);
    pegasus.reset().unwrap();
    pegasus.wait_ready().unwrap();
    reaches_crusader(&mut pegasus);
    pegasus.kill();
    switch.wait_port("pegasus", "not up", |port| port.state != "up").unwrap();
    drop(pegasus);
    let mut pegasus = boot(&plan);
    pegasus.wait_ready().unwrap();
    reaches_crusader(&mut pegasus);

    lost_nothing(&columbia.finish(pinging).unwrap());
    switch.must_run().unwrap();
    assert_eq!(switch.process().open_files().unwrap(), files, "descriptors leak");
}

#[test]
fn guests_come_and_go_when_the_switch_listens() {
    guests_come_and_go(Mode::Server, SocketRole::GuestConnects);
}

#[test]
fn guests_come_and_go_when_the_switch_connects() {
    guests_come_and_go(Mode::Client, SocketRole::GuestListens);
}
