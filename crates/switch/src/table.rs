//! The settings of all ports, compiled for the decision: who is a member of which VLAN.
//!
//! Built by the control thread at configuration time and read by workers. It never changes; a new configuration
//! is a new table.

use helio_types::{MAX_PORTS, PortId, PortSet, VlanId, VlanMode, VlanSet};

/// What a port does besides being a mirror destination.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum PortRole {
    /// Sends and receives like any other.
    #[default]
    Ordinary,
    /// Gets mirror copies and nothing else; what it sends is refused.
    ReceiveOnly,
}

/// The switching settings of one port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PortSettings {
    /// The port.
    pub port: PortId,
    /// Its part in VLANs.
    pub vlan: VlanMode,
    /// Longest payload it takes, in bytes after the Ethernet header.
    pub mtu: u16,
    /// Whether it takes part in ordinary traffic.
    pub role: PortRole,
}

/// The ports of one VLAN.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct VlanPorts {
    members: PortSet,
    /// Members that ordinary traffic goes to: all but the receive-only ones.
    receivers: PortSet,
}

const NOBODY: VlanPorts = VlanPorts { members: PortSet::EMPTY, receivers: PortSet::EMPTY };

/// VLAN identifiers there could be; the last one is reserved.
const VLANS: usize = 4096;

/// Port settings and VLAN members, each found by one or two array accesses.
#[derive(Clone, Debug)]
pub struct SwitchTable {
    /// For each VLAN a place in `sets`. VLANs with the same members share one.
    set_of_vlan: Box<[u16]>,
    /// The first is that of all VLANs that no port names: the transparent ports.
    sets: Vec<VlanPorts>,
    ports: Box<[Option<PortSettings>]>,
}

impl SwitchTable {
    /// The table of these ports. Of two settings for one port the later counts.
    #[must_use]
    pub fn new(settings: &[PortSettings]) -> Self {
        let mut ports = vec![None; MAX_PORTS].into_boxed_slice();
        for port in settings {
            if let Some(entry) = ports.get_mut(port.port.index()) {
                *entry = Some(port.clone());
            }
        }
        let transparent = |port: &PortSettings| port.vlan == VlanMode::Transparent;
        let mut table = Self {
            set_of_vlan: vec![0; VLANS].into_boxed_slice(),
            sets: vec![ports_where(&ports, transparent)],
            ports,
        };
        for vlan in named_vlans(&table.ports).iter() {
            let members = ports_where(&table.ports, |port| port.vlan.is_member(vlan));
            table.set_members(vlan, members);
        }
        table
    }

    fn set_members(&mut self, vlan: VlanId, members: VlanPorts) {
        let known = self.sets.iter().position(|set| *set == members);
        let place = known.unwrap_or_else(|| {
            self.sets.push(members);
            self.sets.len() - 1
        });
        // There are at most as many sets as VLANs, so each place fits.
        if let (Ok(place), Some(set)) =
            (u16::try_from(place), self.set_of_vlan.get_mut(vlan.index()))
        {
            *set = place;
        }
    }

    /// The settings of `port`, if it is in the table.
    #[must_use]
    pub fn port(&self, port: PortId) -> Option<&PortSettings> {
        self.ports.get(port.index())?.as_ref()
    }

    /// All members of `vlan`, receive-only ports included: those a mirror copy of that VLAN may go to.
    #[must_use]
    pub fn members(&self, vlan: VlanId) -> &PortSet {
        &self.vlan_ports(vlan).members
    }

    /// The members of `vlan` that ordinary traffic may go to.
    #[must_use]
    pub fn receivers(&self, vlan: VlanId) -> &PortSet {
        &self.vlan_ports(vlan).receivers
    }

    fn vlan_ports(&self, vlan: VlanId) -> &VlanPorts {
        let place = self.set_of_vlan.get(vlan.index()).copied().unwrap_or(0);
        self.sets.get(usize::from(place)).unwrap_or(&NOBODY)
    }
}

