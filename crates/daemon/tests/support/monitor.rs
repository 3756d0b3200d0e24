//! A monitor that takes frames on a thread of its own as fast as it can, or stands still when told to.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use helio_guest::{Guest, Ledger};

use super::lane::PAUSE;

#[derive(Default)]
struct Shared {
    stop: AtomicBool,
    paused: AtomicBool,
    received: AtomicU64,
}

/// A running monitor.
pub struct Monitor {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<(Guest, Ledger)>>,
}

impl Monitor {
    pub fn start(mut guest: Guest) -> Self {
        let shared = Arc::new(Shared::default());
        let seen = Arc::clone(&shared);
        let run = move || {
            let mut ledger = Ledger::new();
            while !seen.stop.load(Ordering::Relaxed) {
                if seen.paused.load(Ordering::Relaxed) {
                    std::thread::sleep(Duration::from_millis(1));
                    continue;
                }
                let frames = guest.poll_once(|_, _, frame| {
                    ledger.record(frame);
                });
                seen.received.fetch_add(frames as u64, Ordering::Relaxed);
                if frames == 0 {
                    std::thread::sleep(PAUSE);
                }
            }
            (guest, ledger)
        };
        let thread = std::thread::Builder::new().name("monitor".to_owned()).spawn(run).unwrap();
        Self { shared, thread: Some(thread) }
    }

    pub fn received(&self) -> u64 {
        self.shared.received.load(Ordering::Relaxed)
    }

    /// Stands still, as a VM that is stopped, until [`Monitor::go_on`].
    pub fn pause(&self) {
        self.shared.paused.store(true, Ordering::Relaxed);
    }

    pub fn go_on(&self) {
        self.shared.paused.store(false, Ordering::Relaxed);
    }

    /// Ends; the guest, and what it saw.
    pub fn stop(mut self) -> (Guest, Ledger) {
        self.shared.stop.store(true, Ordering::Relaxed);
        self.thread.take().unwrap().join().unwrap()
    }
}

impl Drop for Monitor {
    /// A test that failed leaves nobody behind who would disturb the next one.
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _guest = thread.join();
        }
    }
}
