//! How much of what a session wants is copied: sampling, rates, and what of both a new configuration keeps.

use std::num::{NonZeroU32, NonZeroU64};
use std::sync::atomic::Ordering;

use helio_encap::SnapLen;
use helio_mirror::{Directions, LegForm, Rate, Session};
use helio_types::DropReason;

use crate::sessions::{frames_of, remote, session, stage_with};
use crate::stage::{Stage, broadcast, frame, ordinary, vid};

fn one_in(frames: u32) -> NonZeroU32 {
    NonZeroU32::new(frames).unwrap()
}

fn frames_rate(per_second: u64, burst: u32) -> Option<Rate> {
    let burst = NonZeroU32::new(burst).unwrap();
    Some(Rate::Frames { per_second: NonZeroU64::new(per_second).unwrap(), burst })
}

fn bytes_rate(per_second: u64, burst: u32) -> Option<Rate> {
    Some(Rate::Bytes { per_second: NonZeroU64::new(per_second).unwrap(), burst })
}

/// A session that watches port 0 and copies to port 2.
fn watching() -> Session {
    session(&[0], &[(0, 2, LegForm::Plain)])
}

/// Frames of 242 bytes from port 0 to port 1, each with its number in its last byte.
fn send_numbered(stage: &mut Stage, numbers: std::ops::Range<u8>) {
    for number in numbers {
        let mut frame = frame(0, 1).payload(200, 3).complete();
        *frame.bytes.last_mut().unwrap() = number;
        stage.send(0, &frame);
    }
    stage.settle();
}

/// The numbers of the copies that port 2 got since this was last asked.
fn copied(stage: &Stage) -> Vec<u8> {
    stage.bytes_at(2).iter().map(|copy| *copy.last().unwrap()).collect()
}

fn wait(stage: &Stage, ns: u64) {
    stage.now_ns.fetch_add(ns, Ordering::Relaxed);
}

#[test]
fn of_any_n_frames_in_a_row_exactly_one_is_copied() {
    for n in [1, 2, 7, 50] {
        let plans = vec![ordinary(); 4];
        let mut stage = stage_with(&plans, vec![Session { one_in: one_in(n), ..watching() }]);
        for turn in 0..10 {
            send_numbered(&mut stage, turn * 20..turn * 20 + 20);
        }
        let numbers = copied(&stage);
        let n = u8::try_from(n).unwrap();
        assert!(numbers[0] < n);
        assert!(numbers.windows(2).all(|pair| pair[1] - pair[0] == n), "{numbers:?}");
        assert!(200 - numbers.last().unwrap() <= n);
        let count = u64::try_from(numbers.len()).unwrap();
        assert_eq!(frames_of(&stage, 0, DropReason::RateLimit), [count, count, 0]);
        assert_eq!(stage.received(1).len(), 200);
    }
}

#[test]
fn only_what_concerns_a_session_and_passes_its_filter_counts_for_its_sampling() {
    let plans = vec![ordinary(); 4];
    let sampling = Session {
        one_in: one_in(4),
        directions: Directions::Ingress,
        filter: Some(helio_filter::compile("udp").unwrap()),
        ..watching()
    };
    let mut stage = stage_with(&plans, vec![sampling]);
    for number in 0..40 {
        stage.send(0, &frame(0, 3).tcp().complete());
        stage.send(1, &frame(1, 0).complete());
        send_numbered(&mut stage, number..number + 1);
    }
    let numbers = copied(&stage);
    assert_eq!(numbers.len(), 10);
    assert!(numbers.windows(2).all(|pair| pair[1] - pair[0] == 4), "{numbers:?}");
}

