//! A switch of fake ports whose workers take a turn when the test says so.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use helio_counters::{MirrorCounts, PortCounts};
use helio_frame::{MemoryDirectory, Port};
use helio_mirror::{DecapPoint, MirrorTable, Session, Sessions};
use helio_switch::{Fdb, FdbSettings, PortRole, PortSettings, SwitchTable};
use helio_testkit::{FarSide, FrameBuilder, Received, Seen, TestFrame, fake_port};
use helio_types::{
    DropReason, LegId, MAX_LEGS, MacAddr, Mirroring, PortId, SessionId, VlanId, VlanMode, WorkerId,
};
use helio_worker::{Clock, DecapShelf, Fleet, FleetSettings, Polling, Snapshot, Step, Worker};

/// Turns after which a switch that still finds something to do is taken to be caught in a loop.
const MOST_TURNS: usize = 10_000;

/// How one port is configured.
#[derive(Clone, Debug)]
pub(crate) struct PortPlan {
    pub(crate) vlan: VlanMode,
    pub(crate) mtu: u16,
    pub(crate) role: PortRole,
    pub(crate) mirroring: Mirroring,
    pub(crate) session: u8,
    /// The worker that owns it; `None` when it is configured and not attached.
    pub(crate) owner: Option<usize>,
}

impl PortPlan {
    pub(crate) fn source(self, session: u8) -> Self {
        Self { mirroring: Mirroring::Source, session, ..self }
    }

    pub(crate) fn destination(self, session: u8) -> Self {
        Self { mirroring: Mirroring::Destination, session, ..self }
    }

    pub(crate) fn receive_only(self) -> Self {
        Self { role: PortRole::ReceiveOnly, ..self }
    }

    pub(crate) fn vlan(self, vlan: VlanMode) -> Self {
        Self { vlan, ..self }
    }

    pub(crate) fn mtu(self, mtu: u16) -> Self {
        Self { mtu, ..self }
    }

    pub(crate) fn on(self, worker: usize) -> Self {
        Self { owner: Some(worker), ..self }
    }

    pub(crate) fn detached(self) -> Self {
        Self { owner: None, ..self }
    }
}

/// An ordinary port without VLANs, at worker 0.
pub(crate) fn ordinary() -> PortPlan {
    PortPlan {
        vlan: VlanMode::Transparent,
        mtu: 1500,
        role: PortRole::Ordinary,
        mirroring: Mirroring::None,
        session: 0,
        owner: Some(0),
    }
}

pub(crate) fn access(vlan: u16) -> VlanMode {
    VlanMode::Access(vid(vlan))
}

pub(crate) fn trunk(tagged: &[u16], native: Option<u16>) -> VlanMode {
    let tagged = Box::new(tagged.iter().copied().map(vid).collect());
    VlanMode::Trunk { tagged, native: native.map(vid) }
}

pub(crate) fn vid(id: u16) -> VlanId {
    VlanId::new(id).unwrap()
}

pub(crate) fn port(index: usize) -> PortId {
    PortId::new(index).unwrap()
}

pub(crate) fn leg(index: usize) -> LegId {
    LegId::new(index).unwrap()
}

/// The address of the guest at a port.
pub(crate) fn mac(index: usize) -> MacAddr {
    MacAddr([2, 0, 0, 0, 0, u8::try_from(index).unwrap()])
}

/// A frame from the guest of one port to that of another.
pub(crate) fn frame(from: usize, to: usize) -> FrameBuilder {
    FrameBuilder::new(mac(from), mac(to))
}

pub(crate) fn broadcast(from: usize) -> FrameBuilder {
    FrameBuilder::new(mac(from), MacAddr::BROADCAST)
}

fn snapshot(workers: usize, plans: &[PortPlan], exact: &[u8]) -> Arc<Snapshot> {
    let each = || plans.iter().enumerate().map(|(index, plan)| (port(index), plan));
    let settings: Vec<_> = each()
        .map(|(port, plan)| PortSettings {
            port,
            vlan: plan.vlan.clone(),
            mtu: plan.mtu,
            role: plan.role,
        })
        .collect();
    let mirrored: Vec<_> =
        each().map(|(port, plan)| (port, plan.mirroring, SessionId(plan.session))).collect();
    let exact: Vec<_> = exact.iter().copied().map(SessionId).collect();
    let owner = |port: PortId| plans.get(port.index())?.owner.and_then(WorkerId::new);
    let mirror = MirrorTable::new(&mirrored, &exact);
    Arc::new(Snapshot::new(SwitchTable::new(&settings), mirror, workers, owner))
}

