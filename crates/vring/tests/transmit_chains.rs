//! What a transmitq takes for a frame, and how it gives back the rest.
#![cfg(test)]

mod support;

use helio_frame::{BURST_BYTES, BURST_FRAMES, MAX_SEGMENTS, Origin};
use helio_types::{DropReason, MAX_FRAME_BYTES};
use helio_vring::{MAX_CHAIN_DESCRIPTORS, TakeSteps, feature};
use support::{
    DATA, DATA_END, Descriptor, LAST_PAGE, NEXT, SEAM, Transmitter, WRITE, cut, pattern, scattered,
    sender,
};

const V1: u64 = feature::VERSION_1;

/// A transmitq with a good frame of 60 bytes at `DATA`, not offered.
fn ready(size: u16) -> Transmitter {
    let guest = Transmitter::new(size, V1);
    guest.driver.write(DATA, &[&[0; 12][..], &pattern(60)].concat());
    guest
}

/// Offers the chain that begins with the descriptors in `table`, checks that it is refused for `reason` and comes back,
/// and that a good frame passes afterwards.
fn refused(size: u16, head: u16, table: &[Descriptor], reason: DropReason) {
    let mut guest = ready(size);
    for (at, descriptor) in (0..).zip(table) {
        guest.driver.put(at, *descriptor);
    }
    guest.driver.offer(head);
    assert_eq!(guest.take_refused(), reason);
    assert_eq!(guest.settle(), [(u32::from(head), 0)]);
    guest.driver.put(0, Descriptor::new(DATA, 72, 0, 0));
    guest.driver.offer(0);
    assert_eq!(guest.take_one(), pattern(60));
    assert_eq!(guest.settle(), [(0, 0)]);
    assert_eq!(guest.pool.in_use(), 0);
}

/// Sends `frame` over `pieces` and checks that it is taken byte by byte and completed.
fn passes(guest: &mut Transmitter, pieces: &[(u64, u32)], frame: &[u8]) {
    let head = guest.send(pieces, 12, frame);
    assert_eq!(guest.take_one(), frame, "{} pieces", pieces.len());
    assert_eq!(guest.settle(), [(u32::from(head), 0)]);
    assert_eq!(guest.pool.in_use(), 0);
}

#[test]
fn c001_a_head_below_the_size_is_taken_and_one_at_or_above_it_is_refused() {
    let mut guest = ready(16);
    guest.driver.put(15, Descriptor::new(DATA, 72, 0, 0));
    guest.driver.offer(15);
    assert_eq!(guest.take_one(), pattern(60));
    for head in [16, 17, 0x8000, 0xffff] {
        refused(16, head, &[], DropReason::ChainIndex);
    }
}

#[test]
fn c002_a_next_field_below_the_size_is_followed_and_one_at_or_above_it_is_refused() {
    let mut guest = ready(16);
    guest.driver.put(0, Descriptor::new(DATA, 12, NEXT, 15));
    guest.driver.put(15, Descriptor::new(DATA + 12, 60, 0, 0xffff));
    guest.driver.offer(0);
    assert_eq!(guest.take_one(), pattern(60));
    for next in [16, 0xffff] {
        refused(16, 0, &[Descriptor::new(DATA, 72, NEXT, next)], DropReason::ChainIndex);
    }
}

#[test]
fn c003_a_chain_that_returns_to_its_head_is_refused_and_completed() {
    refused(16, 0, &[Descriptor::new(DATA, 1, NEXT, 0)], DropReason::ChainLoop);
    refused(16, 0, &[Descriptor::new(DATA, 0, NEXT, 0)], DropReason::ChainLoop);
    let two = [Descriptor::new(DATA, 1, NEXT, 1), Descriptor::new(DATA, 1, NEXT, 0)];
    refused(16, 0, &two, DropReason::ChainLoop);
    let late = [0, 1, 2, 1].map(|next| Descriptor::new(DATA, 1, NEXT, next + 1));
    refused(16, 0, &late, DropReason::ChainLoop);
}

#[test]
fn c003_a_long_ring_of_loops_is_walked_in_bounded_steps_per_turn() {
    let mut guest = ready(4096);
    guest.driver.put(0, Descriptor::new(DATA, 0, NEXT, 0));
    for _ in 0..4096 {
        guest.driver.offer(0);
    }
    let mut turns = 0;
    while guest.queue.next_avail() != 4096 {
        assert!(guest.take().unwrap() <= 2);
        turns += 1;
    }
    assert!(turns >= 2048);
    assert_eq!(guest.settle().len(), 4096);
}

