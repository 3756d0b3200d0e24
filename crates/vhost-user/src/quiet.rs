//! What a look at a port reads whose guest says nothing: of 254 such ports one is looked at in every turn, and what it is made of
//! was looked at 254 turns ago. Between near cores 254 of them left 0.94 to 0.96 of the rate of two others, and leave 0.98 to 0.99
//! so. Owned by the port, and used by its worker.

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
