//! What the control thread does with the FDB: ageing, flushing, static entries, listing. Workers go on meanwhile.

use super::entry::{Key, Value};
use super::{Fdb, Slot};
use crate::sync::Ordering;
use helio_types::{MacAddr, PortId, VlanId};
use std::fmt;

/// Where an entry comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum EntryKind {
    /// Seen as the source of a frame; ages, and moves with its address.
    Learned,
    /// Given by the operator; stays.
    Static,
}

/// One entry, for listing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FdbEntry {
    /// The VLAN.
    pub vlan: VlanId,
    /// The address.
    pub mac: MacAddr,
    /// The port.
    pub port: PortId,
    /// Seconds since the address was last seen; 0 for a static entry.
    pub age_s: u32,
    /// Where it comes from.
    pub kind: EntryKind,
}

/// Which entries [`Fdb::flush`] removes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FlushFilter {
    /// All learned ones.
    All,
    /// The learned ones of a VLAN.
    Vlan(VlanId),
    /// The learned ones of a port.
    Port(PortId),
    /// The learned ones of a port in one VLAN.
    PortVlan(PortId, VlanId),
    /// The learned and the static ones of a port that is being removed.
    RemovedPort(PortId),
}

/// Why a static entry was not made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StaticRefused {
    /// No slot is free for this address.
    TableFull,
    /// A group address belongs to no single port.
    GroupAddress,
}

impl fmt::Display for StaticRefused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::TableFull => "the FDB has no free place for this address",
            Self::GroupAddress => "a group address cannot be pinned to one port",
        })
    }
}

impl std::error::Error for StaticRefused {}

impl Fdb {
    /// Removes the learned entries that were not seen for longer than the ageing time. Returns how many.
    pub fn age(&self) -> usize {
        let now = self.now();
        if self.ageing_s == 0 {
            return 0;
        }
        self.remove_where(|_, value| {
            !value.is_static() && now.saturating_sub(value.seen_s()) > self.ageing_s
        })
    }

    /// Removes the entries that `filter` names. Returns how many.
    ///
    /// A worker that still forwards for a port can learn on it again: flush a removed port after the workers
    /// have taken over the table without it.
    pub fn flush(&self, filter: FlushFilter) -> usize {
        self.remove_where(|key, value| match filter {
            FlushFilter::All => !value.is_static(),
            FlushFilter::Vlan(vlan) => !value.is_static() && key.vlan() == Some(vlan),
            FlushFilter::Port(port) => !value.is_static() && value.port() == Some(port),
            FlushFilter::PortVlan(port, vlan) => {
                !value.is_static() && value.port() == Some(port) && key.vlan() == Some(vlan)
            }
            FlushFilter::RemovedPort(port) => value.port() == Some(port),
        })
    }

    fn remove_where(&self, condemned: impl Fn(Key, Value) -> bool) -> usize {
        let remove = |slot: &&Slot| {
            // Seen again between the look and the removal: look again. Each round another thread has changed
            // this slot, which it does once per second and move.
            loop {
                match slot.read_any() {
                    Some((key, value)) if condemned(key, value) => {
                        if self.remove(slot, value) {
                            return true;
                        }
                    }
                    _ => return false,
                }
            }
        };
        self.buckets.slots().filter(remove).count()
    }

    /// Pins `mac` in `vlan` to `port`, also if it was learned or pinned elsewhere. Called by one thread only.
    /// Static entries do not count towards the limit of a port.
    ///
    /// # Errors
    ///
    /// [`StaticRefused`]; nothing has changed then.
    pub fn add_static(
        &self,
        vlan: VlanId,
        mac: MacAddr,
        port: PortId,
    ) -> Result<(), StaticRefused> {
        if mac.is_group() {
            return Err(StaticRefused::GroupAddress);
        }
        let key = Key::new(vlan, mac);
        let candidates =
            self.buckets.candidates(self.buckets.places(key)).ok_or(StaticRefused::TableFull)?;
        self.tally.statics.fetch_add(1, Ordering::Relaxed);
        while let Some((slot, known)) = candidates.find(key) {
            if slot.replace(known, Value::pinned(port)) {
                self.uncount(known);
                return Ok(());
            }
        }
        if self.insert(candidates, key, Value::pinned(port)).is_none() {
            self.tally.statics.fetch_sub(1, Ordering::Relaxed);
            return Err(StaticRefused::TableFull);
        }
        Ok(())
    }

    /// Removes the static entry of `mac` in `vlan`. Returns whether there was one. Called by the thread that
    /// calls [`Fdb::add_static`].
    pub fn remove_static(&self, vlan: VlanId, mac: MacAddr) -> bool {
        let key = Key::new(vlan, mac);
        let places = self.buckets.places(key);
        let Some(candidates) = self.buckets.candidates(places) else { return false };
        candidates.slots().any(|(_, slot)| {
            slot.read(key).is_some_and(|value| value.is_static() && self.remove(slot, value))
        })
    }

    /// All entries, in no order. An address that is being learned by two workers right now may be there twice.
    #[must_use]
    pub fn entries(&self) -> Vec<FdbEntry> {
        let now = self.now();
        self.buckets
            .slots()
            .filter_map(Slot::read_any)
            .filter_map(|(key, value)| listed(key, value, now))
            .collect()
    }
}

fn listed(key: Key, value: Value, now: u32) -> Option<FdbEntry> {
    let (kind, age_s) = if value.is_static() {
        (EntryKind::Static, 0)
    } else {
        (EntryKind::Learned, now.saturating_sub(value.seen_s()))
    };
    Some(FdbEntry { vlan: key.vlan()?, mac: key.mac(), port: value.port()?, age_s, kind })
}
