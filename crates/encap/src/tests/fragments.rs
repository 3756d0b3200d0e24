//! Fragments at the edge of what is put together, on both sides, written byte by byte.

use std::collections::BTreeMap;

use helio_offload::sum_words;

use super::frame;
use crate::{
    Assembled, Buffers, Decapsulated, Fragment, FragmentCounts, MOST_DATAGRAMS, Reassembly,
    Refusal, VXLAN_PORT, WAIT_NS, parse, parse_assembled,
};

/// Buffers that forget nothing.
#[derive(Debug, Default)]
struct Shelf {
    bytes: Vec<Vec<u8>>,
    free: Vec<u16>,
}

impl Buffers for Shelf {
    fn take(&mut self) -> Option<u16> {
        self.free.pop()
    }

    fn give_back(&mut self, buffer: u16) {
        assert!(!self.free.contains(&buffer), "buffer {buffer} is given back twice");
        self.free.push(buffer);
    }
}

/// A table with its buffers, and a clock.
#[derive(Debug)]
pub(super) struct Desk {
    table: Reassembly,
    shelf: Shelf,
    pub(super) now_ns: u64,
    all: usize,
}

impl Desk {
    pub(super) fn new() -> Self {
        Self::with_buffers(MOST_DATAGRAMS)
    }

    fn with_buffers(count: usize) -> Self {
        let free = (0..u16::try_from(count).unwrap()).rev().collect();
        let shelf = Shelf { bytes: vec![vec![0; 65_536]; count], free };
        Self { table: Reassembly::new(), shelf, now_ns: 1, all: count }
    }

    /// Takes a frame. The payload of its datagram, if that is whole now.
    pub(super) fn take(&mut self, wire: &[u8]) -> Option<(Assembled, Vec<u8>)> {
        let bytes = u32::try_from(wire.len()).unwrap();
        let fragment = Fragment::read(wire, bytes).unwrap().unwrap();
        let buffer = self.table.keep(&fragment, self.now_ns, &mut self.shelf)?;
        let from = fragment.data_start() as usize;
        let data = &wire[from..from + fragment.data_bytes() as usize];
        let start = fragment.start() as usize;
        self.shelf.bytes[usize::from(buffer)][start..start + data.len()].copy_from_slice(data);
        let whole = self.table.written(buffer)?;
        let payload =
            self.shelf.bytes[usize::from(buffer)][..whole.payload_bytes() as usize].to_vec();
        self.shelf.give_back(buffer);
        Some((whole, payload))
    }

    /// Takes frames of which none makes a datagram whole.
    fn take_part(&mut self, frames: &[Vec<u8>]) {
        frames.iter().for_each(|frame| assert_eq!(self.take(frame), None));
    }

    pub(super) fn give_up_old(&mut self) {
        self.table.give_up_old(self.now_ns, &mut self.shelf);
    }

    pub(super) fn counts(&self) -> FragmentCounts {
        self.table.counts()
    }

    pub(super) fn refused_total(&self) -> u64 {
        self.table.refused().iter().sum()
    }

    /// What was refused, and how often.
    pub(super) fn refused(&self) -> BTreeMap<Refusal, u64> {
        let counts = Refusal::ALL.iter().copied().zip(*self.table.refused());
        counts.filter(|(_, count)| *count > 0).collect()
    }

    pub(super) fn buffers_in_use(&self) -> usize {
        self.all - self.shelf.free.len()
    }
}

/// GRE with a frame of so many bytes.
pub(super) fn gre(inner_bytes: u32) -> Vec<u8> {
    [&[0, 0, 0x65, 0x58][..], &frame(inner_bytes)].concat()
}

const MACS: [u8; 12] = [2, 0, 0, 0, 0, 2, 2, 0, 0, 0, 0, 1];

/// Bytes `from` to `to` of `payload` as a fragment over IPv4.
pub(super) fn v4(id: u16, payload: &[u8], from: usize, to: usize) -> Vec<u8> {
    v4_marked(id, &payload[from..to], from, u16::from(to < payload.len()))
}

fn v4_marked(id: u16, data: &[u8], from: usize, more: u16) -> Vec<u8> {
    let [l0, l1] = u16::try_from(20 + data.len()).unwrap().to_be_bytes();
    let [i0, i1] = id.to_be_bytes();
    let [o0, o1] = (u16::try_from(from / 8).unwrap() | more << 13).to_be_bytes();
    let mut ip =
        [0x45, 0, l0, l1, i0, i1, o0, o1, 64, 47, 0, 0, 192, 0, 2, 1, 192, 0, 2, 2].to_vec();
    let sum = !sum_words(&ip);
    ip[10..12].copy_from_slice(&sum.to_be_bytes());
    [&MACS[..], &[8, 0], &ip, data].concat()
}

