//! What a worker needs of a port, whatever kind it is.

use std::fmt;
use std::os::fd::BorrowedFd;
use std::sync::Arc;

use helio_mem::MemoryTable;
use helio_offload::Offloads;
use helio_types::DropReason;

use crate::{Burst, Delivery, Frame, MemoryId, Origin, Pool, Precedence, RestBytes};

/// A port as its worker drives it, from one thread. In a turn the worker takes bursts and delivers to the ports it owns; then
/// those that had a part in the turn are published to once. Some turns later, after one fence for all of them, they are
/// notified.
///
/// No method waits, allocates, locks or logs, except while it carries out what the port's control thread asked for.
pub trait Port: Send {
    /// Takes frames that the far side sent, as many as the burst and the intake allow. Each is held once, but for those that
    /// are complete in themselves ([`Origin::Nothing`]).
    fn take(&mut self, intake: &mut Intake<'_>);

    /// In this turn frames will be taken, and probably there are none: what shows that may be fetched now.
    fn foresee(&self) {}

    /// Holds a frame once more.
    fn hold(&mut self, origin: Origin);

    /// Gives one hold back. What was held last is completed at the next [`Port::publish`], in the order taken.
    fn release(&mut self, origin: Origin);

    /// Gives one hold back of each of these frames that something of this port is held for.
    fn release_all(&mut self, frames: &[Frame]) {
        for frame in frames {
            if frame.origin.port().is_some() {
                self.release(frame.origin);
            }
        }
    }

    /// What the far side accepts undone.
    fn accepts(&self) -> Offloads;

    /// Whether the far side is there: a wire may be unplugged.
    fn has_link(&self) -> bool {
        true
    }

    /// Bytes of the longest packet that the link takes, without link headers. Asked by those who can make a packet shorter:
    /// what is too long is refused all the same.
    fn link_mtu(&self) -> u32 {
        u32::MAX
    }

    /// These frames will be offered soon: what they need may be fetched now. Not called for frames that are offered at once;
    /// a port may do nothing.
    fn prepare(&mut self, frames: &[Frame]) -> Readiness {
        let _ = frames;
        Readiness::Unknown
    }

    /// Writes one frame for the far side, or says why not. The far side sees it at the next [`Port::publish`].
    ///
    /// # Errors
    ///
    /// The reason to count: nothing was written then.
    fn offer(&mut self, delivery: &Delivery<'_>) -> Result<(), DropReason>;

    /// Writes frames as they are, in order, until one is refused. As [`Port::offer`] for each; a port overrides it where it
    /// can do that faster.
    fn offer_run(&mut self, run: Run<'_>) -> RunEnd {
        offer_each(self, run)
    }

    /// As [`Port::offer_run`], for frames that nobody reads afterwards. A port may keep what they lie in and give as much of its
    /// own for it: it says so in their origin.
    fn offer_last(&mut self, run: LastRun<'_>) -> RunEnd {
        self.offer_run(run.as_run())
    }

    /// Makes completions and deliveries of this turn visible to the far side.
    fn publish(&mut self);

    /// Signals the far side if it asked for that. Called at most once per turn, after a fence that follows all publishing.
    fn notify(&mut self);

    /// Asks the far side to wake us, before the worker sleeps.
    fn arm(&mut self) -> Armed;

    /// Asks the far side not to wake us any more.
    fn disarm(&mut self);
}

/// What a port found out of frames that are going to be offered to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Readiness {
    /// Nothing: what becomes of them shows when they are offered.
    Unknown,
    /// There is room for one of them at least.
    Room,
    /// The far side has offered no buffer: each of them would be refused as [`DropReason::NoRxBuffer`] if it were offered now.
    NoBuffer,
}

/// Frames for one port that nothing must be done to, and the memories that they lie in.
#[derive(Clone, Copy, Debug)]
pub struct Run<'a> {
    /// The frames, in order.
    pub frames: &'a [Frame],
    /// All memories, by [`MemoryId::index`].
    pub memories: &'a [Option<Arc<MemoryTable>>],
    /// Whether they stand back for others.
    pub precedence: Precedence,
}

impl<'a> Run<'a> {
    /// The rest of one of the frames. `None` when the memory that it lies in is gone.
    #[inline]
    #[must_use]
    pub fn rest_of(&self, frame: &'a Frame) -> Option<RestBytes<'a>> {
        if frame.rest.is_empty() {
            return Some(RestBytes::EMPTY);
        }
        let table = self.memories.get(frame.memory.index())?.as_deref()?;
        Some(RestBytes::new(Some(table), &frame.rest))
    }
}

/// A run that is delivered nowhere else any more: no copy of the frames is still to be made, by no worker.
#[derive(Debug)]
pub struct LastRun<'a> {
    /// The frames, in order. Of those that were written, the origin only is used from now on, and whether they have a rest.
    pub frames: &'a mut [Frame],
    /// All memories, by [`MemoryId::index`].
    pub memories: &'a [Option<Arc<MemoryTable>>],
    /// Whether they stand back for others.
    pub precedence: Precedence,
}

