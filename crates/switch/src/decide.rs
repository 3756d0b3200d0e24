//! The decision for one frame: dropped for a reason, or forwarded to a set of ports.
//!
//! Called by the worker that took the frame, on the private copy of its head. Learns the source address on the
//! way, so that the answer finds its way back.

use crate::{Fdb, L2, PortRole, SwitchTable, Tci, classify};
use helio_types::{DropReason, MacAddr, PortId, PortSet, VlanId};

/// How the destinations of a frame were found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum DecisionKind {
    /// The destination address is in the FDB.
    Unicast,
    /// Group address, or an address nobody has been seen with: all members of the VLAN but the sender.
    Flood,
    /// The frame passed policy, but no port is to get it: a hairpin, or no other member of the VLAN. It counts as
    /// dropped for the reason given, and a mirror session that watches the sender sees it all the same.
    Nowhere(DropReason),
}

/// Where a frame goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Decision {
    /// The VLAN that the frame belongs to inside the switch.
    pub vlan: VlanId,
    /// The tag it came with.
    pub tag: Option<Tci>,
    /// The ports it goes to: never the ingress port, members of the VLAN all, and none when it goes nowhere.
    pub destinations: PortSet,
    /// How they were found.
    pub kind: DecisionKind,
}

/// Decides for the frame that begins with `head` and entered through `ingress`.
///
/// # Errors
///
/// The first reason that applies, in this order: runt, receive-only port, group address as source, link-local
/// destination, VLAN. A port that is not in the table is a member of no VLAN.
pub fn decide(
    table: &SwitchTable,
    fdb: &Fdb,
    ingress: PortId,
    head: &[u8],
) -> Result<Decision, DropReason> {
    let l2 = L2::parse(head)?;
    let vlan = admit(table, ingress, &l2)?;
    // Whatever comes of it, the frame goes its way; the FDB counts what it refused to learn.
    fdb.learn(vlan, l2.src, ingress);
    let receivers = table.receivers(vlan);
    let (destinations, kind) = match known_port(fdb, vlan, l2.dst) {
        Some(port) if port == ingress => {
            (PortSet::EMPTY, DecisionKind::Nowhere(DropReason::Hairpin))
        }
        Some(port) if receivers.contains(port) => (PortSet::of(port), DecisionKind::Unicast),
        // Learned before the port left the VLAN: as good as unknown.
        Some(_) | None => match receivers.difference(&PortSet::of(ingress)) {
            PortSet::EMPTY => (PortSet::EMPTY, DecisionKind::Nowhere(DropReason::NoDestination)),
            others => (others, DecisionKind::Flood),
        },
    };
    Ok(Decision { vlan, tag: l2.tag, destinations, kind })
}

/// The policy at ingress; gives the VLAN of the frame.
fn admit(table: &SwitchTable, ingress: PortId, l2: &L2) -> Result<VlanId, DropReason> {
    let port = table.port(ingress).ok_or(DropReason::Vlan)?;
    if port.role == PortRole::ReceiveOnly {
        return Err(DropReason::ReceiveOnly);
    }
    if l2.src.is_group() {
        return Err(DropReason::BadSourceMac);
    }
    if l2.dst.is_link_local() {
        return Err(DropReason::LinkLocal);
    }
    classify(&port.vlan, l2.tag)
}