/// The switch. Ports have the ids 0, 1, 2 … in the order of their plans.
pub(crate) struct Stage {
    pub(crate) fleet: Fleet,
    pub(crate) workers: Vec<Worker>,
    pub(crate) ports: Vec<FarSide>,
    exact: Vec<u8>,
    sent: Vec<u64>,
    /// Those of decap ports, by their numbers.
    pub(crate) shelves: BTreeMap<u64, Arc<DecapShelf>>,
    /// The clock of the workers.
    pub(crate) now_ns: Arc<AtomicU64>,
}

impl Stage {
    pub(crate) fn new(workers: usize, plans: &[PortPlan]) -> Self {
        Self::with_exact(workers, plans, &[])
    }

    /// `exact` are the sessions that are exact.
    pub(crate) fn with_exact(workers: usize, plans: &[PortPlan], exact: &[u8]) -> Self {
        let polling = vec![Polling::Busy; workers];
        Self::with_polling(polling, plans, exact)
    }

    pub(crate) fn with_polling(polling: Vec<Polling>, plans: &[PortPlan], exact: &[u8]) -> Self {
        let fdb = Arc::new(Fdb::new(FdbSettings { capacity: 1024, ageing_s: 0, seed: 1 }));
        let snapshot = snapshot(polling.len(), plans, exact);
        let now_ns = Arc::new(AtomicU64::new(1_000_000_000));
        let clock = Clock::Set(Arc::clone(&now_ns));
        let (fleet, workers) = Fleet::new(FleetSettings { polling, snapshot, fdb, clock }).unwrap();
        let (fakes, ports): (Vec<_>, Vec<_>) =
            (0..plans.len()).map(|index| fake_port(port(index))).unzip();
        let sent = vec![0; plans.len()];
        let (exact, shelves) = (exact.to_vec(), BTreeMap::new());
        let mut stage = Self { fleet, workers, ports, exact, sent, shelves, now_ns };
        let owners: Vec<_> = plans.iter().map(|plan| plan.owner).collect();
        stage.ask(|fleet, ports| {
            for ((fake, far), owner) in fakes.into_iter().zip(ports).zip(owners) {
                fleet.replace(far.memory_id(), Some(Arc::clone(far.memory())));
                let Some(owner) = owner.and_then(WorkerId::new) else { continue };
                fleet.add_port(owner, far.id(), Box::new(fake)).unwrap();
            }
        });
        stage
    }

    /// Does what only another thread than that of the workers can do, while the workers take their turns.
    pub(crate) fn ask<T: Send>(&mut self, ask: impl FnOnce(&Fleet, &[FarSide]) -> T + Send) -> T {
        self.ask_while(ask, std::thread::yield_now)
    }

    /// As [`Stage::ask`], with `between` called between two turns of all workers.
    pub(crate) fn ask_while<T: Send>(
        &mut self,
        ask: impl FnOnce(&Fleet, &[FarSide]) -> T + Send,
        between: fn(),
    ) -> T {
        let Self { fleet, workers, ports, .. } = self;
        std::thread::scope(|scope| {
            let asker = scope.spawn(|| ask(fleet, ports));
            while !asker.is_finished() {
                for worker in &mut *workers {
                    assert_ne!(worker.step(), Step::Ended);
                }
                between();
            }
            asker.join().unwrap()
        })
    }

    /// Puts the same configuration in place with named sessions.
    pub(crate) fn configure_sessions(&mut self, plans: &[PortPlan], sessions: Vec<Session>) {
        self.configure_underlay(plans, sessions, Vec::new());
    }

    /// As [`Stage::configure_sessions`], with decap ports.
    pub(crate) fn configure_underlay(
        &mut self,
        plans: &[PortPlan],
        sessions: Vec<Session>,
        decaps: Vec<DecapPoint>,
    ) {
        let snapshot = Arc::into_inner(snapshot(self.workers.len(), plans, &self.exact)).unwrap();
        let mut shelf =
            |point: &DecapPoint| Arc::clone(self.shelves.entry(point.number).or_default());
        let decaps = decaps.into_iter().map(|point| (point, shelf(&point))).collect();
        let snapshot = snapshot.with_sessions(Sessions::new(sessions)).with_decaps(decaps);
        let snapshot = Arc::new(snapshot);
        self.ask(|fleet, _| fleet.install(&snapshot).unwrap());
    }

