//! What `vhost-user-backend` asks of us. It drives the messages of a session on a thread of its own; as no queue is given
//! to a thread of that crate, it starts none of those and never looks at a kick.

use std::io;
use std::sync::Arc;

use helio_vring::MAX_RING_SIZE;
use vhost::vhost_user::message::VhostUserProtocolFeatures;
use vhost_user_backend::{Error, VhostUserBackend, VhostUserDaemon};
use vm_memory::{GuestAddressSpace, GuestMemoryAtomic, GuestMemoryMmap};
use vmm_sys_util::epoll::EventSet;

use crate::features;
use crate::session::Session;
use crate::session_vring::{Memory, SessionVring, under_construction};

/// The back-end of one session.
#[derive(Clone)]
pub(crate) struct Backend {
    session: Arc<Session>,
}

/// What runs one session.
pub(crate) type Daemon = VhostUserDaemon<Backend>;

/// Makes what runs `session`. A daemon serves one connection: it cannot go back to its beginning.
pub(crate) fn daemon(session: &Arc<Session>) -> Result<Daemon, Error> {
    let backend = Backend { session: Arc::clone(session) };
    let name = format!("session {}", session.port().name);
    let memory = GuestMemoryAtomic::new(GuestMemoryMmap::new());
    under_construction(session, || VhostUserDaemon::new(name, backend, memory))
}

impl VhostUserBackend for Backend {
    type Bitmap = ();
    type Vring = SessionVring;

    fn num_queues(&self) -> usize {
        2 * usize::from(self.session.port().queue_pairs)
    }

    fn max_queue_size(&self) -> usize {
        usize::from(MAX_RING_SIZE)
    }

    fn features(&self) -> u64 {
        features::OFFERED
    }

    fn acked_features(&self, features: u64) {
        self.session.set_features(features);
    }

    fn protocol_features(&self) -> VhostUserProtocolFeatures {
        features::protocol()
    }

    /// The features say the same, and come with them.
    fn set_event_idx(&self, _enabled: bool) {}

    /// Refused: the configuration space is the front-end's.
    fn set_config(&self, _offset: u32, _bytes: &[u8]) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }

    fn update_memory(&self, memory: Memory) -> io::Result<()> {
        self.session.update_memory(memory.memory().into_inner())
    }

    fn queues_per_thread(&self) -> Vec<u64> {
        Vec::new()
    }

    /// Never called, as there is no thread that could.
    fn handle_event(
        &self,
        _event: u16,
        _set: EventSet,
        _vrings: &[SessionVring],
        _thread: usize,
    ) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }
}
