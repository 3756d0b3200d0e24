//! One temporary folder for the sockets, configurations and logs of one scene.
//!
//! It goes away with the value, unless a test is failing or it is to be kept: then its path is printed.

use std::cell::Cell;
use std::path::{Path, PathBuf};
use std::thread;

use tempfile::TempDir;

use crate::error::LabError;

/// A temporary folder whose path is short enough for Unix sockets.
#[derive(Debug)]
pub struct LabDir {
    folder: TempDir,
    kept: Cell<bool>,
}

impl LabDir {
    /// Creates an empty folder.
    ///
    /// # Errors
    ///
    /// When the host's temporary folder cannot be written.
    pub fn new() -> Result<Self, LabError> {
        let folder = tempfile::Builder::new()
            .prefix("helio-lab-")
            .tempdir()
            .map_err(LabError::io("create a temporary folder"))?;
        Ok(Self { folder, kept: Cell::new(false) })
    }

    /// The folder itself.
    #[must_use]
    pub fn path(&self) -> &Path {
        self.folder.path()
    }

    /// The path of one file in it.
    #[must_use]
    pub fn file(&self, name: impl AsRef<Path>) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Lets the folder stay, because something in it explains a failure.
    pub fn keep(&self) {
        self.kept.set(true);
    }
}

impl Drop for LabDir {
    fn drop(&mut self) {
        if self.kept.get() || thread::panicking() {
            self.folder.disable_cleanup(true);
            eprintln!("the logs of this failure are in {}", self.folder.path().display());
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn the_folder_goes_away_with_its_owner() {
        let dir = LabDir::new().unwrap();
        let path = dir.path().to_owned();
        fs::write(dir.file("x"), "x").unwrap();
        drop(dir);
        assert!(!path.exists());
    }

    #[test]
    fn the_folder_of_a_failing_test_stays() {
        let (tell, told) = std::sync::mpsc::channel();
        let failing = thread::spawn(move || {
            let dir = LabDir::new().unwrap();
            tell.send(dir.path().to_owned()).unwrap();
            panic!("on purpose");
        });
        assert!(failing.join().is_err());
        let path = told.recv().unwrap();
        assert!(path.exists());
        fs::remove_dir(path).unwrap();
    }
}
