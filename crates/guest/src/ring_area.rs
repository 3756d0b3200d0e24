//! The bytes of one split ring in guest memory, field by field. No rules: every field can be read and written.
//!
//! VIRTIO 1.2, 2.7. The driver side ([`crate::SplitRing`]) keeps the rules on top of it; hostile tests and
//! [`crate::Racer`] use a clone of it to break them, from any thread.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use crate::error::GuestError;
use crate::memory::GuestMemory;
use crate::message::RingAddresses;
use crate::window::Window;

/// Bytes of one descriptor.
pub(crate) const DESCRIPTOR_BYTES: usize = 16;

/// Flags of a descriptor. VIRTIO 1.2, 2.7.5.
pub mod descriptor_flags {
    /// The chain goes on at `next`.
    pub const NEXT: u16 = 1;
    /// The device writes the buffer.
    pub const WRITE: u16 = 2;
    /// The buffer is a table of descriptors.
    pub const INDIRECT: u16 = 4;
}

/// In the flags of the avail ring: calls are not wanted.
pub(crate) const AVAIL_NO_INTERRUPT: u16 = 1;
/// In the flags of the used ring: kicks are not wanted.
pub(crate) const USED_NO_NOTIFY: u16 = 1;

/// One descriptor.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Descriptor {
    /// Guest address of the buffer.
    pub addr: u64,
    /// Its length in bytes.
    pub len: u32,
    /// See [`descriptor_flags`].
    pub flags: u16,
    /// Where the chain goes on, when the flags say so.
    pub next: u16,
}

/// Guest addresses of the three parts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RingPlace {
    /// Descriptor table.
    pub table: u64,
    /// Avail ring.
    pub avail: u64,
    /// Used ring.
    pub used: u64,
}

/// One ring in guest memory.
#[derive(Clone, Debug)]
pub struct RingArea {
    size: u16,
    table: Window,
    avail: Window,
    used: Window,
}

impl RingArea {
    /// Guest memory that one ring takes, alignment included.
    #[must_use]
    pub fn needed_bytes(size: u16) -> u64 {
        let size = u64::from(size);
        (16 * size).next_multiple_of(64) + (6 + 2 * size).next_multiple_of(64) + 6 + 8 * size + 64
    }

    /// A ring of `size` descriptors in fresh memory. Any size is taken: whether the back-end takes it is its
    /// own business.
    ///
    /// # Errors
    ///
    /// [`GuestError::MemoryExhausted`].
    pub fn allocate(memory: &Arc<GuestMemory>, size: u16) -> Result<Self, GuestError> {
        let entries = u64::from(size);
        let table = memory.allocate(16 * entries, 64)?;
        let avail = memory.allocate(6 + 2 * entries, 64)?;
        let used = memory.allocate(6 + 8 * entries, 64)?;
        Ok(Self { size, table, avail, used })
    }

    /// A ring at places of the caller's choice: on top of another ring, or of a buffer.
    ///
    /// # Errors
    ///
    /// [`GuestError::MemoryLayout`] when a part lies outside of the memory.
    pub fn at(memory: &Arc<GuestMemory>, size: u16, place: RingPlace) -> Result<Self, GuestError> {
        let entries = u64::from(size);
        let part = |addr, len| {
            memory.window(addr, len).ok_or(GuestError::MemoryLayout("a ring lies outside of it"))
        };
        let table = part(place.table, 16 * entries)?;
        let avail = part(place.avail, 6 + 2 * entries)?;
        let used = part(place.used, 6 + 8 * entries)?;
        Ok(Self { size, table, avail, used })
    }

    /// The memory it lies in.
    #[inline]
    #[must_use]
    pub fn memory(&self) -> &Arc<GuestMemory> {
        self.table.memory()
    }

    /// Number of descriptors.
    #[inline]
    #[must_use]
    pub fn size(&self) -> u16 {
        self.size
    }

    /// Where the parts lie.
    #[must_use]
    pub fn place(&self) -> RingPlace {
        RingPlace {
            table: self.table.guest_addr(),
            avail: self.avail.guest_addr(),
            used: self.used.guest_addr(),
        }
    }

