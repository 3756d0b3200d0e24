//! Sending frames to the workers that own their other targets, and delivering what those workers send.
//!
//! Both are done by the run. A run that another worker sent was planned there; here it goes the rest of the way that a run of this
//! worker goes: joined with those beside it that go the same way, told to its receivers ahead, and delivered. Its frames stay where
//! they came to lie until all of that is done.
//!
//! Both workers together take 448 instructions for a frame of 64 bytes in a full ring, and took 2075 when each frame was sent and
//! offered by itself; 1189 and 2813 for one of 1518 bytes; 2603 and 2878 where each frame is a run; 4653 and 5059 for one that
//! comes alone (`perf/instructions`). With a core for each worker such a ring was through in 19.7 ns a frame between near cores and
//! 45 between far ones, and took 79 and 337; one of 1518 bytes in 38 and 107, and took 96 and 366.

use helio_frame::{BURST_BYTES, Frame};
use helio_types::DropReason;

use crate::core::Core;
use crate::deliver::on_the_wire;
use crate::legs::LegTargets;
use crate::mailbox::{Handoff, Peer, Readers, SLOTS, Targets, wants_receipt};
use crate::poll::Worker;
use crate::run::Run;

/// Frames after which no more are taken from a worker in one turn: what several ports can send there in one.
const HANDOFFS_PER_TURN: usize = 256;
/// Bytes after which no more are taken in that turn ([`Frame::weight`]).
const HANDOFF_BYTES_PER_TURN: u64 = 4 * BURST_BYTES as u64;

impl Core {
    /// Sends the frames of a run to the workers that own its other targets. Each frame that waits there is held once more.
    pub(crate) fn hand_over(
        &mut self,
        frames: &[Frame],
        run: &Run,
        targets: &Targets,
        legs: &LegTargets,
    ) {
        for worker in 0..self.peers.len() {
            if worker == self.id.index() {
                continue;
            }
            let theirs = targets.within(&self.snapshot.owned_by(worker));
            let their_legs = legs.within(self.snapshot.legs_of(worker));
            if theirs.is_empty() && their_legs.all().is_empty() {
                continue;
            }
            let is_sole = theirs == *targets && legs.all().is_empty();
            let readers = if is_sole { run.readers } else { Readers::Others };
            let mut run = *run;
            run.readers = readers;
            self.send(worker, frames, &Handoff { run, targets: theirs, legs: their_legs });
        }
    }

    /// Sends frames to one worker; each that finds no room is dropped at all targets there.
    fn send(&mut self, worker: usize, frames: &[Frame], handoff: &Handoff) {
        let mut left = frames;
        while let [first, others @ ..] = left {
            let count = self.peer(worker).map_or(0, |peer| peer.send(left, handoff));
            let (sent, after) = left.split_at(count.min(left.len()));
            for frame in sent.iter().filter(|frame| wants_receipt(frame)) {
                self.hold(frame.origin);
            }
            if sent.is_empty() {
                self.refuse_all(first, &handoff.targets, DropReason::HandoffFull);
                let legs = handoff.legs.all();
                self.refuse_legs(on_the_wire(first), legs, DropReason::HandoffFull);
            }
            left = if sent.is_empty() { others } else { after };
        }
    }

    /// Counts the frame as dropped at all `targets`.
    fn refuse_all(&mut self, frame: &Frame, targets: &Targets, reason: DropReason) {
        for port in &targets.production {
            self.counters.port(port).drop_egress(reason, 1);
        }
        for port in &targets.production_for_mirror.union(&targets.copies) {
            self.refuse_copies(on_the_wire(frame), port, reason);
        }
    }

    /// Gives back what other workers are done with. Returns the number of receipts. Between bursts only: a frame that another
    /// worker has kept something of is given back for the last time here, after its burst has given back its own hold.
    #[inline]
    pub(crate) fn settle(&mut self) -> u64 {
        let mut receipts = 0;
        for worker in 0..self.peers.len() {
            if self.peer(worker).is_some_and(|peer| peer.has_receipts()) {
                receipts += self.settle_with(worker);
            }
        }
        receipts
    }

