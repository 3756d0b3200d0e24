//! The frames of one port in one turn.

use std::convert::Infallible;

use crate::{Frame, Origin};

/// Most frames a worker takes from a port in one turn. Each step of a burst waits once for lines of another core: frames of 64
/// bytes cost 18.8 ns with 32, 17.3 with 64 and 17.0 with 128 between neighbouring cores, and 35.7, 33.3 and 32.4 between
/// cores far apart.
pub const BURST_FRAMES: usize = 64;

/// A burst is closed when its frames have this many bytes, or count for as many ([`Frame::weight`]), so that what is read is
/// still cached when it is copied. Frames of 1514 bytes cost 85 ns with 12 KiB, 80 with 16, 75 with 24 and 67 so.
pub const BURST_BYTES: u32 = 64 * 1024;

/// The frames taken from one port in one turn. They are filled where they lie: a frame is too large to be moved about.
#[derive(Debug)]
pub struct Burst {
    frames: Box<[Frame; BURST_FRAMES]>,
    taken: usize,
    bytes: u64,
    /// Frames that something must be given back for.
    held: usize,
    /// Whether the port refused some.
    has_refused: bool,
}

impl Burst {
    /// An empty burst. Allocates all it will ever need.
    #[must_use]
    pub fn new() -> Self {
        let frames = std::array::from_fn(|_| Frame::vacant());
        Self { frames: Box::new(frames), taken: 0, bytes: 0, held: 0, has_refused: false }
    }

    /// Whether another frame may be taken.
    #[inline]
    #[must_use]
    pub fn has_room(&self) -> bool {
        self.taken < BURST_FRAMES && self.bytes < u64::from(BURST_BYTES)
    }

    /// How many more frames may be taken at most.
    #[inline]
    #[must_use]
    pub fn room(&self) -> u16 {
        u16::try_from(BURST_FRAMES - self.taken).unwrap_or(0)
    }

    /// Lets `fill` write the next frame over whatever the last frame there left. It is taken if that succeeds. `None` when all
    /// places are taken.
    #[inline]
    pub fn fill<T, E>(
        &mut self,
        fill: impl FnOnce(&mut Frame) -> Result<T, E>,
    ) -> Option<Result<T, E>> {
        let frame = self.frames.get_mut(self.taken)?;
        let filled = fill(frame);
        if filled.is_ok() {
            self.bytes += u64::from(frame.weight());
            self.held += usize::from(frame.origin != Origin::Nothing);
            self.taken += 1;
        }
        Some(filled)
    }

    /// Takes `frame`, which exists already. To be called when [`Burst::has_room`] only.
    pub fn push(&mut self, frame: Frame) {
        self.fill(|vacancy| {
            *vacancy = frame;
            Ok::<_, Infallible>(())
        });
    }

    /// The frames, in the order taken.
    #[inline]
    #[must_use]
    pub fn frames(&self) -> &[Frame] {
        self.frames.get(..self.taken).unwrap_or_default()
    }

    /// The frames, in the order taken.
    #[inline]
    pub fn frames_mut(&mut self) -> &mut [Frame] {
        self.frames.get_mut(..self.taken).unwrap_or_default()
    }

    /// Asks `keep` about each frame in order, and takes out those that it refuses; what they hold is for the caller to give
    /// back.
    pub fn retain(&mut self, mut keep: impl FnMut(&Frame) -> bool) {
        let (taken, mut kept) = (self.taken, 0);
        self.held = 0;
        for index in 0..taken {
            let Some(frame) = self.frames.get(index) else { break };
            if !keep(frame) {
                continue;
            }
            self.held += usize::from(frame.origin != Origin::Nothing);
            if kept != index {
                self.frames.swap(kept, index);
            }
            kept += 1;
        }
        self.taken = kept;
    }

    /// Whether something must be given back for one of the frames.
    #[inline]
    #[must_use]
    pub fn has_held(&self) -> bool {
        self.held > 0
    }

    /// Notes that the port refused a frame on the way.
    #[inline]
    pub(crate) fn note_refusal(&mut self) {
        self.has_refused = true;
    }

    /// Whether the port refused frames on the way. Whoever looks at many ports need not look through all counts of each.
    #[inline]
    #[must_use]
    pub fn has_refused(&self) -> bool {
        self.has_refused
    }

    /// Whether the port had no frame at all, and none that it refused.
    #[inline]
    #[must_use]
    pub fn is_untouched(&self) -> bool {
        self.taken == 0 && !self.has_refused
    }

    /// Forgets all frames.
    #[inline]
    pub fn clear(&mut self) {
        self.taken = 0;
        self.bytes = 0;
        self.held = 0;
        self.has_refused = false;
    }
}

impl Default for Burst {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Head, MemoryId, SegmentList};
    use helio_offload::NetHeader;
    use helio_types::WorkerId;

    fn frame(bytes: u32) -> Frame {
        Frame {
            bytes,
            head: Head::copy_of(&[1; 60]),
            net: NetHeader::PLAIN,
            memory: MemoryId::of_worker(WorkerId::new(0).unwrap()),
            rest: SegmentList::new(),
            origin: Origin::Chunk(0),
        }
    }

    #[test]
    fn a_burst_is_full_with_64_frames_and_never_grows() {
        let mut burst = Burst::new();
        for _ in 0..BURST_FRAMES {
            assert!(burst.has_room());
            burst.push(frame(60));
        }
        assert!(!burst.has_room());
        assert_eq!(burst.frames().len(), BURST_FRAMES);
        assert!(burst.fill(|_| Ok::<_, Infallible>(())).is_none());
        burst.push(frame(60));
        assert_eq!(burst.frames().len(), BURST_FRAMES);
        burst.clear();
        assert!(burst.has_room());
        assert_eq!(burst.frames().len(), 0);
    }

    #[test]
    fn a_frame_that_could_not_be_written_leaves_its_place_to_the_next() {
        let mut burst = Burst::new();
        assert_eq!(
            burst.fill(|frame| {
                frame.bytes = 999;
                Err::<(), _>("no")
            }),
            Some(Err("no"))
        );
        assert_eq!((burst.frames().len(), burst.room()), (0, 64));
        burst.push(frame(60));
        assert_eq!(burst.frames().iter().map(|frame| frame.bytes).collect::<Vec<_>>(), [60]);
    }

    #[test]
    fn a_burst_knows_whether_something_must_be_given_back() {
        let mut burst = Burst::new();
        burst.push(Frame { origin: Origin::Nothing, ..frame(60) });
        assert!(!burst.has_held());
        burst.push(frame(60));
        assert!(burst.has_held());
        burst.clear();
        assert!(!burst.has_held());
    }

    #[test]
    fn a_burst_is_full_with_64_kib_and_not_one_byte_before() {
        let mut burst = Burst::new();
        burst.push(frame(BURST_BYTES - 1));
        assert!(burst.has_room());
        burst.push(frame(1));
        assert!(!burst.has_room());
        burst.clear();
        burst.push(frame(u32::MAX));
        burst.push(frame(u32::MAX));
        assert!(!burst.has_room());
    }

    #[test]
    fn the_rest_of_a_frame_is_what_the_head_does_not_hold() {
        assert_eq!(frame(60).rest_bytes(), 0);
        assert_eq!(frame(61).rest_bytes(), 1);
        assert_eq!(frame(59).rest_bytes(), 0);
    }
}
