//! Frames while a worker holds them: what was read of them, where the rest lies, and what must be given back.
//!
//! A frame is a value, not a reference: it can be sent to another worker as it is. Its first bytes are a private copy,
//! its rest is a list of places in somebody's memory, checked again at each access.
#![forbid(unsafe_code)]

mod burst;
mod delivery;
mod frame;
mod head;
mod memory_id;
mod origin;
mod pool;
mod port;
mod precedence;
mod rest;

pub use burst::{BURST_BYTES, BURST_FRAMES, Burst};
pub use delivery::Delivery;
pub use frame::{Frame, MAX_SEGMENTS, SEGMENT_WEIGHT, SegmentList};
pub use head::{HEAD_BYTES, Head};
pub use memory_id::{MEMORY_IDS, MemoryId};
pub use origin::Origin;
pub use pool::{CHUNK_BYTES, Pool};
pub use port::{
    Armed, Intake, LastRun, MemoryDirectory, Port, PortFault, Readiness, Run, RunEnd, Wakeups,
    fetch_rest, offer_each,
};
pub use precedence::Precedence;
pub use rest::RestBytes;
