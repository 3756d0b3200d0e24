//! What both kinds of queue share: the three parts of a split ring, the indices, and notification.

use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use helio_frame::PortFault;
use helio_mem::{Entries, GuestAddr, MemoryTable, RingArea, RingEntries, WatchedIndex};
use helio_types::DropReason;

use crate::chain::{self, Indirect};
use crate::descriptor::{Descriptor, Descriptors};
use crate::index::Index;
use crate::{MAX_RING_SIZE, feature, layout};

/// The eventfd by which a guest is told of used buffers. A guest may have none: it polls.
#[derive(Clone, Debug, Default)]
pub struct Call(pub Option<Arc<OwnedFd>>);

/// What a front-end says of a ring before it starts.
#[derive(Clone, Debug)]
pub struct RingSetup {
    /// Number of descriptors.
    pub size: u16,
    /// Descriptor table.
    pub descriptors: GuestAddr,
    /// Avail ring.
    pub avail: GuestAddr,
    /// Used ring.
    pub used: GuestAddr,
    /// Features that the guest acknowledged.
    pub features: u64,
    /// How to tell the guest.
    pub call: Call,
}

/// Used flag: the guest need not kick. VIRTIO 1.2, section 2.7.10.
const NO_NOTIFY: u16 = 1;
/// Avail flag: the guest need not be told. VIRTIO 1.2, section 2.7.7.
const NO_INTERRUPT: u16 = 1;

/// Used entries in a cache line.
const USED_ENTRIES_PER_LINE: u16 = 8;

/// A running ring.
///
/// Chains are completed in the order they were taken, so that after `next_used` entries the guest knows exactly which
/// chains are done, and a front-end that loses us can resume from the used index.
#[derive(Debug)]
pub(crate) struct Ring {
    descriptors: Descriptors,
    avail: RingArea,
    avail_entries: RingEntries<2>,
    used: RingArea,
    used_entries: RingEntries<8>,
    size: u16,
    /// Next entry of the avail ring to take.
    pub(crate) next_avail: Index,
    /// Next entry of the used ring to write.
    pub(crate) next_used: Index,
    /// The used index that the guest sees.
    published: Index,
    /// The used index when the guest was last asked whether it wants to be told; `None` before the first time.
    asked_at: Option<u16>,
    event_idx: bool,
    indirect: Indirect,
    call: Call,
}

impl Ring {
    /// Starts the ring where its used index stands: the point up to which the guest knows its chains to be done.
    ///
    /// # Errors
    ///
    /// When size or places break the rules of VIRTIO 1.2, section 2.7.
    pub(crate) fn start(setup: RingSetup, memory: &Arc<MemoryTable>) -> Result<Self, PortFault> {
        let size = setup.size;
        if !size.is_power_of_two() || size > MAX_RING_SIZE {
            return Err(PortFault::RingSize);
        }
        let area = |addr, bytes, align| {
            memory.ring_area(addr, bytes, align).map_err(|_| PortFault::RingAddress)
        };
        let descriptors = area(setup.descriptors, layout::descriptor_table_bytes(size), 16)?;
        let avail = area(setup.avail, layout::avail_ring_bytes(size), 2)?;
        let used = area(setup.used, layout::used_ring_bytes(size), 4)?;
        let start = used.load_u16(layout::INDEX, Ordering::Acquire);
        let ring = Self {
            descriptors: descriptors.entries(0, size).ok_or(PortFault::RingAddress)?,
            avail_entries: avail.entries(layout::ENTRIES, size).ok_or(PortFault::RingAddress)?,
            avail,
            used_entries: used.entries(layout::ENTRIES, size).ok_or(PortFault::RingAddress)?,
            used,
            size,
            next_avail: Index::new(start),
            next_used: Index::new(start),
            published: Index::new(start),
            asked_at: None,
            event_idx: setup.features & feature::EVENT_IDX != 0,
            indirect: if setup.features & feature::INDIRECT_DESC == 0 {
                Indirect::Refused
            } else {
                Indirect::Negotiated
            },
            call: setup.call,
        };
        ring.refuse_kicks();
        Ok(ring)
    }

