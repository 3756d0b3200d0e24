//! Guests that break the rules of frames, of notification and of good manners, each while a pair on other ports
//! exchanges frames and loses none of them.
#![cfg(test)]

mod support;

use std::os::fd::AsFd;
use std::time::Instant;

use helio_api::PortState;
use helio_guest::{
    ChainForm, ChainLayout, GuestConfig, MessageId, NetHeader, Racer, ReceiveLayout, features,
};
use helio_types::DropReason;
use support::capture::Capture;
use support::descriptors::{last, linked};
use support::hostile::{self, Hostile};
use support::lane::ping;
use support::liar::{self, SCRATCH, Side};
use support::odd_descriptors::odd_descriptors;
use support::pair::Pair;
use support::random::Random;
use support::switch::mac;
use support::{PATIENCE, wait_until};

/// Bytes of the net header.
const NET_HEADER: u32 = 12;

#[test]
fn c031_a_net_header_may_be_cut_anywhere() {
    let mut scene = Hostile::new();
    let frame = scene.liar.frame();
    scene.liar.write(SCRATCH, &frame);
    let rest = NET_HEADER + 300;
    assert_eq!(frame.len(), 312);
    for first in 1..=NET_HEADER {
        let chain =
            [(0, linked(SCRATCH, first, 1)), (1, last(SCRATCH + u64::from(first), rest - first))];
        scene.delivers(&format!("{first} bytes first"), &chain);
    }
    let mut bytes_apart: Vec<_> =
        (0..12).map(|index| (index, linked(SCRATCH + u64::from(index), 1, index + 1))).collect();
    bytes_apart.push((12, last(SCRATCH + 12, rest - 12)));
    scene.delivers("each byte apart", &bytes_apart);
    scene.end();
}

#[test]
fn c032_chains_that_hold_no_frame_are_refused_and_short_frames_are_not() {
    let mut scene = Hostile::new();
    let mut frame = vec![0; 12];
    frame.extend(mac(3));
    frame.extend(mac(2));
    frame.extend([0x88, 0xb5]);
    frame.resize(12 + 60, 0);
    scene.liar.write(SCRATCH, &frame);
    for bytes in [0, 1, NET_HEADER - 1] {
        let chain = [(0, last(SCRATCH, bytes))];
        scene.refuses(&format!("{bytes} bytes"), DropReason::HeaderShort, &chain);
    }
    for bytes in [0, 1, 13] {
        let chain = [(0, last(SCRATCH, NET_HEADER + bytes))];
        scene.refuses(&format!("a frame of {bytes}"), DropReason::Runt, &chain);
    }
    for bytes in [14, 15, 59, 60] {
        scene.accepts(&format!("a frame of {bytes}"), &[(0, last(SCRATCH, NET_HEADER + bytes))]);
    }
    scene.end();
}

#[test]
fn c033_a_frame_longer_than_any_is_refused() {
    let mut scene = Hostile::new();
    let mut frame = vec![0; 12];
    frame.extend(mac(3));
    frame.extend(mac(2));
    frame.extend([0x88, 0xb5]);
    scene.liar.write(SCRATCH, &frame);
    let longest = NET_HEADER + helio_types::MAX_FRAME_BYTES;
    let chain = [(0, linked(SCRATCH, 100, 1)), (1, last(SCRATCH + 100, longest - 100 + 1))];
    scene.refuses("one byte too long", DropReason::Oversize, &chain);
    scene.refuses("in one buffer", DropReason::Oversize, &[(0, last(SCRATCH, longest + 1))]);
    let chain = [(0, linked(SCRATCH, 100, 1)), (1, last(SCRATCH + 100, longest - 100))];
    // Longer than any MTU, but a frame.
    scene.accepts("as long as can be", &chain);
    scene.end();
}

