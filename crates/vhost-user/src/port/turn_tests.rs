//! What a guest can have its worker do in one turn: it does not grow with its queues. The queues are given to the port without a
//! session.

use std::cell::RefCell;
use std::sync::atomic::{Ordering, fence};
use std::sync::mpsc::{Receiver, sync_channel};

use super::*;
use crate::event_fd::{self, EventFd};
use crate::mailbox::{Command, Installation, Mode, Order, Queue};
use crate::parts::SocketRole;
use crate::ring_id::{QueueKind, RingId};
use helio_frame::{Burst, Head, MemoryId, Pool, Precedence};
use helio_mem::GuestAddr;
use helio_types::{PortId, WorkerId};
use helio_vring::{Call, MAX_CHAIN_DESCRIPTORS, RingSetup, Sender, feature};

/// Entries of each ring.
const SIZE: u16 = 1024;
/// Bytes of guest memory for one ring: descriptors, avail ring, used ring.
const RING_BYTES: u64 = 0x8000;
const AVAIL: u64 = 0x4000;
const USED: u64 = 0x5000;
const BUFFER: u64 = 0x7800;
const NEXT: u16 = 1;
const WRITE: u16 = 2;

/// A port, and the memory of its guest.
struct Rig {
    port: VhostPort,
    memory: Arc<MemoryTable>,
    /// Of the rings to come.
    call: Call,
    burst: Burst,
    pool: Pool,
    refused: [u32; DropReason::COUNT],
    _handle: VhostPortHandle,
    _dir: tempfile::TempDir,
}

