//! Chains and indices that break the rules, each while a pair on other ports exchanges frames and loses none of them.

mod support;

use std::time::Instant;

use helio_frame::PortFault;
use helio_guest::{Descriptor, GuestConfig, Racer, Refill, RingPlace, descriptor_flags, features};
use helio_types::DropReason;

use support::descriptors::{flagged, last, linked, table, writable};
use support::hostile::Hostile;
use support::liar::{self, APART, APART_BYTES, END, SCRATCH, SEAM, Side, TABLES};
use support::switch::mac;
use support::{PATIENCE, wait_until};

const RING_SIZE: u16 = 256;

/// Net header and frame of an honest frame of a liar.
const HONEST: u32 = 312;

/// An honest frame lies at `SCRATCH`.
fn with_frame() -> Hostile {
    let mut scene = Hostile::new();
    let frame = scene.liar.frame();
    scene.liar.write(SCRATCH, &frame);
    scene
}

#[test]
fn c001_a_head_beyond_the_ring_is_refused() {
    let mut scene = Hostile::new();
    for head in [RING_SIZE, RING_SIZE + 1, 0x7fff, 0xffff] {
        scene.refuses_head("head", DropReason::ChainIndex, &[], head);
    }
    scene.assert_liar_is_heard();
    scene.end();
}

#[test]
fn c002_a_next_beyond_the_table_is_refused() {
    let mut scene = with_frame();
    for next in [RING_SIZE, 0xffff] {
        let chain = [(3, linked(SCRATCH, 100, next))];
        scene.refuses("direct", DropReason::ChainIndex, &chain);
    }
    let bytes = scene.liar.write_table(&[linked(SCRATCH, 100, 2), last(SCRATCH, 100)]);
    scene.refuses("indirect", DropReason::ChainIndex, &[(0, table(TABLES, bytes))]);
    scene.assert_liar_is_heard();
    scene.end();
}

#[test]
fn c003_a_chain_that_loops_is_refused() {
    let mut scene = with_frame();
    let self_loop = [(7, linked(SCRATCH, 1, 7))];
    scene.refuses("self", DropReason::ChainLoop, &self_loop);
    let two = [(7, linked(SCRATCH, 1, 8)), (8, linked(SCRATCH, 1, 7))];
    scene.refuses("two", DropReason::ChainLoop, &two);
    let all: Vec<_> =
        (0..RING_SIZE).map(|index| (index, linked(SCRATCH, 1, (index + 1) % RING_SIZE))).collect();
    scene.refuses("all", DropReason::ChainLoop, &all);
    let empty: Vec<_> =
        (0..RING_SIZE).map(|index| (index, linked(SCRATCH, 0, (index + 1) % RING_SIZE))).collect();
    scene.refuses("without bytes", DropReason::ChainLoop, &empty);
    let bytes = scene.liar.write_table(&[linked(SCRATCH, 1, 0)]);
    scene.refuses("indirect", DropReason::ChainLoop, &[(0, table(TABLES, bytes))]);
    scene.assert_liar_is_heard();
    scene.end();
}

#[test]
fn c004_buffers_without_bytes_are_passed_over() {
    let mut scene = with_frame();
    let (first, second) = (linked(SCRATCH, 100, 2), last(SCRATCH + 100, HONEST - 100));
    let nothing = |next| linked(SCRATCH, 0, next);
    scene.delivers("first", &[(1, nothing(3)), (3, linked(SCRATCH, 100, 2)), (2, second)]);
    scene.delivers("middle", &[(1, linked(SCRATCH, 100, 3)), (3, nothing(2)), (2, second)]);
    let end = linked(SCRATCH + 100, HONEST - 100, 3);
    scene.delivers("last", &[(1, first), (2, end), (3, last(SCRATCH, 0))]);
    let all = [(1, nothing(2)), (2, nothing(3)), (3, last(SCRATCH, 0))];
    scene.refuses("all", DropReason::HeaderShort, &all);
    scene.end();
}

