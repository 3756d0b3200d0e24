//! What happens to the VLAN tag of a frame when it leaves through a port: decided once per destination, applied
//! to a private head. Called by workers; shared bytes are never edited in place.

use crate::parse::{TAG_BYTES, TPID};
use crate::{L2, Tci};
use helio_types::{VlanId, VlanMode};

/// Bytes before the type field, where a tag stands.
const ADDRESSES: usize = 12;

/// How the head of a frame changes on its way out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum TagEdit {
    /// The frame leaves as it came.
    Keep,
    /// The tag is taken out.
    Pop,
    /// A tag is put in.
    Push(Tci),
    /// The tag gets another content.
    Rewrite(Tci),
}

/// The edit for a frame of `vlan` that came with `tag` and leaves through a port of `mode`: untagged in the
/// VLAN that the port carries untagged, tagged in all others. Priority and drop eligibility are kept.
#[must_use]
pub fn egress_edit(mode: &VlanMode, vlan: VlanId, tag: Option<Tci>) -> TagEdit {
    let untagged = mode.untagged_vlan() == Some(vlan);
    match tag {
        // No VLAN rule applies between transparent ports, so a priority tag passes as well.
        Some(tag) if tag.is_priority() && *mode == VlanMode::Transparent && untagged => {
            TagEdit::Keep
        }
        Some(_) if untagged => TagEdit::Pop,
        Some(tag) if tag.vid() == vlan.get() => TagEdit::Keep,
        Some(tag) => TagEdit::Rewrite(tag.with_vlan(vlan)),
        None if untagged => TagEdit::Keep,
        None => TagEdit::Push(Tci::of(vlan)),
    }
}

impl TagEdit {
    /// By how many bytes the frame grows.
    #[must_use]
    pub const fn byte_delta(self) -> isize {
        match self {
            Self::Keep | Self::Rewrite(_) => 0,
            Self::Pop => -(TAG_BYTES as isize),
            Self::Push(_) => TAG_BYTES as isize,
        }
    }

    /// Writes `head`, edited, to the beginning of `out` and returns its length there.
    ///
    /// `None`, with `out` in any state, when `out` is too short or `head` has no tag that could be taken out or
    /// rewritten. The decision was made from the same head, so this does not happen on the way of a frame.
    #[must_use]
    pub fn apply(self, head: &[u8], out: &mut [u8]) -> Option<usize> {
        let (addresses, rest) = head.split_at_checked(ADDRESSES)?;
        match self {
            Self::Keep => join(out, [head, &[], &[]]),
            Self::Push(tci) => join(out, [addresses, &tag_bytes(tci), rest]),
            Self::Pop => join(out, [addresses, after_tag(head)?, &[]]),
            Self::Rewrite(tci) => join(out, [addresses, &tag_bytes(tci), after_tag(head)?]),
        }
    }
}

const fn tag_bytes(tci: Tci) -> [u8; TAG_BYTES] {
    let ([t0, t1], [c0, c1]) = (TPID, tci.0.to_be_bytes());
    [t0, t1, c0, c1]
}

/// The bytes behind the tag of `head`, if it has one.
fn after_tag(head: &[u8]) -> Option<&[u8]> {
    L2::parse(head).ok()?.tag?;
    head.get(ADDRESSES + TAG_BYTES..)
}

fn join(out: &mut [u8], parts: [&[u8]; 3]) -> Option<usize> {
    let mut len = 0;
    for part in parts {
        out.get_mut(len..len + part.len())?.copy_from_slice(part);
        len += part.len();
    }
    Some(len)
}

#[cfg(test)]
mod tests {
    use super::*;
    use TagEdit::{Keep, Pop, Push, Rewrite};

    const PRIORITY: Option<Tci> = Some(Tci(5 << 13));

    fn vlan(id: u16) -> VlanId {
        VlanId::new(id).unwrap()
    }

