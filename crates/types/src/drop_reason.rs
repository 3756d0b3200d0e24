//! Why a frame or a copy was refused: one enum for the whole product, printed by the same names everywhere.

use std::fmt;

macro_rules! drop_reasons {
    ($($(#[$doc:meta])* $variant:ident => $name:literal,)*) => {
        /// Why a frame, or one delivery of it, was refused. Every refusal is counted under one of these.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        #[repr(u8)]
        pub enum DropReason {
            $($(#[$doc])* $variant,)*
        }

        impl DropReason {
            /// All reasons, in the order of their indices.
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

drop_reasons! {
    // A chain of the guest that holds no frame. Counted at ingress, on the port that sent it.
    /// A head or a `next` field is not below the size of its table.
    ChainIndex => "chain-index",
    /// A chain has more descriptors than its table: it loops.
    ChainLoop => "chain-loop",
    /// An address lies in no region, or the buffer crosses the end of the last one.
    ChainAddress => "chain-address",
    /// A device-writable buffer in a transmit chain, or a readable one in a receive chain.
    ChainDirection => "chain-direction",
    /// An indirect table of a bad length, nested, or combined with `next`.
    ChainIndirect => "chain-indirect",
    /// The chain is shorter than the net header.
    HeaderShort => "header-short",
    /// More bytes, or more buffers, than one frame may have.
    Oversize => "oversize",
    /// Shorter than an Ethernet header.
    Runt => "runt",
    /// Sent on a ring that the front-end has disabled.
    RingDisabled => "ring-disabled",
    /// The net header asks for a checksum or a segmentation that the frame does not allow.
    BadOffload => "bad-offload",
    /// The protocol headers do not fit the header snapshot, so they cannot be judged.
    HeaderLong => "header-long",

    // Policy at ingress, on the port that sent it.
    /// The source address is a group address.
    BadSourceMac => "bad-source-mac",
    /// Addressed to the 802.1D link-local block, which a bridge does not forward, nor a mirror session on a remote VLAN.
    LinkLocal => "link-local",
    /// The port is not a member of the VLAN of the frame.
    Vlan => "vlan",
    /// The port is a receive-only mirror destination.
    ReceiveOnly => "receive-only",
    /// The destination address was learned on the port that sent the frame.
    Hairpin => "hairpin",
    /// No other port is a member of the VLAN.
    NoDestination => "no-destination",

    // One delivery, on the port that should have received it, or on its mirror session.
    /// The guest has posted no receive buffer.
    NoRxBuffer => "no-rx-buffer",
    /// The posted receive buffers cannot hold the frame, or are not as VIRTIO demands.
    RxBufferTooSmall => "rx-buffer-too-small",
    /// The port has no running receive queue, or its uplink no link.
    PortDown => "port-down",
    /// All chunks of the uplink for sending hold frames that its interface has not sent yet.
    NoTxChunk => "no-tx-chunk",
    /// The host has no room for the frame, or its TAP got as many in this turn as it may: each costs a system call.
    HostBusy => "host-busy",
    /// Longer than the MTU of the port.
    Mtu => "mtu",
    /// The mailbox to the worker that owns the port is full.
    HandoffFull => "handoff-full",
    /// No private buffer is free for a frame that must be copied first.
    NoPrivateBuffer => "no-private-buffer",
    /// A mirror copy for the port that sent the frame.
    ReturnToSender => "return-to-sender",
    /// A mirror copy beyond the rate limit of its session.
    RateLimit => "rate-limit",
    /// A mirror copy for a collector whose address, or whose router's, nobody has told yet.
    NoNeighbour => "no-neighbour",
}

impl DropReason {
    /// Number of reasons: the length of a table indexed by [`DropReason::index`].
    pub const COUNT: usize = Self::ALL.len();

    /// Position in [`DropReason::ALL`].
    #[must_use]
    pub const fn index(self) -> usize {
        self as usize
    }
}

impl fmt::Display for DropReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_reason_stands_at_its_own_index() {
        for (index, reason) in DropReason::ALL.iter().enumerate() {
            assert_eq!(reason.index(), index);
        }
    }

    #[test]
    fn names_are_unique() {
        let names: std::collections::BTreeSet<_> =
            DropReason::ALL.iter().map(|r| r.name()).collect();
        assert_eq!(names.len(), DropReason::COUNT);
    }
}