#[test]
fn c005_a_chain_as_long_as_the_ring_is_accepted() {
    let mut scene = with_frame();
    let rest = HONEST - u32::from(RING_SIZE - 1);
    let chain: Vec<_> = (0..RING_SIZE)
        .map(|index| {
            let addr = SCRATCH + u64::from(index);
            let is_last = index == RING_SIZE - 1;
            (index, if is_last { last(addr, rest) } else { linked(addr, 1, index + 1) })
        })
        .collect();
    scene.delivers("256 buffers", &chain);
    scene.end();
}

#[test]
fn c006_a_chain_of_more_than_4_gib_is_refused() {
    let mut scene = Hostile::new();
    let chain = [(0, linked(SCRATCH, 1 << 31, 1)), (1, last(SCRATCH, u32::MAX))];
    scene.refuses("the sum wraps", DropReason::Oversize, &chain);
    scene.refuses("one buffer", DropReason::Oversize, &[(0, last(SCRATCH, u32::MAX))]);
    scene.assert_liar_is_heard();
    scene.end();
}

#[test]
fn c007_an_indirect_table_of_a_bad_length_or_place_is_refused() {
    let mut scene = with_frame();
    scene.liar.write_table(&[last(SCRATCH, HONEST)]);
    for bytes in [0, 1, 15, 17, 31, 16 * 65_536, u32::MAX, u32::MAX - 15] {
        let what = format!("{bytes} bytes");
        scene.refuses(&what, DropReason::ChainIndirect, &[(0, table(TABLES, bytes))]);
    }
    for addr in [END - 15, END, APART + APART_BYTES, u64::MAX, u64::MAX - 7] {
        let what = format!("at {addr:#x}");
        scene.refuses(&what, DropReason::ChainAddress, &[(0, table(addr, 16))]);
    }
    scene.end();
}

#[test]
fn c007_an_indirect_table_may_lie_anywhere_in_memory() {
    let mut scene = with_frame();
    let bytes = support::descriptors::to_bytes(last(SCRATCH, HONEST));
    for addr in [SEAM - 8, SEAM - 1, END - 16, APART, SCRATCH + 1001] {
        scene.liar.write(addr, &bytes);
        scene.delivers(&format!("at {addr:#x}"), &[(0, table(addr, 16))]);
    }
    scene.end();
}

#[test]
fn c007_an_indirect_table_on_top_of_the_rings_harms_nobody() {
    let mut scene = with_frame();
    let RingPlace { table: descriptors, avail, used } = scene.liar.places()[1];
    for addr in [descriptors, avail & !15, used & !15] {
        scene.offer(Side::Transmit, &[(0, table(addr, 16 * 4))], 0);
    }
    scene.liar_behaves_again();
    scene.end();
}

#[test]
fn c008_tables_in_tables_and_tables_with_a_next_are_refused() {
    let mut scene = with_frame();
    let bytes = scene.liar.write_table(&[table(TABLES, 16)]);
    scene.refuses("nested", DropReason::ChainIndirect, &[(0, table(TABLES, bytes))]);
    scene.liar.write_table(&[last(SCRATCH, HONEST)]);
    let both = flagged(table(TABLES, 16), descriptor_flags::NEXT);
    scene.refuses("next", DropReason::ChainIndirect, &[(0, both), (1, last(SCRATCH, HONEST))]);
    scene.assert_liar_is_heard();
    scene.end();
}

#[test]
fn c009_c010_buffers_before_a_table_and_a_writable_table_are_accepted() {
    let mut scene = with_frame();
    scene.liar.write_table(&[last(SCRATCH + 100, HONEST - 100)]);
    let mixed = [(4, linked(SCRATCH, 100, 2)), (2, table(TABLES, 16))];
    scene.delivers("a buffer before the table", &mixed);
    scene.liar.write_table(&[last(SCRATCH, HONEST)]);
    scene.delivers("a writable table", &[(0, writable(table(TABLES, 16)))]);
    scene.end();
}

