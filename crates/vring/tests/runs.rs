//! Frames that are offered together: the guest gets what it would get if they were offered one by one.
#![cfg(test)]

mod support;

use helio_frame::{Delivery, Frame, PortFault, Readiness, RunEnd};
use helio_offload::{Checksum, NetHeader};
use helio_types::DropReason;
use helio_vring::feature;
use proptest::collection::vec;
use proptest::prelude::*;
use support::{
    DATA, Descriptor, INDIRECT, NEXT, Receiver, SEAM, Source, TABLES, USED, WRITE, cut, pattern,
};

const V1: u64 = feature::VERSION_1;
const MERGED: u64 = V1 | feature::MRG_RXBUF;
const SIZE: u16 = 256;

/// What became of each frame, and the fault that ended it.
type Outcomes = (Vec<Result<(), DropReason>>, Option<PortFault>);

/// Offers `frames` as a worker does: as a run, and what follows a refused frame as another one.
fn offer_together(guest: &mut Receiver, source: &Source, frames: &[Frame]) -> Outcomes {
    let mut outcomes = Vec::new();
    while outcomes.len() < frames.len() {
        let left = &frames[outcomes.len()..];
        let (end, fault) = guest.queue.offer_run(source.run(left));
        outcomes.extend(vec![Ok(()); end.written]);
        let Some((reason, count)) = end.refused else {
            assert_eq!((end, fault), (RunEnd::all(left.len()), None));
            continue;
        };
        assert!((1..=left.len() - end.written).contains(&count), "{end:?} of {}", left.len());
        outcomes.extend(vec![Err(reason); count]);
        if fault.is_some() {
            assert_eq!((reason, outcomes.len()), (DropReason::PortDown, frames.len()));
            return (outcomes, fault);
        }
    }
    (outcomes, None)
}

fn offer_one_by_one(guest: &mut Receiver, source: &Source, frames: &[Frame]) -> Outcomes {
    let mut outcomes = Vec::new();
    for frame in frames {
        let rest = source.run(frames).rest_of(frame).unwrap();
        match guest.queue.offer(&Delivery::whole(frame.net, frame.head.bytes(), &[], rest)) {
            Ok(outcome) => outcomes.push(outcome),
            Err(fault) => {
                outcomes.resize(frames.len(), Err(DropReason::PortDown));
                return (outcomes, Some(fault));
            }
        }
    }
    (outcomes, None)
}

/// A frame to be offered: its length, how many pieces its rest lies in, and what is left to do to it.
#[derive(Clone, Debug)]
struct Shot {
    bytes: usize,
    pieces: usize,
    net: NetHeader,
}

/// What a guest posts.
#[derive(Clone, Debug)]
enum Buffer {
    /// A chain of one buffer.
    One(u32),
    Several(Vec<u32>),
    Indirect(Vec<u32>),
    /// One buffer across two regions: bytes before the seam, and after it.
    Seam(u32, u32),
    /// What breaks a rule.
    Readable,
    Unmapped,
    NoHead,
    Loop,
}

#[derive(Clone, Debug)]
enum Step {
    Post(Vec<Buffer>),
    /// Prepares for so many of the next frames, more or fewer than are offered then.
    Prepare(usize),
    Offer(usize),
    Publish,
    /// Moves the avail index by so much, for as long as nothing is posted.
    Index(u16),
}

#[derive(Clone, Debug)]
struct Case {
    features: u64,
    start: u16,
    shots: Vec<Shot>,
    steps: Vec<Step>,
}

fn any_shot() -> impl Strategy<Value = Shot> {
    let bytes = prop_oneof![
        8 => 14..300_usize,
        1 => prop_oneof![Just(116), Just(127), Just(128), Just(129)],
        3 => 300..1600_usize,
        1 => 1600..=9000_usize,
    ];
    let partial = Checksum::Partial { start: 14, offset: 6 };
    let net = prop_oneof![
        9 => Just(NetHeader::PLAIN), 1 => Just(NetHeader { checksum: partial, gso: None }),
    ];
    (bytes, 1..6_usize, net).prop_map(|(bytes, pieces, net)| Shot { bytes, pieces, net })
}

