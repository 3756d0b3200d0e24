//! The forms of one frame, each computed once however many receivers want it.

use helio_frame::{Frame, Head, RestBytes};
use helio_offload::{Checksum, SegmentChecksum, Segmenter, finish};
use helio_types::DropReason;

/// What was computed for the frame that is being delivered.
#[derive(Debug)]
pub(crate) struct Forms {
    finished: Head,
    finishing: Option<Result<(), DropReason>>,
    complete: Plan,
    partial: Plan,
}

/// A segmentation, and for which segment length it was made.
#[derive(Debug, Default)]
struct Plan {
    segmenter: Segmenter,
    made: Option<(u16, Result<(), DropReason>)>,
}

impl Forms {
    /// Allocates all that will ever be needed.
    pub(crate) fn new() -> Self {
        Self {
            finished: Head::EMPTY,
            finishing: None,
            complete: Plan::default(),
            partial: Plan::default(),
        }
    }

    /// Another frame is to be delivered.
    #[inline]
    pub(crate) fn begin(&mut self) {
        self.finishing = None;
        self.complete.made = None;
        self.partial.made = None;
    }

    /// The head of `frame` with its checksum completed.
    pub(crate) fn finished(
        &mut self,
        frame: &Frame,
        rest: &RestBytes<'_>,
    ) -> Result<&Head, DropReason> {
        let Self { finished, finishing, .. } = self;
        let result = finishing.get_or_insert_with(|| {
            finished.clone_from(&frame.head);
            match frame.net.checksum {
                Checksum::Complete => Ok(()),
                Checksum::Partial { start, offset } => {
                    finish(finished.bytes_mut(), start, offset, rest)
                }
            }
        });
        (*result).map(|()| &*finished)
    }

    /// The segments of `frame`, each with at most `max_bytes` of payload. Receivers share them when the limit cuts alike.
    pub(crate) fn segmented(
        &mut self,
        frame: &Frame,
        rest: &RestBytes<'_>,
        checksum: SegmentChecksum,
        max_bytes: u16,
    ) -> Result<&Segmenter, DropReason> {
        let asked_bytes = frame.net.gso.map_or(u16::MAX, |gso| gso.segment_bytes);
        let max_bytes = max_bytes.min(asked_bytes);
        let plan = match checksum {
            SegmentChecksum::Complete => &mut self.complete,
            SegmentChecksum::Partial => &mut self.partial,
        };
        let result = match plan.made {
            Some((made_for, result)) if made_for == max_bytes => result,
            _ => plan.segmenter.plan(frame.head.bytes(), &frame.net, rest, checksum, max_bytes),
        };
        plan.made = Some((max_bytes, result));
        result.map(|()| &plan.segmenter)
    }
}
