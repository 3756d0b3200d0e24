//! Private buffers of one worker, each large enough for any frame.

use std::sync::Arc;

use helio_mem::{MemoryError, MemoryTable, Segment};

use helio_types::{MAX_PORTS, PortId};

use crate::MemoryId;

/// Size of one private buffer in bytes: the longest frame, in whole pages.
pub const CHUNK_BYTES: u32 = 17 * 4096;

/// Private buffers for frames that must be copied before they are delivered: those of an `exact` mirror session, and
/// those that lie in more pieces than a [`Frame`](crate::Frame) can name. Used by one worker.
#[derive(Debug)]
pub struct Pool {
    table: Arc<MemoryTable>,
    id: MemoryId,
    free: Vec<u16>,
    holds: Box<[u16]>,
    /// For whom each buffer was taken, while it is in use.
    owners: Box<[Option<PortId>]>,
    /// Buffers in use, by the port whose frames they hold.
    in_use_of: Box<[u16]>,
}

impl Pool {
    /// `chunks` buffers, named `id` to all workers. The memory is taken when it is first written.
    ///
    /// # Errors
    ///
    /// When the host has no address space for them.
    pub fn new(chunks: u16, id: MemoryId) -> Result<Self, MemoryError> {
        let table = MemoryTable::anonymous(usize::from(chunks) * CHUNK_BYTES as usize)?;
        Ok(Self {
            table: Arc::new(table),
            id,
            free: (0..chunks).rev().collect(),
            holds: vec![0; usize::from(chunks)].into_boxed_slice(),
            owners: vec![None; usize::from(chunks)].into_boxed_slice(),
            in_use_of: vec![0; MAX_PORTS].into_boxed_slice(),
        })
    }

    /// The memory the buffers lie in.
    #[must_use]
    pub fn table(&self) -> &Arc<MemoryTable> {
        &self.table
    }

    /// How other workers name that memory.
    #[must_use]
    pub fn id(&self) -> MemoryId {
        self.id
    }

    /// Takes a buffer, held once, for a frame of `port` that cannot be forwarded without. A port gets an eighth of all
    /// buffers, but four at least, so that none can use up what the others need.
    pub fn take(&mut self, port: PortId) -> Option<u16> {
        let in_use = self.in_use_of.get_mut(port.index())?;
        if usize::from(*in_use) >= (self.holds.len() / 8).max(4) {
            return None;
        }
        let chunk = self.free.pop()?;
        *in_use += 1;
        self.begin(chunk, Some(port));
        Some(chunk)
    }

    /// Takes a buffer, held once, for a frame that could do without. A quarter of all buffers is left to those that cannot.
    pub fn take_spare(&mut self) -> Option<u16> {
        if self.free.len() <= self.holds.len() / 4 {
            return None;
        }
        let chunk = self.free.pop()?;
        self.begin(chunk, None);
        Some(chunk)
    }

    fn begin(&mut self, chunk: u16, owner: Option<PortId>) {
        let index = usize::from(chunk);
        if let (Some(holds), Some(place)) = (self.holds.get_mut(index), self.owners.get_mut(index))
        {
            *holds = 1;
            *place = owner;
        }
    }

    /// The bytes of a buffer.
    #[must_use]
    pub fn segment(&self, chunk: u16) -> Segment {
        Segment { offset: u64::from(chunk) * u64::from(CHUNK_BYTES), bytes: CHUNK_BYTES, region: 0 }
    }

    /// Holds a buffer once more.
    pub fn hold(&mut self, chunk: u16) {
        if let Some(holds) = self.holds.get_mut(usize::from(chunk)) {
            *holds += 1;
        }
    }

    /// Gives one hold back; the last one frees the buffer. The list of free buffers was made for all, so it never grows.
    pub fn release(&mut self, chunk: u16) {
        let Some(holds) = self.holds.get_mut(usize::from(chunk)) else { return };
        debug_assert!(*holds > 0, "chunk {chunk} is released more often than it was held");
        // A chunk that is free already stays free once: handed out twice, it would mix two frames.
        let Some(left) = holds.checked_sub(1) else { return };
        *holds = left;
        if left == 0 {
            self.free.push(chunk);
            let owner = self.owners.get_mut(usize::from(chunk)).and_then(Option::take);
            if let Some(in_use) = owner.and_then(|port| self.in_use_of.get_mut(port.index())) {
                *in_use = in_use.saturating_sub(1);
            }
        }
    }

