//! Frames between ports of different workers: held until the receipt is there, in order, and never lost unseen.

use helio_offload::Offloads;
use helio_testkit::fake_port;
use helio_types::{DropReason, VlanId, WorkerId};
use helio_worker::WorkerGone;
use proptest::prelude::*;

use crate::stage::{PortPlan, Stage, broadcast, frame, ordinary, port};

/// Frames under way from one worker to another, at most.
const HANDOFFS: usize = 1024;

fn plans() -> Vec<PortPlan> {
    vec![ordinary(), ordinary().on(1), ordinary(), ordinary().on(1)]
}

fn two() -> Stage {
    let stage = Stage::new(2, &plans());
    stage.know_all(VlanId::UNTAGGED);
    stage
}

#[test]
fn a_frame_for_another_worker_is_held_until_its_receipt_is_back() {
    let mut stage = two();
    stage.send(0, &frame(0, 1).payload(500, 1).complete());
    stage.turn(0);
    assert_eq!((stage.received(1).len(), stage.ports[0].in_flight()), (0, 1));
    stage.turn(1);
    assert_eq!((stage.received(1).len(), stage.ports[0].in_flight()), (1, 1));
    stage.turn(0);
    assert_eq!((stage.ports[0].completed(), stage.ports[0].in_flight()), (1, 0));
}

#[test]
fn a_flooded_frame_is_held_once_for_each_other_worker_and_not_for_its_own() {
    let plans: Vec<_> = (0..6).map(|index| ordinary().on(index % 3)).collect();
    let mut stage = Stage::new(3, &plans);
    stage.send(0, &broadcast(0).payload(500, 1).complete());
    stage.turn(0);
    assert_eq!(stage.received(3).len(), 1);
    stage.turn(1);
    stage.turn(0);
    assert_eq!(stage.ports[0].in_flight(), 1, "worker 2 has not seen it");
    stage.turn(2);
    stage.turn(0);
    assert_eq!(stage.ports[0].in_flight(), 0);
    assert_eq!(stage.received_counts(), [0, 1, 1, 0, 1, 1]);
}

#[test]
fn a_frame_within_its_head_is_not_held() {
    let mut stage = two();
    stage.send(0, &frame(0, 1).payload(86, 1).complete());
    stage.send(2, &frame(2, 1).payload(87, 1).complete());
    stage.turn(0);
    assert_eq!((stage.ports[0].completed(), stage.ports[2].completed()), (1, 0));
    stage.settle();
    assert_eq!(stage.received(1).len(), 2);
}

#[test]
fn chains_are_completed_in_the_order_taken_whoever_is_done_first() {
    let mut stage = two();
    stage.send(0, &frame(0, 1).payload(500, 1).complete());
    stage.send(0, &frame(0, 2).payload(500, 1).complete());
    stage.turn(0);
    assert_eq!((stage.received(2).len(), stage.ports[0].completed()), (1, 0));
    stage.turn(1);
    stage.turn(0);
    assert_eq!(stage.ports[0].completed(), 2);
}

#[test]
fn what_finds_the_ring_to_another_worker_full_is_dropped_there_with_its_reason() {
    // With the rest in the sender's memory the receipts are the limit, without it the ring is.
    for payload_bytes in [500, 20] {
        // That the receiver is a monitor as well must not unbalance its session.
        let mut plans = plans();
        plans[0] = ordinary().source(0);
        plans[1] = ordinary().on(1).destination(0);
        let mut stage = Stage::new(2, &plans);
        stage.know_all(VlanId::UNTAGGED);
        for _ in 0..HANDOFFS - 24 {
            stage.send(0, &frame(0, 1).payload(payload_bytes, 1).complete());
            stage.send(2, &frame(2, 1).payload(payload_bytes, 1).complete());
        }
        let sent = 2 * (HANDOFFS - 24);
        while stage.turn(0) > 0 {}
        let dropped = u64::try_from(sent - HANDOFFS).unwrap();
        assert_eq!(stage.drops(1, DropReason::HandoffFull), dropped);
        stage.settle();
        assert_eq!(stage.received(1).len(), HANDOFFS);
        assert_eq!(stage.all_drops(1), dropped);
        // And it is as good as new.
        stage.send(0, &frame(0, 1).payload(payload_bytes, 1).complete());
        stage.settle();
        assert_eq!(stage.received(1).len(), 1);
    }
}

#[test]
fn a_copy_that_finds_the_ring_full_is_dropped_and_production_goes_on() {
    let mut plans = plans();
    plans[0] = ordinary().source(0);
    plans[3] = ordinary().on(1).destination(0);
    let mut stage = Stage::new(2, &plans);
    stage.know_all(VlanId::UNTAGGED);
    let mut received = 0;
    for _ in 0..3 {
        // Frames within their heads are complete at once, so the sender is not held up either.
        (0..600).for_each(|seed| {
            stage.send(0, &frame(0, 2).payload(60, u8::try_from(seed % 256).unwrap()).complete());
        });
        while stage.turn(0) > 0 {}
        received += stage.received(2).len();
    }
    assert_eq!(received, 1800);
    stage.settle();
    let mirror = stage.counts(3).mirror;
    assert_eq!(mirror.wanted.frames, 1800);
    // Copies have half of the ring; the other half is for frames that somebody waits for.
    assert_eq!(mirror.delivered.frames, 512);
    assert_eq!(mirror.dropped[DropReason::HandoffFull.index()].frames, 1288);
    assert_eq!(stage.all_drops(2), 0);
}