#[test]
fn c035_c036_receive_buffers_of_any_length_are_filled_or_left() {
    for (rx_buffer_bytes, cuts) in
        [(12, vec![]), (13, vec![]), (64, vec![]), (400, vec![1, 2, 3, 4, 5, 6, 7])]
    {
        let switch = hostile::plan().start();
        let receive_layout = ReceiveLayout { cuts, ..ReceiveLayout::default() };
        let config = GuestConfig {
            rx_buffer_bytes,
            receive_layout,
            ring_size: 1024,
            ..switch.guest_config("liar")
        };
        let mut liar = switch.guest_with("liar", config);
        let mut tempter = switch.guest("tempter");
        for _ in 0..200 {
            ping(&mut tempter, &mut liar, 1);
        }
        assert_eq!(liar.faults().total(), 0, "{:?}", liar.faults());
        assert_eq!(switch.port("liar").drops_total(), 0, "{rx_buffer_bytes} bytes");
    }
}

#[test]
fn c036_receive_buffers_shorter_than_a_net_header_harm_nobody() {
    for rx_buffer_bytes in [0, 1, 2, 11] {
        let base = GuestConfig { ring_size: 1024, ..liar::config(mac(2)) };
        let mut scene = Hostile::with(GuestConfig { rx_buffer_bytes, ..base });
        let before = scene.switch.port("liar");
        for _ in 0..100 {
            scene.tempt();
            scene.liar.guest.poll_once(|_, _, _| ());
        }
        let after = scene.switch.port("liar");
        let given = after.egress_frames - before.egress_frames;
        let dropped = after.drops_total() - before.drops_total();
        assert_eq!(given + dropped, 100, "{rx_buffer_bytes} bytes: {:?}", after.drops);
        scene.assert_liar_is_heard();
        scene.end();
    }
}

#[test]
fn c035_a_frame_that_finds_too_few_buffers_takes_none() {
    let switch = hostile::plan().start();
    let config = GuestConfig {
        rx_buffer_bytes: 64,
        refill: helio_guest::Refill::ByHand,
        ..switch.guest_config("liar")
    };
    let mut liar = switch.guest_with("liar", config);
    let mut tempter = switch.guest("tempter");
    let mut lane = support::lane::Lane::new(&tempter, &liar);
    // 312 bytes need five buffers of 64.
    liar.post_receive(4);
    lane.send(&mut tempter, 1);
    tempter.wait_all_sent(PATIENCE).unwrap();
    assert_eq!(switch.drops("liar", DropReason::NoRxBuffer), 1);
    assert_eq!(liar.poll_once(|_, _, _| ()), 0);
    liar.post_receive(1);
    let mut lane = support::lane::Lane::new(&tempter, &liar);
    lane.send(&mut tempter, 1);
    Capture::take(&mut liar, 1).assert_each_once(&[lane.sender()], 1);
    assert_eq!(liar.faults().total(), 0);
}

#[test]
fn c036_without_mergeable_buffers_a_frame_that_fits_none_is_dropped() {
    let switch = hostile::plan().start();
    let base = switch.guest_config("liar");
    let features = base.features & !features::MRG_RXBUF;
    let config = GuestConfig { rx_buffer_bytes: 200, features, ..base };
    let mut liar = switch.guest_with("liar", config);
    let mut tempter = switch.guest("tempter");
    let mut lane = support::lane::Lane::new(&tempter, &liar);
    lane.send(&mut tempter, 10);
    tempter.wait_all_sent(PATIENCE).unwrap();
    assert_eq!(switch.drops("liar", DropReason::RxBufferTooSmall), 10);
    let short = helio_guest::Flow::between(tempter.mac(), liar.mac());
    let mut lane = support::lane::Lane::of(short);
    lane.send(&mut tempter, 10);
    Capture::take(&mut liar, 10).assert_each_once(&[lane.sender()], 10);
}

