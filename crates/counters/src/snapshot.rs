//! What the counters of a port held at one moment, added up over all workers.

use helio_types::{DropReason, LegId, PortId};

use crate::{Counter, CounterBank, FrameCount, MirrorBlock};

/// Counts of one port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PortCounts {
    /// Frames that the port sent and the switch took.
    pub ingress: FrameCount,
    /// Frames that the port was given, mirror copies included.
    pub egress: FrameCount,
    /// Frames that the port sent and that went nowhere, by [`DropReason::index`]. Each chain that the port sent is counted
    /// here or in `ingress`.
    pub ingress_drops: [u64; DropReason::COUNT],
    /// Frames that the port was not given, by [`DropReason::index`]. Each frame meant for the port is counted here or in
    /// `egress`.
    pub egress_drops: [u64; DropReason::COUNT],
    /// Copies for the port as a mirror destination.
    pub mirror: MirrorCounts,
}

/// Counts of one mirror destination.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MirrorCounts {
    /// Copies that the session asked for.
    pub wanted: FrameCount,
    /// Copies that the destination was given.
    pub delivered: FrameCount,
    /// Copies dropped, by [`DropReason::index`].
    pub dropped: [FrameCount; DropReason::COUNT],
}

impl Default for PortCounts {
    fn default() -> Self {
        Self {
            ingress: FrameCount::default(),
            egress: FrameCount::default(),
            ingress_drops: [0; DropReason::COUNT],
            egress_drops: [0; DropReason::COUNT],
            mirror: MirrorCounts::default(),
        }
    }
}

impl Default for MirrorCounts {
    fn default() -> Self {
        Self {
            wanted: FrameCount::default(),
            delivered: FrameCount::default(),
            dropped: [FrameCount::default(); DropReason::COUNT],
        }
    }
}

impl PortCounts {
    /// Adds up what all `banks` hold for `port`.
    pub fn read<'a>(banks: impl IntoIterator<Item = &'a CounterBank>, port: PortId) -> Self {
        let mut sum = Self::default();
        for block in banks.into_iter().map(|bank| bank.port(port)) {
            sum.ingress = sum.ingress + block.ingress.get();
            sum.egress = sum.egress + block.egress.get();
            add_up(&mut sum.ingress_drops, block.ingress_drops());
            add_up(&mut sum.egress_drops, block.egress_drops());
            sum.mirror.add(&block.mirror);
        }
        sum
    }

    /// What came on top of `base`. Counters only grow, so a port starts at zero by keeping what its slot held.
    #[must_use]
    pub fn since(&self, base: &Self) -> Self {
        let mut grown = self.clone();
        grown.ingress = grown.ingress - base.ingress;
        grown.egress = grown.egress - base.egress;
        take_off(&mut grown.ingress_drops, &base.ingress_drops);
        take_off(&mut grown.egress_drops, &base.egress_drops);
        grown.mirror = self.mirror.since(&base.mirror);
        grown
    }
}

impl PortCounts {
    /// Frames dropped in either direction, by [`DropReason::index`].
    #[must_use]
    pub fn drops(&self) -> [u64; DropReason::COUNT] {
        let mut both = self.ingress_drops;
        for (sum, count) in both.iter_mut().zip(&self.egress_drops) {
            *sum = sum.wrapping_add(*count);
        }
        both
    }
}

fn add_up(sums: &mut [u64], counters: &[Counter]) {
    for (sum, counter) in sums.iter_mut().zip(counters) {
        *sum = sum.wrapping_add(counter.get());
    }
}

fn take_off(counts: &mut [u64], base: &[u64]) {
    for (count, base) in counts.iter_mut().zip(base) {
        *count = count.wrapping_sub(*base);
    }
}

impl MirrorCounts {
    /// Adds up what all `banks` hold for `leg`.
    pub fn read_leg<'a>(banks: impl IntoIterator<Item = &'a CounterBank>, leg: LegId) -> Self {
        let mut sum = Self::default();
        for bank in banks {
            sum.add(bank.leg(leg));
        }
        sum
    }

    fn add(&mut self, block: &MirrorBlock) {
        // Outcomes before what was wanted: a reader in the middle of traffic then never sees more outcomes than
        // copies asked for by the same worker.
        self.delivered = self.delivered + block.delivered.get();
        for (total, counter) in self.dropped.iter_mut().zip(block.dropped()) {
            *total = *total + counter.get();
        }
        self.wanted = self.wanted + block.wanted.get();
    }

    /// What came on top of `base`.
    #[must_use]
    pub fn since(&self, base: &Self) -> Self {
        let mut grown = self.clone();
        grown.wanted = grown.wanted - base.wanted;
        grown.delivered = grown.delivered - base.delivered;
        for (count, base) in grown.dropped.iter_mut().zip(&base.dropped) {
            *count = *count - *base;
        }
        grown
    }

    /// Copies dropped for any reason.
    #[must_use]
    pub fn dropped_total(&self) -> FrameCount {
        self.dropped.iter().fold(FrameCount::default(), |sum, count| sum + *count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_of_all_workers_add_up() {
        let (a, b) = (CounterBank::new(), CounterBank::new());
        let port = PortId::new(255).unwrap();
        a.port(port).ingress.add(2, 120);
        b.port(port).ingress.add(1, 60);
        b.port(port).drop_egress(DropReason::NoRxBuffer, 4);
        a.port(port).drop_ingress(DropReason::NoRxBuffer, 1);
        b.port(port).mirror.drop_copies(DropReason::NoRxBuffer, 1, 60);
        let sum = PortCounts::read([&a, &b], port);
        assert_eq!(sum.ingress, FrameCount { frames: 3, bytes: 180 });
        assert_eq!(sum.egress_drops[DropReason::NoRxBuffer.index()], 4);
        assert_eq!(sum.drops()[DropReason::NoRxBuffer.index()], 5);
        assert_eq!(sum.mirror.dropped_total(), FrameCount { frames: 1, bytes: 60 });
    }

    #[test]
    fn a_port_that_takes_a_used_slot_starts_at_zero() {
        let bank = CounterBank::new();
        let port = PortId::new(3).unwrap();
        bank.port(port).egress.add(5, 500);
        let base = PortCounts::read([&bank], port);
        assert_eq!(PortCounts::read([&bank], port).since(&base), PortCounts::default());
        bank.port(port).egress.add(1, 100);
        assert_eq!(
            PortCounts::read([&bank], port).since(&base).egress,
            FrameCount { frames: 1, bytes: 100 }
        );
    }
}
