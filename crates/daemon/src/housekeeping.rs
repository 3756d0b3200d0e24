//! What has to be done once a second: the clock of the FDB, ageing, looking at the cards of uplinks, and saying which ports
//! changed their state, and which addresses went with them.
//!
//! States are compared, not events collected: however often a guest breaks and comes back, it costs a line a second.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread::{Builder, JoinHandle};
use std::time::{Duration, Instant};

use helio_host::Gravity;

use crate::port_state::Condition;
use crate::switch::RunningSwitch;

const PERIOD: Duration = Duration::from_secs(1);

/// The thread that keeps house. Dropping it ends the thread.
pub(crate) struct Housekeeping {
    stop: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Housekeeping {
    pub(crate) fn start(switch: Arc<RunningSwitch>) -> std::io::Result<Self> {
        let (stop, stopped) = channel();
        let thread = Builder::new()
            .name("housekeeping".to_owned())
            .spawn(move || keep(&switch, &stopped))?;
        Ok(Self { stop: Some(stop), thread: Some(thread) })
    }
}

impl Drop for Housekeeping {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the housekeeping thread broke off");
        }
    }
}

fn keep(switch: &RunningSwitch, stopped: &Receiver<()>) {
    let started = Instant::now();
    let mut known = BTreeMap::new();
    while stopped.recv_timeout(PERIOD) == Err(RecvTimeoutError::Timeout) {
        let fdb = switch.fleet().fdb();
        fdb.set_clock(u32::try_from(started.elapsed().as_secs()).unwrap_or(u32::MAX));
        fdb.age();
        switch.renew_cards();
        report_changes(switch, &mut known);
        for (port, count) in switch.forgetting().catch_up() {
            tracing::info!("port {port}: its link went down: {count} learned addresses forgotten");
        }
    }
}

fn report_changes(switch: &RunningSwitch, known: &mut BTreeMap<String, Condition>) {
    let states = switch.port_states();
    known.retain(|known, _| states.iter().any(|(name, _)| name == known));
    for (name, now) in states {
        if known.get(&name) == Some(&now) {
            continue;
        }
        let Condition { word, gravity, detail } = &now;
        match gravity {
            Gravity::Failure => tracing::warn!("port {name}: {word}: {detail}"),
            Gravity::Usual => tracing::info!("port {name}: {word}: {detail}"),
        }
        known.insert(name, now);
    }
}
