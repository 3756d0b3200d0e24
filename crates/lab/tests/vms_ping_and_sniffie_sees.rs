//! The founding story with real guests, and what it costs when they are silent.
#![cfg(test)]

use std::thread;
use std::time::Duration;

use helio_lab::{
    GuestImage, GuestPlan, LabDir, MachineLock, PINGS, PortPlan, Qemu, QemuStage, Switch,
    SwitchPlan, UserSpaceStage, Verdict, Vnic, each_once, play,
};
use helio_types::{Mirroring, SessionId};

const SESSION: SessionId = SessionId(0);

#[test]
fn sniffie_sees_the_echoes_once_while_a_source_is_set_and_silence_costs_nearly_nothing() {
    let _lock = MachineLock::take().unwrap();
    let dir = LabDir::new().unwrap();
    let mut stage = QemuStage::set(&dir).unwrap();
    let mut told = Vec::new();
    let verdict = play(&mut stage, &mut told).unwrap();
    assert_eq!(verdict, Verdict::Right, "{}", String::from_utf8_lossy(&told));

    let sniffie = stage.switch().destination("sniffie").unwrap();
    assert!(sniffie.wanted >= 2 * 2 * u64::from(PINGS), "{sniffie:?}");
    assert_eq!(sniffie.wanted, sniffie.delivered + sniffie.lost(), "{sniffie:?}");

    // Let the guests fall silent, ARP included.
    thread::sleep(Duration::from_secs(2));
    let measured = Duration::from_secs(10);
    let before = stage.switch().process().cpu_time().unwrap();
    thread::sleep(measured);
    let used = stage.switch().process().cpu_time().unwrap() - before;
    assert!(used * 50 < measured, "an idle switch used {used:?} in {measured:?}");
}

#[test]
fn two_destinations_each_see_every_echo_once() {
    let _lock = MachineLock::take().unwrap();
    let dir = LabDir::new().unwrap();
    let image = GuestImage::prepare().unwrap();
    let monitor = |name: &str| PortPlan::new(name).mirroring(Mirroring::Destination, SESSION);
    let ports = vec![
        PortPlan::new("columbia").mirroring(Mirroring::Source, SESSION),
        PortPlan::new("crusader").mirroring(Mirroring::Source, SESSION),
        monitor("sniffie"),
        monitor("snoopie"),
    ];
    let switch = Switch::start(&dir, &SwitchPlan::new(ports)).unwrap();
    let nic = |port: &str, number: u8| {
        Vnic::new(port, &format!("02:00:00:00:00:0{number}"), switch.socket(port))
    };
    let boot = |guest: &str, nics| Qemu::start(&dir, &image, &GuestPlan::new(guest, nics)).unwrap();
    let mut columbia = boot("columbia", vec![nic("columbia", 1).address("10.0.0.1/24")]);
    let mut crusader = boot("crusader", vec![nic("crusader", 2).address("10.0.0.2/24")]);
    let mut pegasus = boot("pegasus", vec![nic("sniffie", 3), nic("snoopie", 4)]);
    for guest in [&mut columbia, &mut crusader, &mut pegasus] {
        guest.wait_ready().unwrap();
    }
    let captures = ["sniffie", "snoopie"].map(|card| {
        let capture =
            pegasus.spawn(&format!("tcpdump -nel --immediate-mode -i {card} icmp")).unwrap();
        pegasus.job_says(capture, "listening on").unwrap();
        capture
    });
    columbia.must("ping -c 5 -i 0.2 -W 2 10.0.0.2").unwrap();
    thread::sleep(Duration::from_secs(1));
    for capture in captures {
        let said = pegasus.finish(capture).unwrap();
        let seen: Vec<String> =
            said.lines().filter(|line| line.contains("ICMP")).map(str::to_owned).collect();
        assert_eq!(each_once(&seen, 5), Ok(()), "{said}");
    }
}

#[test]
fn guests_in_user_space_play_the_same_story() {
    let _lock = MachineLock::take().unwrap();
    let dir = LabDir::new().unwrap();
    let mut stage = UserSpaceStage::set(&dir).unwrap();
    let mut told = Vec::new();
    let verdict = play(&mut stage, &mut told).unwrap();
    assert_eq!(verdict, Verdict::Right, "{}", String::from_utf8_lossy(&told));
}