/// The same over IPv6.
pub(super) fn v6(id: u32, payload: &[u8], from: usize, to: usize) -> Vec<u8> {
    v6_marked(id, &payload[from..to], from, u16::from(to < payload.len()))
}

fn v6_marked(id: u32, data: &[u8], from: usize, more: u16) -> Vec<u8> {
    let [l0, l1] = u16::try_from(8 + data.len()).unwrap().to_be_bytes();
    let [o0, o1] = (u16::try_from(from).unwrap() | more).to_be_bytes();
    let ip = [&[0x60, 0, 0, 0, l0, l1, 44, 64][..], &[0xfd; 16], &[0xfe; 16]].concat();
    let fragment = [&[47, 0, o0, o1][..], &id.to_be_bytes()].concat();
    [&MACS[..], &[0x86, 0xdd], &ip, &fragment, data].concat()
}

fn read(wire: &[u8]) -> Result<Option<Fragment>, Refusal> {
    Fragment::read(wire, u32::try_from(wire.len()).unwrap())
}

fn copy_in((whole, payload): &(Assembled, Vec<u8>)) -> Result<Decapsulated, Refusal> {
    parse_assembled(&payload[..payload.len().min(128)], whole, VXLAN_PORT)
}

#[test]
fn a_datagram_in_three_fragments_is_put_together_in_every_order() {
    let payload = gre(300);
    let cuts = [(0, 104), (104, 208), (208, 304)];
    for make in [|p: &[u8], a, b| v4(7, p, a, b), |p: &[u8], a, b| v6(7, p, a, b)] {
        for order in [[0, 1, 2], [0, 2, 1], [1, 0, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0]] {
            let mut desk = Desk::new();
            let frames = order.map(|at| make(&payload, cuts[at].0, cuts[at].1));
            desk.take_part(&frames[..2]);
            assert_eq!((desk.counts().waiting, desk.buffers_in_use()), (2, 1));
            let whole = desk.take(&frames[2]).unwrap();
            assert_eq!(whole.1, payload, "{order:?}");
            let copy = copy_in(&whole).unwrap();
            assert_eq!((copy.inner_start, copy.inner_bytes), (4, 300));
            let counts = FragmentCounts { joined: 3, datagrams: 1, waiting: 0 };
            assert_eq!((desk.counts(), desk.refused_total()), (counts, 0));
            assert_eq!(desk.buffers_in_use(), 0);
        }
    }
}

#[test]
fn a_whole_datagram_is_no_fragment_also_when_ipv6_says_so() {
    let payload = gre(60);
    for wire in [v4(7, &payload, 0, 64), v6(7, &payload, 0, 64)] {
        assert_eq!(read(&wire), Ok(None));
        let bytes = u32::try_from(wire.len()).unwrap();
        assert_eq!(parse(&wire, bytes, VXLAN_PORT).map(|copy| copy.inner_bytes), Ok(60));
    }
}

#[test]
fn an_ipv6_datagram_that_is_its_only_fragment_does_not_meet_those_of_another() {
    let payload = gre(60);
    let mut desk = Desk::new();
    desk.take_part(&[v6(7, &payload, 0, 32)]);
    assert_eq!(read(&v6(7, &payload, 0, 64)), Ok(None));
    assert!(desk.take(&v6(7, &payload, 32, 64)).is_some());
}

#[test]
fn what_tells_datagrams_apart_is_addresses_identification_and_over_ipv4_the_protocol() {
    let payload = gre(60);
    let first = v4(7, &payload, 0, 32);
    let last = v4(7, &payload, 32, 64);
    let with = |at: usize, byte: u8| {
        let mut wire = last.clone();
        wire[at] = byte;
        wire[24..26].fill(0);
        let sum = !sum_words(&wire[14..34]);
        wire[24..26].copy_from_slice(&sum.to_be_bytes());
        wire
    };
    let mut desk = Desk::new();
    desk.take_part(&[first]);
    // Identification, protocol, source, destination.
    desk.take_part(&[with(19, 8), with(23, 17), with(29, 3), with(33, 3)]);
    assert_eq!(desk.counts().waiting, 5);
    assert!(desk.take(&last).is_some());
    // Over IPv6 only the first fragment says what the datagram carries.
    let mut lying = v6(7, &payload, 32, 64);
    lying[54] = 6;
    desk.take_part(&[lying]);
    let whole = desk.take(&v6(7, &payload, 0, 32)).unwrap();
    assert!(copy_in(&whole).is_ok());
}

