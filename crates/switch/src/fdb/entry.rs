//! The two words of an entry: its key and its value, and how their bits are laid out.

use helio_types::{MacAddr, PortId, VlanId};

/// VLAN and address, never zero: `present:1 << 60 | vlan:12 << 48 | mac:48`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Key(u64);

impl Key {
    const PRESENT: u64 = 1 << 60;
    const VLAN: u32 = 48;

    pub(super) const fn new(vlan: VlanId, mac: MacAddr) -> Self {
        Self(Self::PRESENT | (vlan.get() as u64) << Self::VLAN | mac.to_u64())
    }

    pub(super) const fn to_word(self) -> u64 {
        self.0
    }

    /// `None` for zero, the word of a free slot.
    pub(super) const fn from_word(word: u64) -> Option<Self> {
        if word == 0 { None } else { Some(Self(word)) }
    }

    /// `Some` for every key that [`Key::new`] made.
    pub(super) const fn vlan(self) -> Option<VlanId> {
        VlanId::new((self.0 >> Self::VLAN & 0xfff) as u16)
    }

    pub(super) const fn mac(self) -> MacAddr {
        MacAddr::from_u64(self.0)
    }
}

/// Port, kind, second last seen, and the state of the slot:
/// `generation:22 << 42 | live:1 << 41 | static:1 << 40 | port:8 << 32 | seen:32`.
///
/// The generation counts the removals from a slot. It stays when an entry is removed, so two equal generations
/// of a live value say that the slot held one and the same entry in between.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Value(u64);

impl Value {
    const SEEN: u64 = 0xffff_ffff;
    const PORT: u32 = 32;
    const STATIC: u64 = 1 << 40;
    const LIVE: u64 = 1 << 41;
    const GENERATION: u32 = 42;

    pub(super) const fn learned(port: PortId, seen_s: u32) -> Self {
        Self(Self::LIVE | (port.index() as u64) << Self::PORT | seen_s as u64)
    }

    pub(super) const fn pinned(port: PortId) -> Self {
        Self(Self::LIVE | Self::STATIC | (port.index() as u64) << Self::PORT)
    }

    pub(super) const fn to_word(self) -> u64 {
        self.0
    }

    /// `None` for the word of a slot without a live entry.
    pub(super) const fn from_word(word: u64) -> Option<Self> {
        if word & Self::LIVE == 0 { None } else { Some(Self(word)) }
    }

    /// `Some` for every value that was made here.
    pub(super) fn port(self) -> Option<PortId> {
        PortId::new((self.0 >> Self::PORT & 0xff) as usize)
    }

    pub(super) const fn is_static(self) -> bool {
        self.0 & Self::STATIC != 0
    }

    pub(super) const fn seen_s(self) -> u32 {
        (self.0 & Self::SEEN) as u32
    }

    pub(super) const fn seen_at(self, seconds: u32) -> Self {
        Self(self.0 & !Self::SEEN | seconds as u64)
    }

    /// This value with the generation that stands in `word`.
    pub(super) const fn in_generation_of(self, word: u64) -> Self {
        let below = (1 << Self::GENERATION) - 1;
        Self(self.0 & below | word & !below)
    }

    /// Whether both are of one entry, which may have moved or been seen again in between.
    pub(super) const fn is_same_entry(self, other: Self) -> bool {
        self.0 >> Self::GENERATION == other.0 >> Self::GENERATION
    }

    /// The word that this value leaves in its slot: nothing but the next generation.
    pub(super) const fn retired_word(self) -> u64 {
        (self.0 >> Self::GENERATION).wrapping_add(1) << Self::GENERATION
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn what_is_packed_can_be_unpacked(
            id in 0_u16..4095, mac in 0_u64..1 << 48, index in 0_usize..256, seen: u32, again: u32,
        ) {
            let (vlan, mac) = (VlanId::new(id).unwrap(), MacAddr::from_u64(mac));
            let key = Key::from_word(Key::new(vlan, mac).to_word()).unwrap();
            prop_assert_eq!((key.vlan(), key.mac()), (Some(vlan), mac));

            let port = PortId::new(index).unwrap();
            let value = Value::from_word(Value::learned(port, seen).to_word()).unwrap();
            prop_assert_eq!((value.port(), value.seen_s(), value.is_static()), (Some(port), seen, false));
            let later = value.seen_at(again);
            prop_assert_eq!((later.port(), later.seen_s()), (Some(port), again));
            prop_assert!(later.is_same_entry(value));
            prop_assert!(Value::pinned(port).is_static());
        }

        #[test]
        fn a_retired_value_is_not_live_and_one_generation_on(generation in 0_u64..1 << 22, seen: u32) {
            let port = PortId::new(255).unwrap();
            let value = Value::learned(port, seen).in_generation_of(generation << 42);
            prop_assert_eq!(Value::from_word(value.retired_word()), None);
            prop_assert_eq!(value.retired_word() >> 42, (generation + 1) % (1 << 22));
            let next = Value::learned(port, seen).in_generation_of(value.retired_word());
            prop_assert!(!next.is_same_entry(value));
        }
    }

    #[test]
    fn the_key_of_the_zero_address_differs_from_a_free_slot() {
        assert_ne!(Key::new(VlanId::UNTAGGED, MacAddr([0; 6])).to_word(), 0);
        assert_eq!(Key::from_word(0), None);
    }
}
