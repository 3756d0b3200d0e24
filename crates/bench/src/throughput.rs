//! Throughput after RFC 2544: the highest rate at which no more than a given share of frames is lost.
//!
//! Searched as MLRsearch does: short trials, a load is judged by the majority of its trials, so that one bad moment of
//! a shared machine does not decide; and goals share their trials.

use std::time::Duration;

use serde::Serialize;

use crate::error::BenchError;
use crate::latency::closed_loop;
use crate::progress::Progress;
use crate::schedule::Schedule;
use crate::stage::Stage;
use crate::stage_plan::StagePlan;

/// How to search.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ThroughputPlan {
    /// Shares of frames that may be lost, one search for each: 0 is RFC 2544's.
    pub losses: Vec<f64>,
    /// Length of one trial.
    pub trial: Duration,
    /// Most trials of one load; more than half of them decide.
    pub trials: usize,
    /// The search ends when bounds are this close, as a share of the upper one.
    pub width: f64,
    /// Frames that leave together.
    pub burst: u16,
}

impl Default for ThroughputPlan {
    fn default() -> Self {
        Self {
            losses: vec![0.0, 0.005],
            trial: Duration::from_millis(500),
            trials: 5,
            width: 0.005,
            burst: 32,
        }
    }
}

/// The trials of one load.
#[derive(Clone, Debug, Serialize)]
pub struct Tried {
    /// Millions of frames per second, all lanes together.
    pub mpps: f64,
    /// Share of frames lost, for each trial.
    pub losses: Vec<f64>,
    /// Trials in which the generator could not keep its schedule: nothing is known about the switch then.
    pub generator_late: usize,
}

/// What was found for one goal.
#[derive(Clone, Debug, Serialize)]
pub struct Found {
    /// Share of frames that may be lost.
    pub loss: f64,
    /// The highest load that held, in millions of frames per second.
    pub mpps: f64,
    /// The lowest load that did not hold; `None` when all did.
    pub upper_mpps: Option<f64>,
    /// Whether that load failed because of the generator: the switch may be faster.
    pub is_generator_limit: bool,
}

/// Throughput for all goals.
#[derive(Clone, Debug, Serialize)]
pub struct Throughput {
    /// One entry for each goal.
    pub found: Vec<Found>,
    /// All loads that were tried, in their order.
    pub tried: Vec<Tried>,
    /// Where the search began: the rate of a closed loop.
    pub closed_loop_mpps: f64,
}

/// One search over many goals.
struct Search<'a> {
    stage: &'a mut Stage,
    plan: &'a ThroughputPlan,
    tried: Vec<Tried>,
}

/// Searches on a stage that is set.
pub(crate) fn measure(
    stage: &mut Stage,
    plan: &StagePlan,
    throughput: &ThroughputPlan,
    progress: &mut Progress,
) -> Result<Throughput, BenchError> {
    let closed_loop_mpps = closed_loop(stage, plan, progress)?;
    // Some ten loads for each goal, and more than half of the trials for each load.
    let trials = u32::try_from(throughput.losses.len() * throughput.trials * 5).unwrap_or(u32::MAX);
    progress.expect(throughput.trial.saturating_mul(trials));
    let mut search = Search { stage, plan: throughput, tried: Vec::new() };
    let mut found = Vec::new();
    for (number, loss) in throughput.losses.iter().enumerate() {
        progress.step(number, throughput.losses.len(), "throughput");
        found.push(search.find(*loss, closed_loop_mpps * 1.5, progress)?);
    }
    Ok(Throughput { found, tried: search.tried, closed_loop_mpps })
}

impl Found {
    /// The loss that is allowed, in percent and without what the computation adds far behind the point.
    pub(crate) fn loss_percent(&self) -> f64 {
        (self.loss * 1e8).round() / 1e6
    }
}

