//! Frames that go the same way together: nobody gets other frames, or in another order, and every count is as if each frame
//! had gone alone.

use helio_counters::FrameCount;
use helio_frame::BURST_FRAMES;
use helio_offload::Offloads;
use helio_testkit::{FrameBuilder, TestFrame};
use helio_types::{DropReason, VlanId};

use crate::stage::{PortPlan, Stage, access, broadcast, frame, mac, ordinary, trunk, vid};

/// Frames, each with other bytes and another length.
fn numbered(count: usize, builder: &FrameBuilder) -> Vec<TestFrame> {
    let seeds = 0..u8::try_from(count).unwrap();
    seeds.map(|seed| builder.clone().payload(40 + 7 * usize::from(seed), seed).complete()).collect()
}

fn bytes_of<'a>(frames: impl IntoIterator<Item = &'a TestFrame>) -> Vec<Vec<u8>> {
    frames.into_iter().map(|frame| frame.bytes.clone()).collect()
}

fn total<'a>(frames: impl IntoIterator<Item = &'a TestFrame>) -> FrameCount {
    frames.into_iter().fold(FrameCount::default(), |sum, frame| FrameCount {
        frames: sum.frames + 1,
        bytes: sum.bytes + u64::try_from(frame.bytes.len()).unwrap(),
    })
}

fn send_all(stage: &mut Stage, from: usize, frames: &[TestFrame]) {
    frames.iter().for_each(|frame| stage.send(from, frame));
}

/// The same ports with one worker, and with two that have every other port.
fn stages(plans: &[PortPlan]) -> [Stage; 2] {
    [1, 2].map(|workers| {
        let owned = |(index, plan): (usize, &PortPlan)| match plan.owner {
            Some(_) => plan.clone().on(index % workers),
            None => plan.clone(),
        };
        let plans: Vec<_> = plans.iter().enumerate().map(owned).collect();
        let stage = Stage::new(workers, &plans);
        stage.know_all(VlanId::UNTAGGED);
        stage
    })
}

#[test]
fn frames_that_follow_each_other_to_the_same_ports_are_offered_together() {
    let mut stage = Stage::new(1, &[ordinary().source(0), ordinary(), ordinary().destination(0)]);
    stage.know_all(VlanId::UNTAGGED);
    let sent = numbered(BURST_FRAMES + 5, &frame(0, 1));
    send_all(&mut stage, 0, &sent);
    stage.settle();
    for index in [1, 2] {
        assert_eq!(stage.bytes_at(index), bytes_of(&sent));
        assert_eq!(stage.ports[index].runs(), [BURST_FRAMES, 5]);
        assert_eq!(stage.counts(index).egress, total(&sent));
    }
    assert_eq!(stage.counts(0).ingress, total(&sent));
    let mirror = stage.counts(2).mirror;
    assert_eq!((mirror.wanted, mirror.delivered), (total(&sent), total(&sent)));
}

#[test]
fn frames_from_other_addresses_to_the_same_port_are_one_run_and_their_addresses_are_learned() {
    let mut stage = Stage::new(1, &[ordinary(), ordinary(), ordinary()]);
    stage.fleet.fdb().learn(VlanId::UNTAGGED, mac(1), crate::stage::port(1));
    for from in [20, 20, 21, 22] {
        stage.send(0, &frame(from, 1).complete());
    }
    stage.settle();
    assert_eq!(stage.ports[1].runs(), [4]);
    for to in [20, 21, 22] {
        stage.send(1, &frame(1, to).complete());
    }
    stage.settle();
    assert_eq!(stage.received_counts(), [3, 4, 0]);
}

#[test]
fn frames_that_alternate_between_two_receivers_reach_each_in_order() {
    for mut stage in stages(&[ordinary(), ordinary(), ordinary()]) {
        let (one, other) = (numbered(20, &frame(0, 1)), numbered(20, &frame(0, 2)));
        for (one, other) in one.iter().zip(&other) {
            stage.send(0, one);
            stage.send(0, other);
        }
        stage.settle();
        assert_eq!((stage.bytes_at(1), stage.bytes_at(2)), (bytes_of(&one), bytes_of(&other)));
        assert_eq!(stage.counts(1).egress, total(&one));
        assert_eq!(stage.counts(2).egress, total(&other));
        assert_eq!(stage.counts(0).ingress, total(one.iter().chain(&other)));
        // Another worker gets only those for its own port, so there they follow each other.
        let together = if stage.workers.len() == 1 { vec![1; 20] } else { vec![20] };
        assert_eq!(stage.ports[1].runs(), together);
    }
}

