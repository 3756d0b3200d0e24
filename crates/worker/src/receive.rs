//! Taking a burst from one port, deciding, and delivering it: the way of a frame, in three passes.

use helio_frame::{Frame, Intake};
use helio_mirror::Concerned;
use helio_switch::{DecisionKind, inquire};
use helio_types::{DropReason, PortId};

use crate::core::Core;
use crate::legs::LegTargets;
use crate::mailbox::{Readers, Targets};
use crate::poll::Worker;
use crate::run::{Company, Run, Stretch, Verdict};
use crate::snapshot::Snapshot;

impl Worker {
    /// Takes and forwards one burst of the port at `place`. Returns the number of chains and frames taken.
    #[inline]
    pub(crate) fn receive(&mut self, place: usize) -> u64 {
        let Self { core, burst, refused, .. } = self;
        let Some(local) = core.locals.get_mut(place) else { return 0 };
        let ingress = local.id;
        burst.clear();
        local.port.take(&mut Intake { burst, pool: &mut core.pool, refused });
        // Nearly every look at a port ends here, and a frame may come to another one meanwhile.
        if burst.is_untouched() { 0 } else { self.forward_burst(place, ingress) }
    }

    /// Forwards what was taken of the port at `place`, and counts what it refused.
    #[inline(never)]
    fn forward_burst(&mut self, place: usize, ingress: PortId) -> u64 {
        let Self { core, burst, stretches, runs, targets, refused, .. } = self;
        core.touch(Some(place));
        let refused = if burst.has_refused() { core.count_refused(ingress, refused) } else { 0 };
        if burst.frames().is_empty() {
            return refused;
        }

        core.leg_plans.clear();
        let own =
            if core.own_uplinks.contains(ingress) { core.intercept(ingress, burst) } else { 0 };
        core.inquire(ingress, burst.frames(), stretches);
        core.decide(ingress, burst.frames(), stretches, runs);
        let mut frames = burst.frames_mut();
        for (run, targets) in runs.iter_mut().zip(&mut **targets) {
            let (these, others) = frames.split_at_mut(run.frames.min(frames.len()));
            core.plan(ingress, these, run, targets);
            frames = others;
        }
        if runs.len() > 1 && core.may_plan_one_by_one() {
            core.join_planned(runs, &mut **targets);
        }
        core.prepare_runs(burst.frames(), runs, &mut **targets);
        let mut frames = burst.frames_mut();
        for (run, targets) in runs.iter().zip(&**targets) {
            let (these, others) = frames.split_at_mut(run.frames.min(frames.len()));
            core.forward(ingress, these, run, targets);
            frames = others;
        }
        if burst.has_held() {
            core.release_all(place, burst.frames());
        }
        refused + own + burst.frames().len() as u64
    }
}

impl Core {
    /// Moves what the port refused to its counters.
    #[cold]
    fn count_refused(&self, ingress: PortId, refused: &mut [u32; DropReason::COUNT]) -> u64 {
        let mut total = 0;
        for (reason, count) in DropReason::ALL.iter().zip(refused.iter_mut()) {
            let count = u64::from(std::mem::take(count));
            if count > 0 {
                self.counters.port(ingress).drop_ingress(*reason, count);
                total += count;
            }
        }
        total
    }

    /// Asks once for all frames that follow each other and begin alike: so the FDB entries of all come together. The answer
    /// holds for one burst of one port, in which the configuration does not change.
    #[inline]
    fn inquire(&self, ingress: PortId, frames: &[Frame], stretches: &mut Vec<Stretch>) {
        stretches.clear();
        let mut frames = frames;
        while let [first, others @ ..] = frames {
            let head = first.head.bytes();
            let inquiry = inquire(&self.snapshot.switch, &self.fdb, ingress, head);
            let stretch = Stretch::begin(first, others, inquiry);
            frames = others.get(stretch.frames - 1..).unwrap_or_default();
            stretches.push(stretch);
        }
    }

