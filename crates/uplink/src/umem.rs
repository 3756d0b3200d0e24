//! The UMEM of an uplink: chunks that are registered with the kernel, and the memory table that they are reached through.
//! Made by the control thread.
//!
//! The chunks of one queue lie side by side at first: those it receives into, then those it sends from. They lie in huge pages
//! if the host has enough of them: then few entries of the TLB reach all that a worker writes and reads.
//!
//! A queue knows chunks by numbers, counted in its stock: those that were made for it, or all of a UMEM that uplinks share.

use std::fs;
use std::io;
use std::num::NonZeroU32;
use std::ptr::{self, NonNull};
use std::sync::Arc;
use std::sync::atomic::{AtomicU16, Ordering};

use helio_frame::BURST_FRAMES;
use helio_mem::MemoryTable;
use xsk_rs::config::{FrameSize, QueueSize, UmemConfig};
use xsk_rs::{FrameDesc, Umem};

/// Bytes of a chunk.
pub(crate) const CHUNK_BYTES: u32 = 4096;
/// Bytes of a frame that fit one: the kernel keeps the first 256 of each chunk for XDP programs.
pub(crate) const CHUNK_ROOM: u32 = CHUNK_BYTES - 256;
/// Chunks that one queue receives into: as many frames wait, and are held.
pub(crate) const RX_CHUNKS: u16 = 2048;
/// Most chunks of a queue that are lent where the kernel copies frames: 1024 frames in one chunk wait, as many as testpmd is told in
/// perf/, and one burst is with us. The rest is there for what deliveries hold. Chunks go round, so the fewer are lent, the more of
/// them both cores still have at hand: P2P 1518 B (`p2p-1518` in perf/) at 1.10 [1.03 – 1.15] of the rate with all of them, on a
/// host whose caches others fill; other cells within their noise. The price is that the kernel drops after 0.4 ms at 2.5 Mpps and
/// not after 0.8 while a worker is elsewhere. A card that gets fewer than its ring holds wants to be woken in every turn, so it gets all.
pub(crate) const MOST_LENT_TO_COPY: usize = 1024 + BURST_FRAMES;
/// Chunks that one queue sends from.
pub(crate) const TX_CHUNKS: u16 = 2048;
/// Entries of the rx ring: it has room for all that is lent.
pub(crate) const RX_ENTRIES: u32 = 2048;
/// Entries of the other rings. The kernel tells late what it has taken out of a ring, so they have twice the room that their
/// chunks need.
pub(crate) const ENTRIES: u32 = 4096;

/// Chunks of one queue.
pub(crate) const CHUNKS: u32 = RX_CHUNKS as u32 + TX_CHUNKS as u32;

/// What chunks lie in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pages {
    /// Huge pages, of those that the operator has set aside.
    Huge,
    /// Pages of the usual size.
    Ordinary,
}

/// A UMEM, and what is needed to use it.
#[derive(Debug)]
pub(crate) struct Chunks {
    pub(crate) pages: Pages,
    pub(crate) umem: Umem,
    pub(crate) table: Arc<MemoryTable>,
    descriptors: Arc<[FrameDesc]>,
}

/// The chunks that one queue has at first.
#[derive(Clone, Debug)]
pub(crate) struct QueueChunks {
    /// All that it can come to have.
    pub(crate) stock: Stock,
    /// Those to receive into.
    pub(crate) rx: Vec<u16>,
    /// Those to send from.
    pub(crate) tx: Vec<u16>,
}

/// The chunks that a queue can come to have, by number.
#[derive(Clone, Debug)]
pub(crate) struct Stock {
    /// Where number 0 is in the UMEM.
    first: u32,
    count: u16,
    descriptors: Arc<[FrameDesc]>,
    links: Option<Links>,
}

/// Which chunk follows which, of those that one queue gives another for a frame in several. Written by who gives them, read by
/// who gets them: in between is the same worker, or the receipt from one to another, which puts both in order.
#[derive(Clone, Debug)]
pub(crate) struct Links(Arc<[AtomicU16]>);

impl Links {
    /// Room for `count` chunks.
    pub(crate) fn new(count: u16) -> Self {
        Self((0..count).map(|_| AtomicU16::new(u16::MAX)).collect())
    }
}

impl Stock {
    /// Number of chunks.
    pub(crate) fn count(&self) -> u16 {
        self.count
    }

    /// Whether the queues of several uplinks have it, and exchange chunks.
    #[inline]
    pub(crate) fn is_shared(&self) -> bool {
        self.links.is_some()
    }

    /// As the kernel is told of a chunk.
    #[inline]
    pub(crate) fn descriptor(&self, chunk: u16) -> Option<FrameDesc> {
        self.descriptors.get(self.first as usize + usize::from(chunk)).copied()
    }

    /// Fetches what the kernel is told of a chunk: chunks go round, so it was seen long ago.
    #[inline]
    pub(crate) fn fetch(&self, chunk: u16) {
        if let Some(desc) = self.descriptors.get(self.first as usize + usize::from(chunk)) {
            helio_mem::fetch(desc);
        }
    }

