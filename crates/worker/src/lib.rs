//! The poll loop that joins ports, switch and mirror on one core.
//!
//! A [`Worker`] owns its ports and everything it writes. One turn takes a burst from each of its ports, but for some of those
//! that have long been silent (`roster`); it decides where the frames go, delivers those that go the same way together,
//! production before copies, gives back what is done, and publishes once to each port that had a part in the turn. Guests
//! that want to be told are told after one fence, in the first turn that finds nothing, or in each eighth with work. Workers
//! meet only in single-producer rings (`mailbox`) and in what the control side hands them between turns (`command`). No
//! worker waits for a guest, nor for another worker.
#![forbid(unsafe_code)]

mod clock;
mod command;
mod complete;
mod copies;
mod core;
mod decap;
mod decap_shelf;
mod deliver;
mod fleet;
mod form;
mod fragments;
mod hand_over;
mod idle;
mod intercept;
mod leg_delivery;
mod legs;
mod mailbox;
mod meter;
mod poll;
mod prepare;
mod receive;
mod remote;
mod roster;
mod run;
mod snapshot;
mod thread;
mod wake;

pub use clock::Clock;
pub use command::WorkerGone;
pub use decap::DecapReport;
pub use decap_shelf::DecapShelf;
pub use fleet::{Fleet, FleetSettings};
pub use idle::Polling;
pub use intercept::{CollectorReport, UnderlayReport};
pub use meter::WorkerReport;
pub use poll::{Step, Worker};
pub use snapshot::Snapshot;
pub use thread::{SpawnError, spawn};
