//! Mirror streams in fragments: what is whole is delivered once, what is not is counted and costs nobody else anything.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::atomic::Ordering;

use helio_encap::{FragmentCounts, MOST_DATAGRAMS, Refusal, SequenceCounts, WAIT_NS};
use helio_mirror::{DecapPoint, Exactness, LegForm, Session};
use helio_testkit::{TestFrame, allocations_in};
use helio_types::{DropReason, WorkerId};
use helio_underlay::{Endpoint, IpNet};
use helio_worker::DecapReport;

use crate::sessions::{frames_of, session};
use crate::stage::{PortPlan, Stage, frame, ordinary, port};
use crate::underlay::{COLLECTOR_MAC, DECAP, OWN, OWN_MAC, UPLINK, checksum};

/// Who watches the decap port.
const SNIFFER: usize = 3;
const SENDER: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 9);

pub(crate) fn point() -> DecapPoint {
    let own = IpNet::new(IpAddr::V4(OWN), 24).unwrap();
    DecapPoint {
        number: 1,
        port: port(DECAP),
        uplink: port(UPLINK),
        endpoint: Endpoint::listening(OWN_MAC, own, None).unwrap(),
        vxlan_port: 4789,
    }
}

fn sessions(exactness: Exactness) -> Vec<Session> {
    vec![Session { exactness, ..session(&[DECAP], &[(0, SNIFFER, LegForm::Plain)]) }]
}

/// A stage where what arrives for the decap port goes to the sniffer, who is at worker `sniffer_at`.
fn stage_of(sniffer_at: usize, exactness: Exactness) -> (Stage, Vec<PortPlan>) {
    let mut plans = vec![ordinary(); 4];
    plans[SNIFFER] = ordinary().on(sniffer_at).mtu(9100);
    let mut stage = Stage::new(sniffer_at + 1, &plans);
    stage.configure_underlay(&plans, sessions(exactness), vec![point()]);
    (stage, plans)
}

fn stage() -> Stage {
    stage_of(0, Exactness::ByReference).0
}

/// A frame that somebody copied to us.
pub(crate) fn inner(bytes: usize) -> Vec<u8> {
    let mut inner = frame(0, 3).payload(bytes, 1).complete().bytes;
    inner[14..].iter_mut().zip(0_u32..).for_each(|(byte, at)| *byte = (at * 7 % 251) as u8);
    inner
}

/// The copy with this number in GRE, in datagrams that carry `piece_bytes` at most.
pub(crate) fn fragments(number: u16, inner: &[u8], piece_bytes: usize) -> Vec<TestFrame> {
    let [n0, n1] = number.to_be_bytes();
    let payload = [&[0x10, 0, 0x65, 0x58, 0, 0, n0, n1][..], inner].concat();
    let pieces = payload.chunks(piece_bytes);
    let last = pieces.len() - 1;
    let fragment = |(at, piece): (usize, &[u8])| {
        let [l0, l1] = u16::try_from(20 + piece.len()).unwrap().to_be_bytes();
        let more = if at < last { 1 << 13 } else { 0 };
        let [o0, o1] = (u16::try_from(at * piece_bytes / 8).unwrap() | more).to_be_bytes();
        let head = [0x45, 0, l0, l1, n0, n1, o0, o1, 60, 47, 0, 0];
        let mut ip = [&head[..], &SENDER.octets(), &OWN.octets()].concat();
        let sum = checksum(&ip);
        ip[10..12].copy_from_slice(&sum);
        let link = [&OWN_MAC.0[..], &COLLECTOR_MAC.0, &[8, 0]].concat();
        let mut bytes = [&link[..], &ip, piece].concat();
        // As a wire pads it.
        bytes.resize(bytes.len().max(60), 0xee);
        TestFrame::raw(bytes)
    };
    pieces.enumerate().map(fragment).collect()
}

fn report(stage: &mut Stage) -> DecapReport {
    let report = stage.ask(|fleet, _| fleet.report_underlay());
    report.decaps.into_iter().find(|decap| decap.port == port(DECAP)).unwrap()
}

fn refused(report: &DecapReport) -> Vec<(Refusal, u64)> {
    let counts = Refusal::ALL.iter().copied().zip(report.refused);
    counts.filter(|(_, count)| *count > 0).collect()
}

fn pass(stage: &mut Stage, ns: u64) {
    stage.now_ns.fetch_add(ns, Ordering::Relaxed);
    stage.settle();
}

