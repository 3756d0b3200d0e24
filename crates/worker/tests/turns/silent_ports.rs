//! Ports whose guests say nothing for long: they cost nothing, and are heard when they speak.

use helio_types::VlanId;

use crate::stage::{Stage, frame, ordinary};

/// Turns without a frame after which a port counts as silent, and more.
const LONG: usize = 5000;

#[test]
fn a_port_that_was_silent_for_long_receives_at_once_and_is_heard_in_the_next_idle_turn() {
    let mut stage = Stage::new(1, &[ordinary(), ordinary(), ordinary()]);
    stage.know_all(VlanId::UNTAGGED);
    (0..LONG).for_each(|_| assert_eq!(stage.turn(0), 0));
    for (from, to) in [(0, 1), (2, 0)] {
        stage.send(from, &frame(from, to).payload(300, 1).complete());
        assert_eq!(stage.turn(0), 1);
        assert_eq!((stage.received(to).len(), stage.ports[from].completed()), (1, 1));
    }
    stage.settle();
}

#[test]
fn a_port_that_was_silent_for_long_is_heard_while_others_are_busy() {
    // One sender, one receiver, and many others.
    let mut stage = Stage::new(1, &vec![ordinary(); 60]);
    stage.know_all(VlanId::UNTAGGED);
    let busy_turn = |stage: &mut Stage| {
        stage.send(0, &frame(0, 1).complete());
        assert!(stage.turn(0) > 0);
        assert!(!stage.received(1).is_empty());
    };
    (0..LONG).for_each(|_| busy_turn(&mut stage));
    for from in [2, 31, 59] {
        stage.send(from, &frame(from, 1).complete());
        // At least one of the silent ports is looked at in each turn.
        let turns = (0..60).find(|_| {
            busy_turn(&mut stage);
            stage.ports[from].completed() == 1
        });
        assert!(turns.is_some(), "port {from} is not heard");
    }
    stage.settle();
}

#[test]
fn a_port_that_comes_or_goes_makes_nobody_deaf() {
    let mut stage = Stage::new(1, &[ordinary(), ordinary(), ordinary()]);
    stage.know_all(VlanId::UNTAGGED);
    (0..LONG).for_each(|_| assert_eq!(stage.turn(0), 0));
    assert!(stage.remove_port(0, 1).is_some());
    for (from, to) in [(0, 2), (2, 0)] {
        stage.send(from, &frame(from, to).payload(300, 1).complete());
        stage.settle();
        assert_eq!(stage.received(to).len(), 1);
    }
}