    /// Where the parts lie, as SET_VRING_ADDR tells it.
    #[must_use]
    pub fn front_end_addresses(&self, index: u32) -> RingAddresses {
        RingAddresses {
            index,
            flags: 0,
            table: self.table.front_end_addr(),
            used: self.used.front_end_addr(),
            avail: self.avail.front_end_addr(),
            log: self.used.guest_addr(),
        }
    }

    /// Makes all bytes zero.
    pub fn clear(&self) {
        self.table.fill(0);
        self.avail.fill(0);
        self.used.fill(0);
    }

    /// The descriptor at `index`.
    #[inline]
    #[must_use]
    pub fn descriptor(&self, index: u16) -> Descriptor {
        read_descriptor(&self.table, usize::from(index))
    }

    /// Writes the descriptor at `index`: the buffer in one store, the rest in another.
    #[inline]
    pub fn write_descriptor(&self, index: u16, descriptor: Descriptor) {
        write_descriptor(&self.table, usize::from(index), descriptor);
    }

    /// Flags of the avail ring.
    #[must_use]
    pub fn avail_flags(&self) -> u16 {
        self.avail.load_u16(0, Ordering::Relaxed)
    }

    /// Writes the flags of the avail ring.
    pub fn set_avail_flags(&self, flags: u16) {
        self.avail.store_u16(0, flags, Ordering::Relaxed);
    }

    /// Index up to which chains were offered.
    #[must_use]
    pub fn avail_idx(&self) -> u16 {
        self.avail.load_u16(2, Ordering::Relaxed)
    }

    /// As [`RingArea::avail_idx`], for the device side. Acquire: what the entries refer to is visible after.
    #[inline]
    #[must_use]
    pub fn avail_idx_acquire(&self) -> u16 {
        self.avail.load_u16(2, Ordering::Acquire)
    }

    /// Offers all entries before `idx`. Release: what they refer to is visible before.
    #[inline]
    pub fn set_avail_idx(&self, idx: u16) {
        self.avail.store_u16(2, idx, Ordering::Release);
    }

    /// The head in `slot` (below the size) of the avail ring.
    #[inline]
    #[must_use]
    pub fn avail_entry(&self, slot: u16) -> u16 {
        self.avail.load_u16(4 + 2 * usize::from(slot), Ordering::Relaxed)
    }

    /// Writes a head, any number, into `slot` (below the size) of the avail ring.
    #[inline]
    pub fn set_avail_entry(&self, slot: u16, head: u16) {
        self.avail.store_u16(4 + 2 * usize::from(slot), head, Ordering::Relaxed);
    }

    /// The used index after which a call is wanted, when EVENT_IDX is in use.
    #[must_use]
    pub fn used_event(&self) -> u16 {
        self.avail.load_u16(4 + 2 * usize::from(self.size), Ordering::Relaxed)
    }

    /// Writes [`RingArea::used_event`].
    pub fn set_used_event(&self, idx: u16) {
        self.avail.store_u16(4 + 2 * usize::from(self.size), idx, Ordering::Relaxed);
    }

    /// Flags of the used ring.
    #[inline]
    #[must_use]
    pub fn used_flags(&self) -> u16 {
        self.used.load_u16(0, Ordering::Relaxed)
    }

    /// Writes the flags of the used ring, which are the back-end's.
    pub fn set_used_flags(&self, flags: u16) {
        self.used.store_u16(0, flags, Ordering::Relaxed);
    }

    /// Index up to which chains were completed. Acquire: what was written to them is visible after.
    #[inline]
    #[must_use]
    pub fn used_idx(&self) -> u16 {
        self.used.load_u16(2, Ordering::Acquire)
    }

    /// Writes the used index, which is the back-end's. Release, as a back-end does it.
    #[inline]
    pub fn set_used_idx(&self, idx: u16) {
        self.used.store_u16(2, idx, Ordering::Release);
    }

    /// Head and written length in `slot` (below the size) of the used ring.
    #[inline]
    #[must_use]
    pub fn used_entry(&self, slot: u16) -> (u32, u32) {
        let at = 4 + 8 * usize::from(slot);
        (self.used.load_u32(at, Ordering::Relaxed), self.used.load_u32(at + 4, Ordering::Relaxed))
    }

