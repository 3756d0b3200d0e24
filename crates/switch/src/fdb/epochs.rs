//! Time as the entries of the FDB remember it: an entry holds the number of the epoch in which its address was last seen.
//!
//! An epoch lasts a fiftieth of the ageing time, at least a second, and at least until the clock is told again. Workers only
//! read which one it is; the thread that tells the time begins them. There are few numbers, which come round: one is given
//! to a new epoch only after [`Fdb::age`](super::Fdb::age) has removed what was seen in the old one, and until then the
//! present epoch goes on. So a clock that jumps, or nobody who calls for ageing, makes no old entry look like a new one.
//!
//! Only a worker that stops for the whole ageing time between two instructions can put down a number that means a later epoch
//! by then; its entry lives that much longer.

use crate::sync::{AtomicU32, EPOCHS, Ordering};

/// Epochs that the ageing time is divided into. The other numbers are for the epochs at both ends, and for delays.
const STEPS: u32 = EPOCHS - EPOCHS / 5;

/// Seconds after which ages are no longer told apart, if entries do not age.
const LONGEST_TOLD_S: u32 = 3600;

/// When an address was seen. Has six bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Stamp(u32);

impl Stamp {
    /// Not at all: given by the operator.
    pub(super) const STATIC: Self = Self(0);
    /// Before all epochs, which only is when entries do not age.
    pub(super) const OLD: Self = Self(1);
    const FIRST: u32 = 2;

    /// From the lower six bits.
    pub(super) const fn from_bits(bits: u64) -> Self {
        Self((bits & 0x3f) as u32)
    }

    #[inline]
    pub(super) const fn to_bits(self) -> u64 {
        self.0 as u64
    }

    /// Of the epoch with a number below [`EPOCHS`].
    #[inline]
    pub(super) const fn of_epoch(number: u32) -> Self {
        Self(Self::FIRST + number)
    }
}

const _: () = assert!(Stamp::of_epoch(EPOCHS - 1).0 <= 0x3f);

/// All epochs. Changed by one thread.
pub(super) struct Epochs {
    /// The present one.
    current: AtomicU32,
    /// The first that entries may be of.
    oldest: AtomicU32,
    now_s: AtomicU32,
    began_s: AtomicU32,
    /// For each, the last time told in it.
    ended_s: Box<[AtomicU32]>,
    ageing_s: u32,
}

impl Epochs {
    pub(super) fn new(ageing_s: u32) -> Self {
        Self {
            current: AtomicU32::new(0),
            oldest: AtomicU32::new(0),
            now_s: AtomicU32::new(0),
            began_s: AtomicU32::new(0),
            ended_s: std::iter::repeat_with(|| AtomicU32::new(0)).take(EPOCHS as usize).collect(),
            ageing_s,
        }
    }

    pub(super) fn ageing_s(&self) -> u32 {
        self.ageing_s
    }

    pub(super) fn now_s(&self) -> u32 {
        self.now_s.load(Ordering::Relaxed)
    }

    /// The stamp of what is seen now, to compare with.
    #[inline]
    pub(super) fn stamp(&self) -> Stamp {
        Stamp::of_epoch(self.current.load(Ordering::Relaxed))
    }

    /// The stamp of what is seen now, to put into an entry by a release: who acquires that knows the epoch, too.
    pub(super) fn stamp_to_write(&self) -> Stamp {
        Stamp::of_epoch(self.current.load(Ordering::Acquire))
    }

    /// Tells the time.
    pub(super) fn tell(&self, seconds: u32) {
        self.now_s.store(seconds, Ordering::Relaxed);
        let current = self.current.load(Ordering::Relaxed);
        let age_s = seconds.saturating_sub(self.began_s.load(Ordering::Relaxed));
        let next = following(current);
        if age_s < self.step_s() || next == self.oldest.load(Ordering::Relaxed) {
            return self.set_end(current, seconds);
        }
        self.began_s.store(seconds, Ordering::Relaxed);
        self.set_end(next, seconds);
        self.current.store(next, Ordering::Release);
    }

    /// Seconds since the end of the epoch of `stamp`; 0 in the present one.
    pub(super) fn age_s(&self, stamp: Stamp) -> u32 {
        match stamp.0.checked_sub(Stamp::FIRST) {
            Some(number) => self.since_end_s(number),
            None if stamp == Stamp::OLD => LONGEST_TOLD_S,
            None => 0,
        }
    }

    /// Whether what was seen in the epoch of `stamp` is too old to be told apart from older.
    pub(super) fn is_over(&self, stamp: Stamp) -> bool {
        self.age_s(stamp) > self.longest_s()
    }

    /// The first epoch that is not too old. To be handed to [`Epochs::forget_before`] once no entry is of an older one.
    pub(super) fn first_kept(&self) -> u32 {
        let current = self.current.load(Ordering::Relaxed);
        let mut kept = self.oldest.load(Ordering::Relaxed);
        while kept != current && self.since_end_s(kept) > self.longest_s() {
            kept = following(kept);
        }
        kept
    }

    pub(super) fn forget_before(&self, kept: u32) {
        self.oldest.store(kept, Ordering::Relaxed);
    }

    fn longest_s(&self) -> u32 {
        if self.ageing_s == 0 { LONGEST_TOLD_S } else { self.ageing_s }
    }

    fn step_s(&self) -> u32 {
        self.longest_s().div_ceil(STEPS)
    }

    fn since_end_s(&self, number: u32) -> u32 {
        let ended_s = self.ended_s.get(number as usize);
        ended_s.map_or(0, |ended_s| self.now_s().saturating_sub(ended_s.load(Ordering::Relaxed)))
    }

    fn set_end(&self, number: u32, seconds: u32) {
        if let Some(ended_s) = self.ended_s.get(number as usize) {
            ended_s.store(seconds, Ordering::Relaxed);
        }
    }
}

fn following(number: u32) -> u32 {
    (number + 1) % EPOCHS
}
