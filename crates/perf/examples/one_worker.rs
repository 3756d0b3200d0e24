//! A worker and its guests in one thread, or two workers in turn, for tools that count instructions: nothing here depends on
//! time, so that the same program does the same work each time.
//!
//! `one_worker SCENE BURSTS`; all that workers do for frames happens inside [`take_a_turn`], which tools find by name.
//! `perf/instructions` runs it under callgrind, where AVX-512 is not seen and the AVX2 path runs.

use std::error::Error;
use std::num::NonZeroU32;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use helio_encap::SnapLen;
use helio_guest::{BurstConfig, BurstGuest};
use helio_mirror::{
    Directions, Exactness, Leg, LegForm, MirrorTable, RefusedFrames, Session, Sessions, Sources,
};
use helio_switch::{Fdb, FdbSettings, PortRole, PortSettings, SwitchTable};
use helio_types::{LegId, Mirroring, PortId, SessionId, VlanMode, VlanSet, WorkerId};
use helio_vhost_user::{PortParts, SocketRole, VhostPort, VhostPortHandle};
use helio_worker::{Clock, Fleet, FleetSettings, Polling, Snapshot, Worker};

/// Frames of a burst: all that a ring holds.
const RING: u16 = 256;

/// Turns without progress after which something is wrong.
const PATIENCE: u32 = 1000;

/// Turns after which the ports count as silent whose guests are.
const WARM_UP: u32 = 5000;

type Failure = Box<dyn Error + Send + Sync>;

/// Workers (the second one has all ports but that of the sender), destinations of mirrors, what says so, how many of them never give a buffer back, ports besides whose guests say nothing, guests that are
/// sent to in turn, queue pairs of each guest, VLANs that frames are tagged with in turn, bytes of a frame in a ring, and frames
/// that are sent at once.
#[derive(Clone, Copy)]
struct Scene {
    workers: usize,
    mirrors: usize,
    said_by: SaidBy,
    dead: usize,
    silent: usize,
    receivers: u8,
    queue_pairs: u8,
    vlans: u16,
    bytes: u32,
    frames: u16,
}

/// What makes copies of what the first guest sends.
#[derive(Clone, Copy, PartialEq, Eq)]
enum SaidBy {
    /// A setting of each port.
    Ports,
    /// A session with a name.
    Session,
}

/// A guest that sends full rings of short frames to another one.
const PLAIN: Scene = Scene {
    workers: 1,
    mirrors: 0,
    said_by: SaidBy::Ports,
    dead: 0,
    silent: 0,
    receivers: 1,
    queue_pairs: 1,
    vlans: 0,
    bytes: 60,
    frames: RING,
};

/// The same, and the other one belongs to another worker.
const HANDED: Scene = Scene { workers: 2, ..PLAIN };

fn scene(name: &str) -> Option<Scene> {
    Some(match name {
        "v2v-64" => PLAIN,
        // What a frame costs that comes by itself.
        "alone-64" => Scene { frames: 1, ..PLAIN },
        // What a turn costs that finds nothing: a frame comes in the middle of one.
        "idle" => Scene { frames: 0, ..PLAIN },
        "v2v-1518" => Scene { bytes: 1514, ..PLAIN },
        "mirror-1-64" => Scene { mirrors: 1, ..PLAIN },
        "mirror-4-64" => Scene { mirrors: 4, ..PLAIN },
        "named-1-64" => Scene { mirrors: 1, said_by: SaidBy::Session, ..PLAIN },
        "dead-64" => Scene { mirrors: 1, dead: 1, ..PLAIN },
        "silent-64" => Scene { silent: 254, ..PLAIN },
        // Bursts that are more than one run.
        "pairs-2-64" => Scene { queue_pairs: 2, ..PLAIN },
        "vlans-2-64" => Scene { vlans: 2, ..PLAIN },
        "receivers-2-64" => Scene { receivers: 2, ..PLAIN },
        // Frames that another worker delivers: within their heads, longer, with a copy there, with one for a dead monitor, and
        // to guests in turn.
        "handed-64" => HANDED,
        "handed-1518" => Scene { bytes: 1514, ..HANDED },
        "handed-mirror-1-64" => Scene { mirrors: 1, ..HANDED },
        "handed-dead-64" => Scene { mirrors: 1, dead: 1, ..HANDED },
        "handed-receivers-2-64" => Scene { receivers: 2, ..HANDED },
        "handed-alone-64" => Scene { frames: 1, ..HANDED },
        _ => return None,
    })
}

fn main() -> Result<(), Failure> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [name, bursts] = arguments.as_slice() else {
        return Err("one_worker SCENE BURSTS: perf/instructions names the scenes".into());
    };
    let scene = scene(name).ok_or("there is no such scene")?;
    let folder = std::env::temp_dir().join(format!("one-worker-{}", std::process::id()));
    std::fs::create_dir_all(&folder)?;
    let played = play(&folder, scene, bursts.parse()?);
    std::fs::remove_dir_all(&folder)?;
    played
}

