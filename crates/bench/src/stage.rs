//! The guests of a run, attached to the switch: sending, receiving and counting, one turn after the other.
//!
//! Owned by one thread, which plays all guests. Attaching waits for the switch; afterwards nothing waits and nothing
//! allocates. Frames are counted where they arrive, never by what the switch says.

mod introduction;

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use helio_guest::{BurstGuest, BurstQueues, Connection, GuestError, Listener, Rewriting};

use crate::board::Board;
use crate::error::BenchError;
use crate::forge::{Addresses, Forge, Judge};
use crate::frame_plan::{FramePlan, Payload};
use crate::stage_plan::{Attach, StagePlan};

/// How long nothing may arrive before what is on the way counts as lost.
const SILENCE: Duration = Duration::from_millis(20);

/// How long nothing may move at all before the switch is taken to have stopped.
const STANDSTILL: Duration = Duration::from_secs(1);

/// One way from a transmitq of a guest to another guest, with numbers of its own: queues overtake each other.
#[derive(Debug)]
struct Lane {
    from: usize,
    /// Number of the transmitq.
    queue: usize,
    to: usize,
    forge: Forge,
    /// Number of the next frame.
    next: u64,
    /// Frames before this one are waited for no more.
    written_off: u64,
}

/// Counts of one lane since the stage was set.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct LaneCounts {
    pub(crate) sent: u64,
    /// Arrived where they should, each counted once.
    pub(crate) received: u64,
    /// Bytes that arrived, as in a ring.
    pub(crate) bytes: u64,
}

/// What became of the frames besides.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct Oddities {
    /// Frames whose bytes changed on the way.
    pub corrupt: u64,
    /// Frames that none of our guests sent.
    pub foreign: u64,
    /// Frames that arrived twice.
    pub duplicates: u64,
    /// Frames that arrived after a later one.
    pub reordered: u64,
    /// Frames that arrived at a guest of another lane: flooded ones.
    pub strayed: u64,
}

/// All guests.
#[derive(Debug)]
pub(crate) struct Stage {
    sockets: Vec<PathBuf>,
    guests: Vec<BurstGuest>,
    lanes: Vec<Lane>,
    boards: Vec<Board>,
    judge: Judge,
    frames: FramePlan,
    patience: Duration,
    first_frame_at: Option<Instant>,
    /// Frames that all guests have sent, those too by which they made themselves known.
    sent: u64,
}

impl Stage {
    /// Attaches all guests, starts them, and makes them known to the switch.
    pub(crate) fn set(plan: &StagePlan) -> Result<Self, BenchError> {
        Self::set_when(plan, || Ok(()))
    }

    /// The same; `start` is called when guests that listen do so.
    pub(crate) fn set_when(
        plan: &StagePlan,
        start: impl FnOnce() -> Result<(), BenchError>,
    ) -> Result<Self, BenchError> {
        plan.check()?;
        let queues = usize::from(plan.rings.queue_pairs);
        let board = || Board::new(plan.frames.payload, plan.lanes.len() * queues, queues);
        let mut stage = Self {
            sockets: plan.sockets.clone(),
            guests: attach(plan, start)?,
            lanes: Vec::new(),
            boards: (0..plan.sockets.len()).map(|_| board()).collect(),
            judge: Judge::new(&plan.frames),
            frames: plan.frames.clone(),
            patience: plan.patience,
            first_frame_at: None,
            sent: 0,
        };
        let ways = plan.lanes.iter().flat_map(|lane| (0..queues).map(move |queue| (lane, queue)));
        for (number, (lane, queue)) in (0..).zip(ways) {
            let forge = Forge::new(&plan.frames, number, lane.from, lane.to);
            let (from, to) = (lane.from, lane.to);
            stage.lanes.push(Lane { from, queue, to, forge, next: 0, written_off: 0 });
        }
        stage.introduce_again(plan)?;
        stage.boards.fill_with(board);
        Ok(stage)
    }

    /// Makes all guests known to the switch, which may have forgotten them. Buffers are as before a run.
    pub(crate) fn introduce_again(&mut self, plan: &StagePlan) -> Result<(), BenchError> {
        self.introduce_all(plan)?;
        for lane in &mut self.lanes {
            let forge = &mut lane.forge;
            if let Some(pair) = pair(&mut self.guests, lane.from, lane.queue) {
                pair.sender.prepare(|slot| forge.prepare(slot));
            }
        }
        Ok(())
    }

