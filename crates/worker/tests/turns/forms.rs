//! In which form each receiver gets a frame, and that no form is computed twice.

use std::sync::Arc;

use helio_offload::{Checksum, NetHeader, Offloads};
use helio_testkit::{FrameBuilder, Received, Seen, TestFrame};
use helio_types::{DropReason, VlanId};

use crate::stage::{PortPlan, Stage, broadcast, frame, ordinary};

const TSO4: Offloads = Offloads::CSUM.union(Offloads::TSO4);
const TSO6: Offloads = Offloads::CSUM.union(Offloads::TSO6);

/// The frames that one receiver gets from a sender.
fn delivered(builder: &FrameBuilder, accepts: Offloads, plan: PortPlan) -> Vec<Received> {
    let mut stage = Stage::new(1, &[ordinary(), plan]);
    stage.ports[1].accept(accepts);
    stage.send_in_pieces(0, &builder.to_segment(1000), 6);
    stage.settle();
    stage.received(1)
}

/// Segments, put together again: they are consecutive, and all payload is there.
fn reassembled(segments: &[Seen]) -> Vec<u8> {
    let mut payload = Vec::new();
    let first = segments[0].sequence.unwrap();
    for segment in segments {
        let progress = u32::try_from(payload.len()).unwrap();
        assert_eq!(segment.sequence.unwrap(), first.wrapping_add(progress));
        payload.extend_from_slice(&segment.payload);
    }
    payload
}

fn seen(received: &[Received]) -> Vec<Seen> {
    received.iter().map(|received| Seen::of(&received.bytes)).collect()
}

#[test]
fn a_partial_checksum_passes_to_who_accepts_it_and_is_finished_for_who_does_not() {
    for builder in
        [broadcast(0), broadcast(0).tcp(), broadcast(0).ipv6(), broadcast(0).tcp().ipv6()]
    {
        for payload_bytes in [3, 60, 1301] {
            let builder = builder.clone().payload(payload_bytes, 1);
            let mut stage = Stage::new(1, &[ordinary(), ordinary(), ordinary()]);
            stage.ports[1].accept(Offloads::CSUM);
            stage.send_in_pieces(0, &builder.partial(), 3);
            stage.settle();
            let partial = builder.partial();
            let expected = Received { bytes: partial.bytes, net: partial.net };
            assert_eq!(stage.received(1), [expected]);
            let complete = builder.complete();
            let expected = Received { bytes: complete.bytes, net: NetHeader::PLAIN };
            assert_eq!(stage.received(2), [expected]);
        }
    }
}

#[test]
fn a_frame_to_be_segmented_passes_whole_to_who_accepts_that() {
    for (builder, accepts) in [(broadcast(0), TSO4), (broadcast(0).ipv6(), TSO6)] {
        let builder = builder.tcp().payload(60_000, 1);
        let whole = builder.to_segment(1000);
        let expected = Received { bytes: whole.bytes, net: whole.net };
        assert_eq!(delivered(&builder, accepts, ordinary()), [expected]);
    }
}

#[test]
fn a_receiver_of_the_other_ip_version_gets_segments() {
    for (builder, accepts) in [(broadcast(0), TSO6), (broadcast(0).ipv6(), TSO4)] {
        let received = delivered(&builder.tcp().payload(4500, 1), accepts, ordinary());
        assert_eq!(received.len(), 5);
    }
}

#[test]
fn segments_have_complete_checksums_for_who_knows_no_offload() {
    for builder in [broadcast(0), broadcast(0).ipv6()] {
        let builder = builder.tcp().payload(60_001, 1);
        let received = delivered(&builder, Offloads::NONE, ordinary());
        assert!(received.iter().all(|received| received.net == NetHeader::PLAIN));
        let seen = seen(&received);
        assert!(seen.iter().all(|seen| seen.wrong.is_none()));
        assert_eq!(seen.len(), 61);
        assert_eq!(reassembled(&seen), Seen::of(&builder.complete().bytes).payload);
    }
}

