//! The control half of an uplink: starts and stops it, and says how it is.

use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use crate::control_thread::{self, Senses, Stop};
use crate::parts::{MAX_QUEUES, Shared, UplinkError, UplinkParts, UplinkQueues};
use crate::sockets::KernelDrops;
use crate::status::{UplinkFacts, UplinkState};

/// Between two looks at whether the first try has ended.
const LOOK: Duration = Duration::from_millis(2);

/// What control holds of an uplink. Dropping it stops the uplink.
#[derive(Debug)]
pub struct UplinkHandle {
    shared: Arc<Shared>,
    stop: Arc<Stop>,
    thread: Option<JoinHandle<()>>,
}

impl UplinkHandle {
    pub(crate) fn create(parts: UplinkParts) -> Result<(Arc<Shared>, Self), UplinkError> {
        if let UplinkQueues::First(count) = parts.queues
            && !(1..=MAX_QUEUES).contains(&count)
        {
            return Err(UplinkError::QueueCount(count));
        }
        let stop = Arc::new(Stop::new().map_err(UplinkError::Thread)?);
        let shared = Arc::new(Shared::new(parts));
        Ok((Arc::clone(&shared), Self { shared, stop, thread: None }))
    }

    /// Opens the interface, in the network namespace of the calling thread, and again whenever it was lost. The worker must
    /// have the port by now; a second call does nothing.
    ///
    /// # Errors
    ///
    /// When the host has no thread or no descriptors for us. That the interface is not there, or not to be had, is no error:
    /// [`UplinkHandle::state`] says it, and the uplink keeps trying.
    pub fn start(&mut self) -> Result<(), UplinkError> {
        if self.thread.is_some() || self.stop.is_wanted() {
            return Ok(());
        }
        let senses = Senses::new().map_err(UplinkError::Thread)?;
        let (shared, stop) = (Arc::clone(&self.shared), Arc::clone(&self.stop));
        // Said before the thread is there, so that whoever asks next hears it.
        self.shared.status.begin();
        let thread = thread::Builder::new()
            .name(format!("uplink {}", self.shared.name))
            .spawn(move || control_thread::run(&shared, &stop, &senses));
        let thread = thread.inspect_err(|_| self.shared.status.end());
        self.thread = Some(thread.map_err(UplinkError::Thread)?);
        Ok(())
    }

    /// Waits until the interface was opened or refused once, `patience` at most. The worker must run.
    pub fn wait_for_first_try(&self, patience: Duration) {
        let until = Instant::now() + patience;
        while self.shared.status.is_opening() && Instant::now() < until {
            thread::sleep(LOOK);
        }
    }

    /// What the uplink does.
    #[must_use]
    pub fn state(&self) -> UplinkState {
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

    /// Takes the queues back from the worker, which must still have the port or have dropped it, and closes the interface.
    /// Afterwards the worker may drop the port.
    pub fn stop(&mut self) {
        self.stop.request();
        if let Some(thread) = self.thread.take() {
            // A thread that failed has said so on standard error.
            let _ = thread.join();
        }
    }
}

impl Drop for UplinkHandle {
    fn drop(&mut self) {
        self.stop();
    }
}
