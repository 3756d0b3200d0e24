//! One session with a front-end: what it has said of rings and memory, and which rings the worker runs because of that.
//!
//! Called by the thread that reads the front-end's messages, one at a time, and by the port's control thread when the port has
//! broken off and at the end.
//! What always holds: a ring is in the worker exactly while its phase is `Running`, and memory is replaced only while no
//! ring is.

mod link;
mod note;
mod worker;
#[cfg(test)]
mod worker_tests;

use std::fs::File;
use std::io;
use std::os::fd::AsFd;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use helio_frame::{MemoryId, PortFault};
use helio_mem::MemoryTable;
use helio_vring::Call;
use rustix::fs::SealFlags;
use vm_memory::{GuestMemoryBackend, GuestMemoryMmap, GuestMemoryRegion};

use crate::event_fd::{self, EventFd};
use crate::mailbox::{Command, Mode};
use crate::parts::PortShared;
use crate::ring::{Phase, Place, Ring};
use crate::ring_id::{QueueKind, RingId};
use crate::status::SharedMemory;
use note::Note;

/// A session.
#[derive(Debug)]
pub(crate) struct Session {
    port: Arc<PortShared>,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    features: u64,
    memory: Option<Arc<MemoryTable>>,
    rings: Vec<Ring>,
    /// Kinds of note that were told already.
    told: u32,
    /// Why the session had to be ended by us.
    refusal: Option<String>,
}

/// A ring was placed somewhere else while it runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct PlacedWhileRunning;

/// Why rings are looked at that could run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Cause {
    /// The front-end started or described one: it has to be right by now.
    Message,
    /// There is another memory table: a ring that does not lie in it waits for the next one.
    Memory,
}

/// What the crate that reads the messages is to believe about a kick descriptor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum KickSlot {
    /// There is one: the ring may start.
    Filled,
    /// There is none.
    Empty,
}

impl Session {
    /// A session in which the front-end has said nothing yet.
    pub(crate) fn new(port: Arc<PortShared>) -> Self {
        let rings = (0..2 * usize::from(port.queue_pairs)).filter_map(RingId::new);
        let state = State {
            features: 0,
            memory: None,
            rings: rings.map(Ring::new).collect(),
            told: 0,
            refusal: None,
        };
        Self { port, state: Mutex::new(state) }
    }