impl Rig {
    /// A guest with so many pairs of rings, none of which the port has.
    fn new(pairs: u8) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let parts = silence::parts(dir.path(), SocketRole::Server, pairs, |_| ());
        let (port, handle) = VhostPort::create(parts).unwrap();
        let bytes = usize::from(pairs) * 2 * usize::try_from(RING_BYTES).unwrap();
        Self {
            port,
            memory: Arc::new(MemoryTable::anonymous(bytes).unwrap()),
            call: Call::default(),
            burst: Burst::new(),
            pool: Pool::new(1, MemoryId::of_worker(WorkerId::new(0).unwrap())).unwrap(),
            refused: [0; DropReason::COUNT],
            _handle: handle,
            _dir: dir,
        }
    }

    fn write(&self, addr: u64, bytes: &[u8]) {
        let place = self.memory.resolve_whole(GuestAddr(addr), u32::try_from(bytes.len()).unwrap());
        assert_eq!(self.memory.write(place.unwrap(), bytes), bytes.len());
    }

    /// How many chains of a ring were given back.
    fn given_back(&self, ring: usize) -> u16 {
        let mut index = [0; 2];
        let place = self.memory.resolve_whole(GuestAddr(base(ring) + USED + 2), 2);
        self.memory.read(place.unwrap(), &mut index);
        u16::from_le_bytes(index)
    }

    /// As many chains in a ring as it has entries: all of them the same, which runs through all descriptors without end.
    fn offer_loops(&self, ring: usize, flags: u16) {
        for index in 0..SIZE {
            let next = (index + 1) % SIZE;
            let rest = [0; 12].into_iter().chain(flags.to_le_bytes()).chain(next.to_le_bytes());
            self.write(base(ring) + 16 * u64::from(index), &rest.collect::<Vec<u8>>());
        }
        self.write(base(ring) + AVAIL + 2, &SIZE.to_le_bytes());
    }

    /// A frame that is too long to be copied as a whole when it is taken.
    fn offer_frame(&self, ring: usize) {
        let buffer = base(ring) + BUFFER;
        let rest = 400_u32.to_le_bytes().into_iter().chain([0; 4]);
        self.write(base(ring), &buffer.to_le_bytes().into_iter().chain(rest).collect::<Vec<u8>>());
        self.write(base(ring) + AVAIL + 2, &1_u16.to_le_bytes());
    }

    fn install(&mut self, ring: usize, mode: Mode) {
        let (id, base) = (RingId::new(ring).unwrap(), base(ring));
        let setup = RingSetup {
            size: SIZE,
            descriptors: GuestAddr(base),
            avail: GuestAddr(base + AVAIL),
            used: GuestAddr(base + USED),
            features: feature::VERSION_1 | feature::MRG_RXBUF,
            call: self.call.clone(),
        };
        let sender = Sender { port: PortId::new(0).unwrap(), queue: id.pair };
        let queue = match id.kind {
            QueueKind::Receive => {
                Queue::Receive(Box::new(ReceiveQueue::start(setup, &self.memory).unwrap()))
            }
            QueueKind::Transmit => {
                let queue = TransmitQueue::start(setup, &self.memory, sender).unwrap();
                Queue::Transmit(Box::new(queue))
            }
        };
        let installation =
            Installation { queue, mode, accepts: Offloads::NONE, memory: Arc::clone(&self.memory) };
        let (answer, answered) = sync_channel(1);
        let command = Command::Install(installation);
        self.port.shared.mailbox.post(Order { ring: id, command, answer });
        self.port.obey();
        assert!(answered.recv().unwrap().is_none());
    }

    /// Runs a transmitq that offers the same frame again and again, and is told by `call`.
    fn install_sender(&mut self, call: &EventFd) {
        self.call = Call(Some(Arc::clone(call)));
        let rest = 72_u32.to_le_bytes().into_iter().chain([0; 4]);
        let buffer = base(1) + BUFFER;
        self.write(base(1), &buffer.to_le_bytes().into_iter().chain(rest).collect::<Vec<u8>>());
        self.install(1, Mode::Enabled);
    }

    /// Lets the guest of the transmitq be told by another descriptor.
    fn replace_call(&mut self, call: &EventFd) {
        let (answer, answered) = sync_channel(1);
        let command = Command::SetCall(Call(Some(Arc::clone(call))));
        let ring = RingId::new(1).unwrap();
        self.port.shared.mailbox.post(Order { ring, command, answer });
        self.port.obey();
        assert!(answered.recv().unwrap().is_none());
    }

    /// Offers frames up to the one with this number, one in a turn.
    fn send_up_to(&mut self, last: u16) {
        for sent in self.given_back(1) + 1..=last {
            self.write(base(1) + AVAIL + 2, &sent.to_le_bytes());
            self.turn();
        }
    }

    fn notify(&mut self) {
        fence(Ordering::SeqCst);
        self.port.notify();
    }

    /// The same, and the guest is told of each. Ends when the port breaks off.
    fn send_and_tell_up_to(&mut self, last: u16) {
        while self.given_back(1) < last && self.port.shared.status.fault().is_none() {
            self.send_up_to(self.given_back(1) + 1);
            self.notify();
        }
    }

    /// Asks for a ring back.
    fn ask_for(&self, ring: usize) -> Receiver<Option<Queue>> {
        let (answer, answered) = sync_channel(1);
        let (ring, command) = (RingId::new(ring).unwrap(), Command::Remove);
        self.port.shared.mailbox.post(Order { ring, command, answer });
        answered
    }

    /// One turn. Returns how many chains were refused.
    fn turn(&mut self) -> u32 {
        let Self { port, burst, pool, refused, .. } = self;
        let before: u32 = refused.iter().sum();
        burst.clear();
        port.take(&mut Intake { burst, pool, refused });
        port.publish();
        self.refused.iter().sum::<u32>() - before
    }
}

fn base(ring: usize) -> u64 {
    u64::try_from(ring).unwrap() * RING_BYTES
}

/// A frame of each of 64 flows.
fn frames() -> Vec<Frame> {
    let frame = |flow: u8| {
        let mut bytes = vec![2; 12];
        bytes.extend([8, 0, 0x45, 0, 0, 46, 0, 0, 0, 0, 64, 17, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2]);
        bytes.extend([0, flow, 0, 53, 0, 26, 0, 0]);
        bytes.resize(60, 0);
        Frame { head: Head::copy_of(&bytes), bytes: 60, ..Frame::vacant() }
    };
    (0..64).map(frame).collect()
}

