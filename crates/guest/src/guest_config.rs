//! What a guest is like.

use crate::chain_layout::ChainForm;
use crate::features::{self, protocol};
use crate::memory::MemoryLayout;
use crate::split_ring::RingMode;

/// Who posts receive buffers again after their frames were taken.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Refill {
    /// The guest, at once.
    #[default]
    AtOnce,
    /// The caller, by [`crate::Guest::post_receive`]: also a guest that never posts any.
    ByHand,
}

/// In which order a back-end learns of rings.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SetupOrder {
    /// As QEMU: calls, enabling, features, memory, rings.
    #[default]
    Qemu,
    /// As DPDK's virtio-user: calls, features, memory, rings, enabling.
    VirtioUser,
}

/// How receive buffers are cut into descriptors. See [`crate::ChainLayout`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ReceiveLayout {
    /// Lengths of the first descriptors.
    pub cuts: Vec<u32>,
    /// Where the descriptors are.
    pub form: ChainForm,
}

/// What a guest wants and how its driver works.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GuestConfig {
    /// Features it takes when they are offered. See [`crate::features`].
    pub features: u64,
    /// Protocol features it takes when they are offered.
    pub protocol_features: u64,
    /// Pairs of a receiveq and a transmitq.
    pub queue_pairs: u16,
    /// Pairs that are enabled at the start.
    pub active_pairs: u16,
    /// Descriptors of each ring; a power of two.
    pub ring_size: u16,
    /// Length of each receive buffer in bytes, net header included.
    pub rx_buffer_bytes: u32,
    /// Longest frame to be sent, in bytes.
    pub tx_buffer_bytes: u32,
    /// How receive buffers are cut.
    pub receive_layout: ReceiveLayout,
    /// Entries of each indirect table, when INDIRECT_DESC is in use.
    pub indirect_entries: u16,
    /// Who posts receive buffers.
    pub refill: Refill,
    /// Where its memory lies.
    pub memory: MemoryLayout,
    /// The order of messages at the start.
    pub setup_order: SetupOrder,
    /// Its Ethernet address.
    pub mac: [u8; 6],
}

impl Default for GuestConfig {
    /// One queue pair of 256, buffers for ordinary frames, all features that need no offload.
    fn default() -> Self {
        Self {
            features: features::PLAIN,
            protocol_features: protocol::USUAL,
            queue_pairs: 1,
            active_pairs: 1,
            ring_size: 256,
            rx_buffer_bytes: 1536,
            tx_buffer_bytes: 2048,
            receive_layout: ReceiveLayout::default(),
            indirect_entries: 16,
            refill: Refill::AtOnce,
            memory: MemoryLayout::Fitting,
            setup_order: SetupOrder::Qemu,
            mac: [0x52, 0x54, 0, 0, 0, 1],
        }
    }
}

impl GuestConfig {
    /// The defaults for a guest with this address.
    #[must_use]
    pub fn with_mac(mac: [u8; 6]) -> Self {
        Self { mac, ..Self::default() }
    }

    /// How rings are used once `features` are chosen.
    #[must_use]
    pub fn ring_mode(&self, features: u64) -> RingMode {
        let indirect = features & features::INDIRECT_DESC != 0;
        RingMode {
            event_idx: features & features::EVENT_IDX != 0,
            in_order: features & features::IN_ORDER != 0,
            indirect_entries: if indirect { self.indirect_entries } else { 0 },
        }
    }
}
