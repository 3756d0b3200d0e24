//! What a front-end may do to rings, running or not, and what it may not.

mod support;

use std::os::fd::AsFd;
use std::sync::atomic::Ordering;

use helio_frame::PortFault;
use helio_guest::{EventFd, Guest, GuestConfig, MessageId, RingState, features};
use helio_types::DropReason;
use helio_vhost_user::StateWord;
use support::lab::{Lab, config, exchange, flow, hear_out, hears_nothing, ping};
use support::{PATIENCE, lie, signals, wait_until};

fn state(index: u32, number: u32) -> [u8; 8] {
    RingState { index, number }.encode()
}

/// A guest with `pairs` queue pairs, `active` of which are enabled.
fn pairs(index: usize, pairs: u16, active: u16) -> GuestConfig {
    GuestConfig { queue_pairs: pairs, active_pairs: active, ..config(index) }
}

#[test]
fn c024_a_disabled_ring_discards_what_is_sent_and_gets_nothing() {
    let lab = Lab::new(2);
    let (mut one, mut other) = (lab.guest(0), lab.guest(1));
    one.set_active_pairs(0).unwrap();
    assert_eq!(lab.ports[0].handle.active_pairs(), 0);
    for _ in 0..9 {
        one.send_blocking(&[2; 64], PATIENCE).unwrap();
        other.send_blocking(&[2; 64], PATIENCE).unwrap();
    }
    one.wait_all_sent(PATIENCE).unwrap();
    other.wait_all_sent(PATIENCE).unwrap();
    assert_eq!(lab.hub.shared.dropped(DropReason::RingDisabled), 9);
    assert_eq!(lab.hub.shared.dropped(DropReason::PortDown), 9);
    hears_nothing(&mut other);
    hears_nothing(&mut one);
    one.set_active_pairs(1).unwrap();
    ping(&mut one, &mut other);
}

#[test]
fn c038_used_length_is_what_was_written_and_nothing_for_what_was_sent() {
    let lab = Lab::new(2);
    let (mut one, mut other) = (lab.guest(0), lab.guest(1));
    for frame_bytes in [60_u16, 61, 64, 65, 128, 129, 1000, 1514] {
        one.send_blocking(&vec![2; usize::from(frame_bytes)], PATIENCE).unwrap();
        one.wait_all_sent(PATIENCE).unwrap();
        other.wait_received(1, PATIENCE).unwrap();
        let last = |guest: &Guest, ring| {
            let (area, _) = guest.driver().rings().nth(ring).unwrap();
            area.used_entry(area.used_idx().wrapping_sub(1) % area.size()).1
        };
        assert_eq!(last(&one, 1), 0);
        assert_eq!(last(&other, 0), 12 + u32::from(frame_bytes), "net header and frame");
    }
}

#[test]
fn c040_the_number_of_pairs_changes_while_frames_flow() {
    let lab = Lab::new(2);
    let mut one = lab.guest_with(0, pairs(0, 4, 4));
    let mut other = lab.guest(1);
    for active in [4, 1, 3, 0, 2, 4] {
        one.set_active_pairs(active).unwrap();
        lab.ports[0].wait_active(active);
        if active > 0 {
            ping(&mut one, &mut other);
        }
    }
    assert_eq!(lab.ports[0].handle.state().detail, "4 of 4 queue pairs running");
}

