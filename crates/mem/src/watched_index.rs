//! An index of a ring that is looked at again and again, mostly to find that it has not changed.

use std::sync::atomic::{AtomicBool, Ordering};

use crate::{RingArea, prefetch};

/// An index in guest memory, and the mark of the memory that it lies in: all that is needed to see that a guest did nothing, by
/// one line of its memory and one of ours. It keeps its memory table mapped.
#[derive(Debug)]
pub struct WatchedIndex {
    area: RingArea,
    offset: usize,
    /// Set when the memory is poisoned. It stands for the table that `area` keeps.
    poison: Option<&'static AtomicBool>,
}

impl WatchedIndex {
    /// Watches the word at `offset` of `area`.
    #[must_use]
    pub fn new(area: RingArea, offset: usize) -> Self {
        let poison = area.table().guard().mark();
        Self { area, offset, poison }
    }

    /// Whether the index is still `known`, and the memory what the front-end shared.
    #[inline]
    #[must_use]
    pub fn is_still(&self, known: u16) -> bool {
        let is_poisoned = self.poison.is_some_and(|mark| mark.load(Ordering::Relaxed));
        !is_poisoned && self.area.load_u16(self.offset, Ordering::Relaxed) == known
    }

    /// Fetches what the next look needs.
    #[inline]
    pub fn fetch(&self) {
        if let Some(mark) = self.poison {
            prefetch::fetch(mark);
        }
        self.area.prefetch(self.offset);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{GuestAddr, MemoryTable};
    use std::sync::Arc;

    #[test]
    fn an_index_is_still_until_it_is_another_one() {
        let table = Arc::new(MemoryTable::anonymous(0x1000).unwrap());
        let area = table.ring_area(GuestAddr(0x100), 8, 4).unwrap();
        let watched = WatchedIndex::new(area.clone(), 2);
        drop(table);
        watched.fetch();
        assert!(watched.is_still(0) && !watched.is_still(1));
        area.store_u16(2, 0x0102, Ordering::Relaxed);
        assert!(watched.is_still(0x0102) && !watched.is_still(0));
    }
}