#[test]
fn c003_bad_heads_are_bounded_per_turn_although_they_fill_no_burst() {
    let mut guest = ready(32_768);
    for _ in 0..32_768_u32 {
        guest.driver.offer(0xffff);
    }
    assert_eq!(guest.take(), Ok(2 * MAX_CHAIN_DESCRIPTORS));
    guest.queue.publish();
    assert_eq!(guest.driver.used_index(), 2 * MAX_CHAIN_DESCRIPTORS);
}

#[test]
fn c004_empty_descriptors_count_for_nothing_wherever_they_stand() {
    let mut guest = ready(16);
    let frame = pattern(60);
    for at in [0, 1, 2] {
        let mut pieces = vec![(DATA, 12), (DATA + 12, 60)];
        pieces.insert(at, (DATA + 100, 0));
        passes(&mut guest, &pieces, &frame);
    }
    let empty = [NEXT, NEXT, 0].map(|more| Descriptor::new(DATA, 0, more, 1));
    refused(16, 2, &empty, DropReason::HeaderShort);
}

#[test]
fn t07_an_empty_descriptor_still_needs_an_address_in_memory() {
    for addr in [0x50_0000, DATA_END, DATA - 1, u64::MAX] {
        let table = [Descriptor::new(addr, 0, NEXT, 1), Descriptor::new(DATA, 72, 0, 0)];
        refused(16, 0, &table, DropReason::ChainAddress);
    }
}

#[test]
fn c005_a_chain_as_long_as_the_ring_is_taken() {
    for size in [1_u16, 2, 16, 256, 1024] {
        let mut guest = ready(size);
        let bytes = u32::from(size).max(72);
        let pieces = cut(DATA, bytes, &[bytes / u32::from(size), bytes % u32::from(size) + 1]);
        let mut pieces: Vec<_> = pieces.into_iter().take(usize::from(size)).collect();
        let sum: u32 = pieces[..pieces.len() - 1].iter().map(|piece| piece.1).sum();
        pieces.last_mut().unwrap().1 = 200 + bytes - sum;
        pieces.resize(usize::from(size), (DATA, 0));
        let frame = pattern((pieces.iter().map(|piece| piece.1).sum::<u32>() - 12) as usize);
        passes(&mut guest, &pieces, &frame);
    }
}

#[test]
fn c005_a_chain_one_longer_than_the_ring_or_than_the_limit_is_refused() {
    let mut guest = ready(2048);
    let pieces = |count: u16| cut(DATA, u32::from(count), &[1]);
    passes(&mut guest, &pieces(MAX_CHAIN_DESCRIPTORS), &pattern(1012));
    let head = guest.send(&pieces(MAX_CHAIN_DESCRIPTORS + 1), 12, &pattern(1013));
    assert_eq!(guest.take_refused(), DropReason::ChainLoop);
    assert_eq!(guest.settle(), [(u32::from(head), 0)]);
    // In a ring of 16, a chain of 17 must visit one descriptor twice.
    let table: Vec<_> = (0..16).map(|at| Descriptor::new(DATA, 8, NEXT, (at + 1) % 16)).collect();
    refused(16, 0, &table, DropReason::ChainLoop);
}

#[test]
fn c006_a_chain_longer_than_a_frame_or_than_32_bits_can_say_is_refused() {
    for len in [u32::MAX, u32::MAX - 71, 1 << 31, MAX_FRAME_BYTES + 12 - 71] {
        let table = [Descriptor::new(DATA, 72, NEXT, 1), Descriptor::new(DATA, len, 0, 0)];
        refused(16, 0, &table, DropReason::Oversize);
    }
}

#[test]
fn c011_a_writable_descriptor_in_a_transmit_chain_is_refused() {
    refused(16, 0, &[Descriptor::new(DATA, 72, WRITE, 0)], DropReason::ChainDirection);
    let late = [Descriptor::new(DATA, 72, NEXT, 1), Descriptor::new(DATA + 72, 10, WRITE, 0)];
    refused(16, 0, &late, DropReason::ChainDirection);
}

#[test]
fn c012_a_readable_descriptor_behind_a_writable_one_is_refused() {
    let table = [Descriptor::new(DATA, 12, WRITE | NEXT, 1), Descriptor::new(DATA + 12, 60, 0, 0)];
    refused(16, 0, &table, DropReason::ChainDirection);
}