    /// When the first frame had come through.
    pub(crate) fn first_frame_at(&self) -> Option<Instant> {
        self.first_frame_at
    }

    /// Frames that all guests have sent since they were attached.
    pub(crate) fn sent(&self) -> u64 {
        self.sent
    }

    pub(crate) fn lane_count(&self) -> usize {
        self.lanes.len()
    }

    pub(crate) fn guest_count(&self) -> usize {
        self.guests.len()
    }

    /// The guest that receives on a lane.
    pub(crate) fn receiver_of(&self, lane: usize) -> usize {
        self.lanes.get(lane).map_or(0, |lane| lane.to)
    }

    /// Number of the next frame of a lane.
    pub(crate) fn next_sequence(&self, lane: usize) -> u64 {
        self.lanes.get(lane).map_or(0, |lane| lane.next)
    }

    /// Passes over `count` numbers of a lane: frames that should have been sent, and were not.
    pub(crate) fn skip(&mut self, lane: usize, count: u64) {
        if let Some(lane) = self.lanes.get_mut(lane) {
            lane.next += count;
        }
    }

    /// Sends on a lane from and to these addresses from now on.
    pub(crate) fn set_addresses(&mut self, lane: usize, from: Addresses, to: Addresses) {
        if let Some(lane) = self.lanes.get_mut(lane) {
            lane.forge.set_addresses(from, to);
        }
    }

    /// Whether ring bytes that did not change are stored again, by all guests from now on.
    pub(crate) fn set_rewriting(&mut self, rewriting: Rewriting) {
        for pair in self.guests.iter_mut().flat_map(BurstGuest::pairs) {
            pair.sender.set_rewriting(rewriting);
            pair.receiver.set_rewriting(rewriting);
        }
    }

    /// Different frames of a lane that arrived at a guest, whether they should or not.
    pub(crate) fn arrived_at(&self, guest: usize, lane: usize) -> u64 {
        let board = self.boards.get(guest);
        board.and_then(|board| board.tallies.get(lane)).map_or(0, |tally| tally.received)
    }

    /// Takes back completed frames; for how many there is room.
    #[inline]
    pub(crate) fn room(&mut self, lane: usize) -> u16 {
        let Some(lane) = self.lanes.get(lane) else { return 0 };
        pair(&mut self.guests, lane.from, lane.queue).map_or(0, |pair| pair.sender.room())
    }

    /// Writes up to `count` frames, as far as there is room; [`Stage::publish`] shows them to the switch.
    #[inline]
    pub(crate) fn offer(&mut self, lane: usize, count: u16) -> u16 {
        let Some(lane) = self.lanes.get_mut(lane) else { return 0 };
        let Some(pair) = pair(&mut self.guests, lane.from, lane.queue) else { return 0 };
        let (forge, mut next) = (&mut lane.forge, lane.next);
        let offered = pair.sender.offer(count, |slot| {
            let len = forge.write(slot, next);
            next += 1;
            len
        });
        lane.next = next;
        self.sent += u64::from(offered);
        offered
    }

    #[inline]
    pub(crate) fn publish(&mut self, lane: usize) {
        let Some(lane) = self.lanes.get(lane) else { return };
        if let Some(pair) = pair(&mut self.guests, lane.from, lane.queue) {
            pair.sender.publish();
        }
    }

    /// Buffers that came back to a guest and were not looked at yet.
    #[inline]
    pub(crate) fn ready(&mut self, guest: usize) -> u16 {
        let Some(guest) = self.guests.get_mut(guest) else { return 0 };
        guest.pairs().fold(0, |sum, pair| pair.receiver.ready().saturating_add(sum))
    }

    /// Frames of a lane that the switch has not completed.
    #[inline]
    pub(crate) fn outstanding(&mut self, lane: usize) -> u16 {
        let Some(lane) = self.lanes.get(lane) else { return 0 };
        let Some(pair) = pair(&mut self.guests, lane.from, lane.queue) else { return 0 };
        pair.sender.capacity() - pair.sender.room()
    }

