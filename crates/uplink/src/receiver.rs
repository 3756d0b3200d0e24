//! Receiving from one queue: descriptors from the rx ring become frames, and chunks go to the fill ring.
//! Used by the worker.
//!
//! What the kernel is told of a chunk is fetched when the chunk comes, before it is lent again or sent from: chunks go round, and it
//! was seen long ago. P2P 1518 B (`p2p-1518` in perf/, drained), near: 299 ns and 310; 64 B no change.
//!
//! A frame in one chunk, as nearly all are, is taken by a short way of its own. A core waits for the first lines of as many frames
//! as its reorder buffer has room for, so fewer instructions for each are more lines on their way: taking a frame of 1518 bytes
//! costs 17.3 ns instead of 26.3 near and 55 instead of 86 far, one of 64 bytes, its chunk at once back with us, 6 instead of 10.4
//! near. P2V 64 B (`p2v-64`, drained), far: 35 ns and 48, where testpmd has 50. Fetching the lines of short frames first was dearer
//! near by nearly as much as it was cheaper far. Long ones take more instructions, so that two or three of them are waited for at
//! once: their heads are fetched together. On a crowded host (`p2p-1518`, drained, near; perf/tried.md) that and taking cost 38 to
//! 50 ns where taking cost 80 to 113.

use arrayvec::ArrayVec;
use helio_frame::{Frame, HEAD_BYTES, Intake, MAX_SEGMENTS, MemoryId, Origin};
use helio_mem::{MemoryTable, Segment};
use helio_offload::NetHeader;
use helio_types::{DropReason, MAX_FRAME_BYTES, MIN_FRAME_BYTES, PortId};
use xsk_rs::{FillQueue, FrameDesc, RxQueue};

use crate::book::{Book, Exchange};
use crate::busy_poll::{self, Looks};
use crate::census::Census;
use crate::sockets::descriptor;
use crate::umem::{CHUNK_ROOM, QueueChunks, Stock};
use crate::window::{Cut, Window};

/// Chunks lent in one step.
const LEND_STEP: usize = 64;

/// Who the frames of a queue belong to.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Place {
    pub(crate) port: PortId,
    pub(crate) queue: u8,
}

#[derive(Debug)]
pub(crate) struct Receiver {
    place: Place,
    rx: RxQueue,
    fill: FillQueue,
    stock: Stock,
    book: Book,
    /// Descriptors read and not made frames yet.
    window: Window,
    /// In this turn the heads of long frames were fetched.
    heads_fetched: bool,
    /// Chunks went to the fill ring, and the kernel was not woken since.
    lent: bool,
    /// The kernel was woken in this turn.
    woken: bool,
    looks: Looks,
    /// Chunks that the kernel has at most.
    most_lent: usize,
}

impl Receiver {
    /// Lends the kernel chunks, `most_lent` at most now and later.
    pub(crate) fn new(
        place: Place,
        rx: RxQueue,
        fill: FillQueue,
        chunks: &QueueChunks,
        looks: Looks,
        most_lent: usize,
    ) -> Self {
        let mut receiver = Self {
            place,
            rx,
            fill,
            stock: chunks.stock.clone(),
            book: Book::new(chunks.stock.count(), &chunks.rx),
            window: Window::new(),
            heads_fetched: false,
            lent: false,
            woken: false,
            looks,
            most_lent,
        };
        receiver.lend();
        receiver
    }

    /// Takes frames, as many as the burst has room for.
    #[inline]
    pub(crate) fn take(&mut self, table: &MemoryTable, intake: &mut Intake<'_>) {
        self.woken = false;
        self.heads_fetched = false;
        let Self { window, rx, .. } = self;
        // SAFETY: the ring is that of a socket of this UMEM.
        window.read_on(|room| unsafe { rx.consume(room) });
        while intake.burst.has_room()
            && (self.take_only(table, intake) || self.take_next(table, intake))
        {}
        if self.window.is_empty() {
            self.ask_for_more();
        }
    }

