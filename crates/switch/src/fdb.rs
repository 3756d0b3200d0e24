//! The FDB: which port an address of a VLAN was seen on. One table, shared by all workers, without locks.
//!
//! Workers call [`Fdb::address`], [`Fdb::see`] and [`Fdb::port_of`]; one control thread advances the clock and pins
//! addresses, and control threads of ports flush what was learned on them.
//! What always holds: an address has at most one entry once the calls that learn it have returned; the counts agree with
//! the entries whenever no call is under way; and no entry makes room for another, so a guest that invents addresses fills
//! its own limit and nobody else's.
//!
//! An entry is one word: what a reader finds is never of two entries, and there is no state between free and taken. Eight
//! words are a bucket and a cache line; an address has two buckets, and is put into the first while that has much room.
//!
//! What decided is the whole cost of a 64-byte frame among few and among many addresses, in nanoseconds, medians of interleaved
//! runs on one core:
//!
//! | table | 10 | 100,000 |
//! |---|---|---|
//! | this one, 2 MiB for so many | 57.5 | 59.5 |
//! | the one before, entries of two words, 4 MiB | 57.6 | 72.7 |
//! | this one, with a search that ends at the slot it finds | 54.1 | 69.5 |
//! | this one, with the emptier bucket taken always | 58.0 | 69.3 |
//!
//! So branches that nobody can foretell cost most, more than memory beyond the second cache. But two words, searched without
//! branches, kept 0.92 of the speed among many addresses, and one word 0.97. A table of 1.5 MiB, whose buckets are no power of
//! two and so dearer to find, lost 3 in both cases. Since the rest of a frame's way is faster, this table has 36.8 and 39.1,
//! the one before 40.2 and 55.4.

mod address;
mod buckets;
mod entry;
mod epochs;
mod learn;
#[cfg(loom)]
#[cfg(test)]
mod loom_models;
mod places;
mod ports;
#[cfg(test)]
mod tests;
mod upkeep;

use crate::sync::{AtomicU32, AtomicU64, Ordering};
use buckets::{Buckets, Held};
use entry::Value;
use epochs::Epochs;
use helio_types::{MacAddr, PortId, VlanId};
use ports::Ports;
use std::fmt;

pub use address::Address;
pub use learn::Learned;
pub use upkeep::{EntryKind, FdbEntry, FlushFilter, StaticRefused};

/// Most entries an FDB can be made for; larger capacities are cut to this.
pub const MAX_CAPACITY: usize = 1 << 20;

/// What an FDB is made from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FdbSettings {
    /// Entries it must hold. The table has at least twice as many slots, so that with that many entries an address still finds
    /// a free one: in a simulation of 1,500 tables, each filled with 131,072 entries at places drawn by chance, all did.
    pub capacity: usize,
    /// Seconds after which an address that was not seen again is forgotten; 0 for never.
    ///
    /// Told in steps of a fiftieth of it, rounded up to seconds: an address is forgotten after this time, and not later than
    /// one step after it (300 s: between 301 and 306 s), if the clock is told and [`Fdb::age`] called each second. Ages in the
    /// list are low by less than a step. Without ageing a step is 72 s, and all that is older than an hour has that age.
    pub ageing_s: u32,
    /// Secret of the hash, to be drawn anew at each start: who knows it can choose addresses that collide.
    pub seed: u64,
}

/// Forwarding database.
pub struct Fdb {
    buckets: Buckets,
    epochs: Epochs,
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
            epochs: Epochs::new(settings.ageing_s),
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
        self.buckets.find(address)?.port()
    }

    /// Tells the time, in seconds since any start; called about once a second, and never with less than before.
    pub fn set_clock(&self, seconds: u32) {
        self.epochs.tell(seconds);
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

    /// Takes an entry out of its slot and out of the counts. `false` when it is no longer there as it was.
    fn remove(&self, held: &Held<'_>) -> bool {
        let removed = held.take_out();
        if removed {
            self.uncount(held.value);
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
            .field("ageing_s", &self.epochs.ageing_s())
            .field("now_s", &self.epochs.now_s())
            .field("counts", &self.counts())
            .finish_non_exhaustive()
    }
}
