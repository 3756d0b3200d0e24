//! The book of the chunks that a queue receives into: where each of them is. Used by the worker.
//!
//! A chunk is with us, lent to the kernel, or held. Frames in several chunks are held by their first one, which leads to the
//! others. The three, and those lost, always add up to the number of chunks that the queue began with. Where uplinks share a UMEM,
//! those of a frame can be exchanged for as many others: then they are others that are ours, and all else is as it was. Should it
//! not be so, by a fault of ours, then chunks that the sender has are not lent again as far as the book still knows them for those
//! of the frame, and each that was given away for nothing is counted as lost. After two faults at once numbers may be off.

use crate::census::Census;

/// No chunk.
const NONE: u16 = u16::MAX;

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

/// How the chunks of a frame were exchanged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub(crate) enum Exchange {
    /// The frame was held once, and each of its chunks has another in its place.
    AsHeld,
    /// It was not, or a chunk is missing, which is counted: somebody broke a rule before.
    Faulty,
}

#[derive(Clone, Copy, Debug)]
struct Entry {
    place: Place,
    /// Deliveries that the frame is still held for; of its first chunk.
    holds: u16,
    /// The next chunk of the same frame; kept until the chunk arrives again, to be found after a fault.
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
    /// How many were given away for nothing.
    lost: usize,
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
        Self {
            entries,
            spare: ours.iter().rev().copied().collect(),
            held: 0,
            ours: ours.len(),
            lost: 0,
        }
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

