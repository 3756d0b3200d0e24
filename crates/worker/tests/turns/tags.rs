//! VLANs: who gets a frame, and with which tag.

use helio_offload::{Checksum, Offloads};
use helio_testkit::TestFrame;
use helio_types::{DropReason, VlanMode};

use crate::stage::{Stage, access, broadcast, ordinary, trunk};

/// Access ports 0 and 1 of VLAN 10, access port 2 of VLAN 20, trunk 3 of both, trunk 4 with VLAN 10 untagged, and 5
/// without any VLAN setting.
fn stage() -> Stage {
    let modes = [
        access(10),
        access(10),
        access(20),
        trunk(&[10, 20], None),
        trunk(&[20], Some(10)),
        VlanMode::Transparent,
    ];
    Stage::new(1, &modes.map(|mode| ordinary().mtu(9000).vlan(mode)))
}

/// The tags that each port saw on the one frame it got; `None` when it got none.
fn tags(stage: &Stage) -> Vec<Option<Option<u16>>> {
    (0..6)
        .map(|index| {
            let seen = stage.seen_at(index);
            assert!(seen.len() <= 1);
            seen.first().map(|seen| {
                assert_eq!(seen.wrong, None);
                seen.tci
            })
        })
        .collect()
}

#[test]
fn a_frame_of_an_access_port_is_tagged_where_its_vlan_is_tagged() {
    for payload_bytes in [10, 2000] {
        let mut stage = stage();
        stage.send(0, &broadcast(0).payload(payload_bytes, 1).complete());
        stage.settle();
        let tagged = Some(Some(10));
        assert_eq!(tags(&stage), [None, Some(None), None, tagged, Some(None), tagged]);
    }
}

#[test]
fn a_tag_is_taken_out_where_its_vlan_is_untagged_and_kept_elsewhere() {
    for payload_bytes in [10, 2000] {
        let mut stage = stage();
        stage.send(3, &broadcast(3).tagged(0xb00a).payload(payload_bytes, 1).complete());
        stage.settle();
        let untagged = Some(None);
        assert_eq!(tags(&stage), [untagged, untagged, None, None, untagged, Some(Some(0xb00a))]);
    }
}

#[test]
fn a_priority_tag_becomes_a_tag_of_the_vlan_with_that_priority() {
    let mut stage = stage();
    stage.send(0, &broadcast(0).tagged(0xa000).payload(300, 1).complete());
    stage.settle();
    let tagged = Some(Some(0xa00a));
    assert_eq!(tags(&stage), [None, Some(None), None, tagged, Some(None), tagged]);
}

#[test]
fn what_comes_out_of_an_edit_is_the_frame_and_nothing_else() {
    let mut stage = stage();
    let builder = broadcast(0).tcp().payload(3000, 5);
    stage.send_in_pieces(0, &builder.complete(), 7);
    stage.settle();
    assert_eq!(stage.bytes_at(3), [builder.clone().tagged(10).complete().bytes]);
    assert_eq!(stage.bytes_at(1), [builder.complete().bytes]);
    let mut stage = self::stage();
    stage.send(3, &builder.clone().tagged(20).complete());
    stage.settle();
    assert_eq!(stage.bytes_at(2), [builder.complete().bytes]);
}

#[test]
fn a_frame_of_a_vlan_that_the_port_is_not_in_is_refused() {
    let mut stage = stage();
    stage.send(0, &broadcast(0).tagged(20).complete());
    stage.send(3, &broadcast(3).complete());
    stage.send(3, &broadcast(3).tagged(30).complete());
    stage.settle();
    assert_eq!(stage.received_counts(), [0; 6]);
    assert_eq!((stage.drops(0, DropReason::Vlan), stage.drops(3, DropReason::Vlan)), (1, 2));
}

#[test]
fn a_partial_checksum_moves_with_the_tag() {
    let all = Offloads::CSUM.union(Offloads::TSO4).union(Offloads::TSO6);
    let builder = broadcast(0).tcp().payload(4000, 5);
    let expected = |frame: TestFrame| vec![(frame.bytes, frame.net)];
    let made: [fn(&helio_testkit::FrameBuilder) -> TestFrame; 2] =
        [|builder| builder.partial(), |builder| builder.to_segment(1000)];
    for make in made {
        let mut stage = stage();
        stage.ports.iter().for_each(|far| far.accept(all));
        stage.send(0, &make(&builder));
        stage.settle();
        let at = |stage: &Stage, index: usize| {
            let received = stage.received(index);
            received.into_iter().map(|one| (one.bytes, one.net)).collect::<Vec<_>>()
        };
        assert_eq!(at(&stage, 1), expected(make(&builder)));
        assert_eq!(at(&stage, 3), expected(make(&builder.clone().tagged(10))));
        // And back.
        stage.send(3, &make(&builder.clone().tagged(10)));
        stage.settle();
        assert_eq!(at(&stage, 1), expected(make(&builder)));
    }
}

#[test]
fn checksums_of_segments_and_finished_frames_are_right_with_and_without_tag() {
    for sent in [broadcast(0).tcp().payload(4000, 5).to_segment(900), {
        broadcast(0).ipv6().payload(4000, 5).partial()
    }] {
        let mut stage = stage();
        stage.ports[1].accept(Offloads::CSUM);
        stage.send(0, &sent);
        stage.settle();
        for received in stage.received(1) {
            assert!(matches!(received.net.checksum, Checksum::Partial { .. }));
        }
        for (index, tci) in [(3, Some(10)), (4, None), (5, Some(10))] {
            let seen = stage.seen_at(index);
            assert!(!seen.is_empty());
            assert!(seen.iter().all(|seen| seen.wrong.is_none() && seen.tci == tci), "{index}");
        }
    }
}
