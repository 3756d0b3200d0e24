//! What a session asks of the worker, and how long it waits. Workers never wait, so they answer within a few turns;
//! removing a transmitq takes until the other workers have given its frames back.

use std::sync::mpsc::{Receiver, RecvTimeoutError, sync_channel};
use std::time::{Duration, Instant};

use super::note::Note;
use super::{Session, State};
use crate::mailbox::{Command, Installation, Order, Queue};
use crate::ring::{Phase, Ring};
use crate::ring_id::RingId;

/// How long the worker may take. Far more than it needs: it is a bound on what a defect costs.
const PATIENCE: Duration = Duration::from_secs(5);

/// The worker did not answer in time.
struct Silent;

impl Session {
    fn post(&self, ring: RingId, command: Command) -> Receiver<Option<Queue>> {
        let (answer, answered) = sync_channel(1);
        self.port.mailbox.post(Order { ring, command, answer });
        answered
    }

    /// Gives an order and waits until it is done.
    pub(super) fn order(&self, ring: RingId, command: Command) -> Option<Queue> {
        let answered = self.post(ring, command);
        self.port.wakeups.wake();
        match wait(&answered, Instant::now() + PATIENCE) {
            Ok(queue) => {
                self.port.heard_worker();
                queue
            }
            Err(Silent) => {
                self.port.missed_worker();
                None
            }
        }
    }

    /// Hands a ring to the worker.
    pub(super) fn install(&self, ring: &mut Ring, installation: Installation) -> Result<(), Note> {
        if self.order(ring.id, Command::Install(installation)).is_some() {
            ring.phase = Phase::Refused;
            return Err(Note::StillDraining);
        }
        ring.phase = Phase::Running;
        ring.has_run = true;
        self.watch(ring).map_err(|_| Note::KickNotWatched)
    }

    /// Takes the running rings that `which` names back from the worker; they are in phase `then` afterwards, and know where
    /// they may be started again.
    pub(super) fn remove(&self, state: &mut State, which: impl Fn(&Ring) -> bool, then: Phase) {
        let mut leaving = Vec::new();
        for ring in state.rings.iter_mut().filter(|ring| ring.is_running() && which(ring)) {
            self.unwatch(ring);
            let answered = self.post(ring.id, Command::Remove);
            ring.phase = then;
            leaving.push((ring, answered));
        }
        if leaving.is_empty() {
            return;
        }
        self.port.wakeups.wake();
        let until = Instant::now() + PATIENCE;
        let mut is_silent = false;
        for (ring, answered) in leaving {
            let answer = wait(&answered, until);
            is_silent |= answer.is_err();
            let mut queue = answer.ok().flatten();
            queue.iter_mut().for_each(|queue| queue.tell_guest(&ring.call));
            ring.stood_at = queue.as_ref().map(Queue::next_avail);
        }
        // Said of all together: an answer that was there before the first wait ended says nothing of the worker now.
        if is_silent {
            self.port.missed_worker();
        } else {
            self.port.heard_worker();
        }
    }
}

fn wait(answered: &Receiver<Option<Queue>>, until: Instant) -> Result<Option<Queue>, Silent> {
    match answered.recv_timeout(until.saturating_duration_since(Instant::now())) {
        Ok(queue) => Ok(queue),
        // The worker has let go of the port, and with it of the ring.
        Err(RecvTimeoutError::Disconnected) => Ok(None),
        Err(RecvTimeoutError::Timeout) => Err(Silent),
    }
}