#[test]
fn segments_have_partial_checksums_for_who_accepts_these() {
    let builder = broadcast(0).tcp().payload(4500, 1);
    let received = delivered(&builder, Offloads::CSUM, ordinary());
    let expected = builder.to_segment(1000).net.checksum;
    for received in &received {
        assert_eq!(received.net, NetHeader { checksum: expected, gso: None });
        assert!(Seen::of(&received.bytes).wrong.is_some(), "nobody has finished it");
    }
    assert_eq!(reassembled(&seen(&received)), Seen::of(&builder.complete().bytes).payload);
}

#[test]
fn segments_are_no_longer_than_the_mtu_of_the_receiver() {
    let builder = broadcast(0).tcp().payload(4500, 1);
    for (mtu, count) in [(1040, 5), (1039, 5), (540, 9), (539, 10)] {
        let received = delivered(&builder, Offloads::NONE, ordinary().mtu(mtu));
        assert_eq!(received.len(), count, "{mtu}");
        let longest = received.iter().map(|received| received.bytes.len()).max().unwrap();
        assert_eq!(longest, usize::from(mtu) + 14, "{mtu}");
        let seen = seen(&received);
        assert!(seen.iter().all(|seen| seen.wrong.is_none()));
        assert_eq!(reassembled(&seen), Seen::of(&builder.complete().bytes).payload);
    }
}

#[test]
fn a_frame_whose_segments_are_beyond_the_mtu_is_cut_anew_for_who_would_take_it_whole() {
    let builder = broadcast(0).tcp().payload(4500, 1);
    assert_eq!(delivered(&builder, TSO4, ordinary().mtu(1040)).len(), 1);
    for (mtu, count) in [(1039, 5), (540, 9)] {
        let received = delivered(&builder, TSO4, ordinary().mtu(mtu));
        assert_eq!(received.len(), count, "{mtu}");
        let partial = NetHeader { gso: None, ..builder.to_segment(1000).net };
        assert!(received.iter().all(|received| received.net == partial));
        assert!(received.iter().all(|received| received.bytes.len() <= usize::from(mtu) + 14));
        assert_eq!(reassembled(&seen(&received)), Seen::of(&builder.complete().bytes).payload);
    }
}

#[test]
fn an_mtu_that_leaves_no_room_for_payload_drops_the_frame() {
    let mut stage = Stage::new(1, &[ordinary(), ordinary().mtu(40)]);
    stage.send(0, &broadcast(0).tcp().payload(4500, 1).to_segment(1000));
    stage.settle();
    assert!(stage.received(1).is_empty());
    assert_eq!(stage.drops(1, DropReason::Mtu), 1);
}

#[test]
fn a_copy_always_has_complete_checksums_and_wire_size() {
    let plans = [ordinary().source(0), ordinary(), ordinary().destination(0).receive_only()];
    for workers in [1, 2] {
        let mut plans = plans.clone();
        plans[2].owner = Some(workers - 1);
        let mut stage = Stage::new(workers, &plans);
        stage.know_all(VlanId::UNTAGGED);
        stage.ports.iter().for_each(|far| far.accept(TSO4));
        stage.send(0, &frame(0, 1).tcp().payload(5000, 1).to_segment(1000));
        stage.send(0, &frame(0, 1).payload(900, 1).partial());
        stage.settle();
        assert_eq!(stage.received(1).len(), 2);
        let copies = stage.received(2);
        assert_eq!(copies.len(), 6);
        assert!(copies.iter().all(|copy| copy.net == NetHeader::PLAIN));
        assert!(seen(&copies).iter().all(|seen| seen.wrong.is_none()));
    }
}

/// Two receivers and two monitors that all need the same form, and a sender that rewrites its buffer while it is read: a
/// form that was computed anew would have another checksum.
fn checksums_from_a_hostile_sender(builder: &FrameBuilder, send: fn(&mut Stage, &FrameBuilder)) {
    let monitor = ordinary().destination(0).receive_only();
    let plans = [ordinary().source(0), ordinary(), ordinary(), monitor.clone(), monitor];
    let mut stage = Stage::new(1, &plans);
    let (memory, place) = (Arc::clone(stage.ports[0].memory()), stage.ports[0].next_place());
    stage.ports.iter().for_each(|far| far.scribble(&memory, place));
    send(&mut stage, builder);
    stage.settle();
    let heads = |index: usize| {
        let frames = stage.bytes_at(index);
        frames.iter().map(|bytes| bytes[..54].to_vec()).collect::<Vec<_>>()
    };
    let first = heads(1);
    assert!(!first.is_empty());
    for index in [2, 3, 4] {
        assert_eq!(heads(index), first, "port {index}");
    }
}

