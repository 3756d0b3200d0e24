//! Forgetting what was learned on a port when its link goes down: who was there may be elsewhere by now, and frames to it are
//! flooded until it is heard again. Called by the threads of ports, which say that a link is down when the worker has decided
//! all frames from there: nothing that came before is learned afterwards.
//!
//! A guest may stop and start in a loop, so what was forgotten is added up, and told by the housekeeping once a second.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use helio_switch::{Fdb, FlushFilter};
use helio_types::PortId;

/// What forgets, and how much it has forgotten since that was last told.
#[derive(Debug)]
pub(crate) struct Forgetting {
    fdb: Arc<Fdb>,
    /// Numbers of addresses by the name of their port; none is zero.
    untold: Mutex<BTreeMap<String, usize>>,
}

impl Forgetting {
    pub(crate) fn new(fdb: Arc<Fdb>) -> Self {
        Self { fdb, untold: Mutex::default() }
    }

    /// Forgets what was learned on a port, by its name. What is pinned to it stays.
    pub(crate) fn forget(&self, port: PortId, name: &str) {
        // Most links go down more than once for a guest that stops, or had nobody to be learned.
        if self.fdb.learned_on(port) == 0 {
            return;
        }
        let forgotten = self.fdb.flush(FlushFilter::Port(port));
        if forgotten > 0 {
            *self.untold().entry(name.to_owned()).or_default() += forgotten;
        }
    }

    /// What was forgotten since the last call.
    pub(crate) fn tell(&self) -> BTreeMap<String, usize> {
        std::mem::take(&mut *self.untold())
    }

    fn untold(&self) -> MutexGuard<'_, BTreeMap<String, usize>> {
        self.untold.lock().unwrap_or_else(PoisonError::into_inner)
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
        fdb.learn(VlanId::UNTAGGED, mac(1), one);
        forgetting.forget(one, "one");
        assert_eq!(forgetting.tell(), BTreeMap::from([("one".to_owned(), 3)]));
        assert_eq!(forgetting.tell(), BTreeMap::new());
    }
}