#[test]
fn each_session_samples_for_itself_and_each_of_its_legs_gets_the_same_frames() {
    let plans = vec![ordinary(); 5];
    let legs = [(0, 2, LegForm::Plain), (1, 3, LegForm::Plain)];
    let sampling = Session { one_in: one_in(5), ..session(&[0], &legs) };
    let other =
        Session { number: 2, one_in: one_in(2), ..session(&[0], &[(2, 4, LegForm::Plain)]) };
    let mut stage = stage_with(&plans, vec![sampling, other]);
    send_numbered(&mut stage, 0..100);
    let counts = [2, 3, 4].map(|index| stage.bytes_at(index));
    assert_eq!(counts[0], counts[1]);
    assert_eq!((counts[0].len(), counts[2].len()), (20, 50));
}

#[test]
fn copies_beyond_the_rate_are_wanted_and_dropped_until_time_has_passed() {
    let plans = vec![ordinary(); 3];
    let limited = Session { rate: frames_rate(10, 2), ..watching() };
    let mut stage = stage_with(&plans, vec![limited]);
    for (pause_ns, expected) in
        [(0, &[0, 1][..]), (99_999_999, &[]), (1, &[0]), (300_000_000, &[0, 1])]
    {
        wait(&stage, pause_ns);
        send_numbered(&mut stage, 0..5);
        assert_eq!(copied(&stage), expected);
    }
    assert_eq!(frames_of(&stage, 0, DropReason::RateLimit), [20, 5, 15]);
    assert_eq!(stage.leg_counts(0).dropped[DropReason::RateLimit.index()].bytes, 15 * 242);
    assert_eq!(stage.received(1).len(), 20);
}

#[test]
fn a_rate_in_bytes_is_one_of_what_is_left_after_the_snap_length() {
    // A burst is at least as long as the longest frame: 65,553 bytes.
    let burst = 65_553;
    for (snap_len, length) in [(SnapLen::WHOLE, 242), (SnapLen::new(100).unwrap(), 100)] {
        for form in [LegForm::Plain, remote()] {
            let plans = vec![ordinary(); 3];
            let limited =
                Session { snap_len, rate: bytes_rate(1000, 0), ..session(&[0], &[(0, 2, form)]) };
            let mut stage = stage_with(&plans, vec![limited]);
            (0..7).for_each(|_| send_numbered(&mut stage, 0..200));
            let passed = burst / length;
            assert_eq!(stage.received(2).len(), usize::try_from(passed).unwrap());
            let missing = (passed + 1) * length - burst;
            wait(&stage, missing * 1_000_000 - 1);
            send_numbered(&mut stage, 0..2);
            assert_eq!(stage.received(2).len(), 0);
            wait(&stage, 1);
            send_numbered(&mut stage, 0..2);
            assert_eq!(stage.received(2).len(), 1);
        }
    }
}

#[test]
fn each_segment_is_cut_before_it_counts_against_a_rate_in_bytes() {
    let plans = vec![ordinary(); 3];
    // 70 segments of 100 bytes, and one of 54 + 6.
    let long = frame(0, 1).tcp().payload(70 * 900 + 6, 1).to_segment(900);
    let snap_len = SnapLen::new(100).unwrap();
    let limited = Session { snap_len, rate: bytes_rate(1_000_000, 0), ..watching() };
    let mut stage = stage_with(&plans, vec![limited]);
    (0..12).for_each(|_| stage.send(0, &long));
    stage.settle();
    // 9 times 7060 bytes are within 65,553, and 10 are not.
    assert_eq!(frames_of(&stage, 0, DropReason::RateLimit), [12 * 71, 9 * 71, 3 * 71]);
    wait(&stage, (70_600 - 65_553) * 1000 - 1);
    stage.send(0, &long);
    stage.settle();
    assert_eq!(frames_of(&stage, 0, DropReason::RateLimit)[1], 9 * 71);
    wait(&stage, 1);
    stage.send(0, &long);
    stage.settle();
    assert_eq!(frames_of(&stage, 0, DropReason::RateLimit)[1], 10 * 71);
}

