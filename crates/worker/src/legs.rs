//! Which legs of the named sessions get a frame: decided by the worker that took it, counted as wanted, and limited, before
//! the frame goes to any other worker.

use std::num::NonZeroU32;
use std::sync::Arc;

use helio_counters::FrameCount;
use helio_encap::Truncation;
use helio_filter::Program;
use helio_frame::{Frame, RestBytes};
use helio_mirror::{
    Concerned, Copies, Crossing, Exactness, LegForm, Rate, RateLimit, Sampler, Session, Sessions,
};
use helio_offload::MAX_HEADER_BYTES;
use helio_switch::{L2, TAG_BYTES, TagEdit, egress_edit};
use helio_types::{DropReason, LegSet, MacAddr, PortId, PortSet, VlanId};

use crate::Snapshot;
use crate::core::Core;
use crate::deliver::on_the_wire;
use crate::mailbox::Tagging;
use crate::run::{Run, Verdict};

/// The legs that get a frame, and how they see it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct LegTargets {
    /// Those that show it as it entered.
    pub(crate) ingress: LegSet,
    /// Those that show it as it leaves.
    pub(crate) egress: LegSet,
    /// The port that sent it.
    pub(crate) entered: PortId,
    /// The ports that the switch forwards it to.
    pub(crate) production: PortSet,
    /// Why policy refused it, if it did.
    pub(crate) refused: Option<DropReason>,
    /// Whether it is all there: who sent it here in a mirror stream may have cut it.
    pub(crate) truncation: Truncation,
}

impl LegTargets {
    /// No leg.
    pub(crate) fn none(entered: PortId) -> Self {
        Self {
            ingress: LegSet::EMPTY,
            egress: LegSet::EMPTY,
            entered,
            production: PortSet::EMPTY,
            refused: None,
            truncation: Truncation::Whole,
        }
    }

    /// All of them.
    #[inline]
    pub(crate) fn all(&self) -> LegSet {
        self.ingress.union(self.egress)
    }

    /// Those among `legs`.
    pub(crate) fn within(&self, legs: LegSet) -> Self {
        let ingress = self.ingress.intersection(legs);
        Self { ingress, egress: self.egress.intersection(legs), ..*self }
    }

    fn without(&self, legs: LegSet) -> Self {
        self.within(self.all().difference(legs))
    }
}

/// A way across a source.
#[derive(Clone, Copy)]
enum Way {
    Ingress,
    Egress,
}

/// The ways on which a frame crosses the sources of one session.
#[derive(Clone, Copy)]
struct Ways {
    ingress: bool,
    /// How its head changes on its way out.
    egress: Option<TagEdit>,
}

/// What one worker keeps for one session from frame to frame.
#[derive(Debug)]
pub(crate) struct SessionMeter {
    /// The number of the session.
    number: u64,
    sampler: Sampler,
    one_in: NonZeroU32,
    /// That of all workers.
    limit: Option<Arc<RateLimit>>,
    rate: Option<Rate>,
}

impl SessionMeter {
    fn new(session: &Session, limit: Option<&Arc<RateLimit>>, random: u32) -> Self {
        Self {
            number: session.number,
            sampler: Sampler::new(session.one_in, random),
            one_in: session.one_in,
            limit: limit.cloned(),
            rate: session.rate,
        }
    }

    /// The same, but what is set as it was for `before` goes on from there. All workers do that alike, so they go on sharing a
    /// limit.
    fn continuing(self, before: Self) -> Self {
        let is_sampled_alike = self.one_in == before.one_in;
        Self {
            sampler: if is_sampled_alike { before.sampler } else { self.sampler },
            limit: if self.rate == before.rate { before.limit } else { self.limit },
            ..self
        }
    }

