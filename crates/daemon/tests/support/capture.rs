//! What a monitor saw, once traffic has stopped.

use std::time::{Duration, Instant};

use helio_guest::{Guest, Ledger};

use super::PATIENCE;
use super::lane::PAUSE;

/// How long is listened for frames that must not come.
const SURPRISES: Duration = Duration::from_millis(30);

/// Frames that arrived at a guest.
pub struct Capture {
    pub frames: Vec<Vec<u8>>,
    pub ledger: Ledger,
}

impl Capture {
    /// Takes frames until `expected` have come, and a little longer for those that should not.
    pub fn take(guest: &mut Guest, expected: u64) -> Self {
        let mut capture = Self { frames: Vec::new(), ledger: Ledger::new() };
        let deadline = Instant::now() + PATIENCE;
        while (capture.frames.len() as u64) < expected && Instant::now() < deadline {
            if capture.poll(guest) == 0 {
                std::thread::sleep(PAUSE);
            }
        }
        let end = Instant::now() + SURPRISES;
        while Instant::now() < end {
            capture.poll(guest);
            std::thread::sleep(Duration::from_millis(1));
        }
        capture
    }

    fn poll(&mut self, guest: &mut Guest) -> usize {
        guest.poll_once(|_, _, frame| {
            self.ledger.record(frame);
            self.frames.push(frame.to_vec());
        })
    }

    /// Each of `count` frames of every one of `senders` came once, in order, and nothing else did.
    #[track_caller]
    pub fn assert_each_once(&self, senders: &[u16], count: u64) {
        for sender in senders {
            let tally = self.ledger.from(*sender);
            assert!(tally.is_complete(count), "of {count} of sender {sender}: {}", self.summary());
        }
        let all = senders.len() as u64 * count;
        assert_eq!(self.frames.len() as u64, all, "{}", self.summary());
    }

    #[track_caller]
    pub fn assert_nothing(&self) {
        assert!(self.frames.is_empty(), "{}", self.summary());
    }

    fn summary(&self) -> String {
        let senders = self.ledger.senders().map(|sender| {
            let tally = self.ledger.from(sender);
            format!("sender {sender}: {} frames, {} twice", tally.received, tally.duplicates)
        });
        let senders = senders.collect::<Vec<_>>().join(", ");
        format!("{senders}; {} changed, {} foreign", self.ledger.corrupt(), self.ledger.foreign())
    }
}
