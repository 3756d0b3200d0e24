//! Sending on one queue: frames are written into chunks, the chunks go to the tx ring, and come back by the completion ring.
//! A frame that lies in a chunk of the same UMEM already need not be written: its chunk is taken, and a free one given for it.
//!
//! Nearly every frame lies in one chunk: for it nothing is gathered, and chunks are copied out of the list of free ones, which is
//! cut afterwards, not drained. From veth to veth, near (`p2p-64` in perf/, drained): 271 ns and 266, less in each of four rounds.
//! What is in its header whole, as short frames are, is written by one copy: with far cores 8 ns instead of 12 for each.
//!
//! Used by the worker.

use arrayvec::ArrayVec;
use helio_frame::{Delivery, Precedence};
use helio_host::Link;
use helio_mem::{MemoryTable, Segment};
use helio_types::DropReason;
use xsk_rs::{CompQueue, FrameDesc, TxQueue, Umem};

use crate::census::Census;
use crate::chunk_set::ChunkSet;
use crate::in_place::Piece;
use crate::umem::{CHUNK_ROOM, ENTRIES, QueueChunks, Stock, TX_CHUNKS};

/// Shortest frame on a wire, without the FCS. IEEE 802.3-2018, 4.2.3.3.
pub(crate) const WIRE_MIN_BYTES: u32 = 60;
/// Most chunks of one frame: what the kernel joins to one frame. Linux 6.18, include/linux/skbuff.h, MAX_SKB_FRAGS: 17; where a
/// driver wants nothing before them (IFF_TX_SKB_NO_LINEAR, as virtio_net does), the first chunk is one of these pieces, and of a
/// frame with one more the kernel would give no chunk back.
pub(crate) const MAX_CHUNKS: usize = 17;
/// Chunks that mirror copies leave free.
const KEPT_FOR_PRODUCTION: usize = TX_CHUNKS as usize / 4;
/// Descriptors taken from the completion ring in one step.
const RECLAIM_STEP: usize = 64;
/// Says that the frame goes on in the next descriptor. Linux 6.6, include/uapi/linux/if_xdp.h, XDP_PKT_CONTD.
pub(crate) const CONTINUES: u32 = 1;

#[derive(Debug)]
pub(crate) struct Sender {
    umem: Umem,
    tx: TxQueue,
    completion: CompQueue,
    stock: Stock,
    /// All chunks that are ours: free, written, or with the kernel.
    ours: ChunkSet,
    /// Chunks to write to.
    free: Vec<FrameDesc>,
    /// Chunks written, in order.
    staged: Vec<FrameDesc>,
    /// Chunks that the kernel has.
    sent: usize,
    /// The kernel has not looked at all that is in the tx ring.
    backlog: bool,
    /// Something was published since the last turn began.
    published: bool,
    /// The kernel was called in this turn.
    called: bool,
}

impl Sender {
    pub(crate) fn new(
        umem: Umem,
        tx: TxQueue,
        completion: CompQueue,
        chunks: &QueueChunks,
    ) -> Self {
        let mut ours = ChunkSet::empty(chunks.stock.count());
        chunks.tx.iter().for_each(|chunk| ours.insert(*chunk));
        Self {
            umem,
            tx,
            completion,
            free: chunks.tx.iter().filter_map(|chunk| chunks.stock.descriptor(*chunk)).collect(),
            stock: chunks.stock.clone(),
            ours,
            staged: Vec::with_capacity(chunks.tx.len()),
            sent: 0,
            backlog: false,
            published: false,
            called: false,
        }
    }

    /// Begins a turn: takes back what was sent, and calls the kernel again if it left something lying. Without a link it can
    /// send nothing: then it is not called.
    #[inline]
    pub(crate) fn begin_turn(&mut self, link: Link) {
        self.called = false;
        if self.sent > 0 {
            self.reclaim();
        }
        if !std::mem::take(&mut self.published) && self.backlog && link == Link::Up {
            self.call();
        }
    }

