//! A guest that receives, and the worker that writes to it.

use std::sync::Arc;

use helio_frame::{Delivery, PortFault, RestBytes};
use helio_mem::{GuestAddr, MemoryTable};
use helio_offload::NetHeader;
use helio_types::DropReason;
use helio_vring::{Call, NetHeaderSize, ReceiveQueue};

use super::{Driver, WRITE, memory};

/// Both ends of one receiveq, and memory of another guest that frames come from.
#[derive(Debug)]
pub struct Receiver {
    pub driver: Driver,
    pub table: Arc<MemoryTable>,
    pub queue: ReceiveQueue,
    pub header_bytes: usize,
    source: MemoryTable,
}

impl Receiver {
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
        Self {
            queue: ReceiveQueue::start(driver.setup(features, call), &table).unwrap(),
            driver,
            table,
            header_bytes: NetHeaderSize::of(features).bytes(),
            source: MemoryTable::anonymous(0x4_0000).unwrap(),
        }
    }

    /// Posts `pieces` as one chain. Returns its head.
    pub fn post(&mut self, pieces: &[(u64, u32)]) -> u16 {
        let head = self.driver.chain(pieces, WRITE);
        self.driver.offer(head);
        head
    }

    /// Posts `count` chains of one buffer of `bytes` bytes each, one behind the other from `start`.
    pub fn post_many(&mut self, start: u64, bytes: u32, count: u32) {
        for at in 0..count {
            self.post(&[(start + u64::from(at) * u64::from(bytes), bytes)]);
        }
    }

    /// Delivers `frame`: its header and its tail from private memory, the rest from pieces of another guest.
    pub fn offer(&mut self, frame: &[u8]) -> Result<Result<(), DropReason>, PortFault> {
        let (header, after) = frame.split_at(frame.len().min(18));
        let (tail, rest) = after.split_at(after.len().min(110));
        let mut segments = Vec::new();
        for (at, piece) in rest.chunks(4000).enumerate() {
            let addr = GuestAddr(8192 * at as u64 + 5);
            let bytes = u32::try_from(piece.len()).unwrap();
            let source = &self.source;
            let wrote = |segment| {
                segments.push(segment);
                source.write(segment, piece) == piece.len()
            };
            source.resolve(addr, bytes, wrote).unwrap();
        }
        let rest = RestBytes::new(Some(&self.source), &segments);
        self.queue.offer(&Delivery::whole(NetHeader::PLAIN, header, tail, rest))
    }

    /// Publishes. Returns what the driver finds in the used ring.
    pub fn settle(&mut self) -> Vec<(u32, u32)> {
        self.queue.publish();
        self.driver.used()
    }

    /// What the net header says: the number of chains.
    pub fn num_buffers(&self, start: u64) -> u16 {
        let bytes = self.driver.read(start + 10, 2);
        u16::from_le_bytes([bytes[0], bytes[1]])
    }
}
