//! The switch against a slow one that is plain to read: same frames in, same decisions out.

use crate::{
    Decision, DecisionKind, Fdb, FdbSettings, FlushFilter, L2, PortRole, PortSettings, SwitchTable,
    TagEdit, Tci, classify, decide, egress_edit,
};
use helio_types::{DropReason, MacAddr, PortId, PortSet, VlanId, VlanMode};
use proptest::collection::vec;
use proptest::prelude::*;
use std::collections::HashMap;

const PORTS: usize = 5;
const AGEING_S: u32 = 30;

#[derive(Clone, Debug)]
enum Step {
    Frame { ingress: usize, dst: u8, src: u8, tag: Option<u16> },
    Pass(u32),
    Flush(FlushFilter),
    Replace(usize, VlanMode),
}

fn port(index: usize) -> PortId {
    PortId::new(index).unwrap()
}

fn vlan(id: u16) -> VlanId {
    VlanId::new(id).unwrap()
}

/// 0 to 5 are guests; the others are special.
fn mac(number: u8) -> MacAddr {
    match number {
        6 => MacAddr::BROADCAST,
        7 => MacAddr([1, 0x80, 0xc2, 0, 0, 0x0e]),
        8 => MacAddr([1, 0, 0x5e, 0, 0, 1]),
        guest => MacAddr([2, 0, 0, 0, 0, guest]),
    }
}

fn any_mode() -> impl Strategy<Value = VlanMode> {
    let id = || (1_u16..4).prop_map(vlan);
    prop_oneof![
        Just(VlanMode::Transparent),
        id().prop_map(VlanMode::Access),
        (vec(id(), 1..3), proptest::option::of(id())).prop_map(|(tagged, native)| {
            VlanMode::Trunk { tagged: Box::new(tagged.into_iter().collect()), native }
        }),
    ]
}

fn any_step() -> impl Strategy<Value = Step> {
    let vid = prop_oneof![8 => 0_u16..5, 1 => Just(4095_u16)];
    let tag = (vid, 0_u16..16).prop_map(|(vid, high)| high << 12 | vid);
    let source = prop_oneof![12 => 0_u8..6, 1 => 6_u8..9];
    let frame = (0..PORTS, 0_u8..9, source, proptest::option::of(tag));
    let filter = prop_oneof![
        Just(FlushFilter::All),
        (0_u16..4).prop_map(|id| FlushFilter::Vlan(vlan(id))),
        (0..PORTS).prop_map(|index| FlushFilter::Port(port(index))),
        (0..PORTS, 0_u16..4).prop_map(|(index, id)| FlushFilter::PortVlan(port(index), vlan(id))),
        (0..PORTS).prop_map(|index| FlushFilter::RemovedPort(port(index))),
    ];
    prop_oneof![
        30 => frame.prop_map(|(ingress, dst, src, tag)| Step::Frame { ingress, dst, src, tag }),
        3 => (0_u32..40).prop_map(Step::Pass),
        1 => filter.prop_map(Step::Flush),
        1 => (0..PORTS, any_mode()).prop_map(|(index, mode)| Step::Replace(index, mode)),
    ]
}

fn head(dst: u8, src: u8, tag: Option<u16>) -> Vec<u8> {
    let mut head = [mac(dst).0, mac(src).0].concat();
    if let Some(tci) = tag {
        head.extend([0x81, 0]);
        head.extend(tci.to_be_bytes());
    }
    head.extend([8, 0, 0x45]);
    head
}

#[derive(Clone, Copy)]
struct Known {
    port: usize,
    seen_s: u32,
    pinned: bool,
}

struct Reference {
    ports: Vec<PortSettings>,
    limits: Vec<u32>,
    known: HashMap<(u16, u8), Known>,
    now_s: u32,
}

impl Reference {
    fn vlan_of(&self, ingress: usize, tag: Option<u16>) -> Option<u16> {
        let vid = tag.map_or(0, |tci| tci & 0xfff);
        match &self.ports[ingress].vlan {
            _ if vid == 4095 => None,
            VlanMode::Transparent => Some(vid),
            VlanMode::Access(own) => (vid == 0).then_some(own.get()),
            VlanMode::Trunk { native, .. } if vid == 0 => native.map(VlanId::get),
            VlanMode::Trunk { tagged, native } => {
                (tagged.contains(vlan(vid)) || *native == Some(vlan(vid))).then_some(vid)
            }
        }
    }

    fn learn(&mut self, id: u16, src: u8, ingress: usize) {
        let of_port = |known: &&Known| known.port == ingress && !known.pinned;
        let full = self.known.values().filter(of_port).count() >= self.limits[ingress] as usize;
        let here = Known { port: ingress, seen_s: self.now_s, pinned: false };
        match self.known.get_mut(&(id, src)) {
            Some(known) if known.pinned => {}
            Some(known) if known.port == ingress => *known = here,
            _ if full => {}
            _ => drop(self.known.insert((id, src), here)),
        }
    }

