//! Which memory regions were added, and how often. Pure, but for a look at whose file a descriptor is.
//!
//! QEMU takes each queue pair for a device of its own, and adds and removes every region once for each of them over the one
//! connection. For the back-end a region comes with its first ADD_MEM_REG and goes with its last REM_MEM_REG.

use std::os::fd::OwnedFd;

/// Most regions of one session: what GET_MAX_MEM_SLOTS answers. Enough for memory hotplug, and few enough that all ports
/// together stay below what the guard of `mem` watches.
pub(super) const MAX_REGIONS: usize = 64;

/// Padding before the region in ADD_MEM_REG and REM_MEM_REG, and the bytes of the region. vhost-user, "Single memory region
/// description".
const PADDING_BYTES: usize = 8;
const REGION_BYTES: usize = 32;

/// Guest address, size, front-end address and file offset, as they stand in messages.
type Region = [u8; REGION_BYTES];

/// Device and inode of a file.
type FileId = (u64, u64);

/// Whether a message changes anything for the back-end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Change {
    /// It does: hand it on.
    Real,
    /// The region is there already, or stays for another device: the message is done.
    Counted,
    /// There are [`MAX_REGIONS`] already.
    TooMany,
}

/// The regions of one session, with the number of times each was added.
#[derive(Debug, Default)]
pub(super) struct Regions {
    known: Vec<(Region, FileId, u32)>,
}

impl Regions {
    /// A table takes the place of all regions that were added.
    pub(super) fn replaced(&mut self) {
        self.known.clear();
    }

    /// A region is to be added.
    pub(super) fn added(&mut self, payload: &[u8], fds: &[OwnedFd]) -> Change {
        let (Some(region), [fd]) = (region_of(payload), fds) else { return Change::Real };
        let Some(file) = file_id(fd) else { return Change::Real };
        let same = |(known, its_file, _): &&mut (Region, FileId, u32)| {
            *known == region && *its_file == file
        };
        if let Some((_, _, times)) = self.known.iter_mut().find(same) {
            *times = times.saturating_add(1);
            return Change::Counted;
        }
        if self.known.len() >= MAX_REGIONS {
            return Change::TooMany;
        }
        self.known.push((region, file, 1));
        Change::Real
    }

    /// A region is to be removed.
    pub(super) fn removed(&mut self, payload: &[u8]) -> Change {
        let Some(region) = region_of(payload) else { return Change::Real };
        let Some(place) = self.known.iter().position(|(known, _, _)| *known == region) else {
            return Change::Real;
        };
        match self.known.get_mut(place) {
            Some((_, _, times)) if *times > 1 => {
                *times -= 1;
                Change::Counted
            }
            _ => {
                self.known.swap_remove(place);
                Change::Real
            }
        }
    }
}

/// Whether each region of a message is made of whole pages of its file. `vm-memory` could map another one on huge pages, but
/// never unmap it. What is not a list of regions is left to the back-end.
pub(super) fn are_whole_pages(payload: &[u8], fds: &[OwnedFd]) -> bool {
    let regions = payload.get(PADDING_BYTES..).unwrap_or_default().as_chunks::<REGION_BYTES>().0;
    regions.iter().zip(fds).all(|(region, fd)| {
        let number = |index: usize| {
            region.as_chunks().0.get(index).map_or(0, |bytes| u64::from_ne_bytes(*bytes))
        };
        let page_bytes = rustix::fs::fstatfs(fd).ok().and_then(huge_page_bytes).unwrap_or(1);
        [SIZE, OFFSET].into_iter().all(|field| number(field).is_multiple_of(page_bytes))
    })
}

/// Places of size and file offset in a region, as numbers of 64 bits.
const SIZE: usize = 1;
const OFFSET: usize = 3;

/// The size of the pages of a file on hugetlbfs.
fn huge_page_bytes(stat: rustix::fs::StatFs) -> Option<u64> {
    /// HUGETLBFS_MAGIC of linux/magic.h.
    const HUGETLBFS: i128 = 0x958_458f6;
    (i128::from(stat.f_type) == HUGETLBFS).then(|| u64::try_from(stat.f_bsize).unwrap_or(1).max(1))
}

