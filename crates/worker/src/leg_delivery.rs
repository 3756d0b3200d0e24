//! Delivering a frame that legs of named sessions get, to its ordinary receivers and to the legs whose ports this worker owns.

use helio_encap::SnapLen;
use helio_frame::{Delivery, Frame, Port, RestBytes};
use helio_mirror::{Leg, LegForm, Session};
use helio_offload::{Form, MAX_HEADER_BYTES, Offloads};
use helio_switch::{L2, PortSettings, TAG_BYTES, TagEdit, Tci};
use helio_types::{DropReason, LegId, LegSet, PortId};

use crate::core::Core;
use crate::deliver::{Outcome, Purpose, in_form, longest, on_the_wire};
use crate::legs::{LegTargets, egress_view};
use crate::mailbox::{Tagging, Targets};

impl Core {
    /// Delivers one frame to all `targets` and by all `legs`, which are for this worker to deal with: production first. A port
    /// gets it once: if it receives the frame anyway, that is the copy of all its plain legs.
    pub(crate) fn deliver_with_legs(
        &mut self,
        frame: &Frame,
        tagging: Tagging,
        targets: &Targets,
        legs: &LegTargets,
    ) {
        self.forms.begin();
        let mut left = legs.all();
        for port in &targets.production {
            let outcome = self.deliver_production(frame, tagging, port, targets);
            left = self.settle_plain(frame, port, left, outcome);
        }
        for port in &targets.copies {
            let outcome = self.deliver_copy(frame, tagging, port);
            left = self.settle_plain(frame, port, left, outcome);
        }
        while let Some(id) = left.into_iter().next() {
            left = match self.snapshot.sessions.leg(id).map(|(_, leg)| (leg.port, leg.is_plain())) {
                Some((port, true)) => {
                    let purpose = self.purpose(port, left, legs);
                    let outcome = self.deliver(frame, tagging, port, purpose);
                    self.settle_plain(frame, port, left, outcome)
                }
                found => {
                    let outcome = match found {
                        Some(_) => self.deliver_by_leg(frame, tagging, id, legs),
                        None => Outcome::dropped(DropReason::PortDown),
                    };
                    outcome.count(on_the_wire(frame), self.counters.leg(id));
                    left.difference(LegSet::of(id))
                }
            };
        }
    }

    /// Counts what became of the frame at `port` for those of `legs` that give it plain copies, and returns the others.
    fn settle_plain(&self, frame: &Frame, port: PortId, legs: LegSet, outcome: Outcome) -> LegSet {
        let settled = legs.intersection(self.snapshot.sessions.plain_legs(port));
        for leg in settled {
            outcome.count(on_the_wire(frame), self.counters.leg(leg));
        }
        legs.difference(settled)
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
        self.touch(place);
        let Self { locals, snapshot, memories, forms, counters, .. } = self;
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
        let view = if targets.ingress.contains(id) {
            TagEdit::Keep
        } else {
            egress_view(snapshot, session, &targets.production, tagging)
        };
        let rest = RestBytes::new(table, &frame.rest);
        let mut outcome = Outcome::default();
        let mut way = LegWay { session, leg, view, tagging, settings, refused: targets.refused };
        let form = Form::towards(&frame.net, Offloads::NONE);
        let made = in_form(frame, rest, forms, form, u16::MAX, |delivery| {
            let bytes = delivery.bytes();
            match way.send(&delivery, &mut *local.port) {
                Ok(sent) => {
                    counters.port(port).egress.add(1, u64::from(sent));
                    outcome.deliver(bytes);
                }
                Err(reason) => outcome.drop(reason),
            }
        });
        if let Err(reason) = made {
            outcome.drop(reason);
        }
        outcome
    }
}

/// The way of a frame by one leg.
struct LegWay<'a> {
    session: &'a Session,
    leg: &'a Leg,
    /// How the source of the session sees the frame.
    view: TagEdit,
    tagging: Tagging,
    settings: &'a PortSettings,
    refused: Option<DropReason>,
}

/// Room for the head of a frame and two tags.
const ROOM: usize = MAX_HEADER_BYTES + 2 * TAG_BYTES;

impl LegWay<'_> {
    /// Sends a complete frame. Returns the bytes sent.
    fn send(&mut self, delivery: &Delivery<'_>, port: &mut dyn Port) -> Result<u32, DropReason> {
        let mut seen = [0; ROOM];
        let bytes = self.view.apply(delivery.header, &mut seen).ok_or(DropReason::HeaderLong)?;
        let seen = Delivery { header: seen.get(..bytes).unwrap_or_default(), ..*delivery };
        match self.leg.form {
            LegForm::Plain => Err(DropReason::PortDown),
            LegForm::RemoteVlan(vlan) => {
                let tci = match self.tagging.tag {
                    Some(tag) => tag.with_vlan(vlan),
                    None => Tci::of(vlan),
                };
                let tci = if self.refused.is_some() { tci.drop_eligible() } else { tci };
                self.send_tagged(&seen, tci, port)
            }
        }
    }

    fn send_tagged(
        &self,
        seen: &Delivery<'_>,
        tci: Tci,
        port: &mut dyn Port,
    ) -> Result<u32, DropReason> {
        let cut = seen.range(0, self.session.snap_len.bytes());
        if cut.bytes() > longest(self.settings, Tagging { tag: tag_of(seen), ..self.tagging }) {
            return Err(DropReason::Mtu);
        }
        let mut tagged = [0; ROOM];
        let bytes = TagEdit::Push(tci).apply(cut.header, &mut tagged);
        let header = tagged.get(..bytes.ok_or(DropReason::HeaderLong)?).unwrap_or_default();
        let delivery = Delivery { header, ..cut };
        port.offer(&delivery)?;
        Ok(delivery.bytes())
    }
}

/// The tag of a frame.
fn tag_of(seen: &Delivery<'_>) -> Option<Tci> {
    L2::parse(seen.header).ok()?.tag
}
