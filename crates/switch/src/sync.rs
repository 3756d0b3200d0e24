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
pub(crate) const SLOTS: usize = if cfg!(loom) { 2 } else { 4 };

/// Ports that are accounted. The models use fewer, because each atomic costs them time.
pub(crate) const PORTS: usize = if cfg!(loom) { 4 } else { helio_types::MAX_PORTS };
