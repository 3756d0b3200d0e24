//! Buffers that were looked at ahead of time stay so until they are used: what a guest offers cannot make them be looked at
//! again for every frame, nor use up the steps of a turn.
#![cfg(test)]

mod support;

use helio_frame::{BURST_FRAMES, Delivery, Frame, Readiness};
use helio_types::DropReason;
use helio_vring::feature;
use support::{DATA, Descriptor, Receiver, Source, WRITE, pattern};

const V1: u64 = feature::VERSION_1;
const MERGED: u64 = V1 | feature::MRG_RXBUF;

type Outcomes = Vec<Result<(), DropReason>>;

/// Offers a burst as a worker and its port do: prepared for when it is announced, offered as a run, and from behind each
/// frame that is refused anew, prepared for again when nothing is.
fn deliver(guest: &mut Receiver, source: &Source, frames: &[Frame]) -> Outcomes {
    guest.queue.prepare(frames);
    let mut outcomes = Vec::new();
    while outcomes.len() < frames.len() {
        let left = &frames[outcomes.len()..];
        if !guest.queue.is_prepared() {
            guest.queue.prepare(left);
        }
        let (end, fault) = guest.queue.offer_run(source.run(left));
        assert_eq!(fault, None);
        outcomes.extend(vec![Ok(()); end.written]);
        if let Some((reason, count)) = end.refused {
            outcomes.extend(vec![Err(reason); count]);
        }
    }
    outcomes
}

fn burst(source: &mut Source, bytes: usize) -> Vec<Frame> {
    (0..BURST_FRAMES).map(|_| source.plain(&pattern(bytes))).collect()
}

/// A guest whose buffers, for two bursts, each are too small by one byte for a frame of 1514 bytes.
fn narrow_guest(features: u64) -> (Receiver, u32) {
    let mut guest = Receiver::new(256, features);
    let header_bytes = u32::try_from(guest.header_bytes).unwrap();
    guest.post_many(DATA, header_bytes + 1513, 128);
    (guest, header_bytes)
}

const ALL_TOO_LONG: [Result<(), DropReason>; BURST_FRAMES] =
    [Err(DropReason::RxBufferTooSmall); BURST_FRAMES];

#[test]
fn a_buffer_is_looked_at_once_however_many_frames_are_too_long_for_it() {
    for features in [0, V1] {
        let ((mut guest, header_bytes), mut source) = (narrow_guest(features), Source::new());
        let frames = burst(&mut source, 1514);
        for _ in 0..2 {
            assert_eq!(deliver(&mut guest, &source, &frames), ALL_TOO_LONG);
        }
        // Whoever looks again finds that there is room.
        for head in 0..128 {
            guest.driver.put(head, Descriptor::new(DATA + 0x10_0000, 4000, WRITE, 0));
        }
        for _ in 0..2 {
            assert_eq!(deliver(&mut guest, &source, &frames), ALL_TOO_LONG);
        }
        let short = source.plain(&pattern(60));
        assert_eq!(deliver(&mut guest, &source, &[short]), [Ok(())]);
        assert_eq!(guest.settle(), [(0, header_bytes + 60)]);
        assert_eq!(guest.driver.read(DATA + u64::from(header_bytes), 60), pattern(60));
    }
}

#[test]
fn frames_that_fit_are_written_in_the_turn_in_which_many_bursts_were_too_long() {
    for features in [0, V1] {
        let ((mut guest, header_bytes), mut source) = (narrow_guest(features), Source::new());
        let (long, short) = (burst(&mut source, 1514), burst(&mut source, 60));
        for _ in 0..100 {
            assert_eq!(deliver(&mut guest, &source, &long), ALL_TOO_LONG);
        }
        for _ in 0..2 {
            assert_eq!(deliver(&mut guest, &source, &short), [Ok(()); BURST_FRAMES]);
        }
        let expected: Vec<_> = (0..128).map(|head| (head, header_bytes + 60)).collect();
        assert_eq!(guest.settle(), expected);
    }
}

/// A guest whose chains are of two buffers, more of them than are read in one turn.
fn guest_with_pairs(features: u64) -> Receiver {
    let mut guest = Receiver::new(8192, features);
    for _ in 0..4000 {
        guest.post(&[(DATA, 30), (DATA + 0x100, 100)]);
    }
    guest
}

#[test]
fn looking_ahead_at_chains_of_two_buffers_takes_no_step_of_those_that_read_them() {
    for features in [V1, MERGED] {
        let mut source = Source::new();
        let frames = burst(&mut source, 60);
        let mut other = guest_with_pairs(features);
        let rest = source.run(&frames).rest_of(&frames[0]).unwrap();
        let delivery = Delivery::whole(frames[0].net, frames[0].head.bytes(), &[], rest);
        let mut read = 0;
        while other.queue.offer(&delivery) == Ok(Ok(())) {
            read += 1;
        }
        assert!((2000..4000).contains(&read), "{read} chains read in one turn");

        let mut guest = guest_with_pairs(features);
        let mut written = 0;
        loop {
            let outcomes = deliver(&mut guest, &source, &frames);
            let count = outcomes.iter().filter(|outcome| outcome.is_ok()).count();
            written += count;
            if count < BURST_FRAMES {
                break;
            }
        }
        assert_eq!(written, read);
    }
}

