//! A worker and its guests in one thread, for tools that count instructions: nothing here depends on time, so that the
//! same program does the same work each time.
//!
//! `one_worker SCENE BURSTS`; all that the worker does for frames happens inside [`take_a_turn`], which tools find by name.
//! `perf/instructions` runs it under callgrind, where AVX-512 is not seen and the AVX2 path runs.

use std::error::Error;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use helio_guest::{BurstConfig, BurstGuest};
use helio_mirror::MirrorTable;
use helio_switch::{Fdb, FdbSettings, PortRole, PortSettings, SwitchTable};
use helio_types::{Mirroring, PortId, SessionId, VlanMode, WorkerId};
use helio_vhost_user::{PortParts, SocketRole, VhostPort, VhostPortHandle};
use helio_worker::{Clock, Fleet, FleetSettings, Polling, Snapshot, Worker};

/// Frames of a burst: all that a ring holds.
const RING: u16 = 256;

/// Turns without progress after which something is wrong.
const PATIENCE: u32 = 1000;

/// Turns after which the ports count as silent whose guests are.
const WARM_UP: u32 = 5000;

type Failure = Box<dyn Error + Send + Sync>;

/// Destinations of mirrors, how many of them never give a buffer back, ports besides whose guests say nothing, bytes of a frame
/// in a ring, and frames that are sent at once.
#[derive(Clone, Copy)]
struct Scene {
    mirrors: usize,
    dead: usize,
    silent: usize,
    bytes: u32,
    frames: u16,
}

/// Two guests that exchange full rings of short frames.
const PLAIN: Scene = Scene { mirrors: 0, dead: 0, silent: 0, bytes: 60, frames: RING };

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
        "dead-64" => Scene { mirrors: 1, dead: 1, ..PLAIN },
        "silent-64" => Scene { silent: 254, ..PLAIN },
        _ => return None,
    })
}

fn main() -> Result<(), Failure> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [name, bursts] = arguments.as_slice() else {
        return Err(
            "one_worker v2v-64|alone-64|idle|v2v-1518|mirror-1-64|mirror-4-64|dead-64|silent-64 BURSTS"
                .into(),
        );
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
fn take_a_turn(worker: &mut Worker) {
    worker.poll_once();
}

fn play(folder: &Path, scene: Scene, bursts: u32) -> Result<(), Failure> {
    let taking_part = 2 + scene.mirrors;
    let ports: Vec<PortId> = (0..taking_part + scene.silent).filter_map(PortId::new).collect();
    let fdb = Arc::new(Fdb::new(FdbSettings { capacity: 16_384, ageing_s: 300, seed: 1 }));
    let polling = vec![Polling::Busy];
    let (fleet, mut workers) = Fleet::new(FleetSettings {
        polling,
        snapshot: snapshot(&ports, scene),
        fdb,
        clock: Clock::host(),
    })?;
    let mut worker = workers.pop().ok_or("a fleet without workers")?;
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
            worker.step();
            // A tool may run one thread at a time: the others need theirs.
            std::thread::sleep(Duration::from_micros(50));
        }
        attaching.join().map_err(|_panic| "attaching broke off")?
    })?;
    // The second guest says where it is.
    send(&mut guests, 1, 0, 60)?;
    for _ in 0..WARM_UP {
        worker.poll_once();
    }
    forget_what_came(&mut guests);
    let listening = taking_part - scene.dead;
    let listeners = guests.get_mut(..listening).ok_or("no guests")?;
    for _ in 0..bursts {
        send_burst(&mut worker, listeners, scene)?;
    }
    // Ports would wait for the worker, which takes no more turns; all ends with the process.
    std::mem::forget(handles);
    Ok(())
}

/// Frames from the first guest to the second, and a copy for each that watches; a turn in any case.
fn send_burst(worker: &mut Worker, guests: &mut [BurstGuest], scene: Scene) -> Result<(), Failure> {
    for _ in 0..scene.frames {
        offer(guests, 0, 1, scene.bytes)?;
    }
    guests.first_mut().ok_or("no guest")?.sender().publish();
    let mut turns = 0;
    loop {
        take_a_turn(worker);
        if guests.iter_mut().skip(1).all(|guest| guest.receiver().ready() >= scene.frames) {
            break;
        }
        turns += 1;
        if turns > PATIENCE {
            return Err("frames do not arrive".into());
        }
    }
    forget_what_came(guests);
    Ok(())
}

/// Gives all buffers back.
fn forget_what_came(guests: &mut [BurstGuest]) {
    for guest in guests {
        guest.receiver().receive(|_frame| {});
    }
}

fn send(guests: &mut [BurstGuest], from: u8, to: u8, bytes: u32) -> Result<(), Failure> {
    offer(guests, from, to, bytes)?;
    guests.get_mut(usize::from(from)).ok_or("no guest")?.sender().publish();
    Ok(())
}

/// One frame; what is behind its Ethernet header does not matter.
fn offer(guests: &mut [BurstGuest], from: u8, to: u8, bytes: u32) -> Result<(), Failure> {
    let sender = guests.get_mut(usize::from(from)).ok_or("no guest")?.sender();
    if sender.room() == 0 {
        return Err("the switch does not give frames back".into());
    }
    sender.offer(1, |slot| {
        slot.write(0, &[2, 0, 0, 0, 0, to, 2, 0, 0, 0, 0, from, 8, 0, 0x45, 0]);
        bytes
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
    let part = |port: &PortId| match port.index() {
        0 => Mirroring::Source,
        place if (2..2 + scene.mirrors).contains(&place) => Mirroring::Destination,
        _ => Mirroring::None,
    };
    let parts: Vec<_> = ports.iter().map(|port| (*port, part(port), SessionId(0))).collect();
    let mirrors = MirrorTable::new(&parts, &[]);
    Arc::new(Snapshot::new(SwitchTable::new(&settings), mirrors, 1, |_port| WorkerId::new(0)))
}

type Attached = (Vec<VhostPortHandle>, Vec<BurstGuest>);

fn attach(
    fleet: &Arc<Fleet>,
    folder: &Path,
    ports: &[PortId],
    scene: Scene,
) -> Result<Attached, Failure> {
    let worker = WorkerId::new(0).ok_or("no worker")?;
    let (mut handles, mut guests) = (Vec::new(), Vec::new());
    for id in ports {
        let socket: PathBuf = folder.join(id.index().to_string());
        let (port, mut handle) = VhostPort::create(PortParts {
            id: *id,
            name: id.index().to_string(),
            socket: socket.clone(),
            role: SocketRole::Server,
            access: Default::default(),
            queue_pairs: 1,
            wakeups: fleet.wakeups(worker).ok_or("no worker")?,
            directory: Arc::clone(fleet) as _,
            events: Box::new(|_event| {}),
        })?;
        fleet.add_port(worker, *id, Box::new(port))?;
        handle.start()?;
        let config = BurstConfig {
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
