//! The book of the chunks that a queue receives into: where each of them is. Used by the worker.
//!
//! A chunk is with us, lent to the kernel, or held. Frames in several chunks are held by their first one, which leads to the
//! others. The three always add up to the number of chunks that are ours. Where uplinks share a UMEM, those of a frame can be
//! exchanged for as many others: then it is another number that is ours, and all else is as it was.

/// No chunk.
const NONE: u16 = u16::MAX;

/// Where chunks are, as numbers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Census {
    /// For receiving, with us: to be lent at the next opportunity.
    pub spare: usize,
    /// For receiving, with the kernel: in the fill ring, in the driver, or in the rx ring.
    pub lent: usize,
    /// For receiving, read from the rx ring, and not given back by all deliveries.
    pub held: usize,
    /// For sending, with us.
    pub free: usize,
    /// For sending, written, and not yet shown to the kernel.
    pub staged: usize,
    /// For sending, with the kernel: in the tx ring, in the driver, or in the completion ring.
    pub sent: usize,
}

impl Census {
    /// All chunks.
    #[must_use]
    pub fn total(&self) -> usize {
        self.spare + self.lent + self.held + self.free + self.staged + self.sent
    }

    pub(crate) fn add(&mut self, other: &Self) {
        self.spare += other.spare;
        self.lent += other.lent;
        self.held += other.held;
        self.free += other.free;
        self.staged += other.staged;
        self.sent += other.sent;
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    /// With us.
    Spare,
    /// With the kernel.
    Lent,
    /// Read from the rx ring, and part of a frame.
    Held,
    /// Not ours.
    Elsewhere,
}

#[derive(Clone, Copy, Debug)]
struct Entry {
    place: Place,
    /// Deliveries that the frame is still held for; of its first chunk.
    holds: u16,
    /// The next chunk of the same frame.
    next: u16,
}

/// The chunks that one queue receives into, by their number in its stock.
#[derive(Debug)]
pub(crate) struct Book {
    /// Of the whole stock.
    entries: Box<[Entry]>,
    /// Those with us; room for all that are ours.
    spare: Vec<u16>,
    held: usize,
    /// How many are ours.
    ours: usize,
}

impl Book {
    /// The chunks `ours` of a stock of `stock` chunks, which are at most [`u16::MAX`]. All of them are with us.
    pub(crate) fn new(stock: u16, ours: &[u16]) -> Self {
        let entry = Entry { place: Place::Elsewhere, holds: 0, next: NONE };
        let mut entries = vec![entry; usize::from(stock)].into_boxed_slice();
        for chunk in ours {
            if let Some(entry) = entries.get_mut(usize::from(*chunk)) {
                entry.place = Place::Spare;
            }
        }
        Self { entries, spare: ours.iter().rev().copied().collect(), held: 0, ours: ours.len() }
    }

    /// The `count` chunks with us that are to be lent next; fewer when there are no more.
    pub(crate) fn next_spare(&self, count: usize) -> &[u16] {
        self.spare.get(self.spare.len().saturating_sub(count)..).unwrap_or_default()
    }

    /// The kernel has taken the `count` chunks that [`Book::next_spare`] named.
    pub(crate) fn lend(&mut self, count: usize) {
        let kept = self.spare.len().saturating_sub(count);
        for chunk in self.spare.get(kept..).unwrap_or_default() {
            if let Some(entry) = self.entries.get_mut(usize::from(*chunk)) {
                entry.place = Place::Lent;
            }
        }
        self.spare.truncate(kept);
    }

    pub(crate) fn has_spare(&self) -> bool {
        !self.spare.is_empty()
    }

    /// The kernel gave a chunk back, as the next one of the frame whose last one is `after`, or as the first one of a frame,
    /// held once. `false` when it had not got it.
    pub(crate) fn arrive(&mut self, chunk: u16, after: Option<u16>) -> bool {
        let Some(entry) = self.entries.get_mut(usize::from(chunk)) else { return false };
        if entry.place != Place::Lent {
            return false;
        }
        *entry = Entry { place: Place::Held, holds: u16::from(after.is_none()), next: NONE };
        self.held += 1;
        if let Some(last) = after.and_then(|last| self.entries.get_mut(usize::from(last))) {
            last.next = chunk;
        }
        true
    }

    /// Holds the frame that begins in `first` once more.
    pub(crate) fn hold(&mut self, first: u16) {
        if let Some(entry) = self.entries.get_mut(usize::from(first)) {
            debug_assert!(entry.holds > 0, "chunk {first} is held once more, and nobody held it");
            entry.holds = entry.holds.saturating_add(1);
        }
    }

