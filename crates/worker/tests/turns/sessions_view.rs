//! What the copies of named mirror sessions look like: tags, filters, checksums, segments and lengths.

use helio_encap::SnapLen;
use helio_mirror::{Directions, LegForm, Session};
use helio_offload::Offloads;
use helio_testkit::Seen;
use helio_types::{DropReason, VlanMode};

use crate::sessions::{frames_of, remote, session, stage_with, without_remote_tag};
use crate::stage::{PortPlan, Stage, access, broadcast, frame, ordinary, trunk};

fn snap(bytes: u32) -> SnapLen {
    SnapLen::new(bytes).unwrap()
}

/// The content of the remote VLAN's tag of the first copy at a port, and that of the tag behind it.
fn tags(stage: &Stage, index: usize) -> (u16, Option<u16>) {
    let copy = stage.bytes_at(index).remove(0);
    (u16::from_be_bytes([copy[14], copy[15]]), Seen::of(&without_remote_tag(&copy)).tci)
}

/// A frame with this tag between ports of these modes, as a leg shows it that watches both in these directions.
fn shown(
    from: VlanMode,
    tci: Option<u16>,
    to: VlanMode,
    directions: Directions,
) -> (u16, Option<u16>) {
    let plans = [ordinary().vlan(from), ordinary().vlan(to), ordinary()];
    let watching = Session { directions, ..session(&[0, 1], &[(0, 2, remote())]) };
    let mut stage = stage_with(&plans, vec![watching]);
    let builder = frame(0, 1).payload(300, 1);
    stage.send(0, &tci.map_or(builder.clone(), |tci| builder.tagged(tci)).complete());
    stage.settle();
    assert_eq!(stage.received(1).len(), 1);
    tags(&stage, 2)
}

#[test]
fn a_copy_of_an_ingress_shows_the_frame_as_it_arrived_and_one_of_an_egress_as_it_leaves() {
    let tagged = || trunk(&[10], None);
    let native = || trunk(&[20], Some(10));
    // What is sent, from where to where, and the remote tag and the tag behind it: on the way in, and out.
    let table = [
        (access(10), None, access(10), (99, None), (99, None)),
        (access(10), None, tagged(), (99, None), (99, Some(10))),
        (access(10), Some(0x6000), tagged(), (0x6063, Some(0x6000)), (0x6063, Some(0x600a))),
        (tagged(), Some(0x700a), access(10), (0x7063, Some(0x700a)), (0x7063, None)),
        (tagged(), Some(0x700a), tagged(), (0x7063, Some(0x700a)), (0x7063, Some(0x700a))),
        (tagged(), Some(10), native(), (99, Some(10)), (99, None)),
        (native(), None, tagged(), (99, None), (99, Some(10))),
    ];
    for (from, tci, to, ingress, egress) in table {
        let shown = |directions| shown(from.clone(), tci, to.clone(), directions);
        assert_eq!(shown(Directions::Ingress), ingress, "{from:?} {tci:?} {to:?}");
        assert_eq!(shown(Directions::Egress), egress, "{from:?} {tci:?} {to:?}");
        assert_eq!(shown(Directions::Both), ingress, "{from:?} {tci:?} {to:?}");
    }
}

#[test]
fn a_flooded_frame_leaves_through_the_first_source_that_receives_it() {
    let plans = [
        ordinary().vlan(access(10)),
        ordinary().vlan(access(10)),
        ordinary().vlan(trunk(&[10], None)),
        ordinary().vlan(access(10)),
        ordinary().receive_only(),
    ];
    for (sources, tag) in [(&[2, 3][..], Some(10)), (&[1, 2], None), (&[3], None)] {
        let mut stage = stage_with(&plans, vec![session(sources, &[(0, 4, remote())])]);
        stage.send(0, &broadcast(0).complete());
        stage.settle();
        let copies: Vec<_> =
            stage.bytes_at(4).iter().map(|copy| Seen::of(&without_remote_tag(copy)).tci).collect();
        assert_eq!(copies, [tag], "{sources:?}");
        assert_eq!(frames_of(&stage, 0, DropReason::Mtu), [1, 1, 0]);
    }
}

