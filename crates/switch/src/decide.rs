//! The decision for one frame: dropped for a reason, or forwarded to a set of ports.
//!
//! Called by the worker that took the frame, on the private copy of its head. Learns the source address on the
//! way, so that the answer finds its way back.

use crate::{Address, Fdb, L2, PortRole, SwitchTable, Tci, classify};
use helio_types::{DropReason, PortId, PortSet, VlanId};

/// How the destinations of a frame were found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum DecisionKind {
    /// The destination address is in the FDB, on this port.
    Unicast(PortId),
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
    /// How its destinations were found.
    pub kind: DecisionKind,
}

impl Decision {
    /// The ports it goes to: never the ingress port, members of the VLAN all, and none when it goes nowhere. `ingress` and
    /// `table` are those that the decision was made with.
    #[must_use]
    pub fn destinations(&self, table: &SwitchTable, ingress: PortId) -> PortSet {
        match self.kind {
            DecisionKind::Unicast(port) => PortSet::of(port),
            DecisionKind::Flood => table.receivers(self.vlan).difference(&PortSet::of(ingress)),
            DecisionKind::Nowhere(_) => PortSet::EMPTY,
        }
    }
}

/// What must be known to decide for a frame: the first half of a decision, made for a whole burst before the second half, so
/// that the FDB entries of all its frames are on their way together.
#[derive(Clone, Copy, Debug)]
pub struct Inquiry {
    vlan: VlanId,
    tag: Option<Tci>,
    source: Address,
    /// `None` for a group address.
    destination: Option<Address>,
}

/// Reads `head`, the beginning of a frame that entered through `ingress`, applies the policy at ingress, and fetches the FDB
/// entries of its addresses.
///
/// # Errors
///
/// The first reason that applies, in this order: runt, receive-only port, group address as source, link-local
/// destination, VLAN. A port that is not in the table is a member of no VLAN.
#[inline]
pub fn inquire(
    table: &SwitchTable,
    fdb: &Fdb,
    ingress: PortId,
    head: &[u8],
) -> Result<Inquiry, DropReason> {
    let l2 = L2::parse(head)?;
    let vlan = admit(table, ingress, &l2)?;
    let [destination, source] = L2::address_numbers(head)?;
    let source = fdb.address_of(vlan, source);
    let destination = (!l2.dst.is_group()).then(|| fdb.address_of(vlan, destination));
    Ok(Inquiry { vlan, tag: l2.tag, source, destination })
}

impl Inquiry {
    /// The decision. `ingress`, `table` and `fdb` are those that the inquiry was made with.
    #[inline]
    #[must_use]
    pub fn decide(&self, table: &SwitchTable, fdb: &Fdb, ingress: PortId) -> Decision {
        // Whatever comes of it, the frame goes its way; the FDB counts what it refused to learn.
        fdb.see(&self.source, ingress);
        let receivers = table.receivers(self.vlan);
        let known = self.destination.and_then(|address| fdb.port_of(&address));
        let kind = match known {
            Some(port) if port == ingress => DecisionKind::Nowhere(DropReason::Hairpin),
            Some(port) if receivers.contains(port) => DecisionKind::Unicast(port),
            // Learned before the port left the VLAN: as good as unknown.
            Some(_) | None => match receivers.difference(&PortSet::of(ingress)) {
                PortSet::EMPTY => DecisionKind::Nowhere(DropReason::NoDestination),
                _ => DecisionKind::Flood,
            },
        };
        Decision { vlan: self.vlan, tag: self.tag, kind }
    }
}

/// Decides for the frame that begins with `head` and entered through `ingress`.
///
/// # Errors
///
/// As [`inquire`].
pub fn decide(
    table: &SwitchTable,
    fdb: &Fdb,
    ingress: PortId,
    head: &[u8],
) -> Result<Decision, DropReason> {
    Ok(inquire(table, fdb, ingress, head)?.decide(table, fdb, ingress))
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{FdbSettings, PortSettings};
    use helio_types::{MacAddr, VlanMode};

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

    /// Where a frame goes that entered through port `ingress` of [`table`].
    fn destinations(ingress: usize, decision: Result<Decision, DropReason>) -> Vec<usize> {
        let ports = decision.unwrap().destinations(&table(), port(ingress));
        ports.iter().map(PortId::index).collect()
    }

    #[test]
    fn a_broadcast_goes_to_everybody_but_the_sender_and_the_receive_only_port() {
        let decision = decide(&table(), &fdb(), port(1), &head(MacAddr::BROADCAST, A));
        assert_eq!(decision.unwrap().kind, DecisionKind::Flood);
        assert_eq!(destinations(1, decision), [0, 2]);
    }

    #[test]
    fn an_unknown_address_is_flooded_and_its_answer_is_not() {
        let (table, fdb) = (table(), fdb());
        assert_eq!(destinations(0, decide(&table, &fdb, port(0), &head(B, A))), [1, 2]);
        let answer = decide(&table, &fdb, port(1), &head(A, B));
        assert_eq!(answer.unwrap().kind, DecisionKind::Unicast(port(0)));
        assert_eq!(destinations(1, answer), [0]);
        assert_eq!(destinations(0, decide(&table, &fdb, port(0), &head(B, A))), [1]);
    }

    #[test]
    fn a_frame_for_an_address_behind_the_sending_port_is_a_hairpin() {
        let (table, fdb) = (table(), fdb());
        fdb.learn(VlanId::UNTAGGED, B, port(0));
        let decision = decide(&table, &fdb, port(0), &head(B, A)).unwrap();
        assert_eq!(decision.kind, DecisionKind::Nowhere(DropReason::Hairpin));
        assert_eq!(destinations(0, Ok(decision)), Vec::<usize>::new());
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
        assert!(decision.destinations(&table, port(0)).is_empty());
    }

    #[test]
    fn an_address_on_a_port_that_left_the_vlan_is_unknown() {
        let (table, fdb) = (table(), fdb());
        fdb.learn(VlanId::UNTAGGED, B, port(7));
        assert_eq!(destinations(0, decide(&table, &fdb, port(0), &head(B, A))), [1, 2]);
    }

    #[test]
    fn an_address_on_a_port_that_became_receive_only_is_unknown() {
        let (table, fdb) = (table(), fdb());
        fdb.learn(VlanId::UNTAGGED, B, port(3));
        assert_eq!(destinations(0, decide(&table, &fdb, port(0), &head(B, A))), [1, 2]);
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
