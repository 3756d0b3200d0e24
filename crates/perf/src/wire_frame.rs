//! The frames of wires: UDP in IPv4, alike but for a number, and what a guest finds out about those that arrive.

use helio_bench::FCS_BYTES;
use helio_guest::FrameView;

/// Where the number is: right behind the UDP header.
pub(crate) const NUMBER_AT: usize = 42;

/// A frame of `wire_bytes` with the checksum of the wire, which it does not have here.
pub(crate) fn frame(wire_bytes: u32, to: [u8; 6], from: [u8; 6]) -> Vec<u8> {
    let bytes = wire_bytes.saturating_sub(FCS_BYTES).max(60);
    let packet = u16::try_from(bytes - 14).unwrap_or(u16::MAX);
    let mut frame = Vec::new();
    frame.extend(to);
    frame.extend(from);
    frame.extend([0x08, 0x00, 0x45, 0]);
    frame.extend(packet.to_be_bytes());
    frame.extend([0, 0, 0x40, 0, 64, 17, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2]);
    let sum = checksum(frame.get(14..).unwrap_or_default());
    if let Some(field) = frame.get_mut(24..26) {
        field.copy_from_slice(&sum.to_be_bytes());
    }
    // No checksum, as UDP over IPv4 allows.
    frame.extend([0x04, 0x00, 0x10, 0x00]);
    frame.extend((packet - 20).to_be_bytes());
    frame.extend([0, 0]);
    let rest = (0_u32..).map(|at| at.wrapping_mul(0x9e37_79b9).to_be_bytes()[0]);
    frame.extend(rest.take(bytes as usize - frame.len()));
    frame
}

/// RFC 1071.
fn checksum(header: &[u8]) -> u16 {
    let words = header.chunks_exact(2).map(|word| word.try_into().map_or(0, u16::from_be_bytes));
    let mut sum: u32 = words.map(u32::from).sum();
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !u16::try_from(sum).unwrap_or(0)
}

/// What came of the frames that a guest received.
#[derive(Debug)]
pub(crate) struct Receipt {
    usual: Vec<u8>,
    seen: Vec<u8>,
    /// The number that should come next, when none is lost.
    next: u64,
    /// Frames that are as they were sent.
    pub(crate) frames: u64,
    /// Frames that are not, or came behind a later one.
    pub(crate) odd: u64,
}

impl Receipt {
    /// For copies of `usual`.
    pub(crate) fn new(usual: &[u8]) -> Self {
        Self { usual: usual.to_vec(), seen: usual.to_vec(), next: 0, frames: 0, odd: 0 }
    }

    /// Compares every byte.
    #[inline]
    pub(crate) fn enter(&mut self, view: &FrameView<'_>) {
        let is_whole = view.len() == self.usual.len() && view.read(0, &mut self.seen);
        let number = view.word(NUMBER_AT).map_or(0, u64::from_be_bytes);
        if let Some(place) = self.usual.get_mut(NUMBER_AT..NUMBER_AT + 8) {
            place.copy_from_slice(&number.to_be_bytes());
        }
        if is_whole && self.seen == self.usual && number >= self.next {
            self.frames += 1;
            self.next = number + 1;
        } else {
            self.odd += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_is_as_long_as_on_a_wire_without_its_checksum_and_its_header_is_right() {
        for (wire, bytes) in [(64, 60), (1518, 1514)] {
            let frame = frame(wire, [2; 6], [4; 6]);
            assert_eq!(frame.len(), bytes);
            assert_eq!(checksum(&frame[14..34]), 0);
            assert_eq!(usize::from(u16::from_be_bytes([frame[38], frame[39]])), bytes - 34);
        }
    }
}
