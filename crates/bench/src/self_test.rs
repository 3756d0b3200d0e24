//! What the generator itself costs, measured in every run: two of our guests, and between them no switch but a loop
//! that moves each frame once.
//!
//! Once with the loop in the same thread, all lines in the cache of one core; once with the loop on another core,
//! where every line must come back as from a real switch. The loop then shows the floor too: what one core must pay
//! to move a frame from ring to ring with one copy, no lookup, no check and no notification. The phases never
//! overlap, so that each is timed alone.

use std::sync::atomic::{AtomicU8, Ordering};
use std::time::Instant;

use helio_guest::{BurstQueues, GuestError, NetHeader};
use serde::Serialize;

use crate::core::{other_core, pin};
use crate::error::BenchError;
use crate::forge::{Forge, Judge, Judgement};
use crate::frame_plan::{FramePlan, Payload, as_f64};
use crate::mover::Mover;
use crate::spread::Spread;
use crate::stage_plan::{LanePlan, StagePlan};

/// Rounds, of which the middle one counts.
const ROUNDS: usize = 200;

/// What the generator costs per frame, sending and receiving together.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct SelfTest {
    /// Nanoseconds with all lines in the cache of one core.
    pub alone_ns: Spread,
    /// Nanoseconds with the other side on another core; `None` when there is no other.
    pub beside_ns: Option<Spread>,
    /// Of those, nanoseconds for sending.
    pub beside_send_ns: Option<Spread>,
    /// Nanoseconds that the other side took to move a frame: the floor.
    pub floor_ns: Option<Spread>,
}

/// One guest that sends, and one that receives.
struct Guests {
    from: BurstQueues,
    to: BurstQueues,
    forge: Forge,
    judge: Judge,
    payload: Payload,
    next: u64,
    /// Frames that arrived as they should.
    intact: u64,
}

/// Nanoseconds per frame of each round.
#[derive(Default)]
struct Times {
    send: Vec<f64>,
    both: Vec<f64>,
    moving: Vec<f64>,
}

impl SelfTest {
    /// Measures with the frames and rings of `plan`, cut and merged not at all.
    ///
    /// # Errors
    ///
    /// When the host has no memory for the guests, or frames do not come through.
    pub fn run(plan: &StagePlan) -> Result<Self, BenchError> {
        let alone = Guests::new(plan)?.alone()?;
        let beside = match other_core() {
            Some(core) => Some(Guests::new(plan)?.beside(core)?),
            None => None,
        };
        Ok(Self {
            alone_ns: Spread::of(alone.both),
            floor_ns: beside.as_ref().map(|times| Spread::of(times.moving.clone())),
            beside_send_ns: beside.as_ref().map(|times| Spread::of(times.send.clone())),
            beside_ns: beside.map(|times| Spread::of(times.both)),
        })
    }

    /// The share that weighs most: beside another core if there is one.
    #[must_use]
    pub fn generator_ns(&self) -> f64 {
        self.beside_ns.as_ref().unwrap_or(&self.alone_ns).median
    }
}

impl Guests {
    fn new(plan: &StagePlan) -> Result<Self, BenchError> {
        let frames = FramePlan { ..plan.frames.clone() };
        let plan = StagePlan { lanes: vec![LanePlan { from: 0, to: 1 }], ..plan.clone() };
        let mut config = plan.guest();
        config.features = helio_guest::features::VERSION_1;
        config.cutting = helio_guest::Cutting::Whole;
        config.rx_buffer_bytes = frames.max_bytes() + 16;
        config.net_header = NetHeader::default();
        let failed = |cause: GuestError| BenchError::SelfTest(cause);
        let mut from = BurstQueues::new(&config).map_err(failed)?;
        let to = BurstQueues::new(&config).map_err(failed)?;
        let mut forge = Forge::new(&frames, 0, 0, 1);
        from.sender.prepare(|slot| forge.prepare(slot));
        let (judge, payload) = (Judge::new(&frames), frames.payload);
        Ok(Self { from, to, forge, judge, payload, next: 0, intact: 0 })
    }