    pub(crate) fn size(&self) -> u16 {
        self.size
    }

    pub(crate) fn memory(&self) -> &Arc<MemoryTable> {
        self.descriptors.table()
    }

    pub(crate) fn set_call(&mut self, call: Call) {
        self.call = call;
        self.asked_at = None;
    }

    /// Number of chains that the guest offers and that were not taken.
    ///
    /// Acquire: what the guest wrote before it raised the index is visible after this load. VIRTIO 1.2, section
    /// 2.7.13.3.
    ///
    /// # Errors
    ///
    /// When the guest offers more chains than it can have: those it was not told to be done, plus these, are more than the
    /// ring holds.
    #[inline]
    pub(crate) fn available(&self) -> Result<u16, PortFault> {
        let index = self.avail.load_u16(layout::INDEX, Ordering::Acquire);
        let offered = self.next_avail.until(Index::new(index));
        if offered == 0 {
            return Ok(0);
        }
        let unpublished = self.published.until(self.next_avail);
        // Summed in 32 bits: in the largest ring, a full ring and none at all differ by half of what 16 bits can say, and
        // a guest that takes offers back has offered nearly 65,536.
        if u32::from(offered) + u32::from(unpublished) > u32::from(self.size) {
            return Err(PortFault::AvailIndex);
        }
        Ok(offered)
    }

    /// The index of the avail ring, to be looked at without the ring: there is nothing to take while it is
    /// [`Ring::next_avail`].
    pub(crate) fn watch(&self) -> WatchedIndex {
        WatchedIndex::new(self.avail.clone(), layout::INDEX)
    }

    /// Head of the chain `ahead` entries after the next one to take.
    ///
    /// Relaxed: the entry was written before the index that [`Ring::available`] acquired.
    #[inline]
    pub(crate) fn head(&self, ahead: u16) -> u16 {
        self.upcoming().head(ahead)
    }