#[test]
fn a_frame_that_stands_for_segments_counts_as_so_many_copies() {
    let plans = vec![ordinary(); 3];
    let mut stage = stage_with(&plans, vec![Session { rate: frames_rate(1000, 10), ..watching() }]);
    // Three segments each.
    (0..5).for_each(|_| stage.send(0, &frame(0, 1).tcp().payload(2500, 1).to_segment(1000)));
    stage.settle();
    assert_eq!(frames_of(&stage, 0, DropReason::RateLimit), [15, 9, 6]);
    send_numbered(&mut stage, 0..2);
    assert_eq!(frames_of(&stage, 0, DropReason::RateLimit), [17, 10, 7]);
}

#[test]
fn a_frame_of_more_segments_than_the_burst_passes_at_times_and_the_rate_holds() {
    let plans = vec![ordinary(); 3];
    let limited = Session { rate: frames_rate(1000, 10), ..watching() };
    let mut stage = stage_with(&plans, vec![limited]);
    let long = frame(0, 1).tcp().payload(30_000, 1).to_segment(1000);
    // 30 segments every millisecond, of which one is allowed.
    for _ in 0..300 {
        stage.send(0, &long);
        stage.settle();
        wait(&stage, 1_000_000);
    }
    let [wanted, delivered, dropped] = frames_of(&stage, 0, DropReason::RateLimit);
    assert_eq!((wanted, delivered + dropped), (9000, 9000));
    // The burst once, the rate for the time, and no more than one frame of what is owed.
    assert!((300..=340).contains(&delivered), "{delivered}");
}

#[test]
fn a_rate_is_that_of_the_session_whatever_the_number_of_its_legs() {
    let plans = vec![ordinary(); 4];
    let legs = [(0, 2, LegForm::Plain), (1, 3, remote())];
    let limited = Session { rate: frames_rate(1, 3), ..session(&[0], &legs) };
    let other = Session { number: 2, ..session(&[0], &[(2, 2, LegForm::Plain)]) };
    let mut stage = stage_with(&plans, vec![limited, other]);
    send_numbered(&mut stage, 0..5);
    assert_eq!([0, 1].map(|leg| frames_of(&stage, leg, DropReason::RateLimit)), [[5, 3, 2]; 2]);
    // Without a rate of its own, and at the same port.
    assert_eq!(frames_of(&stage, 2, DropReason::RateLimit), [5, 5, 0]);
    assert_eq!(stage.received_counts(), [0, 5, 5, 3]);
}

#[test]
fn workers_share_a_rate_and_who_has_frames_gets_it() {
    let plans = vec![ordinary(), ordinary(), ordinary(), ordinary().on(1)];
    let mut stage = Stage::new(2, &plans);
    stage.know_all(vid(0));
    let limited =
        Session { rate: frames_rate(10, 8), ..session(&[0, 3], &[(0, 2, LegForm::Plain)]) };
    stage.configure_sessions(&plans, vec![limited]);
    for (pause_ns, from, expected) in [
        (0, 3, 8),
        (0, 0, 0),
        (99_999_999, 3, 0),
        (1, 0, 1),
        (0, 3, 0),
        (200_000_000, 3, 2),
        (2_000_000_000, 0, 8),
    ] {
        wait(&stage, pause_ns);
        (0..10).for_each(|_| stage.send(from, &frame(from, 1).complete()));
        stage.settle();
        assert_eq!(stage.received(2).len(), expected, "from {from} after {pause_ns}");
    }
}

#[test]
fn each_worker_samples_for_itself() {
    let plans: Vec<_> = (0..6).map(|index| ordinary().on(index % 3)).collect();
    let mut stage = Stage::new(3, &plans);
    let sampling = Session { one_in: one_in(5), ..session(&[0, 1, 2], &[(0, 5, LegForm::Plain)]) };
    stage.configure_sessions(&plans, vec![sampling]);
    for from in [0, 1, 2] {
        (0..50).for_each(|_| stage.send(from, &broadcast(from).complete()));
        stage.settle();
        assert_eq!(stage.leg_counts(0).delivered.frames, 10 * (u64::try_from(from).unwrap() + 1));
    }
}

