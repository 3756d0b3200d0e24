//! Taking a burst from one port, deciding, and delivering it: the way of a frame, in three passes.

use helio_frame::{Frame, Intake};
use helio_switch::{Decision, DecisionKind, decide};
use helio_types::{DropReason, PortId, PortSet};

use crate::core::Core;
use crate::mailbox::{Tagging, Targets};
use crate::poll::Worker;

/// What was decided for one frame of the burst.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Decided {
    tagging: Tagging,
    targets: Targets,
}

/// What the switch said.
type Verdict = Result<Decision, DropReason>;

/// A decision, and the 16 bytes it was made from: the addresses, and the tag if there is one. It holds for one burst of one
/// port, in which the configuration does not change.
#[derive(Clone, Copy)]
struct Known {
    beginning: u128,
    verdict: Verdict,
}

impl Worker {
    /// Takes and forwards one burst of the port at `place`. Returns the number of chains and frames taken.
    pub(crate) fn receive(&mut self, place: usize) -> u64 {
        let Self { core, burst, decided, refused, .. } = self;
        let Some(local) = core.locals.get_mut(place) else { return 0 };
        let ingress = local.id;
        burst.clear();
        local.port.take(&mut Intake { burst, pool: &mut core.pool, refused });
        let refused = core.count_refused(ingress, refused);

        decided.clear();
        let mut last = None;
        for frame in burst.frames_mut() {
            decided.push(core.decide(ingress, frame, &mut last));
        }
        for (frame, decided) in burst.frames().iter().zip(decided.iter()) {
            core.prepare(frame, &decided.targets);
        }
        let own = core.own_targets();
        for (frame, decided) in burst.frames().iter().zip(decided.iter()) {
            let Decided { tagging, targets } = decided;
            if core.is_alone() {
                core.deliver_all(frame, *tagging, targets);
            } else {
                core.hand_over(frame, *tagging, targets);
                core.deliver_all(frame, *tagging, &targets.within(&own));
            }
            core.release(frame.origin);
        }
        refused + burst.frames().len() as u64
    }
}

impl Core {
    /// Moves what the port refused to its counters.
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

    /// Lets the ports of this worker that will get the frame fetch what they need for it.
    #[inline]
    fn prepare(&mut self, frame: &Frame, targets: &Targets) {
        for port in &targets.production.union(&targets.copies) {
            if let Some(local) = self.place(port).and_then(|place| self.locals.get_mut(place)) {
                local.port.prepare(frame.bytes);
            }
        }
    }

    /// The decision for a frame, or once more that for the one before it, when both begin alike.
    #[inline]
    fn look_up(&self, ingress: PortId, head: &[u8], last: &mut Option<Known>) -> Verdict {
        let beginning = head.first_chunk().map(|bytes| u128::from_ne_bytes(*bytes));
        match (*last, beginning) {
            (Some(known), Some(beginning)) if known.beginning == beginning => known.verdict,
            (_, beginning) => {
                let verdict = decide(&self.snapshot.switch, &self.fdb, ingress, head);
                *last = beginning.map(|beginning| Known { beginning, verdict });
                verdict
            }
        }
    }

    /// Decides where a frame goes, and counts it: as taken, or as dropped with its reason.
    #[inline]
    fn decide(&mut self, ingress: PortId, frame: &mut Frame, last: &mut Option<Known>) -> Decided {
        let block = self.counters.port(ingress);
        match self.look_up(ingress, frame.head.bytes(), last) {
            Ok(decision) => {
                match decision.kind {
                    // It passed policy but has nowhere to go: monitors see it all the same.
                    DecisionKind::Nowhere(reason) => block.drop_ingress(reason, 1),
                    DecisionKind::Unicast | DecisionKind::Flood => {
                        block.ingress.add(1, u64::from(frame.bytes))
                    }
                }
                let tagging = Tagging { vlan: decision.vlan, tag: decision.tag };
                Decided {
                    tagging,
                    targets: self.plan_copies(ingress, frame, tagging, decision.destinations),
                }
            }
            Err(reason) => {
                block.drop_ingress(reason, 1);
                Decided { tagging: Tagging::default(), targets: Targets::NONE }
            }
        }
    }
}

const _: () = assert!(size_of::<PortSet>() == 32, "targets are copied for each frame");
