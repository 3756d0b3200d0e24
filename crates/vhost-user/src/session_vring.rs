//! The rings as `vhost-user-backend` sees them: it sets them up by messages and never touches them otherwise, and each
//! change of a ring goes to the session.
//!
//! That crate makes its rings by itself, inside [`VhostUserDaemon::new`], in order and on the thread that calls it, and
//! gives them no context. So [`under_construction`] leaves the session in a thread-local for as long as that call lasts,
//! and each ring takes from there whose it is and which index it has.

use std::cell::RefCell;
use std::fs::File;
use std::io;
use std::sync::{Arc, MutexGuard};

use vhost_user_backend::{VringMutex, VringState, VringStateGuard, VringStateMutGuard, VringT};
use virtio_queue::Error as QueueError;
use vm_memory::{GuestMemoryAtomic, GuestMemoryMmap};

use crate::event_fd;
use crate::mailbox::Mode;
use crate::ring::Place;
use crate::session::{KickSlot, Session};

/// Guest memory as `vhost-user-backend` holds it.
pub(crate) type Memory = GuestMemoryAtomic<GuestMemoryMmap>;

struct Construction {
    session: Arc<Session>,
    next_index: usize,
}

thread_local! {
    static CONSTRUCTION: RefCell<Option<Construction>> = const { RefCell::new(None) };
}

/// Runs `make`; the rings made meanwhile on this thread are those of `session`, counted from 0.
pub(crate) fn under_construction<T>(session: &Arc<Session>, make: impl FnOnce() -> T) -> T {
    /// Clears the thread-local also when `make` unwinds.
    struct Cleared;
    impl Drop for Cleared {
        fn drop(&mut self) {
            CONSTRUCTION.with_borrow_mut(|place| *place = None);
        }
    }
    CONSTRUCTION.with_borrow_mut(|place| {
        *place = Some(Construction { session: Arc::clone(session), next_index: 0 });
    });
    let _cleared = Cleared;
    make()
}

/// One ring of a session.
#[derive(Clone)]
pub(crate) struct SessionVring {
    inner: VringMutex<Memory>,
    session: Arc<Session>,
    index: usize,
}

impl<'a> VringStateGuard<'a, Memory> for SessionVring {
    type G = MutexGuard<'a, VringState<Memory>>;
}

impl<'a> VringStateMutGuard<'a, Memory> for SessionVring {
    type G = MutexGuard<'a, VringState<Memory>>;
}

/// The session is always told outside the lock of `inner`: it may wait for the worker.
impl VringT<Memory> for SessionVring {
    fn new(mem: Memory, max_queue_size: u16) -> Result<Self, QueueError> {
        let inner = VringMutex::new(mem, max_queue_size)?;
        CONSTRUCTION.with_borrow_mut(|place| {
            let construction = place.as_mut().ok_or(QueueError::QueueNotReady)?;
            let index = construction.next_index;
            construction.next_index += 1;
            Ok(Self { inner, session: Arc::clone(&construction.session), index })
        })
    }

    fn get_ref(&self) -> MutexGuard<'_, VringState<Memory>> {
        self.inner.get_ref()
    }

    fn get_mut(&self) -> MutexGuard<'_, VringState<Memory>> {
        self.inner.get_mut()
    }

    fn add_used(&self, desc_index: u16, len: u32) -> Result<(), QueueError> {
        self.inner.add_used(desc_index, len)
    }

    fn signal_used_queue(&self) -> io::Result<()> {
        self.inner.signal_used_queue()
    }

    fn enable_notification(&self) -> Result<bool, QueueError> {
        self.inner.enable_notification()
    }

    fn disable_notification(&self) -> Result<(), QueueError> {
        self.inner.disable_notification()
    }

    fn needs_notification(&self) -> Result<bool, QueueError> {
        self.inner.needs_notification()
    }

    fn set_enabled(&self, enabled: bool) {
        self.inner.set_enabled(enabled);
        self.session.set_mode(self.index, if enabled { Mode::Enabled } else { Mode::Disabled });
    }

    fn set_queue_info(&self, desc: u64, avail: u64, used: u64) -> Result<(), QueueError> {
        let place = Place { descriptors: desc, avail, used };
        self.inner.set_queue_info(desc, avail, used)?;
        self.session.set_place(self.index, place).map_err(|_| QueueError::QueueNotReady)
    }

    fn queue_next_avail(&self) -> u16 {
        self.inner.queue_next_avail()
    }

    fn set_queue_next_avail(&self, base: u16) {
        if self.session.accepts_base(self.index, base, self.inner.queue_next_avail()) {
            self.inner.set_queue_next_avail(base);
        }
    }

    fn set_queue_next_used(&self, idx: u16) {
        self.inner.set_queue_next_used(idx);
    }

    /// Asked for when a ring is placed. A ring reads its used index by itself when it starts, so guest memory is left
    /// alone here, and the answer is the index that is known already.
    fn queue_used_idx(&self) -> Result<u16, QueueError> {
        Ok(virtio_queue::QueueT::next_used(self.inner.get_ref().get_queue()))
    }

    fn set_queue_size(&self, num: u16) {
        // The inner queue keeps its size when this one is impossible, and complains to a log. The session remembers what
        // was wanted, and refuses to start the ring.
        if num.is_power_of_two() {
            self.inner.set_queue_size(num);
        }
        self.session.set_size(self.index, num);
    }

    fn set_queue_event_idx(&self, enabled: bool) {
        self.inner.set_queue_event_idx(enabled);
    }

    /// False comes with GET_VRING_BASE only; its reply is the base that is left in the inner queue here.
    fn set_queue_ready(&self, ready: bool) {
        self.inner.set_queue_ready(ready);
        if ready {
            self.session.start_ring(self.index);
        } else if let Some(base) = self.session.stop_ring(self.index) {
            self.inner.set_queue_next_avail(base);
        }
    }

    /// The descriptor goes to the worker. The inner ring gets one of ours in its place, as it starts with one only, also
    /// for a guest that does not kick.
    fn set_kick(&self, file: Option<File>) {
        let placeholder = match self.session.set_kick(self.index, file) {
            KickSlot::Filled => event_fd::make().ok().map(File::from),
            KickSlot::Empty => None,
        };
        self.inner.set_kick(placeholder);
    }

    fn read_kick(&self) -> io::Result<bool> {
        self.inner.read_kick()
    }

    fn set_call(&self, file: Option<File>) {
        self.session.set_call(self.index, file);
    }

    fn set_err(&self, file: Option<File>) {
        self.session.set_err(self.index, file);
    }
}