/// One pass over the rings.
#[inline(never)]
fn take_a_turn(workers: &mut [Worker]) {
    for worker in workers {
        worker.poll_once();
    }
}

/// The worker of a port.
fn owner(port: PortId, scene: Scene) -> Option<WorkerId> {
    WorkerId::new(if port.index() == 0 { 0 } else { scene.workers - 1 })
}

fn play(folder: &Path, scene: Scene, bursts: u32) -> Result<(), Failure> {
    let taking_part = 1 + usize::from(scene.receivers) + scene.mirrors;
    let ports: Vec<PortId> = (0..taking_part + scene.silent).filter_map(PortId::new).collect();
    let fdb = Arc::new(Fdb::new(FdbSettings { capacity: 16_384, ageing_s: 300, seed: 1 }));
    let polling = vec![Polling::Busy; scene.workers];
    let (fleet, mut workers) = Fleet::new(FleetSettings {
        polling,
        snapshot: snapshot(&ports, scene),
        fdb,
        clock: Clock::host(),
    })?;
    let is_attached = AtomicBool::new(false);
    let fleet = Arc::new(fleet);
    // Ports are added by another thread, because that waits for the worker.
    let (handles, mut guests) = std::thread::scope(|scope| {
        let attaching = scope.spawn(|| {
            let attached = attach(&fleet, folder, &ports, scene);
            is_attached.store(true, Ordering::Release);
            attached
        });
        while !is_attached.load(Ordering::Acquire) {
            for worker in &mut workers {
                worker.step();
            }
            // A tool may run one thread at a time: the others need theirs.
            std::thread::sleep(Duration::from_micros(50));
        }
        attaching.join().map_err(|_panic| "attaching broke off")?
    })?;
    // Receivers say where they are.
    for from in 1..=scene.receivers {
        for frame in 0..scene.vlans.max(1) {
            offer(&mut guests, Letter { from, to: 0, frame }, scene)?;
        }
        publish(&mut guests, from)?;
    }
    // These are not counted: how many of them still look at every port depends on how many turns there were above.
    for _ in 0..WARM_UP {
        workers.iter_mut().for_each(|worker| _ = worker.poll_once());
    }
    forget_what_came(&mut guests);
    let listening = taking_part - scene.dead;
    let listeners = guests.get_mut(..listening).ok_or("no guests")?;
    for _ in 0..bursts {
        send_burst(&mut workers, listeners, scene)?;
    }
    // Ports would wait for the worker, which takes no more turns; all ends with the process.
    std::mem::forget(handles);
    Ok(())
}

/// Frames from the first guest to the second, and a copy for each that watches; a turn in any case.
fn send_burst(
    workers: &mut [Worker],
    guests: &mut [BurstGuest],
    scene: Scene,
) -> Result<(), Failure> {
    for frame in 0..scene.frames {
        let to = 1 + u8::try_from(frame % u16::from(scene.receivers))?;
        offer(guests, Letter { from: 0, to, frame }, scene)?;
    }
    publish(guests, 0)?;
    let expected = |place| {
        let share =
            if place > usize::from(scene.receivers) { 1 } else { u16::from(scene.receivers) };
        scene.frames.div_ceil(share)
    };
    let mut turns = 0;
    loop {
        take_a_turn(workers);
        if guests
            .iter_mut()
            .enumerate()
            .skip(1)
            .all(|(place, guest)| ready(guest) >= expected(place))
        {
            break;
        }
        turns += 1;
        if turns > PATIENCE {
            return Err("frames do not arrive".into());
        }
    }
    if workers.len() > 1 {
        // Receipts come back in the next turn, and the chains of the frames with them.
        take_a_turn(workers);
    }
    forget_what_came(guests);
    Ok(())
}

/// Frames that arrived.
fn ready(guest: &mut BurstGuest) -> u16 {
    guest.pairs().map(|pair| pair.receiver.ready()).sum()
}

/// Gives all buffers back.
fn forget_what_came(guests: &mut [BurstGuest]) {
    for pair in guests.iter_mut().flat_map(BurstGuest::pairs) {
        pair.receiver.receive(|_frame| {});
    }
}

fn publish(guests: &mut [BurstGuest], from: u8) -> Result<(), Failure> {
    let guest = guests.get_mut(usize::from(from)).ok_or("no guest")?;
    guest.pairs().for_each(|pair| pair.sender.publish());
    Ok(())
}

/// Who sends to whom, and the how manieth frame.
#[derive(Clone, Copy)]
struct Letter {
    from: u8,
    to: u8,
    frame: u16,
}

impl Letter {
    /// The queue pair it is sent on: halves of a ring, one behind the other.
    fn pair(self, scene: Scene) -> usize {
        usize::from(self.frame) * usize::from(scene.queue_pairs) / usize::from(RING)
    }

