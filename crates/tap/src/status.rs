//! What is known of a TAP port, for operators and for its worker: written by its control thread.

use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use helio_host::{Link, PortState, Stage};

/// Status of one TAP port.
#[derive(Debug)]
pub(crate) struct Status {
    /// Read by the worker.
    is_up: AtomicBool,
    /// The MTU that the interface shall have.
    wanted_mtu: AtomicU32,
    /// Open ones have an MTU.
    stage: Mutex<Stage<u32>>,
}

impl Status {
    pub(crate) fn new(mtu: u16) -> Self {
        Self {
            is_up: AtomicBool::new(false),
            wanted_mtu: AtomicU32::new(u32::from(mtu)),
            stage: Mutex::default(),
        }
    }

    #[inline]
    pub(crate) fn link(&self) -> Link {
        if self.is_up.load(Ordering::Relaxed) { Link::Up } else { Link::Down }
    }

    pub(crate) fn set_link(&self, link: Link) {
        self.is_up.store(link == Link::Up, Ordering::Relaxed);
    }

    pub(crate) fn wanted_mtu(&self) -> u32 {
        self.wanted_mtu.load(Ordering::Relaxed)
    }

    pub(crate) fn want_mtu(&self, mtu: u16) {
        self.wanted_mtu.store(u32::from(mtu), Ordering::Relaxed);
    }

    fn stage(&self) -> MutexGuard<'_, Stage<u32>> {
        self.stage.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn begin(&self) {
        *self.stage() = Stage::Opening;
    }

    pub(crate) fn end(&self) {
        *self.stage() = Stage::Stopped;
    }

    /// Notes why there is no interface. Whether that is another reason than before.
    pub(crate) fn refuse(&self, why: &str) -> bool {
        self.set_link(Link::Down);
        self.stage().refuse(why)
    }

    /// The worker has not answered for too long.
    pub(crate) fn worker_silent(&self) {
        *self.stage() = Stage::Silent;
    }

    /// The worker has the interface, which has this MTU.
    pub(crate) fn open(&self, mtu: u32) {
        *self.stage() = Stage::Open(mtu);
    }

    pub(crate) fn is_opening(&self) -> bool {
        matches!(&*self.stage(), Stage::Opening)
    }

    pub(crate) fn mtu(&self) -> Option<u32> {
        self.stage().facts().copied()
    }

    /// The state of a port on `interface`.
    pub(crate) fn describe(&self, interface: &str) -> PortState {
        self.stage()
            .describe(interface, self.link(), "was set down", |mtu| sentence(interface, *mtu))
    }
}

/// How the interface is used, in words.
pub(crate) fn sentence(interface: &str, mtu: u32) -> String {
    format!("{interface}, MTU {mtu}")
}
