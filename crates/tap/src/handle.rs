//! The control half of a TAP port: starts and stops it, and says how it is.

use std::sync::Arc;

use helio_host::{ControlThread, FirstTry, PortState, Senses};

use crate::control_thread;
use crate::parts::{Shared, TapError, TapParts};

/// What control holds of a TAP port. Dropping it stops the port.
#[derive(Debug)]
pub struct TapHandle {
    shared: Arc<Shared>,
    thread: ControlThread,
}

impl TapHandle {
    pub(crate) fn create(parts: TapParts) -> Result<(Arc<Shared>, Self), TapError> {
        let thread = ControlThread::new().map_err(TapError::Thread)?;
        let shared = Arc::new(Shared::new(parts));
        Ok((Arc::clone(&shared), Self { shared, thread }))
    }

    /// Makes the interface, in the network namespace of the calling thread, and again whenever it was lost. The worker must
    /// have the port by now; a second call does nothing.
    ///
    /// # Errors
    ///
    /// When the host has no thread or no descriptors for us. That the interface cannot be made is no error:
    /// [`TapHandle::state`] says it, and the port keeps trying.
    pub fn start(&mut self) -> Result<(), TapError> {
        if self.thread.is_used() {
            return Ok(());
        }
        let senses = Senses::new().map_err(TapError::Thread)?;
        let shared = Arc::clone(&self.shared);
        shared.status.begin();
        let run = move |stop: &_| control_thread::run(&shared, stop, &senses);
        let started = self.thread.start(format!("tap {}", self.shared.name), run);
        started.map_err(|cause| {
            self.shared.status.end();
            TapError::Thread(cause)
        })
    }

    /// By which can be waited until the interface was made or refused once. The worker must run.
    #[must_use]
    pub fn first_try(&self) -> FirstTry {
        let shared = Arc::clone(&self.shared);
        FirstTry::new(move || shared.status.is_opening())
    }

    /// What the port does.
    #[must_use]
    pub fn state(&self) -> PortState {
        self.shared.status.describe(&self.shared.interface)
    }

    /// Bytes of the longest packet that the interface sends; `None` while there is none.
    #[must_use]
    pub fn mtu(&self) -> Option<u32> {
        self.shared.status.mtu()
    }

    /// Gives the interface this MTU, a second from now at the latest.
    pub fn set_mtu(&self, mtu: u16) {
        self.shared.status.want_mtu(mtu);
    }

    /// Takes the interface back from the worker, which must still have the port or have dropped it; with that it is gone.
    /// Afterwards the worker may drop the port. A worker that is silent is waited for 10 seconds only; then this is to be
    /// called again when the port was dropped.
    pub fn stop(&mut self) {
        self.thread.stop();
    }
}
