//! Load generator and analyser for any vhost-user switch.
//!
//! One thread plays all guests: it writes numbered frames, offers them in bursts, takes what arrives, and judges it.
//! Every figure is counted at the receivers and stands beside what the generator itself costs. It knows nothing of the
//! switch that it measures; who can ask that switch how busy it was, or tell it to forget addresses, implements
//! [`BusyMeter`] or [`SwitchControl`].
#![forbid(unsafe_code)]

mod board;
mod contention;
mod core;
mod drain;
mod error;
mod first_copy;
mod forge;
mod frame_plan;
mod host;
mod latency;
mod learning;
mod markdown;
mod meter;
mod mover;
mod progress;
mod rate;
mod report;
mod run;
mod schedule;
mod self_test;
mod spread;
mod stage;
mod stage_plan;
mod standstill;
mod subject;
mod svg;
mod tally;
mod throughput;

pub use core::pin;
pub use drain::{Drain, DrainPlan};
pub use error::BenchError;
pub use first_copy::{FirstCopy, FirstCopyPlan};
pub use frame_plan::{Carried, FCS_BYTES, FramePlan, IMIX, Payload, mac_address};
pub use host::Host;
pub use latency::{Latency, LatencyPlan, Load, LoadLatency, Percentiles};
pub use learning::{Learning, LearningPlan, Lesson, SwitchControl};
pub use markdown::to_markdown;
pub use meter::{Busy, BusyMeter, ProcessTime};
pub use progress::Progress;
pub use rate::{Loop, Rate, RatePlan};
pub use report::{Cell, Outcome, Report, Setting};
pub use run::{Helpers, Task, run};
pub use self_test::SelfTest;
pub use spread::Spread;
pub use stage::Oddities;
pub use stage_plan::{Attach, LanePlan, RingPlan, StagePlan};
pub use subject::Subject;
pub use svg::to_svg;
pub use throughput::{Found, Throughput, ThroughputPlan, Tried};