/// Numbers of copies that legs of each form make of one frame from an access port to a trunk, where they watch as told.
fn accepted(filter: &str, sources: &[usize], directions: Directions, payload: usize) -> [u64; 2] {
    [LegForm::Plain, remote()].map(|form| {
        let plans = [ordinary().vlan(access(10)), ordinary().vlan(trunk(&[10], None)), ordinary()];
        let filter = Some(helio_filter::compile(filter).unwrap());
        let watching = Session { filter, directions, ..session(sources, &[(0, 2, form)]) };
        let mut stage = stage_with(&plans, vec![watching]);
        stage.send(0, &frame(0, 1).payload(payload, 1).complete());
        stage.settle();
        let counts = stage.leg_counts(0);
        assert_eq!(counts.wanted, counts.delivered);
        counts.wanted.frames
    })
}

#[test]
fn a_filter_judges_a_frame_as_it_crosses_the_source() {
    use Directions::{Both, Egress, Ingress};
    assert_eq!(accepted("udp port 53", &[0], Ingress, 10), [1, 1]);
    assert_eq!(accepted("udp port 54", &[0], Ingress, 10), [0, 0]);
    assert_eq!(accepted("vlan 10", &[0, 1], Ingress, 10), [0, 0]);
    assert_eq!(accepted("vlan 10", &[0, 1], Egress, 10), [1, 1]);
    assert_eq!(accepted("vlan 11", &[0, 1], Egress, 10), [0, 0]);
    assert_eq!(accepted("not vlan", &[0, 1], Ingress, 10), [1, 1]);
    assert_eq!(accepted("not vlan", &[0, 1], Egress, 10), [0, 0]);
    assert_eq!(accepted("vlan 10 and udp port 53", &[1], Both, 10), [1, 1]);
    // It crosses both, and is accepted at either.
    assert_eq!(accepted("vlan 10", &[0, 1], Both, 10), [1, 1]);
    assert_eq!(accepted("not vlan", &[0, 1], Both, 10), [1, 1]);
    // The tag counts as part of the length: 342 bytes in, 346 out.
    assert_eq!(accepted("greater 346", &[0, 1], Egress, 300), [1, 1]);
    assert_eq!(accepted("greater 347", &[0, 1], Egress, 300), [0, 0]);
    assert_eq!(accepted("greater 343", &[0, 1], Ingress, 300), [0, 0]);
}

#[test]
fn a_filter_reads_beyond_the_head_of_a_frame_through_a_tag() {
    // The last byte of the payload, which lies in the rest.
    let sent = frame(0, 1).payload(300, 1).complete();
    let last = *sent.bytes.last().unwrap();
    let at_its_place = |offset: usize| format!("ether[{offset}] = {last}");
    let other = format!("ether[345] = {}", last.wrapping_add(1));
    assert_eq!(accepted(&at_its_place(341), &[0], Directions::Ingress, 300), [1, 1]);
    assert_eq!(accepted(&at_its_place(345), &[1], Directions::Egress, 300), [1, 1]);
    assert_eq!(accepted(&other, &[1], Directions::Egress, 300), [0, 0]);
}

#[test]
fn a_frame_that_a_filter_accepts_only_as_it_leaves_is_shown_as_it_leaves() {
    let plans = [ordinary().vlan(access(10)), ordinary().vlan(trunk(&[10], None)), ordinary()];
    let filter = Some(helio_filter::compile("vlan 10").unwrap());
    let watching = Session { filter, ..session(&[0, 1], &[(0, 2, remote())]) };
    let mut stage = stage_with(&plans, vec![watching]);
    stage.send(0, &frame(0, 1).complete());
    stage.settle();
    assert_eq!(tags(&stage, 2), (99, Some(10)));
}

/// Four ports: what 0 sends to 1 goes to 2 as it is and to 3 with a tag.
fn forms() -> (Vec<PortPlan>, Session) {
    let legs = [(0, 2, LegForm::Plain), (1, 3, remote())];
    (vec![ordinary().mtu(9000); 4], session(&[0], &legs))
}

