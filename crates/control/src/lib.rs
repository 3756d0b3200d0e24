//! The control socket: HTTP with JSON over a Unix socket, in front of whatever implements [`Switch`].
//!
//! One thread serves all connections, and at most four more make the calls that may block. No worker is
//! ever called from here.
#![forbid(unsafe_code)]

mod control_error;
mod request;
mod routes;
mod server;
mod socket;
mod switch;

pub use control_error::{ControlError, ControlErrorKind};
pub use server::{ControlServer, Limits, serve, serve_to, serve_within};
pub use socket::ServeError;
pub use switch::Switch;