    /// Copies entries of the used ring from `slot` on, 8 bytes each, as far as `into` and the ring go; how many.
    #[inline]
    pub(crate) fn read_used_entries(&self, slot: u16, into: &mut [u8]) -> usize {
        let count = (into.len() / 8).min(usize::from(self.size - slot));
        if let Some(into) = into.get_mut(..8 * count) {
            self.used.read(4 + 8 * usize::from(slot), into);
        }
        count
    }

    /// Writes an entry of the used ring, which is the back-end's.
    #[inline]
    pub fn set_used_entry(&self, slot: u16, head: u32, len: u32) {
        let at = 4 + 8 * usize::from(slot);
        self.used.store_u32(at, head, Ordering::Relaxed);
        self.used.store_u32(at + 4, len, Ordering::Relaxed);
    }

    /// The avail index after which a kick is wanted, when EVENT_IDX is in use.
    #[inline]
    #[must_use]
    pub fn avail_event(&self) -> u16 {
        self.used.load_u16(4 + 8 * usize::from(self.size), Ordering::Relaxed)
    }

    /// Writes [`RingArea::avail_event`], which is the back-end's.
    pub fn set_avail_event(&self, idx: u16) {
        self.used.store_u16(4 + 8 * usize::from(self.size), idx, Ordering::Relaxed);
    }
}

/// Writes entry `index` of a table of descriptors, direct or indirect.
#[inline]
pub(crate) fn write_descriptor(table: &Window, index: usize, descriptor: Descriptor) {
    let at = index * DESCRIPTOR_BYTES;
    let Descriptor { addr, len, flags, next } = descriptor;
    let rest = u64::from(len) | u64::from(flags) << 32 | u64::from(next) << 48;
    table.store_u64(at, addr, Ordering::Relaxed);
    table.store_u64(at + 8, rest, Ordering::Relaxed);
}

/// Reads entry `index` of a table of descriptors.
fn read_descriptor(table: &Window, index: usize) -> Descriptor {
    let at = index * DESCRIPTOR_BYTES;
    Descriptor {
        addr: table.load_u64(at, Ordering::Relaxed),
        len: table.load_u32(at + 8, Ordering::Relaxed),
        flags: table.load_u16(at + 12, Ordering::Relaxed),
        next: table.load_u16(at + 14, Ordering::Relaxed),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::memory::MemoryLayout;

    fn memory() -> Arc<GuestMemory> {
        GuestMemory::new(&MemoryLayout::Fitting.plans(65_536)).unwrap()
    }

    #[test]
    fn a_descriptor_has_the_bytes_of_the_specification() {
        let memory = memory();
        let area = RingArea::allocate(&memory, 4).unwrap();
        let written = Descriptor { addr: 0x0102_0304_0506_0708, len: 9, flags: 3, next: 0x0a0b };
        area.write_descriptor(2, written);
        assert_eq!(area.descriptor(2), written);
        let mut bytes = [0; 16];
        memory.window(area.place().table + 32, 16).unwrap().read(0, &mut bytes);
        assert_eq!(bytes, [8, 7, 6, 5, 4, 3, 2, 1, 9, 0, 0, 0, 3, 0, 0x0b, 0x0a]);
    }

    #[test]
    fn the_event_fields_lie_behind_the_last_entry() {
        let memory = memory();
        let area = RingArea::allocate(&memory, 8).unwrap();
        area.set_used_event(0x1234);
        area.set_avail_event(0x5678);
        let place = area.place();
        let field = |at| memory.window(at, 2).unwrap().load_u16(0, Ordering::Relaxed);
        assert_eq!(field(place.avail + 4 + 2 * 8), 0x1234);
        assert_eq!(field(place.used + 4 + 8 * 8), 0x5678);
    }

    #[test]
    fn what_a_ring_needs_is_enough_for_it() {
        for size in [1, 2, 256, 32_768] {
            let plans = MemoryLayout::Fitting.plans(RingArea::needed_bytes(size));
            let memory = GuestMemory::new(&plans).unwrap();
            assert!(RingArea::allocate(&memory, size).is_ok(), "size {size}");
        }
    }
}
