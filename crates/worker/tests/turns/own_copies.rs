//! Copies for collectors that come back are switched as any frame, and copied by no session.

use helio_encap::Oversize;
use helio_frame::BURST_FRAMES;
use helio_mirror::{LegForm, RefusedFrames, Session};
use helio_testkit::{TestFrame, allocations_in};
use helio_types::{DropReason, MacAddr};

use crate::fragments::{fragments, point};
use crate::sessions::session;
use crate::stage::{PortPlan, Stage, access, frame, mac, ordinary, port, vid};
use crate::underlay::{COLLECTOR_MAC, DECAP, OWN_MAC, UPLINK, collector};

/// Where copies come back, and who is shown all that is watched.
const RETURN: usize = 2;
const SNIFFER: usize = 3;
/// Where the collector is found.
const COLLECTOR: usize = 4;

fn far(oversize: Oversize) -> LegForm {
    collector(OWN_MAC, Some(COLLECTOR_MAC), oversize)
}

/// What the ports in `sources` send and receive goes to a collector by [`UPLINK`], and as it is to [`SNIFFER`].
fn watching(sources: &[usize], oversize: Oversize) -> Session {
    let legs = [(0, UPLINK, far(oversize)), (1, SNIFFER, LegForm::Plain)];
    Session { refused: RefusedFrames::Included, ..session(sources, &legs) }
}

fn plans() -> Vec<PortPlan> {
    let mut plans = vec![ordinary(); 6];
    plans[SNIFFER] = ordinary().receive_only();
    plans
}

fn stage_of(workers: usize, plans: &[PortPlan], sessions: Vec<Session>) -> Stage {
    let mut stage = Stage::new(workers, plans);
    [0, 7, 10].into_iter().for_each(|vlan| {
        stage.know_all(vid(vlan));
        stage.fleet.fdb().learn(vid(vlan), COLLECTOR_MAC, port(COLLECTOR));
    });
    stage.configure_sessions(plans, sessions);
    stage
}

fn wanted(stage: &Stage) -> [u64; 2] {
    [0, 1].map(|leg| stage.leg_counts(leg).wanted.frames)
}

/// The datagrams that carry the copy of one frame of `bytes` bytes.
fn copies(bytes: usize) -> Vec<TestFrame> {
    let mut stage = stage_of(1, &plans(), vec![watching(&[0], Oversize::Fragment)]);
    stage.send(0, &frame(0, 5).payload(bytes, 1).complete());
    stage.settle();
    assert_eq!(wanted(&stage), [1, 1]);
    stage.bytes_at(UPLINK).into_iter().map(TestFrame::raw).collect()
}

/// The same frame behind one more tag.
fn behind_tag(frame: &TestFrame, kind: [u8; 2], vlan: u8) -> TestFrame {
    let (addresses, others) = frame.bytes.split_at(12);
    TestFrame::raw([addresses, &kind, &[0, vlan], others].concat())
}

/// The same frame with another last byte of the address in its datagram.
fn to_another_collector(frame: &TestFrame) -> TestFrame {
    let mut bytes = frame.bytes.clone();
    bytes[33] ^= 0x40;
    TestFrame::raw(bytes)
}

#[test]
fn a_copy_that_comes_back_by_a_watched_port_is_switched_and_copied_by_nobody() {
    for way in [RETURN, UPLINK] {
        for watched in [&[way][..], &[COLLECTOR], &[0, UPLINK, RETURN, COLLECTOR]] {
            let mut stage = stage_of(1, &plans(), vec![watching(watched, Oversize::Truncate)]);
            for copy in copies(300) {
                let tagged = behind_tag(&copy, [0x81, 0], 7);
                let stacked = behind_tag(&tagged, [0x88, 0xa8], 9);
                for frame in [copy, tagged, stacked] {
                    stage.send(way, &frame);
                    stage.settle();
                    assert_eq!(stage.received(COLLECTOR).len(), 1, "{way} {watched:?}");
                }
            }
            assert_eq!(wanted(&stage), [0, 0], "{way} {watched:?}");
            assert_eq!(stage.received_counts(), [0; 6]);
        }
    }
}

#[test]
fn a_cable_from_the_uplink_to_a_watched_port_carries_each_copy_once() {
    // Also where the uplink is watched itself: that a copy leaves by it is no reason to copy it.
    for watched in [&[0, RETURN][..], &[0, RETURN, UPLINK]] {
        let mut stage = stage_of(1, &plans(), vec![watching(watched, Oversize::Truncate)]);
        stage.send(0, &frame(0, 5).payload(100, 1).complete());
        let mut carried = 0;
        for _ in 0..10 {
            stage.settle();
            for copy in stage.bytes_at(UPLINK) {
                carried += 1;
                stage.send(RETURN, &TestFrame::raw(copy));
            }
        }
        assert_eq!((carried, wanted(&stage)), (1, [1, 1]));
    }
}

#[test]
fn fragments_of_a_copy_are_copies() {
    let fragments = copies(1480);
    assert_eq!(fragments.len(), 2);
    let mut stage = stage_of(1, &plans(), vec![watching(&[RETURN], Oversize::Fragment)]);
    fragments.iter().for_each(|fragment| stage.send(RETURN, fragment));
    stage.settle();
    assert_eq!((wanted(&stage), stage.received(COLLECTOR).len()), ([0, 0], 2));
}

