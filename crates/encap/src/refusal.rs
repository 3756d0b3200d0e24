//! Why a frame is not taken as a mirror stream.

use std::fmt;

macro_rules! refusals {
    ($($(#[$doc:meta])* $variant:ident => $name:literal,)*) => {
        /// Why a frame that arrived is not a copy that can be delivered. Counted by the caller under one of these.
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
    /// A header ends behind the frame, the datagram, or the UDP message it stands in.
    Short => "outer-short",
    /// A header ends behind the head, so it cannot be judged.
    HeaderLong => "outer-header-long",
    /// Neither IPv4 nor IPv6.
    NotIp => "outer-not-ip",
    /// The version in the IP header is not that of the Ethernet type.
    IpVersion => "outer-ip-version",
    /// The length of the IP header, or of the datagram, contradicts the rest.
    IpLength => "outer-ip-length",
    /// The checksum of the IPv4 header is wrong.
    IpChecksum => "outer-ip-checksum",
    /// A fragment where a whole datagram should be, as inside one that was put together.
    Fragment => "outer-fragment",
    /// The length of a fragment, or where it ends, contradicts the others or what a datagram can be.
    FragmentLength => "fragment-length",
    /// A fragment has some bytes of another one: then the whole datagram is refused, and what comes of it later.
    FragmentOverlap => "fragment-overlap",
    /// A fragment that had come already.
    FragmentDuplicate => "fragment-duplicate",
    /// A datagram in more fragments than are put together.
    FragmentCount => "fragment-count",
    /// The others of its datagram did not come in time.
    FragmentIncomplete => "fragment-incomplete",
    /// Its datagram had waited longest when another one needed the place.
    FragmentsFull => "fragments-full",
    /// No private buffer was free for its datagram, or the memory that it lay in is gone.
    FragmentBuffer => "fragment-no-buffer",
    /// More IPv6 extension headers than anybody needs.
    Extensions => "outer-extensions",
    /// A routing header says that the datagram is still on its way to others.
    Routed => "outer-routed",
    /// Neither GRE nor UDP.
    Protocol => "outer-protocol",
    /// GRE flags that no receiver may accept, or that the ERSPAN type does not have.
    GreFlags => "gre-flags",
    /// GRE with something else than a mirror stream in it.
    GreProtocol => "gre-protocol",
    /// The version of the ERSPAN header is not that of its type.
    ErspanVersion => "erspan-version",
    /// ERSPAN type III with something else than an Ethernet frame in it.
    NotEthernet => "erspan-not-ethernet",
    /// UDP to another port than that of VXLAN.
    UdpPort => "udp-port",
    /// The length of the UDP message contradicts that of the datagram.
    UdpLength => "udp-length",
    /// VXLAN without a valid network identifier.
    VxlanFlags => "vxlan-flags",
    /// What is in it is shorter than an Ethernet header.
    InnerRunt => "inner-runt",
}

impl Refusal {
    /// Number of them: the length of a table indexed by [`Refusal::index`].
    pub const COUNT: usize = Self::ALL.len();

    /// Position in [`Refusal::ALL`].
    #[must_use]
    pub const fn index(self) -> usize {
        self as usize
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
    use helio_types::DropReason;
    use std::collections::BTreeSet;

    #[test]
    fn each_refusal_stands_at_its_own_index() {
        for (index, refusal) in Refusal::ALL.iter().enumerate() {
            assert_eq!(refusal.index(), index);
        }
    }

    #[test]
    fn names_are_unique_also_among_the_drop_reasons() {
        let ours = Refusal::ALL.iter().map(|refusal| refusal.name());
        let names: BTreeSet<_> =
            ours.chain(DropReason::ALL.iter().map(|reason| reason.name())).collect();
        assert_eq!(names.len(), Refusal::COUNT + DropReason::COUNT);
    }
}
