//! Private buffers of one worker, each large enough for any frame.

use std::sync::Arc;

use helio_mem::{MemoryError, MemoryTable, Segment};

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

    /// Takes a buffer, held once.
    pub fn take(&mut self) -> Option<u16> {
        let chunk = self.free.pop()?;
        if let Some(holds) = self.holds.get_mut(usize::from(chunk)) {
            *holds = 1;
        }
        Some(chunk)
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
        }
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

    #[test]
    fn a_buffer_comes_back_with_its_last_hold_and_the_pool_runs_dry_before() {
        let mut pool = Pool::new(2, MemoryId::of_worker(WorkerId::new(0).unwrap())).unwrap();
        let first = pool.take().unwrap();
        let second = pool.take().unwrap();
        assert_ne!(pool.segment(first), pool.segment(second));
        assert_eq!(pool.take(), None);
        pool.hold(first);
        pool.release(first);
        assert_eq!((pool.in_use(), pool.take()), (2, None));
        pool.release(first);
        assert_eq!(pool.take(), Some(first));
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
        let chunk = pool.take().unwrap();
        pool.release(chunk);
        pool.release(chunk);
    }

    #[test]
    #[cfg(not(debug_assertions))]
    fn a_release_too_many_hands_no_buffer_out_twice_in_a_release_build() {
        let mut pool = Pool::new(2, MemoryId::of_worker(WorkerId::new(0).unwrap())).unwrap();
        let chunk = pool.take().unwrap();
        pool.release(chunk);
        pool.release(chunk);
        assert_eq!(pool.in_use(), 0);
        assert_ne!(pool.take(), pool.take());
        assert_eq!(pool.take(), None);
    }
}
