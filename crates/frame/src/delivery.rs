//! One frame on its way into one port.

use helio_offload::{NetHeader, Rest};

use crate::{Precedence, RestBytes};

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
    /// Whether it stands back for others.
    pub precedence: Precedence,
}

impl<'a> Delivery<'a> {
    /// The whole frame with `header` in place of the first `replaced` bytes of its snapshot.
    #[must_use]
    pub fn whole(net: NetHeader, header: &'a [u8], tail: &'a [u8], rest: RestBytes<'a>) -> Self {
        let (rest_bytes, precedence) = (rest.len(), Precedence::Production);
        Self { net, header, tail, rest, rest_skip: 0, rest_bytes, precedence }
    }

    /// The `bytes` bytes after the first `skip`, or as many as there are.
    #[must_use]
    pub fn range(&self, skip: u32, bytes: u32) -> Self {
        let header_bytes = u32::try_from(self.header.len()).unwrap_or(u32::MAX);
        let tail_bytes = u32::try_from(self.tail.len()).unwrap_or(u32::MAX);
        let header = part(self.header, skip, bytes);
        let end = skip.saturating_add(bytes);
        let after_header = (skip.saturating_sub(header_bytes), end.saturating_sub(header_bytes));
        let tail = part(self.tail, after_header.0, after_header.1 - after_header.0);
        let after_tail =
            (after_header.0.saturating_sub(tail_bytes), after_header.1.saturating_sub(tail_bytes));
        let left = self.rest_bytes.saturating_sub(after_tail.0);
        Self {
            header,
            tail,
            rest_skip: self.rest_skip.saturating_add(after_tail.0),
            rest_bytes: left.min(after_tail.1 - after_tail.0),
            ..*self
        }
    }

    /// Length of the frame as it is delivered, in bytes.
    #[must_use]
    pub fn bytes(&self) -> u32 {
        u32::try_from(self.header.len() + self.tail.len())
            .unwrap_or(u32::MAX)
            .saturating_add(self.rest_bytes)
    }
}

/// The `bytes` bytes of `row` after the first `skip`, or as many as there are.
fn part(row: &[u8], skip: u32, bytes: u32) -> &[u8] {
    let (skip, bytes) = (skip as usize, bytes as usize);
    let after = row.get(skip..).unwrap_or_default();
    after.get(..bytes).unwrap_or(after)
}

#[cfg(test)]
mod tests {
    use super::*;
    use helio_mem::Segment;

    #[test]
    fn a_range_goes_through_header_snapshot_and_rest_in_a_row() {
        let pieces = [Segment { offset: 0, bytes: 30, region: 0 }];
        let rest = RestBytes::new(None, &pieces);
        let (header, tail) = ([1, 2, 3, 4, 5], [6, 7, 8]);
        // The first two bytes of the rest are left out already.
        let whole = Delivery {
            rest_skip: 2,
            rest_bytes: 10,
            ..Delivery::whole(NetHeader::PLAIN, &header, &tail, rest)
        };
        let row: Vec<u32> = (1..=8).chain(102..112).collect();
        for skip in 0..20 {
            for bytes in 0..20 {
                let range = whole.range(skip, bytes);
                let fixed = range.header.iter().chain(range.tail).map(|byte| u32::from(*byte));
                let of_rest = (0..range.rest_bytes).map(|at| 100 + range.rest_skip + at);
                let got: Vec<u32> = fixed.chain(of_rest).collect();
                let expected: Vec<u32> =
                    row.iter().copied().skip(skip as usize).take(bytes as usize).collect();
                assert_eq!(got, expected, "{bytes} bytes after {skip}");
            }
        }
    }

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
