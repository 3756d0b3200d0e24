//! A frame in one buffer, which is read by a way of its own: it is the frame that it would be in several buffers.
#![cfg(test)]

mod support;

use helio_frame::{HEAD_BYTES, Origin};
use helio_offload::{Checksum, NetHeader, RawNetHeader};
use helio_types::{DropReason, MAX_FRAME_BYTES};
use helio_vring::feature;
use proptest::prelude::*;
use support::{DATA, DATA_END, LAST_PAGE, SEAM, Transmitter, pattern};

const V1: u64 = feature::VERSION_1;
/// CSUM, HOST_TSO4, HOST_TSO6 and HOST_ECN. VIRTIO 1.2, section 5.1.3.
const OFFLOADS: u64 = 1 | 1 << 11 | 1 << 12 | 1 << 13;
/// Where nobody has written.
const FILL: u8 = 0xee;

/// A frame as a worker sees it, or why there is none.
type Seen = Result<(Vec<u8>, NetHeader), DropReason>;

/// Offers `pieces` as one chain and takes it.
fn take(guest: &mut Transmitter, pieces: &[(u64, u32)]) -> Seen {
    let before = guest.refused;
    let head = guest.driver.chain(pieces, 0);
    guest.driver.offer(head);
    guest.burst.clear();
    let marked: Option<Result<(), ()>> = guest.burst.fill(|frame| {
        frame.head.room().fill(FILL);
        Err(())
    });
    assert_eq!(marked, Some(Err(())), "the mark stays in the place of the next frame");
    assert_eq!(guest.take(), Ok(1));
    let refused = DropReason::ALL
        .iter()
        .find(|reason| guest.refused[reason.index()] > before[reason.index()]);
    match (guest.burst.frames(), refused) {
        ([frame], None) => Ok((guest.content(frame), frame.net)),
        ([], Some(reason)) => Err(*reason),
        (frames, refused) => panic!("{frames:?}, {refused:?}"),
    }
}

/// What else there is to the frame in the burst: its head, its length, whether it is held, and the length of its rest.
fn others(guest: &Transmitter) -> Option<(Vec<u8>, u32, bool, u32)> {
    let frame = guest.burst.frames().first()?;
    let rest_bytes = frame.rest.iter().map(|piece| piece.bytes).sum();
    let is_held = matches!(frame.origin, Origin::Chain { .. });
    Some((frame.head.bytes().to_vec(), frame.bytes, is_held, rest_bytes))
}

/// Places `data` to end at `end`, takes it in one buffer and in two with each of these lengths of the first, and checks that
/// nothing can tell them apart. Returns what was seen.
fn compare(features: u64, end: u64, data: &[u8], cuts: impl Iterator<Item = usize>) -> Seen {
    let total = u32::try_from(data.len()).unwrap();
    let start = end - u64::from(total);
    let mut one = Transmitter::new(64, features);
    one.driver.write(start, data);
    let seen = take(&mut one, &[(start, total)]);
    let first = others(&one);
    assert_eq!(first.is_some(), seen.is_ok());
    assert_nothing_beyond_the_region_is_read(&mut one, start, total);
    assert_eq!(one.settle().len(), 1);
    for cut in cuts {
        let (cut, mut two) = (u32::try_from(cut).unwrap(), Transmitter::new(64, features));
        two.driver.write(start, data);
        let pieces = [(start, cut), (start + u64::from(cut), total - cut)];
        assert_eq!(take(&mut two, &pieces), seen, "{total} bytes, cut at {cut}");
        assert_eq!(others(&two), first, "{total} bytes, cut at {cut}");
        assert_eq!(two.settle().len(), 1);
    }
    seen
}

/// What is read in blocks may be read beyond the buffer, and never beyond its region.
fn assert_nothing_beyond_the_region_is_read(guest: &mut Transmitter, start: u64, total: u32) {
    let ends = [SEAM, DATA_END, LAST_PAGE + 0x1000];
    let end = ends.into_iter().find(|end| start < *end).unwrap();
    let Some(frame) = guest.burst.frames_mut().first_mut() else { return };
    let place = start + u64::from(total - frame.bytes);
    if start + u64::from(total) > end {
        // Other bytes of the frame lie in another region.
        return;
    }
    let inside = usize::try_from(end - place).unwrap().min(HEAD_BYTES);
    assert!(
        frame.head.room()[inside..].iter().all(|byte| *byte == FILL),
        "{total} bytes at {start:#x}"
    );
}

