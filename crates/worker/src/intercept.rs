//! Frames from an uplink that are for the switch itself: what neighbours tell and ask, and mirror streams of other hosts. They are
//! taken out of the burst before anything else is done to it.

use helio_frame::{Burst, Frame};
use helio_mirror::Leg;
use helio_types::{LegId, MacAddr, PortId};
use helio_underlay::{NeighbourState, RefusalCounts};

use crate::core::Core;
use crate::decap::DecapReport;
use crate::remote::link_bytes;

/// What a worker knows of the networks behind its uplinks.
#[derive(Clone, Debug, Default)]
pub struct UnderlayReport {
    /// Of each collector.
    pub collectors: Vec<CollectorReport>,
    /// Of each decap port.
    pub decaps: Vec<DecapReport>,
}

/// What is known of the way to a collector.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CollectorReport {
    /// Its leg.
    pub leg: LegId,
    /// What is known of the next hop.
    pub state: NeighbourState,
    /// Where that is.
    pub next_hop: Option<MacAddr>,
    /// Longest datagram of the path, in bytes; no longer than its first link takes.
    pub mtu_bytes: u16,
    /// What neighbours and routers said that was not believed.
    pub refused: RefusalCounts,
}

impl Core {
    /// Notes on which ports frames for the switch itself can arrive.
    pub(crate) fn note_own_uplinks(&mut self) {
        let sessions = &self.snapshot.sessions;
        let of_legs = self.collectors.legs().into_iter().filter_map(|leg| sessions.leg(leg));
        let ports = of_legs.map(|(_, leg)| leg.port);
        self.own_uplinks =
            ports.chain(self.decaps.iter().map(|decap| decap.point.uplink)).collect();
    }

    /// Takes the frames out of a burst from `ingress` that are for the switch itself. Returns their number.
    #[cold]
    pub(crate) fn intercept(&mut self, ingress: PortId, burst: &mut Burst) -> u64 {
        let (mut own, mut bytes) = (0_u64, 0_u64);
        burst.retain(|frame| {
            let is_own = self.is_own(ingress, frame);
            if is_own {
                own += 1;
                bytes += u64::from(frame.bytes);
                self.release(frame.origin);
            }
            !is_own
        });
        self.counters.port(ingress).ingress.add(own, bytes);
        own
    }

    fn is_own(&mut self, ingress: PortId, frame: &Frame) -> bool {
        self.decapsulate(ingress, frame) || self.observe(ingress, frame.head.bytes(), frame.bytes)
    }

    /// What is known of the networks behind uplinks. Not part of a turn: it allocates.
    #[cold]
    pub(crate) fn report_underlay(&self) -> UnderlayReport {
        let collector = |leg| {
            let neighbour = self.collectors.get(leg)?.neighbour();
            let (_, Leg { port, .. }) = self.snapshot.sessions.leg(leg)?;
            let settings = self.snapshot.switch.port(*port)?;
            let local = self.place(*port).and_then(|place| self.locals.get(place))?;
            let mtu_bytes = neighbour.mtu_bytes().min(link_bytes(settings, &*local.port));
            Some(CollectorReport {
                leg,
                state: neighbour.state(),
                next_hop: neighbour.mac(),
                mtu_bytes,
                refused: *neighbour.refused(),
            })
        };
        UnderlayReport {
            collectors: self.collectors.legs().into_iter().filter_map(collector).collect(),
            decaps: self.decaps.iter().map(|decap| decap.report()).collect(),
        }
    }
}
