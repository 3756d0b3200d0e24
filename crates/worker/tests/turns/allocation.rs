//! A turn allocates nothing and frees nothing, whatever it does.

use std::num::{NonZeroU32, NonZeroU64};

use helio_encap::SnapLen;
use helio_mirror::{Exactness, LegForm, Rate, RefusedFrames, Session};
use helio_offload::Offloads;
use helio_testkit::{FrameBuilder, TestFrame, allocations_in};
use helio_types::{DropReason, MacAddr, VlanId};

use crate::sessions::{remote, session};
use crate::stage::{PortPlan, Stage, access, broadcast, frame, mac, ordinary, trunk, vid};

/// What all workers allocate from here until they come to rest.
fn allocations(stage: &mut Stage) -> u64 {
    let workers = &mut stage.workers;
    allocations_in(|| while workers.iter_mut().map(|worker| worker.poll_once()).sum::<u64>() > 0 {})
}

/// Ports of two workers with all kinds of settings: 0 a source, 1 to 3 ordinary, 4 a monitor, 5 one of an exact session.
fn plans() -> Vec<PortPlan> {
    let monitor = ordinary().receive_only();
    vec![
        ordinary().source(0).vlan(access(10)),
        ordinary().on(1).vlan(access(10)),
        ordinary().vlan(trunk(&[10], None)),
        ordinary().source(1).on(1).vlan(access(10)).mtu(700),
        monitor.clone().destination(0).on(1).vlan(trunk(&[10], None)),
        monitor.destination(1).vlan(access(10)),
    ]
}

fn frames() -> Vec<TestFrame> {
    let mut frames = Vec::new();
    for builder in [frame(0, 1), frame(0, 2), frame(0, 3), broadcast(0), frame(0, 0)] {
        for bytes in [10, 500, 1400] {
            let builder = builder.clone().payload(bytes, 1);
            frames.extend([builder.complete(), builder.partial()]);
        }
        let tcp = builder.tcp().payload(30_000, 1);
        frames.extend([tcp.to_segment(1400), tcp.ipv6().to_segment(536)]);
    }
    // One run, longer than a burst.
    frames.extend((0..40).map(|seed| frame(0, 1).payload(300, seed).complete()));
    frames.push(TestFrame::raw(vec![0; 5]));
    let link_local = MacAddr([0x01, 0x80, 0xc2, 0, 0, 0]);
    frames.push(FrameBuilder::new(mac(0), link_local).complete());
    frames
}

#[test]
fn a_turn_allocates_nothing_on_any_path() {
    let all = Offloads::CSUM.union(Offloads::TSO4).union(Offloads::TSO6);
    for accepts in [Offloads::NONE, Offloads::CSUM, all] {
        let mut stage = Stage::with_exact(2, &plans(), &[1]);
        stage.know_all(VlanId::new(10).unwrap());
        stage.ports.iter().for_each(|far| far.accept(accepts));
        for frame in frames() {
            stage.send_in_pieces(0, &frame, 4);
            stage.send_spilled(0, &frame);
        }
        assert_eq!(allocations(&mut stage), 0, "{accepts:?}");
        stage.settle();
        for index in 1..6 {
            assert!(stage.received(index).len() > 10, "port {index} takes part");
        }
        assert_eq!(stage.drops(0, DropReason::Runt), 2);
    }
}

#[test]
fn a_turn_allocates_nothing_where_all_is_full() {
    let mut stage = Stage::with_exact(2, &plans(), &[1]);
    stage.know_all(VlanId::new(10).unwrap());
    stage.ports.iter().for_each(|far| far.set_room(3));
    for _ in 0..1000 {
        stage.send(0, &broadcast(0).payload(600, 1).complete());
        stage.send(2, &broadcast(2).tagged(10).payload(600, 1).complete());
    }
    // First one worker alone, until the rings to the other are full and private buffers are used up.
    let first = &mut stage.workers[0];
    assert_eq!(allocations_in(|| while first.poll_once() > 0 {}), 0);
    assert!(stage.drops(1, DropReason::HandoffFull) > 0);
    assert_eq!(allocations(&mut stage), 0);
    stage.settle();
    assert_eq!(stage.received(1).len(), 3);
}

#[test]
fn turns_in_which_ports_fall_silent_and_are_heard_again_allocate_nothing() {
    let mut stage = Stage::with_exact(2, &plans(), &[1]);
    stage.know_all(VlanId::new(10).unwrap());
    for _ in 0..2 {
        let workers = &mut stage.workers;
        let idle = || {
            (0..5000).for_each(|_| {
                workers.iter_mut().for_each(|worker| assert_eq!(worker.poll_once(), 0))
            })
        };
        assert_eq!(allocations_in(idle), 0);
        for frame in frames() {
            stage.send(0, &frame);
        }
        assert_eq!(allocations(&mut stage), 0);
        stage.settle();
        assert!(stage.received(1).len() > 10);
    }
}

/// Named sessions with everything that they can have, all with legs through ports of both workers.
fn sessions() -> Vec<Session> {
    let legs = |first: usize, form: LegForm| {
        [1, 2, 4].map(|to| (first + to, to, form.clone())).into_iter().collect::<Vec<_>>()
    };
    let one_in = NonZeroU32::new(3).unwrap();
    let per_second = NonZeroU64::new(1000).unwrap();
    let mut of_vlan = session(&[], &legs(0, LegForm::Plain));
    of_vlan.sources.vlans.insert(vid(10));
    let mut of_address = session(&[], &legs(10, remote()));
    of_address.sources.macs.push(mac(0));
    let filter = Some(helio_filter::compile("udp and not vlan").unwrap());
    let rate = Some(Rate::Bytes { per_second, burst: 0 });
    let snap_len = SnapLen::new(100).unwrap();
    let refused = RefusedFrames::Included;
    let exactness = Exactness::Exact;
    vec![
        Session { number: 1, refused, ..of_vlan },
        Session { number: 2, one_in, snap_len, ..of_address },
        Session { number: 3, exactness, refused, ..session(&[0], &legs(20, remote())) },
        Session { number: 4, filter, ..session(&[2, 3], &legs(30, remote())) },
        Session { number: 5, rate, ..session(&[0, 1], &legs(40, LegForm::Plain)) },
    ]
}

#[test]
fn a_turn_with_named_sessions_allocates_nothing_on_any_path() {
    for room in [usize::MAX, 40] {
        let mut stage = Stage::with_exact(2, &plans(), &[1]);
        stage.know_all(VlanId::new(10).unwrap());
        stage.configure_sessions(&plans(), sessions());
        stage.ports.iter().for_each(|far| far.set_room(room));
        let refused = FrameBuilder::new(MacAddr::BROADCAST, mac(1)).complete();
        for frame in frames().iter().chain([&refused]) {
            stage.send_in_pieces(0, frame, 4);
            stage.send_spilled(0, frame);
        }
        (0..900).for_each(|_| stage.send(2, &frame(2, 1).tagged(10).payload(600, 1).complete()));
        assert_eq!(allocations(&mut stage), 0);
        stage.settle();
        for leg in [1, 2, 4].iter().flat_map(|to| [0, 10, 20, 30, 40].map(|first| first + to)) {
            let counts = stage.leg_counts(leg);
            assert!(counts.wanted.frames > 10, "leg {leg} takes part");
            assert!(room < 100 || counts.delivered.frames > 0, "leg {leg} takes part");
        }
        assert!(stage.leg_counts(41).dropped[DropReason::RateLimit.index()].frames > 0);
    }
}
