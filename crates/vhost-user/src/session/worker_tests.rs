//! A worker that answers late or not at all, played by the test.

use std::sync::mpsc::{Receiver, channel};
use std::thread;

use super::*;
use crate::mailbox::Order;
use crate::parts::{PortEvent, SocketRole};
use crate::port::silence;

/// A session all of whose rings run, as far as it knows, and what is told of its port.
fn session(pairs: u8) -> (Session, Receiver<PortEvent>) {
    let (tell, told) = channel();
    let dir = tempfile::tempdir().unwrap();
    let parts = silence::parts(dir.path(), SocketRole::Client, pairs, move |event| {
        tell.send(event.clone()).unwrap();
    });
    let session = Session::new(Arc::new(PortShared::new(parts).unwrap()));
    for ring in &mut session.state().rings {
        (ring.phase, ring.has_run) = (Phase::Running, true);
    }
    (session, told)
}

/// The next order that the worker is given.
fn next_order(session: &Session) -> Order {
    loop {
        if let Some(order) = session.port.mailbox.take() {
            return order;
        }
        thread::yield_now();
    }
}

#[test]
fn a_worker_that_answers_for_some_rings_only_is_silent_which_is_told_once_until_it_answers() {
    let (session, told) = session(2);
    let orders: Vec<Order> = thread::scope(|scope| {
        let ends = scope.spawn(|| session.end());
        let orders: Vec<_> = (0..4).map(|_| next_order(&session)).collect();
        for answered in [1, 3] {
            orders[answered].answer.send(None).unwrap();
        }
        assert_eq!(ends.join().unwrap(), None);
        orders
    });
    assert!(session.port.status.is_worker_silent());
    assert_eq!(told.try_iter().collect::<Vec<_>>(), [PortEvent::WorkerSilent]);
    session.port.missed_worker();
    assert_eq!(told.try_iter().count(), 0);
    drop(orders);
    session.port.heard_worker();
    session.port.missed_worker();
    let events: Vec<_> = told.try_iter().collect();
    assert_eq!(events, [PortEvent::LinkDown, PortEvent::WorkerSilent]);
}

#[test]
fn a_call_descriptor_is_not_closed_before_the_worker_has_let_go_of_it_and_the_next_one_is_signalled()
 {
    let (session, _told) = session(1);
    let before = Arc::new(event_fd::make().unwrap());
    let still_open = Arc::downgrade(&before);
    session.state().rings[0].call = Call(Some(before));
    let next = event_fd::make().unwrap();
    let file = File::from(next.try_clone().unwrap());
    let mut count = [0; 8];
    thread::scope(|scope| {
        let sets = scope.spawn(|| session.set_call(0, Some(file)));
        let order = next_order(&session);
        assert!(matches!(order.command, Command::SetCall(_)));
        assert_eq!(still_open.strong_count(), 1);
        assert!(rustix::io::read(&next, &mut count).is_err());
        order.answer.send(None).unwrap();
        sets.join().unwrap();
    });
    assert_eq!(still_open.strong_count(), 0);
    rustix::io::read(&next, &mut count).unwrap();
    assert_eq!(u64::from_ne_bytes(count), 1);
}