    /// Makes a frame of what stands at the beginning of the window if that lies in one chunk, as nearly all do. `false`, and
    /// nothing was done, when it does not, or something is wrong with it.
    #[inline]
    fn take_only(&mut self, table: &MemoryTable, intake: &mut Intake<'_>) -> bool {
        let Self { window, stock, book, place, .. } = self;
        let Some(piece) = window.only().map(segment_of) else { return false };
        let (Some(bytes), Some(chunk)) = (table.bytes_of(piece), stock.chunk_at(piece.offset))
        else {
            return false;
        };
        if !(MIN_FRAME_BYTES..=CHUNK_ROOM).contains(&piece.bytes) {
            return false;
        }
        let Place { port, queue } = *place;
        let is_read_out = piece.bytes <= head_limit();
        let taken = intake.burst.fill(|frame| {
            let came = if is_read_out { book.pass(chunk) } else { book.arrive(chunk, None) };
            if !came {
                return Err(());
            }
            frame.bytes = piece.bytes;
            frame.net = NetHeader::PLAIN;
            frame.memory = MemoryId::of_port(port);
            frame.rest.clear();
            let head = bytes.read_blocks(frame.head.room());
            frame.head.set_len(head);
            if is_read_out {
                frame.origin = Origin::Nothing;
            } else {
                frame.origin = Origin::Umem { port, queue, chunk };
                frame.rest.push(piece.skip(head_limit()));
            }
            Ok(())
        });
        if taken != Some(Ok(())) {
            return false;
        }
        window.cut_only();
        if !is_read_out {
            stock.fetch(chunk);
            if !self.heads_fetched {
                self.fetch_heads(table);
            }
        }
        true
    }

    /// Fetches the heads of the long frames in the window, so that their lines come together; those for which this burst has no
    /// room as well, which are nearer then when their turn comes. Of a frame in several chunks those behind the first are taken for
    /// frames: that does no harm.
    #[inline]
    fn fetch_heads(&mut self, table: &MemoryTable) {
        let waiting = self.window.waiting().iter().map(segment_of);
        for piece in waiting.filter(|piece| piece.bytes > head_limit()) {
            if let Some(bytes) = table.bytes_of(piece) {
                bytes.prefetch_read(head_limit());
            }
        }
        self.heads_fetched = true;
    }

    /// Makes a frame of what stands at the beginning of the window. `false` when no frame is complete there.
    #[inline]
    fn take_next(&mut self, table: &MemoryTable, intake: &mut Intake<'_>) -> bool {
        let Some((cut, pieces)) = self.window.cut() else { return false };
        let (mut first, mut last, mut is_whole) = (None, None, true);
        for desc in pieces {
            let chunk = self.stock.chunk_at(desc.addr() as u64).unwrap_or(u16::MAX);
            let arrived = self.book.arrive(chunk, last);
            debug_assert!(arrived, "chunk {chunk} came, and it was not lent");
            is_whole &= arrived;
            if arrived {
                self.stock.fetch(chunk);
                first.get_or_insert(chunk);
                last = Some(chunk);
            }
        }
        let (true, Some(first), Cut::Frame) = (is_whole, first, cut) else {
            self.refuse_pieces(first, cut, intake);
            return true;
        };
        let Place { port, queue } = self.place;
        let filled = intake.burst.fill(|frame| {
            frame.memory = MemoryId::of_port(port);
            frame.origin = Origin::Umem { port, queue, chunk: first };
            describe(pieces, table, frame)?;
            if frame.rest.is_empty() {
                frame.origin = Origin::Nothing;
            }
            Ok(frame.origin)
        });
        if !matches!(filled, Some(Ok(Origin::Umem { .. }))) {
            self.book.release(first);
        }
        if let Some(Err(reason)) = filled {
            intake.refuse(reason);
        }
        true
    }

    /// What cannot be a frame: it has more pieces than any, or lies in part where nothing was lent, which the book does not know.
    #[cold]
    fn refuse_pieces(&mut self, first: Option<u16>, cut: Cut, intake: &mut Intake<'_>) {
        if let Some(first) = first {
            self.book.release(first);
        }
        match cut {
            Cut::Frame => intake.refuse(DropReason::ChainAddress),
            Cut::Endless => intake.refuse(DropReason::Oversize),
            // It was counted with its beginning.
            Cut::Remainder => {}
        }
    }

    #[inline]
    pub(crate) fn hold(&mut self, chunk: u16) {
        self.book.hold(chunk);
    }

    #[inline]
    pub(crate) fn release(&mut self, chunk: u16) {
        self.book.release(chunk);
    }

    /// The frame that begins in `chunk` was sent from where it lies, and its chunks are the sender's. Ours are those that it gave:
    /// `instead`, and those linked to it.
    #[inline]
    pub(crate) fn exchange(&mut self, chunk: u16, instead: u16) {
        let Self { book, stock, .. } = self;
        let exchange = book.exchange(chunk, instead, |chunk| stock.after(chunk));
        debug_assert_eq!(exchange, Exchange::AsHeld, "chunk {chunk} is exchanged for {instead}");
    }

    /// Lends the kernel what was given back, and wakes it if it asks for that.
    #[inline]
    pub(crate) fn publish(&mut self) {
        if self.book.has_spare() {
            self.lend();
        }
        // Once per turn: if it was woken already, the next turn does it, or finds that there is no need any more.
        if self.lent && !self.woken {
            if self.looks == Looks::ByCard && self.fill.needs_wakeup() {
                self.wake_kernel();
            }
            self.lent = false;
        }
    }

