//! Writes what a guest and its worker do one after the other, as `src/guest.rs` and the targets read it.

/// Flags of a descriptor.
pub(crate) const NEXT: u8 = 1;
pub(crate) const WRITE: u8 = 2;
pub(crate) const INDIRECT: u8 = 4;

/// Features, by their bits in the second byte of an input.
pub(crate) const VERSION_1: u8 = 1;
pub(crate) const MRG_RXBUF: u8 = 2;
pub(crate) const INDIRECT_DESC: u8 = 4;
pub(crate) const EVENT_IDX: u8 = 8;
pub(crate) const CSUM: u8 = 16;
pub(crate) const TSO4: u8 = 32;

/// Layouts of memory.
pub(crate) const ONE_REGION: u8 = 0;
pub(crate) const THREE_REGIONS: u8 = 2;
pub(crate) const RINGS_ANYWHERE: u8 = 8;

/// Places in memory, counted from the start of the first region.
pub(crate) const TABLES: u16 = 0x4000;
pub(crate) const DATA: u16 = 0x7000;
pub(crate) const SEAM: u16 = 0x8000;

/// The place of a buffer.
#[derive(Clone, Copy)]
pub(crate) enum Place {
    /// From the start of the first region.
    At(u16),
    /// From the start of the last region.
    Last(u16),
    /// Any address.
    Any(u64),
}

/// A descriptor as an input has it.
pub(crate) fn descriptor(place: Place, bytes: u32, flags: u8, next: u16) -> Vec<u8> {
    let (form, addr) = match place {
        Place::At(offset) => (0, offset.to_le_bytes().to_vec()),
        Place::Last(offset) => (2, offset.to_le_bytes().to_vec()),
        Place::Any(addr) => (3, addr.to_le_bytes().to_vec()),
    };
    let (length_form, length) = match u16::try_from(bytes) {
        Ok(bytes) => (2, bytes.to_le_bytes().to_vec()),
        Err(_) => (3, bytes.to_le_bytes().to_vec()),
    };
    let next = next.to_le_bytes();
    [&[form | length_form << 2][..], &addr, &length, &[flags], &next].concat()
}

/// An input that is being written.
#[derive(Clone)]
pub(crate) struct Script(Vec<u8>);

impl Script {
    /// A ring of two to the power `size` descriptors, whose indices stand at `index`.
    pub(crate) fn new(size: u8, features: u8, layout: u8, index: u16) -> Self {
        let [low, high] = index.to_le_bytes();
        Self(vec![size, features, layout, low, high])
    }

    pub(crate) fn bytes(self) -> Vec<u8> {
        self.0
    }

    fn with(mut self, operation: u8, arguments: &[&[u8]]) -> Self {
        self.0.push(operation);
        self.0.extend(arguments.concat());
        self
    }

    /// With [`RINGS_ANYWHERE`]: where the three parts are.
    pub(crate) fn places(mut self, places: [u16; 3]) -> Self {
        self.0.extend(places.map(u16::to_le_bytes).concat());
        self
    }

    /// Writes a descriptor to the ring.
    pub(crate) fn put(self, index: u16, descriptor: &[u8]) -> Self {
        self.with(0, &[&index.to_le_bytes(), descriptor])
    }

    /// Writes a descriptor to the place for indirect tables.
    pub(crate) fn put_indirect(self, index: u8, descriptor: &[u8]) -> Self {
        self.with(1, &[&[index], descriptor])
    }

    /// Links `count` descriptors from `first` on, all but the last with a next.
    pub(crate) fn link(self, first: u16, count: u16, descriptor: &[u8]) -> Self {
        self.with(2, &[&first.to_le_bytes(), &count.to_le_bytes(), &[0], descriptor])
    }

    /// The same in the place for indirect tables.
    pub(crate) fn link_indirect(self, count: u16, descriptor: &[u8]) -> Self {
        self.with(2, &[&[0, 0], &count.to_le_bytes(), &[1], descriptor])
    }

    pub(crate) fn write(self, offset: u16, bytes: &[u8]) -> Self {
        self.with(3, &[&offset.to_le_bytes(), &[u8::try_from(bytes.len()).unwrap()], bytes])
    }

    pub(crate) fn offer(self, head: u16) -> Self {
        self.with(4, &[&head.to_le_bytes()])
    }

    pub(crate) fn offer_many(self, count: u8, head: u16, step: u8) -> Self {
        self.with(5, &[&[count], &head.to_le_bytes(), &[step]])
    }

    pub(crate) fn avail_index(self, index: u16) -> Self {
        self.with(6, &[&index.to_le_bytes()])
    }

    pub(crate) fn take(self) -> Self {
        self.with(7, &[])
    }

    pub(crate) fn release(self, which: u8) -> Self {
        self.with(9, &[&[which]])
    }

    pub(crate) fn hold(self, which: u8) -> Self {
        self.with(10, &[&[which]])
    }

    /// Of a transmitq.
    pub(crate) fn publish(self) -> Self {
        self.with(11, &[])
    }

    pub(crate) fn discard(self) -> Self {
        self.with(12, &[])
    }

    pub(crate) fn ask_for_kick(self) -> Self {
        self.with(13, &[])
    }

    /// Delivers a frame of 14 bytes of header, 110 of tail and `rest` bytes of the rest.
    pub(crate) fn deliver(self, rest: u16) -> Self {
        let [low, high] = rest.to_le_bytes();
        self.with(7, &[&[0, 0, 110, low, high, 3, 9]])
    }

    /// Delivers `count` frames of 34 bytes.
    pub(crate) fn deliver_many(self, count: u8) -> Self {
        self.with(9, &[&[count]])
    }

    /// Of a receiveq.
    pub(crate) fn publish_received(self) -> Self {
        self.with(10, &[])
    }

    /// Prepares for `count` frames.
    pub(crate) fn prepare(self, count: u8) -> Self {
        self.with(11, &[&[count]])
    }

    /// Offers a run of `count` frames, the first of `bytes` bytes and each longer than the one before it by `longer`.
    pub(crate) fn deliver_run(self, count: u8, bytes: u16, longer: u8) -> Self {
        self.with(12, &[&[count - 1, 0], &bytes.to_le_bytes(), &[longer, 3]])
    }
}
