//! What policy refuses, and what a leg may not give: copied, or counted with its reason.

use helio_encap::Oversize;
use helio_mirror::{Directions, LegForm, RefusedFrames, Session};
use helio_testkit::{FrameBuilder, TestFrame};
use helio_types::{DropReason, MacAddr};

use crate::fragments::{fragments, point};
use crate::sessions::{frames_of, remote, session, stage_with, without_remote_tag};
use crate::stage::{PortPlan, Stage, access, broadcast, frame, mac, ordinary, trunk, vid};
use crate::underlay::{COLLECTOR_MAC, DECAP, OWN_MAC, UPLINK, collector};

/// A frame that port 0 sends and policy refuses there, for each reason there is.
fn refused() -> [(DropReason, PortPlan, TestFrame); 4] {
    let group = MacAddr([3, 0, 0, 0, 0, 1]);
    let link_local = MacAddr([0x01, 0x80, 0xc2, 0, 0, 0x0e]);
    let of = |builder: FrameBuilder| builder.payload(200, 1).complete();
    [
        (DropReason::BadSourceMac, ordinary(), of(FrameBuilder::new(group, mac(1)))),
        (DropReason::LinkLocal, ordinary(), of(FrameBuilder::new(mac(0), link_local))),
        (DropReason::Vlan, ordinary().vlan(access(10)), of(frame(0, 1).tagged(0xa014))),
        (DropReason::ReceiveOnly, ordinary().receive_only(), of(frame(0, 1))),
    ]
}

#[test]
fn what_policy_refuses_is_copied_as_it_came_by_sessions_that_include_it_and_by_no_others() {
    for (reason, plan, sent) in refused() {
        // A port that would give each frame another tag, if it were one of a VLAN.
        let plans = [plan, ordinary(), ordinary().vlan(trunk(&[30], None)), ordinary()];
        let legs = [(0, 2, LegForm::Plain), (1, 3, remote())];
        let including = Session { refused: RefusedFrames::Included, ..session(&[0], &legs) };
        let leaving = Session { number: 2, ..session(&[0], &[(2, 2, LegForm::Plain)]) };
        let mut stage = stage_with(&plans, vec![including, leaving]);
        (0..3).for_each(|_| stage.send(0, &sent));
        stage.settle();
        assert_eq!(stage.drops(0, reason), 3);
        assert_eq!(stage.received(1).len(), 0, "{reason}");
        assert_eq!(stage.bytes_at(2), vec![sent.bytes.clone(); 3], "{reason}");
        let marked = stage.bytes_at(3);
        for copy in &marked {
            assert_eq!(without_remote_tag(copy), sent.bytes, "{reason}");
            // Drop eligible, with the priority of the frame.
            let priority = if reason == DropReason::Vlan { 0xa000 } else { 0 };
            let tci = u16::from_be_bytes([copy[14], copy[15]]);
            assert_eq!(tci, priority | 0x1000 | 99, "{reason}");
        }
        // A bridge behind the remote VLAN would take the last kind for its neighbour's.
        let on_remote_vlan = if reason == DropReason::LinkLocal { 0 } else { 3 };
        assert_eq!(marked.len(), on_remote_vlan, "{reason}");
        assert_eq!(frames_of(&stage, 0, reason), [3, 3, 0]);
        let not_there = 3 - on_remote_vlan as u64;
        assert_eq!(frames_of(&stage, 1, DropReason::LinkLocal), [3, 3 - not_there, not_there]);
        assert_eq!(stage.leg_counts(2).wanted.frames, 0);
    }
}

