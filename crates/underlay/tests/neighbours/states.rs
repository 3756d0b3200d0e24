//! When a neighbour is asked, and when copies can go there.

use helio_types::{MacAddr, VlanId};
use helio_underlay::{
    Carrier, Endpoint, EndpointSettings, NeighbourState, Observed, Refusal, UnderlayTag,
};

use crate::world::{BOTH, OTHER_MAC, PEER_MAC, Says, Version, World};

/// Where a question to everybody goes.
fn everybody(version: Version) -> MacAddr {
    match version {
        Version::V4 => MacAddr::BROADCAST,
        Version::V6 => MacAddr([0x33, 0x33, 0xff, 0xcc, 0xdd, 0x20]),
    }
}

fn at(milliseconds: &[u64], to: MacAddr) -> Vec<(u64, MacAddr)> {
    milliseconds.iter().map(|at| (*at, to)).collect()
}

#[test]
fn a_next_hop_stays_known_when_the_path_behind_it_is_another_one() {
    for version in BOTH {
        let of = |change: fn(&mut EndpointSettings)| {
            let mut settings = version.settings();
            change(&mut settings);
            Endpoint::new(&settings).unwrap()
        };
        let mut world = World::resolved(version);
        for path in [of(|it| it.mtu_bytes = 9000), of(|it| it.carrier = Carrier::Nothing)] {
            assert!(world.neighbour.replace_endpoint(path));
            assert_eq!(world.neighbour.mtu_bytes(), path.mtu_bytes());
            assert_eq!(world.neighbour.use_mac(), Some(PEER_MAC));
        }
        let tag = |it: &mut EndpointSettings| {
            it.tag = Some(UnderlayTag { vlan: VlanId::new(7).unwrap(), priority: 0 });
        };
        for elsewhere in [of(|it| it.own_mac = OTHER_MAC), of(tag)] {
            let mut world = World::resolved(version);
            assert!(world.neighbour.replace_endpoint(elsewhere));
            assert_eq!(world.neighbour.use_mac(), None);
        }
    }
}

#[test]
fn an_unknown_neighbour_is_asked_at_once_then_each_second_then_less_and_less_often() {
    for version in BOTH {
        let mut world = World::new(version);
        assert_eq!(world.neighbour.state(), NeighbourState::Incomplete);
        let seconds = [0, 1, 2, 4, 8, 16, 32, 62, 92];
        let expected: Vec<_> = seconds.map(|second| second * 1000).to_vec();
        assert_eq!(world.questions(100), at(&expected, everybody(version)));
        assert_eq!(
            (world.neighbour.state(), world.neighbour.use_mac()),
            (NeighbourState::Failed, None)
        );
    }
}

#[test]
fn a_neighbour_has_failed_a_second_after_the_third_question() {
    let mut world = World::new(Version::V4);
    world.questions(2);
    assert!(world.turn().is_some());
    world.pass(999);
    assert_eq!((world.turn(), world.neighbour.state()), (None, NeighbourState::Incomplete));
    world.pass(1);
    assert_eq!((world.turn(), world.neighbour.state()), (None, NeighbourState::Failed));
}

#[test]
fn an_answer_makes_a_neighbour_known_also_after_it_had_failed() {
    for version in BOTH {
        for seconds in [1, 3, 9] {
            let mut world = World::new(version);
            world.questions(seconds);
            assert_eq!(world.neighbour.mac(), None);
            assert_eq!(world.hear(Says::Answer(PEER_MAC)), Observed::Learned, "{seconds}");
            assert_eq!(world.neighbour.state(), NeighbourState::Reachable);
            assert_eq!(world.neighbour.mac(), Some(PEER_MAC));
        }
    }
}

#[test]
fn a_neighbour_that_is_used_is_asked_by_itself_after_thirty_seconds_and_used_meanwhile() {
    for version in BOTH {
        let mut world = World::resolved(version);
        assert_eq!(world.questions(30), []);
        assert_eq!(world.neighbour.state(), NeighbourState::Reachable);
        // The turn that finds it stale, and the one after the next copy.
        assert_eq!(world.questions(1), at(&[100], PEER_MAC));
        assert_eq!(world.neighbour.state(), NeighbourState::Probe);
        assert_eq!(world.neighbour.use_mac(), Some(PEER_MAC));
        assert_eq!(world.hear(Says::Answer(PEER_MAC)), Observed::Learned);
        assert_eq!(world.questions(30), []);
    }
}

#[test]
fn a_neighbour_that_is_not_used_is_left_in_peace_and_stays_known() {
    let mut world = World::resolved(Version::V4);
    for _ in 0..600 {
        world.pass(1000);
        assert_eq!(world.turn(), None);
        assert_eq!(world.neighbour.mac(), Some(PEER_MAC));
    }
    assert_eq!(world.neighbour.state(), NeighbourState::Stale);
    assert_eq!(world.neighbour.use_mac(), Some(PEER_MAC));
    assert!(world.turn().is_some());
    assert_eq!(world.neighbour.state(), NeighbourState::Probe);
}