    /// Whether half of all buffers are in use, or more.
    #[must_use]
    pub fn is_half_in_use(&self) -> bool {
        self.free.len() <= self.holds.len() / 2
    }

    /// Buffers in use.
    #[must_use]
    pub fn in_use(&self) -> usize {
        self.holds.len() - self.free.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use helio_types::WorkerId;

    fn port(index: usize) -> PortId {
        PortId::new(index).unwrap()
    }

    #[test]
    fn a_port_cannot_take_what_the_others_need_and_a_spare_leaves_a_quarter() {
        let mut pool = Pool::new(64, MemoryId::of_worker(WorkerId::new(0).unwrap())).unwrap();
        let taken: Vec<_> = std::iter::from_fn(|| pool.take(port(0))).collect();
        assert_eq!(taken.len(), 8);
        assert!(pool.take(port(1)).is_some());
        assert_eq!(std::iter::from_fn(|| pool.take_spare()).count(), 64 - 9 - 16);
        assert!(pool.take(port(1)).is_some());
        pool.release(taken[0]);
        assert!(pool.take(port(0)).is_some() && pool.take(port(0)).is_none());
    }

    #[test]
    fn half_of_the_buffers_are_in_use_with_the_last_of_that_half_and_not_before() {
        let mut pool = Pool::new(64, MemoryId::of_worker(WorkerId::new(0).unwrap())).unwrap();
        assert_eq!((0..31).filter_map(|_| pool.take_spare()).count(), 31);
        assert!(!pool.is_half_in_use());
        let last = pool.take(port(0)).unwrap();
        assert!(pool.is_half_in_use());
        pool.release(last);
        assert!(!pool.is_half_in_use());
    }

    #[test]
    fn a_buffer_comes_back_with_its_last_hold_and_the_pool_runs_dry_before() {
        let mut pool = Pool::new(2, MemoryId::of_worker(WorkerId::new(0).unwrap())).unwrap();
        let first = pool.take(port(0)).unwrap();
        let second = pool.take(port(0)).unwrap();
        assert_ne!(pool.segment(first), pool.segment(second));
        assert_eq!(pool.take(port(0)), None);
        pool.hold(first);
        pool.release(first);
        assert_eq!((pool.in_use(), pool.take(port(0))), (2, None));
        pool.release(first);
        assert_eq!(pool.take(port(0)), Some(first));
    }

    #[test]
    fn buffers_lie_side_by_side_and_the_longest_frame_fits_each() {
        let pool = Pool::new(3, MemoryId::of_worker(WorkerId::new(1).unwrap())).unwrap();
        for chunk in 0..3 {
            let segment = pool.segment(chunk);
            assert_eq!(segment.offset, u64::from(chunk) * u64::from(CHUNK_BYTES));
            assert!(segment.bytes >= helio_types::MAX_FRAME_BYTES);
            assert_eq!(pool.table().write(segment.skip(CHUNK_BYTES - 4), b"last"), 4);
        }
        assert_eq!(pool.table().write(pool.segment(3), b"none"), 0);
        assert_eq!(pool.id(), MemoryId::of_worker(WorkerId::new(1).unwrap()));
    }

    #[test]
    fn a_buffer_that_the_pool_does_not_have_is_ignored() {
        let mut pool = Pool::new(2, MemoryId::of_worker(WorkerId::new(0).unwrap())).unwrap();
        pool.hold(2);
        pool.release(2);
        assert_eq!(pool.in_use(), 0);
    }

    #[test]
    #[cfg(debug_assertions)]
    #[should_panic(expected = "released more often")]
    fn a_release_too_many_is_found_in_a_debug_build() {
        let mut pool = Pool::new(2, MemoryId::of_worker(WorkerId::new(0).unwrap())).unwrap();
        let chunk = pool.take(port(0)).unwrap();
        pool.release(chunk);
        pool.release(chunk);
    }

    #[test]
    #[cfg(not(debug_assertions))]
    fn a_release_too_many_hands_no_buffer_out_twice_in_a_release_build() {
        let mut pool = Pool::new(2, MemoryId::of_worker(WorkerId::new(0).unwrap())).unwrap();
        let chunk = pool.take(port(0)).unwrap();
        pool.release(chunk);
        pool.release(chunk);
        assert_eq!(pool.in_use(), 0);
        assert_ne!(pool.take(port(0)), pool.take(port(0)));
        assert_eq!(pool.take(port(0)), None);
    }
}
