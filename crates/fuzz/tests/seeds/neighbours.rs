//! What happens to a neighbour on the underlay.

use crate::Seed;

/// Steps of a script.
const TURN: [u8; 1] = [1];
const COPY: [u8; 1] = [2];
const RESTART: [u8; 1] = [3];

/// So many times 16 ms.
fn pass(times: u16) -> Vec<u8> {
    [&[0][..], &times.to_le_bytes()].concat()
}

/// A frame from the card with this number, as it should be: 0 answers, 1 announces, 2 asks, 3 says that a copy was too long.
fn says(what: u8, card: u8) -> Vec<u8> {
    vec![5, card << 5 | what]
}

/// The same with one byte changed.
fn wrong(what: u8, card: u8, at: u8, value: u8) -> Vec<u8> {
    vec![5, card << 5 | 4 | what, at, value]
}

fn raw(frame: &[u8]) -> Vec<u8> {
    [&[4, u8::try_from(frame.len()).unwrap()], frame].concat()
}

pub(crate) fn seeds() -> Vec<Seed> {
    let seed = |name, kind: u8, steps: &[&[u8]], outcome| {
        Seed::new("underlay_observe", name, [&[kind][..], &steps.concat()].concat(), outcome)
    };
    let half_a_minute = &pass(31_000 / 16)[..];
    let second = &pass(70)[..];
    let life: [&[u8]; 12] = [
        &TURN,
        &says(0, 2),
        half_a_minute,
        &TURN,
        &COPY,
        &TURN,
        &says(0, 2),
        second,
        &says(1, 3),
        &says(2, 3),
        &says(3, 4),
        &RESTART,
    ];
    let nobody: [&[u8]; 8] =
        [&says(1, 2), &TURN, second, &TURN, second, &TURN, &pass(6000), &says(0, 2)];
    let forged: [&[u8]; 6] = [
        &TURN,
        // From another card than it names, from a group, from our own, and a copy of somebody else.
        &wrong(0, 2, 11, 3),
        &wrong(0, 2, 6, 3),
        &says(0, 1),
        &wrong(3, 2, 60, 9),
        &raw(&[2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2, 8, 6, 0, 1]),
    ];
    vec![
        seed("a_life_by_arp", 0, &life, [5, 0]),
        seed("a_life_by_neighbour_discovery", 1, &life, [5, 0]),
        seed("a_life_in_a_vlan_with_vxlan", 6, &life, [5, 0]),
        seed("a_life_in_a_vlan_with_vxlan_over_ipv6", 7, &life, [5, 0]),
        seed("nobody_asked", 0, &nobody, [0, 2]),
        seed("nobody_asked_by_neighbour_discovery", 1, &nobody, [0, 2]),
        seed("forged", 0, &forged, [0, 5]),
        seed("forged_by_neighbour_discovery", 1, &forged, [0, 4]),
    ]
}