#[test]
fn c036_a_ring_that_is_too_small_for_a_frame_as_a_whole_costs_its_own_port_only() {
    let switch = hostile::plan().port("witness", "").start();
    let pair = Pair::start(switch.guest("columbia"), switch.guest("crusader"));
    // All buffers are walked for each frame of 600 bytes, and have 512 together.
    let base = switch.guest_config("liar");
    let _liar =
        switch.guest_with("liar", GuestConfig { rx_buffer_bytes: 4, ring_size: 128, ..base });
    let (mut tempter, mut witness) = (switch.guest("tempter"), switch.guest("witness"));
    let to_all = helio_guest::Flow::between(tempter.mac(), [0xff; 6]);
    let mut lane = support::lane::Lane::of(helio_guest::Flow { frame_bytes: 600, ..to_all });
    let (walked, unwalked) = (DropReason::NoRxBuffer, DropReason::RxBufferTooSmall);
    wait_until("more frames came in one turn than the ring is walked for", || {
        let end = lane.sent() + 1000;
        wait_until("the witness has its frames", || {
            while lane.send(&mut tempter, end) + lane.receive(&mut witness) > 0 {}
            lane.received() == end
        });
        switch.drops("liar", unwalked) > 0
    });
    lane.assert_complete();
    let port = switch.port("liar");
    let drops = [walked, unwalked].map(|it| port.egress_drops.get(it.name()).copied().unwrap_or(0));
    assert_eq!((port.egress_frames, drops[0] + drops[1]), (0, lane.sent()), "{:?}", port.drops);
    assert!(drops[0] > 0, "{:?}", port.drops);
    pair.go_on();
    pair.end();
}

/// Sends frames with a flag, an unknown flag and a segmentation in their net headers. Returns how many were refused.
fn refused_of_three_wishes(scene: &mut Hostile) -> u64 {
    let bytes = scene.liar.frame();
    let checksum = NetHeader {
        flags: NetHeader::NEEDS_CSUM,
        csum_start: 34,
        csum_offset: 6,
        ..NetHeader::default()
    };
    let segments = NetHeader { gso_type: NetHeader::GSO_TCPV4, gso_size: 1000, ..checksum };
    let unknown = NetHeader { flags: 0xfe, ..NetHeader::default() };
    for header in [checksum, unknown, segments] {
        scene.liar.guest.send_on(0, &header, &bytes[12..]).unwrap();
        scene.liar.guest.kick();
        scene.liar.guest.wait_all_sent(PATIENCE).unwrap();
    }
    let refused = scene.switch.drops("liar", DropReason::BadOffload);
    assert_eq!(scene.switch.port("liar").ingress_frames, 3 - refused);
    refused
}

#[test]
fn c039_the_net_header_of_a_guest_without_offloads_says_nothing() {
    let mut scene = Hostile::new();
    assert_eq!(refused_of_three_wishes(&mut scene), 0);
    scene.assert_liar_is_heard();
    scene.end();
}

#[test]
fn c039_a_segmentation_that_was_not_agreed_is_refused_when_checksums_were() {
    let base = liar::config(mac(2));
    let mut scene = Hostile::with(GuestConfig { features: base.features | features::CSUM, ..base });
    assert_eq!(refused_of_three_wishes(&mut scene), 1);
    scene.assert_liar_is_heard();
    scene.end();
}

#[test]
fn c141_c142_offloads_that_do_not_fit_their_frame_are_refused() {
    let base = liar::config(mac(2));
    let features = base.features | features::OFFLOADS;
    let mut scene = Hostile::with(GuestConfig { features, ..base });
    let bytes = scene.liar.frame();
    let header = |csum_start, csum_offset, gso_type, gso_size| NetHeader {
        flags: NetHeader::NEEDS_CSUM,
        csum_start,
        csum_offset,
        gso_type,
        gso_size,
        ..NetHeader::default()
    };
    let lies = [
        header(0xffff, 0, 0, 0),
        header(300, 0, 0, 0),
        header(34, 0xffff, 0, 0),
        header(299, 0, 0, 0),
        // The frame is UDP.
        header(34, 16, NetHeader::GSO_TCPV4, 100),
        header(34, 16, NetHeader::GSO_TCPV6, 100),
        header(34, 16, NetHeader::GSO_TCPV4, 0),
        header(34, 6, 2, 100),
        header(34, 6, 0x7f, 100),
    ];
    for (count, header) in (1..).zip(lies) {
        scene.liar.guest.send_on(0, &header, &bytes[12..]).unwrap();
        scene.liar.guest.kick();
        scene.liar.guest.wait_all_sent(PATIENCE).unwrap();
        assert_eq!(scene.switch.drops("liar", DropReason::BadOffload), count, "{header:?}");
    }
    scene.assert_liar_is_heard();
    scene.end();
}

