//! How far the copies for a collector are numbered.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

/// The numbers of the copies of one destination, for as long as its session has it: the control side keeps it, and the worker
/// that owns the uplink goes on from there. So a collector sees one sequence, also when the uplink was away for a while and
/// has another worker now.
///
/// One worker takes numbers at a time: an uplink that changes its worker is removed in between, and the control side has
/// heard from all workers that none sends there before another one is told of it. So that is no more than a load and a store.
#[derive(Clone, Debug, Default)]
pub struct Numbering(Arc<Next>);

/// Alone in its cache lines: workers write next to each other otherwise, for each copy.
#[derive(Debug, Default)]
#[repr(align(128))]
struct Next(AtomicU32);

impl Numbering {
    /// The number of the next copy: 0 for the first, and after 2^32 copies again.
    #[inline]
    #[must_use]
    pub fn take(&self) -> u32 {
        let Next(next) = &*self.0;
        let number = next.load(Ordering::Relaxed);
        next.store(number.wrapping_add(1), Ordering::Relaxed);
        number
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_go_on_by_whichever_handle_they_are_taken() {
        let one = Numbering::default();
        let other = one.clone();
        assert_eq!([one.take(), other.take(), other.take(), one.take()], [0, 1, 2, 3]);
        assert_eq!(Numbering::default().take(), 0);
    }

    #[test]
    fn the_last_number_is_followed_by_the_first() {
        let numbering = Numbering(Arc::new(Next(AtomicU32::new(u32::MAX))));
        assert_eq!([numbering.take(), numbering.take()], [u32::MAX, 0]);
    }
}
