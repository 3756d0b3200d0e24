//! Legs through ports of other workers and of nobody, and sessions that change while frames are under way.

use helio_mirror::{LegForm, Session};
use helio_testkit::Received;
use helio_types::{DropReason, VlanId};

use crate::sessions::{frames_of, remote, session};
use crate::stage::{PortPlan, Stage, frame, ordinary};

/// Ports 0 to 5, one after the other at each of the workers.
fn plans(workers: usize) -> Vec<PortPlan> {
    (0..6).map(|index| ordinary().on(index % workers)).collect()
}

fn stage(workers: usize, sessions: Vec<Session>) -> Stage {
    let mut stage = Stage::new(workers, &plans(workers));
    stage.know_all(VlanId::UNTAGGED);
    stage.configure_sessions(&plans(workers), sessions);
    stage
}

/// Legs through all of ports 3 to 5.
fn legs() -> [(usize, usize, LegForm); 6] {
    [
        (0, 3, LegForm::Plain),
        (1, 4, LegForm::Plain),
        (2, 5, LegForm::Plain),
        (3, 3, remote()),
        (4, 4, remote()),
        (5, 5, remote()),
    ]
}

#[test]
fn a_frame_is_held_until_the_workers_of_all_its_legs_are_done() {
    let mut stage = stage(3, vec![session(&[0], &legs())]);
    stage.send(0, &frame(0, 3).payload(500, 1).complete());
    stage.turn(0);
    assert_eq!(stage.ports[3].received().len(), 2);
    stage.turn(1);
    stage.turn(0);
    assert_eq!((stage.received(4).len(), stage.ports[0].in_flight()), (2, 1));
    stage.turn(2);
    stage.turn(0);
    assert_eq!((stage.received(5).len(), stage.ports[0].in_flight()), (2, 0));
    stage.settle();
    for leg in 0..6 {
        assert_eq!(frames_of(&stage, leg, DropReason::Mtu), [1, 1, 0], "leg {leg}");
    }
}

#[test]
fn copies_that_find_the_ring_to_another_worker_full_are_counted_for_each_leg() {
    let legs = [(0, 3, LegForm::Plain), (1, 3, remote()), (2, 2, LegForm::Plain)];
    let mut stage = stage(2, vec![session(&[0], &legs)]);
    for _ in 0..3 {
        // Frames within their heads are complete at once, so the sender is not held up.
        (0..600).for_each(|_| stage.send(0, &frame(0, 4).payload(60, 1).complete()));
        while stage.turn(0) > 0 {}
    }
    stage.settle();
    // Copies have half of the ring.
    assert_eq!(stage.received_counts()[2..], [1800, 2 * 512, 1800, 0]);
    for leg in [0, 1] {
        assert_eq!(frames_of(&stage, leg, DropReason::HandoffFull), [1800, 512, 1288]);
    }
    assert_eq!(frames_of(&stage, 2, DropReason::HandoffFull), [1800, 1800, 0]);
    assert_eq!(stage.all_drops(4), 0);
}

#[test]
fn production_that_finds_the_ring_full_takes_its_legs_with_it() {
    let mut stage = stage(2, vec![session(&[0], &[(0, 1, LegForm::Plain), (1, 3, remote())])]);
    for _ in 0..3 {
        (0..600).for_each(|_| stage.send(0, &frame(0, 1).payload(60, 1).complete()));
        while stage.turn(0) > 0 {}
    }
    assert_eq!(stage.drops(1, DropReason::HandoffFull), 1800 - 1024);
    stage.settle();
    for leg in [0, 1] {
        assert_eq!(frames_of(&stage, leg, DropReason::HandoffFull), [1800, 1024, 776]);
    }
}