#[test]
fn c015_headers_and_payloads_that_change_all_the_time_harm_nobody() {
    let mut scene = Hostile::new();
    let frame = scene.liar.nameless_frame();
    let buffers = scene.liar.guest.driver_mut().transmit_queue(0).unwrap().buffers().clone();
    let mut to_all = frame.clone();
    to_all[12..18].fill(0xff);
    let mut group_source = frame.clone();
    group_source[18..24].fill(0xff);
    let mut noise = frame.clone();
    noise[..12].fill(0xa5);
    let racer = Racer::flip_bytes(buffers, vec![frame.clone(), to_all, group_source, noise]);
    let before = scene.switch.port("liar");
    // The scheduler decides when the racer runs: it gets the time that it needs.
    let end = Instant::now() + PATIENCE;
    let both_happened = |scene: &Hostile| {
        let now = scene.switch.port("liar");
        now.ingress_frames > before.ingress_frames && now.drops_total() > before.drops_total()
    };
    let mut sent = 0;
    while sent < 3000 || (!both_happened(&scene) && Instant::now() < end) {
        sent += 1;
        // One at a time, so that each uses the buffer that is raced for.
        scene.liar.guest.send(&frame[12..]).unwrap();
        scene.liar.guest.kick();
        scene.liar.guest.wait_all_sent(PATIENCE).unwrap();
    }
    assert!(racer.stop() > 0);
    let after = scene.switch.port("liar");
    let taken = after.ingress_frames - before.ingress_frames;
    let dropped = after.drops_total() - before.drops_total();
    assert!(taken + dropped >= sent, "{:?}", after.drops);
    assert!(taken > 0 && dropped > 0, "nobody raced: {:?}", after.drops);
    scene.assert_liar_is_heard();
    scene.end();
}

#[test]
fn rings_of_random_bytes_harm_nobody() {
    let mut scene = Hostile::new();
    let mut random = Random::new();
    for _ in 0..300 {
        for side in [Side::Transmit, Side::Receive] {
            let area = scene.liar.area(side);
            for index in 0..area.size() {
                let descriptor = helio_guest::Descriptor {
                    addr: u64::from(random.below(10 << 20)),
                    len: random.below(3000),
                    flags: random.index_below(8),
                    next: random.index_below(260),
                };
                area.write_descriptor(index, descriptor);
                area.set_avail_entry(index, random.index_below(260));
            }
            area.set_avail_idx(area.used_idx().wrapping_add(random.index_below(257)));
        }
        scene.liar.guest.driver().kick_all();
        scene.tempt();
        if scene.switch.port("liar").state == PortState::Faulted {
            scene.liar_behaves_again();
        }
    }
    scene.liar_behaves_again();
    scene.end();
}

#[test]
fn c025_a_storm_of_kicks_harms_nobody() {
    let mut scene = Hostile::new();
    let kicks = scene.liar.guest.driver().rings().map(|(_, events)| events.kick.try_clone());
    let storms: Vec<_> = kicks.map(|kick| Racer::kick_storm(kick.unwrap())).collect();
    scene.pair.wait_frames(50_000);
    for _ in 0..50 {
        scene.assert_liar_is_heard();
    }
    for storm in storms {
        assert!(storm.stop() > 10_000);
    }
    scene.assert_liar_is_heard();
    scene.end();
}

