//! The driver side of a ring whose chains stand: chain n always begins at the same descriptor.
//!
//! As long as the back-end completes chains in order, the avail ring is written once and then never again: only its
//! index moves. Chains that come back out of order change places in it. VIRTIO 1.2, 2.7.

use std::sync::Arc;
use std::sync::atomic::{Ordering, fence};

use super::config::{BurstConfig, Rewriting};
use crate::error::GuestError;
use crate::event_fd::RingEvents;
use crate::fault::Faults;
use crate::features;
use crate::memory::GuestMemory;
use crate::ring_area::{AVAIL_NO_INTERRUPT, RingArea, USED_NO_NOTIFY};
use crate::split_ring::is_event_passed;

/// Chains of `descriptors` each that a ring of `size` holds.
pub(crate) fn chain_count(size: u16, descriptors: u16) -> u16 {
    size.checked_shr(shift(descriptors)).unwrap_or(0)
}

/// Heads are a power of two apart, so that the number of a chain is found without a division.
fn shift(descriptors: u16) -> u32 {
    u32::from(descriptors.max(1)).next_power_of_two().trailing_zeros()
}

/// A chain that came back.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Completed {
    /// Number of the chain.
    pub(crate) chain: u16,
    /// Bytes that the device says it wrote.
    pub(crate) written: u32,
}

/// One ring with standing chains, which begin at every `1 << shift`th descriptor.
#[derive(Debug)]
pub(crate) struct StandingRing {
    area: RingArea,
    events: RingEvents,
    event_idx: bool,
    rewriting: Rewriting,
    mask: u16,
    chains: u16,
    shift: u32,
    /// Index after the last chain offered, published or not.
    offered: u16,
    published: u16,
    /// Used entries before this one are taken.
    taken: u16,
    /// The used index when it was last looked at.
    seen: u16,
    /// What the avail ring holds, by slot.
    entries: Box<[u16]>,
    /// Whether the back-end has the chain that begins at a descriptor.
    lent: Box<[bool]>,
    is_broken: bool,
    kicks: u64,
    pub(crate) faults: Faults,
}

impl StandingRing {
    /// A ring in fresh memory, all chains ours; each has room for `descriptors`.
    pub(crate) fn new(
        memory: &Arc<GuestMemory>,
        config: &BurstConfig,
        features: u64,
        descriptors: u16,
    ) -> Result<Self, GuestError> {
        let size = config.ring_size;
        if !size.is_power_of_two() {
            return Err(GuestError::Config("a split ring has a power of two of descriptors"));
        }
        let chains = chain_count(size, descriptors);
        if chains == 0 {
            return Err(GuestError::Config("a chain has more descriptors than the ring"));
        }
        let mut ring = Self {
            area: RingArea::allocate(memory, size)?,
            events: RingEvents::new()?,
            event_idx: features & features::EVENT_IDX != 0,
            rewriting: config.rewriting,
            mask: size - 1,
            chains,
            shift: shift(descriptors),
            offered: 0,
            published: 0,
            taken: 0,
            seen: 0,
            entries: vec![0; usize::from(size)].into(),
            lent: vec![false; usize::from(size)].into(),
            is_broken: false,
            kicks: 0,
            faults: Faults::default(),
        };
        ring.reset();
        Ok(ring)
    }

    /// Begins anew at index 0 with all chains ours. The back-end must not use the ring.
    pub(crate) fn reset(&mut self) {
        (self.offered, self.published, self.taken, self.seen) = (0, 0, 0, 0);
        self.lent.fill(false);
        self.is_broken = false;
        self.area.set_avail_idx(0);
        self.area.set_used_idx(0);
        for slot in 0..self.area.size() {
            let entry = (slot % self.chains) << self.shift;
            self.area.set_avail_entry(slot, entry);
            if let Some(kept) = self.entries.get_mut(usize::from(slot)) {
                *kept = entry;
            }
        }
        if self.event_idx {
            // The index behind us is the last one that the back-end will pass.
            self.area.set_used_event(u16::MAX);
        } else {
            self.area.set_avail_flags(AVAIL_NO_INTERRUPT);
        }
        fence(Ordering::SeqCst);
    }

