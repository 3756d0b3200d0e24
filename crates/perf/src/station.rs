//! A switch with its guests: started, attached, and parked until it is its turn.

use std::fmt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use helio_bench::{Attach, BenchError, FramePlan, LanePlan, Payload, RingPlan, StagePlan, Subject};
use helio_guest::{
    BurstConfig, BurstGuest, Connection, Cutting, GuestError, Listener, Pages, features,
};
use helio_lab::LabDir;

use crate::cells::{Carried, Cell, Scene};
use crate::counted::Counted;
use crate::error::PerfError;
use crate::peer_name::PeerName;
use crate::peers::{self, Machine, Order, Peer, Sockets};
use crate::proc;

/// Descriptors of every ring, for everybody.
pub const RING: u16 = 1024;

/// Bytes in which frames for TCP lie at the guests: a page.
const TSO_PIECE: u32 = 4096;

/// How long a switch may take until frames come through.
const PATIENCE: Duration = Duration::from_secs(20);

/// How often a switch is told to mirror, and how long it may take each time until copies come: Open vSwitch now and then
/// does not look at its flows again.
const MIRROR_TRIES: usize = 5;
const MIRROR_PATIENCE: Duration = Duration::from_secs(2);

/// One switch, its guests, and what it mirrors now.
pub struct Station {
    /// Guests that take part.
    pub subject: Subject,
    /// The switch.
    pub peer: Box<dyn Peer>,
    /// Guests that do nothing but stay attached.
    quiet: Vec<BurstGuest>,
    mirrored: Vec<usize>,
    _folder: LabDir,
}

/// A switch, the guests that take part, and those that do not.
type Parts = (Box<dyn Peer>, Subject, Vec<BurstGuest>);

impl fmt::Debug for Station {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Station")
            .field("peer", &self.peer)
            .field("quiet", &self.quiet.len())
            .finish()
    }
}

/// What a switch is started with for a scene, in this folder.
#[must_use]
pub(crate) fn order(folder: &LabDir, cell: &Cell, scene: &Scene, sockets: Sockets) -> Order {
    Order {
        folder: folder.path().to_owned(),
        ports: scene.ports(),
        sockets,
        carried: cell.carried,
        macs: scene.macs.max(2),
        poll: cell.poll,
        path: None,
        interfaces: Vec::new(),
        copies: scene.copies,
    }
}

/// The guests that take part in a scene, on the first of these sockets.
#[must_use]
pub(crate) fn stage_plan(
    cell: &Cell,
    scene: &Scene,
    sockets: &[PathBuf],
    pages: Pages,
) -> StagePlan {
    let sockets = sockets.iter().take(2 + scene.watchers).cloned().collect();
    let lanes = [LanePlan { from: 0, to: 1 }, LanePlan { from: 1, to: 0 }];
    let frames = FramePlan {
        macs: (scene.macs / 2).max(1),
        payload: Payload::All,
        carried: match cell.carried {
            Carried::Udp => helio_bench::Carried::Udp,
            Carried::Tso => helio_bench::Carried::Tso,
        },
        ..FramePlan::default()
    };
    StagePlan {
        lanes: lanes.into_iter().take(cell.lanes).collect(),
        frames: frames.with_wire_sizes(&[cell.wire_bytes]),
        rings: rings(cell.carried, pages),
        patience: PATIENCE,
        ..StagePlan::new(sockets)
    }
}

/// The same rings for everybody: nothing negotiated that costs time, but for long TCP what it needs.
fn rings(carried: Carried, pages: Pages) -> RingPlan {
    let plain = RingPlan { size: RING, pages, ..RingPlan::default() };
    match carried {
        Carried::Udp => plain,
        Carried::Tso => RingPlan {
            features: features::VERSION_1
                | features::MRG_RXBUF
                | features::CSUM
                | features::GUEST_CSUM
                | features::HOST_TSO4
                | features::GUEST_TSO4,
            cutting: Cutting::Linked(TSO_PIECE),
            rx_buffer_bytes: Some(TSO_PIECE),
            ..plain
        },
    }
}

/// Guests that wait for their switch: they listen before it is started, or connect after.
#[derive(Debug)]
pub(crate) struct WaitingGuests {
    sockets: Vec<PathBuf>,
    listeners: Vec<Listener>,
    config: BurstConfig,
}

impl WaitingGuests {
    /// Guests on these sockets, which listen from now on if that is their part.
    pub(crate) fn new(
        sockets: &[PathBuf],
        side: Sockets,
        config: BurstConfig,
    ) -> Result<Self, PerfError> {
        let listeners = match side {
            Sockets::Switch => Vec::new(),
            Sockets::Guests => {
                let bind = |socket: &PathBuf| Listener::bind(socket).map_err(named(socket));
                sockets.iter().map(bind).collect::<Result<_, _>>()?
            }
        };
        Ok(Self { sockets: sockets.to_vec(), listeners, config })
    }

    /// Attaches them to a switch that runs.
    pub(crate) fn attach(self) -> Result<Vec<BurstGuest>, PerfError> {
        let mut guests = Vec::with_capacity(self.sockets.len());
        for (number, socket) in self.sockets.iter().enumerate() {
            let connection = match self.listeners.get(number) {
                Some(listener) => listener.accept_connection(PATIENCE),
                None => Connection::connect(socket),
            };
            let guest =
                connection.and_then(|connection| BurstGuest::new(connection, self.config.clone()));
            let mut guest = guest.map_err(named(socket))?;
            guest.start().map_err(named(socket))?;
            guests.push(guest);
        }
        Ok(guests)
    }
}

