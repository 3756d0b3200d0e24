//! Chains that go on in a table of their own. VIRTIO 1.2, section 2.7.5.3.
#![cfg(test)]

mod support;

use helio_types::DropReason;
use helio_vring::{MAX_CHAIN_DESCRIPTORS, feature};
use support::{
    AVAIL, DATA, DATA_END, DESCRIPTORS, Descriptor, Driver, INDIRECT, NEXT, RINGS_END, Receiver,
    SEAM, TABLES, Transmitter, USED, WRITE, cut, pattern, scattered,
};

const FEATURES: u64 = feature::VERSION_1 | feature::INDIRECT_DESC;

fn guest(size: u16) -> Transmitter {
    let guest = Transmitter::new(size, FEATURES);
    guest.driver.write(DATA, &[&[0; 12][..], &pattern(600)].concat());
    guest
}

/// Offers descriptor 0, which names `bytes` bytes at `addr` as a table.
fn offer_table(guest: &mut Transmitter, addr: u64, bytes: u32) {
    guest.driver.put(0, Descriptor::new(addr, bytes, INDIRECT, 0));
    guest.driver.offer(0);
}

/// Checks that the one chain on offer is refused for `reason`, comes back, and that a good table passes afterwards.
fn refused(mut guest: Transmitter, reason: DropReason) {
    assert_eq!(guest.take_refused(), reason);
    assert_eq!(guest.settle().len(), 1);
    let good = TABLES + 0x2_0000;
    guest.driver.put_table(good, &[Descriptor::new(DATA, 72, 0, 0)]);
    offer_table(&mut guest, good, 16);
    assert_eq!(guest.take_one(), pattern(60));
    assert_eq!(guest.settle(), [(0, 0)]);
    assert_eq!(guest.pool.in_use(), 0);
}

#[test]
fn a_frame_in_1_to_300_descriptors_of_a_table_is_taken_byte_by_byte() {
    let mut guest = guest(16);
    let frame = pattern(588);
    for count in 1..=300_u32 {
        let pieces = scattered(DATA, 600, &[600_u32.div_ceil(count), 1]);
        guest.driver.scatter(&pieces, &[&[0; 12][..], &frame].concat());
        let head = guest.driver.indirect_chain(TABLES, &pieces, 0);
        guest.driver.offer(head);
        assert_eq!(guest.take_one(), frame, "{count}");
        assert_eq!(guest.settle(), [(u32::from(head), 0)]);
        assert_eq!(guest.pool.in_use(), 0);
    }
}

#[test]
fn c007_a_table_without_whole_descriptors_is_refused() {
    for bytes in [0, 1, 15, 17, 31, u32::MAX] {
        let mut guest = guest(16);
        guest.driver.put_table(TABLES, &[Descriptor::new(DATA, 72, 0, 0)]);
        offer_table(&mut guest, TABLES, bytes);
        refused(guest, DropReason::ChainIndirect);
    }
}

#[test]
fn c007_a_table_with_as_many_descriptors_as_next_can_name_is_followed_and_a_longer_one_is_refused()
{
    let mut longest = guest(16);
    longest.driver.put_table(TABLES, &[Descriptor::new(DATA, 72, 0, 0)]);
    offer_table(&mut longest, TABLES, 16 * 0xffff);
    assert_eq!(longest.take_one(), pattern(60));
    for entries in [0x1_0000, 0x1_0001, 0xfff_ffff] {
        let mut guest = guest(16);
        guest.driver.put_table(TABLES, &[Descriptor::new(DATA, 72, 0, 0)]);
        offer_table(&mut guest, TABLES, 16 * entries);
        refused(guest, DropReason::ChainIndirect);
    }
}

#[test]
fn c007_a_table_across_two_regions_is_followed_wherever_the_seam_falls() {
    let mut guest = guest(16);
    for before in 1..=48 {
        let pieces = [(DATA, 12), (DATA + 12, 50), (DATA + 62, 10)];
        guest.driver.put_table(SEAM - before, &Driver::linked(&pieces, 0, 0, 3));
        offer_table(&mut guest, SEAM - before, 48);
        assert_eq!(guest.take_one(), pattern(60), "{before}");
        assert_eq!(guest.settle(), [(0, 0)]);
    }
}

