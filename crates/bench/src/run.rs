//! A run from beginning to end: for each kind of frames the self-test, the guests, and the task.

use crate::contention::CoreTime;
use crate::drain::DrainPlan;
use crate::error::BenchError;
use crate::frame_plan::{FramePlan, Payload};
use crate::latency::LatencyPlan;
use crate::learning::{LearningPlan, SwitchControl};
use crate::meter::{BusyMeter, ProcessTime};
use crate::progress::Progress;
use crate::rate::RatePlan;
use crate::report::{Cell, Outcome, Report, feature_names};
use crate::self_test::SelfTest;
use crate::stage::{Oddities, Stage};
use crate::stage_plan::StagePlan;
use crate::throughput::ThroughputPlan;
use crate::{drain, latency, learning, rate, throughput};

/// What to find out.
#[derive(Clone, Debug, PartialEq)]
pub enum Task {
    /// Sustained rate, busy time and service time.
    Rate(RatePlan, Option<DrainPlan>),
    /// Service time.
    Drain(DrainPlan),
    /// Latency by load.
    Latency(LatencyPlan),
    /// Highest rates for given losses.
    Throughput(ThroughputPlan),
    /// What the switch can learn.
    Learning(LearningPlan),
}

impl Task {
    /// Whether it can be carried out with this plan: what can be told before anybody waits for the switch.
    fn check(&self, plan: &StagePlan) -> Result<(), BenchError> {
        let refuse = |text: &str| Err(BenchError::Plan(text.to_owned()));
        match self {
            Self::Latency(_) if plan.frames.payload == Payload::None => {
                refuse("latency needs numbered frames: payload \"line\" or \"all\"")
            }
            Self::Learning(_) => learning::check(plan),
            Self::Drain(_) | Self::Rate(_, Some(_)) => drain::check(plan),
            _ => Ok(()),
        }
    }
}

/// Who knows more about the switch than its sockets tell.
#[derive(Default)]
pub struct Helpers<'a> {
    /// Knows how busy it was. Without one, the processor time of the process at the sockets is taken.
    pub meter: Option<&'a mut dyn BusyMeter>,
    /// Can make it forget addresses.
    pub control: Option<&'a mut dyn SwitchControl>,
}

impl std::fmt::Debug for Helpers<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let sources = (self.meter.as_ref().map(|meter| meter.source()), self.control.is_some());
        f.debug_tuple("Helpers").field(&sources).finish()
    }
}

/// Carries the task out with each kind of frames in turn; `kinds` are their names and plans.
///
/// # Errors
///
/// When the guests cannot be attached, the switch goes away or breaks a rule, or the plan contradicts itself.
pub fn run(
    plan: &StagePlan,
    kinds: &[(String, FramePlan)],
    task: &Task,
    helpers: &mut Helpers<'_>,
    progress: &mut Progress,
) -> Result<Report, BenchError> {
    let mut report = Report::new(plan);
    for (name, frames) in kinds {
        let plan = StagePlan { frames: frames.clone(), ..plan.clone() };
        plan.check()?;
        task.check(&plan)?;
        let self_test = SelfTest::run(&plan)?;
        let before = CoreTime::now();
        let found = carry_out(&plan, task, helpers, progress)?;
        let generator_waited = CoreTime::now().waited_since(before);
        report.cells.push(Cell {
            name: name.clone(),
            frames: frames.clone(),
            features: feature_names(found.features),
            self_test,
            generator_waited,
            oddities: found.oddities,
            outcome: found.outcome,
        });
    }
    progress.end();
    Ok(report)
}

/// What a task found, with the features that were in use.
struct FoundOut {
    outcome: Outcome,
    features: u64,
    oddities: Oddities,
}

fn carry_out(
    plan: &StagePlan,
    task: &Task,
    helpers: &mut Helpers<'_>,
    progress: &mut Progress,
) -> Result<FoundOut, BenchError> {
    if let Task::Learning(learning) = task {
        // It sets a stage of its own.
        let control: Option<&mut dyn SwitchControl> = match &mut helpers.control {
            Some(control) => Some(&mut **control),
            None => None,
        };
        let outcome = Outcome::Learning(learning::measure(plan, learning, control, progress)?);
        let (features, oddities) = (plan.rings.features, Oddities::default());
        return Ok(FoundOut { outcome, features, oddities });
    }
    let stage = &mut Stage::set(plan)?;
    let outcome = match task {
        Task::Rate(sustained, drain_plan) => {
            // Nobody else knows: the kernel does.
            let mut process = stage.switch_process().map(ProcessTime::of);
            let meter: Option<&mut dyn BusyMeter> = match (&mut helpers.meter, &mut process) {
                (Some(meter), _) => Some(&mut **meter),
                (None, Some(process)) => Some(process),
                (None, None) => None,
            };
            let sustained = Box::new(rate::measure(stage, plan, sustained, meter, progress)?);
            stage.settle();
            let drain = match drain_plan {
                Some(drain) => Some(drain::measure(stage, plan, drain, progress)?),
                None => None,
            };
            Outcome::Rate { sustained, drain }
        }
        Task::Drain(drain) => Outcome::Drain(drain::measure(stage, plan, drain, progress)?),
        Task::Latency(latency) => {
            Outcome::Latency(latency::measure(stage, plan, latency, progress)?)
        }
        Task::Throughput(throughput) => {
            Outcome::Throughput(throughput::measure(stage, plan, throughput, progress)?)
        }
        Task::Learning(_) => return Err(BenchError::Plan("learning has its own stage".to_owned())),
    };
    Ok(FoundOut { outcome, features: stage.features(), oddities: stage.oddities() })
}
