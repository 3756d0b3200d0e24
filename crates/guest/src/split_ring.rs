//! The driver side of one split ring: offers chains, publishes them, takes back the completed ones.
//!
//! One owner, the thread that plays the guest. Links and lengths of chains are kept in private memory, so that
//! nothing that a back-end or a [`crate::Racer`] writes can lead the driver astray. VIRTIO 1.2, 2.7.

use std::sync::Arc;
use std::sync::atomic::{Ordering, fence};

use crate::chain_layout::ChainForm;
use crate::error::GuestError;
use crate::fault::Faults;
use crate::memory::GuestMemory;
use crate::ring_area::{
    AVAIL_NO_INTERRUPT, DESCRIPTOR_BYTES, Descriptor, RingArea, USED_NO_NOTIFY, descriptor_flags,
    write_descriptor,
};
use crate::window::Window;

/// Who may write a buffer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BufferAccess {
    /// The device reads it.
    Readable,
    /// The device writes it.
    Writable,
}

/// One buffer of a chain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Buffer {
    /// Guest address.
    pub addr: u64,
    /// Length in bytes.
    pub len: u32,
    /// Who may write it.
    pub access: BufferAccess,
}

/// A chain that came back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Used {
    /// What the chain was called when it was added.
    pub token: u32,
    /// Bytes that the device wrote; `None` for a chain that IN_ORDER allows to complete without an entry of its
    /// own, and that is then taken as written whole.
    pub written: Option<u32>,
}

/// Whether the back-end shall signal completions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Calls {
    /// After the next completion.
    Wanted,
    /// As few as it can.
    Suppressed,
}

/// The ring, or the indirect table, has no descriptors left for the chain.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the ring has no descriptors left for the chain")]
pub struct RingFull;

/// How the ring is used: what was negotiated.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RingMode {
    /// Notifications by index.
    pub event_idx: bool,
    /// Completions in the order of the offers.
    pub in_order: bool,
    /// Entries of each indirect table; 0 makes none.
    pub indirect_entries: u16,
}

/// What is known about the chain that begins at a descriptor.
#[derive(Clone, Copy, Debug, Default)]
struct Chain {
    /// Descriptors of the ring's table that it takes; 0 when no chain begins here.
    descriptors: u16,
    last: u16,
    token: u32,
}

/// The driver side of one ring.
#[derive(Debug)]
pub struct SplitRing {
    area: RingArea,
    mode: RingMode,
    mask: u16,
    /// One table for each descriptor, one after the other.
    indirect: Option<Window>,
    /// Index after the last chain added.
    avail_idx: u16,
    /// Index after the last chain that the back-end can see.
    published: u16,
    /// Used entries before this one are taken.
    last_used: u16,
    /// The used index when it was last looked at.
    seen_used: u16,
    /// Free descriptors, linked by `links` from here to `free_tail`.
    free_head: u16,
    free_tail: u16,
    free_count: u16,
    links: Box<[u16]>,
    /// By head.
    chains: Box<[Chain]>,
    /// Heads in the order of their offers, by slot of the avail ring.
    offered: Box<[u16]>,
    /// With IN_ORDER: the entry that completes all chains up to its head.
    group: Option<(u32, u32)>,
    broken: bool,
    raw_outstanding: u64,
    raw_returned: u64,
    faults: Faults,
}

impl SplitRing {
    /// Guest memory for a ring of this size and mode.
    #[must_use]
    pub fn needed_bytes(size: u16, mode: RingMode) -> u64 {
        RingArea::needed_bytes(size)
            + u64::from(size) * u64::from(mode.indirect_entries) * DESCRIPTOR_BYTES as u64
            + 64
    }

