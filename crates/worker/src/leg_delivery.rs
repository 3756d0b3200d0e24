//! Delivering frames that legs of named sessions get, to their ordinary receivers and to the legs whose ports this worker owns.

use helio_encap::{
    CopyFields, Cos, Direction, Integrity, OriginalTag, SnapLen, SourceIndex, Timestamp, Truncation,
};
use helio_frame::{Delivery, Frame, Port, Precedence, RestBytes};
use helio_mirror::{Leg, LegForm, Session, Sessions};
use helio_offload::{Form, MAX_HEADER_BYTES, Offloads, flow_hash};
use helio_switch::{L2, PortSettings, TAG_BYTES, TagEdit, Tci};
use helio_types::{DropReason, LegId, LegSet, PortId, VlanId};

use crate::Snapshot;
use crate::core::Core;
use crate::deliver::{Outcome, Part, Purpose, in_form, longest, on_the_wire};
use crate::legs::{LegTargets, egress_view};
use crate::mailbox::{Readers, Tagging, Targets};
use crate::remote::{Limits, Sending, Sent, link_bytes};
use crate::run::{Traits, Work};

impl Core {
    /// Delivers frames that go the same way to all `targets` and by all `legs`, which are for this worker to deal with.
    pub(crate) fn deliver_with_legs(
        &mut self,
        frames: &mut [Frame],
        traits: Traits,
        tagging: Tagging,
        targets: &Targets,
        legs: &LegTargets,
    ) {
        if traits.work == Work::Nothing && self.ports_differ(targets, legs) {
            return self.deliver_everywhere(frames, traits, tagging, targets, legs);
        }
        for frame in frames {
            let traits = Traits::of(frame);
            let alone = std::slice::from_mut(frame);
            self.forms.begin();
            self.deliver_everywhere(alone, traits, tagging, targets, legs);
        }
    }

    /// Whether no port gets a frame both as it is and in another form: such a port gets one frame after the other.
    fn ports_differ(&self, targets: &Targets, legs: &LegTargets) -> bool {
        let sessions = &self.snapshot.sessions;
        let as_they_are = targets.production.union(&targets.copies);
        let as_they_are = as_they_are.union(&sessions.plain_ports(legs.all()));
        legs.all()
            .into_iter()
            .filter_map(|id| sessions.leg(id))
            .all(|(_, leg)| leg.is_plain() || !as_they_are.contains(leg.port))
    }

    /// Production first, then copies as they are, then those in other forms, frame by frame. A port gets each frame once as it
    /// is: if it receives it anyway, that is the copy of all its plain legs.
    fn deliver_everywhere(
        &mut self,
        frames: &mut [Frame],
        traits: Traits,
        tagging: Tagging,
        targets: &Targets,
        legs: &LegTargets,
    ) {
        let mut left = legs.all();
        let production =
            targets.production.iter().map(|port| (port, Part::production(port, targets)));
        let copies = targets.copies.iter().map(|port| (port, Part::COPY));
        for (port, part) in production.chain(copies) {
            let part = Part { legs: self.plain_among(left, port), ..part };
            left = left.difference(part.legs);
            self.deliver_part(frames, traits, tagging, port, part, Readers::Others);
        }
        for port in &self.snapshot.sessions.plain_ports(left) {
            let purpose = self.purpose(port, left, legs);
            let part = Part { purpose, is_for_mirror: false, legs: self.plain_among(left, port) };
            left = left.difference(part.legs);
            self.deliver_part(frames, traits, tagging, port, part, Readers::Others);
        }
        for frame in &*frames {
            for id in left {
                let outcome = self.deliver_by_leg(frame, tagging, id, legs);
                outcome.count(on_the_wire(frame), self.counters.leg(id));
            }
        }
    }

    /// Those of `legs` that give `port` plain copies.
    fn plain_among(&self, legs: LegSet, port: PortId) -> LegSet {
        legs.intersection(self.snapshot.sessions.plain_legs(port))
    }