fn any_buffer() -> impl Strategy<Value = Buffer> {
    let bytes = || prop_oneof![3 => Just(1526_u32), 3 => 60..200_u32, 1 => 0..30_u32];
    let pieces = || vec(bytes(), 1..4);
    prop_oneof![
        12 => bytes().prop_map(Buffer::One),
        2 => Just(Buffer::One(9100)),
        3 => pieces().prop_map(Buffer::Several),
        2 => pieces().prop_map(Buffer::Indirect),
        1 => (1..100_u32, 1..2000_u32).prop_map(|(before, after)| Buffer::Seam(before, after)),
        1 => prop_oneof![
            Just(Buffer::Readable), Just(Buffer::Unmapped), Just(Buffer::NoHead), Just(Buffer::Loop),
        ],
    ]
}

fn any_step() -> impl Strategy<Value = Step> {
    prop_oneof![
        3 => vec(any_buffer(), 1..12).prop_map(Step::Post),
        3 => (0..10_usize).prop_map(Step::Prepare),
        4 => (1..8_usize).prop_map(Step::Offer),
        2 => Just(Step::Publish),
    ]
}

fn any_case(step: impl Strategy<Value = Step>) -> impl Strategy<Value = Case> {
    let features = prop_oneof![
        1 => Just(0), 1 => Just(feature::MRG_RXBUF), 3 => Just(V1), 5 => Just(MERGED),
    ];
    let indirect = prop_oneof![1 => Just(0), 4 => Just(feature::INDIRECT_DESC)];
    let start = prop_oneof![Just(0), Just(0_u16.wrapping_sub(10)), any::<u16>()];
    (features, indirect, start, vec(any_shot(), 1..60), vec(step, 1..24)).prop_map(
        |(features, indirect, start, shots, steps)| {
            let features = features | indirect;
            Case { features, start, shots, steps }
        },
    )
}

/// A guest, and where its next buffers go.
struct Twin {
    guest: Receiver,
    next: u64,
    next_table: u64,
    /// Descriptors in use. None is used twice.
    descriptors: u16,
}

impl Twin {
    fn new(case: &Case) -> Self {
        let guest = Receiver::resumed(SIZE, case.features, case.start);
        Self { guest, next: DATA, next_table: TABLES, descriptors: 0 }
    }

    /// Places for buffers of these lengths, with a gap behind each.
    fn places(&mut self, lengths: &[u32]) -> Vec<(u64, u32)> {
        let place = |bytes: &u32| {
            let place = (self.next, *bytes);
            self.next += u64::from(*bytes) + 5;
            place
        };
        lengths.iter().map(place).collect()
    }

    fn post(&mut self, buffer: &Buffer) {
        self.descriptors += 3;
        if self.descriptors > SIZE {
            return;
        }
        let driver = |twin: &mut Self, pieces: &[(u64, u32)], flags| {
            let head = twin.guest.driver.chain(pieces, flags);
            twin.guest.driver.offer(head);
            head
        };
        match buffer {
            Buffer::One(bytes) => {
                let places = self.places(&[*bytes]);
                driver(self, &places, WRITE);
            }
            Buffer::Several(lengths) => {
                let places = self.places(lengths);
                driver(self, &places, WRITE);
            }
            Buffer::Indirect(lengths) => {
                let places = self.places(lengths);
                let head = self.guest.driver.indirect_chain(self.next_table, &places, WRITE);
                self.next_table += 0x100;
                self.guest.driver.offer(head);
            }
            Buffer::Seam(before, after) => {
                driver(self, &[(SEAM - u64::from(*before), before + after)], WRITE);
            }
            Buffer::Readable => {
                let places = self.places(&[2000]);
                driver(self, &places, 0);
            }
            Buffer::Unmapped => {
                driver(self, &[(0x50_0000, 2000)], WRITE);
            }
            Buffer::NoHead => self.guest.driver.offer(SIZE),
            Buffer::Loop => {
                let head = driver(self, &[(DATA, 1)], WRITE);
                self.guest.driver.put(head, Descriptor::new(DATA, 1, WRITE | NEXT, head));
            }
        }
    }