    #[inline(never)]
    fn settle_with(&mut self, worker: usize) -> u64 {
        let Some(mut peer) = self.lend_peer(worker) else { return 0 };
        let receipts = peer.settle(|origin| self.release(origin));
        self.take_peer_back(worker, peer);
        receipts as u64
    }

    /// Lends a peer out, to deal with what it sent. Nothing is sent to it meanwhile: what came from one worker goes to no other.
    #[inline]
    fn lend_peer(&mut self, worker: usize) -> Option<Peer> {
        self.peers.get_mut(worker)?.take()
    }

    #[inline]
    fn take_peer_back(&mut self, worker: usize, peer: Peer) {
        if let Some(place) = self.peers.get_mut(worker) {
            *place = Some(peer);
        }
    }

    #[inline]
    fn peer(&mut self, worker: usize) -> Option<&mut Peer> {
        self.peers.get_mut(worker)?.as_mut()
    }

    /// Delivers frames that another worker sent. Runs that follow each other and go the same way are joined: what went between
    /// them may have gone elsewhere.
    fn deliver_handed(
        &mut self,
        frames: &mut [Frame],
        runs: &mut Vec<Run>,
        targets: &mut [Targets],
    ) {
        if runs.len() > 1 {
            self.join_planned(runs, targets);
        }
        self.prepare_runs(frames, runs, targets);
        let mut frames = frames;
        for (run, targets) in runs.iter().zip(targets) {
            let (these, others) = frames.split_at_mut(run.frames.min(frames.len()));
            let Run { traits, tagging, readers, .. } = *run;
            match self.leg_plan(run.legs).copied() {
                None => self.deliver_all(these, traits, tagging, targets, readers),
                Some(legs) => self.deliver_with_legs(these, traits, tagging, targets, &legs),
            }
            frames = others;
        }
    }

    /// The run of a handoff, with its plan for legs among those of this worker.
    fn adopt_run(&mut self, handoff: &Handoff) -> Run {
        let mut run = handoff.run;
        run.legs = None;
        if !handoff.legs.all().is_empty() {
            run.legs = u8::try_from(self.leg_plans.len()).ok();
            self.leg_plans.push(handoff.legs);
        }
        run
    }
}

impl Worker {
    /// Delivers what other workers sent for ports of this one. Returns the number of frames.
    #[inline]
    pub(crate) fn deliver_handoffs(&mut self) -> u64 {
        let mut frames = 0;
        for worker in 0..self.core.peers.len() {
            if self.core.peer(worker).is_some_and(|peer| peer.has_handoffs()) {
                frames += self.deliver_handoffs_of(worker, HANDOFF_BYTES_PER_TURN);
            }
        }
        frames
    }

    /// Delivers what `worker` sent, until frames that count for `most_bytes` are delivered. Returns the number of frames.
    #[inline(never)]
    fn deliver_handoffs_of(&mut self, worker: usize, most_bytes: u64) -> u64 {
        let Self { core, runs, targets, .. } = self;
        let Some(mut peer) = core.lend_peer(worker) else { return 0 };
        let (mut frames, mut weight) = (0, 0);
        while frames < HANDOFFS_PER_TURN && weight < most_bytes && peer.has_handoffs() {
            runs.clear();
            core.leg_plans.clear();
            let mut places = targets.iter_mut();
            let count = peer.receive(|handoff| {
                if let Some(place) = places.next() {
                    *place = handoff.targets;
                    runs.push(core.adopt_run(handoff));
                }
            });
            if count == 0 {
                break;
            }
            weight += runs.iter().map(|run| run.traits.weight()).sum::<u64>();
            peer.deliver(count, |frames| core.deliver_handed(frames, runs, &mut **targets));
            frames += count;
        }
        core.take_peer_back(worker, peer);
        frames as u64
    }

    /// Deals with everything that waits in the rings from other workers at this moment.
    pub(crate) fn drain(&mut self) {
        // In order, so after as many rounds as a full ring takes nothing is left of what waited at the beginning.
        for worker in 0..self.core.peers.len() {
            for _ in 0..SLOTS.div_ceil(HANDOFFS_PER_TURN) {
                self.deliver_handoffs_of(worker, u64::MAX);
            }
        }
        self.core.settle();
        self.core.finish_turn();
        self.core.notify();
    }
}
