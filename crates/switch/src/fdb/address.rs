//! An address on its way to its entry.

use super::entry::{Key, Tag};
use helio_types::{MacAddr, VlanId};

/// An address of a VLAN, and where in one FDB its entry may be: found out, and fetched, some time before it is looked at.
/// In another FDB it means nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Address {
    /// As it is in the first bucket.
    pub(super) tag: Tag,
    /// The place of the first bucket.
    pub(super) first: u32,
}

impl super::Fdb {
    /// Prepares a lookup: computes where the entry may be, and fetches the bucket where it nearly always is. Asked for all
    /// frames of a burst before the first lookup, that took 4 ns off the 64 of a 64-byte frame among 100,000 addresses; to
    /// fetch the other bucket as well took nothing off.
    #[inline]
    #[must_use]
    pub fn address(&self, vlan: VlanId, mac: MacAddr) -> Address {
        self.address_of(vlan, mac.to_u64())
    }

    /// The same for the address whose [`MacAddr::to_u64`] is `number`.
    #[inline]
    pub(crate) fn address_of(&self, vlan: VlanId, number: u64) -> Address {
        let address = self.buckets.address(Key::new(vlan, number));
        self.buckets.fetch(&address);
        address
    }
}