    /// Takes and counts all frames that are there for a guest; how many.
    #[inline]
    pub(crate) fn receive(&mut self, guest: usize) -> u64 {
        self.receive_with(guest, |_lane, _sequence| {})
    }

    /// As [`Stage::receive`]; shows lane and number of each intact frame to `seen`, when frames are read.
    #[inline]
    pub(crate) fn receive_with(&mut self, guest: usize, mut seen: impl FnMut(usize, u64)) -> u64 {
        let Some(board) = self.boards.get_mut(guest) else { return 0 };
        let Some(guest) = self.guests.get_mut(guest) else { return 0 };
        if self.frames.payload == Payload::None {
            return guest.receiver().receive(|view| board.count(view));
        }
        let judge = &mut self.judge;
        let mut frames = 0;
        for (receiveq, pair) in guest.pairs().enumerate() {
            frames += pair.receiver.receive(|view| {
                if let Some((lane, sequence)) = board.enter(judge.judge(view), view, receiveq) {
                    seen(lane, sequence);
                }
            });
        }
        frames
    }

    /// Takes and counts all frames that are there; how many.
    #[inline]
    pub(crate) fn receive_all(&mut self) -> u64 {
        (0..self.guests.len()).map(|guest| self.receive(guest)).sum()
    }

    /// Frames of a lane that may be on the way: all behind the last one that arrived.
    #[inline]
    pub(crate) fn in_flight(&self, lane: usize) -> u64 {
        let Some(plan) = self.lanes.get(lane) else { return 0 };
        let passed = self.boards.get(plan.to).map_or(0, |board| board.passed(lane));
        plan.next.saturating_sub(passed.max(plan.written_off))
    }

    /// Waits no more for what is on the way on a lane.
    pub(crate) fn write_off(&mut self, lane: usize) {
        if let Some(lane) = self.lanes.get_mut(lane) {
            lane.written_off = lane.next;
        }
    }

    /// Receives until nothing has come for a while and the switch has completed all frames, or does nothing any more.
    pub(crate) fn settle(&mut self) {
        self.settle_by(Self::receive_all);
    }

    /// The same; `receive` receives what is there, and tells how much.
    pub(crate) fn settle_by(&mut self, mut receive: impl FnMut(&mut Self) -> u64) {
        let mut last_sign = Instant::now();
        loop {
            // In this order: what was completed before we looked is received after it.
            let lanes = 0..self.lanes.len();
            let left: u16 = lanes.map(|lane| self.outstanding(lane)).max().unwrap_or(0);
            // A switch that was kept from running still has our frames.
            let patience = if left == 0 { SILENCE } else { STANDSTILL };
            if receive(self) > 0 {
                last_sign = Instant::now();
            } else if last_sign.elapsed() > patience {
                break;
            }
        }
        (0..self.lanes.len()).for_each(|lane| self.write_off(lane));
    }

    pub(crate) fn counts(&self, lane: usize) -> LaneCounts {
        let Some(plan) = self.lanes.get(lane) else { return LaneCounts::default() };
        let Some(board) = self.boards.get(plan.to) else { return LaneCounts::default() };
        if self.frames.payload == Payload::None {
            return LaneCounts { sent: plan.next, received: board.frames, bytes: board.bytes };
        }
        board.tallies.get(lane).map_or(LaneCounts::default(), |tally| LaneCounts {
            sent: plan.next,
            received: tally.received,
            bytes: tally.bytes,
        })
    }

    /// Frames that arrived at a guest that takes no part in any lane.
    pub(crate) fn copies(&self, guest: usize) -> u64 {
        self.boards.get(guest).map_or(0, |board| board.frames)
    }

    pub(crate) fn oddities(&self) -> Oddities {
        let mut sum = Oddities::default();
        for (guest, board) in self.boards.iter().enumerate() {
            sum.corrupt += board.corrupt;
            sum.foreign += board.foreign;
            let takes_part = self.lanes.iter().any(|lane| lane.from == guest || lane.to == guest);
            for (lane, tally) in self.lanes.iter().zip(&board.tallies) {
                sum.duplicates += tally.duplicates;
                sum.reordered += tally.reordered;
                if takes_part && lane.to != guest {
                    sum.strayed += tally.received;
                }
            }
        }
        sum
    }

