//! What a guest is like that sends and receives in bursts.

use crate::features::{self, protocol};
use crate::guest_config::SetupOrder;
use crate::memory::Pages;
use crate::net_header::NetHeader;

/// Bytes of a cache line.
pub(crate) const LINE_BYTES: usize = 64;

/// Where the net header lies in a buffer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum HeaderPlace {
    /// At the end of a cache line, so that the frame begins with the next one: as DPDK's driver does it.
    #[default]
    LineBefore,
    /// At the beginning of a cache line, the frame right behind it: as Linux does it.
    SameLine,
}

impl HeaderPlace {
    /// Where the frame begins in its buffer.
    pub(crate) fn frame_at(self, header_bytes: usize) -> usize {
        match self {
            Self::LineBefore => LINE_BYTES,
            Self::SameLine => header_bytes,
        }
    }
}

/// Whether descriptors and avail entries are stored again when they are as they should be already.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Rewriting {
    /// Only what changed: the least work for the guest, and their cache lines stay with the back-end too.
    #[default]
    Changes,
    /// All, for every chain: what most drivers do.
    Always,
}

/// How a frame to be sent is cut into descriptors.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Cutting {
    /// Net header and frame in one descriptor.
    #[default]
    Whole,
    /// The net header in a descriptor of its own, then pieces of this many bytes, linked in the ring's table.
    Linked(u32),
    /// The same, in an indirect table. Needs INDIRECT_DESC.
    Indirect(u32),
}

/// What the guest wants and how its queues work.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BurstConfig {
    /// Features it takes when they are offered. See [`crate::features`].
    pub features: u64,
    /// Protocol features it takes when they are offered.
    pub protocol_features: u64,
    /// Pairs of a receiveq and a transmitq; at least one. More need MQ.
    pub queue_pairs: u16,
    /// Descriptors of each ring; a power of two.
    pub ring_size: u16,
    /// Length of each receive buffer in bytes, net header included.
    pub rx_buffer_bytes: u32,
    /// Longest frame to be sent, in bytes.
    pub max_frame_bytes: u32,
    /// Bytes at the beginning of each frame that the sender rewrites; fetched ahead of time.
    pub rewritten_bytes: u32,
    /// Bytes at the beginning of each frame that the receiver reads; fetched ahead of time.
    pub read_bytes: u32,
    /// How sent frames are cut.
    pub cutting: Cutting,
    /// The net header of every sent frame.
    pub net_header: NetHeader,
    /// Where net headers lie.
    pub header_place: HeaderPlace,
    /// Whether unchanged ring bytes are stored again.
    pub rewriting: Rewriting,
    /// What its memory is made of.
    pub pages: Pages,
    /// The order of messages at the start.
    pub setup_order: SetupOrder,
}

impl Default for BurstConfig {
    /// A ring of 1024 for ordinary frames, without any feature that costs time.
    fn default() -> Self {
        Self {
            features: features::VERSION_1,
            protocol_features: protocol::USUAL,
            queue_pairs: 1,
            ring_size: 1024,
            rx_buffer_bytes: 1536,
            max_frame_bytes: 1514,
            rewritten_bytes: 64,
            read_bytes: 64,
            cutting: Cutting::Whole,
            net_header: NetHeader::default(),
            header_place: HeaderPlace::LineBefore,
            rewriting: Rewriting::Changes,
            pages: Pages::Usual,
            setup_order: SetupOrder::Qemu,
        }
    }
}

/// Bytes from one buffer to the next for `bytes` in each: an odd number of cache lines, so that the beginnings of
/// neighbours do not compete for the same few sets of a cache.
pub(crate) fn stride(bytes: usize) -> usize {
    let lines = bytes.div_ceil(LINE_BYTES);
    (lines | 1) * LINE_BYTES
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buffers_are_an_odd_number_of_lines_apart() {
        assert_eq!([1, 64, 65, 128, 1600, 65_600].map(stride), [64, 64, 192, 192, 1600, 65_600]);
        assert!((1..5000).all(|bytes| stride(bytes) >= bytes && stride(bytes) / 64 % 2 == 1));
    }
}
