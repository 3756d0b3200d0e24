//! Who gets a frame last may keep what it lies in, if nobody else reads it. Ports without a guest keep what they may, and write
//! other bytes there: so whoever reads a frame afterwards is found out, in all other tests too.

use helio_testkit::TestFrame;
use helio_types::{DropReason, VlanId};

use crate::stage::{PortPlan, Stage, frame, ordinary};

fn stage(workers: usize, plans: &[PortPlan]) -> Stage {
    let stage = Stage::new(workers, plans);
    stage.know_all(VlanId::UNTAGGED);
    stage
}

fn long() -> TestFrame {
    frame(0, 1).payload(500, 1).complete()
}

/// Sends a long frame from port 0 to port 1. Whether it was kept by who got it last; `receivers` get it as it is.
fn is_kept(stage: &mut Stage, receivers: &[usize]) -> bool {
    stage.send(0, &long());
    stage.settle();
    for receiver in receivers {
        assert_eq!(stage.bytes_at(*receiver), [long().bytes], "port {receiver}");
    }
    stage.ports[0].kept() == 1
}

#[test]
fn a_frame_with_one_receiver_may_be_kept_and_one_within_its_head_has_nothing_to_keep() {
    let mut stage = stage(1, &[ordinary(), ordinary()]);
    assert!(is_kept(&mut stage, &[1]));
    stage.send(0, &frame(0, 1).payload(60, 1).complete());
    stage.settle();
    assert_eq!((stage.received(1).len(), stage.ports[0].kept()), (1, 1));
}

#[test]
fn of_several_who_get_a_frame_the_last_one_alone_may_keep_it() {
    let plans = [ordinary().source(0), ordinary(), ordinary().destination(0), ordinary()];
    assert!(is_kept(&mut stage(1, &plans), &[1, 2]));
    // Also where what the receiver sees is watched.
    let plans = [ordinary(), ordinary().source(0), ordinary().destination(0)];
    assert!(is_kept(&mut stage(1, &plans), &[1, 2]));
}

#[test]
fn a_frame_handed_over_may_be_kept_by_its_only_receiver_and_is_given_back_by_receipt() {
    let mut stage = stage(2, &[ordinary(), ordinary().on(1)]);
    stage.send(0, &long());
    stage.turn(0);
    assert_eq!((stage.ports[0].in_flight(), stage.ports[0].kept()), (1, 0));
    stage.turn(1);
    assert_eq!((stage.ports[0].in_flight(), stage.ports[0].kept()), (1, 0));
    stage.turn(0);
    assert_eq!((stage.ports[0].in_flight(), stage.ports[0].kept()), (0, 1));
    assert_eq!(stage.bytes_at(1), [long().bytes]);
}

#[test]
fn a_frame_that_two_workers_deliver_is_kept_by_nobody() {
    let other = ordinary().on(1);
    for (source, production, monitor) in [
        (ordinary(), ordinary(), other.clone()),
        (ordinary(), other.clone(), ordinary()),
        (ordinary(), other, ordinary().on(2)),
    ] {
        let plans = [source.source(0), production, monitor.destination(0)];
        assert!(!is_kept(&mut stage(3, &plans), &[1, 2]));
    }
}

#[test]
fn a_frame_is_not_kept_by_who_refuses_it() {
    for workers in [1, 2] {
        let mut stage = stage(workers, &[ordinary(), ordinary().on(workers - 1)]);
        stage.ports[1].set_room(1);
        (0..3).for_each(|_| stage.send(0, &long()));
        stage.settle();
        assert_eq!(stage.bytes_at(1), [long().bytes]);
        assert_eq!((stage.ports[0].kept(), stage.drops(1, DropReason::NoRxBuffer)), (1, 2));
    }
}

#[test]
fn a_frame_in_a_private_buffer_stays_there() {
    let plans = [ordinary().source(0), ordinary(), ordinary().destination(0)];
    let mut stage = Stage::with_exact(1, &plans, &[0]);
    stage.know_all(VlanId::UNTAGGED);
    assert!(!is_kept(&mut stage, &[1, 2]));
    assert_eq!(stage.chunks_in_use(), 0);
}
