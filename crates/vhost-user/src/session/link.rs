//! Saying that no queue pair carries frames any more, so that nobody sends to where the guest was.
//!
//! What always holds: it is said when all frames that the worker took from the guest are decided, so that who forgets what was
//! learned of them forgets all of it. An order is answered between two bursts of the port: the answer is that moment. Rings that
//! wait for memory have not gone: front-ends move regions by taking them away and sharing them again.
//! While the worker does not answer, nothing is said: it may be in the middle of a burst. Its next answer makes up for that,
//! in this session or after it.

use super::{Session, State};
use crate::mailbox::Command;
use crate::parts::PortEvent;
use crate::ring::Ring;

impl Session {
    /// Says so if it is so, and was not said since a ring ran. To be called when the worker has answered an order that it was
    /// given after the rings went.
    pub(super) fn tell_if_down(&self, state: &mut State) {
        if self.port.status.is_worker_silent() || self.port.status.active_pairs() > 0 {
            return;
        }
        let mut some_ran = false;
        for ring in &mut state.rings {
            some_ran |= ring.has_run;
            // A transmitq that runs without a receiveq is the last to go, and then it is said once more.
            ring.has_run = ring.is_running();
        }
        if some_ran {
            self.port.tell(&PortEvent::LinkDown);
        }
    }

    /// The port has broken a rule, and its rings stand still. Its worker may have found that in the middle of a burst.
    pub(crate) fn heed_fault(&self) {
        let mut state = self.state();
        if self.port.status.fault().is_some() {
            state.rings.iter().filter(|ring| ring.is_running()).for_each(Ring::tell_fault);
        }
        let ran = |ring: &&Ring| ring.has_run;
        if let Some(id) = state.rings.iter().find(ran).map(|ring| ring.id) {
            // Nothing comes back but the answer.
            let _ = self.order(id, Command::Quiesce);
            self.tell_if_down(&mut state);
        }
    }
}