#[test]
fn c007_a_table_may_end_at_the_last_byte_of_memory_and_not_behind_it() {
    let mut last = guest(16);
    last.driver.put_table(DATA_END - 16, &[Descriptor::new(DATA, 72, 0, 0)]);
    offer_table(&mut last, DATA_END - 16, 16);
    assert_eq!(last.take_one(), pattern(60));
    for addr in [DATA_END - 15, DATA_END - 1, DATA_END, RINGS_END, u64::MAX, u64::MAX - 15] {
        let mut guest = guest(16);
        offer_table(&mut guest, addr, 16);
        refused(guest, DropReason::ChainAddress);
    }
}

#[test]
fn c007_only_the_descriptors_that_are_visited_need_to_lie_in_memory() {
    let mut guest = guest(16);
    guest.driver.put_table(DATA_END - 16, &[Descriptor::new(DATA, 72, NEXT, 1)]);
    offer_table(&mut guest, DATA_END - 16, 32);
    refused(guest, DropReason::ChainAddress);
}

#[test]
fn c007_a_table_that_overlaps_the_ring_is_followed_like_any_other() {
    let mut guest = guest(16);
    // Descriptor 1 of the ring is at the same time descriptor 0 of the table.
    guest.driver.put(1, Descriptor::new(DATA, 72, 0, 0));
    offer_table(&mut guest, DESCRIPTORS + 16, 16);
    assert_eq!(guest.take_one(), pattern(60));
    assert_eq!(guest.settle(), [(0, 0)]);
    // A descriptor that names itself as a table is a table in a table.
    offer_table(&mut guest, DESCRIPTORS, 16);
    refused(guest, DropReason::ChainIndirect);
}

#[test]
fn c007_a_table_on_top_of_the_avail_or_used_ring_ends_in_some_verdict_and_the_chain_comes_back() {
    for addr in [AVAIL, AVAIL + 2, USED, USED + 4, USED - 8] {
        let mut guest = guest(16);
        offer_table(&mut guest, addr, 64);
        assert_eq!(guest.take(), Ok(1));
        assert_eq!(guest.settle(), [(0, 0)]);
    }
}

#[test]
fn c008_a_table_in_a_table_is_refused() {
    let inner = Descriptor::new(TABLES + 64, 16, INDIRECT, 0);
    for at in [0, 1, 2] {
        let mut guest = guest(16);
        let mut table = Driver::linked(&[(DATA, 24); 3], 0, 0, 3);
        table[at] = inner;
        guest.driver.put_table(TABLES, &table);
        guest.driver.put_table(TABLES + 64, &[Descriptor::new(DATA, 72, 0, 0)]);
        offer_table(&mut guest, TABLES, 48);
        refused(guest, DropReason::ChainIndirect);
    }
}

#[test]
fn c008_a_descriptor_with_both_a_table_and_a_next_is_refused() {
    let mut guest = guest(16);
    guest.driver.put_table(TABLES, &[Descriptor::new(DATA, 72, 0, 0)]);
    guest.driver.put(0, Descriptor::new(TABLES, 16, INDIRECT | NEXT, 1));
    guest.driver.put(1, Descriptor::new(DATA, 72, 0, 0));
    guest.driver.offer(0);
    refused(guest, DropReason::ChainIndirect);
}

#[test]
fn c008_a_table_is_refused_when_it_was_not_negotiated() {
    let mut guest = Transmitter::new(16, feature::VERSION_1);
    guest.driver.put_table(TABLES, &[Descriptor::new(DATA, 72, 0, 0)]);
    offer_table(&mut guest, TABLES, 16);
    assert_eq!(guest.take_refused(), DropReason::ChainIndirect);
    assert_eq!(guest.settle(), [(0, 0)]);
}

#[test]
fn c009_a_chain_may_begin_in_the_ring_and_end_in_a_table() {
    let mut guest = guest(16);
    for direct in 0..=12_u16 {
        for at in 0..direct {
            let addr = DATA + u64::from(at);
            guest.driver.put(at, Descriptor::new(addr, 1, NEXT, at + 1));
        }
        guest.driver.put(direct, Descriptor::new(TABLES, 32, INDIRECT, 0));
        let start = DATA + u64::from(direct);
        let pieces = [(start, 40), (start + 40, 32 - u32::from(direct))];
        guest.driver.put_table(TABLES, &Driver::linked(&pieces, 0, 0, 2));
        guest.driver.offer(0);
        assert_eq!(guest.take_one(), pattern(60), "{direct}");
        assert_eq!(guest.settle(), [(0, 0)]);
    }
}

