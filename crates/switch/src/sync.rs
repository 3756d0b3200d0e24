//! The atomics of the FDB: those of the standard library, or under `cfg(loom)` those of the model checker.

#[cfg(loom)]
mod probed;

#[cfg(not(loom))]
pub(crate) use std::sync::atomic::{AtomicU32, AtomicU64, Ordering, fence};
#[cfg(loom)]
pub(crate) use {
    loom::sync::atomic::{Ordering, fence},
    probed::{AtomicU32, AtomicU64},
};

/// Entries of one bucket: one cache line. The models use fewer, which keeps all interleavings within reach.
pub(crate) const SLOTS: usize = if cfg!(loom) { 2 } else { 8 };

/// Ports that are accounted. The models use fewer, because each atomic costs them time.
pub(crate) const PORTS: usize = if cfg!(loom) { 4 } else { helio_types::MAX_PORTS };

/// Epochs that have a number. The models use fewer, for the same reason.
pub(crate) const EPOCHS: u32 = if cfg!(loom) { 5 } else { 62 };

/// Bits of a key: VLAN and address. The models leave out the VLAN, so that two buckets are enough; see `fdb::places`.
pub(crate) const KEY_BITS: u32 = if cfg!(loom) { 48 } else { 60 };

/// Fewest buckets of a table: so many that the place of one tells what its entries leave out of a key; see `fdb::places`.
pub(crate) const MIN_BUCKETS: usize = if cfg!(loom) { 2 } else { 1 << 12 };
