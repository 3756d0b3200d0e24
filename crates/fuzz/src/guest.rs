//! A guest that does what the input says: its memory, one ring in it, and every word of both.
//!
//! The guest writes to real memory and to the image alike. The device writes to real memory only, and the target writes to
//! the image what the device should have written: then the two must agree to the byte.

use std::os::fd::OwnedFd;
use std::sync::{Arc, LazyLock};

use helio_frame::PortFault;
use helio_mem::{GuestAddr, MemoryTable};
use helio_vring::{Call, MAX_RING_SIZE, NetHeaderSize, RingSetup, feature};
use rustix::event::{EventfdFlags, eventfd};
use vm_memory::{Bytes, GuestAddress, GuestMemoryMmap};

use crate::chain::{Descriptor, NEXT};
use crate::image::Image;
use crate::input::Input;

/// Operations of one input: what comes after them is not read, so that no input takes long.
pub(crate) const MAX_OPERATIONS: usize = 256;

/// Descriptors read for one input, for the same reason.
pub(crate) const MAX_WORK: u32 = 30_000;

/// First address of the region that the rings usually lie in.
const START: u64 = 0x1_0000;
const START_BYTES: usize = 0x8000;
/// Where the rings of the largest size lie, and indirect tables behind them, unless the input says otherwise.
const AVAIL: u64 = START + 0x2000;
const USED: u64 = START + 0x2800;
const TABLES: u64 = START + 0x4000;
const LARGEST: u16 = 512;
/// One larger size, whose rings lie in a region of their own: more chains than a turn may read.
const LARGE: u16 = 8192;
const LARGE_RINGS: u64 = 0x10_0000;
const LARGE_BYTES: usize = 0x4_0000;
/// A second region right behind the first, or a page away from it.
const SEAM: u64 = START + 0x8000;
/// A third region near the end of what 64 bits can say.
const LAST: u64 = u64::MAX - 0x1fff;

/// The features that the input chooses from.
const FEATURES: [u64; 8] = [
    feature::VERSION_1,
    feature::MRG_RXBUF,
    feature::INDIRECT_DESC,
    feature::EVENT_IDX,
    // CSUM, HOST_TSO4, HOST_TSO6 and HOST_ECN. VIRTIO 1.2, section 5.1.3.
    1,
    1 << 11,
    1 << 12,
    1 << 13,
];

/// Takes all calls. When it is full it takes no more, which is no error either.
static CALL: LazyLock<Arc<OwnedFd>> =
    LazyLock::new(|| Arc::new(eventfd(0, EventfdFlags::NONBLOCK | EventfdFlags::CLOEXEC).unwrap()));

/// One ring, and the memory that its guest shares.
#[derive(Debug)]
pub(crate) struct Guest {
    pub(crate) image: Image,
    pub(crate) table: Arc<MemoryTable>,
    pub(crate) size: u16,
    pub(crate) features: u64,
    pub(crate) descriptors: u64,
    avail: u64,
    used: u64,
    /// The avail index, as the guest last wrote it.
    index: u16,
}

impl Guest {
    /// The guest that the input describes.
    pub(crate) fn new(input: &mut Input<'_>) -> Self {
        let (size, features, layout) = (ring_size(input.u8()), input.u8(), input.u8());
        let index = input.u16();
        let mut ranges = vec![(START, START_BYTES)];
        if layout % 4 > 0 {
            let gap = if layout & 4 == 0 { 0 } else { 0x1000 };
            ranges.push((SEAM + gap, 0x2000));
        }
        if layout % 4 > 1 {
            ranges.push((LAST, 0x1000));
        }
        let [descriptors, avail, used] = if size == LARGE {
            ranges.push((LARGE_RINGS, LARGE_BYTES));
            [LARGE_RINGS, LARGE_RINGS + 0x2_0000, LARGE_RINGS + 0x2_8000]
        } else if layout & 8 == 0 {
            [START, AVAIL, USED]
        } else {
            [(); 3].map(|()| START + u64::from(input.u16()))
        };
        ranges.sort_unstable();
        let bits = FEATURES.iter().enumerate().filter(|(bit, _)| features >> bit & 1 == 1);
        let mut guest = Self {
            table: memory(&ranges),
            image: Image::new(&ranges),
            size,
            features: bits.fold(0, |all, (_, feature)| all | feature),
            descriptors,
            avail,
            used,
            index,
        };
        guest.write(guest.used + 2, &index.to_le_bytes());
        guest.set_avail_index(index);
        guest
    }

