//! Address learning after RFC 2889, sections 5.7 and 5.8: how many addresses the switch remembers, and how fast it
//! takes them in.
//!
//! Three guests. The first one sends one frame from each of many addresses; the second one then sends a frame to each of
//! them. What the third one sees was flooded: those addresses were not known.

use std::time::{Duration, Instant};

use serde::Serialize;

use crate::error::BenchError;
use crate::forge::Addresses;
use crate::frame_plan::{Payload, as_f64};
use crate::progress::Progress;
use crate::stage::Stage;
use crate::stage_plan::{LanePlan, StagePlan};

/// Lanes: one that teaches addresses, one that asks for them.
const TEACH: usize = 0;
const ASK: usize = 1;

/// The guest that sees what is flooded.
const WATCHER: usize = 2;

/// Frames per second when speed does not matter.
const GENTLE_FPS: f64 = 200_000.0;

/// Addresses of one guest that differ from each other.
const MAX_ADDRESSES: u32 = 1 << 24;

/// How far to search.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct LearningPlan {
    /// Most addresses to be tried.
    pub max_addresses: u32,
    /// Addresses with which the rate is measured: many more than a ring holds, or it would be the ring that takes them
    /// in so fast.
    pub rate_addresses: u32,
    /// Highest rate to be tried, in frames per second.
    pub max_fps: f64,
    /// How long to wait between trials when the switch cannot be told to forget: longer than it remembers.
    pub ageing: Duration,
}

impl Default for LearningPlan {
    fn default() -> Self {
        Self {
            max_addresses: 1 << 17,
            rate_addresses: 10_000,
            max_fps: 10e6,
            ageing: Duration::ZERO,
        }
    }
}

/// Somebody who can tell the switch to forget all addresses that it learned.
pub trait SwitchControl {
    /// Tells it.
    ///
    /// # Errors
    ///
    /// When it cannot be told.
    fn forget_addresses(&mut self) -> Result<(), BenchError>;
}

/// What the plan asks for must be possible: pairs, addresses and queues are chosen here.
pub(crate) fn check(plan: &StagePlan) -> Result<(), BenchError> {
    let refuse = |text: &str| Err(BenchError::Plan(text.to_owned()));
    if plan.sockets.len() < 3 {
        return refuse("address learning needs three guests: name the sockets of three ports");
    }
    if plan.lanes != lanes() || plan.rings.queue_pairs != 1 || plan.frames.macs != 1 {
        return refuse(
            "address learning chooses who sends to whom from which address, with one queue pair: leave out pairs, \
             addresses and queue pairs",
        );
    }
    if plan.frames.payload == Payload::None {
        return refuse("address learning needs numbered frames: payload \"line\" or \"all\"");
    }
    Ok(())
}

/// One guest teaches, the other one asks.
fn lanes() -> Vec<LanePlan> {
    vec![LanePlan { from: 0, to: 1 }, LanePlan { from: 1, to: 0 }]
}

/// One trial.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Lesson {
    /// Addresses that were taught.
    pub addresses: u32,
    /// Frames per second that the switch took while they were.
    pub fps: f64,
    /// Of the frames to them, those that were flooded.
    pub flooded: u64,
    /// Of the frames to them, those that did not arrive where they should.
    pub lost: u64,
}

/// What the switch can learn.
#[derive(Clone, Debug, Serialize)]
pub struct Learning {
    /// The most addresses of which none was flooded.
    pub capacity: u32,
    /// Whether more were never tried.
    pub is_capacity_open: bool,
    /// The highest rate at which no address was missed, in frames per second.
    pub fps: f64,
    /// Whether a higher one was never tried.
    pub is_fps_open: bool,
    /// All trials in their order.
    pub lessons: Vec<Lesson>,
}

/// The trials of one run.
struct School<'a> {
    stage: Stage,
    control: Option<&'a mut (dyn SwitchControl + 'a)>,
    ageing: Duration,
    /// Frames that may be on the way.
    window: u64,
    /// Addresses that were used by no trial yet begin here.
    fresh: u32,
    lessons: Vec<Lesson>,
}

/// Sets the stage of `plan`, and measures.
pub(crate) fn measure<'a>(
    plan: &StagePlan,
    learning: &LearningPlan,
    control: Option<&'a mut (dyn SwitchControl + 'a)>,
    progress: &mut Progress,
) -> Result<Learning, BenchError> {
    check(plan)?;
    let stage = Stage::set(plan)?;
    let (ageing, lessons) = (learning.ageing, Vec::new());
    let window = u64::from(plan.window());
    let mut school = School { stage, control, ageing, window, fresh: 1, lessons };
    school.see_that_frames_arrive_alone()?;
    let (capacity, is_capacity_open) = school.find_capacity(learning, progress)?;
    let count = learning.rate_addresses.min(capacity);
    let (fps, is_fps_open) = match count {
        0 => (0.0, false),
        _ => school.find_rate(count, learning.max_fps, progress)?,
    };
    Ok(Learning { capacity, is_capacity_open, fps, is_fps_open, lessons: school.lessons })
}

