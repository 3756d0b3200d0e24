//! Learning: called by workers for the source of each frame. In the usual case, an address seen on the same port
//! in the same second, it writes nothing.

use super::buckets::Candidates;
use super::entry::{Key, Value};
use super::{Address, Fdb, Slot};
use crate::sync::{Ordering, fence};
use helio_types::{MacAddr, PortId, VlanId};

/// Tries to change an entry that others change at the same time. After the last the frame goes on, and the next
/// one with this address tries again.
const ATTEMPTS: usize = 4;

/// Tries to remove one of two entries of a key. Each failure takes another worker that changed one of the two
/// within a few instructions, so this many do not come about; a bound there must be all the same.
const SETTLE_ATTEMPTS: usize = 64;

/// What became of the source address of a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Learned {
    /// It was known on this port, or other workers are learning it right now.
    Known,
    /// It is a new entry.
    New,
    /// It was on another port and now is on this one.
    Moved,
    /// It is pinned to another port, and stays there.
    Static,
    /// It is not learned, or stays where it was: the port has as many entries as it may.
    LimitReached,
    /// It is not learned: no slot is free for it.
    TableFull,
}

/// What became of a new entry when another slot turned out to hold the same key.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Duplicate {
    /// There was none, or the other one is removed.
    Stays,
    /// The new entry is removed.
    GaveWay,
}

impl Fdb {
    /// Notes that `mac` was seen in `vlan` on `port`.
    pub fn learn(&self, vlan: VlanId, mac: MacAddr, port: PortId) -> Learned {
        self.see(&self.address(vlan, mac), port)
    }

    /// Notes that an address was seen on `port`.
    #[inline]
    pub fn see(&self, address: &Address, port: PortId) -> Learned {
        let key = address.key;
        let Some(candidates) = self.buckets.candidates(address.places) else {
            return Learned::TableFull;
        };
        for _ in 0..ATTEMPTS {
            let learned = match candidates.find(key) {
                Some((slot, known)) => self.see_again(slot, known, port),
                None => Some(self.insert_learned(candidates, key, port)),
            };
            if let Some(learned) = learned {
                return learned;
            }
        }
        Learned::Known
    }

    /// `None` when the entry changed meanwhile.
    fn see_again(&self, slot: &Slot, known: Value, port: PortId) -> Option<Learned> {
        let same_port = known.port() == Some(port);
        if known.is_static() {
            return Some(if same_port { Learned::Known } else { Learned::Static });
        }
        if !same_port {
            return self.move_entry(slot, known, port);
        }
        let now = self.now();
        if known.seen_s() != now {
            // If it fails, another worker has seen the address in this very moment.
            slot.replace(known, known.seen_at(now));
        }
        Some(Learned::Known)
    }

    /// `None` when the entry changed meanwhile.
    fn move_entry(&self, slot: &Slot, known: Value, port: PortId) -> Option<Learned> {
        if !self.tally.ports.reserve(port) {
            return Some(Learned::LimitReached);
        }
        if slot.replace(known, Value::learned(port, self.now())) {
            self.uncount(known);
            self.tally.moves.fetch_add(1, Ordering::Relaxed);
            Some(Learned::Moved)
        } else {
            self.tally.ports.release(port);
            None
        }
    }

    fn insert_learned(&self, candidates: Candidates<'_>, key: Key, port: PortId) -> Learned {
        if !self.tally.ports.reserve(port) {
            return Learned::LimitReached;
        }
        match self.insert(candidates, key, Value::learned(port, self.now())) {
            Some(Duplicate::Stays) => Learned::New,
            Some(Duplicate::GaveWay) => Learned::Known,
            None => {
                self.tally.ports.release(port);
                self.tally.table_full.fetch_add(1, Ordering::Relaxed);
                Learned::TableFull
            }
        }
    }

    /// Makes a new entry, which is counted already; `None` when no slot is free.
    pub(super) fn insert(
        &self,
        candidates: Candidates<'_>,
        key: Key,
        value: Value,
    ) -> Option<Duplicate> {
        let (position, slot) = candidates.claim(key)?;
        slot.publish(value);
        // Two workers may insert one key into two slots. Each publishes, passes a fence and then looks at the
        // other slots. One of the fences is the later one, and who passed that sees both entries.
        fence(Ordering::SeqCst);
        for (other_position, other) in candidates.slots() {
            if other_position != position
                && self.settle(key, (position, slot), (other_position, other)) == Duplicate::GaveWay
            {
                return Some(Duplicate::GaveWay);
            }
        }
        Some(Duplicate::Stays)
    }

    /// If both slots hold a live entry of `key`, removes the one that [`goes_before`] the other.
    fn settle(&self, key: Key, own: (usize, &Slot), other: (usize, &Slot)) -> Duplicate {
        for _ in 0..SETTLE_ATTEMPTS {
            let Some(theirs) = other.1.read(key) else { break };
            let Some(mine) = own.1.read(key) else { return Duplicate::GaveWay };
            let own_goes = goes_before((own.0, mine), (other.0, theirs));
            let (slot, value) = if own_goes { (own.1, mine) } else { (other.1, theirs) };
            if self.remove(slot, value) {
                return if own_goes { Duplicate::GaveWay } else { Duplicate::Stays };
            }
        }
        Duplicate::Stays
    }
}

/// Which of two entries of one key is removed: a learned one before a static one, otherwise the one in the later
/// slot. All threads choose alike, so they never remove both.
fn goes_before(one: (usize, Value), other: (usize, Value)) -> bool {
    if one.1.is_static() == other.1.is_static() { one.0 > other.0 } else { other.1.is_static() }
}
