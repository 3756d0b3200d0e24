//! Two guests that exchange numbered frames on a thread of their own while something else goes on.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use helio_guest::{Guest, GuestMemory};

use super::lane::{Lane, PAUSE};
use super::{PATIENCE, wait_until};

/// The pair must not stand still for longer: far more than a loaded machine takes, far less than a worker that waits for
/// a guest.
const LONGEST_PAUSE: Duration = Duration::from_secs(2);

/// A VLAN of its own for the ports of a pair, in TOML: frames that others flood may well fill the buffers of those that
/// get them, and that is no harm done by the switch.
pub const VLAN: &str = "vlan = { access = 10 }";

#[derive(Default)]
struct Shared {
    stop: AtomicBool,
    /// What is missing will not come.
    give_up: AtomicBool,
    received: AtomicU64,
}

/// A running pair.
pub struct Pair {
    shared: Arc<Shared>,
    /// Memory of the first guest.
    memory: Arc<GuestMemory>,
    thread: Option<JoinHandle<Report>>,
}

/// What became of its frames, and the guests.
pub struct Report {
    pub one: Guest,
    pub other: Guest,
    pub there: Lane,
    pub back: Lane,
    pub longest_pause: Duration,
    /// Whether every chain of each guest has come back.
    pub all_completed: [bool; 2],
}

impl Pair {
    pub fn start(one: Guest, other: Guest) -> Self {
        let shared = Arc::new(Shared::default());
        let seen = Arc::clone(&shared);
        let (there, back) = (Lane::new(&one, &other), Lane::new(&other, &one));
        let memory = Arc::clone(one.memory());
        let report = Report {
            one,
            other,
            there,
            back,
            longest_pause: Duration::ZERO,
            all_completed: [false; 2],
        };
        let thread = std::thread::Builder::new()
            .name("pair".to_owned())
            .spawn(move || report.run(&seen))
            .unwrap();
        let pair = Self { shared, memory, thread: Some(thread) };
        pair.go_on();
        pair
    }

    /// Frames that arrived so far, in both directions.
    pub fn received(&self) -> u64 {
        self.shared.received.load(Ordering::Relaxed)
    }

    /// Waits until the pair has exchanged a few windows more.
    #[track_caller]
    pub fn go_on(&self) {
        self.wait_frames(1000);
    }

    #[track_caller]
    pub fn wait_frames(&self, count: u64) {
        let goal = self.received() + count;
        wait_until("the pair goes on", || self.received() >= goal);
    }

    /// Memory of the first guest, to be spoiled while it runs.
    pub fn memory(&self) -> &Arc<GuestMemory> {
        &self.memory
    }

    /// Ends without what is missing.
    pub fn abandon(self) -> Report {
        self.shared.give_up.store(true, Ordering::Relaxed);
        self.stop()
    }

    /// Waits until all frames arrived, and ends.
    pub fn stop(mut self) -> Report {
        self.shared.stop.store(true, Ordering::Relaxed);
        self.thread.take().unwrap().join().unwrap()
    }

    /// Ends. Every frame arrived once, in order, intact, without a pause.
    #[track_caller]
    pub fn end(self) -> (Guest, Guest) {
        let report = self.stop();
        report.assert_nothing_lost();
        (report.one, report.other)
    }
}

impl Drop for Pair {
    /// A test that failed leaves nobody behind who would disturb the next one.
    fn drop(&mut self) {
        self.shared.give_up.store(true, Ordering::Relaxed);
        self.shared.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _report = thread.join();
        }
    }
}

impl Report {
    fn run(mut self, shared: &Shared) -> Self {
        let mut last = Instant::now();
        loop {
            let stop = shared.stop.load(Ordering::Relaxed);
            let done = |lane: &Lane| lane.received() == lane.sent();
            let give_up = shared.give_up.load(Ordering::Relaxed) || last.elapsed() > PATIENCE;
            if stop && (give_up || done(&self.there) && done(&self.back)) {
                if !give_up {
                    let guests = [&mut self.one, &mut self.other];
                    self.all_completed = guests.map(|g| g.wait_all_sent(PATIENCE).is_ok());
                }
                return self;
            }
            let end = if stop { 0 } else { u64::MAX };
            let frames = self.there.send(&mut self.one, end)
                + self.there.receive(&mut self.other)
                + self.back.send(&mut self.other, end)
                + self.back.receive(&mut self.one);
            if frames > 0 {
                self.longest_pause = self.longest_pause.max(last.elapsed());
                last = Instant::now();
            } else {
                std::thread::sleep(PAUSE);
            }
            let received = self.there.received() + self.back.received();
            shared.received.store(received, Ordering::Relaxed);
        }
    }

    #[track_caller]
    pub fn assert_nothing_lost(&self) {
        self.there.assert_complete();
        self.back.assert_complete();
        assert_eq!(self.all_completed, [true; 2], "chains did not come back");
        let faults = (self.one.faults().total(), self.other.faults().total());
        assert_eq!(faults, (0, 0), "the switch broke a rule towards the pair");
        let pause = self.longest_pause;
        assert!(pause < LONGEST_PAUSE, "the pair stood still for {pause:?}");
    }
}
