//! What becomes of each wanted copy: delivered by a copy, met by the ordinary delivery, or not delivered.

use crate::{Exactness, MirrorTable, Selected};
use helio_types::{PortId, PortSet};

/// The wanted copies of one frame, sorted. The four parts are disjoint, and together they are `wanted`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CopyPlan {
    /// All destinations that want the frame.
    pub wanted: PortSet,
    /// To be delivered, besides the ordinary deliveries.
    pub copies: PortSet,
    /// Receivers of the frame anyway: the ordinary delivery is their copy.
    pub by_production: PortSet,
    /// The port that the frame came from, if it is a destination: a frame never returns there.
    pub returned: PortSet,
    /// Destinations that are no members of the VLAN of the frame.
    pub not_member: PortSet,
}

impl MirrorTable {
    /// Whether everybody whom `selected` names gets a copy, beside the ports that the frame is forwarded to, and none of them
    /// exactly. So it is nearly always, and then there is nothing to sort.
    #[inline]
    #[must_use]
    pub fn gets_all_beside(
        &self,
        selected: &Selected,
        ingress: PortId,
        production: &PortSet,
        members: &PortSet,
    ) -> bool {
        let mut otherwise = production.union(&self.exact);
        otherwise.insert(ingress);
        let outside = selected.wanted.difference(members);
        selected.wanted.intersection(&otherwise).union(&outside).is_empty()
    }

    /// Sorts what `selected` wants of a frame that entered through `ingress` and is forwarded to `production`.
    ///
    /// `members` are the members of the VLAN that the frame was classified into.
    #[inline]
    #[must_use]
    pub fn plan(
        &self,
        selected: &Selected,
        ingress: PortId,
        production: &PortSet,
        members: &PortSet,
    ) -> CopyPlan {
        let wanted = selected.wanted;
        let returned = wanted.intersection(&PortSet::of(ingress));
        let others = wanted.difference(&returned);
        let by_production = others.intersection(production);
        let beside = others.difference(&by_production);
        let copies = beside.intersection(members);
        let not_member = beside.difference(members);
        CopyPlan { wanted, copies, by_production, returned, not_member }
    }

    /// Whether a destination that gets the frame belongs to an exact session.
    #[must_use]
    pub fn exactness(&self, plan: &CopyPlan) -> Exactness {
        let getting = plan.copies.union(&plan.by_production);
        if self.exact_among(&getting).is_empty() {
            Exactness::ByReference
        } else {
            Exactness::Exact
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use helio_types::{Mirroring, SessionId};

    const SNIFFIE: usize = 5;

    fn port(index: usize) -> PortId {
        PortId::new(index).unwrap()
    }

    fn set(indices: &[usize]) -> PortSet {
        indices.iter().map(|&index| port(index)).collect()
    }

    /// Ports 0 and 1 are sources, 5 and 6 destinations, all of session 0; 2 is a source and 7 a destination of
    /// session 1, which is exact.
    fn table() -> MirrorTable {
        let part = |(index, part, session)| (port(index), part, SessionId(session));
        let sources = [(0, 0), (1, 0), (2, 1)].map(|(p, s)| part((p, Mirroring::Source, s)));
        let destinations =
            [(SNIFFIE, 0), (6, 0), (7, 1)].map(|(p, s)| part((p, Mirroring::Destination, s)));
        MirrorTable::new(&[sources, destinations].concat(), &[SessionId(1)])
    }

    fn everybody() -> PortSet {
        (0..8).map(port).collect()
    }

    fn plan(ingress: usize, production: &[usize]) -> CopyPlan {
        let (table, production) = (table(), set(production));
        let selected = table.select(port(ingress), &production);
        table.plan(&selected, port(ingress), &production, &everybody())
    }

    #[test]
    fn s4_5_a_frame_between_two_sources_is_copied_once_to_each_destination() {
        assert_eq!(plan(0, &[1]).copies, set(&[5, 6]));
    }

    #[test]
    fn s4_5_a_destination_that_receives_the_frame_anyway_gets_it_once() {
        let plan = plan(0, &[SNIFFIE]);
        assert_eq!((plan.by_production, plan.copies), (set(&[SNIFFIE]), set(&[6])));
    }

    #[test]
    fn s4_5_a_flood_that_reaches_all_destinations_needs_no_copy() {
        let plan = plan(0, &[1, 2, 3, 5, 6, 7]);
        assert_eq!((plan.by_production, plan.copies), (set(&[5, 6, 7]), PortSet::EMPTY));
    }

    #[test]
    fn s4_7_a_destination_outside_the_vlan_gets_no_copy() {
        let (table, production) = (table(), set(&[1]));
        let selected = table.select(port(0), &production);
        let others = everybody().difference(&set(&[SNIFFIE]));
        let plan = table.plan(&selected, port(0), &production, &others);
        assert_eq!((plan.not_member, plan.copies), (set(&[SNIFFIE]), set(&[6])));
    }

    #[test]
    fn s4_9_what_a_destination_sends_to_others_is_no_mirror_matter() {
        assert_eq!(plan(SNIFFIE, &[3]), CopyPlan::default());
    }

    #[test]
    fn s4_10_a_frame_that_a_destination_sends_to_a_source_does_not_return_but_goes_to_the_others() {
        let plan = plan(SNIFFIE, &[0]);
        assert_eq!((plan.returned, plan.copies), (set(&[SNIFFIE]), set(&[6])));
    }

    #[test]
    fn s4_11_a_copy_of_a_frame_for_a_destination_is_not_copied_again() {
        assert_eq!(plan(3, &[SNIFFIE, 6]), CopyPlan::default());
    }

    #[test]
    fn a_frame_between_sources_of_two_sessions_goes_to_the_destinations_of_both() {
        assert_eq!(plan(0, &[2]).copies, set(&[5, 6, 7]));
    }

    #[test]
    fn membership_matters_only_for_what_is_left() {
        let (table, production) = (table(), set(&[0, 6]));
        let selected = table.select(port(SNIFFIE), &production);
        let plan = table.plan(&selected, port(SNIFFIE), &production, &PortSet::EMPTY);
        assert_eq!((plan.wanted, plan.not_member), (set(&[5, 6]), PortSet::EMPTY));
    }

    #[test]
    fn a_frame_is_exact_when_an_exact_destination_gets_it() {
        assert_eq!(table().exactness(&plan(0, &[1])), Exactness::ByReference);
        assert_eq!(table().exactness(&plan(0, &[2])), Exactness::Exact);
        assert_eq!(table().exactness(&plan(2, &[7])), Exactness::Exact);
    }

    #[test]
    fn a_frame_that_no_exact_destination_gets_is_not_exact() {
        assert_eq!(table().exactness(&plan(7, &[2])), Exactness::ByReference);
    }
}
