//! The configuration as workers see it: immutable, replaced as a whole between turns.

use helio_mirror::MirrorTable;
use helio_switch::SwitchTable;
use helio_types::{MAX_PORTS, PortId, PortSet, WorkerId};

/// Everything a worker looks up in the configuration. Made by the control side; a change is a new one.
#[derive(Debug)]
pub struct Snapshot {
    pub(crate) switch: SwitchTable,
    pub(crate) mirror: MirrorTable,
    /// The ports of each worker.
    owned: Box<[PortSet]>,
    /// The ports of nobody.
    orphans: PortSet,
}

impl Snapshot {
    /// Joins the tables. `owner` names the worker of each port.
    #[must_use]
    pub fn new(
        switch: SwitchTable,
        mirror: MirrorTable,
        workers: usize,
        owner: impl Fn(PortId) -> Option<WorkerId>,
    ) -> Self {
        let mut owned = vec![PortSet::EMPTY; workers].into_boxed_slice();
        let mut orphans = PortSet::EMPTY;
        for port in (0..MAX_PORTS).filter_map(PortId::new) {
            match owner(port).and_then(|worker| owned.get_mut(worker.index())) {
                Some(ports) => ports.insert(port),
                None => orphans.insert(port),
            }
        }
        Self { switch, mirror, owned, orphans }
    }

    /// The ports of `worker`.
    pub(crate) fn owned_by(&self, worker: usize) -> PortSet {
        self.owned.get(worker).copied().unwrap_or(PortSet::EMPTY)
    }

    /// The ports that no worker owns.
    pub(crate) fn orphans(&self) -> &PortSet {
        &self.orphans
    }
}
