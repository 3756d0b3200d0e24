//! The service time: what one frame costs the switch alone, without the generator in between.
//!
//! A transmitq is filled and all receive buffers are posted; then all frames become visible with one store, and the
//! clock runs until every one of them has arrived. Meanwhile the generator only looks at a used index now and then.
//! Done with many and with few frames in turn: what the two have in common, waking up and the first look, cancels out
//! of the difference.

use std::time::{Duration, Instant};

use helio_guest::Rewriting;
use serde::Serialize;

use crate::error::BenchError;
use crate::frame_plan::as_f64;
use crate::progress::Progress;
use crate::report::descriptors;
use crate::spread::Spread;
use crate::stage::Stage;
use crate::stage_plan::StagePlan;

/// How long nothing may arrive before the rest of a ring counts as lost.
const SILENCE: Duration = Duration::from_millis(100);

/// Looks at the ring are this many pauses of the processor apart, so that they do not slow the switch.
const PAUSES: u32 = 16;

/// How often to measure.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct DrainPlan {
    /// Pairs of a long and a short ring.
    pub rounds: usize,
    /// Whether descriptors are stored again for every frame, as most drivers do it: the generator has the time here.
    #[serde(skip)]
    pub rewriting: Rewriting,
}

impl Default for DrainPlan {
    fn default() -> Self {
        Self { rounds: 200, rewriting: Rewriting::Always }
    }
}

/// What a frame costs.
#[derive(Clone, Debug, Serialize)]
pub struct Drain {
    /// Frames of the long ring, and of the short one.
    pub frames: [u16; 2],
    /// Nanoseconds per frame by the difference of the two, for each round.
    pub service_ns: Spread,
    /// Nanoseconds per frame of the long ring, start included.
    pub whole_ns: Spread,
    /// Nanoseconds that every ring takes besides: the switch wakes up and looks.
    pub start_ns: f64,
    /// Frames that did not arrive.
    pub lost: u64,
    /// Whether unchanged descriptors were stored again for every ring.
    pub descriptors: &'static str,
    /// Watching guests that received all frames in the first round, and were waited for ever after.
    pub waited_for: Vec<usize>,
}

/// Whether rings can be drained with this plan.
pub(crate) fn check(plan: &StagePlan) -> Result<(), BenchError> {
    see_that_it_is_long(plan.window())?;
    if plan.buffers_per_frame() > 1 && plan.frames.sizes.len() > 1 {
        let text = "frames of several lengths must each fit one receive buffer to be drained: take longer buffers, or \
            each length for itself";
        return Err(BenchError::Plan(text.to_owned()));
    }
    Ok(())
}

/// A fourth of the frames must be some, too.
fn see_that_it_is_long(frames: u16) -> Result<(), BenchError> {
    if frames >= 4 {
        return Ok(());
    }
    let text = format!(
        "{frames} frames in a ring are too few to be drained: take larger rings or shorter frames"
    );
    Err(BenchError::Plan(text))
}

/// Measures the first lane of a stage that is set.
pub(crate) fn measure(
    stage: &mut Stage,
    plan: &StagePlan,
    drain: &DrainPlan,
    progress: &mut Progress,
) -> Result<Drain, BenchError> {
    check(plan)?;
    let long = plan.window().min(stage.room(0));
    see_that_it_is_long(long)?;
    let short = long / 4;
    stage.set_rewriting(drain.rewriting);
    let buffers = plan.buffers_per_frame();
    let waited_for = find_reliable_watchers(stage, plan, short);
    let ring = |count| Ring { count, buffers, watchers: &waited_for };
    let mut lost = 0;
    let (mut service, mut whole, mut start) = (Vec::new(), Vec::new(), Vec::new());
    for number in 0..drain.rounds {
        progress.step(number, drain.rounds, "draining a ring");
        let few = ring(short).drain(stage);
        let many = ring(long).drain(stage);
        lost += few.lost + many.lost;
        if few.lost + many.lost == 0 {
            let slope = (many.ns - few.ns) / as_f64(u64::from(long - short));
            service.push(slope);
            whole.push(many.ns / as_f64(u64::from(long)));
            start.push(few.ns - slope * as_f64(u64::from(short)));
        }
        stage.check()?;
    }
    stage.set_rewriting(plan.rings.rewriting);
    Ok(Drain {
        frames: [long, short],
        service_ns: Spread::of(service),
        whole_ns: Spread::of(whole),
        start_ns: Spread::of(start).median,
        lost,
        descriptors: descriptors(drain.rewriting),
        waited_for,
    })
}

/// One ring to be drained.
struct Ring<'a> {
    /// Frames.
    count: u16,
    /// Receive buffers that each of them takes.
    buffers: u32,
    watchers: &'a [usize],
}

/// What it took.
struct Once {
    ns: f64,
    lost: u64,
}

impl Ring<'_> {
    fn drain(&self, stage: &mut Stage) -> Once {
        stage.offer(0, self.count);
        let buffers = u16::try_from(u32::from(self.count) * self.buffers).unwrap_or(u16::MAX);
        let receiver = stage.receiver_of(0);
        let began = Instant::now();
        stage.publish(0);
        let mut ended = began;
        let mut lost = 0;
        for guest in std::iter::once(receiver).chain(self.watchers.iter().copied()) {
            let arrived = wait(buffers, |stage| stage.ready(guest), stage);
            ended = Instant::now();
            lost += u64::from(u32::from(buffers - arrived).div_ceil(self.buffers));
        }
        let left = stage.outstanding(0);
        if left > 0 {
            wait(left, |stage| left - stage.outstanding(0), stage);
            ended = Instant::now();
        }
        // What did not come in time may come later: it must not be taken for frames of the next ring.
        if lost > 0 {
            stage.settle();
        }
        stage.receive_all();
        stage.write_off(0);
        Once { ns: (ended - began).as_secs_f64() * 1e9, lost }
    }
}

/// Waits until `look` says `count`, or has said the same for too long; what it said last, up to `count`.
#[inline]
fn wait(count: u16, mut look: impl FnMut(&mut Stage) -> u16, stage: &mut Stage) -> u16 {
    let (mut last, mut changed) = (0, Instant::now());
    loop {
        let seen = look(stage);
        if seen >= count {
            return count;
        }
        if seen != last {
            (last, changed) = (seen, Instant::now());
        } else if changed.elapsed() > SILENCE {
            return seen;
        }
        for _ in 0..PAUSES {
            std::hint::spin_loop();
        }
    }
}

/// Watching guests that receive every frame: only those are waited for, or a dead one would be all that is measured.
fn find_reliable_watchers(stage: &mut Stage, plan: &StagePlan, count: u16) -> Vec<usize> {
    stage.offer(0, count);
    stage.publish(0);
    let before: Vec<_> = plan.watchers().map(|guest| (guest, stage.copies(guest))).collect();
    stage.settle();
    let all = |(guest, before): &(usize, u64)| stage.copies(*guest) - before >= u64::from(count);
    before.iter().filter(|watcher| all(watcher)).map(|(guest, _)| *guest).collect()
}