    /// Decides where the frames go, and joins those that follow each other and go the same way. There are never more runs
    /// than frames.
    #[inline]
    fn decide(
        &self,
        ingress: PortId,
        frames: &[Frame],
        stretches: &[Stretch],
        runs: &mut Vec<Run>,
    ) {
        runs.clear();
        let sessions = &self.snapshot.sessions;
        let mut frames = frames;
        for stretch in stretches {
            let (these, others) = frames.split_at(stretch.frames.min(frames.len()));
            let verdict = match &stretch.inquiry {
                Ok(inquiry) => Ok(inquiry.decide(&self.snapshot.switch, &self.fdb, ingress)),
                Err(reason) => Err(*reason),
            };
            let is_apart = sessions.tell_addresses_apart() || self.may_be_own_copies(these);
            let joins = !is_apart && runs.last_mut().is_some_and(|run| run.join(stretch, verdict));
            if !joins {
                self.begin_runs(ingress, these, stretch, verdict, runs);
            }
            frames = others;
        }
    }

    /// Makes a run of the frames of a stretch, or one of each if who gets copies is decided one by one.
    #[inline]
    fn begin_runs(
        &self,
        ingress: PortId,
        frames: &[Frame],
        stretch: &Stretch,
        verdict: Verdict,
        runs: &mut Vec<Run>,
    ) {
        let concerned = frames
            .first()
            .map_or(Concerned::NONE, |first| self.concerned(ingress, first, &verdict));
        if self.may_be_own_copies(frames) && self.is_wanted(ingress, &verdict, concerned) {
            return self.begin_runs_of_own(frames, verdict, concerned, runs);
        }
        let Stretch { frames: count, traits, .. } = *stretch;
        let one_by_one = self.snapshot.sessions.judge_one_by_one(concerned)
            || self.is_wanted_exactly(ingress, &verdict);
        if one_by_one {
            runs.extend(frames.iter().map(|frame| Run::alone(frame, verdict, concerned)));
        } else {
            // Copies of refused frames have the tags that those came with, and these differ; so may who wants them.
            let may_be_wanted = verdict.is_err() && self.snapshot.sessions.want_refused();
            let company = if may_be_wanted { Company::Refused } else { Company::Welcome };
            runs.push(Run::begin(count, traits, verdict, company, concerned));
        }
    }

    /// Makes a run of each frame of a stretch from a card by which copies for collectors leave: some may be such, and others what
    /// the host sends, which begins alike.
    #[inline(never)]
    fn begin_runs_of_own(
        &self,
        frames: &[Frame],
        verdict: Verdict,
        concerned: Concerned,
        runs: &mut Vec<Run>,
    ) {
        runs.extend(frames.iter().map(|frame| {
            let run = Run::alone(frame, verdict, concerned);
            let is_own = self.snapshot.sessions.is_own_copy(frame.head.bytes());
            if is_own { run.of_own_copies() } else { run }
        }));
    }

    /// Whether some session, named or numbered, would copy frames of this verdict.
    fn is_wanted(&self, ingress: PortId, verdict: &Verdict, concerned: Concerned) -> bool {
        let Snapshot { mirror, switch, .. } = &*self.snapshot;
        !concerned.all().is_empty()
            || verdict.is_ok_and(|decision| {
                !mirror.select(ingress, &decision.destinations(switch, ingress)).is_none()
            })
    }

    /// Whether a destination of an exact session wants frames of this verdict.
    #[inline]
    fn is_wanted_exactly(&self, ingress: PortId, verdict: &Verdict) -> bool {
        let Snapshot { mirror, switch, .. } = &*self.snapshot;
        mirror.has_exact()
            && verdict.is_ok_and(|decision| {
                let selected = mirror.select(ingress, &decision.destinations(switch, ingress));
                !mirror.exact_among(&selected.wanted).is_empty()
            })
    }

