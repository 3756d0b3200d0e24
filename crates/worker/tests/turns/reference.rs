//! Random traffic against the rules written down port by port, and against itself with more workers.

use std::collections::HashMap;

use helio_counters::PortCounts;
use helio_offload::Offloads;
use helio_switch::{PortRole, Tci, classify};
use helio_testkit::{FrameBuilder, Received, Seen, TestFrame};
use helio_types::{MacAddr, Mirroring, VlanId, VlanMode};
use proptest::collection::vec;
use proptest::prelude::*;

use crate::stage::{PortPlan, Stage, access, mac, ordinary, trunk};

pub(crate) const PORTS: usize = 6;

#[derive(Clone, Copy, Debug)]
enum Kind {
    Complete,
    Partial,
    ToSegment,
}

/// One frame to be sent.
#[derive(Clone, Debug)]
struct Shot {
    to: MacAddr,
    tci: Option<u16>,
    kind: Kind,
    payload_bytes: usize,
    pieces: u32,
}

/// Frames that one port sends in a row.
type Volley = (usize, Vec<Shot>);

impl Shot {
    fn builder(&self, from: usize, seed: u8) -> FrameBuilder {
        let builder = FrameBuilder::new(mac(from), self.to).payload(self.payload_bytes, seed);
        self.tci.map_or(builder.clone(), |tci| builder.tagged(tci))
    }

    fn frame(&self, from: usize, seed: u8) -> TestFrame {
        match self.kind {
            Kind::Complete => self.builder(from, seed).complete(),
            Kind::Partial => self.builder(from, seed).partial(),
            Kind::ToSegment => self.builder(from, seed).tcp().to_segment(400),
        }
    }
}

fn any_shot() -> impl Strategy<Value = Shot> {
    let to = prop_oneof![
        4 => (0..PORTS).prop_map(mac),
        1 => Just(MacAddr::BROADCAST),
        1 => Just(mac(99)),
    ];
    let tci = prop_oneof![
        3 => Just(None),
        2 => Just(Some(10)),
        1 => Just(Some(0x7014)),
        1 => Just(Some(0xa000)),
        1 => Just(Some(30)),
    ];
    let kind = prop_oneof![Just(Kind::Complete), Just(Kind::Partial), Just(Kind::ToSegment)];
    (to, tci, kind, prop_oneof![0..90_usize, 400..1400_usize], 1..6_u32).prop_map(
        |(to, tci, kind, payload_bytes, pieces)| Shot { to, tci, kind, payload_bytes, pieces },
    )
}

pub(crate) fn any_plan() -> impl Strategy<Value = PortPlan> {
    let vlan = prop_oneof![
        3 => Just(VlanMode::Transparent),
        2 => Just(access(10)),
        1 => Just(access(20)),
        2 => Just(trunk(&[10, 20], None)),
        1 => Just(trunk(&[20], Some(10))),
    ];
    let mirroring =
        prop_oneof![Just(Mirroring::None), Just(Mirroring::Source), Just(Mirroring::Destination)];
    let role = prop_oneof![4 => Just(PortRole::Ordinary), 1 => Just(PortRole::ReceiveOnly)];
    (vlan, mirroring, 0..2_u8, role).prop_map(|(vlan, mirroring, session, role)| PortPlan {
        vlan,
        mirroring,
        session,
        role,
        ..ordinary().mtu(9000)
    })
}

/// Some frames alone, and some with others behind them that go the same way.
fn any_shots() -> impl Strategy<Value = Vec<Shot>> {
    let times = prop_oneof![2 => Just(1), 1 => 2..8_usize];
    vec((any_shot(), times), 1..12).prop_map(|shots| {
        let longer =
            |shot: &Shot, by| Shot { payload_bytes: shot.payload_bytes + by, ..shot.clone() };
        shots.iter().flat_map(|(shot, times)| (0..*times).map(|by| longer(shot, by))).collect()
    })
}

fn any_traffic() -> impl Strategy<Value = Vec<Volley>> {
    vec((0..PORTS, any_shots()), 1..10)
}