    /// A ring in fresh memory.
    ///
    /// # Errors
    ///
    /// [`GuestError::MemoryExhausted`]; [`GuestError::Config`] when the size is no power of two up to 32768.
    pub fn new(memory: &Arc<GuestMemory>, size: u16, mode: RingMode) -> Result<Self, GuestError> {
        if !size.is_power_of_two() {
            return Err(GuestError::Config("a split ring has a power of two of descriptors"));
        }
        let area = RingArea::allocate(memory, size)?;
        let table_bytes = u64::from(mode.indirect_entries) * DESCRIPTOR_BYTES as u64;
        let indirect = match table_bytes {
            0 => None,
            bytes => Some(memory.allocate(u64::from(size) * bytes, 64)?),
        };
        let entries = usize::from(size);
        let mut ring = Self {
            area,
            mode,
            mask: size - 1,
            indirect,
            avail_idx: 0,
            published: 0,
            last_used: 0,
            seen_used: 0,
            free_head: 0,
            free_tail: 0,
            free_count: 0,
            links: vec![0; entries].into(),
            chains: vec![Chain::default(); entries].into(),
            offered: vec![0; entries].into(),
            group: None,
            broken: false,
            raw_outstanding: 0,
            raw_returned: 0,
            faults: Faults::default(),
        };
        ring.reset();
        Ok(ring)
    }

    /// Forgets all chains and begins at index 0, as a driver that is loaded again. The back-end must have
    /// stopped the ring.
    pub fn reset(&mut self) {
        self.area.clear();
        for (link, next) in self.links.iter_mut().zip(1..) {
            *link = next;
        }
        self.chains.fill(Chain::default());
        (self.avail_idx, self.published, self.last_used, self.seen_used) = (0, 0, 0, 0);
        (self.free_head, self.free_tail, self.free_count) = (0, self.mask, self.area.size());
        self.group = None;
        self.broken = false;
        self.raw_outstanding = 0;
        self.set_calls(Calls::Suppressed);
    }

    /// The bytes of the ring, for those who break the rules.
    #[must_use]
    pub fn area(&self) -> &RingArea {
        &self.area
    }

    /// Descriptors that no chain takes.
    #[must_use]
    pub fn free_descriptors(&self) -> u16 {
        self.free_count
    }

    /// Chains that were published and did not come back yet.
    #[must_use]
    pub fn outstanding(&self) -> u16 {
        self.published.wrapping_sub(self.last_used)
    }

    /// Rules that the back-end broke on this ring.
    #[must_use]
    pub fn faults(&self) -> &Faults {
        &self.faults
    }

    /// Heads from [`SplitRing::offer_raw`] that came back.
    #[must_use]
    pub fn raw_returned(&self) -> u64 {
        self.raw_returned
    }

    /// Adds a chain of `buffers`, at least one; the back-end does not see it before
    /// [`SplitRing::publish`]. The index of its head.
    ///
    /// # Errors
    ///
    /// [`RingFull`]; nothing was added.
    #[inline]
    pub fn add(
        &mut self,
        buffers: &[Buffer],
        form: ChainForm,
        token: u32,
    ) -> Result<u16, RingFull> {
        let head = self.free_head;
        let (descriptors, last) = match form {
            ChainForm::Direct => self.write_direct(head, buffers)?,
            ChainForm::Indirect => self.write_indirect(head, buffers)?,
        };
        self.free_head = self.link(last);
        self.free_count -= descriptors;
        if let Some(chain) = self.chains.get_mut(usize::from(head)) {
            *chain = Chain { descriptors, last, token };
        }
        self.push_avail(head);
        Ok(head)
    }

    /// Offers `head`, any number, without a chain behind it that the driver knows of. What the device makes of
    /// it is not counted as a fault.
    pub fn offer_raw(&mut self, head: u16) {
        self.raw_outstanding += 1;
        self.push_avail(head);
    }

