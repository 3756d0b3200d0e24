//! Places that were found ahead of the time at which they are written.

use std::fmt;
use std::ptr::NonNull;
use std::sync::Arc;

use crate::memory_table::Lookup;
use crate::{GuestAddr, GuestBytes, MemoryTable};

/// Places of one memory table, first in, first out, each with a number that its finder gave it. They were checked when they
/// were put in and are not checked again, as the queue keeps its table mapped.
///
/// At most `N` wait at a time. They lie in a row that begins with the first one when places are put in, so mostly in the same
/// lines.
pub struct PlaceQueue<const N: usize> {
    places: [Place; N],
    first: usize,
    end: usize,
    table: Arc<MemoryTable>,
}

#[derive(Clone, Copy)]
struct Place {
    start: NonNull<u8>,
    bytes: u32,
    number: u16,
}

// SAFETY: the pointers lead into mappings kept by `table`, and are only handed out as bytes that borrow the queue.
unsafe impl<const N: usize> Send for PlaceQueue<N> {}
// SAFETY: as for Send.
unsafe impl<const N: usize> Sync for PlaceQueue<N> {}

impl<const N: usize> PlaceQueue<N> {
    /// An empty queue for places of `table`.
    #[must_use]
    pub fn new(table: Arc<MemoryTable>) -> Self {
        let nowhere = Place { start: NonNull::dangling(), bytes: 0, number: 0 };
        Self { places: [nowhere; N], first: 0, end: 0, table }
    }

    /// The table that the places lie in.
    #[must_use]
    pub fn table(&self) -> &MemoryTable {
        &self.table
    }

    /// Number of places that wait.
    #[inline]
    #[must_use]
    pub fn len(&self) -> usize {
        self.end - self.first
    }

    /// Whether no place waits.
    #[inline]
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.first == self.end
    }

    /// Number of places that can be put in.
    #[inline]
    #[must_use]
    pub fn room(&self) -> usize {
        N - self.len()
    }

    /// Puts places in behind those that wait. They count when it is dropped.
    #[inline]
    pub fn filler(&mut self) -> Filler<'_> {
        self.close_up();
        let Self { places, end, table, .. } = self;
        let room = places.get_mut(*end..).unwrap_or_default().iter_mut();
        Filler { lookup: table.lookup(), room, size: N, end }
    }

    /// Moves the places that wait, mostly none, to the beginning.
    #[inline]
    fn close_up(&mut self) {
        // Places for the runs of a burst are put in run by run, before one is taken out.
        if self.first == 0 {
            return;
        }
        for to in 0..self.len() {
            let place = self.places.get(self.first + to).copied();
            if let (Some(place), Some(room)) = (place, self.places.get_mut(to)) {
                *room = place;
            }
        }
        (self.first, self.end) = (0, self.len());
    }

    /// The places that wait and their numbers, first one first.
    #[inline]
    pub fn iter(&self) -> impl Iterator<Item = (GuestBytes<'_>, u16)> {
        let waiting = self.places.get(self.first..self.end).unwrap_or_default();
        waiting.iter().map(|place| {
            // SAFETY: a place that waits was put in by a filler, which found that its bytes are mapped in `table`: they are
            // as long as that is kept, and longer than the borrow. Reaching them otherwise than by opaque copies is up to
            // nobody, as for all bytes of the table.
            let bytes = unsafe { GuestBytes::new(place.start, place.bytes, place.bytes) };
            (bytes, place.number)
        })
    }

    /// Takes the first `count` places out, or all if there are fewer.
    #[inline]
    pub fn drop_front(&mut self, count: usize) {
        self.first = self.end.min(self.first.saturating_add(count));
    }
}

/// Puts places in a queue.
#[derive(Debug)]
pub struct Filler<'a> {
    lookup: Lookup<'a>,
    room: std::slice::IterMut<'a, Place>,
    /// Places of the queue, room included.
    size: usize,
    end: &'a mut usize,
}

impl Filler<'_> {
    /// Puts the `bytes` bytes at `addr` in, with a number, if all of them lie in one region and there is room.
    #[inline]
    pub fn push(&mut self, addr: GuestAddr, bytes: u32, number: u16) -> Option<GuestBytes<'_>> {
        let found = self.lookup.bytes_at(addr, bytes)?;
        *self.room.next()? = Place { start: found.start(), bytes, number };
        Some(found)
    }
}

