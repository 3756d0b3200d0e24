//! What is known of a port, for operators: written by its worker and its control thread, read by anybody.

use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU16, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use helio_frame::PortFault;

/// The memory that a front-end shares.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SharedMemory {
    /// Number of regions.
    pub regions: usize,
    /// Their length together.
    pub bytes: u64,
    /// Whether every file is sealed against shrinking, so that it cannot be truncated under us.
    pub shrink_sealed: bool,
}

/// Where the connection of a port stands.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) enum Link {
    /// The control thread does not run.
    #[default]
    Down,
    /// The socket waits for a front-end.
    Listening,
    /// We try to reach a front-end; the last try failed for this reason.
    Connecting(Option<String>),
    /// There is a session.
    Connected,
}

/// Facts of the session, and of the one before.
#[derive(Debug, Default)]
pub(crate) struct Facts {
    pub(crate) link: Link,
    /// When the front-end said which features it uses.
    pub(crate) features_since: Option<Instant>,
    pub(crate) memory: Option<SharedMemory>,
    /// Rings that are started and do not lie in that memory.
    pub(crate) displaced_rings: usize,
    /// Front-ends that came while this one was served.
    pub(crate) turned_away: u64,
    /// The last thing we did not do as asked, and how often there was one.
    pub(crate) note: Option<String>,
    pub(crate) notes: u64,
    /// Why the last session ended.
    pub(crate) last_end: Option<String>,
}

/// Status of one port.
#[derive(Debug, Default)]
pub(crate) struct PortStatus {
    fault: AtomicU8,
    active_pairs: AtomicU16,
    features: AtomicU64,
    /// The worker did not answer the last order in time.
    is_worker_silent: AtomicBool,
    facts: Mutex<Facts>,
}

impl PortStatus {
    pub(crate) fn set_fault(&self, fault: PortFault) {
        self.fault.store(fault as u8, Ordering::Relaxed);
    }

    pub(crate) fn clear_fault(&self) {
        self.fault.store(0, Ordering::Relaxed);
    }

    pub(crate) fn fault(&self) -> Option<PortFault> {
        PortFault::from_code(self.fault.load(Ordering::Relaxed))
    }

    /// Written by the worker.
    pub(crate) fn set_active_pairs(&self, pairs: u16) {
        self.active_pairs.store(pairs, Ordering::Relaxed);
    }

    pub(crate) fn active_pairs(&self) -> u16 {
        self.active_pairs.load(Ordering::Relaxed)
    }

    pub(crate) fn set_features(&self, features: u64) {
        self.features.store(features, Ordering::Relaxed);
    }

    pub(crate) fn features(&self) -> u64 {
        self.features.load(Ordering::Relaxed)
    }

    /// The worker did not answer in time. Whether it had been silent before. Called by the threads of the port.
    pub(crate) fn miss_worker(&self) -> bool {
        self.is_worker_silent.swap(true, Ordering::Relaxed)
    }

    /// The worker answered. Whether it had been silent. Called by the threads of the port.
    pub(crate) fn hear_worker(&self) -> bool {
        self.is_worker_silent.swap(false, Ordering::Relaxed)
    }

    pub(crate) fn is_worker_silent(&self) -> bool {
        self.is_worker_silent.load(Ordering::Relaxed)
    }

    pub(crate) fn facts(&self) -> MutexGuard<'_, Facts> {
        self.facts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
