//! VM ports: vhost-user sessions with front-ends, and the port that a worker drives while a session lasts.
//!
//! Two halves joined by a mailbox. [`VhostPort`] lives in its worker and owns the rings. [`VhostPortHandle`] belongs to
//! whoever made the port; its control thread runs one session after another and tells the other half which rings to
//! start and stop. What always holds: a ring is used by the worker alone; guest memory is unmapped only after every ring
//! in it has stopped with nothing in flight; a front-end that breaks a rule loses its own port and nothing else.
#![forbid(unsafe_code)]

mod backend;
mod call_cost;
mod event_fd;
mod features;
mod gate;
mod handle;
mod mailbox;
mod pace;
mod parts;
mod port;
mod port_thread;
mod quiet;
mod ring;
mod ring_id;
mod ring_slot;
mod session;
mod session_end;
mod session_vring;
mod socket;
mod state;
mod status;
mod steering;

pub use features::OFFERED as OFFERED_FEATURES;
pub use handle::VhostPortHandle;
pub use parts::{MAX_QUEUE_PAIRS, PortError, PortEvent, PortParts, SocketAccess, SocketRole};
pub use port::VhostPort;
pub use state::{PortState, StateWord};
pub use status::SharedMemory;