#[test]
fn what_goes_nowhere_or_everywhere_ends_a_run_and_the_next_one_goes_on_in_order() {
    for mut stage in stages(&[ordinary().source(0), ordinary(), ordinary().destination(0)]) {
        let to_one = numbered(7, &frame(0, 1));
        let hairpin = frame(9, 0).payload(300, 1).complete();
        let refused = FrameBuilder::new(helio_types::MacAddr::BROADCAST, mac(1)).complete();
        let flooded = numbered(2, &broadcast(0));
        let order = [&to_one[..2], std::slice::from_ref(&hairpin), &to_one[2..3], &flooded];
        order.into_iter().for_each(|frames| send_all(&mut stage, 0, frames));
        send_all(&mut stage, 0, &[refused.clone(), refused]);
        send_all(&mut stage, 0, &to_one[3..]);
        stage.settle();
        let forwarded = || to_one[..3].iter().chain(&flooded).chain(&to_one[3..]);
        assert_eq!(stage.bytes_at(1), bytes_of(forwarded()));
        assert_eq!(stage.counts(1).egress, total(forwarded()));
        // The hairpin went nowhere, and its source is watched all the same.
        let copied: Vec<_> = order.concat().into_iter().chain(to_one[3..].to_vec()).collect();
        assert_eq!(stage.bytes_at(2), bytes_of(&copied));
        let mirror = stage.counts(2).mirror;
        assert_eq!((mirror.wanted, mirror.delivered), (total(&copied), total(&copied)));
        assert_eq!(stage.counts(0).ingress, total(forwarded()));
        assert_eq!(stage.drops(0, DropReason::Hairpin), 1);
        assert_eq!(stage.drops(0, DropReason::BadSourceMac), 2);
        assert_eq!(stage.all_drops(0), 3);
    }
}

#[test]
fn a_port_that_receives_one_run_and_watches_the_next_gets_all_frames_in_order() {
    for mut stage in stages(&[ordinary().source(0), ordinary(), ordinary().destination(0)]) {
        let sent: Vec<_> = (0..30_u8)
            .map(|seed| {
                let builder = match seed / 3 % 3 {
                    0 => frame(0, 1),
                    1 => frame(0, 2),
                    _ => broadcast(0),
                };
                builder.payload(100 + 20 * usize::from(seed), seed).complete()
            })
            .collect();
        send_all(&mut stage, 0, &sent);
        stage.settle();
        assert_eq!(stage.bytes_at(2), bytes_of(&sent));
        let mirror = stage.counts(2).mirror;
        assert_eq!((mirror.wanted, mirror.delivered), (total(&sent), total(&sent)));
        assert_eq!(stage.counts(2).egress, total(&sent));
        assert_eq!(stage.received(1).len(), 21);
    }
}

#[test]
fn a_tag_between_frames_without_one_changes_no_other_frame() {
    let tags = [None, None, Some(10), Some(10), Some(0xa00a), None, Some(20), Some(0), None];
    let plans = [
        ordinary().vlan(trunk(&[10, 20], Some(30))),
        ordinary().vlan(access(10)),
        ordinary().vlan(trunk(&[10, 20, 30], None)),
        ordinary(),
    ];
    for mut stage in stages(&plans) {
        for (seed, tag) in (0..).zip(tags) {
            let builder = tag.map_or(broadcast(0), |tci| broadcast(0).tagged(tci));
            stage.send(0, &builder.payload(100 + 90 * usize::from(seed), seed).complete());
        }
        stage.settle();
        let seen = |index| {
            let seen = stage.seen_at(index).into_iter();
            seen.map(|seen| (seen.tci, seen.payload.len(), seen.wrong)).collect::<Vec<_>>()
        };
        let tagged: Vec<_> = (0..)
            .zip(tags)
            .map(|(seed, tag)| match tag {
                None | Some(0) => (Some(30), 100 + 90 * seed, None),
                tag => (tag, 100 + 90 * seed, None),
            })
            .collect();
        let untagged = [2, 3, 4].map(|seed| (None, 100 + 90 * seed, None));
        assert_eq!(seen(1), untagged);
        assert_eq!((seen(2), seen(3)), (tagged.clone(), tagged));
        assert_eq!(stage.counts(1).egress.frames, 3);
    }
}

