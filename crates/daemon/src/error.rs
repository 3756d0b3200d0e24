//! Why the switch could not start.

use std::path::PathBuf;

use helio_config::HostError;
use helio_control::ServeError;
use helio_mem::MemoryError;
use helio_worker::SpawnError;

/// The switch could not start, or not go on. Each says what to do.
#[derive(Debug, thiserror::Error)]
pub enum DaemonError {
    /// The configuration asks for what the host does not have.
    #[error(transparent)]
    Host(#[from] HostError),
    /// No memory or descriptors for the workers.
    #[error("the workers cannot be made: {0}")]
    Workers(#[from] MemoryError),
    /// A worker did not start.
    #[error(transparent)]
    Spawn(#[from] SpawnError),
    /// A port of the configuration could not be opened.
    #[error("port {name:?}: {cause}")]
    Port {
        /// Its name.
        name: String,
        /// The sentence that says what is wrong.
        cause: String,
    },
    /// A mirror session of the configuration could not be put in place.
    #[error("mirror session {name:?}: {cause}")]
    Session {
        /// Its name.
        name: String,
        /// The sentence that says what is wrong.
        cause: String,
    },
    /// The control socket could not be opened.
    #[error(transparent)]
    Control(#[from] ServeError),
    /// There is no folder for a socket.
    #[error(
        "the folder {folder} of a socket cannot be made: {cause}; make it, or start helio as a user who may", folder = folder.display()
    )]
    Folder {
        /// The folder.
        folder: PathBuf,
        /// What the host said.
        cause: std::io::Error,
    },
    /// A thread or a signal handler could not be set up.
    #[error("the host refuses what every process needs: {0}")]
    Process(#[from] std::io::Error),
}
