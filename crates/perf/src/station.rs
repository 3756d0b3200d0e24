//! A switch with its guests: started, attached, and parked until it is its turn.

use std::fmt;
use std::path::PathBuf;

use helio_bench::{FramePlan, LanePlan, Payload, RingPlan, StagePlan, Subject};
use helio_guest::{BurstConfig, BurstGuest, Cutting, Pages, features};
use helio_lab::LabDir;

use crate::cells::{Carried, Cell, Scene};
use crate::error::PerfError;
use crate::peer_name::PeerName;
use crate::peers::{self, Machine, Order, Peer, Sockets};
use crate::proc;

/// Descriptors of every ring, for everybody.
pub const RING: u16 = 1024;

/// Bytes in which frames for TCP lie at the guests: a page.
const TSO_PIECE: u32 = 4096;

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
        patience: std::time::Duration::from_secs(20),
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

/// Attaches guests that post buffers and never look at what comes.
///
/// # Errors
///
/// When the switch refuses one.
pub(crate) fn attach_quiet(
    sockets: &[PathBuf],
    ring_size: u16,
) -> Result<Vec<BurstGuest>, PerfError> {
    let attach = |socket: &PathBuf| {
        let config = BurstConfig { ring_size, ..BurstConfig::default() };
        let named = |cause| helio_bench::BenchError::Guest { socket: socket.clone(), cause };
        let mut guest = BurstGuest::connect(socket, config).map_err(named)?;
        guest.start().map_err(named)?;
        Ok(guest)
    };
    sockets.iter().map(attach).collect()
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
        let mut peer = peers::start(name, machine, &order(folder, cell, scene, Sockets::Switch))?;
        peer.wait_ready()?;
        let sockets = peer.sockets();
        let subject = Subject::attach(stage_plan(cell, scene, &sockets, pages))?;
        let rest = sockets.get(2 + scene.watchers..).unwrap_or_default();
        let dead = rest.get(..scene.dead_watchers).unwrap_or_default();
        let idle = rest.get(scene.dead_watchers..).unwrap_or_default();
        let mut quiet = attach_quiet(dead, RING)?;
        quiet.extend(attach_quiet(idle, 256)?);
        proc::confine(peer.process().id(), machine.other_core, machine.worker_core);
        Ok((peer, subject, quiet))
    }

    /// Guests that only stay attached.
    #[must_use]
    pub fn quiet_guests(&self) -> usize {
        self.quiet.len()
    }

    /// Makes the switch mirror to these ports, if it does not yet.
    ///
    /// # Errors
    ///
    /// When it refuses.
    pub fn mirror_to(&mut self, destinations: Vec<usize>) -> Result<(), PerfError> {
        if self.mirrored != destinations {
            self.peer.mirror_to(&destinations)?;
            self.mirrored = destinations;
        }
        Ok(())
    }
}
