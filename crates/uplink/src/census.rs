//! Where all chunks of an uplink are, as numbers. Counted by the worker; operators see what it noted.

/// Where chunks are, as numbers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Census {
    /// For receiving, with us: to be lent when the kernel has fewer than it may have.
    pub spare: usize,
    /// For receiving, with the kernel: in the fill ring, in the driver, or in the rx ring.
    pub lent: usize,
    /// For receiving, read from the rx ring, and not given back by all deliveries.
    pub held: usize,
    /// For receiving, and not found any more: none, but for a fault of ours.
    pub lost: usize,
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
        self.spare + self.lent + self.held + self.lost + self.free + self.staged + self.sent
    }

    pub(crate) fn add(&mut self, other: &Self) {
        self.spare += other.spare;
        self.lent += other.lent;
        self.held += other.held;
        self.lost += other.lost;
        self.free += other.free;
        self.staged += other.staged;
        self.sent += other.sent;
    }
}