#[test]
fn what_a_stream_shows_of_another_bridge_goes_to_ports_and_collectors_and_on_no_remote_vlan() {
    let [next_bridge, beyond] = [0x0f, 0x10].map(|last| MacAddr([0x01, 0x80, 0xc2, 0, 0, last]));
    for (to, on_remote_vlan) in [(next_bridge, 0), (beyond, 1)] {
        for tci in [None, Some(30)] {
            let plans = vec![ordinary(); 5];
            let collector = collector(OWN_MAC, Some(COLLECTOR_MAC), Oversize::Truncate);
            let legs = [(0, 3, LegForm::Plain), (1, 4, remote()), (2, UPLINK, collector)];
            let mut stage = Stage::new(1, &plans);
            stage.configure_underlay(&plans, vec![session(&[DECAP], &legs)], vec![point()]);
            let inner = FrameBuilder::new(mac(9), to).payload(100, 1);
            let inner = tci.map_or(inner.clone(), |tci| inner.tagged(tci)).complete();
            stage.send(UPLINK, &fragments(0, &inner.bytes, 1000)[0]);
            stage.settle();
            assert_eq!(stage.bytes_at(3), [inner.bytes]);
            let there = [on_remote_vlan, 1 - on_remote_vlan];
            assert_eq!(frames_of(&stage, 1, DropReason::LinkLocal)[1..], there);
            assert_eq!(stage.bytes_at(4).len() as u64, on_remote_vlan);
            assert_eq!(frames_of(&stage, 2, DropReason::LinkLocal), [1, 1, 0]);
        }
    }
}

#[test]
fn refused_frames_are_copied_for_those_who_watch_their_port_or_address_on_the_way_in() {
    for (reason, plan, sent) in refused() {
        let plans = [plan, ordinary(), ordinary()];
        let source = MacAddr(*sent.bytes[6..].first_chunk().unwrap());
        let copied = |ports: &[usize], macs: &[MacAddr], directions| {
            let mut watching = Session {
                refused: RefusedFrames::Included,
                directions,
                ..session(ports, &[(0, 2, LegForm::Plain)])
            };
            watching.sources.macs = macs.to_vec();
            let mut stage = stage_with(&plans, vec![watching]);
            stage.send(0, &sent);
            stage.settle();
            stage.received(2).len()
        };
        assert_eq!(copied(&[0], &[], Directions::Ingress), 1, "{reason}");
        assert_eq!(copied(&[0], &[], Directions::Egress), 0, "{reason}");
        assert_eq!(copied(&[1], &[], Directions::Both), 0, "{reason}");
        assert_eq!(copied(&[], &[source], Directions::Both), 1, "{reason}");
        assert_eq!(copied(&[], &[mac(77)], Directions::Both), 0, "{reason}");
        assert_eq!(copied(&[], &[source], Directions::Egress), 0, "{reason}");
    }
}

#[test]
fn what_came_with_a_tag_and_was_refused_may_be_longer_by_that() {
    for (payload, delivered) in [(486, 1), (487, 0)] {
        for form in [LegForm::Plain, remote()] {
            let plans = [ordinary().vlan(access(10)), ordinary(), ordinary().mtu(514)];
            let watching =
                Session { refused: RefusedFrames::Included, ..session(&[0], &[(0, 2, form)]) };
            let mut stage = stage_with(&plans, vec![watching]);
            stage.send(0, &frame(0, 1).tagged(20).payload(payload, 1).complete());
            stage.settle();
            let counts = frames_of(&stage, 0, DropReason::Mtu);
            assert_eq!(counts, [1, delivered, 1 - delivered], "{payload}");
        }
    }
}

#[test]
fn what_is_too_short_to_be_a_frame_is_not_copied() {
    let plans = vec![ordinary(); 3];
    for form in [LegForm::Plain, remote()] {
        let watching =
            Session { refused: RefusedFrames::Included, ..session(&[0], &[(0, 2, form)]) };
        let mut stage = stage_with(&plans, vec![watching]);
        let mut cut_in_its_tag = frame(0, 1).tagged(5).complete().bytes;
        cut_in_its_tag.truncate(17);
        for bytes in [vec![], vec![2; 5], vec![2; 13], cut_in_its_tag] {
            stage.send(0, &TestFrame::raw(bytes));
        }
        stage.settle();
        assert_eq!(stage.drops(0, DropReason::Runt), 4);
        assert_eq!(frames_of(&stage, 0, DropReason::HeaderLong), [0, 0, 0]);
    }
}

