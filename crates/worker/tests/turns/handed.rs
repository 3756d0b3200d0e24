//! Frames that another worker delivers go together there, as they do at the worker that took them, and nobody can tell.

use helio_counters::PortCounts;
use helio_frame::BURST_FRAMES;
use helio_mirror::LegForm;
use helio_testkit::TestFrame;
use helio_types::{DropReason, VlanId};
use proptest::collection::vec;
use proptest::prelude::*;

use crate::sessions::session;
use crate::stage::{PortPlan, Stage, broadcast, frame, ordinary};

/// Ports 0, 4 and 5 at one worker, where frames come from, and 1 to 3 at the other: 1 and 3 receive, 2 watches port 0.
fn plans() -> Vec<PortPlan> {
    let (here, there) = (ordinary(), ordinary().on(1));
    let watching = there.clone().destination(0);
    vec![here.clone().source(0), there.clone(), watching, there, here.clone(), here]
}

const PORTS: usize = 6;

fn stage() -> Stage {
    let stage = Stage::new(2, &plans());
    stage.know_all(VlanId::UNTAGGED);
    stage
}

/// Frames with payloads of other lengths and bytes: some fit their heads, and some want a receipt.
fn numbered(from: usize, to: usize, count: usize) -> Vec<TestFrame> {
    let one = |number: usize| {
        let seed = u8::try_from(number).unwrap();
        frame(from, to).payload(20 + 9 * number, seed).complete()
    };
    (0..count).map(one).collect()
}

fn bytes_of<'a>(frames: impl IntoIterator<Item = &'a TestFrame>) -> Vec<Vec<u8>> {
    frames.into_iter().map(|frame| frame.bytes.clone()).collect()
}

fn send_all(stage: &mut Stage, from: usize, frames: &[TestFrame]) {
    frames.iter().for_each(|frame| stage.send(from, frame));
}

#[test]
fn frames_handed_over_are_offered_together_to_receivers_and_to_who_watches() {
    let mut stage = stage();
    let sent = numbered(0, 1, BURST_FRAMES + 5);
    send_all(&mut stage, 0, &sent);
    stage.settle();
    for index in [1, 2] {
        assert_eq!(stage.bytes_at(index), bytes_of(&sent));
        assert_eq!(stage.ports[index].runs(), [BURST_FRAMES, 5]);
    }
}

#[test]
fn bursts_that_waited_together_are_delivered_together_up_to_the_length_of_one() {
    let mut stage = stage();
    for (count, from) in [(20, 4), (20, 4), (30, 4), (10, 0)] {
        send_all(&mut stage, from, &numbered(from, 3, count));
        stage.turn(0);
    }
    assert_eq!(stage.turn(1), 80);
    // The last ones are watched, so they go another way.
    assert_eq!((stage.ports[3].runs(), stage.ports[2].runs()), (vec![40, 30, 10], vec![10]));
    stage.settle();
    let sent = [(4, 20), (4, 20), (4, 30), (0, 10)].map(|(from, count)| numbered(from, 3, count));
    assert_eq!(stage.bytes_at(3), bytes_of(&sent.concat()));
}

#[test]
fn frames_for_one_port_of_another_worker_follow_each_other_there_whatever_went_between_them() {
    let mut stage = stage();
    let (there, here) = (numbered(4, 1, 20), numbered(4, 5, 20));
    for (one, other) in there.iter().zip(&here) {
        stage.send(4, one);
        stage.send(4, other);
    }
    stage.settle();
    assert_eq!((stage.bytes_at(1), stage.ports[1].runs()), (bytes_of(&there), vec![20]));
    assert_eq!((stage.bytes_at(5), stage.ports[5].runs()), (bytes_of(&here), vec![1; 20]));
}

#[test]
fn a_destination_at_another_worker_without_a_buffer_is_left_alone() {
    let mut stage = stage();
    // Whoever was added publishes in the first turn that finds something.
    stage.send(4, &frame(4, 3).complete());
    stage.settle();
    let before = stage.ports[2].publishes();
    stage.ports[2].set_room(0);
    send_all(&mut stage, 0, &numbered(0, 1, 10));
    stage.settle();
    let mirror = stage.counts(2).mirror;
    assert_eq!((mirror.wanted.frames, mirror.delivered.frames), (10, 0));
    assert_eq!(mirror.dropped[DropReason::NoRxBuffer.index()], mirror.wanted);
    assert_eq!((stage.ports[2].runs(), stage.ports[2].publishes()), (vec![], before));
    assert_eq!(stage.ports[1].runs(), [10]);
}

