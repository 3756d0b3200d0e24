//! Every mapping of memory that somebody else can write, and the only code that touches it.
//!
//! Guest memory is never borrowed: it is copied out, copied in, or reached word by word through atomics. Each
//! access is checked against the mapping it goes to at the moment it is made, or goes through a value that only
//! such a check makes ([`GuestBytes`], [`PlaceQueue`], [`RingArea`]), so that no address, however it came about, can reach outside
//! the memory that a front-end shared.
#![deny(unsafe_op_in_unsafe_fn)]

mod copy;
mod guard;
mod guest_addr;
mod guest_bytes;
mod memory_table;
mod place_queue;
mod prefetch;
mod region_file;
mod ring_area;
mod ring_entries;
mod segment;
mod watched_index;

pub use guest_addr::GuestAddr;
pub use guest_bytes::{GuestBytes, Written};
pub use memory_table::{AddressFault, MemoryError, MemoryTable};
pub use place_queue::{Filler, PlaceQueue};
pub use prefetch::fetch;
pub use ring_area::RingArea;
pub use ring_entries::{Entries, RingEntries};
pub use segment::Segment;
pub use watched_index::WatchedIndex;
