//! Sessions from their beginning to their end, in both roles, with real rings.

mod support;

use helio_guest::{Connection, Guest, Listener, SetupOrder, features};
use helio_vhost_user::{OFFERED_FEATURES, PortEvent, SocketRole, StateWord};
use support::lab::{Lab, config, hears_nothing, ping};
use support::{PATIENCE, wait_until};

#[test]
fn two_guests_exchange_frames_and_the_worker_sleeps_in_between() {
    let lab = Lab::new(2);
    let (mut one, mut other) = (lab.guest(0), lab.guest(1));
    for _ in 0..3 {
        let sleeps = || lab.hub.shared.sleeps.load(std::sync::atomic::Ordering::Relaxed);
        let before = sleeps();
        ping(&mut one, &mut other);
        // Only a kick wakes it again.
        wait_until("the worker sleeps", || sleeps() > before);
    }
    let state = lab.ports[0].handle.state();
    assert_eq!((state.word, &*state.detail), (StateWord::Up, "1 of 4 queue pairs running"));
    assert_eq!(lab.ports[0].handle.features(), one.features());
}

#[test]
fn c047_both_orders_of_set_up_work() {
    for setup_order in [SetupOrder::Qemu, SetupOrder::VirtioUser] {
        let lab = Lab::new(2);
        let with = |index| helio_guest::GuestConfig { setup_order, ..config(index) };
        let (mut one, mut other) = (lab.guest_with(0, with(0)), lab.guest_with(1, with(1)));
        ping(&mut one, &mut other);
    }
}

#[test]
fn all_feature_sets_of_rings_work() {
    let optional =
        [features::MRG_RXBUF, features::EVENT_IDX, features::INDIRECT_DESC, features::IN_ORDER];
    for set in 0..1_u64 << optional.len() {
        let chosen = (0..).zip(optional).filter(|(bit, _)| set >> bit & 1 == 1);
        let features = chosen.fold(features::VERSION_1, |all, (_, feature)| all | feature);
        let lab = Lab::new(2);
        let with = |index| helio_guest::GuestConfig { features, ..config(index) };
        let (mut one, mut other) = (lab.guest_with(0, with(0)), lab.guest_with(1, with(1)));
        assert_eq!(one.features() & !features::PROTOCOL_FEATURES, features);
        ping(&mut one, &mut other);
    }
}

#[test]
fn c052_a_session_without_protocol_features_starts_with_enabled_rings() {
    let lab = Lab::new(2);
    let connection = || Connection::connect(&lab.ports[0].socket).unwrap();
    // The library takes PROTOCOL_FEATURES when they are offered, so the session is spoken by hand up to here.
    let mut other = lab.guest(1);
    let mut one = Guest::new(connection(), config(0)).unwrap();
    let plain = one.features() & !features::PROTOCOL_FEATURES;
    one.start().unwrap();
    lab.ports[0].wait_active(1);
    one.stop().unwrap();
    for ring in 0..2 {
        one.session().disable_ring(ring).unwrap();
    }
    let message = helio_guest::MessageId::SetFeatures;
    one.session().command(message, &plain.to_ne_bytes(), &[]).unwrap();
    one.driver_mut().reset();
    let session = one.session();
    session.share_memory(one.memory()).unwrap();
    let rings: Vec<_> = one.driver().rings().collect();
    for (index, (area, events)) in (0..).zip(rings) {
        let ring = helio_guest::RingSetup {
            index,
            area,
            base: 0,
            kick: &events.kick,
            call: &events.call,
            err: &events.err,
        };
        session.set_up_ring(&ring).unwrap();
    }
    lab.ports[0].wait_active(1);
    ping(&mut one, &mut other);
}

#[test]
fn we_connect_to_a_front_end_that_listens_and_again_after_it_went() {
    let mut lab = Lab::new(1);
    lab.add(SocketRole::Client);
    let mut one = lab.guest(0);
    let path = lab.ports[1].socket.clone();
    wait_until("a try failed", || lab.ports[1].handle.state().detail.contains("no such file"));
    let listener = Listener::bind(&path).unwrap();
    for _ in 0..3 {
        let mut other = lab.accepted_guest(1, &listener);
        ping(&mut one, &mut other);
        drop(other);
        lab.ports[1].wait_active(0);
    }
}

#[test]
fn a_driver_that_is_loaded_again_goes_on() {
    let lab = Lab::new(2);
    let (mut one, mut other) = (lab.guest(0), lab.guest(1));
    for _ in 0..10 {
        ping(&mut one, &mut other);
        one.restart().unwrap();
        lab.ports[0].wait_active(1);
    }
    let events = lab.ports[0].events.lock().unwrap();
    let others = events.iter().filter(|event| **event != PortEvent::LinkDown).count();
    assert_eq!(others, 1, "a connection, and nothing else: {events:?}");
}

#[test]
fn c085_the_base_is_what_was_taken_and_a_ring_goes_on_from_there() {
    let lab = Lab::new(2);
    let (mut one, mut other) = (lab.guest(0), lab.guest(1));
    ping(&mut one, &mut other);
    let bases = one.stop().unwrap();
    assert_eq!(bases, [20, 20]);
    lab.ports[0].wait_active(0);
    assert_eq!(lab.ports[0].handle.state().word, StateWord::Waiting);
    one.start().unwrap();
    lab.ports[0].wait_active(1);
    ping(&mut one, &mut other);
}