    /// The chains after the next one to take, for looking at many of them.
    #[inline]
    pub(crate) fn upcoming(&self) -> Upcoming<'_> {
        Upcoming {
            heads: self.avail_entries.borrow(),
            next: self.next_avail,
            descriptors: self.descriptors.borrow(),
        }
    }

    /// Passes the buffers of the chain at `head` to `visit`, in order.
    #[inline]
    pub(crate) fn walk(
        &self,
        head: u16,
        visit: impl FnMut(&Descriptor) -> Result<(), DropReason>,
    ) -> Result<(), DropReason> {
        chain::walk(&self.descriptors, self.size, head, self.indirect, visit)
    }

    /// Fetches the used entries of chains to complete soon, those from `ahead` to before `end` after the next one.
    #[inline]
    pub(crate) fn prefetch_used(&self, mut ahead: u16, end: u16) {
        let entries = self.used_entries.borrow();
        while ahead < end {
            entries.prefetch_write(self.next_used.after(ahead).get());
            ahead += USED_ENTRIES_PER_LINE;
        }
    }

    /// The descriptor at `head`, read once. `None` when there is none.
    #[inline]
    pub(crate) fn descriptor(&self, head: u16) -> Option<Descriptor> {
        self.upcoming().descriptor(head)
    }

    /// Writes used entries from the next one on. To be followed by [`Ring::completed`]; the guest sees them at the next
    /// [`Ring::publish`], whose release store orders the entries before the index.
    #[inline]
    pub(crate) fn used_writer(&self) -> UsedWriter<'_> {
        UsedWriter { entries: self.used_entries.borrow(), next: self.next_used, count: 0 }
    }

    /// The next `count` used entries are written.
    #[inline]
    pub(crate) fn completed(&mut self, count: u16) {
        self.next_used = self.next_used.after(count);
    }

    /// Makes the entries written so far visible.
    ///
    /// Release: entries and data are visible before the index is. VIRTIO 1.2, section 2.7.8.2.
    #[inline]
    pub(crate) fn publish(&mut self) {
        if self.published != self.next_used {
            self.used.store_u16(layout::INDEX, self.next_used.get(), Ordering::Release);
            self.published = self.next_used;
        }
    }

    /// Tells the guest of what was published since it was last told, if it asked for that.
    ///
    /// The caller has put a sequentially consistent fence between the last publish and this: the guest either sees the new
    /// index when it raises its wish, or we see the wish here. VIRTIO 1.2, section 2.7.7.2.
    #[inline]
    pub(crate) fn notify(&mut self) {
        let (old, new) = (self.asked_at, self.published.get());
        if old == Some(new) {
            return;
        }
        self.asked_at = Some(new);
        let Some(call) = &self.call.0 else { return };
        if self.guest_wants_call(old, new) {
            // The descriptor is not blocking: a counter that is full already says what this would say.
            let _ = rustix::io::write(call, &1_u64.to_ne_bytes());
        }
    }

    #[inline]
    fn guest_wants_call(&self, old: Option<u16>, new: u16) -> bool {
        if !self.event_idx {
            return self.avail.load_u16(layout::FLAGS, Ordering::Relaxed) & NO_INTERRUPT == 0;
        }
        let event = self.avail.load_u16(layout::used_event(self.size), Ordering::Relaxed);
        // Before the first time we do not know since when the guest waits: it is told in any case.
        old.is_none_or(|old| new.wrapping_sub(event).wrapping_sub(1) < new.wrapping_sub(old))
    }

    /// Asks the guest to kick at its next chain. Returns whether there is one already.
    pub(crate) fn ask_for_kick(&self) -> bool {
        if self.event_idx {
            self.used.store_u16(
                layout::avail_event(self.size),
                self.next_avail.get(),
                Ordering::Relaxed,
            );
        } else {
            self.used.store_u16(layout::FLAGS, 0, Ordering::Relaxed);
        }
        // The wish must be visible before the index is looked at again, or a chain offered in between is never noticed.
        // VIRTIO 1.2, section 2.7.13.4.1.
        std::sync::atomic::fence(Ordering::SeqCst);
        self.available() != Ok(0)
    }

    /// Asks the guest not to kick. With EVENT_IDX the flags stay 0, and the index at which to kick is the one just passed:
    /// the guest is 65,535 chains away from it. VIRTIO 1.2, section 2.7.10.2.
    ///
    /// Relaxed: a kick that comes nevertheless does no harm.
    pub(crate) fn refuse_kicks(&self) {
        if self.event_idx {
            let passed = self.next_avail.get().wrapping_sub(1);
            self.used.store_u16(layout::FLAGS, 0, Ordering::Relaxed);
            self.used.store_u16(layout::avail_event(self.size), passed, Ordering::Relaxed);
        } else {
            self.used.store_u16(layout::FLAGS, NO_NOTIFY, Ordering::Relaxed);
        }
    }
}

/// Chains that the guest offers and that were not taken. The part of a ring that a loop looks at, as values of their own: see
/// [`Entries`].
#[derive(Clone, Copy, Debug)]
pub(crate) struct Upcoming<'ring> {
    heads: Entries<'ring, 2>,
    next: Index,
    descriptors: Entries<'ring, { layout::DESCRIPTOR_BYTES }>,
}

impl Upcoming<'_> {
    /// As [`Ring::head`].
    #[inline]
    pub(crate) fn head(&self, ahead: u16) -> u16 {
        self.heads.load(self.next.after(ahead).get())
    }

    /// As [`Ring::descriptor`].
    #[inline]
    pub(crate) fn descriptor(&self, head: u16) -> Option<Descriptor> {
        Descriptor::load(self.descriptors, head)
    }
}

/// Writes used entries, one after the other.
#[derive(Debug)]
pub(crate) struct UsedWriter<'ring> {
    entries: Entries<'ring, 8>,
    next: Index,
    count: u16,
}

impl UsedWriter<'_> {
    /// The chain at `head` is done, and `written` bytes were written to it.
    #[inline]
    pub(crate) fn push(&mut self, head: u16, written: u32) {
        self.entries.store(self.next.after(self.count).get(), u32::from(head), written);
        self.count += 1;
    }

    /// Number of entries written.
    #[inline]
    pub(crate) fn count(&self) -> u16 {
        self.count
    }
}
