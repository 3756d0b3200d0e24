//! The part of a frame's head that switching needs: two addresses and one VLAN tag.
//!
//! Called by workers on the private copy of the first bytes, never on guest memory.

use helio_types::{DropReason, MacAddr, VlanId};

/// Two addresses and a type: an Ethernet header without a tag. IEEE 802.3-2018, 3.1.1.
pub const ETHERNET_HEADER_BYTES: usize = 14;

/// What one VLAN tag adds to the header. IEEE 802.1Q-2018, 9.3.
pub const TAG_BYTES: usize = 4;

/// Type of a customer VLAN tag, the only one we read. Frames of type 0x88a8 count as untagged: their outer tag
/// belongs to somebody else's bridge. IEEE 802.1Q-2018, table 9-1.
pub const TPID: [u8; 2] = [0x81, 0x00];

/// Tag control information: priority, drop eligibility and VLAN of a tag. IEEE 802.1Q-2018, 9.6.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Tci(pub u16);

impl Tci {
    const VID: u16 = 0x0fff;

    /// Priority code point, 0 to 7.
    #[must_use]
    pub const fn pcp(self) -> u8 {
        let [high, _] = self.0.to_be_bytes();
        high >> 5
    }

    /// Drop eligible indicator, 0 or 1.
    #[must_use]
    pub const fn dei(self) -> u8 {
        let [high, _] = self.0.to_be_bytes();
        high >> 4 & 1
    }

    /// VLAN identifier as it stands in the tag, 0 to 4095.
    #[must_use]
    pub const fn vid(self) -> u16 {
        self.0 & Self::VID
    }

    /// Whether the tag carries a priority and no VLAN.
    #[must_use]
    pub const fn is_priority(self) -> bool {
        self.vid() == 0
    }

    /// The tag of `vlan` with priority 0.
    #[must_use]
    pub const fn of(vlan: VlanId) -> Self {
        Self(vlan.get())
    }

    /// This tag, with its frame eligible to be dropped.
    #[must_use]
    pub const fn drop_eligible(self) -> Self {
        Self(self.0 | 1 << 12)
    }

    /// This tag with another VLAN; priority and drop eligibility stay.
    #[must_use]
    pub const fn with_vlan(self, vlan: VlanId) -> Self {
        Self(self.0 & !Self::VID | vlan.get())
    }
}

/// What the head of a frame says about layer 2.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct L2 {
    /// Destination address.
    pub dst: MacAddr,
    /// Source address.
    pub src: MacAddr,
    /// The outer VLAN tag, when it is of type 0x8100.
    pub tag: Option<Tci>,
}

impl L2 {
    /// Reads the addresses and the tag from the first bytes of a frame.
    ///
    /// # Errors
    ///
    /// [`DropReason::Runt`] when the header, with the tag that it announces, is not there in full.
    pub const fn parse(head: &[u8]) -> Result<Self, DropReason> {
        let Some((&[d0, d1, d2, d3, d4, d5, s0, s1, s2, s3, s4, s5, t0, t1], rest)) =
            head.split_first_chunk::<ETHERNET_HEADER_BYTES>()
        else {
            return Err(DropReason::Runt);
        };
        let dst = MacAddr([d0, d1, d2, d3, d4, d5]);
        let src = MacAddr([s0, s1, s2, s3, s4, s5]);
        if !matches!([t0, t1], TPID) {
            return Ok(Self { dst, src, tag: None });
        }
        match rest.first_chunk::<TAG_BYTES>() {
            Some(&[c0, c1, _, _]) => {
                Ok(Self { dst, src, tag: Some(Tci(u16::from_be_bytes([c0, c1]))) })
            }
            None => Err(DropReason::Runt),
        }
    }

    /// The addresses of a frame that begins with `head`, destination first, as [`MacAddr::to_u64`] gives them: each read as one
    /// word, where from the bytes of [`L2::parse`] it is put together one by one.
    #[inline]
    pub(crate) fn address_numbers(head: &[u8]) -> Result<[u64; 2], DropReason> {
        let header = head.first_chunk::<ETHERNET_HEADER_BYTES>().ok_or(DropReason::Runt)?;
        let (Some(from_dst), Some(from_src)) = (header.first_chunk(), header.last_chunk()) else {
            return Err(DropReason::Runt);
        };
        // Behind either address stand two bytes of something else.
        Ok([from_dst, from_src].map(|word| u64::from_be_bytes(*word) >> 16))
    }

    /// Bytes of the header that was read: 14, or 18 with a tag.
    #[must_use]
    pub const fn header_bytes(&self) -> usize {
        match self.tag {
            Some(_) => ETHERNET_HEADER_BYTES + TAG_BYTES,
            None => ETHERNET_HEADER_BYTES,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use etherparse::{EtherType, Ethernet2HeaderSlice, SingleVlanHeaderSlice};
    use proptest::prelude::*;

    fn head(type_field: [u8; 2], rest: &[u8]) -> Vec<u8> {
        let mut bytes = vec![1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12];
        bytes.extend(type_field);
        bytes.extend(rest);
        bytes
    }

    #[test]
    fn fourteen_bytes_are_a_header_and_thirteen_are_a_runt() {
        let whole = head([8, 0], &[]);
        assert_eq!(L2::parse(&whole).unwrap().header_bytes(), 14);
        assert_eq!(L2::parse(&whole[..13]), Err(DropReason::Runt));
    }

    #[test]
    fn a_tag_that_is_cut_is_a_runt() {
        let whole = head(TPID, &[0xef, 0xff, 8, 0]);
        assert_eq!(L2::parse(&whole).unwrap().header_bytes(), 18);
        assert_eq!(L2::parse(&whole[..17]), Err(DropReason::Runt));
    }

    #[test]
    fn the_three_fields_of_a_tag_are_told_apart() {
        let tag = L2::parse(&head(TPID, &[0b1011_0001, 0x02, 8, 0])).unwrap().tag.unwrap();
        assert_eq!((tag.pcp(), tag.dei(), tag.vid()), (5, 1, 0x102));
        let moved = tag.with_vlan(VlanId::new(7).unwrap());
        assert_eq!((moved.pcp(), moved.dei(), moved.vid()), (5, 1, 7));
    }

    #[test]
    fn a_service_tag_is_opaque() {
        assert_eq!(L2::parse(&head([0x88, 0xa8], &[0, 5, 8, 0])).unwrap().tag, None);
    }

    proptest! {
        #[test]
        fn any_head_is_read_as_etherparse_reads_it(
            mut bytes in proptest::collection::vec(any::<u8>(), 18..128),
            type_field in prop_oneof![Just(TPID), Just([0x88, 0xa8]), any::<[u8; 2]>()],
        ) {
            bytes[12..14].copy_from_slice(&type_field);
            let ours = L2::parse(&bytes).unwrap();
            let theirs = Ethernet2HeaderSlice::from_slice(&bytes).unwrap();
            prop_assert_eq!(ours.dst.0, theirs.destination());
            prop_assert_eq!(ours.src.0, theirs.source());
            let tagged = theirs.ether_type() == EtherType::VLAN_TAGGED_FRAME;
            prop_assert_eq!(ours.tag.is_some(), tagged);
            if let Some(tag) = ours.tag {
                let theirs = SingleVlanHeaderSlice::from_slice(&bytes[14..]).unwrap();
                prop_assert_eq!(tag.pcp(), theirs.priority_code_point().value());
                prop_assert_eq!(tag.dei() == 1, theirs.drop_eligible_indicator());
                prop_assert_eq!(tag.vid(), theirs.vlan_identifier().value());
            }
        }
    }
}
