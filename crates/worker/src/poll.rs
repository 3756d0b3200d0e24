//! The turn, and the loop around it.

use std::sync::Arc;
use std::time::Instant;

use helio_frame::{Armed, BURST_FRAMES, Burst};
use helio_types::DropReason;

use crate::command::{Command, Inbox};
use crate::core::Core;
use crate::idle::{Idleness, Polling};
use crate::meter::Meter;
use crate::receive::Decided;

/// One poll-mode worker. Made by [`Fleet`](crate::Fleet), run by a thread of its own.
#[derive(Debug)]
pub struct Worker {
    pub(crate) core: Core,
    pub(crate) burst: Burst,
    pub(crate) decided: Vec<Decided>,
    pub(crate) refused: [u32; DropReason::COUNT],
    inbox: Arc<Inbox>,
    idleness: Idleness,
    meter: Meter,
}

/// Whether a worker goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Next {
    Turn,
    End,
}

impl Worker {
    pub(crate) fn new(core: Core, inbox: Arc<Inbox>, polling: Polling) -> Self {
        Self {
            core,
            burst: Burst::new(),
            decided: Vec::with_capacity(BURST_FRAMES),
            refused: [0; DropReason::COUNT],
            inbox,
            idleness: Idleness::new(polling),
            meter: Meter::new(),
        }
    }

    /// Works until it is asked to stop.
    pub fn run(mut self) {
        while self.obey() == Next::Turn {
            if self.poll_once() > 0 {
                self.idleness.end();
            } else if self.idleness.should_sleep(Instant::now) {
                self.sleep();
            } else {
                std::hint::spin_loop();
            }
        }
        self.inbox.close();
    }

    /// One turn over all rings: what others gave back, what others sent, then a burst of each port. Returns the number of
    /// frames and receipts it found.
    pub fn poll_once(&mut self) -> u64 {
        let began = self.meter.begin();
        let mut found = self.core.settle();
        found += self.core.deliver_handoffs();
        for place in 0..self.core.locals.len() {
            found += self.receive(place);
        }
        if found > 0 {
            self.core.finish_turn();
        }
        self.meter.end(began, found);
        found
    }

    fn sleep(&mut self) {
        let bed = Arc::clone(&self.inbox.bed);
        bed.doze.announce();
        // From here on everybody who brings work wakes us; what came before shows now.
        if self.core.arm() == Armed::Idle && !self.inbox.has_mail() {
            self.meter.slept();
            bed.sleep();
        }
        bed.doze.end();
        self.core.disarm();
        self.idleness.end();
    }

    /// Carries out what the control side asked for.
    #[inline]
    fn obey(&mut self) -> Next {
        if self.inbox.has_mail() { self.obey_all() } else { Next::Turn }
    }

    #[cold]
    fn obey_all(&mut self) -> Next {
        while let Some(command) = self.inbox.take() {
            // Whoever asked and has gone needs no answer.
            match command {
                Command::Install(snapshot, reply) => {
                    let _ = reply.send(std::mem::replace(&mut self.core.snapshot, snapshot));
                }
                Command::AddPort(id, port, reply) => {
                    self.core.add_port(id, port);
                    let _ = reply.send(());
                }
                Command::RemovePort(id, reply) => {
                    let _ = reply.send(self.core.remove_port(id));
                }
                Command::ReplaceMemory(id, table, reply) => {
                    let _ = reply.send(self.core.replace_memory(id, table));
                }
                Command::Report(reply) => {
                    let _ = reply.send(self.meter.report(self.core.pool.in_use()));
                }
                Command::Stop(reply) => {
                    let _ = reply.send(());
                    return Next::End;
                }
            }
        }
        Next::Turn
    }
}

impl std::fmt::Debug for Meter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Meter")
    }
}
