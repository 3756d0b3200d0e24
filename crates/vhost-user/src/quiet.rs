//! What a look at a port reads whose guest says nothing: of 254 such ports one is looked at in every turn, and what it is made of
//! was looked at 254 turns ago.

use helio_mem::WatchedIndex;
use helio_vring::TransmitQueue;

/// The one transmitq of a port that runs, as far as it must be known to see that nothing was sent. Read without the queue, which
/// has lines of its own, behind those of its pair: a look at a silent port reads four lines so and read eleven, five of
/// them one after the other.
#[derive(Debug)]
pub(crate) struct Quiet {
    index: WatchedIndex,
    /// The index up to which chains were taken.
    taken: u16,
}

impl Quiet {
    pub(crate) fn new(queue: &TransmitQueue) -> Self {
        Self { index: queue.watch(), taken: queue.next_avail() }
    }

    /// Chains were taken.
    #[inline]
    pub(crate) fn follow(&mut self, queue: &TransmitQueue) {
        self.taken = queue.next_avail();
    }

    /// Whether nothing was sent since, and the memory is what the front-end shared.
    #[inline]
    pub(crate) fn lasts(&self) -> bool {
        self.index.is_still(self.taken)
    }

    /// Fetches what [`Quiet::lasts`] reads.
    #[inline]
    pub(crate) fn fetch(&self) {
        self.index.fetch();
    }
}
