//! A guest that receives: buffers as the input says, filled by a [`ReceiveQueue`].
//!
//! A frame lies in the buffers whole and once, or not at all; the used lengths add up to it; nothing is written outside
//! the buffers and the used ring; and a chain that breaks the rules comes back empty. Frames are offered one by one or as
//! runs, and a buffer that was looked at ahead of time is the one that is written, whatever its descriptor says meanwhile.

mod source;

use std::collections::VecDeque;
use std::ops::Range;

use helio_frame::{Frame, PortFault};
use helio_offload::NetHeader;
use helio_types::DropReason;
use helio_vring::{MAX_CHAIN_DESCRIPTORS, ReceiveQueue, feature};

use crate::Outcome;
use crate::chain::{Descriptor, alone, walk};
use crate::guest::{Guest, MAX_OPERATIONS, MAX_WORK};
use crate::input::Input;
use source::Parts;

/// Most chains that one frame is spread over.
const MAX_CHAINS: usize = 256;

/// Descriptors that a turn must not exceed, and those before which nothing may be refused for them.
const TURN_STEPS: Range<u32> = 4 * MAX_CHAIN_DESCRIPTORS as u32..16 * MAX_CHAIN_DESCRIPTORS as u32;

/// What checking one frame costs, in steps.
const OFFER_WORK: u32 = 100;

/// Chains looked at ahead of time, at most.
const MAX_READY: usize = 128;

/// What the queue said of one frame.
type Offered = Result<Result<(), DropReason>, PortFault>;

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
        if input.is_empty() || case.faulted || case.work > MAX_WORK {
            break;
        }
        case.step(&mut input);
    }
    case.publish();
    case.outcome
}

struct Case {
    guest: Guest,
    queue: ReceiveQueue,
    /// The next entry of either ring: what is taken is used at once.
    next: u16,
    /// The used index that the guest sees.
    published: u16,
    /// Chains on offer when the queue last looked.
    available: u16,
    /// The next chains, as they were when they were looked at ahead of time: each is one buffer.
    ready: VecDeque<(u16, Descriptor)>,
    /// Steps taken in this turn, at least and at most: it is not known how far a chain was read that is refused to bound
    /// the turn.
    steps: Range<u32>,
    /// Steps taken for this input, and what counts as such.
    work: u32,
    faulted: bool,
    outcome: Outcome,
}

/// What the rules say of one frame.
#[derive(Debug)]
enum Expected {
    /// It fits these chains.
    Fits(Vec<Chain>),
    /// It is refused, and no chain is used.
    Stays(DropReason),
    /// The last of these chains breaks a rule.
    Broken(Vec<u16>, DropReason),
    /// The avail index is impossible.
    Fault,
}

#[derive(Debug)]
struct Chain {
    head: u16,
    buffers: Vec<Descriptor>,
    bytes: u64,
}

impl Case {
    fn start(mut guest: Guest) -> Option<Self> {
        let (queue, index) = guest.start(ReceiveQueue::start)?;
        Some(Self {
            guest,
            queue,
            next: index,
            published: index,
            available: 0,
            ready: VecDeque::new(),
            steps: 0..0,
            work: 0,
            faulted: false,
            outcome: Outcome::default(),
        })
    }

    fn step(&mut self, input: &mut Input<'_>) {
        let operation = input.u8() % (Guest::OPERATIONS + 6);
        match operation.checked_sub(Guest::OPERATIONS) {
            None => self.guest.act(operation, input),
            Some(0 | 1) => self.offer(input),
            Some(2) => {
                for _ in 0..input.u8() {
                    self.offer(&mut Input::new(&[0, 20, 0]));
                }
            }
            Some(3) => self.publish(),
            Some(4) => self.prepare(input.u8()),
            Some(_) => self.offer_run(input),
        }
    }

    fn offer(&mut self, input: &mut Input<'_>) {
        if self.faulted || self.work > MAX_WORK {
            return;
        }
        let parts = Parts::new(input);
        let (delivery, bytes) = (parts.delivery(), parts.bytes());
        assert_eq!(bytes.len(), delivery.bytes() as usize);
        let offered = self.queue.offer(&delivery);
        self.judge(offered, &delivery.net, &bytes);
        self.compare();
    }