    /// Makes all added chains visible. Whether the back-end wants to be kicked for them.
    #[inline]
    pub fn publish(&mut self) -> bool {
        if self.avail_idx == self.published {
            return false;
        }
        let before = self.published;
        self.area.set_avail_idx(self.avail_idx);
        self.published = self.avail_idx;
        // The store above must be visible before the wish of the back-end is read: it looks for chains after it
        // wrote its wish, and one of the two sees the other. VIRTIO 1.2, 2.7.13.4.1.
        fence(Ordering::SeqCst);
        if self.mode.event_idx {
            is_event_passed(self.area.avail_event(), self.published, before)
        } else {
            self.area.used_flags() & USED_NO_NOTIFY == 0
        }
    }

    /// The next chain that came back.
    #[inline]
    pub fn take_used(&mut self) -> Option<Used> {
        while self.has_used() {
            let slot = self.last_used & self.mask;
            let used = if self.mode.in_order {
                self.take_in_order(slot)
            } else {
                let (head, written) = self.area.used_entry(slot);
                self.last_used = self.last_used.wrapping_add(1);
                self.retire(head).map(|token| Used { token, written: Some(written) })
            };
            if used.is_some() {
                return used;
            }
        }
        None
    }

    /// Whether a chain came back that was not taken yet.
    #[inline]
    pub fn has_used(&mut self) -> bool {
        if self.last_used != self.seen_used {
            return true;
        }
        let idx = self.area.used_idx();
        if idx == self.last_used || self.broken {
            return false;
        }
        if idx.wrapping_sub(self.last_used) > self.outstanding() {
            self.faults.used_idx_jump += 1;
            self.broken = true;
            return false;
        }
        self.seen_used = idx;
        true
    }

    /// Number of used entries that can be taken, as of the last look.
    pub(crate) fn ready(&self) -> u16 {
        self.seen_used.wrapping_sub(self.last_used)
    }

    /// Tells the back-end whether to call. After [`Calls::Wanted`], look at [`SplitRing::has_used`] before
    /// waiting: what was completed before the back-end saw the wish is not signalled.
    pub fn set_calls(&mut self, calls: Calls) {
        match (self.mode.event_idx, calls) {
            (true, Calls::Wanted) => self.area.set_used_event(self.last_used),
            (true, Calls::Suppressed) => self.area.set_used_event(self.last_used.wrapping_sub(1)),
            (false, Calls::Wanted) => self.area.set_avail_flags(0),
            (false, Calls::Suppressed) => self.area.set_avail_flags(AVAIL_NO_INTERRUPT),
        }
        // The wish must be visible before the used index is looked at again.
        fence(Ordering::SeqCst);
    }

    fn write_direct(&self, head: u16, buffers: &[Buffer]) -> Result<(u16, u16), RingFull> {
        let count = u16::try_from(buffers.len()).map_err(|_| RingFull)?;
        if count == 0 || count > self.free_count {
            return Err(RingFull);
        }
        let (mut index, mut last) = (head, head);
        for (number, buffer) in (1..).zip(buffers) {
            let next = if number < count { Some(self.link(index)) } else { None };
            self.area.write_descriptor(index, buffer.descriptor(next));
            last = index;
            index = next.unwrap_or(0);
        }
        Ok((count, last))
    }

    fn write_indirect(&self, head: u16, buffers: &[Buffer]) -> Result<(u16, u16), RingFull> {
        let table = self.indirect.as_ref().ok_or(RingFull)?;
        let capacity = self.mode.indirect_entries;
        let count = u16::try_from(buffers.len()).map_err(|_| RingFull)?;
        if count == 0 || count > capacity || self.free_count == 0 {
            return Err(RingFull);
        }
        let first = usize::from(head) * usize::from(capacity);
        for (number, buffer) in (1..).zip(buffers) {
            let next = (number < count).then_some(number);
            let entry = first + usize::from(number) - 1;
            write_descriptor(table, entry, buffer.descriptor(next));
        }
        let descriptor = Descriptor {
            addr: table.guest_addr() + (first * DESCRIPTOR_BYTES) as u64,
            len: u32::from(count) * 16,
            flags: descriptor_flags::INDIRECT,
            next: 0,
        };
        self.area.write_descriptor(head, descriptor);
        Ok((1, head))
    }

