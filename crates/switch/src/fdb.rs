//! The FDB: which port an address of a VLAN was seen on. One table, shared by all workers, without locks.
//!
//! Workers call [`Fdb::lookup`] and [`Fdb::learn`]; the control thread advances the clock and calls the rest.
//! What always holds: an address has at most one entry once the calls that learn it have returned; no slot stays
//! claimed; the counts agree with the entries whenever no call is under way; and no entry makes room for
//! another, so a guest that invents addresses fills its own limit and nobody else's.

mod address;
mod buckets;
mod entry;
mod learn;
#[cfg(loom)]
#[cfg(test)]
mod loom_models;
mod ports;
mod slot;
#[cfg(test)]
mod tests;
mod upkeep;

use crate::sync::{AtomicU32, AtomicU64, Ordering};
use buckets::Buckets;
use entry::Value;
use helio_types::{MacAddr, PortId, VlanId};
use ports::Ports;
use slot::Slot;
use std::fmt;

pub use address::Address;
pub use learn::Learned;
pub use upkeep::{EntryKind, FdbEntry, FlushFilter, StaticRefused};

/// Most entries an FDB can be made for; larger capacities are cut to this.
pub const MAX_CAPACITY: usize = 1 << 20;

/// What an FDB is made from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FdbSettings {
    /// Entries it must hold. The table has at least twice as many slots, so that with that many entries an
    /// address still finds a free one.
    pub capacity: usize,
    /// Seconds after which an address that was not seen again is forgotten; 0 for never.
    pub ageing_s: u32,
    /// Secret of the hash, to be drawn anew at each start: who knows it can choose addresses that collide.
    pub seed: u64,
}

/// Forwarding database.
pub struct Fdb {
    buckets: Buckets,
    ageing_s: u32,
    /// Seconds since some start, as the control thread last told.
    clock_s: AtomicU32,
    /// Apart from the fields above, which each frame reads: these are written whenever something is learned.
    tally: Box<Tally>,
}

struct Tally {
    ports: Ports,
    statics: AtomicU32,
    moves: AtomicU64,
    table_full: AtomicU64,
}

/// Counts over the whole FDB. Each is exact; together they are of slightly different moments.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FdbCounts {
    /// Learned entries.
    pub learned: u64,
    /// Static entries.
    pub statics: u64,
    /// Times an address changed its port.
    pub moves: u64,
    /// Times an address was not learned because its port had reached its limit.
    pub limit_hits: u64,
    /// Times an address was not learned because no slot was free for it.
    pub table_full: u64,
}

impl Fdb {
    /// An empty FDB. Until [`Fdb::set_limit`] says otherwise, a port may fill a quarter of the capacity.
    #[must_use]
    pub fn new(settings: FdbSettings) -> Self {
        let capacity = settings.capacity.clamp(1, MAX_CAPACITY);
        let limit = u32::try_from(capacity.div_ceil(4)).unwrap_or(u32::MAX);
        Self {
            buckets: Buckets::new(capacity * 2, settings.seed),
            ageing_s: settings.ageing_s,
            clock_s: AtomicU32::new(0),
            tally: Box::new(Tally {
                ports: Ports::new(limit),
                statics: AtomicU32::new(0),
                moves: AtomicU64::new(0),
                table_full: AtomicU64::new(0),
            }),
        }
    }

    /// The port that `mac` was last seen on in `vlan`, or is pinned to.
    #[must_use]
    pub fn lookup(&self, vlan: VlanId, mac: MacAddr) -> Option<PortId> {
        self.port_of(&self.address(vlan, mac))
    }

    /// The port that an address was last seen on, or is pinned to.
    #[inline]
    #[must_use]
    pub fn port_of(&self, address: &Address) -> Option<PortId> {
        let (_, value) = self.buckets.candidates(address.places)?.find(address.key)?;
        value.port()
    }

    /// Tells the time, in seconds since any start; called about once a second, and never with less than before.
    pub fn set_clock(&self, seconds: u32) {
        self.clock_s.store(seconds, Ordering::Relaxed);
    }

    /// Lets `port` have at most `limit` learned entries. Those it has beyond that stay until they age.
    pub fn set_limit(&self, port: PortId, limit: u32) {
        self.tally.ports.set_limit(port, limit);
    }

    /// Learned entries of `port`.
    #[must_use]
    pub fn learned_on(&self, port: PortId) -> u32 {
        self.tally.ports.learned(port)
    }

    /// Times an address was not learned on `port` because of its limit.
    #[must_use]
    pub fn limit_hits_on(&self, port: PortId) -> u64 {
        self.tally.ports.limit_hits(port)
    }

    /// The counts over all ports.
    #[must_use]
    pub fn counts(&self) -> FdbCounts {
        FdbCounts {
            learned: self.tally.ports.learned_on_all(),
            statics: u64::from(self.tally.statics.load(Ordering::Relaxed)),
            moves: self.tally.moves.load(Ordering::Relaxed),
            limit_hits: self.tally.ports.limit_hits_on_all(),
            table_full: self.tally.table_full.load(Ordering::Relaxed),
        }
    }

    fn now(&self) -> u32 {
        self.clock_s.load(Ordering::Relaxed)
    }

    /// Takes the entry `value` out of `slot` and out of the counts. `false` when it is no longer there as such.
    fn remove(&self, slot: &Slot, value: Value) -> bool {
        let removed = slot.retire(value);
        if removed {
            self.uncount(value);
        }
        removed
    }

    fn uncount(&self, value: Value) {
        if value.is_static() {
            self.tally.statics.fetch_sub(1, Ordering::Relaxed);
        } else if let Some(port) = value.port() {
            self.tally.ports.release(port);
        }
    }
}

impl fmt::Debug for Fdb {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Fdb")
            .field("ageing_s", &self.ageing_s)
            .field("now_s", &self.now())
            .field("counts", &self.counts())
            .finish_non_exhaustive()
    }
}
