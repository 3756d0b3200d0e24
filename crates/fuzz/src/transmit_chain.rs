//! A guest that sends: a split ring, indirect tables and frames, all as the input says, taken by a [`TransmitQueue`].
//!
//! Every frame taken has exactly the bytes that the rules find in the chain, every refusal has its reason, every chain is
//! completed once and in the order offered, and the device writes nothing but its used ring.

use std::collections::VecDeque;

use helio_frame::{Burst, Frame, Intake, MemoryId, Origin, Pool};
use helio_offload::{NetHeader, Offloads, RawNetHeader, check};
use helio_types::{DropReason, MAX_FRAME_BYTES, MIN_FRAME_BYTES, PortId, WorkerId};
use helio_vring::{MAX_CHAIN_DESCRIPTORS, Sender, TakeSteps, TransmitQueue};

use crate::Outcome;
use crate::chain::walk;
use crate::guest::{Guest, MAX_OPERATIONS, MAX_WORK};
use crate::input::Input;

/// Fewer than a frame in many pieces can use up.
const CHUNKS: u16 = 3;

/// Descriptors that a turn must not exceed, and those before which it must not end without a reason.
const TURN_STEPS: std::ops::Range<u32> =
    MAX_CHAIN_DESCRIPTORS as u32..4 * MAX_CHAIN_DESCRIPTORS as u32;

/// Runs one input.
///
/// # Panics
///
/// When something does not hold.
pub fn run(data: &[u8]) -> Outcome {
    let mut input = Input::new(data);
    let Some(mut case) = Case::start(Guest::new(&mut input)) else {
        return Outcome { accepted: 0, refused: 1 };
    };
    for _ in 0..MAX_OPERATIONS {
        if input.is_empty() || case.work > MAX_WORK {
            break;
        }
        case.step(&mut input);
    }
    case.finish();
    case.outcome
}

struct Case {
    guest: Guest,
    queue: TransmitQueue,
    pool: Pool,
    /// Chains taken and not completed, oldest first.
    taken: VecDeque<Taken>,
    next_avail: u16,
    /// Also the used index that the guest sees.
    next_used: u16,
    /// Holds to give back.
    held: Vec<Origin>,
    /// Steps taken for this input.
    work: u32,
    outcome: Outcome,
}

struct Taken {
    head: u16,
    holds: usize,
}

/// What the rules make of one chain, and the steps it takes to find out.
struct Expected {
    frame: Result<(Vec<u8>, NetHeader), DropReason>,
    steps: u32,
}

impl Case {
    fn start(mut guest: Guest) -> Option<Self> {
        let sender = Sender { port: PortId::new(3).unwrap(), queue: 1 };
        let (queue, index) =
            guest.start(|setup, memory| TransmitQueue::start(setup, memory, sender))?;
        let worker = WorkerId::new(0).unwrap();
        Some(Self {
            guest,
            queue,
            pool: Pool::new(CHUNKS, MemoryId::of_worker(worker)).unwrap(),
            taken: VecDeque::new(),
            next_avail: index,
            next_used: index,
            held: Vec::new(),
            work: 0,
            outcome: Outcome::default(),
        })
    }

    fn step(&mut self, input: &mut Input<'_>) {
        let operation = input.u8() % (Guest::OPERATIONS + 7);
        match operation.checked_sub(Guest::OPERATIONS) {
            None => self.guest.act(operation, input),
            Some(0 | 1) => self.take(),
            Some(2) => self.release(usize::from(input.u8())),
            Some(3) => self.hold(usize::from(input.u8())),
            Some(4) => self.publish(),
            Some(5) => self.discard(),
            Some(_) => self.ask_for_kick(),
        }
    }

