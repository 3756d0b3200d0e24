//! The worker's half of a VM port. Used by one worker; sessions reach it through its mailbox only.

mod orders;
#[cfg(test)]
pub(crate) mod silence;
mod spread;
#[cfg(test)]
mod turn_tests;

use std::sync::Arc;
use std::time::Duration;

use helio_frame::{
    Armed, Delivery, Frame, Intake, Origin, Port, PortFault, Readiness, Run, RunEnd,
};
use helio_mem::MemoryTable;
use helio_offload::Offloads;
use helio_types::DropReason;
use helio_vring::{ReceiveQueue, TakeSteps, TransmitQueue};

use crate::call_cost::{CallCost, Cost, cpu_time};
use crate::handle::VhostPortHandle;
use crate::parts::{PortError, PortParts, PortShared};
use crate::quiet::Quiet;
use crate::ring_slot::{Phase, Slot};
use crate::steering::{Steering, delivery_hash};
use spread::Stride;

/// One queue pair.
#[derive(Debug)]
struct Pair {
    transmit: Slot<TransmitQueue>,
    receive: Slot<ReceiveQueue>,
    /// What the guest accepts undone on the receiveq.
    accepts: Offloads,
}

/// A port whose far side is a guest, by vhost-user.
#[derive(Debug)]
pub struct VhostPort {
    shared: Arc<PortShared>,
    pairs: Box<[Pair]>,
    /// Pairs beyond this one have no queue.
    live_pairs: usize,
    /// The pair whose transmitq is looked at first.
    next_pair: usize,
    steering: Steering,
    /// Frames of this turn that several receiveqs were prepared for and that were not offered yet, as far as is known: it is
    /// only asked for whether to prepare again.
    foreseen: usize,
    /// Descriptors that the receiveqs walked in this turn together.
    walked: u32,
    stride: Stride,
    /// Number of rings that the guest may use.
    running: usize,
    accepts: Offloads,
    call_cost: CallCost,
    /// What [`cpu_time`] says, or a model of it.
    clock: fn() -> Duration,
    /// Of the transmitq that runs, if it is one only.
    quiet: Option<Quiet>,
    /// The memory that the rings lie in, while there are any.
    memory: Option<Arc<MemoryTable>>,
}

impl VhostPort {
    /// Makes a port and opens its socket. The port goes to its worker; then [`VhostPortHandle::start`] lets front-ends in.
    ///
    /// # Errors
    ///
    /// When the socket cannot be opened, or the parts contradict themselves.
    pub fn create(parts: PortParts) -> Result<(Self, VhostPortHandle), PortError> {
        let (shared, handle) = VhostPortHandle::create(parts)?;
        let pairs = usize::from(shared.queue_pairs);
        let port = Self {
            shared,
            pairs: (0..pairs)
                .map(|_| Pair {
                    transmit: Slot::empty(),
                    receive: Slot::empty(),
                    accepts: Offloads::NONE,
                })
                .collect(),
            live_pairs: 0,
            next_pair: 0,
            steering: Steering::new(pairs),
            foreseen: 0,
            walked: 0,
            stride: Stride::ALL,
            running: 0,
            accepts: Offloads::NONE,
            call_cost: CallCost::default(),
            clock: cpu_time,
            quiet: None,
            memory: None,
        };
        Ok((port, handle))
    }

    fn live(&mut self) -> &mut [Pair] {
        self.pairs.get_mut(..self.live_pairs).unwrap_or_default()
    }

    /// Whether no transmitq offers anything.
    fn is_silent(&self) -> bool {
        let live = self.pairs.get(..self.live_pairs).unwrap_or_default();
        let queues = live.iter().filter_map(|pair| pair.transmit.queue.as_deref());
        queues.fold(true, |all, queue| all & queue.is_silent())
    }

    /// Remembers up to where chains were taken: once behind the loop that takes them, whose registers it would cost.
    #[inline]
    fn follow(&mut self) {
        let queue = self.pairs.first().and_then(|pair| pair.transmit.queue.as_deref());
        if let (Some(quiet), Some(queue)) = (&mut self.quiet, queue) {
            quiet.follow(queue);
        }
    }