#[test]
fn c040_replies_come_back_on_the_pair_their_flow_was_sent_on() {
    let lab = Lab::new(2);
    let mut one = lab.guest_with(0, pairs(0, 4, 4));
    let mut other = lab.guest(1);
    for pair in [0, 3, 1, 2, 0] {
        for port in 0..8 {
            let (mut there, mut back) = (flow(&one, &other), flow(&other, &one));
            let (mut to, mut from) = (*there.flow(), *back.flow());
            (to.ports, from.ports) = ([1000 + port, 53], [53, 1000 + port]);
            (to.addresses, from.addresses) =
                ([[10, 0, 0, 1], [10, 0, 0, 2]], [[10, 0, 0, 2], [10, 0, 0, 1]]);
            (there, back) = (helio_guest::Numbered::new(to), helio_guest::Numbered::new(from));
            let mut bytes = Vec::new();
            let header = there.write_next(&mut bytes);
            one.send_on(pair, &header, &bytes).unwrap();
            one.kick();
            other.wait_received(1, PATIENCE).unwrap();
            assert_eq!(exchange(&mut other, &mut one, &mut back).pair, pair);
        }
    }
}

#[test]
fn c040_a_reply_whose_pair_is_disabled_comes_on_another_one() {
    let lab = Lab::new(2);
    let mut one = lab.guest_with(0, pairs(0, 4, 4));
    let mut other = lab.guest(1);
    let (mut there, mut back) = (flow(&one, &other), flow(&other, &one));
    let mut bytes = Vec::new();
    let header = there.write_next(&mut bytes);
    one.send_on(3, &header, &bytes).unwrap();
    one.kick();
    other.wait_received(1, PATIENCE).unwrap();
    one.set_active_pairs(2).unwrap();
    assert!(exchange(&mut other, &mut one, &mut back).pair < 2);
}

#[test]
fn c040_each_pair_gets_its_turn_while_another_one_is_full() {
    let lab = Lab::new(2);
    let mut one = lab.guest_with(0, pairs(0, 4, 4));
    let mut other = lab.guest(1);
    lab.hub.shared.pause();
    let mut bytes = Vec::new();
    for pair in 0..4_u16 {
        let mut flow = *flow(&one, &other).flow();
        flow.sender = pair;
        let mut frames = helio_guest::Numbered::new(flow);
        for _ in 0..60 {
            let header = frames.write_next(&mut bytes);
            one.send_on(usize::from(pair), &header, &bytes).unwrap();
        }
    }
    one.kick();
    lab.hub.shared.resume();
    let received = other.wait_received(240, PATIENCE).unwrap();
    let sender =
        |frame: &helio_guest::Received| helio_guest::TestFrame::parse(&frame.frame).unwrap().sender;
    let early: Vec<_> = received.iter().take(4 * helio_frame::BURST_FRAMES).map(sender).collect();
    assert!((0..4).all(|pair| early.contains(&pair)), "{early:?}");
}

#[test]
fn c022_a_ring_without_a_kick_descriptor_runs() {
    let lab = Lab::new(2);
    let (mut one, mut other) = (lab.guest(0), lab.guest(1));
    one.session().set_event(MessageId::SetVringKick, 1, None).unwrap();
    assert_eq!(lab.hub.shared.watched.load(Ordering::Relaxed), 1);
    // Nothing wakes the worker by itself, so the other side's frame has to.
    let mut bytes = Vec::new();
    flow(&one, &other).write_next(&mut bytes);
    one.send_blocking(&bytes, PATIENCE).unwrap();
    let mut back = flow(&other, &one);
    exchange(&mut other, &mut one, &mut back);
    other.wait_received(1, PATIENCE).unwrap();
}

#[test]
fn c022_a_kick_descriptor_is_replaced_while_the_ring_runs() {
    let lab = Lab::new(2);
    let (mut one, mut other) = (lab.guest(0), lab.guest(1));
    let fresh = EventFd::new().unwrap();
    one.session().set_event(MessageId::SetVringKick, 1, Some(&fresh)).unwrap();
    assert_eq!(lab.hub.shared.watched.load(Ordering::Relaxed), 2);
    let mut bytes = Vec::new();
    flow(&one, &other).write_next(&mut bytes);
    let slept = || lab.hub.shared.sleeps.load(Ordering::Relaxed);
    let before = slept();
    one.send(&bytes).unwrap();
    one.kick();
    fresh.signal();
    other.wait_received(1, PATIENCE).unwrap();
    wait_until("the worker sleeps again", || slept() > before);
}

