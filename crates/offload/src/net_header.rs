//! The header before every frame on a virtqueue, as it is in memory ([`RawNetHeader`]) and as facts that
//! were checked ([`NetHeader`]). VIRTIO 1.2, section 5.1.6.

use helio_types::DropReason;

/// The checksum from `csum_start` on is not complete. VIRTIO 1.2, section 5.1.6.
pub const VIRTIO_NET_HDR_F_NEEDS_CSUM: u8 = 1;
/// The device has verified the checksum. We never say so, and ignore it from a driver.
pub const VIRTIO_NET_HDR_F_DATA_VALID: u8 = 2;
/// Counts of coalesced segments are present. We never say so, and ignore it from a driver.
pub const VIRTIO_NET_HDR_F_RSC_INFO: u8 = 4;
/// The frame is one frame.
pub const VIRTIO_NET_HDR_GSO_NONE: u8 = 0;
/// The frame stands for several TCP segments over IPv4.
pub const VIRTIO_NET_HDR_GSO_TCPV4: u8 = 1;
/// The frame stands for the fragments of a UDP datagram. Never offered.
pub const VIRTIO_NET_HDR_GSO_UDP: u8 = 3;
/// The frame stands for several TCP segments over IPv6.
pub const VIRTIO_NET_HDR_GSO_TCPV6: u8 = 4;
/// The frame stands for several UDP datagrams. Never offered.
pub const VIRTIO_NET_HDR_GSO_UDP_L4: u8 = 5;
/// Added to the TCP types: the TCP header carries CWR.
pub const VIRTIO_NET_HDR_GSO_ECN: u8 = 0x80;

/// Length of the net header with VIRTIO_F_VERSION_1 or VIRTIO_NET_F_MRG_RXBUF; two less without either.
pub const NET_HEADER_BYTES: usize = 12;

/// Most segments one frame may stand for: enough for an MSS of 536 bytes in a frame of 64 KiB, and the
/// bound on what a guest can make us do by asking for segments of one byte.
pub const MAX_SEGMENTS: u16 = 128;

/// The fields of a net header as somebody wrote them. Nothing about them is known to be true.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RawNetHeader {
    /// `VIRTIO_NET_HDR_F_*` bits.
    pub flags: u8,
    /// One of `VIRTIO_NET_HDR_GSO_*`, with or without `VIRTIO_NET_HDR_GSO_ECN`.
    pub gso_type: u8,
    /// Length of all headers in bytes. A hint, never believed.
    pub hdr_len: u16,
    /// Most payload bytes in one segment.
    pub gso_size: u16,
    /// Where the sum begins, in bytes from the start of the frame.
    pub csum_start: u16,
    /// Where the sum is written, in bytes from `csum_start`.
    pub csum_offset: u16,
    /// Chains this frame was spread over; 0 where the header has no such field.
    pub num_buffers: u16,
}

impl RawNetHeader {
    /// Reads a header of 10 bytes (no `num_buffers`) or of 12 and more; `None` when there are fewer.
    #[must_use]
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let (&[flags, gso_type, h0, h1, g0, g1, s0, s1, o0, o1], after) =
            bytes.split_first_chunk::<10>()?;
        let num_buffers = after.first_chunk().map_or(0, |field| u16::from_le_bytes(*field));
        Some(Self {
            flags,
            gso_type,
            hdr_len: u16::from_le_bytes([h0, h1]),
            gso_size: u16::from_le_bytes([g0, g1]),
            csum_start: u16::from_le_bytes([s0, s1]),
            csum_offset: u16::from_le_bytes([o0, o1]),
            num_buffers,
        })
    }

    /// The header as two little-endian numbers: its first 8 bytes, and the 4 after them.
    #[must_use]
    pub const fn to_words(&self) -> (u64, u32) {
        let low = self.flags as u64
            | (self.gso_type as u64) << 8
            | (self.hdr_len as u64) << 16
            | (self.gso_size as u64) << 32
            | (self.csum_start as u64) << 48;
        (low, self.csum_offset as u32 | (self.num_buffers as u32) << 16)
    }

    /// The header as it lies in memory; a receiver with the short header takes the first 10 bytes.
    #[must_use]
    pub const fn to_bytes(&self) -> [u8; NET_HEADER_BYTES] {
        let [h0, h1] = self.hdr_len.to_le_bytes();
        let [g0, g1] = self.gso_size.to_le_bytes();
        let [s0, s1] = self.csum_start.to_le_bytes();
        let [o0, o1] = self.csum_offset.to_le_bytes();
        let [n0, n1] = self.num_buffers.to_le_bytes();
        [self.flags, self.gso_type, h0, h1, g0, g1, s0, s1, o0, o1, n0, n1]
    }
}

