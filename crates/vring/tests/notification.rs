//! When the guest is told, and when it is asked to tell us. VIRTIO 1.2, sections 2.7.7 and 2.7.10.
#![cfg(test)]

mod support;

use std::sync::atomic::{Ordering, fence};

use helio_vring::{Call, feature};
use proptest::prelude::*;
use support::{
    AVAIL, DATA, Descriptor, Driver, Receiver, Transmitter, WRITE, event, memory, pattern, signals,
};

const FLAGS: u64 = feature::VERSION_1;
const EVENT: u64 = feature::VERSION_1 | feature::EVENT_IDX;
const NO_INTERRUPT: u16 = 1;

/// A transmitq whose first signal is over.
fn running(
    size: u16,
    features: u64,
    start: u16,
) -> (Transmitter, std::sync::Arc<std::os::fd::OwnedFd>) {
    let (map, table) = memory();
    let (call, fd) = event();
    let driver = Driver::resumed(map, size, start);
    for index in 0..size {
        driver.put(index, Descriptor::new(DATA, 72, 0, 0));
    }
    let mut guest = Transmitter::start(driver, table, features, call);
    tell(&mut guest);
    signals(&fd);
    (guest, fd)
}

/// What a worker does at the end of a turn.
fn tell(guest: &mut Transmitter) {
    guest.queue.publish();
    fence(Ordering::SeqCst);
    guest.queue.notify();
}

/// Lets `count` chains pass, and ends the turn.
fn pass(guest: &mut Transmitter, count: u16) {
    for _ in 0..count {
        guest.driver.offer(0);
    }
    let mut taken = 0;
    while taken < count {
        taken += guest.take().unwrap();
        for slot in guest.burst.frames().iter().map(|frame| frame.origin).collect::<Vec<_>>() {
            guest.release(slot);
        }
    }
    tell(guest);
}

#[test]
fn c023_the_first_signal_after_a_start_is_sent_whatever_the_guest_waits_for() {
    for (features, used_event) in
        [(FLAGS, 0), (EVENT, 0), (EVENT, 100), (EVENT, 65_535), (EVENT, 40_000)]
    {
        for start in [0, 100, 65_535] {
            let (map, table) = memory();
            let (call, fd) = event();
            let driver = Driver::resumed(map, 16, start);
            driver.set_used_event(used_event);
            driver.put(0, Descriptor::new(DATA, 72, 0, 0));
            let mut guest = Transmitter::start(driver, table, features, call);
            pass(&mut guest, 1);
            assert_eq!(signals(&fd), 1);
        }
    }
}

#[test]
fn c023_a_back_end_that_takes_over_signals_although_it_completed_nothing_itself() {
    let (call, fd) = event();
    let mut guest = Receiver::with_call(16, EVENT, call);
    guest.queue.notify();
    assert_eq!(signals(&fd), 1);
    guest.queue.notify();
    assert_eq!(signals(&fd), 0);
}

#[test]
fn c021_a_turn_signals_once_however_much_it_completes_and_not_at_all_without() {
    for features in [FLAGS, EVENT] {
        let (mut guest, fd) = running(256, features, 0);
        guest.driver.set_used_event(0);
        pass(&mut guest, 100);
        assert_eq!(signals(&fd), 1);
        tell(&mut guest);
        guest.queue.notify();
        assert_eq!(signals(&fd), 0);
    }
}

#[test]
fn c021_completed_chains_are_invisible_until_they_are_published_and_not_signalled_before() {
    let (call, fd) = event();
    let mut guest = Receiver::with_call(16, FLAGS, call);
    guest.queue.notify();
    signals(&fd);
    guest.post(&[(DATA, 2000)]);
    guest.offer(&pattern(60)).unwrap().unwrap();
    guest.queue.notify();
    assert_eq!((guest.driver.used_index(), signals(&fd)), (0, 0));
    guest.queue.publish();
    guest.queue.notify();
    assert_eq!((guest.driver.used_index(), signals(&fd)), (1, 1));
}