    /// Features in use by the first guest, when all is negotiated.
    pub(crate) fn features(&self) -> u64 {
        self.guests.first().map_or(0, BurstGuest::features)
    }

    /// The process that all guests are attached to, when it is one, and not ours.
    pub(crate) fn switch_process(&self) -> Option<u32> {
        let first = self.guests.first()?.back_end_process()?;
        let is_only = self.guests.iter().all(|guest| guest.back_end_process() == Some(first));
        (is_only && first != std::process::id()).then_some(first)
    }

    /// Kicks that all guests sent.
    pub(crate) fn kicks(&mut self) -> u64 {
        let pairs = self.guests.iter_mut().flat_map(BurstGuest::pairs);
        pairs.map(|pair| pair.sender.kicks() + pair.receiver.kicks()).sum()
    }

    /// Whether all switches are still there and kept the rules that matter to a count.
    pub(crate) fn check(&self) -> Result<(), BenchError> {
        for (guest, socket) in self.guests.iter().zip(&self.sockets) {
            if guest.is_disconnected() {
                let socket = socket.clone();
                return Err(BenchError::Guest { socket, cause: GuestError::Closed });
            }
            let mut faults = guest.faults();
            // Does not concern what is measured, and a peer that does it should not go unmeasured.
            faults.transmit_len = 0;
            if faults.total() > 0 {
                let faults = format!("{faults:?}");
                return Err(BenchError::Fault { socket: socket.clone(), faults });
            }
        }
        Ok(())
    }
}

/// A queue pair of a guest.
#[inline]
fn pair(guests: &mut [BurstGuest], guest: usize, queue: usize) -> Option<&mut BurstQueues> {
    guests.get_mut(guest)?.pair(queue)
}

/// Connects or waits for all guests, and starts them.
fn attach(
    plan: &StagePlan,
    start: impl FnOnce() -> Result<(), BenchError>,
) -> Result<Vec<BurstGuest>, BenchError> {
    let named = |socket: &PathBuf| {
        let socket = socket.clone();
        move |cause| BenchError::Guest { socket, cause }
    };
    // All sockets are there before the first one is waited for: a switch may look for them in any order.
    let listen = |socket: &PathBuf| Listener::bind(socket).map_err(named(socket));
    let listeners = match plan.attach {
        Attach::Connect => Vec::new(),
        Attach::Listen => plan.sockets.iter().map(listen).collect::<Result<_, _>>()?,
    };
    start()?;
    let mut guests = Vec::with_capacity(plan.sockets.len());
    for (number, socket) in plan.sockets.iter().enumerate() {
        let connection = match listeners.get(number) {
            Some(listener) => accept(listener, socket, plan.patience)?,
            None => connect(socket, plan.patience)?,
        };
        let guest = BurstGuest::new(connection, plan.guest());
        let mut guest = guest.map_err(|cause| no_guest(socket, cause))?;
        guest.start().map_err(named(socket))?;
        guests.push(guest);
    }
    Ok(guests)
}

/// Connects to a switch that may not be there yet.
fn connect(socket: &Path, patience: Duration) -> Result<Connection, BenchError> {
    let deadline = Instant::now() + patience;
    loop {
        match Connection::connect(socket) {
            Err(GuestError::Socket(_)) if Instant::now() < deadline => {
                std::thread::sleep(Duration::from_millis(5));
            }
            connected => {
                let socket = socket.to_owned();
                return connected.map_err(|cause| BenchError::NoSwitch { socket, cause });
            }
        }
    }
}

/// Waits for a switch that connects.
fn accept(
    listener: &Listener,
    socket: &Path,
    patience: Duration,
) -> Result<Connection, BenchError> {
    let socket = || socket.to_owned();
    listener.accept_connection(patience).map_err(|cause| match cause {
        GuestError::Timeout { waited, .. } => BenchError::NobodyCame { socket: socket(), waited },
        cause => BenchError::Guest { socket: socket(), cause },
    })
}

/// Why somebody who answered did not take a guest.
fn no_guest(socket: &Path, cause: GuestError) -> BenchError {
    let socket = socket.to_owned();
    match cause {
        GuestError::Closed | GuestError::Timeout { .. } | GuestError::BadReply { .. } => {
            BenchError::NotAPort { socket, cause }
        }
        cause => BenchError::Guest { socket, cause },
    }
}
