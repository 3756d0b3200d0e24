//! How long a switch takes to begin with a mirror: from the command until the first copy lies in a ring.
//!
//! Meanwhile frames flow at a moderate pace, so that the resolution is their distance, and every one of them is
//! accounted for: switching a mirror on must not cost any. Between two bursts the thread offers its core to others,
//! because the control side of a switch may have only that.

use std::time::{Duration, Instant};

use serde::Serialize;

use crate::error::BenchError;
use crate::stage::Stage;
use crate::stage_plan::StagePlan;

/// What flows meanwhile.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct FirstCopyPlan {
    /// Frames that leave together.
    pub burst: u16,
    /// Time from one burst to the next.
    pub interval: Duration,
    /// How long frames flow before the command, and after the first copy.
    pub margin: Duration,
    /// How long is waited for a copy.
    pub patience: Duration,
}

impl Default for FirstCopyPlan {
    /// Eight frames every ten microseconds.
    fn default() -> Self {
        Self {
            burst: 8,
            interval: Duration::from_micros(10),
            margin: Duration::from_millis(50),
            patience: Duration::from_secs(5),
        }
    }
}

/// What was seen.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct FirstCopy {
    /// Nanoseconds from before the command was issued until the first copy was seen; `None` when none came in time.
    pub first_copy_ns: Option<u64>,
    /// Nanoseconds that issuing the command took; part of the above.
    pub command_ns: u64,
    /// Frames that were sent from the beginning to the end.
    pub sent: u64,
    /// Of those, frames that did not reach the guest they were for.
    pub lost: u64,
    /// Copies seen.
    pub copies: u64,
}

/// Frames on the first lane, and copies of them.
struct Flow<'a> {
    stage: &'a mut Stage,
    plan: &'a FirstCopyPlan,
    watchers: Vec<usize>,
    due: Instant,
}

/// Measures on a stage that is set. That copies come before `command` is an error: nobody could tell them from the first one.
pub(crate) fn measure(
    stage: &mut Stage,
    plan: &StagePlan,
    first: &FirstCopyPlan,
    command: impl FnOnce() -> Result<(), BenchError>,
) -> Result<FirstCopy, BenchError> {
    stage.settle();
    let before = stage.counts(0);
    let watchers = plan.watchers().collect();
    let mut flow = Flow { stage, plan: first, watchers, due: Instant::now() };
    let copies = flow.copies();
    flow.for_a_while(first.margin);
    if flow.copies() != copies {
        return Err(BenchError::Plan("copies came before the command".to_owned()));
    }
    let issued = Instant::now();
    command()?;
    let answered = Instant::now();
    let seen = flow.first_copy_after(copies, issued + first.patience);
    flow.for_a_while(first.margin);
    flow.stage.settle();
    let copies = flow.copies() - copies;
    stage.check()?;
    let after = stage.counts(0);
    let sent = after.sent - before.sent;
    Ok(FirstCopy {
        first_copy_ns: seen.map(|seen| nanoseconds(seen - issued)),
        command_ns: nanoseconds(answered - issued),
        sent,
        lost: sent.saturating_sub(after.received - before.received),
        copies,
    })
}

impl Flow<'_> {
    fn copies(&self) -> u64 {
        self.watchers.iter().map(|guest| self.stage.copies(*guest)).sum()
    }

    fn for_a_while(&mut self, time: Duration) {
        let began = Instant::now();
        while began.elapsed() < time {
            self.turn();
        }
    }

    /// When there were more than so many copies; `None` when there were not by the deadline.
    fn first_copy_after(&mut self, copies: u64, deadline: Instant) -> Option<Instant> {
        loop {
            self.turn();
            let now = Instant::now();
            if self.copies() != copies {
                return Some(now);
            }
            if now > deadline {
                return None;
            }
        }
    }

    /// A burst when it is due, and all that arrived.
    fn turn(&mut self) {
        let now = Instant::now();
        if now >= self.due {
            // Not more than the receivers have buffers for: what is lost then is the switch's loss.
            if self.stage.in_flight(0) < u64::from(self.plan.burst) * 16 {
                self.stage.room(0);
                self.stage.offer(0, self.plan.burst);
                self.stage.publish(0);
            }
            self.due = now + self.plan.interval;
        }
        self.stage.receive_all();
        std::thread::yield_now();
    }
}

fn nanoseconds(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}
