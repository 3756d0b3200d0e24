//! What must be given back when a frame is done.

use helio_types::PortId;

/// What holds the bytes of a frame, and is given back to its owner when the last delivery is done. Counted by the worker
/// that took the frame, in plain integers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// A chain of a guest, in a slot of the transmitq it came from.
    Chain {
        /// The port of the guest.
        port: PortId,
        /// Which transmitq of the port, counted from 0.
        queue: u8,
        /// Which of the chains that the queue has taken and not completed.
        slot: u16,
    },
    /// A private buffer of the worker's pool.
    Chunk(u16),
    /// Nothing: the frame is complete in itself.
    Nothing,
}
