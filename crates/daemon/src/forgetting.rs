//! Forgetting what was learned on a port when its link goes down: who was there may be elsewhere by now, and frames to it are
//! flooded until it is heard again. Called by the threads of ports, which say that a link is down when the worker has decided
//! all frames from there: nothing that came before is learned afterwards.
//!
//! A guest may stop and start in a loop, and each time the whole FDB is looked through: so that is done at once so many times in a
//! second only, and then by the housekeeping, which also tells, once a second, what was forgotten.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use helio_switch::{Fdb, FlushFilter};
use helio_types::PortId;

/// Most looks through the FDB for one port between two of the housekeeping.
const MOST_LOOKS: u32 = 128;

/// What forgets, and what became of it since that was last told.
#[derive(Debug)]
pub(crate) struct Forgetting {
    fdb: Arc<Fdb>,
    ports: Mutex<BTreeMap<PortId, Port>>,
}

/// A port whose link went down since the housekeeping looked.
#[derive(Debug, Default)]
struct Port {
    name: String,
    looks: u32,
    /// It went down again after the last look that it may have.
    is_due: bool,
    forgotten: usize,
}

impl Forgetting {
    pub(crate) fn new(fdb: Arc<Fdb>) -> Self {
        Self { fdb, ports: Mutex::default() }
    }

    /// Forgets what was learned on a port, by its name: now, or within a second. What is pinned to it stays.
    pub(crate) fn forget(&self, port: PortId, name: &str) {
        // Most links go down more than once for a guest that stops, or had nobody to be learned.
        if self.fdb.learned_on(port) == 0 {
            return;
        }
        let mut ports = self.ports();
        let known = ports.entry(port).or_default();
        name.clone_into(&mut known.name);
        if known.looks < MOST_LOOKS {
            known.looks += 1;
            known.forgotten += self.fdb.flush(FlushFilter::Port(port));
        } else {
            known.is_due = true;
        }
    }

    /// Forgets what was put off. Returns how many addresses of which port were forgotten since the last call.
    pub(crate) fn catch_up(&self) -> Vec<(String, usize)> {
        let ports = std::mem::take(&mut *self.ports());
        let told = ports.into_iter().map(|(port, known)| {
            let late = if known.is_due { self.fdb.flush(FlushFilter::Port(port)) } else { 0 };
            (known.name, known.forgotten + late)
        });
        told.filter(|(_, count)| *count > 0).collect()
    }

    fn ports(&self) -> MutexGuard<'_, BTreeMap<PortId, Port>> {
        self.ports.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use helio_switch::FdbSettings;
    use helio_types::{MacAddr, VlanId};

    #[test]
    fn what_was_learned_on_the_port_is_forgotten_and_told_once_and_all_else_stays() {
        let fdb = Arc::new(Fdb::new(FdbSettings { capacity: 16, ageing_s: 0, seed: 1 }));
        let [one, other] = [1, 2].map(|index| PortId::new(index).unwrap());
        let mac = |number| MacAddr([2, 0, 0, 0, 0, number]);
        fdb.add_static(VlanId::UNTAGGED, mac(0), one).unwrap();
        fdb.learn(VlanId::UNTAGGED, mac(1), one);
        fdb.learn(VlanId::UNTAGGED, mac(2), one);
        fdb.learn(VlanId::UNTAGGED, mac(3), other);
        let forgetting = Forgetting::new(Arc::clone(&fdb));
        forgetting.forget(one, "one");
        forgetting.forget(one, "one");
        let places = [0, 1, 2, 3].map(|number| fdb.lookup(VlanId::UNTAGGED, mac(number)));
        assert_eq!(places, [Some(one), None, None, Some(other)]);
        assert_eq!(forgetting.catch_up(), [("one".to_owned(), 2)]);
        assert_eq!(forgetting.catch_up(), []);
    }

    #[test]
    fn a_link_that_goes_down_too_often_has_its_addresses_forgotten_by_the_housekeeping() {
        let fdb = Arc::new(Fdb::new(FdbSettings { capacity: 16, ageing_s: 0, seed: 1 }));
        let port = PortId::new(1).unwrap();
        let mac = MacAddr([2, 0, 0, 0, 0, 1]);
        let forgetting = Forgetting::new(Arc::clone(&fdb));
        let learn_and_forget = || {
            fdb.learn(VlanId::UNTAGGED, mac, port);
            forgetting.forget(port, "one");
            fdb.lookup(VlanId::UNTAGGED, mac).is_none()
        };
        assert!((0..MOST_LOOKS).all(|_| learn_and_forget()));
        assert!(!learn_and_forget() && !learn_and_forget());
        let forgotten = MOST_LOOKS as usize + 1;
        assert_eq!(forgetting.catch_up(), [("one".to_owned(), forgotten)]);
        assert_eq!(fdb.lookup(VlanId::UNTAGGED, mac), None);
        assert!(learn_and_forget());
    }
}
