//! The running switch: workers on their cores, ports with their control threads, the control socket, and the signals that
//! end it all. The only crate that knows every kind of port.
#![forbid(unsafe_code)]

mod cards;
mod compile;
mod error;
mod feature_names;
mod forgetting;
mod housekeeping;
mod info;
mod port_handle;
mod port_state;
mod ports;
mod session_info;
mod sessions;
mod start;
mod stream_info;
mod switch;
mod underlay;

pub use error::DaemonError;
pub use start::{Daemon, run};
