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

/// Chains that stand in the order of their numbers, round and round: found without a look at any memory.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Row {
    next: u16,
    mask: u16,
}

impl Row {
    /// Number of the chain that stands `ahead` of the next one.
    #[inline(always)]
    pub(crate) fn chain(self, ahead: u16) -> u16 {
        self.next.wrapping_add(ahead) & self.mask
    }

    /// How far `chain` stands behind the one that stands `ahead` of the next one.
    #[inline(always)]
    fn distance(self, ahead: u16, chain: u16) -> u16 {
        chain.wrapping_sub(self.next).wrapping_sub(ahead) & self.mask
    }
}

/// Most used entries that are copied together.
pub(crate) const BATCH: usize = 64;

/// Used entries as they were copied.
pub(crate) type Entries = [u8; 8 * BATCH];

/// One ring with standing chains, which begin at every `1 << shift`th descriptor.
#[derive(Debug)]
pub(crate) struct StandingRing {
    /// Index after the last chain offered, published or not.
    offered: u16,
    published: u16,
    /// Used entries before this one are taken.
    taken: u16,
    /// The used index when it was last looked at.
    seen: u16,
    mask: u16,
    chains: u16,
    shift: u32,
    rewriting: Rewriting,
    event_idx: bool,
    /// The back-end completes chains in order, and one entry may stand for several.
    in_order: bool,
    is_broken: bool,
    /// What the avail ring holds, by slot.
    entries: Box<[u16]>,
    /// By descriptor, whether the back-end has the chain that begins there. Only kept once a chain came back out of
    /// order: before, the back-end has what the avail ring says.
    lent: Option<Box<[bool]>>,
    area: RingArea,
    events: RingEvents,
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
            offered: 0,
            published: 0,
            taken: 0,
            seen: 0,
            mask: size - 1,
            chains,
            shift: shift(descriptors),
            rewriting: config.rewriting,
            event_idx: features & features::EVENT_IDX != 0,
            in_order: features & features::IN_ORDER != 0,
            is_broken: false,
            entries: vec![0; usize::from(size)].into(),
            lent: None,
            area: RingArea::allocate(memory, size)?,
            events: RingEvents::new()?,
            kicks: 0,
            faults: Faults::default(),
        };
        ring.reset();
        Ok(ring)
    }

    /// Begins anew at index 0 with all chains ours. The back-end must not use the ring.
    pub(crate) fn reset(&mut self) {
        (self.offered, self.published, self.taken, self.seen) = (0, 0, 0, 0);
        self.lent = None;
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

    /// Whether IN_ORDER is in use.
    pub(crate) fn is_in_order(&self) -> bool {
        self.in_order
    }

    /// Kicks sent.
    pub(crate) fn kicks(&self) -> u64 {
        self.kicks
    }

    pub(crate) fn set_rewriting(&mut self, rewriting: Rewriting) {
        self.rewriting = rewriting;
    }

    /// Chains that the back-end does not have.
    #[inline]
    pub(crate) fn free(&self) -> u16 {
        self.chains - self.outstanding()
    }

    /// Chains offered, published or not, that did not come back.
    #[inline]
    pub(crate) fn outstanding(&self) -> u16 {
        self.offered.wrapping_sub(self.taken)
    }

    /// The order of the next chains, as long as all of them come back in order.
    #[inline]
    pub(crate) fn row(&self) -> Option<Row> {
        let row = Row { next: self.offered, mask: self.chains - 1 };
        self.lent.is_none().then_some(row)
    }

    /// Number of the chain that stands `ahead` of the next one to be offered.
    #[inline]
    pub(crate) fn upcoming(&self, ahead: u16) -> u16 {
        self.entry_at(self.offered.wrapping_add(ahead)) >> self.shift
    }

    /// Offers the next `count` chains, which must be free; the back-end sees them after [`StandingRing::publish`].
    #[inline]
    pub(crate) fn offer_next(&mut self, count: u16) {
        if self.rewriting == Rewriting::Always || self.lent.is_some() {
            self.store_entries(count);
        }
        self.offered = self.offered.wrapping_add(count);
    }

    fn store_entries(&mut self, count: u16) {
        for index in (0..count).map(|ahead| self.offered.wrapping_add(ahead)) {
            let head = self.entry_at(index);
            self.area.set_avail_entry(index & self.mask, head);
            let lent = self.lent.as_mut().and_then(|lent| lent.get_mut(usize::from(head)));
            if let Some(lent) = lent {
                *lent = true;
            }
        }
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

    /// Copies up to [`BATCH`] of the entries that are [`StandingRing::ready`]; how many.
    #[inline]
    pub(crate) fn copy_ready(&self, into: &mut Entries) -> usize {
        let ready = usize::from(self.seen.wrapping_sub(self.taken)).min(BATCH);
        let into = into.get_mut(..8 * ready).unwrap_or_default();
        let before_end = self.area.read_used_entries(self.taken & self.mask, into);
        if before_end < ready {
            self.area.read_used_entries(0, into.get_mut(8 * before_end..).unwrap_or_default());
        }
        ready
    }

    /// What entry `at` of a copy says, when it is the one `ahead` of the next one to be taken. `None` when its head is
    /// not one that the back-end has.
    #[inline(always)]
    pub(crate) fn decode(&self, entries: &Entries, at: usize, ahead: u16) -> Option<Completed> {
        let entry: [u8; 8] = entries.get(8 * at..8 * at + 8)?.try_into().ok()?;
        let [a, b, c, d, written @ ..] = entry;
        let head = u16::try_from(u32::from_le_bytes([a, b, c, d])).ok()?;
        let next = self.returning().map(|row| row.chain(ahead) << self.shift);
        let is_next = next == Some(head);
        if !is_next && !self.is_lent(head) {
            return None;
        }
        Some(Completed { chain: head >> self.shift, written: u32::from_le_bytes(written) })
    }

    /// The order in which chains are to come back, as long as they did so far.
    #[inline]
    pub(crate) fn returning(&self) -> Option<Row> {
        let row = Row { next: self.taken, mask: self.chains - 1 };
        self.lent.is_none().then_some(row)
    }

    /// Takes the next `count` used entries, whose chains came in the order of [`StandingRing::returning`].
    #[inline]
    pub(crate) fn take_row(&mut self, count: u16) {
        self.taken = self.taken.wrapping_add(count);
    }

    /// How many chains an entry completes that names `chain`, when the first of them stands `ahead` of the next one to be
    /// taken: 1, or more with IN_ORDER, where it names the last. `None` when the back-end does not have as many. VIRTIO
    /// 1.2, 2.7.9.
    #[inline]
    pub(crate) fn group(&self, chain: u16, ahead: u16) -> Option<u16> {
        if !self.in_order {
            return Some(1);
        }
        let count = self.returning()?.distance(ahead, chain) + 1;
        (ahead + count <= self.seen.wrapping_sub(self.taken)).then_some(count)
    }

    /// Takes the next used entry, whose chain is `chain`: it will be offered again after all others that are free.
    #[inline]
    pub(crate) fn take(&mut self, chain: u16) {
        let head = chain << self.shift;
        let is_in_order = self.lent.is_none() && head == self.entry_at(self.taken);
        if is_in_order || self.take_out_of_order(head) {
            self.taken = self.taken.wrapping_add(1);
        } else {
            self.give_up();
        }
    }

    /// Whether the back-end had the chain.
    fn take_out_of_order(&mut self, head: u16) -> bool {
        if self.lent.is_none() {
            let mut lent = vec![false; self.entries.len()].into_boxed_slice();
            for index in (0..self.outstanding()).map(|ahead| self.taken.wrapping_add(ahead)) {
                if let Some(lent) = lent.get_mut(usize::from(self.entry_at(index))) {
                    *lent = true;
                }
            }
            self.lent = Some(lent);
        }
        match self.lent.as_mut().and_then(|lent| lent.get_mut(usize::from(head))) {
            Some(lent) if *lent => *lent = false,
            // Twice among entries that were copied together.
            _ => return false,
        }
        // The back-end has read this slot: it completed as many chains as there are.
        let slot = self.taken.wrapping_add(self.chains) & self.mask;
        if let Some(entry) = self.entries.get_mut(usize::from(slot)) {
            *entry = head;
        }
        true
    }

    /// The back-end completed a chain that it does not have, which leaves nothing to go on with: the ring is not read
    /// any more.
    pub(crate) fn give_up(&mut self) {
        self.faults.unknown_head += 1;
        self.is_broken = true;
        self.seen = self.taken;
    }

    fn is_lent(&self, head: u16) -> bool {
        match &self.lent {
            Some(lent) => lent.get(usize::from(head)).copied().unwrap_or(false),
            None => {
                let indices = (0..self.outstanding()).map(|ahead| self.taken.wrapping_add(ahead));
                indices.into_iter().any(|index| self.entry_at(index) == head)
            }
        }
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
        ring.offer_next(count);
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
        let mut entries = [0; 8 * BATCH];
        while ring.ready() > 0 {
            let count = ring.copy_ready(&mut entries);
            assert!(count > 0);
            for at in 0..count {
                match ring.decode(&entries, at, 0) {
                    Some(completed) => ring.take(completed.chain),
                    None => return ring.give_up(),
                }
            }
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
            ring.offer_next(3);
            ring.publish();
            complete(&ring, &[0, wrong]);
            take_all(&mut ring);
            assert_eq!((ring.faults.unknown_head, ring.ready()), (1, 0), "head {wrong}");
            complete(&ring, &[1]);
            assert_eq!(ring.ready(), 0, "head {wrong}");
        }
    }

    #[test]
    fn a_head_completed_twice_ends_the_ring_also_when_both_entries_are_copied_together() {
        let mut ring = ring(8, 1);
        ring.offer_next(4);
        ring.publish();
        complete(&ring, &[1, 1]);
        assert_eq!(ring.ready(), 2);
        let mut entries = [0; 8 * BATCH];
        assert_eq!(ring.copy_ready(&mut entries), 2);
        for at in 0..2 {
            let completed = ring.decode(&entries, usize::from(at), at);
            assert_eq!(completed.map(|completed| completed.chain), Some(1));
        }
        ring.take(1);
        ring.take(1);
        assert_eq!((ring.faults.unknown_head, ring.ready()), (1, 0));
    }

    #[test]
    fn a_used_index_beyond_what_was_offered_ends_the_ring() {
        let mut ring = ring(8, 1);
        ring.offer_next(3);
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