impl School<'_> {
    /// Frames to a known address must not reach the third guest: else everything would look flooded.
    fn see_that_frames_arrive_alone(&mut self) -> Result<(), BenchError> {
        self.teach(1, GENTLE_FPS)?;
        if self.lessons.iter().all(|lesson| lesson.flooded > 0) {
            let text = "the third guest sees frames that are for others; it must be no mirror destination, \
                and the switch must learn addresses";
            return Err(BenchError::Plan(text.to_owned()));
        }
        self.lessons.clear();
        Ok(())
    }

    fn find_capacity(
        &mut self,
        plan: &LearningPlan,
        progress: &mut Progress,
    ) -> Result<(u32, bool), BenchError> {
        let (mut known, mut too_many) = (0, None);
        let mut next = 256.min(plan.max_addresses);
        loop {
            progress.step(self.lessons.len(), 30, &format!("teaching {next} addresses"));
            if self.teach(next, GENTLE_FPS)? {
                known = next
            } else {
                too_many = Some(next)
            }
            next = match too_many {
                None if known >= plan.max_addresses => return Ok((known, true)),
                None => known.saturating_mul(2).min(plan.max_addresses),
                // One in a hundred is as close as a hashed table lets us come.
                Some(too_many) if too_many - known <= 1.max(known / 100) => {
                    return Ok((known, false));
                }
                Some(too_many) => known + (too_many - known) / 2,
            };
        }
    }

    fn find_rate(
        &mut self,
        count: u32,
        max_fps: f64,
        progress: &mut Progress,
    ) -> Result<(f64, bool), BenchError> {
        let (mut held, mut failed) = (0.0_f64, None);
        let mut next = GENTLE_FPS.min(max_fps);
        loop {
            progress.step(self.lessons.len(), 30, &format!("teaching at {next:.0} frames/s"));
            let holds = self.teach(count, next)?;
            let reached = self.lessons.last().map_or(0.0, |lesson| lesson.fps);
            if holds && reached < 0.9 * next {
                // The rings were full: the switch takes no more, and learns all that it takes.
                return Ok((held.max(reached), true));
            }
            match holds {
                true => held = next,
                false => failed = Some(next),
            }
            next = match failed {
                None if held >= max_fps => return Ok((held, true)),
                None => (held * 2.0).min(max_fps),
                Some(failed) if failed - held <= failed / 20.0 => return Ok((held, false)),
                Some(failed) => (held + failed) / 2.0,
            };
        }
    }

    /// Teaches `count` addresses that the switch does not know; whether it knows all of them then. A lesson in which a
    /// frame was lost says nothing, and is given again.
    fn teach(&mut self, count: u32, fps: f64) -> Result<bool, BenchError> {
        for _ in 0..3 {
            let lesson = self.give(count, fps)?;
            self.lessons.push(lesson);
            if lesson.flooded == 0 && lesson.lost == 0 {
                return Ok(true);
            }
            if lesson.flooded > 0 {
                return Ok(false);
            }
        }
        Ok(false)
    }

    fn give(&mut self, count: u32, fps: f64) -> Result<Lesson, BenchError> {
        match &mut self.control {
            Some(control) => control.forget_addresses()?,
            None => std::thread::sleep(self.ageing),
        }
        if self.fresh + count >= MAX_ADDRESSES {
            self.fresh = 1;
        }
        let pupil = Addresses { first: self.fresh, count };
        let one = Addresses { first: 0, count: 1 };
        self.fresh += count;
        // Both known places must stay known: they were forgotten with all others.
        self.stage.set_addresses(ASK, one, one);
        self.send(ASK, 1, GENTLE_FPS)?;
        self.stage.set_addresses(TEACH, pupil, one);
        let reached = self.send(TEACH, count, fps)?;
        self.stage.set_addresses(ASK, one, pupil);
        let (flooded, arrived) =
            (self.stage.arrived_at(WATCHER, ASK), self.stage.arrived_at(0, ASK));
        self.send(ASK, count, GENTLE_FPS)?;
        let flooded = self.stage.arrived_at(WATCHER, ASK) - flooded;
        let arrived = self.stage.arrived_at(0, ASK) - arrived;
        let lost = u64::from(count).saturating_sub(arrived);
        Ok(Lesson { addresses: count, fps: reached, flooded, lost })
    }

    /// Sends `count` frames on one lane, and waits until they are through. The rate at which they were taken.
    fn send(&mut self, lane: usize, count: u32, fps: f64) -> Result<f64, BenchError> {
        let began = Instant::now();
        let mut sent = 0_u32;
        while sent < count {
            let due = began.elapsed().as_secs_f64() * fps;
            let burst = u16::try_from(count - sent).unwrap_or(u16::MAX).min(32);
            // As in a closed loop: what comes of a receiveq that overflows says nothing about learning.
            let has_room = self.stage.in_flight(lane) + u64::from(burst) <= self.window;
            if has_room && due >= as_f64(u64::from(sent)) {
                let room = self.stage.room(lane);
                sent += u32::from(self.stage.offer(lane, burst.min(room)));
                self.stage.publish(lane);
            }
            self.stage.receive_all();
            if began.elapsed().as_secs_f64() > 10.0 + 2.0 * f64::from(count) / fps {
                return Err(BenchError::Plan("the switch takes no frames any more".to_owned()));
            }
        }
        let reached = f64::from(count) / began.elapsed().as_secs_f64();
        self.stage.settle();
        self.stage.check()?;
        Ok(reached)
    }
}
