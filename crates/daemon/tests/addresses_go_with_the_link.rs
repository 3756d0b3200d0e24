//! What was learned on a port is forgotten when its link goes down, whoever is at the far end, so that frames to who has moved
//! are flooded at once; what is pinned stays, and so does what others have learned.
//!
//! Each test with interfaces has a network namespace without a name, which is gone when the test is. They need root.
#![cfg(test)]

mod support;

use helio_api::{FdbEntryInfo, FdbEntryKind, PortState};
use helio_guest::Guest;

use support::station::{Station, assert_same, collect, numbered};
use support::switch::{Placement, Plan, TestSwitch};
use support::wait_until;
use support::wire::{Card, enter_namespace, ip, lay_wire, mac_text};

const BROADCAST: [u8; 6] = [0xff; 6];
/// Who moves.
const VM: [u8; 6] = [2, 0, 0, 0, 1, 1];
/// Who talks to it.
const PEER: [u8; 6] = [2, 0, 0, 0, 1, 2];

fn entries(switch: &TestSwitch, port: &str, kind: FdbEntryKind) -> Vec<String> {
    let answer = switch.control().request("GET", "/v1/fdb", "");
    let entries: Vec<FdbEntryInfo> = serde_json::from_str(&answer.body).unwrap();
    let meant = |entry: &FdbEntryInfo| entry.port == port && entry.kind == kind;
    entries.into_iter().filter(meant).map(|entry| entry.mac).collect()
}

fn learned(switch: &TestSwitch, port: &str) -> Vec<String> {
    entries(switch, port, FdbEntryKind::Learned)
}

/// `from` says something to everybody at the far end of `port`, and is learned there.
#[track_caller]
fn speak(switch: &TestSwitch, port: &str, station: &mut Station, from: [u8; 6]) {
    station.send(&numbered(from, BROADCAST, None, 0, 60));
    wait_until("it is learned", || learned(switch, port).contains(&mac_text(from)));
}

