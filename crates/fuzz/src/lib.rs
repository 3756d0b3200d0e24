//! Fuzz targets for what guests, files and networks send us. Each target is an ordinary function, so that tests replay its inputs on
//! any toolchain; `libfuzzer/` calls the same functions with inputs of its own.
//!
//! A target panics when something does not hold that must hold for every input. Nothing here is part of the switch.
#![forbid(unsafe_code)]
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a panic is how a target reports what it has found"
)]

mod chain;
mod guest;
mod image;
mod input;
mod outcome;

pub mod config_text;
pub mod encap_parse;
pub mod filter_program;
pub mod frame_parse;
pub mod net_header;
pub mod receive_buffers;
pub mod transmit_chain;
pub mod underlay_observe;

pub use outcome::Outcome;

/// Runs one input.
pub type Target = fn(&[u8]) -> Outcome;

/// All targets, by the names of their folders.
pub const TARGETS: [(&str, Target); 8] = [
    ("transmit_chain", transmit_chain::run),
    ("receive_buffers", receive_buffers::run),
    ("net_header", net_header::run),
    ("frame_parse", frame_parse::run),
    ("encap_parse", encap_parse::run),
    ("underlay_observe", underlay_observe::run),
    ("filter_program", filter_program::run),
    ("config_text", config_text::run),
];