    pub(crate) fn area(&self) -> &RingArea {
        &self.area
    }

    pub(crate) fn events(&self) -> &RingEvents {
        &self.events
    }

    /// Number of chains.
    pub(crate) fn chains(&self) -> u16 {
        self.chains
    }

    /// The chain `n` begins at descriptor `n << shift`.
    pub(crate) fn shift(&self) -> u32 {
        self.shift
    }

    /// Kicks sent.
    pub(crate) fn kicks(&self) -> u64 {
        self.kicks
    }

    /// Chains that the back-end does not have.
    #[inline]
    pub(crate) fn free(&self) -> u16 {
        self.chains - self.offered.wrapping_sub(self.taken)
    }

    /// Chains offered and not published yet, and those that the back-end has.
    pub(crate) fn outstanding(&self) -> u16 {
        self.offered.wrapping_sub(self.taken)
    }

    /// Number of the chain that stands `ahead` of the next one to be offered.
    #[inline]
    pub(crate) fn upcoming(&self, ahead: u16) -> u16 {
        self.entry_at(self.offered.wrapping_add(ahead)) >> self.shift
    }

    /// Offers the next chain, which must be free; the back-end sees it after [`StandingRing::publish`].
    #[inline]
    pub(crate) fn offer_next(&mut self) {
        let head = self.entry_at(self.offered);
        if self.rewriting == Rewriting::Always {
            self.area.set_avail_entry(self.offered & self.mask, head);
        }
        if let Some(lent) = self.lent.get_mut(usize::from(head)) {
            *lent = true;
        }
        self.offered = self.offered.wrapping_add(1);
    }

    /// Shows all offered chains to the back-end with one store, and kicks it if it wants that.
    #[inline]
    pub(crate) fn publish(&mut self) {
        if self.offered == self.published {
            return;
        }
        let before = self.published;
        self.area.set_avail_idx(self.offered);
        self.published = self.offered;
        // The store must be visible before the wish of the back-end is read. VIRTIO 1.2, 2.7.13.4.1.
        fence(Ordering::SeqCst);
        let is_kick_wanted = match self.event_idx {
            true => is_event_passed(self.area.avail_event(), self.published, before),
            false => self.area.used_flags() & USED_NO_NOTIFY == 0,
        };
        if is_kick_wanted {
            self.kicks += 1;
            self.events.kick.signal();
        }
    }

    /// Looks how many chains came back that were not taken yet.
    #[inline]
    pub(crate) fn ready(&mut self) -> u16 {
        let idx = self.area.used_idx();
        if idx != self.seen && !self.is_broken {
            if idx.wrapping_sub(self.taken) > self.published.wrapping_sub(self.taken) {
                self.faults.used_idx_jump += 1;
                self.is_broken = true;
            } else {
                self.seen = idx;
            }
        }
        self.seen.wrapping_sub(self.taken)
    }

    /// The used entry `ahead` of the next one to be taken; it must be [`StandingRing::ready`]. `None` when its head is
    /// not one that the back-end has.
    #[inline]
    pub(crate) fn peek(&self, ahead: u16) -> Option<Completed> {
        let slot = self.taken.wrapping_add(ahead) & self.mask;
        let (head, written) = self.area.used_entry(slot);
        let is_lent = usize::try_from(head).ok().and_then(|at| self.lent.get(at));
        match (is_lent, u16::try_from(head)) {
            (Some(true), Ok(head)) => Some(Completed { chain: head >> self.shift, written }),
            _ => None,
        }
    }

    /// Takes the next used entry, whose chain is `chain`: it will be offered again after all others that are free.
    /// With `None`, an entry that names no chain of ours, the chain that is lost for it is the oldest one.
    #[inline]
    pub(crate) fn take(&mut self, chain: Option<u16>) {
        let slot = self.taken.wrapping_add(self.chains) & self.mask;
        let head = match chain {
            Some(chain) => chain << self.shift,
            None => {
                self.faults.unknown_head += 1;
                self.is_broken = true;
                self.seen = self.taken.wrapping_add(1);
                self.entry_at(self.taken)
            }
        };
        if let Some(lent) = self.lent.get_mut(usize::from(head)) {
            *lent = false;
        }
        if let Some(entry) = self.entries.get_mut(usize::from(slot))
            && *entry != head
        {
            *entry = head;
            // The back-end has read this slot: it completed as many chains as there are.
            self.area.set_avail_entry(slot, head);
        }
        self.taken = self.taken.wrapping_add(1);
    }