    /// Takes what the transmitqs offer, beginning with another one each time.
    #[inline(never)]
    fn take_from_all(&mut self, intake: &mut Intake<'_>) {
        let first = if self.next_pair < self.live_pairs { self.next_pair } else { 0 };
        self.next_pair = first + 1;
        let mut steps = TakeSteps::default();
        for index in (first..self.live_pairs).chain(0..first) {
            if let Err(fault) = self.take_from(index, intake, &mut steps) {
                return self.fail(fault);
            }
            if !intake.burst.has_room() || steps.are_used_up() {
                // The next turn begins where this one had to end, so that no pair waits for ever.
                self.next_pair = index + 1;
                return;
            }
        }
    }

    /// Takes what one transmitq offers; discards it when the ring is disabled.
    #[inline]
    fn take_from(
        &mut self,
        index: usize,
        intake: &mut Intake<'_>,
        steps: &mut TakeSteps,
    ) -> Result<(), PortFault> {
        let Some(slot) = self.pairs.get_mut(index).map(|pair| &mut pair.transmit) else {
            return Ok(());
        };
        let Some(queue) = slot.queue.as_deref_mut() else { return Ok(()) };
        match slot.phase {
            Phase::Enabled => {
                let before = intake.burst.frames().len();
                if queue.take(intake, steps)? > 0 && self.steering.is_needed() {
                    let pair = u8::try_from(index).unwrap_or(0);
                    for frame in intake.burst.frames().iter().skip(before) {
                        self.steering.sent(frame.head.bytes(), pair);
                    }
                }
            }
            Phase::Disabled => {
                let discarded = queue.discard(steps)?;
                intake.refuse_some(DropReason::RingDisabled, u32::from(discarded));
            }
            Phase::Empty | Phase::Faulted | Phase::Leaving => {}
        }
        Ok(())
    }

    /// The receiveq of a pair, if it carries frames.
    #[inline]
    fn receiveq(&mut self, pair: u8) -> Option<&mut ReceiveQueue> {
        self.pairs.get_mut(usize::from(pair))?.receive.enabled()
    }

    /// Writes one frame to the receiveq of a pair.
    #[inline]
    fn offer_to(&mut self, pair: u8, delivery: &Delivery<'_>) -> Result<(), DropReason> {
        let queue = self.receiveq(pair).ok_or(DropReason::PortDown)?;
        let offered = queue.offer(delivery);
        let walked = queue.steps();
        self.walked = walked;
        offered.unwrap_or_else(|fault| {
            self.fail(fault);
            Err(DropReason::PortDown)
        })
    }

    /// Stops all rings because the far side broke a rule. Memory that was cut off reads as zeroes, so that is the cause then,
    /// whatever the rings seem to say.
    #[cold]
    fn fail(&mut self, fault: PortFault) {
        let is_cut_off = self.memory.as_ref().is_some_and(|memory| memory.is_poisoned());
        self.shared.fail(if is_cut_off { PortFault::MemoryTruncated } else { fault });
        for pair in self.live() {
            pair.transmit.fail();
            pair.receive.fail();
        }
        self.refresh();
    }

    #[inline]
    fn notify_all(&mut self) {
        for pair in self.live() {
            if let Some(queue) = pair.transmit.queue.as_deref_mut() {
                queue.notify();
            }
            if let Some(queue) = pair.receive.queue.as_deref_mut() {
                queue.notify();
            }
        }
    }

    /// The same, and looks at what it costs.
    #[cold]
    fn notify_timed(&mut self) {
        let began = (self.clock)();
        self.notify_all();
        let took = (self.clock)().saturating_sub(began);
        if self.call_cost.note(took, self.live_pairs) == Cost::TooHigh {
            self.fail(PortFault::SlowCall);
        }
    }

    fn transmitq(&mut self, origin: Origin) -> Option<(&mut TransmitQueue, u16)> {
        let Origin::Chain { queue, slot, .. } = origin else { return None };
        let pair = self.pairs.get_mut(usize::from(queue))?;
        Some((pair.transmit.queue.as_deref_mut()?, slot))
    }
}

