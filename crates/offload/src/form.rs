//! In which form a receiver gets a frame: whole, finished, or cut into segments.

use crate::{Checksum, Ecn, GsoKind, NetHeader, Offloads};

/// What is done about the checksum of segments.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SegmentChecksum {
    /// Each segment carries a complete checksum.
    Complete,
    /// Each segment carries the sum of its pseudo-header, and the receiver completes it.
    Partial,
}

/// The form of one frame for one receiver. A frame has at most three, since segments and `Finished` never
/// meet, so each can be computed once however many receivers there are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// As it is, with the net header of the sender.
    Whole,
    /// As one frame with a complete checksum.
    Finished,
    /// As several frames.
    Segmented(SegmentChecksum),
}

impl Form {
    /// The cheapest form of a frame with `net` that a receiver accepting `accepted` may get.
    #[must_use]
    pub const fn towards(net: &NetHeader, accepted: Offloads) -> Self {
        let Some(gso) = net.gso else {
            return match net.checksum {
                Checksum::Partial { .. } if !accepted.contains(Offloads::CSUM) => Self::Finished,
                _ => Self::Whole,
            };
        };
        let kind = match gso.kind {
            GsoKind::Tcp4 => Offloads::TSO4,
            GsoKind::Tcp6 => Offloads::TSO6,
        };
        let needed = match gso.ecn {
            Ecn::Absent => kind,
            Ecn::Present => kind.union(Offloads::ECN),
        };
        if accepted.contains(needed.union(Offloads::CSUM)) {
            Self::Whole
        } else if accepted.contains(Offloads::CSUM) {
            Self::Segmented(SegmentChecksum::Partial)
        } else {
            Self::Segmented(SegmentChecksum::Complete)
        }
    }
}
