//! How many bytes of a frame go to a collector, and in how many datagrams: snap length first, then the MTU of the path.
//! Worked out by the worker that sends the copy, per copy, without looking at the frame.

use helio_types::{DropReason, MIN_FRAME_BYTES};

use crate::underlay::{FRAGMENT_BYTES, IPV4_BYTES};
use crate::{IpVersion, Truncation};

/// Most fragments of one copy: the longest datagram over the shortest path that IPv6 knows needs 54.
pub const MAX_FRAGMENTS: u16 = 64;

/// Bytes that a fragment's offset counts in. RFC 791, section 3.1; RFC 8200, section 4.5.
const UNIT: u32 = 8;

/// What the length fields of IP, and a datagram put together from fragments, can hold.
const LONGEST: u32 = 65_535;

/// What becomes of a copy that is longer than its path takes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Oversize {
    /// Its last bytes are left out, and ERSPAN types II and III say so.
    #[default]
    Truncate,
    /// It is sent in fragments, with what the session adds in the first.
    Fragment,
    /// It is not sent.
    Drop,
}

/// The way to a collector as far as lengths matter.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Path {
    /// Longest datagram, IP header included, and Ethernet not.
    pub mtu_bytes: u16,
    /// For what is longer.
    pub oversize: Oversize,
}

/// Most bytes of a frame that its session wants: an Ethernet header at least.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct SnapLen(u32);

impl SnapLen {
    /// All bytes.
    pub const WHOLE: Self = Self(u32::MAX);

    /// `None` below an Ethernet header.
    #[must_use]
    pub const fn new(bytes: u32) -> Option<Self> {
        if bytes >= MIN_FRAME_BYTES { Some(Self(bytes)) } else { None }
    }

    /// The number.
    #[must_use]
    pub const fn bytes(self) -> u32 {
        self.0
    }
}

/// Why a copy cannot be sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum NoFit {
    /// It is longer than the path takes, and is to be dropped then.
    Mtu,
    /// The path takes hardly more than the headers.
    MtuTooSmall,
    /// It is longer than a datagram can be, also in fragments.
    TooLong,
    /// It takes more than [`MAX_FRAGMENTS`].
    TooManyFragments,
}

impl From<NoFit> for DropReason {
    fn from(why: NoFit) -> Self {
        match why {
            NoFit::Mtu | NoFit::MtuTooSmall => Self::Mtu,
            NoFit::TooLong | NoFit::TooManyFragments => Self::Oversize,
        }
    }
}

/// Lengths of the headers of a session, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Overhead {
    pub(crate) version: IpVersion,
    /// Between IP header and copy.
    pub(crate) shim_bytes: u32,
}

impl Overhead {
    fn ip_bytes(self) -> u32 {
        u32::try_from(self.version.header_bytes()).unwrap_or(0)
    }

    /// Most bytes of IP payload in one fragment.
    fn fragment_room(self, mtu_bytes: u32) -> u32 {
        let fragment_header = match self.version {
            IpVersion::V4 => 0,
            IpVersion::V6 => u32::try_from(FRAGMENT_BYTES).unwrap_or(0),
        };
        mtu_bytes.saturating_sub(self.ip_bytes() + fragment_header)
    }

    /// Most bytes of IP payload at all.
    fn longest_payload(self) -> u32 {
        match self.version {
            IpVersion::V4 => LONGEST - u32::try_from(IPV4_BYTES).unwrap_or(0),
            IpVersion::V6 => LONGEST,
        }
    }
}

/// What is sent of one frame: how much, and in how many parts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Plan {
    shim_bytes: u32,
    inner_bytes: u32,
    truncation: Truncation,
    /// IP payload of every fragment but the last, which has no more.
    piece_bytes: u32,
    count: u16,
}

