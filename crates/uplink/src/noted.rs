//! Where the chunks are, as the worker last noted it: for operators.
//!
//! The worker notes it whenever it has asked for frames. Numbers of chunks to receive into are of one moment, and so are those
//! of chunks to send from, so each three add up whenever they are read. Lost ones are noted beside them: there are none, but for
//! a fault of ours.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use crate::census::Census;

/// Bits for one number: all chunks of 64 queues are fewer.
const BITS: u32 = 21;

/// The numbers. Written by the worker, read by anyone.
#[derive(Debug, Default)]
pub(crate) struct Noted {
    /// Spare, lent and held ones.
    receiving: AtomicU64,
    /// Free, staged and sent ones.
    sending: AtomicU64,
    lost: AtomicUsize,
}

impl Noted {
    #[inline]
    pub(crate) fn note(&self, census: &Census) {
        let Census { spare, lent, held, lost, free, staged, sent } = *census;
        self.receiving.store(pack([spare, lent, held]), Ordering::Relaxed);
        self.sending.store(pack([free, staged, sent]), Ordering::Relaxed);
        self.lost.store(lost, Ordering::Relaxed);
    }

    pub(crate) fn read(&self) -> Census {
        let [spare, lent, held] = unpack(self.receiving.load(Ordering::Relaxed));
        let [free, staged, sent] = unpack(self.sending.load(Ordering::Relaxed));
        let lost = self.lost.load(Ordering::Relaxed);
        Census { spare, lent, held, lost, free, staged, sent }
    }
}

fn pack(numbers: [usize; 3]) -> u64 {
    numbers.into_iter().fold(0, |packed, number| packed << BITS | number as u64)
}

fn unpack(packed: u64) -> [usize; 3] {
    let at = |place: u32| usize::try_from(packed >> (place * BITS) & ((1 << BITS) - 1));
    [at(2), at(1), at(0)].map(Result::unwrap_or_default)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_noted_is_read_also_when_all_chunks_of_all_queues_are_in_one_place() {
        let noted = Noted::default();
        assert_eq!(noted.read(), Census::default());
        let all = 64 * 2048;
        for census in [
            Census { spare: 1, lent: 2, held: 3, lost: 7, free: 4, staged: 5, sent: 6 },
            Census { spare: all, free: all, ..Census::default() },
            Census { lent: all, staged: all, ..Census::default() },
            Census { held: all, sent: all, ..Census::default() },
        ] {
            noted.note(&census);
            assert_eq!(noted.read(), census);
        }
    }
}