#[test]
fn a_frame_that_ends_in_its_tag_decides_for_no_frame_beside_it() {
    for mut stage in stages(&[ordinary(), ordinary()]) {
        stage.know_all(vid(5));
        let whole = frame(0, 1).tagged(5).payload(100, 1).complete();
        let cut = |bytes| TestFrame::raw(whole.bytes[..bytes].to_vec());
        for frame in [cut(17), whole.clone(), cut(16), cut(17), whole.clone(), cut(18)] {
            stage.send(0, &frame);
        }
        stage.settle();
        assert_eq!(stage.bytes_at(1), bytes_of(&[whole.clone(), whole.clone(), cut(18)]));
        assert_eq!(stage.drops(0, DropReason::Runt), 3);
    }
}

#[test]
fn frames_that_are_refused_in_the_middle_of_a_run_are_counted_and_cost_no_other() {
    let (no, small) = (Err(DropReason::NoRxBuffer), Err(DropReason::RxBufferTooSmall));
    let script = [no, Ok(()), Ok(()), no, no, small, Ok(()), small, Ok(()), Ok(()), no];
    let got = |outcome: &Result<(), DropReason>, frames: &[TestFrame]| {
        let some = script.iter().zip(frames).filter(|(is, _)| *is == outcome);
        some.map(|(_, frame)| frame.clone()).collect::<Vec<_>>()
    };
    // Port 2 is a plain receiver, then one that is a monitor as well, and then a monitor only.
    let receiver = [ordinary(), ordinary(), ordinary()];
    let both = [ordinary().source(0), ordinary(), ordinary().destination(0)];
    for (plans, to) in [(&receiver, 2), (&both, 2), (&both, 1)] {
        for mut stage in stages(plans) {
            stage.ports[2].script(&script);
            let sent = numbered(script.len(), &frame(0, to));
            send_all(&mut stage, 0, &sent);
            stage.settle();
            let written = got(&Ok(()), &sent);
            assert_eq!(stage.bytes_at(2), bytes_of(&written));
            assert_eq!(stage.counts(2).egress, total(&written));
            assert_eq!(stage.counts(0).ingress, total(&sent));
            let (no, small) = (got(&no, &sent), got(&small, &sent));
            let is_production = u64::from(to == 2);
            assert_eq!(stage.drops(2, DropReason::NoRxBuffer), 4 * is_production);
            assert_eq!(stage.drops(2, DropReason::RxBufferTooSmall), 2 * is_production);
            assert_eq!(stage.all_drops(2), 6 * is_production);
            let mirror = stage.counts(2).mirror;
            if plans[0].mirroring == helio_types::Mirroring::None {
                assert_eq!(mirror, helio_counters::MirrorCounts::default());
                continue;
            }
            assert_eq!((mirror.wanted, mirror.delivered), (total(&sent), total(&written)));
            assert_eq!(mirror.dropped[DropReason::NoRxBuffer.index()], total(&no));
            assert_eq!(mirror.dropped[DropReason::RxBufferTooSmall.index()], total(&small));
        }
    }
}