#[test]
fn neither_sessions_of_addresses_and_vlans_nor_numbered_ones_copy_what_another_one_sent() {
    for exact in [&[][..], &[0]] {
        let mut plans = plans();
        plans[RETURN] = ordinary().source(0);
        plans[COLLECTOR] = ordinary().source(0);
        plans[SNIFFER] = plans[SNIFFER].clone().destination(0);
        let mut by_address = session(&[], &[(2, 5, LegForm::Plain)]);
        by_address.sources.macs = vec![OWN_MAC, COLLECTOR_MAC];
        by_address.sources.vlans.insert(vid(7));
        let sessions = vec![watching(&[0], Oversize::Truncate), by_address];
        let mut stage = Stage::with_exact(1, &plans, exact);
        stage.configure_sessions(&plans, sessions);
        let [copy] = &copies(300)[..] else { panic!("one") };
        let other = to_another_collector(copy);
        for frame in [copy, &other, &behind_tag(copy, [0x81, 0], 7), &other] {
            stage.send(RETURN, frame);
        }
        stage.settle();
        let mirror = stage.counts(SNIFFER).mirror;
        assert_eq!((mirror.wanted.frames, mirror.delivered.frames), (2, 2));
        assert_eq!(stage.leg_counts(2).wanted.frames, 2);
        assert_eq!(stage.bytes_at(SNIFFER), [other.bytes.clone(), other.bytes.clone()]);
    }
}

#[test]
fn a_copy_that_policy_refuses_where_it_comes_back_is_not_copied() {
    let mut plans = plans();
    plans[RETURN] = ordinary().vlan(access(10));
    let mut stage = stage_of(1, &plans, vec![watching(&[RETURN], Oversize::Truncate)]);
    let [copy] = &copies(300)[..] else { panic!("one") };
    let refused = behind_tag(copy, [0x81, 0], 20);
    let other = behind_tag(&to_another_collector(copy), [0x81, 0], 20);
    [&refused, &other, &refused].into_iter().for_each(|frame| stage.send(RETURN, frame));
    stage.settle();
    assert_eq!(stage.drops(RETURN, DropReason::Vlan), 3);
    assert_eq!((wanted(&stage), stage.bytes_at(SNIFFER)), ([1, 1], vec![other.bytes]));
}

#[test]
fn what_is_no_copy_is_copied_between_copies_of_one_burst_in_its_order() {
    let [copy] = &copies(300)[..] else { panic!("one") };
    let other = to_another_collector(copy);
    // From elsewhere to the same place, so that the switch decides alike.
    let mut from_guest = other.clone();
    from_guest.bytes[6..12].copy_from_slice(&mac(RETURN).0);
    // From a guest that makes up the addresses of a copy, but for that of the card.
    let mut forged = copy.clone();
    forged.bytes[6..12].copy_from_slice(&MacAddr([2, 0xab, 0, 0, 0, 1]).0);
    let kinds = [copy, &other, &from_guest, &forged];
    for workers in [1, 2] {
        let mut plans = plans();
        plans[UPLINK] = ordinary().on(workers - 1);
        let mut stage = stage_of(workers, &plans, vec![watching(&[RETURN], Oversize::Truncate)]);
        let mut expected = Vec::new();
        let mut random = 1_usize;
        for _ in 0..8 * BURST_FRAMES {
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            let kind = kinds[random >> 40 & 3];
            if kind.bytes != copy.bytes {
                expected.push(kind.bytes.clone());
            }
            stage.send(RETURN, kind);
        }
        stage.settle();
        assert!(expected.len() > 100);
        assert_eq!(stage.bytes_at(SNIFFER), expected);
        assert_eq!(stage.bytes_at(UPLINK).len(), expected.len());
        assert_eq!(stage.received(COLLECTOR).len(), 8 * BURST_FRAMES);
        assert_eq!(wanted(&stage), [expected.len() as u64; 2]);
    }
}

#[test]
fn telling_copies_from_others_allocates_nothing() {
    let [copy] = &copies(300)[..] else { panic!("one") };
    let other = to_another_collector(copy);
    let mut stage = stage_of(1, &plans(), vec![watching(&[RETURN], Oversize::Truncate)]);
    for _ in 0..2 {
        (0..8).for_each(|_| [copy, &other].into_iter().for_each(|it| stage.send(RETURN, it)));
        let allocations = allocations_in(|| while stage.turn(0) > 0 {});
        assert_eq!(allocations, 0);
        stage.settle();
        (0..6).for_each(|index| drop(stage.received(index)));
    }
}

#[test]
fn a_copy_that_another_switch_saw_and_sent_to_a_decap_port_is_not_copied() {
    let [copy] = &copies(300)[..] else { panic!("one") };
    let mut plans = plans();
    plans[DECAP] = ordinary().source(0);
    plans[5] = ordinary().destination(0);
    let mut stage = Stage::new(1, &plans);
    let sessions = vec![watching(&[DECAP], Oversize::Truncate)];
    stage.configure_underlay(&plans, sessions, vec![point()]);
    for (frame, count) in [(copy, 0), (&to_another_collector(copy), 1)] {
        stage.send(UPLINK, &fragments(0, &frame.bytes, 1000)[0]);
        stage.settle();
        assert_eq!(wanted(&stage), [count; 2]);
        assert_eq!(stage.counts(5).mirror.wanted.frames, count);
    }
}
