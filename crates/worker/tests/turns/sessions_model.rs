//! Random traffic and random named sessions, and the rules of what becomes of the one by the other, leg by leg.

use std::collections::HashMap;
use std::num::NonZeroU32;

use helio_counters::FrameCount;
use helio_encap::SnapLen;
use helio_filter::Program;
use helio_mirror::{Directions, Exactness, Leg, LegForm, RefusedFrames, Session, Sources};
use helio_switch::{PortRole, Tci, classify};
use helio_testkit::{FrameBuilder, TestFrame};
use helio_types::{MacAddr, Mirroring, VlanId, VlanSet};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::subsequence;

use crate::reference::{Model, PORTS, tag_towards};
use crate::sessions::{REMOTE, remote};
use crate::stage::{PortPlan, leg, mac, port, vid};

const FILTERS: [&str; 4] = ["vlan", "not vlan", "vlan 10", "udp or (vlan and udp)"];

/// One frame to be sent.
#[derive(Clone, Debug)]
pub(crate) struct Shot {
    pub(crate) from: usize,
    source: MacAddr,
    to: MacAddr,
    tci: Option<u16>,
    payload_bytes: usize,
    pub(crate) transport: Transport,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Transport {
    Udp,
    Tcp,
    /// To be segmented, where nothing else is told.
    Long,
}

impl Shot {
    fn builder(&self, tci: Option<u16>) -> FrameBuilder {
        let builder = FrameBuilder::new(self.source, self.to).payload(self.payload_bytes, 5);
        let builder = if self.transport == Transport::Udp { builder } else { builder.tcp() };
        tci.map_or(builder.clone(), |tci| builder.tagged(tci))
    }

    /// Whether it comes on the VLAN of the legs that have one.
    pub(crate) fn is_on_remote_vlan(&self) -> bool {
        self.tci == Some(REMOTE)
    }

    /// Its bytes with another tag.
    fn bytes(&self, tci: Option<u16>) -> Vec<u8> {
        self.builder(tci).complete().bytes
    }

    pub(crate) fn frame(&self) -> TestFrame {
        match self.transport {
            Transport::Long => self.builder(self.tci).to_segment(300),
            _ => self.builder(self.tci).complete(),
        }
    }
}

fn any_shot() -> impl Strategy<Value = Shot> {
    let source = prop_oneof![
        8 => Just(None),
        1 => (0..PORTS).prop_map(|index| Some(mac(index))),
        1 => Just(Some(MacAddr([3, 0, 0, 0, 0, 1]))),
    ];
    let to = prop_oneof![
        6 => (0..PORTS).prop_map(mac),
        1 => Just(MacAddr::BROADCAST),
        1 => Just(mac(99)),
        1 => Just(MacAddr([0x01, 0x80, 0xc2, 0, 0, 3])),
    ];
    let tci = prop_oneof![
        3 => Just(None),
        2 => Just(Some(10)),
        1 => Just(Some(0x7014)),
        1 => Just(Some(0xa000)),
        1 => Just(Some(30)),
        1 => Just(Some(REMOTE)),
    ];
    let transport = prop_oneof![Just(Transport::Udp), Just(Transport::Tcp), Just(Transport::Long)];
    (0..PORTS, source, to, tci, prop_oneof![0..90_usize, 300..1300_usize], transport).prop_map(
        |(from, source, to, tci, payload_bytes, transport)| {
            let source = source.unwrap_or(mac(from));
            Shot { from, source, to, tci, payload_bytes, transport }
        },
    )
}

/// A session without number and legs' numbers, its legs, and which of the filters it has.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    ports: Vec<usize>,
    vlans: Vec<u16>,
    macs: Vec<usize>,
    directions: Directions,
    filter: Option<usize>,
    snap_len: u32,
    refused: RefusedFrames,
    exactness: Exactness,
    pub(crate) legs: Vec<(usize, LegForm)>,
}