impl LastRun<'_> {
    /// The frames as any other port gets them.
    #[inline]
    #[must_use]
    pub fn as_run(&self) -> Run<'_> {
        let Self { frames, memories, precedence } = self;
        Run { frames, memories, precedence: *precedence }
    }
}

/// Fetches the rest of a frame that will be read soon: of the one behind that which is written now. Its lines are those of
/// another core, and none is waited for while others come.
#[inline]
pub fn fetch_rest(frame: Option<&Frame>, memories: &[Option<Arc<MemoryTable>>]) {
    let Some(frame) = frame.filter(|frame| !frame.rest.is_empty()) else { return };
    let Some(table) = memories.get(frame.memory.index()).and_then(Option::as_deref) else { return };
    for piece in &frame.rest {
        if let Some(bytes) = table.bytes_of(*piece) {
            bytes.prefetch_read(piece.bytes);
        }
    }
}

/// How far [`Port::offer_run`] came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RunEnd {
    /// Frames written.
    pub written: usize,
    /// Why the frames after those were refused, and how many of them: one at least. `None` when all were written.
    pub refused: Option<(DropReason, usize)>,
}

impl RunEnd {
    /// All of `frames` frames were written.
    #[must_use]
    pub fn all(frames: usize) -> Self {
        Self { written: frames, refused: None }
    }

    /// None of `frames` frames was written, and the others would not be after the first.
    #[must_use]
    pub fn none(frames: usize, reason: DropReason) -> Self {
        Self { written: 0, refused: (frames > 0).then_some((reason, frames)) }
    }

    /// After `written` frames the next one was refused.
    #[must_use]
    pub fn refused(written: usize, reason: DropReason) -> Self {
        Self { written, refused: Some((reason, 1)) }
    }
}

/// Offers the frames of a run one by one.
pub fn offer_each<P: Port + ?Sized>(port: &mut P, run: Run<'_>) -> RunEnd {
    for (written, frame) in run.frames.iter().enumerate() {
        fetch_rest(run.frames.get(written + 1), run.memories);
        let Some(rest) = run.rest_of(frame) else {
            return RunEnd::refused(written, DropReason::PortDown);
        };
        let whole = Delivery::whole(frame.net, frame.head.bytes(), &[], rest);
        let delivery = Delivery { precedence: run.precedence, ..whole };
        if let Err(reason) = port.offer(&delivery) {
            return RunEnd::refused(written, reason);
        }
    }
    RunEnd::all(run.frames.len())
}

/// Whether a worker may sleep after it asked to be woken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Armed {
    /// Nothing to do; the far side will wake us.
    Idle,
    /// Something came meanwhile.
    WorkPending,
}

/// What a port fills in [`Port::take`].
#[derive(Debug)]
pub struct Intake<'a> {
    /// Receives the frames.
    pub burst: &'a mut Burst,
    /// Private buffers for frames that cannot stay where they are.
    pub pool: &'a mut Pool,
    /// Frames refused, by [`DropReason::index`]: the worker counts them. To be written by [`Intake::refuse`] and
    /// [`Intake::refuse_some`], which leave a note of it in the burst.
    pub refused: &'a mut [u32; DropReason::COUNT],
}

impl Intake<'_> {
    /// Counts a frame refused for `reason`.
    pub fn refuse(&mut self, reason: DropReason) {
        self.refuse_some(reason, 1);
    }

    /// Counts `frames` frames refused for `reason`.
    pub fn refuse_some(&mut self, reason: DropReason, frames: u32) {
        if frames == 0 {
            return;
        }
        if let Some(count) = self.refused.get_mut(reason.index()) {
            *count += frames;
            self.burst.note_refusal();
        }
    }
}

/// The rule that a far side broke, so that its port stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum PortFault {
    /// The avail index of a ring is further ahead than the ring is long.
    AvailIndex = 1,
    /// A memory file was truncated while it was in use.
    MemoryTruncated = 2,
    /// A ring lies outside the shared memory, across two regions, or unaligned.
    RingAddress = 3,
    /// The size of a ring is not a power of two, or too large.
    RingSize = 4,
    /// It takes too long to signal the descriptor by which the guest is told of used buffers.
    SlowCall = 5,
}

impl PortFault {
    /// All faults.
    pub const ALL: [Self; 5] = [
        Self::AvailIndex,
        Self::MemoryTruncated,
        Self::RingAddress,
        Self::RingSize,
        Self::SlowCall,
    ];

    /// The fault with the number `code`, as it stands in a status word; 0 is none.
    #[must_use]
    pub fn from_code(code: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|fault| *fault as u8 == code)
    }

    /// The name in counters and JSON.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::AvailIndex => "avail-index",
            Self::MemoryTruncated => "memory-truncated",
            Self::RingAddress => "ring-address",
            Self::RingSize => "ring-size",
            Self::SlowCall => "slow-call",
        }
    }
}

impl fmt::Display for PortFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::AvailIndex => "the guest's avail index is further ahead than its ring is long",
            Self::MemoryTruncated => "the front-end truncated a memory file that it had shared",
            Self::RingAddress => "the guest placed a ring outside its shared memory, across two regions, or unaligned",
            Self::RingSize => "the size of a ring is not a power of two up to 32768",
            Self::SlowCall => "a call descriptor takes too long to signal, as if thousands watched it",
        })
    }
}