#[test]
fn c057_a_second_front_end_is_turned_away_and_the_first_is_unharmed() {
    let lab = Lab::new(2);
    let (mut one, mut other) = (lab.guest(0), lab.guest(1));
    for _ in 0..3 {
        let second = Connection::connect(&lab.ports[0].socket).unwrap();
        assert!(second.wait_closed(PATIENCE));
        ping(&mut one, &mut other);
    }
    let turned_away = "another front-end tried to connect and was turned away";
    let state = lab.ports[0].handle.state();
    assert_eq!(
        (state.word, state.detail),
        (StateWord::Up, format!("1 of 4 queue pairs running; {turned_away}"))
    );
    let told = lab.ports[0].events.lock().unwrap().clone();
    assert_eq!(told, [PortEvent::Connected, PortEvent::Note(turned_away.to_owned())]);
    drop(one);
    let mut second = lab.guest(0);
    assert_eq!(lab.ports[0].handle.state().detail, "1 of 4 queue pairs running");
    ping(&mut second, &mut other);
}

#[test]
fn c057_a_front_end_that_comes_right_after_another_one_went_is_not_turned_away() {
    let lab = Lab::new(2);
    let mut other = lab.guest(1);
    let mut one = lab.guest(0);
    for _ in 0..50 {
        // Messages that were not read yet stand between its last sign of life and its end.
        let hurried = one.session().connection();
        for _ in 0..20 {
            hurried.send(helio_guest::MessageId::GetFeatures, &[], &[]).unwrap();
        }
        drop(one);
        one = lab.guest(0);
        ping(&mut one, &mut other);
    }
}

#[test]
fn a_port_says_at_once_that_it_listens_or_connects() {
    let lab = Lab::empty();
    for (index, role, begin) in
        [(0, SocketRole::Server, "listening on"), (1, SocketRole::Client, "connecting to")]
    {
        for _ in 0..20 {
            let (port, mut made) = lab.create(index, role).unwrap();
            lab.hub.add(made.id, port);
            assert_eq!(made.handle.state().word, StateWord::Down);
            made.handle.start().unwrap();
            let state = made.handle.state();
            assert_eq!(state.word, StateWord::Waiting);
            assert!(state.detail.starts_with(begin), "{}", state.detail);
            made.handle.stop();
            lab.hub.remove(made.id);
        }
    }
}

#[test]
fn a_front_end_may_go_at_any_moment_of_its_set_up() {
    let lab = Lab::new(2);
    let mut other = lab.guest(1);
    drop(Connection::connect(&lab.ports[0].socket).unwrap());
    drop(Guest::connect(&lab.ports[0].socket, config(0)).unwrap());
    for steps in 0..3 {
        let guest = Guest::connect(&lab.ports[0].socket, config(0)).unwrap();
        guest.session().set_features().unwrap();
        if steps > 0 {
            guest.session().share_memory(guest.memory()).unwrap();
        }
        if steps > 1 {
            let (area, events) = guest.driver().rings().next().unwrap();
            let ring = helio_guest::RingSetup {
                index: 0,
                area,
                base: 0,
                kick: &events.kick,
                call: &events.call,
                err: &events.err,
            };
            guest.session().set_up_ring(&ring).unwrap();
        }
    }
    lab.ports[0].wait_ends(5);
    let mut one = lab.guest(0);
    ping(&mut one, &mut other);
}

#[test]
fn the_memory_of_a_front_end_is_let_go_when_it_leaves() {
    let lab = Lab::new(2);
    let (one, _other) = (lab.guest(0), lab.guest(1));
    let memory = lab.ports[0].handle.memory().unwrap();
    assert_eq!((memory.regions, memory.shrink_sealed), (1, true));
    assert!(lab.hub.shared.has_memory(lab.ports[0].id));
    drop(one);
    lab.ports[0].wait_ends(1);
    assert!(!lab.hub.shared.has_memory(lab.ports[0].id));
    assert_eq!(lab.ports[0].handle.memory(), None);
    assert_eq!(lab.ports[0].handle.features(), 0);
    let state = lab.ports[0].handle.state();
    assert_eq!(state.word, StateWord::Waiting);
    assert!(state.detail.ends_with("the front-end closed the connection"), "{}", state.detail);
}

#[test]
fn what_is_sent_to_a_port_without_a_guest_is_dropped_with_a_reason() {
    let lab = Lab::new(2);
    let mut one = lab.guest(0);
    one.send_blocking(&[2; 60], PATIENCE).unwrap();
    one.wait_all_sent(PATIENCE).unwrap();
    assert_eq!(lab.hub.shared.dropped(helio_types::DropReason::PortDown), 1);
    let mut other = lab.guest(1);
    hears_nothing(&mut other);
}

#[test]
fn a_front_end_is_offered_what_the_port_can_do() {
    let lab = Lab::new(1);
    let guest = Guest::connect(&lab.ports[0].socket, config(0)).unwrap();
    let session = guest.session();
    assert_eq!(session.offered(), OFFERED_FEATURES);
    assert_eq!(session.protocol_features(), features::protocol::USUAL);
    assert_eq!(session.queue_limit(), Some(8));
    assert_eq!(session.memory_slots(), Some(64));
}

#[test]
fn c161_a_front_end_that_shares_no_memory_is_named_as_such() {
    let lab = Lab::new(1);
    let guest = Guest::connect(&lab.ports[0].socket, config(0)).unwrap();
    guest.session().set_features().unwrap();
    wait_until("the state names the cure", || {
        lab.ports[0].handle.state().detail.contains("memory-backend-memfd,share=on")
    });
    assert_eq!(lab.ports[0].handle.state().word, StateWord::Waiting);
}
