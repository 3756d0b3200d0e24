//! A thread that changes guest memory, or kicks, as fast as it can while a back-end works.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;

use crate::event_fd::EventFd;
use crate::ring_area::{Descriptor, RingArea};
use crate::window::Window;

/// What racer and owner share.
#[derive(Debug, Default)]
struct Shared {
    stop: AtomicBool,
    turns: AtomicU64,
}

/// A running racer. Ends when it is stopped or dropped.
#[derive(Debug)]
pub struct Racer {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

impl Racer {
    /// Calls `change` with 0, 1, 2, … until it is stopped.
    #[must_use]
    pub fn start(mut change: impl FnMut(u64) + Send + 'static) -> Self {
        let shared = Arc::new(Shared::default());
        let seen = Arc::clone(&shared);
        let thread = std::thread::spawn(move || {
            let mut turn = 0;
            while !seen.stop.load(Ordering::Relaxed) {
                change(turn);
                turn += 1;
                seen.turns.store(turn, Ordering::Relaxed);
            }
        });
        Self { shared, thread: Some(thread) }
    }

    /// Writes one of `variants` after the other over the descriptor at `index`.
    #[must_use]
    pub fn flip_descriptor(area: RingArea, index: u16, variants: Vec<Descriptor>) -> Self {
        let mut variants = variants.into_iter().cycle();
        Self::start(move |_| {
            if let Some(variant) = variants.next() {
                area.write_descriptor(index, variant);
            }
        })
    }

    /// Writes one of `variants` after the other to the beginning of `place`.
    #[must_use]
    pub fn flip_bytes(place: Window, variants: Vec<Vec<u8>>) -> Self {
        let mut variants = variants.into_iter().cycle();
        Self::start(move |_| {
            if let Some(bytes) = variants.next() {
                place.write(0, bytes.get(..place.len()).unwrap_or(&bytes));
            }
        })
    }

    /// Signals `kick` without end.
    #[must_use]
    pub fn kick_storm(kick: EventFd) -> Self {
        Self::start(move |_| kick.signal())
    }

    /// Changes made so far.
    #[must_use]
    pub fn turns(&self) -> u64 {
        self.shared.turns.load(Ordering::Relaxed)
    }

    /// Ends it; the number of changes it made.
    #[must_use]
    pub fn stop(mut self) -> u64 {
        self.end();
        self.turns()
    }

    fn end(&mut self) {
        self.shared.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let joined = thread.join();
            debug_assert!(joined.is_ok(), "a racer panicked");
        }
    }
}

impl Drop for Racer {
    fn drop(&mut self) {
        self.end();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::memory::{GuestMemory, MemoryLayout};

    #[test]
    fn a_racer_writes_all_variants_until_it_is_stopped() {
        let memory = GuestMemory::new(&MemoryLayout::Fitting.plans(4096)).unwrap();
        let area = RingArea::allocate(&memory, 4).unwrap();
        let variants =
            [1, 2].map(|len| Descriptor { addr: u64::from(len), len, flags: 0, next: 0 });
        let racer = Racer::flip_descriptor(area.clone(), 3, variants.to_vec());
        let mut seen = [0_u64; 3];
        while seen[1] == 0 || seen[2] == 0 {
            seen[area.descriptor(3).len as usize] += 1;
        }
        assert!(racer.stop() >= 2);
        let last = area.descriptor(3);
        std::thread::yield_now();
        assert_eq!(area.descriptor(3), last);
    }

    #[test]
    fn a_kick_storm_signals_an_eventfd_that_others_read() {
        let kick = EventFd::new().unwrap();
        let racer = Racer::kick_storm(kick.try_clone().unwrap());
        while racer.turns() < 100 {
            std::thread::yield_now();
        }
        assert!(racer.stop() >= 100);
        assert!(kick.take() >= 100);
    }
}
