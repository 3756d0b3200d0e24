//! One counter.

use std::ops::{Add, Sub};
use std::sync::atomic::{AtomicU64, Ordering};

/// A count that one thread raises and any thread reads.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// Adds `n`. For the one thread that writes this counter: a load and a store, not a locked addition.
    #[inline]
    pub fn add(&self, n: u64) {
        self.0.store(self.0.load(Ordering::Relaxed).wrapping_add(n), Ordering::Relaxed);
    }

    /// The count now.
    #[must_use]
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// Frames, and the bytes in them.
#[derive(Debug, Default)]
pub struct FrameCounter {
    frames: Counter,
    bytes: Counter,
}

impl FrameCounter {
    /// Adds `frames` frames of `bytes` bytes in all.
    #[inline]
    pub fn add(&self, frames: u64, bytes: u64) {
        self.frames.add(frames);
        self.bytes.add(bytes);
    }

    /// The counts now. Frames and bytes are read one after the other.
    #[must_use]
    pub fn get(&self) -> FrameCount {
        FrameCount { frames: self.frames.get(), bytes: self.bytes.get() }
    }
}

/// What a [`FrameCounter`] held when it was read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FrameCount {
    /// Number of frames.
    pub frames: u64,
    /// Bytes in them, Ethernet header included, net header and FCS not.
    pub bytes: u64,
}

impl Add for FrameCount {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self {
            frames: self.frames.wrapping_add(other.frames),
            bytes: self.bytes.wrapping_add(other.bytes),
        }
    }
}

impl Sub for FrameCount {
    type Output = Self;

    fn sub(self, other: Self) -> Self {
        Self {
            frames: self.frames.wrapping_sub(other.frames),
            bytes: self.bytes.wrapping_sub(other.bytes),
        }
    }
}