#[test]
fn copies_in_fragments_are_delivered_whole_and_once_however_they_lie_in_memory() {
    for (sniffer_at, exactness) in
        [(0, Exactness::ByReference), (1, Exactness::ByReference), (1, Exactness::Exact)]
    {
        let (mut stage, _) = stage_of(sniffer_at, exactness);
        let mut wanted = Vec::new();
        let shapes = [(40, 16), (60, 64), (300, 104), (1400, 1288), (1472, 136), (9000, 1480)];
        for (number, (bytes, piece_bytes)) in (0..).zip(shapes) {
            let inner = inner(bytes);
            for (at, fragment) in fragments(number, &inner, piece_bytes).iter().enumerate() {
                match (at + usize::from(number)) % 3 {
                    0 => stage.send(UPLINK, fragment),
                    1 => stage.send_in_pieces(UPLINK, fragment, 5),
                    _ => stage.send_spilled(UPLINK, fragment),
                }
            }
            wanted.push(inner);
        }
        stage.settle();
        assert!(stage.bytes_at(SNIFFER) == wanted, "at worker {sniffer_at}");
        let got = report(&mut stage);
        assert_eq!((refused(&got), got.fragments.datagrams, got.fragments.waiting), (vec![], 6, 0));
        assert_eq!((got.sessions[0].1.received, got.sessions[0].1.lost()), (6, 0));
        assert_eq!(frames_of(&stage, 0, DropReason::NoPrivateBuffer), [6, 6, 0]);
        assert_eq!(stage.counts(DECAP).ingress.frames, 6);
        assert_eq!(stage.chunks_in_use(), 0);
        assert!([0, UPLINK, DECAP].iter().all(|index| stage.received(*index).is_empty()));
    }
}

#[test]
fn a_tag_that_was_taken_out_is_put_back_also_into_what_was_put_together() {
    let mut stage = stage();
    let mut wanted = Vec::new();
    for (number, bytes) in (0..).zip([60, 81, 82, 83, 300]) {
        let copy = inner(bytes);
        // ERSPAN type II behind a GRE header with its number: VLAN 10, class 3, and a tag that was taken out.
        let payload = [&[0x10, 10, 3 << 5 | 2 << 3, 7, 0, 0, 0, 0][..], &copy].concat();
        for mut fragment in fragments(number, &payload, 64) {
            if fragment.bytes[20..22] == [0x20, 0] {
                fragment.bytes[36..38].copy_from_slice(&[0x88, 0xbe]);
            }
            stage.send(UPLINK, &fragment);
        }
        wanted.push([&copy[..12], &[0x81, 0, 0x60, 10], &copy[12..]].concat());
    }
    stage.settle();
    assert!(stage.bytes_at(SNIFFER) == wanted);
}

#[test]
fn copies_of_which_a_fragment_is_missing_are_counted_as_lost_and_each_fragment_once() {
    let mut stage = stage();
    let mut sent = 0;
    for number in 0..10_u16 {
        for (at, fragment) in fragments(number, &inner(1000), 400).iter().enumerate() {
            if !(number == 4 && at == 1) {
                stage.send(UPLINK, fragment);
                sent += 1;
            }
        }
    }
    stage.settle();
    let got = report(&mut stage);
    assert_eq!(got.fragments, FragmentCounts { joined: 27, datagrams: 9, waiting: 2 });
    assert_eq!((sent, stage.counts(UPLINK).ingress.frames), (29, 29));
    assert_eq!((refused(&got), stage.chunks_in_use()), (vec![], 1));
    pass(&mut stage, WAIT_NS - 1);
    assert_eq!(report(&mut stage).fragments.waiting, 2);
    pass(&mut stage, 1);
    let got = report(&mut stage);
    assert_eq!(refused(&got), [(Refusal::FragmentIncomplete, 2)]);
    assert_eq!((got.fragments.waiting, stage.chunks_in_use()), (0, 0));
    let SequenceCounts { received, .. } = got.sessions[0].1;
    assert_eq!((received, got.sessions[0].1.lost()), (9, 1));
    assert_eq!(stage.bytes_at(SNIFFER), vec![inner(1000); 9]);
    assert_eq!(frames_of(&stage, 0, DropReason::NoDestination), [9, 9, 0]);
}

#[test]
fn whoever_sends_what_never_becomes_whole_costs_the_buffers_of_the_table_and_no_more() {
    let mut stage = stage();
    for number in 0..1000 {
        stage.send(UPLINK, &fragments(number, &inner(1000), 400)[usize::from(number) % 3]);
    }
    stage.settle();
    assert_eq!(stage.chunks_in_use(), MOST_DATAGRAMS);
    let got = report(&mut stage);
    let waiting = MOST_DATAGRAMS as u64;
    assert_eq!(
        (refused(&got), got.fragments.waiting),
        (vec![(Refusal::FragmentsFull, 1000 - waiting)], waiting)
    );
    // What is whole goes through all the same.
    stage.send(UPLINK, &fragments(2000, &inner(300), 1480)[0]);
    fragments(2001, &inner(300), 200).iter().for_each(|it| stage.send(UPLINK, it));
    stage.settle();
    assert_eq!(stage.bytes_at(SNIFFER), vec![inner(300); 2]);
    pass(&mut stage, WAIT_NS);
    assert_eq!(stage.chunks_in_use(), 0);
}

#[test]
fn a_datagram_that_is_whole_and_no_copy_counts_as_one_datagram() {
    let mut stage = stage();
    fragments(0, &[1; 13], 16).iter().for_each(|it| stage.send(UPLINK, it));
    stage.settle();
    let got = report(&mut stage);
    assert_eq!(refused(&got), [(Refusal::InnerRunt, 1)]);
    assert_eq!(got.fragments, FragmentCounts { joined: 2, datagrams: 1, waiting: 0 });
    assert_eq!((stage.counts(DECAP).ingress.frames, stage.chunks_in_use()), (0, 0));
}

