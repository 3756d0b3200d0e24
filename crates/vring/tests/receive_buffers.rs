//! How a frame is laid into the buffers that a guest posted. VIRTIO 1.2, section 5.1.6.4.
#![cfg(test)]

mod support;

use helio_types::{DropReason, MAX_FRAME_BYTES};
use helio_vring::feature;
use support::{DATA, DATA_END, Descriptor, NEXT, Receiver, SEAM, WRITE, cut, pattern};

const PLAIN: u64 = feature::VERSION_1;
const MERGED: u64 = feature::VERSION_1 | feature::MRG_RXBUF;
const FRAMES: [usize; 9] = [14, 60, 128, 129, 1514, 4096, 9000, 65_535, 65_553];

/// Posts buffers of `bytes` bytes for one frame, delivers it, and checks every byte and every length.
fn arrives_in_buffers_of(bytes: u32, frame_bytes: usize) {
    let mut guest = Receiver::new(256, MERGED);
    let needed = u32::try_from(frame_bytes).unwrap() + 12;
    let chains = needed.div_ceil(bytes);
    guest.post_many(DATA, bytes, chains + 1);
    assert_eq!(guest.offer(&pattern(frame_bytes)), Ok(Ok(())));
    assert_eq!(guest.driver.used(), [], "nothing is visible before it is published");
    let expected: Vec<_> = (0..chains).map(|at| (at, bytes.min(needed - at * bytes))).collect();
    assert_eq!(guest.settle(), expected, "{frame_bytes} in {bytes}");
    let written = guest.driver.read(DATA, needed as usize + 1);
    assert_eq!(written[..10], [0; 10]);
    assert_eq!(u32::from(guest.num_buffers(DATA)), chains);
    assert_eq!(written[12..needed as usize], pattern(frame_bytes));
    assert_eq!(written[needed as usize], 0, "a byte behind the frame");
}

#[test]
fn c034_all_buffers_but_the_last_are_full_and_their_number_is_exact() {
    for bytes in [1526, 2048, 4096, 65_562, 65_565] {
        for frame in FRAMES {
            arrives_in_buffers_of(bytes, frame);
        }
    }
}

#[test]
fn c036_buffers_of_1_12_13_and_64_bytes_are_filled_one_after_the_other() {
    for (bytes, frames) in [
        (1, &[14, 60, 200][..]),
        (12, &[14, 60, 1514]),
        (13, &[14, 60, 1514]),
        (64, &[14, 1514, 9000]),
    ] {
        for frame in frames {
            arrives_in_buffers_of(bytes, *frame);
        }
    }
}

#[test]
fn c034_a_frame_that_fills_its_buffers_exactly_takes_no_further_one() {
    for frame in [52, 116, 180] {
        arrives_in_buffers_of(64, frame);
        arrives_in_buffers_of(64, frame + 1);
        arrives_in_buffers_of(64, frame - 1);
    }
}

#[test]
fn c034_without_mergeable_buffers_a_frame_lies_in_one_chain_and_says_so() {
    for frame in FRAMES {
        let mut guest = Receiver::new(16, PLAIN);
        let needed = u32::try_from(frame).unwrap() + 12;
        guest.post(&[(DATA, needed)]);
        guest.post(&[(SEAM, 4000)]);
        assert_eq!(guest.offer(&pattern(frame)), Ok(Ok(())));
        assert_eq!(guest.settle(), [(0, needed)]);
        assert_eq!(guest.num_buffers(DATA), 1);
        assert_eq!(guest.driver.read(DATA + 12, frame), pattern(frame));
    }
}

#[test]
fn c030_a_legacy_guest_gets_ten_bytes_before_its_frame() {
    let mut guest = Receiver::new(16, 0);
    assert_eq!(guest.header_bytes, 10);
    guest.driver.write(DATA, &[0xee; 100]);
    guest.post(&[(DATA, 70)]);
    assert_eq!(guest.offer(&pattern(60)), Ok(Ok(())));
    assert_eq!(guest.settle(), [(0, 70)]);
    let written = guest.driver.read(DATA, 71);
    assert_eq!(written[..10], [0; 10]);
    assert_eq!(written[10..70], pattern(60));
    assert_eq!(written[70], 0xee);
}