    fn take(&mut self) {
        let (mut burst, mut refused) = (Burst::new(), [0; DropReason::COUNT]);
        let mut intake = Intake { burst: &mut burst, pool: &mut self.pool, refused: &mut refused };
        let taken = self.queue.take(&mut intake, &mut TakeSteps::default());
        self.guest.assert_memory();
        let available = self.guest.available(self.next_avail, self.next_used);
        assert_eq!(taken.err(), available.err());
        self.outcome.refused += u32::from(taken.is_err());
        let (Ok(taken), Ok(available)) = (taken, available) else { return };
        assert!(taken <= available);
        let heads: Vec<_> =
            (0..taken).map(|at| self.guest.head(self.next_avail.wrapping_add(at))).collect();
        let expected: Vec<_> = heads.iter().map(|head| self.expected(*head)).collect();
        let steps = count_steps(&expected);
        self.work += steps.end;
        // A chain that finds no private buffer is not read to its end.
        let is_known = refused[DropReason::NoPrivateBuffer.index()] == 0;
        assert!(!is_known || steps.start < TURN_STEPS.end, "{steps:?} steps in one turn");
        let may_end = taken == available || !burst.has_room() || steps.end >= TURN_STEPS.start;
        assert!(may_end, "{taken} of {available} chains and {steps:?} steps, then no more");
        self.taken.extend(heads.iter().map(|head| Taken { head: *head, holds: 0 }));
        self.compare(burst.frames(), &expected, refused);
        self.next_avail = self.next_avail.wrapping_add(taken);
        assert_eq!(self.next_avail, self.queue.next_avail());
    }

    /// The frames taken are those expected, but for some that found no private buffer.
    fn compare(
        &mut self,
        frames: &[Frame],
        expected: &[Expected],
        refused: [u32; DropReason::COUNT],
    ) {
        let mut frames = frames.iter().peekable();
        let mut reasons = [0; DropReason::COUNT];
        for (at, expected) in (0_u16..).zip(expected) {
            let slot = self.next_avail.wrapping_add(at);
            match (&expected.frame, frames.peek()) {
                (Ok((bytes, net)), Some(frame)) if self.is_frame(frame, bytes, *net, slot) => {
                    self.keep(frame.origin);
                    frames.next();
                }
                (Ok(_), _) => reasons[DropReason::NoPrivateBuffer.index()] += 1,
                (Err(reason), _) => reasons[reason.index()] += 1,
            }
        }
        assert!(frames.next().is_none(), "a frame is not in its chain");
        self.outcome.refused += refused.iter().sum::<u32>();
        assert_eq!(refused.iter().sum::<u32>(), reasons.iter().sum::<u32>());
        for reason in DropReason::ALL {
            let (is, should) = (refused[reason.index()], reasons[reason.index()]);
            // A chain can run out of private buffers before the rule is read that it breaks.
            let fits =
                if *reason == DropReason::NoPrivateBuffer { is >= should } else { is <= should };
            assert!(fits, "{is} chains and not {should} are refused as {reason}");
            let all_held = self.pool.in_use() == usize::from(CHUNKS);
            assert!(*reason != DropReason::NoPrivateBuffer || is == 0 || all_held);
        }
    }

    fn is_frame(&self, frame: &Frame, bytes: &[u8], net: NetHeader, slot: u16) -> bool {
        let is_here = match frame.origin {
            Origin::Chain { port, queue, slot: at } => (port.index(), queue, at) == (3, 1, slot),
            Origin::Chunk(_) => true,
            Origin::Umem { .. } | Origin::Exchanged { .. } => false,
            Origin::Nothing => frame.rest.is_empty(),
        };
        is_here && frame.net == net && self.content(frame) == bytes
    }

    fn content(&self, frame: &Frame) -> Vec<u8> {
        let table =
            if frame.memory == self.pool.id() { self.pool.table() } else { &self.guest.table };
        let mut content = frame.head.bytes().to_vec();
        for segment in &frame.rest {
            let start = content.len();
            content.resize(start + segment.bytes as usize, 0);
            assert_eq!(table.read(*segment, &mut content[start..]), segment.bytes as usize);
        }
        assert_eq!(content.len(), frame.bytes as usize);
        content
    }

    fn keep(&mut self, origin: Origin) {
        self.outcome.accepted += 1;
        self.held.push(origin);
        if let Origin::Chain { slot, .. } = origin {
            self.taken(slot).holds += 1;
        }
    }

    fn taken(&mut self, slot: u16) -> &mut Taken {
        &mut self.taken[usize::from(slot.wrapping_sub(self.next_used))]
    }

    /// The frame in the chain at `head`. VIRTIO 1.2, section 5.1.6.2.
    fn expected(&self, head: u16) -> Expected {
        let header_bytes = self.guest.header_bytes();
        let limit = MAX_FRAME_BYTES as usize + header_bytes;
        let (mut bytes, mut steps) = (Vec::new(), 1);
        let walked = walk(&self.guest, head, |buffer| {
            steps += 1;
            if buffer.is_writable() {
                return Err(DropReason::ChainDirection);
            }
            if bytes.len() + buffer.bytes as usize > limit {
                return Err(DropReason::Oversize);
            }
            bytes.extend(
                self.guest.image.read(buffer.addr, buffer.bytes).ok_or(DropReason::ChainAddress)?,
            );
            Ok(())
        });
        Expected { frame: walked.and_then(|()| self.judge(&bytes)), steps }
    }