    /// How `port` gets the one copy that those of `legs` which are plain want there: with as many bytes as the most
    /// demanding session wants.
    fn purpose(&self, port: PortId, legs: LegSet, targets: &LegTargets) -> Purpose {
        let sessions = &self.snapshot.sessions;
        let snap_len = legs
            .intersection(sessions.plain_legs(port))
            .into_iter()
            .filter_map(|leg| Some(sessions.leg(leg)?.0.snap_len))
            .max_by_key(|snap_len| snap_len.bytes())
            .unwrap_or(SnapLen::WHOLE);
        match targets.refused {
            Some(_) => Purpose::CopyOfRefused(snap_len),
            None => Purpose::Copy(snap_len),
        }
    }

    /// Delivers a frame by a leg that changes it.
    fn deliver_by_leg(
        &mut self,
        frame: &Frame,
        tagging: Tagging,
        id: LegId,
        targets: &LegTargets,
    ) -> Outcome {
        let Some(port) = self.snapshot.sessions.leg(id).map(|(_, leg)| leg.port) else {
            return Outcome::dropped(DropReason::PortDown);
        };
        let place = self.place(port);
        self.give(place);
        let Self { locals, snapshot, memories, forms, counters, collectors, now_ns, .. } = self;
        let local = place.and_then(|place| locals.get_mut(place));
        let (Some((session, leg)), Some(local), Some(settings)) =
            (snapshot.sessions.leg(id), local, snapshot.switch.port(port))
        else {
            return Outcome::dropped(DropReason::PortDown);
        };
        let table = memories.get(frame.memory.index()).and_then(Option::as_deref);
        if table.is_none() && !frame.rest.is_empty() {
            return Outcome::dropped(DropReason::PortDown);
        }
        let sighting = Sighting::of(snapshot, session, id, targets, tagging);
        let rest = RestBytes::new(table, &frame.rest);
        let (mut outcome, mut sent) = (Outcome::default(), Sent::default());
        let at = snapshot.switch.port(sighting.at).unwrap_or(settings);
        let flow_hash = flow_hash(frame.head.bytes());
        let mut way =
            LegWay { session, leg, sighting, tagging, settings, at, flow_hash, now_ns: *now_ns };
        let mut collector = collectors.sending(id);
        let form = Form::towards(&frame.net, Offloads::NONE);
        let made = in_form(frame, rest, forms, form, u16::MAX, |delivery| {
            let bytes = delivery.bytes();
            match way.send(&delivery, &mut *local.port, collector.as_mut(), &mut sent) {
                Ok(()) => outcome.deliver(bytes),
                Err(reason) => outcome.drop(reason),
            }
        });
        // Some fragments of a copy that was dropped may have left, too.
        counters.port(port).egress.add(sent.frames, sent.bytes);
        if let Err(reason) = made {
            outcome.drop(reason);
        }
        outcome
    }
}

/// How a frame was seen at the source of its session.
#[derive(Clone, Copy)]
struct Sighting {
    direction: Direction,
    /// The source port.
    at: PortId,
    /// How its head changes on its way out through there.
    edit: TagEdit,
    refused: Option<DropReason>,
    /// Whether it was all there.
    truncation: Truncation,
}

impl Sighting {
    fn of(
        snapshot: &Snapshot,
        session: &Session,
        leg: LegId,
        targets: &LegTargets,
        tagging: Tagging,
    ) -> Self {
        let LegTargets { ingress, entered, production, refused, truncation, .. } = targets;
        let (refused, truncation) = (*refused, *truncation);
        let left = Sessions::left_through(session, production).unwrap_or(*entered);
        if ingress.contains(leg) {
            let direction = Direction::Ingress;
            return Self { direction, at: *entered, edit: TagEdit::Keep, refused, truncation };
        }
        let edit = egress_view(snapshot, session, production, tagging);
        Self { direction: Direction::Egress, at: left, edit, refused: None, truncation }
    }

    /// The source as collectors are told: the slot of the port, and for a refused frame the highest bit and the number of the
    /// reason above it.
    fn source(&self) -> SourceIndex {
        let port = u32::try_from(self.at.index()).unwrap_or(0);
        let mark = self.refused.map_or(0, |reason| REFUSED_MARK | (reason as u32) << 8);
        SourceIndex::of_low_bits(mark | port)
    }
}