    /// The number of the chunk in which a place of the UMEM lies.
    #[inline]
    pub(crate) fn chunk_at(&self, offset: u64) -> Option<u16> {
        let number = offset / u64::from(CHUNK_BYTES);
        let chunk = u16::try_from(number.checked_sub(u64::from(self.first))?).ok()?;
        (chunk < self.count).then_some(chunk)
    }

    /// Notes that `next` follows `chunk`.
    #[inline]
    pub(crate) fn link(&self, chunk: u16, next: u16) {
        let place = self.links.as_ref().and_then(|links| links.0.get(usize::from(chunk)));
        if let Some(place) = place {
            place.store(next, Ordering::Relaxed);
        }
    }

    /// The chunk that was noted to follow `chunk`.
    #[inline]
    pub(crate) fn after(&self, chunk: u16) -> Option<u16> {
        let links = self.links.as_ref()?;
        Some(links.0.get(usize::from(chunk))?.load(Ordering::Relaxed))
    }
}

impl Chunks {
    /// Chunks for `queues` queues. All of them are taken from the host at once, and stay in memory.
    pub(crate) fn make(queues: u32) -> io::Result<Self> {
        let bytes = u64::from(queues) * u64::from(CHUNKS) * u64::from(CHUNK_BYTES);
        // A part of a huge page cannot be given back.
        if huge_page_bytes().is_some_and(|page| bytes.is_multiple_of(page))
            && let Ok(chunks) = Self::make_in(Pages::Huge, queues)
        {
            return Ok(chunks);
        }
        Self::make_in(Pages::Ordinary, queues)
    }

    fn make_in(pages: Pages, queues: u32) -> io::Result<Self> {
        let count = queues.checked_mul(CHUNKS).and_then(NonZeroU32::new);
        let count = count.ok_or_else(|| io::Error::from_raw_os_error(libc::EINVAL))?;
        let entries = |count: u32| QueueSize::new(count).map_err(io::Error::other);
        let config = UmemConfig::builder()
            .frame_size(FrameSize::new(CHUNK_BYTES).map_err(io::Error::other)?)
            .fill_queue_size(entries(ENTRIES)?)
            .comp_queue_size(entries(ENTRIES)?)
            .build()
            .map_err(io::Error::other)?;
        let (umem, descriptors) =
            Umem::new(config, count, pages == Pages::Huge).map_err(|error| host_cause(&error))?;
        let table = table_of(&umem, &descriptors)?;
        Ok(Self { pages, umem, table: Arc::new(table), descriptors: descriptors.into() })
    }

    /// The part of one queue, which no other one ever has.
    pub(crate) fn of_queue(&self, queue: u32) -> Option<QueueChunks> {
        let first = queue.checked_mul(CHUNKS)?;
        let count = u16::try_from(CHUNKS).ok()?;
        self.descriptors.get(first as usize..first as usize + usize::from(count))?;
        let stock = Stock { first, count, descriptors: Arc::clone(&self.descriptors), links: None };
        Some(QueueChunks::new(stock, &(0..count).collect::<Vec<_>>()))
    }

    /// All chunks, which queues exchange. Those behind number `u16::MAX` are left out.
    pub(crate) fn shared_stock(&self) -> Stock {
        let count = u16::try_from(self.descriptors.len()).unwrap_or(u16::MAX);
        let links = Some(Links::new(count));
        Stock { first: 0, count, descriptors: Arc::clone(&self.descriptors), links }
    }
}

impl QueueChunks {
    /// These chunks of a stock: the first of them to receive into, the others to send from.
    pub(crate) fn new(stock: Stock, chunks: &[u16]) -> Self {
        let (rx, tx) = chunks.split_at(usize::from(RX_CHUNKS).min(chunks.len()));
        Self { stock, rx: rx.to_vec(), tx: tx.to_vec() }
    }
}

/// The size of a huge page if nothing else is asked for; `None` when the host has none.
fn huge_page_bytes() -> Option<u64> {
    let told = fs::read_to_string("/proc/meminfo").ok()?;
    let size = told.lines().find_map(|line| line.strip_prefix("Hugepagesize:"))?;
    let kib: u64 = size.trim().strip_suffix(" kB")?.parse().ok()?;
    kib.checked_mul(1024).filter(|bytes| *bytes > 0)
}

/// What the host said, behind what the library says.
pub(crate) fn host_cause(error: &dyn std::error::Error) -> io::Error {
    let cause = error.source().and_then(|cause| cause.downcast_ref::<io::Error>());
    match cause.and_then(io::Error::raw_os_error) {
        Some(code) => io::Error::from_raw_os_error(code),
        None => io::Error::other(error.to_string()),
    }
}

