//! Which sessions a frame concerns.

use super::*;
use crate::{Directions, Exactness, LegForm, RefusedFrames, Sources};
use helio_encap::SnapLen;
use helio_types::VlanSet;
use std::num::NonZeroU32;

fn port(index: usize) -> PortId {
    PortId::new(index).unwrap()
}

fn set(indices: &[usize]) -> PortSet {
    indices.iter().map(|&index| port(index)).collect()
}

fn mac(last: u8) -> MacAddr {
    MacAddr([2, 0, 0, 0, 0, last])
}

fn vlan(id: u16) -> VlanId {
    VlanId::new(id).unwrap()
}

/// A session without sources, that copies to port 9 by leg `leg`.
fn session(leg: usize) -> Session {
    Session {
        number: 1,
        sources: Sources { ports: PortSet::EMPTY, vlans: VlanSet::EMPTY, macs: Vec::new() },
        directions: Directions::Both,
        filter: None,
        one_in: NonZeroU32::MIN,
        rate: None,
        snap_len: SnapLen::WHOLE,
        exactness: Exactness::ByReference,
        refused: RefusedFrames::Left,
        legs: vec![Leg { id: LegId::new(leg).unwrap(), port: port(9), form: LegForm::Plain }],
    }
}

fn of_ports(ports: &[usize], directions: Directions) -> Session {
    let mut session = session(0);
    session.sources.ports = set(ports);
    session.directions = directions;
    session
}

/// Whether a frame of VLAN 7 from `mac(1)` to `mac(2)` concerns the session on its way in and on its way out.
fn crosses(session: Session, ingress: usize, production: &[usize]) -> (bool, bool) {
    let production = set(production);
    let concerned = Sessions::new(vec![session]).concerned(&Crossing {
        ingress: port(ingress),
        production: &production,
        vlan: vlan(7),
        source: mac(1),
        destination: mac(2),
    });
    (concerned.ingress.contains(0), concerned.egress.contains(0))
}

#[test]
fn a_port_is_watched_in_the_directions_of_its_session() {
    use Directions::{Both, Egress, Ingress};
    let table = [(Ingress, true, false), (Egress, false, true), (Both, true, true)];
    for (directions, sent, received) in table {
        assert_eq!(crosses(of_ports(&[1], directions), 1, &[2]), (sent, false));
        assert_eq!(crosses(of_ports(&[1], directions), 2, &[1, 3]), (false, received));
        assert_eq!(crosses(of_ports(&[1], directions), 2, &[3]), (false, false));
    }
    assert_eq!(crosses(of_ports(&[1, 2], Both), 1, &[2]), (true, true));
}

#[test]
fn a_vlan_is_watched_whatever_the_ports() {
    let mut of_vlan = session(0);
    of_vlan.sources.vlans.insert(vlan(7));
    assert_eq!(crosses(of_vlan.clone(), 1, &[2]), (true, true));
    assert_eq!(crosses(of_vlan.clone(), 1, &[]), (true, false));
    of_vlan.directions = Directions::Egress;
    assert_eq!(crosses(of_vlan, 1, &[2]), (false, true));
    let mut of_other = session(0);
    of_other.sources.vlans.insert(vlan(8));
    assert_eq!(crosses(of_other, 1, &[2]), (false, false));
}

#[test]
fn an_address_sends_on_the_way_in_and_receives_on_the_way_out() {
    let mut session = session(0);
    for (macs, expected) in [
        (vec![mac(1)], (true, false)),
        (vec![mac(2)], (false, true)),
        (vec![mac(9), mac(2), mac(1)], (true, true)),
        (vec![mac(3)], (false, false)),
    ] {
        session.sources.macs = macs;
        assert_eq!(crosses(session.clone(), 1, &[2]), expected);
        // What goes nowhere is received by nobody.
        assert_eq!(crosses(session.clone(), 1, &[]), (expected.0, false));
    }
    assert!(Sessions::new(vec![session]).tell_addresses_apart());
}

#[test]
fn refused_frames_concern_only_sessions_that_include_them() {
    let mut including = of_ports(&[1], Directions::Both);
    including.refused = RefusedFrames::Included;
    let mut by_mac = session(1);
    by_mac.refused = RefusedFrames::Included;
    by_mac.sources.macs = vec![mac(1)];
    let sessions = Sessions::new(vec![of_ports(&[1], Directions::Both), including, by_mac]);
    let concerned = |ingress, source| {
        let concerned = sessions.concerned_by_refused(port(ingress), mac(source), VlanId::UNTAGGED);
        assert!(concerned.egress.is_empty());
        concerned.ingress.places().collect::<Vec<_>>()
    };
    assert_eq!(concerned(1, 5), [1]);
    assert_eq!(concerned(1, 1), [1, 2]);
    assert!(concerned(2, 5).is_empty());
}

