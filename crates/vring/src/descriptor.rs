//! One descriptor, as a private copy. VIRTIO 1.2, section 2.7.5.

use helio_mem::{Entries, GuestAddr, RingEntries};

use crate::layout;

const NEXT: u16 = 1;
const WRITE: u16 = 2;
const INDIRECT: u16 = 4;

/// The descriptors of a ring.
pub(crate) type Descriptors = RingEntries<{ layout::DESCRIPTOR_BYTES }>;

/// What a descriptor said when it was read, once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Descriptor {
    pub(crate) addr: GuestAddr,
    pub(crate) bytes: u32,
    flags: u16,
    next: u16,
}

impl Descriptor {
    /// Reads the descriptor at `index`. `None` when that is not below the size of the ring.
    #[inline]
    pub(crate) fn load(
        table: Entries<'_, { layout::DESCRIPTOR_BYTES }>,
        index: u16,
    ) -> Option<Self> {
        let (addr, bytes, rest) = table.load(index)?;
        Some(Self::from_words(addr, bytes, rest))
    }

    /// The descriptor whose 16 bytes are `bytes`.
    pub(crate) fn from_bytes(bytes: [u8; layout::DESCRIPTOR_BYTES]) -> Self {
        let [a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p] = bytes;
        Self::from_words(
            u64::from_le_bytes([a, b, c, d, e, f, g, h]),
            u32::from_le_bytes([i, j, k, l]),
            u32::from_le_bytes([m, n, o, p]),
        )
    }

    /// `rest` is flags and then the next descriptor.
    #[inline]
    fn from_words(addr: u64, bytes: u32, rest: u32) -> Self {
        let [a, b, c, d] = rest.to_le_bytes();
        let (flags, next) = (u16::from_le_bytes([a, b]), u16::from_le_bytes([c, d]));
        Self { addr: GuestAddr(addr), bytes, flags, next }
    }

    /// Index of the descriptor that continues the chain.
    #[inline]
    pub(crate) fn next(&self) -> Option<u16> {
        (self.flags & NEXT != 0).then_some(self.next)
    }

    /// The buffer is for us to write.
    #[inline]
    pub(crate) fn is_device_writable(&self) -> bool {
        self.flags & WRITE != 0
    }

    /// The chain is this one buffer, and we may only read it.
    #[inline]
    pub(crate) fn is_single_and_readable(&self) -> bool {
        self.flags & (NEXT | WRITE | INDIRECT) == 0
    }

    /// The chain is this one buffer, and it is for us to write.
    #[inline]
    pub(crate) fn is_single_and_writable(&self) -> bool {
        self.flags & (NEXT | WRITE | INDIRECT) == WRITE
    }

    /// The buffer is a table of descriptors.
    #[inline]
    pub(crate) fn is_indirect(&self) -> bool {
        self.flags & INDIRECT != 0
    }
}