#[test]
fn t34_a_frame_larger_than_the_chain_is_dropped_and_the_next_one_that_fits_passes() {
    for features in [PLAIN, MERGED] {
        let mut guest = Receiver::new(16, features);
        guest.post(&[(DATA, 1526)]);
        let refused = match features {
            PLAIN => DropReason::RxBufferTooSmall,
            _ => DropReason::NoRxBuffer,
        };
        assert_eq!(guest.offer(&pattern(1515)), Ok(Err(refused)));
        assert_eq!(guest.settle(), []);
        assert_eq!(guest.driver.read(DATA, 1526), [0; 1526]);
        assert_eq!(guest.offer(&pattern(1514)), Ok(Ok(())));
        assert_eq!(guest.settle(), [(0, 1526)]);
    }
}

#[test]
fn c035_running_out_in_the_middle_uses_nothing_and_the_next_try_works() {
    let mut guest = Receiver::new(16, MERGED);
    guest.post_many(DATA, 1526, 5);
    for _ in 0..20 {
        assert_eq!(guest.offer(&pattern(9000)), Ok(Err(DropReason::NoRxBuffer)));
    }
    assert_eq!(guest.settle(), []);
    assert_eq!(guest.queue.next_avail(), 0);
    assert_eq!(guest.driver.read(DATA, 5 * 1526), [0; 5 * 1526]);
    guest.post_many(DATA + 5 * 1526, 1526, 1);
    assert_eq!(guest.offer(&pattern(9000)), Ok(Ok(())));
    assert_eq!(guest.settle().len(), 6);
    assert_eq!(guest.driver.read(DATA + 12, 9000), pattern(9000));
}

#[test]
fn c035_frames_of_one_turn_share_what_is_posted() {
    let mut guest = Receiver::new(16, MERGED);
    guest.post_many(DATA, 1526, 4);
    assert_eq!(guest.offer(&pattern(2000)), Ok(Ok(())));
    assert_eq!(guest.offer(&pattern(4000)), Ok(Err(DropReason::NoRxBuffer)));
    assert_eq!(guest.offer(&pattern(60)), Ok(Ok(())));
    assert_eq!(guest.offer(&pattern(1514)), Ok(Ok(())));
    assert_eq!(guest.offer(&pattern(14)), Ok(Err(DropReason::NoRxBuffer)));
    assert_eq!(guest.settle(), [(0, 1526), (1, 486), (2, 72), (3, 1526)]);
}

#[test]
fn c035_an_empty_ring_has_no_buffer() {
    let mut guest = Receiver::new(16, MERGED);
    assert_eq!(guest.offer(&pattern(60)), Ok(Err(DropReason::NoRxBuffer)));
    assert_eq!(guest.settle(), []);
}

#[test]
fn c034_a_frame_needs_at_most_256_chains() {
    let mut guest = Receiver::new(512, MERGED);
    guest.post_many(DATA, 4, 300);
    assert_eq!(guest.offer(&pattern(256 * 4 - 12 + 1)), Ok(Err(DropReason::RxBufferTooSmall)));
    assert_eq!(guest.settle(), []);
    assert_eq!(guest.offer(&pattern(256 * 4 - 12)), Ok(Ok(())));
    assert_eq!(guest.settle().len(), 256);
    assert_eq!(guest.num_buffers(DATA), 256);
}

#[test]
fn c036_a_chain_of_a_thousand_descriptors_takes_a_frame_and_more_pieces_than_we_note_do_not() {
    let mut guest = Receiver::new(2048, MERGED);
    let pieces = cut(DATA, 1024, &[1]);
    guest.post(&pieces);
    assert_eq!(guest.offer(&pattern(1012)), Ok(Ok(())));
    assert_eq!(guest.settle(), [(0, 1024)]);
    assert_eq!(guest.driver.read(DATA + 12, 1012), pattern(1012));
    for at in 0..3 {
        guest.post(&cut(DATA + 0x1000 * at, 600, &[1]));
    }
    assert_eq!(guest.offer(&pattern(1100)), Ok(Err(DropReason::RxBufferTooSmall)));
    assert_eq!(guest.settle(), [], "the chains are good, so they stay");
    assert_eq!(guest.offer(&pattern(600)), Ok(Ok(())));
    assert_eq!(guest.settle(), [(1024, 600), (1624, 12)]);
}

#[test]
fn c004_empty_descriptors_and_empty_chains_are_passed_over() {
    let mut guest = Receiver::new(16, MERGED);
    guest.post(&[(DATA, 0)]);
    guest.post(&[(DATA, 0), (DATA, 12), (DATA, 0), (DATA + 12, 40), (DATA, 0)]);
    guest.post(&[(DATA + 52, 2000)]);
    assert_eq!(guest.offer(&pattern(60)), Ok(Ok(())));
    assert_eq!(guest.settle(), [(0, 0), (1, 52), (6, 20)]);
    assert_eq!(guest.driver.read(DATA + 12, 60), pattern(60));
    assert_eq!(guest.num_buffers(DATA), 3);
}

