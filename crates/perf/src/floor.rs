//! The speedometer: what one core must pay to move the frames of a cell, measured before and after each round on the
//! cores that the round uses. When it changes, the machine has changed, and the round tells nothing.

use helio_bench::{RingPlan, SelfTest, StagePlan};
use helio_guest::Pages;
use serde::Serialize;

use crate::cells::{Carried, Cell};
use crate::error::PerfError;
use crate::station::RING;

/// The floor, and what the generator cost beside it, in nanoseconds per frame.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub(crate) struct Floor {
    /// One copy, no lookup, no check.
    pub(crate) floor_ns: f64,
    /// What the generator costs: sending and receiving together.
    pub(crate) generator_ns: f64,
    /// The same with the other side in the same cache.
    pub(crate) alone_ns: f64,
}

/// Where the host runs our two cores. It moves them as it likes, and figures change by half when it does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Cores {
    /// Each on a core of its own: what one wrote, the other must fetch.
    Apart,
    /// Both on one, as its two threads: they share its caches, and its time.
    Together,
}

impl std::fmt::Display for Cores {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Apart => "apart",
            Self::Together => "together",
        })
    }
}

/// Beside another core the generator costs more than twice as much, unless the other core is the same one.
const APART: f64 = 1.4;

impl Floor {
    /// Measures with the frames of `cell`.
    ///
    /// # Errors
    ///
    /// When the host has no memory or no second core.
    pub(crate) fn measure(cell: &Cell, pages: Pages) -> Result<Self, PerfError> {
        let test = SelfTest::run(&plan(cell, pages))?;
        let missing = || PerfError::Missing {
            what: "a second core".to_owned(),
            remedy: "the generator and the switch need one each",
        };
        let floor = test.floor_ns.ok_or_else(missing)?;
        Ok(Self {
            floor_ns: floor.median,
            generator_ns: test.generator_ns(),
            alone_ns: test.alone_ns.median,
        })
    }

    /// Where the cores were, by what it costs to have the other side on the other one.
    pub(crate) fn cores(&self) -> Cores {
        if self.generator_ns > self.alone_ns * APART { Cores::Apart } else { Cores::Together }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cores_are_together_when_the_other_one_costs_nothing() {
        let floor = |generator_ns| Floor { floor_ns: 20.0, generator_ns, alone_ns: 20.0 };
        assert_eq!(floor(20.5).cores(), Cores::Together);
        assert_eq!(floor(43.0).cores(), Cores::Apart);
    }
}
