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
    /// A chunk of the UMEM of an uplink. Of a frame in several chunks it is the first.
    Umem {
        /// The port of the uplink.
        port: PortId,
        /// Which queue of the port, counted from 0.
        queue: u8,
        /// Which of the chunks that the queue receives into.
        chunk: u16,
    },
    /// Such a chunk that the port which sent the frame last has kept. It gave another one for it, and for each that the frame
    /// goes on in: those are the owner's now.
    Exchanged {
        /// The port of the uplink that received the frame.
        port: PortId,
        /// Which queue of the port, counted from 0.
        queue: u8,
        /// The first chunk of the frame.
        chunk: u16,
        /// The first of those given for them.
        instead: u16,
    },
    /// A private buffer of the worker's pool.
    Chunk(u16),
    /// Nothing: the frame is complete in itself.
    Nothing,
}

impl Origin {
    /// The port to which it must be given back, if it is a port's.
    #[inline]
    #[must_use]
    pub fn port(self) -> Option<PortId> {
        match self {
            Self::Chain { port, .. } | Self::Umem { port, .. } | Self::Exchanged { port, .. } => {
                Some(port)
            }
            Self::Chunk(_) | Self::Nothing => None,
        }
    }
}