    /// Gives one hold of that frame back. With the last one its chunks are ours again.
    pub(crate) fn release(&mut self, first: u16) {
        let Some(entry) = self.entries.get_mut(usize::from(first)) else { return };
        debug_assert!(entry.holds > 0, "chunk {first} is released more often than it was held");
        // One that is ours already stays ours once: lent twice, it would mix two frames.
        let Some(left) = entry.holds.checked_sub(1) else { return };
        entry.holds = left;
        if left == 0 {
            self.take_back(first);
        }
    }

    fn take_back(&mut self, first: u16) {
        let mut chunk = first;
        // A chain of held chunks has no loop: each is put at the end of one chain, once, when it arrives.
        while let Some(entry) = self.entries.get_mut(usize::from(chunk)) {
            debug_assert!(entry.place == Place::Held, "chunk {chunk} is not held");
            let next = std::mem::replace(&mut entry.next, NONE);
            entry.place = Place::Spare;
            self.spare.push(chunk);
            self.held = self.held.saturating_sub(1);
            chunk = next;
        }
    }

    /// The chunks of the frame that begins in `first` are another's from now on. As many others are ours for them, and with us:
    /// `instead`, and those that `after` says follow it. Nobody else holds the frame.
    pub(crate) fn exchange(
        &mut self,
        first: u16,
        instead: u16,
        after: impl Fn(u16) -> Option<u16>,
    ) {
        let (mut chunk, mut given) = (first, Some(instead));
        while let Some(entry) = self.entries.get_mut(usize::from(chunk)) {
            debug_assert!(entry.place == Place::Held, "chunk {chunk} is exchanged and not held");
            debug_assert!(
                entry.holds == u16::from(chunk == first),
                "chunk {chunk} is held by others"
            );
            if entry.place != Place::Held {
                return;
            }
            let next = entry.next;
            *entry = Entry { place: Place::Elsewhere, holds: 0, next: NONE };
            self.held = self.held.saturating_sub(1);
            self.ours = self.ours.saturating_sub(1);
            if let Some(number) = given {
                self.take_over(number);
            }
            given = if next == NONE { None } else { given.and_then(&after) };
            chunk = next;
        }
    }

    /// A chunk that was another's is ours, and with us.
    fn take_over(&mut self, chunk: u16) {
        let Some(entry) = self.entries.get_mut(usize::from(chunk)) else { return };
        debug_assert!(entry.place == Place::Elsewhere, "chunk {chunk} is given, and was ours");
        // Lent twice, it would mix two frames.
        if entry.place == Place::Elsewhere {
            entry.place = Place::Spare;
            self.spare.push(chunk);
            self.ours += 1;
        }
    }

    /// The chunks that are ours and no frame lies in, with us or with the kernel.
    pub(crate) fn at_rest(&self) -> impl Iterator<Item = u16> + '_ {
        let numbered = (0..u16::MAX).zip(&self.entries);
        let at_rest = |entry: &Entry| matches!(entry.place, Place::Spare | Place::Lent);
        numbered.filter(move |(_, entry)| at_rest(entry)).map(|(chunk, _)| chunk)
    }

    /// Number of chunks that are held.
    pub(crate) fn held(&self) -> usize {
        self.held
    }

