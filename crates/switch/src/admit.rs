//! Which VLAN a frame belongs to when it enters through a port. Pure; called by workers once per frame.

use crate::Tci;
use helio_types::{DropReason, VlanId, VlanMode};

/// The VLAN of a frame that enters with `tag` through a port of `mode`. A priority tag names no VLAN, so the
/// frame counts as untagged. IEEE 802.1Q-2018, 6.9.1.
///
/// # Errors
///
/// [`DropReason::Vlan`] when the port does not take such frames: a tag on an access port, a VLAN that is not on
/// the trunk, no tag on a trunk without native VLAN, or the reserved identifier 4095.
pub fn classify(mode: &VlanMode, tag: Option<Tci>) -> Result<VlanId, DropReason> {
    let Some(tag) = tag.filter(|tag| !tag.is_priority()) else {
        return mode.untagged_vlan().ok_or(DropReason::Vlan);
    };
    let vlan = VlanId::new(tag.vid()).ok_or(DropReason::Vlan)?;
    let taken = match mode {
        VlanMode::Transparent => true,
        // Also a tag of its own VLAN: who tags on an access port is no access port's guest.
        VlanMode::Access(_) => false,
        VlanMode::Trunk { .. } => mode.is_member(vlan),
    };
    if taken { Ok(vlan) } else { Err(DropReason::Vlan) }
}

#[cfg(test)]
mod tests {
    use super::*;

    const REFUSED: Result<VlanId, DropReason> = Err(DropReason::Vlan);
    const PRIORITY: Option<Tci> = Some(Tci(5 << 13));

    fn vlan(id: u16) -> VlanId {
        VlanId::new(id).unwrap()
    }

    fn trunk(native: Option<VlanId>) -> VlanMode {
        let tagged = Box::new([vlan(10), vlan(20)].into_iter().collect());
        VlanMode::Trunk { tagged, native }
    }

    #[test]
    fn an_access_port_gives_its_vlan_to_untagged_and_priority_tagged_frames() {
        let access = VlanMode::Access(vlan(10));
        assert_eq!(classify(&access, None), Ok(vlan(10)));
        assert_eq!(classify(&access, PRIORITY), Ok(vlan(10)));
    }

    #[test]
    fn an_access_port_refuses_every_vlan_tag_even_its_own() {
        let access = VlanMode::Access(vlan(10));
        assert_eq!(classify(&access, Some(Tci(10))), REFUSED);
        assert_eq!(classify(&access, Some(Tci(11))), REFUSED);
    }

    #[test]
    fn a_trunk_takes_tags_of_its_vlans_only() {
        assert_eq!(classify(&trunk(None), Some(Tci(20))), Ok(vlan(20)));
        assert_eq!(classify(&trunk(None), Some(Tci(21))), REFUSED);
    }

    #[test]
    fn a_trunk_takes_its_native_vlan_tagged_or_untagged() {
        let native = trunk(Some(vlan(1)));
        assert_eq!(classify(&native, None), Ok(vlan(1)));
        assert_eq!(classify(&native, PRIORITY), Ok(vlan(1)));
        assert_eq!(classify(&native, Some(Tci(1))), Ok(vlan(1)));
    }

    #[test]
    fn a_trunk_without_native_vlan_refuses_untagged_and_priority_tagged_frames() {
        assert_eq!(classify(&trunk(None), None), REFUSED);
        assert_eq!(classify(&trunk(None), PRIORITY), REFUSED);
    }

    #[test]
    fn a_transparent_port_takes_everything() {
        assert_eq!(classify(&VlanMode::Transparent, None), Ok(VlanId::UNTAGGED));
        assert_eq!(classify(&VlanMode::Transparent, PRIORITY), Ok(VlanId::UNTAGGED));
        assert_eq!(classify(&VlanMode::Transparent, Some(Tci(4094))), Ok(vlan(4094)));
    }

    #[test]
    fn the_reserved_vlan_4095_is_refused_by_every_port() {
        for mode in [VlanMode::Transparent, VlanMode::Access(vlan(10)), trunk(Some(vlan(1)))] {
            assert_eq!(classify(&mode, Some(Tci(4095))), REFUSED, "{mode:?}");
        }
    }
}