    fn lend(&mut self) {
        let step = u32::try_from(LEND_STEP).unwrap_or(0);
        while self.book.has_spare() {
            let wanted = self.most_lent.saturating_sub(self.book.lent()).min(LEND_STEP);
            if wanted == 0 {
                return;
            }
            let room = wanted.min(self.fill.nb_free(step) as usize);
            let mut batch = ArrayVec::<FrameDesc, LEND_STEP>::new();
            for chunk in self.book.next_spare(room) {
                batch.extend(self.stock.descriptor(*chunk));
            }
            // SAFETY: the chunks are of this UMEM, and the book says that they are ours: neither the kernel has them, nor does
            // a frame lie in them.
            let lent = unsafe { self.fill.produce(&batch) };
            self.book.lend(lent);
            if lent == 0 {
                return;
            }
            self.lent = true;
        }
    }

    /// Lets the driver look for frames, or wakes it if it asks for that.
    #[inline]
    fn ask_for_more(&mut self) {
        match self.looks {
            Looks::ByWorker => {
                self.woken = true;
                busy_poll::look(descriptor(&self.rx));
            }
            Looks::ByCard if self.fill.needs_wakeup() => self.wake_kernel(),
            Looks::ByCard => {}
        }
    }

    fn wake_kernel(&mut self) {
        self.woken = true;
        // It has no use for an answer: what it did shows in the rings.
        let _ = self.fill.wakeup(self.rx.fd_mut(), 0);
    }

    /// Whether a frame waits.
    pub(crate) fn has_frames(&mut self) -> bool {
        self.window.next().is_some() || self.rx.nb_avail(1) > 0
    }

    /// Number of chunks that frames lie in which were not given back.
    pub(crate) fn held(&self) -> usize {
        self.book.held()
    }

    /// The chunks that are ours and no frame lies in.
    pub(crate) fn at_rest(&self) -> impl Iterator<Item = u16> + '_ {
        self.book.at_rest()
    }

    /// Where the chunks are. Those in the window count as lent.
    pub(crate) fn census(&self) -> Census {
        self.book.census()
    }
}

#[inline]
fn segment_of(desc: &FrameDesc) -> Segment {
    let bytes = u32::try_from(desc.lengths().data()).unwrap_or(u32::MAX);
    Segment { offset: desc.addr() as u64, bytes, region: 0 }
}

/// Writes down what the frame in `pieces` is, all but whose it is.
#[inline]
fn describe(
    pieces: &[FrameDesc],
    table: &MemoryTable,
    frame: &mut Frame,
) -> Result<(), DropReason> {
    let bytes = pieces.iter().fold(0_u32, |sum, desc| sum.saturating_add(segment_of(desc).bytes));
    if bytes < MIN_FRAME_BYTES {
        return Err(DropReason::Runt);
    }
    if bytes > MAX_FRAME_BYTES || pieces.len() > MAX_SEGMENTS {
        return Err(DropReason::Oversize);
    }
    frame.bytes = bytes;
    frame.net = NetHeader::PLAIN;
    frame.rest.clear();
    let (first, others) = pieces.split_first().ok_or(DropReason::Runt)?;
    let first = segment_of(first);
    let place = table.bytes_of(first).ok_or(DropReason::ChainAddress)?;
    let head = place.read_blocks(frame.head.room());
    frame.head.set_len(head);
    let head = u32::try_from(head).unwrap_or(u32::MAX);
    let left = first.skip(head);
    if left.bytes > 0 {
        frame.rest.push(left);
    }
    if first.bytes >= head_limit() {
        frame.rest.extend(others.iter().map(segment_of));
        return Ok(());
    }
    lengthen_head(others, table, frame)
}

#[inline]
fn head_limit() -> u32 {
    u32::try_from(HEAD_BYTES).unwrap_or(u32::MAX)
}

/// Goes on with the head where the first piece was too short for it: no driver that we know cuts frames like that.
fn lengthen_head(
    others: &[FrameDesc],
    table: &MemoryTable,
    frame: &mut Frame,
) -> Result<(), DropReason> {
    for desc in others {
        let piece = segment_of(desc);
        let filled = frame.head.bytes().len();
        let room = frame.head.room().get_mut(filled..).unwrap_or_default();
        let wanted = room.len().min(piece.bytes as usize);
        let read = table.read(piece, room.get_mut(..wanted).unwrap_or_default());
        if read != wanted {
            return Err(DropReason::ChainAddress);
        }
        frame.head.set_len(filled + read);
        let left = piece.skip(u32::try_from(read).unwrap_or(u32::MAX));
        if left.bytes > 0 {
            frame.rest.push(left);
        }
    }
    Ok(())
}
