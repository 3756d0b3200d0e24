//! Frames of a burst that follow each other and have something in common, so that it is found out, counted and done once.

use helio_counters::FrameCount;
use helio_frame::{Frame, SEGMENT_WEIGHT};
use helio_mirror::Concerned;
use helio_switch::{Decision, ETHERNET_HEADER_BYTES, Inquiry, TAG_BYTES};
use helio_types::DropReason;

use crate::deliver::on_the_wire;
use crate::mailbox::{Readers, Tagging};

/// What the switch said.
pub(crate) type Verdict = Result<Decision, DropReason>;

/// Whether frames may need something done to them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Work {
    /// They are complete: every receiver gets them as they are, but for tags.
    Nothing,
    /// Checksums or segments were left to do.
    Offloads,
}

impl Work {
    #[inline]
    fn of(frame: &Frame) -> Self {
        if frame.is_plain() { Self::Nothing } else { Self::Offloads }
    }

    /// A frame of this work as it is on a wire.
    #[inline]
    fn wire(self, frame: &Frame) -> FrameCount {
        match self {
            Self::Nothing => FrameCount { frames: 1, bytes: u64::from(frame.bytes) },
            Self::Offloads => on_the_wire(frame),
        }
    }
}

/// What frames that are delivered together have in common.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Traits {
    pub(crate) work: Work,
    /// Length of the longest frame, in bytes.
    pub(crate) longest: u32,
    /// Sum of the lengths.
    pub(crate) bytes: u64,
    /// The frames as they are on a wire.
    pub(crate) wire: FrameCount,
}

impl Traits {
    #[inline]
    pub(crate) fn of(frame: &Frame) -> Self {
        let (work, bytes) = (Work::of(frame), u64::from(frame.bytes));
        Self { work, longest: frame.bytes, bytes, wire: work.wire(frame) }
    }

    /// Bytes that the frames count for where they bound what is done in a turn, as [`Frame::weight`] says of one.
    pub(crate) fn weight(&self) -> u64 {
        match self.work {
            Work::Nothing => self.bytes,
            Work::Offloads => self.bytes.max(u64::from(SEGMENT_WEIGHT) * self.wire.frames),
        }
    }

    /// Those of all `frames`, which have the same work: one at least.
    pub(crate) fn of_all(frames: &[Frame]) -> Option<Self> {
        let (first, others) = frames.split_first()?;
        let mut traits = Self::of(first);
        others.iter().for_each(|frame| traits.add(frame));
        Some(traits)
    }

    /// Adds a frame of the same work.
    #[inline]
    fn add(&mut self, frame: &Frame) {
        let bytes = u64::from(frame.bytes);
        self.longest = self.longest.max(frame.bytes);
        self.bytes += bytes;
        self.wire = self.wire + self.work.wire(frame);
    }

    /// Those of both together; the work is the same.
    #[inline]
    fn join(&mut self, other: &Self) {
        self.longest = self.longest.max(other.longest);
        self.bytes += other.bytes;
        self.wire = self.wire + other.wire;
    }
}

/// The first 16 bytes of a frame: the addresses, and the tag if there is one. The switch decides by nothing else, but for a
/// frame that ends before or in its tag: that has no beginning, and is judged by itself.
type Beginning = Option<u128>;

#[inline]
fn beginning(frame: &Frame) -> Beginning {
    const WITH_TAG: usize = ETHERNET_HEADER_BYTES + TAG_BYTES;
    let whole = frame.head.bytes().first_chunk::<WITH_TAG>()?;
    whole.first_chunk().map(|beginning| u128::from_ne_bytes(*beginning))
}

/// Frames that begin alike, so that the switch decides alike.
#[derive(Debug)]
pub(crate) struct Stretch {
    pub(crate) frames: usize,
    pub(crate) traits: Traits,
    pub(crate) inquiry: Result<Inquiry, DropReason>,
}