#[test]
fn all_transmitqs_of_a_port_are_walked_no_further_in_a_turn_than_one_and_each_has_its_turn() {
    for pairs in [1, 3, 128] {
        let mut rig = Rig::new(pairs);
        for pair in 0..usize::from(pairs) {
            rig.offer_loops(2 * pair + 1, NEXT);
            rig.install(2 * pair + 1, Mode::Enabled);
        }
        for _ in 0..pairs {
            assert_eq!(rig.turn(), 2, "{pairs} pairs");
        }
        for pair in 0..usize::from(pairs) {
            assert_eq!(rig.given_back(2 * pair + 1), 2, "pair {pair} of {pairs}");
        }
    }
}

#[test]
fn chains_of_disabled_transmitqs_are_discarded_as_many_in_a_turn_as_of_a_few() {
    let mut rig = Rig::new(128);
    for pair in 0..128 {
        rig.offer_loops(2 * pair + 1, NEXT);
        rig.install(2 * pair + 1, Mode::Disabled);
    }
    let all = 128 * u32::from(SIZE);
    let turns = all / 2048;
    assert_eq!((0..turns).map(|_| rig.turn()).collect::<Vec<_>>(), vec![2048; turns as usize]);
    assert_eq!((rig.refused[DropReason::RingDisabled.index()], rig.turn()), (all, 0));
}

#[test]
fn all_receiveqs_of_a_port_are_walked_no_further_in_a_turn_than_one() {
    let mut walked = Vec::new();
    for pairs in [1, 2, 128] {
        let mut rig = Rig::new(pairs);
        for pair in 0..usize::from(pairs) {
            rig.offer_loops(2 * pair, NEXT | WRITE);
            rig.install(2 * pair, Mode::Enabled);
        }
        for _ in 0..3 {
            rig.turn();
            let before: u16 = (0..usize::from(pairs)).map(|pair| rig.given_back(2 * pair)).sum();
            offer_all(&mut rig.port, &frames());
            rig.turn();
            let after: u16 = (0..usize::from(pairs)).map(|pair| rig.given_back(2 * pair)).sum();
            walked.push(after - before);
        }
    }
    // Each of them is as long as a chain can be.
    assert_eq!(u32::from(walked[0]) * u32::from(MAX_CHAIN_DESCRIPTORS), 8192);
    assert_eq!(walked, vec![walked[0]; 9]);
}

/// Offers frames as a worker does, beginning again behind each that is refused; then each by itself.
fn offer_all(port: &mut VhostPort, frames: &[Frame]) {
    port.prepare(frames);
    let mut left = frames;
    while !left.is_empty() {
        let run = Run { frames: left, memories: &[], precedence: Precedence::Production };
        let end = port.offer_run(run);
        let refused = end.refused.map_or(0, |(_, count)| count);
        assert!(end.written + refused > 0);
        left = &left[end.written + refused..];
    }
    for frame in frames {
        let rest = helio_frame::RestBytes::EMPTY;
        let whole = Delivery::whole(frame.net, frame.head.bytes(), &[], rest);
        assert!(port.offer(&whole).is_err());
    }
}

#[test]
fn of_many_orders_a_few_are_obeyed_in_a_turn_and_all_in_the_end() {
    let mut rig = Rig::new(128);
    (0..256).for_each(|ring| rig.install(ring, Mode::Enabled));
    let mut waiting: Vec<_> = (0..256).map(|ring| rig.ask_for(ring)).collect();
    for turns in 1..=4 {
        rig.turn();
        waiting.retain(|answer| answer.try_recv().is_err());
        assert_eq!(waiting.len(), 256 - 64 * turns);
    }
    assert!(rig.port.memory.is_none() && !rig.port.shared.mailbox.has_orders());
}

