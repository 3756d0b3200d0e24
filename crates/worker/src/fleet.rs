//! All workers of a switch, as the control side sees them.

use std::io;
use std::sync::Arc;

use helio_counters::{CounterBank, MirrorCounts, PortCounts};
use helio_frame::{MemoryDirectory, MemoryId, Port, Wakeups};
use helio_mem::{MemoryError, MemoryTable};
use helio_switch::Fdb;
use helio_types::{LegId, MAX_WORKERS, PortId, WorkerId};

use crate::command::{Command, Inbox};
use crate::core::Core;
use crate::mailbox::{Peer, join};
use crate::wake::Bed;
use crate::{Clock, Polling, Snapshot, UnderlayReport, Worker, WorkerGone, WorkerReport};

/// What a fleet is made from.
#[derive(Debug)]
pub struct FleetSettings {
    /// How each worker waits for frames; their number is that of the workers.
    pub polling: Vec<Polling>,
    /// The configuration to begin with.
    pub snapshot: Arc<Snapshot>,
    /// The table that all workers learn in.
    pub fdb: Arc<Fdb>,
    /// The clock of all workers.
    pub clock: Clock,
}

/// The way to all workers. Any control thread may use it; each call returns when the workers have done what it asks.
#[derive(Debug)]
pub struct Fleet {
    inboxes: Vec<Arc<Inbox>>,
    banks: Vec<Arc<CounterBank>>,
    fdb: Arc<Fdb>,
}

impl Fleet {
    /// Makes the workers, joined with each other; each is to be run by a thread of its own.
    ///
    /// # Errors
    ///
    /// When the host has no memory or no file descriptors for them.
    pub fn new(settings: FleetSettings) -> Result<(Self, Vec<Worker>), MemoryError> {
        let count = settings.polling.len().min(MAX_WORKERS);
        let beds: Result<Vec<_>, io::Error> =
            (0..count).map(|_| Bed::new().map(Arc::new)).collect();
        let beds = beds.map_err(MemoryError::Host)?;
        let inboxes: Vec<_> =
            beds.iter().map(|bed| Arc::new(Inbox::new(Arc::clone(bed)))).collect();
        let banks: Vec<_> = (0..count).map(|_| Arc::new(CounterBank::new())).collect();
        let fleet = Self { inboxes, banks, fdb: settings.fdb };
        let mut workers = Vec::with_capacity(count);
        let polling = settings.polling.iter().copied();
        for ((index, peers), polling) in join_all(&beds).into_iter().enumerate().zip(polling) {
            let (Some(id), Some(inbox), Some(bank)) =
                (WorkerId::new(index), fleet.inboxes.get(index), fleet.banks.get(index))
            else {
                break;
            };
            let core = Core::new(
                id,
                peers,
                Arc::clone(&settings.snapshot),
                Arc::clone(&fleet.fdb),
                Arc::clone(bank),
                settings.clock.clone(),
            )?;
            workers.push(Worker::new(core, Arc::clone(inbox), polling));
        }
        share_pools(&mut workers);
        Ok((fleet, workers))
    }

    /// Number of workers.
    #[must_use]
    pub fn len(&self) -> usize {
        self.inboxes.len()
    }

