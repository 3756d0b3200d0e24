//! The worker's half of a TAP port. Used by one worker; the control thread reaches it through its mailbox only.

use std::io::IoSlice;
use std::sync::Arc;

use helio_frame::{Armed, Delivery, Frame, HEAD_BYTES, Head, Intake, Origin, Pool, Port};
use helio_host::{Answer, Link, Order};
use helio_offload::{Offloads, RawNetHeader, check};
use helio_types::{DropReason, MIN_FRAME_BYTES, PortId};
use rustix::io::Errno;

use crate::device::{Device, HEADER_BYTES, OFFLOADS, ROOM_BYTES};
use crate::handle::TapHandle;
use crate::parts::{Shared, TapError, TapParts};

/// Most frames read in one turn: each costs a system call.
pub const MOST_READS: usize = 32;
/// Most frames written in one turn: each costs a system call. As many as another worker hands over in a turn, 256, and four
/// bursts of ports of this worker: so copies are dropped only where several others bring more at once than that.
pub const MOST_WRITES: usize = 512;

/// Looks of the worker between two reads of a TAP that had nothing, at most: an empty read costs a system call, too. A worker
/// with nothing else to do makes as many looks in some microseconds; beside work, they are that many turns for each port that
/// is silent, too.
const MOST_PAUSES: u8 = 16;

/// Which looks at a TAP cost a read: each, while frames come; fewer and fewer while none do.
#[derive(Clone, Copy, Debug, Default)]
struct Rhythm {
    /// Looks without a read from now on.
    pauses: u8,
    /// How many there were after the read before.
    before: u8,
}

impl Rhythm {
    /// Whether the look that is made now reads.
    #[inline]
    fn reads_now(&mut self) -> bool {
        let reads = self.pauses == 0;
        self.pauses = self.pauses.saturating_sub(1);
        reads
    }

    /// A read found nothing.
    fn rest(&mut self) {
        self.before = (2 * self.before).clamp(1, MOST_PAUSES);
        self.pauses = self.before;
    }

    /// The next look reads.
    fn wake(&mut self) {
        self.pauses = 0;
    }
}

/// A port whose far side is the host, by a TAP.
#[derive(Debug)]
pub struct TapPort {
    shared: Arc<Shared>,
    device: Option<Box<Device>>,
    /// A frame on its way between kernel and memory of others: the kernel wants bytes that nobody else writes.
    room: Box<[u8]>,
    /// Frames may wait in the kernel: reading stopped before it had none left.
    unread: bool,
    rhythm: Rhythm,
    /// How many frames were written in this turn.
    written: usize,
}

impl TapPort {
    /// Makes a TAP port. The port goes to its worker; then [`TapHandle::start`] makes the interface.
    ///
    /// # Errors
    ///
    /// When the host has no descriptor for us.
    pub fn create(parts: TapParts) -> Result<(Self, TapHandle), TapError> {
        let (shared, handle) = TapHandle::create(parts)?;
        let room = vec![0; ROOM_BYTES].into_boxed_slice();
        let rhythm = Rhythm::default();
        Ok((Self { shared, device: None, room, unread: false, rhythm, written: 0 }, handle))
    }

    #[cold]
    fn obey(&mut self) {
        // Whoever gave the order and has gone needs no answer.
        let answered = |answer: Answer<Device>, device| drop(answer.send(device));
        match self.shared.mailbox.take() {
            Some(Order::Install(device, answer)) => {
                self.unread = true;
                self.rhythm = Rhythm::default();
                answered(answer, self.device.replace(device));
            }
            // Frames taken lie in buffers of the worker, none in the TAP.
            Some(Order::Remove(answer)) => {
                self.unread = false;
                answered(answer, self.device.take());
            }
            Some(Order::Quiesce(answer, looks)) => match looks.checked_sub(1) {
                Some(left) if self.device.as_ref().is_some_and(|device| device.has_frames()) => {
                    // This look takes some of them, and so does the next one.
                    self.rhythm.wake();
                    self.shared.mailbox.post(Order::Quiesce(answer, left));
                }
                _ => answered(answer, None),
            },
            None => {}
        }
    }

    /// Reads one frame into the burst. `None` when the kernel has no more.
    fn take_one(&mut self, intake: &mut Intake<'_>, chunk: &mut Option<u16>) -> Option<()> {
        let read = match self.device.as_ref()?.read(&mut self.room) {
            Ok(read) => read,
            Err(Errno::INTR) => return Some(()),
            Err(_) => return None,
        };
        let port = self.shared.id;
        let bytes = self.room.get(..read).unwrap_or_default();
        let Intake { burst, pool, .. } = &mut *intake;
        let filled = burst.fill(|frame| describe(bytes, port, pool, chunk, frame));
        if let Some(Err(reason)) = filled {
            intake.refuse(reason);
        }
        Some(())
    }

    /// Copies the rest of a frame to where nobody else writes. `false` when its source is gone.
    fn gather(&mut self, delivery: &Delivery<'_>) -> bool {
        if delivery.rest_bytes == 0 {
            return true;
        }
        let Some(source) = delivery.rest.table() else { return false };
        let mut at = 0;
        for piece in delivery.rest.range(delivery.rest_skip, delivery.rest_bytes) {
            let wanted = piece.bytes as usize;
            let Some(room) = self.room.get_mut(at..at + wanted) else { return false };
            if source.read(piece, room) != wanted {
                return false;
            }
            at += wanted;
        }
        at == delivery.rest_bytes as usize
    }
}

