//! One scene at a time: guests, pinned workers and hugepages of two scenes would disturb each other's figures.

use std::env;
use std::fs::File;

use crate::error::LabError;

/// Held while a scene plays; the kernel gives it up when the process ends, however it ends.
#[derive(Debug)]
pub struct MachineLock {
    _file: File,
}

impl MachineLock {
    /// Waits until no other scene plays on this machine.
    ///
    /// # Errors
    ///
    /// When the lock file cannot be made.
    pub fn take() -> Result<Self, LabError> {
        let path = env::temp_dir().join("helio-lab.lock");
        let file =
            File::create(&path).map_err(LabError::io(format!("create {}", path.display())))?;
        file.lock().map_err(LabError::io(format!("lock {}", path.display())))?;
        Ok(Self { _file: file })
    }
}