    /// All that the device may have written, and what it would take next.
    fn state(&self) -> (Vec<u8>, Vec<u8>, Vec<u8>, u16) {
        let data = usize::try_from(self.next - DATA).unwrap();
        let driver = &self.guest.driver;
        let used = driver.read(USED, 6 + 8 * usize::from(SIZE));
        let next = self.guest.queue.next_avail();
        (driver.read(DATA, data), driver.read(SEAM - 100, 2100), used, next)
    }
}

/// Whether the guest to which frames are offered one by one prepares for them too.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Other {
    Prepares,
    LooksWhenOffered,
}

fn check(case: &Case, other: Other) {
    let mut source = Source::new();
    let frames: Vec<_> = case
        .shots
        .iter()
        .enumerate()
        .map(|(at, shot)| source.frame(&pattern(at + shot.bytes)[at..], shot.net, shot.pieces))
        .collect();
    let (mut run, mut single) = (Twin::new(case), Twin::new(case));
    let mut left = &frames[..];
    // Descriptors that may have been read since the last publish: a turn is bounded, and what is prepared counts too.
    let mut work = 0;
    for step in &case.steps {
        match step {
            Step::Post(buffers) => {
                for twin in [&mut run, &mut single] {
                    buffers.iter().for_each(|buffer| twin.post(buffer));
                }
            }
            Step::Prepare(count) => {
                let next = &left[..left.len().min(*count)];
                let readiness = run.guest.queue.prepare(next);
                if readiness == Readiness::NoBuffer {
                    let none = (vec![Err(DropReason::NoRxBuffer); next.len()], None);
                    assert_eq!(offer_one_by_one(&mut single.guest, &source, next), none);
                }
                if other == Other::Prepares {
                    single.guest.queue.prepare(next);
                }
                work += 128;
            }
            Step::Offer(count) => {
                let (now, later) = left.split_at(left.len().min(*count));
                left = later;
                work += 3 * usize::from(SIZE) * now.len();
                if work > 7000 {
                    assert_eq!(run.guest.settle(), single.guest.settle());
                    work = 3 * usize::from(SIZE) * now.len();
                }
                let (together, fault) = offer_together(&mut run.guest, &source, now);
                let one_by_one = offer_one_by_one(&mut single.guest, &source, now);
                assert_eq!((together, fault), one_by_one);
                if fault.is_some() {
                    break;
                }
            }
            Step::Publish => {
                assert_eq!(run.guest.settle(), single.guest.settle());
                work = 0;
            }
            Step::Index(by) => {
                for driver in [&run.guest.driver, &single.guest.driver] {
                    driver.set_avail_index(driver.avail.wrapping_add(*by));
                }
            }
        }
    }
    assert_eq!(run.guest.settle(), single.guest.settle());
    assert!(run.state() == single.state(), "the guests hold other bytes");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn a_run_does_to_the_guest_what_its_frames_do_one_by_one(case in any_case(any_step())) {
        check(&case, Other::LooksWhenOffered);
    }

    #[test]
    fn a_run_does_what_its_frames_do_one_by_one_whatever_the_avail_index_is(
        case in any_case(prop_oneof![
            8 => any_step(),
            1 => (0..SIZE).prop_map(Step::Index),
            1 => any::<u16>().prop_map(Step::Index),
        ]),
    ) {
        check(&case, Other::Prepares);
    }
}

/// Frames of 60 bytes that differ.
fn short_frames(source: &mut Source, count: usize) -> Vec<Frame> {
    (0..count).map(|at| source.plain(&pattern(at + 60)[at..])).collect()
}

#[test]
fn a_run_into_an_empty_ring_is_refused_in_one_step() {
    for features in [0, V1, MERGED] {
        let (mut guest, mut source) = (Receiver::new(16, features), Source::new());
        let frames = short_frames(&mut source, 32);
        for _ in 0..2 {
            let refused = RunEnd { written: 0, refused: Some((DropReason::NoRxBuffer, 32)) };
            assert_eq!(guest.queue.offer_run(source.run(&frames)), (refused, None));
            guest.queue.prepare(&frames);
        }
        assert_eq!(guest.settle(), []);
        assert_eq!(guest.queue.offer_run(source.run(&[])), (RunEnd::all(0), None));
    }
}

