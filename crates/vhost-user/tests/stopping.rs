//! Ports that are stopped, in whatever state they are.

mod support;

use std::time::{Duration, Instant};

use helio_vhost_user::{PortError, SocketRole, StateWord};
use support::lab::{Lab, ping};

#[test]
fn c077_a_port_is_stopped_while_its_worker_forwards() {
    let mut lab = Lab::new(2);
    let (mut one, mut other) = (lab.guest(0), lab.guest(1));
    ping(&mut one, &mut other);
    let began = Instant::now();
    lab.ports[0].handle.stop();
    assert!(began.elapsed() < Duration::from_secs(2));
    assert!(!lab.ports[0].socket.exists());
    assert_eq!(lab.ports[0].handle.state().word, StateWord::Down);
    assert!(one.session().connection().wait_closed(support::PATIENCE));
    assert!(!lab.ports[0].was_worker_silent());
    lab.hub.remove(lab.ports[0].id);
}

#[test]
fn c077_a_port_is_stopped_while_it_listens_or_connects_or_was_never_started() {
    let mut lab = Lab::new(1);
    lab.add(SocketRole::Client);
    for port in &mut lab.ports {
        let began = Instant::now();
        port.handle.stop();
        port.handle.stop();
        assert!(began.elapsed() < Duration::from_secs(2));
        assert!(!port.socket.exists());
    }
    let (_port, mut made) = lab.create(2, SocketRole::Server).unwrap();
    assert!(made.socket.exists());
    made.handle.stop();
    assert!(!made.socket.exists());
}

#[test]
fn a_port_is_stopped_after_its_worker_has_dropped_it() {
    let mut lab = Lab::new(2);
    let _guests = (lab.guest(0), lab.guest(1));
    lab.hub.remove(lab.ports[0].id);
    let began = Instant::now();
    lab.ports[0].handle.stop();
    assert!(began.elapsed() < Duration::from_secs(2));
    assert!(!lab.ports[0].was_worker_silent());
}

#[test]
fn a_stopped_port_makes_room_for_another_one_with_its_socket() {
    let mut lab = Lab::new(2);
    let (one, mut other) = (lab.guest(0), lab.guest(1));
    assert!(matches!(lab.create(0, SocketRole::Server), Err(PortError::InUse(_))));
    lab.ports[0].handle.stop();
    lab.hub.remove(lab.ports[0].id);
    drop(one);
    let (port, mut made) = lab.create(0, SocketRole::Server).unwrap();
    lab.hub.add(made.id, port);
    made.handle.start().unwrap();
    lab.ports[0] = made;
    let mut one = lab.guest(0);
    ping(&mut one, &mut other);
}