#[test]
fn of_many_queues_whose_last_frames_come_back_at_once_a_few_are_given_back_in_a_turn() {
    let mut rig = Rig::new(128);
    let transmitqs: Vec<usize> = (0..128).map(|pair| 2 * pair + 1).collect();
    for ring in &transmitqs {
        rig.offer_frame(*ring);
        rig.install(*ring, Mode::Enabled);
    }
    let mut held = Vec::new();
    while held.len() < 128 {
        assert_eq!(rig.turn(), 0);
        held.extend(rig.burst.frames().iter().map(|frame| frame.origin));
    }
    let mut waiting: Vec<_> = transmitqs.iter().map(|ring| rig.ask_for(*ring)).collect();
    for _ in 0..3 {
        rig.turn();
    }
    assert!(waiting.iter().all(|answer| answer.try_recv().is_err()));
    held.into_iter().for_each(|origin| rig.port.release(origin));
    rig.port.publish();
    for left in [64, 0] {
        assert_eq!(rig.port.arm(), Armed::WorkPending, "the worker may not sleep");
        rig.turn();
        waiting.retain(|answer| !matches!(answer.try_recv(), Ok(Some(_))));
        assert_eq!(waiting.len(), left);
    }
    assert!(rig.port.memory.is_none() && !rig.port.shared.mailbox.has_orders());
}

fn new_call() -> EventFd {
    Arc::new(event_fd::make().unwrap())
}

/// How often a descriptor was signalled since the last time.
fn signals(call: &EventFd) -> u32 {
    let mut count = [0; 8];
    match rustix::io::read(call, &mut count) {
        Ok(_) => u32::try_from(u64::from_ne_bytes(count)).unwrap(),
        Err(_) => 0,
    }
}

/// A model of time: only signals to this descriptor take any.
struct SlowCall {
    call: EventFd,
    signal_takes: Duration,
    now: Duration,
}

thread_local! {
    static SLOW_CALL: RefCell<Option<SlowCall>> = const { RefCell::new(None) };
}

fn model_clock() -> Duration {
    SLOW_CALL.with_borrow_mut(|model| {
        let model = model.as_mut().unwrap();
        model.now += model.signal_takes * signals(&model.call);
        model.now
    })
}

fn slow_down(call: &EventFd, signal_takes: Duration) {
    let model = SlowCall { call: Arc::clone(call), signal_takes, now: Duration::ZERO };
    SLOW_CALL.set(Some(model));
}

#[test]
fn a_call_that_is_slow_or_becomes_so_or_comes_later_costs_its_port_and_a_fair_one_does_not() {
    let (fair, slow) = (Duration::from_micros(100), Duration::from_millis(1));
    let (fault, call) = (Some(PortFault::SlowCall), new_call());
    let other = new_call();
    for (first, then, later, expected) in [
        (fair, &call, fair, (None, 5000)),
        (slow, &call, slow, (fault, 10)),
        (fair, &call, slow, (fault, 256 + 10)),
        (fair, &other, slow, (fault, 100 + 10)),
    ] {
        let mut rig = Rig::new(1);
        rig.port.clock = model_clock;
        rig.install_sender(&call);
        slow_down(&call, first);
        rig.send_and_tell_up_to(100);
        if !Arc::ptr_eq(then, &call) {
            rig.replace_call(then);
        }
        slow_down(then, later);
        rig.send_and_tell_up_to(5000);
        assert_eq!((rig.port.shared.status.fault(), rig.given_back(1)), expected);
    }
}

#[test]
fn no_order_has_the_worker_signal_and_who_gets_a_queue_back_tells_the_guest_by_the_newest_call() {
    let mut rig = Rig::new(1);
    let (one, other) = (new_call(), new_call());
    rig.install_sender(&one);
    rig.send_up_to(3);
    rig.replace_call(&other);
    let answered = rig.ask_for(1);
    rig.port.obey();
    let mut queue = answered.recv().unwrap().unwrap();
    assert_eq!((rig.given_back(1), signals(&one), signals(&other)), (3, 0, 0));
    let newest = new_call();
    queue.tell_guest(&Call(Some(Arc::clone(&newest))));
    assert_eq!((signals(&one), signals(&other), signals(&newest)), (0, 0, 1));
}

#[test]
fn a_ring_that_broke_a_rule_is_told_by_no_other_descriptor() {
    let mut rig = Rig::new(1);
    let (one, other) = (new_call(), new_call());
    rig.install_sender(&one);
    rig.send_and_tell_up_to(1);
    rig.port.fail(PortFault::SlowCall);
    for _ in 0..3 {
        rig.replace_call(&other);
        rig.notify();
    }
    assert_eq!((signals(&one), signals(&other)), (1, 0));
}