fn known_port(fdb: &Fdb, vlan: VlanId, dst: MacAddr) -> Option<PortId> {
    if dst.is_group() { None } else { fdb.lookup(vlan, dst) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{FdbSettings, PortSettings};
    use helio_types::VlanMode;

    const A: MacAddr = MacAddr([2, 0, 0, 0, 0, 0xa]);
    const B: MacAddr = MacAddr([2, 0, 0, 0, 0, 0xb]);

    fn port(index: usize) -> PortId {
        PortId::new(index).unwrap()
    }

    fn vlan(id: u16) -> VlanId {
        VlanId::new(id).unwrap()
    }

    fn fdb() -> Fdb {
        Fdb::new(FdbSettings { capacity: 1024, ageing_s: 300, seed: 1 })
    }

    fn settings(index: usize, vlan: VlanMode) -> PortSettings {
        PortSettings { port: port(index), vlan, mtu: 1500, role: PortRole::Ordinary }
    }

    /// Ports 0, 1 and 2 without VLANs; 3 is receive-only.
    fn table() -> SwitchTable {
        let mut ports: Vec<_> = (0..4).map(|i| settings(i, VlanMode::Transparent)).collect();
        ports[3].role = PortRole::ReceiveOnly;
        SwitchTable::new(&ports)
    }

    fn head(dst: MacAddr, src: MacAddr) -> Vec<u8> {
        [&dst.0[..], &src.0, &[8, 0]].concat()
    }

    fn destinations(decision: Result<Decision, DropReason>) -> Vec<usize> {
        decision.unwrap().destinations.iter().map(PortId::index).collect()
    }

    #[test]
    fn a_broadcast_goes_to_everybody_but_the_sender_and_the_receive_only_port() {
        let decision = decide(&table(), &fdb(), port(1), &head(MacAddr::BROADCAST, A));
        assert_eq!(decision.unwrap().kind, DecisionKind::Flood);
        assert_eq!(destinations(decision), [0, 2]);
    }

    #[test]
    fn an_unknown_address_is_flooded_and_its_answer_is_not() {
        let (table, fdb) = (table(), fdb());
        assert_eq!(destinations(decide(&table, &fdb, port(0), &head(B, A))), [1, 2]);
        let answer = decide(&table, &fdb, port(1), &head(A, B));
        assert_eq!(answer.unwrap().kind, DecisionKind::Unicast);
        assert_eq!(destinations(answer), [0]);
        assert_eq!(destinations(decide(&table, &fdb, port(0), &head(B, A))), [1]);
    }

    #[test]
    fn a_frame_for_an_address_behind_the_sending_port_is_a_hairpin() {
        let (table, fdb) = (table(), fdb());
        fdb.learn(VlanId::UNTAGGED, B, port(0));
        let decision = decide(&table, &fdb, port(0), &head(B, A)).unwrap();
        assert_eq!(decision.kind, DecisionKind::Nowhere(DropReason::Hairpin));
        assert!(decision.destinations.is_empty());
    }

    #[test]
    fn what_a_receive_only_port_sends_is_refused_and_not_learned() {
        let fdb = fdb();
        let refused = decide(&table(), &fdb, port(3), &head(B, A));
        assert_eq!(refused, Err(DropReason::ReceiveOnly));
        assert_eq!(fdb.lookup(VlanId::UNTAGGED, A), None);
    }

    #[test]
    fn a_group_address_as_source_is_refused() {
        let refused = decide(&table(), &fdb(), port(0), &head(B, MacAddr([1, 0, 0, 0, 0, 1])));
        assert_eq!(refused, Err(DropReason::BadSourceMac));
    }

    #[test]
    fn link_local_frames_are_neither_forwarded_nor_learned_from() {
        let fdb = fdb();
        let lldp = MacAddr([1, 0x80, 0xc2, 0, 0, 0x0e]);
        let refused = decide(&table(), &fdb, port(0), &head(lldp, A));
        assert_eq!(refused, Err(DropReason::LinkLocal));
        assert_eq!(fdb.lookup(VlanId::UNTAGGED, A), None);
    }

    #[test]
    fn a_frame_refused_for_its_vlan_is_not_learned_from() {
        let table = SwitchTable::new(&[
            settings(0, VlanMode::Access(vlan(10))),
            settings(1, VlanMode::Transparent),
        ]);
        let fdb = fdb();
        let tagged = [&B.0[..], &A.0, &[0x81, 0, 0, 10, 8, 0]].concat();
        assert_eq!(decide(&table, &fdb, port(0), &tagged), Err(DropReason::Vlan));
        assert_eq!(fdb.lookup(vlan(10), A), None);
    }

    #[test]
    fn the_only_port_of_a_vlan_has_no_destination() {
        let table = SwitchTable::new(&[
            settings(0, VlanMode::Access(vlan(10))),
            settings(1, VlanMode::Access(vlan(20))),
        ]);
        let decision = decide(&table, &fdb(), port(0), &head(MacAddr::BROADCAST, A)).unwrap();
        assert_eq!(decision.kind, DecisionKind::Nowhere(DropReason::NoDestination));
        assert!(decision.destinations.is_empty());
    }

    #[test]
    fn an_address_on_a_port_that_left_the_vlan_is_unknown() {
        let (table, fdb) = (table(), fdb());
        fdb.learn(VlanId::UNTAGGED, B, port(7));
        assert_eq!(destinations(decide(&table, &fdb, port(0), &head(B, A))), [1, 2]);
    }

    #[test]
    fn an_address_on_a_port_that_became_receive_only_is_unknown() {
        let (table, fdb) = (table(), fdb());
        fdb.learn(VlanId::UNTAGGED, B, port(3));
        assert_eq!(destinations(decide(&table, &fdb, port(0), &head(B, A))), [1, 2]);
    }

    #[test]
    fn a_runt_is_refused_before_anything_else() {
        assert_eq!(decide(&table(), &fdb(), port(3), &[0; 13]), Err(DropReason::Runt));
    }

    #[test]
    fn a_port_that_is_not_in_the_table_may_not_send() {
        assert_eq!(decide(&table(), &fdb(), port(9), &head(B, A)), Err(DropReason::Vlan));
    }
}
