//! What stands between the outer IP header and a copy. Written by the control thread; compiled into a
//! [`Template`](crate::Template).

use crate::erspan::{ErspanII, ErspanIII, SubHeader};
use crate::gre::{
    ERSPAN_I_II, ERSPAN_III, ETHERNET_BRIDGING, GRE_BYTES, GRE_FIELD_BYTES, KEY, SEQUENCE,
    first_word,
};
use crate::vxlan::{UDP_BYTES, VXLAN_BYTES};
use crate::{ErspanSession, HardwareId, IpVersion, StreamKind, Vni};

/// The form of the copies of one session for one collector.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Encapsulation {
    /// GRE of type 0x88be without a sequence number, and the frame right behind it. draft-foschiano-erspan-03, section 4.1.
    ErspanI,
    /// GRE of type 0x88be with a sequence number, and 8 bytes about the frame. draft-foschiano-erspan-03, section 4.2.
    ErspanII {
        /// The session.
        session: ErspanSession,
    },
    /// GRE of type 0x22eb with a sequence number, and 12 or 20 bytes about the frame. draft-foschiano-erspan-03, section 4.3.
    ErspanIII {
        /// The session.
        session: ErspanSession,
        /// Security group tag; 0 when there is none.
        security_group: u16,
        /// Which of several engines of this switch made the copies.
        hardware: HardwareId,
        /// What follows the 12 bytes.
        sub_header: SubHeaderChoice,
    },
    /// GRE of type 0x6558, transparent Ethernet bridging. RFC 2784, section 2, and RFC 2890, section 2.
    Gre {
        /// The key, which tells sessions apart.
        key: Option<u32>,
        /// Whether copies are numbered.
        sequence: GreSequence,
    },
    /// RFC 7348, section 5.
    Vxlan {
        /// The network identifier, which tells sessions apart.
        vni: Vni,
        /// UDP port of the collector, mostly [`VXLAN_PORT`](crate::VXLAN_PORT).
        port: u16,
        /// Of UDP.
        checksum: UdpChecksum,
    },
}

/// Whether GRE has a sequence number. RFC 2890, section 2.2.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum GreSequence {
    /// Four bytes less.
    #[default]
    Absent,
    /// The collector sees what was lost.
    Present,
}

/// The platform sub-header of ERSPAN type III.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum SubHeaderChoice {
    /// None: stamps start again every 7 minutes, and the source of a frame is not told.
    Absent,
    /// Number 7: the source index, and the upper half of the stamp.
    #[default]
    SourceIndex,
}

/// The checksum of UDP around VXLAN.
///
/// A complete one is over all bytes of the copy. A guest that rewrites a frame after it was summed spoils it, and the
/// collector never sees that copy, unless its session copies frames privately first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum UdpChecksum {
    /// Left out. RFC 7348, section 5, recommends it. Over IPv6 the collector must have been told to take it: RFC 6935,
    /// section 5, and RFC 6936, section 4.
    Zero,
    /// Over pseudo-header, headers and copy. RFC 768; RFC 8200, section 8.1.
    Complete,
}

impl UdpChecksum {
    /// What every collector takes: none over IPv4, a complete one over IPv6.
    #[must_use]
    pub const fn default_over(version: IpVersion) -> Self {
        match version {
            IpVersion::V4 => Self::Zero,
            IpVersion::V6 => Self::Complete,
        }
    }
}

impl Encapsulation {
    /// Bytes between the outer IP header and the copy.
    #[must_use]
    pub const fn header_bytes(&self) -> usize {
        match self {
            Self::ErspanI => GRE_BYTES,
            Self::ErspanII { .. } => GRE_BYTES + GRE_FIELD_BYTES + ErspanII::BYTES,
            Self::ErspanIII { sub_header, .. } => {
                let base = GRE_BYTES + GRE_FIELD_BYTES + ErspanIII::BYTES;
                match sub_header {
                    SubHeaderChoice::Absent => base,
                    SubHeaderChoice::SourceIndex => base + SubHeader::BYTES,
                }
            }
            Self::Gre { key, sequence } => {
                let sequence = matches!(sequence, GreSequence::Present) as usize;
                GRE_BYTES + GRE_FIELD_BYTES * (key.is_some() as usize + sequence)
            }
            Self::Vxlan { .. } => UDP_BYTES + VXLAN_BYTES,
        }
    }

    /// Flags and type of the GRE header, the same in each copy. `None`: not by GRE.
    #[must_use]
    pub const fn gre_first_word(&self) -> Option<[u8; GRE_BYTES]> {
        let (flags, protocol) = match self {
            Self::ErspanI => (0, ERSPAN_I_II),
            Self::ErspanII { .. } => (SEQUENCE, ERSPAN_I_II),
            Self::ErspanIII { .. } => (SEQUENCE, ERSPAN_III),
            Self::Gre { key, sequence } => {
                let key_flag = if key.is_some() { KEY } else { 0 };
                let sequence_flag =
                    if matches!(sequence, GreSequence::Present) { SEQUENCE } else { 0 };
                (key_flag | sequence_flag, ETHERNET_BRIDGING)
            }
            Self::Vxlan { .. } => return None,
        };
        Some(first_word(flags, protocol))
    }

    /// Whether a copy carries a number that shows the collector what was lost.
    #[must_use]
    pub const fn is_numbered(&self) -> bool {
        match self {
            Self::ErspanII { .. } | Self::ErspanIII { .. } => true,
            Self::Gre { sequence, .. } => matches!(sequence, GreSequence::Present),
            Self::ErspanI | Self::Vxlan { .. } => false,
        }
    }

    /// The form and the session by which receivers tell numbered streams from one address to another apart, as in
    /// [`RemoteSession`](crate::RemoteSession). `None` where copies are not numbered.
    #[must_use]
    pub const fn numbered_stream(&self) -> Option<(StreamKind, Option<u32>)> {
        match *self {
            Self::ErspanII { session } => Some((StreamKind::ErspanII, Some(session.get() as u32))),
            Self::ErspanIII { session, .. } => {
                Some((StreamKind::ErspanIII, Some(session.get() as u32)))
            }
            Self::Gre { key, sequence: GreSequence::Present } => Some((StreamKind::Gre, key)),
            Self::Gre { sequence: GreSequence::Absent, .. }
            | Self::ErspanI
            | Self::Vxlan { .. } => None,
        }
    }
}
