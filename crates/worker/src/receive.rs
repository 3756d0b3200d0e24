//! Taking a burst from one port, deciding, and delivering it: the way of a frame, in three passes.

use helio_frame::{Frame, Intake};
use helio_mirror::Selected;
use helio_switch::{DecisionKind, ETHERNET_HEADER_BYTES, Inquiry, TAG_BYTES, inquire};
use helio_types::{DropReason, PortId};

use crate::core::Core;
use crate::mailbox::Targets;
use crate::poll::Worker;
use crate::run::{Company, Run, Verdict};

/// What must be decided for one frame of a burst. The decision is made from the first 16 bytes, the addresses and the tag if
/// there is one, and holds for one burst of one port, in which the configuration does not change.
#[derive(Debug)]
pub(crate) enum Question {
    /// The same as for the frame before.
    AsBefore,
    Anew(Result<Inquiry, DropReason>),
}

impl Worker {
    /// Takes and forwards one burst of the port at `place`. Returns the number of chains and frames taken.
    pub(crate) fn receive(&mut self, place: usize) -> u64 {
        let Self { core, burst, questions, runs, refused, .. } = self;
        let Some(local) = core.locals.get_mut(place) else { return 0 };
        let ingress = local.id;
        burst.clear();
        local.port.take(&mut Intake { burst, pool: &mut core.pool, refused });
        let refused = core.count_refused(ingress, refused);

        core.inquire(ingress, burst.frames(), questions);
        core.decide(ingress, burst.frames(), questions, runs);
        let mut frames = burst.frames_mut();
        for run in runs.iter_mut() {
            let (these, others) = frames.split_at_mut(run.frames.min(frames.len()));
            core.plan(ingress, these, run);
            core.prepare(these, &run.targets);
            frames = others;
        }
        let mut frames = burst.frames();
        for run in runs.iter() {
            let (these, others) = frames.split_at(run.frames.min(frames.len()));
            core.forward(these, run);
            frames = others;
        }
        for frame in burst.frames() {
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

    /// Asks for each frame that begins otherwise than the one before it: so the FDB entries of all come together.
    #[inline]
    fn inquire(&self, ingress: PortId, frames: &[Frame], questions: &mut Vec<Question>) {
        questions.clear();
        let mut last = None;
        for frame in frames {
            let head = frame.head.bytes();
            let beginning = beginning(head);
            questions.push(match beginning {
                Some(_) if beginning == last => Question::AsBefore,
                _ => Question::Anew(inquire(&self.snapshot.switch, &self.fdb, ingress, head)),
            });
            last = beginning;
        }
    }

    /// Decides where each frame goes, and joins those that follow each other and go the same way. There are never more runs
    /// than frames.
    #[inline]
    fn decide(
        &self,
        ingress: PortId,
        frames: &[Frame],
        questions: &[Question],
        runs: &mut Vec<Run>,
    ) {
        runs.clear();
        for (frame, question) in frames.iter().zip(questions) {
            let last = runs.last_mut();
            let verdict = match (question, &last) {
                (Question::Anew(Ok(inquiry)), _) => {
                    Ok(inquiry.decide(&self.snapshot.switch, &self.fdb, ingress))
                }
                (Question::Anew(Err(reason)), _) => Err(*reason),
                (Question::AsBefore, Some(run)) => run.verdict,
                // The first frame of a burst has none before it.
                (Question::AsBefore, None) => Err(DropReason::Runt),
            };
            let joined = last.is_some_and(|run| run.verdict == verdict && run.extend(frame));
            if !joined {
                runs.push(self.begin_run(ingress, frame, verdict));
            }
        }
    }

    fn begin_run(&self, ingress: PortId, frame: &Frame, verdict: Verdict) -> Run {
        let mirror = &self.snapshot.mirror;
        let selected = match &verdict {
            Ok(decision) => {
                mirror.select(ingress, &decision.destinations(&self.snapshot.switch, ingress))
            }
            Err(_) => Selected::NONE,
        };
        let company = match mirror.exact_among(&selected.wanted).is_empty() {
            true => Company::Welcome,
            false => Company::Refused,
        };
        Run::begin(frame, verdict, selected, company)
    }

    /// Counts the frames of a run, as taken or as dropped with the reason, and says who gets them.
    #[inline]
    fn plan(&mut self, ingress: PortId, frames: &mut [Frame], run: &mut Run) {
        let block = self.counters.port(ingress);
        let count = run.frames as u64;
        match &run.verdict {
            Err(reason) => return block.drop_ingress(*reason, count),
            Ok(decision) => match decision.kind {
                // They passed policy but have nowhere to go: monitors see them all the same.
                DecisionKind::Nowhere(reason) => block.drop_ingress(reason, count),
                DecisionKind::Unicast(_) | DecisionKind::Flood => {
                    block.ingress.add(count, run.bytes)
                }
            },
        }
        self.plan_copies(ingress, frames, run);
    }

    /// Lets the ports of this worker that will get the frames fetch what they need for them.
    #[inline]
    fn prepare(&mut self, frames: &[Frame], targets: &Targets) {
        for port in &targets.production.union(&targets.copies) {
            if let Some(local) = self.place(port).and_then(|place| self.locals.get_mut(place)) {
                local.port.prepare(frames);
            }
        }
    }

    /// Delivers the frames of a run to the ports of this worker, and hands them over to the workers of the others.
    #[inline]
    fn forward(&mut self, frames: &[Frame], run: &Run) {
        if self.is_alone() {
            return self.deliver_all(frames, run.traits, run.tagging, &run.targets);
        }
        for frame in frames {
            self.hand_over(frame, run.tagging, &run.targets);
        }
        let own = run.targets.within(&self.own_targets());
        self.deliver_all(frames, run.traits, run.tagging, &own);
    }
}

/// The addresses, and the tag if there is one: what a frame is judged by. `None` for a frame so short that its length counts
/// too, as it may end in its tag.
#[inline]
fn beginning(head: &[u8]) -> Option<u128> {
    let header = head.first_chunk::<{ ETHERNET_HEADER_BYTES + TAG_BYTES }>()?;
    header.first_chunk().map(|bytes| u128::from_ne_bytes(*bytes))
}
