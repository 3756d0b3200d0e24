//! Two guests that send to each other as fast as they can, on a thread of their own, and do not mind losses: load for a way
//! that is about to be broken.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;

use helio_guest::{Flow, Guest, NetHeader, Numbered};

use super::capture::Capture;
use super::lane::{FRAME_BYTES, PAUSE};
use super::{PATIENCE, wait_until};

/// Frames that each of them sends in one go.
const BURST: usize = 32;

#[derive(Default)]
struct Shared {
    stop: AtomicBool,
    sent: AtomicU64,
    received: AtomicU64,
}

/// Load that goes on.
pub struct Load {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<[Guest; 2]>>,
}

impl Load {
    pub fn start(one: Guest, other: Guest) -> Self {
        let shared = Arc::new(Shared::default());
        let seen = Arc::clone(&shared);
        let thread = std::thread::spawn(move || run([one, other], &seen));
        Self { shared, thread: Some(thread) }
    }

    /// Waits until frames arrive at the other ends.
    #[track_caller]
    pub fn arrives(&self) {
        let goal = self.shared.received.load(Ordering::Relaxed) + 500;
        wait_until("frames arrive", || self.shared.received.load(Ordering::Relaxed) >= goal);
    }

    /// Waits until more is sent, whatever becomes of it.
    #[track_caller]
    pub fn goes_on(&self) {
        let goal = self.shared.sent.load(Ordering::Relaxed) + 500;
        wait_until("guests send", || self.shared.sent.load(Ordering::Relaxed) >= goal);
    }

    /// Ends the load; there is no switch any more that could give chains back.
    pub fn abandon(mut self) -> [Guest; 2] {
        self.shared.stop.store(true, Ordering::Relaxed);
        self.thread.take().unwrap().join().unwrap()
    }

    /// Ends the load. Each chain that the guests sent has come back, and no frame is under way any more.
    #[track_caller]
    pub fn stop(mut self) -> [Guest; 2] {
        self.shared.stop.store(true, Ordering::Relaxed);
        let mut guests = self.thread.take().unwrap().join().unwrap();
        come_to_rest(&mut guests);
        guests
    }
}

/// Waits until all that guests sent has come back, and takes what they received.
#[track_caller]
pub fn come_to_rest(guests: &mut [Guest]) {
    for guest in &mut *guests {
        guest.wait_all_sent(PATIENCE).unwrap();
    }
    for guest in guests {
        Capture::take(guest, 0);
        assert_eq!(guest.faults().total(), 0, "{:?}", guest.faults());
    }
}

impl Drop for Load {
    /// A test that failed leaves nobody behind.
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _guests = thread.join();
        }
    }
}

fn run(mut guests: [Guest; 2], shared: &Shared) -> [Guest; 2] {
    let [one, other] = guests.each_ref().map(Guest::mac);
    let mut ways = [(one, other), (other, one)].map(|(from, to)| {
        Numbered::new(Flow { frame_bytes: FRAME_BYTES, ..Flow::between(from, to) })
    });
    let mut frame = Vec::new();
    while !shared.stop.load(Ordering::Relaxed) {
        let (mut sent, mut received) = (0, 0);
        for (guest, way) in guests.iter_mut().zip(&mut ways) {
            for _ in 0..BURST {
                let header: NetHeader = way.write_next(&mut frame);
                // No room: then the next ones go later.
                if guest.send_on(0, &header, &frame).is_err() {
                    break;
                }
                sent += 1;
            }
            guest.kick();
            received += guest.poll_once(|_, _, _| ()) as u64;
        }
        shared.sent.fetch_add(sent, Ordering::Relaxed);
        shared.received.fetch_add(received, Ordering::Relaxed);
        if sent + received == 0 {
            std::thread::sleep(PAUSE);
        }
    }
    guests
}