#[test]
fn c013_a_buffer_may_end_at_the_last_byte_of_memory_and_not_behind_it() {
    let mut guest = ready(16);
    passes(&mut guest, &[(DATA_END - 72, 72)], &pattern(60));
    passes(&mut guest, &[(LAST_PAGE, 72)], &pattern(60));
    passes(&mut guest, &[(LAST_PAGE + 0x1000 - 72, 72)], &pattern(60));
    for addr in [DATA_END - 71, LAST_PAGE + 0x1000 - 71, 0x50_0000, DATA - 71, u64::MAX - 71] {
        refused(16, 0, &[Descriptor::new(addr, 72, 0, 0)], DropReason::ChainAddress);
    }
}

#[test]
fn r4_c013_a_buffer_across_two_adjacent_regions_is_taken_wherever_the_seam_falls() {
    let mut guest = ready(16);
    let frame = pattern(300);
    for before in [1, 11, 12, 13, 12 + 127, 12 + 128, 12 + 129, 311] {
        passes(&mut guest, &[(SEAM - before, 312)], &frame);
    }
}

#[test]
fn c031_the_net_header_may_lie_in_1_to_12_descriptors() {
    let mut guest = ready(32);
    let frame = pattern(200);
    for count in 1..=12_u32 {
        let mut pieces: Vec<_> = (0..count - 1).map(|at| (DATA + 64 * u64::from(at), 1)).collect();
        pieces.push((DATA + 0x1000, 13 - count));
        let mut joined = pieces.clone();
        joined.last_mut().unwrap().1 += 200;
        passes(&mut guest, &joined, &frame);
        pieces.push((DATA + 0x2000, 200));
        passes(&mut guest, &pieces, &frame);
    }
}

#[test]
fn a_frame_in_1_to_300_descriptors_is_taken_byte_by_byte() {
    let mut guest = ready(512);
    let frame = pattern(1514);
    for cuts in [
        &[1526][..],
        &[12, 1514],
        &[1, 11, 1514],
        &[12, 128, 1386],
        &[12, 127, 1387],
        &[12, 129, 1385],
        &[140, 1386],
        &[763],
        &[100],
        &[64],
        &[7],
        &[13, 1],
        &[5, 0x600],
        &[140, 64],
        &[140, 66, 73],
    ] {
        let pieces = cut(DATA, 1526, cuts);
        assert!(pieces.len() <= 300, "{}", pieces.len());
        passes(&mut guest, &pieces, &frame);
        passes(&mut guest, &scattered(DATA, 1526, cuts), &frame);
    }
    for count in 1..=300 {
        let piece = 1526_u32.div_ceil(count);
        passes(&mut guest, &cut(DATA, 1526, &[piece]), &frame);
        passes(&mut guest, &scattered(DATA, 1526, &[piece]), &frame);
    }
}

#[test]
fn a_rest_in_as_many_pieces_as_a_frame_can_name_stays_where_it_is_and_one_more_moves() {
    let mut guest = ready(64);
    for (pieces, private) in [(MAX_SEGMENTS, false), (MAX_SEGMENTS + 1, true), (50, true)] {
        let rest = u32::try_from(pieces).unwrap() * 10;
        let mut chain = vec![(DATA, 12 + 128)];
        chain.extend(scattered(DATA + 0x1000, rest, &[10]));
        let frame = pattern(128 + rest as usize);
        guest.send(&chain, 12, &frame);
        assert_eq!(guest.take_one(), frame);
        let origin = guest.burst.frames()[0].origin;
        assert_eq!(matches!(origin, Origin::Chunk(_)), private, "{pieces}");
        assert_eq!(guest.pool.in_use(), usize::from(private));
        guest.settle();
        assert_eq!(guest.pool.in_use(), 0);
    }
}

#[test]
fn pieces_that_lie_one_behind_the_other_are_noted_as_one() {
    let mut guest = ready(64);
    let second = DATA + 0x1000;
    for (rest, noted) in [
        (cut(DATA + 140, 600, &[10]), vec![600]),
        (cut(second, 600, &[200]), vec![600]),
        ([cut(DATA + 140, 300, &[100]), cut(second, 300, &[100])].concat(), vec![300, 300]),
        (vec![(second + 100, 100), (second, 100), (second + 100, 50)], vec![100, 150]),
        (vec![(second, 100), (second, 100)], vec![100, 100]),
        (vec![(second, 100), (second + 101, 100)], vec![100, 100]),
    ] {
        let chain = [vec![(DATA, 140)], rest].concat();
        let bytes: u32 = chain.iter().map(|piece| piece.1).sum();
        guest.driver.write(DATA, &pattern(0x2000));
        let expected = guest.driver.gather(&chain)[12..].to_vec();
        let head = guest.driver.chain(&chain, 0);
        guest.driver.offer(head);
        assert_eq!(guest.take_one(), expected);
        let frame = &guest.burst.frames()[0];
        assert_eq!(frame.rest.iter().map(|piece| piece.bytes).collect::<Vec<_>>(), noted);
        assert_eq!(frame.bytes, bytes - 12);
        guest.settle();
    }
}