    /// Which way of a frame the session takes, of those on which it crosses its sources: that on which its filter accepts the
    /// frame, the way in first.
    fn takes(
        &mut self,
        session: &Session,
        crosses: Ways,
        frame: &Frame,
        rest: &RestBytes<'_>,
    ) -> Option<Way> {
        let accepts =
            |edit| session.filter.as_ref().is_none_or(|filter| accepts(filter, frame, rest, edit));
        let way = if crosses.ingress && accepts(TagEdit::Keep) {
            Way::Ingress
        } else if crosses.egress.is_some_and(accepts) {
            Way::Egress
        } else {
            return None;
        };
        self.sampler.takes().then_some(way)
    }

    /// Whether its rate allows copies of a frame.
    fn passes(&self, session: &Session, frame: &Frame, now_ns: u64) -> bool {
        let Some(limit) = &self.limit else { return true };
        let frames = on_the_wire(frame).frames;
        let bytes = snapped_bytes(frame, session.snap_len.bytes());
        limit.passes(Copies { frames, bytes }, now_ns)
    }
}

impl Core {
    /// Keeps what is kept for sessions that go on, and begins it for new ones. Not part of a turn: it allocates.
    #[cold]
    pub(crate) fn adopt_sessions(&mut self) {
        self.adopt_collectors();
        self.adopt_decaps();
        self.note_own_uplinks();
        self.now_ns = self.clock.now_ns();
        let mut before = std::mem::take(&mut self.meters);
        let sessions = &self.snapshot.sessions;
        let meter = |(place, session): (usize, &Session)| {
            let (low, worker) = (self.now_ns / 1000, self.id.index() as u64);
            let random = low.wrapping_mul(2_654_435_761).wrapping_add(worker) & 0xffff_ffff;
            let random = u32::try_from(random).unwrap_or(0);
            let fresh = SessionMeter::new(session, sessions.limit(place), random);
            match before.iter().position(|meter| meter.number == session.number) {
                Some(place) => fresh.continuing(before.swap_remove(place)),
                None => fresh,
            }
        };
        self.meters = sessions.all().iter().enumerate().map(meter).collect();
    }

    /// Whether anything needs the time: a named session, or a decap port.
    #[inline]
    pub(crate) fn needs_time(&self) -> bool {
        !self.meters.is_empty() || !self.decaps.is_empty()
    }

    /// Notes the time of a turn.
    pub(crate) fn tell_time(&mut self) {
        self.now_ns = self.clock.now_ns();
    }

    /// The sessions that frames concern which begin like `frame` and of which the switch said `verdict`.
    #[inline]
    pub(crate) fn concerned(&self, ingress: PortId, frame: &Frame, verdict: &Verdict) -> Concerned {
        let Snapshot { sessions, switch, .. } = &*self.snapshot;
        if sessions.is_empty() {
            return Concerned::NONE;
        }
        let (destination, source) = addresses(frame);
        match verdict {
            Ok(decision) => sessions.concerned(&Crossing {
                ingress,
                production: &decision.destinations(switch, ingress),
                vlan: decision.vlan,
                source,
                destination,
            }),
            // That was no frame.
            Err(DropReason::Runt) => Concerned::NONE,
            Err(_) if sessions.want_refused() => {
                let tag = L2::parse(frame.head.bytes()).ok().and_then(|l2| l2.tag);
                let said =
                    tag.filter(|tag| !tag.is_priority()).and_then(|tag| VlanId::new(tag.vid()));
                let of_port = || switch.port(ingress).and_then(|port| port.vlan.untagged_vlan());
                let came_on = said.or_else(of_port).unwrap_or(VlanId::UNTAGGED);
                sessions.concerned_by_refused(ingress, source, came_on)
            }
            Err(_) => Concerned::NONE,
        }
    }

    /// Whether there can be copies for collectors that came back among frames which begin alike.
    #[inline]
    pub(crate) fn may_be_own_copies(&self, frames: &[Frame]) -> bool {
        let sessions = &self.snapshot.sessions;
        let is_from_us = |frame: &Frame| sessions.may_be_own_copy(addresses(frame).1);
        sessions.have_collectors() && frames.first().is_some_and(is_from_us)
    }

