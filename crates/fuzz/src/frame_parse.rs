//! Frames of any bytes between ports of any VLAN modes: parsed, classified, decided, and edited for each way out.
//!
//! A frame goes only where its VLAN reaches and never back, addresses are learned from accepted frames only, and tag edits
//! change the tag and nothing else.

use helio_switch::{
    Decision, DecisionKind, Fdb, FdbSettings, L2, PortRole, PortSettings, SwitchTable, TagEdit,
    Tci, classify, decide, egress_edit,
};
use helio_types::{DropReason, PortId, PortSet, VlanId, VlanMode};

use crate::Outcome;
use crate::input::Input;

const PORTS: usize = 5;
/// Frames of one input.
const MAX_FRAMES: usize = 64;

/// Runs one input.
///
/// # Panics
///
/// When something does not hold.
pub fn run(data: &[u8]) -> Outcome {
    let mut input = Input::new(data);
    let settings: Vec<_> = (0..PORTS - 1).map(|index| port(index, &mut input)).collect();
    let case = Case {
        table: SwitchTable::new(&settings),
        fdb: Fdb::new(FdbSettings { capacity: 1024, ageing_s: 300, seed: 1 }),
    };
    let mut outcome = Outcome::default();
    for _ in 0..MAX_FRAMES {
        if input.is_empty() {
            break;
        }
        // The last port is in no table.
        let ingress = PortId::new(usize::from(input.u8()) % PORTS).unwrap();
        let len = input.u8();
        let head = input.bytes(usize::from(len).min(helio_frame::HEAD_BYTES));
        assert_tag_edits(head);
        outcome.count(&case.assert_decision(ingress, head));
    }
    outcome
}

/// Settings with few VLANs, so that ports often meet in one.
fn port(index: usize, input: &mut Input<'_>) -> PortSettings {
    let (kind, tagged) = (input.u8(), input.u8());
    let vlan = |number: u8| VlanId::new(u16::from(number)).unwrap();
    let trunk = || Box::new((1..=8).filter(|bit| tagged >> (bit - 1) & 1 == 1).map(vlan).collect());
    let mode = match kind % 4 {
        0 => VlanMode::Transparent,
        1 => VlanMode::Access(vlan(tagged % 8 + 1)),
        2 => VlanMode::Trunk { tagged: trunk(), native: None },
        _ => VlanMode::Trunk { tagged: trunk(), native: Some(vlan(kind >> 5)) },
    };
    let role = if kind & 16 == 0 { PortRole::Ordinary } else { PortRole::ReceiveOnly };
    PortSettings { port: PortId::new(index).unwrap(), vlan: mode, mtu: 1500, role }
}

struct Case {
    table: SwitchTable,
    fdb: Fdb,
}

impl Case {
    fn assert_decision(&self, ingress: PortId, head: &[u8]) -> Result<(), DropReason> {
        let before = self.fdb.counts();
        let decision = decide(&self.table, &self.fdb, ingress, head);
        let after = self.fdb.counts();
        let Ok(l2) = L2::parse(head) else {
            assert_eq!(decision, Err(DropReason::Runt));
            assert_eq!(before, after);
            return Err(DropReason::Runt);
        };
        let decision = match decision {
            Ok(decision) => decision,
            Err(reason) => {
                assert_eq!(before, after, "learned from a frame that is refused");
                assert_eq!(Some(reason), self.refusal(ingress, &l2));
                return Err(reason);
            }
        };
        assert_eq!(self.refusal(ingress, &l2), None);
        assert_eq!(decision.tag, l2.tag);
        let has_no_room =
            after.table_full > before.table_full || after.limit_hits > before.limit_hits;
        assert!(has_no_room || self.fdb.lookup(decision.vlan, l2.src) == Some(ingress));
        self.assert_destinations(ingress, &l2, &decision);
        for port in self.table.members(decision.vlan) {
            let mode = &self.table.port(port).unwrap().vlan;
            assert_leaves_well(mode, &decision, head);
        }
        Ok(())
    }

    /// The first rule that the frame breaks.
    fn refusal(&self, ingress: PortId, l2: &L2) -> Option<DropReason> {
        let Some(port) = self.table.port(ingress) else { return Some(DropReason::Vlan) };
        if port.role == PortRole::ReceiveOnly {
            return Some(DropReason::ReceiveOnly);
        }
        if l2.src.0[0] & 1 == 1 {
            return Some(DropReason::BadSourceMac);
        }
        if l2.dst.0[..5] == [1, 0x80, 0xc2, 0, 0] && l2.dst.0[5] < 16 {
            return Some(DropReason::LinkLocal);
        }
        let named = l2.tag.map(Tci::vid).filter(|vid| *vid != 0);
        let classified = classify(&port.vlan, l2.tag);
        match (&port.vlan, named) {
            (_, Some(4095)) | (VlanMode::Access(_), Some(_)) => assert!(classified.is_err()),
            (mode, Some(vid)) => {
                let vlan = VlanId::new(vid).unwrap();
                assert_eq!(
                    classified,
                    mode.is_member(vlan).then_some(vlan).ok_or(DropReason::Vlan)
                );
            }
            (mode, None) => assert_eq!(classified.ok(), mode.untagged_vlan()),
        }
        classified.err()
    }

