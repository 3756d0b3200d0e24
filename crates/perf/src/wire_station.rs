//! A switch with wires, and with guests where frames go to or come from one: started, parked until it is its turn, and the
//! steps of which its measurements are made.
//!
//! All frames are alike but for a number. They are counted where they arrive: by a program at the far end of a wire, or by
//! the guest, which compares every byte.

use std::time::{Duration, Instant};

use helio_bench::mac_address;
use helio_guest::{BurstConfig, BurstGuest, Pages};
use helio_lab::LabDir;
use helio_wire::{WireCount, WireSender};

use crate::cells::{Cell, Face, Path, Scene};
use crate::error::PerfError;
use crate::peer_name::PeerName;
use crate::peers::{self, Machine, Order, Peer, Sockets};
use crate::proc;
use crate::station::{RING, WaitingGuests, order, with_rings_of};
use crate::wire_frame::{NUMBER_AT, Receipt, frame};
use crate::wires::Wires;

/// Frames that are sent in one step.
pub(crate) const BURST: u16 = 32;
/// Frames that may be on the way. The kernel holds 256 on a veth between its two ends, and drops what exceeds them.
const WINDOW: u64 = 192;
/// How long a switch may take until frames come through.
const PATIENCE: Duration = Duration::from_secs(20);
/// Looks at what has arrived are this far apart.
pub(crate) const BETWEEN_LOOKS: Duration = Duration::from_micros(8);
/// How long nothing may arrive before what is on the way counts as lost.
const SILENCE: Duration = Duration::from_millis(20);

/// A switch, its wires and its guests.
#[derive(Debug)]
pub(crate) struct WireStation {
    /// The switch.
    pub(crate) peer: Box<dyn Peer>,
    path: Path,
    ends: Ends,
    guests: Vec<BurstGuest>,
    /// What the guest that frames end at has found.
    receipt: Receipt,
    /// A frame that a guest passes on.
    passing: Vec<u8>,
    bytes: usize,
    /// Frames sent, and those of them that are waited for no more.
    sent: u64,
    written_off: u64,
    /// Frames that had arrived when that was looked at last.
    seen: u64,
    spent: Spent,
    mirrored: Vec<usize>,
    // The wires go when nothing uses them any more.
    _wires: Wires,
    _folder: LabDir,
}

/// Where the time of the generator's core went in a closed loop.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Spent {
    /// Sending. What the kernel does on this core to receive is in it, and what else ran here while it gave way to that.
    pub(crate) sending: Duration,
    /// What guests did with frames that had come.
    pub(crate) serving: Duration,
    /// Nothing could be sent until more had arrived, and nothing had come for a guest; in steps of a look.
    pub(crate) waiting: Duration,
}

/// Who sends and who counts at the far ends.
#[derive(Debug)]
struct Ends {
    /// At the wire that frames come from.
    first: Option<WireSender>,
    /// At the wire that frames go to, to make its address known.
    last: Option<WireSender>,
    arrived: Option<WireCount>,
    copies: Vec<WireCount>,
}

impl WireStation {
    /// Starts a switch for a scene, waits until frames come through, and parks it.
    ///
    /// # Errors
    ///
    /// When the switch cannot be started, or no frame comes through.
    pub(crate) fn open(
        name: PeerName,
        machine: &Machine,
        cell: &Cell,
        scene: &Scene,
        pages: Pages,
    ) -> Result<Self, PerfError> {
        peers::find(name, machine)?;
        let Some(path) = cell.path else {
            return Err(PerfError::Plan(format!("cell {} has no path", cell.name)));
        };
        let folder = LabDir::new()?;
        let faces = path.faces(scene.watchers);
        let wires = Wires::lay(faces.iter().filter(|face| **face == Face::Wire).count())?;
        let order = Order {
            ports: faces.len(),
            path: Some(path),
            interfaces: interfaces(&faces, &wires),
            ..order(&folder, cell, scene, peers::usual_sockets(name))
        };
        let usual = frame(cell.wire_bytes, mac_address(1, 0), mac_address(0, 0));
        let opened = start(name, machine, &order, usual.len(), pages).and_then(|(peer, guests)| {
            Ok((peer, guests, Ends::open(path, scene, &wires, &usual)?))
        });
        let (peer, guests, ends) = opened.inspect_err(|_| folder.keep())?;
        let mut station = Self {
            receipt: Receipt::new(&usual),
            passing: usual.clone(),
            bytes: usual.len(),
            sent: 0,
            written_off: 0,
            seen: 0,
            spent: Spent::default(),
            mirrored: Vec::new(),
            _wires: wires,
            _folder: folder,
            peer,
            path,
            ends,
            guests,
        };
        station.wait_until_through().inspect_err(|_| station._folder.keep())?;
        station.peer.park()?;
        Ok(station)
    }

