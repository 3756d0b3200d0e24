//! Which mirror copies a frame needs, counted when they are wanted.

use helio_frame::{Frame, SegmentList};
use helio_mirror::{Exactness, Selected};
use helio_types::{DropReason, PortId, PortSet};

use crate::core::Core;
use crate::mailbox::Targets;
use crate::run::Run;

impl Core {
    /// Says who gets the frames of a run: where the switch sends them, and the copies that the mirror sessions want, which are
    /// counted as wanted. A copy that no one may get is counted as dropped here and now.
    #[inline]
    pub(crate) fn plan_copies(
        &mut self,
        ingress: PortId,
        frames: &mut [Frame],
        run: &Run,
        targets: &mut Targets,
    ) {
        *targets = Targets::NONE;
        let Ok(decision) = &run.verdict else { return };
        targets.production = decision.destinations(&self.snapshot.switch, ingress);
        let selected = self.snapshot.mirror.select(ingress, &targets.production);
        if !selected.is_none() {
            *targets = self.plan_selected(ingress, frames, run, selected, targets.production);
        }
    }

    #[inline(never)]
    fn plan_selected(
        &mut self,
        ingress: PortId,
        frames: &mut [Frame],
        run: &Run,
        selected: Selected,
        production: PortSet,
    ) -> Targets {
        let mirror = &self.snapshot.mirror;
        let members = self.snapshot.switch.members(run.tagging.vlan);
        let plan = mirror.plan(&selected, ingress, &production, |port| members.contains(port));
        let exactness = mirror.exactness(&plan);
        let exact_copies = mirror.exact_among(&plan.copies);
        let wire = run.traits.wire;
        for port in &plan.wanted {
            self.counters.port(port).mirror.wanted.add(wire.frames, wire.bytes);
        }
        for port in &plan.returned {
            self.refuse_copies(wire, port, DropReason::ReturnToSender);
        }
        for port in &plan.not_member {
            self.refuse_copies(wire, port, DropReason::Vlan);
        }
        let targets =
            Targets { production, production_for_mirror: plan.by_production, copies: plan.copies };
        // Where it matters, a run is one frame: it is private, or not.
        let mut frames = frames.iter_mut();
        if exactness == Exactness::ByReference || frames.all(|frame| self.make_private(frame)) {
            return targets;
        }
        // Production goes on, and so do copies that need not be exact.
        for port in &exact_copies {
            self.refuse_copies(wire, port, DropReason::NoPrivateBuffer);
        }
        Targets { copies: targets.copies.difference(&exact_copies), ..targets }
    }

    /// Copies the rest of `frame` to a private buffer, so that everybody gets the same bytes whatever the guest does
    /// meanwhile, and gives the guest its chain back. `false` when no buffer is free, or the guest's memory is gone: the
    /// frame is as it was.
    pub(crate) fn make_private(&mut self, frame: &mut Frame) -> bool {
        if frame.rest.is_empty() || frame.memory == self.pool.id() {
            return true;
        }
        let Some(chunk) = self.pool.take_spare() else { return false };
        let buffer = self.pool.segment(chunk);
        let mut copied = 0;
        if let Some(source) = self.memories.get(frame.memory.index()).and_then(Option::as_deref) {
            for piece in &frame.rest {
                let bytes = source.copy_to(*piece, self.pool.table(), buffer.skip(copied));
                copied += u32::try_from(bytes).unwrap_or(0);
            }
        }
        if copied != frame.rest_bytes() {
            self.pool.release(chunk);
            return false;
        }
        let origin = std::mem::replace(&mut frame.origin, helio_frame::Origin::Chunk(chunk));
        frame.memory = self.pool.id();
        frame.rest = SegmentList::new();
        frame.rest.push(buffer.limit(copied));
        self.release(origin);
        true
    }
}