    /// Starts a queue, which must succeed exactly when the ring keeps the rules. Returns it with the index it starts at.
    pub(crate) fn start<Q>(
        &mut self,
        start: impl FnOnce(RingSetup, &Arc<MemoryTable>) -> Result<Q, PortFault>,
    ) -> Option<(Q, u16)> {
        let setup = RingSetup {
            size: self.size,
            descriptors: GuestAddr(self.descriptors),
            avail: GuestAddr(self.avail),
            used: GuestAddr(self.used),
            features: self.features,
            call: Call(Some(Arc::clone(&CALL))),
        };
        let started = start(setup, &self.table);
        assert_eq!(started.as_ref().err().copied(), self.fault_at_start());
        let queue = started.ok()?;
        let index = self.image.u16(self.used + 2);
        self.expect_kicks_refused(index);
        self.assert_memory();
        Some((queue, index))
    }

    /// VIRTIO 1.2, section 2.7.
    fn fault_at_start(&self) -> Option<PortFault> {
        if !self.size.is_power_of_two() || self.size > MAX_RING_SIZE {
            return Some(PortFault::RingSize);
        }
        let size = u32::from(self.size);
        let parts = [
            (self.descriptors, 16 * size, 16),
            (self.avail, 6 + 2 * size, 2),
            (self.used, 6 + 8 * size, 4),
        ];
        let lies_well = |&(addr, bytes, align): &(u64, u32, u64)| {
            addr.is_multiple_of(align)
                && self.image.holds(addr, bytes)
                && self.image.count_pieces(addr, bytes) == 1
        };
        (!parts.iter().all(lies_well)).then_some(PortFault::RingAddress)
    }

    pub(crate) fn header_bytes(&self) -> usize {
        NetHeaderSize::of(self.features).bytes()
    }

    /// Does what the input says next, if `operation` is one of the guest's.
    pub(crate) fn act(&mut self, operation: u8, input: &mut Input<'_>) {
        match operation {
            0 => {
                let index = u64::from(input.u16() % LARGEST);
                let descriptor = descriptor(input);
                self.write(self.descriptors + 16 * index, &descriptor.to_bytes());
            }
            1 => {
                let addr = TABLES + 16 * u64::from(input.u8());
                let descriptor = descriptor(input);
                self.write(addr, &descriptor.to_bytes());
            }
            2 => self.link(input),
            3 => {
                let addr = START + u64::from(input.u16());
                let count = usize::from(input.u8());
                self.write(addr, input.bytes(count));
            }
            4 => self.offer(input.u16()),
            5 => {
                let (count, head, step) = (input.u8(), input.u16(), input.u8());
                for at in 0..u16::from(count) {
                    self.offer(head.wrapping_add(at.wrapping_mul(u16::from(step))));
                }
            }
            _ => self.set_avail_index(input.u16()),
        }
    }

    /// Number of operations of [`Guest::act`].
    pub(crate) const OPERATIONS: u8 = 7;

    /// Writes descriptors that are linked in a row, all with the buffer of one, in the ring or in memory.
    fn link(&mut self, input: &mut Input<'_>) {
        let (first, count) = (input.u16() % LARGEST, input.u16() % 1100);
        let table = if input.u8().is_multiple_of(2) { self.descriptors } else { TABLES };
        let pattern = descriptor(input);
        for at in 0..count {
            let is_last = at + 1 == count;
            let flags = if is_last { pattern.flags } else { pattern.flags | NEXT };
            let next = if is_last { pattern.next } else { first + at + 1 };
            let descriptor = Descriptor { flags, next, ..pattern };
            self.write(table + 16 * u64::from(first + at), &descriptor.to_bytes());
        }
    }

    fn offer(&mut self, head: u16) {
        let slot = self.index % self.size;
        self.write(self.avail + 4 + 2 * u64::from(slot), &head.to_le_bytes());
        self.set_avail_index(self.index.wrapping_add(1));
    }

    fn set_avail_index(&mut self, index: u16) {
        self.index = index;
        self.write(self.avail + 2, &index.to_le_bytes());
    }

    /// Writes as a guest does: in memory and in the image, or not at all where there is no memory.
    fn write(&mut self, addr: u64, data: &[u8]) {
        if self.image.write(addr, data) {
            self.table.mappings().write_slice(data, GuestAddress(addr)).unwrap();
        }
    }

