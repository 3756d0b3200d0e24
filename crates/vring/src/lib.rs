//! The device side of split virtqueues: VIRTIO 1.2, section 2.7, and the net header of section 5.1.6.
//!
//! A [`TransmitQueue`] takes frames that a guest sends and gives their chains back in the order taken. A
//! [`ReceiveQueue`] writes frames into the buffers that a guest has posted. Both are used by one worker, read each word of
//! the guest once, and take a number of steps that does not depend on what the guest wrote.
#![forbid(unsafe_code)]

mod chain;
mod descriptor;
mod index;
mod layout;
mod reading;
mod receive;
mod ring;
mod single;
mod transmit;
mod writer;

pub use layout::{MAX_CHAIN_DESCRIPTORS, MAX_RING_SIZE, NetHeaderSize};
pub use receive::ReceiveQueue;
pub use ring::{Call, RingSetup};
pub use transmit::{Sender, TakeSteps, TransmitQueue};

/// Feature bits that change how a ring works. VIRTIO 1.2, sections 2.7 and 6.
pub mod feature {
    /// The device writes `num_buffers`, and may spread a frame over several chains. Section 5.1.3.
    pub const MRG_RXBUF: u64 = 1 << 15;
    /// A descriptor may point to a table of descriptors. Section 2.7.5.3.
    pub const INDIRECT_DESC: u64 = 1 << 28;
    /// Both sides say at which index they want to be told. Section 2.7.7, 2.7.8.
    pub const EVENT_IDX: u64 = 1 << 29;
    /// VIRTIO 1.0 or later: a net header of 12 bytes, little endian. Section 6.
    pub const VERSION_1: u64 = 1 << 32;
}