/// What a receiver is like.
#[derive(Clone, Debug)]
pub(crate) struct Receiver {
    pub(crate) accepts: Offloads,
    pub(crate) room: usize,
    pub(crate) longest: u32,
    pub(crate) mtu: u16,
}

pub(crate) fn any_receiver() -> impl Strategy<Value = Receiver> {
    let tso = Offloads::CSUM.union(Offloads::TSO4);
    let accepts = prop_oneof![Just(Offloads::NONE), Just(Offloads::CSUM), Just(tso)];
    let room = prop_oneof![3 => Just(usize::MAX), 1 => 0..60_usize];
    let longest = prop_oneof![3 => Just(u32::MAX), 1 => 300..900_u32];
    let mtu = prop_oneof![3 => Just(9000_u16), 1 => 300..900_u16];
    (accepts, room, longest, mtu).prop_map(|(accepts, room, longest, mtu)| Receiver {
        accepts,
        room,
        longest,
        mtu,
    })
}

/// What the switch made of the traffic: what each port got, in order, and all counts.
type Result = (Vec<Vec<Received>>, Vec<PortCounts>);

fn play(workers: usize, plans: &[PortPlan], receivers: &[Receiver], traffic: &[Volley]) -> Result {
    let plans: Vec<_> = plans
        .iter()
        .zip(receivers)
        .enumerate()
        .map(|(index, (plan, receiver))| plan.clone().mtu(receiver.mtu).on(index % workers))
        .collect();
    let mut stage = Stage::with_exact(workers, &plans, &[1]);
    for (far, receiver) in stage.ports.iter().zip(receivers) {
        far.accept(receiver.accepts);
        far.set_room(receiver.room);
        far.set_longest(receiver.longest);
    }
    let mut sent = [0_u64; PORTS];
    for (from, shots) in traffic {
        for (seed, shot) in (0..).zip(shots) {
            stage.send_in_pieces(*from, &shot.frame(*from, seed), shot.pieces);
            sent[*from] += 1;
        }
        stage.settle();
    }
    let counts: Vec<_> = (0..PORTS).map(|index| stage.counts(index)).collect();
    for (sent, counts) in sent.iter().zip(&counts) {
        let refused: u64 = counts.ingress_drops.iter().sum();
        assert_eq!(*sent, counts.ingress.frames + refused, "taken, and counted once");
    }
    assert_eq!(stage.chunks_in_use(), 0);
    ((0..PORTS).map(|index| stage.received(index)).collect(), counts)
}

/// Sender, tag and payload of a frame that a port got.
pub(crate) type Got = (MacAddr, Option<u16>, Vec<u8>);

/// The rules of switching and mirroring for frames that need nothing done, port by port.
pub(crate) struct Model<'a> {
    pub(crate) plans: &'a [PortPlan],
    pub(crate) known: HashMap<(VlanId, MacAddr), usize>,
    pub(crate) got: Vec<Vec<Got>>,
}

impl Model<'_> {
    fn shoot(&mut self, from: usize, shot: &Shot, payload: &[u8]) {
        let ingress = &self.plans[from];
        let Ok(vlan) = classify(&ingress.vlan, shot.tci.map(Tci)) else { return };
        if ingress.role == PortRole::ReceiveOnly {
            return;
        }
        self.known.insert((vlan, mac(from)), from);
        let receivers = self.receivers(from, vlan, shot.to);
        for index in (0..PORTS).filter(|index| *index != from) {
            let plan = &self.plans[index];
            let concerned = |p: &usize| {
                let source = &self.plans[*p];
                source.mirroring == Mirroring::Source && source.session == plan.session
            };
            let wanted = plan.mirroring == Mirroring::Destination
                && (concerned(&from) || receivers.iter().any(concerned));
            if receivers.contains(&index) || wanted && plan.vlan.is_member(vlan) {
                let tci = tag_towards(&plan.vlan, vlan, shot.tci);
                self.got[index].push((mac(from), tci, payload.to_vec()));
            }
        }
    }

    pub(crate) fn receivers(&self, from: usize, vlan: VlanId, to: MacAddr) -> Vec<usize> {
        let is_receiver = |index: &usize| {
            let plan = &self.plans[*index];
            plan.role == PortRole::Ordinary && plan.vlan.is_member(vlan)
        };
        match self.known.get(&(vlan, to)) {
            Some(port) if *port == from => Vec::new(),
            Some(port) if is_receiver(port) => vec![*port],
            _ => (0..PORTS).filter(|index| *index != from).filter(is_receiver).collect(),
        }
    }
}

