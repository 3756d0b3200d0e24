//! Whether a frame allows what its net header asks for. Called by the worker that took the frame, once,
//! on its private copies of the net header and of the head.

use helio_types::{DropReason, MAX_FRAME_BYTES};

use crate::headers::{Link, Network, TcpHeaders, Unparsed, Version};
use crate::{
    Checksum, Ecn, Gso, GsoKind, MAX_SEGMENTS, NetHeader, Offloads, RawNetHeader,
    VIRTIO_NET_HDR_F_NEEDS_CSUM, VIRTIO_NET_HDR_GSO_ECN, VIRTIO_NET_HDR_GSO_NONE,
    VIRTIO_NET_HDR_GSO_TCPV4, VIRTIO_NET_HDR_GSO_TCPV6,
};

/// Where the checksum lies in a TCP header.
const TCP_CHECKSUM_OFFSET: u16 = 16;

/// The facts behind `raw`, the net header of a frame of `frame_bytes` that begins with `head`, sent by a
/// guest that may use `allowed`. VIRTIO 1.2, sections 5.1.6.2.1 and 5.1.6.2.2.
///
/// Flags we do not know, DATA_VALID and RSC_INFO are ignored, and so are all flags of a guest without
/// CSUM. `hdr_len` is not looked at, and the length in the IP header of a frame to be segmented is not
/// believed: the frame is as long as it is.
///
/// # Errors
///
/// - [`DropReason::Oversize`]: longer than any frame.
/// - [`DropReason::HeaderLong`]: the headers that must be judged go on beyond `head`.
/// - [`DropReason::BadOffload`]: the frame does not allow what is asked for, or `allowed` does not.
pub fn check(
    raw: &RawNetHeader,
    allowed: Offloads,
    head: &[u8],
    frame_bytes: u32,
) -> Result<NetHeader, DropReason> {
    if frame_bytes > MAX_FRAME_BYTES {
        return Err(DropReason::Oversize);
    }
    let frame = Frame { head: head.get(..frame_bytes as usize).unwrap_or(head), frame_bytes };
    let checksum = frame.checksum(raw, allowed)?;
    let gso = match raw.gso_type {
        VIRTIO_NET_HDR_GSO_NONE => None,
        _ => Some(frame.gso(raw, allowed, checksum)?),
    };
    Ok(NetHeader { checksum, gso })
}

/// A frame under judgement; `head` is never longer than the frame.
struct Frame<'a> {
    head: &'a [u8],
    frame_bytes: u32,
}

impl Frame<'_> {
    fn checksum(&self, raw: &RawNetHeader, allowed: Offloads) -> Result<Checksum, DropReason> {
        let asked = raw.flags & VIRTIO_NET_HDR_F_NEEDS_CSUM != 0;
        if !asked || !allowed.contains(Offloads::CSUM) {
            return Ok(Checksum::Complete);
        }
        let (start, offset) = (raw.csum_start, raw.csum_offset);
        let end = u32::from(start) + u32::from(offset) + 2;
        if end > self.frame_bytes || usize::from(start) < self.first_transport_byte()? {
            return Err(DropReason::BadOffload);
        }
        Ok(Checksum::Partial { start, offset })
    }

    /// The first byte that a transport can begin at. What lies before has been, or will be, judged: the
    /// tag that says the VLAN, the addresses. A checksum written there would change it afterwards.
    fn first_transport_byte(&self) -> Result<usize, DropReason> {
        let link = Link::parse(self.head).ok_or(self.refusal(Unparsed::Short))?;
        match Network::parse(self.head, &link) {
            Ok(network) => Ok(network.end),
            Err(Unparsed::Unknown) => Ok(link.end),
            Err(Unparsed::Short) => Err(self.refusal(Unparsed::Short)),
        }
    }

    fn gso(
        &self,
        raw: &RawNetHeader,
        allowed: Offloads,
        checksum: Checksum,
    ) -> Result<Gso, DropReason> {
        let (kind, version, needed) = match raw.gso_type & !VIRTIO_NET_HDR_GSO_ECN {
            VIRTIO_NET_HDR_GSO_TCPV4 => (GsoKind::Tcp4, Version::V4, Offloads::TSO4),
            VIRTIO_NET_HDR_GSO_TCPV6 => (GsoKind::Tcp6, Version::V6, Offloads::TSO6),
            _ => return Err(DropReason::BadOffload),
        };
        let ecn = match raw.gso_type & VIRTIO_NET_HDR_GSO_ECN {
            0 => Ecn::Absent,
            _ if allowed.contains(Offloads::ECN) => Ecn::Present,
            _ => return Err(DropReason::BadOffload),
        };
        if !allowed.contains(needed) || raw.gso_size == 0 {
            return Err(DropReason::BadOffload);
        }
        let headers = TcpHeaders::parse(self.head).map_err(|why| self.refusal(why))?;
        if headers.network.version != version || !is_checksum_of(&headers, checksum) {
            return Err(DropReason::BadOffload);
        }
        let header_bytes = u16::try_from(headers.end).map_err(|_| DropReason::HeaderLong)?;
        let gso = Gso { kind, ecn, segment_bytes: raw.gso_size, header_bytes };
        let fits = headers.network.length_field(self.frame_bytes).is_some();
        if !fits || gso.segment_count(self.frame_bytes) > u32::from(MAX_SEGMENTS) {
            return Err(DropReason::BadOffload);
        }
        Ok(gso)
    }

    /// The reason for a header that cannot be read: beyond the head, or not there at all.
    fn refusal(&self, why: Unparsed) -> DropReason {
        let head_is_all = u32::try_from(self.head.len()) == Ok(self.frame_bytes);
        match why {
            Unparsed::Short if !head_is_all => DropReason::HeaderLong,
            _ => DropReason::BadOffload,
        }
    }
}

/// Whether `checksum` is the one in the TCP header.
fn is_checksum_of(headers: &TcpHeaders, checksum: Checksum) -> bool {
    match checksum {
        Checksum::Complete => false,
        Checksum::Partial { start, offset } => {
            usize::from(start) == headers.transport.start && offset == TCP_CHECKSUM_OFFSET
        }
    }
}
