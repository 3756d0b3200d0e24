//! The slots of the FDB in buckets of one cache line, and the two buckets where a key may be.

use super::entry::{Key, Value};
use super::slot::Slot;
use crate::sync::SLOTS;

/// A cache line of slots. (An atomic of the model checker is larger.)
#[cfg_attr(not(loom), repr(align(64)))]
struct Bucket {
    slots: [Slot; SLOTS],
}

#[cfg(not(loom))]
const _: () = assert!(size_of::<Bucket>() == 64);

impl Bucket {
    fn free_slots(&self) -> usize {
        self.slots.iter().filter(|slot| slot.is_free()).count()
    }
}

/// All buckets; their number is a power of two.
pub(super) struct Buckets {
    buckets: Box<[Bucket]>,
    mask: u32,
    secrets: [u64; 2],
}

impl Buckets {
    /// At least `slots` free slots, in at least two buckets.
    pub(super) fn new(slots: usize, seed: u64) -> Self {
        // The most entries there may be need 2^19 buckets.
        let count = slots.div_ceil(SLOTS).next_power_of_two().clamp(2, 1 << 31);
        let bucket = || Bucket { slots: std::array::from_fn(|_| Slot::free()) };
        Self {
            buckets: std::iter::repeat_with(bucket).take(count).collect(),
            mask: u32::try_from(count - 1).unwrap_or(0),
            secrets: [mix(seed), mix(seed.wrapping_add(1)) | 1],
        }
    }

    /// The places of the two buckets of `key`, always different ones.
    #[inline]
    pub(super) fn places(&self, key: Key) -> [u32; 2] {
        let hash = self.hash(key);
        let first = low_bits(hash) & self.mask;
        // An odd number changes at least the lowest bit.
        [first, first ^ (low_bits(hash >> 32) & self.mask | 1)]
    }

    /// The two buckets at the places of a key. Always `Some`: the mask keeps the places in range.
    #[inline]
    pub(super) fn candidates(&self, [first, second]: [u32; 2]) -> Option<Candidates<'_>> {
        let bucket = |place: u32| self.buckets.get(place as usize);
        Some(Candidates { first: bucket(first)?, second: bucket(second)? })
    }

    /// Fetches the two buckets at the places of a key.
    #[inline]
    pub(super) fn fetch(&self, places: [u32; 2]) {
        for bucket in places.iter().filter_map(|place| self.buckets.get(*place as usize)) {
            helio_mem::fetch(bucket);
        }
    }

    pub(super) fn slots(&self) -> impl Iterator<Item = &Slot> {
        self.buckets.iter().flat_map(|bucket| &bucket.slots)
    }

    /// Both halves of a product with one secret, after another was mixed in: without the secrets nobody can
    /// tell which keys collide.
    #[inline]
    fn hash(&self, key: Key) -> u64 {
        let [first, second] = self.secrets;
        let (low, high) = (key.to_word() ^ first).carrying_mul(second, 0);
        low ^ high
    }
}

/// The two buckets where a key may be. Their slots have an order, which all threads see alike.
#[derive(Clone, Copy)]
pub(super) struct Candidates<'t> {
    first: &'t Bucket,
    second: &'t Bucket,
}

impl<'t> Candidates<'t> {
    /// The slots with their positions.
    pub(super) fn slots(self) -> impl Iterator<Item = (usize, &'t Slot)> {
        self.first.slots.iter().chain(&self.second.slots).enumerate()
    }

    /// The live entry of `key`.
    pub(super) fn find(self, key: Key) -> Option<(&'t Slot, Value)> {
        let of = |slot: &'t Slot| slot.read(key).map(|value| (slot, value));
        self.first.slots.iter().find_map(of).or_else(|| self.second.slots.iter().find_map(of))
    }

    /// Claims a slot for `key`, in the emptier bucket if possible: so both fill evenly, and late.
    pub(super) fn claim(self, key: Key) -> Option<(usize, &'t Slot)> {
        let split = if self.second.free_slots() > self.first.free_slots() { SLOTS } else { 0 };
        let preferred = self.slots().skip(split);
        preferred.chain(self.slots().take(split)).find(|(_, slot)| slot.claim(key))
    }
}

/// The low half of a hash, as an index that is yet to be masked.
fn low_bits(hash: u64) -> u32 {
    u32::try_from(hash & 0xffff_ffff).unwrap_or(0)
}

/// Spreads each bit over all others. The constants are those of SplitMix64.
const fn mix(number: u64) -> u64 {
    let number = number.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let number = (number ^ number >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let number = (number ^ number >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    number ^ number >> 31
}

#[cfg(test)]
mod tests {
    use super::*;
    use helio_types::{MacAddr, VlanId};
    use std::ptr;

    fn key(number: u64) -> Key {
        Key::new(VlanId::UNTAGGED, MacAddr::from_u64(number))
    }

    #[test]
    fn the_two_buckets_of_a_key_differ_in_the_smallest_table_as_well() {
        for slots in [1, 64, 4096] {
            let buckets = Buckets::new(slots, 7);
            for number in 0..1000 {
                let candidates = buckets.candidates(buckets.places(key(number))).unwrap();
                assert!(!ptr::eq(candidates.first, candidates.second));
                assert_eq!(candidates.slots().count(), 2 * SLOTS);
            }
        }
    }

    #[test]
    fn another_seed_puts_keys_elsewhere() {
        let place = |seed, number| {
            let buckets = Buckets::new(1 << 16, seed);
            low_bits(buckets.hash(key(number))) & buckets.mask
        };
        let same = (0..100).filter(|&number| place(1, number) == place(2, number)).count();
        assert!(same < 5, "{same} of 100 keys stay in place");
    }

    #[test]
    fn both_buckets_of_a_key_can_be_filled_and_no_more() {
        let buckets = Buckets::new(1, 7);
        let candidates = buckets.candidates(buckets.places(key(1))).unwrap();
        let mut places: Vec<_> =
            (0..2 * SLOTS).map(|_| candidates.claim(key(1)).unwrap().0).collect();
        assert!(candidates.claim(key(1)).is_none());
        places.sort_unstable();
        assert!(places.into_iter().eq(0..2 * SLOTS));
    }
}