    fn judge(&self, bytes: &[u8]) -> Result<(Vec<u8>, NetHeader), DropReason> {
        let (header, frame) =
            bytes.split_at_checked(self.guest.header_bytes()).ok_or(DropReason::HeaderShort)?;
        let frame_bytes = u32::try_from(frame.len()).unwrap();
        if frame_bytes < MIN_FRAME_BYTES {
            return Err(DropReason::Runt);
        }
        let offloads = Offloads::of_sender(self.guest.features);
        if offloads == Offloads::NONE {
            return Ok((frame.to_vec(), NetHeader::PLAIN));
        }
        let raw = RawNetHeader::from_bytes(header).unwrap();
        let head = &frame[..frame.len().min(helio_frame::HEAD_BYTES)];
        let net = check(&raw, offloads, head, frame_bytes)?;
        Ok((frame.to_vec(), net))
    }

    fn release(&mut self, which: usize) {
        if self.held.is_empty() {
            return;
        }
        let origin = self.held.swap_remove(which % self.held.len());
        match origin {
            Origin::Chain { slot, .. } => {
                self.taken(slot).holds -= 1;
                self.queue.release(slot);
            }
            Origin::Chunk(chunk) => self.pool.release(chunk),
            Origin::Nothing | Origin::Umem { .. } | Origin::Exchanged { .. } => {}
        }
    }

    fn hold(&mut self, which: usize) {
        if self.held.is_empty() {
            return;
        }
        let origin = self.held[which % self.held.len()];
        self.held.push(origin);
        match origin {
            Origin::Chain { slot, .. } => {
                self.taken(slot).holds += 1;
                self.queue.hold(slot);
            }
            Origin::Chunk(chunk) => self.pool.hold(chunk),
            Origin::Nothing | Origin::Umem { .. } | Origin::Exchanged { .. } => {}
        }
    }

    fn publish(&mut self) {
        let before = self.next_used;
        while let Some(chain) = self.taken.front().filter(|chain| chain.holds == 0) {
            self.guest.expect_used(self.next_used, chain.head, 0);
            self.next_used = self.next_used.wrapping_add(1);
            self.taken.pop_front();
        }
        if self.next_used != before {
            self.guest.expect_used_index(self.next_used);
        }
        self.queue.publish();
        std::sync::atomic::fence(std::sync::atomic::Ordering::SeqCst);
        self.queue.notify();
        self.guest.assert_memory();
        assert_eq!(usize::from(self.queue.in_flight()), self.taken.len());
    }

    fn discard(&mut self) {
        let discarded = self.queue.discard(&mut TakeSteps::default());
        let available = self.guest.available(self.next_avail, self.next_used);
        assert_eq!(discarded.err(), available.err());
        let (Ok(discarded), Ok(available)) = (discarded, available) else { return };
        assert!(discarded <= available && (discarded > 0 || available == 0));
        for _ in 0..discarded {
            self.taken.push_back(Taken { head: self.guest.head(self.next_avail), holds: 0 });
            self.next_avail = self.next_avail.wrapping_add(1);
        }
    }

    fn ask_for_kick(&mut self) {
        let has_work = self.queue.ask_for_kick();
        self.guest.expect_kicks_asked(self.next_avail);
        assert_eq!(has_work, self.guest.available(self.next_avail, self.next_used) != Ok(0));
        self.guest.assert_memory();
        self.queue.refuse_kicks();
        self.guest.expect_kicks_refused(self.next_avail);
        self.guest.assert_memory();
    }

    /// Everything is given back, and then nothing is left.
    fn finish(&mut self) {
        while !self.held.is_empty() {
            self.release(0);
        }
        self.publish();
        assert_eq!((self.queue.in_flight(), self.pool.in_use()), (0, 0));
    }
}

/// Steps that the chains take: before the last, and in all.
fn count_steps(chains: &[Expected]) -> std::ops::Range<u32> {
    let all = chains.iter().map(|chain| chain.steps).sum();
    all - chains.last().map_or(0, |last| last.steps)..all
}
