//! A numbered frame: Ethernet, perhaps a VLAN tag, IPv4, UDP, and a payload that proves itself.
//!
//! Pure. The payload is: magic (2 bytes), sender (2), sequence number (8), checksum (4), fill. The checksum
//! covers sender, number and fill, so that a frame is found out when any of them changed; fill depends on the
//! number, so that bytes of another frame are found out too.

/// First bytes of the payload.
const MAGIC: u16 = 0x4865;

/// Bytes of the payload before the fill.
const PROOF_BYTES: usize = 16;

const ETHERNET_BYTES: usize = 14;
const TAG_BYTES: usize = 4;
const IPV4_BYTES: usize = 20;
const UDP_BYTES: usize = 8;

/// Shortest numbered frame in bytes, without a tag: shorter than the shortest that a card sends.
pub const MIN_TEST_FRAME_BYTES: usize = ETHERNET_BYTES + IPV4_BYTES + UDP_BYTES + PROOF_BYTES;

/// Where a numbered frame comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TestFrame {
    /// Number of the sender.
    pub sender: u16,
    /// Number of the frame, from 0.
    pub sequence: u64,
}

/// What a frame turned out to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Found {
    /// No numbered frame.
    Foreign,
    /// A numbered frame whose bytes changed.
    Corrupt,
    /// A numbered frame as it was sent.
    Intact(TestFrame),
}

impl TestFrame {
    /// The numbers of `frame`, or `None` when it is no numbered frame or is not intact.
    #[must_use]
    pub fn parse(frame: &[u8]) -> Option<Self> {
        match Self::find(frame) {
            Found::Intact(found) => Some(found),
            Found::Foreign | Found::Corrupt => None,
        }
    }

    /// Judges `frame`. A VLAN tag is stepped over, so that tagging on the way changes nothing.
    #[inline]
    pub(crate) fn find(frame: &[u8]) -> Found {
        match payload(frame) {
            Some(payload) => Self::judge(payload).unwrap_or(Found::Foreign),
            None => Found::Foreign,
        }
    }

    /// Writes the payload; `payload` is at least [`PROOF_BYTES`] long.
    #[inline]
    pub(crate) fn write_payload(self, payload: &mut [u8]) {
        let Some((proof, fill)) = payload.split_first_chunk_mut::<PROOF_BYTES>() else { return };
        let mut pattern = self.seed();
        for block in fill.chunks_mut(8) {
            pattern = step(pattern);
            let bytes = pattern.to_be_bytes();
            block.copy_from_slice(bytes.get(..block.len()).unwrap_or_default());
        }
        let check = self.checksum(fill);
        let number = u128::from(MAGIC) << 112
            | u128::from(self.sender) << 96
            | u128::from(self.sequence) << 32
            | u128::from(check);
        *proof = number.to_be_bytes();
    }

    fn judge(payload: &[u8]) -> Option<Found> {
        let (proof, fill) = payload.split_first_chunk::<PROOF_BYTES>()?;
        let [m0, m1, s0, s1, n @ .., c0, c1, c2, c3] = *proof;
        if u16::from_be_bytes([m0, m1]) != MAGIC {
            return None;
        }
        let found = Self { sender: u16::from_be_bytes([s0, s1]), sequence: u64::from_be_bytes(n) };
        let intact = found.checksum(fill) == u32::from_be_bytes([c0, c1, c2, c3]);
        Some(if intact { Found::Intact(found) } else { Found::Corrupt })
    }

    fn seed(self) -> u64 {
        self.sequence ^ u64::from(self.sender) << 48
    }

    /// Mixes the numbers and every byte of `fill`; its length too.
    #[inline]
    fn checksum(self, fill: &[u8]) -> u32 {
        let mut sum = step(self.seed()) ^ fill.len() as u64;
        let mut blocks = fill.chunks_exact(8);
        for block in blocks.by_ref() {
            let word = block.try_into().map_or(0, u64::from_le_bytes);
            sum = (sum.rotate_left(23) ^ word).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        }
        for byte in blocks.remainder() {
            sum = (sum.rotate_left(23) ^ u64::from(*byte)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        }
        let [a, b, c, d, ..] = step(sum).to_be_bytes();
        u32::from_be_bytes([a, b, c, d])
    }
}

/// One step of a mixing function: every bit of the input changes half of the bits of the output.
#[inline]
fn step(number: u64) -> u64 {
    let mixed = (number ^ number >> 30).wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mixed = mixed.wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ mixed >> 31
}

/// The UDP payload of an IPv4 frame, tagged or not, without what a card may have padded.
#[inline]
fn payload(frame: &[u8]) -> Option<&[u8]> {
    let kind = frame.get(12..14)?;
    let start = match kind {
        [0x81, 0x00] | [0x88, 0xa8] => ETHERNET_BYTES + TAG_BYTES,
        [0x08, 0x00] => ETHERNET_BYTES,
        _ => return None,
    };
    if frame.get(start - 2..start)? != [0x08, 0x00] {
        return None;
    }
    let (udp_len, header_end) = (start + IPV4_BYTES + 4, start + IPV4_BYTES + UDP_BYTES);
    let length = u16::from_be_bytes(frame.get(udp_len..udp_len + 2)?.try_into().ok()?);
    let len = usize::from(length).checked_sub(UDP_BYTES)?;
    frame.get(header_end..header_end + len)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::flow::{Flow, Numbered};

    fn sample(frame_bytes: usize, number: u64) -> Vec<u8> {
        let mut source = Numbered::new(Flow { frame_bytes, ..Flow::default() });
        source.set_next(number);
        let mut frame = Vec::new();
        source.write_next(&mut frame);
        frame
    }

    #[test]
    fn what_is_written_is_found_again_at_every_length() {
        for len in MIN_TEST_FRAME_BYTES..300 {
            let expected = TestFrame { sender: 1, sequence: 77 };
            assert_eq!(TestFrame::parse(&sample(len, 77)), Some(expected), "{len} bytes");
        }
    }

    #[test]
    fn a_tag_added_on_the_way_and_padding_change_nothing() {
        let mut frame = sample(60, 5);
        let tag = [0x81, 0x00, 0x00, 0x0a];
        frame.splice(12..12, tag);
        frame.extend([0; 6]);
        assert_eq!(TestFrame::parse(&frame).unwrap().sequence, 5);
    }

    #[test]
    fn other_frames_are_foreign() {
        assert_eq!(TestFrame::find(&[]), Found::Foreign);
        assert_eq!(TestFrame::find(&[0; 60]), Found::Foreign);
        let mut other_magic = sample(60, 0);
        other_magic[42] ^= 1;
        assert_eq!(TestFrame::find(&other_magic), Found::Foreign);
    }

    proptest! {
        #[test]
        fn one_changed_bit_behind_the_magic_is_found(
            len in MIN_TEST_FRAME_BYTES..200,
            number in any::<u64>(),
            at in any::<proptest::sample::Index>(),
            bit in 0_u8..8,
        ) {
            let mut frame = sample(len, number);
            let at = 44 + at.index(len - 44);
            frame[at] ^= 1_u8 << bit;
            prop_assert_eq!(TestFrame::find(&frame), Found::Corrupt);
        }

        #[test]
        fn a_payload_of_another_frame_is_found(number in 0..u64::MAX, cut in 61_usize..190) {
            let mut frame = sample(200, number);
            let other = sample(200, number + 1);
            frame[cut..].copy_from_slice(&other[cut..]);
            prop_assert_eq!(TestFrame::find(&frame), Found::Corrupt);
        }
    }
}
