//! The turn, and the loop around it.

use std::sync::Arc;
use std::time::Instant;

use helio_frame::{Armed, BURST_FRAMES, Burst};
use helio_types::DropReason;

use crate::command::{Command, Inbox};
use crate::core::Core;
use crate::idle::{Idleness, Polling};
use crate::mailbox::Targets;
use crate::meter::Meter;
use crate::run::{Run, Stretch};

/// One poll-mode worker. Made by [`Fleet`](crate::Fleet), run by a thread of its own.
#[derive(Debug)]
pub struct Worker {
    pub(crate) core: Core,
    pub(crate) burst: Burst,
    pub(crate) stretches: Vec<Stretch>,
    pub(crate) runs: Vec<Run>,
    /// Who gets the frames of each run.
    pub(crate) targets: Box<[Targets; BURST_FRAMES]>,
    pub(crate) refused: [u32; DropReason::COUNT],
    inbox: Arc<Inbox>,
    idleness: Idleness,
    meter: Meter,
}

/// What one step of a worker came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// There was something to do.
    Worked,
    /// There was nothing to do.
    Idle,
    /// The worker was asked to stop.
    Ended,
}

impl Worker {
    pub(crate) fn new(core: Core, inbox: Arc<Inbox>, polling: Polling) -> Self {
        Self {
            core,
            burst: Burst::new(),
            stretches: Vec::with_capacity(BURST_FRAMES),
            runs: Vec::with_capacity(BURST_FRAMES),
            targets: Box::new([Targets::NONE; BURST_FRAMES]),
            refused: [0; DropReason::COUNT],
            inbox,
            idleness: Idleness::new(polling),
            meter: Meter::new(),
        }
    }

    /// Works until it is asked to stop.
    pub fn run(mut self) {
        loop {
            match self.step() {
                Step::Worked => self.idleness.end(),
                Step::Idle if self.idleness.should_sleep(Instant::now) => self.sleep(),
                Step::Idle => std::hint::spin_loop(),
                Step::Ended => return,
            }
        }
    }

    /// Carries out what the control side asked for, then takes one turn. Never sleeps.
    #[inline]
    pub fn step(&mut self) -> Step {
        if self.inbox.has_mail() && self.obey_all() == Step::Ended {
            return Step::Ended;
        }
        if self.poll_once() > 0 { Step::Worked } else { Step::Idle }
    }

    /// One turn over all rings: what others gave back, what others sent, then a burst of each port. Returns the number of
    /// frames and receipts it found, and of questions to neighbours that were due.
    pub fn poll_once(&mut self) -> u64 {
        let began = self.meter.begin();
        let mut asked = 0;
        if self.core.needs_time() {
            self.core.tell_time();
            asked = self.core.tend_collectors();
            self.core.tend_fragments();
        }
        let (mut receipts, mut frames) = (0, 0);
        if !self.core.is_alone() {
            receipts = self.core.settle();
            frames = self.deliver_handoffs();
        }
        frames += self.receive_all();
        // A question to a neighbour is published like any frame, also when nothing else is to be done.
        let found = receipts + frames + asked;
        match found {
            0 => self.core.notify(),
            _ => self.core.finish_turn(),
        }
        self.meter.end(began, found, frames);
        found
    }

    /// Takes a burst of each lively port, and of some of the silent ones.
    #[inline]
    fn receive_all(&mut self) -> u64 {
        let mut frames = 0;
        self.core.foresee_silent();
        for index in 0..self.core.roster.lively_count() {
            let Some(place) = self.core.roster.lively(index) else { break };
            let taken = self.receive(place);
            self.core.roster.looked(index, taken);
            frames += taken;
        }
        for _ in 0..self.core.roster.looks(frames) {
            let Some(place) = self.core.roster.silent() else { break };
            let taken = self.receive(place);
            self.core.roster.looked_at_silent(taken);
            frames += taken;
        }
        self.core.roster.end_turn();
        frames
    }

    fn sleep(&mut self) {
        let bed = Arc::clone(&self.inbox.bed);
        bed.doze.announce();
        // From here on everybody who brings work wakes us; what came before shows now.
        if self.core.arm() == Armed::Idle && !self.inbox.has_mail() {
            self.meter.slept();
            bed.sleep();
        }
        bed.doze.end();
        self.core.disarm();
        self.idleness.end();
    }

    /// Carries out everything that waits.
    #[cold]
    fn obey_all(&mut self) -> Step {
        while let Some(command) = self.inbox.take() {
            // Whoever asked and has gone needs no answer.
            match command {
                Command::Install(snapshot, reply) => {
                    let before = std::mem::replace(&mut self.core.snapshot, snapshot);
                    self.core.adopt_sessions();
                    let _ = reply.send(before);
                }
                Command::AddPort(id, port, reply) => {
                    let _ = reply.send(self.core.add_port(id, port));
                }
                Command::RemovePort(id, reply) => {
                    let _ = reply.send(self.core.remove_port(id));
                }
                Command::ReplaceMemory(id, table, reply) => {
                    let _ = reply.send(self.core.replace_memory(id, table));
                }
                Command::Drain(reply) => {
                    self.drain();
                    let _ = reply.send(());
                }
                Command::Report(reply) => {
                    let _ = reply.send(self.meter.report(self.core.pool.in_use()));
                }
                Command::ReportUnderlay(reply) => {
                    let _ = reply.send(self.core.report_underlay());
                }
                Command::Stop(reply) => {
                    let _ = reply.send(());
                    return Step::Ended;
                }
            }
        }
        Step::Idle
    }
}

impl Drop for Worker {
    /// Whoever asks it from now on, or waits for an answer, learns that it has ended.
    fn drop(&mut self) {
        self.inbox.close();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Clock, Fleet, FleetSettings, Snapshot};
    use helio_mirror::MirrorTable;
    use helio_switch::{Fdb, FdbSettings, SwitchTable};
    use helio_types::WorkerId;
    use std::time::Duration;

    fn one_worker() -> (Fleet, Worker) {
        let table = SwitchTable::new(&[]);
        let snapshot = Arc::new(Snapshot::new(table, MirrorTable::new(&[], &[]), 1, |_| None));
        let fdb = Arc::new(Fdb::new(FdbSettings { capacity: 16, ageing_s: 0, seed: 1 }));
        let polling = vec![Polling::Adaptive { idle: Duration::ZERO }];
        let clock = Clock::host();
        let (fleet, mut workers) = Fleet::new(FleetSettings { polling, snapshot, fdb, clock })
            .expect("the host has no memory");
        (fleet, workers.remove(0))
    }

    #[test]
    fn a_worker_does_not_fall_asleep_beside_a_request_that_came_just_before() {
        let (fleet, mut worker) = one_worker();
        std::thread::scope(|scope| {
            let asker = scope.spawn(|| fleet.report(WorkerId::new(0).unwrap()));
            while !worker.inbox.has_mail() {
                std::thread::yield_now();
            }
            // Time enough to find that nobody needs to be woken yet.
            std::thread::sleep(Duration::from_millis(20));
            let began = Instant::now();
            worker.sleep();
            assert!(began.elapsed() < Duration::from_millis(800));
            assert_eq!(worker.step(), Step::Idle);
            let report = asker.join().unwrap().unwrap();
            assert_eq!(report.sleeps, 0);
        });
    }
}