#[test]
fn a_session_that_stays_keeps_its_sampling_and_its_rate_and_another_one_begins_anew() {
    let plans = vec![ordinary(); 4];
    let other = Session { number: 9, ..session(&[1], &[(3, 3, LegForm::Plain)]) };
    let sampling = Session { one_in: one_in(10), ..watching() };
    let limited =
        Session { number: 2, rate: frames_rate(1, 3), ..session(&[0], &[(1, 3, LegForm::Plain)]) };
    let mut stage = stage_with(&plans, vec![sampling.clone(), limited.clone()]);
    let mut numbers = Vec::new();
    for round in 0..6 {
        send_numbered(&mut stage, round * 7..round * 7 + 7);
        numbers.extend(copied(&stage));
        // In another place among others, and back.
        let sessions = if round % 2 == 0 {
            vec![other.clone(), limited.clone(), sampling.clone()]
        } else {
            vec![sampling.clone(), limited.clone()]
        };
        stage.configure_sessions(&plans, sessions);
    }
    assert!(numbers.windows(2).all(|pair| pair[1] - pair[0] == 10), "{numbers:?}");
    assert!((4..=5).contains(&numbers.len()), "{numbers:?}");
    assert_eq!(frames_of(&stage, 1, DropReason::RateLimit), [42, 3, 39]);
    // With another number it is another one.
    let anew = Session { number: 3, ..limited };
    stage.configure_sessions(&plans, vec![sampling, anew]);
    send_numbered(&mut stage, 0..7);
    assert_eq!(frames_of(&stage, 1, DropReason::RateLimit), [49, 6, 43]);
}

#[test]
fn a_change_of_a_session_begins_anew_only_what_it_changes() {
    let plans = vec![ordinary(); 3];
    let first = Session { one_in: one_in(10), rate: frames_rate(1, 3), ..watching() };
    let shorter = Session { snap_len: SnapLen::new(242).unwrap(), ..first.clone() };
    let tighter = Session { rate: frames_rate(1, 2), ..shorter.clone() };
    let denser = Session { one_in: one_in(1), ..tighter.clone() };
    let wider = Session { rate: frames_rate(1, 3), ..denser.clone() };
    let mut stage = stage_with(&plans, vec![first]);
    send_numbered(&mut stage, 0..13);
    let seen = copied(&stage);
    let tenth = |numbers: std::ops::Range<u8>| numbers.filter(|number| number % 10 == seen[0] % 10);
    // What is left of the burst, and then none.
    stage.configure_sessions(&plans, vec![shorter]);
    send_numbered(&mut stage, 13..63);
    assert_eq!(copied(&stage), tenth(13..63).take(3 - seen.len()).collect::<Vec<_>>());
    // All of another burst, and the tenth frame after the last.
    stage.configure_sessions(&plans, vec![tighter]);
    send_numbered(&mut stage, 63..103);
    assert_eq!(copied(&stage), tenth(63..103).take(2).collect::<Vec<_>>());
    // Each frame, and none of the burst.
    stage.configure_sessions(&plans, vec![denser]);
    send_numbered(&mut stage, 103..110);
    let wanted = tenth(0..103).count() as u64 + 7;
    assert_eq!(frames_of(&stage, 0, DropReason::RateLimit)[0], wanted);
    assert_eq!(copied(&stage), [0; 0]);
    stage.configure_sessions(&plans, vec![wider]);
    send_numbered(&mut stage, 110..120);
    assert_eq!(copied(&stage), [110, 111, 112]);
}

#[test]
fn a_session_that_was_gone_begins_anew() {
    let plans = vec![ordinary(); 3];
    let limited = Session { rate: frames_rate(1, 3), ..watching() };
    let mut stage = stage_with(&plans, vec![limited.clone()]);
    send_numbered(&mut stage, 0..5);
    stage.configure_sessions(&plans, Vec::new());
    send_numbered(&mut stage, 0..5);
    stage.configure_sessions(&plans, vec![limited]);
    send_numbered(&mut stage, 0..5);
    assert_eq!(frames_of(&stage, 0, DropReason::RateLimit), [10, 6, 4]);
}