impl Plan {
    /// For a frame of `frame_bytes`.
    pub(crate) fn new(
        overhead: Overhead,
        frame_bytes: u32,
        snap_len: SnapLen,
        path: Path,
    ) -> Result<Self, NoFit> {
        let shim_bytes = overhead.shim_bytes;
        let wanted = frame_bytes.min(snap_len.bytes());
        let mtu_bytes = u32::from(path.mtu_bytes);
        let fits = mtu_bytes.checked_sub(overhead.ip_bytes() + shim_bytes);
        let whole = |inner_bytes| {
            let truncation =
                if inner_bytes < frame_bytes { Truncation::Cut } else { Truncation::Whole };
            Self { shim_bytes, inner_bytes, truncation, piece_bytes: 0, count: 1 }
        };
        if fits.is_some_and(|fits| wanted <= fits) {
            return Ok(whole(wanted));
        }
        match (path.oversize, fits) {
            (Oversize::Drop, _) => Err(NoFit::Mtu),
            (Oversize::Truncate, Some(fits)) if fits >= MIN_FRAME_BYTES => Ok(whole(fits)),
            (Oversize::Truncate, _) => Err(NoFit::MtuTooSmall),
            (Oversize::Fragment, _) => whole(wanted).in_fragments(overhead, mtu_bytes),
        }
    }

    fn in_fragments(self, overhead: Overhead, mtu_bytes: u32) -> Result<Self, NoFit> {
        let piece_bytes = overhead.fragment_room(mtu_bytes) / UNIT * UNIT;
        // The first fragment must tell what the datagram is.
        if piece_bytes < self.shim_bytes + UNIT {
            return Err(NoFit::MtuTooSmall);
        }
        let payload_bytes = self.shim_bytes.saturating_add(self.inner_bytes);
        if payload_bytes > overhead.longest_payload() {
            return Err(NoFit::TooLong);
        }
        // The last one could have a few bytes more, as none begins where it ends. Then it alone could be too long for a router,
        // and a router that complains of it alone tells nobody of whose copy it was.
        let count = payload_bytes.div_ceil(piece_bytes);
        match u16::try_from(count) {
            Ok(count) if count <= MAX_FRAGMENTS => Ok(Self { piece_bytes, count, ..self }),
            _ => Err(NoFit::TooManyFragments),
        }
    }

    /// Bytes of the frame that are sent.
    #[must_use]
    pub const fn inner_bytes(&self) -> u32 {
        self.inner_bytes
    }

    /// Whether these are all.
    #[must_use]
    pub const fn truncation(&self) -> Truncation {
        self.truncation
    }

    /// Number of datagrams; 1 to [`MAX_FRAGMENTS`].
    #[must_use]
    pub const fn count(&self) -> u16 {
        self.count
    }

    /// What goes into each datagram, in the order of the frame.
    pub fn parts(&self) -> impl ExactSizeIterator<Item = Part> + use<> {
        let plan = *self;
        (0..plan.count).map(move |index| plan.part(index))
    }

    fn part(&self, index: u16) -> Part {
        let datagram = Datagram { inner_bytes: self.inner_bytes, truncation: self.truncation };
        if self.count == 1 {
            let position = Position::Whole;
            return Part { inner_start: 0, inner_bytes: self.inner_bytes, position, datagram };
        }
        // Both below 2^16: the payload is no longer than a datagram.
        let start = u32::from(index) * self.piece_bytes;
        let (more, end) = if index + 1 == self.count {
            (More::Last, self.shim_bytes + self.inner_bytes)
        } else {
            (More::Follow, start + self.piece_bytes)
        };
        let inner_start = start.saturating_sub(self.shim_bytes);
        let inner_bytes = end - self.shim_bytes - inner_start;
        let units = u16::try_from(start / UNIT).unwrap_or(0);
        let position = Position::Fragment { units, more };
        Part { inner_start, inner_bytes, position, datagram }
    }
}

/// One datagram of a copy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Part {
    inner_start: u32,
    inner_bytes: u32,
    pub(crate) position: Position,
    pub(crate) datagram: Datagram,
}

impl Part {
    /// Bytes of the frame that are in earlier parts.
    #[must_use]
    pub const fn inner_start(&self) -> u32 {
        self.inner_start
    }

    /// Bytes of the frame in this part.
    #[must_use]
    pub const fn inner_bytes(&self) -> u32 {
        self.inner_bytes
    }
}

/// Where a part stands in the datagram that all of them make.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Position {
    /// It is the datagram.
    Whole,
    /// It begins `units` times 8 bytes behind the IP header.
    Fragment { units: u16, more: More },
}

impl Position {
    /// Whether it begins with what stands between IP header and copy.
    pub(crate) const fn is_first(self) -> bool {
        matches!(self, Self::Whole | Self::Fragment { units: 0, .. })
    }
}

/// Whether fragments follow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum More {
    Follow,
    Last,
}

/// The datagram that all parts make.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Datagram {
    pub(crate) inner_bytes: u32,
    pub(crate) truncation: Truncation,
}