#[test]
fn what_ipv6_puts_behind_the_fragment_header_is_stepped_over() {
    let payload = [&[47, 0, 0, 0, 0, 0, 0, 0][..], &gre(60)].concat();
    let options = |mut wire: Vec<u8>| {
        wire[54] = 60;
        wire
    };
    let mut desk = Desk::new();
    desk.take_part(&[options(v6(7, &payload, 0, 32))]);
    let whole = desk.take(&options(v6(7, &payload, 32, 72))).unwrap();
    assert_eq!(copy_in(&whole).map(|copy| copy.inner_start), Ok(12));
    // A fragment of a fragment.
    let nested = [&[47, 0, 0, 1, 0, 0, 0, 1][..], &gre(60)].concat();
    let fragment = |mut wire: Vec<u8>| {
        wire[54] = 44;
        wire
    };
    desk.take_part(&[fragment(v6(8, &nested, 0, 32))]);
    let whole = desk.take(&fragment(v6(8, &nested, 32, 72))).unwrap();
    assert_eq!(copy_in(&whole), Err(Refusal::Fragment));
}

#[test]
fn a_fragment_that_comes_again_is_counted_and_changes_nothing() {
    let payload = gre(60);
    let mut desk = Desk::new();
    let mut other = payload.clone();
    other[10] ^= 0xff;
    desk.take_part(&[v4(7, &payload, 0, 32), v4(7, &other, 0, 32)]);
    desk.take_part(&[v4(8, &payload, 32, 64), v4(8, &payload, 32, 64)]);
    assert_eq!(desk.refused(), BTreeMap::from([(Refusal::FragmentDuplicate, 2)]));
    assert_eq!(desk.take(&v4(7, &payload, 32, 64)).unwrap().1, payload);
    assert_eq!(desk.take(&v4(8, &payload, 0, 32)).unwrap().1, payload);
}

#[test]
fn fragments_that_overlap_by_as_little_as_they_can_cost_their_datagram_all_of_it() {
    let payload = gre(92);
    let [first, last] = [(0, 32), (64, 96)];
    // The one between ends where the last begins, or 8 bytes behind; begins where the first ends, or 8 bytes before.
    for (from, to, is_right) in [(32, 64, true), (32, 72, false), (24, 64, false), (8, 24, false)] {
        let mut desk = Desk::new();
        desk.take_part(&[v6(7, &payload, first.0, first.1), v6(7, &payload, last.0, last.1)]);
        assert_eq!(desk.take(&v6(7, &payload, from, to)).is_some(), is_right, "{from} {to}");
        assert_eq!(desk.buffers_in_use(), 0);
        if !is_right {
            // Nor is it begun anew by what comes later.
            desk.take_part(&[v6(7, &payload, 32, 64), v6(7, &payload, first.0, first.1)]);
            assert_eq!(desk.refused(), BTreeMap::from([(Refusal::FragmentOverlap, 5)]));
            assert_eq!(desk.counts(), FragmentCounts::default());
        }
    }
}

#[test]
fn one_byte_of_the_last_fragment_in_another_one_is_an_overlap() {
    let payload = gre(100);
    let follows = v4_marked(7, &payload[96..104], 96, 1);
    for (end, reason) in [(96, Refusal::FragmentLength), (97, Refusal::FragmentOverlap)] {
        // It ends where the other one begins, or a byte behind: in both, the end is not the end.
        let last = v4_marked(7, &payload[88..end], 88, 0);
        for frames in [[last.clone(), follows.clone()], [follows.clone(), last]] {
            let mut desk = Desk::new();
            desk.take_part(&frames);
            assert_eq!(desk.refused(), BTreeMap::from([(reason, 2)]), "{end}");
        }
    }
}

#[test]
fn a_hole_is_waited_for_until_time_is_up() {
    let payload = gre(92);
    let mut desk = Desk::new();
    desk.take_part(&[v4(7, &payload, 0, 32), v4(7, &payload, 64, 96)]);
    desk.now_ns += WAIT_NS - 1;
    desk.give_up_old();
    assert_eq!(desk.counts().waiting, 2);
    desk.take_part(&[v4(8, &payload, 0, 32)]);
    desk.now_ns += 1;
    desk.give_up_old();
    assert_eq!(desk.refused(), BTreeMap::from([(Refusal::FragmentIncomplete, 2)]));
    assert_eq!((desk.counts().waiting, desk.buffers_in_use()), (1, 1));
    // The hole comes too late, and waits in vain.
    desk.take_part(&[v4(7, &payload, 32, 64)]);
    desk.now_ns += WAIT_NS - 1;
    desk.give_up_old();
    assert_eq!(desk.refused_total(), 3);
    desk.now_ns += 1;
    desk.give_up_old();
    assert_eq!(desk.refused(), BTreeMap::from([(Refusal::FragmentIncomplete, 4)]));
    assert_eq!((desk.counts().waiting, desk.buffers_in_use()), (0, 0));
}

