//! What an outer header tells about the copy it carries.

use std::net::IpAddr;

use crate::underlay::ETHER_VLAN;
use crate::{Direction, ErspanII, ErspanIII, OriginalTag, Truncation, Vni};

/// Form of a mirror stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum StreamKind {
    /// ERSPAN type I.
    ErspanI,
    /// ERSPAN type II.
    ErspanII,
    /// ERSPAN type III.
    ErspanIII,
    /// GRE with Ethernet frames.
    Gre,
    /// VXLAN.
    Vxlan,
}

/// One copy of a mirror stream, without the frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Stream {
    /// Nothing is told.
    ErspanI,
    /// ERSPAN type II.
    ErspanII {
        /// Number of the copy.
        sequence: u32,
        /// About the frame.
        header: ErspanII,
    },
    /// ERSPAN type III.
    ErspanIII {
        /// Number of the copy.
        sequence: u32,
        /// About the frame.
        header: ErspanIII,
    },
    /// GRE with Ethernet frames.
    Gre {
        /// What tells sessions apart, if anything.
        key: Option<u32>,
        /// Number of the copy.
        sequence: Option<u32>,
    },
    /// VXLAN.
    Vxlan {
        /// What tells sessions apart.
        vni: Vni,
    },
}

impl Stream {
    /// Its form.
    #[must_use]
    pub const fn kind(&self) -> StreamKind {
        match self {
            Self::ErspanI => StreamKind::ErspanI,
            Self::ErspanII { .. } => StreamKind::ErspanII,
            Self::ErspanIII { .. } => StreamKind::ErspanIII,
            Self::Gre { .. } => StreamKind::Gre,
            Self::Vxlan { .. } => StreamKind::Vxlan,
        }
    }

    /// Number of the session: of ERSPAN, the key of GRE, or the network identifier of VXLAN. `None` where there is none.
    #[must_use]
    pub const fn session(&self) -> Option<u32> {
        match self {
            Self::ErspanI => None,
            Self::ErspanII { header, .. } => Some(header.session.get() as u32),
            Self::ErspanIII { header, .. } => Some(header.session.get() as u32),
            Self::Gre { key, .. } => *key,
            Self::Vxlan { vni } => Some(vni.get()),
        }
    }

    /// Number of the copy, where the stream is numbered: what a [`SequenceTracker`](crate::SequenceTracker) takes.
    #[must_use]
    pub const fn sequence(&self) -> Option<u32> {
        match self {
            Self::ErspanII { sequence, .. } | Self::ErspanIII { sequence, .. } => Some(*sequence),
            Self::Gre { sequence, .. } => *sequence,
            Self::ErspanI | Self::Vxlan { .. } => None,
        }
    }

    /// Whether the copy is whole, where the form can tell.
    #[must_use]
    pub const fn truncation(&self) -> Option<Truncation> {
        match self {
            Self::ErspanII { header, .. } => Some(header.truncation),
            Self::ErspanIII { header, .. } => Some(header.truncation),
            Self::ErspanI | Self::Gre { .. } | Self::Vxlan { .. } => None,
        }
    }

    /// The 802.1Q tag that the frame had and the copy has not, where the form can tell: type II does, in its En field. The
    /// header does not know whether the frame was eligible to be dropped. IEEE 802.1Q-2018, section 9.6.
    #[must_use]
    pub fn removed_tag(&self) -> Option<[u8; 4]> {
        let Self::ErspanII { header, .. } = self else { return None };
        let tci = u16::from(header.cos.get()) << 13 | header.vlan.get();
        let ([t0, t1], [c0, c1]) = (ETHER_VLAN, tci.to_be_bytes());
        (header.original_tag == OriginalTag::Removed).then_some([t0, t1, c0, c1])
    }

    /// Which way the frame crossed its port, where the form can tell.
    #[must_use]
    pub const fn direction(&self) -> Option<Direction> {
        match self {
            Self::ErspanIII { header, .. } => Some(header.direction),
            _ => None,
        }
    }
}

/// Where a stream comes from: copies with the same one are numbered together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct RemoteSession {
    /// Address of the sender.
    pub source: IpAddr,
    /// Address it sends to: one session may have several.
    pub destination: IpAddr,
    /// Form of the stream.
    pub kind: StreamKind,
    /// [`Stream::session`].
    pub session: Option<u32>,
}
