//! What the control side asks of a worker between two turns.
//!
//! A worker looks at one flag per turn. Only when it is set does it take the lock and carry out what waits there; that may
//! allocate and free, which a turn never does.

use std::collections::VecDeque;
use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{SyncSender, sync_channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use helio_frame::{MemoryId, Port, Wakeups};
use helio_mem::MemoryTable;
use helio_types::PortId;

use crate::wake::Bed;
use crate::{Snapshot, UnderlayReport, WorkerReport};

/// One request. What it replaces travels back, so that it is freed by who asked and not by the worker.
pub(crate) enum Command {
    Install(Arc<Snapshot>, SyncSender<Arc<Snapshot>>),
    AddPort(PortId, Box<dyn Port>, SyncSender<Option<Box<dyn Port>>>),
    RemovePort(PortId, SyncSender<Option<Box<dyn Port>>>),
    ReplaceMemory(MemoryId, Option<Arc<MemoryTable>>, SyncSender<Option<Arc<MemoryTable>>>),
    Drain(SyncSender<()>),
    Report(SyncSender<WorkerReport>),
    ReportUnderlay(SyncSender<UnderlayReport>),
    Stop(SyncSender<()>),
}

/// The worker has ended, so it cannot do what it was asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WorkerGone;

impl fmt::Display for WorkerGone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the worker has ended")
    }
}

impl std::error::Error for WorkerGone {}

/// Where requests wait for one worker.
pub(crate) struct Inbox {
    waiting: AtomicBool,
    /// `None` once the worker has ended.
    commands: Mutex<Option<VecDeque<Command>>>,
    pub(crate) bed: Arc<Bed>,
}

impl Inbox {
    pub(crate) fn new(bed: Arc<Bed>) -> Self {
        Self { waiting: AtomicBool::new(false), commands: Mutex::new(Some(VecDeque::new())), bed }
    }

    /// Puts a request in front of the worker and waits until it is carried out, which takes a turn or two.
    pub(crate) fn ask<T>(
        &self,
        make: impl FnOnce(SyncSender<T>) -> Command,
    ) -> Result<T, WorkerGone> {
        let (reply, answer) = sync_channel(1);
        self.lock().as_mut().ok_or(WorkerGone)?.push_back(make(reply));
        self.waiting.store(true, Ordering::Release);
        self.bed.wake();
        answer.recv().map_err(|_| WorkerGone)
    }

    /// Whether a request waits.
    #[inline]
    pub(crate) fn has_mail(&self) -> bool {
        self.waiting.load(Ordering::Acquire)
    }

    /// Takes the next request.
    pub(crate) fn take(&self) -> Option<Command> {
        let mut guard = self.lock();
        let commands = guard.as_mut()?;
        let command = commands.pop_front();
        self.waiting.store(!commands.is_empty(), Ordering::Release);
        command
    }

    /// Takes nothing more, and drops what waits: who asked learns that the worker has ended.
    pub(crate) fn close(&self) {
        // Dropped after the lock is free: a port that waits there may do things when it ends.
        let left = self.lock().take();
        drop(left);
    }

    fn lock(&self) -> MutexGuard<'_, Option<VecDeque<Command>>> {
        self.commands.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Inbox {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Inbox").field("waiting", &self.waiting).finish_non_exhaustive()
    }
}
