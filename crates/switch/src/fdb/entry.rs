//! The word of an entry, which is all there is of it, and how its bits are laid out:
//! `rest:48 << 16 | present:1 << 15 | second:1 << 14 | stamp:6 << 8 | port:8`.
//!
//! A free slot is zero. The upper three are the [`Tag`]: what the place of the slot does not tell about the key, and whether
//! the bucket is the second one of the key. The others are the [`Value`]: port, and when the address was last seen.

use super::epochs::Stamp;
use helio_types::{MacAddr, PortId, VlanId};

/// VLAN and address: `vlan:12 << 48 | mac:48`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Key(u64);

impl Key {
    const VLAN: u32 = 48;

    /// `number` is what [`MacAddr::to_u64`] gives.
    pub(super) const fn new(vlan: VlanId, number: u64) -> Self {
        Self((vlan.get() as u64) << Self::VLAN | number)
    }

    pub(super) const fn to_word(self) -> u64 {
        self.0
    }

    pub(super) const fn from_word(word: u64) -> Self {
        Self(word)
    }

    /// `Some` for every key that [`Key::new`] made.
    pub(super) const fn vlan(self) -> Option<VlanId> {
        VlanId::new((self.0 >> Self::VLAN & 0xfff) as u16)
    }

    pub(super) const fn mac(self) -> MacAddr {
        MacAddr::from_u64(self.0 & ((1 << Self::VLAN) - 1))
    }
}

/// What a slot in a bucket of a key holds of the key. Never zero, so never that of a free slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Tag(u64);

impl Tag {
    pub(super) const REST_BITS: u32 = 48;
    const REST: u32 = 16;
    const PRESENT: u64 = 1 << 15;
    const SECOND: u64 = 1 << 14;

    /// The tag in the first bucket, made from the lower [`Tag::REST_BITS`] of `number`.
    #[inline]
    pub(super) const fn new(number: u64) -> Self {
        Self(number << Self::REST | Self::PRESENT)
    }

    /// The tag of the same key in its second bucket.
    #[inline]
    pub(super) const fn in_second(self) -> Self {
        Self(self.0 | Self::SECOND)
    }

    pub(super) const fn is_in_second(self) -> bool {
        self.0 & Self::SECOND != 0
    }

    pub(super) const fn rest(self) -> u64 {
        self.0 >> Self::REST
    }

    /// The word of an entry.
    pub(super) const fn with(self, value: Value) -> u64 {
        self.0 | value.0
    }

    /// Takes the tag out of `word`: what remains is a value if the tag was in it, and more than any value if not.
    #[inline]
    pub(super) const fn taken_out_of(self, word: u64) -> u64 {
        self.0 ^ word
    }
}

/// Port, and when it was seen there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Value(u64);

impl Value {
    const BITS: u32 = 14;
    const STAMP: u32 = 8;

    #[inline]
    pub(super) const fn new(port: PortId, stamp: Stamp) -> Self {
        Self(stamp.to_bits() << Self::STAMP | port.index() as u64)
    }

    pub(super) const fn pinned(port: PortId) -> Self {
        Self::new(port, Stamp::STATIC)
    }

    /// `None` for what is no value; see [`Tag::taken_out_of`].
    #[inline]
    pub(super) const fn from_rest(rest: u64) -> Option<Self> {
        if rest >> Self::BITS == 0 { Some(Self(rest)) } else { None }
    }

    /// The two parts of the word of a slot; `None` for a free one.
    pub(super) const fn split(word: u64) -> Option<(Tag, Self)> {
        let value = word & ((1 << Self::BITS) - 1);
        if word == 0 { None } else { Some((Tag(word ^ value), Self(value))) }
    }

    /// `Some` for every value that was made here.
    #[inline]
    pub(super) fn port(self) -> Option<PortId> {
        PortId::new((self.0 & 0xff) as usize)
    }

    pub(super) const fn stamp(self) -> Stamp {
        Stamp::from_bits(self.0 >> Self::STAMP)
    }

    pub(super) fn is_static(self) -> bool {
        self.stamp() == Stamp::STATIC
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn what_is_packed_can_be_unpacked(
            id in 0_u16..4095, mac in 0_u64..1 << 48, rest in 0_u64..1 << 48, index in 0_usize..256, bits in 0_u64..64,
        ) {
            let (vlan, mac) = (VlanId::new(id).unwrap(), MacAddr::from_u64(mac));
            let key = Key::new(vlan, mac.to_u64());
            prop_assert_eq!((key.vlan(), key.mac()), (Some(vlan), mac));

            let (port, stamp) = (PortId::new(index).unwrap(), Stamp::from_bits(bits));
            for tag in [Tag::new(rest), Tag::new(rest).in_second()] {
                let word = tag.with(Value::new(port, stamp));
                let (found, value) = Value::split(word).unwrap();
                prop_assert_eq!((found, found.rest()), (tag, rest));
                prop_assert_eq!((value.port(), value.stamp()), (Some(port), stamp));
                prop_assert_eq!(Value::from_rest(tag.taken_out_of(word)), Some(value));
            }
            prop_assert!(Value::pinned(port).is_static());
        }

        #[test]
        fn a_tag_is_found_in_no_word_of_another_and_in_no_free_slot(
            rest in 0_u64..1 << 48, flipped in 0_u32..48, low in 0_u64..1 << 14,
        ) {
            let (tag, value) = (Tag::new(rest), Value::from_rest(low).unwrap());
            let other = Tag::new(rest ^ 1 << flipped);
            for word in [0, other.with(value), tag.in_second().with(value)] {
                prop_assert_eq!(Value::from_rest(tag.taken_out_of(word)), None);
            }
        }
    }
}