    fn mover(&self) -> Result<Mover, BenchError> {
        Mover::new(self.from.sender.area(), self.to.receiver.area())
            .ok_or_else(|| BenchError::Plan("the guests of the self-test have no memory".into()))
    }

    /// Offers a whole ring of frames.
    fn send(&mut self) -> u16 {
        let (forge, mut next) = (&mut self.forge, self.next);
        let room = self.from.sender.room();
        let sent = self.from.sender.offer(room, |slot| {
            let len = forge.write(slot, next);
            next += 1;
            len
        });
        self.from.sender.publish();
        self.next = next;
        sent
    }

    fn receive(&mut self) {
        let (judge, mut intact) = (&mut self.judge, self.intact);
        if self.payload == Payload::None {
            intact += self.to.receiver.receive(|_frame| {});
        } else {
            self.to.receiver.receive(|frame| {
                let expected = Judgement::Intact { lane: 0, sequence: intact };
                intact += u64::from(judge.judge(frame) == expected);
            });
        }
        self.intact = intact;
    }

    fn alone(mut self) -> Result<Times, BenchError> {
        let mut mover = self.mover()?;
        let mut times = Times::default();
        for _ in 0..ROUNDS {
            self.round(&mut times, || mover.drain());
        }
        self.finish(times)
    }

    fn beside(mut self, core: usize) -> Result<Times, BenchError> {
        const GUESTS: u8 = 0;
        const MOVER: u8 = 1;
        const END: u8 = 2;
        let mut mover = self.mover()?;
        let turn = AtomicU8::new(GUESTS);
        let mut times = Times::default();
        let moving = std::thread::scope(|scope| {
            let moving = scope.spawn(|| {
                pin(core)?;
                let mut moving = Vec::with_capacity(ROUNDS);
                loop {
                    match turn.load(Ordering::Acquire) {
                        MOVER => {
                            let began = Instant::now();
                            let frames = mover.drain();
                            moving.push(per_frame(began, frames));
                            turn.store(GUESTS, Ordering::Release);
                        }
                        END => return Ok(moving),
                        _ => std::hint::spin_loop(),
                    }
                }
            });
            for _ in 0..ROUNDS {
                self.round(&mut times, || {
                    turn.store(MOVER, Ordering::Release);
                    while turn.load(Ordering::Acquire) == MOVER && !moving.is_finished() {
                        std::hint::spin_loop();
                    }
                });
            }
            turn.store(END, Ordering::Release);
            moving.join().unwrap_or_else(|_| Ok(Vec::new()))
        });
        times.moving = moving?;
        self.finish(times)
    }

    /// Sends, lets `between` move the frames, receives.
    fn round<T>(&mut self, times: &mut Times, between: impl FnOnce() -> T) {
        let began = Instant::now();
        let sent = self.send();
        let send = per_frame(began, sent);
        between();
        let began = Instant::now();
        self.receive();
        times.send.push(send);
        times.both.push(send + per_frame(began, sent));
    }

    fn finish(self, times: Times) -> Result<Times, BenchError> {
        if self.intact == self.next && self.next > 0 {
            return Ok(times);
        }
        let (intact, sent) = (self.intact, self.next);
        Err(BenchError::Plan(format!("the self-test lost frames: {intact} of {sent} came through")))
    }
}

fn per_frame(began: Instant, frames: u16) -> f64 {
    began.elapsed().as_secs_f64() * 1e9 / as_f64(u64::from(frames.max(1)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_frame_of_every_kind_comes_through_and_is_judged() {
        for payload in [Payload::None, Payload::Line, Payload::All] {
            for sizes in [vec![60], vec![60, 590, 1514]] {
                let mut plan = StagePlan::new(vec!["/a".into(), "/b".into()]);
                plan.rings.size = 128;
                plan.frames =
                    FramePlan { payload, sizes, macs: 10, flows: 7, ..FramePlan::default() };
                let test = SelfTest::run(&plan).unwrap();
                assert_eq!(test.alone_ns.count, ROUNDS);
                assert!(test.generator_ns() > 0.0);
            }
        }
    }
}
