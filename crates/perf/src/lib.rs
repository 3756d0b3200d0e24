//! Compares switches: ours and its peers, on the same guests, frames, rings, pages and cores.
//!
//! Starts each switch as its own documentation says it is fastest, parks all but the one that is measured, plays rounds in
//! a shuffled order, and judges the ratios inside the rounds. Everything runs in one thread, which plays the guests too, but
//! for what follows a command while frames flow; the switches' workers have the other core.
#![forbid(unsafe_code)]

pub mod cells;
pub mod contest;
mod copies;
mod cores;
pub mod counted;
mod error;
mod floor;
mod http;
pub mod measure;
mod peer_name;
pub mod peers;
mod place;
pub mod proc;
mod quiet;
pub mod report;
pub mod results;
mod station;
pub mod statistics;
mod strip;
pub mod verdict;
mod window;
mod wire_frame;
mod wire_station;
mod wires;

pub use copies::Copies;
pub use cores::Cores;
pub use error::PerfError;
pub use peer_name::PeerName;
pub use station::RING;
pub use window::{Measured, Window};
