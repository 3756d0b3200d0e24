//! Which offloads one side of a frame knows, from the virtio feature bits it acknowledged.

const VIRTIO_NET_F_CSUM: u32 = 0;
const VIRTIO_NET_F_GUEST_CSUM: u32 = 1;
const VIRTIO_NET_F_GUEST_TSO4: u32 = 7;
const VIRTIO_NET_F_GUEST_TSO6: u32 = 8;
const VIRTIO_NET_F_GUEST_ECN: u32 = 9;
const VIRTIO_NET_F_HOST_TSO4: u32 = 11;
const VIRTIO_NET_F_HOST_TSO6: u32 = 12;
const VIRTIO_NET_F_HOST_ECN: u32 = 13;

/// A set of offloads: those a sender may use, or those a receiver accepts.
///
/// The sets made from feature bits obey VIRTIO 1.2, section 5.1.3.1: no segmentation without checksum,
/// no ECN without segmentation.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Offloads(u8);

impl Offloads {
    /// No offload: every frame is complete and of wire size.
    pub const NONE: Self = Self(0);
    /// The checksum of the transport may be left partial.
    pub const CSUM: Self = Self(1);
    /// A frame may stand for several TCP segments over IPv4.
    pub const TSO4: Self = Self(2);
    /// A frame may stand for several TCP segments over IPv6.
    pub const TSO6: Self = Self(4);
    /// Such a frame may carry CWR.
    pub const ECN: Self = Self(8);

    /// What a guest that acknowledged `features` may ask for in the frames it sends.
    #[must_use]
    pub const fn of_sender(features: u64) -> Self {
        Self::from_bits(
            features,
            VIRTIO_NET_F_CSUM,
            [VIRTIO_NET_F_HOST_TSO4, VIRTIO_NET_F_HOST_TSO6, VIRTIO_NET_F_HOST_ECN],
        )
    }

    /// What a guest that acknowledged `features` accepts in the frames it receives.
    #[must_use]
    pub const fn of_receiver(features: u64) -> Self {
        Self::from_bits(
            features,
            VIRTIO_NET_F_GUEST_CSUM,
            [VIRTIO_NET_F_GUEST_TSO4, VIRTIO_NET_F_GUEST_TSO6, VIRTIO_NET_F_GUEST_ECN],
        )
    }

    const fn from_bits(features: u64, csum: u32, [tso4, tso6, ecn]: [u32; 3]) -> Self {
        if features >> csum & 1 == 0 {
            return Self::NONE;
        }
        let mut set = Self::CSUM;
        if features >> tso4 & 1 == 1 {
            set = set.union(Self::TSO4);
        }
        if features >> tso6 & 1 == 1 {
            set = set.union(Self::TSO6);
        }
        let segments = set.0 != Self::CSUM.0;
        if segments && features >> ecn & 1 == 1 { set.union(Self::ECN) } else { set }
    }

    /// Members of either.
    #[must_use]
    pub const fn union(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Members of both.
    #[must_use]
    pub const fn intersection(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }

    /// Whether all of `other` are members.
    #[must_use]
    pub const fn contains(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sender_and_receiver_bits_are_not_mixed_up() {
        let all = Offloads::CSUM.union(Offloads::TSO4).union(Offloads::TSO6).union(Offloads::ECN);
        let sender = 1 | 1 << 11 | 1 << 12 | 1 << 13;
        let receiver = 1 << 1 | 1 << 7 | 1 << 8 | 1 << 9;
        assert_eq!(Offloads::of_sender(sender), all);
        assert_eq!(Offloads::of_receiver(receiver), all);
        assert_eq!(Offloads::of_sender(receiver), Offloads::NONE);
        assert_eq!(Offloads::of_receiver(sender), Offloads::NONE);
        assert_eq!(Offloads::of_sender(1 | 1 << 12), Offloads::CSUM.union(Offloads::TSO6));
    }

    #[test]
    fn there_is_no_segmentation_without_checksum_and_no_ecn_without_segmentation() {
        assert_eq!(Offloads::of_sender(1 << 11 | 1 << 12 | 1 << 13), Offloads::NONE);
        assert_eq!(Offloads::of_sender(1 | 1 << 13), Offloads::CSUM);
        assert_eq!(Offloads::of_receiver(1 << 7 | 1 << 8 | 1 << 9), Offloads::NONE);
        assert_eq!(Offloads::of_receiver(1 << 1 | 1 << 9), Offloads::CSUM);
    }
}
