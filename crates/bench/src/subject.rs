//! A switch that is measured many times: its guests attach once, each measurement begins with quiet rings, and the
//! counts of each are its own.
//!
//! For whoever compares switches: attached subjects cost nothing while others are measured. One owner, the thread that
//! plays the guests.

use std::time::Instant;

use crate::drain::{Drain, DrainPlan};
use crate::error::BenchError;
use crate::first_copy::{FirstCopy, FirstCopyPlan};
use crate::latency::{Latency, LatencyPlan};
use crate::progress::Progress;
use crate::rate::{Rate, RatePlan};
use crate::report::feature_names;
use crate::stage::{Oddities, Stage};
use crate::stage_plan::StagePlan;
use crate::{drain, first_copy, latency, rate};

/// Guests that are attached to a switch.
#[derive(Debug)]
pub struct Subject {
    plan: StagePlan,
    stage: Stage,
}

impl Subject {
    /// Attaches all guests of `plan` and makes them known to the switch.
    ///
    /// # Errors
    ///
    /// When the switch refuses a guest or passes nothing, or the plan contradicts itself.
    pub fn attach(plan: StagePlan) -> Result<Self, BenchError> {
        Self::attach_to(plan, || Ok(()))
    }

    /// As [`Subject::attach`]; `start` is called when guests that listen do so: what is started then finds them waiting.
    ///
    /// # Errors
    ///
    /// As [`Subject::attach`], and those of `start`.
    pub fn attach_to(
        plan: StagePlan,
        start: impl FnOnce() -> Result<(), BenchError>,
    ) -> Result<Self, BenchError> {
        let stage = Stage::set_when(&plan, start)?;
        Ok(Self { plan, stage })
    }

    /// What the guests do.
    #[must_use]
    pub fn plan(&self) -> &StagePlan {
        &self.plan
    }

    /// Features in use by the first guest.
    #[must_use]
    pub fn features(&self) -> Vec<String> {
        feature_names(self.stage.features())
    }

    /// When the first frame had come through.
    #[must_use]
    pub fn first_frame_at(&self) -> Option<Instant> {
        self.stage.first_frame_at()
    }

    /// What became of frames besides arriving, since the guests were attached.
    #[must_use]
    pub fn oddities(&self) -> Oddities {
        self.stage.oddities()
    }

    /// Waits until nothing comes any more.
    pub fn settle(&mut self) {
        self.stage.settle();
    }

    /// Makes all guests known to the switch again, which may have forgotten them.
    ///
    /// # Errors
    ///
    /// When no frame comes through.
    pub fn introduce_again(&mut self) -> Result<(), BenchError> {
        self.stage.introduce_again(&self.plan)
    }

    /// Whether each of the first `watchers` guests that watch receives a copy of a few frames. A switch may need a while
    /// until all its parts know of a new mirror.
    pub fn is_copied_to(&mut self, watchers: usize) -> bool {
        const FRAMES: u16 = 8;
        let before = self.copies();
        self.stage.room(0);
        self.stage.offer(0, FRAMES);
        self.stage.publish(0);
        self.stage.settle();
        let now = self.copies();
        let mut gained = now.iter().zip(&before).take(watchers).map(|(now, was)| now - was);
        gained.all(|gained| gained == u64::from(FRAMES))
    }

    /// Service time on the first lane.
    ///
    /// # Errors
    ///
    /// When the switch goes away or breaks a rule, or the plan cannot be drained.
    pub fn drain(&mut self, plan: &DrainPlan) -> Result<Drain, BenchError> {
        drain::measure(&mut self.stage, &self.plan, plan, &mut Progress::silent())
    }

    /// Sustained rate of all lanes. Frames are those of this measurement.
    ///
    /// # Errors
    ///
    /// When the switch goes away or breaks a rule.
    pub fn rate(&mut self, plan: &RatePlan) -> Result<Rate, BenchError> {
        self.stage.settle();
        let before = self.totals();
        let copies = self.copies();
        let mut rate =
            rate::measure(&mut self.stage, &self.plan, plan, None, &mut Progress::silent())?;
        rate.sent = rate.sent.saturating_sub(before.0);
        rate.lost = rate.lost.saturating_sub(before.0.saturating_sub(before.1));
        for (now, before) in rate.copies.iter_mut().zip(copies) {
            *now = now.saturating_sub(before);
        }
        Ok(rate)
    }

    /// Latency by load.
    ///
    /// # Errors
    ///
    /// As [`Subject::rate`].
    pub fn latency(&mut self, plan: &LatencyPlan) -> Result<Latency, BenchError> {
        latency::measure(&mut self.stage, &self.plan, plan, &mut Progress::silent())
    }

    /// Time from `command`, which makes the switch mirror, until a guest that watches has the first copy.
    ///
    /// # Errors
    ///
    /// As [`Subject::rate`]; those of `command`; when copies come before it.
    pub fn first_copy(
        &mut self,
        plan: &FirstCopyPlan,
        command: impl FnOnce() -> Result<(), BenchError>,
    ) -> Result<FirstCopy, BenchError> {
        first_copy::measure(&mut self.stage, &self.plan, plan, command)
    }

    /// Frames sent, and received where they should be, since the guests were attached.
    #[must_use]
    pub fn totals(&self) -> (u64, u64) {
        let counts = (0..self.stage.lane_count()).map(|lane| self.stage.counts(lane));
        counts.fold((0, 0), |(sent, received), counts| {
            (sent + counts.sent, received + counts.received)
        })
    }

    /// Frames that all guests have sent since they were attached, those included by which they made themselves known.
    #[must_use]
    pub fn sent(&self) -> u64 {
        self.stage.sent()
    }

    /// Frames that arrived at each guest that only watches, since the guests were attached.
    #[must_use]
    pub fn copies(&self) -> Vec<u64> {
        self.plan.watchers().map(|guest| self.stage.copies(guest)).collect()
    }
}
