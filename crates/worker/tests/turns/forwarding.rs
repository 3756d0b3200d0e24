//! Where frames go, and how each is counted.

use helio_frame::{BURST_FRAMES, MemoryDirectory};
use helio_offload::NetHeader;
use helio_testkit::{FrameBuilder, TestFrame};
use helio_types::{DropReason, MacAddr, VlanId};

use crate::stage::{Stage, broadcast, frame, mac, ordinary, port};

fn three() -> Stage {
    Stage::new(1, &[ordinary(), ordinary(), ordinary()])
}

#[test]
fn a_frame_for_a_known_address_goes_to_its_port_alone_and_unchanged() {
    let mut stage = three();
    stage.know_all(VlanId::UNTAGGED);
    let sent = frame(0, 1).payload(700, 1).complete();
    stage.send_in_pieces(0, &sent, 3);
    stage.settle();
    let received = stage.received(1);
    assert_eq!(received.len(), 1);
    assert_eq!((&received[0].bytes, received[0].net), (&sent.bytes, NetHeader::PLAIN));
    assert_eq!(stage.received_counts(), [0, 0, 0]);
    let bytes = u64::try_from(sent.bytes.len()).unwrap();
    let ingress = stage.counts(0).ingress;
    assert_eq!((ingress.frames, ingress.bytes), (1, bytes));
    assert_eq!(stage.counts(1).egress, ingress);
}

#[test]
fn a_frame_of_every_length_arrives_whole() {
    let mut stage = three();
    stage.know_all(VlanId::UNTAGGED);
    // Around the end of the head, where the rest begins; and the longest frame of the MTU.
    for bytes in (14..20).chain(125..132).chain([1513, 1514]) {
        let mut sent = frame(0, 1).payload(1600, 9).complete();
        sent.bytes.truncate(bytes);
        stage.send(0, &sent);
        stage.settle();
        assert_eq!(stage.bytes_at(1), [sent.bytes]);
    }
}

#[test]
fn broadcast_and_unknown_unicast_go_to_all_but_the_sender() {
    let mut stage = three();
    stage.send(0, &broadcast(0).complete());
    stage.send(0, &frame(0, 9).complete());
    stage.settle();
    assert_eq!(stage.received_counts(), [0, 2, 2]);
    assert_eq!(stage.counts(0).ingress.frames, 2);
}

#[test]
fn an_address_is_learned_from_the_first_frame_and_moves_with_its_guest() {
    let mut stage = three();
    stage.send(1, &broadcast(1).complete());
    stage.settle();
    stage.send(0, &frame(0, 1).complete());
    stage.settle();
    assert_eq!(stage.received_counts(), [1, 1, 1]);
    // The same address now speaks through port 2.
    stage.send(2, &broadcast(1).complete());
    stage.settle();
    stage.send(0, &frame(0, 1).complete());
    stage.settle();
    assert_eq!(stage.received_counts(), [1, 1, 1]);
}

#[test]
fn a_receive_only_port_gets_no_ordinary_traffic_and_sends_none() {
    let mut stage = Stage::new(1, &[ordinary(), ordinary().receive_only(), ordinary()]);
    stage.send(0, &broadcast(0).complete());
    stage.send(1, &broadcast(1).complete());
    stage.settle();
    assert_eq!(stage.received_counts(), [0, 0, 1]);
    assert_eq!(stage.drops(1, DropReason::ReceiveOnly), 1);
    assert_eq!(stage.counts(1).ingress.frames, 0);
}

#[test]
fn a_frame_for_an_address_behind_its_own_port_is_a_hairpin() {
    let mut stage = three();
    stage.know_all(VlanId::UNTAGGED);
    stage.send(0, &FrameBuilder::new(mac(7), mac(0)).complete());
    stage.settle();
    assert_eq!(stage.received_counts(), [0, 0, 0]);
    assert_eq!(stage.drops(0, DropReason::Hairpin), 1);
    assert_eq!(stage.counts(0).ingress.frames, 0);
}

#[test]
fn a_frame_without_destination_is_dropped_for_that() {
    let mut stage = Stage::new(1, &[ordinary()]);
    stage.send(0, &broadcast(0).complete());
    stage.settle();
    assert_eq!(stage.drops(0, DropReason::NoDestination), 1);
}

