//! Where things stand in a split ring. VIRTIO 1.2, sections 2.7.5, 2.7.6 and 2.7.8.

use crate::feature;

/// Largest ring. VIRTIO 1.2, section 2.7.
pub const MAX_RING_SIZE: u16 = 32_768;

/// Most descriptors of one chain that we follow, even in a larger ring, so that no guest can keep its worker walking.
/// It is the largest ring, and so the longest chain, that QEMU lets a guest have.
pub const MAX_CHAIN_DESCRIPTORS: u16 = 1024;

/// Bytes of one descriptor.
pub(crate) const DESCRIPTOR_BYTES: usize = 16;

/// Both the avail and the used ring begin with flags and index.
pub(crate) const FLAGS: usize = 0;
pub(crate) const INDEX: usize = 2;
pub(crate) const ENTRIES: usize = 4;

pub(crate) fn descriptor(index: u16) -> usize {
    DESCRIPTOR_BYTES * usize::from(index)
}

pub(crate) fn avail_entry(slot: u16) -> usize {
    ENTRIES + 2 * usize::from(slot)
}

pub(crate) fn used_entry(slot: u16) -> usize {
    ENTRIES + 8 * usize::from(slot)
}

/// The guest's wish, behind the entries of the avail ring: tell me when the used index passes this.
pub(crate) fn used_event(size: u16) -> usize {
    avail_entry(size)
}

/// Our wish, behind the entries of the used ring: tell me when the avail index passes this.
pub(crate) fn avail_event(size: u16) -> usize {
    used_entry(size)
}

pub(crate) fn descriptor_table_bytes(size: u16) -> usize {
    descriptor(size)
}

pub(crate) fn avail_ring_bytes(size: u16) -> usize {
    used_event(size) + 2
}

pub(crate) fn used_ring_bytes(size: u16) -> usize {
    avail_event(size) + 2
}

/// Length of the net header that stands before each frame: settled when features are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NetHeaderSize {
    /// Without `num_buffers`: a legacy driver without mergeable buffers. VIRTIO 1.2, section 5.1.6.1.
    Ten,
    /// With `num_buffers`.
    Twelve,
}

impl NetHeaderSize {
    /// What a guest that acknowledged `features` uses.
    #[must_use]
    pub fn of(features: u64) -> Self {
        if features & (feature::VERSION_1 | feature::MRG_RXBUF) == 0 {
            Self::Ten
        } else {
            Self::Twelve
        }
    }

    /// In bytes.
    #[must_use]
    pub const fn bytes(self) -> usize {
        match self {
            Self::Ten => 10,
            Self::Twelve => 12,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ring_of_256_has_the_sizes_that_the_specification_gives() {
        assert_eq!(descriptor_table_bytes(256), 16 * 256);
        assert_eq!(avail_ring_bytes(256), 6 + 2 * 256);
        assert_eq!(used_ring_bytes(256), 6 + 8 * 256);
    }

    #[test]
    fn c030_only_a_legacy_guest_without_mergeable_buffers_has_the_short_header() {
        assert_eq!(NetHeaderSize::of(0).bytes(), 10);
        assert_eq!(NetHeaderSize::of(feature::MRG_RXBUF).bytes(), 12);
        assert_eq!(NetHeaderSize::of(feature::VERSION_1).bytes(), 12);
    }
}
