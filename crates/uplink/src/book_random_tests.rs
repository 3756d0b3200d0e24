//! Whatever is done to the book of the chunks, in any order, its numbers add up.

use proptest::prelude::*;

use crate::book::{Book, Exchange};

/// Lends up to four chunks; which.
fn lend_some(book: &mut Book, number: u16) -> Vec<u16> {
    let chunks = book.next_spare(usize::from(number % 5)).to_vec();
    book.lend(chunks.len());
    chunks
}

/// Receives a frame into up to three of the chunks that are lent; into which.
fn receive_one(book: &mut Book, lent: &mut Vec<u16>, number: u16) -> Vec<u16> {
    let length = usize::from(number % 3 + 1).min(lent.len());
    let chunks: Vec<u16> = lent.drain(..length).collect();
    let mut last = None;
    for chunk in &chunks {
        assert!(book.arrive(*chunk, last));
        last = Some(*chunk);
    }
    chunks
}

proptest! {
    /// Two queues give each other chunks for frames: each goes on to have as many, and none has what the other has.
    #[test]
    fn exchanging_changes_no_number_and_no_chunk_is_in_two_places(
        steps in proptest::collection::vec((0..5_u8, any::<u16>()), 1..300)
    ) {
        let mut book = Book::new(24, &(0..16).collect::<Vec<_>>());
        let (mut lent, mut frames, mut theirs) = (Vec::new(), Vec::new(), (16..24).collect::<Vec<u16>>());
        for (step, number) in steps {
            match step {
                0 => lent.extend(lend_some(&mut book, number)),
                1 => {
                    let chunks = receive_one(&mut book, &mut lent, number);
                    frames.extend((!chunks.is_empty()).then_some(chunks));
                }
                2 if !frames.is_empty() => {
                    let chunks = frames.swap_remove(usize::from(number) % frames.len());
                    book.release(chunks[0]);
                }
                3 if !frames.is_empty() => {
                    let chunks: Vec<u16> = frames.swap_remove(usize::from(number) % frames.len());
                    let given: Vec<u16> = theirs.drain(..chunks.len()).collect();
                    let after = |chunk| {
                        let at = given.iter().position(|given| *given == chunk)?;
                        given.get(at + 1).copied()
                    };
                    prop_assert_eq!(book.exchange(chunks[0], given[0], after), Exchange::AsHeld);
                    theirs.extend(chunks);
                }
                4 => {
                    if let Some(chunk) = lent.pop() {
                        prop_assert!(book.pass(chunk) && !book.pass(chunk));
                    }
                }
                _ => {}
            }
            let census = book.census();
            prop_assert_eq!((census.total(), census.lent), (16, lent.len()));
            let held = frames.iter().flatten();
            let mut all: Vec<u16> = book.at_rest().chain(held.copied()).chain(theirs.iter().copied()).collect();
            all.sort_unstable();
            prop_assert_eq!(all, (0..24).collect::<Vec<_>>());
            prop_assert!(lent.iter().all(|chunk| book.at_rest().any(|ours| ours == *chunk)));
        }
    }

    /// Frames of random lengths come and go in any order.
    #[test]
    fn no_chunk_is_lost_and_none_is_in_two_places(steps in proptest::collection::vec((0..5_u8, any::<u16>()), 1..300)) {
        let mut book = Book::new(16, &(0..16).collect::<Vec<_>>());
        let (mut lent, mut frames) = (Vec::new(), Vec::new());
        for (step, number) in steps {
            match step {
                0 => lent.extend(lend_some(&mut book, number)),
                1 => {
                    let chunks = receive_one(&mut book, &mut lent, number);
                    frames.extend(chunks.first().map(|first| (*first, 1)));
                }
                2 if !frames.is_empty() => {
                    let at = usize::from(number) % frames.len();
                    book.hold(frames[at].0);
                    frames[at].1 += 1;
                }
                3 if !frames.is_empty() => {
                    let at = usize::from(number) % frames.len();
                    book.release(frames[at].0);
                    frames[at].1 -= 1;
                    if frames[at].1 == 0 {
                        frames.remove(at);
                    }
                }
                4 => {
                    if let Some(chunk) = lent.pop() {
                        prop_assert!(book.pass(chunk) && !book.pass(chunk));
                    }
                }
                _ => {}
            }
            let census = book.census();
            prop_assert_eq!((census.total(), census.lent), (16, lent.len()));
            let spare: std::collections::BTreeSet<_> = book.next_spare(16).iter().collect();
            prop_assert_eq!(spare.len(), census.spare);
        }
        for (first, holds) in frames {
            (0..holds).for_each(|_| book.release(first));
        }
        prop_assert_eq!(book.held(), 0);
    }
}
