//! A worker that is not there, for tests of what is around it: nobody sleeps, and nobody asks for memory.

use std::io;
use std::os::fd::BorrowedFd;
use std::sync::Arc;

use helio_frame::{MemoryDirectory, MemoryId, Wakeups};
use helio_mem::MemoryTable;

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
