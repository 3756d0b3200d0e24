//! Whose memory a segment lies in.

use helio_types::{MAX_PORTS, MAX_WORKERS, PortId, WorkerId};

/// Number of memory ids: the length of a table indexed by [`MemoryId::index`].
pub const MEMORY_IDS: usize = MAX_PORTS + MAX_WORKERS;

/// Names a memory table: that of a port, or the private buffers of a worker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MemoryId(u16);

impl MemoryId {
    /// The memory that the front-end of `port` shares.
    #[must_use]
    pub fn of_port(port: PortId) -> Self {
        Self(u16::try_from(port.index()).unwrap_or(0))
    }

    /// The private buffers of `worker`.
    #[must_use]
    pub fn of_worker(worker: WorkerId) -> Self {
        Self(u16::try_from(MAX_PORTS + worker.index()).unwrap_or(0))
    }

    /// Below [`MEMORY_IDS`].
    #[must_use]
    pub const fn index(self) -> usize {
        self.0 as usize
    }
}