/// Where the workers look up whose memory a frame lies in. Implemented by the workers, used by the control thread of a
/// port.
pub trait MemoryDirectory: Send + Sync {
    /// Puts `table` in the place of what stood for `id`, on all workers, and returns when none of them uses the old one.
    fn replace(&self, id: MemoryId, table: Option<Arc<MemoryTable>>);
}

/// How the control thread of a port reaches the worker that owns it.
pub trait Wakeups: Send + Sync {
    /// Makes the worker take a turn soon, if it sleeps.
    fn wake(&self);

    /// Lets `fd` wake the worker whenever it becomes readable anew.
    ///
    /// # Errors
    ///
    /// When the host refuses.
    fn watch(&self, fd: BorrowedFd<'_>) -> std::io::Result<()>;

    /// Ends that. To be called before `fd` is closed.
    fn unwatch(&self, fd: BorrowedFd<'_>);
}

#[cfg(test)]
mod tests {
    use super::*;
    use helio_types::WorkerId;

    #[test]
    fn each_fault_has_a_code_a_name_and_a_sentence_of_its_own() {
        for fault in PortFault::ALL {
            assert_eq!(PortFault::from_code(fault as u8), Some(fault));
            assert!(fault.to_string().len() > fault.name().len());
            let same = PortFault::ALL.iter().filter(|other| other.name() == fault.name());
            assert_eq!(same.count(), 1);
        }
        assert_eq!(PortFault::from_code(0), None);
        assert_eq!(PortFault::from_code(200), None);
    }

    /// Refuses frames of 61 bytes.
    struct Picky(usize);

    impl Port for Picky {
        fn take(&mut self, _: &mut Intake<'_>) {}
        fn hold(&mut self, _: Origin) {}
        fn release(&mut self, _: Origin) {}
        fn accepts(&self) -> Offloads {
            Offloads::NONE
        }
        fn offer(&mut self, delivery: &Delivery<'_>) -> Result<(), DropReason> {
            if delivery.bytes() == 61 {
                return Err(DropReason::RxBufferTooSmall);
            }
            self.0 += 1;
            Ok(())
        }
        fn publish(&mut self) {}
        fn notify(&mut self) {}
        fn arm(&mut self) -> Armed {
            Armed::Idle
        }
        fn disarm(&mut self) {}
    }

    fn frame(bytes: usize) -> Frame {
        let head = crate::Head::copy_of(&vec![1; bytes]);
        Frame { head, bytes: u32::try_from(bytes).unwrap(), ..Frame::vacant() }
    }

    #[test]
    fn a_run_ends_at_the_first_frame_that_is_refused() {
        let frames = [frame(60), frame(62), frame(61), frame(60)];
        let mut port = Picky(0);
        let end = port.offer_run(Run {
            frames: &frames,
            memories: &[],
            precedence: Precedence::Production,
        });
        assert_eq!(end, RunEnd::refused(2, DropReason::RxBufferTooSmall));
        let end = port.offer_run(Run {
            frames: &frames[3..],
            memories: &[],
            precedence: Precedence::Copy,
        });
        assert_eq!((end, port.0), (RunEnd::all(1), 3));
    }

    #[test]
    fn a_frame_whose_memory_is_gone_is_refused_and_one_without_a_rest_needs_none() {
        let mut long = frame(60);
        long.memory = MemoryId::of_port(helio_types::PortId::new(0).unwrap());
        let run = [long.clone()];
        assert!(
            Run { frames: &run, memories: &[None], precedence: Precedence::Production }
                .rest_of(&run[0])
                .is_some()
        );
        long.bytes += 10;
        long.rest.push(helio_mem::Segment { offset: 0, bytes: 10, region: 0 });
        let run = [long];
        let end = Picky(0).offer_run(Run {
            frames: &run,
            memories: &[None],
            precedence: Precedence::Production,
        });
        assert_eq!(end, RunEnd::refused(0, DropReason::PortDown));
    }

    #[test]
    fn a_refused_frame_is_counted_under_its_reason_only() {
        let mut burst = Burst::new();
        let mut pool = Pool::new(1, MemoryId::of_worker(WorkerId::new(0).unwrap())).unwrap();
        let mut refused = [0; DropReason::COUNT];
        let mut intake = Intake { burst: &mut burst, pool: &mut pool, refused: &mut refused };
        intake.refuse_some(DropReason::Runt, 0);
        assert!(intake.burst.is_untouched() && !intake.burst.has_refused());
        intake.refuse_some(DropReason::Runt, 2);
        intake.refuse(DropReason::Oversize);
        assert!(!intake.burst.is_untouched() && intake.burst.has_refused());
        intake.burst.clear();
        assert!(intake.burst.is_untouched());
        assert_eq!(refused[DropReason::Runt.index()], 2);
        assert_eq!(refused[DropReason::Oversize.index()], 1);
        assert_eq!(refused.iter().sum::<u32>(), 3);
    }
}