#[test]
fn a_frame_that_goes_nowhere_is_mirrored_all_the_same() {
    let plans = [ordinary().source(0), ordinary().destination(0).receive_only()];
    let mut stage = Stage::new(1, &plans);
    stage.know_all(VlanId::UNTAGGED);
    stage.send(0, &broadcast(0).complete());
    stage.send(0, &FrameBuilder::new(mac(7), mac(0)).complete());
    stage.settle();
    assert_eq!(stage.received_counts(), [0, 2]);
    assert_eq!(stage.drops(0, DropReason::NoDestination), 1);
    assert_eq!(stage.drops(0, DropReason::Hairpin), 1);
}

#[test]
fn a_frame_that_policy_refuses_is_not_mirrored() {
    let plans = [ordinary().source(0), ordinary().destination(0)];
    let mut stage = Stage::new(1, &plans);
    let link_local = MacAddr([0x01, 0x80, 0xc2, 0, 0, 0x0e]);
    stage.send(0, &FrameBuilder::new(mac(0), link_local).complete());
    stage.send(0, &FrameBuilder::new(MacAddr::BROADCAST, mac(1)).complete());
    stage.settle();
    assert_eq!(stage.received_counts(), [0, 0]);
    assert_eq!(stage.drops(0, DropReason::LinkLocal), 1);
    assert_eq!(stage.drops(0, DropReason::BadSourceMac), 1);
    assert_eq!(stage.counts(1).mirror.wanted.frames, 0);
}

#[test]
fn runts_and_chains_without_a_frame_are_completed_and_counted() {
    let mut stage = three();
    stage.send(0, &TestFrame::raw(vec![2; 13]));
    stage.send(0, &TestFrame::raw(Vec::new()));
    // A tag that is announced and cut off.
    let mut cut = frame(0, 1).tagged(5).complete();
    cut.bytes.truncate(17);
    stage.send(0, &cut);
    for reason in [DropReason::ChainLoop, DropReason::ChainAddress, DropReason::ChainLoop] {
        stage.ports[0].send_refused(reason);
    }
    assert_eq!(stage.turn(0), 6);
    assert_eq!((stage.ports[0].completed(), stage.ports[0].in_flight()), (6, 0));
    assert_eq!(stage.drops(0, DropReason::Runt), 3);
    assert_eq!(stage.drops(0, DropReason::ChainLoop), 2);
    assert_eq!(stage.drops(0, DropReason::ChainAddress), 1);
    assert_eq!((stage.all_drops(0), stage.counts(0).ingress.frames), (6, 0));
}

#[test]
fn the_mtu_counts_from_behind_the_ethernet_header_and_one_tag() {
    let plans = [ordinary(), ordinary().mtu(100), ordinary()];
    let mut stage = Stage::new(1, &plans);
    let of_bytes = |bytes: usize, tag: Option<u16>| {
        let mut builder = broadcast(0);
        builder = tag.map_or(builder.clone(), |tci| builder.tagged(tci));
        let mut frame = builder.payload(200, 1).complete();
        frame.bytes.truncate(bytes);
        frame
    };
    for (bytes, tag) in [(114, None), (115, None), (118, Some(7)), (119, Some(7))] {
        stage.send(0, &of_bytes(bytes, tag));
    }
    stage.settle();
    let lengths = stage.bytes_at(1).iter().map(Vec::len).collect::<Vec<_>>();
    assert_eq!(lengths, [114, 118]);
    assert_eq!(stage.drops(1, DropReason::Mtu), 2);
    assert_eq!(stage.received(2).len(), 4);
}

#[test]
fn a_port_without_room_loses_its_own_frames_only() {
    let mut stage = three();
    stage.ports[1].set_room(2);
    for _ in 0..5 {
        stage.send(0, &broadcast(0).complete());
    }
    stage.settle();
    assert_eq!(stage.received_counts(), [0, 2, 5]);
    assert_eq!(stage.drops(1, DropReason::NoRxBuffer), 3);
    assert_eq!((stage.counts(1).egress.frames, stage.all_drops(2)), (2, 0));
}

