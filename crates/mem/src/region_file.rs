//! What the file behind a region says about its mapping.

use vm_memory::GuestMemoryRegion;

use crate::{GuestAddr, MemoryError};

/// File systems whose pages come from the memory or the disks of this host. Linux, include/uapi/linux/magic.h, and zfs.
const OF_THIS_HOST: [i128; 9] = [
    0x0102_1994, // tmpfs, and with it memfd and shm
    HUGETLBFS,
    0x8584_58f6, // ramfs
    0xef53,      // ext2 to ext4
    0x5846_5342, // xfs
    0x9123_683e, // btrfs
    0xf2f5_2010, // f2fs
    0x2fc1_2fc1, // zfs
    0xca45_1a4e, // bcachefs
];
const HUGETLBFS: i128 = 0x9584_58f6;

/// Whether nobody but this host gives the pages of a file on such a file system. For any other, a process or another host may have
/// to give them: who touches one waits for them. A front-end that makes a file system of its own (FUSE) could have a worker, and
/// all ports of that, wait for ever. overlayfs is none of them, as what lies under it may be such a file system.
///
/// A page of a file on a disk may have to be waited for too, as long as the disk takes. That is for the operator to choose:
/// libvirt keeps guest memory in files on a disk unless it is told otherwise.
fn is_of_this_host(kind: i128) -> bool {
    OF_THIS_HOST.contains(&kind)
}

fn kind(file: &std::fs::File) -> Result<(i128, rustix::fs::StatFs), MemoryError> {
    let files = rustix::fs::fstatfs(file).map_err(|e| MemoryError::Host(e.into()))?;
    Ok((i128::from(files.f_type), files))
}

/// Whether the file of `region` is memory that nobody need be waited for, and as long as the region needs.
pub(crate) fn check_file(region: &vm_memory::GuestRegionMmap) -> Result<(), MemoryError> {
    let Some(offset) = region.file_offset() else { return Ok(()) };
    let (kind, _) = kind(offset.file())?;
    if !is_of_this_host(kind) {
        return Err(MemoryError::ForeignFile { start: GuestAddr(region.start_addr().0), kind });
    }
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
    let bytes = usize::try_from(region.len()).unwrap_or(usize::MAX);
    let Some(offset) = region.file_offset() else { return Ok(bytes) };
    let (kind, files) = kind(offset.file())?;
    let page = usize::try_from(files.f_bsize).unwrap_or(1);
    let is_huge = kind == HUGETLBFS;
    Ok(if is_huge { bytes.checked_next_multiple_of(page).unwrap_or(bytes) } else { bytes })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::MemoryTable;
    use rustix::fs::{MemfdFlags, memfd_create};
    use std::fs::File;
    use std::os::fd::FromRawFd;
    use std::sync::Arc;
    use vm_memory::{FileOffset, GuestAddress, GuestMemoryMmap};

    /// A page of `file` as memory.
    fn table(file: File) -> Result<MemoryTable, MemoryError> {
        file.set_len(4096).unwrap();
        let place = FileOffset::new(file, 0);
        let ranges = [(GuestAddress(0x1000), 4096, Some(place))];
        MemoryTable::new(Arc::new(GuestMemoryMmap::from_ranges_with_files(ranges).unwrap()))
    }

    #[test]
    fn memory_is_taken_from_memory_files_and_from_tmpfs() {
        assert!(table(tempfile::tempfile_in("/dev/shm").unwrap()).is_ok());
        let file: File = memfd_create("memory", MemfdFlags::CLOEXEC).unwrap().into();
        assert!(table(file).is_ok());
    }

    #[test]
    fn a_file_of_another_process_or_host_is_no_memory() {
        // FUSE, NFS, SMB 1 and 2, 9P, Ceph, AFS, and overlayfs, which may lie over one of them.
        let others = [
            0x6573_5546,
            0x6969,
            0xff53_4d42,
            0xfe53_4d42,
            0x0102_1997,
            0x00c3_6400,
            0x5346_414f,
            0x794c_7630,
        ];
        for kind in others {
            assert!(!is_of_this_host(kind), "{kind:#x}");
        }
    }

    #[test]
    fn a_region_in_a_file_that_is_not_known_to_be_memory_is_refused_and_named() {
        // SAFETY: no pointers are passed.
        let secret = unsafe { libc::syscall(libc::SYS_memfd_secret, 0) };
        let Ok(secret @ 0..) = i32::try_from(secret) else {
            let refused = std::io::Error::last_os_error().raw_os_error();
            return assert_eq!(refused, Some(libc::ENOSYS), "the kernel knows such files");
        };
        // SAFETY: the call made the descriptor for us.
        let refused = table(unsafe { File::from_raw_fd(secret) }).unwrap_err();
        assert!(matches!(refused, MemoryError::ForeignFile { kind: 0x5345_434d, .. }), "{refused}");
        assert!(refused.to_string().contains("address 0x1000"), "{refused}");
    }
}