#[test]
fn a_frame_that_moved_completes_its_chain_while_it_is_still_held() {
    let mut guest = ready(64);
    let head = guest.send(&scattered(DATA, 540, &[10]), 12, &pattern(528));
    assert_eq!(guest.take_one(), pattern(528));
    guest.queue.publish();
    assert_eq!(guest.driver.used(), [(u32::from(head), 0)]);
    assert_eq!(guest.pool.in_use(), 1);
    guest.driver.write(DATA, &[0xee; 600]);
    assert_eq!(guest.content(&guest.burst.frames()[0]), pattern(528));
}

#[test]
fn t19_a_dry_pool_drops_the_frames_that_must_move_and_no_others_and_all_chains_come_back() {
    let mut guest = ready(256);
    for at in 0..7 {
        let start = DATA + 0x1000 * at;
        let cuts = if at == 5 { 612 } else { 12 };
        guest.send(&scattered(start, 612, &[cuts]), 12, &pattern(600));
    }
    assert_eq!(guest.take(), Ok(7));
    assert_eq!(guest.burst.frames().len(), 5);
    assert_eq!(guest.refusals(), [(DropReason::NoPrivateBuffer, 2)]);
    assert_eq!(guest.pool.in_use(), 4);
    assert_eq!(guest.settle().len(), 7);
    assert_eq!(guest.pool.in_use(), 0);
}

#[test]
fn a_chain_that_breaks_a_rule_after_it_began_to_move_gives_its_private_buffer_back() {
    let mut guest = ready(64);
    let mut pieces = scattered(DATA, 400, &[10]);
    pieces.push((0x50_0000, 10));
    let head = guest.driver.chain(&pieces, 0);
    guest.driver.offer(head);
    assert_eq!(guest.take_refused(), DropReason::ChainAddress);
    assert_eq!(guest.pool.in_use(), 0);
}

#[test]
fn t10_a_chain_shorter_than_the_net_header_is_refused_and_one_with_less_than_an_ethernet_header_is_a_runt()
 {
    for total in [0_u32, 1, 11] {
        refused(16, 0, &[Descriptor::new(DATA, total, 0, 0)], DropReason::HeaderShort);
    }
    for total in [12_u32, 13, 25] {
        refused(16, 0, &[Descriptor::new(DATA, total, 0, 0)], DropReason::Runt);
    }
    let mut guest = ready(16);
    passes(&mut guest, &[(DATA, 26)], &pattern(14));
    passes(&mut guest, &[(DATA, 25), (DATA + 100, 1)], &pattern(14));
}

#[test]
fn c032_every_frame_from_14_to_59_bytes_is_taken_as_it_is() {
    let mut guest = ready(16);
    for bytes in 14..60_u32 {
        passes(&mut guest, &[(DATA, 12 + bytes)], &pattern(bytes as usize));
    }
}

#[test]
fn c030_a_legacy_guest_without_mergeable_buffers_puts_ten_bytes_before_its_frame() {
    for (features, header) in [(0, 10), (feature::MRG_RXBUF, 12), (V1, 12)] {
        let mut guest = Transmitter::new(16, features);
        guest.send(&[(DATA, 72)], header, &pattern(72 - header));
        assert_eq!(guest.take_one(), pattern(72 - header));
    }
}

#[test]
fn c033_the_longest_frame_is_taken_and_one_byte_more_is_refused_and_not_read() {
    let mut guest = ready(64);
    let longest = MAX_FRAME_BYTES + 12;
    passes(&mut guest, &[(DATA, longest)], &pattern(MAX_FRAME_BYTES as usize));
    passes(&mut guest, &cut(DATA, longest, &[4096]), &pattern(MAX_FRAME_BYTES as usize));
    passes(&mut guest, &cut(DATA, longest, &[1500]), &pattern(MAX_FRAME_BYTES as usize));
    refused(16, 0, &[Descriptor::new(DATA, longest + 1, 0, 0)], DropReason::Oversize);
    let split = [Descriptor::new(DATA, longest, NEXT, 1), Descriptor::new(DATA, 1, 0, 0)];
    refused(16, 0, &split, DropReason::Oversize);
}

