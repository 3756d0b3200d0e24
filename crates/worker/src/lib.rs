//! The poll loop that joins ports, switch and mirror on one core.
//!
//! A [`Worker`] owns its ports and everything it writes. One turn takes a burst from each of its ports, decides where each
//! frame goes, delivers production before copies, gives back what is done, publishes once per ring, and notifies after one
//! fence. Workers meet only in single-producer rings (`mailbox`) and in what the control side hands them between turns
//! (`command`). No worker waits for a guest, nor for another worker.
#![forbid(unsafe_code)]

mod command;
mod complete;
mod copies;
mod core;
mod deliver;
mod fleet;
mod form;
mod idle;
mod mailbox;
mod meter;
mod poll;
mod receive;
mod roster;
mod run;
mod snapshot;
mod thread;
mod wake;

pub use command::WorkerGone;
pub use fleet::{Fleet, FleetSettings};
pub use idle::Polling;
pub use meter::WorkerReport;
pub use poll::{Step, Worker};
pub use snapshot::Snapshot;
pub use thread::{SpawnError, spawn};
