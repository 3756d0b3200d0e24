//! The net header before each frame. VIRTIO 1.2, 5.1.6.

use crate::features;

/// Bytes of the longest header known here.
pub(crate) const MAX_HEADER_BYTES: usize = 12;

/// How long the header is: fixed when features are chosen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NetHeaderLen {
    /// 10 bytes, without `num_buffers`: neither VERSION_1 nor MRG_RXBUF.
    Legacy,
    /// 12 bytes.
    Full,
}

impl NetHeaderLen {
    /// What `features` mean for it.
    #[must_use]
    pub fn of(features: u64) -> Self {
        if features & (features::VERSION_1 | features::MRG_RXBUF) == 0 {
            Self::Legacy
        } else {
            Self::Full
        }
    }

    /// In bytes.
    #[must_use]
    pub const fn bytes(self) -> usize {
        match self {
            Self::Legacy => 10,
            Self::Full => 12,
        }
    }
}

/// The fields of the header.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct NetHeader {
    /// See the constants `NEEDS_CSUM` and `DATA_VALID`.
    pub flags: u8,
    /// See the constants that begin with `GSO_`.
    pub gso_type: u8,
    /// Length of the protocol headers; a hint only.
    pub hdr_len: u16,
    /// Payload bytes of each segment.
    pub gso_size: u16,
    /// Where the bytes begin that the checksum covers.
    pub csum_start: u16,
    /// Where from there the checksum is stored.
    pub csum_offset: u16,
    /// Receive buffers that the frame takes; 0 on transmit.
    pub num_buffers: u16,
}

impl NetHeader {
    /// Flag: the checksum is still to be finished.
    pub const NEEDS_CSUM: u8 = 1;
    /// Flag: the checksum was found right.
    pub const DATA_VALID: u8 = 2;
    /// Not to be segmented.
    pub const GSO_NONE: u8 = 0;
    /// TCP over IPv4.
    pub const GSO_TCPV4: u8 = 1;
    /// TCP over IPv6.
    pub const GSO_TCPV6: u8 = 4;
    /// Bit added to a TCP type: the ECN bit is set.
    pub const GSO_ECN: u8 = 0x80;

    /// As bytes; a legacy header is the first 10 of them.
    #[inline]
    #[must_use]
    pub fn encode(&self) -> [u8; 12] {
        let [hdr_len, gso_size, csum_start, csum_offset, num_buffers] =
            [self.hdr_len, self.gso_size, self.csum_start, self.csum_offset, self.num_buffers]
                .map(u16::to_le_bytes);
        [
            self.flags,
            self.gso_type,
            hdr_len[0],
            hdr_len[1],
            gso_size[0],
            gso_size[1],
            csum_start[0],
            csum_start[1],
            csum_offset[0],
            csum_offset[1],
            num_buffers[0],
            num_buffers[1],
        ]
    }

    /// From 12 bytes, or from 10 of a legacy header with any two after them.
    #[inline]
    #[must_use]
    pub fn decode(bytes: &[u8; 12], len: NetHeaderLen) -> Self {
        let [flags, gso_type, a, b, c, d, e, f, g, h, i, j] = *bytes;
        Self {
            flags,
            gso_type,
            hdr_len: u16::from_le_bytes([a, b]),
            gso_size: u16::from_le_bytes([c, d]),
            csum_start: u16::from_le_bytes([e, f]),
            csum_offset: u16::from_le_bytes([g, h]),
            num_buffers: match len {
                NetHeaderLen::Legacy => 1,
                NetHeaderLen::Full => u16::from_le_bytes([i, j]),
            },
        }
    }

    /// Whether a guest that chose `features` may receive this header. VIRTIO 1.2, 5.1.6.4.1.
    #[inline]
    #[must_use]
    pub fn is_allowed_by(&self, features: u64) -> bool {
        let checksums = features & features::GUEST_CSUM != 0;
        let segmentation = match self.gso_type & !Self::GSO_ECN {
            Self::GSO_NONE => true,
            Self::GSO_TCPV4 => features & features::GUEST_TSO4 != 0,
            Self::GSO_TCPV6 => features & features::GUEST_TSO6 != 0,
            _ => false,
        };
        let ecn = self.gso_type & Self::GSO_ECN == 0 || features & features::GUEST_ECN != 0;
        let known = self.flags & !(Self::NEEDS_CSUM | Self::DATA_VALID) == 0;
        (self.flags == 0 || checksums) && known && segmentation && ecn
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SAMPLE: NetHeader = NetHeader {
        flags: 1,
        gso_type: 4,
        hdr_len: 0x0203,
        gso_size: 0x0405,
        csum_start: 0x0607,
        csum_offset: 0x0809,
        num_buffers: 0x0a0b,
    };

    #[test]
    fn a_header_is_little_endian_and_can_be_read_back() {
        assert_eq!(SAMPLE.encode(), [1, 4, 3, 2, 5, 4, 7, 6, 9, 8, 0x0b, 0x0a]);
        assert_eq!(NetHeader::decode(&SAMPLE.encode(), NetHeaderLen::Full), SAMPLE);
    }

    #[test]
    fn a_legacy_header_always_means_one_buffer() {
        assert_eq!(NetHeader::decode(&SAMPLE.encode(), NetHeaderLen::Legacy).num_buffers, 1);
        assert_eq!(NetHeaderLen::of(0), NetHeaderLen::Legacy);
        assert_eq!(NetHeaderLen::of(features::MRG_RXBUF).bytes(), 12);
        assert_eq!(NetHeaderLen::of(features::VERSION_1).bytes(), 12);
    }

    #[test]
    fn an_offload_is_allowed_when_its_bit_was_chosen() {
        let tso = NetHeader { flags: 1, gso_type: NetHeader::GSO_TCPV4, ..NetHeader::default() };
        assert!(tso.is_allowed_by(features::GUEST_CSUM | features::GUEST_TSO4));
        assert!(!tso.is_allowed_by(features::GUEST_CSUM | features::GUEST_TSO6));
        assert!(!tso.is_allowed_by(features::GUEST_TSO4));
        let ecn = NetHeader { gso_type: tso.gso_type | NetHeader::GSO_ECN, ..tso };
        assert!(!ecn.is_allowed_by(features::GUEST_CSUM | features::GUEST_TSO4));
        assert!(ecn.is_allowed_by(features::OFFLOADS));
        let udp = NetHeader { gso_type: 5, ..NetHeader::default() };
        assert!(!udp.is_allowed_by(u64::MAX));
        assert!(NetHeader::default().is_allowed_by(0));
    }
}
