//! What the file behind a region says about its mapping.

use vm_memory::GuestMemoryRegion;

use crate::{GuestAddr, MemoryError};

/// Whether the file of `region` is as long as the region needs.
pub(crate) fn check_file(region: &vm_memory::GuestRegionMmap) -> Result<(), MemoryError> {
    let Some(offset) = region.file_offset() else { return Ok(()) };
    let file_bytes = offset.file().metadata().map_err(MemoryError::Host)?.len();
    let needed_bytes = offset.start().saturating_add(region.len());
    if needed_bytes > file_bytes {
        return Err(MemoryError::FileTooShort {
            start: GuestAddr(region.start_addr().0),
            needed_bytes,
            file_bytes,
        });
    }
    Ok(())
}

/// Length of the mapping of `region` in bytes. The kernel maps whole huge pages of a file that has them, and cannot lay
/// anything over a part of one.
pub(crate) fn mapped_bytes(region: &vm_memory::GuestRegionMmap) -> Result<usize, MemoryError> {
    const HUGETLBFS: i64 = 0x9584_58f6;
    let bytes = usize::try_from(region.len()).unwrap_or(usize::MAX);
    let Some(offset) = region.file_offset() else { return Ok(bytes) };
    let files = rustix::fs::fstatfs(offset.file()).map_err(|e| MemoryError::Host(e.into()))?;
    let page = usize::try_from(files.f_bsize).unwrap_or(1);
    let is_huge = files.f_type == HUGETLBFS;
    Ok(if is_huge { bytes.checked_next_multiple_of(page).unwrap_or(bytes) } else { bytes })
}