/// Writes down what the frame is that was read as `bytes`, net header first. What the head does not hold is put into `chunk`.
fn describe(
    bytes: &[u8],
    port: PortId,
    pool: &mut Pool,
    chunk: &mut Option<u16>,
    frame: &mut Frame,
) -> Result<(), DropReason> {
    let raw = RawNetHeader::from_bytes(bytes).ok_or(DropReason::HeaderShort)?;
    let content = bytes.get(HEADER_BYTES..).unwrap_or_default();
    let length = u32::try_from(content.len()).unwrap_or(u32::MAX);
    if length < MIN_FRAME_BYTES {
        return Err(DropReason::Runt);
    }
    frame.head = Head::copy_of(content);
    frame.bytes = length;
    frame.net = check(&raw, OFFLOADS, frame.head.bytes(), length)?;
    frame.rest.clear();
    frame.memory = pool.id();
    frame.origin = Origin::Nothing;
    let rest = content.get(HEAD_BYTES..).unwrap_or_default();
    if rest.is_empty() {
        return Ok(());
    }
    let place = match *chunk {
        Some(place) => place,
        None => pool.take(port).ok_or(DropReason::NoPrivateBuffer)?,
    };
    *chunk = Some(place);
    let segment = pool.segment(place).limit(u32::try_from(rest.len()).unwrap_or(0));
    if pool.table().write(segment, rest) != rest.len() {
        return Err(DropReason::Oversize);
    }
    frame.rest.push(segment);
    frame.origin = Origin::Chunk(place);
    *chunk = None;
    Ok(())
}

impl Port for TapPort {
    fn take(&mut self, intake: &mut Intake<'_>) {
        if self.shared.mailbox.has_order() {
            self.obey();
        }
        if !self.rhythm.reads_now() {
            return;
        }
        let port = self.shared.id;
        let (mut chunk, mut found) = (None, false);
        self.unread = self.device.is_some();
        for _ in 0..MOST_READS {
            // A frame that no buffer is free for stays in the kernel until one comes back.
            chunk = chunk.or_else(|| intake.pool.take(port));
            if chunk.is_none() || !intake.burst.has_room() {
                break;
            }
            if self.take_one(intake, &mut chunk).is_none() {
                self.unread = false;
                break;
            }
            found = true;
        }
        if found || self.unread {
            self.rhythm = Rhythm::default();
        } else {
            self.rhythm.rest();
        }
        if let Some(unused) = chunk {
            intake.pool.release(unused);
        }
    }

    /// Nothing: what is held of frames taken lies in buffers of the worker.
    fn hold(&mut self, origin: Origin) {
        debug_assert!(false, "{origin:?} is held, and a TAP lends nothing");
    }

    fn release(&mut self, origin: Origin) {
        debug_assert!(false, "{origin:?} is released, and a TAP lends nothing");
    }

    /// All that a net header can say: the host finishes it, or never has to.
    fn accepts(&self) -> Offloads {
        OFFLOADS
    }

    fn offer(&mut self, delivery: &Delivery<'_>) -> Result<(), DropReason> {
        if self.device.is_none() || self.shared.status.link() == Link::Down {
            return Err(DropReason::PortDown);
        }
        if self.written >= MOST_WRITES {
            return Err(DropReason::HostBusy);
        }
        if delivery.rest_bytes as usize > self.room.len() {
            return Err(DropReason::Oversize);
        }
        if !self.gather(delivery) {
            return Err(DropReason::PortDown);
        }
        self.written += 1;
        let header = delivery.net.to_raw().to_bytes();
        let pieces = [
            header.get(..HEADER_BYTES).unwrap_or_default(),
            delivery.header,
            delivery.tail,
            self.room.get(..delivery.rest_bytes as usize).unwrap_or_default(),
        ];
        let device = self.device.as_ref().ok_or(DropReason::PortDown)?;
        match device.write(&pieces.map(IoSlice::new)) {
            Ok(_) => Ok(()),
            // The interface is set down, or deleted.
            Err(Errno::IO | Errno::BADFD) => Err(DropReason::PortDown),
            Err(Errno::INVAL) => Err(DropReason::BadOffload),
            Err(_) => Err(DropReason::HostBusy),
        }
    }

    /// Each frame was shown to the host when it was written. A turn ends.
    fn publish(&mut self) {
        self.written = 0;
    }

    fn notify(&mut self) {}

    /// The kernel wakes whoever watches a TAP for each frame that comes after the last look at what waits there. What came
    /// since the last read is looked for now.
    fn arm(&mut self) -> Armed {
        let waits = || self.device.as_ref().is_some_and(|device| device.has_frames());
        if self.unread || self.shared.mailbox.has_order() || waits() {
            return Armed::WorkPending;
        }
        Armed::Idle
    }

    /// What woke the worker may be a frame.
    fn disarm(&mut self) {
        self.rhythm.wake();
    }
}

impl Drop for TapPort {
    /// Whoever waits for an answer learns at once that none will come.
    fn drop(&mut self) {
        self.shared.mailbox.close();
    }
}
