//! What the frames of a run are like.

use helio_guest::NetHeader;

/// Bytes of the checksum that every frame on a wire ends with, and no frame in a ring has.
pub const FCS_BYTES: u32 = 4;

/// Bytes that prove a frame, behind its protocol headers: all that the shortest frame on a wire has there.
pub(crate) const PROOF_BYTES: usize = 18;

const ETHERNET_BYTES: usize = 14;
const TAG_BYTES: usize = 4;
const IPV4_BYTES: usize = 20;
const UDP_BYTES: usize = 8;
const TCP_BYTES: usize = 20;

/// Longest frame that an IPv4 packet makes, without a tag.
const MAX_BYTES: u32 = 65_535 + 14;

/// What the guests do with the bytes of a frame.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Payload {
    /// Nothing: buffers stay as they are, frames are only counted.
    None,
    /// The first cache line, with number and proof, is written and read.
    Line,
    /// All bytes are written and read.
    #[default]
    All,
}

/// Which protocol the frames carry.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Carried {
    /// UDP datagrams.
    #[default]
    Udp,
    /// TCP to be segmented by whoever needs it in pieces: 1448 bytes each.
    Tso,
}

/// Frames of one run.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct FramePlan {
    /// Lengths in bytes as in a ring, one frame after the other, over and over; at least one.
    pub sizes: Vec<u32>,
    /// VLANs by which frames are tagged, one after the other; none for frames without a tag.
    pub vlans: Vec<u16>,
    /// Ethernet addresses of each guest, 1 to 2^24.
    pub macs: u32,
    /// Flows from each guest, told apart by UDP ports; 1 to 2^32.
    pub flows: u32,
    /// What the guests do with the bytes.
    pub payload: Payload,
    /// Which protocol they carry.
    pub carried: Carried,
}

impl Default for FramePlan {
    /// The shortest frames of one flow.
    fn default() -> Self {
        Self {
            sizes: vec![60],
            vlans: Vec::new(),
            macs: 1,
            flows: 1,
            payload: Payload::All,
            carried: Carried::Udp,
        }
    }
}

impl FramePlan {
    /// The plan for frames of these lengths on a wire, made long enough to be numbered and short enough for IPv4.
    #[must_use]
    pub fn with_wire_sizes(mut self, sizes: &[u32]) -> Self {
        let least = u32::try_from(self.proof_at() + PROOF_BYTES).unwrap_or(MAX_BYTES);
        let ring = |wire: &u32| wire.saturating_sub(FCS_BYTES).clamp(least, MAX_BYTES);
        self.sizes = sizes.iter().map(ring).collect();
        self
    }

    /// The longest frame in bytes as in a ring.
    #[must_use]
    pub fn max_bytes(&self) -> u32 {
        self.sizes.iter().copied().max().unwrap_or(60)
    }

    /// Mean length in bytes as on a wire.
    #[must_use]
    pub fn mean_wire_bytes(&self) -> f64 {
        let sum: u64 = self.sizes.iter().map(|size| u64::from(size + FCS_BYTES)).sum();
        as_f64(sum) / as_f64(self.sizes.len() as u64)
    }

    /// Bytes at the beginning of each frame that the guests write or read.
    pub(crate) fn touched_bytes(&self) -> u32 {
        match self.payload {
            Payload::None => 0,
            Payload::Line => 64,
            Payload::All => self.max_bytes(),
        }
    }

    /// The net header of every frame.
    pub(crate) fn net_header(&self) -> NetHeader {
        let ip = self.link_bytes();
        match self.carried {
            Carried::Udp => NetHeader::default(),
            Carried::Tso => NetHeader {
                flags: NetHeader::NEEDS_CSUM,
                gso_type: NetHeader::GSO_TCPV4,
                hdr_len: short(ip + IPV4_BYTES + TCP_BYTES),
                gso_size: 1448,
                csum_start: short(ip + IPV4_BYTES),
                csum_offset: 16,
                num_buffers: 0,
            },
        }
    }

    pub(crate) fn link_bytes(&self) -> usize {
        ETHERNET_BYTES + if self.vlans.is_empty() { 0 } else { TAG_BYTES }
    }

    /// Where the proof begins.
    pub(crate) fn proof_at(&self) -> usize {
        let transport = match self.carried {
            Carried::Udp => UDP_BYTES,
            Carried::Tso => TCP_BYTES,
        };
        self.link_bytes() + IPV4_BYTES + transport
    }

