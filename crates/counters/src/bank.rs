//! All counters that one worker writes.

use helio_types::{DropReason, LegId, MAX_LEGS, MAX_PORTS, PortId};

use crate::{Counter, FrameCounter};

/// What one worker has counted for one port.
#[derive(Debug, Default)]
#[repr(align(128))]
pub struct PortBlock {
    /// Frames that the port sent and the switch took.
    pub ingress: FrameCounter,
    /// Frames that the port was given, mirror copies included.
    pub egress: FrameCounter,
    ingress_drops: [Counter; DropReason::COUNT],
    egress_drops: [Counter; DropReason::COUNT],
    /// Copies for the port as a mirror destination.
    pub mirror: MirrorBlock,
}

impl PortBlock {
    /// Counts `frames` frames that the port sent and that went nowhere for `reason`.
    #[inline]
    pub fn drop_ingress(&self, reason: DropReason, frames: u64) {
        if let Some(counter) = self.ingress_drops.get(reason.index()) {
            counter.add(frames);
        }
    }

    /// Counts `frames` frames that the port was not given for `reason`.
    #[inline]
    pub fn drop_egress(&self, reason: DropReason, frames: u64) {
        if let Some(counter) = self.egress_drops.get(reason.index()) {
            counter.add(frames);
        }
    }

    /// Frames sent and dropped so far, by [`DropReason::index`].
    #[must_use]
    pub fn ingress_drops(&self) -> &[Counter; DropReason::COUNT] {
        &self.ingress_drops
    }

    /// Frames not given so far, by [`DropReason::index`].
    #[must_use]
    pub fn egress_drops(&self) -> &[Counter; DropReason::COUNT] {
        &self.egress_drops
    }
}

/// Copies for one mirror destination: a port, or a leg. Once nothing is under way, wanted equals delivered plus dropped.
#[derive(Debug, Default)]
pub struct MirrorBlock {
    /// Copies that the session asked for.
    pub wanted: FrameCounter,
    /// Copies that the destination was given, whether as a copy or as the normal receiver.
    pub delivered: FrameCounter,
    dropped: [FrameCounter; DropReason::COUNT],
}

impl MirrorBlock {
    /// Counts `frames` copies of `bytes` bytes in all, dropped for `reason`.
    #[inline]
    pub fn drop_copies(&self, reason: DropReason, frames: u64, bytes: u64) {
        if let Some(counter) = self.dropped.get(reason.index()) {
            counter.add(frames, bytes);
        }
    }

    /// Copies dropped so far, by [`DropReason::index`].
    #[must_use]
    pub fn dropped(&self) -> &[FrameCounter; DropReason::COUNT] {
        &self.dropped
    }
}

/// The counters of one worker: a block for each port of the switch, whoever owns the port, and one for each leg.
#[derive(Debug)]
pub struct CounterBank {
    ports: Box<[PortBlock; MAX_PORTS]>,
    legs: Box<[MirrorBlock; MAX_LEGS]>,
}

impl CounterBank {
    /// All zero.
    #[must_use]
    pub fn new() -> Self {
        Self { ports: blocks(), legs: blocks() }
    }

    /// The block of `port`.
    #[inline]
    #[must_use]
    pub fn port(&self, port: PortId) -> &PortBlock {
        // The mask changes nothing, as a port is below MAX_PORTS, and lets the compiler see that.
        #[allow(clippy::indexing_slicing, reason = "the mask keeps the index below MAX_PORTS")]
        &self.ports[port.index() % MAX_PORTS]
    }

    /// The block of `leg`.
    #[inline]
    #[must_use]
    pub fn leg(&self, leg: LegId) -> &MirrorBlock {
        #[allow(clippy::indexing_slicing, reason = "the remainder is below MAX_LEGS")]
        &self.legs[leg.index() % MAX_LEGS]
    }
}

/// `N` blocks that are all zero.
fn blocks<T: Default, const N: usize>() -> Box<[T; N]> {
    let blocks: Vec<T> = (0..N).map(|_| T::default()).collect();
    match <Box<[T; N]>>::try_from(blocks.into_boxed_slice()) {
        Ok(blocks) => blocks,
        Err(_) => unreachable!("the slice was made with N blocks"),
    }
}

impl Default for CounterBank {
    fn default() -> Self {
        Self::new()
    }
}
