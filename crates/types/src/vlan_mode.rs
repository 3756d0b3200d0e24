//! How a port takes part in VLANs. The three forms are those of Open vSwitch.

use crate::{VlanId, VlanSet};

/// VLAN membership of a port, and which of its frames carry a tag.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum VlanMode {
    /// No VLAN setting: untagged frames belong to no VLAN ([`VlanId::UNTAGGED`]), and all tags pass.
    #[default]
    Transparent,
    /// Untagged member of one VLAN. Tagged frames are refused.
    Access(VlanId),
    /// Tagged member of several VLANs.
    Trunk {
        /// VLANs whose frames pass, tagged.
        tagged: Box<VlanSet>,
        /// VLAN of the untagged frames; `None` refuses them.
        native: Option<VlanId>,
    },
}

impl VlanMode {
    /// Whether frames of `vlan` may enter and leave through a port of this mode.
    #[must_use]
    pub fn is_member(&self, vlan: VlanId) -> bool {
        match self {
            Self::Transparent => true,
            Self::Access(own) => *own == vlan,
            Self::Trunk { tagged, native } => *native == Some(vlan) || tagged.contains(vlan),
        }
    }

    /// The VLAN whose frames leave without a tag.
    #[must_use]
    pub fn untagged_vlan(&self) -> Option<VlanId> {
        match self {
            Self::Transparent => Some(VlanId::UNTAGGED),
            Self::Access(own) => Some(*own),
            Self::Trunk { native, .. } => *native,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn vlan(id: u16) -> VlanId {
        VlanId::new(id).unwrap()
    }

    #[test]
    fn an_access_port_is_a_member_of_its_vlan_only() {
        assert!(VlanMode::Access(vlan(10)).is_member(vlan(10)));
        assert!(!VlanMode::Access(vlan(10)).is_member(vlan(11)));
        assert!(!VlanMode::Access(vlan(10)).is_member(VlanId::UNTAGGED));
    }

    #[test]
    fn a_trunk_is_a_member_of_its_tagged_vlans_and_its_native_one() {
        let trunk = VlanMode::Trunk {
            tagged: Box::new([vlan(10), vlan(20)].into_iter().collect()),
            native: Some(vlan(1)),
        };
        assert!(trunk.is_member(vlan(1)) && trunk.is_member(vlan(20)));
        assert!(!trunk.is_member(vlan(2)) && !trunk.is_member(VlanId::UNTAGGED));
        assert_eq!(trunk.untagged_vlan(), Some(vlan(1)));
    }

    #[test]
    fn vlan_4095_is_reserved() {
        assert_eq!(VlanId::new(4095), None);
        assert!(VlanId::new(4094).is_some());
    }
}