    /// The kernel gave a chunk back, and the whole frame in it is read out: it is with us at once. `false` when it had not got it.
    #[inline]
    pub(crate) fn pass(&mut self, chunk: u16) -> bool {
        let Some(entry) = self.entries.get_mut(usize::from(chunk)) else { return false };
        if entry.place != Place::Lent {
            return false;
        }
        *entry = Entry { place: Place::Spare, holds: 0, next: NONE };
        self.spare.push(chunk);
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
            if entry.place != Place::Held {
                return;
            }
            entry.place = Place::Spare;
            self.spare.push(chunk);
            self.held = self.held.saturating_sub(1);
            chunk = entry.next;
        }
    }

    /// The chunks of the frame that begins in `first` are another's from now on. As many others are ours for them, and with us:
    /// `instead`, and those that `after` says follow it. Nobody else holds the frame.
    pub(crate) fn exchange(
        &mut self,
        first: u16,
        instead: u16,
        after: impl Fn(u16) -> Option<u16>,
    ) -> Exchange {
        if self.exchange_only(first, instead) {
            return Exchange::AsHeld;
        }
        let begins = self.entries.get(usize::from(first));
        let mut exchange = match begins {
            Some(Entry { place: Place::Held, holds: 1, .. }) => Exchange::AsHeld,
            _ => Exchange::Faulty,
        };
        let was_held = begins.is_some_and(|entry| entry.place == Place::Held);
        let (mut chunk, mut given) = (first, Some(instead));
        while let Some(entry) = self.entries.get(usize::from(chunk)).copied() {
            if entry.place == Place::Elsewhere || (entry.place == Place::Held) != was_held {
                break;
            }
            self.give_away(chunk, entry.place);
            if !given.is_some_and(|number| self.take_over(number)) {
                exchange = Exchange::Faulty;
                self.lost += 1;
            }
            given = if entry.next == NONE { None } else { given.and_then(&after) };
            chunk = entry.next;
        }
        exchange
    }

    /// The same for a frame in one chunk, as nearly all are. `false`, and nothing was done, when it is not that, or a rule was
    /// broken before.
    #[inline]
    fn exchange_only(&mut self, first: u16, instead: u16) -> bool {
        let place_of = |chunk| self.entries.get(usize::from(chunk)).map(|entry| entry.place);
        let is_other = place_of(instead) == Some(Place::Elsewhere);
        let Some(entry) = self.entries.get_mut(usize::from(first)) else { return false };
        if !is_other || !matches!(entry, Entry { place: Place::Held, holds: 1, next: NONE }) {
            return false;
        }
        *entry = Entry { place: Place::Elsewhere, holds: 0, next: NONE };
        self.held = self.held.saturating_sub(1);
        self.ours = self.ours.saturating_sub(1);
        self.take_over(instead)
    }

    /// A chunk that was ours, in `place`, is another's.
    fn give_away(&mut self, chunk: u16, place: Place) {
        if let Some(entry) = self.entries.get_mut(usize::from(chunk)) {
            *entry = Entry { place: Place::Elsewhere, holds: 0, next: NONE };
        }
        match place {
            Place::Held => self.held = self.held.saturating_sub(1),
            // After a fault: lent again, it would mix two frames.
            Place::Spare => self.spare.retain(|spare| *spare != chunk),
            // After a fault, too: it is refused when it comes.
            Place::Lent | Place::Elsewhere => {}
        }
        self.ours = self.ours.saturating_sub(1);
    }

    /// A chunk that was another's is ours, and with us. `false` when it was ours: lent twice, it would mix two frames.
    fn take_over(&mut self, chunk: u16) -> bool {
        let Some(entry) = self.entries.get_mut(usize::from(chunk)) else { return false };
        if entry.place != Place::Elsewhere {
            return false;
        }
        entry.place = Place::Spare;
        self.spare.push(chunk);
        self.ours += 1;
        true
    }

    /// The chunks that are ours and no frame lies in, with us or with the kernel.
    pub(crate) fn at_rest(&self) -> impl Iterator<Item = u16> + '_ {
        let numbered = (0..u16::MAX).zip(&self.entries);
        let at_rest = |entry: &Entry| matches!(entry.place, Place::Spare | Place::Lent);
        numbered.filter(move |(_, entry)| at_rest(entry)).map(|(chunk, _)| chunk)
    }

    /// Number of chunks that the kernel has, or that wait in the window.
    #[inline]
    pub(crate) fn lent(&self) -> usize {
        self.ours.saturating_sub(self.spare.len() + self.held)
    }

    /// Number of chunks that are held.
    pub(crate) fn held(&self) -> usize {
        self.held
    }

    pub(crate) fn census(&self) -> Census {
        let (spare, held) = (self.spare.len(), self.held);
        let (lent, lost) = (self.lent(), self.lost);
        Census { spare, held, lent, lost, ..Census::default() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
        assert!(!book.arrive(0, None) && !book.pass(0));
        lend_all(&mut book);
        assert!(book.arrive(0, None));
        assert!(!book.arrive(0, None) && !book.arrive(2, None));
        assert!(!book.pass(0) && !book.pass(2));
    }

    #[test]
    fn a_chunk_that_is_read_out_is_with_us_once() {
        let mut book = whole(4);
        lend_all(&mut book);
        assert!(book.pass(3) && !book.pass(3) && !book.arrive(3, None));
        assert_eq!(book.next_spare(4), [3]);
        assert_eq!(book.census(), Census { spare: 1, lent: 3, ..Census::default() });
        assert_eq!(lend_all(&mut book), [3]);
        assert!(book.arrive(3, None));
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
        assert_eq!(book.exchange(2, 7, |chunk| Some(chunk - 2)), Exchange::AsHeld);
        assert_eq!(book.census(), Census { spare: 2, lent: 2, ..Census::default() });
        assert_eq!(book.at_rest().collect::<Vec<_>>(), [1, 3, 5, 7]);
        // What was given away does not arrive, and what was got can be lent.
        assert!(!book.arrive(2, None) && !book.arrive(7, None));
        assert_eq!(lend_all(&mut book).len(), 2);
        assert!(book.arrive(7, None) && !book.arrive(0, None));
    }

    /// Six chunks of a stock of 16, lent; a frame in 2, 0 and 4 is held once.
    fn with_a_frame() -> Book {
        let mut book = Book::new(16, &[0, 1, 2, 3, 4, 5]);
        assert_eq!(lend_all(&mut book).len(), 6);
        assert!(book.arrive(2, None) && book.arrive(0, Some(2)) && book.arrive(4, Some(0)));
        book
    }

    /// Nobody has a chunk of it twice, and the numbers add up to those it began with.
    fn assert_adds_up(book: &Book) {
        assert_eq!(book.census().total(), 6);
        let mut spare = book.next_spare(usize::MAX).to_vec();
        spare.sort_unstable();
        spare.dedup();
        assert_eq!(spare.len(), book.census().spare);
        assert_eq!(
            book.at_rest().count() + book.held(),
            book.census().total() - book.census().lost
        );
    }

    #[test]
    fn a_chunk_that_is_given_away_for_none_is_counted_as_lost() {
        // Nothing follows the first one that was given; what follows it is no chunk; or was ours before.
        for (after, lost) in [(None, 2), (Some(NONE), 2), (Some(5), 2)] {
            let mut book = with_a_frame();
            assert_eq!(book.exchange(2, 9, |_| after), Exchange::Faulty);
            let census = Census { spare: 1, lent: 3, lost, ..Census::default() };
            assert_eq!(book.census(), census);
            assert_adds_up(&book);
        }
        let mut book = with_a_frame();
        assert_eq!(book.exchange(2, 5, |given| Some(given + 5)), Exchange::Faulty);
        assert_eq!(book.census(), Census { spare: 2, lent: 3, lost: 1, ..Census::default() });
        assert_adds_up(&book);
    }

    #[test]
    fn a_frame_that_was_given_back_before_its_chunks_were_given_away_is_given_away_all_the_same() {
        // Its chunks are with us, or with the kernel again.
        for lent in [0, 3] {
            let mut book = with_a_frame();
            book.release(2);
            book.lend(lent);
            assert_eq!(book.exchange(2, 9, |given| Some(given + 1)), Exchange::Faulty);
            assert_eq!(book.census(), Census { spare: 3, lent: 3, ..Census::default() });
            assert_eq!(book.at_rest().collect::<Vec<_>>(), [1, 3, 5, 9, 10, 11]);
            assert_adds_up(&book);
            // It may come once more, to somebody else's chunks.
            assert!(!book.arrive(2, None) && !book.arrive(0, None));
        }
    }

    #[test]
    fn a_frame_is_exchanged_once_however_often_that_is_said() {
        let mut book = with_a_frame();
        assert_eq!(book.exchange(2, 9, |given| Some(given + 1)), Exchange::AsHeld);
        let census = book.census();
        assert_eq!(book.exchange(2, 9, |given| Some(given + 1)), Exchange::Faulty);
        assert_eq!((book.census(), census.lost), (census, 0));
        assert_adds_up(&book);
    }

    #[test]
    fn a_frame_that_others_hold_is_exchanged_and_that_is_told() {
        let mut book = with_a_frame();
        book.hold(2);
        assert_eq!(book.exchange(2, 9, |given| Some(given + 1)), Exchange::Faulty);
        assert_eq!(book.census(), Census { spare: 3, lent: 3, ..Census::default() });
        assert_adds_up(&book);
    }
}
