//! Walking a chain of descriptors. VIRTIO 1.2, sections 2.7.5.2 and 2.7.5.3.

use helio_mem::{GuestAddr, MemoryTable};
use helio_types::DropReason;

use crate::descriptor::{Descriptor, Descriptors};
use crate::layout::{DESCRIPTOR_BYTES, MAX_CHAIN_DESCRIPTORS};

/// Whether a chain may go on in an indirect table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Indirect {
    Negotiated,
    Refused,
}

/// Passes the buffers of the chain at `head` to `visit`, in order.
///
/// Takes at most as many steps in a table as it has descriptors, and never more than [`MAX_CHAIN_DESCRIPTORS`] in all: a
/// longer chain loops, or is one that a driver must not make. An indirect table may be longer than the ring, although the
/// specification forbids it: Linux makes such tables for small rings. Each descriptor is read once.
///
/// # Errors
///
/// The first rule broken, or what `visit` refused.
#[inline]
pub(crate) fn walk(
    descriptors: &Descriptors,
    size: u16,
    head: u16,
    indirect: Indirect,
    mut visit: impl FnMut(&Descriptor) -> Result<(), DropReason>,
) -> Result<(), DropReason> {
    let mut index = head;
    let limit = size.min(MAX_CHAIN_DESCRIPTORS);
    for step in 0..limit {
        let descriptor =
            Descriptor::load(descriptors.borrow(), index).ok_or(DropReason::ChainIndex)?;
        if descriptor.is_indirect() {
            if indirect == Indirect::Refused || descriptor.next().is_some() {
                return Err(DropReason::ChainIndirect);
            }
            return walk_indirect(
                descriptors.table(),
                &descriptor,
                MAX_CHAIN_DESCRIPTORS - step,
                visit,
            );
        }
        visit(&descriptor)?;
        match descriptor.next() {
            Some(next) => index = next,
            None => return Ok(()),
        }
    }
    Err(DropReason::ChainLoop)
}

/// The part of a chain that lies in an indirect table: at most `limit` steps. The table may lie across regions, and the
/// writable flag of the descriptor that names it means nothing. VIRTIO 1.2, section 2.7.5.3.2.
fn walk_indirect(
    memory: &MemoryTable,
    table: &Descriptor,
    limit: u16,
    mut visit: impl FnMut(&Descriptor) -> Result<(), DropReason>,
) -> Result<(), DropReason> {
    let entry_bytes = u32::try_from(DESCRIPTOR_BYTES).unwrap_or(u32::MAX);
    if !table.bytes.is_multiple_of(entry_bytes) {
        return Err(DropReason::ChainIndirect);
    }
    let count = match u16::try_from(table.bytes / entry_bytes) {
        // More descriptors than a `next` field can name.
        Err(_) | Ok(0) => return Err(DropReason::ChainIndirect),
        Ok(count) => count,
    };
    let mut index = 0;
    for _ in 0..count.min(limit) {
        if index >= count {
            return Err(DropReason::ChainIndex);
        }
        let addr = table.addr.0.checked_add(u64::from(index) * u64::from(entry_bytes));
        let descriptor = load(memory, addr.ok_or(DropReason::ChainAddress)?)?;
        if descriptor.is_indirect() {
            return Err(DropReason::ChainIndirect);
        }
        visit(&descriptor)?;
        match descriptor.next() {
            Some(next) => index = next,
            None => return Ok(()),
        }
    }
    Err(DropReason::ChainLoop)
}

/// Reads the descriptor at a guest address, once.
fn load(memory: &MemoryTable, addr: u64) -> Result<Descriptor, DropReason> {
    let mut bytes = [0; DESCRIPTOR_BYTES];
    let mut done = 0;
    memory
        .resolve(GuestAddr(addr), 16, |segment| {
            done += memory.read(segment, bytes.get_mut(done..).unwrap_or_default());
            true
        })
        .map_err(|_| DropReason::ChainAddress)?;
    Ok(Descriptor::from_bytes(bytes))
}
