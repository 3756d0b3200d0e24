//! Which mirror copies a frame needs, counted when they are wanted.
//!
//! Nearly always each destination gets a copy of its own, and that is asked first: to sort the sets all the same took 225
//! instructions for each run.

use helio_counters::FrameCount;
use helio_frame::{Frame, SegmentList};
use helio_mirror::{CopyPlan, Exactness, Selected};
use helio_types::{DropReason, PortId, PortSet};

use crate::core::Core;
use crate::mailbox::Targets;
use crate::run::{Nature, Run};
use crate::snapshot::Snapshot;

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
        if !selected.is_none() && !self.is_copy(run) {
            *targets = self.plan_selected(ingress, frames, run, selected, targets.production);
        }
    }

    /// Whether the frames of a run are copies already, of this switch or of another one: those are not copied again.
    #[inline]
    fn is_copy(&self, run: &Run) -> bool {
        match run.nature {
            Nature::Entered => self.snapshot.sessions.is_remote_vlan(run.tagging.vlan),
            Nature::Streamed => false,
            Nature::OwnCopies => true,
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
        let wire = run.traits.wire;
        for port in &selected.wanted {
            self.counters.port(port).mirror.wanted.add(wire.frames, wire.bytes);
        }
        let Snapshot { mirror, switch, .. } = &*self.snapshot;
        let members = switch.members(run.tagging.vlan);
        if mirror.gets_all_beside(&selected, ingress, &production, members) {
            return Targets { production, copies: selected.wanted, ..Targets::NONE };
        }
        let plan = mirror.plan(&selected, ingress, &production, members);
        self.sort_copies(frames, wire, production, &plan)
    }

    /// Says who gets the frames of a run where not everybody gets a copy that wants one.
    #[inline(never)]
    fn sort_copies(
        &mut self,
        frames: &mut [Frame],
        wire: FrameCount,
        production: PortSet,
        plan: &CopyPlan,
    ) -> Targets {
        for port in &plan.returned {
            self.refuse_copies(wire, port, DropReason::ReturnToSender);
        }
        for port in &plan.not_member {
            self.refuse_copies(wire, port, DropReason::Vlan);
        }
        let mut copies = plan.copies;
        if self.snapshot.mirror.exactness(plan) == Exactness::Exact {
            let given_up = self.make_run_exact(frames, wire, plan);
            copies = copies.difference(&given_up);
        }
        Targets { production, production_for_mirror: plan.by_production, copies }
    }

    /// Lets everybody get the same bytes of frames that an exact session is among the receivers of. Where it matters, a run is
    /// one frame: it is private, or not. Returns the copies that are dropped then; production goes on, and so do copies that
    /// need not be exact.
    #[inline(never)]
    fn make_run_exact(
        &mut self,
        frames: &mut [Frame],
        wire: FrameCount,
        plan: &CopyPlan,
    ) -> PortSet {
        if frames.iter_mut().all(|frame| self.make_private(frame)) {
            return PortSet::EMPTY;
        }
        let exact_copies = self.snapshot.mirror.exact_among(&plan.copies);
        for port in &exact_copies {
            self.refuse_copies(wire, port, DropReason::NoPrivateBuffer);
        }
        exact_copies
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