    /// Says which legs get the frames of a run that concerns sessions: `frame`, the first, tells for all. Counts what they want,
    /// and what of that they cannot have.
    #[inline(never)]
    pub(crate) fn plan_legs(&mut self, ingress: PortId, frame: &mut Frame, run: &mut Run) {
        let mut targets = LegTargets::none(ingress);
        match &run.verdict {
            Ok(decision) => {
                targets.production = decision.destinations(&self.snapshot.switch, ingress);
            }
            Err(reason) => {
                targets.refused = Some(*reason);
                // It belongs to no VLAN, and has the tag that it came with.
                run.tagging.tag = L2::parse(frame.head.bytes()).ok().and_then(|l2| l2.tag);
            }
        }
        let Self { snapshot, meters, counters, memories, now_ns, .. } = self;
        let table = memories.get(frame.memory.index()).and_then(Option::as_deref);
        let rest = RestBytes::new(table, &frame.rest);
        let wire = run.traits.wire;
        for place in run.concerned.all().places() {
            let (Some(session), Some(meter)) =
                (snapshot.sessions.session(place), meters.get_mut(place))
            else {
                continue;
            };
            let leaves = run.concerned.egress.contains(place);
            let crosses = Ways {
                ingress: run.concerned.ingress.contains(place),
                egress: leaves
                    .then(|| egress_view(snapshot, session, &targets.production, run.tagging)),
            };
            let Some(way) = meter.takes(session, crosses, frame, &rest) else { continue };
            let legs = session.leg_set();
            let passes = meter.passes(session, frame, *now_ns);
            for leg in legs {
                let block = counters.leg(leg);
                block.wanted.add(wire.frames, wire.bytes);
                if !passes {
                    block.drop_copies(DropReason::RateLimit, wire.frames, wire.bytes);
                }
            }
            match way {
                _ if !passes => {}
                Way::Ingress => targets.ingress = targets.ingress.union(legs),
                Way::Egress => targets.egress = targets.egress.union(legs),
            }
        }
        let targets = self.refuse_impossible(frame, wire, run.tagging, targets);
        let targets = self.make_exact(frame, targets);
        if !targets.all().is_empty() {
            run.legs = u8::try_from(self.leg_plans.len()).ok();
            self.leg_plans.push(targets);
        }
    }

    /// Counts copies for legs as dropped before they were tried.
    pub(crate) fn refuse_legs(&self, wire: FrameCount, legs: LegSet, reason: DropReason) {
        for leg in legs {
            self.counters.leg(leg).drop_copies(reason, wire.frames, wire.bytes);
        }
    }

    /// Leaves out the legs that would give a frame back to the port it came from, those whose port is no member of its VLAN, and
    /// remote VLANs where the frame is for the next bridge: the first one there would take it for its neighbour's, and may shut
    /// the port or change the tree. Where such a frame enters, policy refuses it, so it comes from those or in a stream.
    fn refuse_impossible(
        &self,
        frame: &Frame,
        wire: FrameCount,
        tagging: Tagging,
        targets: LegTargets,
    ) -> LegTargets {
        let Snapshot { sessions, switch, .. } = &*self.snapshot;
        let members = switch.members(tagging.vlan);
        let is_link_local = addresses(frame).0.is_link_local();
        let (mut returned, mut not_member, mut for_bridge) =
            (LegSet::EMPTY, LegSet::EMPTY, LegSet::EMPTY);
        for id in targets.all() {
            let Some((_, leg)) = sessions.leg(id) else { continue };
            let gives_frames = matches!(leg.form, LegForm::Plain | LegForm::RemoteVlan(_));
            if gives_frames && leg.port == targets.entered {
                returned = returned.union(LegSet::of(id));
            } else if is_link_local && matches!(leg.form, LegForm::RemoteVlan(_)) {
                for_bridge = for_bridge.union(LegSet::of(id));
            } else if leg.is_plain()
                && targets.refused.is_none()
                && !members.contains(leg.port)
                && !targets.production.contains(leg.port)
            {
                not_member = not_member.union(LegSet::of(id));
            }
        }
        self.refuse_legs(wire, returned, DropReason::ReturnToSender);
        self.refuse_legs(wire, not_member, DropReason::Vlan);
        self.refuse_legs(wire, for_bridge, DropReason::LinkLocal);
        targets.without(returned.union(not_member).union(for_bridge))
    }

