//! The control half of an uplink: starts and stops it, and says how it is.

use std::sync::Arc;

use helio_host::{ControlThread, FirstTry, PortState, Senses};

use crate::census::Census;
use crate::control_thread;
use crate::parts::{MAX_QUEUES, Shared, UplinkError, UplinkParts, UplinkQueues};
use crate::sockets::KernelDrops;
use crate::status::UplinkFacts;

/// What control holds of an uplink. Dropping it stops the uplink.
#[derive(Debug)]
pub struct UplinkHandle {
    shared: Arc<Shared>,
    thread: ControlThread,
}

impl UplinkHandle {
    pub(crate) fn create(parts: UplinkParts) -> Result<(Arc<Shared>, Self), UplinkError> {
        if let UplinkQueues::First(count) = parts.queues
            && !(1..=MAX_QUEUES).contains(&count)
        {
            return Err(UplinkError::QueueCount(count));
        }
        let thread = ControlThread::new().map_err(UplinkError::Thread)?;
        let shared = Arc::new(Shared::new(parts));
        Ok((Arc::clone(&shared), Self { shared, thread }))
    }

    /// Opens the interface, in the network namespace of the calling thread, and again whenever it was lost. The worker must
    /// have the port by now; a second call does nothing.
    ///
    /// # Errors
    ///
    /// When the host has no thread or no descriptors for us. That the interface is not there, or not to be had, is no error:
    /// [`UplinkHandle::state`] says it, and the uplink keeps trying.
    pub fn start(&mut self) -> Result<(), UplinkError> {
        if self.thread.is_used() {
            return Ok(());
        }
        let senses = Senses::new().map_err(UplinkError::Thread)?;
        let shared = Arc::clone(&self.shared);
        // Said before the thread is there, so that whoever asks next hears it.
        self.shared.status.begin();
        let name = format!("uplink {}", self.shared.name);
        let started =
            self.thread.start(name, move |stop| control_thread::run(&shared, stop, &senses));
        started.inspect_err(|_| self.shared.status.end()).map_err(UplinkError::Thread)
    }

    /// By which can be waited until the interface was opened or refused once. The worker must run.
    #[must_use]
    pub fn first_try(&self) -> FirstTry {
        let shared = Arc::clone(&self.shared);
        FirstTry::new(move || shared.status.is_opening())
    }

    /// What the uplink does.
    #[must_use]
    pub fn state(&self) -> PortState {
        self.shared.status.describe(&self.shared.interface)
    }

    /// How the interface is used; `None` while it is not.
    #[must_use]
    pub fn facts(&self) -> Option<UplinkFacts> {
        self.shared.status.facts()
    }

    /// Frames that the kernel could not bring to the switch since the uplink was made.
    #[must_use]
    pub fn kernel_drops(&self) -> KernelDrops {
        self.shared.status.drops()
    }

    /// Where all chunks were when the worker last noted it; all are nowhere while no interface is open.
    #[must_use]
    pub fn census(&self) -> Census {
        self.shared.noted.read()
    }

    /// Takes the queues back from the worker, which must still have the port or have dropped it, and closes the interface.
    /// Afterwards the worker may drop the port. A worker that is silent is waited for 10 seconds only; then this is to be
    /// called again when the port was dropped.
    pub fn stop(&mut self) {
        self.thread.stop();
    }
}
