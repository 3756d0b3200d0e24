//! Exact sessions: everybody gets the same bytes, whatever the sender does to its buffer meanwhile.

use std::sync::Arc;

use helio_frame::MemoryDirectory;
use helio_types::{DropReason, VlanId};

use crate::stage::{PortPlan, Stage, broadcast, frame, ordinary};

/// Buffers of one worker that frames of exact sessions may use, of 512.
const SPARE: usize = 384;
/// Buffers that those frames of one port may use which cannot do without.
const PER_PORT: usize = 64;

/// A source, its receiver, and two monitors, the second at the last worker.
fn plans(workers: usize) -> [PortPlan; 4] {
    let monitor = ordinary().destination(3).receive_only();
    [ordinary().source(3), ordinary(), monitor.clone(), monitor.on(workers - 1)]
}

/// A stage whose every receiver makes the sender rewrite what it sent next.
fn hostile(workers: usize, exact: &[u8]) -> Stage {
    let stage = Stage::with_exact(workers, &plans(workers), exact);
    stage.know_all(VlanId::UNTAGGED);
    let (memory, place) = (Arc::clone(stage.ports[0].memory()), stage.ports[0].next_place());
    stage.ports[1..].iter().for_each(|far| far.scribble(&memory, place));
    stage
}

#[test]
fn receiver_and_monitors_get_identical_bytes_from_a_sender_that_rewrites_its_buffer() {
    for workers in [1, 2] {
        let mut stage = hostile(workers, &[3]);
        let sent = frame(0, 1).payload(1200, 1).complete();
        stage.send_in_pieces(0, &sent, 5);
        stage.settle();
        for index in [1, 2, 3] {
            assert_eq!(stage.bytes_at(index), std::slice::from_ref(&sent.bytes), "port {index}");
        }
        assert_eq!(stage.chunks_in_use(), 0);
    }
}

#[test]
fn without_an_exact_session_the_same_sender_shows_each_of_them_something_else() {
    let mut stage = hostile(1, &[]);
    stage.send(0, &frame(0, 1).payload(1200, 1).complete());
    stage.settle();
    let frames: Vec<_> = [1, 2, 3].map(|index| stage.bytes_at(index).remove(0)).into();
    assert!(frames[0] != frames[1] && frames[1] != frames[2] && frames[0] != frames[2]);
    // What was judged is the same for all the same.
    assert_eq!(frames[0][..128], frames[1][..128]);
}

#[test]
fn an_exact_frame_to_be_segmented_is_cut_from_the_private_copy() {
    let mut stage = hostile(2, &[3]);
    stage.send_in_pieces(0, &frame(0, 1).tcp().payload(40_000, 1).to_segment(1400), 18);
    stage.settle();
    let at_receiver = stage.seen_at(1);
    assert!(at_receiver.iter().all(|seen| seen.wrong.is_none()));
    assert_eq!(at_receiver.len(), 29);
    assert_eq!((stage.seen_at(2), stage.seen_at(3)), (at_receiver.clone(), at_receiver));
    assert_eq!(stage.chunks_in_use(), 0);
}

#[test]
fn the_sender_gets_the_chain_of_an_exact_frame_back_at_once() {
    let mut stage = Stage::with_exact(2, &plans(2), &[3]);
    stage.know_all(VlanId::UNTAGGED);
    stage.send(0, &frame(0, 1).payload(1200, 1).complete());
    stage.turn(0);
    // The other worker has not even seen it.
    assert_eq!(stage.ports[0].in_flight(), 0);
    stage.settle();
    assert_eq!(stage.received_counts(), [0, 1, 1, 1]);
    assert_eq!(stage.chunks_in_use(), 0);
}

#[test]
fn a_frame_that_no_exact_session_gets_is_not_copied() {
    let mut stage = Stage::with_exact(2, &plans(2), &[7]);
    stage.know_all(VlanId::UNTAGGED);
    stage.send(0, &frame(0, 1).payload(1200, 1).complete());
    stage.turn(0);
    assert_eq!(stage.ports[0].in_flight(), 1, "it is held for the monitor at the other worker");
    stage.settle();
}

#[test]
fn when_private_buffers_run_out_production_goes_on_and_exact_copies_are_dropped() {
    let mut all = plans(2).to_vec();
    // A monitor of another session, which is not exact, watches the receiver.
    all[1] = all[1].clone().source(4);
    all.push(ordinary().destination(4).receive_only());
    let mut stage = Stage::with_exact(2, &all, &[3]);
    stage.know_all(VlanId::UNTAGGED);
    let extra = 20;
    for _ in 0..SPARE + extra {
        stage.send(0, &frame(0, 1).payload(1200, 1).complete());
    }
    // Only the first worker turns, so that the copies for the other one keep their buffers.
    while stage.turn(0) > 0 {}
    assert_eq!(stage.ports[1].received().len(), SPARE + extra);
    stage.settle();
    assert_eq!(stage.received_counts(), [0, 0, SPARE, SPARE, SPARE + extra]);
    for index in [2, 3] {
        let mirror = stage.counts(index).mirror;
        let dropped = mirror.dropped[DropReason::NoPrivateBuffer.index()];
        assert_eq!(dropped.frames, u64::try_from(extra).unwrap());
    }
    assert_eq!(stage.all_drops(1), 0);
    assert_eq!(stage.chunks_in_use(), 0);
}

#[test]
fn a_frame_that_lies_in_a_private_buffer_already_is_not_copied_again() {
    let mut all = plans(2).to_vec();
    all.extend((0..5).map(|_| ordinary().source(3)));
    let mut stage = Stage::with_exact(2, &all, &[3]);
    stage.know_all(VlanId::UNTAGGED);
    // Together they use all that exact sessions may use.
    let sources = [0, 4, 5, 6, 7, 8];
    for from in sources {
        for _ in 0..PER_PORT {
            stage.send_spilled(from, &frame(from, 1).payload(1200, 1).complete());
        }
    }
    while stage.turn(0) > 0 {}
    stage.settle();
    let all = sources.len() * PER_PORT;
    assert_eq!(stage.received_counts()[..4], [0, all, all, all]);
    assert_eq!(stage.chunks_in_use(), 0);
}

#[test]
fn a_frame_within_its_head_needs_no_private_buffer() {
    let mut stage = Stage::with_exact(2, &plans(2), &[3]);
    for _ in 0..SPARE + 1 {
        stage.send(0, &broadcast(0).payload(86, 1).complete());
    }
    while stage.turn(0) > 0 {}
    assert_eq!(stage.ports[0].in_flight(), 0);
    stage.settle();
    assert_eq!(stage.received_counts(), [0, SPARE + 1, SPARE + 1, SPARE + 1]);
}

#[test]
fn an_exact_frame_whose_memory_is_gone_reaches_nobody() {
    let mut stage = Stage::with_exact(2, &plans(2), &[3]);
    let id = stage.ports[0].memory_id();
    stage.ask(|fleet, _| fleet.replace(id, None));
    stage.send(0, &broadcast(0).payload(900, 1).complete());
    stage.settle();
    assert_eq!(stage.received_counts(), [0; 4]);
    assert_eq!(stage.drops(1, DropReason::PortDown), 1);
    assert_eq!(stage.chunks_in_use(), 0);
}
