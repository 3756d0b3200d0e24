//! The speedometer: what one core must pay to move the frames of a cell, measured before and after each window on the
//! cores that the window uses. When it changes, the machine has changed, and the window tells nothing.

use helio_bench::{RingPlan, SelfTest, StagePlan};
use helio_guest::Pages;
use serde::Serialize;

use crate::cells::{Carried, Cell};
use crate::cores::{Cores, round_trip_ns};
use crate::error::PerfError;
use crate::station::RING;

/// The floor, and what the generator cost beside it, in nanoseconds per frame.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub(crate) struct Floor {
    /// One copy, no lookup, no check.
    pub(crate) floor_ns: f64,
    /// What the generator costs: sending and receiving together.
    pub(crate) generator_ns: f64,
    /// Time of a cache line from one core to the other and back.
    pub(crate) round_trip_ns: f64,
}

impl Floor {
    /// Measures with the frames of `cell`.
    ///
    /// # Errors
    ///
    /// When the host has no memory or no second core.
    pub(crate) fn measure(
        cell: &Cell,
        pages: Pages,
        worker_core: usize,
    ) -> Result<Self, PerfError> {
        let round_trip_ns = round_trip_ns(worker_core)?;
        let test = SelfTest::run(&plan(cell, pages))?;
        let missing = || PerfError::Missing {
            what: "a second core".to_owned(),
            remedy: "the generator and the switch need one each",
        };
        let floor = test.floor_ns.ok_or_else(missing)?;
        Ok(Self { floor_ns: floor.median, generator_ns: test.generator_ns(), round_trip_ns })
    }

    /// How far the cores were from each other.
    pub(crate) fn cores(&self) -> Cores {
        Cores::by(self.round_trip_ns)
    }
}

/// Long TCP would not fit a probe: there the floor of ordinary long frames tells how the machine is.
fn plan(cell: &Cell, pages: Pages) -> StagePlan {
    let mut plan = StagePlan::new(vec!["/a".into(), "/b".into()]);
    plan.rings = RingPlan { size: RING, pages, ..RingPlan::default() };
    let bytes = match cell.carried {
        Carried::Udp => cell.wire_bytes,
        Carried::Tso => 1518,
    };
    plan.frames = plan.frames.with_wire_sizes(&[bytes]);
    plan
}
