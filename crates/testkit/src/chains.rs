//! The transmitq of a fake port: frames that wait, chains that are held, chains that are completed.

use std::collections::VecDeque;
use std::sync::Arc;

use helio_frame::{CHUNK_BYTES, Frame, HEAD_BYTES, Head, Intake, MemoryId, Origin, SegmentList};
use helio_mem::{MemoryTable, Segment};
use helio_types::{DropReason, PortId};

use crate::TestFrame;

/// Chains that can wait or be held at a time.
pub(crate) const CHAINS: u16 = 1024;

/// What stands for all that a fake port gives for a frame that it keeps.
const GIVEN: u16 = 0xfeed;

/// What stands in a frame that was kept.
static OTHER_BYTES: [u8; CHUNK_BYTES as usize] = [0xee; CHUNK_BYTES as usize];

/// Keeps a frame, as a port may that gets it last: whoever reads it from now on finds other bytes there.
pub(crate) fn keep(frame: &mut Frame, memories: &[Option<Arc<MemoryTable>>]) {
    let Origin::Chain { port, queue, slot } = frame.origin else { return };
    let table = memories[frame.memory.index()].as_deref().expect("the frame could be read");
    for piece in &frame.rest {
        let other = OTHER_BYTES.get(..piece.bytes as usize).expect("a frame is no longer");
        assert_eq!(table.write(*piece, other), other.len());
    }
    frame.origin = Origin::Exchanged { port, queue, chunk: slot, instead: GIVEN };
}

/// A frame that waits to be taken.
#[derive(Debug)]
pub(crate) struct Waiting {
    chain: u16,
    content: Content,
}

#[derive(Debug)]
enum Content {
    /// Lies in the memory of the port.
    Placed(Box<Frame>),
    /// Is copied to a private buffer when it is taken.
    Spilled(Box<TestFrame>),
    /// Is refused when it is taken.
    Refused(DropReason),
}

/// The chains of one port, in the order sent. Numbers run on modulo 2^16.
#[derive(Debug)]
pub(crate) struct Chains {
    port: PortId,
    pub(crate) memory: Arc<MemoryTable>,
    waiting: VecDeque<Waiting>,
    holds: Box<[u16]>,
    /// What was taken and is of no use any more, so that a turn frees nothing.
    spent: Vec<Content>,
    next_sent: u16,
    next_taken: u16,
    next_completed: u16,
    pub(crate) completed: u64,
    /// Chains of which the frame was kept by who got it last.
    pub(crate) kept: u64,
}

impl Chains {
    pub(crate) fn new(port: PortId) -> Self {
        let bytes = usize::from(CHAINS) * CHUNK_BYTES as usize;
        Self {
            port,
            memory: Arc::new(MemoryTable::anonymous(bytes).expect("no memory for a fake port")),
            waiting: VecDeque::with_capacity(usize::from(CHAINS)),
            holds: vec![0; usize::from(CHAINS)].into_boxed_slice(),
            spent: Vec::with_capacity(usize::from(CHAINS)),
            next_sent: 0,
            next_taken: 0,
            next_completed: 0,
            completed: 0,
            kept: 0,
        }
    }

    /// Chains that may be sent now.
    pub(crate) fn room(&self) -> u16 {
        CHAINS - self.next_sent.wrapping_sub(self.next_completed)
    }

    /// Where the rest of the next frame will lie.
    pub(crate) fn next_place(&self) -> Segment {
        Segment {
            offset: u64::from(self.next_sent % CHAINS) * u64::from(CHUNK_BYTES),
            bytes: CHUNK_BYTES,
            region: 0,
        }
    }

    /// Puts a frame in front of the worker, its rest cut into `pieces`.
    pub(crate) fn send(&mut self, frame: &TestFrame, pieces: u32) {
        let (head, rest) = frame.bytes.split_at(frame.bytes.len().min(HEAD_BYTES));
        let placed = Frame {
            bytes: u32::try_from(frame.bytes.len()).unwrap(),
            head: Head::copy_of(head),
            net: frame.net,
            memory: MemoryId::of_port(self.port),
            rest: self.place(rest, pieces),
            // As the ring of a guest has it: what lies in its head as a whole needs no chain any more.
            origin: match rest {
                [] => Origin::Nothing,
                _ => Origin::Chain { port: self.port, queue: 0, slot: self.next_sent },
            },
        };
        self.push(Content::Placed(Box::new(placed)));
    }

    /// Puts a frame in front of the worker that will lie in a private buffer.
    pub(crate) fn send_spilled(&mut self, frame: &TestFrame) {
        self.push(Content::Spilled(Box::new(frame.clone())));
    }

