//! The end of a fake port that a test keeps: the guest, as far as a worker can tell.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::{Arc, Mutex, MutexGuard};

use helio_frame::MemoryId;
use helio_mem::{MemoryTable, Segment};
use helio_offload::Offloads;
use helio_types::{DropReason, PortId};
use rustix::event::{EventfdFlags, eventfd};

use crate::fake_port::{Kicks, State};
use crate::received::Scribble;
use crate::{FakePort, Received, TestFrame};

/// The far side of a [`FakePort`]. Any thread may use it.
#[derive(Debug)]
pub struct FarSide {
    id: PortId,
    state: Arc<Mutex<State>>,
    memory: Arc<MemoryTable>,
    kick: OwnedFd,
}

/// A port for a worker, and its far side. It accepts no offload and has room for everything.
#[must_use]
pub fn fake_port(id: PortId) -> (FakePort, FarSide) {
    let state = State::new(id);
    let memory = Arc::clone(&state.chains.memory);
    let state = Arc::new(Mutex::new(state));
    let flags = EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK;
    let kick = eventfd(0, flags).expect("no file descriptor for a fake port");
    (FakePort { state: Arc::clone(&state) }, FarSide { id, state, memory, kick })
}

impl FarSide {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("a fake port found a broken promise")
    }

    /// Which port.
    #[must_use]
    pub fn id(&self) -> PortId {
        self.id
    }

    /// Whose memory its frames lie in.
    #[must_use]
    pub fn memory_id(&self) -> MemoryId {
        MemoryId::of_port(self.id)
    }

    /// The memory that it shares.
    #[must_use]
    pub fn memory(&self) -> &Arc<MemoryTable> {
        &self.memory
    }

    /// Becomes readable when the far side kicks.
    #[must_use]
    pub fn kick_fd(&self) -> BorrowedFd<'_> {
        self.kick.as_fd()
    }

    /// Sends a frame whose rest lies in one piece.
    pub fn send(&self, frame: &TestFrame) {
        self.send_in_pieces(frame, 1);
    }

    /// Sends a frame whose rest lies in up to `pieces` pieces.
    pub fn send_in_pieces(&self, frame: &TestFrame, pieces: u32) {
        self.put(|state| state.chains.send(frame, pieces));
    }

    /// Sends a frame in more pieces than a worker can name: it is copied when it is taken.
    pub fn send_spilled(&self, frame: &TestFrame) {
        self.put(|state| state.chains.send_spilled(frame));
    }

    /// Sends a chain that holds no frame, for `reason`.
    pub fn send_refused(&self, reason: DropReason) {
        self.put(|state| state.chains.send_refused(reason));
    }

    /// Kicks after `put` if that is asked for.
    fn put(&self, put: impl FnOnce(&mut State)) {
        let mut state = self.state();
        put(&mut state);
        let armed = state.armed;
        drop(state);
        if armed == Kicks::Wanted {
            rustix::io::write(&self.kick, &1_u64.to_ne_bytes()).expect("a kick failed");
        }
    }

    /// Chains that may be sent now.
    #[must_use]
    pub fn send_room(&self) -> usize {
        usize::from(self.state().chains.room())
    }

    /// Where the rest of the next frame will lie in [`FarSide::memory`], if it lies in one piece.
    #[must_use]
    pub fn next_place(&self) -> Segment {
        self.state().chains.next_place()
    }

    /// Chains taken and not completed.
    #[must_use]
    pub fn in_flight(&self) -> usize {
        usize::from(self.state().chains.in_flight())
    }

    /// Chains completed so far.
    #[must_use]
    pub fn completed(&self) -> u64 {
        self.state().chains.completed
    }

    /// Chains of which another port kept the frame: it was the last one to get it.
    #[must_use]
    pub fn kept(&self) -> u64 {
        self.state().chains.kept
    }

    /// What was delivered since this was last asked.
    #[must_use]
    pub fn received(&self) -> Vec<Received> {
        self.state().log.take()
    }

    /// Number of frames in each run that was offered since this was last asked.
    #[must_use]
    pub fn runs(&self) -> Vec<usize> {
        self.state().runs.drain(..).collect()
    }

    /// Accepts `offloads` undone from now on.
    pub fn accept(&self, offloads: Offloads) {
        self.state().accepts = offloads;
    }

    /// Pulls the wire out.
    pub fn unplug(&self) {
        self.state().is_unplugged = true;
    }

    /// Puts it in again.
    pub fn plug(&self) {
        self.state().is_unplugged = false;
    }

    /// Has a link that takes packets of up to `bytes` bytes from now on.
    pub fn set_link_mtu(&self, bytes: u32) {
        self.state().link_mtu = bytes;
    }

    /// Has room for `frames` frames from now on.
    pub fn set_room(&self, frames: usize) {
        self.state().room = frames;
    }

    /// Has buffers for frames of up to `bytes` bytes from now on.
    pub fn set_longest(&self, bytes: u32) {
        self.state().longest = bytes;
    }

    /// Decides what becomes of the next deliveries.
    pub fn script(&self, outcomes: &[Result<(), DropReason>]) {
        self.state().script.extend(outcomes);
    }

    /// Overwrites `place` of `memory` after each delivery to this port, each time with another byte; ports begin with
    /// different ones.
    pub fn scribble(&self, memory: &Arc<MemoryTable>, place: Segment) {
        let next = u8::try_from(self.id.index()).unwrap().wrapping_mul(16);
        self.state().scribble = Some(Scribble { memory: Arc::clone(memory), place, next });
    }

    /// Whether the worker asked for kicks.
    #[must_use]
    pub fn is_asked_to_kick(&self) -> bool {
        self.state().armed == Kicks::Wanted
    }

    /// Times the worker notified it.
    #[must_use]
    pub fn notifications(&self) -> u64 {
        self.state().notifications
    }

    /// Times the worker published.
    #[must_use]
    pub fn publishes(&self) -> u64 {
        self.state().publishes
    }

    /// When the worker last published: a greater number came later, also at another port.
    #[must_use]
    pub fn published_as(&self) -> Option<u64> {
        self.state().published_as
    }
}
