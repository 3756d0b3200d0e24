//! Ones' complement sums of 16-bit words in wire order, RFC 1071. Any thread.
//!
//! A sum here is folded to 16 bits, not complemented, and a number in host order whose words were read in
//! wire order. It is 0 only when every word was 0. The checksum of a protocol is the complement of it.

/// Sum of the 16-bit words of `bytes`; a last odd byte counts as the first of a word that ends in 0.
#[must_use]
pub fn sum_words(bytes: &[u8]) -> u16 {
    let (quads, tail) = bytes.as_chunks::<4>();
    // No overflow is possible below 16 GiB, and this form is one the compiler turns into vector code.
    let mut total =
        quads.iter().fold(0_u64, |sum, quad| sum.wrapping_add(u32::from_ne_bytes(*quad).into()));
    let mut last = [0; 4];
    for (to, from) in last.iter_mut().zip(tail) {
        *to = *from;
    }
    total = total.wrapping_add(u32::from_ne_bytes(last).into());
    // The sum of byte-swapped words is the byte-swapped sum (RFC 1071, section 2B).
    u16::from_be(fold(total))
}

/// Ones' complement addition: the carry out of the top goes back in at the bottom.
pub(crate) const fn add(a: u16, b: u16) -> u16 {
    let (sum, carry) = a.overflowing_add(b);
    // With a carry `sum` is at most 0xfffe, so this cannot overflow.
    sum + carry as u16
}

/// Adds the four words of `total`, which weigh the same modulo 0xffff.
const fn fold(total: u64) -> u16 {
    let [a, b, c, d, e, f, g, h] = total.to_ne_bytes();
    let low = add(u16::from_ne_bytes([a, b]), u16::from_ne_bytes([c, d]));
    let high = add(u16::from_ne_bytes([e, f]), u16::from_ne_bytes([g, h]));
    add(low, high)
}

/// Where the next byte falls in its 16-bit word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    First,
    Second,
}

/// The sum of bytes that lie in several pieces, each of any length, in the order of the frame.
#[derive(Clone, Copy, Debug)]
pub struct RunningSum {
    total: u16,
    next: Place,
}

impl Default for RunningSum {
    fn default() -> Self {
        Self::new()
    }
}

impl RunningSum {
    /// The sum of no bytes.
    #[must_use]
    pub const fn new() -> Self {
        Self { total: 0, next: Place::First }
    }

    /// Adds the bytes that come next.
    pub fn push(&mut self, bytes: &[u8]) {
        self.push_summed(sum_words(bytes), bytes.len());
    }

    /// Adds the next `len` bytes, whose own sum (as if they began at the first byte of a word) is `sum`.
    pub const fn push_summed(&mut self, sum: u16, len: usize) {
        self.total = match self.next {
            Place::First => add(self.total, sum),
            Place::Second => add(self.total, sum.swap_bytes()),
        };
        if len % 2 == 1 {
            self.next = match self.next {
                Place::First => Place::Second,
                Place::Second => Place::First,
            };
        }
    }

    /// The sum so far.
    #[must_use]
    pub const fn value(self) -> u16 {
        self.total
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use etherparse::checksum::Sum16BitWords;
    use proptest::prelude::*;

    fn slow_sum(bytes: &[u8]) -> u16 {
        let mut total = 0_u32;
        for pair in bytes.chunks(2) {
            total += u32::from(pair[0]) << 8 | u32::from(*pair.get(1).unwrap_or(&0));
            total = (total & 0xffff) + (total >> 16);
        }
        u16::try_from(total).unwrap()
    }

    proptest! {
        #[test]
        fn the_sum_is_that_of_the_definition_and_of_another_library(
            bytes in proptest::collection::vec(any::<u8>(), 0..600),
        ) {
            prop_assert_eq!(sum_words(&bytes), slow_sum(&bytes));
            let theirs = Sum16BitWords::new().add_slice(&bytes).ones_complement().to_be();
            prop_assert_eq!(!sum_words(&bytes), theirs);
        }

        #[test]
        fn the_sum_of_pieces_is_the_sum_of_the_whole(
            bytes in proptest::collection::vec(any::<u8>(), 0..300),
            cuts in proptest::collection::vec(0_usize..300, 0..8),
        ) {
            let mut cuts: Vec<_> = cuts.into_iter().map(|cut| cut.min(bytes.len())).collect();
            cuts.extend([0, bytes.len()]);
            cuts.sort_unstable();
            let mut running = RunningSum::new();
            for pair in cuts.windows(2) {
                running.push(&bytes[pair[0]..pair[1]]);
            }
            prop_assert_eq!(running.value(), sum_words(&bytes));
        }
    }

    #[test]
    fn a_sum_of_ones_does_not_overflow_at_the_longest_frame() {
        assert_eq!(sum_words(&[0xff; 65_553]), slow_sum(&[0xff; 65_553]));
    }

    #[test]
    fn only_zeros_sum_to_zero() {
        assert_eq!(sum_words(&[]), 0);
        assert_eq!(sum_words(&[0; 33]), 0);
        assert_eq!(sum_words(&[0xff, 0xff]), 0xffff);
        assert_eq!(sum_words(&[1]), 0x0100);
    }
}