/// What is known about the checksum of the transport.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Checksum {
    /// Nothing is left to do. Whether it is right is not known.
    #[default]
    Complete,
    /// The field holds the sum of the pseudo-header only.
    Partial {
        /// Where the sum begins, in bytes from the start of the frame.
        start: u16,
        /// Where the field is, in bytes from `start`.
        offset: u16,
    },
}

/// What a frame that stands for several segments is made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GsoKind {
    /// TCP over IPv4.
    Tcp4,
    /// TCP over IPv6.
    Tcp6,
}

/// Whether the net header says that the TCP header carries CWR.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Ecn {
    /// It does not say so.
    #[default]
    Absent,
    /// It says so; only a receiver that knows ECN may get the frame whole.
    Present,
}

/// A frame that stands for several TCP segments.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Gso {
    /// Which transport and network.
    pub kind: GsoKind,
    /// Whether CWR is announced.
    pub ecn: Ecn,
    /// Most payload bytes in one segment; not 0.
    pub segment_bytes: u16,
    /// Length of the link, network and transport headers, as we parsed them.
    pub header_bytes: u16,
}

/// What is known about a frame besides its bytes. [`check`](crate::check) makes it for frames of guests;
/// frames from elsewhere are [`NetHeader::PLAIN`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct NetHeader {
    /// Whether a checksum is still to be completed. Always `Partial` when there is `gso`.
    pub checksum: Checksum,
    /// Present when the frame stands for several segments.
    pub gso: Option<Gso>,
}

impl NetHeader {
    /// One frame with nothing left to do.
    pub const PLAIN: Self = Self { checksum: Checksum::Complete, gso: None };

    /// The header for delivery to a receiver that accepts all of it. `num_buffers` is 1; the ring code
    /// that spreads the frame over more chains says so itself. VIRTIO 1.2, section 5.1.6.4.
    #[must_use]
    pub const fn to_raw(&self) -> RawNetHeader {
        let (flags, csum_start, csum_offset) = match self.checksum {
            Checksum::Complete => (0, 0, 0),
            Checksum::Partial { start, offset } => (VIRTIO_NET_HDR_F_NEEDS_CSUM, start, offset),
        };
        let (gso_type, hdr_len, gso_size) = match self.gso {
            None => (VIRTIO_NET_HDR_GSO_NONE, 0, 0),
            Some(gso) => (gso.wire_type(), gso.header_bytes, gso.segment_bytes),
        };
        RawNetHeader { flags, gso_type, hdr_len, gso_size, csum_start, csum_offset, num_buffers: 1 }
    }

    /// How many frames a receiver without segmentation gets when this one has `frame_bytes`: at least 1.
    #[must_use]
    pub const fn segment_count(&self, frame_bytes: u32) -> u32 {
        match self.gso {
            None => 1,
            Some(gso) => gso.segment_count(frame_bytes),
        }
    }

    /// The same facts after `by_bytes` were put in (or, below 0, taken out) between the Ethernet
    /// addresses and the type: 4 for a VLAN tag pushed, -4 for one popped.
    ///
    /// # Errors
    ///
    /// [`DropReason::BadOffload`] when the sum would begin inside the Ethernet header or beyond what the
    /// field can say. Never for one tag of a frame that passed [`check`](crate::check).
    pub fn shifted(mut self, by_bytes: i16) -> Result<Self, DropReason> {
        if let Checksum::Partial { start, .. } = &mut self.checksum {
            *start = start
                .checked_add_signed(by_bytes)
                .filter(|start| *start >= 14)
                .ok_or(DropReason::BadOffload)?;
        }
        if let Some(gso) = &mut self.gso {
            gso.header_bytes =
                gso.header_bytes.checked_add_signed(by_bytes).ok_or(DropReason::BadOffload)?;
        }
        Ok(self)
    }
}

impl Gso {
    const fn wire_type(self) -> u8 {
        let kind = match self.kind {
            GsoKind::Tcp4 => VIRTIO_NET_HDR_GSO_TCPV4,
            GsoKind::Tcp6 => VIRTIO_NET_HDR_GSO_TCPV6,
        };
        match self.ecn {
            Ecn::Absent => kind,
            Ecn::Present => kind | VIRTIO_NET_HDR_GSO_ECN,
        }
    }

    /// Segments of a frame of `frame_bytes`: at least 1, so that a frame without payload stays a frame.
    pub(crate) const fn segment_count(self, frame_bytes: u32) -> u32 {
        let payload_bytes = frame_bytes.saturating_sub(self.header_bytes as u32);
        match payload_bytes.checked_sub(1) {
            Some(last) if self.segment_bytes > 0 => last / self.segment_bytes as u32 + 1,
            _ => 1,
        }
    }
}