#[test]
fn a_fragment_that_comes_when_time_is_up_belongs_to_another_datagram_also_before_that_was_told() {
    let payload = gre(60);
    for (late, is_whole) in [(WAIT_NS - 1, true), (WAIT_NS, false)] {
        let mut desk = Desk::new();
        desk.take_part(&[v4(7, &payload, 0, 32)]);
        desk.now_ns += late;
        assert_eq!(desk.take(&v4(7, &payload, 32, 64)).is_some(), is_whole);
        assert_eq!(desk.refused_total(), u64::from(!is_whole));
    }
}

#[test]
fn fragments_of_a_datagram_after_which_thousands_began_do_not_meet_those_of_another() {
    let payload = gre(60);
    for (others, is_whole) in [(4096, true), (4097, false)] {
        let mut desk = Desk::new();
        desk.take_part(&[v4(0, &payload, 0, 32)]);
        for id in 1..=others {
            desk.take_part(&[v4(id, &payload, 0, 32)]);
            assert!(desk.take(&v4(id, &payload, 32, 64)).is_some());
        }
        assert_eq!(desk.take(&v4(0, &payload, 32, 64)).is_some(), is_whole);
        let refused = desk.refused().get(&Refusal::FragmentIncomplete).copied();
        assert_eq!(refused, (!is_whole).then_some(1));
    }
}

#[test]
fn when_all_places_are_taken_the_oldest_datagram_goes() {
    let payload = gre(92);
    let mut desk = Desk::new();
    let most = u16::try_from(MOST_DATAGRAMS).unwrap();
    for id in 0..most {
        desk.take_part(&[v4(id, &payload, 0, 32)]);
    }
    // The second is complete, and gives its place to one more.
    desk.take_part(&[v4(1, &payload, 32, 64), v4(0, &payload, 32, 64)]);
    assert!(desk.take(&v4(1, &payload, 64, 96)).is_some());
    desk.take_part(&[v4(most, &payload, 0, 32)]);
    assert_eq!(desk.refused_total(), 0);
    desk.take_part(&[v4(most + 1, &payload, 0, 32)]);
    assert_eq!(desk.refused(), BTreeMap::from([(Refusal::FragmentsFull, 2)]));
    assert_eq!(desk.buffers_in_use(), MOST_DATAGRAMS);
    desk.take_part(&[v4(2, &payload, 32, 64)]);
    assert!(desk.take(&v4(2, &payload, 64, 96)).is_some());
}

#[test]
fn without_a_buffer_a_datagram_does_not_begin() {
    let payload = gre(60);
    let mut desk = Desk::with_buffers(1);
    desk.take_part(&[v4(7, &payload, 0, 32), v4(8, &payload, 0, 32)]);
    assert_eq!(desk.refused(), BTreeMap::from([(Refusal::FragmentBuffer, 1)]));
    assert!(desk.take(&v4(7, &payload, 32, 64)).is_some());
}

#[test]
fn a_datagram_whose_bytes_could_not_be_written_is_given_up() {
    let payload = gre(92);
    let mut desk = Desk::new();
    desk.take_part(&[v4(7, &payload, 0, 32)]);
    let wire = v4(7, &payload, 32, 64);
    let fragment = read(&wire).unwrap().unwrap();
    let buffer = desk.table.keep(&fragment, desk.now_ns, &mut desk.shelf).unwrap();
    desk.table.abandon(buffer, &mut desk.shelf);
    assert_eq!(desk.refused(), BTreeMap::from([(Refusal::FragmentBuffer, 2)]));
    assert_eq!((desk.counts().waiting, desk.buffers_in_use()), (0, 0));
}

#[test]
fn all_that_waits_is_given_up_at_once_when_the_port_goes() {
    let payload = gre(60);
    let mut desk = Desk::new();
    desk.take_part(&[v4(7, &payload, 0, 32), v4(8, &payload, 0, 32)]);
    desk.table.give_up_all(&mut desk.shelf);
    assert_eq!(desk.refused(), BTreeMap::from([(Refusal::FragmentIncomplete, 2)]));
    assert_eq!(desk.buffers_in_use(), 0);
}

