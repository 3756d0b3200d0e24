//! The verdicts of filters are those of tcpdump, on frames of all kinds.
#![cfg(test)]

mod capture;
mod filters;
mod traffic;

use std::collections::BTreeSet;

use helio_filter::compile;

use capture::Capture;
use filters::FILTERS;

const FRAMES: usize = 12_000;
const HEAD_BYTES: usize = 128;

#[test]
fn each_filter_wants_the_frames_that_tcpdump_wants_and_neither_none_nor_all() {
    let frames = traffic::frames(FRAMES);
    let capture = Capture::of(&frames);
    for filter in FILTERS {
        let program = compile(filter).unwrap();
        let wanted = |head_bytes: usize| -> BTreeSet<usize> {
            let accepts = |frame: &Vec<u8>| {
                let (head, tail) = frame.split_at(head_bytes.min(frame.len()));
                program.accepts(head, tail, u32::try_from(frame.len()).unwrap())
            };
            (0..FRAMES).filter(|&index| accepts(&frames[index])).collect()
        };
        let ours = wanted(HEAD_BYTES);
        let theirs = capture.wanted(filter);
        let differing = ours.symmetric_difference(&theirs).next();
        let shown = differing.map(|&index| (theirs.contains(&index), &frames[index]));
        assert_eq!(shown, None, "{filter}: tcpdump wants it or not");
        assert!(!ours.is_empty() && ours.len() < FRAMES, "{filter}: {} frames", ours.len());
        assert_eq!(wanted(15), ours, "{filter}, with little in the head");
    }
}

#[test]
fn there_are_enough_filters_and_none_twice() {
    assert!(FILTERS.len() >= 60);
    assert_eq!(BTreeSet::from(FILTERS).len(), FILTERS.len());
}