#[test]
fn buffers_behind_those_of_a_frame_in_several_chains_are_not_looked_at_again() {
    let (mut guest, mut source) = (Receiver::new(16, MERGED), Source::new());
    guest.post_many(DATA, 100, 4);
    let frames = [500, 150, 60, 60].map(|bytes| source.plain(&pattern(bytes)));
    guest.queue.prepare(&frames);
    // Whoever looks again at these finds no memory.
    for head in [2, 3] {
        guest.driver.put(head, Descriptor::new(0x50_0000, 100, WRITE, 0));
    }
    let outcomes = deliver(&mut guest, &source, &frames[1..]);
    assert_eq!(outcomes, [Ok(()), Ok(()), Ok(())]);
    assert_eq!(guest.settle(), [(0, 100), (1, 62), (2, 72), (3, 72)]);
    assert_eq!(guest.driver.read(DATA + 312, 60), pattern(60));
}

#[test]
fn buffers_that_were_looked_at_are_written_also_when_the_guest_takes_its_offer_back() {
    for together in [[3, 0], [1, 2]] {
        let (mut guest, mut source) = (Receiver::new(16, MERGED), Source::new());
        guest.post_many(DATA, 100, 3);
        let frames = [500, 60, 60].map(|bytes| source.plain(&pattern(bytes)));
        guest.queue.prepare(&frames);
        guest.driver.set_avail_index(0);
        let mut outcomes = Vec::new();
        for count in together {
            let now = &frames[outcomes.len()..][..count];
            outcomes.extend(deliver(&mut guest, &source, now));
        }
        assert_eq!(outcomes, [Err(DropReason::NoRxBuffer), Ok(()), Ok(())]);
        assert_eq!(guest.settle(), [(0, 72), (1, 72)]);
    }
}

#[test]
fn a_ring_too_small_for_a_frame_as_a_whole_is_walked_for_some_frames_of_a_turn_and_no_more() {
    let (mut guest, mut source) = (Receiver::new(128, MERGED), Source::new());
    // All together have less than 1514 bytes; to find that out, each is walked.
    guest.post_many(DATA, 11, 128);
    let (long, short) = (burst(&mut source, 1514), [source.plain(&pattern(60))]);
    for _turn in 0..3 {
        let outcomes = deliver(&mut guest, &source, &long);
        let walked = outcomes.iter().take_while(|it| **it == Err(DropReason::NoRxBuffer)).count();
        // Two steps for each of its chains. That there is no more is seen before it is asked whether there are more chains.
        assert_eq!(walked, 8 * 1024 / (2 * 128) - 1);
        let unwalked = &outcomes[walked..];
        assert!(unwalked.iter().all(|it| *it == Err(DropReason::RxBufferTooSmall)), "{unwalked:?}");
        // That is what it costs itself: until the turn ends a frame that would fit is refused as well.
        assert_eq!(deliver(&mut guest, &source, &short), [Err(DropReason::RxBufferTooSmall)]);
        assert_eq!(guest.settle(), []);
    }
    assert_eq!(deliver(&mut guest, &source, &short), [Ok(())]);
    assert_eq!(guest.settle().len(), 7);
}

#[test]
fn a_guest_without_a_buffer_is_known_to_have_none_until_it_offers_one() {
    for features in [0, V1, MERGED] {
        let (mut guest, mut source) = (Receiver::new(256, features), Source::new());
        let frames = [source.plain(&pattern(60)), source.plain(&pattern(60))];
        for _ in 0..3 {
            assert_eq!(guest.queue.prepare(&frames), Readiness::NoBuffer);
            // Nothing was published since.
            guest.post_many(DATA, 2048, 1);
            assert_eq!(guest.queue.prepare(&frames), Readiness::Room);
            assert_eq!(
                deliver(&mut guest, &source, &frames),
                [Ok(()), Err(DropReason::NoRxBuffer)]
            );
        }
        assert_eq!(guest.queue.prepare(&frames), Readiness::NoBuffer);
        assert_eq!(guest.settle().len(), 3);
    }
}

#[test]
fn a_guest_that_offers_what_it_cannot_have_is_not_taken_for_one_without_a_buffer() {
    let (mut guest, mut source) = (Receiver::new(256, V1), Source::new());
    guest.driver.set_avail_index(300);
    let frames = [source.plain(&pattern(60))];
    assert_eq!(guest.queue.prepare(&frames), Readiness::Unknown);
    assert!(guest.queue.offer_run(source.run(&frames)).1.is_some());
}
