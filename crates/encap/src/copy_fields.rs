//! What differs from copy to copy of one session. Filled in by the worker that sends the copy.

use helio_types::VlanId;

use crate::{Cos, Integrity, OriginalTag, SourceIndex, Truncation};

/// Which way a mirrored frame crossed its port, seen from the switch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Direction {
    /// Into the switch.
    #[default]
    Ingress,
    /// Out of the switch.
    Egress,
}

/// When a copy was made, in units of 100 ns since a zero that the caller knows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Timestamp(pub u64);

impl Timestamp {
    /// The last full unit before `nanoseconds`.
    #[must_use]
    pub const fn of_ns(nanoseconds: u64) -> Self {
        Self(nanoseconds / 100)
    }

    /// The half that ERSPAN type III has in its own header. It starts again every 7 minutes.
    #[must_use]
    pub const fn low(self) -> u32 {
        let [_, _, _, _, low @ ..] = self.0.to_be_bytes();
        u32::from_be_bytes(low)
    }

    /// The half that platform sub-header 7 has.
    #[must_use]
    pub const fn high(self) -> u32 {
        let [high @ .., _, _, _, _] = self.0.to_be_bytes();
        u32::from_be_bytes(high)
    }

    /// A stamp of two halves.
    #[must_use]
    pub const fn of_halves(high: u32, low: u32) -> Self {
        let ([a, b, c, d], [e, f, g, h]) = (high.to_be_bytes(), low.to_be_bytes());
        Self(u64::from_be_bytes([a, b, c, d, e, f, g, h]))
    }
}

/// The facts about one copy. An encapsulation takes those that it has a field for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CopyFields {
    /// Number of the copy among those of its session and destination, of the copies that are dropped later as well: a
    /// number that is missing is what tells the collector of a loss.
    pub sequence: u32,
    /// Identification of the outer datagram, of which IPv4 takes the low half. Different for copies that can be under way
    /// to the same address at the same time, at least when they are fragments. RFC 6864, section 4.3.
    pub identification: u32,
    /// VLAN that the frame was classified into.
    pub vlan: VlanId,
    /// Priority of the frame.
    pub cos: Cos,
    /// Whether the frame had a tag, and whether the copy has it.
    pub original_tag: OriginalTag,
    /// Whether the frame was of a length that Ethernet allows.
    pub integrity: Integrity,
    /// Whether all of the frame was there: who sent it here in a stream may have cut it. What is cut now is not said here.
    pub truncation: Truncation,
    /// Which way it crossed the source port.
    pub direction: Direction,
    /// The source port.
    pub source: SourceIndex,
    /// When.
    pub timestamp: Timestamp,
    /// The same for all frames of an inner flow, as `helio_offload::flow_hash` gives it. It becomes the source port of
    /// UDP and the flow label of IPv6 (RFC 6438, section 3).
    pub flow_hash: u32,
    /// Ones' complement sum of the bytes of the copy, those that are left of it when it is truncated. Read only where
    /// [`Template::wants_inner_sum`](crate::Template::wants_inner_sum).
    pub inner_sum: u16,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stamp_is_its_two_halves() {
        let stamp = Timestamp::of_ns(0x1_2345_6789 * 100 + 99);
        assert_eq!((stamp.high(), stamp.low()), (1, 0x2345_6789));
        assert_eq!(Timestamp::of_halves(1, 0x2345_6789), stamp);
        assert_eq!(Timestamp::of_ns(99), Timestamp(0));
    }
}