#[test]
fn a_stream_of_another_host_concerns_those_who_watch_its_port_and_nobody_by_vlan_or_address() {
    let mut of_vlan = session(1);
    of_vlan.sources.vlans.insert(vlan(7));
    let mut by_mac = session(2);
    by_mac.sources.macs = vec![mac(1)];
    let sessions = Sessions::new(vec![of_ports(&[1], Directions::Both), of_vlan, by_mac]);
    let watching =
        |index| sessions.concerned_by_stream(port(index)).all().places().collect::<Vec<_>>();
    assert_eq!([1, 2].map(watching), [vec![0], vec![]]);
}

#[test]
fn what_comes_on_the_remote_vlan_of_one_session_concerns_none() {
    let mut sending = of_ports(&[1], Directions::Both);
    sending.refused = RefusedFrames::Included;
    let mut watching = Session { legs: session(1).legs, ..sending.clone() };
    watching.sources.vlans.insert(vlan(7));
    watching.sources.macs = vec![mac(1), mac(2)];
    for (remote, expected) in [(8, vec![0, 1]), (7, vec![])] {
        sending.legs[0].form = LegForm::RemoteVlan(vlan(remote));
        let sessions = Sessions::new(vec![sending.clone(), watching.clone()]);
        let places = |concerned: Concerned| concerned.all().places().collect::<Vec<_>>();
        let production = set(&[1, 2]);
        let crossing = Crossing {
            ingress: port(1),
            production: &production,
            vlan: vlan(7),
            source: mac(1),
            destination: mac(2),
        };
        assert_eq!(places(sessions.concerned(&crossing)), expected);
        assert_eq!(places(sessions.concerned_by_refused(port(1), mac(1), vlan(7))), expected);
        assert_eq!(sessions.is_remote_vlan(vlan(7)), expected.is_empty());
    }
}

#[test]
fn what_only_leaves_is_not_watched_when_it_is_refused() {
    let mut session = of_ports(&[1], Directions::Egress);
    session.refused = RefusedFrames::Included;
    let sessions = Sessions::new(vec![session]);
    assert_eq!(sessions.concerned_by_refused(port(1), mac(1), VlanId::UNTAGGED), Concerned::NONE);
}

#[test]
fn a_leg_is_found_with_its_session_and_by_the_port_it_leaves_through() {
    let mut second = session(63);
    second.legs.push(Leg {
        id: LegId::new(5).unwrap(),
        port: port(9),
        form: LegForm::RemoteVlan(vlan(99)),
    });
    let sessions = Sessions::new(vec![session(0), second]);
    let leg = |index| LegId::new(index).unwrap();
    let (_, found) = sessions.leg(leg(5)).unwrap();
    assert!(matches!(found.form, LegForm::RemoteVlan(id) if id == vlan(99)));
    assert!(sessions.leg(leg(6)).is_none());
    assert_eq!(sessions.legs_through(&set(&[9])), [leg(0), leg(5), leg(63)].into_iter().collect());
    assert!(sessions.legs_through(&set(&[8])).is_empty());
    assert_eq!(sessions.plain_legs(port(9)), [leg(0), leg(63)].into_iter().collect());
}

#[test]
fn a_frame_leaves_through_the_first_source_that_receives_it() {
    let watched = of_ports(&[3, 4], Directions::Both);
    assert_eq!(Sessions::left_through(&watched, &set(&[1, 3, 4])), Some(port(3)));
    let mut of_vlan = session(0);
    of_vlan.sources.vlans.insert(vlan(7));
    assert_eq!(Sessions::left_through(&of_vlan, &set(&[1, 3])), Some(port(1)));
    assert_eq!(Sessions::left_through(&of_vlan, &PortSet::EMPTY), None);
}

#[test]
fn a_set_of_sessions_has_64_places() {
    let sessions: Vec<_> = (0..64)
        .map(|leg| {
            let mut session = session(leg);
            session.sources.ports = set(&[1]);
            session
        })
        .collect();
    let concerned = Sessions::new(sessions).concerned_by(1);
    assert_eq!(concerned.places().collect::<Vec<_>>(), (0..64).collect::<Vec<_>>());
}

impl Sessions {
    fn concerned_by(&self, ingress: usize) -> SessionSet {
        self.sent_by(port(ingress))
    }
}
