//! The frames of one port in one turn.

use crate::{Frame, Origin};

/// Most frames a worker takes from a port in one turn.
pub const BURST_FRAMES: usize = 32;

/// A burst is closed when its frames have this many bytes, so that what is read is still cached when it is copied. Frames of
/// 1514 bytes cost 85 ns with 12 KiB, 80 with 16, 75 with 24 and 67 so.
pub const BURST_BYTES: u32 = 64 * 1024;

/// The frames taken from one port in one turn. They are filled where they lie: a frame is too large to be moved about.
#[derive(Debug)]
pub struct Burst {
    frames: Box<[Frame]>,
    taken: usize,
    bytes: u32,
    /// Frames that something must be given back for.
    held: usize,
}

impl Burst {
    /// An empty burst. Allocates all it will ever need.
    #[must_use]
    pub fn new() -> Self {
        let frames = (0..BURST_FRAMES).map(|_| Frame::vacant()).collect();
        Self { frames, taken: 0, bytes: 0, held: 0 }
    }

    /// Whether another frame may be taken.
    #[inline]
    #[must_use]
    pub fn has_room(&self) -> bool {
        self.taken < BURST_FRAMES && self.bytes < BURST_BYTES
    }

    /// How many more frames may be taken at most.
    #[inline]
    #[must_use]
    pub fn room(&self) -> u16 {
        u16::try_from(BURST_FRAMES - self.taken).unwrap_or(0)
    }

    /// The place for the next frame, with whatever the last frame there left. It counts only after [`Burst::commit`].
    #[inline]
    pub fn vacancy(&mut self) -> Option<&mut Frame> {
        self.frames.get_mut(self.taken)
    }

    /// Takes the frame that was written to the vacancy.
    #[inline]
    pub fn commit(&mut self) {
        if let Some(frame) = self.frames.get(self.taken) {
            self.bytes = self.bytes.saturating_add(frame.bytes);
            self.held += usize::from(frame.origin != Origin::Nothing);
            self.taken += 1;
        }
    }

    /// Takes `frame`, which exists already. To be called when [`Burst::has_room`] only.
    pub fn push(&mut self, frame: Frame) {
        if let Some(vacancy) = self.vacancy() {
            *vacancy = frame;
            self.commit();
        }
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

    /// Whether something must be given back for one of the frames.
    #[inline]
    #[must_use]
    pub fn has_held(&self) -> bool {
        self.held > 0
    }

    /// Forgets all frames.
    #[inline]
    pub fn clear(&mut self) {
        self.taken = 0;
        self.bytes = 0;
        self.held = 0;
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
    fn a_burst_is_full_with_32_frames_and_never_grows() {
        let mut burst = Burst::new();
        for _ in 0..BURST_FRAMES {
            assert!(burst.has_room());
            burst.push(frame(60));
        }
        assert!(!burst.has_room());
        assert_eq!(burst.frames().len(), BURST_FRAMES);
        assert!(burst.vacancy().is_none());
        burst.push(frame(60));
        assert_eq!(burst.frames().len(), BURST_FRAMES);
        burst.clear();
        assert!(burst.has_room());
        assert_eq!(burst.frames().len(), 0);
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
