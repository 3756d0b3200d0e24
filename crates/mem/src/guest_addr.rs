//! Addresses as a guest writes them.

/// Guest-physical address: a number the guest chose, never a pointer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct GuestAddr(pub u64);
