//! Which copies of a frame go where: the sources and destinations of all mirror sessions, compiled into masks.
//!
//! Workers ask for each frame; the control thread builds a new [`MirrorTable`] whenever the configuration
//! changes. A table never changes, and nothing here allocates except its constructor.
//!
//! [`Sampler`] and [`RateLimit`] say which of the wanted copies are made. They count: each worker has its own sampler, and all share a limit.
#![forbid(unsafe_code)]

mod decap_point;
mod numbering;
mod own_copies;
mod plan;
mod rate_limit;
#[cfg(test)]
mod reference_tests;
mod remote;
mod sampler;
mod session;
mod sessions;
mod table;

pub use decap_point::DecapPoint;
pub use numbering::Numbering;
pub use plan::CopyPlan;
pub use rate_limit::{Copies, RateLimit};
pub use remote::Remote;
pub use sampler::Sampler;
pub use session::{Directions, Leg, LegForm, Rate, RefusedFrames, Session, Sources};
pub use sessions::{Concerned, Crossing, SessionSet, Sessions};
pub use table::{Exactness, MirrorTable, Selected};
