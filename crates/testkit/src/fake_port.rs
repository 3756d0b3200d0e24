//! The end of a fake port that a worker drives.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};

use helio_frame::{
    Armed, Delivery, Frame, Intake, LastRun, Origin, Port, Readiness, Run, RunEnd, offer_each,
};
use helio_offload::Offloads;
use helio_types::{DropReason, PortId};

use crate::chains::{Chains, keep};
use crate::received::{Log, Scribble};

/// Counts the publishing of all fake ports, so that it can be told which came first.
static PUBLISHES: AtomicU64 = AtomicU64::new(0);

/// Runs that are remembered without allocating.
const KEPT_RUNS: usize = 16 * 1024;

/// A port without a guest. Made by [`fake_port`](crate::fake_port) together with its far side.
#[derive(Debug)]
pub struct FakePort {
    pub(crate) state: Arc<Mutex<State>>,
}

#[derive(Debug)]
pub(crate) struct State {
    pub(crate) chains: Chains,
    pub(crate) log: Log,
    pub(crate) accepts: Offloads,
    /// It was unplugged.
    pub(crate) is_unplugged: bool,
    pub(crate) link_mtu: u32,
    /// Frames it still has buffers for.
    pub(crate) room: usize,
    /// Longest frame a buffer holds.
    pub(crate) longest: u32,
    /// What becomes of the next deliveries; after that, room decides.
    pub(crate) script: VecDeque<Result<(), DropReason>>,
    /// Number of frames in each run that was offered.
    pub(crate) runs: Vec<usize>,
    pub(crate) scribble: Option<Scribble>,
    pub(crate) armed: Kicks,
    pub(crate) publishes: u64,
    /// When it last published, as counted over all fake ports.
    pub(crate) published_as: Option<u64>,
    pub(crate) notifications: u64,
}

/// Whether the far side is asked to kick.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kicks {
    Wanted,
    Unwanted,
}

impl State {
    pub(crate) fn new(port: PortId) -> Self {
        Self {
            chains: Chains::new(port),
            log: Log::new(),
            accepts: Offloads::NONE,
            is_unplugged: false,
            link_mtu: u32::MAX,
            room: usize::MAX,
            longest: u32::MAX,
            script: VecDeque::new(),
            runs: Vec::with_capacity(KEPT_RUNS),
            scribble: None,
            armed: Kicks::Unwanted,
            publishes: 0,
            published_as: None,
            notifications: 0,
        }
    }

    fn admit(&mut self, delivery: &Delivery<'_>) -> Result<(), DropReason> {
        if let Some(outcome) = self.script.pop_front() {
            return outcome;
        }
        let left = self.room.checked_sub(1).ok_or(DropReason::NoRxBuffer)?;
        if delivery.bytes() > self.longest {
            return Err(DropReason::RxBufferTooSmall);
        }
        self.room = left;
        Ok(())
    }
}

impl FakePort {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("a fake port found a broken promise")
    }
}

impl Port for FakePort {
    fn has_link(&self) -> bool {
        !self.state().is_unplugged
    }

    fn link_mtu(&self) -> u32 {
        self.state().link_mtu
    }

    fn take(&mut self, intake: &mut Intake<'_>) {
        self.state().chains.take(intake);
    }

    fn hold(&mut self, origin: Origin) {
        self.state().chains.hold(origin);
    }

    fn release(&mut self, origin: Origin) {
        self.state().chains.release(origin);
    }

    fn accepts(&self) -> Offloads {
        self.state().accepts
    }

    fn prepare(&mut self, _: &[Frame]) -> Readiness {
        let state = self.state();
        match (state.script.is_empty(), state.room) {
            (false, _) => Readiness::Unknown,
            (true, 0) => Readiness::NoBuffer,
            (true, _) => Readiness::Room,
        }
    }

    fn offer(&mut self, delivery: &Delivery<'_>) -> Result<(), DropReason> {
        let mut state = self.state();
        state.admit(delivery)?;
        state.log.push(delivery);
        if let Some(scribble) = &mut state.scribble {
            scribble.write();
        }
        Ok(())
    }

    /// Where there is no room at all, the frames that are left are refused together, as a guest's ring refuses them.
    fn offer_run(&mut self, run: Run<'_>) -> RunEnd {
        self.state().runs.push(run.frames.len());
        let end = offer_each(self, run);
        let state = self.state();
        let is_full = state.room == 0 && state.script.is_empty();
        match end.refused {
            Some((reason @ DropReason::NoRxBuffer, _)) if is_full => {
                RunEnd { refused: Some((reason, run.frames.len() - end.written)), ..end }
            }
            _ => end,
        }
    }

    /// Keeps what it may: then nobody else may read it, or he would find other bytes.
    fn offer_last(&mut self, run: LastRun<'_>) -> RunEnd {
        let end = self.offer_run(run.as_run());
        for frame in run.frames.iter_mut().take(end.written) {
            keep(frame, run.memories);
        }
        end
    }

    fn publish(&mut self) {
        let mut state = self.state();
        state.chains.publish();
        state.log.publish();
        state.publishes += 1;
        state.published_as = Some(PUBLISHES.fetch_add(1, Ordering::Relaxed));
    }

    fn notify(&mut self) {
        let mut state = self.state();
        assert!(state.log.is_published(), "the far side was told of what it cannot see yet");
        state.notifications += 1;
    }

    fn arm(&mut self) -> Armed {
        let mut state = self.state();
        state.armed = Kicks::Wanted;
        if state.chains.is_waiting() { Armed::WorkPending } else { Armed::Idle }
    }

    fn disarm(&mut self) {
        self.state().armed = Kicks::Unwanted;
    }
}
