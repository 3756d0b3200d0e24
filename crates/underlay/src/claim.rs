//! What a frame that concerns us says, once all that can be wrong with it has been looked for.

use std::net::{Ipv4Addr, Ipv6Addr};

use helio_types::MacAddr;

/// What a frame says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Message {
    /// Somebody asks for our address, and may be the next hop.
    Asked { asker: Asker, claim: Option<Claim> },
    /// The next hop tells where it is.
    Told(Claim),
    /// A copy was longer than its path takes. It is one of ours if it is no longer than those are.
    TooBig { mtu_bytes: u32, copy_bytes: u32 },
}

/// Who is to be answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Asker {
    /// By ARP. The address is zero when somebody looks whether ours is free. RFC 5227, section 2.1.1.
    Arp { mac: MacAddr, address: Ipv4Addr },
    /// By neighbour discovery.
    Ndisc { mac: MacAddr, address: Ipv6Addr },
    /// Somebody looks whether our address is free, and has none yet. RFC 4862, section 5.4.2.
    DuplicateCheck,
}

/// What the next hop says of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Claim {
    /// Where it is, and where the frame came from.
    pub(crate) mac: MacAddr,
    pub(crate) occasion: Occasion,
    pub(crate) weight: Weight,
}

/// Why it says so.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Occasion {
    /// To answer us, as far as the frame tells.
    Answer,
    /// Unasked, or when it asked us.
    Mention,
}

/// What its word is worth against an address that is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Weight {
    /// It takes the place of the other: ARP, and neighbour discovery with the override flag. RFC 4861, section 4.4.
    Replaces,
    /// It counts only when no other is known.
    Yields,
    /// It names none: the known one is right if the frame came from there.
    Confirms,
}