#[test]
fn what_waits_for_a_decap_port_goes_with_it_and_stays_with_one_that_stays() {
    let (mut stage, plans) = stage_of(0, Exactness::ByReference);
    let parts = fragments(0, &inner(1000), 600);
    stage.send(UPLINK, &parts[0]);
    stage.settle();
    stage.configure_underlay(&plans, sessions(Exactness::ByReference), vec![point()]);
    assert_eq!(stage.chunks_in_use(), 1);
    stage.send(UPLINK, &parts[1]);
    stage.settle();
    assert_eq!(stage.bytes_at(SNIFFER), [inner(1000)]);
    stage.send(UPLINK, &parts[0]);
    stage.settle();
    assert_eq!(stage.chunks_in_use(), 1);
    stage.configure_underlay(&plans, sessions(Exactness::ByReference), Vec::new());
    assert_eq!(stage.chunks_in_use(), 0);
}

/// Takes the uplink away, and then gives it to a worker. What was told of the decap port in between.
fn move_uplink(stage: &mut Stage, plans: &mut [PortPlan], to: usize) -> DecapReport {
    let [from, to_worker] = [plans[UPLINK].owner.unwrap(), to].map(|at| WorkerId::new(at).unwrap());
    plans[UPLINK].owner = None;
    stage.configure_underlay(plans, sessions(Exactness::ByReference), Vec::new());
    assert!(stage.ask(|fleet, _| fleet.report_underlay()).decaps.is_empty());
    let between = stage.shelves[&1].report().unwrap();
    stage.ask(|fleet, _| {
        let uplink = fleet.remove_port(from, port(UPLINK)).unwrap().unwrap();
        fleet.add_port(to_worker, port(UPLINK), uplink).unwrap();
    });
    plans[UPLINK].owner = Some(to);
    stage.configure_underlay(plans, sessions(Exactness::ByReference), vec![point()]);
    assert!(stage.shelves[&1].report().is_none());
    between
}

#[test]
fn what_a_decap_port_counted_goes_on_at_whichever_worker_has_its_uplink_next() {
    let (mut stage, mut plans) = stage_of(1, Exactness::ByReference);
    for (round, to) in (1_u16..).zip([1, 1, 0, 0]) {
        let number = 3 * round;
        // One copy comes, of the next only a part, and one is missed while nobody listens.
        fragments(number, &inner(300), 200).iter().for_each(|it| stage.send(UPLINK, it));
        stage.send(UPLINK, &fragments(number + 1, &inner(300), 200)[0]);
        stage.settle();
        assert_eq!(report(&mut stage).fragments.waiting, 1);
        let between = move_uplink(&mut stage, &mut plans, to);
        assert_eq!(stage.chunks_in_use(), 0);
        let now = report(&mut stage);
        assert_eq!(refused(&now), refused(&between));
        assert_eq!((now.fragments, &now.sessions), (between.fragments, &between.sessions));
        let (counts, round) = (now.sessions[0].1, u64::from(round));
        assert_eq!((counts.received, counts.lost()), (round, 2 * (round - 1)));
        let given_up = now.refused[Refusal::FragmentIncomplete.index()];
        assert_eq!((now.fragments.datagrams, given_up), (round, round));
    }
}

#[test]
fn fragments_for_others_are_forwarded_like_any_frame() {
    let mut stage = stage();
    let mut foreign = fragments(0, &inner(1000), 600).remove(0);
    foreign.bytes[..6].copy_from_slice(&[2, 0xff, 0, 0, 0, 1]);
    stage.send(UPLINK, &foreign);
    stage.settle();
    assert_eq!(stage.bytes_at(0), [foreign.bytes]);
    assert_eq!(report(&mut stage).fragments, FragmentCounts::default());
}

#[test]
fn turns_with_fragments_allocate_nothing_whether_they_become_whole_or_not() {
    let (mut stage, _) = stage_of(1, Exactness::ByReference);
    for number in 0..100 {
        for (at, fragment) in fragments(number, &inner(2000), 400).iter().enumerate() {
            if usize::from(number) % 8 != at {
                stage.send_in_pieces(UPLINK, fragment, 3);
            }
            if number % 10 == 0 {
                stage.send(UPLINK, fragment);
            }
        }
    }
    let now_ns = &stage.now_ns;
    let workers = &mut stage.workers;
    let calls = allocations_in(|| {
        while workers.iter_mut().map(|worker| worker.poll_once()).sum::<u64>() > 0 {
            now_ns.fetch_add(WAIT_NS / 100, Ordering::Relaxed);
        }
        now_ns.fetch_add(WAIT_NS, Ordering::Relaxed);
        workers.iter_mut().for_each(|worker| {
            worker.poll_once();
        });
    });
    assert_eq!(calls, 0);
    stage.settle();
    let got = report(&mut stage);
    assert!(got.fragments.datagrams > 10 && refused(&got).len() > 1, "{got:?}");
    assert_eq!((got.fragments.waiting, stage.chunks_in_use()), (0, 0));
}
