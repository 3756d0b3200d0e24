//! The bytes of vhost-user messages from the front-end: header, numbers, payloads.
//!
//! Pure encoding; vhost-user.rst, "Message Specification". All numbers are in the byte order of the host, which
//! the protocol shares with its peer on the same machine.

/// Bytes of the header before each payload.
pub(crate) const HEADER_BYTES: usize = 12;

/// Flags of the header: version 1 in the low two bits.
pub(crate) const FLAG_VERSION: u32 = 1;
/// The message is an answer.
pub(crate) const FLAG_REPLY: u32 = 1 << 2;
/// The message wants an answer although it has none of its own.
pub(crate) const FLAG_NEED_REPLY: u32 = 1 << 3;

/// In the payload of KICK, CALL and ERR: no descriptor comes with it.
pub(crate) const VRING_NO_FD: u64 = 1 << 8;

/// Largest reply we take; none of the protocol is as long.
pub(crate) const MAX_REPLY_BYTES: u32 = 4096;

/// Most regions in one SET_MEM_TABLE, and descriptors with one message.
pub(crate) const MAX_TABLE_REGIONS: usize = 8;

macro_rules! message_ids {
    ($($(#[$doc:meta])* $name:ident = $number:literal,)*) => {
        /// The number of a message from a front-end.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        #[repr(u32)]
        #[non_exhaustive]
        pub enum MessageId {
            $($(#[$doc])* $name = $number,)*
        }
    };
}

message_ids! {
    /// Which features of VIRTIO the back-end has.
    GetFeatures = 1,
    /// Which of them are used.
    SetFeatures = 2,
    /// The session begins.
    SetOwner = 3,
    /// Deprecated: the session ends.
    ResetOwner = 4,
    /// All regions of guest memory at once.
    SetMemTable = 5,
    /// Where dirty pages are logged.
    SetLogBase = 6,
    /// What is signalled after logging.
    SetLogFd = 7,
    /// The size of a ring.
    SetVringNum = 8,
    /// The place of a ring.
    SetVringAddr = 9,
    /// The avail index from which a ring goes on.
    SetVringBase = 10,
    /// Stops a ring; the answer is its next avail index.
    GetVringBase = 11,
    /// The eventfd from the guest.
    SetVringKick = 12,
    /// The eventfd to the guest.
    SetVringCall = 13,
    /// The eventfd for a broken ring.
    SetVringErr = 14,
    /// Which features of the protocol the back-end has.
    GetProtocolFeatures = 15,
    /// Which of them are used.
    SetProtocolFeatures = 16,
    /// How many queues the back-end has.
    GetQueueNum = 17,
    /// Enables or disables a ring.
    SetVringEnable = 18,
    /// Asks the back-end to announce a guest.
    SendRarp = 19,
    /// The MTU that the guest uses.
    NetSetMtu = 20,
    /// The socket for messages of the back-end.
    SetBackendReqFd = 21,
    /// An entry of the IOTLB.
    IotlbMsg = 22,
    /// Byte order of a legacy ring.
    SetVringEndian = 23,
    /// Reads the configuration space.
    GetConfig = 24,
    /// Writes the configuration space.
    SetConfig = 25,
    /// A session of another kind of device.
    CreateCryptoSession = 26,
    /// Its end.
    CloseCryptoSession = 27,
    /// Memory will be fetched after the start.
    PostcopyAdvise = 28,
    /// From now on.
    PostcopyListen = 29,
    /// All memory was fetched.
    PostcopyEnd = 30,
    /// Asks for a buffer that survives the back-end.
    GetInflightFd = 31,
    /// Hands that buffer to the back-end.
    SetInflightFd = 32,
    /// A socket of another kind of device.
    GpuSetSocket = 33,
    /// Back to the state before the session.
    ResetDevice = 34,
    /// A kick inside the session.
    VringKick = 35,
    /// How many regions the back-end can have.
    GetMaxMemSlots = 36,
    /// One more region.
    AddMemReg = 37,
    /// One region less.
    RemMemReg = 38,
    /// The device status register.
    SetStatus = 39,
    /// Reads it.
    GetStatus = 40,
}

/// The 12 bytes before a payload of `size` bytes. Takes any number, so that it can also lie.
#[must_use]
pub fn encode_header(id: u32, flags: u32, size: u32) -> [u8; HEADER_BYTES] {
    let mut bytes = [0; HEADER_BYTES];
    for (place, number) in bytes.chunks_exact_mut(4).zip([id, flags, size]) {
        place.copy_from_slice(&number.to_ne_bytes());
    }
    bytes
}

/// The three numbers of a header.
pub(crate) fn decode_header(bytes: &[u8; HEADER_BYTES]) -> (u32, u32, u32) {
    let [a, b, c, d, e, f, g, h, i, j, k, l] = *bytes;
    (
        u32::from_ne_bytes([a, b, c, d]),
        u32::from_ne_bytes([e, f, g, h]),
        u32::from_ne_bytes([i, j, k, l]),
    )
}

/// One region in a memory table. vhost-user.rst, "Memory region description".
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MemoryRegion {
    /// First guest address.
    pub guest_addr: u64,
    /// Length in bytes.
    pub size_bytes: u64,
    /// Where the front-end has it mapped.
    pub front_end_addr: u64,
    /// Where it begins in its file.
    pub file_offset: u64,
}

impl MemoryRegion {
    /// The payload of SET_MEM_TABLE.
    #[must_use]
    pub fn encode_table(regions: &[Self]) -> Vec<u8> {
        let count = u32::try_from(regions.len()).unwrap_or(u32::MAX);
        let mut payload = Vec::with_capacity(8 + 32 * regions.len());
        payload.extend_from_slice(&count.to_ne_bytes());
        payload.extend_from_slice(&[0; 4]);
        for region in regions {
            region.encode_into(&mut payload);
        }
        payload
    }

    /// The payload of ADD_MEM_REG and REM_MEM_REG.
    #[must_use]
    pub fn encode_single(&self) -> Vec<u8> {
        let mut payload = vec![0; 8];
        self.encode_into(&mut payload);
        payload
    }

    fn encode_into(&self, payload: &mut Vec<u8>) {
        for number in [self.guest_addr, self.size_bytes, self.front_end_addr, self.file_offset] {
            payload.extend_from_slice(&number.to_ne_bytes());
        }
    }
}

/// Payload of the messages that carry a ring and a number. vhost-user.rst, "A vring state description".
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RingState {
    /// Number of the ring.
    pub index: u32,
    /// Size, base, or whether it is enabled.
    pub number: u32,
}

impl RingState {
    /// The payload.
    #[must_use]
    pub fn encode(&self) -> [u8; 8] {
        let mut payload = [0; 8];
        let (index, number) = payload.split_at_mut(4);
        index.copy_from_slice(&self.index.to_ne_bytes());
        number.copy_from_slice(&self.number.to_ne_bytes());
        payload
    }

    /// The state in the answer to GET_VRING_BASE.
    #[must_use]
    pub fn decode(payload: &[u8]) -> Option<Self> {
        let [a, b, c, d, e, f, g, h] = *<&[u8; 8]>::try_from(payload).ok()?;
        let index = u32::from_ne_bytes([a, b, c, d]);
        Some(Self { index, number: u32::from_ne_bytes([e, f, g, h]) })
    }
}

/// Payload of SET_VRING_ADDR: addresses in the front-end's process. vhost-user.rst, "A vring address description".
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RingAddresses {
    /// Number of the ring.
    pub index: u32,
    /// Bit 0: log writes to the used ring.
    pub flags: u32,
    /// Descriptor table.
    pub table: u64,
    /// Used ring.
    pub used: u64,
    /// Avail ring.
    pub avail: u64,
    /// Guest address of the used ring, for the log.
    pub log: u64,
}

impl RingAddresses {
    /// The payload.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut payload = Vec::with_capacity(40);
        payload.extend_from_slice(&self.index.to_ne_bytes());
        payload.extend_from_slice(&self.flags.to_ne_bytes());
        for address in [self.table, self.used, self.avail, self.log] {
            payload.extend_from_slice(&address.to_ne_bytes());
        }
        payload
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_is_three_words_and_can_be_read_back() {
        let bytes = encode_header(5, FLAG_VERSION | FLAG_NEED_REPLY, 40);
        assert_eq!(bytes[..4], 5_u32.to_ne_bytes());
        assert_eq!(bytes[4..8], 9_u32.to_ne_bytes());
        assert_eq!(decode_header(&bytes), (5, 9, 40));
    }

    #[test]
    fn payloads_have_the_lengths_of_the_specification() {
        let region =
            MemoryRegion { guest_addr: 1, size_bytes: 2, front_end_addr: 3, file_offset: 4 };
        assert_eq!(MemoryRegion::encode_table(&[region, region]).len(), 8 + 2 * 32);
        assert_eq!(MemoryRegion::encode_table(&[region])[8..16], 1_u64.to_ne_bytes());
        assert_eq!(region.encode_single().len(), 40);
        assert_eq!(region.encode_single()[32..], 4_u64.to_ne_bytes());
        let addresses = RingAddresses { index: 1, flags: 0, table: 2, used: 3, avail: 4, log: 5 };
        assert_eq!(addresses.encode().len(), 40);
        assert_eq!(addresses.encode()[16..24], 3_u64.to_ne_bytes(), "used comes before avail");
    }

    #[test]
    fn a_ring_state_is_eight_bytes_and_nothing_else() {
        let state = RingState { index: 3, number: 70_000 };
        assert_eq!(RingState::decode(&state.encode()), Some(state));
        assert_eq!(RingState::decode(&[0; 7]), None);
        assert_eq!(RingState::decode(&[0; 9]), None);
    }

    #[test]
    fn the_numbers_are_those_of_the_protocol() {
        assert_eq!(MessageId::GetVringBase as u32, 11);
        assert_eq!(MessageId::SetVringEnable as u32, 18);
        assert_eq!(MessageId::AddMemReg as u32, 37);
    }
}
