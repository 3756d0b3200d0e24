//! What the worker does when a session asks for it: the control path of a port, which may allocate and free.
//!
//! What always holds: no signal is sent here, and no descriptor of a front-end is closed, as either may take as long as the
//! front-end likes. The session tells the guest when it has its answer, on its own thread.

use std::sync::Arc;

use helio_offload::Offloads;
use helio_vring::TransmitQueue;

use super::{Pair, VhostPort};
use crate::mailbox::{Answer, Command, Installation, Order, Queue};
use crate::quiet::Quiet;
use crate::ring_id::{QueueKind, RingId};
use crate::ring_slot::{Phase, Slot};

/// Orders carried out, and transmitqs given back that have drained, in one turn. A front-end that replaces its memory has all its
/// rings stopped at once, and the last frames of them may come back at once: with 256 of them that took 128 µs, in which other
/// ports wait. A silent port is looked at in one of many turns: it should not take too many.
const CHANGES_PER_TURN: usize = 64;

/// The far side may have given up waiting: then nobody takes the queue, and it is dropped here.
fn reply(answer: &Answer, queue: Option<Queue>) {
    let _ = answer.send(queue);
}

/// Whether a transmitq leaves and has nothing in flight any more.
fn has_drained(slot: &Slot<TransmitQueue>) -> bool {
    slot.phase == Phase::Leaving && slot.queue.as_ref().is_none_or(|queue| queue.in_flight() == 0)
}

fn give_back((queue, answer): (Option<Box<TransmitQueue>>, Option<Answer>)) {
    if let Some(answer) = answer {
        reply(&answer, queue.map(Queue::Transmit));
    }
}

impl VhostPort {
    /// Carries out orders that wait, and gives back transmitqs that have drained: the first of them if they are many.
    #[cold]
    pub(super) fn obey(&mut self) {
        let shared = Arc::clone(&self.shared);
        let mut changes_left = CHANGES_PER_TURN;
        while changes_left > 0
            && let Some(order) = shared.mailbox.take()
        {
            self.carry_out(order);
            changes_left -= 1;
        }
        self.finish_leaving(changes_left);
    }

    fn carry_out(&mut self, Order { ring, command, answer }: Order) {
        match command {
            Command::Install(installation) => {
                self.call_cost.time_next();
                let refused = self.install(ring, installation);
                reply(&answer, refused);
            }
            Command::Remove => self.remove(ring, answer),
            Command::Quiesce => reply(&answer, None),
            change => {
                if matches!(change, Command::SetCall(_)) {
                    self.call_cost.time_next();
                }
                self.change(ring, change);
                reply(&answer, None);
            }
        }
    }

    /// Gives the queue back when its place is taken by one that still drains.
    fn install(&mut self, ring: RingId, new: Installation) -> Option<Queue> {
        let Some(pair) = self.pairs.get_mut(usize::from(ring.pair)) else { return Some(new.queue) };
        let refused = match new.queue {
            Queue::Transmit(queue) => pair.transmit.install(queue, new.mode).map(Queue::Transmit),
            Queue::Receive(queue) => {
                pair.accepts = new.accepts;
                pair.receive.install(queue, new.mode).map(Queue::Receive)
            }
        };
        if refused.is_none() {
            self.memory = Some(new.memory);
        }
        self.refresh();
        refused
    }

    fn remove(&mut self, ring: RingId, answer: Answer) {
        let Some(pair) = self.pairs.get_mut(usize::from(ring.pair)) else {
            return reply(&answer, None);
        };
        match ring.kind {
            QueueKind::Receive => {
                if let Some(queue) = pair.receive.queue.as_deref_mut() {
                    queue.publish();
                }
                let (queue, _) = pair.receive.vacate();
                self.refresh();
                reply(&answer, queue.map(Queue::Receive));
            }
            QueueKind::Transmit => {
                let Some(queue) = pair.transmit.queue.as_deref_mut() else {
                    return reply(&answer, None);
                };
                queue.publish();
                pair.transmit.leave(answer);
                let drained = has_drained(&pair.transmit).then(|| pair.transmit.vacate());
                // The memory is let go before the session hears that the ring is gone.
                self.refresh();
                drained.into_iter().for_each(give_back);
            }
        }
    }

    fn change(&mut self, ring: RingId, command: Command) {
        let Some(pair) = self.pairs.get_mut(usize::from(ring.pair)) else { return };
        match (ring.kind, command) {
            (QueueKind::Transmit, Command::SetMode(mode)) => pair.transmit.set_mode(mode),
            (QueueKind::Receive, Command::SetMode(mode)) => pair.receive.set_mode(mode),
            // A ring that broke a rule keeps the call that it has: each new one would be signalled once.
            (QueueKind::Transmit, Command::SetCall(call)) => {
                if let Some(queue) = pair.transmit.running() {
                    queue.set_call(call);
                    queue.publish();
                }
            }
            (QueueKind::Receive, Command::SetCall(call)) => {
                if let Some(queue) = pair.receive.running() {
                    queue.set_call(call);
                    queue.publish();
                }
            }
            (_, Command::Install(_) | Command::Remove | Command::Quiesce) => {}
        }
        self.refresh();
    }

    /// Gives back transmitqs that leave and have nothing in flight any more, `most` of them.
    fn finish_leaving(&mut self, most: usize) {
        let mut drained = Vec::new();
        for slot in self.live().iter_mut().map(|pair| &mut pair.transmit) {
            if !has_drained(slot) {
                continue;
            }
            if drained.len() == most {
                self.shared.mailbox.remind();
                break;
            }
            if let Some(queue) = slot.queue.as_deref_mut() {
                queue.publish();
            }
            drained.push(slot.vacate());
        }
        if !drained.is_empty() {
            // The memory is let go before the session hears that the rings are gone.
            self.refresh();
            drained.into_iter().for_each(give_back);
        }
    }

    /// Derives from the slots what each turn needs.
    pub(super) fn refresh(&mut self) {
        self.steering.clear();
        (self.live_pairs, self.running) = (0, 0);
        let mut accepts: Option<Offloads> = None;
        let mut active = 0;
        for (index, pair) in (0_u8..).zip(&self.pairs) {
            if pair.transmit.queue.is_some() || pair.receive.queue.is_some() {
                self.live_pairs = usize::from(index) + 1;
            }
            self.running += usize::from(pair.transmit.is_running());
            self.running += usize::from(pair.receive.is_running());
            if pair.receive.phase == Phase::Enabled {
                self.steering.add(index);
                accepts = Some(accepts.map_or(pair.accepts, |all| all.intersection(pair.accepts)));
                active += u16::from(pair.transmit.phase == Phase::Enabled);
            }
        }
        self.accepts = accepts.unwrap_or(Offloads::NONE);
        self.shared.status.set_active_pairs(active);
        // One that is leaving may lie in memory from before, whose mark says nothing of the other rings.
        self.quiet = match self.pairs.get(..self.live_pairs) {
            Some([Pair { transmit, .. }]) if transmit.is_running() => {
                transmit.queue.as_deref().map(Quiet::new)
            }
            _ => None,
        };
        if self.live_pairs == 0 {
            self.memory = None;
        }
    }
}