    /// Makes the frame private if a leg of an exact session gets it; without a buffer those legs get nothing. Where one may, a run
    /// is one frame.
    fn make_exact(&mut self, frame: &mut Frame, targets: LegTargets) -> LegTargets {
        let sessions = &self.snapshot.sessions;
        let is_exact = |leg| {
            sessions.leg(leg).is_some_and(|(session, _)| session.exactness == Exactness::Exact)
        };
        let exact: LegSet = targets.all().into_iter().filter(|leg| is_exact(*leg)).collect();
        if exact.is_empty() || self.make_private(frame) {
            return targets;
        }
        self.refuse_legs(on_the_wire(frame), exact, DropReason::NoPrivateBuffer);
        targets.without(exact)
    }
}

/// Bytes of a frame as it is on a wire, when each frame there is cut to `snap_bytes`.
fn snapped_bytes(frame: &Frame, snap_bytes: u32) -> u64 {
    let Some(gso) = frame.net.gso else { return u64::from(frame.bytes.min(snap_bytes)) };
    let header_bytes = u32::from(gso.header_bytes);
    let payload_bytes = u64::from(frame.bytes.saturating_sub(header_bytes));
    let full = u64::from(frame.net.segment_count(frame.bytes)).saturating_sub(1);
    let segment_bytes = u32::from(gso.segment_bytes);
    let last = payload_bytes.saturating_sub(full * u64::from(segment_bytes));
    let cut = |payload: u64| u64::from(snap_bytes).min(u64::from(header_bytes) + payload);
    full * cut(u64::from(segment_bytes)) + cut(last)
}

/// How the head of a frame changes on its way out through the source of a session.
pub(crate) fn egress_view(
    snapshot: &Snapshot,
    session: &Session,
    production: &PortSet,
    tagging: Tagging,
) -> TagEdit {
    Sessions::left_through(session, production)
        .and_then(|port| snapshot.switch.port(port))
        .map_or(TagEdit::Keep, |settings| egress_edit(&settings.vlan, tagging.vlan, tagging.tag))
}

/// Whether a filter accepts a frame as `edit` leaves it.
fn accepts(filter: &Program, frame: &Frame, rest: &RestBytes<'_>, edit: TagEdit) -> bool {
    let head = frame.head.bytes();
    if edit == TagEdit::Keep {
        return filter.accepts(head, rest, frame.bytes);
    }
    let mut edited = [0; MAX_HEADER_BYTES + TAG_BYTES];
    let Some(bytes) = edit.apply(head, &mut edited) else { return false };
    let delta = i32::try_from(edit.byte_delta()).unwrap_or(0);
    let frame_bytes = frame.bytes.saturating_add_signed(delta);
    filter.accepts(edited.get(..bytes).unwrap_or_default(), rest, frame_bytes)
}

/// Destination and source of a frame; zero where it is too short to have them.
fn addresses(frame: &Frame) -> (MacAddr, MacAddr) {
    let mac = |from: usize| {
        let bytes = frame.head.bytes().get(from..).and_then(<[u8]>::first_chunk);
        bytes.map_or(MacAddr([0; 6]), |bytes| MacAddr(*bytes))
    };
    (mac(0), mac(6))
}