    /// How it begins; what is behind that does not matter. With several queue pairs a flow of its own for each of eight
    /// frames in turn.
    fn head(self, scene: Scene) -> [u8; 38] {
        let mut head = [0; 38];
        let addresses = [2, 0, 0, 0, 0, self.to, 2, 0, 0, 0, 0, self.from];
        let ip = [8, 0, 0x45, 0, 0, 46, 0, 0, 0, 0, 64, 17, 0, 0];
        let ends = [10, 0, 0, self.from, 10, 0, 0, self.to];
        let ports = [0, self.frame.to_be_bytes()[1] % 8, 0, 1];
        let tag = [
            0x81,
            0,
            0,
            self.frame.checked_rem(scene.vlans).map_or(0, |vlan| 10 + vlan.to_be_bytes()[1]),
        ];
        let tag = if scene.vlans > 0 { tag.as_slice() } else { &[] };
        let parts = addresses.iter().chain(tag).chain(&ip).chain(&ends).chain(&ports);
        for (byte, part) in head.iter_mut().zip(parts) {
            *byte = *part;
        }
        head
    }
}

fn offer(guests: &mut [BurstGuest], letter: Letter, scene: Scene) -> Result<(), Failure> {
    let guest = guests.get_mut(usize::from(letter.from)).ok_or("no guest")?;
    let sender = &mut guest.pair(letter.pair(scene)).ok_or("no such queue pair")?.sender;
    if sender.room() == 0 {
        return Err("the switch does not give frames back".into());
    }
    let head = letter.head(scene);
    sender.offer(1, |slot| {
        slot.write(0, &head);
        scene.bytes
    });
    Ok(())
}

fn snapshot(ports: &[PortId], scene: Scene) -> Arc<Snapshot> {
    let settings: Vec<PortSettings> = ports
        .iter()
        .map(|port| PortSettings {
            port: *port,
            vlan: VlanMode::Transparent,
            mtu: 9000,
            role: PortRole::Ordinary,
        })
        .collect();
    let first_mirror = 1 + usize::from(scene.receivers);
    let is_watching =
        |port: &PortId| (first_mirror..first_mirror + scene.mirrors).contains(&port.index());
    let part = |port: &PortId| match (scene.said_by, port.index()) {
        (SaidBy::Ports, 0) => Mirroring::Source,
        (SaidBy::Ports, _) if is_watching(port) => Mirroring::Destination,
        _ => Mirroring::None,
    };
    let parts: Vec<_> = ports.iter().map(|port| (*port, part(port), SessionId(0))).collect();
    let mirrors = MirrorTable::new(&parts, &[]);
    let sessions = match scene.said_by {
        SaidBy::Ports => Vec::new(),
        SaidBy::Session => vec![session(ports.iter().copied().filter(is_watching))],
    };
    let table = SwitchTable::new(&settings);
    let snapshot = Snapshot::new(table, mirrors, scene.workers, |port| owner(port, scene));
    Arc::new(snapshot.with_sessions(Sessions::new(sessions)))
}

/// A session with a name that copies what the first guest sends to these ports.
fn session(watching: impl Iterator<Item = PortId>) -> Session {
    let leg = |(number, port)| Some(Leg { id: LegId::new(number)?, port, form: LegForm::Plain });
    Session {
        number: 1,
        sources: Sources {
            ports: PortId::new(0).into_iter().collect(),
            vlans: VlanSet::EMPTY,
            macs: Vec::new(),
        },
        directions: Directions::Both,
        filter: None,
        one_in: NonZeroU32::MIN,
        rate: None,
        snap_len: SnapLen::WHOLE,
        exactness: Exactness::ByReference,
        refused: RefusedFrames::Left,
        legs: (0..).zip(watching).filter_map(leg).collect(),
    }
}

type Attached = (Vec<VhostPortHandle>, Vec<BurstGuest>);

fn attach(
    fleet: &Arc<Fleet>,
    folder: &Path,
    ports: &[PortId],
    scene: Scene,
) -> Result<Attached, Failure> {
    let (mut handles, mut guests) = (Vec::new(), Vec::new());
    for id in ports {
        let socket: PathBuf = folder.join(id.index().to_string());
        let worker = owner(*id, scene).ok_or("no worker")?;
        let (port, mut handle) = VhostPort::create(PortParts {
            id: *id,
            name: id.index().to_string(),
            socket: socket.clone(),
            role: SocketRole::Server,
            access: Default::default(),
            queue_pairs: scene.queue_pairs,
            wakeups: fleet.wakeups(worker).ok_or("no worker")?,
            directory: Arc::clone(fleet) as _,
            events: Box::new(|_event| {}),
        })?;
        fleet.add_port(worker, *id, Box::new(port))?;
        handle.start()?;
        let config = BurstConfig {
            queue_pairs: scene.queue_pairs.into(),
            ring_size: RING,
            max_frame_bytes: scene.bytes.max(60),
            ..BurstConfig::default()
        };
        let mut guest = BurstGuest::connect(&socket, config)?;
        guest.start()?;
        handles.push(handle);
        guests.push(guest);
    }
    Ok((handles, guests))
}
