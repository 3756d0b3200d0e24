//! A front-end that takes the rings of a guest with several pairs away, turns them off and on and gives them back, and replaces its
//! memory, in any order, while frames of all of them are in flight and are given back at any time. It harms nobody, and what was
//! its is let go.
#![cfg(test)]

mod support;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use helio_guest::{Flow, Guest, GuestConfig, GuestError, NetHeader, Numbered, Racer, RingSetup};
use helio_types::DropReason;
use support::lab::{Lab, config, ping};
use support::{hub::Shared, wait_until};

const PAIRS: u16 = 4;
const ROUNDS: u64 = 20;
const STEPS: usize = 80;

/// Numbers that look random.
struct Random(u64);

impl Random {
    fn below(&mut self, below: u32) -> u32 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        u32::try_from(self.0 >> 33).unwrap() % below
    }
}

/// Frames are held and given back, again and again, until this is dropped.
struct Holds {
    stop: Arc<AtomicBool>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl Holds {
    fn start(shared: &Arc<Shared>) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let (stopped, shared) = (Arc::clone(&stop), Arc::clone(shared));
        let thread = std::thread::spawn(move || {
            while !stopped.load(Ordering::Relaxed) {
                shared.hold_frames();
                std::thread::sleep(Duration::from_millis(2));
                shared.release_frames();
                std::thread::sleep(Duration::from_millis(1));
            }
        });
        Self { stop, thread: Some(thread) }
    }
}

impl Drop for Holds {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.take().unwrap().join().unwrap();
    }
}

/// Does one thing to one of the rings, or to the memory.
fn step(guest: &mut Guest, random: &mut Random) -> Result<(), GuestError> {
    let index = random.below(2 * u32::from(PAIRS));
    match random.below(9) {
        0 | 1 => guest.session().disable_ring(index),
        2 | 3 => guest.session().enable_ring(index),
        4 => guest.session().stop_ring(index).map(|_| ()),
        5 | 6 => {
            let _ = guest.session().stop_ring(index)?;
            let (area, events) = guest.driver().rings().nth(index as usize).unwrap();
            let base = area.used_idx();
            let (kick, call, err) = (&events.kick, &events.call, &events.err);
            guest.session().set_up_ring(&RingSetup { index, area, base, kick, call, err })
        }
        7 => {
            let (table, files) = (guest.memory().table(), guest.memory().files());
            guest.session().set_memory_table(&table, &files)
        }
        _ => guest.session().set_features(),
    }
}

/// Sends a few frames on each pair that has room; they are longer than what is copied of them when they are taken.
fn send_on_all(guest: &mut Guest, to: [u8; 6]) {
    let flow = Flow { frame_bytes: 400, ..Flow::between(guest.mac(), to) };
    let (mut frames, mut bytes) = (Numbered::new(flow), Vec::new());
    for pair in 0..usize::from(PAIRS) {
        for _ in 0..5 {
            let header = frames.write_next(&mut bytes);
            let _ = guest.send_on(pair, &header, &bytes);
        }
    }
    guest.kick();
    guest.poll_once(|_, _: &NetHeader, _| {});
    guest.reclaim();
}

fn many_pairs() -> GuestConfig {
    GuestConfig { queue_pairs: PAIRS, active_pairs: PAIRS, ..config(0) }
}

#[test]
fn c040_rings_that_come_and_go_at_random_while_frames_are_in_flight_harm_nobody() {
    let lab = Lab::new(2);
    let mut other = lab.guest(1);
    let watched = lab.hub.shared.watched.load(Ordering::Relaxed);
    for round in 0..ROUNDS {
        let mut random = Random(0x5eed + round);
        let mut guest = lab.guest_with(0, many_pairs());
        let holds = Holds::start(&lab.hub.shared);
        // In every other round the guest offers on one ring, and takes back, what it likes.
        let (area, _) = guest.driver().rings().nth(3).unwrap();
        let area = area.clone();
        let racer = (round % 2 == 1).then(|| {
            Racer::start(move |turn| {
                let ahead = u16::try_from(turn % 3).unwrap();
                area.set_avail_idx(area.used_idx().wrapping_add(ahead));
            })
        });
        for _ in 0..STEPS {
            send_on_all(&mut guest, other.mac());
            send_on_all(&mut other, [2, 0, 0, 0, 0, 0]);
            step(&mut guest, &mut random).unwrap();
        }
        drop((racer, guest));
        lab.ports[0].wait_ends(usize::try_from(round).unwrap() + 1);
        drop(holds);
        assert!(!lab.ports[0].was_worker_silent());
        let shared = &lab.hub.shared;
        wait_until("all is let go", || {
            !shared.has_memory(lab.ports[0].id) && shared.held.load(Ordering::SeqCst) == 0
        });
        assert_eq!(shared.watched.load(Ordering::Relaxed), watched);
    }
    assert!(
        lab.hub.shared.dropped(DropReason::RingDisabled) > 0,
        "nothing was sent on a disabled ring"
    );
    assert!(
        lab.hub.shared.dropped(DropReason::PortDown) > 0,
        "no frame came while no ring took it"
    );
    other.restart().unwrap();
    lab.ports[1].wait_active(1);
    let mut one = lab.guest_with(0, many_pairs());
    ping(&mut one, &mut other);
}
