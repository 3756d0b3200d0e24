//! The place of one queue in the worker's half of a port.

use crate::mailbox::{Answer, Mode};

/// What the worker may do with the queue in a slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    /// There is no queue. Left by an installation.
    Empty,
    /// Runs and carries frames. Left when the front-end disables or stops it, or breaks a rule.
    Enabled,
    /// Runs; what the guest sends is discarded, and it gets nothing.
    Disabled,
    /// A rule was broken: nothing is taken or delivered, what is in flight is still completed. Left when the front-end
    /// stops the ring.
    Faulted,
    /// Stopped by the front-end: nothing is taken, and the queue goes back when nothing is in flight.
    Leaving,
}

impl From<Mode> for Phase {
    fn from(mode: Mode) -> Self {
        match mode {
            Mode::Enabled => Self::Enabled,
            Mode::Disabled => Self::Disabled,
        }
    }
}

/// A queue and its phase.
#[derive(Debug)]
pub(crate) struct Slot<Q> {
    pub(crate) phase: Phase,
    pub(crate) queue: Option<Box<Q>>,
    /// Who waits for the queue of a slot that is leaving.
    pub(crate) answer: Option<Answer>,
}

impl<Q> Slot<Q> {
    pub(crate) fn empty() -> Self {
        Self { phase: Phase::Empty, queue: None, answer: None }
    }

    /// Puts a queue in. Gives it back when another one is still there.
    pub(crate) fn install(&mut self, queue: Box<Q>, mode: Mode) -> Option<Box<Q>> {
        if self.queue.is_some() {
            return Some(queue);
        }
        *self = Self { phase: mode.into(), queue: Some(queue), answer: None };
        None
    }

    /// Whether the guest may use the ring.
    pub(crate) fn is_running(&self) -> bool {
        matches!(self.phase, Phase::Enabled | Phase::Disabled)
    }

    /// The queue, if the guest may use it.
    pub(crate) fn running(&mut self) -> Option<&mut Q> {
        if self.is_running() { self.queue.as_deref_mut() } else { None }
    }

    /// The queue, if it carries frames.
    #[inline]
    pub(crate) fn enabled(&mut self) -> Option<&mut Q> {
        match self.phase {
            Phase::Enabled => self.queue.as_deref_mut(),
            _ => None,
        }
    }

    /// Changes between enabled and disabled; a ring that does not run is not changed.
    pub(crate) fn set_mode(&mut self, mode: Mode) {
        if self.is_running() {
            self.phase = mode.into();
        }
    }

    /// Stops a running ring because a rule was broken.
    pub(crate) fn fail(&mut self) {
        if self.is_running() {
            self.phase = Phase::Faulted;
        }
    }

    /// Takes nothing more from the ring, and remembers who waits for its end.
    pub(crate) fn leave(&mut self, answer: Answer) {
        self.phase = Phase::Leaving;
        self.answer = Some(answer);
    }

    /// Empties the slot.
    pub(crate) fn vacate(&mut self) -> (Option<Box<Q>>, Option<Answer>) {
        let slot = std::mem::replace(self, Self::empty());
        (slot.queue, slot.answer)
    }
}