#[test]
fn c022_what_was_said_by_a_kick_descriptor_that_is_replaced_is_not_waited_for() {
    let lab = Lab::new(2);
    let (mut one, mut other) = (lab.guest(0), lab.guest(1));
    ping(&mut one, &mut other);
    let mut bytes = Vec::new();
    flow(&one, &other).write_next(&mut bytes);
    // A descriptor that nobody watches: the kick is lost.
    one.session().set_event(MessageId::SetVringKick, 1, None).unwrap();
    let sleeps = || lab.hub.shared.sleeps.load(Ordering::Relaxed);
    wait_until("the worker sleeps", || {
        let before = sleeps();
        std::thread::sleep(std::time::Duration::from_millis(20));
        sleeps() == before
    });
    one.send(&bytes).unwrap();
    one.kick();
    let fresh = EventFd::new().unwrap();
    one.session().set_event(MessageId::SetVringKick, 1, Some(&fresh)).unwrap();
    other.wait_received(1, PATIENCE).unwrap();
}

#[test]
fn c027_descriptors_that_are_no_eventfd_are_not_used_and_said_so() {
    let lab = Lab::new(2);
    let (mut one, mut other) = (lab.guest(0), lab.guest(1));
    let messages = [MessageId::SetVringCall, MessageId::SetVringErr, MessageId::SetVringKick];
    let odd = lie::odd_descriptors();
    for message in messages {
        for fd in &odd {
            for ring in 0..2_u64 {
                one.session().command(message, &ring.to_ne_bytes(), &[fd.as_fd()]).unwrap();
            }
        }
    }
    assert_eq!(lab.ports[0].handle.notes(), 2 * 3 * odd.len() as u64);
    let told = lab.ports[0].events.lock().unwrap().len();
    assert_eq!(told, 1 + 3, "a connection, and each kind of note once");
    assert!(lab.ports[0].handle.state().detail.contains("is not an eventfd"));
    // Neither kicks nor calls work now. Frames still do, when both sides look.
    let mut back = flow(&other, &one);
    let mut bytes = Vec::new();
    back.write_next(&mut bytes);
    other.send_blocking(&bytes, PATIENCE).unwrap();
    let mut received = 0;
    wait_until("the frame is there", || {
        received += one.poll_once(|_, _, _| {});
        received == 1
    });
}

#[test]
fn c026_a_running_ring_cannot_be_moved() {
    let lab = Lab::new(2);
    let (one, mut other) = (lab.guest(0), lab.guest(1));
    let (area, _) = one.driver().rings().nth(1).unwrap();
    let same = area.front_end_addresses(1);
    one.session().command(MessageId::SetVringAddr, &same.encode(), &[]).unwrap();
    let moved = helio_guest::RingAddresses { used: same.used + 64, ..same };
    lie::command_is_refused(one.session(), MessageId::SetVringAddr, &moved.encode(), &[]);
    lab.ports[0].wait_ends(1);
    assert_eq!(lab.ports[0].last_end(), "the front-end moved a ring while it runs");
    let mut one = lab.guest(0);
    ping(&mut one, &mut other);
}

#[test]
fn c026_size_and_base_of_a_running_ring_stay_and_that_is_said() {
    let lab = Lab::new(2);
    let (mut one, mut other) = (lab.guest(0), lab.guest(1));
    one.session().command(MessageId::SetVringNum, &state(1, 256), &[]).unwrap();
    assert_eq!(lab.ports[0].handle.notes(), 0);
    one.session().command(MessageId::SetVringNum, &state(1, 64), &[]).unwrap();
    one.session().command(MessageId::SetVringBase, &state(1, 77), &[]).unwrap();
    assert_eq!(lab.ports[0].handle.notes(), 2);
    assert!(lab.ports[0].handle.state().detail.contains("was ignored"));
    ping(&mut one, &mut other);
    assert_eq!(one.stop().unwrap(), [20, 20]);
}

