//! Monitors and receivers that are slow, stand still or die.

use std::time::{Duration, Instant};

use helio_api::{MirrorDestinationInfo, PortState};
use helio_guest::{Flow, Guest, GuestConfig, Refill};
use helio_types::DropReason;

use crate::support::lane::{FRAME_BYTES, Lane, WINDOW, ping};
use crate::support::monitor::Monitor;
use crate::support::pair::Pair;
use crate::support::switch::{Placement, Plan, TestSwitch};
use crate::support::{PATIENCE, wait_until};

/// Frames the pair exchanges at least while something is wrong with the monitor.
const FRAMES: u64 = 100_000;

/// A switch on which columbia is watched by sniffie.
fn watched(placement: Placement) -> TestSwitch {
    Plan::new(placement)
        .port("columbia", "mirroring = \"source\"")
        .port("crusader", "")
        .port("sniffie", "mirroring = \"destination\"")
        .port("pegasus", "")
        .start()
}

fn start_pair(switch: &TestSwitch) -> Pair {
    Pair::start(switch.guest("columbia"), switch.guest("crusader"))
}

fn by_hand(switch: &TestSwitch, name: &str) -> Guest {
    let config = GuestConfig { refill: Refill::ByHand, ..switch.guest_config(name) };
    switch.guest_with(name, config)
}

fn dropped(copies: &MirrorDestinationInfo, reason: DropReason) -> u64 {
    copies.dropped.get(reason.name()).copied().unwrap_or(0)
}

/// Everything the pair exchanged was wanted: columbia sends or receives all of it.
#[track_caller]
fn assert_all_was_wanted(copies: &MirrorDestinationInfo, pair_frames: u64) {
    assert_eq!(copies.wanted, pair_frames);
}

/// Ends the pair, of which nothing was lost. Frames it exchanged.
#[track_caller]
fn end(pair: Pair) -> u64 {
    let report = pair.stop();
    report.assert_nothing_lost();
    report.there.sent() + report.back.sent()
}

pub fn r7_c107_a_monitor_that_posts_no_buffer_costs_the_pair_nothing(placement: Placement) {
    let switch = watched(placement);
    let mut sniffie = by_hand(&switch, "sniffie");
    let pair = start_pair(&switch);
    pair.wait_frames(FRAMES);
    let frames = end(pair);
    let copies = switch.settled_copies("sniffie");
    assert_all_was_wanted(&copies, frames);
    assert_eq!(copies.delivered, 0);
    assert_eq!(sniffie.poll_once(|_, _, _| ()), 0);
    if placement == Placement::OneWorker {
        assert_eq!(dropped(&copies, DropReason::NoRxBuffer), frames);
    }
}

pub fn c106_a_monitor_that_posts_one_buffer_now_and_then_gets_one_frame_each(placement: Placement) {
    let switch = watched(placement);
    let mut sniffie = by_hand(&switch, "sniffie");
    let pair = start_pair(&switch);
    for _ in 0..20 {
        assert_eq!(sniffie.post_receive(1), 1);
        assert_eq!(sniffie.wait_received(1, PATIENCE).unwrap().len(), 1);
    }
    end(pair);
    let copies = switch.settled_copies("sniffie");
    assert_eq!(copies.delivered, 20);
    assert!(dropped(&copies, DropReason::NoRxBuffer) > 0, "{copies:?}");
}

pub fn c107_a_monitor_that_stands_still_costs_the_pair_nothing_and_recovers(placement: Placement) {
    let switch = watched(placement);
    let sniffie = Monitor::start(switch.guest("sniffie"));
    let pair = start_pair(&switch);
    wait_until("the monitor sees frames", || sniffie.received() > 1000);
    sniffie.pause();
    pair.wait_frames(FRAMES);
    let before = sniffie.received();
    sniffie.go_on();
    let resumed = Instant::now();
    wait_until("the monitor sees frames again", || sniffie.received() > before + 1000);
    assert!(resumed.elapsed() < Duration::from_secs(1), "recovered after {:?}", resumed.elapsed());
    let frames = end(pair);
    let copies = switch.settled_copies("sniffie");
    assert_all_was_wanted(&copies, frames);
    assert!(dropped(&copies, DropReason::NoRxBuffer) > 0, "{copies:?}");
    wait_until("the monitor has taken all", || sniffie.received() == copies.delivered);
    assert_eq!(sniffie.stop().0.faults().total(), 0);
}

