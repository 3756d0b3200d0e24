//! Named mirror sessions: which frames are copied by which legs, and how often.

use std::num::NonZeroU32;

use helio_encap::SnapLen;
use helio_mirror::{Directions, Exactness, Leg, LegForm, RefusedFrames, Session, Sources};
use helio_testkit::{FrameBuilder, TestFrame};
use helio_types::{DropReason, MacAddr, PortSet, VlanId, VlanSet};

use crate::stage::{
    PortPlan, Stage, access, broadcast, frame, leg, mac, ordinary, port, trunk, vid,
};

/// The VLAN of the legs that put frames into one.
pub(crate) const REMOTE: u16 = 99;

/// That form.
pub(crate) fn remote() -> LegForm {
    LegForm::RemoteVlan(vid(REMOTE))
}

/// A session that watches ports both ways and copies by these legs: number, port, form.
pub(crate) fn session(sources: &[usize], legs: &[(usize, usize, LegForm)]) -> Session {
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

/// A stage of one worker that knows all addresses, with these sessions.
pub(crate) fn stage_with(plans: &[PortPlan], sessions: Vec<Session>) -> Stage {
    let mut stage = Stage::new(1, plans);
    [0, 10, 20].into_iter().for_each(|vlan| stage.know_all(vid(vlan)));
    stage.configure_sessions(plans, sessions);
    stage
}

/// Frames of a leg: wanted, delivered, and dropped for `reason`.
pub(crate) fn frames_of(stage: &Stage, leg: usize, reason: DropReason) -> [u64; 3] {
    let counts = stage.leg_counts(leg);
    [counts.wanted.frames, counts.delivered.frames, counts.dropped[reason.index()].frames]
}

/// A frame without the tag that a leg put in front.
pub(crate) fn without_remote_tag(copy: &[u8]) -> Vec<u8> {
    assert_eq!(copy[12..14], [0x81, 0], "no tag");
    assert_eq!(u16::from_be_bytes([copy[14], copy[15]]) & 0xfff, REMOTE, "another VLAN");
    [&copy[..12], &copy[16..]].concat()
}

/// The numbers of the frames that a port got, each written into its payload by [`numbered`].
fn numbers(frames: &[Vec<u8>]) -> Vec<u8> {
    frames.iter().map(|bytes| *bytes.last().unwrap()).collect()
}

/// A frame from one port to another, or to all, that is told from others by `number`.
fn numbered(from: usize, to: Option<usize>, number: u8) -> TestFrame {
    let builder = to.map_or_else(|| broadcast(from), |to| frame(from, to));
    let mut frame = builder.payload(300, 7).complete();
    *frame.bytes.last_mut().unwrap() = number;
    frame
}

/// What six ports send each other: numbered, from, to; `None` is all, and nobody knows 99.
const TRAFFIC: [(u8, usize, Option<usize>); 8] = [
    (1, 0, Some(1)),
    (2, 1, Some(0)),
    (3, 0, Some(2)),
    (4, 2, Some(1)),
    (5, 2, Some(3)),
    (6, 2, None),
    (7, 3, Some(99)),
    (8, 0, Some(0)),
];

/// The numbers of the frames that a session with these sources copies to port 5, by each form of leg. The other ports get
/// what they get without it.
fn copied(change: impl Fn(&mut Session)) -> Vec<u8> {
    let mut plans = vec![ordinary(); 6];
    plans[5] = ordinary().receive_only();
    let play = |sessions| {
        let mut stage = stage_with(&plans, sessions);
        for (number, from, to) in TRAFFIC {
            stage.send(from, &numbered(from, to, number));
            stage.settle();
        }
        stage
    };
    let silent = play(Vec::new());
    let production: Vec<_> = (0..5).map(|index| silent.bytes_at(index)).collect();
    let by_form = [LegForm::Plain, remote()].map(|form| {
        let mut watching = session(&[], &[(4, 5, form.clone())]);
        change(&mut watching);
        let stage = play(vec![watching]);
        assert_eq!((0..5).map(|index| stage.bytes_at(index)).collect::<Vec<_>>(), production);
        let copies = stage.bytes_at(5);
        let count = u64::try_from(copies.len()).unwrap();
        assert_eq!(frames_of(&stage, 4, DropReason::Mtu), [count, count, 0]);
        let copies: Vec<_> = match form {
            LegForm::Plain => copies,
            _ => copies.iter().map(|copy| without_remote_tag(copy)).collect(),
        };
        for copy in &copies {
            let (number, from, to) = TRAFFIC[usize::from(*copy.last().unwrap()) - 1];
            assert_eq!(*copy, numbered(from, to, number).bytes);
        }
        numbers(&copies)
    });
    assert_eq!(by_form[0], by_form[1]);
    by_form[0].clone()
}

#[test]
fn a_leg_shows_what_ports_send_or_receive_or_both_each_frame_once_and_nothing_else() {
    let of = |ports: &[usize], directions| {
        copied(|session| {
            session.sources.ports = ports.iter().map(|index| port(*index)).collect();
            session.directions = directions;
        })
    };
    assert_eq!(of(&[0], Directions::Ingress), [1, 3, 8]);
    assert_eq!(of(&[0], Directions::Egress), [2, 6, 7]);
    assert_eq!(of(&[0], Directions::Both), [1, 2, 3, 6, 7, 8]);
    // Frames 1 and 2 are between two sources.
    assert_eq!(of(&[0, 1], Directions::Both), [1, 2, 3, 4, 6, 7, 8]);
    assert_eq!(of(&[0, 1], Directions::Ingress), [1, 2, 3, 8]);
    assert_eq!(of(&[4], Directions::Both), [6, 7]);
    assert_eq!(of(&[], Directions::Both), []);
}

#[test]
fn a_leg_shows_what_addresses_send_or_receive_or_both_wherever_they_are() {
    let of = |macs: &[usize], directions| {
        copied(|session| {
            session.sources.macs = macs.iter().map(|index| mac(*index)).collect();
            session.directions = directions;
        })
    };
    assert_eq!(of(&[0], Directions::Ingress), [1, 3, 8]);
    // Frame 8 goes back to its sender, so nobody receives it.
    assert_eq!(of(&[0], Directions::Egress), [2]);
    assert_eq!(of(&[1, 0], Directions::Both), [1, 2, 3, 4, 8]);
    // An address that nobody knows receives what is flooded for it.
    assert_eq!(of(&[99], Directions::Both), [7]);
    assert_eq!(of(&[98], Directions::Both), []);
}

#[test]
fn a_leg_shows_what_enters_or_leaves_by_a_vlan() {
    let of = |vlan, directions| {
        copied(|session| {
            session.sources.vlans.insert(vid(vlan));
            session.directions = directions;
        })
    };
    let all = [1, 2, 3, 4, 5, 6, 7, 8];
    assert_eq!(of(0, Directions::Both), all);
    assert_eq!(of(0, Directions::Ingress), all);
    assert_eq!(of(0, Directions::Egress), all[..7]);
    assert_eq!(of(10, Directions::Both), []);
}

#[test]
fn a_vlan_is_told_from_others_however_its_frames_are_tagged() {
    let plans = [
        ordinary().vlan(access(10)),
        ordinary().vlan(trunk(&[10, 20], None)),
        ordinary().vlan(trunk(&[20], Some(10))),
        ordinary().vlan(trunk(&[10, 20], None)).receive_only(),
    ];
    let mut watching = session(&[], &[(0, 3, LegForm::Plain)]);
    watching.sources.vlans.insert(vid(10));
    let mut stage = stage_with(&plans, vec![watching]);
    stage.send(0, &frame(0, 1).payload(10, 1).complete());
    stage.send(1, &frame(1, 0).tagged(0x600a).payload(20, 1).complete());
    stage.send(1, &frame(1, 2).tagged(20).payload(30, 1).complete());
    stage.send(2, &frame(2, 1).payload(40, 1).complete());
    stage.settle();
    let seen: Vec<_> =
        stage.seen_at(3).into_iter().map(|seen| (seen.tci, seen.payload.len())).collect();
    assert_eq!(seen, [(Some(10), 10), (Some(0x600a), 20), (Some(10), 40)]);
}

#[test]
fn sources_of_all_kinds_together_give_each_frame_once() {
    let all = copied(|session| {
        session.sources.ports.insert(port(0));
        session.sources.vlans.insert(VlanId::UNTAGGED);
        session.sources.macs = vec![mac(1), mac(0)];
    });
    assert_eq!(all, [1, 2, 3, 4, 5, 6, 7, 8]);
}

#[test]
fn each_leg_of_a_session_gets_each_frame() {
    let plans = vec![ordinary(); 6];
    let legs = [(0, 2, LegForm::Plain), (1, 3, remote()), (2, 3, LegForm::Plain), (3, 4, remote())];
    let mut stage = stage_with(&plans, vec![session(&[0], &legs)]);
    stage.send(0, &frame(0, 1).payload(500, 1).complete());
    stage.send(1, &frame(1, 0).payload(500, 2).complete());
    stage.settle();
    assert_eq!(stage.received_counts(), [1, 1, 2, 4, 2, 0]);
    for leg in 0..4 {
        assert_eq!(frames_of(&stage, leg, DropReason::Mtu), [2, 2, 0], "leg {leg}");
    }
}

#[test]
fn a_port_of_several_plain_legs_gets_one_copy_as_long_as_the_longest_and_it_counts_for_each() {
    for lengths in [[60, 200, 90], [200, 60, 90], [90, 60, 200]] {
        let plans = vec![ordinary(); 3];
        let sessions = (0..3).zip(lengths).map(|(leg, bytes)| Session {
            number: leg,
            snap_len: SnapLen::new(bytes).unwrap(),
            ..session(&[0], &[(usize::try_from(leg).unwrap(), 2, LegForm::Plain)])
        });
        let mut stage = stage_with(&plans, sessions.collect());
        stage.send(0, &frame(0, 1).payload(500, 1).complete());
        stage.settle();
        let (sent, copies) = (stage.bytes_at(1), stage.bytes_at(2));
        assert_eq!(copies, [&sent[0][..200]]);
        for leg in 0..3 {
            let counts = stage.leg_counts(leg);
            assert_eq!((counts.wanted.frames, counts.delivered), (1, counts.wanted), "leg {leg}");
            assert_eq!(counts.wanted.bytes, 542);
        }
    }
}

#[test]
fn only_sessions_that_want_a_frame_say_how_long_its_copy_is() {
    let plans = vec![ordinary(); 4];
    let short =
        Session { snap_len: SnapLen::new(60).unwrap(), ..session(&[0], &[(0, 3, LegForm::Plain)]) };
    let whole = Session { number: 2, ..session(&[2], &[(1, 3, LegForm::Plain)]) };
    let mut stage = stage_with(&plans, vec![short, whole]);
    stage.send(0, &frame(0, 1).payload(500, 1).complete());
    stage.send(0, &frame(0, 2).payload(500, 1).complete());
    stage.settle();
    let lengths: Vec<_> = stage.bytes_at(3).iter().map(Vec::len).collect();
    assert_eq!(lengths, [60, 542]);
}

#[test]
fn a_port_that_receives_a_frame_anyway_gets_no_second_one_and_that_one_whole() {
    let plans = vec![ordinary(); 3];
    let short = Session {
        snap_len: SnapLen::new(60).unwrap(),
        ..session(&[0], &[(0, 1, LegForm::Plain), (1, 2, LegForm::Plain)])
    };
    let mut stage = stage_with(&plans, vec![short]);
    stage.send(0, &frame(0, 1).payload(500, 1).complete());
    stage.send(0, &broadcast(0).payload(500, 1).complete());
    stage.settle();
    let lengths = |index: usize| -> Vec<_> { stage.bytes_at(index).iter().map(Vec::len).collect() };
    assert_eq!((lengths(1), lengths(2)), (vec![542, 542], vec![60, 542]));
    for leg in [0, 1] {
        assert_eq!(frames_of(&stage, leg, DropReason::Mtu), [2, 2, 0]);
    }
}

#[test]
fn a_frame_that_a_port_was_to_receive_and_did_not_is_lost_to_its_plain_legs_for_the_same_reason() {
    let reasons = [DropReason::NoRxBuffer, DropReason::RxBufferTooSmall, DropReason::PortDown];
    for reason in reasons {
        let plans = vec![ordinary(); 3];
        let legs = [(0, 1, LegForm::Plain), (1, 1, LegForm::Plain), (2, 1, remote())];
        let mut stage = stage_with(&plans, vec![session(&[0], &legs)]);
        stage.ports[1].script(&[Err(reason), Ok(())]);
        stage.send(0, &frame(0, 1).payload(500, 1).complete());
        stage.settle();
        assert_eq!(stage.drops(1, reason), 1);
        assert_eq!(frames_of(&stage, 0, reason), [1, 0, 1]);
        assert_eq!(frames_of(&stage, 1, reason), [1, 0, 1]);
        // A leg that changes the frame has its own, and was lucky.
        assert_eq!(frames_of(&stage, 2, reason), [1, 1, 0]);
    }
}

#[test]
fn a_copy_that_a_port_refuses_is_dropped_for_its_leg_and_not_for_the_port() {
    for form in [LegForm::Plain, remote()] {
        let plans = vec![ordinary(); 3];
        let mut stage = stage_with(&plans, vec![session(&[0], &[(9, 2, form)])]);
        stage.ports[2].set_room(1);
        for _ in 0..3 {
            stage.send(0, &frame(0, 1).payload(500, 1).complete());
        }
        stage.settle();
        assert_eq!(stage.received_counts(), [0, 3, 1]);
        assert_eq!(frames_of(&stage, 9, DropReason::NoRxBuffer), [3, 1, 2]);
        assert_eq!((stage.all_drops(2), stage.counts(2).egress.frames), (0, 1));
    }
}

#[test]
fn a_port_that_is_a_mirror_destination_and_has_a_leg_gets_one_copy_which_counts_for_both() {
    let plans =
        [ordinary().source(3), ordinary(), ordinary().destination(3), ordinary().destination(3)];
    let sessions = vec![session(&[0, 1], &[(0, 2, LegForm::Plain), (1, 1, LegForm::Plain)])];
    let mut stage = stage_with(&plans, sessions);
    stage.send(0, &frame(0, 1).payload(500, 1).complete());
    stage.send(1, &frame(1, 3).payload(500, 1).complete());
    stage.settle();
    // The second concerns the named session alone.
    assert_eq!(stage.received_counts(), [0, 1, 2, 2]);
    assert_eq!(frames_of(&stage, 0, DropReason::Mtu), [2, 2, 0]);
    assert_eq!(frames_of(&stage, 1, DropReason::ReturnToSender), [2, 1, 1]);
    assert_eq!(stage.counts(2).mirror.delivered.frames, 1);
    assert_eq!(stage.counts(3).mirror.delivered.frames, 1);
}

#[test]
fn a_copy_is_never_copied() {
    let plans = vec![ordinary(); 5];
    let first = session(&[0], &[(0, 2, LegForm::Plain), (1, 2, remote())]);
    let second = Session { number: 2, ..session(&[2], &[(2, 3, LegForm::Plain)]) };
    let mut stage = stage_with(&plans, vec![first, second]);
    stage.send(0, &frame(0, 1).complete());
    stage.settle();
    assert_eq!(stage.received_counts(), [0, 1, 2, 0, 0]);
    assert_eq!(stage.leg_counts(2).wanted.frames, 0);
}

#[test]
fn frames_in_one_burst_are_told_apart_by_their_addresses() {
    let plans = vec![ordinary(); 4];
    let mut watching = session(&[], &[(0, 3, LegForm::Plain)]);
    watching.sources.macs = vec![MacAddr([2, 0, 0, 0, 1, 1])];
    let mut stage = stage_with(&plans, vec![watching]);
    // All go the same way, so that the switch makes no difference between them.
    for number in 0..12_u8 {
        let from = MacAddr([2, 0, 0, 0, 1, number / 3]);
        stage.send(0, &FrameBuilder::new(from, mac(1)).payload(9, number).complete());
    }
    stage.settle();
    let seen: Vec<_> = stage.seen_at(3).into_iter().map(|seen| seen.from.0[5]).collect();
    assert_eq!(seen, [1, 1, 1]);
    let sent: Vec<_> = stage.seen_at(1).into_iter().map(|seen| seen.from.0[5]).collect();
    assert_eq!(sent, [0, 0, 0, 1, 1, 1, 2, 2, 2, 3, 3, 3]);
}
