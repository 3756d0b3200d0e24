//! One direction between two guests: numbered frames, never more under way than the receiver has buffers for. So a loss
//! is always the fault of the switch, however slow the machine is.

use std::time::{Duration, Instant};

use helio_guest::{Flow, Guest, Ledger, NetHeader, Numbered};

use super::PATIENCE;

/// Frames under way at most.
pub const WINDOW: u64 = 64;

/// Longer than the header snapshot, so that the frames are held by reference.
pub const FRAME_BYTES: usize = 300;

/// Pause of a thread that finds nothing to do.
pub const PAUSE: Duration = Duration::from_micros(20);

/// Frames from one guest to another.
pub struct Lane {
    numbered: Numbered,
    frame: Vec<u8>,
    window: u64,
    pub ledger: Ledger,
}

impl Lane {
    pub fn new(from: &Guest, to: &Guest) -> Self {
        let flow = Flow { frame_bytes: FRAME_BYTES, ..Flow::between(from.mac(), to.mac()) };
        Self::of(flow)
    }

    pub fn of(flow: Flow) -> Self {
        Self {
            numbered: Numbered::new(flow),
            frame: Vec::new(),
            window: WINDOW,
            ledger: Ledger::new(),
        }
    }

    /// No more under way than the receiver has buffers for.
    fn for_receiver(mut self, to: &Guest) -> Self {
        self.window = self.window.min(u64::from(to.config().ring_size));
        self
    }

    pub fn sender(&self) -> u16 {
        self.numbered.flow().sender
    }

    pub fn sent(&self) -> u64 {
        self.numbered.next()
    }

    pub fn received(&self) -> u64 {
        self.ledger.from(self.sender()).received
    }

    /// Sends as many frames as the window and `end` allow; how many.
    pub fn send(&mut self, from: &mut Guest, end: u64) -> u64 {
        let before = self.sent();
        while self.sent() < end.min(self.received() + self.window) {
            let number = self.sent();
            let header: NetHeader = self.numbered.write_next(&mut self.frame);
            if from.send_on(0, &header, &self.frame).is_err() {
                self.numbered.set_next(number);
                break;
            }
        }
        from.kick();
        self.sent() - before
    }

    /// Takes what arrived; how many frames.
    pub fn receive(&mut self, to: &mut Guest) -> u64 {
        to.poll_once(|_, _, frame| {
            self.ledger.record(frame);
        }) as u64
    }

    /// Every frame arrived once, in order, intact.
    #[track_caller]
    pub fn assert_complete(&self) {
        let (sender, sent) = (self.sender(), self.sent());
        let tally = self.ledger.from(sender);
        assert!(
            tally.is_complete(sent) && self.ledger.corrupt() == 0,
            "of {sent} frames of sender {sender} {} arrived, {} twice, {} late, {} changed",
            tally.received,
            tally.duplicates,
            tally.reordered,
            self.ledger.corrupt(),
        );
    }
}

/// Sends `count` frames from one guest to the other and, as each arrives, one back: requests and replies.
#[track_caller]
pub fn ping(one: &mut Guest, other: &mut Guest, count: u64) {
    let mut there = Lane::new(one, other).for_receiver(other);
    let mut back = Lane::new(other, one).for_receiver(one);
    let mut last = Instant::now();
    while back.received() < count {
        let frames = there.send(one, count)
            + there.receive(other)
            + back.send(other, there.received())
            + back.receive(one);
        rest(frames, &mut last);
    }
    there.assert_complete();
    back.assert_complete();
    settle(one);
    settle(other);
}

/// Sends `count` frames from one guest to the other.
#[track_caller]
pub fn stream(one: &mut Guest, other: &mut Guest, count: u64) {
    let mut lane = Lane::new(one, other).for_receiver(other);
    let mut last = Instant::now();
    while lane.received() < count {
        let frames = lane.send(one, count) + lane.receive(other);
        rest(frames, &mut last);
    }
    lane.assert_complete();
    settle(one);
    settle(other);
}

/// Lets others work when no frame moved; not for ever after the `last` one.
#[track_caller]
fn rest(frames: u64, last: &mut Instant) {
    if frames > 0 {
        *last = Instant::now();
    } else {
        assert!(last.elapsed() < PATIENCE, "nothing arrives any more");
        std::thread::yield_now();
    }
}

/// All that the guest sent comes back, and no rule was broken towards it.
#[track_caller]
fn settle(guest: &mut Guest) {
    guest.wait_all_sent(PATIENCE).unwrap();
    assert_eq!(guest.faults().total(), 0, "{:?}", guest.faults());
}
