//! The Ethernet header of a frame that arrives, and how much of what follows is here.

use helio_types::MacAddr;

use crate::settings::is_host_mac;
use crate::{Refusal, UnderlayTag};

/// Types. IEEE 802 numbers.
pub(crate) const ARP: [u8; 2] = [0x08, 0x06];
pub(crate) const IPV4: [u8; 2] = [0x08, 0x00];
pub(crate) const IPV6: [u8; 2] = [0x86, 0xdd];
/// Type of a customer tag. IEEE 802.1Q-2018, table 9-1.
pub(crate) const VLAN: [u8; 2] = [0x81, 0x00];

/// Who sends what to whom.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Ethernet {
    pub(crate) destination: MacAddr,
    pub(crate) source: MacAddr,
    pub(crate) kind: [u8; 2],
    /// Bytes of it, with its tag.
    pub(crate) bytes: usize,
}

impl Ethernet {
    /// The header in front of `head`, when it is whole and of the VLAN that `tag` is of. A priority tag is no VLAN, there
    /// or here. IEEE 802.1Q-2018, 6.9.1.
    #[inline]
    pub(crate) fn read(head: &[u8], tag: Option<UnderlayTag>) -> Option<Self> {
        let (addresses, after) = head.split_first_chunk::<12>()?;
        let [d0, d1, d2, d3, d4, d5, s0, s1, s2, s3, s4, s5] = *addresses;
        let kind = *after.first_chunk()?;
        let (vlan, kind, bytes) = if kind == VLAN {
            let [_, _, c0, c1, k0, k1] = *after.first_chunk()?;
            (u16::from_be_bytes([c0, c1]) & 0xfff, [k0, k1], 18)
        } else {
            (0, kind, 14)
        };
        let expected = tag.map_or(0, |tag| tag.vlan.get());
        let destination = MacAddr([d0, d1, d2, d3, d4, d5]);
        let source = MacAddr([s0, s1, s2, s3, s4, s5]);
        (vlan == expected).then_some(Self { destination, source, kind, bytes })
    }

    /// Whether it came from elsewhere, and from the sender that its payload names.
    pub(crate) fn check_sender(&self, own_mac: MacAddr, named: MacAddr) -> Result<(), Refusal> {
        if self.source == own_mac {
            return Err(Refusal::OwnSource);
        }
        let is_right = self.source == named && is_host_mac(named);
        if is_right { Ok(()) } else { Err(Refusal::SenderMac) }
    }
}

/// What follows the Ethernet header: a part of it is here, and it is known how much there is.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Body<'a> {
    here: &'a [u8],
    bytes: usize,
}

impl<'a> Body<'a> {
    /// Behind the first `start` bytes of a frame of `frame_bytes` that begins with `head`.
    pub(crate) fn new(head: &'a [u8], frame_bytes: u32, start: usize) -> Self {
        let bytes = usize::try_from(frame_bytes).unwrap_or(usize::MAX).max(head.len());
        Self { here: head.get(start..).unwrap_or_default(), bytes: bytes.saturating_sub(start) }
    }

    /// The first `count` bytes, all of which must be here.
    pub(crate) fn first(&self, count: usize) -> Result<&'a [u8], Refusal> {
        if count > self.bytes {
            return Err(Refusal::Malformed);
        }
        self.here.get(..count).ok_or(Refusal::HeaderLong)
    }

    /// The part from `start` to `end`, of which the rest need not be here.
    pub(crate) fn part(&self, start: usize, end: usize) -> Result<Self, Refusal> {
        if start > end || end > self.bytes {
            return Err(Refusal::Malformed);
        }
        let here = self.here.get(..end.min(self.here.len())).unwrap_or_default();
        Ok(Self { here: here.get(start..).unwrap_or_default(), bytes: end - start })
    }

    /// What follows the first `count` bytes.
    pub(crate) fn behind(&self, count: usize) -> Result<Self, Refusal> {
        self.part(count, self.bytes)
    }

    /// What is here.
    pub(crate) const fn here(&self) -> &'a [u8] {
        self.here
    }

    /// Whether that is all.
    pub(crate) const fn is_whole(&self) -> bool {
        self.here.len() == self.bytes
    }

    /// All of it, which must be here.
    pub(crate) fn whole(&self) -> Result<&'a [u8], Refusal> {
        self.first(self.bytes)
    }
}

#[cfg(test)]
mod tests {
    use helio_types::VlanId;

    use super::*;

    fn tag(vlan: u16) -> Option<UnderlayTag> {
        Some(UnderlayTag { vlan: VlanId::new(vlan).unwrap(), priority: 3 })
    }

    fn frame(tag: &[u8]) -> Vec<u8> {
        [&[1; 6][..], &[2; 6], tag, &ARP].concat()
    }

    #[test]
    fn only_frames_of_the_vlan_are_read_whatever_their_priority() {
        let tagged = frame(&[0x81, 0, 0xf0, 5]);
        let read = Ethernet::read(&tagged, tag(5)).unwrap();
        assert_eq!((read.kind, read.bytes), (ARP, 18));
        assert_eq!((read.destination, read.source), (MacAddr([1; 6]), MacAddr([2; 6])));
        for other in [None, tag(0), tag(6)] {
            assert_eq!(Ethernet::read(&tagged, other), None);
        }
        assert_eq!(Ethernet::read(&frame(&[]), tag(5)), None);
        assert_eq!(Ethernet::read(&frame(&[0x88, 0xa8, 0, 5]), tag(5)), None);
    }

    #[test]
    fn a_priority_tag_is_no_vlan() {
        for expected in [None, tag(0)] {
            assert_eq!(Ethernet::read(&frame(&[]), expected).unwrap().bytes, 14);
            assert_eq!(Ethernet::read(&frame(&[0x81, 0, 0xe0, 0]), expected).unwrap().bytes, 18);
        }
    }

    #[test]
    fn a_header_that_is_not_whole_is_not_read() {
        let (plain, tagged) = (frame(&[]), frame(&[0x81, 0, 0, 0]));
        assert!(Ethernet::read(&plain[..14], None).is_some());
        assert!((0..14).all(|cut| Ethernet::read(&plain[..cut], None).is_none()));
        assert!(Ethernet::read(&tagged[..18], None).is_some());
        assert!((0..18).all(|cut| Ethernet::read(&tagged[..cut], None).is_none()));
    }

    #[test]
    fn what_is_missing_in_the_frame_and_what_is_not_here_are_told_apart() {
        let body = Body::new(&[0, 1, 2, 3, 4], 8, 2);
        assert_eq!(body.first(3), Ok(&[2, 3, 4][..]));
        assert_eq!(
            (body.first(6), body.first(7)),
            (Err(Refusal::HeaderLong), Err(Refusal::Malformed))
        );
        let part = body.part(1, 6).unwrap();
        assert_eq!(
            (part.here(), part.is_whole(), part.whole()),
            (&[3, 4][..], false, Err(Refusal::HeaderLong))
        );
        assert_eq!(body.part(1, 3).unwrap().whole(), Ok(&[3, 4][..]));
        assert_eq!(body.part(4, 6).unwrap().here(), []);
        assert!(body.part(1, 7).is_err() && body.part(3, 2).is_err());
    }
}
