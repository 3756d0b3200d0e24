//! Exact named sessions: their legs and everybody else get the same bytes, whatever the sender does meanwhile.

use std::sync::Arc;

use helio_frame::MemoryDirectory;
use helio_mirror::{Exactness, LegForm, RefusedFrames, Session};
use helio_testkit::{FrameBuilder, Seen};
use helio_types::{DropReason, MacAddr, VlanId};

use crate::sessions::{frames_of, remote, session, without_remote_tag};
use crate::stage::{PortPlan, Stage, frame, mac, ordinary};

/// Buffers of one worker that frames of exact sessions may use.
const SPARE: usize = 384;

fn exact(legs: &[(usize, usize, LegForm)]) -> Session {
    Session { exactness: Exactness::Exact, ..session(&[0], legs) }
}

/// A sender, its receiver, and three more ports, the last at the last worker, with these sessions.
fn stage(workers: usize, sessions: Vec<Session>) -> Stage {
    let mut plans = vec![ordinary(); 5];
    plans[4] = ordinary().on(workers - 1);
    let mut stage = Stage::new(workers, &plans);
    stage.know_all(VlanId::UNTAGGED);
    stage.configure_sessions(&plans, sessions);
    stage
}

/// The same, with receivers that make the sender rewrite the frame that it sends next.
fn hostile(workers: usize, sessions: Vec<Session>) -> Stage {
    let stage = stage(workers, sessions);
    let (memory, place) = (Arc::clone(stage.ports[0].memory()), stage.ports[0].next_place());
    stage.ports[1..].iter().for_each(|far| far.scribble(&memory, place));
    stage
}

fn legs() -> [(usize, usize, LegForm); 4] {
    [(0, 2, LegForm::Plain), (1, 3, remote()), (2, 4, LegForm::Plain), (3, 4, remote())]
}

/// What the ports behind the sender got, without the tags that legs put in front.
fn shown(stage: &Stage) -> Vec<Vec<u8>> {
    let remote = |copy: &Vec<u8>| copy[12..14] == [0x81, 0];
    let plain = |copy: Vec<u8>| if remote(&copy) { without_remote_tag(&copy) } else { copy };
    (1..5).flat_map(|index| stage.bytes_at(index)).map(plain).collect()
}

#[test]
fn all_legs_and_the_receiver_get_identical_bytes_from_a_sender_that_rewrites_its_buffer() {
    for workers in [1, 2] {
        let mut stage = hostile(workers, vec![exact(&legs())]);
        let sent = frame(0, 1).payload(1200, 1).complete();
        stage.send(0, &sent);
        stage.settle();
        assert_eq!(shown(&stage), vec![sent.bytes; 5]);
        assert_eq!(stage.chunks_in_use(), 0);
    }
}

#[test]
fn legs_that_are_not_exact_show_what_the_sender_makes_of_its_buffer_behind_what_was_judged() {
    let mut stage = hostile(1, vec![session(&[0], &legs())]);
    let sent = frame(0, 1).payload(1200, 1).complete();
    stage.send(0, &sent);
    stage.settle();
    let shown = shown(&stage);
    assert_eq!(shown.len(), 5);
    for (index, copy) in shown.iter().enumerate() {
        assert_eq!(copy[..128], sent.bytes[..128]);
        assert!(shown[..index].iter().all(|other| other != copy), "copy {index}");
    }
}

#[test]
fn one_exact_session_makes_the_frame_exact_for_all() {
    let other = Session { number: 2, ..session(&[0], &[(1, 3, remote()), (2, 4, LegForm::Plain)]) };
    let mut stage = hostile(1, vec![exact(&[(0, 2, LegForm::Plain)]), other]);
    let sent = frame(0, 1).payload(1200, 1).complete();
    stage.send(0, &sent);
    stage.settle();
    assert_eq!(shown(&stage), vec![sent.bytes; 4]);
}

#[test]
fn an_exact_frame_to_be_segmented_is_cut_from_the_private_copy_for_each_leg() {
    let mut stage = hostile(2, vec![exact(&legs())]);
    let sent = frame(0, 1).tcp().payload(20_000, 1);
    stage.send(0, &sent.to_segment(1400));
    stage.settle();
    let shown = shown(&stage);
    assert_eq!(shown.len(), 5 * 15);
    let whole = Seen::of(&sent.complete().bytes).payload;
    let mut bytes = 0;
    for seen in shown.iter().map(|copy| Seen::of(copy)) {
        assert_eq!(seen.wrong, None);
        bytes += seen.payload.len();
        let at = (seen.sequence.unwrap().wrapping_sub(0xffff_ff00)) as usize;
        assert_eq!(seen.payload, whole[at..at + seen.payload.len()]);
    }
    assert_eq!(bytes, 5 * 20_000);
    assert_eq!(stage.chunks_in_use(), 0);
}