    pub(crate) fn census(&self) -> Census {
        let (spare, held) = (self.spare.len(), self.held);
        Census { spare, held, lent: self.ours.saturating_sub(spare + held), ..Census::default() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// All chunks of a stock.
    fn whole(chunks: u16) -> Book {
        Book::new(chunks, &(0..chunks).collect::<Vec<_>>())
    }

    fn lend_all(book: &mut Book) -> Vec<u16> {
        let chunks = book.next_spare(usize::MAX).to_vec();
        book.lend(chunks.len());
        chunks
    }

    #[test]
    fn a_chunk_is_ours_again_with_its_last_hold_and_not_before() {
        let mut book = whole(4);
        assert_eq!(lend_all(&mut book).len(), 4);
        assert!(book.arrive(2, None));
        book.hold(2);
        book.release(2);
        assert!(book.next_spare(4).is_empty());
        book.release(2);
        assert_eq!(book.next_spare(4), [2]);
        assert_eq!(book.census(), Census { spare: 1, lent: 3, ..Census::default() });
    }

    #[test]
    fn all_chunks_of_a_frame_come_back_together() {
        let mut book = whole(8);
        lend_all(&mut book);
        assert!(book.arrive(3, None) && book.arrive(5, Some(3)) && book.arrive(1, Some(5)));
        assert!(book.arrive(7, None));
        assert_eq!(book.held(), 4);
        book.release(3);
        let mut spare = book.next_spare(8).to_vec();
        spare.sort_unstable();
        assert_eq!((spare, book.held()), (vec![1, 3, 5], 1));
    }

    #[test]
    fn a_chunk_that_the_kernel_had_not_got_does_not_arrive() {
        let mut book = whole(2);
        assert!(!book.arrive(0, None));
        lend_all(&mut book);
        assert!(book.arrive(0, None));
        assert!(!book.arrive(0, None) && !book.arrive(2, None));
    }

    #[test]
    fn what_the_kernel_did_not_take_stays_ours() {
        let mut book = whole(4);
        let named = book.next_spare(3).to_vec();
        book.lend(3);
        assert_eq!(book.next_spare(4).len(), 1);
        assert!(!named.contains(&book.next_spare(4)[0]));
    }

    #[test]
    #[cfg(debug_assertions)]
    #[should_panic(expected = "released more often")]
    fn a_release_too_many_is_found_in_a_debug_build() {
        let mut book = whole(2);
        lend_all(&mut book);
        assert!(book.arrive(0, None));
        book.release(0);
        book.release(0);
    }

    #[test]
    fn the_chunks_of_a_frame_are_exchanged_for_as_many_others() {
        let mut book = Book::new(8, &[0, 1, 2, 3]);
        assert_eq!(lend_all(&mut book).len(), 4);
        assert!(book.arrive(2, None) && book.arrive(0, Some(2)));
        book.exchange(2, 7, |chunk| Some(chunk - 2));
        assert_eq!(book.census(), Census { spare: 2, lent: 2, ..Census::default() });
        assert_eq!(book.at_rest().collect::<Vec<_>>(), [1, 3, 5, 7]);
        // What was given away does not arrive, and what was got can be lent.
        assert!(!book.arrive(2, None) && !book.arrive(7, None));
        assert_eq!(lend_all(&mut book).len(), 2);
        assert!(book.arrive(7, None) && !book.arrive(0, None));
    }

    #[test]
    #[cfg(debug_assertions)]
    #[should_panic(expected = "is held by others")]
    fn a_frame_that_others_hold_is_not_exchanged() {
        let mut book = Book::new(3, &[0, 1]);
        lend_all(&mut book);
        assert!(book.arrive(0, None));
        book.hold(0);
        book.exchange(0, 2, |_| None);
    }

    proptest! {
        /// Two queues give each other chunks for frames: each goes on to have as many, and none has what the other has.
        #[test]
        fn exchanging_changes_no_number_and_no_chunk_is_in_two_places(
            steps in proptest::collection::vec((0..4_u8, any::<u16>()), 1..300)
        ) {
            let mut book = Book::new(24, &(0..16).collect::<Vec<_>>());
            let (mut lent, mut frames, mut theirs) = (Vec::new(), Vec::new(), (16..24).collect::<Vec<u16>>());
            for (step, number) in steps {
                match step {
                    0 => {
                        let chunks = book.next_spare(usize::from(number % 5)).to_vec();
                        book.lend(chunks.len());
                        lent.extend(chunks);
                    }
                    1 => {
                        let length = usize::from(number % 3 + 1).min(lent.len());
                        let chunks: Vec<u16> = lent.drain(..length).collect();
                        let mut last = None;
                        for chunk in &chunks {
                            prop_assert!(book.arrive(*chunk, last));
                            last = Some(*chunk);
                        }
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
                        book.exchange(chunks[0], given[0], after);
                        theirs.extend(chunks);
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
        fn no_chunk_is_lost_and_none_is_in_two_places(steps in proptest::collection::vec((0..4_u8, any::<u16>()), 1..300)) {
            let mut book = whole(16);
            let (mut lent, mut frames) = (Vec::new(), Vec::new());
            for (step, number) in steps {
                match step {
                    0 => {
                        let chunks = book.next_spare(usize::from(number % 5)).to_vec();
                        book.lend(chunks.len());
                        lent.extend(chunks);
                    }
                    1 => {
                        let length = usize::from(number % 3 + 1).min(lent.len());
                        let chunks: Vec<u16> = lent.drain(..length).collect();
                        let mut last = None;
                        for chunk in &chunks {
                            prop_assert!(book.arrive(*chunk, last));
                            last = Some(*chunk);
                        }
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
}