    /// Offers frames as a worker does: after each that is refused, those behind it.
    fn offer_run(&mut self, input: &mut Input<'_>) {
        let frames = source::frames(input);
        let mut left = &frames[..];
        while !left.is_empty() && !self.faulted && self.work <= MAX_WORK {
            let (end, fault) = self.queue.offer_run(source::run(left));
            let (written, others) = left.split_at(end.written);
            written.iter().for_each(|frame| self.judge_frame(Ok(Ok(())), frame));
            let (reason, count) = end.refused.unwrap_or((DropReason::PortDown, 0));
            assert_eq!(count == 0, others.is_empty(), "{end:?} of {}", left.len());
            let (refused, others) = others.split_at(count);
            let is_end = fault.is_some() || (reason, self.available) == (DropReason::NoRxBuffer, 0);
            assert!(count <= 1 || is_end, "{end:?} of {}", left.len());
            let outcome = fault.map_or(Ok(Err(reason)), Err);
            refused.iter().for_each(|frame| self.judge_frame(outcome, frame));
            left = others;
            self.compare();
        }
    }

    fn judge_frame(&mut self, offered: Offered, frame: &Frame) {
        self.judge(offered, &frame.net, &source::content(frame));
    }

    /// What became of a frame is what the rules say.
    fn judge(&mut self, offered: Offered, net: &NetHeader, frame: &[u8]) {
        self.work += OFFER_WORK;
        let known = self.steps.start;
        let needed = (frame.len() + self.guest.header_bytes()) as u64;
        let expected = self.expected(needed);
        match (offered, expected) {
            (Err(fault), Expected::Fault) => {
                assert_eq!(Err(fault), self.guest.available(self.next, self.published));
                self.faulted = true;
            }
            (Ok(Ok(())), Expected::Fits(chains)) => self.expect_frame(&chains, net, frame),
            (Ok(Err(DropReason::RxBufferTooSmall)), _) if self.steps.end >= TURN_STEPS.start => {
                self.steps.start = known;
            }
            (Ok(Err(reason)), Expected::Stays(should)) if reason == should => {}
            (Ok(Err(reason)), Expected::Broken(heads, should)) if reason == should => {
                heads.into_iter().for_each(|head| self.expect_used(head, 0));
            }
            (offered, expected) => panic!("{offered:?} and not {expected:?}"),
        }
        assert!(self.steps.start < TURN_STEPS.end, "{:?} steps in one turn", self.steps);
        self.outcome.count(&offered.unwrap_or(Err(DropReason::PortDown)));
    }

    /// The queue stands where it should, and so does all memory.
    fn compare(&self) {
        assert_eq!(self.queue.next_avail(), self.next);
        self.guest.assert_memory();
    }

    /// Lets the queue look at chains for so many frames ahead of time.
    fn prepare(&mut self, count: u8) {
        let count = usize::from(count) % (2 * MAX_READY);
        let most = 2 * u32::try_from(count).unwrap();
        // Near the end of a turn it is not known whether the queue still looks.
        if self.faulted || self.steps.end + most >= TURN_STEPS.start {
            return;
        }
        self.queue.prepare(&source::lengths()[..count]);
        self.steps.end += most;
        self.work += most;
        let wanted = MAX_READY.min(self.ready.len() + count);
        if wanted > usize::from(self.available) {
            // An impossible index is a fault when a frame is offered.
            let available = self.guest.available(self.next, self.published);
            self.available = available.unwrap_or(self.available);
        }
        while self.ready.len() < wanted.min(self.available.into()) {
            let head =
                self.guest.head(self.next.wrapping_add(u16::try_from(self.ready.len()).unwrap()));
            let Some(buffer) = self.single(head) else { break };
            self.ready.push_back((head, buffer));
        }
        self.compare();
    }

    /// The buffer of the chain at `head`, if the chain is that one to be written, in one region and not empty.
    fn single(&self, head: u16) -> Option<Descriptor> {
        let buffer = alone(&self.guest, head).filter(|buffer| buffer.is_writable())?;
        let image = &self.guest.image;
        let is_whole = image.holds(buffer.addr, buffer.bytes);
        (is_whole && image.count_pieces(buffer.addr, buffer.bytes) == 1).then_some(buffer)
    }