#[test]
fn c027_calls_of_all_kinds_never_hold_the_worker_up() {
    for (what, call) in odd_descriptors() {
        let mut scene = Hostile::new();
        let size = || rustix::fs::fstat(&call).unwrap().st_size;
        let before = size();
        for message in [MessageId::SetVringCall, MessageId::SetVringErr] {
            for ring in 0..2_u64 {
                let session = scene.liar.guest.session();
                let payload = ring.to_ne_bytes();
                let answer = session.command(message, &payload, &[call.as_fd()]);
                assert!(answer.is_ok(), "{what}: {answer:?}");
            }
        }
        // Every completion is asked for, so that every one is a call.
        for side in [Side::Transmit, Side::Receive] {
            scene.liar.ring(side).set_calls(helio_guest::Calls::Wanted);
        }
        for _ in 0..100 {
            scene.assert_liar_is_heard();
            scene.tempt();
            scene.liar.guest.poll_once(|_, _, _| ());
            for side in [Side::Transmit, Side::Receive] {
                scene.liar.ring(side).set_calls(helio_guest::Calls::Wanted);
            }
        }
        assert_eq!(size(), before, "{what}: something was written to it");
        scene.liar_behaves_again();
        scene.tempt();
        assert_eq!(scene.liar.guest.wait_received(1, PATIENCE).unwrap().len(), 1, "{what}");
        scene.end();
    }
}

#[test]
fn c027_kicks_of_all_kinds_neither_stop_the_port_nor_the_others() {
    for (what, kick) in odd_descriptors() {
        let mut scene = Hostile::new();
        let session = scene.liar.guest.session();
        for ring in 0..2_u64 {
            let payload = ring.to_ne_bytes();
            let answer = session.command(MessageId::SetVringKick, &payload, &[kick.as_fd()]);
            assert!(answer.is_ok(), "{what}: {answer:?}");
        }
        // The pair keeps the worker awake, so it looks at the ring without being kicked.
        scene.assert_liar_is_heard();
        scene.pair.go_on();
        scene.liar_behaves_again();
        scene.end();
    }
}

#[test]
fn a_guest_that_floods_all_addresses_harms_nobody() {
    let mut scene = Hostile::new();
    // To itself, and from addresses that nobody has.
    let mut frame = mac(2).to_vec();
    frame.extend([0x02, 0, 0, 0, 0, 0]);
    frame.extend([0x88, 0xb5]);
    frame.resize(60, 0);
    for number in 0..50_000_u32 {
        frame[8..12].copy_from_slice(&number.to_be_bytes());
        scene.liar.guest.send_blocking(&frame, PATIENCE).unwrap();
    }
    scene.liar.guest.wait_all_sent(PATIENCE).unwrap();
    let mut addresses = 0;
    wait_until("addresses were learned", || {
        let body = scene.switch.control().request("GET", "/v1/fdb?port=liar", "").body;
        let entries: Vec<helio_api::FdbEntryInfo> = serde_json::from_str(&body).unwrap();
        addresses = entries.len();
        addresses > 0
    });
    // The limit of a port, and its static address.
    assert!(addresses <= 4096 + 1, "{addresses} addresses behind one port");
    scene.end();
}

#[test]
fn a_guest_may_use_indirect_tables_for_every_frame() {
    let switch = hostile::plan().start();
    let (mut liar, mut tempter) = (switch.guest("liar"), switch.guest("tempter"));
    let layout = ChainLayout { cuts: &[12, 14, 0, 100], form: ChainForm::Indirect };
    let mut frame = Vec::new();
    let flow = helio_guest::Flow::between(liar.mac(), tempter.mac());
    let mut numbered = helio_guest::Numbered::new(helio_guest::Flow { frame_bytes: 900, ..flow });
    for _ in 0..200 {
        let header = numbered.write_next(&mut frame);
        liar.send_with(&header, &frame, layout).unwrap();
        liar.kick();
        liar.wait_all_sent(PATIENCE).unwrap();
    }
    Capture::take(&mut tempter, 200).assert_each_once(&[flow.sender], 200);
}