    /// What became of the copies of a leg.
    pub(crate) fn leg_counts(&self, index: usize) -> MirrorCounts {
        self.fleet.leg_counts(leg(index))
    }

    /// Puts another configuration in place.
    pub(crate) fn configure(&mut self, plans: &[PortPlan]) {
        let snapshot = snapshot(self.workers.len(), plans, &self.exact);
        self.ask(|fleet, _| fleet.install(&snapshot).unwrap());
    }

    pub(crate) fn remove_port(&mut self, owner: usize, index: usize) -> Option<Box<dyn Port>> {
        let owner = WorkerId::new(owner).unwrap();
        // Slowly, so that the workers take hardly more turns than they are asked things.
        let pause = || std::thread::sleep(Duration::from_millis(2));
        self.ask_while(|fleet, _| fleet.remove_port(owner, port(index)).unwrap(), pause)
    }

    /// Lets the switch know the addresses of all ports, in a VLAN.
    pub(crate) fn know_all(&self, vlan: VlanId) {
        for index in 0..self.ports.len() {
            self.fleet.fdb().learn(vlan, mac(index), port(index));
        }
    }

    pub(crate) fn send(&mut self, from: usize, frame: &TestFrame) {
        self.ports[from].send(frame);
        self.sent[from] += 1;
    }

    pub(crate) fn send_in_pieces(&mut self, from: usize, frame: &TestFrame, pieces: u32) {
        self.ports[from].send_in_pieces(frame, pieces);
        self.sent[from] += 1;
    }

    pub(crate) fn send_spilled(&mut self, from: usize, frame: &TestFrame) {
        self.ports[from].send_spilled(frame);
        self.sent[from] += 1;
    }

    /// One turn of one worker.
    pub(crate) fn turn(&mut self, worker: usize) -> u64 {
        self.workers[worker].poll_once()
    }

    /// Turns of all workers until none has anything to do. What must hold then is checked.
    pub(crate) fn settle(&mut self) {
        let busy = |workers: &mut [Worker]| workers.iter_mut().map(Worker::poll_once).sum::<u64>();
        let turns = (0..MOST_TURNS).find(|_| busy(&mut self.workers) == 0);
        assert!(turns.is_some(), "the workers never come to rest");
        for (far, sent) in self.ports.iter().zip(&self.sent) {
            assert_eq!(far.in_flight(), 0, "{}: chains are held for ever", far.id());
            assert_eq!(far.completed(), *sent, "{}: a chain is not completed", far.id());
            let mirror = self.fleet.counts(far.id()).mirror;
            assert_eq!(mirror.wanted, mirror.delivered + mirror.dropped_total(), "{}", far.id());
        }
        for index in 0..MAX_LEGS {
            let counts = self.leg_counts(index);
            assert_eq!(counts.wanted, counts.delivered + counts.dropped_total(), "leg {index}");
        }
    }

    pub(crate) fn counts(&self, index: usize) -> PortCounts {
        self.fleet.counts(port(index))
    }

    pub(crate) fn drops(&self, index: usize, reason: DropReason) -> u64 {
        self.counts(index).drops()[reason.index()]
    }

    /// Frames dropped at a port for any reason.
    pub(crate) fn all_drops(&self, index: usize) -> u64 {
        self.counts(index).drops().iter().sum()
    }

    pub(crate) fn received(&self, index: usize) -> Vec<Received> {
        self.ports[index].received()
    }

    /// The bytes of all frames that a port received.
    pub(crate) fn bytes_at(&self, index: usize) -> Vec<Vec<u8>> {
        self.received(index).into_iter().map(|received| received.bytes).collect()
    }

    /// All frames that a port received, as a capture tool reads them.
    pub(crate) fn seen_at(&self, index: usize) -> Vec<Seen> {
        self.bytes_at(index).iter().map(|bytes| Seen::of(bytes)).collect()
    }

    /// How many frames each port received.
    pub(crate) fn received_counts(&self) -> Vec<usize> {
        (0..self.ports.len()).map(|index| self.received(index).len()).collect()
    }

    /// Private buffers in use at all workers.
    pub(crate) fn chunks_in_use(&mut self) -> usize {
        self.ask(|fleet, _| {
            let workers = (0..fleet.len()).filter_map(WorkerId::new);
            workers.map(|worker| fleet.report(worker).unwrap().chunks_in_use).sum()
        })
    }
}