#[test]
fn frames_that_a_port_of_another_worker_refuses_are_counted_and_cost_no_other() {
    let (no, small) = (Err(DropReason::NoRxBuffer), Err(DropReason::RxBufferTooSmall));
    let script = [no, Ok(()), Ok(()), no, no, small, Ok(()), small, Ok(()), Ok(()), no];
    for to in [1, 2] {
        let mut stage = stage();
        stage.ports[to].script(&script);
        let sent = numbered(0, 1, script.len());
        send_all(&mut stage, 0, &sent);
        stage.settle();
        let written = sent.iter().zip(&script).filter(|(_, outcome)| outcome.is_ok());
        assert_eq!(stage.bytes_at(to), bytes_of(written.map(|(frame, _)| frame)));
        assert_eq!(stage.bytes_at(3 - to), bytes_of(&sent));
        let counts = stage.counts(to);
        let drops = [DropReason::NoRxBuffer, DropReason::RxBufferTooSmall].map(|reason| {
            let of_mirror = counts.mirror.dropped[reason.index()].frames;
            if to == 1 { counts.egress_drops[reason.index()] } else { of_mirror }
        });
        assert_eq!((counts.egress.frames, drops), (5, [4, 2]));
    }
}

#[test]
fn a_frame_that_may_be_kept_and_one_that_may_not_are_told_apart_there() {
    // What port 0 sends is watched at its own worker, too.
    let there = ordinary().on(1);
    let plans = [ordinary().source(0), there, ordinary().destination(0), ordinary()];
    let mut stage = Stage::new(2, &plans);
    stage.know_all(VlanId::UNTAGGED);
    for from in [0, 3, 0, 3, 3] {
        stage.send(from, &frame(from, 1).payload(500, 7).complete());
        stage.turn(0);
    }
    stage.settle();
    assert_eq!(stage.ports[1].runs(), [1, 1, 1, 2]);
    assert_eq!((stage.ports[0].kept(), stage.ports[3].kept()), (0, 3));
    let expected = [0, 3, 0, 3, 3].map(|from| frame(from, 1).payload(500, 7).complete());
    assert_eq!(stage.bytes_at(1), bytes_of(&expected));
}

#[test]
fn frames_of_a_session_are_delivered_together_at_the_worker_of_its_leg() {
    let mut stage = Stage::new(2, &plans());
    stage.know_all(VlanId::UNTAGGED);
    stage.configure_sessions(&plans(), vec![session(&[4], &[(0, 3, LegForm::Plain)])]);
    let sent = numbered(4, 1, 12);
    for part in [&sent[..5], &sent[5..]] {
        send_all(&mut stage, 4, part);
        stage.turn(0);
    }
    stage.settle();
    for to in [1, 3] {
        assert_eq!((stage.bytes_at(to), stage.ports[to].runs()), (bytes_of(&sent), vec![12]));
    }
    let counts = stage.leg_counts(0);
    assert_eq!((counts.wanted.frames, counts.delivered), (12, counts.wanted));
}

/// One thing that happens: a port sends frames to another one or to all, then one worker or another takes a turn.
#[derive(Clone, Debug)]
struct Event {
    from: usize,
    to: Option<usize>,
    payload_bytes: usize,
    count: usize,
    worker: usize,
}

fn any_event() -> impl Strategy<Value = Event> {
    let to = prop_oneof![5 => (0..PORTS).prop_map(Some), 1 => Just(None)];
    (0..PORTS, to, prop_oneof![0..90_usize, 100..900_usize], 1..12_usize, 0..4_usize).prop_map(
        |(from, to, payload_bytes, count, worker)| Event { from, to, payload_bytes, count, worker },
    )
}

/// For each port what it got from each, in order, and its counts.
type Got = Vec<(Vec<Vec<Vec<u8>>>, PortCounts)>;

/// What comes of `events` where ports belong to workers in turn, and refuse frames longer than they like.
fn play(workers: usize, longest: &[u32], events: &[Event]) -> Got {
    let plans: Vec<_> = (0..).zip(plans()).map(|(index, plan)| plan.on(index % workers)).collect();
    let mut stage = Stage::new(workers, &plans);
    stage.know_all(VlanId::UNTAGGED);
    for (far, longest) in stage.ports.iter().zip(longest) {
        far.set_longest(*longest);
    }
    for (number, event) in (0..).zip(events) {
        let Event { from, to, payload_bytes, count, worker } = *event;
        let builder = to.map_or_else(|| broadcast(from), |to| frame(from, to));
        for more in 0..count {
            stage.send(from, &builder.clone().payload(payload_bytes + more, number).complete());
        }
        if worker < workers {
            stage.turn(worker);
        }
    }
    stage.settle();
    let each = |to| {
        let got = stage.bytes_at(to);
        let of = |from| got.iter().filter(move |bytes| usize::from(bytes[11]) == from).cloned();
        ((0..PORTS).map(|from| of(from).collect()).collect(), stage.counts(to))
    };
    (0..PORTS).map(each).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn whoever_delivers_them_and_whenever_frames_reach_each_port_in_the_order_sent_and_are_counted_alike(
        longest in vec(prop_oneof![2 => Just(u32::MAX), 1 => 60..900_u32], PORTS),
        events in vec(any_event(), 1..25),
    ) {
        let one = play(1, &longest, &events);
        for workers in [2, 3] {
            prop_assert_eq!(&play(workers, &longest, &events), &one, "{} workers", workers);
        }
    }
}
