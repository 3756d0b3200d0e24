//! The driver side of a ring, for tests: it writes each word as it is told to, and so can lie.
#![allow(dead_code, unused_imports, unreachable_pub, reason = "each test binary uses a part of it")]

mod driver;
mod receive;
mod source;
mod transmit;

use std::os::fd::OwnedFd;
use std::sync::Arc;

use helio_mem::MemoryTable;
use helio_vring::Call;
use rustix::event::{EventfdFlags, eventfd};
use vm_memory::{GuestAddress, GuestMemoryMmap};

pub use driver::{Descriptor, Driver, INDIRECT, NEXT, WRITE};
pub use receive::Receiver;
pub use source::Source;
pub use transmit::{Transmitter, sender};

pub type Map = GuestMemoryMmap<()>;

/// Where the rings are, in a region of their own.
pub const DESCRIPTORS: u64 = 0x1_0000;
pub const AVAIL: u64 = 0x10_0000;
pub const USED: u64 = 0x12_0000;
/// Room for indirect tables, up to the end of the region of the rings.
pub const TABLES: u64 = 0x18_0000;
pub const RINGS_END: u64 = 0x20_0000;
/// Buffers: a region, and at `SEAM` another one right behind it.
pub const DATA: u64 = 0x100_0000;
pub const SEAM: u64 = 0x140_0000;
pub const DATA_END: u64 = 0x150_0000;
/// One page far from all else, near the end of what 64 bits can say.
pub const LAST_PAGE: u64 = u64::MAX - 0x1fff;

/// Memory of one guest.
pub fn memory() -> (Arc<Map>, Arc<MemoryTable>) {
    let ranges =
        [(0, RINGS_END), (DATA, SEAM - DATA), (SEAM, DATA_END - SEAM), (LAST_PAGE, 0x1000)]
            .map(|(start, bytes)| (GuestAddress(start), usize::try_from(bytes).unwrap()));
    let map = Arc::new(Map::from_ranges(&ranges).unwrap());
    let table = Arc::new(MemoryTable::new(Arc::clone(&map)).unwrap());
    (map, table)
}

/// An eventfd that counts signals.
pub fn event() -> (Call, Arc<OwnedFd>) {
    let fd = Arc::new(eventfd(0, EventfdFlags::NONBLOCK | EventfdFlags::CLOEXEC).unwrap());
    (Call(Some(Arc::clone(&fd))), fd)
}

/// Signals since this was last asked.
pub fn signals(fd: &OwnedFd) -> u64 {
    let mut count = [0; 8];
    match rustix::io::read(fd, &mut count) {
        Ok(_) => u64::from_ne_bytes(count),
        Err(_) => 0,
    }
}

/// Bytes that tell where they come from.
pub fn pattern(bytes: usize) -> Vec<u8> {
    (0..bytes).map(|at| u8::try_from((at * 7 + at / 251) % 251).unwrap()).collect()
}

/// `total` bytes at `start`, cut into pieces with the lengths of `cuts`, over and over.
pub fn cut(start: u64, total: u32, cuts: &[u32]) -> Vec<(u64, u32)> {
    let mut pieces = Vec::new();
    let mut done = 0;
    for cut in cuts.iter().cycle() {
        if done == total {
            break;
        }
        let bytes = (*cut).min(total - done);
        pieces.push((start + u64::from(done), bytes));
        done += bytes;
    }
    pieces
}

/// As [`cut`], with a byte between each piece and the next, so that none is the continuation of another.
pub fn scattered(start: u64, total: u32, cuts: &[u32]) -> Vec<(u64, u32)> {
    let pieces = (0..).zip(cut(start, total, cuts));
    pieces.map(|(gaps, (addr, bytes)): (u64, _)| (addr + gaps, bytes)).collect()
}