fn region_of(payload: &[u8]) -> Option<Region> {
    let region = payload.get(PADDING_BYTES..)?;
    region.try_into().ok()
}

fn file_id(fd: &OwnedFd) -> Option<FileId> {
    let stat = rustix::fs::fstat(fd).ok()?;
    Some((stat.st_dev, stat.st_ino))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::File;

    fn payload(guest_addr: u64) -> Vec<u8> {
        [0, guest_addr, 0x1000, 0x7000, 0]
            .iter()
            .flat_map(|number: &u64| number.to_ne_bytes())
            .collect()
    }

    fn fd(file: &File) -> [OwnedFd; 1] {
        [file.try_clone().unwrap().into()]
    }

    #[test]
    fn a_region_that_two_devices_add_comes_once_and_goes_with_the_second_removal() {
        let (mut regions, file) = (Regions::default(), tempfile::tempfile().unwrap());
        assert_eq!(regions.added(&payload(0), &fd(&file)), Change::Real);
        assert_eq!(regions.added(&payload(0), &fd(&file)), Change::Counted);
        assert_eq!(regions.removed(&payload(0)), Change::Counted);
        assert_eq!(regions.removed(&payload(0)), Change::Real);
        assert_eq!(regions.removed(&payload(0)), Change::Real, "unknown: the back-end refuses it");
    }

    #[test]
    fn another_place_or_another_file_is_another_region() {
        let (mut regions, file) = (Regions::default(), tempfile::tempfile().unwrap());
        assert_eq!(regions.added(&payload(0), &fd(&file)), Change::Real);
        assert_eq!(regions.added(&payload(0x1000), &fd(&file)), Change::Real);
        assert_eq!(regions.added(&payload(0), &fd(&tempfile::tempfile().unwrap())), Change::Real);
    }

    #[test]
    fn after_a_table_nothing_counts_as_added() {
        let (mut regions, file) = (Regions::default(), tempfile::tempfile().unwrap());
        regions.added(&payload(0), &fd(&file));
        regions.replaced();
        assert_eq!(regions.added(&payload(0), &fd(&file)), Change::Real);
    }

    #[test]
    fn c062_the_regions_of_a_session_are_counted() {
        let (mut regions, file) = (Regions::default(), tempfile::tempfile().unwrap());
        for place in 0..MAX_REGIONS as u64 {
            assert_eq!(regions.added(&payload(place << 12), &fd(&file)), Change::Real);
        }
        assert_eq!(regions.added(&payload(1 << 40), &fd(&file)), Change::TooMany);
        assert_eq!(regions.removed(&payload(0)), Change::Real);
        assert_eq!(regions.added(&payload(1 << 40), &fd(&file)), Change::Real);
    }

    #[test]
    fn a_region_on_small_pages_may_have_any_length() {
        let mut odd = payload(0);
        odd.splice(16..24, 0xa_0001_u64.to_ne_bytes());
        assert!(are_whole_pages(&odd, &fd(&tempfile::tempfile().unwrap())));
    }

    #[test]
    fn a_region_on_huge_pages_must_be_whole_pages() {
        use rustix::fs::{MemfdFlags, memfd_create};
        // Making the file takes no huge page, so this runs on any kernel that knows them.
        let Ok(huge) = memfd_create("huge", MemfdFlags::HUGETLB | MemfdFlags::HUGE_2MB) else {
            return assert!(
                !std::path::Path::new("/sys/kernel/mm/hugepages/hugepages-2048kB").exists()
            );
        };
        let huge = [huge];
        let mut region = payload(0);
        assert!(!are_whole_pages(&region, &huge), "4096 bytes");
        region.splice(16..24, (2_u64 << 20).to_ne_bytes());
        assert!(are_whole_pages(&region, &huge), "2 MiB");
        region.splice(32..40, 4096_u64.to_ne_bytes());
        assert!(!are_whole_pages(&region, &huge), "2 MiB from an odd place");
    }

    #[test]
    fn what_is_no_region_is_left_to_the_back_end() {
        let mut regions = Regions::default();
        assert_eq!(regions.added(&[0; 39], &fd(&tempfile::tempfile().unwrap())), Change::Real);
        assert_eq!(regions.added(&payload(0), &[]), Change::Real);
        assert_eq!(regions.removed(&[]), Change::Real);
    }
}