impl Drop for Filler<'_> {
    #[inline]
    fn drop(&mut self) {
        *self.end = self.size - self.room.len();
    }
}

impl fmt::Debug for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {} bytes", self.number, self.bytes)
    }
}

impl<const N: usize> fmt::Debug for PlaceQueue<N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.places.get(self.first..self.end).unwrap_or_default()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Written;

    fn queue() -> PlaceQueue<4> {
        PlaceQueue::new(Arc::new(MemoryTable::anonymous(0x1000).unwrap()))
    }

    fn put(queue: &mut PlaceQueue<4>, addr: u64, bytes: u32, number: u16) -> bool {
        queue.filler().push(GuestAddr(addr), bytes, number).is_some()
    }

    fn waiting(queue: &PlaceQueue<4>) -> Vec<(u32, u16)> {
        queue.iter().map(|(place, number)| (place.bytes(), number)).collect()
    }

    #[test]
    fn places_come_out_in_order_with_their_length_and_number() {
        let mut queue = queue();
        {
            let mut filler = queue.filler();
            assert_eq!(filler.push(GuestAddr(0), 10, 7).unwrap().bytes(), 10);
            assert_eq!(filler.push(GuestAddr(0x100), 20, 8).unwrap().bytes(), 20);
        }
        assert!(put(&mut queue, 0x200, 30, 9));
        assert_eq!((waiting(&queue), queue.len()), (vec![(10, 7), (20, 8), (30, 9)], 3));
        queue.drop_front(2);
        assert_eq!(waiting(&queue), [(30, 9)]);
        queue.drop_front(usize::MAX);
        assert!(queue.is_empty() && queue.iter().next().is_none());
    }

    #[test]
    fn what_is_written_to_a_place_lies_where_it_was_found() {
        let mut queue = queue();
        assert!(put(&mut queue, 0xff0, 16, 0));
        let (place, _) = queue.iter().next().unwrap();
        assert_eq!(place.write_12_and((1, 2), b"abcd"), Some(Written::All));
        let segment = queue.table().segment_of(place).unwrap();
        assert_eq!(queue.table().resolve_whole(GuestAddr(0xff0), 16), Some(segment));
        let mut out = [0; 16];
        assert_eq!(queue.table().read(segment, &mut out), 16);
        assert_eq!(out, *b"\x01\0\0\0\0\0\0\0\x02\0\0\0abcd");
    }

    #[test]
    fn a_place_outside_the_table_is_refused_and_nothing_is_put_in() {
        let mut queue = queue();
        for (addr, bytes) in [(0xff0, 17), (0x1000, 1), (u64::MAX, 2), (0, u32::MAX)] {
            assert!(!put(&mut queue, addr, bytes, 0) && queue.is_empty());
        }
    }

    #[test]
    fn room_comes_back_when_places_are_taken() {
        let mut queue = queue();
        for number in 0..4 {
            assert!(queue.room() == 4 - usize::from(number) && put(&mut queue, 0, 1, number));
        }
        assert!(queue.room() == 0 && !put(&mut queue, 0, 1, 4));
        queue.drop_front(2);
        assert!(queue.room() == 2 && put(&mut queue, 0, 1, 5) && put(&mut queue, 0, 1, 6));
        assert_eq!((waiting(&queue), queue.room()), (vec![(1, 2), (1, 3), (1, 5), (1, 6)], 0));
        queue.drop_front(4);
        assert!(queue.is_empty() && queue.room() == 4 && put(&mut queue, 0, 1, 7));
        assert_eq!((waiting(&queue), queue.room()), (vec![(1, 7)], 3));
        queue.drop_front(usize::MAX);
        assert_eq!((queue.len(), queue.room()), (0, 4));
    }

    #[test]
    fn places_keep_their_memory_mapped_when_their_table_is_let_go() {
        let table = Arc::new(MemoryTable::anonymous(0x1000).unwrap());
        let mut queue = PlaceQueue::<4>::new(Arc::clone(&table));
        assert!(put(&mut queue, 0x80, 12, 0));
        drop(table);
        assert_eq!(queue.iter().next().unwrap().0.read_12(), Some((0, 0)));
    }
}
