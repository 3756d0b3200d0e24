//! A set of ports as a bit mask: how destinations of a frame are held, so that each is met once.

use crate::{MAX_PORTS, PortId};

const WORDS: usize = MAX_PORTS / 64;

/// A set of ports. Copied freely: 32 bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PortSet {
    words: [u64; WORDS],
}

impl PortSet {
    /// The set without members.
    pub const EMPTY: Self = Self { words: [0; WORDS] };

    /// The set of `port` alone.
    #[must_use]
    pub fn of(port: PortId) -> Self {
        let mut set = Self::EMPTY;
        set.insert(port);
        set
    }

    /// Adds `port`.
    pub fn insert(&mut self, port: PortId) {
        if let Some(word) = self.words.get_mut(port.index() / 64) {
            *word |= 1 << (port.index() % 64);
        }
    }

    /// Takes `port` out.
    pub fn remove(&mut self, port: PortId) {
        if let Some(word) = self.words.get_mut(port.index() / 64) {
            *word &= !(1 << (port.index() % 64));
        }
    }

    /// Whether `port` is a member.
    #[must_use]
    pub fn contains(&self, port: PortId) -> bool {
        self.words.get(port.index() / 64).is_some_and(|word| word >> (port.index() % 64) & 1 == 1)
    }

    /// Whether there is no member.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.words.iter().fold(0, |any, word| any | word) == 0
    }

    /// Number of members.
    #[must_use]
    pub fn count(&self) -> u32 {
        self.words.iter().map(|word| word.count_ones()).sum()
    }

    /// Members of either.
    #[must_use]
    pub fn union(mut self, other: &Self) -> Self {
        for (word, theirs) in self.words.iter_mut().zip(&other.words) {
            *word |= theirs;
        }
        self
    }

    /// Members of both.
    #[must_use]
    pub fn intersection(mut self, other: &Self) -> Self {
        for (word, theirs) in self.words.iter_mut().zip(&other.words) {
            *word &= theirs;
        }
        self
    }

    /// Members of this set that `other` does not have.
    #[must_use]
    pub fn difference(mut self, other: &Self) -> Self {
        for (word, theirs) in self.words.iter_mut().zip(&other.words) {
            *word &= !theirs;
        }
        self
    }

    /// The members, lowest slot first.
    #[must_use]
    pub fn iter(&self) -> PortSetIter<'_> {
        let [word, ..] = self.words;
        PortSetIter { words: &self.words, word, base: 0 }
    }
}

impl FromIterator<PortId> for PortSet {
    fn from_iter<I: IntoIterator<Item = PortId>>(ports: I) -> Self {
        let mut set = Self::EMPTY;
        for port in ports {
            set.insert(port);
        }
        set
    }
}

impl<'a> IntoIterator for &'a PortSet {
    type Item = PortId;
    type IntoIter = PortSetIter<'a>;

    fn into_iter(self) -> PortSetIter<'a> {
        self.iter()
    }
}

/// The members of a [`PortSet`], lowest slot first.
///
/// Few switches have more than 64 ports, so the words after the first are asked about together.
#[derive(Clone, Debug)]
pub struct PortSetIter<'a> {
    words: &'a [u64; WORDS],
    /// What is left of the word that is being looked at.
    word: u64,
    /// The slot of its first bit.
    base: usize,
}

impl PortSetIter<'_> {
    /// Whether all members were given. It takes a few instructions, where to count the members takes eighty.
    #[inline]
    #[must_use]
    pub fn is_done(&self) -> bool {
        self.clone().next().is_none()
    }
}

impl Iterator for PortSetIter<'_> {
    type Item = PortId;

    #[inline]
    fn next(&mut self) -> Option<PortId> {
        while self.word == 0 {
            let [_, second, third, fourth] = self.words;
            if self.base == 0 && second | third | fourth == 0 {
                return None;
            }
            self.base += 64;
            self.word = *self.words.get(self.base / 64)?;
        }
        let bit = self.word.trailing_zeros() as usize;
        self.word &= self.word - 1;
        PortId::new(self.base + bit)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    fn set(ports: &BTreeSet<u8>) -> PortSet {
        ports.iter().filter_map(|&port| PortId::new(usize::from(port))).collect()
    }

    fn members(set: PortSet) -> BTreeSet<u8> {
        set.iter().map(|port| u8::try_from(port.index()).unwrap()).collect()
    }

    proptest! {
        #[test]
        fn set_operations_agree_with_the_library_set(
            a in proptest::collection::btree_set(any::<u8>(), 0..40),
            b in proptest::collection::btree_set(any::<u8>(), 0..40),
        ) {
            prop_assert_eq!(members(set(&a).union(&set(&b))), a.union(&b).copied().collect::<BTreeSet<_>>());
            prop_assert_eq!(members(set(&a).intersection(&set(&b))), a.intersection(&b).copied().collect::<BTreeSet<_>>());
            prop_assert_eq!(members(set(&a).difference(&set(&b))), a.difference(&b).copied().collect::<BTreeSet<_>>());
            prop_assert_eq!(set(&a).count() as usize, a.len());
            let (whole, mut left) = (set(&a), a.len());
            let mut ports = whole.iter();
            prop_assert_eq!(ports.is_done(), left == 0);
            while ports.next().is_some() {
                left -= 1;
                prop_assert_eq!(ports.is_done(), left == 0);
            }
            prop_assert_eq!(set(&a).is_empty(), a.is_empty());
        }
    }

    #[test]
    fn the_last_slot_can_be_a_member_and_leave_again() {
        let last = PortId::new(MAX_PORTS - 1).unwrap();
        let mut set = PortSet::of(last);
        assert!(set.contains(last));
        set.remove(last);
        assert_eq!(set, PortSet::EMPTY);
        assert_eq!(PortId::new(MAX_PORTS), None);
    }
}