#[test]
fn c019_a_size_that_is_no_power_of_two_faults_the_port_until_the_driver_starts_again() {
    let lab = Lab::new(2);
    let mut other = lab.guest(1);
    let mut one = lab.guest(0);
    one.stop().unwrap();
    lab.ports[0].wait_active(0);
    one.session().share_memory(one.memory()).unwrap();
    let (area, events) = one.driver().rings().next().unwrap();
    let ring = helio_guest::RingSetup {
        index: 0,
        area,
        base: 0,
        kick: &events.kick,
        call: &events.call,
        err: &events.err,
    };
    one.session().command(MessageId::SetVringNum, &state(0, 255), &[]).unwrap();
    one.session()
        .command(MessageId::SetVringAddr, &area.front_end_addresses(0).encode(), &[])
        .unwrap();
    one.session().set_event(MessageId::SetVringErr, 0, Some(ring.err)).unwrap();
    one.session().set_event(MessageId::SetVringKick, 0, Some(ring.kick)).unwrap();
    lab.ports[0].wait_word(StateWord::Faulted);
    assert_eq!(lab.ports[0].handle.fault(), Some(PortFault::RingSize));
    assert_eq!(signals(|| ring.err.take()), 1);
    one.restart().unwrap();
    lab.ports[0].wait_active(1);
    assert_eq!(lab.ports[0].handle.fault(), None);
    ping(&mut one, &mut other);
}

#[test]
fn c014_an_impossible_avail_index_faults_its_port_and_no_other() {
    let mut lab = Lab::new(2);
    lab.add(helio_vhost_user::SocketRole::Server);
    let mut guests: Vec<Guest> = (0..3).map(|index| lab.guest(index)).collect();
    for ring in [1, 0] {
        let (area, events) = guests[0].driver().rings().nth(ring).unwrap();
        area.set_avail_idx(area.used_idx().wrapping_add(1000));
        events.kick.signal();
        // A receiveq is looked at when a frame is to be delivered.
        guests[1].send_blocking(&[2; 64], PATIENCE).unwrap();
        lab.ports[0].wait_word(StateWord::Faulted);
        assert_eq!(lab.ports[0].handle.fault(), Some(PortFault::AvailIndex));
        lab.ports[0].wait_active(0);
        for (_, events) in guests[0].driver().rings() {
            assert_eq!(signals(|| events.err.take()), 1);
        }
        guests[2].wait_received(1, PATIENCE).unwrap();
        let mut rest = guests.split_off(1);
        let (two, three) = rest.split_at_mut(1);
        ping(&mut two[0], &mut three[0]);
        guests[0].restart().unwrap();
        lab.ports[0].wait_active(1);
        assert_eq!(lab.ports[0].handle.state().word, StateWord::Up);
        guests.append(&mut rest);
        // What was flooded to the port that came back.
        hear_out(&mut guests);
    }
    let faults = lab.ports[0].events.lock().unwrap();
    let told = |event: &&helio_vhost_user::PortEvent| event.to_string().starts_with("faulted: ");
    assert_eq!(faults.iter().filter(told).count(), 2);
}