/// Marks the source index of a copy of a frame that policy refused.
const REFUSED_MARK: u32 = 1 << 19;

/// The way of a frame by one leg.
struct LegWay<'a> {
    session: &'a Session,
    leg: &'a Leg,
    sighting: Sighting,
    tagging: Tagging,
    settings: &'a PortSettings,
    /// Those of the source port.
    at: &'a PortSettings,
    flow_hash: u32,
    now_ns: u64,
}

/// Room for the head of a frame and two tags.
const ROOM: usize = MAX_HEADER_BYTES + 2 * TAG_BYTES;

impl LegWay<'_> {
    /// Sends a complete frame.
    fn send(
        &mut self,
        delivery: &Delivery<'_>,
        port: &mut dyn Port,
        collector: Option<&mut Sending<'_>>,
        sent: &mut Sent,
    ) -> Result<(), DropReason> {
        let mut seen = [0; ROOM];
        let edit = self.sighting.edit;
        let bytes = edit.apply(delivery.header, &mut seen).ok_or(DropReason::HeaderLong)?;
        let seen = Delivery { header: seen.get(..bytes).unwrap_or_default(), ..*delivery };
        match (&self.leg.form, collector) {
            (LegForm::RemoteVlan(vlan), _) => self.send_tagged(&seen, *vlan, port, sent),
            (LegForm::Remote(remote), Some(collector)) => {
                let facts = self.facts(&seen);
                let snap_len = self.session.snap_len;
                let limits = Limits { snap_len, link_bytes: link_bytes(self.settings, port) };
                collector.send(remote, &seen, limits, facts, port, sent)
            }
            (LegForm::Plain, _) | (LegForm::Remote(_), None) => Err(DropReason::PortDown),
        }
    }

    fn send_tagged(
        &self,
        seen: &Delivery<'_>,
        vlan: VlanId,
        port: &mut dyn Port,
        sent: &mut Sent,
    ) -> Result<(), DropReason> {
        let cut = seen.range(0, self.session.snap_len.bytes());
        if cut.bytes() > longest(self.settings, Tagging { tag: tag_of(seen), ..self.tagging }) {
            return Err(DropReason::Mtu);
        }
        let tci = self.tagging.tag.map_or(Tci::of(vlan), |tag| tag.with_vlan(vlan));
        let tci = if self.sighting.refused.is_some() { tci.drop_eligible() } else { tci };
        let mut tagged = [0; ROOM];
        let bytes = TagEdit::Push(tci).apply(cut.header, &mut tagged);
        let header = tagged.get(..bytes.ok_or(DropReason::HeaderLong)?).unwrap_or_default();
        let delivery = Delivery { header, precedence: Precedence::Copy, ..cut };
        port.offer(&delivery)?;
        sent.add(&delivery);
        Ok(())
    }

    /// What a collector is told about a frame.
    fn facts(&self, seen: &Delivery<'_>) -> CopyFields {
        let tag = tag_of(seen);
        let integrity = match self.sighting.refused {
            Some(_) => Integrity::Bad,
            None => {
                let longest = longest(self.at, Tagging { tag, ..self.tagging });
                Integrity::of_length(seen.bytes(), longest)
            }
        };
        // A refused frame belongs to no VLAN, and may say one all the same.
        let said = || tag.and_then(|tag| VlanId::new(tag.vid())).unwrap_or(VlanId::UNTAGGED);
        CopyFields {
            vlan: self.sighting.refused.map_or(self.tagging.vlan, |_| said()),
            cos: Cos::of_low_bits(tag.or(self.tagging.tag).map_or(0, Tci::pcp)),
            original_tag: if tag.is_some() { OriginalTag::Kept } else { OriginalTag::Absent },
            integrity,
            truncation: self.sighting.truncation,
            direction: self.sighting.direction,
            source: self.sighting.source(),
            timestamp: Timestamp::of_ns(self.now_ns),
            flow_hash: self.flow_hash,
            ..CopyFields::default()
        }
    }
}

/// The tag of a frame.
fn tag_of(seen: &Delivery<'_>) -> Option<Tci> {
    L2::parse(seen.header).ok()?.tag
}