    /// Chains on offer to a queue that takes `next` next and has made the used index `published` visible.
    pub(crate) fn available(&self, next: u16, published: u16) -> Result<u16, PortFault> {
        let offered = self.image.u16(self.avail + 2).wrapping_sub(next);
        let all = u32::from(offered) + u32::from(next.wrapping_sub(published));
        if all > u32::from(self.size) { Err(PortFault::AvailIndex) } else { Ok(offered) }
    }

    /// The head that stands at `slot` of the avail ring.
    pub(crate) fn head(&self, slot: u16) -> u16 {
        self.image.u16(self.avail + 4 + 2 * u64::from(slot % self.size))
    }

    /// The device must write a used entry.
    pub(crate) fn expect_used(&mut self, slot: u16, head: u16, written: u32) {
        let [a, b] = head.to_le_bytes();
        let [c, d, e, f] = written.to_le_bytes();
        let addr = self.used + 4 + 8 * u64::from(slot % self.size);
        assert!(self.image.write(addr, &[a, b, 0, 0, c, d, e, f]));
    }

    /// The device must publish `index`.
    pub(crate) fn expect_used_index(&mut self, index: u16) {
        assert!(self.image.write(self.used + 2, &index.to_le_bytes()));
    }

    /// The device must ask for a kick at the chain after `next`. VIRTIO 1.2, section 2.7.10.
    pub(crate) fn expect_kicks_asked(&mut self, next: u16) {
        let (addr, value) =
            if self.has_event_index() { (self.event(), next) } else { (self.used, 0) };
        assert!(self.image.write(addr, &value.to_le_bytes()));
    }

    /// The device must ask for no kick before the index comes round to `next` again.
    pub(crate) fn expect_kicks_refused(&mut self, next: u16) {
        let flags = u16::from(!self.has_event_index());
        assert!(self.image.write(self.used, &flags.to_le_bytes()));
        if self.has_event_index() {
            let passed = next.wrapping_sub(1);
            assert!(self.image.write(self.event(), &passed.to_le_bytes()));
        }
    }

    fn has_event_index(&self) -> bool {
        self.features & feature::EVENT_IDX != 0
    }

    fn event(&self) -> u64 {
        self.used + 4 + 8 * u64::from(self.size)
    }

    /// Memory is as the image says: the device has written what it should, and nothing beside it.
    pub(crate) fn assert_memory(&self) {
        for (start, expected) in self.image.regions() {
            let mut bytes = vec![0; expected.len()];
            self.table.mappings().read_slice(&mut bytes, GuestAddress(start)).unwrap();
            if bytes != expected {
                let at = bytes.iter().zip(expected).position(|(is, should)| is != should).unwrap();
                let (is, should) = (bytes[at], expected[at]);
                panic!("{start:#x}+{at:#x} holds {is:#04x} and should hold {should:#04x}");
            }
        }
    }
}

fn memory(ranges: &[(u64, usize)]) -> Arc<MemoryTable> {
    let ranges: Vec<_> =
        ranges.iter().map(|&(start, bytes)| (GuestAddress(start), bytes)).collect();
    let map = GuestMemoryMmap::<()>::from_ranges(&ranges).unwrap();
    Arc::new(MemoryTable::new(Arc::new(map)).unwrap())
}

/// Any small size, a power of two, or the large one.
fn ring_size(byte: u8) -> u16 {
    match byte {
        0x7f => LARGE,
        0..0x7f => 1 << (byte % 10),
        _ => u16::from(byte & 0x7f),
    }
}

/// A descriptor whose first byte says in which form its address and its length follow.
fn descriptor(input: &mut Input<'_>) -> Descriptor {
    let form = input.u8();
    let addr = match form % 4 {
        0 => START + u64::from(input.u16()),
        1 => TABLES + 16 * u64::from(input.u8()),
        2 => LAST.wrapping_add(u64::from(input.u16())),
        _ => input.u64(),
    };
    let bytes = match form >> 2 & 3 {
        0 => u32::from(input.u8()),
        1 => 16 * u32::from(input.u8()),
        2 => u32::from(input.u16()),
        _ => input.u32(),
    };
    // The low bits have a meaning; all others are to be ignored.
    let flags = u16::from(input.u8());
    Descriptor { addr, bytes, flags: flags & 7 | (flags & 0xf8) << 5, next: input.u16() }
}