    /// Counts the frames of a run, as taken or as dropped with the reason, and says who gets them.
    #[inline]
    fn plan(
        &mut self,
        ingress: PortId,
        frames: &mut [Frame],
        run: &mut Run,
        targets: &mut Targets,
    ) {
        let block = self.counters.port(ingress);
        let count = run.frames as u64;
        match &run.verdict {
            Err(reason) => block.drop_ingress(*reason, count),
            Ok(decision) => match decision.kind {
                // They passed policy but have nowhere to go: monitors see them all the same.
                DecisionKind::Nowhere(reason) => block.drop_ingress(reason, count),
                DecisionKind::Unicast(_) | DecisionKind::Flood => {
                    block.ingress.add(count, run.traits.bytes)
                }
            },
        }
        self.plan_copies(ingress, frames, run, targets);
        if !run.concerned.all().is_empty()
            && let Some(frame) = frames.first_mut()
        {
            self.plan_legs(ingress, frame, run);
        }
    }

    /// Whether some frames are planned one by one.
    #[inline]
    fn may_plan_one_by_one(&self) -> bool {
        !self.snapshot.sessions.is_empty() || self.snapshot.mirror.has_exact()
    }

    /// Joins runs that follow each other and turned out to go the same way, copies included: so sessions that decide frame by
    /// frame cost no more than that.
    #[inline(never)]
    pub(crate) fn join_planned(&self, runs: &mut Vec<Run>, targets: &mut [Targets]) {
        let mut last = 0;
        for at in 1..runs.len() {
            let (Some(next), Some(next_targets)) =
                (runs.get(at).copied(), targets.get(at).copied())
            else {
                break;
            };
            let joins = targets.get(last) == Some(&next_targets)
                && runs.get_mut(last).is_some_and(|run| {
                    self.leg_plan(run.legs) == self.leg_plan(next.legs) && run.join_planned(&next)
                });
            if !joins {
                last += 1;
                if let (Some(run), Some(targets)) = (runs.get_mut(last), targets.get_mut(last)) {
                    (*run, *targets) = (next, next_targets);
                }
            }
        }
        runs.truncate(last + 1);
    }

    pub(crate) fn leg_plan(&self, legs: Option<u8>) -> Option<&LegTargets> {
        self.leg_plans.get(usize::from(legs?))
    }

    pub(crate) fn leg_plan_mut(&mut self, legs: Option<u8>) -> Option<&mut LegTargets> {
        self.leg_plans.get_mut(usize::from(legs?))
    }

    /// Delivers the frames of a run to the ports of this worker, and hands them over to the workers of the others.
    #[inline]
    pub(crate) fn forward(
        &mut self,
        ingress: PortId,
        frames: &mut [Frame],
        run: &Run,
        targets: &Targets,
    ) {
        if let Some(legs) = self.leg_plan(run.legs).copied() {
            return self.forward_with_legs(frames, run, targets, &legs);
        }
        if self.is_alone() {
            return self.deliver_all(frames, run.traits, run.tagging, targets, run.readers);
        }
        self.forward_to_workers(ingress, frames, run, targets);
    }

    /// As [`Core::forward`], when there are other workers.
    #[inline(never)]
    fn forward_to_workers(
        &mut self,
        ingress: PortId,
        frames: &mut [Frame],
        run: &Run,
        targets: &Targets,
    ) {
        self.hand_over(frames, run, targets, &LegTargets::none(ingress));
        let own = targets.within(&self.own_targets());
        let readers = if own == *targets { run.readers } else { Readers::Others };
        self.deliver_all(frames, run.traits, run.tagging, &own, readers);
    }

    /// As [`Core::forward`], for a run that legs get.
    #[inline(never)]
    fn forward_with_legs(
        &mut self,
        frames: &mut [Frame],
        run: &Run,
        targets: &Targets,
        legs: &LegTargets,
    ) {
        if !self.is_alone() {
            self.hand_over(frames, run, targets, legs);
        }
        let own = targets.within(&self.own_targets());
        let own_legs = legs.within(self.own_legs());
        self.deliver_with_legs(frames, run.traits, run.tagging, &own, &own_legs);
    }
}
