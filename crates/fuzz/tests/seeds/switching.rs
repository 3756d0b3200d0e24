//! Ports and the frames between them.

use crate::Seed;

const A: [u8; 6] = [2, 0, 0, 0, 0, 0xa];
const B: [u8; 6] = [2, 0, 0, 0, 0, 0xb];
const ALL: [u8; 6] = [0xff; 6];

/// A frame that enters through `ingress`, with `after` behind its addresses.
fn frame(ingress: u8, dst: [u8; 6], src: [u8; 6], after: &[u8]) -> Vec<u8> {
    let bytes = [&dst[..], &src, after].concat();
    [&[ingress, u8::try_from(bytes.len()).unwrap()][..], &bytes].concat()
}

pub(crate) fn seeds() -> Vec<Seed> {
    let seed =
        |name, parts: &[Vec<u8>], outcome| Seed::new("frame_parse", name, parts.concat(), outcome);
    let plain = [8, 0, 0x45];
    let tag = |vlan: u8| [0x81, 0, 0xb0, vlan, 8, 0, 0x45];
    // Transparent, access 2, trunk 1 to 3, trunk 2 with native 1.
    let mixed = vec![0, 0, 1, 1, 2, 7, 0x23, 2];
    let transparent = vec![0; 8];
    vec![
        seed(
            "a_conversation",
            &[
                transparent.clone(),
                frame(0, ALL, A, &plain),
                frame(1, A, B, &plain),
                frame(0, B, A, &plain),
                frame(2, B, A, &plain),
                frame(2, A, A, &plain),
            ],
            [5, 0],
        ),
        seed(
            "vlans",
            &[
                mixed.clone(),
                frame(1, ALL, A, &plain),
                frame(2, A, B, &tag(2)),
                frame(3, A, B, &plain),
                frame(0, B, A, &tag(0)),
                frame(2, B, A, &tag(9)),
                frame(1, B, A, &tag(2)),
                frame(2, B, A, &plain),
                frame(0, B, A, &[0x81, 0, 0x0f, 0xff, 8, 0]),
                frame(1, ALL, A, &tag(0)),
            ],
            [5, 4],
        ),
        seed(
            "two_tags",
            &[
                mixed,
                frame(2, ALL, A, &[&tag(1)[..4], &tag(2)].concat()),
                frame(0, A, B, &[0x88, 0xa8, 0, 2, 8, 0]),
            ],
            [2, 0],
        ),
        seed(
            "frames_that_are_refused",
            &[
                vec![0, 0, 0x10, 0, 0, 0, 0, 0],
                frame(0, A, ALL, &plain),
                frame(0, [1, 0x80, 0xc2, 0, 0, 0xe], A, &plain),
                frame(1, B, A, &plain),
                frame(4, B, A, &plain),
                frame(0, B, A, &[8]),
                frame(0, B, A, &[0x81, 0, 0, 1, 8]),
            ],
            [0, 6],
        ),
    ]
}