#[test]
fn the_sender_gets_the_chain_of_an_exact_frame_back_at_once_and_of_no_other() {
    for (sessions, held) in [
        (vec![exact(&[(0, 4, remote())])], 0),
        (vec![session(&[0], &[(0, 4, remote())])], 1),
        // Nobody gets it by a leg, so that there is nothing to be exact.
        (vec![exact(&[(0, 0, LegForm::Plain)]), session(&[0], &[(1, 4, LegForm::Plain)])], 1),
    ] {
        let mut stage = stage(2, sessions);
        stage.send(0, &frame(0, 1).payload(1200, 1).complete());
        stage.turn(0);
        assert_eq!(stage.ports[0].in_flight(), held);
        stage.settle();
        assert_eq!(stage.received_counts()[1..], [1, 0, 0, 1]);
        assert_eq!(stage.chunks_in_use(), 0);
    }
}

#[test]
fn without_a_private_buffer_exact_legs_lose_their_copies_and_nobody_else_loses_anything() {
    let other = Session { number: 2, ..session(&[0], &[(2, 2, LegForm::Plain)]) };
    let receiving = Session { number: 3, ..exact(&[(3, 1, LegForm::Plain)]) };
    let legs = [(0, 2, LegForm::Plain), (1, 4, remote())];
    let mut stage = stage(2, vec![exact(&legs), other, receiving]);
    let extra = 20;
    for _ in 0..SPARE + extra {
        stage.send(0, &frame(0, 1).payload(1200, 1).complete());
    }
    // Only the first worker turns, so that the copies for the other one keep their buffers.
    while stage.turn(0) > 0 {}
    stage.settle();
    let [all, spare, extra] =
        [SPARE + extra, SPARE, extra].map(|frames| u64::try_from(frames).unwrap());
    for leg in [0, 1, 3] {
        let counts = frames_of(&stage, leg, DropReason::NoPrivateBuffer);
        assert_eq!(counts, [all, spare, extra], "leg {leg}");
    }
    assert_eq!(frames_of(&stage, 2, DropReason::NoPrivateBuffer), [all, all, 0]);
    let received = stage.received_counts();
    assert_eq!(received[1..], [SPARE + 20, SPARE + 20, 0, SPARE]);
    assert_eq!(stage.all_drops(1), 0);
    assert_eq!(stage.chunks_in_use(), 0);
}

#[test]
fn a_refused_frame_is_exact_too() {
    let including = Session { refused: RefusedFrames::Included, ..exact(&legs()) };
    let mut stage = hostile(2, vec![including]);
    let sent = FrameBuilder::new(MacAddr::BROADCAST, mac(1)).payload(1200, 1).complete();
    stage.send(0, &sent);
    stage.settle();
    assert_eq!(shown(&stage), vec![sent.bytes; 4]);
    assert_eq!(stage.chunks_in_use(), 0);
}

#[test]
fn an_exact_mirror_destination_and_a_leg_share_one_private_copy() {
    let plans: Vec<PortPlan> = vec![
        ordinary().source(3),
        ordinary(),
        ordinary().destination(3).receive_only(),
        ordinary(),
        ordinary(),
    ];
    let mut stage = Stage::with_exact(1, &plans, &[3]);
    stage.know_all(VlanId::UNTAGGED);
    stage.configure_sessions(&plans, vec![exact(&[(0, 2, LegForm::Plain), (1, 3, remote())])]);
    let (memory, place) = (Arc::clone(stage.ports[0].memory()), stage.ports[0].next_place());
    stage.ports[1..].iter().for_each(|far| far.scribble(&memory, place));
    let sent = frame(0, 1).payload(1200, 1).complete();
    stage.send(0, &sent);
    stage.settle();
    assert_eq!(shown(&stage), vec![sent.bytes; 3]);
    assert_eq!(stage.counts(2).mirror.delivered.frames, 1);
    assert_eq!(stage.chunks_in_use(), 0);
}

#[test]
fn copies_of_a_frame_whose_memory_is_gone_are_dropped() {
    for (watching, reason) in [
        (exact(&legs()), DropReason::NoPrivateBuffer),
        (session(&[0], &legs()), DropReason::PortDown),
    ] {
        let mut stage = stage(2, vec![watching]);
        let id = stage.ports[0].memory_id();
        stage.ask(|fleet, _| fleet.replace(id, None));
        stage.send(0, &frame(0, 1).payload(900, 1).complete());
        stage.settle();
        assert_eq!(stage.received_counts(), [0; 5]);
        for leg in 0..4 {
            assert_eq!(frames_of(&stage, leg, reason), [1, 0, 1], "leg {leg}");
        }
        assert_eq!(stage.drops(1, DropReason::PortDown), 1);
    }
}
