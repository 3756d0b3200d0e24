//! What came of a frame that was observed.

use std::fmt;

use crate::OwnFrame;

/// What came of a frame that was observed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Observed {
    /// It has nothing to do with this endpoint.
    NotOurs,
    /// It told nothing new.
    Unchanged,
    /// The next hop has told where it is: the address is new, or was confirmed.
    Learned,
    /// It asks for our own address, and this frame is the answer, to be sent on the uplink. If the next hop asked, its
    /// address may be another one now.
    Reply(OwnFrame),
    /// A router says that datagrams of this many bytes are what its next link takes. Heeded already.
    PathMtu(u16),
    /// It should have concerned us, and was not believed. Counted already, in [`Neighbour::refused`](crate::Neighbour::refused).
    Refused(Refusal),
}

macro_rules! refusals {
    ($($(#[$doc:meta])* $variant:ident => $name:literal,)*) => {
        /// Why a frame was not believed. Nothing has changed by it.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        #[repr(u8)]
        pub enum Refusal {
            $($(#[$doc])* $variant,)*
        }

        impl Refusal {
            /// All of them, in the order of their indices.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)*];

            /// The name used in counters, logs, JSON and on the command line.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$variant => $name,)*
                }
            }
        }
    };
}

refusals! {
    /// A length, a version, a code or an option contradicts the protocol.
    Malformed => "neighbour-malformed",
    /// What matters lies behind the head, so it cannot be judged.
    HeaderLong => "neighbour-header-long",
    /// A checksum is wrong.
    Checksum => "neighbour-checksum",
    /// It came through a router, though neighbours speak without one.
    HopLimit => "neighbour-hop-limit",
    /// It came from our own MAC address: it is our own frame, or somebody else has that address too.
    OwnSource => "neighbour-own-source",
    /// Somebody else says that our IP address is his.
    AddressConflict => "neighbour-address-conflict",
    /// It came from another MAC address than it names, or names a group, or none.
    SenderMac => "neighbour-sender-mac",
    /// It names a sender's IP address that no host has.
    SenderAddress => "neighbour-sender-address",
    /// It names an address for a neighbour of which none is known, and nobody asked.
    Unasked => "neighbour-unasked",
    /// It names another address within a second of the last.
    TooSoon => "neighbour-too-soon",
    /// It says that a copy to this collector was too long, and quotes one that we cannot have sent, or that was not too long.
    /// What quotes no copy to any collector is counted by none: each that shares our address would have it to answer for,
    /// and none of them is what it is about.
    NotQuoted => "path-mtu-not-quoted",
    /// It tells an MTU that no path has, or one above that of the underlay.
    MtuBounds => "path-mtu-bounds",
    /// It tells a shorter path MTU within a second of the last.
    MtuTooSoon => "path-mtu-too-soon",
}

impl Refusal {
    /// Number of reasons: the length of a table indexed by [`Refusal::index`].
    pub const COUNT: usize = Self::ALL.len();

    /// Place in [`Refusal::ALL`].
    #[must_use]
    pub const fn index(self) -> usize {
        self as usize
    }
}

/// How many frames were not believed, by reason. None of the numbers ever goes down.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RefusalCounts([u64; Refusal::COUNT]);

impl RefusalCounts {
    /// None so far.
    pub(crate) const NONE: Self = Self([0; Refusal::COUNT]);

    /// One more.
    pub(crate) fn add(&mut self, reason: Refusal) {
        if let Some(count) = self.0.get_mut(reason.index()) {
            *count = count.saturating_add(1);
        }
    }

    /// Those of one reason.
    #[must_use]
    pub fn of(&self, reason: Refusal) -> u64 {
        self.0.get(reason.index()).copied().unwrap_or(0)
    }

    /// All of them.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.0.iter().fold(0, |sum, count| sum.saturating_add(*count))
    }

    /// The reasons that occurred, and how often each did.
    pub fn iter(&self) -> impl Iterator<Item = (Refusal, u64)> {
        Refusal::ALL.iter().copied().zip(self.0).filter(|(_, count)| *count > 0)
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_refusal_has_its_place_and_a_name_of_its_own() {
        for (place, refusal) in Refusal::ALL.iter().enumerate() {
            assert_eq!(refusal.index(), place);
            let same = Refusal::ALL.iter().filter(|other| other.name() == refusal.name());
            assert_eq!(same.count(), 1, "{refusal}");
        }
    }
}