/// Offsets at which something may change: the net header, and the snapshot.
fn edges(total: usize) -> impl Iterator<Item = usize> {
    let edges = [1, 9, 10, 11, 12, 13, 26, 76, 138, 139, 140, 141];
    edges.into_iter().chain([total.saturating_sub(1)]).filter(move |cut| (1..total).contains(cut))
}

#[test]
fn a_frame_of_every_length_is_the_same_in_one_buffer_as_in_two() {
    for features in [0, V1, feature::MRG_RXBUF, V1 | OFFLOADS] {
        let header_bytes = if features == 0 { 10 } else { 12 };
        for total in 1..=header_bytes + 200 {
            let mut data = pattern(total);
            data.iter_mut().take(header_bytes).for_each(|byte| *byte = 0);
            let seen = compare(features, DATA + 0x1000, &data, edges(total));
            let expected = match total.checked_sub(header_bytes) {
                None => Err(DropReason::HeaderShort),
                Some(0..14) => Err(DropReason::Runt),
                Some(_) => Ok((data[header_bytes..].to_vec(), NetHeader::PLAIN)),
            };
            assert_eq!(seen, expected, "{total} bytes");
        }
    }
}

#[test]
fn c007_the_longest_frame_passes_in_one_buffer_as_in_two_and_one_byte_more_does_not() {
    for (features, header_bytes) in [(0, 10), (V1, 12), (V1 | OFFLOADS, 12)] {
        let longest = MAX_FRAME_BYTES as usize + header_bytes;
        for (total, fits) in [(longest - 1, true), (longest, true), (longest + 1, false)] {
            let mut data = pattern(total);
            data[..12].fill(0);
            let seen = compare(features, SEAM - 5, &data, edges(total));
            let expected = Ok((data[header_bytes..].to_vec(), NetHeader::PLAIN));
            assert!(seen == if fits { expected } else { Err(DropReason::Oversize) }, "{total}");
        }
    }
    let mut guest = Transmitter::new(16, V1);
    assert_eq!(take(&mut guest, &[(DATA, 0x40_0000)]), Err(DropReason::Oversize));
    assert_eq!(take(&mut guest, &[(DATA, 0)]), Err(DropReason::HeaderShort));
    assert_eq!(guest.settle(), [(0, 0), (1, 0)]);
}

#[test]
fn c013_near_the_end_of_a_region_blocks_are_read_up_to_the_end_and_no_further() {
    // The last region but one has a neighbour right behind it, the others have not.
    for end in [SEAM, DATA_END, LAST_PAGE + 0x1000] {
        for total in 12 + 14..=12 + 200 {
            let data = [vec![0; 12], pattern(total - 12)].concat();
            let seen = compare(V1, end, &data, [12, total - 1].into_iter());
            assert_eq!(seen, Ok((data[12..].to_vec(), NetHeader::PLAIN)));
        }
    }
    // As much behind the frame as blocks may be long, and less.
    for behind in 0..=130 {
        for bytes in [14, 60, 63, 64, 65, 100, 127, 128, 129] {
            let data = [vec![0; 12], pattern(bytes)].concat();
            let seen = compare(V1, DATA_END - behind, &data, [12].into_iter());
            assert_eq!(seen, Ok((data[12..].to_vec(), NetHeader::PLAIN)), "{behind} {bytes}");
        }
    }
}

#[test]
fn one_buffer_across_two_regions_holds_the_frame_that_one_in_one_region_holds() {
    for before in [1, 11, 12, 13, 70, 139, 140, 141, 300] {
        let data = [vec![0; 12], pattern(400)].concat();
        let seen = compare(V1, SEAM + data.len() as u64 - before, &data, edges(data.len()));
        assert_eq!(seen, Ok((data[12..].to_vec(), NetHeader::PLAIN)), "{before}");
    }
}

#[test]
fn what_lies_behind_a_short_frame_is_no_part_of_it() {
    let mut guest = Transmitter::new(16, V1);
    guest.driver.write(DATA, &[0xaa; 0x200]);
    guest.driver.write(DATA, &[0; 12]);
    for bytes in [14, 60, 64, 65, 127] {
        let (content, _) = take(&mut guest, &[(DATA, 12 + bytes)]).unwrap();
        assert_eq!(content, vec![0xaa; bytes as usize]);
        assert_eq!(guest.burst.frames()[0].head.bytes().len(), bytes as usize);
    }
}