#[test]
fn a_frame_for_a_port_that_no_worker_owns_is_counted_there() {
    let plans = [ordinary().source(0), ordinary().detached(), ordinary().detached().destination(0)];
    let mut stage = Stage::new(2, &plans);
    stage.send(0, &broadcast(0).payload(500, 1).complete());
    stage.settle();
    assert_eq!(stage.drops(1, DropReason::PortDown), 1);
    assert_eq!(stage.drops(2, DropReason::PortDown), 1);
    let dropped = stage.counts(2).mirror.dropped[DropReason::PortDown.index()];
    assert_eq!(dropped, stage.counts(2).mirror.wanted);
    assert_eq!(dropped.frames, 1);
}

#[test]
fn a_frame_whose_memory_is_gone_reaches_nobody_and_is_counted() {
    let mut stage = three();
    let id = stage.ports[0].memory_id();
    stage.ask(|fleet, _| fleet.replace(id, None));
    stage.send(0, &broadcast(0).payload(500, 1).complete());
    // This one lies in its head as a whole.
    stage.send(0, &broadcast(0).payload(20, 1).complete());
    stage.settle();
    assert_eq!(stage.received_counts(), [0, 1, 1]);
    assert_eq!(stage.drops(1, DropReason::PortDown), 1);
    assert_eq!(stage.drops(2, DropReason::PortDown), 1);
}

#[test]
fn a_burst_is_bounded_in_frames_and_what_is_left_comes_next() {
    let mut stage = three();
    stage.know_all(VlanId::UNTAGGED);
    for _ in 0..BURST_FRAMES + 1 {
        stage.send(0, &frame(0, 1).complete());
    }
    assert_eq!(stage.turn(0), 64);
    assert_eq!(stage.received(1).len(), 64);
    assert_eq!(stage.turn(0), 1);
    assert_eq!(stage.received(1).len(), 1);
    assert_eq!(stage.turn(0), 0);
}

#[test]
fn every_port_is_published_to_in_a_turn_with_work_and_notified_in_the_first_one_without() {
    let mut stage = three();
    stage.settle();
    let told = |stage: &Stage| {
        stage.ports.iter().map(|far| (far.publishes(), far.notifications())).collect::<Vec<_>>()
    };
    let before = told(&stage);
    assert_eq!(stage.turn(0), 0);
    assert_eq!(told(&stage), before);
    for from in 0..3 {
        stage.send(from, &broadcast(from).complete());
    }
    assert_eq!(stage.turn(0), 3);
    let published: Vec<_> = before.iter().map(|(p, n)| (p + 1, *n)).collect();
    assert_eq!(told(&stage), published);
    assert_eq!(stage.turn(0), 0);
    let notified: Vec<_> = before.iter().map(|(p, n)| (p + 1, n + 1)).collect();
    assert_eq!(told(&stage), notified);
    assert_eq!(stage.turn(0), 0);
    assert_eq!(told(&stage), notified);
}

#[test]
fn a_port_that_was_given_frames_publishes_before_the_one_that_sent_them() {
    let mut stage = three();
    stage.know_all(VlanId::UNTAGGED);
    stage.settle();
    for (from, to) in [(0, 1), (1, 0), (2, 1), (0, 2)] {
        stage.send(from, &frame(from, to).complete());
        assert_eq!(stage.turn(0), 1);
        let published = [to, from].map(|port| stage.ports[port].published_as().unwrap());
        assert!(published[0] < published[1], "{from} to {to}");
    }
}

#[test]
fn while_every_turn_has_work_ports_are_notified_in_each_eighth() {
    let mut stage = three();
    stage.know_all(VlanId::UNTAGGED);
    stage.settle();
    let before = stage.ports[1].notifications();
    for turn in 1..=24 {
        stage.send(0, &frame(0, 1).complete());
        assert_eq!(stage.turn(0), 1);
        assert_eq!(stage.ports[1].notifications() - before, turn / 8, "{turn}");
    }
}

#[test]
fn a_port_that_takes_the_id_of_another_takes_its_place() {
    let mut stage = three();
    stage.know_all(VlanId::UNTAGGED);
    let (fake, far) = helio_testkit::fake_port(port(1));
    let owner = helio_types::WorkerId::new(0).unwrap();
    stage.ask(|fleet, _| fleet.add_port(owner, port(1), Box::new(fake)).unwrap());
    stage.send(0, &frame(0, 1).complete());
    stage.settle();
    assert_eq!((far.received().len(), stage.received(1).len()), (1, 0));
    assert!(stage.remove_port(0, 1).is_some());
    assert!(stage.remove_port(0, 1).is_none());
}