    #[inline]
    fn push_avail(&mut self, head: u16) {
        let slot = self.avail_idx & self.mask;
        self.area.set_avail_entry(slot, head);
        if let Some(offered) = self.offered.get_mut(usize::from(slot)) {
            *offered = head;
        }
        self.avail_idx = self.avail_idx.wrapping_add(1);
    }

    /// Chains come back as they were offered, and one entry may complete a group of them: it has the head of
    /// the last, and stands in the slot of the first. VIRTIO 1.2, 2.7.9.
    fn take_in_order(&mut self, slot: u16) -> Option<Used> {
        let (head, written) = self.group.unwrap_or_else(|| self.area.used_entry(slot));
        let oldest = self.offered.get(usize::from(slot)).copied().map_or(u32::MAX, u32::from);
        self.last_used = self.last_used.wrapping_add(1);
        let is_last = oldest == head;
        if !is_last && self.ready() == 0 {
            self.faults.out_of_order += 1;
            self.group = None;
        } else {
            self.group = (!is_last).then_some((head, written));
        }
        let token = self.retire(oldest)?;
        Some(Used { token, written: is_last.then_some(written) })
    }

    /// Frees the chain that begins at `head`; its token.
    #[inline]
    fn retire(&mut self, head: u32) -> Option<u32> {
        let known = usize::try_from(head).ok().and_then(|at| self.chains.get_mut(at));
        let chain = match known.filter(|chain| chain.descriptors != 0) {
            Some(chain) => std::mem::take(chain),
            None if self.raw_outstanding > 0 => {
                self.raw_outstanding -= 1;
                self.raw_returned += 1;
                return None;
            }
            None => {
                self.faults.unknown_head += 1;
                return None;
            }
        };
        // The head was below the size, or no chain would have been found.
        let head = u16::try_from(head).ok()?;
        self.free(head, chain);
        Some(chain.token)
    }

    /// Links the descriptors of a chain, still linked to each other, to the free ones: first to be used again,
    /// or last when descriptors must be used in ring order. VIRTIO 1.2, 2.7.9.
    #[inline]
    fn free(&mut self, head: u16, chain: Chain) {
        if self.free_count == 0 {
            (self.free_head, self.free_tail) = (head, chain.last);
        } else if self.mode.in_order {
            self.set_link(self.free_tail, head);
            self.free_tail = chain.last;
        } else {
            self.set_link(chain.last, self.free_head);
            self.free_head = head;
        }
        self.free_count += chain.descriptors;
    }

    #[inline]
    fn link(&self, index: u16) -> u16 {
        self.links.get(usize::from(index)).copied().unwrap_or(0)
    }

    #[inline]
    fn set_link(&mut self, index: u16, next: u16) {
        if let Some(link) = self.links.get_mut(usize::from(index)) {
            *link = next;
        }
    }
}

impl Buffer {
    #[inline]
    fn descriptor(&self, next: Option<u16>) -> Descriptor {
        let write = match self.access {
            BufferAccess::Readable => 0,
            BufferAccess::Writable => descriptor_flags::WRITE,
        };
        let more = next.map_or(0, |_| descriptor_flags::NEXT);
        Descriptor { addr: self.addr, len: self.len, flags: write | more, next: next.unwrap_or(0) }
    }
}

/// Whether the step from `old` to `new` passes the index of which the other side wants to hear. VIRTIO 1.2,
/// 2.7.10.
pub(crate) fn is_event_passed(event: u16, new: u16, old: u16) -> bool {
    new.wrapping_sub(event).wrapping_sub(1) < new.wrapping_sub(old)
}

#[cfg(test)]
#[path = "split_ring_tests.rs"]
mod tests;
