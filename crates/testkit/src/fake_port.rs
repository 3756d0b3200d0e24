//! The end of a fake port that a worker drives.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard};

use helio_frame::{Armed, Delivery, Intake, Origin, Port};
use helio_offload::Offloads;
use helio_types::{DropReason, PortId};

use crate::chains::Chains;
use crate::received::{Log, Scribble};

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
    /// Frames it still has buffers for.
    pub(crate) room: usize,
    /// Longest frame a buffer holds.
    pub(crate) longest: u32,
    /// What becomes of the next deliveries; after that, room decides.
    pub(crate) script: VecDeque<Result<(), DropReason>>,
    pub(crate) scribble: Option<Scribble>,
    pub(crate) armed: Kicks,
    pub(crate) publishes: u64,
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
            room: usize::MAX,
            longest: u32::MAX,
            script: VecDeque::new(),
            scribble: None,
            armed: Kicks::Unwanted,
            publishes: 0,
            notifications: 0,
        }
    }

    fn admit(&mut self, delivery: &Delivery<'_>) -> Result<(), DropReason> {
        if let Some(outcome) = self.script.pop_front() {
            return outcome;
        }
        if delivery.bytes() > self.longest {
            return Err(DropReason::RxBufferTooSmall);
        }
        self.room = self.room.checked_sub(1).ok_or(DropReason::NoRxBuffer)?;
        Ok(())
    }
}

impl FakePort {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("a fake port found a broken promise")
    }
}

impl Port for FakePort {
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

    fn offer(&mut self, delivery: &Delivery<'_>) -> Result<(), DropReason> {
        let mut state = self.state();
        state.admit(delivery)?;
        state.log.push(delivery);
        if let Some(scribble) = &mut state.scribble {
            scribble.write();
        }
        Ok(())
    }

    fn publish(&mut self) {
        let mut state = self.state();
        state.chains.publish();
        state.log.publish();
        state.publishes += 1;
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
