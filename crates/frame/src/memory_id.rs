//! Whose memory a segment lies in.

use helio_types::{MAX_PORTS, MAX_WORKERS, PortId, WorkerId};

/// Number of memory ids: the length of a table indexed by [`MemoryId::index`].
pub const MEMORY_IDS: usize = MAX_PORTS + MAX_WORKERS;

/// Names a memory table: that of a port, or the private buffers of a worker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MemoryId(u16);

impl MemoryId {
    /// Nobody's memory.
    pub const NONE: Self = Self(u16::MAX);

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

    /// Below [`MEMORY_IDS`], but for [`MemoryId::NONE`].
    #[must_use]
    pub const fn index(self) -> usize {
        self.0 as usize
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_port_and_each_worker_has_an_id_of_its_own_below_the_number_of_ids() {
        let ports = (0..MAX_PORTS).map(|port| MemoryId::of_port(PortId::new(port).unwrap()));
        let workers =
            (0..MAX_WORKERS).map(|worker| MemoryId::of_worker(WorkerId::new(worker).unwrap()));
        let indices: Vec<_> = ports.chain(workers).map(MemoryId::index).collect();
        assert_eq!(indices, (0..MEMORY_IDS).collect::<Vec<_>>());
    }
}