pub fn c122_a_monitor_that_dies_again_and_again_costs_the_pair_nothing(placement: Placement) {
    let switch = watched(placement);
    let pair = start_pair(&switch);
    for round in 0..20 {
        let sniffie = if round % 2 == 0 {
            switch.guest("sniffie")
        } else {
            let ready = Monitor::start(switch.guest("sniffie"));
            wait_until("the monitor sees frames", || ready.received() > 300);
            ready.stop().0
        };
        pair.wait_frames(200);
        // The connection breaks while frames are on their way to its memory.
        drop(sniffie);
        switch.wait_state("sniffie", PortState::Waiting);
    }
    let frames = end(pair);
    let copies = switch.settled_copies("sniffie");
    assert_all_was_wanted(&copies, frames);
    assert!(copies.delivered > 0, "{copies:?}");
    assert!(dropped(&copies, DropReason::PortDown) > 0, "{copies:?}");
}

/// Sends `windows` windows of frames from `guest` to `name`, whether they arrive or not.
#[track_caller]
fn send_windows(switch: &TestSwitch, guest: &mut Guest, name: &str, windows: u64) {
    for _ in 0..windows {
        let flow = Flow::between(guest.mac(), switch.mac(name));
        let mut lane = Lane::of(Flow { frame_bytes: FRAME_BYTES, ..flow });
        lane.send(guest, WINDOW);
        assert_eq!(lane.sent(), WINDOW);
        let began = Instant::now();
        guest.wait_all_sent(PATIENCE).unwrap();
        assert!(began.elapsed() < Duration::from_secs(1), "it took {:?}", began.elapsed());
    }
}

pub fn c105_a_receiver_that_stands_still_costs_other_flows_nothing(placement: Placement) {
    let switch = watched(placement);
    let mut sniffie = switch.guest("sniffie");
    let mut pegasus = switch.guest("pegasus");
    let pair = start_pair(&switch);
    // Pegasus does not look at what it gets: its buffers fill, and the rest is dropped there.
    send_windows(&switch, &mut sniffie, "pegasus", 20);
    let room = u64::from(pegasus.config().ring_size);
    wait_until("the rest is counted as dropped", || {
        switch.drops("pegasus", DropReason::NoRxBuffer) == 20 * WINDOW - room
    });
    pair.go_on();
    end(pair);
    let mut received = 0;
    pegasus.poll_once(|_, _, _| received += 1);
    assert_eq!(received, room);
    sniffie.poll_once(|_, _, _| ());
    ping(&mut pegasus, &mut sniffie, 20);
}

pub fn c108_completions_come_back_while_all_receivers_stand_still(placement: Placement) {
    let switch = watched(placement);
    let mut columbia = switch.guest("columbia");
    let (_crusader, _sniffie) = (by_hand(&switch, "crusader"), by_hand(&switch, "sniffie"));
    send_windows(&switch, &mut columbia, "crusader", 100);
    assert_eq!(columbia.faults().total(), 0);
    let copies = switch.settled_copies("sniffie");
    assert_eq!((copies.wanted, copies.delivered), (100 * WINDOW, 0));
    let refused = || switch.port("crusader").drops.values().sum::<u64>();
    wait_until("all are counted as dropped", || refused() == 100 * WINDOW);
}

pub fn a_healthy_monitor_gets_all_that_is_counted_as_delivered(placement: Placement) {
    let switch = watched(placement);
    let sniffie = Monitor::start(switch.guest("sniffie"));
    let pair = start_pair(&switch);
    pair.wait_frames(2 * FRAMES);
    let frames = end(pair);
    let copies = switch.settled_copies("sniffie");
    assert_all_was_wanted(&copies, frames);
    wait_until("the monitor has taken all", || sniffie.received() == copies.delivered);
    let (guest, ledger) = sniffie.stop();
    assert_eq!((ledger.duplicates(), ledger.corrupt(), ledger.foreign()), (0, 0, 0));
    assert_eq!(ledger.received(), copies.delivered);
    assert_eq!(guest.faults().total(), 0);
}
