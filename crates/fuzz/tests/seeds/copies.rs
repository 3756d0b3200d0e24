//! Copies that arrive from a network, and copies that go there.

use crate::Seed;

/// The checksum of an IPv4 header of 20 bytes.
fn summed(mut header: Vec<u8>) -> Vec<u8> {
    let words = header.chunks(2).map(|word| u32::from(word[0]) << 8 | u32::from(word[1]));
    let sum: u32 = words.sum();
    let sum = !u16::try_from((sum & 0xffff) + (sum >> 16)).unwrap();
    header[10..12].copy_from_slice(&sum.to_be_bytes());
    header
}

/// A frame with `payload` in IPv4, none of it beyond the head.
fn over_v4(flags: u8, protocol: u8, payload: &[u8]) -> Vec<u8> {
    let total = u8::try_from(20 + payload.len()).unwrap();
    let header =
        [0x45, 0, 0, total, 0, 7, flags, 0, 64, protocol, 0, 0, 192, 0, 2, 1, 192, 0, 2, 2];
    let ethernet = [2, 0, 0, 0, 0, 2, 2, 0, 0, 0, 0, 1, 8, 0];
    [&[0, 0, 0][..], &ethernet, &summed(header.to_vec()), payload].concat()
}

/// A frame with `payload` in IPv6, whose first header is `next`.
fn over_v6(next: u8, payload: &[u8]) -> Vec<u8> {
    let ethernet = [2, 0, 0, 0, 0, 2, 2, 0, 0, 0, 0, 1, 0x81, 0, 0x60, 5, 0x86, 0xdd];
    let fixed = [0x60, 0, 0, 0, 0, u8::try_from(payload.len()).unwrap(), next, 64];
    [&[0, 0, 0][..], &ethernet, &fixed, &[0xfd; 32], payload].concat()
}

fn with_inner(header: &[u8]) -> Vec<u8> {
    let inner = [2, 0, 0, 0, 0, 4, 2, 0, 0, 0, 0, 3, 0x88, 0xb5, 1, 2, 3, 4];
    [header, &inner].concat()
}

/// Settings and lengths of a copy to be built; addresses of IPv6 are longer than those of IPv4.
fn to_build(kind: u8, encapsulation: u8, oversize: u8, lengths: [u16; 3]) -> Vec<u8> {
    let addresses = if kind & 1 == 0 { 16 } else { 8 };
    let fields =
        [5, 1, 2, 3, 4, 5, 6, 7, 8, 100, 0, 9, 9, 9, 0, 8, 7, 6, 5, 4, 3, 2, 1, 6, 6, 6, 6, 0, 0];
    let [mtu, snap, frame] = lengths.map(u16::to_le_bytes);
    [
        &[1, kind, 64, 77, 0][..],
        &vec![0x21; addresses],
        &[encapsulation, 0x12, 0x34, 0x56, 0x78],
        &fields,
        &[oversize],
        &mtu,
        &snap,
        &frame,
    ]
    .concat()
}

/// Fragments: pause, kind, start and length of each.
fn stream(fragments: &[[u8; 4]]) -> Vec<u8> {
    [&[2][..], &fragments.concat()].concat()
}

/// Bits of the kind: IPv6, more to come, and the datagram.
const fn kind(is_v6: u8, more: u8, datagram: u8) -> u8 {
    is_v6 | more << 1 | datagram << 2
}

/// More datagrams than wait at once, none of them whole.
fn flood() -> Vec<u8> {
    let first = |datagram| [0, kind(0, 1, datagram), 0, 4];
    stream(&(0..20).map(first).collect::<Vec<_>>())
}

pub(crate) fn seeds() -> Vec<Seed> {
    const GRE: u8 = 47;
    let seed = |name, bytes, outcome| Seed::new("encap_parse", name, bytes, outcome);
    let type_ii = with_inner(&[0x10, 0, 0x88, 0xbe, 0, 0, 0, 9, 0x10, 100, 0xb3, 9, 0, 0, 0, 3]);
    let type_iii = with_inner(&[
        0x10, 0, 0x22, 0xeb, 0, 0, 0, 9, 0x20, 100, 0xa3, 9, 1, 2, 3, 4, 0, 0, 0x80, 0x1b, 0x1c, 0,
        0, 5, 0, 0, 0, 1,
    ]);
    let gre = with_inner(&[0xb0, 0, 0x65, 0x58, 1, 2, 0, 0, 0, 0, 0, 7, 0, 0, 0, 8]);
    let vxlan = with_inner(&[0xc0, 0, 0x12, 0xb5, 0, 34, 0, 0, 8, 0, 0, 0, 0, 0, 7, 0]);
    let extensions =
        [&[60, 0, 0, 0, 0, 0, 0, 0], &[47, 0, 1, 4, 0, 0, 0, 0], &type_ii[..]].concat();
    vec![
        seed("type_i", over_v4(0, GRE, &with_inner(&[0, 0, 0x88, 0xbe])), [1, 0]),
        seed("type_ii_over_ipv6_with_extension_headers", over_v6(0, &extensions), [1, 0]),
        seed("type_iii_with_a_sub_header", over_v4(0x40, GRE, &type_iii), [1, 0]),
        seed("gre_with_all_fields", over_v4(0, GRE, &gre), [1, 0]),
        seed("vxlan", over_v4(0, 17, &vxlan), [1, 0]),
        seed("a_fragment", over_v4(0x20, GRE, &type_ii), [0, 1]),
        seed("a_copy_without_a_frame", over_v4(0, GRE, &type_ii[..16]), [0, 1]),
        seed(
            "two_datagrams_in_fragments_that_mix",
            stream(&[
                [0, kind(0, 1, 1), 0, 4],
                [1, kind(1, 0, 2), 8, 4],
                [1, kind(0, 0, 1), 4, 4],
                [1, kind(1, 1, 2), 0, 8],
            ]),
            [4, 0],
        ),
        seed(
            "fragments_that_overlap_or_come_again_or_too_late",
            stream(&[
                [0, kind(0, 1, 1), 0, 4],
                [0, kind(0, 1, 1), 0, 4],
                [0, kind(0, 1, 1), 3, 4],
                [0, kind(1, 1, 1), 0, 4],
                [255, kind(1, 1, 1), 0, 4],
                [255, kind(1, 0, 1), 4, 4],
            ]),
            [3, 3],
        ),
        seed("more_datagrams_in_fragments_than_places", flood(), [20, 0]),
        seed("a_type_ii_to_send", to_build(3, 1, 2, [1500, 0, 1000]), [1, 0]),
        seed("a_type_iii_to_cut", to_build(2, 0x82, 0, [1500, 0, 3000]), [1, 0]),
        seed("vxlan_to_fragment", to_build(0, 0x84, 1, [1500, 9000, 9500]), [1, 0]),
        seed("gre_too_long_for_its_path", to_build(1, 0xc3, 2, [1500, 0, 1500]), [0, 1]),
        seed(
            "nothing_over_a_path_narrower_than_its_headers",
            to_build(1, 1, 0, [35, 0, 0]),
            [0, 1],
        )
        .kept(),
    ]
}
