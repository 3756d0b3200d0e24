//! An address on its way to its entry.

use super::entry::Key;
use helio_types::{MacAddr, VlanId};

/// An address of a VLAN, and where in one FDB its entry may be: found out, and fetched, some time before it is looked at.
/// In another FDB it is met with as unknown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Address {
    pub(super) key: Key,
    pub(super) places: [u32; 2],
}

impl super::Fdb {
    /// Prepares a lookup: computes where the entry may be, and fetches it. Asked for all frames of a burst before the first
    /// lookup, that took a quarter off the whole cost of a 64-byte frame among 100,000 addresses.
    #[inline]
    #[must_use]
    pub fn address(&self, vlan: VlanId, mac: MacAddr) -> Address {
        let key = Key::new(vlan, mac);
        let places = self.buckets.places(key);
        self.buckets.fetch(places);
        Address { key, places }
    }
}
