//! A pair exchanges frames as fast as they come back, while the monitor that watches it misbehaves. The number of
//! frames in flight is fixed and fits the rings, so the switch can carry them without loss: each loss is its fault.
#![cfg(test)]

use std::thread;
use std::time::Duration;

use helio_lab::{
    ForwardMode, LabDir, MachineLock, Polling, PortPlan, Switch, SwitchPlan, Testpmd, TestpmdPlan,
    VirtioUser,
};
use helio_types::{Mirroring, SessionId};
use rustix::process::Signal;

const LEFT: &str = "02:00:00:00:00:0a";
const RIGHT: &str = "02:00:00:00:00:0b";
const MONITOR: &str = "02:00:00:00:00:0c";
const PAIR: [&str; 2] = ["left", "right"];

/// Time over which the pair's progress is measured.
const A_WHILE: Duration = Duration::from_secs(2);

struct Scene {
    // Dropped in this order: the guests before the switch, the folder last.
    monitor: Testpmd,
    pair: Testpmd,
    switch: Switch,
    _dir: LabDir,
    _lock: MachineLock,
}

impl Scene {
    fn set() -> Self {
        let lock = MachineLock::take().unwrap();
        let dir = LabDir::new().unwrap();
        let mut ports: Vec<PortPlan> = PAIR
            .iter()
            .map(|name| PortPlan::new(name).mirroring(Mirroring::Source, SessionId(0)))
            .collect();
        ports.push(PortPlan::new("monitor").mirroring(Mirroring::Destination, SessionId(0)));
        let switch =
            Switch::start(&dir, &SwitchPlan::new(ports).worker(1, Polling::Adaptive)).unwrap();
        let port = |name: &str, mac: &str| VirtioUser::new(mac, switch.socket(name));
        let pair = [port("left", LEFT), port("right", RIGHT)];
        let mut pair = TestpmdPlan::new("lab-pair", ForwardMode::Mac, &pair);
        pair.peers = vec![RIGHT.to_owned(), LEFT.to_owned()];
        let monitor =
            TestpmdPlan::new("lab-monitor", ForwardMode::RxOnly, &[port("monitor", MONITOR)]);
        let monitor = Testpmd::start(&dir, &monitor).unwrap();
        let pair = Testpmd::start(&dir, &pair).unwrap();
        for name in ["left", "right", "monitor"] {
            switch.wait_up(name).unwrap();
        }
        Self { monitor, pair, switch, _dir: dir, _lock: lock }
    }

    /// Frames the pair has had delivered and refused so far.
    fn carried(&self) -> (u64, u64) {
        let ports = PAIR.map(|name| self.switch.port(name).unwrap());
        let delivered = ports.iter().map(|port| port.egress_frames).sum();
        (delivered, ports.iter().map(|port| port.dropped()).sum())
    }

    /// Frames the pair gets in a while.
    fn progress(&self) -> u64 {
        let before = self.carried().0;
        thread::sleep(A_WHILE);
        self.carried().0 - before
    }
}

/// The pair runs with a good monitor, which then turns bad: the pair must lose nothing, and go on about as fast.
fn nobody_is_delayed_by(turn_bad: impl FnOnce(&mut Testpmd)) {
    let mut scene = Scene::set();
    scene.monitor.forward().unwrap();
    scene.pair.forward_after_bursts(2).unwrap();
    let good = scene.progress();
    assert!(good > 1000, "the pair exchanged only {good} frames");
    turn_bad(&mut scene.monitor);
    let bad = scene.progress();
    scene.pair.halt().unwrap();

    let sent: u64 = scene.pair.port_stats().unwrap().iter().map(|port| port.sent_frames).sum();
    scene.switch.ports_at_rest().unwrap();
    let (delivered, refused) = scene.carried();
    let monitor = scene.switch.destination("monitor").unwrap();
    println!("{good} frames with a good monitor, {bad} with a bad one; {monitor:?}");
    assert_eq!(refused, 0);
    assert_eq!(delivered, sent);
    // The machine may be busy with other things too; a switch that waits for a monitor stands still.
    assert!(bad * 4 > good, "{good} frames before, {bad} after");
    assert!(monitor.lost() > 0, "{monitor:?}");
    assert_eq!(monitor.wanted, monitor.delivered + monitor.lost(), "{monitor:?}");
}

#[test]
fn a_monitor_that_posts_no_more_buffers_costs_the_pair_nothing() {
    nobody_is_delayed_by(|monitor| {
        monitor.halt().unwrap();
    });
}

#[test]
fn a_monitor_that_is_stopped_costs_the_pair_nothing() {
    nobody_is_delayed_by(|monitor| monitor.process().signal(Signal::STOP).unwrap());
}

#[test]
fn a_monitor_that_is_killed_costs_the_pair_nothing() {
    nobody_is_delayed_by(Testpmd::kill);
}