pub(crate) fn any_session() -> impl Strategy<Value = Plan> {
    let sources = (
        subsequence((0..PORTS).collect::<Vec<_>>(), 0..3),
        subsequence(vec![0, 10, 20], 0..2),
        subsequence((0..PORTS).collect::<Vec<_>>(), 0..2),
    );
    let directions =
        prop_oneof![Just(Directions::Ingress), Just(Directions::Egress), Just(Directions::Both)];
    let filter = prop_oneof![3 => Just(None), 2 => (0..FILTERS.len()).prop_map(Some)];
    let snap_len = prop_oneof![3 => Just(u32::MAX), 2 => 14..500_u32];
    let refused = prop_oneof![Just(RefusedFrames::Left), Just(RefusedFrames::Included)];
    let exactness = prop_oneof![2 => Just(Exactness::ByReference), 1 => Just(Exactness::Exact)];
    let form = prop_oneof![Just(LegForm::Plain), Just(remote())];
    let legs = vec((0..PORTS, form), 1..4);
    (sources, directions, filter, snap_len, refused, exactness, legs).prop_map(
        |((ports, vlans, macs), directions, filter, snap_len, refused, exactness, legs)| Plan {
            ports,
            vlans,
            macs,
            directions,
            filter,
            snap_len,
            refused,
            exactness,
            legs,
        },
    )
}

impl Plan {
    fn session(&self, number: u64, first_leg: usize) -> Session {
        let mut vlans = VlanSet::EMPTY;
        self.vlans.iter().for_each(|vlan| vlans.insert(vid(*vlan)));
        let legs = self.legs.iter().enumerate().map(|(at, (to, form))| Leg {
            id: leg(first_leg + at),
            port: port(*to),
            form: form.clone(),
        });
        Session {
            number,
            sources: Sources {
                ports: self.ports.iter().map(|index| port(*index)).collect(),
                vlans,
                macs: self.macs.iter().map(|index| mac(*index)).collect(),
            },
            directions: self.directions,
            filter: self.filter.map(|at| compiled(FILTERS[at])),
            one_in: NonZeroU32::MIN,
            rate: None,
            snap_len: SnapLen::new(self.snap_len).unwrap(),
            exactness: self.exactness,
            refused: self.refused,
            legs: legs.collect(),
        }
    }

    /// What a filter says of a frame that has this tag.
    fn accepts(&self, shot: &Shot, tci: Option<u16>) -> bool {
        match self.filter {
            None => true,
            Some(0) => tci.is_some(),
            Some(1) => tci.is_none(),
            Some(2) => tci.is_some_and(|tci| tci & 0xfff == 10),
            Some(_) => shot.transport == Transport::Udp,
        }
    }
}

fn compiled(filter: &str) -> Program {
    helio_filter::compile(filter).unwrap()
}

/// The sessions of these plans, with their legs numbered in a row.
pub(crate) fn sessions(plans: &[Plan]) -> Vec<Session> {
    let mut first_leg = 0;
    let mut all = Vec::new();
    for (plan, number) in plans.iter().zip(1..) {
        all.push(plan.session(number, first_leg));
        first_leg += plan.legs.len();
    }
    all
}

/// What the rules make of traffic: what each port gets in order, and what becomes of each leg's copies.
pub(crate) struct Rules<'a> {
    switch: Model<'a>,
    plans: &'a [PortPlan],
    sessions: &'a [Plan],
    pub(crate) got: Vec<Vec<Vec<u8>>>,
    /// Of each leg: wanted, returned to the sender, no member of the VLAN, and for the next bridge on a remote VLAN.
    pub(crate) legs: Vec<[FrameCount; 4]>,
}

/// A leg that gets a frame: its number, port and form, the tag that the frame is shown with, and how much of it.
struct Wanted {
    leg: usize,
    to: usize,
    form: LegForm,
    shown_tci: Option<u16>,
    snap_len: u32,
}

impl<'a> Rules<'a> {
    pub(crate) fn new(plans: &'a [PortPlan], sessions: &'a [Plan]) -> Self {
        let switch = Model { plans, known: HashMap::new(), got: Vec::new() };
        let legs = sessions.iter().map(|plan| plan.legs.len()).sum();
        let (got, legs) = (vec![Vec::new(); PORTS], vec![Default::default(); legs]);
        Self { switch, plans, sessions, got, legs }
    }

