//! Selection and plan against the rules written down port by port.

use crate::{Exactness, MirrorTable};
use helio_types::{Mirroring, PortId, PortSet, SessionId};
use proptest::collection::{btree_set, vec};
use proptest::prelude::*;
use std::collections::BTreeSet;

/// Port numbers of the test, spread over all words of a set.
const PORTS: [usize; 10] = [0, 1, 2, 63, 64, 127, 128, 200, 254, 255];

type Part = (Mirroring, u8);

fn any_part() -> impl Strategy<Value = Part> {
    let mirroring =
        prop_oneof![Just(Mirroring::None), Just(Mirroring::Source), Just(Mirroring::Destination),];
    (mirroring, prop_oneof![Just(0_u8), Just(1), Just(255)])
}

fn port(place: usize) -> PortId {
    PortId::new(PORTS[place]).unwrap()
}

fn set(places: &BTreeSet<usize>) -> PortSet {
    places.iter().map(|&place| port(place)).collect()
}

proptest! {
    #[test]
    fn every_destination_gets_what_the_rules_say_and_exactly_once(
        parts in vec(any_part(), PORTS.len()),
        exact in btree_set(prop_oneof![Just(0_u8), Just(1), Just(255)], 0..3),
        ingress in 0..PORTS.len(),
        production in btree_set(0..PORTS.len(), 0..PORTS.len()),
        members in btree_set(0..PORTS.len(), 0..PORTS.len()),
    ) {
        let mut production = production;
        production.remove(&ingress);
        let settings: Vec<_> =
            parts.iter().enumerate().map(|(p, (m, s))| (port(p), *m, SessionId(*s))).collect();
        let exact_sessions: Vec<_> = exact.iter().map(|session| SessionId(*session)).collect();
        let table = MirrorTable::new(&settings, &exact_sessions);
        let selected = table.select(port(ingress), &set(&production));
        let member_set = set(&members);
        let plan = table.plan(&selected, port(ingress), &set(&production), &member_set);
        let beside = table.gets_all_beside(&selected, port(ingress), &set(&production), &member_set);
        let nobody_exact = table.exactness(&plan) == Exactness::ByReference;
        prop_assert_eq!(beside, plan.copies == selected.wanted && nobody_exact);

        let mut anybody_exact = false;
        for (place, (mirroring, session)) in parts.iter().enumerate() {
            let is_source_of = |p: &usize| parts[*p] == (Mirroring::Source, *session);
            let concerned = is_source_of(&ingress) || production.iter().any(is_source_of);
            let wanted = *mirroring == Mirroring::Destination && concerned;
            let id = port(place);
            prop_assert_eq!(plan.wanted.contains(id), wanted);
            let returned = wanted && place == ingress;
            prop_assert_eq!(plan.returned.contains(id), returned);
            let anyway = wanted && production.contains(&place);
            prop_assert_eq!(plan.by_production.contains(id), anyway);
            let rest = wanted && !returned && !anyway;
            prop_assert_eq!(plan.copies.contains(id), rest && members.contains(&place));
            prop_assert_eq!(plan.not_member.contains(id), rest && !members.contains(&place));
            let delivered = anyway || rest && members.contains(&place);
            anybody_exact |= delivered && exact.contains(session);
        }
        prop_assert_eq!(table.exactness(&plan) == Exactness::Exact, anybody_exact);
        let parts_count = plan.copies.count()
            + plan.by_production.count()
            + plan.returned.count()
            + plan.not_member.count();
        prop_assert_eq!(parts_count, plan.wanted.count());
    }

    #[test]
    fn a_session_lists_its_own_ports(parts in vec(any_part(), PORTS.len())) {
        let settings: Vec<_> =
            parts.iter().enumerate().map(|(p, (m, s))| (port(p), *m, SessionId(*s))).collect();
        let table = MirrorTable::new(&settings, &[]);
        for (place, (mirroring, session)) in parts.iter().enumerate() {
            let session = SessionId(*session);
            let is_source = *mirroring == Mirroring::Source;
            let is_destination = *mirroring == Mirroring::Destination;
            prop_assert_eq!(table.sources(session).contains(port(place)), is_source);
            prop_assert_eq!(table.destinations(session).contains(port(place)), is_destination);
            prop_assert_eq!(table.session_of(port(place)), is_destination.then_some(session));
        }
    }
}
