//! Which port.

use std::fmt;

/// Most ports one switch can have: the width of a [`PortSet`](crate::PortSet).
pub const MAX_PORTS: usize = 256;

/// A port of the switch. The number is a slot: it is given to another port after the first was removed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PortId(u8);

impl PortId {
    /// The port in slot `index`, or `None` when there is no such slot.
    #[must_use]
    pub fn new(index: usize) -> Option<Self> {
        u8::try_from(index).ok().map(Self)
    }

    /// The slot; below [`MAX_PORTS`].
    #[must_use]
    pub const fn index(self) -> usize {
        self.0 as usize
    }
}

impl fmt::Display for PortId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "port {}", self.0)
    }
}