/// A frame that `sender` sends to `to` comes to all of `receivers`, and to none of `others`.
#[track_caller]
fn arrives<'a>(
    sender: &mut Station,
    to: [u8; 6],
    receivers: &mut [&'a mut Station],
    others: &mut [&'a mut Station],
) {
    for station in receivers.iter_mut().chain(others.iter_mut()) {
        collect(station, 0);
    }
    let frame = numbered(PEER, to, None, 7, 300);
    sender.send(&frame);
    for station in receivers {
        assert_same("a receiver", collect(station, 1), std::slice::from_ref(&frame));
    }
    for station in others {
        assert_same("somebody else", collect(station, 0), &[]);
    }
}

/// How a guest leaves.
#[derive(Clone, Copy, Debug)]
enum Leaving {
    Stops,
    IsReset,
    Disconnects,
    BreaksARule,
}

impl Leaving {
    /// It leaves. What is left of it may come back.
    fn happen(self, switch: &TestSwitch, mut guest: Guest) -> Option<Guest> {
        match self {
            Self::Stops => {
                guest.stop().unwrap();
                // Done when the front-end has its answer.
                assert_eq!(learned(switch, "columbia"), [""; 0]);
            }
            Self::IsReset => {
                guest.restart().unwrap();
                switch.wait_state("columbia", PortState::Up);
                assert_eq!(learned(switch, "columbia"), [""; 0]);
            }
            Self::Disconnects => {
                drop(guest);
                return None;
            }
            Self::BreaksARule => {
                let (area, events) = guest.driver().rings().nth(1).unwrap();
                area.set_avail_idx(area.used_idx().wrapping_add(1000));
                events.kick.signal();
                switch.wait_state("columbia", PortState::Faulted);
            }
        }
        Some(guest)
    }

    /// It is there again.
    fn come_back(self, switch: &TestSwitch, left: Option<Guest>) -> Guest {
        match (self, left) {
            (Self::IsReset, Some(guest)) => guest,
            (Self::Stops, Some(mut guest)) => {
                guest.start().unwrap();
                switch.wait_state("columbia", PortState::Up);
                guest
            }
            (Self::BreaksARule, Some(mut guest)) => {
                guest.restart().unwrap();
                switch.wait_state("columbia", PortState::Up);
                guest
            }
            _ => switch.guest("columbia"),
        }
    }
}

#[test]
fn a_guest_that_leaves_takes_along_what_was_learned_of_it_and_frames_to_it_are_flooded_at_once() {
    for placement in [Placement::OneWorker, Placement::Alternating] {
        let plan = Plan::new(placement).port("columbia", "").port("crusader", "");
        let switch = plan.port("sniffie", "").start();
        let pinned = [mac_text(switch.mac("columbia"))];
        let [mut crusader, mut sniffie] =
            ["crusader", "sniffie"].map(|name| Station::guest(switch.guest(name)));
        speak(&switch, "crusader", &mut crusader, PEER);
        let mut guest = switch.guest("columbia");
        for leaving in
            [Leaving::Stops, Leaving::IsReset, Leaving::Disconnects, Leaving::BreaksARule]
        {
            let mut columbia = Station::guest(guest);
            speak(&switch, "columbia", &mut columbia, VM);
            arrives(&mut crusader, VM, &mut [&mut columbia], &mut [&mut sniffie]);

            let Station::Guest(leaver) = columbia else { unreachable!() };
            let left = leaving.happen(&switch, *leaver);
            wait_until("it is forgotten", || learned(&switch, "columbia").is_empty());
            assert_eq!(entries(&switch, "columbia", FdbEntryKind::Static), pinned, "{leaving:?}");
            assert_eq!(learned(&switch, "crusader"), [mac_text(PEER)], "{leaving:?}");
            arrives(&mut crusader, VM, &mut [&mut sniffie], &mut []);
            // Nobody else gets what is for one whose place is known.
            arrives(&mut crusader, switch.mac("columbia"), &mut [], &mut [&mut sniffie]);

            let mut back = Station::guest(leaving.come_back(&switch, left));
            arrives(&mut crusader, VM, &mut [&mut back, &mut sniffie], &mut []);
            speak(&switch, "columbia", &mut back, VM);
            arrives(&mut crusader, VM, &mut [&mut back], &mut [&mut sniffie]);
            let Station::Guest(back) = back else { unreachable!() };
            guest = *back;
        }
    }
}

#[test]
fn nothing_of_a_guest_that_left_is_learned_afterwards_however_much_it_had_under_way() {
    for placement in [Placement::OneWorker, Placement::Alternating] {
        let switch = Plan::new(placement).port("columbia", "").port("crusader", "").start();
        let mut guest = switch.guest("columbia");
        let mut crusader = Station::guest(switch.guest("crusader"));
        let mut seen = 0;
        for round in 0..40 {
            for number in 0..100 {
                let from = [2, 0, 0, 1, round, number];
                let frame = numbered(from, BROADCAST, None, u32::from(number), 300);
                guest.send(&frame).unwrap();
            }
            guest.kick();
            if round % 2 == 0 {
                guest.stop().unwrap();
                assert_eq!(learned(&switch, "columbia"), [""; 0], "round {round}");
                guest.start().unwrap();
            } else {
                // Gone with frames that nobody has taken.
                drop(guest);
                switch.wait_detail("columbia", "the last session ended");
                assert_eq!(learned(&switch, "columbia"), [""; 0], "round {round}");
                guest = switch.guest("columbia");
            }
            seen += crusader.take().len();
        }
        assert!(seen > 0, "it was always gone before anything was taken");
    }
}

/// A switch with two guests' ports and a wire to another host, whose card comes with it.
fn with_wire(placement: Placement) -> (TestSwitch, Station) {
    enter_namespace();
    lay_wire("near", "far", 1500);
    let up = "[[port]]\nname = \"up\"\ninterface = \"near\"\nmode = \"auto\"\n";
    let switch = Plan::new(placement).port("columbia", "").port("crusader", "").more(up).start();
    switch.wait_state("up", PortState::Up);
    (switch, Station::Card(Card::on("far")))
}

#[test]
fn a_vm_that_moves_to_another_host_and_back_is_found_at_once() {
    for placement in [Placement::OneWorker, Placement::Alternating] {
        let (switch, mut far) = with_wire(placement);
        let mut crusader = Station::guest(switch.guest("crusader"));
        for _ in 0..3 {
            // It is here.
            let mut columbia = Station::guest(switch.guest("columbia"));
            speak(&switch, "columbia", &mut columbia, VM);
            assert_eq!(learned(&switch, "up"), [""; 0]);
            arrives(&mut crusader, VM, &mut [&mut columbia], &mut [&mut far]);
            // It goes, and has not said anything over there.
            drop(columbia);
            wait_until("it is forgotten", || learned(&switch, "columbia").is_empty());
            arrives(&mut crusader, VM, &mut [&mut far], &mut []);
            speak(&switch, "up", &mut far, VM);
            arrives(&mut crusader, VM, &mut [&mut far], &mut []);
        }
    }
}

#[test]
fn an_uplink_that_loses_its_link_or_its_interface_takes_along_what_was_learned_behind_it() {
    for placement in [Placement::OneWorker, Placement::Alternating] {
        let (switch, mut far) = with_wire(placement);
        let mut crusader = Station::guest(switch.guest("crusader"));
        let mut columbia = Station::guest(switch.guest("columbia"));
        speak(&switch, "crusader", &mut crusader, PEER);
        for mishap in ["link set far down", "link set near down", "link del near"] {
            speak(&switch, "up", &mut far, VM);
            arrives(&mut crusader, VM, &mut [&mut far], &mut [&mut columbia]);
            ip(mishap);
            wait_until("it is forgotten", || learned(&switch, "up").is_empty());
            assert_eq!(learned(&switch, "crusader"), [mac_text(PEER)], "{mishap}");
            arrives(&mut crusader, VM, &mut [&mut columbia], &mut []);
            if mishap.starts_with("link del") {
                lay_wire("near", "far", 1500);
            } else {
                ip(&mishap.replace("down", "up"));
            }
            switch.wait_state("up", PortState::Up);
            far = Station::Card(Card::on("far"));
        }
        speak(&switch, "up", &mut far, VM);
        arrives(&mut crusader, VM, &mut [&mut far], &mut [&mut columbia]);
    }
}

#[test]
fn a_tap_that_is_set_down_or_deleted_takes_along_what_was_learned_of_the_host() {
    for placement in [Placement::OneWorker, Placement::Alternating] {
        enter_namespace();
        let plan = Plan::new(placement).port("columbia", "").port("crusader", "");
        let switch = plan.more("[[port]]\nname = \"host\"\ntap = \"helio0\"\n").start();
        switch.wait_state("host", PortState::Up);
        let mut crusader = Station::guest(switch.guest("crusader"));
        let mut columbia = Station::guest(switch.guest("columbia"));
        for mishap in ["link set helio0 down", "link del helio0"] {
            let mut host = Station::Card(Card::on("helio0"));
            speak(&switch, "host", &mut host, VM);
            arrives(&mut crusader, VM, &mut [&mut host], &mut [&mut columbia]);
            ip(mishap);
            wait_until("it is forgotten", || learned(&switch, "host").is_empty());
            arrives(&mut crusader, VM, &mut [&mut columbia], &mut []);
            if mishap.ends_with("down") {
                ip("link set helio0 up");
            }
            switch.wait_state("host", PortState::Up);
        }
    }
}
