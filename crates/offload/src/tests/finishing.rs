//! Completing a partial checksum.

use etherparse::{PacketBuilder, UdpHeader};
use helio_types::DropReason;
use proptest::prelude::*;

use super::frames::{HEAD_BYTES, TcpFrame, kinds};
use crate::{finish, sum_words};

/// `frame` finished with its first `cut` bytes as the head.
fn finished(frame: &[u8], cut: usize, start: u16, offset: u16) -> Result<Vec<u8>, DropReason> {
    let (head, rest) = frame.split_at(cut.min(frame.len()));
    let mut whole = head.to_vec();
    finish(&mut whole, start, offset, &rest)?;
    whole.extend(rest);
    Ok(whole)
}

#[test]
fn c140_a_partial_tcp_checksum_becomes_what_another_library_computes() {
    for bytes in [0, 1, 2, 3, 60, 61, 1447, 1448, 8960] {
        for frame in kinds(bytes) {
            let partial = frame.clone().with_partial_checksum().write();
            let start = u16::try_from(frame.tcp_start()).unwrap();
            let expected = frame.with_complete_checksum().write();
            assert_eq!(finished(&partial, HEAD_BYTES, start, 16), Ok(expected));
        }
    }
}

#[test]
fn the_head_may_end_anywhere_behind_the_checksum() {
    let frame = TcpFrame::v6(301).with_tcp_options(12);
    let partial = frame.clone().with_partial_checksum().write();
    let start = u16::try_from(frame.tcp_start()).unwrap();
    let expected = frame.clone().with_complete_checksum().write();
    for cut in frame.tcp_start() + 18..=partial.len() {
        assert_eq!(finished(&partial, cut, start, 16).as_ref(), Ok(&expected), "cut at {cut}");
    }
}

#[test]
fn a_checksum_beyond_the_head_is_too_long_and_one_beyond_the_frame_is_wrong() {
    let frame = [0; 200];
    assert!(finished(&frame, 128, 100, 26).is_ok());
    assert_eq!(finished(&frame, 128, 100, 27), Err(DropReason::HeaderLong));
    assert_eq!(finished(&frame, 128, 100, 98), Err(DropReason::HeaderLong));
    assert_eq!(finished(&frame, 128, 100, 99), Err(DropReason::BadOffload));
    assert_eq!(finished(&frame, 128, 65_535, 65_535), Err(DropReason::BadOffload));
}

/// A UDP frame over IPv4 whose last two payload bytes are `last`, with a partial checksum.
fn udp_frame(last: [u8; 2]) -> (Vec<u8>, UdpHeader, Vec<u8>) {
    let payload = [&[0x17; 20][..], &last[..]].concat();
    let mut frame = Vec::new();
    PacketBuilder::ethernet2([2; 6], [4; 6])
        .ipv4([10, 0, 0, 1], [10, 0, 0, 2], 64)
        .udp(1000, 2000)
        .write(&mut frame, &payload)
        .unwrap();
    let pseudo = [&frame[26..34], &[0, 17], &frame[38..40]].concat();
    frame[40..42].copy_from_slice(&sum_words(&pseudo).to_be_bytes());
    let header = UdpHeader::without_ipv4_checksum(1000, 2000, payload.len()).unwrap();
    (frame, header, payload)
}

#[test]
fn c141_a_udp_checksum_of_zero_becomes_all_ones() {
    let mut zeros = 0;
    for last in 0..=u16::MAX {
        let (frame, header, payload) = udp_frame(last.to_be_bytes());
        let whole = finished(&frame, 64, 34, 6).unwrap();
        let checksum = u16::from_be_bytes([whole[40], whole[41]]);
        let expected =
            header.calc_checksum_ipv4_raw([10, 0, 0, 1], [10, 0, 0, 2], &payload).unwrap();
        assert_eq!(checksum, expected);
        assert_ne!(checksum, 0);
        zeros += u32::from(checksum == 0xffff);
    }
    assert!(zeros > 0, "no payload led to the case under test");
}

#[test]
fn c141_a_tcp_checksum_of_zero_stays_zero() {
    // Two words that add up to all ones: the field, and the word after it.
    let frame = [&[0; 14][..], &[0; 16], &[0xff, 0x00], &[0x00, 0xff]].concat();
    assert_eq!(finished(&frame, 34, 14, 16).unwrap()[30..32], [0, 0]);
}

#[test]
fn t43_padding_of_zeros_does_not_change_the_checksum() {
    let frame = TcpFrame::v4(3);
    let partial = frame.clone().with_partial_checksum().write();
    let complete = frame.with_complete_checksum().write();
    for padding in 0..=1446 {
        let pad = |bytes: &[u8]| [bytes, &vec![0; padding]].concat();
        assert_eq!(finished(&pad(&partial), 64, 34, 16), Ok(pad(&complete)), "{padding}");
    }
}

proptest! {
    #[test]
    fn t11_any_place_is_finished_as_the_specification_says_or_refused(
        frame in proptest::collection::vec(any::<u8>(), 0..300),
        cut in 0_usize..300,
        start in 0_u16..320,
        offset in 0_u16..320,
    ) {
        let cut = cut.min(frame.len());
        let place = usize::from(start) + usize::from(offset);
        match finished(&frame, cut, start, offset) {
            Ok(whole) => {
                prop_assert!(place + 2 <= cut);
                let mut expected = frame.clone();
                let sum = match !sum_words(&frame[usize::from(start)..]) {
                    0 if offset == 6 => 0xffff,
                    sum => sum,
                };
                expected[place..place + 2].copy_from_slice(&sum.to_be_bytes());
                prop_assert_eq!(whole, expected);
            }
            Err(DropReason::HeaderLong) => {
                prop_assert!(place + 2 > cut && place + 2 <= frame.len());
            }
            Err(reason) => {
                prop_assert_eq!(reason, DropReason::BadOffload);
                prop_assert!(place + 2 > frame.len());
            }
        }
    }
}