#[test]
fn what_guests_leave_to_each_other_is_done_for_copies() {
    let (plans, watching) = forms();
    let mut stage = stage_with(&plans, vec![watching]);
    stage.ports.iter().for_each(|far| far.accept(Offloads::CSUM.union(Offloads::TSO4)));
    stage.send(0, &frame(0, 1).payload(500, 1).partial());
    let long = frame(0, 1).tcp().payload(3000, 1);
    stage.send_in_pieces(0, &long.to_segment(1400), 3);
    stage.settle();
    assert_eq!(stage.received(1).len(), 2);
    let plain = stage.seen_at(2);
    let tagged: Vec<_> =
        stage.bytes_at(3).iter().map(|copy| Seen::of(&without_remote_tag(copy))).collect();
    assert_eq!(plain, tagged);
    assert!(plain.iter().all(|seen| seen.wrong.is_none()));
    assert_eq!(
        plain.iter().map(|seen| seen.payload.len()).collect::<Vec<_>>(),
        [500, 1400, 1400, 200]
    );
    let payload: Vec<u8> = plain[1..].iter().flat_map(|seen| seen.payload.clone()).collect();
    assert_eq!(payload, Seen::of(&long.complete().bytes).payload);
    for leg in [0, 1] {
        let counts = stage.leg_counts(leg);
        assert_eq!((counts.wanted, counts.delivered.frames), (counts.delivered, 4));
        assert_eq!(counts.wanted.bytes, 542 + 3000 + 3 * 54);
    }
}

#[test]
fn a_frame_to_be_segmented_is_shown_with_the_tag_it_leaves_with() {
    let plans = [ordinary().vlan(access(10)), ordinary().vlan(trunk(&[10], None)), ordinary()];
    let watching = session(&[1], &[(0, 2, remote())]);
    let mut stage = stage_with(&plans, vec![watching]);
    stage.send(0, &frame(0, 1).tcp().payload(3000, 1).to_segment(1400));
    stage.settle();
    let copies: Vec<_> =
        stage.bytes_at(2).iter().map(|copy| Seen::of(&without_remote_tag(copy))).collect();
    assert_eq!(copies, stage.seen_at(1));
    assert!(copies.iter().all(|seen| seen.wrong.is_none() && seen.tci == Some(10)));
    assert_eq!(copies.len(), 3);
}

#[test]
fn a_snap_length_cuts_each_segment_and_leaves_what_is_shorter() {
    let (plans, watching) = forms();
    let watching = Session { snap_len: snap(150), ..watching };
    let mut stage = stage_with(&plans, vec![watching]);
    stage.send(0, &frame(0, 1).tcp().payload(2860, 1).to_segment(1400));
    stage.send(0, &frame(0, 1).payload(107, 1).complete());
    stage.send(0, &frame(0, 1).payload(108, 1).complete());
    stage.send(0, &frame(0, 1).payload(109, 1).complete());
    stage.settle();
    let (sent, plain, tagged) = (stage.bytes_at(1), stage.bytes_at(2), stage.bytes_at(3));
    let tagged: Vec<_> = tagged.iter().map(|copy| without_remote_tag(copy)).collect();
    let cut: Vec<_> = sent.iter().map(|bytes| bytes[..bytes.len().min(150)].to_vec()).collect();
    assert_eq!(cut.iter().map(Vec::len).collect::<Vec<_>>(), [150, 150, 114, 149, 150, 150]);
    assert_eq!((plain, tagged), (cut.clone(), cut));
    let bytes = 2860 + 3 * 54 + 149 + 150 + 151;
    for leg in [0, 1] {
        assert_eq!(stage.leg_counts(leg).delivered.bytes, bytes, "as wanted, before it is cut");
    }
    let given = 150 + 150 + 114 + 149 + 150 + 150;
    assert_eq!(stage.counts(2).egress.bytes, given);
    assert_eq!(stage.counts(3).egress.bytes, given + 6 * 4);
}