#[test]
fn r3_c003_empty_chains_without_end_are_walked_in_bounded_steps_per_turn() {
    let mut guest = Receiver::new(2048, MERGED);
    let pieces = vec![(DATA, 0); 1000];
    let long = guest.driver.chain(&pieces, WRITE);
    for _ in 0..2000 {
        guest.driver.offer(long);
    }
    // Nine chains of a thousand are walked for the first frame, and none for the others of this turn.
    for _ in 0..100_000 {
        assert_eq!(guest.offer(&pattern(60)), Ok(Err(DropReason::RxBufferTooSmall)));
    }
    assert_eq!(guest.settle(), []);
}

#[test]
fn c003_what_is_walked_in_one_turn_is_forgotten_in_the_next() {
    let mut guest = Receiver::new(2048, PLAIN);
    for turn in 0..20 {
        let mut pieces = vec![(DATA, 0); 1000];
        pieces.push((DATA, 100));
        let head = guest.post(&pieces);
        assert_eq!(guest.offer(&pattern(60)), Ok(Ok(())), "turn {turn}");
        assert_eq!(guest.settle(), [(u32::from(head), 72)]);
    }
}

/// Offers a chain of the descriptors in `table`, checks that it comes back unwritten, and that the next frame passes.
fn bad_chain(head: u16, table: &[Descriptor], reason: DropReason) {
    let mut guest = Receiver::new(16, MERGED);
    for (at, descriptor) in (0..).zip(table) {
        guest.driver.put(at, *descriptor);
    }
    guest.driver.offer(head);
    assert_eq!(guest.offer(&pattern(600)), Ok(Err(reason)));
    assert_eq!(guest.settle(), [(u32::from(head), 0)]);
    assert_eq!(guest.driver.read(DATA, 0x1000), [0; 0x1000]);
    guest.driver.put(8, Descriptor::new(DATA, 0x1000, WRITE, 0));
    guest.driver.offer(8);
    assert_eq!(guest.offer(&pattern(600)), Ok(Ok(())));
    assert_eq!(guest.settle(), [(8, 612)]);
}

#[test]
fn c001_c002_c003_receive_chains_with_bad_indices_come_back_unwritten() {
    let more = WRITE | NEXT;
    bad_chain(16, &[], DropReason::ChainIndex);
    bad_chain(0xffff, &[], DropReason::ChainIndex);
    bad_chain(0, &[Descriptor::new(DATA, 2000, more, 16)], DropReason::ChainIndex);
    bad_chain(0, &[Descriptor::new(DATA, 2000, more, 0)], DropReason::ChainLoop);
    let cycle = [1, 0].map(|next| Descriptor::new(DATA, 1, more, next));
    bad_chain(0, &cycle, DropReason::ChainLoop);
}

#[test]
fn c006_a_receive_chain_longer_than_32_bits_can_say_comes_back_unwritten() {
    // A buffer may be larger than any frame.
    let mut guest = Receiver::new(2048, MERGED);
    guest.driver.put(0, Descriptor::new(DATA, 0x40_0000, WRITE, 0));
    guest.driver.offer(0);
    assert_eq!(guest.offer(&pattern(600)), Ok(Ok(())));
    // 1023 times 4 MiB stay below 4 GiB, and 1024 times do not.
    for (count, reason) in [(1023, None), (1024, Some(DropReason::Oversize))] {
        let mut guest = Receiver::new(2048, MERGED);
        assert_eq!(guest.driver.chain(&vec![(DATA, 0x40_0000); count], WRITE), 0);
        guest.driver.offer(0);
        assert_eq!(guest.offer(&pattern(600)), Ok(reason.map_or(Ok(()), Err)), "{count}");
        let written = if reason.is_some() { 0 } else { 612 };
        assert_eq!(guest.settle(), [(0, written)]);
    }
}

#[test]
fn c011_a_readable_descriptor_in_a_receive_chain_is_never_written() {
    bad_chain(0, &[Descriptor::new(DATA, 2000, 0, 0)], DropReason::ChainDirection);
    let late = [Descriptor::new(DATA, 2000, WRITE | NEXT, 1), Descriptor::new(DATA, 9, 0, 0)];
    bad_chain(0, &late, DropReason::ChainDirection);
}

