//! Which VLAN, and sets of them.

use std::fmt;

/// A VLAN identifier, 0 to 4094. Zero stands for frames without a VLAN. IEEE 802.1Q-2018, 9.6.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct VlanId(u16);

impl VlanId {
    /// The frames that belong to no VLAN.
    pub const UNTAGGED: Self = Self(0);

    /// `Some` for 0 to 4094: 4095 is reserved.
    #[must_use]
    pub const fn new(id: u16) -> Option<Self> {
        if id <= 4094 { Some(Self(id)) } else { None }
    }

    /// The number; below 4095.
    #[must_use]
    pub const fn get(self) -> u16 {
        self.0
    }

    /// As an index into a table of 4096.
    #[must_use]
    pub const fn index(self) -> usize {
        self.0 as usize
    }
}

impl fmt::Display for VlanId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A set of VLANs as a bit mask.
#[derive(Clone, PartialEq, Eq)]
pub struct VlanSet {
    words: [u64; 64],
}

impl VlanSet {
    /// The set without members.
    pub const EMPTY: Self = Self { words: [0; 64] };

    /// Adds `vlan`.
    pub fn insert(&mut self, vlan: VlanId) {
        if let Some(word) = self.words.get_mut(vlan.index() / 64) {
            *word |= 1 << (vlan.index() % 64);
        }
    }

    /// Whether `vlan` is a member.
    #[must_use]
    pub fn contains(&self, vlan: VlanId) -> bool {
        self.words.get(vlan.index() / 64).is_some_and(|word| word >> (vlan.index() % 64) & 1 == 1)
    }

    /// The members, lowest first.
    pub fn iter(&self) -> impl Iterator<Item = VlanId> + '_ {
        (0..4095).filter_map(VlanId::new).filter(|vlan| self.contains(*vlan))
    }
}

impl fmt::Debug for VlanSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.iter().map(VlanId::get)).finish()
    }
}

impl FromIterator<VlanId> for VlanSet {
    fn from_iter<I: IntoIterator<Item = VlanId>>(vlans: I) -> Self {
        let mut set = Self::EMPTY;
        for vlan in vlans {
            set.insert(vlan);
        }
        set
    }
}