#[test]
fn c008_without_indirect_descriptors_a_table_is_refused() {
    let base = liar::config(mac(2));
    let features = base.features & !features::INDIRECT_DESC;
    let mut scene = Hostile::with(GuestConfig { features, ..base });
    scene.refuses("not negotiated", DropReason::ChainIndirect, &[(0, table(TABLES, 16))]);
    scene.assert_liar_is_heard();
    scene.end();
}

#[test]
fn c011_c012_buffers_of_the_wrong_direction_are_refused() {
    let mut scene = with_frame();
    let sent = last(SCRATCH, HONEST);
    scene.refuses("only", DropReason::ChainDirection, &[(0, writable(sent))]);
    let after = [(0, linked(SCRATCH, 100, 1)), (1, writable(sent))];
    scene.refuses("after", DropReason::ChainDirection, &after);
    let before = [(0, writable(linked(SCRATCH, 100, 1))), (1, sent)];
    scene.refuses("before", DropReason::ChainDirection, &before);
    scene.assert_liar_is_heard();
    scene.end();
}

/// A liar that posts its receive buffers itself.
fn receiving() -> Hostile {
    Hostile::with(GuestConfig { refill: Refill::ByHand, ..liar::config(mac(2)) })
}

/// What is wrong with a chain, why it is refused, and the chain.
type Lie = (&'static str, DropReason, Vec<(u16, Descriptor)>);

#[test]
fn c001_to_c013_receive_chains_that_break_rules_come_back_unwritten() {
    let mut scene = receiving();
    let place = writable(last(SCRATCH, 2000));
    let cases: [Lie; 7] = [
        ("readable", DropReason::ChainDirection, vec![(0, last(SCRATCH, 2000))]),
        (
            "readable after writable",
            DropReason::ChainDirection,
            vec![(0, writable(linked(SCRATCH, 100, 1))), (1, last(SCRATCH, 2000))],
        ),
        ("unmapped", DropReason::ChainAddress, vec![(0, writable(last(END, 2000)))]),
        ("one past the end", DropReason::ChainAddress, vec![(0, writable(last(END - 1999, 2000)))]),
        ("loop", DropReason::ChainLoop, vec![(5, writable(linked(SCRATCH, 0, 5)))]),
        ("next", DropReason::ChainIndex, vec![(5, writable(linked(SCRATCH, 10, RING_SIZE)))]),
        ("table", DropReason::ChainIndirect, vec![(0, table(TABLES, 17))]),
    ];
    let untouched = [0x5a; 2000];
    scene.liar.write(SCRATCH, &untouched);
    for (what, reason, chain) in cases {
        scene.refuses_receive(what, reason, &chain);
    }
    let mut bytes = [0; 2000];
    scene.liar.window(SCRATCH, 2000).read(0, &mut bytes);
    assert_eq!(bytes, untouched);
    // An honest buffer is filled.
    scene.liar.write_descriptors(Side::Receive, &[(0, place)]);
    scene.liar.offer(Side::Receive, 0);
    scene.tempt();
    wait_until("the frame is there", || {
        scene.liar.window(SCRATCH, 2000).read(0, &mut bytes);
        bytes[12..18] == mac(2)
    });
    scene.end();
}

#[test]
fn c013_addresses_at_the_edges_of_memory() {
    let mut scene = with_frame();
    let frame = scene.liar.frame();
    for addr in [END - u64::from(HONEST), SEAM - 1, SEAM - 100, SEAM, APART] {
        scene.liar.write(addr, &frame);
        scene.delivers(&format!("at {addr:#x}"), &[(0, last(addr, HONEST))]);
    }
    let beyond = [END - u64::from(HONEST) + 1, END, APART - 1, APART + APART_BYTES - 1];
    for addr in beyond.into_iter().chain([1 << 40, u64::MAX, u64::MAX - u64::from(HONEST) + 1]) {
        let what = format!("at {addr:#x}");
        scene.refuses(&what, DropReason::ChainAddress, &[(0, last(addr, HONEST))]);
    }
    let chain = [(0, linked(SCRATCH, HONEST, 1)), (1, last(END, 0))];
    scene.refuses("no bytes at no place", DropReason::ChainAddress, &chain);
    scene.end();
}

#[test]
fn r6_c014_an_avail_index_that_jumps_costs_the_liar_its_port() {
    for jump in [RING_SIZE + 1, 0x7fff, 0x8000, 0xffff] {
        for side in [Side::Transmit, Side::Receive] {
            let mut scene = receiving();
            scene.assert_liar_is_heard();
            let area = scene.liar.area(side);
            area.set_avail_idx(area.avail_idx().wrapping_add(jump));
            scene.liar.guest.driver().kick_all();
            if side == Side::Receive {
                scene.tempt();
            }
            scene.is_faulted(PortFault::AvailIndex);
            scene.liar_behaves_again();
            scene.end();
        }
    }
}

#[test]
fn c014_an_avail_index_that_changes_all_the_time_harms_nobody() {
    let mut scene = Hostile::new();
    let frame = scene.liar.nameless_frame();
    scene.liar.write(SCRATCH, &frame);
    let area = scene.liar.area(Side::Transmit);
    area.write_descriptor(0, last(SCRATCH, HONEST));
    let racing = area.clone();
    let racer = Racer::start(move |turn| {
        // Within the ring, and now and then far outside.
        let jump =
            if turn % 100_000 == 99_999 { 0x4000 } else { u16::try_from(turn % 64).unwrap() };
        racing.set_avail_idx(racing.used_idx().wrapping_add(jump));
    });
    scene.liar.guest.driver().kick_all();
    scene.pair.wait_frames(20_000);
    assert!(racer.stop() > 0);
    scene.liar_behaves_again();
    scene.end();
}

#[test]
fn c015_descriptors_and_heads_that_change_all_the_time_harm_nobody() {
    let mut scene = Hostile::new();
    let frame = scene.liar.nameless_frame();
    scene.liar.write(SCRATCH, &frame);
    let area = scene.liar.area(Side::Transmit);
    let variants = vec![
        last(SCRATCH, HONEST),
        last(END - 1, HONEST),
        linked(SCRATCH, 100, 0),
        linked(SCRATCH, 100, 0xffff),
        table(TABLES, 16),
        table(TABLES, 0),
        writable(last(SCRATCH, HONEST)),
        last(u64::MAX, u32::MAX),
    ];
    scene.liar.write_table(&[last(SCRATCH, HONEST)]);
    let racer = Racer::flip_descriptor(area.clone(), 0, variants);
    let before = scene.switch.port("liar");
    let returned = scene.liar.ring(Side::Transmit).raw_returned();
    // The scheduler decides when the racer runs: it gets the time that it needs.
    let end = Instant::now() + PATIENCE;
    let both_happened = |scene: &Hostile| {
        let now = scene.switch.port("liar");
        now.ingress_frames > before.ingress_frames && now.drops_total() > before.drops_total()
    };
    let mut rounds = 0;
    while rounds < 200 || (!both_happened(&scene) && Instant::now() < end) {
        rounds += 1;
        for _ in 0..64 {
            scene.liar.ring(Side::Transmit).offer_raw(0);
        }
        scene.liar.guest.kick();
        let expected = scene.liar.ring(Side::Transmit).raw_returned() + 64;
        wait_until("all come back", || {
            scene.liar.guest.reclaim();
            scene.liar.ring(Side::Transmit).raw_returned() == expected
        });
    }
    assert!(racer.stop() > 0);
    let after = scene.switch.port("liar");
    let taken = after.ingress_frames - before.ingress_frames;
    let dropped = after.drops_total() - before.drops_total();
    assert_eq!(taken + dropped, rounds * 64, "{:?}", after.drops);
    assert_eq!(scene.liar.ring(Side::Transmit).raw_returned(), returned + rounds * 64);
    assert!(taken > 0 && dropped > 0, "nobody raced: {:?}", after.drops);
    scene.liar_behaves_again();
    scene.end();
}