/// A guest as it is by default, with rings of this size.
pub(crate) fn with_rings_of(ring_size: u16) -> BurstConfig {
    BurstConfig { ring_size, ..BurstConfig::default() }
}

fn named(socket: &Path) -> impl FnOnce(GuestError) -> BenchError {
    let socket = socket.to_owned();
    move |cause| BenchError::Guest { socket, cause }
}

/// Starts a switch when the guests of `plan` are ready for it, and attaches them.
pub(crate) fn bring_up(
    name: PeerName,
    machine: &Machine,
    order: &Order,
    mut plan: StagePlan,
) -> Result<(Box<dyn Peer>, Subject), PerfError> {
    plan.attach = match order.sockets {
        Sockets::Switch => Attach::Connect,
        Sockets::Guests => Attach::Listen,
    };
    let mut peer = None;
    let mut refused = None;
    let subject = Subject::attach_to(plan, || {
        let started = peers::start(name, machine, order).and_then(|mut started| {
            // One that connects to its guests is waited for by them.
            if order.sockets == Sockets::Switch {
                started.wait_ready()?;
            }
            Ok(started)
        });
        match started {
            Ok(started) => {
                peer = Some(started);
                Ok(())
            }
            Err(error) => {
                refused = Some(error);
                Err(BenchError::Plan(format!("{name} could not be started")))
            }
        }
    });
    if let Some(error) = refused {
        return Err(error);
    }
    let subject = subject?;
    peer.map(|peer| (peer, subject)).ok_or_else(|| PerfError::peer(name.name(), "was not started"))
}

impl Station {
    /// Starts a switch for a scene, attaches all guests, and parks it.
    ///
    /// # Errors
    ///
    /// When the switch or a guest cannot be started, or no frame comes through.
    pub fn open(
        name: PeerName,
        machine: &Machine,
        cell: &Cell,
        scene: &Scene,
        pages: Pages,
    ) -> Result<Self, PerfError> {
        peers::find(name, machine)?;
        let folder = LabDir::new()?;
        let opened = Self::open_in(&folder, name, machine, cell, scene, pages);
        if opened.is_err() {
            folder.keep();
        }
        let (peer, subject, quiet) = opened?;
        peer.park()?;
        Ok(Self { subject, peer, quiet, mirrored: Vec::new(), _folder: folder })
    }

    fn open_in(
        folder: &LabDir,
        name: PeerName,
        machine: &Machine,
        cell: &Cell,
        scene: &Scene,
        pages: Pages,
    ) -> Result<Parts, PerfError> {
        let order = order(folder, cell, scene, peers::usual_sockets(name));
        let sockets = peers::sockets(name, &order);
        let rest = sockets.get(2 + scene.watchers..).unwrap_or_default();
        let dead = rest.get(..scene.dead_watchers).unwrap_or_default();
        let idle = rest.get(scene.dead_watchers..).unwrap_or_default();
        let dead = WaitingGuests::new(dead, order.sockets, with_rings_of(RING))?;
        let idle = WaitingGuests::new(idle, order.sockets, with_rings_of(256))?;
        let plan = stage_plan(cell, scene, &sockets, pages);
        let (peer, subject) = bring_up(name, machine, &order, plan)?;
        if cell.carried == Carried::Tso
            && !subject.features().iter().any(|name| name == "HOST_TSO4")
        {
            return Err(PerfError::peer(name.name(), "does not take long TCP"));
        }
        let mut quiet = dead.attach()?;
        quiet.extend(idle.attach()?);
        proc::confine(peer.process().id(), machine.other_core, machine.worker_core);
        Ok((peer, subject, quiet))
    }

    /// Guests that only stay attached.
    #[must_use]
    pub fn quiet_guests(&self) -> usize {
        self.quiet.len()
    }

    /// What the guests have sent, and what the switch says it took in. Asked last: it may be the end of the switch.
    pub(crate) fn counted(&mut self, name: PeerName, scene: Scene) -> Option<Counted> {
        let runs = self.peer.process_mut().must_run().map_err(PerfError::from);
        let asked = runs.and_then(|()| self.peer.go_on()).and_then(|()| {
            self.subject.settle();
            self.peer.counters()
        });
        let sent = self.subject.sent();
        // One that has ended cannot be parked any more.
        let _ = self.peer.park();
        Some(Counted::new(name, scene, sent, asked.transpose()?))
    }

    /// Makes the switch mirror as `scene` says, if it does not yet, and waits until copies come.
    ///
    /// # Errors
    ///
    /// When it refuses, or no copies come.
    pub fn mirror(&mut self, scene: &Scene) -> Result<(), PerfError> {
        let destinations = scene.destinations();
        if self.mirrored == destinations {
            return Ok(());
        }
        for _ in 0..MIRROR_TRIES {
            self.peer.mirror_to(&destinations)?;
            // It may have forgotten where guests are, and would flood.
            self.subject.introduce_again()?;
            let began = Instant::now();
            while began.elapsed() < MIRROR_PATIENCE {
                if self.subject.is_copied_to(scene.mirrors) {
                    self.mirrored = destinations;
                    return Ok(());
                }
            }
        }
        Err(PerfError::Plan(format!("no copies come at {} destinations", scene.mirrors)))
    }
}