    /// The way of its frames.
    pub(crate) fn path(&self) -> Path {
        self.path
    }

    fn wait_until_through(&mut self) -> Result<(), PerfError> {
        let began = Instant::now();
        while self.arrived() == 0 {
            if began.elapsed() > PATIENCE {
                return Err(PerfError::Plan("no frame comes through".to_owned()));
            }
            self.peer.process_mut().must_run()?;
            self.introduce()?;
            self.offer(1);
            self.settle();
        }
        Ok(())
    }

    /// Makes the address that frames go to known to the switch, at the port that has it.
    ///
    /// # Errors
    ///
    /// When the frame cannot be sent.
    pub(crate) fn introduce(&mut self) -> Result<(), PerfError> {
        let back = frame_of(self.bytes, mac_address(0, 0), mac_address(1, 0));
        if let Some(last) = &mut self.ends.last {
            last.send_other(&back).map_err(PerfError::io("send a frame at a far end"))?;
        }
        if let (Path::P2v | Path::Pvp, Some(guest)) = (self.path, self.guests.first_mut()) {
            let sender = guest.sender();
            sender.room();
            sender.offer(1, |slot| {
                slot.write(0, &back);
                u32::try_from(back.len()).unwrap_or(0)
            });
            sender.publish();
        }
        self.settle();
        Ok(())
    }

    /// Mirrors as `scene` says, if it does not yet, and waits until copies come.
    ///
    /// # Errors
    ///
    /// When the switch refuses, or no copies come.
    pub(crate) fn mirror(&mut self, scene: &Scene) -> Result<(), PerfError> {
        let destinations = scene.destinations();
        if self.mirrored == destinations {
            return Ok(());
        }
        // A session with a name is there from the start.
        if scene.copies.is_none() {
            self.peer.mirror_to(&destinations)?;
        }
        let (before, began) = (self.copies(), Instant::now());
        while self.copies().iter().zip(&before).take(scene.mirrors).any(|(now, was)| now == was) {
            if began.elapsed() > PATIENCE {
                return Err(PerfError::Plan("no copies come".to_owned()));
            }
            self.offer(1);
            self.settle();
        }
        self.mirrored = destinations;
        Ok(())
    }

    /// Sends frames; how many.
    #[inline]
    pub(crate) fn offer(&mut self, count: u16) -> u64 {
        let sent = match (&mut self.ends.first, self.guests.first_mut()) {
            (Some(first), _) => first.send(usize::from(count)) as u64,
            (None, Some(guest)) => {
                let (sender, next) = (guest.sender(), &mut self.sent);
                sender.room();
                let (passing, mut number) = (&mut self.passing, *next);
                let offered = sender.offer(count, |slot| {
                    if let Some(place) = passing.get_mut(NUMBER_AT..NUMBER_AT + 8) {
                        place.copy_from_slice(&number.to_be_bytes());
                    }
                    number += 1;
                    slot.write(0, passing);
                    u32::try_from(passing.len()).unwrap_or(0)
                });
                sender.publish();
                u64::from(offered)
            }
            (None, None) => 0,
        };
        self.sent += sent;
        sent
    }

    /// Waits until the guest can send so many frames at once: those that have arrived may not be given back yet. Whether it can.
    pub(crate) fn wait_for_room(&mut self, count: u16) -> bool {
        let Some(guest) = self.guests.first_mut() else { return false };
        let began = Instant::now();
        while guest.sender().room() < count {
            if began.elapsed() > SILENCE {
                return false;
            }
            std::thread::yield_now();
        }
        true
    }

    /// Frames that have arrived where they should.
    #[inline]
    pub(crate) fn arrived(&self) -> u64 {
        match &self.ends.arrived {
            Some(count) => count.now().frames,
            None => self.receipt.frames,
        }
    }

