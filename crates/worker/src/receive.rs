//! Taking a burst from one port, deciding, and delivering it: the way of a frame, in three passes.

use helio_frame::{Frame, Intake};
use helio_switch::{DecisionKind, decide};
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
        for frame in burst.frames_mut() {
            decided.push(core.decide(ingress, frame));
        }
        let own = core.own_targets();
        for (frame, decided) in burst.frames().iter().zip(decided.iter()) {
            core.hand_over(frame, decided.tagging, &decided.targets);
            core.deliver_all(frame, decided.tagging, &decided.targets.within(&own));
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

    /// Decides where a frame goes, and counts it: as taken, or as dropped with its reason.
    #[inline]
    fn decide(&mut self, ingress: PortId, frame: &mut Frame) -> Decided {
        let block = self.counters.port(ingress);
        match decide(&self.snapshot.switch, &self.fdb, ingress, frame.head.bytes()) {
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
