//! Filters of mirror sessions: text in the syntax of pcap-filter(7), compiled by libpcap to a program of classic BPF, and
//! run for each frame by an interpreter of our own.
//!
//! [`compile`] is for the control thread: it allocates, and it may ask a resolver when a filter names a host. A
//! [`Program`] is for workers: it has been verified, never changes, and is shared between them. What always holds:
//! judging a frame allocates nothing, panics never, and takes at most as many steps as the program has.
#![forbid(unsafe_code)]

mod compile;
mod fault;
mod instruction;
mod judge;
mod program;
mod step;
mod tail;

pub use compile::{FilterError, MAX_TEXT_BYTES, RefusalCause, compile};
pub use fault::{Fault, ProgramFault};
pub use instruction::Instruction;
pub use program::{MAX_INSTRUCTIONS, Program};
pub use tail::Tail;