/// 300 long frames from port 0 to port 1, which are then under way.
fn send_more_than_a_few_turns_deliver(stage: &mut Stage) {
    stage.ports[1].accept(Offloads::CSUM.union(Offloads::TSO4));
    let long = frame(0, 1).tcp().payload(30_000, 1).to_segment(1400);
    (0..300).for_each(|_| stage.send(0, &long));
    while stage.turn(0) > 0 {}
}

#[test]
fn frames_under_way_to_a_port_that_is_removed_are_counted_and_given_back() {
    let mut stage = two();
    send_more_than_a_few_turns_deliver(&mut stage);
    assert!(stage.remove_port(1, 1).is_some());
    // Nothing is under way any more, so what comes next goes to who has the id next.
    let received = u64::try_from(stage.received(1).len()).unwrap();
    assert_eq!(received + stage.drops(1, DropReason::PortDown), 300);
    stage.send(0, &frame(0, 1).payload(500, 1).complete());
    stage.settle();
    assert_eq!(received + stage.drops(1, DropReason::PortDown), 301);
}

#[test]
fn a_port_that_is_removed_while_its_frames_are_under_way_leaves_nothing_behind_for_the_next_one() {
    let mut stage = two();
    send_more_than_a_few_turns_deliver(&mut stage);
    assert_eq!(stage.ports[0].in_flight(), 300);
    let removed = stage.remove_port(0, 0);
    assert!(removed.is_some());
    assert_eq!(stage.received(1).len(), 300);
    // Its id goes to another port at once, which notices if it is given what was not its own.
    let (fake, far) = fake_port(port(0));
    let owner = WorkerId::new(0).unwrap();
    stage.ask(|fleet, _| {
        fleet.add_port(owner, port(0), Box::new(fake)).unwrap();
    });
    far.send(&frame(0, 1).payload(60, 1).complete());
    (0..10).for_each(|turn| _ = stage.turn(turn % 2));
    assert_eq!((far.completed(), far.in_flight()), (1, 0));
    assert_eq!(stage.received(1).len(), 1);
}

#[test]
fn who_asks_a_worker_that_has_ended_is_told_so() {
    let Stage { fleet, workers, .. } = two();
    drop(workers);
    let worker = WorkerId::new(1).unwrap();
    assert!(matches!(fleet.report(worker), Err(WorkerGone)));
    assert!(matches!(fleet.remove_port(worker, port(1)), Err(WorkerGone)));
    let (fake, _far) = fake_port(port(1));
    assert!(matches!(fleet.add_port(worker, port(1), Box::new(fake)), Err(WorkerGone)));
    assert!(matches!(fleet.report(WorkerId::new(2).unwrap()), Err(WorkerGone)));
}

#[test]
fn a_worker_reports_its_turns_and_the_frames_it_took_without_the_receipts() {
    let mut stage = two();
    stage.send(0, &frame(0, 1).payload(500, 1).complete());
    stage.settle();
    let reports = stage
        .ask(|fleet, _| [0, 1].map(|worker| fleet.report(WorkerId::new(worker).unwrap()).unwrap()));
    // The first took the frame and, in another turn, its receipt; the second took the handoff.
    assert_eq!(reports.each_ref().map(|report| report.frames), [1, 1]);
    assert_eq!(reports.each_ref().map(|report| report.working_turns), [2, 1]);
    assert!(reports[0].turns > 2);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn frames_of_one_sender_reach_a_receiver_in_order_in_whatever_order_workers_turn(
        schedule in proptest::collection::vec((0..3_usize, 0..6_usize, 0..24_u8), 1..60),
    ) {
        let plans: Vec<_> = (0..6).map(|index| ordinary().on(index % 3)).collect();
        let mut stage = Stage::new(3, &plans);
        stage.know_all(VlanId::UNTAGGED);
        let mut sent = vec![Vec::new(); 6];
        for (worker, from, count) in schedule {
            for _ in 0..count {
                let number = sent[from].len();
                let to = (from + 1 + number % 5) % 6;
                // Long and short ones, so that held frames and others mix.
                let builder = frame(from, to).payload(40 + number % 2 * 400, 0);
                let mut frame = builder.complete();
                let end = frame.bytes.len();
                frame.bytes[end - 8..].copy_from_slice(&(number as u64).to_be_bytes());
                stage.send(from, &frame);
                sent[from].push(to);
            }
            stage.turn(worker);
        }
        stage.settle();
        for to in 0..6 {
            let mut next = [0; 6];
            for bytes in stage.bytes_at(to) {
                let from = usize::from(bytes[11]);
                let number = u64::from_be_bytes(*bytes.last_chunk().unwrap());
                let number = usize::try_from(number).unwrap();
                let expected = (next[from]..).find(|n| sent[from].get(*n) == Some(&to));
                prop_assert_eq!(Some(number), expected);
                next[from] = number + 1;
            }
            for (from, next) in next.into_iter().enumerate() {
                prop_assert!(!sent[from][next..].contains(&to), "a frame is missing");
            }
        }
    }
}