#[test]
fn a_copy_has_no_more_bytes_than_its_session_wants_and_all_of_those_whatever_becomes_of_its_tag() {
    // From where, with which tag, to which leg.
    let native = trunk(&[20], Some(10));
    let table = [
        (trunk(&[10], None), Some(10), access(10)),
        (access(10), None, trunk(&[10], None)),
        (access(10), Some(0x6000), trunk(&[10], None)),
        (trunk(&[10], None), Some(10), native),
    ];
    for (from, tci, to) in table {
        let plans =
            [ordinary().vlan(from.clone()), ordinary().vlan(to.clone()), ordinary().vlan(to)];
        for bytes in [14, 15, 17, 18, 19, 22, 128, 132, 133, 200] {
            let watching =
                Session { snap_len: snap(bytes), ..session(&[0], &[(0, 2, LegForm::Plain)]) };
            let mut stage = stage_with(&plans, vec![watching]);
            let builder = frame(0, 1).payload(300, 1);
            stage.send(0, &tci.map_or(builder.clone(), |tci| builder.tagged(tci)).complete());
            stage.settle();
            let sent = stage.bytes_at(1).remove(0);
            assert_eq!(stage.bytes_at(2), [&sent[..bytes as usize]], "{from:?} {bytes}");
        }
    }
}

/// What became of one frame of 542 bytes, with a tag that came or one that it left with, at legs of each form.
fn fits(
    from: VlanMode,
    tci: Option<u16>,
    to: VlanMode,
    source: usize,
    mtu: u16,
    bytes: u32,
) -> [u64; 2] {
    [LegForm::Plain, remote()].map(|form| {
        let plans = [
            ordinary().vlan(from.clone()),
            ordinary().vlan(to.clone()),
            ordinary().vlan(trunk(&[10], None)).mtu(mtu),
        ];
        let watching = Session { snap_len: snap(bytes), ..session(&[source], &[(0, 2, form)]) };
        let mut stage = stage_with(&plans, vec![watching]);
        let builder = frame(0, 1).payload(500, 1);
        stage.send(0, &tci.map_or(builder.clone(), |tci| builder.tagged(tci)).complete());
        stage.settle();
        let [wanted, delivered, dropped] = frames_of(&stage, 0, DropReason::Mtu);
        assert_eq!((wanted, delivered + dropped, stage.received(1).len()), (1, 1, 1));
        delivered
    })
}

#[test]
fn what_exceeds_the_mtu_of_its_port_after_it_was_cut_is_dropped_and_tags_do_not_count() {
    let tagged = || trunk(&[10], None);
    let table = [
        (access(10), None, access(10), 0),
        (access(10), None, tagged(), 1),
        (tagged(), Some(10), tagged(), 0),
        (tagged(), Some(10), access(10), 1),
    ];
    for (from, tci, to, source) in table {
        let fits = |mtu, bytes| fits(from.clone(), tci, to.clone(), source, mtu, bytes);
        assert_eq!(fits(528, u32::MAX), [1, 1], "{from:?} {to:?}");
        assert_eq!(fits(527, u32::MAX), [0, 0], "{from:?} {to:?}");
        // As many bytes as a frame without a tag may have.
        assert_eq!(fits(200, 214), [1, 1], "{from:?} {to:?}");
    }
    assert_eq!(fits(access(10), None, access(10), 0, 200, 215), [0, 0]);
    assert_eq!(fits(tagged(), Some(10), tagged(), 0, 200, 218), [1, 1]);
    assert_eq!(fits(tagged(), Some(10), tagged(), 0, 200, 219), [0, 0]);
}

#[test]
fn segments_too_long_for_a_leg_are_not_cut_anew_for_it() {
    let plans = [ordinary(), ordinary(), ordinary().mtu(1000)];
    for form in [LegForm::Plain, remote()] {
        let mut stage = stage_with(&plans, vec![session(&[0], &[(0, 2, form)])]);
        stage.send(0, &frame(0, 1).tcp().payload(3000, 1).to_segment(1400));
        stage.settle();
        // The last segment is short.
        assert_eq!(frames_of(&stage, 0, DropReason::Mtu), [3, 1, 2]);
        assert_eq!(stage.leg_counts(0).delivered.bytes, 254);
        assert_eq!(stage.received_counts(), [0, 3, 1]);
    }
}
