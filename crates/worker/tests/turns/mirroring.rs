//! Mirror sessions: every destination has everything, once.

use helio_counters::FrameCount;
use helio_offload::Offloads;
use helio_testkit::FrameBuilder;
use helio_types::{DropReason, MacAddr, Mirroring, VlanId};

use crate::stage::{PortPlan, Stage, access, broadcast, frame, mac, ordinary, trunk};

fn is_source_of(plan: &PortPlan, session: u8) -> bool {
    plan.mirroring == Mirroring::Source && plan.session == session
}

/// Who must get the frame: its receivers, and the destinations of every source that sends or receives it, but never the
/// sender. `(port, wanted by a session)`.
fn expected(plans: &[PortPlan], from: usize, receivers: &[usize]) -> Vec<(bool, bool)> {
    let gets = |(index, plan): (usize, &PortPlan)| {
        let concerned = |p: &usize| is_source_of(&plans[*p], plan.session);
        let wanted = plan.mirroring == Mirroring::Destination
            && (concerned(&from) || receivers.iter().any(concerned));
        (index != from && (receivers.contains(&index) || wanted), wanted)
    };
    plans.iter().enumerate().map(gets).collect()
}

/// Sends one frame and checks everybody.
fn check(plans: &[PortPlan], workers: usize, from: usize, to: MacAddr, receivers: &[usize]) {
    let context = format!("{workers} workers, from {from} to {to}: {plans:?}");
    let mut stage = Stage::new(workers, plans);
    stage.know_all(VlanId::UNTAGGED);
    let sent = FrameBuilder::new(mac(from), to).payload(600, 1).complete();
    let bytes = u64::try_from(sent.bytes.len()).unwrap();
    stage.send(from, &sent);
    stage.settle();
    for (index, (gets, wanted)) in expected(plans, from, receivers).into_iter().enumerate() {
        let copies = vec![sent.bytes.clone(); usize::from(gets)];
        assert_eq!(stage.bytes_at(index), copies, "port {index}, {context}");
        let mirror = stage.counts(index).mirror;
        let once = FrameCount { frames: 1, bytes };
        let never = FrameCount::default();
        assert_eq!(mirror.wanted, if wanted { once } else { never }, "port {index}, {context}");
        let delivered = if wanted && gets { once } else { never };
        assert_eq!(mirror.delivered, delivered, "port {index}, {context}");
        let returned = mirror.dropped[DropReason::ReturnToSender.index()];
        assert_eq!(returned, if wanted && !gets { once } else { never }, "port {index}, {context}");
    }
    assert_eq!((0..plans.len()).map(|index| stage.all_drops(index)).sum::<u64>(), 0);
}

#[test]
fn every_destination_gets_every_frame_exactly_once_in_all_combinations() {
    let parts = [ordinary(), ordinary().source(0), ordinary().source(1)];
    let monitors = [ordinary(), ordinary().destination(0), ordinary().destination(1)];
    let mut combinations = Vec::new();
    for one in &parts {
        for other in &parts {
            for first in &monitors {
                for second in &monitors {
                    combinations.push([one, other, first, second, &ordinary()].map(Clone::clone));
                }
            }
        }
    }
    for mut plans in combinations {
        for workers in [1, 2] {
            for (index, plan) in plans.iter_mut().enumerate() {
                plan.owner = Some(index % workers);
            }
            for (from, to) in [(0, 1), (0, 2), (2, 0), (2, 3)] {
                check(&plans, workers, from, mac(to), &[to]);
            }
            for from in [0, 2] {
                let receivers: Vec<_> = (0..5).filter(|index| *index != from).collect();
                check(&plans, workers, from, MacAddr::BROADCAST, &receivers);
            }
        }
    }
}

#[test]
fn a_receive_only_destination_gets_copies_and_nothing_else() {
    let plans = [ordinary().source(0), ordinary(), ordinary().destination(0).receive_only()];
    let mut stage = Stage::new(1, &plans);
    stage.know_all(VlanId::UNTAGGED);
    stage.send(0, &frame(0, 2).complete());
    stage.send(1, &frame(1, 2).complete());
    stage.send(1, &broadcast(1).complete());
    stage.settle();
    // The first is flooded, as nobody is behind that address, and copied. The second is flooded to the source, so it is
    // copied as well, and so is the third.
    assert_eq!(stage.received_counts(), [2, 1, 3]);
    assert_eq!(stage.counts(2).mirror.delivered.frames, 3);
}

