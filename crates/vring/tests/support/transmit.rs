//! A guest that sends, and the worker that takes its frames.

use std::sync::Arc;

use helio_frame::{Burst, Frame, Intake, MemoryId, Origin, Pool, PortFault};
use helio_mem::MemoryTable;
use helio_types::{DropReason, PortId, WorkerId};
use helio_vring::{Call, Sender, TakeSteps, TransmitQueue};

use super::{Driver, memory};

/// Both ends of one transmitq.
#[derive(Debug)]
pub struct Transmitter {
    pub driver: Driver,
    pub table: Arc<MemoryTable>,
    pub queue: TransmitQueue,
    pub burst: Burst,
    pub pool: Pool,
    pub refused: [u32; DropReason::COUNT],
}

impl Transmitter {
    pub fn new(size: u16, features: u64) -> Self {
        Self::with_call(size, features, Call::default())
    }

    pub fn with_call(size: u16, features: u64, call: Call) -> Self {
        let (map, table) = memory();
        Self::start(Driver::new(map, size), table, features, call)
    }

    /// A ring that has run before, up to `index`.
    pub fn resumed(size: u16, features: u64, index: u16) -> Self {
        let (map, table) = memory();
        Self::start(Driver::resumed(map, size, index), table, features, Call::default())
    }

    pub fn start(driver: Driver, table: Arc<MemoryTable>, features: u64, call: Call) -> Self {
        let setup = driver.setup(features, call);
        let queue = TransmitQueue::start(setup, &table, sender()).unwrap();
        let id = MemoryId::of_worker(WorkerId::new(0).unwrap());
        Self {
            driver,
            table,
            queue,
            burst: Burst::new(),
            pool: Pool::new(4, id).unwrap(),
            refused: [0; DropReason::COUNT],
        }
    }

    /// Writes a net header without wishes and `frame` over `pieces`, and offers them as one chain. Returns its head.
    pub fn send(&mut self, pieces: &[(u64, u32)], header_bytes: usize, frame: &[u8]) -> u16 {
        self.driver.scatter(pieces, &[&vec![0; header_bytes], frame].concat());
        let head = self.driver.chain(pieces, 0);
        self.driver.offer(head);
        head
    }

    /// Takes one burst.
    pub fn take(&mut self) -> Result<u16, PortFault> {
        self.burst.clear();
        let mut intake =
            Intake { burst: &mut self.burst, pool: &mut self.pool, refused: &mut self.refused };
        self.queue.take(&mut intake, &mut TakeSteps::default())
    }

    /// Takes one burst, checks that it is one frame, and returns its bytes.
    pub fn take_one(&mut self) -> Vec<u8> {
        assert_eq!(self.take(), Ok(1));
        assert_eq!(self.burst.frames().len(), 1, "refused: {:?}", self.refusals());
        self.content(&self.burst.frames()[0])
    }

    /// Takes one burst, checks that it is one chain without a frame, and returns why.
    pub fn take_refused(&mut self) -> DropReason {
        let before = self.refused;
        assert_eq!(self.take(), Ok(1));
        assert_eq!(self.burst.frames().len(), 0);
        let mut reasons =
            DropReason::ALL.iter().filter(|r| self.refused[r.index()] != before[r.index()]);
        let reason = *reasons.next().unwrap();
        assert_eq!(reasons.next(), None);
        reason
    }

    pub fn refusals(&self) -> Vec<(DropReason, u32)> {
        let counts = DropReason::ALL.iter().map(|reason| (*reason, self.refused[reason.index()]));
        counts.filter(|(_, count)| *count > 0).collect()
    }

    /// All bytes of a frame, wherever they are.
    pub fn content(&self, frame: &Frame) -> Vec<u8> {
        let table = if frame.memory == self.pool.id() { self.pool.table() } else { &self.table };
        let mut bytes = frame.head.bytes().to_vec();
        for segment in &frame.rest {
            let mut piece = vec![0; segment.bytes as usize];
            assert_eq!(table.read(*segment, &mut piece), piece.len());
            bytes.extend(piece);
        }
        assert_eq!(bytes.len(), frame.bytes as usize);
        bytes
    }

    /// Gives back one hold of `origin`.
    pub fn release(&mut self, origin: Origin) {
        match origin {
            Origin::Chain { slot, .. } => self.queue.release(slot),
            Origin::Chunk(chunk) => self.pool.release(chunk),
            Origin::Umem { .. } | Origin::Exchanged { .. } => {
                panic!("a guest's frame lies in no UMEM")
            }
            Origin::Nothing => {}
        }
    }

    /// Gives back all frames of the burst and publishes. Returns what the driver finds in the used ring.
    pub fn settle(&mut self) -> Vec<(u32, u32)> {
        let origins: Vec<_> = self.burst.frames().iter().map(|frame| frame.origin).collect();
        for origin in origins {
            self.release(origin);
        }
        self.burst.clear();
        self.queue.publish();
        self.driver.used()
    }
}

pub fn sender() -> Sender {
    Sender { port: PortId::new(3).unwrap(), queue: 1 }
}
