//! The ports of the running switch, each in its slot.

use helio_config::PortConfig;
use helio_counters::PortCounts;
use helio_types::{MAX_PORTS, PortId, WorkerId};

use crate::port_handle::PortHandle;

/// A port that is served.
pub(crate) struct ServedPort {
    pub(crate) id: PortId,
    /// Tells it from all ports there ever were.
    pub(crate) number: u64,
    pub(crate) config: PortConfig,
    pub(crate) worker: WorkerId,
    pub(crate) handle: PortHandle,
    /// What the counters of its slot held when it came.
    pub(crate) base: PortCounts,
}

/// All ports, in the order they came.
#[derive(Default)]
pub(crate) struct Ports {
    served: Vec<ServedPort>,
    /// Slots whose ports are being taken out of service.
    leaving: Vec<PortId>,
    last_number: u64,
}

impl Ports {
    pub(crate) fn iter(&self) -> impl Iterator<Item = &ServedPort> + Clone {
        self.served.iter()
    }

    pub(crate) fn find(&self, name: &str) -> Option<&ServedPort> {
        self.served.iter().find(|port| port.config.name == name)
    }

    pub(crate) fn find_mut(&mut self, name: &str) -> Option<&mut ServedPort> {
        self.served.iter_mut().find(|port| port.config.name == name)
    }

    pub(crate) fn by_id(&self, id: PortId) -> Option<&ServedPort> {
        self.served.iter().find(|port| port.id == id)
    }

    pub(crate) fn insert(&mut self, port: ServedPort) {
        self.served.push(port);
    }

    /// Takes a port out. Its slot stays taken until [`Ports::gone`].
    pub(crate) fn take(&mut self, name: &str) -> Option<ServedPort> {
        let place = self.served.iter().position(|port| port.config.name == name)?;
        let port = self.served.remove(place);
        self.leaving.push(port.id);
        Some(port)
    }

    /// A port that was taken out has left its worker.
    pub(crate) fn gone(&mut self, id: PortId) {
        self.leaving.retain(|leaving| *leaving != id);
    }

    /// A slot that no port has.
    pub(crate) fn free_id(&self) -> Option<PortId> {
        (0..MAX_PORTS)
            .filter_map(PortId::new)
            .find(|id| self.by_id(*id).is_none() && !self.leaving.contains(id))
    }

    /// A number that no port ever had.
    pub(crate) fn next_number(&mut self) -> u64 {
        self.last_number += 1;
        self.last_number
    }

    /// The worker with the fewest ports, the first of several.
    pub(crate) fn least_loaded(&self, workers: usize) -> Option<WorkerId> {
        let load =
            |worker: &WorkerId| self.served.iter().filter(|port| port.worker == *worker).count();
        (0..workers).filter_map(WorkerId::new).min_by_key(load)
    }
}