    /// Writes a frame into free chunks; those of `table`.
    ///
    /// # Errors
    ///
    /// The reason to count; nothing is sent then.
    #[inline]
    pub(crate) fn offer(
        &mut self,
        delivery: &Delivery<'_>,
        table: &MemoryTable,
    ) -> Result<(), DropReason> {
        let bytes = delivery.bytes().max(WIRE_MIN_BYTES);
        let needed = bytes.div_ceil(CHUNK_ROOM) as usize;
        if needed > MAX_CHUNKS {
            return Err(DropReason::Mtu);
        }
        if !self.has_free(needed + reserve(delivery.precedence)) {
            return Err(DropReason::NoTxChunk);
        }
        let kept = self.free.len() - needed;
        let whole = match self.free.get(kept..).unwrap_or_default() {
            [only] if is_header_alone(delivery) => {
                table.write(place_of(only), delivery.header) == delivery.header.len()
            }
            // Nearly every frame: nothing is gathered for it.
            [only] => write(delivery, table, &[place_of(only)]),
            chosen => {
                let places = chosen.iter().map(place_of).collect::<ArrayVec<Segment, MAX_CHUNKS>>();
                write(delivery, table, &places)
            }
        };
        if !whole {
            // Its source is gone. The chunks stay free, and nobody sees what is in them.
            return Err(DropReason::PortDown);
        }
        self.stage(kept, bytes);
        Ok(())
    }

    /// Whether `needed` chunks are free, if need be after taking back what was sent.
    #[inline]
    pub(crate) fn has_free(&mut self, needed: usize) -> bool {
        while self.free.len() < needed {
            if self.reclaim() == 0 {
                return false;
            }
        }
        true
    }

    /// The free chunks from number `kept` on hold a frame of `bytes` bytes.
    #[inline]
    fn stage(&mut self, kept: usize, bytes: u32) {
        let Self { umem, free, staged, .. } = self;
        let mut left = bytes;
        for desc in free.get(kept..).unwrap_or_default() {
            let mut desc = *desc;
            let here = left.min(CHUNK_ROOM);
            left -= here;
            desc.set_options(if left > 0 { CONTINUES } else { 0 });
            // SAFETY: the descriptor is one of this UMEM. The chunk was free, so neither the kernel nor a frame has it; the
            // borrow of its bytes ends here, and nothing is read or written through it.
            let mut data = unsafe { umem.data_mut(&mut desc) };
            data.cursor().set_pos(here as usize);
            staged.push(desc);
        }
        free.truncate(kept);
    }

    /// Which chunks there can be.
    #[inline]
    pub(crate) fn stock(&self) -> &Stock {
        &self.stock
    }

    /// Sends a frame from the chunks that it lies in, and gives as many free ones for them: returns the first, to which the
    /// others are linked. From here on the chunks of the frame are ours, and those given are not.
    ///
    /// Always inlined: so the loop is gone for a frame in one chunk.
    ///
    /// # Errors
    ///
    /// The reason to count; nothing is sent then, and all chunks are whose they were.
    ///
    /// # Safety
    ///
    /// The pieces must lie in chunks of our stock. The caller must give them to us, for good: nobody reads or writes what is in
    /// them afterwards, and their owner hears of it when it holds the frame for nobody else any more.
    #[inline(always)]
    pub(crate) unsafe fn exchange(
        &mut self,
        pieces: &[Piece],
        precedence: Precedence,
    ) -> Result<u16, DropReason> {
        if pieces.is_empty() || !self.has_free(pieces.len() + reserve(precedence)) {
            return Err(DropReason::NoTxChunk);
        }
        let Self { umem, stock, ours, free, staged, .. } = self;
        let (mut first, mut last) = (None, None);
        let kept = free.len() - pieces.len();
        for (given, piece) in free.get(kept..).unwrap_or_default().iter().zip(pieces) {
            let given = stock.chunk_at(given.addr() as u64).unwrap_or(u16::MAX);
            ours.remove(given);
            if let Some(last) = last.replace(given) {
                stock.link(last, given);
            }
            first = first.or(Some(given));
            ours.insert(piece.chunk);
            let Some(mut desc) = stock.descriptor(piece.chunk) else { continue };
            desc.set_options(piece.options);
            // SAFETY: the descriptor is one of this UMEM. The chunk is ours, as the caller promises, so neither the kernel nor
            // a frame has it; the borrow of its bytes ends here, and nothing is read or written through it.
            let mut data = unsafe { umem.data_mut(&mut desc) };
            data.cursor().set_pos(piece.bytes as usize);
            staged.push(desc);
        }
        free.truncate(kept);
        first.ok_or(DropReason::NoTxChunk)
    }