    /// All bytes before the proof of a frame of `len` bytes.
    pub(crate) fn front(&self, destination: [u8; 6], source: [u8; 6], len: u32) -> Vec<u8> {
        let ip = self.link_bytes();
        let total = u16::try_from(len as usize - ip).unwrap_or(u16::MAX);
        let mut front = Vec::with_capacity(64);
        front.extend(destination);
        front.extend(source);
        if let Some(vlan) = self.vlans.first() {
            front.extend([0x81, 0x00]);
            front.extend(vlan.to_be_bytes());
        }
        front.extend([0x08, 0x00, 0x45, 0]);
        front.extend(total.to_be_bytes());
        let protocol = match self.carried {
            Carried::Udp => 17,
            Carried::Tso => 6,
        };
        front.extend([0, 0, 0x40, 0, 64, protocol, 0, 0]);
        front.extend([10, 0, 0, 1, 10, 0, 0, 2]);
        let sum = !fold(word_sum(front.get(ip..).unwrap_or_default()));
        if let Some(field) = front.get_mut(ip + 10..ip + 12) {
            field.copy_from_slice(&sum.to_be_bytes());
        }
        self.add_transport(&mut front, total - 20);
        front
    }

    /// The header behind IPv4, for `len` bytes from there on.
    fn add_transport(&self, front: &mut Vec<u8>, len: u16) {
        match self.carried {
            // No checksum, as UDP over IPv4 allows.
            Carried::Udp => {
                front.extend([0x04, 0x00, 0x10, 0x00]);
                front.extend(len.to_be_bytes());
                front.extend([0, 0]);
            }
            Carried::Tso => {
                let addresses = front.get(front.len() - 8..).unwrap_or_default();
                let pseudo = fold(word_sum(addresses) + 6 + u64::from(len));
                front.extend([
                    0x04, 0x00, 0x10, 0x00, 0, 0, 0, 1, 0, 0, 0, 1, 0x50, 0x10, 0xff, 0xff,
                ]);
                front.extend(pseudo.to_be_bytes());
                front.extend([0, 0]);
            }
        }
    }
}

/// The `number`th address of a guest.
#[must_use]
pub fn mac_address(guest: usize, number: u32) -> [u8; 6] {
    let [_, a, b, c] = number.to_be_bytes();
    [0x02, 0x48, u8::try_from(guest).unwrap_or(0xff), a, b, c]
}

/// Lengths of frames on a wire in the proportion 7:4:1, as RFC 6985 would name it: 64, 594, 1518.
pub const IMIX: [u32; 12] = [64, 594, 64, 64, 594, 64, 1518, 64, 594, 64, 594, 64];

fn short(len: usize) -> u16 {
    u16::try_from(len).unwrap_or(u16::MAX)
}

/// Counts are far below 2^53 here: nothing is lost.
#[allow(clippy::as_conversions, reason = "there is no other way from u64 to f64")]
pub(crate) fn as_f64(count: u64) -> f64 {
    count as f64
}

/// Sum of 16-bit words in network order. RFC 1071.
fn word_sum(bytes: &[u8]) -> u64 {
    bytes
        .chunks_exact(2)
        .map(|word| word.try_into().map_or(0, u16::from_be_bytes))
        .map(u64::from)
        .sum()
}

fn fold(mut sum: u64) -> u16 {
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    u16::try_from(sum).unwrap_or(u16::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_size_on_the_wire_has_four_bytes_that_no_ring_sees() {
        let plan = FramePlan::default().with_wire_sizes(&[64, 1518]);
        assert_eq!(plan.sizes, [60, 1514]);
        assert!((plan.mean_wire_bytes() - 791.0).abs() < 1e-9);
    }

    #[test]
    fn no_frame_is_too_short_for_its_proof_nor_longer_than_ipv4_allows() {
        let tagged = FramePlan { vlans: vec![10], ..FramePlan::default() };
        assert_eq!(tagged.with_wire_sizes(&[64]).sizes, [64]);
        assert_eq!(FramePlan::default().with_wire_sizes(&[0, 1 << 20]).sizes, [60, 65_549]);
    }

    #[test]
    fn the_internet_mix_has_the_mean_that_is_always_quoted() {
        let plan = FramePlan::default().with_wire_sizes(&IMIX);
        assert!((plan.mean_wire_bytes() - 361.833).abs() < 0.001);
    }

    #[test]
    fn the_front_is_as_long_as_what_is_before_the_proof() {
        for carried in [Carried::Udp, Carried::Tso] {
            for vlans in [vec![], vec![7]] {
                let plan = FramePlan { carried, vlans, ..FramePlan::default() };
                let front = plan.front([2; 6], [4; 6], 1514);
                assert_eq!(front.len(), plan.proof_at());
                let ip = plan.link_bytes();
                assert_eq!(fold(word_sum(&front[ip..ip + 20])), 0xffff, "checksum of IPv4");
            }
        }
    }

    #[test]
    fn addresses_of_guests_are_unicast_and_differ() {
        assert_eq!(mac_address(1, 0x01_02_03), [2, 0x48, 1, 1, 2, 3]);
        assert_ne!(mac_address(0, 5), mac_address(1, 5));
    }
}
