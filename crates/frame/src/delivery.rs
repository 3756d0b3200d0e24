//! One frame on its way into one port.

use helio_offload::{NetHeader, Rest};

use crate::RestBytes;

/// A frame in the form in which one port gets it: fresh header bytes, the part of the snapshot that follows them, and a
/// range of the rest.
#[derive(Clone, Copy, Debug)]
pub struct Delivery<'a> {
    /// What the receiver is told about the frame.
    pub net: NetHeader,
    /// The first bytes.
    pub header: &'a [u8],
    /// The bytes of the snapshot after those that `header` stands for.
    pub tail: &'a [u8],
    /// The bytes after the snapshot.
    pub rest: RestBytes<'a>,
    /// Bytes of `rest` to leave out at its beginning.
    pub rest_skip: u32,
    /// Bytes of `rest` to deliver.
    pub rest_bytes: u32,
}

impl<'a> Delivery<'a> {
    /// The whole frame with `header` in place of the first `replaced` bytes of its snapshot.
    #[must_use]
    pub fn whole(net: NetHeader, header: &'a [u8], tail: &'a [u8], rest: RestBytes<'a>) -> Self {
        Self { net, header, tail, rest, rest_skip: 0, rest_bytes: rest.len() }
    }

    /// Length of the frame as it is delivered, in bytes.
    #[must_use]
    pub fn bytes(&self) -> u32 {
        u32::try_from(self.header.len() + self.tail.len())
            .unwrap_or(u32::MAX)
            .saturating_add(self.rest_bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use helio_mem::Segment;

    #[test]
    fn the_length_of_a_delivery_is_that_of_its_parts() {
        let pieces =
            [(0, 10), (100, 30)].map(|(offset, bytes)| Segment { offset, bytes, region: 0 });
        let rest = RestBytes::new(None, &pieces);
        let whole = Delivery::whole(NetHeader::PLAIN, &[0; 18], &[0; 110], rest);
        assert_eq!((whole.rest_skip, whole.rest_bytes, whole.bytes()), (0, 40, 168));
        assert_eq!(Delivery { rest_skip: 5, rest_bytes: 20, ..whole }.bytes(), 148);
        assert_eq!(Delivery { rest_bytes: u32::MAX, ..whole }.bytes(), u32::MAX);
        let short = Delivery::whole(NetHeader::PLAIN, &[0; 14], &[], RestBytes::EMPTY);
        assert_eq!(short.bytes(), 14);
    }
}