    /// All chunks that are ours.
    pub(crate) fn chunks(&self) -> impl Iterator<Item = u16> + '_ {
        self.ours.iter()
    }

    /// Shows the kernel what was written, and calls it if it asks for that, or has left something lying. Ends a turn: a port
    /// from which nothing comes is published to many times before it is asked for frames again, and each time the kernel may be
    /// called once.
    #[inline]
    pub(crate) fn publish(&mut self, link: Link) {
        let called = std::mem::take(&mut self.called);
        if !self.staged.is_empty() {
            self.submit();
            self.published = true;
            self.backlog = true;
        }
        if self.backlog && !called && link == Link::Up {
            self.call();
            self.called = false;
            self.reclaim();
        }
    }

    fn submit(&mut self) {
        // There is room for all, but for a kernel that tells very late what it has taken; then the rest waits a turn.
        let wanted = u32::try_from(self.staged.len()).unwrap_or(u32::MAX);
        let room = (self.tx.nb_free(wanted) as usize).min(self.staged.len());
        let Some(batch) = self.staged.get(..room) else { return };
        // SAFETY: the chunks are of this UMEM and hold a frame. They were free before, or were got for free ones in `exchange`:
        // nobody else has them.
        let queued = unsafe { self.tx.produce(batch) };
        self.sent += queued;
        if queued == self.staged.len() {
            self.staged.clear();
        } else {
            self.staged.drain(..queued);
        }
    }

    /// Lets the kernel look at the tx ring.
    fn call(&mut self) {
        if !self.staged.is_empty() {
            self.submit();
        }
        if self.tx.needs_wakeup() {
            self.called = true;
            // What it did shows in the rings. That the link is down, or the interface gone, is told otherwise.
            let _ = self.tx.wakeup();
        }
        self.backlog = self.tx.nb_free_exact() < ENTRIES || !self.staged.is_empty();
    }

    /// Takes back some of what was sent. Returns how many chunks.
    #[inline]
    fn reclaim(&mut self) -> usize {
        let mut batch = [FrameDesc::default(); RECLAIM_STEP];
        // SAFETY: the ring is that of a socket of this UMEM.
        let done = unsafe { self.completion.consume(&mut batch) };
        debug_assert!(
            done <= self.sent,
            "{done} chunks were sent, and {} were on their way",
            self.sent
        );
        let done_ones = batch.iter().take(done);
        debug_assert!(
            done_ones.clone().all(|desc| self.is_ours(desc)),
            "a chunk was sent that was not ours"
        );
        self.free.extend(done_ones);
        self.sent = self.sent.saturating_sub(done);
        done
    }

    fn is_ours(&self, desc: &FrameDesc) -> bool {
        self.stock.chunk_at(desc.addr() as u64).is_some_and(|chunk| self.ours.contains(chunk))
    }

    /// Whether the kernel must be called again before the worker sleeps.
    pub(crate) fn has_backlog(&self) -> bool {
        self.backlog && self.tx.needs_wakeup()
    }

    pub(crate) fn census(&self) -> Census {
        let (free, staged) = (self.free.len(), self.staged.len());
        Census { free, staged, sent: self.sent, ..Census::default() }
    }
}

/// Chunks that must be free besides: copies leave some to production, so that a monitor behind a slow wire takes nothing from
/// those who talk over it.
const fn reserve(precedence: Precedence) -> usize {
    match precedence {
        Precedence::Production => 0,
        Precedence::Copy => KEPT_FOR_PRODUCTION,
    }
}

/// Whether a frame is its header as it is, as nearly all short ones are.
#[inline]
fn is_header_alone(delivery: &Delivery<'_>) -> bool {
    delivery.tail.is_empty()
        && delivery.rest_bytes == 0
        && delivery.header.len() >= WIRE_MIN_BYTES as usize
}

/// Where a frame may be written in a chunk.
#[inline]
fn place_of(desc: &FrameDesc) -> Segment {
    Segment { offset: desc.addr() as u64, bytes: CHUNK_ROOM, region: 0 }
}

/// Writes a frame, made as long as a wire demands. Whether all of it could be read.
#[inline]
fn write(delivery: &Delivery<'_>, table: &MemoryTable, places: &[Segment]) -> bool {
    const ZEROES: [u8; WIRE_MIN_BYTES as usize] = [0; WIRE_MIN_BYTES as usize];
    let mut pen = Pen { table, places: places.iter(), current: Segment::default() };
    if !pen.write(delivery.header) || !pen.write(delivery.tail) {
        return false;
    }
    if delivery.rest_bytes > 0 {
        let Some(source) = delivery.rest.table() else { return false };
        let mut rest = delivery.rest.range(delivery.rest_skip, delivery.rest_bytes);
        let mut copied = 0;
        let whole = rest.all(|piece| {
            copied += piece.bytes;
            pen.copy(source, piece)
        });
        if !whole || copied != delivery.rest_bytes {
            return false;
        }
    }
    let missing = WIRE_MIN_BYTES.saturating_sub(delivery.bytes()) as usize;
    pen.write(ZEROES.get(..missing).unwrap_or_default())
}

