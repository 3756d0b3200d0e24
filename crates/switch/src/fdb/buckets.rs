//! The slots of the FDB in buckets of one cache line, and the two buckets where a key may be.

use super::Address;
use super::entry::{Key, Tag, Value};
use super::places::Places;
use crate::sync::{AtomicU64, Ordering, SLOTS};

/// Slots of its first bucket that keys take without a look at the second.
const EAGER_SLOTS: usize = SLOTS * 3 / 4;

/// A slot: zero, or the word of an entry. It changes by exchange of one word for another only, so an entry is put in by one
/// thread and taken out by one; and because the word is the whole entry, an equal word is as good as the same one.
struct Slot(AtomicU64);

impl Slot {
    #[inline]
    fn word(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }

    /// Acquire: who takes an entry out of the counts comes after the one who put it into them. Release: the same from the
    /// other side, and see [`super::epochs`].
    fn exchange(&self, old: u64, new: u64) -> bool {
        self.0.compare_exchange(old, new, Ordering::AcqRel, Ordering::Relaxed).is_ok()
    }
}

/// An entry as it stood in its slot a moment ago.
#[derive(Clone, Copy)]
pub(super) struct Held<'t> {
    slot: &'t Slot,
    tag: Tag,
    pub(super) value: Value,
}

impl<'t> Held<'t> {
    fn of(slot: &'t Slot) -> Option<Self> {
        let (tag, value) = Value::split(slot.0.load(Ordering::Acquire))?;
        Some(Self { slot, tag, value })
    }

    /// The entry that is in the same slot now.
    pub(super) fn again(&self) -> Option<Self> {
        Self::of(self.slot)
    }

    #[cfg(test)]
    pub(super) fn is_in_second(&self) -> bool {
        self.tag.is_in_second()
    }

    /// Gives the entry another value, if it still is as it was.
    pub(super) fn replace(&self, value: Value) -> bool {
        self.slot.exchange(self.tag.with(self.value), self.tag.with(value))
    }

    /// Takes the entry out, if it still is as it was. `true` for one caller only.
    pub(super) fn take_out(&self) -> bool {
        self.slot.exchange(self.tag.with(self.value), 0)
    }
}

/// A cache line of slots. (An atomic of the model checker is larger.)
#[cfg_attr(not(loom), repr(align(64)))]
struct Bucket {
    slots: [Slot; SLOTS],
}

#[cfg(not(loom))]
const _: () = assert!(size_of::<Bucket>() == 64);

impl Bucket {
    /// The value of the entry with `tag`. Looks at all slots, without a branch: which of them it is cannot be foretold.
    #[inline]
    fn find(&self, tag: Tag) -> Option<Value> {
        let rests = self.slots.iter().map(|slot| tag.taken_out_of(slot.word()));
        Value::from_rest(rests.fold(u64::MAX, u64::min))
    }

    fn taken_slots(&self) -> usize {
        self.slots.iter().filter(|slot| slot.word() != 0).count()
    }
}

/// All buckets.
pub(super) struct Buckets {
    buckets: Box<[Bucket]>,
    places: Places,
}

impl Buckets {
    /// At least `slots` free slots.
    pub(super) fn new(slots: usize, seed: u64) -> Self {
        let places = Places::new(slots.div_ceil(SLOTS), seed);
        let bucket = || Bucket { slots: std::array::from_fn(|_| Slot(AtomicU64::new(0))) };
        let buckets = std::iter::repeat_with(bucket).take(places.buckets()).collect();
        Self { buckets, places }
    }

    #[inline]
    pub(super) fn address(&self, key: Key) -> Address {
        self.places.of(key)
    }

    /// The value of the entry of an address.
    #[inline]
    pub(super) fn find(&self, address: &Address) -> Option<Value> {
        let first = self.bucket(address.first)?.find(address.tag);
        first.or_else(|| self.second(address)?.find(address.tag.in_second()))
    }

    /// The two buckets of an address. Always `Some` for an address of this FDB.
    pub(super) fn candidates(&self, address: &Address) -> Option<Candidates<'_>> {
        let (first, second) = (self.bucket(address.first)?, self.second(address)?);
        Some(Candidates { first, second, tag: address.tag })
    }

    /// Fetches the first bucket of an address.
    #[inline]
    pub(super) fn fetch(&self, address: &Address) {
        if let Some(bucket) = self.bucket(address.first) {
            helio_mem::fetch(bucket);
        }
    }

    /// All entries, with the places of their buckets.
    pub(super) fn entries(&self) -> impl Iterator<Item = (u32, Held<'_>)> {
        (0..).zip(&self.buckets).flat_map(|(place, bucket)| {
            bucket.slots.iter().filter_map(Held::of).map(move |held| (place, held))
        })
    }

    /// The key of an entry in the bucket at `place`.
    pub(super) fn key_of(&self, place: u32, held: &Held<'_>) -> Key {
        self.places.key_at(place, held.tag)
    }

    #[inline]
    fn bucket(&self, place: u32) -> Option<&Bucket> {
        self.buckets.get(place as usize)
    }

    #[inline]
    fn second(&self, address: &Address) -> Option<&Bucket> {
        self.bucket(self.places.other(address.first, address.tag))
    }
}

/// The two buckets where the entry of a key may be. Their slots have positions, which all threads see alike.
#[derive(Clone, Copy)]
pub(super) struct Candidates<'t> {
    first: &'t Bucket,
    second: &'t Bucket,
    tag: Tag,
}

impl<'t> Candidates<'t> {
    /// The entries of the key, with their positions: one, unless several threads are putting it in.
    pub(super) fn held(self) -> impl Iterator<Item = (usize, Held<'t>)> {
        self.slots().enumerate().filter_map(|(position, (slot, tag))| {
            Held::of(slot).filter(|held| held.tag == tag).map(|held| (position, held))
        })
    }

    /// Puts in an entry, and gives its position: in the first bucket while that has much room, for there it is found with one
    /// look, and then in the emptier one, so that both fill evenly, and late.
    pub(super) fn put_in(self, value: Value) -> Option<usize> {
        let taken = self.first.taken_slots();
        let prefers_second = taken >= EAGER_SLOTS && self.second.taken_slots() < taken;
        let split = if prefers_second { SLOTS } else { 0 };
        let positions = self.slots().enumerate();
        let preferred = positions.clone().skip(split).chain(positions.take(split));
        preferred.filter(|(_, (slot, _))| slot.word() == 0).find_map(|(position, (slot, tag))| {
            slot.exchange(0, tag.with(value)).then_some(position)
        })
    }

    fn slots(self) -> impl Iterator<Item = (&'t Slot, Tag)> + Clone {
        let of = |bucket: &'t Bucket, tag| bucket.slots.iter().map(move |slot| (slot, tag));
        of(self.first, self.tag).chain(of(self.second, self.tag.in_second()))
    }
}