#[test]
fn no_interrupt_is_honoured_and_taken_back() {
    let (mut guest, fd) = running(16, FLAGS, 0);
    guest.driver.set_avail_flags(NO_INTERRUPT);
    pass(&mut guest, 3);
    assert_eq!(signals(&fd), 0);
    guest.driver.set_avail_flags(0);
    tell(&mut guest);
    assert_eq!(signals(&fd), 0, "a driver looks at the used ring after it allows interrupts");
    pass(&mut guest, 1);
    assert_eq!(signals(&fd), 1);
}

#[test]
fn no_interrupt_is_ignored_with_event_idx_and_the_used_event_without() {
    let (mut guest, fd) = running(16, EVENT, 0);
    guest.driver.set_avail_flags(NO_INTERRUPT);
    guest.driver.set_used_event(0);
    pass(&mut guest, 1);
    assert_eq!(signals(&fd), 1);
    let (mut guest, fd) = running(16, FLAGS, 0);
    guest.driver.set_used_event(100);
    pass(&mut guest, 1);
    assert_eq!(signals(&fd), 1);
}

#[test]
fn c023_the_signal_comes_when_the_used_index_passes_the_event_and_not_again() {
    for start in [0_u16, 65_530] {
        let (mut guest, fd) = running(16, EVENT, start);
        guest.driver.set_used_event(start.wrapping_add(9));
        pass(&mut guest, 5);
        assert_eq!(signals(&fd), 0, "5 of 10");
        pass(&mut guest, 4);
        assert_eq!(signals(&fd), 0, "9 of 10");
        pass(&mut guest, 1);
        assert_eq!(signals(&fd), 1, "10 of 10");
        pass(&mut guest, 16);
        assert_eq!(signals(&fd), 0, "the event lies behind");
    }
}

#[test]
fn c022_a_new_call_gets_the_next_signal_and_the_old_one_none() {
    let (mut guest, old) = running(16, EVENT, 0);
    guest.driver.set_used_event(1000);
    let (call, new) = event();
    guest.queue.set_call(call);
    tell(&mut guest);
    assert_eq!((signals(&old), signals(&new)), (0, 1), "what the old one told may be lost");
    pass(&mut guest, 1);
    assert_eq!((signals(&old), signals(&new)), (0, 0));
    guest.queue.set_call(Call(None));
    guest.driver.set_used_event(1);
    pass(&mut guest, 1);
    assert_eq!((signals(&old), signals(&new)), (0, 0));
}

#[test]
fn c022_what_was_completed_without_a_call_is_signalled_when_there_is_one() {
    let (map, table) = memory();
    let mut guest = Transmitter::start(Driver::new(map, 16), table, FLAGS, Call(None));
    guest.driver.put(0, Descriptor::new(DATA, 72, 0, 0));
    pass(&mut guest, 2);
    let (call, fd) = event();
    guest.queue.set_call(call);
    tell(&mut guest);
    assert_eq!(signals(&fd), 1);
}

#[test]
fn c027_a_call_whose_counter_is_full_does_not_hold_the_worker() {
    let (mut guest, fd) = running(16, FLAGS, 0);
    rustix::io::write(&fd, &(u64::MAX - 1).to_ne_bytes()).unwrap();
    for _ in 0..3 {
        pass(&mut guest, 1);
    }
    assert_eq!(signals(&fd), u64::MAX - 1);
}

#[test]
fn kicks_are_refused_from_the_start_by_the_flag_or_with_event_idx_by_the_index() {
    for features in [FLAGS, EVENT] {
        let (guest, _) = running(16, features, 65_535);
        let expected = if features == FLAGS { 1 } else { 0 };
        assert_eq!(guest.driver.used_flags(), expected);
        assert!(!kicks(&guest.driver, features, 65_535, 3));
        assert!(!guest.queue.ask_for_kick());
        assert_eq!(guest.driver.used_flags(), 0);
        assert!(kicks(&guest.driver, features, 65_535, 0));
        assert!(kicks(&guest.driver, features, 65_535, 3));
        guest.queue.refuse_kicks();
        assert_eq!(guest.driver.used_flags(), expected);
        assert!(!kicks(&guest.driver, features, 65_535, 3));
    }
}

/// Whether a driver that raises its avail index from `old` to `new` has to kick.
fn kicks(driver: &Driver, features: u64, old: u16, new: u16) -> bool {
    if features & feature::EVENT_IDX == 0 {
        driver.used_flags() & 1 == 0
    } else {
        passes(old, new, driver.avail_event())
    }
}