    fn trunk() -> VlanMode {
        VlanMode::Trunk {
            tagged: Box::new([vlan(10), vlan(20)].into_iter().collect()),
            native: Some(vlan(1)),
        }
    }

    #[test]
    fn an_access_port_sends_untagged() {
        let access = VlanMode::Access(vlan(10));
        assert_eq!(egress_edit(&access, vlan(10), None), Keep);
        assert_eq!(egress_edit(&access, vlan(10), Some(Tci(10))), Pop);
        assert_eq!(egress_edit(&access, vlan(10), PRIORITY), Pop);
    }

    #[test]
    fn a_trunk_tags_with_the_vlan_the_frame_was_classified_into() {
        assert_eq!(egress_edit(&trunk(), vlan(10), None), Push(Tci(10)));
        assert_eq!(egress_edit(&trunk(), vlan(10), Some(Tci(10))), Keep);
    }

    #[test]
    fn a_priority_tag_becomes_a_vlan_tag_of_the_same_priority() {
        assert_eq!(egress_edit(&trunk(), vlan(10), PRIORITY), Rewrite(Tci(5 << 13 | 10)));
    }

    #[test]
    fn the_native_vlan_leaves_a_trunk_untagged() {
        assert_eq!(egress_edit(&trunk(), vlan(1), None), Keep);
        assert_eq!(egress_edit(&trunk(), vlan(1), Some(Tci(1))), Pop);
    }

    #[test]
    fn transparent_ports_pass_frames_as_they_are() {
        let transparent = VlanMode::Transparent;
        assert_eq!(egress_edit(&transparent, VlanId::UNTAGGED, None), Keep);
        assert_eq!(egress_edit(&transparent, VlanId::UNTAGGED, PRIORITY), Keep);
        assert_eq!(egress_edit(&transparent, vlan(7), Some(Tci(7))), Keep);
    }

    #[test]
    fn a_transparent_port_sees_the_vlan_of_an_access_port_as_a_tag() {
        assert_eq!(egress_edit(&VlanMode::Transparent, vlan(10), None), Push(Tci(10)));
    }

    #[test]
    fn each_edit_changes_the_head_and_nothing_else() {
        let plain: Vec<u8> = (0..12).chain([8, 0, 0x45, 0x46]).collect();
        let tagged: Vec<u8> = (0..12).chain([0x81, 0, 0, 10, 8, 0, 0x45, 0x46]).collect();
        let other: Vec<u8> = (0..12).chain([0x81, 0, 0xa0, 20, 8, 0, 0x45, 0x46]).collect();
        let cases = [
            (Keep, &plain, &plain),
            (Push(Tci(10)), &plain, &tagged),
            (Pop, &tagged, &plain),
            (Rewrite(Tci(0xa014)), &tagged, &other),
        ];
        for (edit, before, after) in cases {
            let mut out = [0xee; 64];
            let len = edit.apply(before, &mut out).unwrap();
            assert_eq!(&out[..len], &after[..], "{edit:?}");
            assert_eq!(len.wrapping_add_signed(-edit.byte_delta()), before.len(), "{edit:?}");
            assert!(out[len..].iter().all(|&byte| byte == 0xee), "{edit:?} writes too far");
        }
    }

    #[test]
    fn a_head_without_a_tag_cannot_lose_one() {
        let plain: Vec<u8> = (0..12).chain([8, 0, 0x45, 0x46, 0, 0]).collect();
        assert_eq!(Pop.apply(&plain, &mut [0; 64]), None);
        assert_eq!(Rewrite(Tci(1)).apply(&plain, &mut [0; 64]), None);
    }

    #[test]
    fn room_for_one_byte_less_is_refused() {
        let plain: Vec<u8> = (0..12).chain([8, 0]).collect();
        assert_eq!(Push(Tci(1)).apply(&plain, &mut [0; 18]), Some(18));
        assert_eq!(Push(Tci(1)).apply(&plain, &mut [0; 17]), None);
    }
}
