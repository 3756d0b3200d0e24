//! Learning: called by workers for the source of each frame. In the usual case, an address seen on the same port in the same
//! epoch, it writes nothing.

use super::buckets::{Candidates, Held};
use super::entry::Value;
use super::{Address, Fdb};
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
        match self.buckets.find(address) {
            Some(value) if value == Value::new(port, self.epochs.stamp()) => Learned::Known,
            Some(value) if value == Value::pinned(port) => Learned::Known,
            _ => self.see_changed(address, port),
        }
    }

    /// As [`Fdb::see`], for all that is not as it was.
    #[cold]
    #[inline(never)]
    fn see_changed(&self, address: &Address, port: PortId) -> Learned {
        let Some(candidates) = self.buckets.candidates(address) else {
            return Learned::TableFull;
        };
        for _ in 0..ATTEMPTS {
            let learned = match candidates.held().next() {
                Some((_, known)) => self.see_again(&known, port),
                None => Some(self.insert_learned(candidates, port)),
            };
            if let Some(learned) = learned {
                return learned;
            }
        }
        Learned::Known
    }

    /// `None` when the entry changed meanwhile.
    fn see_again(&self, known: &Held<'_>, port: PortId) -> Option<Learned> {
        let same_port = known.value.port() == Some(port);
        if known.value.is_static() {
            return Some(if same_port { Learned::Known } else { Learned::Static });
        }
        if !same_port {
            return self.move_entry(known, port);
        }
        let now = self.seen_now(port);
        (known.value == now || known.replace(now)).then_some(Learned::Known)
    }

    /// `None` when the entry changed meanwhile.
    fn move_entry(&self, known: &Held<'_>, port: PortId) -> Option<Learned> {
        if !self.tally.ports.reserve(port) {
            return Some(Learned::LimitReached);
        }
        if known.replace(self.seen_now(port)) {
            self.uncount(known.value);
            self.tally.moves.fetch_add(1, Ordering::Relaxed);
            Some(Learned::Moved)
        } else {
            self.tally.ports.release(port);
            None
        }
    }

    fn insert_learned(&self, candidates: Candidates<'_>, port: PortId) -> Learned {
        if !self.tally.ports.reserve(port) {
            return Learned::LimitReached;
        }
        match self.insert(candidates, self.seen_now(port)) {
            Some(Duplicate::Stays) => Learned::New,
            Some(Duplicate::GaveWay) => Learned::Known,
            None => {
                self.tally.ports.release(port);
                self.tally.table_full.fetch_add(1, Ordering::Relaxed);
                Learned::TableFull
            }
        }
    }

    fn seen_now(&self, port: PortId) -> Value {
        Value::new(port, self.epochs.stamp_to_write())
    }

    /// Makes a new entry, which is counted already; `None` when no slot is free.
    pub(super) fn insert(&self, candidates: Candidates<'_>, value: Value) -> Option<Duplicate> {
        let own = candidates.put_in(value)?;
        // Two workers may insert one key into two slots. Each puts it in, passes a fence and then looks at the other slots.
        // One of the fences is the later one, and who passed that sees both entries.
        fence(Ordering::SeqCst);
        Some(self.settle(candidates, own))
    }

    /// As long as another slot than that at position `own` holds the key as well, removes the one that [`goes_before`].
    fn settle(&self, candidates: Candidates<'_>, own: usize) -> Duplicate {
        for _ in 0..SETTLE_ATTEMPTS {
            let at_own = |(position, _): &(usize, Held<'_>)| *position == own;
            let Some(theirs) = candidates.held().find(|held| !at_own(held)) else { break };
            let Some(mine) = candidates.held().find(at_own) else { return Duplicate::GaveWay };
            let own_goes = goes_before(mine, theirs);
            let removed = self.remove(if own_goes { &mine.1 } else { &theirs.1 });
            if removed && own_goes {
                return Duplicate::GaveWay;
            }
        }
        Duplicate::Stays
    }
}

/// Which of two entries of one key is removed: a learned one before a static one, otherwise the one in the later
/// slot. All threads choose alike, so they never remove both.
fn goes_before((at, one): (usize, Held<'_>), (other_at, other): (usize, Held<'_>)) -> bool {
    let (pinned, other_pinned) = (one.value.is_static(), other.value.is_static());
    if pinned == other_pinned { at > other_at } else { other_pinned }
}