    fn assert_destinations(&self, ingress: PortId, l2: &L2, decision: &Decision) {
        let others = self.table.receivers(decision.vlan).difference(&PortSet::of(ingress));
        let to = decision.destinations(&self.table, ingress);
        assert_eq!(to.difference(&others), PortSet::EMPTY);
        match decision.kind {
            DecisionKind::Unicast(port) => {
                assert_eq!(to, PortSet::of(port));
                assert_eq!((to.count(), l2.dst.is_group()), (1, false));
                let known = self.fdb.lookup(decision.vlan, l2.dst);
                assert!(known.is_some_and(|port| to.contains(port)));
            }
            DecisionKind::Flood => assert!(to == others && !to.is_empty()),
            DecisionKind::Nowhere(DropReason::NoDestination) => assert!(others.is_empty()),
            DecisionKind::Nowhere(reason) => {
                assert_eq!((reason, l2.dst.is_group()), (DropReason::Hairpin, false));
                assert_eq!(self.fdb.lookup(decision.vlan, l2.dst), Some(ingress));
                assert!(to.is_empty());
            }
        }
    }
}

/// On its way out through a port of `mode` the frame tells its VLAN, and all but the tag stays.
fn assert_leaves_well(mode: &VlanMode, decision: &Decision, head: &[u8]) {
    let edit = egress_edit(mode, decision.vlan, decision.tag);
    let mut room = [0xee; 140];
    let len = edit.apply(head, &mut room).unwrap();
    let out = &room[..len];
    assert_eq!(head.len().checked_add_signed(edit.byte_delta()), Some(len));
    let (before, after) = (if decision.tag.is_some() { 16 } else { 12 }, head);
    let tag = match edit {
        TagEdit::Keep => decision.tag,
        TagEdit::Pop => None,
        TagEdit::Push(tci) | TagEdit::Rewrite(tci) => Some(tci),
    };
    let tag_bytes = tag.map_or(vec![], |tci| [[0x81, 0x00], tci.0.to_be_bytes()].concat());
    assert_eq!(out, [&head[..12], &tag_bytes, &after[before..]].concat());
    let named = tag.map_or(0, Tci::vid);
    if mode.untagged_vlan() == Some(decision.vlan) {
        assert_eq!(named, 0);
    } else {
        assert_eq!(named, decision.vlan.get());
    }
    if let (Some(came), Some(leaves)) = (decision.tag, tag) {
        assert_eq!((came.pcp(), came.dei()), (leaves.pcp(), leaves.dei()));
    }
}

/// Each edit has one that takes it back.
fn assert_tag_edits(head: &[u8]) {
    let parsed = L2::parse(head);
    let tagged = head.get(12..14) == Some(&[0x81, 0x00]);
    assert_eq!(parsed.is_err(), head.len() < if tagged { 18 } else { 14 });
    let tag = parsed.ok().and_then(|l2| l2.tag);
    let tci = Tci(0xa123);
    let ways = match tag {
        Some(tag) => {
            vec![[TagEdit::Pop, TagEdit::Push(tag)], [TagEdit::Rewrite(tci), TagEdit::Rewrite(tag)]]
        }
        None => {
            assert_eq!(edited(TagEdit::Pop, head), None);
            assert_eq!(edited(TagEdit::Rewrite(tci), head), None);
            vec![]
        }
    };
    for [there, back] in ways.into_iter().chain([[TagEdit::Push(tci), TagEdit::Pop]]) {
        // Without a type behind the addresses a pushed tag is all there is.
        if head.len() >= 14 {
            assert_eq!(edited(back, &edited(there, head).unwrap()).as_deref(), Some(head));
        }
    }
}

/// `head` after `edit`, which must do with exactly the room it needs.
fn edited(edit: TagEdit, head: &[u8]) -> Option<Vec<u8>> {
    let mut room = [0xee; 140];
    let len = edit.apply(head, &mut room)?;
    assert!(room[len..].iter().all(|byte| *byte == 0xee));
    assert_eq!(edit.apply(head, &mut room[..len]), Some(len));
    assert_eq!(edit.apply(head, &mut room[..len - 1]), None);
    Some(room[..len].to_vec())
}
