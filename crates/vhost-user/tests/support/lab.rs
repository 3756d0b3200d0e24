//! Ports on a hub, and guests for them.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use helio_guest::{Flow, Guest, GuestConfig, Listener, Numbered, Received, TestFrame};
use helio_types::PortId;
use helio_vhost_user::{
    PortError, PortEvent, PortParts, SocketAccess, SocketRole, StateWord, VhostPort,
    VhostPortHandle,
};
use tempfile::TempDir;

use super::hub::Hub;
use super::{PATIENCE, wait_until};

/// Queue pairs of each port.
pub const PAIRS: u8 = 4;

/// A hub with ports.
pub struct Lab {
    // Dropped first: a port is stopped while its worker still has it.
    pub ports: Vec<LabPort>,
    pub hub: Hub,
    pub dir: TempDir,
}

/// One port.
pub struct LabPort {
    pub id: PortId,
    pub socket: PathBuf,
    pub handle: VhostPortHandle,
    pub events: Arc<Mutex<Vec<PortEvent>>>,
}

impl Lab {
    /// A hub with `count` ports that listen.
    pub fn new(count: usize) -> Self {
        let mut lab = Self::empty();
        for _ in 0..count {
            lab.add(SocketRole::Server);
        }
        lab
    }

    pub fn empty() -> Self {
        let dir = tempfile::tempdir().unwrap();
        Self { ports: Vec::new(), hub: Hub::start(), dir }
    }

    /// Makes port `index`, not started and in no worker.
    pub fn create(
        &self,
        index: usize,
        role: SocketRole,
    ) -> Result<(VhostPort, LabPort), PortError> {
        let id = PortId::new(index).unwrap();
        let socket = self.dir.path().join(format!("{}.sock", id.index()));
        let events = Arc::new(Mutex::new(Vec::new()));
        let told = Arc::clone(&events);
        let (port, handle) = VhostPort::create(PortParts {
            id,
            name: format!("test{}", id.index()),
            socket: socket.clone(),
            role,
            access: SocketAccess::default(),
            queue_pairs: PAIRS,
            wakeups: Arc::clone(&self.hub.shared) as _,
            directory: Arc::clone(&self.hub.shared) as _,
            events: Box::new(move |event| told.lock().unwrap().push(event.clone())),
        })?;
        Ok((port, LabPort { id, socket, handle, events }))
    }

    pub fn add(&mut self, role: SocketRole) -> &LabPort {
        let (port, mut lab_port) = self.create(self.ports.len(), role).unwrap();
        self.hub.add(lab_port.id, port);
        lab_port.handle.start().unwrap();
        self.ports.push(lab_port);
        self.ports.last().unwrap()
    }

    /// A guest on port `index`, up and running.
    pub fn guest(&self, index: usize) -> Guest {
        self.guest_with(index, config(index))
    }

    pub fn guest_with(&self, index: usize, config: GuestConfig) -> Guest {
        let active = config.active_pairs;
        let mut guest = Guest::connect(&self.ports[index].socket, config).unwrap();
        guest.start().unwrap();
        self.ports[index].wait_active(active);
        guest
    }

    /// The same for a port in the other role.
    pub fn accepted_guest(&self, index: usize, listener: &Listener) -> Guest {
        let mut guest = listener.accept(config(index), PATIENCE).unwrap();
        guest.start().unwrap();
        self.ports[index].wait_active(1);
        guest
    }
}

impl LabPort {
    #[track_caller]
    pub fn wait_active(&self, pairs: u16) {
        wait_until(&format!("{pairs} pairs run; {:?}", self.handle.state()), || {
            self.handle.active_pairs() == pairs
        });
    }

    #[track_caller]
    pub fn wait_word(&self, word: StateWord) {
        wait_until(&format!("the port is {word}; {:?}", self.handle.state()), || {
            self.handle.state().word == word
        });
    }

    /// Why the last session ended.
    pub fn last_end(&self) -> String {
        let events = self.events.lock().unwrap();
        let ends = events.iter().rev().find_map(|event| match event {
            PortEvent::SessionEnded(why) => Some(why.clone()),
            _ => None,
        });
        ends.unwrap_or_default()
    }

    /// Waits until `count` sessions have ended.
    #[track_caller]
    pub fn wait_ends(&self, count: usize) {
        wait_ends(&self.events, count);
    }

    pub fn was_worker_silent(&self) -> bool {
        self.events.lock().unwrap().contains(&PortEvent::WorkerSilent)
    }
}

/// Waits until `count` sessions have ended.
#[track_caller]
pub fn wait_ends(events: &Mutex<Vec<PortEvent>>, count: usize) {
    wait_until(&format!("{count} sessions ended"), || {
        let ended = |event: &&PortEvent| matches!(event, PortEvent::SessionEnded(_));
        events.lock().unwrap().iter().filter(ended).count() >= count
    });
}

/// The guest on port `index`.
pub fn config(index: usize) -> GuestConfig {
    GuestConfig::with_mac([2, 0, 0, 0, 0, u8::try_from(index).unwrap()])
}

/// Numbered frames from `one` to `other`.
pub fn flow(one: &Guest, other: &Guest) -> Numbered {
    Numbered::new(Flow::between(one.mac(), other.mac()))
}

/// Sends one frame from `one`, and finds it at `other`.
#[track_caller]
pub fn exchange(one: &mut Guest, other: &mut Guest, frames: &mut Numbered) -> Received {
    let mut bytes = Vec::new();
    let expected = frames.next();
    frames.write_next(&mut bytes);
    one.send_blocking(&bytes, PATIENCE).unwrap();
    let received = other.wait_received(1, PATIENCE).unwrap();
    assert_eq!(received.len(), 1);
    assert_eq!(TestFrame::parse(&received[0].frame).unwrap().sequence, expected);
    received.into_iter().next().unwrap()
}

/// Sends frames both ways.
#[track_caller]
pub fn ping(one: &mut Guest, other: &mut Guest) {
    let (mut there, mut back) = (flow(one, other), flow(other, one));
    for _ in 0..20 {
        exchange(one, other, &mut there);
        exchange(other, one, &mut back);
    }
    one.wait_all_sent(PATIENCE).unwrap();
    other.wait_all_sent(PATIENCE).unwrap();
    assert_eq!((one.faults().total(), other.faults().total()), (0, 0));
}

/// Takes what still arrives.
pub fn hear_out(guests: &mut [Guest]) {
    for guest in guests {
        guest.receive_for(Duration::from_millis(20)).unwrap();
    }
}

/// Nothing arrives at `guest` for a while.
#[track_caller]
pub fn hears_nothing(guest: &mut Guest) {
    let received = guest.receive_for(Duration::from_millis(50)).unwrap();
    assert_eq!(received.len(), 0);
}

/// Waits until something is at `path`.
pub fn wait_for_file(path: &Path) {
    wait_until("the file is there", || path.exists());
}
