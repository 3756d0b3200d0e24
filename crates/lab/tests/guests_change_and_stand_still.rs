//! A guest whose memory grows and shrinks while it sends, and one that stands still for longer than anybody waits for it.
#![cfg(test)]

use std::thread;
use std::time::Duration;

use helio_lab::{
    GuestImage, GuestPlan, LabDir, MachineLock, PortPlan, Qemu, Switch, SwitchPlan, Vnic, transfer,
};

/// Longer than the switch waits for an answer of a front-end, or of a worker.
const STANDSTILL: Duration = Duration::from_secs(15);

/// A switch and guests of these names, of which the first can be given memory.
fn scene<const N: usize>(dir: &LabDir, names: [&str; N]) -> (Switch, [Qemu; N]) {
    let image = GuestImage::prepare().unwrap();
    let switch = Switch::start(dir, &SwitchPlan::new(names.map(PortPlan::new).to_vec())).unwrap();
    let mut number = 0;
    let mut guests = names.map(|name| {
        number += 1;
        let nic = Vnic::new(name, &format!("02:00:00:00:00:0{number}"), switch.socket(name));
        let nic = nic.address(&format!("10.0.0.{number}/24"));
        let mut plan = GuestPlan::new(name, vec![nic]);
        if number == 1 {
            // Its kernel sets 64 MiB aside when there may be memory above 4 GiB.
            (plan.memory_mib, plan.memory_slots) = (320, 1);
        }
        Qemu::start(dir, &image, &plan).unwrap()
    });
    for guest in &mut guests {
        guest.wait_ready().unwrap();
    }
    (switch, guests)
}

fn reaches(guest: &mut Qemu, address: &str) {
    let ping = format!("ping -c 1 -W 1 {address}");
    guest.must(&format!("for i in $(seq 20); do {ping} && exit 0; done; exit 1")).unwrap();
}

/// Waits until the guest says that it has this much memory, or more, or less.
fn has_memory(guest: &mut Qemu, condition: &str) {
    let total = "$(awk '/MemTotal/ {print $2}' /proc/meminfo)";
    let wait = format!("for i in $(seq 300); do [ {total} {condition} ] && exit 0; usleep 100000");
    guest.must(&format!("{wait}; done; cat /proc/meminfo; exit 1")).unwrap();
}

#[test]
fn c064_memory_is_plugged_and_unplugged_while_a_guest_sends_as_fast_as_it_can() {
    let _lock = MachineLock::take().unwrap();
    let dir = LabDir::new().unwrap();
    let (mut switch, [mut columbia, mut crusader]) = scene(&dir, ["columbia", "crusader"]);
    reaches(&mut columbia, "10.0.0.2");
    let server = crusader.spawn("iperf3 -s --forceflush").unwrap();
    crusader.job_says(server, "listening").unwrap();
    let load = columbia.spawn("iperf3 -c 10.0.0.2 -t 3600 --forceflush").unwrap();
    columbia.job_says(load, "sec").unwrap();
    for _ in 0..3 {
        let before = switch.port("columbia").unwrap().ingress_frames;
        columbia.plug_memory("more", 512).unwrap();
        has_memory(&mut columbia, "-gt 500000");
        switch
            .wait_port("columbia", "sending on", |port| port.ingress_frames > before + 100)
            .unwrap();
        columbia.unplug_memory("more").unwrap();
        has_memory(&mut columbia, "-lt 400000");
        let before = switch.port("columbia").unwrap().ingress_frames;
        switch
            .wait_port("columbia", "sending on", |port| port.ingress_frames > before + 100)
            .unwrap();
    }
    let said = columbia.finish(load).unwrap();
    assert!(said.contains("interrupt"), "it ended by itself: {said}");
    crusader.finish(server).unwrap();
    transfer(&mut columbia, &mut crusader, "10.0.0.2", 4).unwrap();
    transfer(&mut crusader, &mut columbia, "10.0.0.1", 4).unwrap();
    switch.must_run().unwrap();
}

#[test]
fn c109_a_guest_that_stands_still_delays_nobody_and_is_there_again_afterwards() {
    let _lock = MachineLock::take().unwrap();
    let dir = LabDir::new().unwrap();
    let names = ["columbia", "crusader", "pegasus"];
    let (mut switch, [mut columbia, mut crusader, mut pegasus]) = scene(&dir, names);
    for address in ["10.0.0.2", "10.0.0.3"] {
        reaches(&mut columbia, address);
    }
    let dropped =
        |switch: &Switch| ["columbia", "pegasus"].map(|name| switch.port(name).unwrap().dropped());
    let before = dropped(&switch);
    let at_crusader = switch.port("crusader").unwrap().dropped();
    crusader.freeze().unwrap();
    // More than its ring takes.
    columbia.exec("ping -c 400 -i 0.01 -W 1 10.0.0.2").unwrap();
    let lost = switch.port("crusader").unwrap().dropped() - at_crusader;
    assert!(lost > 0, "nothing was too much for it");
    thread::sleep(STANDSTILL);
    transfer(&mut columbia, &mut pegasus, "10.0.0.3", 4).unwrap();
    transfer(&mut pegasus, &mut columbia, "10.0.0.1", 4).unwrap();
    assert_eq!(dropped(&switch), before);
    crusader.thaw().unwrap();
    reaches(&mut columbia, "10.0.0.2");
    transfer(&mut columbia, &mut crusader, "10.0.0.2", 4).unwrap();
    transfer(&mut crusader, &mut columbia, "10.0.0.1", 4).unwrap();
    switch.must_run().unwrap();
}
