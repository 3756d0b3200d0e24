//! Tests of the crate as its users see it, against etherparse and a slow reference.

mod checking;
mod finishing;
mod flows;
mod frames;
mod matrix;
mod net_headers;
mod reference;
mod segmenting;
