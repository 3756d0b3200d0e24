//! One slot of the FDB and the states it goes through.
//!
//! | key | value | state | left by |
//! |---|---|---|---|
//! | 0 | not live | free | [`Slot::claim`] of any worker |
//! | k | not live | claimed | [`Slot::publish`], of the claimer only |
//! | k | live | live | [`Slot::retire`]; [`Slot::replace`] stays in it |
//! | k | not live | dying | the one whose `retire` succeeded, in the same call |
//!
//! So the key of a slot changes only while its value is not live, and only one thread can be the one that
//! changes it. A value that is not live keeps its generation; see [`Value`].

use super::entry::{Key, Value};
use crate::sync::{AtomicU64, Ordering};

pub(super) struct Slot {
    key: AtomicU64,
    value: AtomicU64,
}

impl Slot {
    pub(super) fn free() -> Self {
        Self { key: AtomicU64::new(0), value: AtomicU64::new(0) }
    }

    /// Whether the slot held no key a moment ago.
    pub(super) fn is_free(&self) -> bool {
        self.key.load(Ordering::Relaxed) == 0
    }

    /// The live value of `key`, if it is the key of this slot.
    pub(super) fn read(&self, key: Key) -> Option<Value> {
        if self.key.load(Ordering::Relaxed) != key.to_word() {
            return None;
        }
        let (found, value) = self.read_any()?;
        (found == key).then_some(value)
    }

    /// The live entry of this slot.
    ///
    /// A key and a value read one after the other may be of different entries, for the slot can be freed and
    /// taken in between, even by the first key again. Therefore value, key, value: if the key belonged to
    /// another entry than the first value, then a removal happened before the key was stored. The acquire load
    /// of the key makes that removal visible, and the second value is not live or of a later generation. Only
    /// 2^22 removals from one slot during one call could pretend otherwise. The acquire load of the first value
    /// makes the key visible that was stored before it, so a key left over from an earlier entry is not met.
    pub(super) fn read_any(&self) -> Option<(Key, Value)> {
        let before = Value::from_word(self.value.load(Ordering::Acquire))?;
        let key = Key::from_word(self.key.load(Ordering::Acquire))?;
        let after = Value::from_word(self.value.load(Ordering::Relaxed))?;
        before.is_same_entry(after).then_some((key, after))
    }

    /// Takes the slot for `key`, if it is free. The caller must publish a value at once.
    pub(super) fn claim(&self, key: Key) -> bool {
        // Acquire: what the remover did to the value is visible to `publish`. Release: a reader that sees the
        // key sees that, too.
        self.is_free()
            && self
                .key
                .compare_exchange(0, key.to_word(), Ordering::AcqRel, Ordering::Relaxed)
                .is_ok()
    }

    /// Makes the slot, which the caller has claimed, live.
    pub(super) fn publish(&self, value: Value) {
        let generation = self.value.load(Ordering::Relaxed);
        self.value.store(value.in_generation_of(generation).to_word(), Ordering::Release);
    }

    /// Gives the live entry another value, if it still is `old`. The key is then that of `old`, too, because
    /// the generation is part of the comparison.
    pub(super) fn replace(&self, old: Value, new: Value) -> bool {
        let new = new.in_generation_of(old.to_word());
        self.exchange(old, new.to_word())
    }

    /// Frees the slot, if its value still is `old`. `true` for exactly one caller per entry.
    pub(super) fn retire(&self, old: Value) -> bool {
        let retired = self.exchange(old, old.retired_word());
        if retired {
            self.key.store(0, Ordering::Release);
        }
        retired
    }

    fn exchange(&self, old: Value, new: u64) -> bool {
        self.value.compare_exchange(old.to_word(), new, Ordering::AcqRel, Ordering::Relaxed).is_ok()
    }

    /// Whether the slot is neither free nor live. With no call under way it never is.
    #[cfg(test)]
    pub(super) fn is_stuck(&self) -> bool {
        let live = Value::from_word(self.value.load(Ordering::Acquire)).is_some();
        live == self.is_free()
    }
}