#[test]
fn a_run_that_empties_the_ring_is_refused_from_there_on_in_one_step() {
    for prepared in [0, 2, 3, 5] {
        let (mut guest, mut source) = (Receiver::new(16, V1), Source::new());
        guest.post_many(DATA, 1526, 3);
        let frames = short_frames(&mut source, 5);
        guest.queue.prepare(&frames[..prepared]);
        let end = RunEnd { written: 3, refused: Some((DropReason::NoRxBuffer, 2)) };
        assert_eq!(guest.queue.offer_run(source.run(&frames)), (end, None));
        assert_eq!(guest.settle(), [(0, 72), (1, 72), (2, 72)]);
    }
}

#[test]
fn a_frame_that_is_too_long_for_what_is_left_costs_no_other_frame_of_its_run() {
    let (mut guest, mut source) = (Receiver::new(16, MERGED), Source::new());
    guest.post_many(DATA, 100, 4);
    let lengths = [60, 500, 60, 60, 300, 60, 60];
    let frames = lengths.map(|bytes| source.plain(&pattern(bytes)));
    guest.queue.prepare(&frames);
    let (outcomes, _) = offer_together(&mut guest, &source, &frames);
    let dry = Err(DropReason::NoRxBuffer);
    assert_eq!(outcomes, [Ok(()), dry, Ok(()), Ok(()), dry, Ok(()), dry]);
    assert_eq!(guest.settle(), [(0, 72), (1, 72), (2, 72), (3, 72)]);
}

#[test]
fn an_impossible_avail_index_in_the_middle_of_a_run_ends_it_there_for_all_that_follow() {
    for prepared in [0, 1, 3, 5] {
        let (mut guest, mut source) = (Receiver::new(16, V1), Source::new());
        guest.post_many(DATA, 1526, 3);
        let frames = short_frames(&mut source, 6);
        assert_eq!(offer_together(&mut guest, &source, &frames[..1]).0, [Ok(())]);
        guest.queue.prepare(&frames[1..1 + prepared]);
        // More than the ring holds.
        guest.driver.set_avail_index(18);
        // It is looked at when the buffers known of are used up.
        let end = RunEnd { written: 2, refused: Some((DropReason::PortDown, 3)) };
        let expected = (end, Some(PortFault::AvailIndex));
        assert_eq!(guest.queue.offer_run(source.run(&frames[1..])), expected, "{prepared}");
        assert_eq!(guest.settle(), [(0, 72), (1, 72), (2, 72)]);
    }
}

#[test]
fn an_impossible_avail_index_is_no_fault_before_a_frame_is_offered() {
    let (mut guest, mut source) = (Receiver::new(16, V1), Source::new());
    let frames = short_frames(&mut source, 2);
    guest.driver.set_avail_index(17);
    guest.queue.prepare(&frames);
    guest.driver.set_avail_index(0);
    guest.post_many(DATA, 1526, 2);
    assert_eq!(guest.queue.offer_run(source.run(&frames)), (RunEnd::all(2), None));
}

#[test]
fn a_header_that_the_guest_changed_in_a_buffer_is_written_again() {
    let plain = [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0];
    let (mut guest, mut source) = (Receiver::new(32, MERGED), Source::new());
    let frames = short_frames(&mut source, 15);
    // First it is not there, then it is, and then one of its bytes is another, each in turn.
    for (at, frame) in frames.iter().enumerate() {
        let frame = std::slice::from_ref(frame);
        let head = guest.driver.chain(&[(DATA, 1526)], WRITE);
        guest.driver.offer(head);
        guest.queue.prepare(frame);
        if let Some(byte @ 0..12) = at.checked_sub(3) {
            guest.driver.write(DATA + byte as u64, &[0xa5]);
        }
        assert_eq!(guest.queue.offer_run(source.run(frame)), (RunEnd::all(1), None));
        assert_eq!(guest.settle(), [(u32::from(head), 72)]);
        assert_eq!(guest.driver.read(DATA, 12), plain, "frame {at}");
        assert_eq!(guest.driver.read(DATA + 12, 61), [&pattern(at + 60)[at..], &[0]].concat());
    }
}

