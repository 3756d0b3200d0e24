//! The frames of one port in one turn.

use crate::Frame;

/// Most frames a worker takes from a port in one turn.
pub const BURST_FRAMES: usize = 32;

/// A burst is closed when its frames have this many bytes, so that what is read is still cached when it is copied.
pub const BURST_BYTES: u32 = 64 * 1024;

/// The frames taken from one port in one turn.
#[derive(Debug)]
pub struct Burst {
    frames: Vec<Frame>,
    bytes: u32,
}

impl Burst {
    /// An empty burst. Allocates all it will ever need.
    #[must_use]
    pub fn new() -> Self {
        Self { frames: Vec::with_capacity(BURST_FRAMES), bytes: 0 }
    }

    /// Whether another frame may be taken.
    #[inline]
    #[must_use]
    pub fn has_room(&self) -> bool {
        self.frames.len() < BURST_FRAMES && self.bytes < BURST_BYTES
    }

    /// Adds a frame. To be called when [`Burst::has_room`] only, so that nothing is allocated.
    #[inline]
    pub fn push(&mut self, frame: Frame) {
        self.bytes = self.bytes.saturating_add(frame.bytes);
        self.frames.push(frame);
    }

    /// The frames, in the order taken.
    #[inline]
    #[must_use]
    pub fn frames(&self) -> &[Frame] {
        &self.frames
    }

    /// The frames, in the order taken.
    #[inline]
    pub fn frames_mut(&mut self) -> &mut [Frame] {
        &mut self.frames
    }

    /// Forgets all frames.
    #[inline]
    pub fn clear(&mut self) {
        self.frames.clear();
        self.bytes = 0;
    }
}

impl Default for Burst {
    fn default() -> Self {
        Self::new()
    }
}
