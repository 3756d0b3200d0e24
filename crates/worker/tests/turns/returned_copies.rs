//! Copies that come back are not copied again, by any session.

use helio_mirror::{LegForm, RefusedFrames, Session};
use helio_testkit::{FrameBuilder, TestFrame};
use helio_types::{DropReason, MacAddr};

use crate::fragments::{fragments, point};
use crate::sessions::{remote, session, stage_with};
use crate::stage::{PortPlan, Stage, access, frame, mac, ordinary, trunk, vid};
use crate::underlay::{DECAP, UPLINK};

/// A session that sends what port 0 sends and receives on another VLAN than [`remote`].
fn on_98(leg: usize, to: usize) -> Session {
    let legs = [(leg, to, LegForm::RemoteVlan(vid(98)))];
    Session { number: 2, refused: RefusedFrames::Included, ..session(&[0], &legs) }
}

fn on_99(leg: usize, to: usize) -> Session {
    Session { number: 1, refused: RefusedFrames::Included, ..session(&[0], &[(leg, to, remote())]) }
}

/// A frame with each of these tags, from port 0 to port 1.
fn tagged(tcis: &[u16]) -> Vec<TestFrame> {
    let tagged = |tci: &u16| frame(0, 1).tagged(*tci).payload(100, 1).complete();
    tcis.iter().map(tagged).collect()
}

fn stage_of(plans: &[PortPlan], sessions: Vec<Session>) -> Stage {
    let stage = stage_with(plans, sessions);
    [97, 98, 99].into_iter().for_each(|vlan| stage.know_all(vid(vlan)));
    stage
}

#[test]
fn what_comes_on_the_remote_vlan_of_one_session_is_copied_by_none() {
    // Where policy takes tagged frames, and where it refuses them.
    for from in [ordinary(), ordinary().vlan(access(10))] {
        let plans = [from, ordinary(), ordinary(), ordinary(), ordinary()];
        let plain = session(&[0], &[(2, 4, LegForm::Plain)]);
        let plain = Session { number: 3, refused: RefusedFrames::Included, ..plain };
        let mut stage = stage_of(&plans, vec![on_99(0, 2), on_98(1, 3), plain]);
        // All in one burst.
        for frame in tagged(&[99, 98, 0xe063, 97, 97, 99]) {
            stage.send(0, &frame);
        }
        stage.settle();
        let wanted = [0, 1, 2].map(|leg| stage.leg_counts(leg).wanted.frames);
        let received = [2, 3, 4].map(|port| stage.received(port).len());
        assert_eq!((wanted, received), ([2; 3], [2; 3]));
    }
}

#[test]
fn what_comes_on_the_remote_vlan_of_a_named_session_is_not_copied_by_a_numbered_one() {
    let plans =
        [ordinary().source(0), ordinary(), ordinary(), ordinary().destination(0).receive_only()];
    for exact in [&[][..], &[0]] {
        let mut stage = Stage::with_exact(1, &plans, exact);
        stage.configure_sessions(&plans, vec![session(&[1], &[(0, 2, remote())])]);
        [97, 99].into_iter().for_each(|vlan| stage.know_all(vid(vlan)));
        let frames = tagged(&[99, 97, 0xe063, 97]);
        frames.iter().for_each(|frame| stage.send(0, frame));
        stage.settle();
        let copied = [frames[1].bytes.clone(), frames[3].bytes.clone()];
        assert_eq!(stage.bytes_at(3), copied);
        assert_eq!(stage.counts(3).mirror.wanted.frames, 2);
        assert_eq!((stage.received(1).len(), stage.received(2).len()), (4, 2));
    }
}

#[test]
fn a_remote_vlan_that_no_session_sends_on_is_watched_as_any_other() {
    let plans = vec![ordinary(); 4];
    let mut watching = session(&[], &[(0, 2, LegForm::Plain)]);
    watching.sources.vlans.insert(vid(99));
    let mut stage = stage_of(&plans, vec![watching.clone()]);
    let [frame] = &tagged(&[99])[..] else { panic!("one") };
    stage.send(0, frame);
    stage.settle();
    assert_eq!(stage.bytes_at(2), std::slice::from_ref(&frame.bytes));
    stage.configure_sessions(&plans, vec![watching, on_99(1, 3)]);
    stage.send(0, frame);
    stage.settle();
    assert_eq!([2, 3].map(|port| stage.received(port).len()), [0, 0]);
}

#[test]
fn the_vlans_in_a_stream_are_those_of_another_switch() {
    let mut plans = vec![ordinary(); 6];
    plans[DECAP] = ordinary().source(0);
    plans[3] = ordinary().destination(0);
    let watching = Session { number: 2, ..session(&[DECAP], &[(1, 5, LegForm::Plain)]) };
    let mut stage = Stage::new(1, &plans);
    stage.configure_underlay(&plans, vec![on_99(0, 4), watching], vec![point()]);
    let [inner] = &tagged(&[99])[..] else { panic!("one") };
    stage.send(UPLINK, &fragments(0, &inner.bytes, 1000)[0]);
    stage.settle();
    assert_eq!(
        [3, 5].map(|port| stage.bytes_at(port)),
        [[inner.bytes.clone()], [inner.bytes.clone()]]
    );
}

#[test]
fn what_came_back_without_its_tag_on_a_remote_vlan_is_not_copied_again_when_it_is_refused() {
    let native = |vlan| trunk(&[10], Some(vlan));
    for (mode, copied) in [(access(99), 0), (native(99), 0), (access(98), 2), (native(98), 2)] {
        let plans = [ordinary().vlan(mode), ordinary(), ordinary()];
        let refused = RefusedFrames::Included;
        let watching = Session { refused, ..session(&[0], &[(0, 2, remote())]) };
        let mut stage = stage_with(&plans, vec![watching]);
        let group = MacAddr([3, 0, 0, 0, 0, 1]);
        let from_group = || FrameBuilder::new(group, mac(1)).payload(100, 1);
        stage.send(0, &from_group().complete());
        // A priority is no VLAN.
        stage.send(0, &from_group().tagged(0xa000).complete());
        stage.settle();
        assert_eq!(stage.drops(0, DropReason::BadSourceMac), 2);
        assert_eq!(stage.bytes_at(2).len(), copied);
    }
}