    /// Where a frame goes that needs `needed` bytes with its net header. VIRTIO 1.2, section 5.1.6.3.
    fn expected(&mut self, needed: u64) -> Expected {
        let mergeable = self.guest.features & feature::MRG_RXBUF != 0;
        if let Some(&(head, buffer)) = self.ready.front() {
            let bytes = u64::from(buffer.bytes);
            if bytes >= needed {
                return Expected::Fits(vec![Chain { head, buffers: vec![buffer], bytes }]);
            }
            if !mergeable {
                return Expected::Stays(DropReason::RxBufferTooSmall);
            }
        }
        let (mut chains, mut room, mut pieces) = (Vec::new(), 0, 0);
        while room < needed {
            let ahead = u16::try_from(chains.len()).unwrap();
            if chains.len() >= if mergeable { MAX_CHAINS } else { 1 } {
                return Expected::Stays(DropReason::RxBufferTooSmall);
            }
            if ahead >= self.available {
                match self.guest.available(self.next, self.published) {
                    Ok(available) => self.available = available,
                    Err(_) => return Expected::Fault,
                }
                if ahead >= self.available {
                    return Expected::Stays(DropReason::NoRxBuffer);
                }
            }
            let head = self.guest.head(self.next.wrapping_add(ahead));
            match self.read(head, needed - room, &mut pieces) {
                Ok(chain) => {
                    room += chain.bytes;
                    chains.push(chain);
                }
                Err(reason @ DropReason::RxBufferTooSmall) => return Expected::Stays(reason),
                Err(reason) => {
                    let heads = chains.iter().map(|chain: &Chain| chain.head).chain([head]);
                    return Expected::Broken(heads.collect(), reason);
                }
            }
        }
        Expected::Fits(chains)
    }

    /// The chain at `head`, of which the frame needs `missing` bytes.
    fn read(&mut self, head: u16, missing: u64, pieces: &mut usize) -> Result<Chain, DropReason> {
        let mut chain = Chain { head, buffers: Vec::new(), bytes: 0 };
        let mut steps = 1;
        let walked = walk(&self.guest, head, |buffer| {
            steps += 1;
            if !buffer.is_writable() {
                return Err(DropReason::ChainDirection);
            }
            let filled = chain.bytes;
            chain.bytes += u64::from(buffer.bytes);
            u32::try_from(chain.bytes).map_err(|_| DropReason::Oversize)?;
            // Only what the frame fills is remembered, and only so many pieces of it.
            let needed = u32::try_from(missing.saturating_sub(filled).min(buffer.bytes.into()));
            *pieces += self.guest.image.count_pieces(buffer.addr, needed.unwrap());
            if *pieces > usize::from(MAX_CHAIN_DESCRIPTORS) {
                return Err(DropReason::RxBufferTooSmall);
            }
            if !self.guest.image.holds(buffer.addr, buffer.bytes) {
                return Err(DropReason::ChainAddress);
            }
            chain.buffers.push(buffer);
            Ok(())
        });
        self.steps = self.steps.start + steps..self.steps.end + steps;
        self.work += steps;
        walked.map(|()| chain)
    }

    /// The frame must lie in `chains`, behind its net header, and all but the last must be full.
    fn expect_frame(&mut self, chains: &[Chain], net: &NetHeader, frame: &[u8]) {
        let mut raw = net.to_raw();
        raw.num_buffers = u16::try_from(chains.len()).unwrap();
        let data = [&raw.to_bytes()[..self.guest.header_bytes()], frame].concat();
        let mut left = &data[..];
        for buffer in chains.iter().flat_map(|chain| &chain.buffers) {
            let (now, later) = left.split_at(left.len().min(buffer.bytes as usize));
            assert!(self.guest.image.write(buffer.addr, now));
            left = later;
        }
        assert!(left.is_empty());
        let mut left = data.len() as u64;
        for chain in chains {
            let written = chain.bytes.min(left);
            left -= written;
            self.expect_used(chain.head, u32::try_from(written).unwrap());
        }
        assert_eq!(left, 0);
    }

    fn expect_used(&mut self, head: u16, written: u32) {
        self.guest.expect_used(self.next, head, written);
        self.next = self.next.wrapping_add(1);
        self.available = self.available.saturating_sub(1);
        self.ready.pop_front();
    }

    fn publish(&mut self) {
        if self.published != self.next {
            self.guest.expect_used_index(self.next);
            self.published = self.next;
        }
        self.steps = 0..0;
        self.queue.publish();
        std::sync::atomic::fence(std::sync::atomic::Ordering::SeqCst);
        self.queue.notify();
        self.guest.assert_memory();
    }
}
