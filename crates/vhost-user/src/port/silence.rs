//! A worker that is not there, for tests of what is around it: nobody sleeps, and nobody asks for memory.

use std::io;
use std::os::fd::BorrowedFd;
use std::path::Path;
use std::sync::Arc;

use helio_frame::{MemoryDirectory, MemoryId, Wakeups};
use helio_mem::MemoryTable;
use helio_types::PortId;

use crate::parts::{PortEvent, PortParts, SocketAccess, SocketRole};

pub(crate) struct Nobody;

impl Wakeups for Nobody {
    fn wake(&self) {}
    fn watch(&self, _: BorrowedFd<'_>) -> io::Result<()> {
        Ok(())
    }
    fn unwatch(&self, _: BorrowedFd<'_>) {}
}

impl MemoryDirectory for Nobody {
    fn replace(&self, _: MemoryId, _: Option<Arc<MemoryTable>>) {}
}

/// What a port of that worker is made from, with its socket in `dir`.
pub(crate) fn parts(
    dir: &Path,
    role: SocketRole,
    queue_pairs: u8,
    events: impl Fn(&PortEvent) + Send + Sync + 'static,
) -> PortParts {
    PortParts {
        id: PortId::new(0).unwrap(),
        name: "alone".to_owned(),
        socket: dir.join("alone.sock"),
        role,
        access: SocketAccess::default(),
        queue_pairs,
        wakeups: Arc::new(Nobody),
        directory: Arc::new(Nobody),
        events: Box::new(events),
    }
}
