//! Leaves nothing behind when a person interrupts the demo.

use std::fs;
use std::path::PathBuf;
use std::process;
use std::thread;

use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

use crate::error::LabError;

/// On the first signal that asks the process to end: removes `folder` and ends. The kernel ends the processes of the
/// scene together with ours.
///
/// # Errors
///
/// When the signals cannot be caught.
pub fn clean_up_when_interrupted(folder: PathBuf) -> Result<(), LabError> {
    let mut signals =
        Signals::new([SIGINT, SIGTERM, SIGHUP]).map_err(LabError::io("catch signals"))?;
    thread::spawn(move || {
        if let Some(signal) = signals.forever().next() {
            drop(fs::remove_dir_all(&folder));
            // As a shell reports a process that died of the signal.
            process::exit(128 + signal);
        }
    });
    Ok(())
}