#[test]
fn a_datagram_is_put_together_from_64_fragments_and_not_from_65() {
    for (count, is_whole) in [(64, true), (65, false)] {
        let payload = gre(count * 8 - 4);
        let mut desk = Desk::new();
        let count = count as usize;
        let frames: Vec<_> = (0..count).map(|at| v4(7, &payload, at * 8, (at + 1) * 8)).collect();
        desk.take_part(&frames[..count - 1]);
        assert_eq!(desk.take(&frames[count - 1]).is_some(), is_whole);
        let refused = desk.refused().get(&Refusal::FragmentCount).copied();
        assert_eq!(refused, (!is_whole).then_some(65));
    }
}

#[test]
fn only_the_last_fragment_ends_between_units_and_none_is_empty() {
    let data = [0; 17];
    let read = |wire: Vec<u8>| read(&wire).map(|found| found.map(|it| it.data_bytes()));
    for make in [
        |data: &[u8], from, more| v4_marked(7, data, from, more),
        |data: &[u8], from, more| v6_marked(7, data, from, more),
    ] {
        assert_eq!(read(make(&data[..16], 0, 1)), Ok(Some(16)));
        assert_eq!(read(make(&data, 0, 1)), Err(Refusal::FragmentLength));
        assert_eq!(read(make(&data[..15], 0, 1)), Err(Refusal::FragmentLength));
        assert_eq!(read(make(&data, 8, 0)), Ok(Some(17)));
        assert_eq!(read(make(&data[..1], 8, 0)), Ok(Some(1)));
        assert_eq!(read(make(&[], 8, 0)), Err(Refusal::FragmentLength));
        assert_eq!(read(make(&[], 0, 1)), Err(Refusal::FragmentLength));
    }
}

#[test]
fn a_datagram_is_no_longer_than_its_length_field_can_say() {
    // 65,535 bytes with an IPv4 header of 20, or without that of IPv6.
    let ends = |wire: Vec<u8>| read(&wire).map(|found| found.map(|it| it.end()));
    assert_eq!(ends(v4_marked(7, &[0; 3], 65_512, 0)), Ok(Some(65_515)));
    assert_eq!(ends(v4_marked(7, &[0; 4], 65_512, 0)), Err(Refusal::FragmentLength));
    assert_eq!(ends(v6_marked(7, &[0; 7], 65_528, 0)), Ok(Some(65_535)));
    assert_eq!(ends(v6_marked(7, &[0; 8], 65_528, 0)), Err(Refusal::FragmentLength));
}

#[test]
fn fragments_that_contradict_each_other_about_the_end_cost_their_datagram() {
    let payload = gre(92);
    let part = |from: usize, to: usize, more| v4_marked(7, &payload[from..to], from, more);
    let contradictions = [
        // One behind the last one, before it and after.
        [part(32, 64, 0), part(64, 96, 1)],
        [part(64, 96, 1), part(32, 64, 0)],
        // Two that are the last one.
        [part(64, 96, 0), part(32, 64, 0)],
        // One that is the last one, and is not.
        [part(32, 64, 0), part(32, 64, 1)],
        [part(32, 64, 1), part(32, 64, 0)],
    ];
    for frames in contradictions {
        let mut desk = Desk::new();
        desk.take_part(&frames);
        desk.take_part(&[part(0, 32, 1)]);
        assert_eq!(desk.refused(), BTreeMap::from([(Refusal::FragmentLength, 3)]));
        assert_eq!(desk.buffers_in_use(), 0);
    }
}

#[test]
fn over_ipv4_only_what_can_be_a_copy_takes_a_place() {
    let mut wire = v4(7, &gre(60), 0, 32);
    wire[23] = 1;
    wire[24..26].fill(0);
    let sum = !sum_words(&wire[14..34]);
    wire[24..26].copy_from_slice(&sum.to_be_bytes());
    assert_eq!(read(&wire), Err(Refusal::Protocol));
}

#[test]
fn what_was_put_together_and_is_no_copy_is_refused_as_if_it_had_come_whole() {
    let payload = [&[0, 0, 0x65, 0x58][..], &frame(13)].concat();
    let mut desk = Desk::new();
    desk.take_part(&[v4(7, &payload, 0, 8)]);
    let whole = desk.take(&v4(7, &payload, 8, 17)).unwrap();
    assert_eq!(copy_in(&whole), Err(Refusal::InnerRunt));
}