    /// Puts a chain in front of the worker that holds no frame.
    pub(crate) fn send_refused(&mut self, reason: DropReason) {
        self.push(Content::Refused(reason));
    }

    fn push(&mut self, content: Content) {
        assert!(self.room() > 0, "{}: more chains sent than the ring has", self.port);
        self.spent.clear();
        self.waiting.push_back(Waiting { chain: self.next_sent, content });
        self.next_sent = self.next_sent.wrapping_add(1);
    }

    /// Writes `rest` to the place of the next chain, in pieces with a gap of one byte between them.
    fn place(&self, rest: &[u8], pieces: u32) -> SegmentList {
        let mut list = SegmentList::new();
        let mut place = self.next_place();
        let piece_bytes = rest.len().div_ceil(pieces.max(1) as usize).max(1);
        for piece in rest.chunks(piece_bytes) {
            let bytes = u32::try_from(piece.len()).unwrap();
            list.push(place.limit(bytes));
            assert_eq!(self.memory.write(place, piece), piece.len());
            place = place.skip(bytes + 1);
        }
        list
    }

    pub(crate) fn is_waiting(&self) -> bool {
        !self.waiting.is_empty()
    }

    pub(crate) fn in_flight(&self) -> u16 {
        self.next_taken.wrapping_sub(self.next_completed)
    }

    pub(crate) fn take(&mut self, intake: &mut Intake<'_>) {
        while intake.burst.has_room() {
            let Some(Waiting { chain, content }) = self.waiting.pop_front() else { return };
            assert_eq!(chain, self.next_taken, "{}: chains are taken in order", self.port);
            self.next_taken = chain.wrapping_add(1);
            let mut holds = 0;
            match &content {
                Content::Placed(frame) => {
                    holds = u16::from(frame.origin != Origin::Nothing);
                    intake.burst.push((**frame).clone());
                }
                Content::Spilled(frame) => match spill(frame, self.port, intake) {
                    Some(frame) => intake.burst.push(frame),
                    None => intake.refuse(DropReason::NoPrivateBuffer),
                },
                Content::Refused(reason) => intake.refuse(*reason),
            }
            self.spent.push(content);
            self.holds[usize::from(chain % CHAINS)] = holds;
        }
    }

    pub(crate) fn hold(&mut self, origin: Origin) {
        let holds = self.holds_of(origin);
        assert!(*holds > 0, "a chain was held after it was given back: {origin:?}");
        *holds += 1;
    }

    pub(crate) fn release(&mut self, origin: Origin) {
        let holds = self.holds_of(origin);
        assert!(*holds > 0, "a chain was given back more often than it was held: {origin:?}");
        let is_kept = matches!(origin, Origin::Exchanged { .. });
        assert!(!is_kept || *holds == 1, "a frame was kept while others hold it: {origin:?}");
        *holds -= 1;
        self.kept += u64::from(is_kept);
    }

    fn holds_of(&mut self, origin: Origin) -> &mut u16 {
        let (port, slot) = match origin {
            Origin::Chain { port, queue: 0, slot } => (port, slot),
            Origin::Exchanged { port, queue: 0, chunk, instead: GIVEN } => (port, chunk),
            _ => panic!("{} was given back what is not its own: {origin:?}", self.port),
        };
        assert_eq!(port, self.port, "a chain was given back to another port");
        let age = slot.wrapping_sub(self.next_completed);
        assert!(age < self.in_flight(), "the chain is completed, or was never taken: {origin:?}");
        &mut self.holds[usize::from(slot % CHAINS)]
    }

    /// Completes what is done, in the order taken.
    pub(crate) fn publish(&mut self) {
        while self.next_completed != self.next_taken
            && self.holds[usize::from(self.next_completed % CHAINS)] == 0
        {
            self.next_completed = self.next_completed.wrapping_add(1);
            self.completed += 1;
        }
    }
}

/// A copy of `frame` in a private buffer, as a port makes it of a frame in too many pieces.
fn spill(frame: &TestFrame, owner: PortId, intake: &mut Intake<'_>) -> Option<Frame> {
    let chunk = intake.pool.take(owner)?;
    let (head, rest) = frame.bytes.split_at(frame.bytes.len().min(HEAD_BYTES));
    let place = intake.pool.segment(chunk);
    let written = intake.pool.table().write(place, rest);
    assert_eq!(written, rest.len(), "a private buffer holds any frame");
    let mut list = SegmentList::new();
    list.push(place.limit(u32::try_from(rest.len()).unwrap()));
    Some(Frame {
        bytes: u32::try_from(frame.bytes.len()).unwrap(),
        head: Head::copy_of(head),
        net: frame.net,
        memory: intake.pool.id(),
        rest: list,
        origin: Origin::Chunk(chunk),
    })
}