#[test]
fn a_frame_is_finished_once_for_all_receivers_and_monitors() {
    checksums_from_a_hostile_sender(&broadcast(0).payload(1300, 1), |stage, builder| {
        stage.send(0, &builder.partial());
    });
}

#[test]
fn a_frame_is_segmented_once_for_all_receivers_and_monitors() {
    checksums_from_a_hostile_sender(&broadcast(0).tcp().payload(9000, 1), |stage, builder| {
        stage.send(0, &builder.to_segment(1000));
    });
}

#[test]
fn receivers_of_all_forms_get_theirs_from_one_frame() {
    let plans: Vec<_> = (0..6).map(|_| ordinary()).collect();
    let mut stage = Stage::new(1, &plans);
    let accepts = [Offloads::NONE, TSO4, Offloads::CSUM, Offloads::NONE, TSO6, Offloads::NONE];
    stage.ports.iter().zip(accepts).for_each(|(far, accepts)| far.accept(accepts));
    stage.send(0, &broadcast(0).tcp().payload(2500, 1).to_segment(1000));
    stage.settle();
    let forms: Vec<_> = (1..6)
        .map(|index| {
            let received = stage.received(index);
            let partial = matches!(received[0].net.checksum, Checksum::Partial { .. });
            (received.len(), partial)
        })
        .collect();
    assert_eq!(forms, [(1, true), (3, true), (3, false), (3, true), (3, false)]);
}

#[test]
fn a_checksum_that_lies_beyond_the_head_cannot_be_finished_and_is_dropped_for_who_needs_that() {
    let mut sent = broadcast(0).payload(600, 1).complete();
    sent.net.checksum = Checksum::Partial { start: 200, offset: 6 };
    let mut stage = Stage::new(1, &[ordinary(), ordinary(), ordinary()]);
    stage.ports[1].accept(Offloads::CSUM);
    stage.send(0, &sent);
    stage.settle();
    assert_eq!(stage.received_counts(), [0, 1, 0]);
    assert_eq!(stage.drops(2, DropReason::HeaderLong), 1);
}

/// A frame that is to be cut into 128 segments of one byte.
fn of_short_segments() -> TestFrame {
    broadcast(0).tcp().payload(128, 1).to_segment(1)
}

#[test]
fn of_frames_with_many_short_segments_a_burst_holds_two() {
    let mut stage = Stage::new(1, &[ordinary(), ordinary()]);
    (0..64).for_each(|_| stage.send(0, &of_short_segments()));
    let payload = of_short_segments().bytes.split_off(54);
    for _ in 0..32 {
        assert_eq!(stage.turn(0), 2);
        let received = seen(&stage.received(1));
        let (first, second) = received.split_at(128);
        assert!(reassembled(first) == payload && reassembled(second) == payload);
    }
}

#[test]
fn of_frames_with_many_short_segments_those_of_four_bursts_come_to_another_worker_in_a_turn() {
    let mut stage = Stage::new(2, &[ordinary(), ordinary().on(1)]);
    (0..64).for_each(|_| stage.send(0, &of_short_segments()));
    (0..32).for_each(|_| assert_eq!(stage.turn(0), 2));
    for _ in 0..8 {
        stage.turn(1);
        assert_eq!(stage.received(1).len(), 8 * 128);
    }
}

#[test]
fn segments_of_256_bytes_are_not_too_many_and_shorter_ones_are() {
    // 2614 bytes each: 25 are some less than 64 KiB.
    for (segment_bytes, frames) in [(1448, 25), (256, 25), (255, 24)] {
        let mut stage = Stage::new(1, &[ordinary(), ordinary()]);
        let sent = broadcast(0).tcp().payload(2560, 1).to_segment(segment_bytes);
        (0..25).for_each(|_| stage.send(0, &sent));
        assert_eq!(stage.turn(0), frames, "segments of {segment_bytes} bytes");
    }
}
