//! How guests make themselves known to the switch before a run.

use std::time::Instant;

use super::{SILENCE, Stage};
use crate::board::INTRODUCTIONS;
use crate::error::BenchError;
use crate::forge::Forge;
use crate::frame_plan::{FramePlan, Payload};
use crate::stage_plan::StagePlan;

impl Stage {
    /// Every guest of a lane sends from all its addresses, so that the switch knows where they are. What a guest that
    /// only receives in the run sends need not arrive: its port may not be meant for sending.
    pub(super) fn introduce_all(&mut self, plan: &StagePlan) -> Result<(), BenchError> {
        for lane in &plan.lanes {
            let mut forge = self.introduction(lane.from, lane.to, &vlans_of(plan, 0));
            let deadline = Instant::now() + self.patience;
            while !self.send_introductions(&mut forge, lane.from, lane.to, 1) {
                if Instant::now() >= deadline {
                    return Err(self.silent(lane.from, lane.to));
                }
                // The switch may know the receiver from another port, and look for it there until it speaks.
                let mut own = self.introduction(lane.to, lane.from, &vlans_of(plan, 0));
                self.send_introductions(&mut own, lane.to, lane.from, 1);
            }
            self.first_frame_at.get_or_insert_with(Instant::now);
            self.introduce(plan, lane.from, lane.to);
        }
        for lane in &plan.lanes {
            let sends_too = plan.lanes.iter().any(|other| other.from == lane.to);
            if !sends_too {
                self.introduce(plan, lane.to, lane.from);
            }
        }
        self.settle();
        self.check()
    }

    /// Makes a guest known in every VLAN.
    fn introduce(&mut self, plan: &StagePlan, from: usize, to: usize) {
        for number in 0..plan.frames.vlans.len().max(1) {
            let mut forge = self.introduction(from, to, &vlans_of(plan, number));
            self.send_all_introductions(&mut forge, from, to);
        }
    }

    /// Writes the frames by which a guest makes itself known, and fills its buffers with them.
    fn introduction(&mut self, from: usize, to: usize, vlans: &[u16]) -> Forge {
        let size = self.frames.sizes.iter().copied().min().unwrap_or(60);
        let (payload, sizes, vlans) = (Payload::Line, vec![size], vlans.to_vec());
        let plan = FramePlan { payload, sizes, vlans, ..self.frames.clone() };
        let lane = INTRODUCTIONS + u16::try_from(from & 0xff).unwrap_or(0);
        let mut forge = Forge::new(&plan, lane, from, to);
        if let Some(guest) = self.guests.get_mut(from) {
            guest.sender().prepare(|slot| forge.prepare(slot));
        }
        forge
    }

    /// No more at once than a ring holds, which may be few when a frame takes many descriptors.
    fn send_all_introductions(&mut self, forge: &mut Forge, from: usize, to: usize) {
        let capacity = self.guests.get_mut(from).map_or(1, |guest| guest.sender().capacity());
        let mut left = self.frames.macs;
        while left > 0 {
            let burst = left.min(64).min(u32::from(capacity)).max(1);
            self.send_introductions(forge, from, to, u16::try_from(burst).unwrap_or(1));
            left -= burst;
        }
    }

    /// Sends a few frames and waits a moment until as many have arrived; whether they have.
    fn send_introductions(
        &mut self,
        forge: &mut Forge,
        from: usize,
        to: usize,
        count: u16,
    ) -> bool {
        let seen = |stage: &Self| stage.boards.get(to).map_or(0, |board| board.introductions);
        let before = seen(self);
        if let Some(guest) = self.guests.get_mut(from) {
            guest.sender().room();
            self.sent += u64::from(guest.sender().offer(count, |slot| forge.write(slot, 0)));
            guest.sender().publish();
        }
        let sent_at = Instant::now();
        while sent_at.elapsed() < SILENCE {
            for guest in 0..self.guests.len() {
                self.receive_introductions(guest);
            }
            if seen(self) >= before + u64::from(count) {
                return true;
            }
        }
        false
    }

    /// Reads the frames also when the plan says that they are only counted.
    fn receive_introductions(&mut self, guest: usize) {
        let Some(board) = self.boards.get_mut(guest) else { return };
        let Some(guest) = self.guests.get_mut(guest) else { return };
        let judge = &mut self.judge;
        for (receiveq, pair) in guest.pairs().enumerate() {
            pair.receiver.receive(|view| {
                board.enter(judge.judge_first_line(view), view, receiveq);
            });
        }
    }

    fn silent(&self, from: usize, to: usize) -> BenchError {
        let socket = |guest: usize| self.sockets.get(guest).cloned().unwrap_or_default();
        BenchError::Silent { from: socket(from), to: socket(to), waited: self.patience }
    }
}

/// The VLAN of this number alone; none when frames have no tag.
fn vlans_of(plan: &StagePlan, number: usize) -> Vec<u16> {
    plan.frames.vlans.get(number).copied().into_iter().collect()
}
