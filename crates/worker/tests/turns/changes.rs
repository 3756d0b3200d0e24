//! Configurations that change under load.

use helio_types::VlanId;

use crate::stage::{PortPlan, Stage, access, broadcast, frame, ordinary};

/// Two ports that talk, and a monitor: with and without a session.
fn plans(workers: usize, mirrored: usize) -> [PortPlan; 3] {
    let (one, other) = (ordinary(), ordinary().on(workers - 1));
    let monitor = ordinary().receive_only().on(workers - 1);
    match mirrored % 4 {
        0 => [one, other, monitor],
        1 => [one.source(0), other, monitor.destination(0)],
        2 => [one, other.source(7), monitor.destination(7)],
        _ => [one.source(0), other.source(0), monitor.destination(0)],
    }
}

#[test]
fn a_thousand_mirror_changes_under_load_lose_nothing_and_copy_nothing_twice() {
    for workers in [1, 2] {
        let mut stage = Stage::new(workers, &plans(workers, 0));
        stage.know_all(VlanId::UNTAGGED);
        let (mut there, mut back, mut copies) = (Vec::new(), Vec::new(), Vec::new());
        for change in 0..1000_u32 {
            for (from, to, kind) in [(0, 1, 0), (1, 0, 1)] {
                let mut frame = frame(from, to).payload(300, 1).complete();
                let end = frame.bytes.len();
                frame.bytes[end - 8..end - 4].copy_from_slice(&change.to_be_bytes());
                frame.bytes[end - 1] = kind;
                stage.send(from, &frame);
            }
            stage.turn(0);
            stage.configure(&plans(workers, change as usize + 1));
            there.extend(stage.bytes_at(1));
            back.extend(stage.bytes_at(0));
            copies.extend(stage.bytes_at(2));
        }
        stage.settle();
        there.extend(stage.bytes_at(1));
        back.extend(stage.bytes_at(0));
        copies.extend(stage.bytes_at(2));
        let number = |bytes: &Vec<u8>| {
            let tail: [u8; 8] = *bytes.last_chunk().unwrap();
            (u32::from_be_bytes([tail[0], tail[1], tail[2], tail[3]]), tail[7])
        };
        let all = |kind: u8| (0..1000).map(|change| (change, kind)).collect::<Vec<_>>();
        assert_eq!(there.iter().map(number).collect::<Vec<_>>(), all(0));
        assert_eq!(back.iter().map(number).collect::<Vec<_>>(), all(1));
        let total = copies.len();
        let mut numbers: Vec<_> = copies.iter().map(number).collect();
        numbers.sort_unstable();
        numbers.dedup();
        assert_eq!(numbers.len(), total, "a copy came twice");
        let mirror = stage.counts(2).mirror;
        assert_eq!(mirror.delivered.frames, u64::try_from(total).unwrap());
        assert!(total > 500, "the sessions were hardly ever on");
        let drops: u64 = (0..3).map(|index| stage.all_drops(index)).sum();
        assert_eq!(drops, 0);
        assert_eq!(stage.chunks_in_use(), 0);
    }
}

#[test]
fn a_change_concerns_every_frame_sent_after_it_and_none_before() {
    for workers in [1, 2] {
        let mut stage = Stage::new(workers, &plans(workers, 0));
        stage.know_all(VlanId::UNTAGGED);
        for (mirrored, copies) in [(0, 0), (3, 1), (0, 0), (1, 1), (2, 1), (0, 0)] {
            stage.configure(&plans(workers, mirrored));
            stage.send(0, &frame(0, 1).payload(300, 1).complete());
            stage.settle();
            assert_eq!(stage.received_counts(), [0, 1, copies], "{mirrored}");
        }
    }
}

#[test]
fn a_copy_that_is_under_way_when_its_session_ends_is_still_accounted() {
    let mut stage = Stage::new(2, &plans(2, 3));
    stage.know_all(VlanId::UNTAGGED);
    stage.send(0, &frame(0, 1).payload(300, 1).complete());
    stage.turn(0);
    stage.configure(&plans(2, 0));
    stage.settle();
    assert_eq!(stage.received_counts(), [0, 1, 1]);
    assert_eq!(stage.counts(2).mirror.wanted.frames, 1);
}

#[test]
fn a_vlan_that_a_port_leaves_ends_there_with_the_next_frame() {
    let with = |mode| [ordinary().vlan(access(10)), ordinary().vlan(mode)];
    let mut stage = Stage::new(1, &with(access(10)));
    stage.send(0, &broadcast(0).complete());
    stage.settle();
    stage.configure(&with(access(20)));
    stage.send(0, &broadcast(0).complete());
    stage.settle();
    assert_eq!(stage.received_counts(), [0, 1]);
}
