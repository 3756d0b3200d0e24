//! Mirroring is changed ten thousand times while frames flow: not one of them is lost, and nothing is leaked.

mod support;

use helio_api::PortState;
use helio_guest::Guest;
use helio_types::DropReason;
use serde_json::{Value, json};

use support::lane::ping;
use support::monitor::Monitor;
use support::pair::Pair;
use support::switch::{Placement, Plan, TestSwitch};
use support::wait_until;

const CHANGES: usize = 10_000;

/// Sources come and go and change between the sessions.
fn change_sources(number: usize) -> Change {
    let session = number / 7 % 2;
    match number % 4 {
        0 => ("columbia", json!({ "mirroring": "source" })),
        1 => ("crusader", json!({ "mirroring": "source", "session": session })),
        2 => ("columbia", json!({ "mirroring": "none", "session": session })),
        _ => ("crusader", json!({ "mirroring": "none" })),
    }
}

/// Destinations do so too.
fn change_all(number: usize) -> Change {
    let session = number / 7 % 2;
    match number % 3 {
        0 => change_sources(number / 3),
        1 => ("sniffie", json!({ "mirroring": "destination", "session": session })),
        _ => match number / 3 % 2 {
            0 => ("pegasus", json!({ "mirroring": "destination", "session": 1 - session })),
            _ => ("pegasus", json!({ "mirroring": "none" })),
        },
    }
}

/// A port, and its settings from now on.
type Change = (&'static str, Value);

/// The second session is exact.
fn start(placement: Placement) -> TestSwitch {
    Plan::new(placement)
        .port("columbia", "")
        .port("crusader", "")
        .port("sniffie", "mirroring = \"destination\"")
        .port("pegasus", "mirroring = \"destination\"\nsession = 1")
        .more("[[mirror]]\nsession = 1\nexact = true\n")
        .start()
}

/// What a scene leaves when its changes are done and its traffic has ended.
struct Aftermath {
    switch: TestSwitch,
    columbia: Guest,
    crusader: Guest,
    monitors: [(&'static str, Monitor); 2],
}

fn change_under_load(placement: Placement, change: fn(usize) -> Change) -> Aftermath {
    let switch = start(placement);
    let monitors = ["sniffie", "pegasus"].map(|name| (name, Monitor::start(switch.guest(name))));
    let pair = Pair::start(switch.guest("columbia"), switch.guest("crusader"));
    let before = pair.received();
    let mut control = switch.control();
    for number in 0..CHANGES {
        let (port, settings) = change(number);
        assert_eq!(control.set(port, &settings).state, PortState::Up);
    }
    assert!(pair.received() > before + CHANGES as u64 / 10, "the pair stood still meanwhile");
    let (columbia, crusader) = pair.end();
    // Every chain has come back.
    assert_eq!((columbia.driver().unfinished(), crusader.driver().unfinished()), (0, 0));
    Aftermath { switch, columbia, crusader, monitors }
}

impl Aftermath {
    /// What the monitors got came from the pair, once each and intact, and is what the ports have counted.
    #[track_caller]
    fn end(self) {
        let Self { switch, mut columbia, mut crusader, monitors } = self;
        let guests = monitors.map(|(name, monitor)| {
            let egress = switch.port(name).egress_frames;
            wait_until("the monitor has taken all", || monitor.received() == egress);
            let (guest, ledger) = monitor.stop();
            let odd = (ledger.duplicates(), ledger.corrupt(), ledger.foreign());
            assert_eq!((ledger.received(), odd), (egress, (0, 0, 0)));
            assert_eq!((guest.faults().total(), guest.driver().unfinished()), (0, 0));
            guest
        });
        nothing_is_leaked(&switch, &mut columbia, &mut crusader);
        drop(guests);
    }
}

/// There are as many private buffers as at the beginning: more frames are copied to them than there are buffers.
#[track_caller]
fn nothing_is_leaked(switch: &TestSwitch, columbia: &mut Guest, crusader: &mut Guest) {
    switch.set("pegasus", &json!({ "mirroring": "none" }));
    switch.set("pegasus", &json!({ "mirroring": "destination", "session": 1 }));
    switch.set("columbia", &json!({ "mirroring": "source", "session": 1 }));
    for _ in 0..20 {
        ping(columbia, crusader, 64);
    }
    let copies = switch.settled_copies("pegasus");
    assert_eq!(copies.wanted, 20 * 2 * 64);
    assert_eq!(copies.dropped.get(DropReason::NoPrivateBuffer.name()), None);
}

/// The copies were counted all the time, as the destinations stayed what they were.
#[track_caller]
fn assert_sums_agree(aftermath: &Aftermath) {
    for (name, monitor) in &aftermath.monitors {
        let copies = aftermath.switch.settled_copies(name);
        assert!(copies.delivered > 0, "{copies:?}");
        wait_until("the monitor has taken all", || monitor.received() == copies.delivered);
    }
}

#[test]
fn sources_change_with_one_worker() {
    let aftermath = change_under_load(Placement::OneWorker, change_sources);
    assert_sums_agree(&aftermath);
    aftermath.end();
}

#[test]
fn sources_change_with_two_workers() {
    let aftermath = change_under_load(Placement::Alternating, change_sources);
    assert_sums_agree(&aftermath);
    aftermath.end();
}

#[test]
fn all_change_with_one_worker() {
    change_under_load(Placement::OneWorker, change_all).end();
}

#[test]
fn all_change_with_two_workers() {
    change_under_load(Placement::Alternating, change_all).end();
}
