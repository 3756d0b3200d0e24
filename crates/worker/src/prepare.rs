//! Telling ports of frames that are about to be offered to them: before the first frame of a burst is delivered, or of
//! those that another worker sent, every receiver of all runs fetches what it needs, and one without any buffer says so.

use helio_frame::{Frame, Readiness};
use helio_types::{DropReason, LegSet, PortId};

use crate::core::Core;
use crate::deliver::Part;
use crate::legs::LegTargets;
use crate::mailbox::Targets;
use crate::run::Run;

impl Core {
    /// Lets the receivers of all runs of `frames` fetch what they need. What is delivered next is fetched when it is: the only
    /// run, if nobody copies it, or dead monitors do.
    #[inline]
    pub(crate) fn prepare_runs(&mut self, frames: &[Frame], runs: &[Run], targets: &mut [Targets]) {
        let mut frames = frames;
        for (run, targets) in runs.iter().zip(targets) {
            let (these, others) = frames.split_at(run.frames.min(frames.len()));
            let mut copied = !targets.copies.is_empty() && self.prepare_copies(these, run, targets);
            if run.legs.is_some() {
                copied |= self.prepare_plain_legs(these, run, targets);
            }
            if runs.len() > 1 || copied {
                self.prepare_production(these, targets);
            }
            frames = others;
        }
    }

    /// Lets the ports that the switch chose, as far as they are this worker's, fetch what they need for the frames of a run.
    #[inline]
    fn prepare_production(&mut self, frames: &[Frame], targets: &Targets) {
        for port in &targets.production {
            self.prepare(frames, port);
        }
    }

    /// The same for those of the copies. Returns whether one of them had a use for that. Not inlined: frames that nobody copies
    /// were no faster with it.
    #[inline(never)]
    fn prepare_copies(&mut self, frames: &[Frame], run: &Run, targets: &mut Targets) -> bool {
        let mut prepared = false;
        for port in &targets.copies.clone() {
            match self.prepare(frames, port) {
                Readiness::Room => prepared = true,
                Readiness::Unknown => {}
                Readiness::NoBuffer => self.spare_copies(run, port, targets),
            }
        }
        prepared
    }

    /// As [`Core::prepare_copies`], for ports that get plain copies by legs.
    #[inline(never)]
    fn prepare_plain_legs(&mut self, frames: &[Frame], run: &Run, targets: &Targets) -> bool {
        let legs = self.leg_plan(run.legs).map_or(LegSet::EMPTY, LegTargets::all);
        let ports = self.snapshot.sessions.plain_ports(legs);
        let mut prepared = false;
        for port in &ports.difference(&targets.production).difference(&targets.copies) {
            prepared |= self.prepare(frames, port) == Readiness::Room;
        }
        prepared
    }

    /// Counts the copies of a run for a port without any buffer as dropped, where it is known already that this is what would
    /// become of them: then they are not offered, and nothing is published to the port. A dead monitor took 891 instructions for a
    /// burst of 64, and takes 384.
    #[inline]
    fn spare_copies(&mut self, run: &Run, port: PortId, targets: &mut Targets) {
        let Run { traits, tagging, .. } = *run;
        let Part { purpose, .. } = Part::COPY;
        if run.legs.is_none() && self.takes_as_they_are(port, traits, tagging, purpose) {
            targets.copies.remove(port);
            self.refuse_copies(traits.wire, port, DropReason::NoRxBuffer);
        }
    }

    #[inline]
    fn prepare(&mut self, frames: &[Frame], port: PortId) -> Readiness {
        let local = self.place(port).and_then(|place| self.locals.get_mut(place));
        local.map_or(Readiness::Unknown, |local| local.port.prepare(frames))
    }
}