#[test]
fn a_copy_before_it_went_stale_is_no_use_of_a_stale_neighbour() {
    let mut world = World::resolved(Version::V6);
    world.neighbour.use_mac();
    world.pass(30_000);
    assert_eq!((world.turn(), world.neighbour.state()), (None, NeighbourState::Stale));
    world.pass(30_000);
    assert_eq!((world.turn(), world.neighbour.state()), (None, NeighbourState::Stale));
}

#[test]
fn a_neighbour_that_answers_no_probe_is_forgotten_after_three_and_looked_for_anew() {
    for version in BOTH {
        let mut world = World::resolved(version);
        world.questions(30);
        assert_eq!(world.questions(3), at(&[100, 1100, 2100], PEER_MAC));
        assert_eq!(world.neighbour.use_mac(), Some(PEER_MAC));
        world.turn();
        world.pass(100);
        assert_eq!(world.questions(4), at(&[0, 1000, 2000], everybody(version)));
        assert_eq!(
            (world.neighbour.use_mac(), world.neighbour.state()),
            (None, NeighbourState::Failed)
        );
    }
}

#[test]
fn an_answer_to_the_third_probe_keeps_a_neighbour() {
    let mut world = World::resolved(Version::V4);
    world.questions(30);
    assert_eq!(world.questions(3).len(), 3);
    assert_eq!(world.hear(Says::Answer(PEER_MAC)), Observed::Learned);
    assert_eq!((world.neighbour.state(), world.questions(30)), (NeighbourState::Reachable, vec![]));
}

#[test]
fn a_worker_that_comes_late_asks_once_and_goes_on_from_there() {
    let mut world = World::new(Version::V6);
    assert!(world.turn().is_some());
    world.pass(60_000);
    assert_eq!(world.questions(2), at(&[0, 1000], everybody(Version::V6)));
}

#[test]
fn a_clock_that_goes_back_stops_nothing_for_good() {
    let mut world = World::resolved(Version::V4);
    let later = world.now;
    world.now = later.checked_sub(std::time::Duration::from_secs(20)).unwrap();
    assert_eq!(world.questions(20), []);
    assert_eq!(world.now, later);
    assert_eq!(world.questions(32).len(), 2);
}

#[test]
fn after_the_link_was_down_what_is_known_is_asked_anew_and_what_is_not_at_once() {
    let mut world = World::resolved(Version::V4);
    world.pass(1000);
    world.neighbour.restart();
    assert_eq!(world.neighbour.use_mac(), Some(PEER_MAC));
    assert_eq!(world.questions(1), at(&[0], PEER_MAC));

    let mut world = World::new(Version::V4);
    world.questions(40);
    assert_eq!(world.neighbour.state(), NeighbourState::Failed);
    world.neighbour.restart();
    assert_eq!(world.questions(3), at(&[0, 1000, 2000], MacAddr::BROADCAST));
}

#[test]
fn however_often_the_link_flaps_two_questions_are_a_second_apart() {
    let mut world = World::new(Version::V4);
    let mut asked = 0;
    for _ in 0..100 {
        world.neighbour.restart();
        asked += u32::from(world.turn().is_some());
        world.pass(50);
    }
    assert_eq!(asked, 5);
}

#[test]
fn a_lost_neighbour_that_shows_itself_is_asked_within_a_second_and_not_believed_before() {
    for version in BOTH {
        let mut world = World::new(version);
        world.questions(40);
        assert_eq!(world.questions(10), []);
        let seen = world.hear(Says::Announce(PEER_MAC));
        assert_eq!(seen, Observed::Refused(Refusal::Unasked));
        assert_eq!(world.neighbour.mac(), None);
        assert_eq!(world.questions(2), at(&[0], everybody(version)));
        assert_eq!(world.hear(Says::Answer(PEER_MAC)), Observed::Learned);
    }
}

#[test]
fn whoever_shows_himself_all_the_time_makes_us_ask_once_a_second_at_most() {
    let mut world = World::new(Version::V4);
    world.questions(40);
    let mut asked = 0;
    for _ in 0..1000 {
        world.hear(Says::Announce(OTHER_MAC));
        asked += u32::from(world.turn().is_some());
        world.pass(10);
    }
    assert_eq!(asked, 10);
}

#[test]
fn each_state_has_a_name() {
    let states = [
        NeighbourState::Incomplete,
        NeighbourState::Reachable,
        NeighbourState::Stale,
        NeighbourState::Probe,
        NeighbourState::Failed,
    ];
    let names = states.map(|state| state.to_string());
    assert_eq!(names, ["incomplete", "reachable", "stale", "probe", "failed"]);
}
