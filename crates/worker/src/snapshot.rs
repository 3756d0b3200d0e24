//! The configuration as workers see it: immutable, replaced as a whole between turns.

use std::sync::Arc;

use helio_mirror::{DecapPoint, MirrorTable, Sessions};
use helio_switch::SwitchTable;
use helio_types::{LegSet, MAX_PORTS, PortId, PortSet, WorkerId};

use crate::DecapShelf;

/// Everything a worker looks up in the configuration. Made by the control side; a change is a new one.
#[derive(Debug)]
pub struct Snapshot {
    pub(crate) switch: SwitchTable,
    pub(crate) mirror: MirrorTable,
    pub(crate) sessions: Sessions,
    pub(crate) decaps: Vec<(DecapPoint, Arc<DecapShelf>)>,
    /// The ports of each worker.
    owned: Box<[PortSet]>,
    /// The ports of nobody.
    orphans: PortSet,
    /// The legs that each worker deals with when another one took the frame: those whose ports it owns.
    legs: Box<[LegSet]>,
    /// The legs through ports of nobody.
    orphan_legs: LegSet,
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
        let legs = vec![LegSet::EMPTY; workers].into_boxed_slice();
        let (sessions, orphan_legs) = (Sessions::default(), LegSet::EMPTY);
        let decaps = Vec::new();
        Self { switch, mirror, sessions, decaps, owned, orphans, legs, orphan_legs }
    }

    /// The same with these decap ports, each with the shelf that it always has.
    #[must_use]
    pub fn with_decaps(self, decaps: Vec<(DecapPoint, Arc<DecapShelf>)>) -> Self {
        Self { decaps, ..self }
    }

    /// The same with these named sessions.
    #[must_use]
    pub fn with_sessions(self, sessions: Sessions) -> Self {
        let legs = self.owned.iter().map(|ports| sessions.legs_through(ports)).collect();
        let orphan_legs = sessions.legs_through(&self.orphans);
        Self { sessions, legs, orphan_legs, ..self }
    }

    /// The ports of `worker`.
    pub(crate) fn owned_by(&self, worker: usize) -> PortSet {
        self.owned.get(worker).copied().unwrap_or(PortSet::EMPTY)
    }

    /// The ports that no worker owns.
    pub(crate) fn orphans(&self) -> &PortSet {
        &self.orphans
    }

    /// The legs through ports of `worker`.
    pub(crate) fn legs_of(&self, worker: usize) -> LegSet {
        self.legs.get(worker).copied().unwrap_or_default()
    }

    /// The legs through ports that no worker owns.
    pub(crate) fn orphan_legs(&self) -> LegSet {
        self.orphan_legs
    }
}