    pub(crate) fn shoot(&mut self, shot: &Shot) {
        let plan = &self.plans[shot.from];
        let classified = classify(&plan.vlan, shot.tci.map(Tci));
        let refused =
            plan.role == PortRole::ReceiveOnly || shot.source.is_group() || shot.to.is_link_local();
        let vlan = classified.ok().filter(|_| !refused);
        if let Some(vlan) = vlan {
            self.switch.known.insert((vlan, shot.source), shot.from);
        }
        let production = vlan.map_or_else(Vec::new, |vlan| self.receivers(shot, vlan));
        let (mirrored, wanted) = if self.is_copy(shot, vlan) {
            (Vec::new(), Vec::new())
        } else {
            let mirrored = vlan.map(|vlan| self.mirrored(shot, vlan, &production));
            (mirrored.unwrap_or_default(), self.wanted(shot, vlan, &production))
        };
        for to in 0..PORTS {
            let as_usual = production.contains(&to) || mirrored.contains(&to);
            let towards = match vlan {
                Some(vlan) => tag_towards(&self.plans[to].vlan, vlan, shot.tci),
                None => shot.tci,
            };
            let (plain, changed): (Vec<_>, Vec<_>) = wanted
                .iter()
                .filter(|wanted| wanted.to == to)
                .partition(|wanted| matches!(wanted.form, LegForm::Plain));
            // As it is once, whoever wants it, and then in other forms.
            if as_usual {
                self.got[to].push(shot.bytes(towards));
            } else if let Some(longest) = plain.iter().map(|wanted| wanted.snap_len).max() {
                self.got[to].push(cut(shot.bytes(towards), longest));
            }
            for wanted in changed {
                let mut bytes = cut(shot.bytes(wanted.shown_tci), wanted.snap_len);
                let mark = if vlan.is_none() { 0x1000 } else { 0 };
                let tci = shot.tci.unwrap_or(0) & 0xf000 | mark | REMOTE;
                let [high, low] = tci.to_be_bytes();
                bytes.splice(12..12, [0x81, 0, high, low]);
                self.got[to].push(bytes);
            }
        }
    }

    fn receivers(&self, shot: &Shot, vlan: VlanId) -> Vec<usize> {
        self.switch.receivers(shot.from, vlan, shot.to)
    }

    /// Whether a frame comes on the VLAN that some session sends its copies on.
    fn is_copy(&self, shot: &Shot, vlan: Option<VlanId>) -> bool {
        let came_on = vlan.map_or(shot.tci.unwrap_or(0) & 0xfff, VlanId::get);
        let forms = || self.sessions.iter().flat_map(|plan| &plan.legs).map(|(_, form)| form);
        came_on == REMOTE && forms().any(|form| matches!(form, LegForm::RemoteVlan(_)))
    }

    /// Destinations of per-port mirroring that get a copy.
    fn mirrored(&self, shot: &Shot, vlan: VlanId, production: &[usize]) -> Vec<usize> {
        let gets = |to: &usize| {
            let plan = &self.plans[*to];
            let is_source = |index: &usize| {
                let source = &self.plans[*index];
                source.mirroring == Mirroring::Source && source.session == plan.session
            };
            plan.mirroring == Mirroring::Destination
                && *to != shot.from
                && plan.vlan.is_member(vlan)
                && (is_source(&shot.from) || production.iter().any(is_source))
        };
        (0..PORTS).filter(gets).collect()
    }

