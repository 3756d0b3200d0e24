//! Frames that lie in memory of other guests, as a worker holds them.

use std::sync::Arc;

use helio_frame::{Frame, HEAD_BYTES, Head, MEMORY_IDS, MemoryId, Origin, Precedence, Run};
use helio_mem::{MemoryTable, Segment};
use helio_offload::NetHeader;
use helio_types::{PortId, WorkerId};

/// Bytes of each memory.
const BYTES: usize = 0x20_0000;

/// Two memories that the rests of frames lie in, and one that is gone.
#[derive(Debug)]
pub struct Source {
    memories: Vec<Option<Arc<MemoryTable>>>,
    /// Where the next rest goes.
    next: u64,
}

impl Source {
    pub fn new() -> Self {
        let mut memories = vec![None; MEMORY_IDS];
        for id in [port(0), worker()] {
            memories[id.index()] = Some(Arc::new(MemoryTable::anonymous(BYTES).unwrap()));
        }
        Self { memories, next: 5 }
    }

    /// A frame whose rest lies in up to `pieces` pieces of one of the memories.
    pub fn frame(&mut self, bytes: &[u8], net: NetHeader, pieces: usize) -> Frame {
        let id = if bytes.len().is_multiple_of(2) { port(0) } else { worker() };
        let (head, rest) = bytes.split_at(bytes.len().min(HEAD_BYTES));
        let mut frame = Frame {
            head: Head::copy_of(head),
            bytes: u32::try_from(bytes.len()).unwrap(),
            net,
            memory: id,
            origin: Origin::Nothing,
            ..Frame::vacant()
        };
        let table = self.memories[id.index()].as_ref().unwrap();
        for piece in rest.chunks(rest.len().div_ceil(pieces).max(1)) {
            let bytes = u32::try_from(piece.len()).unwrap();
            let segment = Segment { offset: self.next, bytes, region: 0 };
            assert_eq!(table.write(segment, piece), piece.len());
            frame.rest.push(segment);
            self.next += u64::from(bytes) + 3;
        }
        frame
    }

    /// A frame that nothing must be done to, in one piece.
    pub fn plain(&mut self, bytes: &[u8]) -> Frame {
        self.frame(bytes, NetHeader::PLAIN, 1)
    }

    /// As [`Source::plain`], in the memory that is gone.
    pub fn lost(&mut self, bytes: &[u8]) -> Frame {
        Frame { memory: port(1), ..self.plain(bytes) }
    }

    pub fn run<'a>(&'a self, frames: &'a [Frame]) -> Run<'a> {
        Run { frames, memories: &self.memories, precedence: Precedence::Production }
    }
}

fn port(index: usize) -> MemoryId {
    MemoryId::of_port(PortId::new(index).unwrap())
}

fn worker() -> MemoryId {
    MemoryId::of_worker(WorkerId::new(0).unwrap())
}