#[test]
fn c013_a_receive_buffer_may_end_at_the_last_byte_of_memory_and_not_behind_it() {
    for addr in [DATA_END - 71, 0x50_0000, DATA - 1, u64::MAX - 70] {
        bad_chain(0, &[Descriptor::new(addr, 72, WRITE, 0)], DropReason::ChainAddress);
    }
    let mut guest = Receiver::new(16, MERGED);
    guest.post(&[(DATA_END - 72, 72)]);
    assert_eq!(guest.offer(&pattern(60)), Ok(Ok(())));
    assert_eq!(guest.driver.read(DATA_END - 60, 60), pattern(60));
}

#[test]
fn c013_a_receive_buffer_may_lie_across_two_adjacent_regions() {
    for before in [1, 6, 12, 13, 30, 200, 611] {
        let mut guest = Receiver::new(16, MERGED);
        guest.post(&[(SEAM - before, 612)]);
        assert_eq!(guest.offer(&pattern(600)), Ok(Ok(())));
        assert_eq!(guest.settle(), [(0, 612)]);
        assert_eq!(guest.driver.read(SEAM - before + 12, 600), pattern(600));
    }
}

#[test]
fn c035_a_bad_chain_behind_good_ones_gives_them_back_with_it_and_later_ones_stay() {
    let mut guest = Receiver::new(16, MERGED);
    guest.post_many(DATA, 100, 2);
    guest.driver.put(9, Descriptor::new(DATA, 100, 0, 0));
    guest.driver.offer(9);
    guest.post_many(DATA + 1000, 700, 1);
    assert_eq!(guest.offer(&pattern(600)), Ok(Err(DropReason::ChainDirection)));
    assert_eq!(guest.offer(&pattern(600)), Ok(Ok(())));
    assert_eq!(guest.settle(), [(0, 0), (1, 0), (9, 0), (2, 612)]);
}

#[test]
fn t41_ten_thousand_bad_receive_chains_all_come_back_and_then_a_frame_passes() {
    let mut guest = Receiver::new(256, MERGED);
    guest.driver.put(0, Descriptor::new(DATA, 2000, 0, 0));
    guest.driver.put(1, Descriptor::new(0x50_0000, 2000, WRITE, 0));
    guest.driver.put(2, Descriptor::new(DATA, 20, WRITE | NEXT, 2));
    let heads = [0, 1, 2, 999];
    for chain in 0..10_000 {
        let head = heads[chain % heads.len()];
        guest.driver.offer(head);
        assert!(matches!(guest.offer(&pattern(60)), Ok(Err(_))));
        assert_eq!(guest.settle(), [(u32::from(head), 0)]);
    }
    guest.driver.put(3, Descriptor::new(DATA, 2000, WRITE, 0));
    guest.driver.offer(3);
    assert_eq!(guest.offer(&pattern(60)), Ok(Ok(())));
    assert_eq!(guest.settle(), [(3, 72)]);
}

#[test]
fn c037_jumbo_frames_and_64_kib_arrive_with_and_without_mergeable_buffers() {
    let longest = MAX_FRAME_BYTES as usize;
    for frame in [68, 9000, 9018, 65_535, longest] {
        let needed = u32::try_from(frame).unwrap() + 12;
        let mut merged = Receiver::new(256, MERGED);
        merged.post_many(DATA, 1536, 60);
        assert_eq!(merged.offer(&pattern(frame)), Ok(Ok(())));
        assert_eq!(merged.settle().iter().map(|used| used.1).sum::<u32>(), needed);
        assert_eq!(merged.driver.read(DATA + 12, frame), pattern(frame));
        let mut plain = Receiver::new(256, PLAIN);
        let pieces = cut(DATA, needed.max(4096), &[4096]);
        plain.post(&pieces);
        assert_eq!(plain.offer(&pattern(frame)), Ok(Ok(())));
        assert_eq!(plain.settle(), [(0, needed)]);
        assert_eq!(plain.driver.gather(&pieces)[12..needed as usize], pattern(frame));
    }
}

#[test]
fn c016_a_guest_may_aim_a_receive_buffer_at_its_own_ring_and_harms_itself_only() {
    for addr in [support::DESCRIPTORS, support::AVAIL, support::USED] {
        let mut guest = Receiver::new(16, MERGED);
        guest.post(&[(addr, 0x100)]);
        guest.post(&[(addr + 2, 0x100)]);
        // A header and a frame over the ring: the queue goes on with what it reads then, or stops with a fault.
        for _ in 0..4 {
            let _ = guest.offer(&pattern(200));
            guest.queue.publish();
        }
        assert!(guest.queue.next_avail() <= 16);
    }
}
