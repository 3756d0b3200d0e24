//! Counts what became of numbered frames: each once, in order, intact?
//!
//! Owned by the thread that receives. Exact for any order and any loss: one bit is kept for each number.

use std::collections::BTreeMap;

use crate::test_frame::{Found, TestFrame};

/// Highest sequence number that is kept: what 1 GiB of bits can hold. A number above it is not ours.
const MAX_SEQUENCE: u64 = 1 << 33;

/// What arrived from one sender.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SenderTally {
    /// Different frames that arrived.
    pub received: u64,
    /// Frames that had arrived before.
    pub duplicates: u64,
    /// Frames that arrived after one with a higher number.
    pub reordered: u64,
    /// Bytes of the different frames.
    pub bytes: u64,
    /// One more than the highest number that arrived.
    end: u64,
    seen: Vec<u64>,
}

impl SenderTally {
    /// Frames that did not arrive, of `sent`.
    #[must_use]
    pub fn missing(&self, sent: u64) -> u64 {
        sent.saturating_sub(self.received)
    }

    /// Numbers below the highest one that did not arrive: what is missing for sure.
    #[must_use]
    pub fn gaps(&self) -> u64 {
        self.end - self.received
    }

    /// Whether all of `sent` frames arrived, once each, in order.
    #[must_use]
    pub fn is_complete(&self, sent: u64) -> bool {
        self.received == sent && self.end == sent && self.duplicates == 0 && self.reordered == 0
    }

    fn record(&mut self, sequence: u64, bytes: u64) {
        let Ok(block) = usize::try_from(sequence / 64) else { return };
        if block >= self.seen.len() {
            self.seen.resize((block + 1).next_power_of_two(), 0);
        }
        let Some(bits) = self.seen.get_mut(block) else { return };
        let bit = 1 << (sequence % 64);
        if *bits & bit != 0 {
            self.duplicates += 1;
            return;
        }
        *bits |= bit;
        self.received += 1;
        self.bytes += bytes;
        if sequence < self.end {
            self.reordered += 1;
        }
        self.end = self.end.max(sequence + 1);
    }
}

/// What arrived at one place.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ledger {
    senders: BTreeMap<u16, SenderTally>,
    corrupt: u64,
    foreign: u64,
}

impl Ledger {
    /// Nothing arrived yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Enters a frame. Whose it is, when it is numbered and intact.
    #[inline]
    pub fn record(&mut self, frame: &[u8]) -> Option<TestFrame> {
        match TestFrame::find(frame) {
            Found::Intact(found) if found.sequence < MAX_SEQUENCE => {
                let tally = self.senders.entry(found.sender).or_default();
                tally.record(found.sequence, frame.len() as u64);
                Some(found)
            }
            Found::Intact(_) | Found::Corrupt => {
                self.corrupt += 1;
                None
            }
            Found::Foreign => {
                self.foreign += 1;
                None
            }
        }
    }

    /// What arrived from `sender`; zeroes when nothing did.
    #[must_use]
    pub fn from(&self, sender: u16) -> SenderTally {
        self.senders.get(&sender).cloned().unwrap_or_default()
    }

    /// Numbers of all senders of whom something arrived.
    pub fn senders(&self) -> impl Iterator<Item = u16> {
        self.senders.keys().copied()
    }

    /// Different numbered frames that arrived, of all senders.
    #[must_use]
    pub fn received(&self) -> u64 {
        self.senders.values().map(|tally| tally.received).sum()
    }

    /// Frames that had arrived before, of all senders.
    #[must_use]
    pub fn duplicates(&self) -> u64 {
        self.senders.values().map(|tally| tally.duplicates).sum()
    }

    /// Numbered frames whose bytes changed.
    #[must_use]
    pub fn corrupt(&self) -> u64 {
        self.corrupt
    }

    /// Frames of others.
    #[must_use]
    pub fn foreign(&self) -> u64 {
        self.foreign
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::flow::{Flow, Numbered};

    /// A ledger that was given the frames with these numbers.
    fn ledger(numbers: &[u64]) -> Ledger {
        let mut source = Numbered::new(Flow::default());
        let (mut ledger, mut frame) = (Ledger::new(), Vec::new());
        for number in numbers {
            source.set_next(*number);
            source.write_next(&mut frame);
            ledger.record(&frame);
        }
        ledger
    }

    #[test]
    fn frames_that_come_once_and_in_order_are_complete() {
        let numbers: Vec<u64> = (0..1000).collect();
        let tally = ledger(&numbers).from(1);
        assert!(tally.is_complete(1000));
        assert!(!tally.is_complete(999) && !tally.is_complete(1001));
        assert_eq!(tally.bytes, 60_000);
    }

    #[test]
    fn loss_duplicates_and_order_are_told_apart() {
        let tally = ledger(&[0, 1, 1, 5, 3, 3, 900]).from(1);
        assert_eq!((tally.received, tally.duplicates, tally.reordered), (5, 2, 1));
        assert_eq!((tally.gaps(), tally.missing(1000)), (896, 995));
        assert!(!tally.is_complete(5));
    }

    #[test]
    fn a_changed_frame_is_corrupt_and_another_is_foreign() {
        let mut frame = Vec::new();
        Numbered::new(Flow::default()).write_next(&mut frame);
        let mut ledger = Ledger::new();
        frame[50] ^= 4;
        assert_eq!(ledger.record(&frame), None);
        assert_eq!(ledger.record(&[0; 60]), None);
        assert_eq!((ledger.corrupt(), ledger.foreign(), ledger.received()), (1, 1, 0));
    }

    #[test]
    fn senders_are_counted_apart() {
        let mut ledger = ledger(&[0, 1]);
        let mut frame = Vec::new();
        Numbered::new(Flow { sender: 9, ..Flow::default() }).write_next(&mut frame);
        ledger.record(&frame);
        assert_eq!(ledger.senders().collect::<Vec<_>>(), [1, 9]);
        assert_eq!(
            (ledger.from(1).received, ledger.from(9).received, ledger.from(2).received),
            (2, 1, 0)
        );
        assert_eq!(ledger.received(), 3);
    }
}
