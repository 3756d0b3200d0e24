//! Which copies of a frame go where: the sources and destinations of all mirror sessions, compiled into masks.
//!
//! Workers ask for each frame; the control thread builds a new [`MirrorTable`] whenever the configuration
//! changes. A table never changes, and nothing here allocates except its constructor.
#![forbid(unsafe_code)]

mod plan;
#[cfg(test)]
mod reference_tests;
mod table;

pub use plan::CopyPlan;
pub use table::{Exactness, MirrorTable, Selected};