/// Writes bytes one after the other into chunks. Unlike a guest's buffer, a chunk may hold what was another guest's: a frame
/// is sent only if every byte of it was written.
struct Pen<'a> {
    table: &'a MemoryTable,
    places: std::slice::Iter<'a, Segment>,
    current: Segment,
}

impl Pen<'_> {
    #[inline]
    fn write(&mut self, mut data: &[u8]) -> bool {
        while !data.is_empty() {
            let written = if self.advance() { self.table.write(self.current, data) } else { 0 };
            if !self.consume(written) {
                return false;
            }
            data = data.get(written..).unwrap_or_default();
        }
        true
    }

    #[inline]
    fn copy(&mut self, source: &MemoryTable, mut from: Segment) -> bool {
        while from.bytes > 0 {
            let copied =
                if self.advance() { source.copy_to(from, self.table, self.current) } else { 0 };
            if !self.consume(copied) {
                return false;
            }
            from = from.skip(u32::try_from(copied).unwrap_or(u32::MAX));
        }
        true
    }

    /// Goes to the next chunk with room.
    #[inline]
    fn advance(&mut self) -> bool {
        while self.current.bytes == 0 {
            match self.places.next() {
                Some(place) => self.current = *place,
                None => return false,
            }
        }
        true
    }

    #[inline]
    fn consume(&mut self, bytes: usize) -> bool {
        self.current = self.current.skip(u32::try_from(bytes).unwrap_or(u32::MAX));
        bytes > 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::far_end::FarEnd;
    use crate::sockets::{KERNEL_TX_BUDGET, Mover, Sockets};
    use crate::wire::{Wire, frame};
    use helio_frame::RestBytes;
    use helio_offload::NetHeader;

    /// Frames that need seven calls of a kernel that keeps to its own budget.
    const FRAMES: u32 = 6 * KERNEL_TX_BUDGET + 8;

    #[test]
    fn copies_leave_a_quarter_of_the_chunks_to_production() {
        let _wire = Wire::new(1500);
        let mut sockets = Sockets::bind("near", 1, Mover::Kernel, 1500, None).unwrap();
        let rings = sockets.rings.pop().unwrap();
        let chunks = sockets.source.chunks();
        let own = chunks.of_queue(0).unwrap();
        let mut sender = Sender::new(chunks.umem.clone(), rings.tx, rings.completion, &own);
        let bytes = frame(100, 0);
        let whole = Delivery::whole(NetHeader::PLAIN, &bytes, &[], RestBytes::EMPTY);
        let mut taken = |precedence| {
            let delivery = Delivery { precedence, ..whole };
            let taken =
                (0..).take_while(|_| sender.offer(&delivery, &chunks.table).is_ok()).count();
            assert_eq!(sender.offer(&delivery, &chunks.table), Err(DropReason::NoTxChunk));
            taken
        };
        // Nothing is published, so no chunk comes back.
        assert_eq!(taken(Precedence::Copy), 1536);
        assert_eq!(taken(Precedence::Production), 512);
    }

    #[test]
    fn what_one_call_does_not_send_goes_with_the_calls_of_the_next_turns_in_order() {
        let _wire = Wire::new(1500);
        let far = FarEnd::new();
        // The budget is not raised: as with a kernel that does not leave it to us.
        let mut sockets = Sockets::bind("near", 1, Mover::Kernel, 1500, None).unwrap();
        let rings = sockets.rings.pop().unwrap();
        let chunks = sockets.source.chunks();
        let own = chunks.of_queue(0).unwrap();
        let mut sender = Sender::new(chunks.umem.clone(), rings.tx, rings.completion, &own);
        for number in 0..FRAMES {
            let sent = frame(100, number);
            let delivery = Delivery::whole(NetHeader::PLAIN, &sent, &[], RestBytes::EMPTY);
            sender.offer(&delivery, &chunks.table).unwrap();
        }
        sender.publish(Link::Up);
        let mut turns = 1;
        while sender.has_backlog() {
            sender.begin_turn(Link::Up);
            sender.publish(Link::Up);
            turns += 1;
        }
        assert_eq!(turns, 7, "one call in each turn");
        let mut received = Vec::new();
        let until = std::time::Instant::now() + std::time::Duration::from_secs(30);
        while received.len() < FRAMES as usize && std::time::Instant::now() < until {
            received.extend(far.try_receive());
        }
        let sent = (0..FRAMES).map(|number| frame(100, number));
        assert!(received.into_iter().eq(sent), "all of them, in order");
    }
}