impl Stretch {
    /// The longest stretch that `first` and some of `others`, which come after it, make. `inquiry` is that for `first`.
    #[inline]
    pub(crate) fn begin(
        first: &Frame,
        others: &[Frame],
        inquiry: Result<Inquiry, DropReason>,
    ) -> Self {
        let (mut frames, mut traits) = (1, Traits::of(first));
        let alike = beginning(first);
        for frame in others {
            if alike.is_none() || beginning(frame) != alike || Work::of(frame) != traits.work {
                break;
            }
            frames += 1;
            traits.add(frame);
        }
        Self { frames, traits, inquiry }
    }
}

/// Whether other frames may join a run before it is planned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Company {
    Welcome,
    /// Who gets copies is not known by the verdict alone.
    Refused,
}

/// Where frames came from, as far as it says whether they are copies already.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Nature {
    /// They entered by a port, in a VLAN of this switch.
    Entered,
    /// They were in a mirror stream of another host: their VLAN is not one of ours.
    Streamed,
    /// Copies for a collector that this switch sent, and that came back.
    OwnCopies,
}

/// Frames that go the same way.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Run {
    pub(crate) verdict: Verdict,
    pub(crate) frames: usize,
    pub(crate) traits: Traits,
    pub(crate) tagging: Tagging,
    /// Who reads the frames besides all who get them.
    pub(crate) readers: Readers,
    company: Company,
    pub(crate) nature: Nature,
    /// The named sessions that the frames concern. If one of those decides one by one, there is one frame until it is planned.
    pub(crate) concerned: Concerned,
    /// Which of the plans for legs is that of the frames, if they have one; known when the run is planned.
    pub(crate) legs: Option<u8>,
}

impl Run {
    /// A run of `frames` frames.
    #[inline]
    pub(crate) fn begin(
        frames: usize,
        traits: Traits,
        verdict: Verdict,
        company: Company,
        concerned: Concerned,
    ) -> Self {
        let tagging = match &verdict {
            Ok(decision) => Tagging { vlan: decision.vlan, tag: decision.tag },
            Err(_) => Tagging::default(),
        };
        let (readers, nature, legs) = (Readers::NoOthers, Nature::Entered, None);
        Self { verdict, frames, traits, tagging, readers, company, nature, concerned, legs }
    }

    /// A run of one frame, for which everything is decided by itself.
    #[inline]
    pub(crate) fn alone(frame: &Frame, verdict: Verdict, concerned: Concerned) -> Self {
        Self::begin(1, Traits::of(frame), verdict, Company::Refused, concerned)
    }

    /// The same, if nobody may copy the frames because they are copies for a collector that came back.
    pub(crate) fn of_own_copies(self) -> Self {
        Self { nature: Nature::OwnCopies, concerned: Concerned::NONE, ..self }
    }

    /// Adds the frames of a stretch if they go the same way and can be delivered together. Whether they do.
    #[inline]
    pub(crate) fn join(&mut self, stretch: &Stretch, verdict: Verdict) -> bool {
        let joins = self.verdict == verdict
            && self.traits.work == stretch.traits.work
            && self.company == Company::Welcome;
        if joins {
            self.frames += stretch.frames;
            self.traits.join(&stretch.traits);
        }
        joins
    }

    /// The same of some of the frames. `None` when there are none.
    pub(crate) fn of_part(&self, part: &[Frame]) -> Option<Self> {
        if part.len() == self.frames {
            return Some(*self);
        }
        Some(Self { frames: part.len(), traits: Traits::of_all(part)?, ..*self })
    }

    /// Adds the frames of the next run, which has the same receivers, if they can be delivered together. Whether they can.
    pub(crate) fn join_planned(&mut self, next: &Self) -> bool {
        let joins = self.traits.work == next.traits.work
            && self.tagging == next.tagging
            && self.readers == next.readers;
        if joins {
            self.frames += next.frames;
            self.traits.join(&next.traits);
        }
        joins
    }
}