#[test]
fn copies_for_a_port_of_nobody_are_dropped_as_for_one_that_is_down() {
    for workers in [1, 2] {
        let mut plans = plans(workers);
        plans[3] = ordinary().detached();
        let mut stage = Stage::new(workers, &plans);
        stage.know_all(VlanId::UNTAGGED);
        stage.configure_sessions(&plans, vec![session(&[0, 1], &legs())]);
        stage.send(0, &frame(0, 2).payload(500, 1).complete());
        stage.send(1, &frame(1, 3).payload(500, 1).complete());
        stage.settle();
        for leg in [0, 3] {
            assert_eq!(frames_of(&stage, leg, DropReason::PortDown), [2, 0, 2], "leg {leg}");
        }
        for leg in [1, 2, 4, 5] {
            assert_eq!(frames_of(&stage, leg, DropReason::PortDown), [2, 2, 0], "leg {leg}");
        }
        assert_eq!(stage.drops(3, DropReason::PortDown), 1);
        assert_eq!(stage.received_counts(), [0, 0, 1, 0, 4, 4]);
    }
}

#[test]
fn copies_under_way_to_a_port_that_is_removed_are_counted_and_their_frames_given_back() {
    let mut stage = stage(2, vec![session(&[0], &legs())]);
    (0..100).for_each(|_| stage.send(0, &frame(0, 2).payload(500, 1).complete()));
    while stage.turn(0) > 0 {}
    assert!(stage.remove_port(1, 3).is_some());
    stage.settle();
    for leg in [0, 3] {
        let [wanted, delivered, dropped] = frames_of(&stage, leg, DropReason::PortDown);
        assert_eq!((wanted, delivered + dropped), (100, 100));
    }
    assert_eq!(frames_of(&stage, 2, DropReason::PortDown), [100, 100, 0]);
}

#[test]
fn copies_under_way_by_a_leg_that_is_gone_are_dropped_and_production_beside_them_is_not() {
    let mut stage = stage(2, vec![session(&[0], &[(0, 3, LegForm::Plain), (1, 3, remote())])]);
    (0..5).for_each(|_| stage.send(0, &frame(0, 1).payload(500, 1).complete()));
    stage.turn(0);
    // The turns that the workers take meanwhile come after they have the new configuration, for each of them.
    stage.configure_sessions(&plans(2), vec![session(&[0], &[(1, 3, remote())])]);
    stage.settle();
    assert_eq!(stage.received(1).len(), 5);
    let [first, second] = [0, 1].map(|leg| frames_of(&stage, leg, DropReason::PortDown));
    assert_eq!((first[0], first[1] + first[2]), (5, 5));
    assert_eq!(second, [5, 5, 0]);
    assert_eq!(u64::try_from(stage.received(3).len()).unwrap(), first[1] + second[1]);
}

#[test]
fn sessions_that_come_and_go_under_load_cost_production_nothing() {
    let sets = [
        vec![session(&[0], &legs())],
        Vec::new(),
        vec![
            Session { number: 2, ..session(&[1, 3], &legs()[..2]) },
            Session { number: 3, ..session(&[5], &legs()[5..]) },
        ],
        vec![Session {
            number: 4,
            ..session(&[0, 1], &[(9, 1, LegForm::Plain), (8, 3, remote())])
        }],
    ];
    for workers in [1, 2, 3] {
        let mut stage = stage(workers, Vec::new());
        let mut received: Vec<Vec<u8>> = Vec::new();
        for round in 0..40_u8 {
            for number in 0..5 {
                for from in [0, 2] {
                    let mut frame = frame(from, 1).payload(300, 9).complete();
                    let end = frame.bytes.len();
                    frame.bytes[end - 2..].copy_from_slice(&[round, number]);
                    stage.send(from, &frame);
                }
                stage.turn(usize::from(number) % workers);
            }
            stage.configure_sessions(&plans(workers), sets[usize::from(round) % 4].clone());
            received.extend(stage.received(1).into_iter().map(|Received { bytes, .. }| bytes));
        }
        stage.settle();
        received.extend(stage.bytes_at(1));
        assert_eq!(stage.all_drops(1), 0);
        for from in [0, 2] {
            let of_sender = received.iter().filter(|bytes| bytes[11] == from);
            let numbers: Vec<_> =
                of_sender.map(|bytes| [bytes[bytes.len() - 2], bytes[bytes.len() - 1]]).collect();
            let sent: Vec<_> =
                (0..40).flat_map(|round| (0..5).map(move |number| [round, number])).collect();
            assert_eq!(numbers, sent, "{workers} workers, from {from}");
        }
        assert!((0..10).map(|leg| stage.leg_counts(leg).delivered.frames).sum::<u64>() > 100);
    }
}
