//! Frames of a burst that follow each other and go the same way: decided, counted and delivered together.

use helio_counters::FrameCount;
use helio_frame::Frame;
use helio_mirror::Selected;
use helio_switch::Decision;
use helio_types::DropReason;

use crate::deliver::on_the_wire;
use crate::mailbox::{Tagging, Targets};

/// What the switch said.
pub(crate) type Verdict = Result<Decision, DropReason>;

/// Whether the frames of a run may need something done to them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Work {
    /// They are complete: every receiver gets them as they are, but for tags.
    Nothing,
    /// Checksums or segments were left to do.
    Offloads,
}

/// Whether other frames may join a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Company {
    Welcome,
    /// What becomes of the copies is decided for each frame.
    Refused,
}

/// What frames that are delivered together have in common.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Traits {
    pub(crate) work: Work,
    /// Length of the longest frame, in bytes.
    pub(crate) longest: u32,
    /// The frames as they are on a wire.
    pub(crate) wire: FrameCount,
}

impl Traits {
    pub(crate) fn of(frame: &Frame) -> Self {
        let work = if frame.is_plain() { Work::Nothing } else { Work::Offloads };
        Self { work, longest: frame.bytes, wire: on_the_wire(frame) }
    }
}

/// A run of frames.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Run {
    pub(crate) verdict: Verdict,
    pub(crate) frames: usize,
    /// Sum of their lengths.
    pub(crate) bytes: u64,
    pub(crate) traits: Traits,
    pub(crate) tagging: Tagging,
    company: Company,
    /// The mirror destinations that want the frames.
    pub(crate) selected: Selected,
    /// Who gets the frames; known when the run is complete.
    pub(crate) targets: Targets,
}

impl Run {
    /// A run of one frame, which mirror destinations want as `selected` says.
    #[inline]
    pub(crate) fn begin(
        frame: &Frame,
        verdict: Verdict,
        selected: Selected,
        company: Company,
    ) -> Self {
        let tagging = match &verdict {
            Ok(decision) => Tagging { vlan: decision.vlan, tag: decision.tag },
            Err(_) => Tagging::default(),
        };
        Self {
            verdict,
            frames: 1,
            bytes: u64::from(frame.bytes),
            traits: Traits::of(frame),
            tagging,
            company,
            selected,
            targets: Targets::NONE,
        }
    }

    /// Adds `frame`, for which the verdict is the same, if it can be delivered together with the run. Whether it can.
    #[inline]
    pub(crate) fn extend(&mut self, frame: &Frame) -> bool {
        let is_like = frame.is_plain() == (self.traits.work == Work::Nothing);
        if !is_like || self.company == Company::Refused {
            return false;
        }
        self.frames += 1;
        self.bytes += u64::from(frame.bytes);
        self.traits.longest = self.traits.longest.max(frame.bytes);
        let wire = on_the_wire(frame);
        self.traits.wire.frames += wire.frames;
        self.traits.wire.bytes += wire.bytes;
        true
    }
}