fn table_of(umem: &Umem, descriptors: &[FrameDesc]) -> io::Result<MemoryTable> {
    let none = || io::Error::other("the UMEM has no chunks");
    let first = descriptors.first().ok_or_else(none)?;
    // SAFETY: the descriptor is one of this UMEM. Its length is still 0, so no byte is borrowed.
    let place = unsafe { umem.data(first) }.contents().as_ptr();
    // The library tells where data begins, and not where the mapping does. The mapping came from mmap(2), so its
    // provenance is exposed.
    let start = ptr::with_exposed_provenance_mut(place.expose_provenance() - first.addr());
    let start = NonNull::new(start).ok_or_else(none)?;
    let bytes = descriptors.len() * CHUNK_BYTES as usize;
    // SAFETY: the UMEM has mapped `bytes` bytes from its first chunk on, and keeps them mapped as long as a clone of it lives.
    // They are reached by the kernel and by memory tables only; a `Sender` borrows chunks that are free, or that a frame lies in
    // which it alone sends and nobody reads any more, to set the length of their descriptors: no segment in use names these.
    let table = unsafe { MemoryTable::of_mapping(start, bytes, Box::new(umem.clone())) };
    table.map_err(io::Error::other)
}

#[cfg(test)]
mod tests {
    use super::*;
    use helio_mem::Segment;

    #[test]
    fn each_queue_has_chunks_of_its_own_and_all_lie_in_the_table() {
        let chunks = Chunks::make(2).unwrap();
        assert_eq!(chunks.table.total_bytes(), 2 * 4096 * 4096);
        let mut seen = std::collections::BTreeSet::new();
        for queue in 0..2 {
            let part = chunks.of_queue(queue).unwrap();
            assert_eq!((part.rx.len(), part.tx.len()), (2048, 2048));
            for (number, chunk) in (queue as usize * 4096..).zip(part.rx.iter().chain(&part.tx)) {
                let place = part.stock.descriptor(*chunk).unwrap().addr();
                assert_eq!(place, number * 4096 + 256);
                assert!(seen.insert(place));
                assert_eq!(part.stock.chunk_at(place as u64), Some(*chunk));
            }
            let outside = (u64::from(queue) + 1) * 4096 * 4096;
            assert_eq!(part.stock.chunk_at(outside), None);
            assert!(!part.stock.is_shared());
        }
        assert_eq!(chunks.of_queue(1).unwrap().stock.chunk_at(0), None);
        assert!(chunks.of_queue(2).is_none());
    }

    /// The size of the pages in which the chunks lie, as the kernel tells.
    fn page_bytes(chunks: &Chunks) -> u64 {
        let first = chunks.descriptors[0];
        // SAFETY: the descriptor is of this UMEM, and its length is 0.
        let place = unsafe { chunks.umem.data(&first) }.contents().as_ptr().addr();
        let maps = fs::read_to_string("/proc/self/smaps").unwrap();
        let mut lines = maps.lines().skip_while(|line| {
            let range = line.split(' ').next().and_then(|range| range.split_once('-'));
            let number = |text| usize::from_str_radix(text, 16);
            !range.is_some_and(|(from, to)| match (number(from), number(to)) {
                (Ok(from), Ok(to)) => (from..to).contains(&place),
                _ => false,
            })
        });
        let size = lines.find_map(|line| line.strip_prefix("KernelPageSize:")).unwrap();
        size.trim().strip_suffix(" kB").unwrap().parse::<u64>().unwrap() * 1024
    }

    #[test]
    fn chunks_lie_in_the_pages_that_are_told() {
        let ordinary = Chunks::make_in(Pages::Ordinary, 1).unwrap();
        assert_eq!((ordinary.pages, page_bytes(&ordinary)), (Pages::Ordinary, 4096));
        // Whether the host has huge pages now is not for the test to say.
        let best = Chunks::make(1).unwrap();
        let huge = Some(page_bytes(&best)) == huge_page_bytes();
        assert_eq!(best.pages == Pages::Huge, huge);
    }

    #[test]
    fn all_chunks_of_a_shared_stock_have_a_number_and_know_what_was_noted_to_follow_them() {
        let chunks = Chunks::make(2).unwrap();
        let stock = chunks.shared_stock();
        assert_eq!((stock.count(), stock.is_shared()), (8192, true));
        stock.link(8191, 7);
        assert_eq!((stock.after(8191), stock.after(8192)), (Some(7), None));
        assert_eq!(stock.chunk_at(8191 * 4096 + 256), Some(8191));
        assert_eq!(stock.chunk_at(8192 * 4096), None);
        assert!(stock.descriptor(8192).is_none());
    }

    #[test]
    fn the_table_and_the_library_see_the_same_bytes() {
        let chunks = Chunks::make(1).unwrap();
        let mut last = chunks.descriptors[4095];
        let place = Segment { offset: last.addr() as u64, bytes: 5, region: 0 };
        assert_eq!(chunks.table.write(place, b"hello"), 5);
        // SAFETY: the descriptor is of this UMEM, and nobody else uses the chunk.
        let mut data = unsafe { chunks.umem.data_mut(&mut last) };
        data.cursor().set_pos(5);
        assert_eq!(data.contents(), b"hello");
    }
}