impl Port for VhostPort {
    #[inline]
    fn take(&mut self, intake: &mut Intake<'_>) {
        if self.shared.mailbox.has_orders() {
            self.obey();
        }
        // Nearly every look at a port ends here.
        if self.running == 0 || self.quiet.as_ref().is_some_and(Quiet::lasts) {
            return;
        }
        if self.memory.as_ref().is_some_and(|memory| memory.is_poisoned()) {
            return self.fail(PortFault::MemoryTruncated);
        }
        if self.quiet.is_some() || !self.is_silent() {
            self.take_from_all(intake);
            self.follow();
        }
    }

    #[inline]
    fn foresee(&self) {
        self.shared.mailbox.fetch();
        if let Some(quiet) = &self.quiet {
            quiet.fetch();
        }
    }

    #[inline]
    fn hold(&mut self, origin: Origin) {
        let queue = self.transmitq(origin);
        debug_assert!(queue.is_some(), "{origin:?} is held, and its queue is gone");
        if let Some((queue, slot)) = queue {
            queue.hold(slot);
        }
    }

    #[inline]
    fn release(&mut self, origin: Origin) {
        let queue = self.transmitq(origin);
        debug_assert!(queue.is_some(), "{origin:?} is released, and its queue is gone");
        if let Some((queue, slot)) = queue {
            queue.release(slot);
        }
    }

    fn accepts(&self) -> Offloads {
        self.accepts
    }

    #[inline]
    fn prepare(&mut self, frames: &[Frame]) -> Readiness {
        let Some(pair) = self.steering.only_receiver() else { return self.prepare_several(frames) };
        self.receiveq(pair).map_or(Readiness::Unknown, |queue| queue.prepare(frames))
    }

    fn offer_run(&mut self, run: Run<'_>) -> RunEnd {
        let Some(pair) = self.steering.only_receiver() else { return self.offer_to_several(run) };
        let Some(queue) = self.receiveq(pair) else {
            return RunEnd::none(run.frames.len(), DropReason::PortDown);
        };
        if !queue.is_prepared() {
            queue.look_ahead(run.frames);
        }
        let (end, fault) = queue.offer_run(run);
        let walked = queue.steps();
        self.walked = walked;
        if let Some(fault) = fault {
            self.fail(fault);
        }
        end
    }

    #[inline]
    fn offer(&mut self, delivery: &Delivery<'_>) -> Result<(), DropReason> {
        self.foreseen = self.foreseen.saturating_sub(1);
        let receiver = self.steering.receiver_of(|| delivery_hash(delivery));
        let receiver = receiver.ok_or(DropReason::PortDown)?;
        match self.steering.only_receiver() {
            Some(_) => self.offer_to(receiver, delivery),
            None => self.serve(receiver, |port| port.offer_to(receiver, delivery)),
        }
    }

    #[inline]
    fn publish(&mut self) {
        (self.foreseen, self.walked, self.stride) = (0, 0, Stride::ALL);
        let mut has_drained = false;
        for pair in self.live() {
            // Somebody waits for what came, and hardly ever for what is given back.
            if let Some(queue) = pair.receive.queue.as_deref_mut() {
                queue.publish();
            }
            if let Some(queue) = pair.transmit.queue.as_deref_mut() {
                queue.publish();
                has_drained |= pair.transmit.phase == Phase::Leaving && queue.in_flight() == 0;
            }
        }
        if has_drained {
            // It is given back at the next look, where what may take its time is bounded.
            self.shared.mailbox.remind();
        }
    }

    #[inline]
    fn notify(&mut self) {
        if self.call_cost.is_due() {
            self.notify_timed();
        } else {
            self.notify_all();
        }
    }

    fn arm(&mut self) -> Armed {
        let mut pending = self.shared.mailbox.has_orders();
        for pair in self.live().iter().filter(|pair| pair.transmit.is_running()) {
            // All of them are asked, also after one had work: the worker may sleep next time.
            pending |= pair.transmit.queue.as_ref().is_some_and(|queue| queue.ask_for_kick());
        }
        if pending { Armed::WorkPending } else { Armed::Idle }
    }

    fn disarm(&mut self) {
        for pair in self.live().iter().filter(|pair| pair.transmit.is_running()) {
            if let Some(queue) = &pair.transmit.queue {
                queue.refuse_kicks();
            }
        }
    }
}

impl Drop for VhostPort {
    /// Whoever waits for an answer learns at once that none will come.
    fn drop(&mut self) {
        self.shared.mailbox.close();
    }
}