#[test]
fn a_port_that_runs_full_in_a_run_loses_the_rest_of_it_and_gets_the_next_when_it_has_room() {
    for mut stage in stages(&[ordinary().source(0), ordinary(), ordinary().destination(0)]) {
        stage.ports[1].set_room(12);
        stage.ports[2].set_room(5);
        let sent = numbered(20, &frame(0, 1));
        send_all(&mut stage, 0, &sent);
        stage.settle();
        if stage.workers.len() == 1 {
            // Whoever has no room is not asked for each frame.
            assert_eq!((stage.ports[1].runs(), stage.ports[2].runs()), (vec![20], vec![20]));
        }
        assert_eq!(stage.bytes_at(1), bytes_of(&sent[..12]));
        assert_eq!(stage.bytes_at(2), bytes_of(&sent[..5]));
        assert_eq!(stage.counts(1).egress, total(&sent[..12]));
        assert_eq!(stage.drops(1, DropReason::NoRxBuffer), 8);
        let mirror = stage.counts(2).mirror;
        assert_eq!((mirror.wanted, mirror.delivered), (total(&sent), total(&sent[..5])));
        assert_eq!(mirror.dropped[DropReason::NoRxBuffer.index()], total(&sent[5..]));
        assert_eq!(stage.all_drops(2), 0);
        stage.ports[1].set_room(1);
        stage.send(0, &sent[0]);
        stage.settle();
        assert_eq!(stage.bytes_at(1), bytes_of(&sent[..1]));
    }
}

#[test]
fn a_frame_beyond_the_mtu_in_a_run_is_the_only_one_that_is_dropped() {
    let plans = [ordinary(), ordinary().mtu(300), ordinary()];
    for mut stage in stages(&plans) {
        let frames = |lengths: &[usize]| {
            let builder = broadcast(0);
            lengths.iter().map(|bytes| builder.clone().payload(*bytes, 3).complete()).collect()
        };
        let sent: Vec<_> = frames(&[100, 272, 273, 50, 900, 60]);
        send_all(&mut stage, 0, &sent);
        stage.settle();
        let fit: Vec<_> = frames(&[100, 272, 50, 60]);
        assert_eq!((stage.bytes_at(1), stage.bytes_at(2)), (bytes_of(&fit), bytes_of(&sent)));
        assert_eq!(stage.counts(1).egress, total(&fit));
        assert_eq!((stage.drops(1, DropReason::Mtu), stage.all_drops(1)), (2, 2));
    }
}

#[test]
fn frames_with_work_left_between_others_keep_their_place_and_are_cut_alone() {
    let plans = [ordinary().source(0), ordinary(), ordinary().destination(0)];
    for mut stage in stages(&plans) {
        stage.ports[1].accept(Offloads::CSUM);
        let to = frame(0, 1).tcp();
        let sent = [
            to.clone().payload(100, 1).complete(),
            to.clone().payload(200, 2).complete(),
            to.clone().payload(300, 3).partial(),
            to.clone().payload(301, 4).partial(),
            to.clone().payload(2500, 5).to_segment(1000),
            to.clone().payload(400, 6).complete(),
            to.clone().payload(1001, 7).to_segment(1000),
            to.payload(500, 8).complete(),
        ];
        send_all(&mut stage, 0, &sent);
        stage.settle();
        let lengths = [100, 200, 300, 301, 1000, 1000, 500, 400, 1000, 1, 500];
        let seen = stage.seen_at(2);
        assert_eq!(seen.iter().map(|seen| seen.payload.len()).collect::<Vec<_>>(), lengths);
        assert!(seen.iter().all(|seen| seen.wrong.is_none()));
        let payload = |bytes: &Vec<u8>| bytes.len() - 54;
        assert_eq!(stage.bytes_at(1).iter().map(payload).collect::<Vec<_>>(), lengths);
        let bytes: usize = lengths.iter().map(|payload| payload + 54).sum();
        let wire = FrameCount { frames: 11, bytes: u64::try_from(bytes).unwrap() };
        let mirror = stage.counts(2).mirror;
        assert_eq!((mirror.wanted, mirror.delivered), (wire, wire));
        assert_eq!((stage.counts(1).egress, stage.counts(2).egress), (wire, wire));
        assert_eq!(stage.counts(0).ingress, total(&sent));
    }
}