#[test]
fn a_destination_sees_the_vlans_it_is_a_member_of_with_their_tags() {
    let source = ordinary().source(0).vlan(access(10));
    let to = |mode| ordinary().destination(0).receive_only().vlan(mode);
    let plans = [
        source,
        to(access(10)),
        to(access(20)),
        to(trunk(&[10, 20], None)),
        to(trunk(&[20], None)),
    ];
    let mut stage = Stage::new(1, &plans);
    let sent = broadcast(0).payload(300, 1);
    stage.send(0, &sent.complete());
    stage.settle();
    assert_eq!(stage.bytes_at(1), [sent.complete().bytes]);
    assert_eq!(stage.bytes_at(3), [sent.tagged(10).complete().bytes]);
    for index in [2, 4] {
        assert!(stage.bytes_at(index).is_empty());
        let mirror = stage.counts(index).mirror;
        assert_eq!(mirror.dropped[DropReason::Vlan.index()], mirror.wanted);
        assert_eq!(mirror.wanted.frames, 1);
    }
}

#[test]
fn a_destination_that_is_full_loses_copies_and_delays_nobody() {
    for workers in [1, 2] {
        let plans = [ordinary().source(0), ordinary(), ordinary().destination(0).on(workers - 1)];
        let mut stage = Stage::new(workers, &plans);
        stage.know_all(VlanId::UNTAGGED);
        stage.ports[2].set_room(3);
        for _ in 0..10 {
            stage.send(0, &frame(0, 1).payload(900, 1).complete());
        }
        stage.settle();
        assert_eq!(stage.received_counts(), [0, 10, 3]);
        let mirror = stage.counts(2).mirror;
        assert_eq!((mirror.wanted.frames, mirror.delivered.frames), (10, 3));
        let dropped = mirror.dropped[DropReason::NoRxBuffer.index()];
        assert_eq!((dropped.frames, dropped.bytes), (7, 7 * (900 + 42)));
        assert_eq!((stage.all_drops(0), stage.all_drops(1)), (0, 0));
    }
}

#[test]
fn a_destination_without_a_buffer_is_left_alone_and_gets_its_copies_again_once_it_has_some() {
    let plans = [ordinary().source(0), ordinary(), ordinary().destination(0)];
    let mut stage = Stage::new(1, &plans);
    stage.know_all(VlanId::UNTAGGED);
    // Whoever was added publishes in the first turn that finds something.
    stage.send(2, &frame(2, 1).complete());
    stage.settle();
    assert_eq!((stage.received(1).len(), stage.ports[1].runs()), (1, vec![1]));
    let before = stage.ports[2].publishes();
    stage.ports[2].set_room(0);
    for _ in 0..10 {
        stage.send(0, &frame(0, 1).payload(900, 1).complete());
    }
    assert_eq!(stage.turn(0), 10);
    let mirror = stage.counts(2).mirror;
    let all = FrameCount { frames: 10, bytes: 10 * (900 + 42) };
    assert_eq!((mirror.wanted, mirror.dropped[DropReason::NoRxBuffer.index()]), (all, all));
    assert_eq!((stage.ports[2].runs(), stage.ports[2].publishes()), (vec![], before));
    assert_eq!((stage.ports[1].runs(), stage.ports[0].completed()), (vec![10], 10));

    stage.ports[2].set_room(1);
    stage.send(0, &frame(0, 1).payload(300, 2).complete());
    stage.send(0, &frame(0, 1).payload(300, 3).complete());
    assert_eq!(stage.turn(0), 2);
    assert_eq!(stage.received_counts(), [0, 12, 1]);
    let mirror = stage.counts(2).mirror;
    assert_eq!((mirror.delivered.frames, mirror.dropped_total().frames), (1, 11));
    assert_eq!((mirror.wanted.frames, stage.ports[2].publishes()), (12, before + 1));
    assert_eq!(stage.all_drops(2), 0);
}

#[test]
fn copies_that_a_destination_without_a_buffer_could_not_have_got_anyway_are_dropped_for_that_reason()
 {
    let plans = [ordinary().source(0), ordinary(), ordinary().destination(0).mtu(300)];
    let mut stage = Stage::new(1, &plans);
    stage.know_all(VlanId::UNTAGGED);
    stage.ports[2].set_room(0);
    for bytes in [900, 100] {
        stage.send(0, &frame(0, 1).payload(bytes, 1).complete());
        stage.settle();
    }
    let dropped = stage.counts(2).mirror.dropped;
    assert_eq!(dropped[DropReason::Mtu.index()], FrameCount { frames: 1, bytes: 942 });
    assert_eq!(dropped[DropReason::NoRxBuffer.index()], FrameCount { frames: 1, bytes: 142 });
    assert_eq!(stage.received_counts(), [0, 2, 0]);
}

