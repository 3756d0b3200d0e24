//! What we offer to a front-end. Each bit is a duty that this crate, `vring` or `offload` fulfils; those of the control
//! queue are carried out by the front-end, and offering them lets it offer them to the guest.

use helio_vring::feature;
use vhost::vhost_user::message::VhostUserProtocolFeatures;

/// The checksum of what a guest sends may be left to us. VIRTIO 1.2, section 5.1.3.
const CSUM: u64 = 1;
const GUEST_CSUM: u64 = 1 << 1;
const GUEST_TSO4: u64 = 1 << 7;
const GUEST_TSO6: u64 = 1 << 8;
const GUEST_ECN: u64 = 1 << 9;
const HOST_TSO4: u64 = 1 << 11;
const HOST_TSO6: u64 = 1 << 12;
const HOST_ECN: u64 = 1 << 13;
const STATUS: u64 = 1 << 16;
const CTRL_VQ: u64 = 1 << 17;
const GUEST_ANNOUNCE: u64 = 1 << 21;
const MQ: u64 = 1 << 22;
/// Descriptors may be cut anywhere. VIRTIO 1.2, section 6.3.
const ANY_LAYOUT: u64 = 1 << 27;
/// There are protocol features to talk about. vhost-user, "Feature negotiation".
const PROTOCOL_FEATURES: u64 = 1 << 30;
/// Chains are completed in the order they were offered. VIRTIO 1.2, section 6.
const IN_ORDER: u64 = 1 << 35;

/// The virtio feature bits that a port offers.
pub const OFFERED: u64 = CSUM
    | GUEST_CSUM
    | GUEST_TSO4
    | GUEST_TSO6
    | GUEST_ECN
    | HOST_TSO4
    | HOST_TSO6
    | HOST_ECN
    | feature::MRG_RXBUF
    | STATUS
    | CTRL_VQ
    | GUEST_ANNOUNCE
    | MQ
    | ANY_LAYOUT
    | feature::INDIRECT_DESC
    | feature::EVENT_IDX
    | PROTOCOL_FEATURES
    | feature::VERSION_1
    | IN_ORDER;

/// The protocol features that a port offers.
pub(crate) fn protocol() -> VhostUserProtocolFeatures {
    VhostUserProtocolFeatures::MQ
        | VhostUserProtocolFeatures::REPLY_ACK
        | VhostUserProtocolFeatures::CONFIGURE_MEM_SLOTS
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_offered_that_nobody_here_does() {
        let refused = [6, 10, 14, 24, 26, 33, 34, 36, 38, 40];
        assert!(refused.iter().all(|bit| OFFERED >> bit & 1 == 0), "{OFFERED:#x}");
        assert_eq!(OFFERED.count_ones(), 19);
    }
}
