//! Feature bits of virtio-net (VIRTIO 1.2, 5.1.3 and 6) and of the vhost-user protocol, as masks.

/// Checksums of sent frames may be left to the device.
pub const CSUM: u64 = 1 << 0;
/// Received frames may come with unfinished checksums.
pub const GUEST_CSUM: u64 = 1 << 1;
/// The device reports an MTU.
pub const MTU: u64 = 1 << 3;
/// TCP over IPv4 may be received unsegmented.
pub const GUEST_TSO4: u64 = 1 << 7;
/// TCP over IPv6 may be received unsegmented.
pub const GUEST_TSO6: u64 = 1 << 8;
/// Unsegmented TCP with the ECN bit may be received.
pub const GUEST_ECN: u64 = 1 << 9;
/// TCP over IPv4 may be sent unsegmented.
pub const HOST_TSO4: u64 = 1 << 11;
/// TCP over IPv6 may be sent unsegmented.
pub const HOST_TSO6: u64 = 1 << 12;
/// Unsegmented TCP with the ECN bit may be sent.
pub const HOST_ECN: u64 = 1 << 13;
/// A received frame may lie in several buffers.
pub const MRG_RXBUF: u64 = 1 << 15;
/// The link state is known.
pub const STATUS: u64 = 1 << 16;
/// There is a control queue.
pub const CTRL_VQ: u64 = 1 << 17;
/// The guest announces itself after a migration.
pub const GUEST_ANNOUNCE: u64 = 1 << 21;
/// There may be several queue pairs.
pub const MQ: u64 = 1 << 22;
/// Dirty pages are logged.
pub const LOG_ALL: u64 = 1 << 26;
/// Header and data may be cut into descriptors in any way.
pub const ANY_LAYOUT: u64 = 1 << 27;
/// A descriptor may refer to a table of descriptors.
pub const INDIRECT_DESC: u64 = 1 << 28;
/// Notifications are asked for by index.
pub const EVENT_IDX: u64 = 1 << 29;
/// The vhost-user protocol has features of its own. VHOST_USER_F_PROTOCOL_FEATURES.
pub const PROTOCOL_FEATURES: u64 = 1 << 30;
/// The device follows VIRTIO 1.
pub const VERSION_1: u64 = 1 << 32;
/// Rings are packed.
pub const RING_PACKED: u64 = 1 << 34;
/// Chains are completed in the order in which they were offered.
pub const IN_ORDER: u64 = 1 << 35;

/// What a guest asks for unless told otherwise: all that needs no offload.
pub const PLAIN: u64 = MRG_RXBUF | ANY_LAYOUT | INDIRECT_DESC | EVENT_IDX | VERSION_1 | MQ;

/// All offloads that a switch may offer.
pub const OFFLOADS: u64 =
    CSUM | GUEST_CSUM | GUEST_TSO4 | GUEST_TSO6 | GUEST_ECN | HOST_TSO4 | HOST_TSO6 | HOST_ECN;

/// Bits of the vhost-user protocol itself. vhost-user.rst, "Protocol features".
pub mod protocol {
    /// GET_QUEUE_NUM, and more than one queue pair.
    pub const MQ: u64 = 1 << 0;
    /// SEND_RARP.
    pub const RARP: u64 = 1 << 2;
    /// A message may ask for an answer.
    pub const REPLY_ACK: u64 = 1 << 3;
    /// NET_SET_MTU.
    pub const NET_MTU: u64 = 1 << 4;
    /// Regions come and go one by one.
    pub const CONFIGURE_MEM_SLOTS: u64 = 1 << 15;
    /// GET_STATUS and SET_STATUS.
    pub const STATUS: u64 = 1 << 16;

    /// What a guest asks for unless told otherwise.
    pub const USUAL: u64 = MQ | REPLY_ACK | CONFIGURE_MEM_SLOTS;
}