#[test]
fn a_buffer_is_the_one_that_was_looked_at_even_if_its_descriptor_changes_meanwhile() {
    let (mut guest, mut source) = (Receiver::new(16, V1), Source::new());
    let frames = short_frames(&mut source, 2);
    // More often than chains are remembered.
    for round in 0..50 {
        for head in [0, 1] {
            let place = DATA + 0x100 * (2 * round + u64::from(head));
            guest.driver.put(head, Descriptor::new(place, 72, WRITE, 0));
            guest.driver.offer(head);
        }
        guest.queue.prepare(&frames);
        // A table, in unmapped memory; and a buffer that is too short.
        guest.driver.put(0, Descriptor::new(0x50_0000, 32, INDIRECT, 0));
        guest.driver.put(1, Descriptor::new(DATA + 0x8000, 10, WRITE, 0));
        assert_eq!(guest.queue.offer_run(source.run(&frames)), (RunEnd::all(2), None));
        assert_eq!(guest.settle(), [(0, 72), (1, 72)], "round {round}");
        let place = DATA + 0x200 * round + 12;
        assert_eq!(guest.driver.read(place, 60), pattern(60));
        assert_eq!(guest.driver.read(place + 0x100, 60), pattern(61)[1..]);
    }
}

#[test]
fn more_frames_than_can_be_prepared_for_all_arrive_in_order() {
    let (mut guest, mut source) = (Receiver::new(256, V1), Source::new());
    let frames: Vec<_> = (0..150).map(|at| source.plain(&pattern(200 + at))).collect();
    guest.post_many(DATA, 400, 150);
    for part in frames.chunks(50) {
        guest.queue.prepare(part);
    }
    assert_eq!(guest.queue.offer_run(source.run(&frames)), (RunEnd::all(150), None));
    for (at, used) in (0..150).zip(guest.settle()) {
        assert_eq!(used, (at, 212 + at));
        let (place, bytes) = (DATA + 400 * u64::from(at) + 12, 200 + at as usize);
        assert_eq!(guest.driver.read(place, bytes), pattern(bytes));
    }
}

#[test]
fn a_frame_whose_memory_is_gone_is_refused_alone_and_uses_no_buffer() {
    for prepared in [0, 3] {
        let (mut guest, mut source) = (Receiver::new(16, V1), Source::new());
        guest.post_many(DATA, 1526, 3);
        let frames = [
            source.plain(&pattern(400)),
            source.lost(&pattern(400)),
            // This one has no rest.
            source.lost(&pattern(100)),
        ];
        guest.queue.prepare(&frames[..prepared]);
        let (outcomes, _) = offer_together(&mut guest, &source, &frames);
        assert_eq!(outcomes, [Ok(()), Err(DropReason::PortDown), Ok(())]);
        assert_eq!(guest.settle(), [(0, 412), (1, 112)]);
        assert_eq!(guest.driver.read(DATA + 1526 + 12, 100), pattern(100));
    }
}

#[test]
fn a_run_fills_a_chain_of_many_buffers_as_it_fills_one() {
    for features in [V1, MERGED] {
        let (mut guest, mut source) = (Receiver::new(256, features), Source::new());
        for at in 0..3 {
            guest.post(&cut(DATA + 0x1000 * at, 1000, &[13]));
            guest.post(&[(DATA + 0x8000 + 0x1000 * at, 1000)]);
        }
        let frames: Vec<_> = (0..6).map(|at| source.plain(&pattern(900 + at))).collect();
        guest.queue.prepare(&frames);
        assert_eq!(guest.queue.offer_run(source.run(&frames)), (RunEnd::all(6), None));
        let used: Vec<_> = guest.settle().iter().map(|used| used.1).collect();
        assert_eq!(used, [912, 913, 914, 915, 916, 917]);
        assert_eq!(guest.driver.read(DATA + 0x2000 + 12, 904), pattern(904));
        assert_eq!(guest.driver.read(DATA + 0xa000 + 12, 905), pattern(905));
    }
}