    #[inline]
    fn entry_at(&self, index: u16) -> u16 {
        self.entries.get(usize::from(index & self.mask)).copied().unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ring(size: u16, descriptors: u16) -> StandingRing {
        let config = BurstConfig { ring_size: size, ..BurstConfig::default() };
        let memory = GuestMemory::new(&crate::memory::MemoryLayout::Fitting.plans(65_536)).unwrap();
        StandingRing::new(&memory, &config, features::VERSION_1, descriptors).unwrap()
    }

    /// Offers all free chains; the heads that the back-end then finds, oldest first.
    fn offer_all(ring: &mut StandingRing) -> Vec<u16> {
        let (from, count) = (ring.area().avail_idx(), ring.free());
        (0..count).for_each(|_| ring.offer_next());
        ring.publish();
        let slot = |at: u16| from.wrapping_add(at) & (ring.area().size() - 1);
        (0..count).map(|at| ring.area().avail_entry(slot(at))).collect()
    }

    /// Completes these heads as a back-end does it.
    fn complete(ring: &StandingRing, heads: &[u16]) {
        for head in heads {
            let idx = ring.area().used_idx();
            let slot = idx & (ring.area().size() - 1);
            ring.area().set_used_entry(slot, u32::from(*head), 0);
            ring.area().set_used_idx(idx.wrapping_add(1));
        }
    }

    fn take_all(ring: &mut StandingRing) {
        for _ in 0..ring.ready() {
            let chain = ring.peek(0).map(|completed| completed.chain);
            ring.take(chain);
        }
    }

    #[test]
    fn chains_that_come_back_in_any_order_are_each_offered_once_again() {
        for (size, descriptors) in [(8, 1), (8, 2), (16, 3)] {
            let mut ring = ring(size, descriptors);
            let mut random = 1_u64;
            for _ in 0..50 {
                let mut heads = offer_all(&mut ring);
                let mut sorted = heads.clone();
                sorted.sort_unstable();
                let step = 1 << ring.shift();
                let all: Vec<u16> = (0..ring.chains()).map(|chain| chain * step).collect();
                assert_eq!(sorted, all, "size {size}, {descriptors} descriptors");
                for at in (1..heads.len()).rev() {
                    random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                    heads.swap(at, usize::try_from(random >> 33).unwrap() % (at + 1));
                }
                complete(&ring, &heads);
                take_all(&mut ring);
                assert_eq!(ring.free(), ring.chains());
            }
            assert_eq!(ring.faults.total(), 0);
        }
    }

    #[test]
    fn a_head_that_the_back_end_does_not_have_ends_the_ring() {
        for wrong in [3, 8, u16::MAX] {
            let mut ring = ring(8, 1);
            (0..3).for_each(|_| ring.offer_next());
            ring.publish();
            complete(&ring, &[0, wrong]);
            take_all(&mut ring);
            assert_eq!((ring.faults.unknown_head, ring.ready()), (1, 0), "head {wrong}");
            complete(&ring, &[1]);
            assert_eq!(ring.ready(), 0, "head {wrong}");
        }
    }

    #[test]
    fn a_used_index_beyond_what_was_offered_ends_the_ring() {
        let mut ring = ring(8, 1);
        (0..3).for_each(|_| ring.offer_next());
        ring.publish();
        ring.area().set_used_idx(4);
        assert_eq!((ring.ready(), ring.faults.used_idx_jump), (0, 1));
        ring.area().set_used_idx(3);
        assert_eq!(ring.ready(), 0);
    }

    #[test]
    fn chains_longer_than_the_ring_are_refused() {
        assert_eq!([(8, 8), (8, 9), (8, 0)].map(|(s, d)| chain_count(s, d)), [1, 0, 8]);
        assert_eq!(chain_count(1 << 15, u16::MAX), 0);
    }
}