/// Whether an index that goes from `old` to `new` one by one leaves `event` behind. VIRTIO 1.2, section 2.7.7.2.
fn passes(old: u16, new: u16, event: u16) -> bool {
    let mut index = old;
    while index != new {
        if index == event {
            return true;
        }
        index = index.wrapping_add(1);
    }
    false
}

#[test]
fn c021_asking_for_a_kick_reports_a_chain_that_was_offered_before() {
    for features in [FLAGS, EVENT] {
        let (mut guest, _) = running(16, features, 65_535);
        assert!(!guest.queue.ask_for_kick());
        guest.driver.offer(0);
        assert!(guest.queue.ask_for_kick(), "offered while nobody looked");
        guest.take().unwrap();
        assert!(!guest.queue.ask_for_kick(), "taken, though not completed");
        guest.settle();
        assert!(!guest.queue.ask_for_kick());
    }
}

#[test]
fn c021_asking_for_a_kick_reports_an_impossible_index_as_work() {
    let (guest, _) = running(16, EVENT, 0);
    guest.driver.store_u16(AVAIL + 2, 17);
    assert!(guest.queue.ask_for_kick());
}

#[test]
fn c022_no_chain_is_lost_between_taking_the_last_and_asking_for_a_kick() {
    // The driver offers, then looks whether to kick; the worker asks for a kick, then looks for offers. Both orders of
    // the two middle steps must end with a kick or with work.
    for features in [FLAGS, EVENT] {
        let (mut first, _) = running(16, features, 0);
        first.driver.offer(0);
        assert!(first.queue.ask_for_kick() || kicks(&first.driver, features, 0, 1));
        let (mut second, _) = running(16, features, 0);
        assert!(!second.queue.ask_for_kick());
        second.driver.offer(0);
        assert!(kicks(&second.driver, features, 0, 1));
    }
}

#[test]
fn a_receive_queue_asks_for_no_kicks() {
    for (features, flags) in [(FLAGS, 1), (EVENT, 0)] {
        let mut guest = Receiver::resumed(16, features, 65_535);
        assert_eq!(guest.driver.used_flags(), flags);
        for entry in 0..300_u16 {
            let old = 65_535_u16.wrapping_add(entry);
            guest.driver.put(0, Descriptor::new(DATA, 100, WRITE, 0));
            guest.driver.offer(0);
            assert!(!kicks(&guest.driver, features, old, old.wrapping_add(1)));
            guest.offer(&pattern(60)).unwrap().unwrap();
            guest.settle();
        }
    }
}

#[test]
fn c024_starting_a_ring_writes_its_wish_about_kicks_and_nothing_else() {
    for features in [FLAGS, EVENT] {
        let (map, table) = memory();
        let driver = Driver::new(map, 256);
        for at in 0..3 {
            driver.write([support::DESCRIPTORS, AVAIL, support::USED][at], &[0; 0x1000]);
        }
        let before = driver.read(0, 0x20_0000);
        let guest = Transmitter::start(driver, table, features, Call::default());
        let after = guest.driver.read(0, 0x20_0000);
        let changed: Vec<_> = (0_u64..)
            .zip(before.iter().zip(&after))
            .filter(|(_, (b, a))| b != a)
            .map(|c| c.0)
            .collect();
        let used = support::USED;
        let event = used + 4 + 8 * 256;
        let expected = if features == FLAGS { vec![used] } else { vec![event, event + 1] };
        assert_eq!(changed, expected);
    }
}

proptest! {
    #[test]
    fn c023_the_decision_is_that_of_the_specification_everywhere(
        start in any::<u16>(),
        counts in prop::collection::vec(0_u16..300, 1..6),
        near in -400_i32..400,
    ) {
        let (mut guest, fd) = running(512, EVENT, start);
        let event = start.wrapping_add_signed(i16::try_from(near).unwrap());
        guest.driver.set_used_event(event);
        let mut old = start;
        for count in counts {
            let new = old.wrapping_add(count);
            pass(&mut guest, count);
            prop_assert_eq!(signals(&fd) == 1, passes(old, new, event), "{} {} {}", old, new, event);
            old = new;
        }
    }
}
