//! The net header in memory and as facts.

use helio_types::DropReason;
use proptest::prelude::*;

use crate::{Checksum, Ecn, Gso, GsoKind, NetHeader, RawNetHeader};

const WHOLE: NetHeader = NetHeader {
    checksum: Checksum::Partial { start: 34, offset: 16 },
    gso: Some(Gso {
        kind: GsoKind::Tcp6,
        ecn: Ecn::Present,
        segment_bytes: 0x05a8,
        header_bytes: 54,
    }),
};

proptest! {
    #[test]
    fn a_header_of_twelve_bytes_is_read_and_written_without_change(bytes: [u8; 12]) {
        prop_assert_eq!(RawNetHeader::from_bytes(&bytes).unwrap().to_bytes(), bytes);
    }
}

#[test]
fn fields_lie_where_virtio_puts_them() {
    let raw = RawNetHeader::from_bytes(&[1, 0x84, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 99]).unwrap();
    let expected = RawNetHeader {
        flags: 1,
        gso_type: 0x84,
        hdr_len: 0x0302,
        gso_size: 0x0504,
        csum_start: 0x0706,
        csum_offset: 0x0908,
        num_buffers: 0x0b0a,
    };
    assert_eq!(raw, expected);
}

#[test]
fn a_header_of_ten_bytes_has_no_buffer_count_and_one_of_nine_is_none() {
    let bytes = [0xff; 12];
    assert_eq!(RawNetHeader::from_bytes(&bytes[..10]).unwrap().num_buffers, 0);
    assert_eq!(RawNetHeader::from_bytes(&bytes[..11]).unwrap().num_buffers, 0);
    assert_eq!(RawNetHeader::from_bytes(&bytes[..9]), None);
}

#[test]
fn delivery_says_needs_csum_and_our_own_header_length() {
    let raw = WHOLE.to_raw();
    assert_eq!((raw.flags, raw.gso_type, raw.hdr_len, raw.gso_size), (1, 0x84, 54, 0x05a8));
    assert_eq!((raw.csum_start, raw.csum_offset, raw.num_buffers), (34, 16, 1));
    assert_eq!(NetHeader::PLAIN.to_raw(), RawNetHeader { num_buffers: 1, ..Default::default() });
}

#[test]
fn a_tag_pushed_or_popped_moves_the_checksum_and_the_headers() {
    let pushed = WHOLE.shifted(4).unwrap();
    assert_eq!(pushed.checksum, Checksum::Partial { start: 38, offset: 16 });
    assert_eq!(pushed.gso.unwrap().header_bytes, 58);
    assert_eq!(pushed.shifted(-4), Ok(WHOLE));
    assert_eq!(NetHeader::PLAIN.shifted(-4), Ok(NetHeader::PLAIN));
}

#[test]
fn a_checksum_does_not_move_into_the_ethernet_header_or_past_the_field() {
    let at = |start| NetHeader { checksum: Checksum::Partial { start, offset: 0 }, gso: None };
    assert_eq!(at(18).shifted(-4), Ok(at(14)));
    assert_eq!(at(17).shifted(-4), Err(DropReason::BadOffload));
    assert_eq!(at(65_531).shifted(4), Ok(at(65_535)));
    assert_eq!(at(65_532).shifted(4), Err(DropReason::BadOffload));
}

#[test]
fn segments_are_counted_with_the_last_one_short() {
    for (payload_bytes, count) in
        [(0, 1), (1, 1), (1447, 1), (1448, 1), (1449, 2), (2896, 2), (2897, 3)]
    {
        assert_eq!(WHOLE.segment_count(54 + payload_bytes), count, "{payload_bytes}");
    }
    assert_eq!(WHOLE.segment_count(10), 1);
    assert_eq!(NetHeader::PLAIN.segment_count(9000), 1);
}