#[test]
fn copies_are_counted_as_frames_on_a_wire_in_whatever_form_they_are_delivered() {
    let all = Offloads::CSUM.union(Offloads::TSO4);
    let plans =
        [ordinary().source(0), ordinary().destination(0), ordinary().destination(0), ordinary()];
    for to in [1, 3] {
        let mut stage = Stage::new(1, &plans);
        stage.know_all(VlanId::UNTAGGED);
        stage.ports[1].accept(all);
        // Five segments: four full ones, and one of a single byte.
        stage.send(0, &frame(0, to).tcp().payload(4001, 1).to_segment(1000));
        stage.settle();
        let wire = FrameCount { frames: 5, bytes: 5 * 54 + 4001 };
        for index in [1, 2] {
            let mirror = stage.counts(index).mirror;
            assert_eq!((mirror.wanted, mirror.delivered), (wire, wire), "port {index}");
        }
        // As the receiver it gets the frame whole; as a monitor, frames of wire size.
        let whole = to == 1;
        assert_eq!(stage.received(1).len(), if whole { 1 } else { 5 });
        assert_eq!(stage.received(2).len(), 5);
        let egress = stage.counts(1).egress;
        assert_eq!(egress.frames, if whole { 1 } else { 5 });
    }
}

#[test]
fn a_destination_that_runs_full_in_the_middle_of_segments_counts_both_parts() {
    let plans = [ordinary().source(0), ordinary().destination(0), ordinary().destination(0)];
    for to in [2, 9] {
        let mut stage = Stage::new(1, &plans);
        stage.know_all(VlanId::UNTAGGED);
        stage.fleet.fdb().learn(VlanId::UNTAGGED, mac(9), helio_types::PortId::new(2).unwrap());
        stage.ports[1].script(&[Ok(()), Err(DropReason::NoRxBuffer), Ok(())]);
        stage.send(0, &frame(0, to).tcp().payload(3500, 1).to_segment(1000));
        stage.settle();
        let mirror = stage.counts(1).mirror;
        assert_eq!(mirror.wanted, FrameCount { frames: 4, bytes: 4 * 54 + 3500 });
        assert_eq!(mirror.delivered, FrameCount { frames: 3, bytes: 3 * 54 + 2500 });
        let dropped = mirror.dropped[DropReason::NoRxBuffer.index()];
        assert_eq!(dropped, FrameCount { frames: 1, bytes: 54 + 1000 });
        let lengths: Vec<_> = stage.bytes_at(1).iter().map(Vec::len).collect();
        assert_eq!(lengths, [1054, 1054, 554]);
        assert_eq!(stage.received(2).len(), 4);
    }
}

#[test]
fn a_whole_frame_that_finds_no_room_counts_as_all_its_segments() {
    let plans = [ordinary().source(0), ordinary().destination(0), ordinary()];
    let mut stage = Stage::new(1, &plans);
    stage.know_all(VlanId::UNTAGGED);
    stage.ports[1].accept(Offloads::CSUM.union(Offloads::TSO4));
    stage.ports[1].set_room(0);
    stage.send(0, &frame(0, 1).tcp().payload(3500, 1).to_segment(1000));
    stage.settle();
    let mirror = stage.counts(1).mirror;
    let wire = FrameCount { frames: 4, bytes: 4 * 54 + 3500 };
    assert_eq!(mirror.wanted, wire);
    assert_eq!(mirror.dropped[DropReason::NoRxBuffer.index()], wire);
    assert_eq!(stage.drops(1, DropReason::NoRxBuffer), 1);
}

#[test]
fn a_monitor_sees_the_frames_of_a_source_in_the_order_sent_however_they_reach_it() {
    for workers in [1, 2] {
        let plans = [ordinary().source(0), ordinary(), ordinary().destination(0).on(workers - 1)];
        let mut stage = Stage::new(workers, &plans);
        stage.know_all(VlanId::UNTAGGED);
        // Every third frame reaches the monitor because it is flooded, the others as copies.
        let sent: Vec<_> = (0..30_u8)
            .map(|seed| {
                let builder = if seed % 3 == 0 { broadcast(0) } else { frame(0, 1) };
                builder.payload(400, seed).complete()
            })
            .collect();
        sent.iter().for_each(|frame| stage.send(0, frame));
        stage.settle();
        let sent: Vec<_> = sent.into_iter().map(|frame| frame.bytes).collect();
        assert_eq!(stage.bytes_at(2), sent, "{workers} workers");
        assert_eq!(stage.bytes_at(1), sent, "{workers} workers");
    }
}