#[test]
fn c018_a_ring_whose_memory_is_taken_away_waits_for_it() {
    let lab = Lab::new(2);
    let (mut one, mut other) = (lab.guest(0), lab.guest(1));
    ping(&mut one, &mut other);
    one.session().withdraw_memory(one.memory()).unwrap();
    let handle = &lab.ports[0].handle;
    assert_eq!((handle.fault(), handle.memory(), handle.active_pairs()), (None, None, 0));
    let state = handle.state();
    assert_eq!(state.word, StateWord::Waiting);
    assert_eq!(state.detail, "connected: 2 rings wait for memory that is not shared now");
    other.send_blocking(&[2; 64], PATIENCE).unwrap();
    other.wait_all_sent(PATIENCE).unwrap();
    assert_eq!(lab.hub.shared.dropped(DropReason::PortDown), 1);
    // Stopped meanwhile, it says where it stood.
    for ring in 0..2 {
        assert_eq!(one.session().stop_ring(ring).unwrap(), 20);
    }
    assert_eq!(handle.state().detail, "connected: waits for the guest's driver");
    one.session().share_memory(one.memory()).unwrap();
    assert_eq!(handle.active_pairs(), 0);
    one.restart().unwrap();
    lab.ports[0].wait_active(1);
    ping(&mut one, &mut other);
}

#[test]
fn c018_a_ring_that_is_started_outside_shared_memory_faults_its_port() {
    let lab = Lab::new(2);
    let (mut one, mut other) = (lab.guest(0), lab.guest(1));
    one.stop().unwrap();
    let (area, events) = one.driver().rings().nth(1).unwrap();
    // It begins in shared memory and ends behind it.
    let region = *one.memory().table().last().unwrap();
    let right = area.front_end_addresses(1);
    let last = region.front_end_addr + region.size_bytes - 16;
    let wrong = helio_guest::RingAddresses { table: last, ..right };
    one.session().share_memory(one.memory()).unwrap();
    one.session().command(MessageId::SetVringAddr, &wrong.encode(), &[]).unwrap();
    one.session().set_event(MessageId::SetVringKick, 1, Some(&events.kick)).unwrap();
    lab.ports[0].wait_word(StateWord::Faulted);
    assert_eq!(lab.ports[0].handle.fault(), Some(PortFault::RingAddress));
    one.restart().unwrap();
    lab.ports[0].wait_active(1);
    ping(&mut one, &mut other);
}

#[test]
fn c016_an_unaligned_ring_is_refused() {
    let lab = Lab::new(1);
    for shift in [[8, 0, 0], [0, 2, 0], [0, 0, 1]] {
        let guest = Guest::connect(&lab.ports[0].socket, config(0)).unwrap();
        guest.session().set_features().unwrap();
        guest.session().share_memory(guest.memory()).unwrap();
        let (area, _) = guest.driver().rings().next().unwrap();
        let right = area.front_end_addresses(0);
        let wrong = helio_guest::RingAddresses {
            table: right.table + shift[0],
            used: right.used + shift[1],
            avail: right.avail + shift[2],
            ..right
        };
        lie::command_is_refused(guest.session(), MessageId::SetVringAddr, &wrong.encode(), &[]);
    }
}

#[test]
fn c050_features_that_change_while_a_ring_runs_hold_from_its_next_start() {
    let lab = Lab::new(2);
    let (mut one, mut other) = (lab.guest(0), lab.guest(1));
    let fewer = one.features() & !features::EVENT_IDX;
    one.session().command(MessageId::SetFeatures, &fewer.to_ne_bytes(), &[]).unwrap();
    assert_eq!(lab.ports[0].handle.features(), fewer);
    ping(&mut one, &mut other);
    one.restart().unwrap();
    lab.ports[0].wait_active(1);
    ping(&mut one, &mut other);
}

#[test]
fn c025_a_kick_storm_does_not_keep_others_from_being_served() {
    let mut lab = Lab::new(2);
    lab.add(helio_vhost_user::SocketRole::Server);
    let (mut one, mut other) = (lab.guest(0), lab.guest(1));
    let hostile = lab.guest(2);
    let (_, events) = hostile.driver().rings().nth(1).unwrap();
    let storm = helio_guest::Racer::kick_storm(events.kick.try_clone().unwrap());
    for round in 1..=5 {
        wait_until("the storm goes on", || storm.turns() > round * 10_000);
        ping(&mut one, &mut other);
    }
    assert!(storm.stop() > 50_000);
}