#[test]
fn c039_reserved_descriptor_flags_and_header_flags_without_a_meaning_are_ignored() {
    let mut guest = ready(16);
    guest.driver.put(0, Descriptor::new(DATA, 72, 0xfff8, 3));
    guest.driver.offer(0);
    assert_eq!(guest.take_one(), pattern(60));
    guest.settle();
    guest.driver.write(DATA, &[0xfe]);
    guest.driver.offer(0);
    assert_eq!(guest.take_one(), pattern(60));
    assert_eq!(guest.burst.frames()[0].net, helio_offload::NetHeader::PLAIN);
}

#[test]
fn t41_ten_thousand_bad_chains_all_come_back_and_then_a_good_frame_passes() {
    let mut guest = ready(256);
    let bad = [
        Descriptor::new(0x50_0000, 72, 0, 0),
        Descriptor::new(DATA, 72, NEXT, 300),
        Descriptor::new(DATA, 72, WRITE, 0),
        Descriptor::new(DATA, 3, NEXT, 3),
        Descriptor::new(DATA, 5, 0, 0),
        Descriptor::new(DATA, u32::MAX, 0, 0),
        Descriptor::new(DATA, 16, support::INDIRECT, 0),
    ];
    for (at, descriptor) in (0..).zip(bad) {
        guest.driver.put(at, descriptor);
    }
    let heads = [0, 1, 2, 3, 4, 5, 6, 400];
    let mut back = Vec::new();
    for chain in 0..10_000 {
        guest.driver.offer(heads[chain % heads.len()]);
        assert_eq!(guest.take(), Ok(1));
        back.extend(guest.settle());
    }
    let given: Vec<_> =
        (0..10_000).map(|chain| (u32::from(heads[chain % heads.len()]), 0)).collect();
    assert_eq!(back, given);
    assert_eq!(guest.refused.iter().sum::<u32>(), 10_000);
    guest.driver.put(9, Descriptor::new(DATA, 72, 0, 0));
    guest.driver.offer(9);
    assert_eq!(guest.take_one(), pattern(60));
    assert_eq!(guest.settle(), [(9, 0)]);
}

#[test]
fn a_burst_ends_with_its_frames_or_with_its_bytes_and_the_rest_stays_in_the_ring() {
    let mut guest = ready(128);
    guest.driver.put(0, Descriptor::new(DATA, 72, 0, 0));
    guest.driver.put(1, Descriptor::new(DATA, BURST_BYTES / 2 + 12, 0, 0));
    for _ in 0..BURST_FRAMES + 1 {
        guest.driver.offer(0);
    }
    assert_eq!(guest.take(), Ok(64));
    guest.settle();
    assert_eq!(guest.take(), Ok(1));
    guest.settle();
    for _ in 0..3 {
        guest.driver.offer(1);
    }
    assert_eq!(guest.take(), Ok(2));
    assert_eq!(guest.settle().len(), 2);
}

#[test]
fn chains_are_completed_in_the_order_taken_however_they_are_given_back() {
    let mut guest = ready(16);
    for head in [4_u16, 2, 9, 7] {
        guest.driver.put(head, Descriptor::new(DATA, 12 + 129, 0, 0));
        guest.driver.offer(head);
    }
    guest.take().unwrap();
    let origins: Vec<_> = guest.burst.frames().iter().map(|frame| frame.origin).collect();
    let slot = |at: usize| match origins[at] {
        Origin::Chain { port, queue, slot } => {
            assert_eq!((port, queue), (sender().port, sender().queue));
            slot
        }
        other => panic!("the frame did not stay where it is: {other:?}"),
    };
    guest.queue.hold(slot(0));
    for at in [3, 1, 0] {
        guest.queue.release(slot(at));
        guest.queue.publish();
        assert_eq!(guest.driver.used(), []);
    }
    assert_eq!(guest.queue.in_flight(), 4);
    guest.queue.release(slot(0));
    guest.queue.publish();
    assert_eq!(guest.driver.used(), [(4, 0), (2, 0)]);
    guest.queue.release(slot(2));
    guest.queue.publish();
    assert_eq!(guest.driver.used(), [(9, 0), (7, 0)]);
    assert_eq!(guest.queue.in_flight(), 0);
}

#[test]
fn c024_chains_of_a_disabled_queue_are_completed_unread_and_in_bounded_steps() {
    let mut guest = ready(1024);
    for _ in 0..300 {
        guest.driver.offer(0xffff);
    }
    assert_eq!(guest.queue.discard(&mut TakeSteps::default()), Ok(256));
    assert_eq!(guest.queue.discard(&mut TakeSteps::default()), Ok(44));
    assert_eq!(guest.queue.discard(&mut TakeSteps::default()), Ok(0));
    guest.queue.publish();
    assert_eq!(guest.driver.used(), vec![(0xffff, 0); 300]);
}