#[test]
fn a_frame_that_fits_the_snapshot_is_completed_without_being_held_and_one_byte_more_is_held() {
    for pieces in [1, 2, 12] {
        for (bytes, is_held) in [(14, false), (127, false), (128, false), (129, true), (1514, true)]
        {
            let mut guest = Transmitter::new(64, V1);
            let total = 12 + bytes;
            let parts = support::cut(DATA, total, &[total.div_ceil(pieces)]);
            guest.send(&parts, 12, &pattern(bytes as usize));
            assert_eq!(guest.take(), Ok(1));
            let origin = guest.burst.frames()[0].origin;
            assert_eq!(matches!(origin, Origin::Chain { slot: 0, .. }), is_held, "{bytes}");
            assert_eq!(origin == Origin::Nothing, !is_held, "{bytes}");
            guest.queue.publish();
            assert_eq!(guest.driver.used().len(), usize::from(!is_held), "{bytes}");
            assert_eq!(guest.queue.in_flight(), u16::from(is_held));
            // The guest may use the buffer again: the frame is not in it any more.
            if !is_held {
                guest.driver.write(DATA, &[FILL; 200]);
                assert_eq!(guest.content(&guest.burst.frames()[0]), pattern(bytes as usize));
            }
            guest.release(origin);
            guest.queue.publish();
            assert_eq!(guest.driver.used().len(), usize::from(is_held), "{bytes}");
        }
    }
}

#[test]
fn held_and_complete_frames_come_back_in_the_order_taken() {
    let mut guest = Transmitter::new(16, V1);
    for bytes in [60, 1000, 60, 60] {
        guest.send(&[(DATA, 12 + bytes)], 12, &pattern(bytes as usize));
    }
    assert_eq!(guest.take(), Ok(4));
    guest.queue.publish();
    assert_eq!(guest.driver.used(), [(0, 0)]);
    assert_eq!(guest.settle(), [(1, 0), (2, 0), (3, 0)]);
}

#[test]
fn the_net_header_of_a_guest_without_offloads_is_not_believed() {
    let wishes = RawNetHeader {
        flags: 1,
        gso_type: 1,
        hdr_len: 54,
        gso_size: 1400,
        csum_start: 34,
        csum_offset: 16,
        num_buffers: 9,
    };
    for header in [wishes.to_bytes(), [0xff; 12]] {
        for bytes in [14, 60, 128, 129, 3000] {
            let data = [&header[..], &pattern(bytes)].concat();
            let seen = compare(V1, DATA + 0x1000, &data, edges(data.len()));
            assert_eq!(seen, Ok((pattern(bytes), NetHeader::PLAIN)), "{bytes}");
        }
    }
}

#[test]
fn the_net_header_of_a_guest_with_offloads_is_checked_wherever_it_lies() {
    let partial = |start, offset| {
        let checksum = Checksum::Partial { start, offset };
        NetHeader { checksum, gso: None }.to_raw().to_bytes()
    };
    let mut passed = 0;
    for bytes in 14..=200 {
        for header in [partial(34, 6), partial(100, 16), partial(120, 6), [0xff; 12]] {
            let data = [&header[..], &pattern(bytes)].concat();
            let seen = compare(V1 | OFFLOADS, DATA + 0x1000, &data, edges(data.len()));
            if let Ok((_, net)) = seen {
                assert!(matches!(net.checksum, Checksum::Partial { .. }));
                passed += 1;
            }
        }
    }
    assert!(passed > 100 && passed < 4 * 187, "{passed} of them passed");
}

/// Any net header, also one that makes sense.
fn any_header() -> impl Strategy<Value = [u8; 12]> {
    let word = || prop_oneof![4 => 0..200_u16, 1 => any::<u16>()];
    let makes_sense = (0..3_u8, prop_oneof![Just(0), Just(1), Just(4), Just(0x81), any::<u8>()]);
    let sensible = (makes_sense, word(), word(), word(), word()).prop_map(
        |((flags, gso_type), hdr_len, gso_size, csum_start, csum_offset)| {
            RawNetHeader {
                flags,
                gso_type,
                hdr_len,
                gso_size,
                csum_start,
                csum_offset,
                num_buffers: 0,
            }
            .to_bytes()
        },
    );
    prop_oneof![4 => sensible, 1 => any::<[u8; 12]>(), 1 => Just([0; 12])]
}

proptest! {
    #[test]
    fn any_frame_with_any_net_header_is_the_same_in_one_buffer_as_in_two(
        header in any_header(),
        bytes in prop_oneof![0..300_usize, 300..9000_usize],
        cut in any::<proptest::sample::Index>(),
        offloads in any::<bool>(),
        behind in prop_oneof![Just(0), 0..200_u64],
    ) {
        let features = if offloads { V1 | OFFLOADS } else { V1 };
        let data = [&header[..], &pattern(bytes)].concat();
        let cut = 1 + cut.index(data.len() - 1);
        let _ = compare(features, DATA_END - behind, &data, [cut].into_iter());
    }
}
