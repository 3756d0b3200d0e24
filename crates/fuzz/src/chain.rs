//! Chains as the rules say, walked in the image: VIRTIO 1.2, section 2.7.5. Slow, and without a line of `vring`.

use helio_types::DropReason;
use helio_vring::{MAX_CHAIN_DESCRIPTORS, feature};

use crate::guest::Guest;

pub(crate) const NEXT: u16 = 1;
const WRITE: u16 = 2;
const INDIRECT: u16 = 4;

/// One descriptor.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Descriptor {
    pub(crate) addr: u64,
    pub(crate) bytes: u32,
    pub(crate) flags: u16,
    pub(crate) next: u16,
}

impl Descriptor {
    pub(crate) fn to_bytes(self) -> [u8; 16] {
        let mut out = [0; 16];
        out[..8].copy_from_slice(&self.addr.to_le_bytes());
        out[8..12].copy_from_slice(&self.bytes.to_le_bytes());
        out[12..14].copy_from_slice(&self.flags.to_le_bytes());
        out[14..].copy_from_slice(&self.next.to_le_bytes());
        out
    }

    fn from_bytes(bytes: [u8; 16]) -> Self {
        let [a, b, c, d] = [8, 10, 12, 14].map(|at| u16::from_le_bytes([bytes[at], bytes[at + 1]]));
        let addr = u64::from_le_bytes(bytes[..8].try_into().unwrap());
        Self { addr, bytes: u32::from(a) | u32::from(b) << 16, flags: c, next: d }
    }

    pub(crate) fn is_writable(self) -> bool {
        self.flags & WRITE != 0
    }
}

/// The table a walk is in.
struct Table {
    start: u64,
    count: u16,
    /// Descriptors that may still be read in it: more would be a loop.
    left: u16,
}

/// Passes the buffers of the chain at `head` to `visit`, in order. The error is the first rule broken, or that of `visit`.
pub(crate) fn walk(
    guest: &Guest,
    head: u16,
    mut visit: impl FnMut(Descriptor) -> Result<(), DropReason>,
) -> Result<(), DropReason> {
    let mut table = Table { start: guest.descriptors, count: guest.size, left: guest.size };
    let mut may_nest = guest.features & feature::INDIRECT_DESC != 0;
    let (mut index, mut buffers) = (head, 0);
    loop {
        if table.left == 0 || buffers == MAX_CHAIN_DESCRIPTORS {
            return Err(DropReason::ChainLoop);
        }
        if index >= table.count {
            return Err(DropReason::ChainIndex);
        }
        table.left -= 1;
        let descriptor = read(guest, table.start, index).ok_or(DropReason::ChainAddress)?;
        let next = (descriptor.flags & NEXT != 0).then_some(descriptor.next);
        if descriptor.flags & INDIRECT != 0 {
            if !may_nest || next.is_some() {
                return Err(DropReason::ChainIndirect);
            }
            may_nest = false;
            table = indirect(&descriptor).ok_or(DropReason::ChainIndirect)?;
            index = 0;
            continue;
        }
        buffers += 1;
        visit(descriptor)?;
        let Some(next) = next else { return Ok(()) };
        index = next;
    }
}

/// The only descriptor of the chain at `head`, if the chain has no other and no table.
pub(crate) fn alone(guest: &Guest, head: u16) -> Option<Descriptor> {
    let descriptor = (head < guest.size).then(|| read(guest, guest.descriptors, head))??;
    (descriptor.flags & (NEXT | INDIRECT) == 0).then_some(descriptor)
}

fn read(guest: &Guest, table: u64, index: u16) -> Option<Descriptor> {
    let addr = table.checked_add(16 * u64::from(index))?;
    guest.image.read_array(addr).map(Descriptor::from_bytes)
}

fn indirect(descriptor: &Descriptor) -> Option<Table> {
    let count = u16::try_from(descriptor.bytes / 16).ok()?;
    let whole = descriptor.bytes.is_multiple_of(16) && count > 0;
    whole.then_some(Table { start: descriptor.addr, count, left: count })
}
