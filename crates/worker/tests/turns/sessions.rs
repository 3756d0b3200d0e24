//! Named mirror sessions: which frames are copied by which legs, and in what form.

use std::num::{NonZeroU32, NonZeroU64};
use std::sync::atomic::Ordering;

use helio_encap::SnapLen;
use helio_mirror::{Directions, Exactness, Leg, LegForm, Rate, RefusedFrames, Session, Sources};
use helio_types::{DropReason, PortSet, VlanSet};

use crate::stage::{Stage, frame, leg, ordinary, port, vid};

/// A session that watches ports both ways and copies by these legs.
fn session(sources: &[usize], legs: &[(usize, usize, LegForm)]) -> Session {
    Session {
        number: 1,
        sources: Sources {
            ports: sources.iter().map(|index| port(*index)).collect::<PortSet>(),
            vlans: VlanSet::EMPTY,
            macs: Vec::new(),
        },
        directions: Directions::Both,
        filter: None,
        one_in: NonZeroU32::MIN,
        rate: None,
        snap_len: SnapLen::WHOLE,
        exactness: Exactness::ByReference,
        refused: RefusedFrames::Left,
        legs: legs
            .iter()
            .map(|(id, to, form)| Leg { id: leg(*id), port: port(*to), form: form.clone() })
            .collect(),
    }
}

#[test]
fn a_plain_leg_gets_what_its_source_sends_and_receives_once() {
    let plans = vec![ordinary(); 4];
    let mut stage = Stage::new(1, &plans);
    stage.know_all(vid(0));
    stage.configure_sessions(&plans, vec![session(&[0, 1], &[(0, 3, LegForm::Plain)])]);
    stage.send(0, &frame(0, 1).complete());
    stage.send(1, &frame(1, 2).complete());
    stage.send(2, &frame(2, 0).complete());
    stage.settle();
    assert_eq!(stage.received_counts(), [1, 1, 1, 3]);
    assert_eq!(stage.leg_counts(0).delivered.frames, 3);
}

#[test]
fn a_remote_vlan_stands_in_front_of_the_frames_own_tag() {
    let plans = vec![ordinary(); 3];
    let mut stage = Stage::new(1, &plans);
    stage.know_all(vid(0));
    let form = LegForm::RemoteVlan(vid(99));
    stage.configure_sessions(&plans, vec![session(&[0], &[(7, 2, form)])]);
    stage.send(0, &frame(0, 1).complete());
    stage.settle();
    let (sent, copies) = (stage.bytes_at(1), stage.bytes_at(2));
    assert_eq!(copies.len(), 1);
    assert_eq!(copies[0][12..16], [0x81, 0, 0, 99]);
    assert_eq!([&copies[0][..12], &copies[0][16..]].concat(), sent[0]);
    assert_eq!(stage.leg_counts(7).delivered.frames, 1);
}

#[test]
fn copies_beyond_the_rate_are_wanted_and_dropped_until_time_has_passed() {
    let plans = vec![ordinary(); 3];
    let mut stage = Stage::new(1, &plans);
    stage.know_all(vid(0));
    let (per_second, burst) = (NonZeroU64::new(10).unwrap(), NonZeroU32::new(2).unwrap());
    let mut limited = session(&[0], &[(0, 2, LegForm::Plain)]);
    limited.rate = Some(Rate::Frames { per_second, burst });
    stage.configure_sessions(&plans, vec![limited]);
    for expected in [2, 3] {
        for _ in 0..5 {
            stage.send(0, &frame(0, 1).complete());
        }
        stage.settle();
        assert_eq!(stage.leg_counts(0).delivered.frames, expected);
        stage.now_ns.fetch_add(100_000_000, Ordering::Relaxed);
    }
    let counts = stage.leg_counts(0);
    assert_eq!((counts.wanted.frames, stage.received(1).len()), (10, 10));
    assert_eq!(counts.dropped[DropReason::RateLimit.index()].frames, 7);
}
