//! Legs: the destinations of the named mirror sessions, numbered over all sessions, and sets of them.

/// Most legs of a switch.
pub const MAX_LEGS: usize = 64;

/// Number of a leg: one destination of one named mirror session.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct LegId(u8);

impl LegId {
    /// `None` from [`MAX_LEGS`] on.
    #[must_use]
    pub fn new(index: usize) -> Option<Self> {
        u8::try_from(index).ok().filter(|_| index < MAX_LEGS).map(Self)
    }

    /// The number, below [`MAX_LEGS`].
    #[must_use]
    pub const fn index(self) -> usize {
        self.0 as usize
    }
}

/// A set of legs. Copied freely: 8 bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LegSet(u64);

const _: () = assert!(MAX_LEGS <= u64::BITS as usize);

impl LegSet {
    /// The set without members.
    pub const EMPTY: Self = Self(0);

    /// The set of `leg` alone.
    #[must_use]
    pub const fn of(leg: LegId) -> Self {
        Self(1 << leg.0)
    }

    /// Whether there is no member.
    #[inline]
    #[must_use]
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Whether `leg` is a member.
    #[must_use]
    pub const fn contains(self, leg: LegId) -> bool {
        self.0 >> leg.0 & 1 == 1
    }

    /// Members of either.
    #[must_use]
    pub const fn union(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Members of both.
    #[must_use]
    pub const fn intersection(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }

    /// Members of this set that `other` does not have.
    #[must_use]
    pub const fn difference(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }
}

impl FromIterator<LegId> for LegSet {
    fn from_iter<I: IntoIterator<Item = LegId>>(legs: I) -> Self {
        legs.into_iter().fold(Self::EMPTY, |set, leg| set.union(Self::of(leg)))
    }
}

impl IntoIterator for LegSet {
    type Item = LegId;
    type IntoIter = LegSetIter;

    fn into_iter(self) -> LegSetIter {
        LegSetIter(self)
    }
}

/// The members of a [`LegSet`], lowest number first.
#[derive(Clone, Debug)]
pub struct LegSetIter(LegSet);

impl Iterator for LegSetIter {
    type Item = LegId;

    fn next(&mut self) -> Option<LegId> {
        let bits = self.0.0;
        if bits == 0 {
            return None;
        }
        self.0.0 = bits & (bits - 1);
        LegId::new(bits.trailing_zeros() as usize)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn leg(index: usize) -> LegId {
        LegId::new(index).unwrap()
    }

    #[test]
    fn there_are_64_legs() {
        assert_eq!(LegId::new(63).map(LegId::index), Some(63));
        assert_eq!(LegId::new(64), None);
        assert_eq!(LegId::new(256), None);
    }

    #[test]
    fn a_set_gives_its_members_in_order() {
        let set: LegSet = [63, 0, 5].map(leg).into_iter().collect();
        assert_eq!(set.into_iter().collect::<Vec<_>>(), [0, 5, 63].map(leg));
        assert!(set.contains(leg(5)) && !set.contains(leg(6)));
        assert_eq!(LegSet::EMPTY.into_iter().next(), None);
    }

    #[test]
    fn sets_join_meet_and_differ() {
        let [a, b] = [[1, 2], [2, 3]].map(|set| set.map(leg).into_iter().collect::<LegSet>());
        assert_eq!(a.union(b).into_iter().count(), 3);
        assert_eq!(a.intersection(b), LegSet::of(leg(2)));
        assert_eq!(a.difference(b), LegSet::of(leg(1)));
        assert!(a.difference(a).is_empty());
    }
}
