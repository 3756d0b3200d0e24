//! Guest memory as a back-end maps it: by the files of a memory table, at addresses of its own.

use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicU16, AtomicU32, AtomicU64};

use rustix::mm::{MapFlags, ProtFlags};

struct Region {
    guest_addr: u64,
    size: u64,
    front_end_addr: u64,
    start: *mut u8,
}

/// The regions of one front-end.
#[derive(Default)]
pub(crate) struct Memory {
    regions: Vec<Region>,
}

// SAFETY: the pointers are to shared mappings of this value, which belong to no thread.
unsafe impl Send for Memory {}

impl Memory {
    pub(crate) fn clear(&mut self) {
        for region in self.regions.drain(..) {
            // SAFETY: made by `add`, and no reference into it is kept anywhere.
            unsafe {
                rustix::mm::munmap(region.start.cast(), usize::try_from(region.size).unwrap())
            }
            .unwrap();
        }
    }

    /// Takes the four numbers of a region description.
    pub(crate) fn add(&mut self, numbers: [u64; 4], file: &OwnedFd) {
        let [guest_addr, size, front_end_addr, offset] = numbers;
        let access = ProtFlags::READ | ProtFlags::WRITE;
        let len = usize::try_from(size).unwrap();
        // SAFETY: the kernel picks a free place.
        let start = unsafe {
            rustix::mm::mmap(std::ptr::null_mut(), len, access, MapFlags::SHARED, file, offset)
        };
        let start = start.unwrap().cast();
        self.regions.push(Region { guest_addr, size, front_end_addr, start });
    }

    pub(crate) fn remove(&mut self, guest_addr: u64) {
        let at = self.regions.iter().position(|r| r.guest_addr == guest_addr).unwrap();
        let mut gone = Self { regions: vec![self.regions.remove(at)] };
        gone.clear();
    }

    pub(crate) fn count(&self) -> usize {
        self.regions.len()
    }

    /// Where the field at `front_end_addr` lies here.
    fn field(&self, front_end_addr: u64, bytes: u64) -> *mut u8 {
        let holds = |r: &&Region| {
            r.front_end_addr <= front_end_addr
                && front_end_addr + bytes <= r.front_end_addr + r.size
        };
        let region = self.regions.iter().find(holds).expect("a ring lies in one region");
        region.start.wrapping_add(usize::try_from(front_end_addr - region.front_end_addr).unwrap())
    }

    pub(crate) fn u16_at(&self, front_end_addr: u64) -> &AtomicU16 {
        // SAFETY: `field` found it mapped, which it is while `self` lives; ring fields are aligned.
        unsafe { AtomicU16::from_ptr(self.field(front_end_addr, 2).cast()) }
    }

    pub(crate) fn u32_at(&self, front_end_addr: u64) -> &AtomicU32 {
        // SAFETY: as above.
        unsafe { AtomicU32::from_ptr(self.field(front_end_addr, 4).cast()) }
    }

    pub(crate) fn u64_at(&self, front_end_addr: u64) -> &AtomicU64 {
        // SAFETY: as above.
        unsafe { AtomicU64::from_ptr(self.field(front_end_addr, 8).cast()) }
    }

    /// The byte at a guest address.
    fn byte(&self, guest_addr: u64) -> *mut u8 {
        let holds = |r: &&Region| (r.guest_addr..r.guest_addr + r.size).contains(&guest_addr);
        let region = self.regions.iter().find(holds).expect("a buffer lies in guest memory");
        region.start.wrapping_add(usize::try_from(guest_addr - region.guest_addr).unwrap())
    }

    /// Byte by byte, so that regions may change under way.
    pub(crate) fn read(&self, guest_addr: u64, len: u64) -> Vec<u8> {
        // SAFETY: `byte` found it mapped; a byte has no alignment and no invalid value.
        (guest_addr..guest_addr + len).map(|at| unsafe { self.byte(at).read_volatile() }).collect()
    }

    pub(crate) fn write(&self, guest_addr: u64, bytes: &[u8]) {
        for (at, byte) in (guest_addr..).zip(bytes) {
            // SAFETY: as above.
            unsafe { self.byte(at).write_volatile(*byte) }
        }
    }
}

impl Drop for Memory {
    fn drop(&mut self) {
        self.clear();
    }
}