impl Search<'_> {
    fn find(
        &mut self,
        loss: f64,
        start: f64,
        progress: &mut Progress,
    ) -> Result<Found, BenchError> {
        let (mut lower, mut upper) = self.known_bounds(loss);
        let mut steps = 0;
        loop {
            let next = match upper {
                Some(upper) if upper - lower <= upper * self.plan.width => break,
                Some(upper) => (lower + upper) / 2.0,
                None if lower > start * 8.0 => break,
                None => (lower * 1.5).max(start),
            };
            if next < start * 1e-3 {
                break;
            }
            steps += 1;
            progress.step(steps, 20, &format!("throughput, {next:.3} Mpps"));
            let index = self.load(next)?;
            if self.holds(index, loss)? { lower = next } else { upper = Some(next) }
        }
        let failed = self.tried.iter().find(|tried| Some(tried.mpps) == upper);
        let is_generator_limit =
            failed.is_some_and(|tried| 2 * tried.generator_late > tried.losses.len());
        Ok(Found { loss, mpps: lower, upper_mpps: upper, is_generator_limit })
    }

    /// What the trials for other goals say already.
    fn known_bounds(&self, loss: f64) -> (f64, Option<f64>) {
        let decided = |holds: bool| {
            let verdict = move |tried: &&Tried| self.verdict(tried, loss) == Some(holds);
            self.tried.iter().filter(verdict).map(|tried| tried.mpps)
        };
        let upper = decided(false).min_by(f64::total_cmp);
        let below = |mpps: &f64| upper.is_none_or(|upper| *mpps < upper);
        (decided(true).filter(below).max_by(f64::total_cmp).unwrap_or(0.0), upper)
    }

    /// The entry of a load, made when there is none.
    fn load(&mut self, mpps: f64) -> Result<usize, BenchError> {
        self.tried.push(Tried { mpps, losses: Vec::new(), generator_late: 0 });
        Ok(self.tried.len() - 1)
    }

    /// Tries a load until the majority of its trials is known.
    fn holds(&mut self, index: usize, loss: f64) -> Result<bool, BenchError> {
        loop {
            let Some(tried) = self.tried.get(index) else { return Ok(false) };
            if let Some(verdict) = self.verdict(tried, loss) {
                return Ok(verdict);
            }
            let (fps, burst) = (tried.mpps * 1e6, self.plan.burst);
            self.stage.settle();
            let kept = Schedule { fps, duration: self.plan.trial, burst }.keep(self.stage)?;
            if let Some(tried) = self.tried.get_mut(index) {
                tried.losses.push(kept.loss());
                tried.generator_late += usize::from(!kept.is_valid());
            }
        }
    }

    /// Whether a load holds; `None` when its trials do not tell yet.
    fn verdict(&self, tried: &Tried, loss: f64) -> Option<bool> {
        majority(&tried.losses, loss, self.plan.trials)
    }
}

/// Whether more than half of `trials` trials lose no more than `loss`; `None` when those so far do not tell.
fn majority(losses: &[f64], loss: f64, trials: usize) -> Option<bool> {
    let good = losses.iter().filter(|lost| **lost <= loss).count();
    let bad = losses.len() - good;
    if 2 * good > trials {
        Some(true)
    } else if 2 * bad >= trials {
        Some(false)
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_loss_is_printed_as_it_was_asked_for() {
        let found = |loss| Found { loss, mpps: 1.0, upper_mpps: None, is_generator_limit: false };
        let printed = [0.29, 0.5, 0.001, 100.0].map(|percent: f64| found(percent / 100.0));
        assert_eq!(printed.map(|found| found.loss_percent()), [0.29, 0.5, 0.001, 100.0]);
    }

    #[test]
    fn the_majority_of_trials_decides_and_no_more_are_made_than_needed() {
        assert_eq!(majority(&[0.0, 0.0], 0.0, 5), None);
        assert_eq!(majority(&[0.0, 0.0, 0.0], 0.0, 5), Some(true));
        assert_eq!(majority(&[0.1, 0.0, 0.1, 0.0, 0.0], 0.0, 5), Some(true));
        assert_eq!(majority(&[0.1, 0.1, 0.0], 0.0, 5), None);
        assert_eq!(majority(&[0.1, 0.1, 0.1], 0.0, 5), Some(false));
        assert_eq!(majority(&[0.1, 0.1, 0.1], 0.2, 5), Some(true));
        assert_eq!((majority(&[0.0], 0.0, 1), majority(&[0.1], 0.0, 1)), (Some(true), Some(false)));
    }
}