    /// Whether there is no worker.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.inboxes.is_empty()
    }

    /// The table that all workers learn in.
    #[must_use]
    pub fn fdb(&self) -> &Arc<Fdb> {
        &self.fdb
    }

    /// What all workers have counted for `port`.
    #[must_use]
    pub fn counts(&self, port: PortId) -> PortCounts {
        PortCounts::read(self.banks.iter().map(Arc::as_ref), port)
    }

    /// What all workers have counted for `leg`.
    #[must_use]
    pub fn leg_counts(&self, leg: LegId) -> MirrorCounts {
        MirrorCounts::read_leg(self.banks.iter().map(Arc::as_ref), leg)
    }

    /// How to wake a worker.
    #[must_use]
    pub fn wakeups(&self, worker: WorkerId) -> Option<Arc<dyn Wakeups>> {
        let inbox = self.inboxes.get(worker.index())?;
        Some(Arc::clone(&inbox.bed) as Arc<dyn Wakeups>)
    }

    /// Puts a configuration in place on all workers. When this returns, none of them uses another one.
    ///
    /// # Errors
    ///
    /// When a worker has ended.
    pub fn install(&self, snapshot: &Arc<Snapshot>) -> Result<(), WorkerGone> {
        for inbox in &self.inboxes {
            inbox.ask(|reply| Command::Install(Arc::clone(snapshot), reply))?;
        }
        Ok(())
    }

    /// Gives a port to a worker. It takes the place of one with the same id, which is dropped here.
    ///
    /// # Errors
    ///
    /// When the worker has ended, or there is no such worker.
    pub fn add_port(
        &self,
        worker: WorkerId,
        id: PortId,
        port: Box<dyn Port>,
    ) -> Result<(), WorkerGone> {
        let before = self.inbox(worker)?.ask(|reply| Command::AddPort(id, port, reply))?;
        drop(before);
        Ok(())
    }

    /// Takes a port from a worker. When this returns, nothing that it sent and nothing sent to it before is under way
    /// between workers, so its id is free for another port. What still goes to it is dropped as
    /// [`PortDown`](helio_types::DropReason::PortDown), until a snapshot without it is installed.
    ///
    /// # Errors
    ///
    /// When the worker has ended, or there is no such worker.
    pub fn remove_port(
        &self,
        worker: WorkerId,
        id: PortId,
    ) -> Result<Option<Box<dyn Port>>, WorkerGone> {
        let owner = self.inbox(worker)?;
        let port = owner.ask(|reply| Command::RemovePort(id, reply))?;
        self.drain();
        // Once more the owner: the others' receipts for its frames wait there.
        let _ = owner.ask(Command::Drain);
        Ok(port)
    }

    /// Returns when every frame that workers had sent to each other before the call was delivered.
    pub fn drain(&self) {
        for inbox in &self.inboxes {
            // A worker that has ended will not deliver anything.
            let _ = inbox.ask(Command::Drain);
        }
    }

    /// What a worker has done so far.
    ///
    /// # Errors
    ///
    /// When the worker has ended, or there is no such worker.
    pub fn report(&self, worker: WorkerId) -> Result<WorkerReport, WorkerGone> {
        self.inbox(worker)?.ask(Command::Report)
    }

    /// What all workers know of the networks behind their uplinks.
    #[must_use]
    pub fn report_underlay(&self) -> UnderlayReport {
        let mut all = UnderlayReport::default();
        for inbox in &self.inboxes {
            // One that has ended knows nothing.
            if let Ok(report) = inbox.ask(Command::ReportUnderlay) {
                all.collectors.extend(report.collectors);
                all.decaps.extend(report.decaps);
            }
        }
        all
    }

    /// Ends all workers.
    pub fn stop(&self) {
        for inbox in &self.inboxes {
            // One that has ended already needs no asking.
            let _ = inbox.ask(Command::Stop);
        }
    }

    fn inbox(&self, worker: WorkerId) -> Result<&Inbox, WorkerGone> {
        self.inboxes.get(worker.index()).map(Arc::as_ref).ok_or(WorkerGone)
    }
}

impl MemoryDirectory for Fleet {
    fn replace(&self, id: MemoryId, table: Option<Arc<MemoryTable>>) {
        for inbox in &self.inboxes {
            // A worker that has ended uses no memory. The old table is dropped here, not by the worker.
            let _ = inbox.ask(|reply| Command::ReplaceMemory(id, table.clone(), reply));
        }
    }
}

/// Each worker's ends of the rings to all others.
fn join_all(beds: &[Arc<Bed>]) -> Vec<Vec<Option<Peer>>> {
    let mut peers: Vec<Vec<Option<Peer>>> =
        beds.iter().map(|_| beds.iter().map(|_| None).collect()).collect();
    let mut put = |at: usize, towards: usize, peer| {
        if let Some(place) = peers.get_mut(at).and_then(|row| row.get_mut(towards)) {
            *place = Some(peer);
        }
    };
    for (a, bed_a) in beds.iter().enumerate() {
        for (b, bed_b) in beds.iter().enumerate().skip(a + 1) {
            let (for_a, for_b) = join(bed_a, bed_b);
            put(a, b, for_a);
            put(b, a, for_b);
        }
    }
    peers
}

/// Lets each worker reach the private buffers of all others: frames in them travel.
fn share_pools(workers: &mut [Worker]) {
    let pools: Vec<_> =
        workers.iter().map(|w| (w.core.pool.id(), Arc::clone(w.core.pool.table()))).collect();
    for worker in workers {
        for (id, table) in &pools {
            worker.core.replace_memory(*id, Some(Arc::clone(table)));
        }
    }
}
