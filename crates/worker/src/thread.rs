//! The thread of a worker, on its core.

use std::sync::mpsc::sync_channel;
use std::thread::{Builder, JoinHandle};
use std::{fmt, io};

use core_affinity::CoreId;

use crate::Worker;

/// A worker could not be started.
#[derive(Debug)]
pub enum SpawnError {
    /// The host has no thread for it.
    Thread(io::Error),
    /// The core does not exist, or this process may not use it.
    Core(usize),
}

impl fmt::Display for SpawnError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Thread(error) => write!(f, "cannot start a worker thread: {error}"),
            Self::Core(core) => write!(
                f,
                "cannot run a worker on core {core}: it is absent, or not allowed to this process"
            ),
        }
    }
}

impl std::error::Error for SpawnError {}

/// Runs `worker` on a thread named `name`, pinned to `core`.
///
/// # Errors
///
/// When there is no thread or no such core; the worker is gone then.
pub fn spawn(worker: Worker, name: String, core: usize) -> Result<JoinHandle<()>, SpawnError> {
    let (ready, answer) = sync_channel(1);
    let thread = Builder::new().name(name).spawn(move || {
        let pinned = core_affinity::set_for_current(CoreId { id: core });
        if ready.send(pinned).is_ok() && pinned {
            let _fatal = AbortOnPanic;
            worker.run();
        }
    });
    let thread = thread.map_err(SpawnError::Thread)?;
    if answer.recv() == Ok(true) { Ok(thread) } else { Err(SpawnError::Core(core)) }
}

/// Ends the process when a worker breaks off. Its guests would wait for ever, and nobody would see why; whoever watches over
/// the process starts it again, and front-ends reconnect.
struct AbortOnPanic;

impl Drop for AbortOnPanic {
    fn drop(&mut self) {
        if std::thread::panicking() {
            std::process::abort();
        }
    }
}