    /// The same, those included that wait in the ring of a guest and were not looked at; or copies, when fewer of them have
    /// arrived at a wire that takes some.
    #[inline]
    pub(crate) fn arrived_everywhere(&mut self, copies_before: &[u64], before: u64) -> u64 {
        let ready = match (self.path, self.guests.first_mut()) {
            (Path::P2v, Some(guest)) => u64::from(guest.receiver().ready()),
            _ => 0,
        };
        let primary = self.arrived() + ready - before;
        let copies = self.ends.copies.iter().zip(copies_before).take(self.mirrored.len());
        copies.fold(primary, |least, (count, was)| least.min(count.now().frames - was))
    }

    /// What guests do with what has come for them; how many frames that were.
    #[inline]
    pub(crate) fn serve(&mut self) -> u64 {
        match (self.path, self.guests.as_mut_slice()) {
            (Path::P2v, [guest]) => {
                let receipt = &mut self.receipt;
                guest.receiver().receive(|view| receipt.enter(view))
            }
            (Path::Pvp, [first, second]) => pass_on(first, second, &mut self.passing),
            // What was flooded, or is to make somebody known.
            (_, guests) => {
                guests.iter_mut().map(|guest| guest.receiver().receive(|_view| {})).sum()
            }
        }
    }

    /// One step of a closed loop.
    #[inline]
    pub(crate) fn turn(&mut self) {
        let on_the_way =
            |station: &Self| station.sent.saturating_sub(station.written_off + station.seen);
        if self.ends.arrived.is_none() {
            // A guest counts on this core: to look costs nothing, and need not wait until the window is full.
            self.seen = self.receipt.frames;
        }
        let (began, waited) = (Instant::now(), self.spent.waiting);
        if on_the_way(self) + u64::from(BURST) > WINDOW {
            self.look();
        }
        let has_room = on_the_way(self) + u64::from(BURST) <= WINDOW;
        if has_room {
            self.offer(BURST);
            // The kernel receives on this core, at most 256 frames behind the sender: it drops what exceeds them. When it
            // does that by its own thread, that one must run.
            std::thread::yield_now();
        }
        let offered = Instant::now();
        self.spent.sending += (offered - began).saturating_sub(self.spent.waiting - waited);
        match self.serve() {
            0 if !has_room => self.spent.waiting += offered.elapsed(),
            _ => self.spent.serving += offered.elapsed(),
        }
    }

    /// Where the time of all turns went.
    pub(crate) fn spent(&self) -> Spent {
        self.spent
    }

    /// Waits a moment and sees what has arrived. The counter lies in a line that the switch's core writes for every frame:
    /// who looks all the time slows it.
    fn look(&mut self) {
        // The kernel receives on this core. When it does that by its own thread, that one must run.
        std::thread::yield_now();
        let began = Instant::now();
        pause(BETWEEN_LOOKS);
        self.spent.waiting += began.elapsed();
        self.seen = self.arrived();
    }

    /// Sends many frames, slowly enough for the kernel to keep up: when it receives by a thread of its own, that one runs after
    /// each step. Returns how many were sent; each try that sends none makes it one less.
    pub(crate) fn offer_all(&mut self, count: u16) -> u64 {
        let (mut left, mut sent) = (count, 0);
        while left > 0 {
            let step = self.offer(left.min(BURST));
            sent += step;
            left -= u16::try_from(step).unwrap_or(left).max(1).min(left);
            std::thread::yield_now();
        }
        sent
    }

    /// Waits until nothing has come for a while, and waits no more for what has not.
    pub(crate) fn settle(&mut self) {
        let mut last_sign = Instant::now();
        let mut seen = (self.arrived(), self.copies());
        while last_sign.elapsed() < SILENCE {
            self.serve();
            let now = (self.arrived(), self.copies());
            if now != seen {
                (seen, last_sign) = (now, Instant::now());
            }
        }
        self.written_off = self.lost();
        self.seen = self.arrived();
    }

    /// Frames that had arrived when that was looked at last.
    pub(crate) fn seen(&self) -> u64 {
        self.seen
    }

    /// Frames that were sent and have not arrived.
    pub(crate) fn lost(&self) -> u64 {
        self.sent.saturating_sub(self.arrived())
    }