#[test]
fn frames_of_an_exact_session_are_made_private_one_by_one_and_go_together() {
    let monitor = ordinary().destination(3).receive_only();
    let plans = [ordinary().source(3), ordinary(), monitor, ordinary(), ordinary()];
    let mut stage = Stage::with_exact(1, &plans, &[3]);
    stage.know_all(VlanId::UNTAGGED);
    // Short ones need no private buffer.
    for bytes in [20, 1000] {
        // Two by two from other addresses, which go the same way.
        let from = |seed: u8| 20 + usize::from(seed / 2);
        let watched = |seed| frame(from(seed), 1).payload(bytes, seed).complete();
        let sent: Vec<_> = (0..6).map(watched).collect();
        send_all(&mut stage, 0, &sent);
        send_all(&mut stage, 3, &numbered(6, &frame(3, 4)));
        stage.settle();
        assert_eq!((stage.bytes_at(1), stage.bytes_at(2)), (bytes_of(&sent), bytes_of(&sent)));
        for to in [1, 2, 4] {
            assert_eq!(stage.ports[to].runs(), [6], "{bytes} bytes to {to}");
        }
    }
}

#[test]
fn a_run_for_a_port_that_is_not_there_is_counted_there_whole() {
    let gone = ordinary().detached();
    for mut stage in stages(&[ordinary().source(0), gone.clone(), gone.destination(0)]) {
        let sent = numbered(9, &frame(0, 1));
        send_all(&mut stage, 0, &sent);
        stage.settle();
        assert_eq!((stage.drops(1, DropReason::PortDown), stage.all_drops(1)), (9, 9));
        let mirror = stage.counts(2).mirror;
        assert_eq!(mirror.dropped[DropReason::PortDown.index()], total(&sent));
        assert_eq!(stage.all_drops(2), 0);
    }
}

#[test]
fn frames_whose_rest_is_gone_are_dropped_out_of_a_run_and_those_without_one_pass() {
    use helio_frame::MemoryDirectory;
    for mut stage in stages(&[ordinary().source(0), ordinary(), ordinary().destination(0)]) {
        let id = stage.ports[0].memory_id();
        stage.ask(|fleet, _| fleet.replace(id, None));
        let frames = [20, 500, 30, 86, 87, 40];
        let sent = frames.map(|bytes| frame(0, 1).payload(bytes, 1).complete());
        send_all(&mut stage, 0, &sent);
        stage.settle();
        let whole = [&sent[0], &sent[2], &sent[3], &sent[5]];
        let lost = total([&sent[1], &sent[4]]);
        assert_eq!((stage.bytes_at(1), stage.bytes_at(2)), (bytes_of(whole), bytes_of(whole)));
        assert_eq!(stage.counts(1).egress, total(whole));
        assert_eq!((stage.drops(1, DropReason::PortDown), stage.all_drops(1)), (2, 2));
        assert_eq!(stage.counts(2).mirror.dropped[DropReason::PortDown.index()], lost);
    }
}

#[test]
fn only_ports_that_had_a_part_in_the_turn_are_published_to_and_told() {
    let monitor = ordinary().destination(0).receive_only();
    let plans = [ordinary().source(0), ordinary(), monitor, ordinary(), ordinary()];
    for workers in [1, 2] {
        let mut plans = plans.clone();
        // Sender and monitor meet at one worker, the receiver is at the other.
        plans[1].owner = Some(workers - 1);
        plans[4].owner = Some(workers - 1);
        let mut stage = Stage::new(workers, &plans);
        stage.know_all(VlanId::UNTAGGED);
        stage.send(0, &broadcast(0).complete());
        stage.settle();
        let told = |stage: &Stage| {
            let told = stage.ports.iter().map(|far| (far.publishes(), far.notifications()));
            told.collect::<Vec<_>>()
        };
        let before = told(&stage);
        // Too long for its head, so that its chain comes back when all are done with it.
        stage.send(0, &frame(0, 1).payload(500, 1).complete());
        stage.settle();
        let had_news = told(&stage).into_iter().zip(before);
        let had_news: Vec<_> =
            had_news.map(|(now, then)| (now.0 > then.0, now.1 > then.1)).collect();
        let (yes, no) = ((true, true), (false, false));
        assert_eq!(had_news, [yes, yes, yes, no, no]);
        assert_eq!(stage.ports[0].completed(), 2);
    }
}
