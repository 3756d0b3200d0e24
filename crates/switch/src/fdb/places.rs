//! From a key to its two buckets, and back.
//!
//! A key is first turned into another number, by secret factors and so that nothing is lost: without the secrets nobody can
//! tell which keys collide. Its uppermost bits are the place of the first bucket, its lowest bits what tells the second bucket
//! from the first. An entry holds its lower 48 bits: with the place of the bucket that is the whole number, hence the key.

use super::address::Address;
use super::entry::{Key, Tag};
use crate::sync::{KEY_BITS, MIN_BUCKETS};

/// Every bit that a key can have.
const WHOLE: u64 = (1 << KEY_BITS) - 1;

/// Bits of a key that an entry does not hold. There are enough buckets for the place of any to hold them.
const LEFT_OUT: u32 = KEY_BITS - Tag::REST_BITS;

const _: () = assert!(MIN_BUCKETS >= 1 << LEFT_OUT && MIN_BUCKETS >= 2);

/// The secrets, and the number of buckets.
pub(super) struct Places {
    factors: [u64; 2],
    mask: u64,
    /// The number of buckets is 2 to the power of this.
    bits: u32,
    inverses: [u64; 2],
}

impl Places {
    /// For at least so many `buckets`.
    pub(super) fn new(buckets: usize, seed: u64) -> Self {
        let factors = [mix(seed) | 1, mix(seed.wrapping_add(1)) | 1];
        Self {
            factors,
            mask: mix(seed.wrapping_add(2)) & WHOLE,
            bits: buckets.max(MIN_BUCKETS).next_power_of_two().ilog2(),
            inverses: factors.map(inverse_of),
        }
    }

    pub(super) fn buckets(&self) -> usize {
        1 << self.bits
    }

    /// Where the entry of `key` may be.
    #[inline]
    pub(super) fn of(&self, key: Key) -> Address {
        let number = self.scatter(key.to_word());
        Address { tag: Tag::new(number), first: low_word(number >> (KEY_BITS - self.bits)) }
    }

    /// The place of the other bucket of a key, which has one at `place`: never the same.
    #[inline]
    pub(super) fn other(&self, place: u32, tag: Tag) -> u32 {
        // An odd number changes at least the lowest bit.
        place ^ (low_word(tag.rest()) & ((1 << self.bits) - 1) | 1)
    }

    /// The key of an entry with `tag` in the bucket at `place`.
    pub(super) fn key_at(&self, place: u32, tag: Tag) -> Key {
        let first = if tag.is_in_second() { self.other(place, tag) } else { place };
        let left_out = u64::from(first >> (self.bits - LEFT_OUT));
        Key::from_word(self.gather(left_out << Tag::REST_BITS | tag.rest()))
    }

    #[inline]
    fn scatter(&self, word: u64) -> u64 {
        let [first, second] = self.factors;
        let number = folded((word ^ self.mask).wrapping_mul(first) & WHOLE);
        folded(number.wrapping_mul(second) & WHOLE)
    }

    /// The inverse of [`Places::scatter`].
    fn gather(&self, number: u64) -> u64 {
        let [first, second] = self.inverses;
        let number = folded(number).wrapping_mul(second) & WHOLE;
        folded(number).wrapping_mul(first) & WHOLE ^ self.mask
    }
}

/// Brings the upper half, where a product is mixed best, into the lower as well. Done twice it does nothing.
#[inline]
const fn folded(number: u64) -> u64 {
    number ^ number >> (KEY_BITS / 2)
}

#[inline]
fn low_word(number: u64) -> u32 {
    u32::try_from(number & 0xffff_ffff).unwrap_or(0)
}

/// The number that makes 1 of an odd factor. Three of its low bits are right at first; each step doubles them.
fn inverse_of(factor: u64) -> u64 {
    (0..5).fold(factor, |inverse, _| {
        inverse.wrapping_mul(2_u64.wrapping_sub(factor.wrapping_mul(inverse)))
    })
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

    /// Keys as they are met with: addresses in a row, with steps in each byte, and the same in several VLANs.
    fn keys() -> impl Iterator<Item = Key> {
        let macs = (0..6).flat_map(|byte| (0..256_u64).map(move |number| number << (8 * byte)));
        macs.flat_map(|mac| [0, 1, 4094].map(|id| Key::new(VlanId::new(id).unwrap(), mac)))
    }

    #[test]
    fn the_two_buckets_of_a_key_differ_and_each_tells_the_key() {
        for (buckets, seed) in [(1, 1), (MIN_BUCKETS, 2), (MIN_BUCKETS + 1, 3), (1 << 18, 4)] {
            let places = Places::new(buckets, seed);
            for key in keys() {
                let Address { tag, first } = places.of(key);
                let second = places.other(first, tag);
                assert!(first != second && first.max(second) < low_word(places.buckets() as u64));
                assert_eq!(places.other(second, tag), first);
                assert_eq!(places.key_at(first, tag), key);
                assert_eq!(places.key_at(second, tag.in_second()), key);
            }
        }
    }

    #[test]
    fn the_largest_key_is_told_as_well() {
        let places = Places::new(1, 5);
        let key = Key::new(VlanId::new(4094).unwrap(), MacAddr::BROADCAST.to_u64());
        let address = places.of(key);
        assert_eq!(places.key_at(address.first, address.tag), key);
    }

    #[test]
    fn another_seed_puts_keys_elsewhere() {
        let [one, other] = [1, 2].map(|seed| Places::new(1 << 14, seed));
        let same = keys().filter(|&key| one.of(key).first == other.of(key).first).count();
        assert!(same < 10, "{same} of 4608 keys stay in place");
    }
}