    pub(crate) fn port(&self) -> &PortShared {
        &self.port
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The features that hold for rings started from now on.
    pub(crate) fn set_features(&self, features: u64) {
        self.state().features = features;
        self.port.status.set_features(features);
        self.port.status.facts().features_since.get_or_insert_with(Instant::now);
    }

    /// The size of a ring, as wanted.
    pub(crate) fn set_size(&self, index: usize, size: u16) {
        let mut state = self.state();
        let Some(ring) = state.rings.get_mut(index) else { return };
        if !ring.is_running() {
            ring.size = Some(size);
            self.run_started(&mut state, Cause::Message);
        } else if ring.size != Some(size) {
            self.note(&mut state, Note::SizeWhileRunning);
        }
    }

    /// The place of a ring, as guest addresses.
    pub(crate) fn set_place(&self, index: usize, place: Place) -> Result<(), PlacedWhileRunning> {
        let mut state = self.state();
        let Some(ring) = state.rings.get_mut(index) else { return Ok(()) };
        if !ring.is_running() {
            ring.place = Some(place);
            if ring.phase == Phase::Displaced {
                ring.phase = Phase::Started;
            }
            self.run_started(&mut state, Cause::Message);
        } else if ring.place != Some(place) {
            state.refusal = Some("the front-end moved a ring while it runs".to_owned());
            return Err(PlacedWhileRunning);
        }
        Ok(())
    }

    /// Whether the front-end may say where a ring begins.
    pub(crate) fn accepts_base(&self, index: usize, base: u16, known: u16) -> bool {
        let mut state = self.state();
        let running = state.rings.get(index).is_some_and(Ring::is_running);
        if running && base != known {
            self.note(&mut state, Note::BaseWhileRunning);
        }
        !running
    }

    /// Enables or disables a ring.
    pub(crate) fn set_mode(&self, index: usize, mode: Mode) {
        let mut state = self.state();
        let Some(ring) = state.rings.get_mut(index) else { return };
        let before = std::mem::replace(&mut ring.mode, mode);
        self.change(ring, || Command::SetMode(mode));
        if ring.is_running() && before != mode && mode == Mode::Disabled {
            self.tell_if_down(&mut state);
        }
    }

    /// The descriptor by which the guest kicks. Without one, or with one that is no eventfd, the ring starts as well, and
    /// is looked at when the worker is awake.
    pub(crate) fn set_kick(&self, index: usize, file: Option<File>) -> KickSlot {
        let mut state = self.state();
        let Some(ring) = state.rings.get_mut(index) else { return KickSlot::Empty };
        self.unwatch(ring);
        ring.kick = None;
        if std::mem::take(&mut ring.is_closing) {
            return KickSlot::Empty;
        }
        let given = file.is_some();
        ring.kick = file.and_then(event_fd::accept);
        let mut watched = Ok(());
        if ring.is_running() {
            watched = self.watch(ring);
            // What the guest said by the old descriptor may not have been heard.
            self.port.wakeups.wake();
        }
        let refused = given && ring.kick.is_none();
        if refused || watched.is_err() {
            self.note(&mut state, Note::KickNotWatched);
        }
        KickSlot::Filled
    }

    /// The descriptor by which the guest is told of used buffers.
    pub(crate) fn set_call(&self, index: usize, file: Option<File>) {
        let mut state = self.state();
        let call = Call(self.accept(&mut state, file, Note::CallNotUsed));
        let Some(ring) = state.rings.get_mut(index) else { return };
        let before = std::mem::replace(&mut ring.call, call);
        self.change(ring, || Command::SetCall(ring.call.clone()));
        // Not before the worker has let go of it: who closes it last goes through all who watch it.
        drop(before);
        // What was told by the descriptor before may be lost, of a ring that waits for memory too.
        if let Some(call) = ring.call.0.as_ref().filter(|_| ring.phase != Phase::Stopped) {
            event_fd::signal(call);
        }
    }

    /// The descriptor by which the front-end is told of a fault.
    pub(crate) fn set_err(&self, index: usize, file: Option<File>) {
        let mut state = self.state();
        let err = self.accept(&mut state, file, Note::ErrNotUsed);
        let Some(ring) = state.rings.get_mut(index) else { return };
        ring.err = err;
    }

    fn accept(&self, state: &mut State, file: Option<File>, note: Note) -> Option<EventFd> {
        let given = file.is_some();
        let accepted = file.and_then(event_fd::accept);
        if given && accepted.is_none() {
            self.note(state, note);
        }
        accepted
    }

    /// The front-end starts a ring.
    pub(crate) fn start_ring(&self, index: usize) {
        let mut state = self.state();
        let Some(ring) = state.rings.get_mut(index) else { return };
        if ring.phase == Phase::Stopped {
            ring.phase = Phase::Started;
            self.run_started(&mut state, Cause::Message);
        }
    }

    /// The front-end stops a ring: when this returns nothing of it is in flight, and not one byte is written to it any
    /// more. Returns where it may be started again, if it ran since it was last stopped.
    pub(crate) fn stop_ring(&self, index: usize) -> Option<u16> {
        let mut state = self.state();
        let ring = state.rings.get_mut(index)?;
        ring.is_closing = true;
        let id = ring.id;
        self.remove(&mut state, |ring| ring.id == id, Phase::Stopped);
        self.tell_if_down(&mut state);
        let ring = state.rings.get_mut(index)?;
        ring.phase = Phase::Stopped;
        let base = ring.stood_at.take();
        self.tell_displaced(&state);
        if state.rings.iter().all(|ring| !matches!(ring.phase, Phase::Running | Phase::Refused)) {
            self.port.status.clear_fault();
        }
        base
    }

    /// Starts what is started and described. One ring that breaks the rules stops the port.
    fn run_started(&self, state: &mut State, cause: Cause) {
        self.try_started(state, cause);
        self.tell_displaced(state);
    }

    fn try_started(&self, state: &mut State, cause: Cause) {
        let Some(memory) = state.memory.clone() else { return };
        for index in 0..state.rings.len() {
            let Some(ring) = state.rings.get_mut(index) else { return };
            match ring.build(self.port.id, state.features, &memory) {
                None => {}
                Some(Err(PortFault::RingAddress)) if cause == Cause::Memory => {
                    ring.phase = Phase::Displaced;
                }
                Some(Err(fault)) => return self.refuse(state, fault),
                Some(Ok(installation)) => {
                    if let Err(note) = self.install(ring, installation) {
                        self.note(state, note);
                    }
                }
            }
        }
    }

    /// Stops the port because a ring cannot be.
    fn refuse(&self, state: &mut State, fault: PortFault) {
        self.port.fail(fault);
        self.remove(state, |_| true, Phase::Refused);
        for ring in state.rings.iter_mut().filter(|ring| ring.phase != Phase::Stopped) {
            ring.phase = Phase::Refused;
            ring.tell_fault();
        }
    }

    /// Says how many rings wait for memory.
    fn tell_displaced(&self, state: &State) {
        let displaced = state.rings.iter().filter(|ring| ring.phase == Phase::Displaced);
        self.port.status.facts().displaced_rings = displaced.count();
    }

    /// The front-end has another memory table. Rings that run are stopped, and started again where they stood; those that
    /// do not lie in it wait for the next one.
    ///
    /// # Errors
    ///
    /// When the memory cannot be used; the caller ends the session then.
    pub(crate) fn update_memory(&self, mappings: Arc<GuestMemoryMmap>) -> io::Result<()> {
        let mut state = self.state();
        let facts = describe(&mappings);
        let table = match MemoryTable::new(mappings) {
            Ok(table) => Arc::new(table),
            Err(error) => {
                state.refusal = Some(error.to_string());
                return Err(io::Error::other(error));
            }
        };
        self.remove(&mut state, |_| true, Phase::Started);
        // A ring that broke a rule does not start again by itself. Asked afterwards: up to then the worker may find one.
        let then = match self.port.status.fault() {
            None => Phase::Started,
            Some(_) => Phase::Refused,
        };
        let waits = |ring: &&mut Ring| matches!(ring.phase, Phase::Started | Phase::Displaced);
        for ring in state.rings.iter_mut().filter(waits) {
            ring.phase = then;
            if then == Phase::Refused {
                // The control thread tells rings that run, and this one does not any more.
                ring.tell_fault();
            }
        }
        self.port.directory.replace(MemoryId::of_port(self.port.id), Some(Arc::clone(&table)));
        // The old table ends here, on this thread, when no worker uses it any more.
        state.memory = Some(table);
        self.port.status.facts().memory = (facts.regions > 0).then_some(facts);
        self.run_started(&mut state, Cause::Memory);
        Ok(())
    }

    /// Ends the session: all rings stop, and the memory is let go. Returns why it was ended by us, if it was.
    pub(crate) fn end(&self) -> Option<String> {
        let mut state = self.state();
        self.remove(&mut state, |_| true, Phase::Stopped);
        self.tell_if_down(&mut state);
        if state.memory.is_some() {
            self.port.directory.replace(MemoryId::of_port(self.port.id), None);
            state.memory = None;
        }
        for ring in &mut state.rings {
            *ring = Ring::new(ring.id);
        }
        let fault = self.port.status.fault();
        self.port.status.clear_fault();
        self.port.status.set_features(0);
        let mut facts = self.port.status.facts();
        (facts.features_since, facts.memory, facts.note) = (None, None, None);
        facts.displaced_rings = 0;
        state.refusal.take().or_else(|| fault.map(|fault| fault.to_string()))
    }

    /// A change of a ring that the worker must know when it runs.
    fn change(&self, ring: &Ring, command: impl FnOnce() -> Command) {
        if ring.is_running() {
            self.order(ring.id, command());
        }
    }

    /// Lets the guest's kicks wake the worker. Of a receiveq they say only that there is room.
    fn watch(&self, ring: &Ring) -> io::Result<()> {
        match &ring.kick {
            Some(kick) if ring.id.kind == QueueKind::Transmit => {
                self.port.wakeups.watch(kick.as_fd())
            }
            _ => Ok(()),
        }
    }

    fn unwatch(&self, ring: &Ring) {
        match &ring.kick {
            Some(kick) if ring.is_running() && ring.id.kind == QueueKind::Transmit => {
                self.port.wakeups.unwatch(kick.as_fd());
            }
            _ => {}
        }
    }
}

/// What is worth knowing of the memory.
fn describe(mappings: &GuestMemoryMmap) -> SharedMemory {
    let sealed = |region: &vm_memory::GuestRegionMmap| {
        region.file_offset().is_some_and(|offset| {
            rustix::fs::fcntl_get_seals(offset.file())
                .is_ok_and(|seals| seals.contains(SealFlags::SHRINK))
        })
    };
    SharedMemory {
        regions: mappings.num_regions(),
        bytes: mappings.iter().map(GuestMemoryRegion::len).sum(),
        shrink_sealed: mappings.iter().all(sealed),
    }
}
