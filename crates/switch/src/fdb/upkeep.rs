//! What the control thread does with the FDB: ageing, flushing, static entries, listing. Workers go on meanwhile.

use super::Fdb;
use super::buckets::Held;
use super::entry::Value;
use super::epochs::Stamp;
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
    /// Seconds since the address was last seen, or less, by less than a step of
    /// [`FdbSettings::ageing_s`](super::FdbSettings::ageing_s); 0 for a static entry.
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
    /// Removes the learned entries that were not seen for longer than the ageing time; see [`FdbSettings::ageing_s`] for how
    /// exactly that is told. Returns how many. Called by the thread that calls [`Fdb::set_clock`].
    ///
    /// [`FdbSettings::ageing_s`]: super::FdbSettings::ageing_s
    pub fn age(&self) -> usize {
        let kept = self.epochs.first_kept();
        let removed = if self.epochs.ageing_s() == 0 {
            self.make_old();
            0
        } else {
            self.remove_where(|_, held| {
                !held.value.is_static() && self.epochs.is_over(held.value.stamp())
            })
        };
        self.epochs.forget_before(kept);
        removed
    }

    /// Gives entries that do not age the stamp of the oldest before their epoch is forgotten.
    fn make_old(&self) {
        for (_, held) in self.buckets.entries() {
            if let Some(port) = held.value.port()
                && self.epochs.is_over(held.value.stamp())
            {
                // If it fails, the address was seen again or has moved, which both make it new, or it is gone.
                held.replace(Value::new(port, Stamp::OLD));
            }
        }
    }

    /// Removes the entries that `filter` names. Returns how many.
    ///
    /// A worker that still forwards for a port can learn on it again: flush a removed port after the workers
    /// have taken over the table without it.
    pub fn flush(&self, filter: FlushFilter) -> usize {
        self.remove_where(|place, held| {
            let (value, is_learned) = (held.value, !held.value.is_static());
            let is_in = |vlan| self.buckets.key_of(place, held).vlan() == Some(vlan);
            match filter {
                FlushFilter::All => is_learned,
                FlushFilter::Vlan(vlan) => is_learned && is_in(vlan),
                FlushFilter::Port(port) => is_learned && value.port() == Some(port),
                FlushFilter::PortVlan(port, vlan) => {
                    is_learned && value.port() == Some(port) && is_in(vlan)
                }
                FlushFilter::RemovedPort(port) => value.port() == Some(port),
            }
        })
    }

    /// Removes the entries that are `condemned` by the place of their bucket and what they hold. Returns how many.
    fn remove_where(&self, condemned: impl Fn(u32, &Held<'_>) -> bool) -> usize {
        let remove = |(place, held): &(u32, Held<'_>)| {
            // Seen again between the look and the removal: look again. Each round another thread has changed this slot, which
            // it does once per epoch and move.
            let mut held = Some(*held);
            while let Some(entry) = held
                && condemned(*place, &entry)
            {
                if self.remove(&entry) {
                    return true;
                }
                held = entry.again();
            }
            false
        };
        self.buckets.entries().filter(remove).count()
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
        let candidates =
            self.buckets.candidates(&self.address(vlan, mac)).ok_or(StaticRefused::TableFull)?;
        self.tally.statics.fetch_add(1, Ordering::Relaxed);
        while let Some((_, known)) = candidates.held().next() {
            if known.replace(Value::pinned(port)) {
                self.uncount(known.value);
                return Ok(());
            }
        }
        if self.insert(candidates, Value::pinned(port)).is_none() {
            self.tally.statics.fetch_sub(1, Ordering::Relaxed);
            return Err(StaticRefused::TableFull);
        }
        Ok(())
    }

    /// Removes the static entry of `mac` in `vlan`. Returns whether there was one. Called by the thread that
    /// calls [`Fdb::add_static`].
    pub fn remove_static(&self, vlan: VlanId, mac: MacAddr) -> bool {
        let Some(candidates) = self.buckets.candidates(&self.address(vlan, mac)) else {
            return false;
        };
        candidates.held().any(|(_, held)| held.value.is_static() && self.remove(&held))
    }

    /// All entries, in no order. An address that is being learned by two workers right now may be there twice.
    #[must_use]
    pub fn entries(&self) -> Vec<FdbEntry> {
        let listed = |(place, held): (u32, Held<'_>)| {
            let (key, stamp) = (self.buckets.key_of(place, &held), held.value.stamp());
            Some(FdbEntry {
                vlan: key.vlan()?,
                mac: key.mac(),
                port: held.value.port()?,
                age_s: self.epochs.age_s(stamp),
                kind: if held.value.is_static() { EntryKind::Static } else { EntryKind::Learned },
            })
        };
        self.buckets.entries().filter_map(listed).collect()
    }
}