    /// The legs that get a frame, in order; all that want it are counted.
    fn wanted(&mut self, shot: &Shot, vlan: Option<VlanId>, production: &[usize]) -> Vec<Wanted> {
        let mut all = Vec::new();
        let mut first_leg = 0;
        for plan in self.sessions {
            if let Some(shown_tci) = self.shown(plan, shot, vlan, production) {
                for (leg, (to, form)) in (first_leg..).zip(&plan.legs) {
                    let (to, form, snap_len) = (*to, form.clone(), plan.snap_len);
                    all.push(Wanted { leg, to, form, shown_tci, snap_len });
                }
            }
            first_leg += plan.legs.len();
        }
        let count = FrameCount { frames: 1, bytes: shot.bytes(shot.tci).len() as u64 };
        let mut count_one = |leg: usize, what: usize| {
            let counts = &mut self.legs[leg];
            counts[what] = counts[what] + count;
        };
        let plans = self.plans;
        all.retain(|wanted| {
            count_one(wanted.leg, 0);
            let is_plain = matches!(wanted.form, LegForm::Plain);
            let is_member = vlan.is_none_or(|vlan| plans[wanted.to].vlan.is_member(vlan));
            let why_not = if wanted.to == shot.from {
                Some(1)
            } else if is_plain && !is_member {
                Some(2)
            } else if !is_plain && shot.to.is_link_local() {
                Some(3)
            } else {
                None
            };
            why_not.inspect(|why| count_one(wanted.leg, *why)).is_none()
        });
        all
    }

    /// With which tag a session shows a frame; `None` if it does not want it.
    fn shown(
        &self,
        plan: &Plan,
        shot: &Shot,
        vlan: Option<VlanId>,
        production: &[usize],
    ) -> Option<Option<u16>> {
        let has_vlan = vlan.is_some_and(|vlan| plan.vlans.contains(&vlan.get()));
        let has_mac = |address| plan.macs.iter().any(|index| mac(*index) == address);
        let watches = |index: &usize| plan.ports.contains(index);
        let enters = plan.directions != Directions::Egress
            && (watches(&shot.from) || has_vlan || has_mac(shot.source))
            && (vlan.is_some() || plan.refused == RefusedFrames::Included);
        if enters && plan.accepts(shot, shot.tci) {
            return Some(shot.tci);
        }
        let watched = production.iter().copied().find(watches);
        let leaves = plan.directions != Directions::Ingress
            && (watched.is_some() || has_vlan || has_mac(shot.to));
        let through = watched.or(production.first().copied()).filter(|_| leaves)?;
        let tci = tag_towards(&self.plans[through].vlan, vlan?, shot.tci);
        plan.accepts(shot, tci).then_some(tci)
    }
}

fn cut(mut bytes: Vec<u8>, most: u32) -> Vec<u8> {
    bytes.truncate(most as usize);
    bytes
}

/// The shots in groups of one sender each, so that there are bursts.
pub(crate) fn any_shots() -> impl Strategy<Value = Vec<Shot>> {
    vec((any_shot(), 1..4_usize, vec(any_shot(), 0..4)), 1..10).prop_map(|groups| {
        let mut shots = Vec::new();
        for (first, times, others) in groups {
            let from = first.from;
            shots.extend(std::iter::repeat_n(first, times));
            shots.extend(others.into_iter().map(|shot| {
                let source = if shot.source == mac(shot.from) { mac(from) } else { shot.source };
                Shot { from, source, ..shot }
            }));
        }
        shots
    })
}

#[test]
fn the_filters_here_mean_what_the_rules_take_them_for() {
    let shot = |tci, transport| Shot {
        from: 0,
        source: mac(0),
        to: mac(1),
        tci,
        payload_bytes: 9,
        transport,
    };
    let any = Plan {
        ports: Vec::new(),
        vlans: Vec::new(),
        macs: Vec::new(),
        directions: Directions::Both,
        filter: None,
        snap_len: u32::MAX,
        refused: RefusedFrames::Left,
        exactness: Exactness::ByReference,
        legs: Vec::new(),
    };
    for (at, filter) in FILTERS.iter().enumerate() {
        let (program, plan) = (compiled(filter), Plan { filter: Some(at), ..any.clone() });
        for tci in [None, Some(10), Some(0xa00a), Some(20), Some(0x2000)] {
            for transport in [Transport::Udp, Transport::Tcp] {
                let shot = shot(tci, transport);
                let bytes = shot.bytes(tci);
                let length = u32::try_from(bytes.len()).unwrap();
                let accepts = program.accepts(&bytes, &[][..], length);
                assert_eq!(accepts, plan.accepts(&shot, tci), "{filter} {tci:?} {transport:?}");
            }
        }
    }
}