fn ports_where(
    ports: &[Option<PortSettings>],
    wanted: impl Fn(&PortSettings) -> bool,
) -> VlanPorts {
    let mut found = NOBODY;
    for port in ports.iter().flatten().filter(|port| wanted(port)) {
        found.members.insert(port.port);
        if port.role == PortRole::Ordinary {
            found.receivers.insert(port.port);
        }
    }
    found
}

/// The VLANs that the settings of some port name.
fn named_vlans(ports: &[Option<PortSettings>]) -> VlanSet {
    let mut named = VlanSet::EMPTY;
    for port in ports.iter().flatten() {
        match &port.vlan {
            VlanMode::Transparent => {}
            VlanMode::Access(vlan) => named.insert(*vlan),
            VlanMode::Trunk { tagged, native } => {
                tagged.iter().chain(*native).for_each(|vlan| named.insert(vlan));
            }
        }
    }
    named
}

#[cfg(test)]
mod tests {
    use super::*;

    fn vlan(id: u16) -> VlanId {
        VlanId::new(id).unwrap()
    }

    fn port(index: usize) -> PortId {
        PortId::new(index).unwrap()
    }

    fn settings(index: usize, vlan: VlanMode) -> PortSettings {
        PortSettings { port: port(index), vlan, mtu: 1500, role: PortRole::Ordinary }
    }

    fn trunk(ids: std::ops::Range<u16>) -> VlanMode {
        VlanMode::Trunk { tagged: Box::new(ids.map(vlan).collect()), native: None }
    }

    fn set(indices: &[usize]) -> PortSet {
        indices.iter().map(|&index| port(index)).collect()
    }

    #[test]
    fn the_members_of_a_vlan_are_its_own_ports_and_the_transparent_ones() {
        let table = SwitchTable::new(&[
            settings(0, VlanMode::Transparent),
            settings(1, VlanMode::Access(vlan(10))),
            settings(2, trunk(10..12)),
        ]);
        assert_eq!(table.members(vlan(10)), &set(&[0, 1, 2]));
        assert_eq!(table.members(vlan(11)), &set(&[0, 2]));
        assert_eq!(table.members(vlan(12)), &set(&[0]));
        assert_eq!(table.members(VlanId::UNTAGGED), &set(&[0]));
    }

    #[test]
    fn a_receive_only_port_is_a_member_but_no_receiver() {
        let sniffer =
            PortSettings { role: PortRole::ReceiveOnly, ..settings(1, VlanMode::Transparent) };
        let table = SwitchTable::new(&[settings(0, VlanMode::Transparent), sniffer]);
        assert_eq!(table.members(vlan(5)), &set(&[0, 1]));
        assert_eq!(table.receivers(vlan(5)), &set(&[0]));
    }

    #[test]
    fn a_trunk_of_all_vlans_costs_one_set() {
        let table =
            SwitchTable::new(&[settings(0, trunk(0..4095)), settings(1, VlanMode::Transparent)]);
        assert_eq!(table.sets.len(), 2);
        assert_eq!(table.members(vlan(4094)), &set(&[0, 1]));
    }

    #[test]
    fn the_later_of_two_settings_for_one_port_counts() {
        let table = SwitchTable::new(&[
            settings(0, VlanMode::Access(vlan(1))),
            settings(0, VlanMode::Access(vlan(2))),
        ]);
        assert!(table.members(vlan(1)).is_empty());
        assert_eq!(table.members(vlan(2)), &set(&[0]));
    }

    #[test]
    fn the_last_port_and_the_last_vlan_have_a_place() {
        let table = SwitchTable::new(&[settings(MAX_PORTS - 1, VlanMode::Access(vlan(4094)))]);
        assert_eq!(table.members(vlan(4094)), &set(&[MAX_PORTS - 1]));
        assert!(table.port(port(MAX_PORTS - 1)).is_some());
        assert!(table.port(port(0)).is_none());
    }
}