    fn decide(
        &mut self,
        ingress: usize,
        dst: u8,
        src: u8,
        tag: Option<u16>,
    ) -> Result<(Decision, PortSet), DropReason> {
        if self.ports[ingress].role == PortRole::ReceiveOnly {
            return Err(DropReason::ReceiveOnly);
        }
        if src >= 6 {
            return Err(DropReason::BadSourceMac);
        }
        if dst == 7 {
            return Err(DropReason::LinkLocal);
        }
        let id = self.vlan_of(ingress, tag).ok_or(DropReason::Vlan)?;
        self.learn(id, src, ingress);
        let may_receive = |index: &usize| {
            let settings = &self.ports[*index];
            settings.role == PortRole::Ordinary && settings.vlan.is_member(vlan(id))
        };
        let found = self.known.get(&(id, dst)).map(|known| known.port);
        let (ports, kind): (Vec<_>, _) = match found {
            Some(found) if found == ingress => (vec![], DecisionKind::Nowhere(DropReason::Hairpin)),
            Some(found) if may_receive(&found) => (vec![found], DecisionKind::Unicast(port(found))),
            _ => {
                let others = (0..PORTS).filter(|index| *index != ingress);
                let others: Vec<_> = others.filter(may_receive).collect();
                let nowhere = DecisionKind::Nowhere(DropReason::NoDestination);
                let kind = if others.is_empty() { nowhere } else { DecisionKind::Flood };
                (others, kind)
            }
        };
        let destinations: PortSet = ports.iter().map(|&index| port(index)).collect();
        Ok((Decision { vlan: vlan(id), tag: tag.map(Tci), kind }, destinations))
    }

    fn flush(&mut self, filter: FlushFilter) {
        self.known.retain(|(id, _), known| match filter {
            FlushFilter::All => known.pinned,
            FlushFilter::Vlan(of) => known.pinned || *id != of.get(),
            FlushFilter::Port(of) => known.pinned || port(known.port) != of,
            FlushFilter::PortVlan(of, on) => {
                known.pinned || port(known.port) != of || *id != on.get()
            }
            FlushFilter::RemovedPort(of) => port(known.port) != of,
        });
    }

    fn pass(&mut self, seconds: u32) {
        self.now_s += seconds;
        let now_s = self.now_s;
        self.known.retain(|_, known| known.pinned || now_s - known.seen_s <= AGEING_S);
    }
}

/// A frame that leaves in `decision.vlan` and is sent back by the other side belongs to the same VLAN, and a
/// priority is only lost with the tag that carried it.
fn assert_tags_are_right(
    table: &SwitchTable,
    decision: &Decision,
    destinations: &PortSet,
    head: &[u8],
) {
    for destination in destinations {
        let mode = &table.port(destination).unwrap().vlan;
        let edit = egress_edit(mode, decision.vlan, decision.tag);
        let mut out = [0; 64];
        let len = edit.apply(head, &mut out).unwrap();
        assert_eq!(len, head.len().checked_add_signed(edit.byte_delta()).unwrap());
        let left = L2::parse(&out[..len]).unwrap();
        assert_eq!(&out[left.header_bytes()..len], &[0x45]);
        let access = matches!(mode, VlanMode::Access(_));
        assert!(!access || left.tag.is_none(), "{edit:?} leaves a tag on an access port");
        assert_eq!(classify(mode, left.tag), Ok(decision.vlan), "{edit:?} on {mode:?}");
        if let (Some(before), Some(after)) = (decision.tag, left.tag) {
            assert_eq!((before.pcp(), before.dei()), (after.pcp(), after.dei()));
        }
        assert!(edit != TagEdit::Keep || &out[..len] == head);
    }
}

fn reference_and_subject(
    modes: Vec<VlanMode>,
    limits: Vec<u32>,
    pinned: Option<(u8, usize)>,
) -> (Reference, Fdb) {
    let role = |index| if index == 4 { PortRole::ReceiveOnly } else { PortRole::Ordinary };
    let settings =
        |(index, vlan)| PortSettings { port: port(index), vlan, mtu: 1500, role: role(index) };
    let fdb = Fdb::new(FdbSettings { capacity: 1024, ageing_s: AGEING_S, seed: 3 });
    for (index, limit) in limits.iter().enumerate() {
        fdb.set_limit(port(index), *limit);
    }
    let mut known = HashMap::new();
    if let Some((number, at)) = pinned {
        fdb.add_static(vlan(1), mac(number), port(at)).unwrap();
        known.insert((1, number), Known { port: at, seen_s: 0, pinned: true });
    }
    let ports = modes.into_iter().enumerate().map(settings).collect();
    (Reference { ports, limits, known, now_s: 0 }, fdb)
}

proptest! {
    #[test]
    fn any_sequence_is_switched_as_the_plain_switch_does(
        modes in vec(any_mode(), PORTS),
        limits in vec(0_u32..5, PORTS),
        pinned in proptest::option::of((0_u8..6, 0..PORTS)),
        steps in vec(any_step(), 1..150),
    ) {
        let (mut reference, fdb) = reference_and_subject(modes, limits, pinned);
        let mut table = SwitchTable::new(&reference.ports);
        for step in steps {
            match step {
                Step::Frame { ingress, dst, src, tag } => {
                    let head = head(dst, src, tag);
                    let decided = decide(&table, &fdb, port(ingress), &head);
                    let decided = decided.map(|decision| {
                        (decision, decision.destinations(&table, port(ingress)))
                    });
                    prop_assert_eq!(decided, reference.decide(ingress, dst, src, tag));
                    if let Ok((decision, destinations)) = decided {
                        assert_tags_are_right(&table, &decision, &destinations, &head);
                    }
                }
                Step::Pass(seconds) => {
                    reference.pass(seconds);
                    fdb.set_clock(reference.now_s);
                    fdb.age();
                }
                Step::Flush(filter) => {
                    reference.flush(filter);
                    fdb.flush(filter);
                }
                Step::Replace(index, mode) => {
                    reference.ports[index].vlan = mode;
                    table = SwitchTable::new(&reference.ports);
                }
            }
            let mut listed: Vec<_> =
                fdb.entries().iter().map(|e| (e.vlan.get(), e.mac, e.port.index())).collect();
            let mut known: Vec<_> =
                reference.known.iter().map(|((id, m), known)| (*id, mac(*m), known.port)).collect();
            listed.sort_unstable();
            known.sort_unstable();
            prop_assert_eq!(listed, known);
        }
    }
}