/// What the rules make of `traffic`, whose frames become such that nothing need be done to them.
fn model_of<'a>(plans: &'a [PortPlan], traffic: &mut [Volley]) -> Model<'a> {
    let mut model = Model { plans, known: HashMap::new(), got: vec![Vec::new(); PORTS] };
    for (from, shots) in traffic {
        for (seed, shot) in (0..).zip(shots) {
            shot.kind = Kind::Complete;
            let payload = Seen::of(&shot.frame(*from, seed).bytes).payload;
            model.shoot(*from, shot, &payload);
        }
    }
    model
}

pub(crate) fn tag_towards(mode: &VlanMode, vlan: VlanId, tci: Option<u16>) -> Option<u16> {
    let priority = tci.unwrap_or(0) & 0xf000;
    match mode {
        VlanMode::Transparent if vlan == VlanId::UNTAGGED => tci,
        _ if mode.untagged_vlan() == Some(vlan) => None,
        _ => Some(priority | vlan.get()),
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn any_number_of_workers_gives_the_same_frames_in_the_same_order_and_the_same_counts(
        plans in vec(any_plan(), PORTS),
        receivers in vec(any_receiver(), PORTS),
        traffic in any_traffic(),
    ) {
        let one = play(1, &plans, &receivers, &traffic);
        for workers in [2, 3] {
            let several = play(workers, &plans, &receivers, &traffic);
            prop_assert!(one.0 == several.0, "other frames with {} workers", workers);
            prop_assert_eq!(&one.1, &several.1);
        }
        for (received, counts) in one.0.iter().zip(&one.1) {
            let bytes: usize = received.iter().map(|received| received.bytes.len()).sum();
            prop_assert_eq!(counts.egress.frames, u64::try_from(received.len()).unwrap());
            prop_assert_eq!(counts.egress.bytes, u64::try_from(bytes).unwrap());
        }
    }

    #[test]
    fn every_port_gets_what_the_rules_say_and_nothing_else(
        plans in vec(any_plan(), PORTS),
        mut traffic in any_traffic(),
    ) {
        let anything =
            Receiver { accepts: Offloads::NONE, room: usize::MAX, longest: u32::MAX, mtu: 9000 };
        let model = model_of(&plans, &mut traffic);
        let (received, counts) = play(2, &plans, &vec![anything; PORTS], &traffic);
        for ((received, expected), counts) in received.iter().zip(&model.got).zip(&counts) {
            let seen: Vec<_> = received
                .iter()
                .map(|received| Seen::of(&received.bytes))
                .map(|seen| (seen.from, seen.tci, seen.payload))
                .collect();
            prop_assert!(&seen == expected);
            // Whatever was sent to this port, it got.
            prop_assert_eq!(counts.egress_drops.iter().sum::<u64>(), 0);
        }
    }

    #[test]
    fn what_a_port_is_given_and_what_is_dropped_there_is_all_that_was_sent_to_it(
        plans in vec(any_plan(), PORTS),
        receivers in vec(any_receiver(), PORTS),
        mut traffic in any_traffic(),
    ) {
        let model = model_of(&plans, &mut traffic);
        let (_, counts) = play(3, &plans, &receivers, &traffic);
        for (index, counts) in counts.iter().enumerate() {
            let dropped: u64 = counts.egress_drops.iter().sum();
            let sent = u64::try_from(model.got[index].len()).unwrap();
            if plans[index].mirroring == Mirroring::Destination {
                // Copies that are dropped count for their session only.
                prop_assert!(counts.egress.frames + dropped <= sent);
                let lost = dropped + counts.mirror.dropped_total().frames;
                prop_assert!(counts.egress.frames + lost >= sent);
            } else {
                prop_assert_eq!(counts.egress.frames + dropped, sent);
            }
        }
    }
}