#[test]
fn what_passed_policy_and_goes_nowhere_is_copied_by_all_who_watch_it_on_the_way_in() {
    let plans = [ordinary(), ordinary(), ordinary().vlan(access(10)), ordinary()];
    let sessions = vec![session(&[0, 2], &[(0, 3, LegForm::Plain), (1, 3, remote())])];
    let mut stage = stage_with(&plans, sessions);
    // Behind the port that sent it.
    stage.send(0, &frame(1, 0).complete());
    stage.settle();
    assert_eq!(stage.drops(0, DropReason::Hairpin), 1);
    assert_eq!(frames_of(&stage, 0, DropReason::Vlan), [1, 1, 0]);
    assert_eq!(frames_of(&stage, 1, DropReason::Vlan), [1, 1, 0]);
    let marks: Vec<_> = stage.bytes_at(3).iter().map(|copy| copy[14] >> 4 & 1).collect();
    assert!(marks.iter().all(|mark| *mark == 0), "it was not refused");
}

#[test]
fn no_leg_gives_a_frame_back_to_the_port_that_sent_it() {
    let plans = vec![ordinary(); 3];
    let legs = [(0, 0, LegForm::Plain), (1, 0, remote()), (2, 2, LegForm::Plain)];
    for refused in [RefusedFrames::Left, RefusedFrames::Included] {
        let watching = Session { refused, ..session(&[0, 1], &legs) };
        let mut stage = stage_with(&plans, vec![watching]);
        stage.send(0, &frame(0, 1).payload(500, 1).complete());
        stage.send(1, &frame(1, 2).payload(500, 1).complete());
        stage.send(0, &FrameBuilder::new(MacAddr::BROADCAST, mac(1)).complete());
        stage.settle();
        let more = u64::from(refused == RefusedFrames::Included);
        assert_eq!(frames_of(&stage, 0, DropReason::ReturnToSender), [2 + more, 1, 1 + more]);
        assert_eq!(frames_of(&stage, 1, DropReason::ReturnToSender), [2 + more, 1, 1 + more]);
        assert_eq!(frames_of(&stage, 2, DropReason::ReturnToSender), [2 + more, 2 + more, 0]);
        assert_eq!(stage.received(0).len(), 2);
        assert_eq!(stage.all_drops(0), 1);
    }
}

#[test]
fn a_plain_leg_shows_the_vlans_of_its_port_and_another_form_shows_all() {
    let plans = [
        ordinary().vlan(trunk(&[10, 20], None)),
        ordinary().vlan(trunk(&[10, 20], None)),
        ordinary().vlan(access(10)),
        ordinary().vlan(trunk(&[20], Some(10))).receive_only(),
    ];
    let legs = [
        (0, 2, LegForm::Plain),
        (1, 2, remote()),
        (2, 3, LegForm::Plain),
        (3, 3, LegForm::RemoteVlan(vid(98))),
    ];
    let mut stage = stage_with(&plans, vec![session(&[0], &legs)]);
    stage.send(0, &frame(0, 1).tagged(10).payload(100, 1).complete());
    stage.send(0, &frame(0, 1).tagged(20).payload(100, 2).complete());
    stage.send(0, &broadcast(0).tagged(20).payload(100, 3).complete());
    stage.settle();
    assert_eq!(frames_of(&stage, 0, DropReason::Vlan), [3, 1, 2]);
    for leg in 1..4 {
        assert_eq!(frames_of(&stage, leg, DropReason::Vlan), [3, 3, 0], "leg {leg}");
    }
    // What is refused belongs to no VLAN, so membership says nothing.
    let including = Session { refused: RefusedFrames::Included, ..session(&[0], &legs) };
    stage.configure_sessions(&plans, vec![including]);
    stage.send(0, &frame(0, 1).tagged(30).complete());
    stage.settle();
    assert_eq!(frames_of(&stage, 0, DropReason::Vlan), [4, 2, 2]);
}