    /// Frames that were sent, all in all.
    pub(crate) fn sent(&self) -> u64 {
        self.sent
    }

    /// Copies that arrived at each wire that only takes copies.
    pub(crate) fn copies(&self) -> Vec<u64> {
        self.ends.copies.iter().map(|count| count.now().frames).collect()
    }

    /// Frames that arrived in another way than they should: of another length, changed, or out of order.
    pub(crate) fn odd(&self) -> u64 {
        let wrong_bytes = self.ends.arrived.as_ref().map_or(0, |count| {
            let now = count.now();
            u64::from(now.bytes != now.frames * self.bytes as u64)
        });
        wrong_bytes + self.receipt.odd
    }
}

/// Keeps the core busy for a while.
pub(crate) fn pause(time: Duration) {
    let began = Instant::now();
    while began.elapsed() < time {
        std::hint::spin_loop();
    }
}

fn frame_of(bytes: usize, to: [u8; 6], from: [u8; 6]) -> Vec<u8> {
    frame(u32::try_from(bytes).unwrap_or(60) + helio_bench::FCS_BYTES, to, from)
}

/// The interface of each port that is on a wire.
fn interfaces(faces: &[Face], wires: &Wires) -> Vec<Option<String>> {
    let mut numbers = 0..;
    let interface = |face: &Face| match face {
        Face::Wire => numbers.next().map(|wire| wires.near(wire)),
        Face::Guest => None,
    };
    faces.iter().map(interface).collect()
}

/// Starts a switch, and attaches its guests.
fn start(
    name: PeerName,
    machine: &Machine,
    order: &Order,
    bytes: usize,
    pages: Pages,
) -> Result<(Box<dyn Peer>, Vec<BurstGuest>), PerfError> {
    let touched = u32::try_from(bytes).unwrap_or(u32::MAX);
    let config = BurstConfig {
        rewritten_bytes: touched,
        read_bytes: touched,
        rx_buffer_bytes: (touched + 16).max(1536),
        max_frame_bytes: touched,
        pages,
        ..with_rings_of(RING)
    };
    let guests = WaitingGuests::new(&peers::sockets(name, order), order.sockets, config)?;
    let mut peer = peers::start(name, machine, order)?;
    if order.sockets == Sockets::Switch {
        peer.wait_ready()?;
    }
    let guests = guests.attach()?;
    proc::confine(peer.process().id(), machine.other_core, machine.worker_core);
    Ok((peer, guests))
}

impl Ends {
    fn open(path: Path, scene: &Scene, wires: &Wires, usual: &[u8]) -> Result<Self, PerfError> {
        let sender = |wire: usize| {
            let far = wires.far(wire);
            WireSender::open(&far, usual, NUMBER_AT)
                .map(Some)
                .map_err(PerfError::io(format!("send on {far}")))
        };
        let count = |wire: usize| {
            let far = wires.far(wire);
            WireCount::begin(&far).map_err(PerfError::io(format!("count on {far}")))
        };
        let (first, last, arrived) = match path {
            Path::P2p | Path::Pvp => (sender(0)?, sender(1)?, Some(count(1)?)),
            Path::P2v => (sender(0)?, None, None),
            Path::V2p => (None, sender(0)?, Some(count(0)?)),
        };
        let others = 2..2 + scene.watchers;
        Ok(Self { first, last, arrived, copies: others.map(count).collect::<Result<_, _>>()? })
    }
}

/// A guest with two vNICs sends on what comes, each frame copied once; how many frames came.
#[inline]
fn pass_on(from: &mut BurstGuest, to: &mut BurstGuest, buffer: &mut Vec<u8>) -> u64 {
    let sender = to.sender();
    sender.room();
    let mut passed = 0;
    let came = from.receiver().receive(|view| {
        buffer.resize(view.len(), 0);
        if view.read(0, buffer) {
            // One that finds no room is lost, and counted as such at the end of its way.
            passed += sender.offer(1, |slot| {
                slot.write(0, buffer);
                u32::try_from(buffer.len()).unwrap_or(0)
            });
        }
    });
    if passed > 0 {
        sender.publish();
    }
    // What was flooded to the second vNIC.
    came + to.receiver().receive(|_view| {})
}