#[test]
fn c010_the_write_flag_of_the_descriptor_that_names_a_table_means_nothing() {
    let mut guest = guest(16);
    guest.driver.put_table(TABLES, &[Descriptor::new(DATA, 72, 0, 0)]);
    guest.driver.put(0, Descriptor::new(TABLES, 16, INDIRECT | WRITE, 0));
    guest.driver.offer(0);
    assert_eq!(guest.take_one(), pattern(60));

    let mut receiver = Receiver::new(16, FEATURES);
    receiver.driver.put_table(TABLES, &[Descriptor::new(DATA, 1526, WRITE, 0)]);
    receiver.driver.put(0, Descriptor::new(TABLES, 16, INDIRECT, 0));
    receiver.driver.offer(0);
    assert_eq!(receiver.offer(&pattern(60)), Ok(Ok(())));
    assert_eq!(receiver.settle(), [(0, 72)]);
}

#[test]
fn c011_a_writable_descriptor_in_the_table_of_a_transmit_chain_is_refused() {
    let mut guest = guest(16);
    guest.driver.put_table(TABLES, &[Descriptor::new(DATA, 72, WRITE, 0)]);
    offer_table(&mut guest, TABLES, 16);
    refused(guest, DropReason::ChainDirection);
}

#[test]
fn c002_a_next_field_that_leaves_the_table_is_refused() {
    for next in [2, 3, 16, 0xffff] {
        let mut guest = guest(16);
        let table = [Descriptor::new(DATA, 72, NEXT, next), Descriptor::default()];
        guest.driver.put_table(TABLES, &table);
        offer_table(&mut guest, TABLES, 32);
        refused(guest, DropReason::ChainIndex);
    }
}

#[test]
fn c003_a_loop_in_a_table_is_refused() {
    for length in [1_u16, 2, 7] {
        let mut guest = guest(16);
        let table: Vec<_> =
            (0..length).map(|at| Descriptor::new(DATA, 1, NEXT, (at + 1) % length)).collect();
        guest.driver.put_table(TABLES, &table);
        offer_table(&mut guest, TABLES, 16 * u32::from(length));
        refused(guest, DropReason::ChainLoop);
    }
}

#[test]
fn a_table_may_be_longer_than_the_ring_as_linux_makes_it_for_small_rings() {
    for size in [1_u16, 2, 16] {
        let mut guest = guest(size);
        let head = guest.driver.indirect_chain(TABLES, &cut(DATA, 72, &[4]), 0);
        guest.driver.offer(head);
        assert_eq!(guest.take_one(), pattern(60), "{size}");
    }
}

#[test]
fn c005_a_table_chain_as_long_as_the_limit_is_taken_and_one_more_is_refused() {
    for (direct, indirect, fits) in
        [(0, 1024, true), (0, 1025, false), (10, 1014, true), (10, 1015, false)]
    {
        let mut guest = guest(16);
        let total = direct + indirect;
        let pieces = cut(DATA, total, &[1]);
        guest.driver.scatter(&pieces, &[&[0; 12][..], &pattern(total as usize - 12)].concat());
        for (at, &(addr, len)) in (0..).zip(&pieces[..direct as usize]) {
            guest.driver.put(at, Descriptor::new(addr, len, NEXT, at + 1));
        }
        let table = &pieces[direct as usize..];
        let place = u16::try_from(direct).unwrap();
        guest.driver.put(place, Descriptor::new(TABLES, 16 * indirect, INDIRECT, 0));
        let count = u16::try_from(indirect).unwrap();
        guest.driver.put_table(TABLES, &Driver::linked(table, 0, 0, count));
        guest.driver.offer(0);
        assert_eq!(fits, total <= u32::from(MAX_CHAIN_DESCRIPTORS));
        if fits {
            assert_eq!(guest.take_one(), pattern(total as usize - 12));
        } else {
            refused(guest, DropReason::ChainLoop);
        }
    }
}

#[test]
fn c036_a_receive_chain_may_lie_in_a_table_of_many_small_descriptors() {
    let mut receiver = Receiver::new(16, FEATURES | feature::MRG_RXBUF);
    let pieces = cut(DATA, 1000, &[1, 3, 7]);
    let head = receiver.driver.indirect_chain(TABLES, &pieces, WRITE);
    receiver.driver.offer(head);
    assert_eq!(receiver.offer(&pattern(900)), Ok(Ok(())));
    assert_eq!(receiver.settle(), [(u32::from(head), 912)]);
    let written = receiver.driver.gather(&pieces);
    assert_eq!(written[12..912], pattern(900));
    assert_eq!(written[912..], [0; 88]);
}
