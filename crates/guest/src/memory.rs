//! The memory of the guest: regions backed by files of their own, at guest addresses of our choice.
//!
//! Made once, before the guest starts; shared by all its parts. All regions lie in one reservation of our address
//! space, at their distance in guest addresses: regions that touch there touch here too, so that a buffer can
//! lie across two files. What lies between regions is not accessible, and no [`Window`] can be made of it.

use std::num::NonZeroUsize;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::ptr::NonNull;
use std::sync::{Arc, Mutex, PoisonError};

use rustix::fs::{MemfdFlags, SealFlags};
use rustix::mm::{MapFlags, ProtFlags};

use crate::error::GuestError;
use crate::message::MemoryRegion;
use crate::window::Window;

/// What region sizes, addresses and file offsets are multiples of.
pub const PAGE_BYTES: u64 = 4096;

/// Widest distance from the first guest address to the last: what we dare to reserve of our address space.
const MAX_SPAN_BYTES: u64 = 1 << 40;

/// Whether the file of a region can change its size later.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Sealing {
    /// It cannot, and everybody can check that: how QEMU makes its memory.
    #[default]
    Sealed,
    /// It can; [`GuestMemory::truncate`] works.
    Open,
}

/// What memory is made of.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Pages {
    /// The pages of the processor.
    #[default]
    Usual,
    /// Pages of 2 MiB out of the pool of the host: what guests that are fast have.
    Huge,
}

impl Pages {
    /// Their size.
    #[must_use]
    pub fn bytes(self) -> u64 {
        match self {
            Self::Usual => PAGE_BYTES,
            Self::Huge => 2 << 20,
        }
    }
}

/// One region to be made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RegionPlan {
    /// First guest address; a multiple of [`PAGE_BYTES`].
    pub guest_addr: u64,
    /// Length in bytes; a multiple of [`PAGE_BYTES`].
    pub size_bytes: u64,
    /// Where in its file it begins; a multiple of [`PAGE_BYTES`].
    pub file_offset: u64,
    /// Whether its file can shrink.
    pub sealing: Sealing,
}

/// Where the memory of a guest lies.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum MemoryLayout {
    /// One sealed region at guest address 0, as large as the rings and buffers need.
    #[default]
    Fitting,
    /// One region of that kind.
    FittingWith(Sealing),
    /// These regions.
    Regions(Vec<RegionPlan>),
}

impl MemoryLayout {
    /// `count` regions of `size_bytes` each, every one with a file of its own, without gaps between them.
    #[must_use]
    pub fn adjacent(count: u64, size_bytes: u64) -> Self {
        let plan = |number| RegionPlan {
            guest_addr: number * size_bytes,
            size_bytes,
            file_offset: 0,
            sealing: Sealing::Sealed,
        };
        Self::Regions((0..count).map(plan).collect())
    }

    /// The regions for a guest that needs `needed_bytes`.
    pub(crate) fn plans(&self, needed_bytes: u64) -> Vec<RegionPlan> {
        let sealing = match self {
            Self::Regions(plans) => return plans.clone(),
            Self::Fitting => Sealing::Sealed,
            Self::FittingWith(sealing) => *sealing,
        };
        let size_bytes = needed_bytes.next_multiple_of(PAGE_BYTES);
        vec![RegionPlan { guest_addr: 0, size_bytes, file_offset: 0, sealing }]
    }
}

/// One region that is there.
#[derive(Debug)]
struct Region {
    plan: RegionPlan,
    file: OwnedFd,
}

impl Region {
    fn end(&self) -> u64 {
        self.plan.guest_addr + self.plan.size_bytes
    }
}

/// All memory of one guest, mapped here until the last user drops it.
#[derive(Debug)]
pub struct GuestMemory {
    /// Our address of the guest address `lowest`.
    base: NonNull<u8>,
    span_bytes: usize,
    lowest: u64,
    /// By guest address, ascending; at least one.
    regions: Vec<Region>,
    /// Guest address from which on nothing was allocated yet.
    unallocated_from: Mutex<u64>,
}

// SAFETY: `base` is only the address of a mapping that lasts as long as the value; it belongs to no thread.
unsafe impl Send for GuestMemory {}
// SAFETY: as above; what changes behind `&self` is the mutex and shared bytes, reached through `Window` only.
unsafe impl Sync for GuestMemory {}

impl GuestMemory {
    /// Makes and maps the regions.
    ///
    /// # Errors
    ///
    /// [`GuestError::MemoryLayout`] when the plans are empty, overlap or are not in pages;
    /// [`GuestError::Host`] when the host refuses.
    pub fn new(plans: &[RegionPlan]) -> Result<Arc<Self>, GuestError> {
        Self::in_pages(plans, Pages::Usual)
    }

    /// Makes one sealed region of at least `needed_bytes` in pages of this kind.
    ///
    /// # Errors
    ///
    /// As [`GuestMemory::new`]; the host refuses huge pages when its pool is empty.
    pub fn fitting(needed_bytes: u64, pages: Pages) -> Result<Arc<Self>, GuestError> {
        let size_bytes = needed_bytes.next_multiple_of(pages.bytes());
        let sealing = Sealing::Sealed;
        Self::in_pages(&[RegionPlan { guest_addr: 0, size_bytes, file_offset: 0, sealing }], pages)
    }

    fn in_pages(plans: &[RegionPlan], pages: Pages) -> Result<Arc<Self>, GuestError> {
        let (lowest, span_bytes) = check_plans(plans)?;
        let base = reserve(span_bytes, pages)?;
        let mut memory = Self {
            base,
            span_bytes,
            lowest,
            regions: Vec::with_capacity(plans.len()),
            unallocated_from: Mutex::new(lowest),
        };
        for plan in plans {
            let file = make_file(plan, pages)?;
            memory.map_file(plan, file.as_fd()).map_err(|error| name_pool(error, pages))?;
            memory.regions.push(Region { plan: *plan, file });
        }
        memory.regions.sort_by_key(|region| region.plan.guest_addr);
        Ok(Arc::new(memory))
    }

    /// The range of `len` bytes at `guest_addr`; it may lie across regions that touch. `None` when a part of it
    /// lies in no region.
    #[must_use]
    pub fn window(self: &Arc<Self>, guest_addr: u64, len: u64) -> Option<Window> {
        let end = guest_addr.checked_add(len)?;
        if end > self.end_of_run(guest_addr)? {
            return None;
        }
        let offset = usize::try_from(guest_addr - self.lowest).ok()?;
        // SAFETY: the range lies in a region, so `offset` is below the span of the reservation.
        let start = unsafe { self.base.add(offset) };
        Some(Window::new(start, usize::try_from(len).ok()?, guest_addr, Arc::clone(self)))
    }

    /// A range of `len` bytes that nobody else was given, aligned to `align` (a power of two).
    ///
    /// # Errors
    ///
    /// [`GuestError::MemoryExhausted`] when no region, and no row of regions that touch, has that much left.
    pub fn allocate(self: &Arc<Self>, len: u64, align: u64) -> Result<Window, GuestError> {
        let mut from = self.unallocated_from.lock().unwrap_or_else(PoisonError::into_inner);
        let starts = self.regions.iter().map(|region| region.plan.guest_addr.max(*from));
        for start in starts {
            let start = start.next_multiple_of(align);
            if let Some(window) = self.window(start, len) {
                *from = start + len;
                return Ok(window);
            }
        }
        Err(GuestError::MemoryExhausted { wanted_bytes: len })
    }

    /// The regions as a memory table tells them: true, and free to be changed into lies before they are sent.
    #[must_use]
    pub fn table(&self) -> Vec<MemoryRegion> {
        let base = self.base.as_ptr().addr() as u64;
        let entry = |region: &Region| MemoryRegion {
            guest_addr: region.plan.guest_addr,
            size_bytes: region.plan.size_bytes,
            front_end_addr: base + (region.plan.guest_addr - self.lowest),
            file_offset: region.plan.file_offset,
        };
        self.regions.iter().map(entry).collect()
    }

    /// The file of each region, in the order of [`GuestMemory::table`].
    #[must_use]
    pub fn files(&self) -> Vec<BorrowedFd<'_>> {
        self.regions.iter().map(|region| region.file.as_fd()).collect()
    }

    /// Shortens the file of region `number` so that only `keep_bytes` of the region are left, as a hostile VM
    /// does it. The back-end then faults on the rest; we do not, because our own mapping of the rest is replaced
    /// by private zeroes first.
    ///
    /// # Errors
    ///
    /// [`GuestError::MemoryLayout`] when there is no such region, [`GuestError::Host`] when its file is sealed.
    pub fn truncate(&self, number: usize, keep_bytes: u64) -> Result<(), GuestError> {
        let no_region = GuestError::MemoryLayout("there is no region of this number");
        let region = self.regions.get(number).ok_or(no_region)?;
        let keep = keep_bytes.next_multiple_of(PAGE_BYTES).min(region.plan.size_bytes);
        let sealed = rustix::fs::fcntl_get_seals(&region.file)
            .map_err(GuestError::host("ask for the seals of guest memory"))?;
        if sealed.contains(SealFlags::SHRINK) {
            return Err(GuestError::host("shrink sealed guest memory")(rustix::io::Errno::PERM));
        }
        self.detach(region.plan.guest_addr + keep, region.plan.size_bytes - keep)?;
        rustix::fs::ftruncate(&region.file, region.plan.file_offset + keep_bytes)
            .map_err(GuestError::host("shrink guest memory"))
    }

    /// The first address after `guest_addr` that lies in no region, or `None` when it lies in none itself.
    fn end_of_run(&self, guest_addr: u64) -> Option<u64> {
        let holds = |region: &Region| (region.plan.guest_addr..region.end()).contains(&guest_addr);
        let first = self.regions.iter().position(holds)?;
        let mut end = self.regions.get(first)?.end();
        for region in self.regions.iter().skip(first + 1) {
            if region.plan.guest_addr != end {
                break;
            }
            end = region.end();
        }
        Some(end)
    }

    /// Puts the file of `plan` at its place in the reservation.
    fn map_file(&self, plan: &RegionPlan, file: BorrowedFd<'_>) -> Result<(), GuestError> {
        let (place, len) = self.place(plan.guest_addr, plan.size_bytes)?;
        // SAFETY: `place` and `len` lie in the reservation, which nobody else uses; plans do not overlap, so
        // nothing that is in use is replaced.
        let mapped = unsafe {
            rustix::mm::mmap(
                place.cast(),
                len,
                ProtFlags::READ | ProtFlags::WRITE,
                MapFlags::SHARED | MapFlags::FIXED,
                file,
                plan.file_offset,
            )
        };
        mapped.map(drop).map_err(GuestError::host("map guest memory"))
    }

    /// Replaces our mapping of `len` bytes at `guest_addr` by private zeroes.
    fn detach(&self, guest_addr: u64, len: u64) -> Result<(), GuestError> {
        if len == 0 {
            return Ok(());
        }
        let (place, len) = self.place(guest_addr, len)?;
        // SAFETY: `place` and `len` lie in the reservation. Windows go on to be valid for reads and writes:
        // the new pages take the place of the old ones at once, and only their content changes.
        let mapped = unsafe {
            rustix::mm::mmap_anonymous(
                place.cast(),
                len,
                ProtFlags::READ | ProtFlags::WRITE,
                MapFlags::PRIVATE | MapFlags::FIXED,
            )
        };
        mapped.map(drop).map_err(GuestError::host("replace guest memory"))
    }

    /// Our address of a range that lies in the span, regions or not.
    fn place(&self, guest_addr: u64, len: u64) -> Result<(*mut u8, usize), GuestError> {
        let outside = || GuestError::MemoryLayout("a range lies outside of the reservation");
        let offset = guest_addr.checked_sub(self.lowest).ok_or_else(outside)?;
        let offset = usize::try_from(offset).map_err(|_| outside())?;
        let len = usize::try_from(len).map_err(|_| outside())?;
        let end = offset.checked_add(len).ok_or_else(outside)?;
        if end > self.span_bytes {
            return Err(outside());
        }
        Ok((self.base.as_ptr().wrapping_add(offset), len))
    }
}

impl Drop for GuestMemory {
    fn drop(&mut self) {
        // SAFETY: the range is the reservation made in `new`; every `Window` holds the value, so there is none.
        let unmapped = unsafe { rustix::mm::munmap(self.base.as_ptr().cast(), self.span_bytes) };
        debug_assert!(
            unmapped.is_ok(),
            "a reservation of our own cannot be unmapped: {unmapped:?}"
        );
    }
}

/// The lowest guest address and the distance in bytes to the end of the highest region.
fn check_plans(plans: &[RegionPlan]) -> Result<(u64, usize), GuestError> {
    let mut sorted: Vec<&RegionPlan> = plans.iter().collect();
    sorted.sort_by_key(|plan| plan.guest_addr);
    let lowest = sorted.first().ok_or(GuestError::MemoryLayout("there is no region"))?.guest_addr;
    let mut end = lowest;
    for plan in sorted {
        let numbers = [plan.guest_addr, plan.size_bytes, plan.file_offset];
        if plan.size_bytes == 0 || numbers.iter().any(|number| number % PAGE_BYTES != 0) {
            return Err(GuestError::MemoryLayout("a region is not made of whole pages"));
        }
        if plan.guest_addr < end {
            return Err(GuestError::MemoryLayout("two regions overlap"));
        }
        end = plan.guest_addr.saturating_add(plan.size_bytes);
    }
    match usize::try_from(end - lowest) {
        Ok(span) if end - lowest <= MAX_SPAN_BYTES => Ok((lowest, span)),
        _ => Err(GuestError::MemoryLayout("the regions lie too far apart")),
    }
}

/// Takes `span_bytes` of address space where nothing can be read or written yet, aligned to `pages`.
fn reserve(span_bytes: usize, pages: Pages) -> Result<NonNull<u8>, GuestError> {
    let no_bytes = || GuestError::MemoryLayout("no bytes");
    let align = usize::try_from(pages.bytes()).map_err(|_| no_bytes())?;
    let span = NonZeroUsize::new(span_bytes).ok_or_else(no_bytes)?;
    let spare = align - usize::try_from(PAGE_BYTES).map_err(|_| no_bytes())?;
    // SAFETY: without a wish for an address the kernel picks one that is free, so nothing is replaced.
    let mapped = unsafe {
        rustix::mm::mmap_anonymous(
            std::ptr::null_mut(),
            span.get() + spare,
            ProtFlags::empty(),
            MapFlags::PRIVATE | MapFlags::NORESERVE,
        )
    };
    let start: *mut u8 = mapped.map_err(GuestError::host("reserve address space"))?.cast();
    let before = start.addr().next_multiple_of(align) - start.addr();
    let aligned = start.wrapping_add(before);
    give_back(start, before)?;
    give_back(aligned.wrapping_add(span.get()), spare - before)?;
    NonNull::new(aligned).ok_or(GuestError::MemoryLayout("mapped at address 0"))
}

/// Unmaps a part of a reservation that is not needed.
fn give_back(start: *mut u8, len: usize) -> Result<(), GuestError> {
    if len == 0 {
        return Ok(());
    }
    // SAFETY: the range lies in the reservation just made, outside of what is kept of it; nobody knows it yet.
    let unmapped = unsafe { rustix::mm::munmap(start.cast(), len) };
    unmapped.map_err(GuestError::host("give address space back"))
}

/// A file in memory with the size and the seals of `plan`.
fn make_file(plan: &RegionPlan, pages: Pages) -> Result<OwnedFd, GuestError> {
    let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING | page_flags(pages);
    let file = rustix::fs::memfd_create("guest-memory", flags)
        .map_err(GuestError::host("make guest memory"))?;
    rustix::fs::ftruncate(&file, plan.file_offset + plan.size_bytes)
        .map_err(GuestError::host("size guest memory"))?;
    if plan.sealing == Sealing::Sealed {
        let seals = SealFlags::SHRINK | SealFlags::GROW | SealFlags::SEAL;
        rustix::fs::fcntl_add_seals(&file, seals).map_err(GuestError::host("seal guest memory"))?;
    }
    Ok(file)
}

/// Of huge pages there are as many as somebody set aside.
fn name_pool(error: GuestError, pages: Pages) -> GuestError {
    let what =
        "map guest memory in pages of 2 MiB, of which /proc/sys/vm/nr_hugepages sets some aside";
    match (pages, error) {
        (Pages::Huge, GuestError::Host { cause, .. }) => GuestError::Host { what, cause },
        (_, error) => error,
    }
}

fn page_flags(pages: Pages) -> MemfdFlags {
    match pages {
        Pages::Usual => MemfdFlags::empty(),
        Pages::Huge => MemfdFlags::HUGETLB | MemfdFlags::HUGE_2MB,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn open(guest_addr: u64, pages: u64) -> RegionPlan {
        let size_bytes = pages * PAGE_BYTES;
        RegionPlan { guest_addr, size_bytes, file_offset: 0, sealing: Sealing::Open }
    }

    #[test]
    fn a_window_lies_across_two_regions_that_touch() {
        let memory = GuestMemory::new(&[open(0, 1), open(PAGE_BYTES, 1)]).unwrap();
        let window = memory.window(PAGE_BYTES - 3, 6).unwrap();
        window.write(0, b"abcdef");
        let mut second = [0; 3];
        rustix::io::pread(memory.files()[1], &mut second[..], 0).unwrap();
        assert_eq!(&second, b"def");
    }

    #[test]
    fn a_window_ends_with_the_last_byte_and_not_one_later() {
        let memory = GuestMemory::new(&[open(0, 1), open(4 * PAGE_BYTES, 1)]).unwrap();
        assert!(memory.window(PAGE_BYTES - 4, 4).is_some());
        assert!(memory.window(PAGE_BYTES - 4, 5).is_none(), "the next page is in no region");
        assert!(memory.window(PAGE_BYTES, 1).is_none());
        assert!(memory.window(u64::MAX, 2).is_none());
    }

    #[test]
    fn who_lacks_huge_pages_is_told_where_they_come_from() {
        // Half a tebibyte: no host that runs tests sets as much aside.
        let refused = GuestMemory::fitting(1 << 39, Pages::Huge).unwrap_err().to_string();
        assert!(refused.contains("nr_hugepages"), "{refused}");
    }

    #[test]
    fn what_is_allocated_is_given_once_and_then_it_ends() {
        let memory = GuestMemory::new(&[open(0, 1), open(2 * PAGE_BYTES, 1)]).unwrap();
        assert_eq!(memory.allocate(3000, 16).unwrap().guest_addr(), 0);
        assert_eq!(memory.allocate(3000, 16).unwrap().guest_addr(), 2 * PAGE_BYTES);
        assert!(memory.allocate(3000, 16).is_err());
    }

    #[test]
    fn plans_that_overlap_or_are_no_pages_are_refused() {
        assert!(GuestMemory::new(&[open(0, 2), open(PAGE_BYTES, 1)]).is_err());
        assert!(GuestMemory::new(&[open(100, 1)]).is_err());
        assert!(GuestMemory::new(&[]).is_err());
        assert!(GuestMemory::new(&[open(0, 1), open(1 << 50, 1)]).is_err());
    }

    #[test]
    fn after_a_truncation_the_file_is_short_and_we_still_live() {
        let memory = GuestMemory::new(&[open(0, 3)]).unwrap();
        let window = memory.window(0, 3 * PAGE_BYTES).unwrap();
        window.fill(7);
        memory.truncate(0, PAGE_BYTES).unwrap();
        assert_eq!(rustix::fs::fstat(memory.files()[0]).unwrap().st_size, 4096);
        let mut bytes = [1; 8192];
        window.read(4096, &mut bytes);
        assert_eq!(bytes, [0; 8192]);
        window.read(0, &mut bytes[..4096]);
        assert_eq!(bytes[..4096], [7; 4096]);
    }

    #[test]
    fn a_sealed_region_cannot_be_truncated() {
        let sealed = RegionPlan { sealing: Sealing::Sealed, ..open(0, 1) };
        let memory = GuestMemory::new(&[sealed]).unwrap();
        assert!(memory.truncate(0, 0).is_err());
    }

    #[test]
    fn the_table_tells_where_each_region_lies_here() {
        let memory = GuestMemory::new(&[open(PAGE_BYTES, 1), open(9 * PAGE_BYTES, 2)]).unwrap();
        let table = memory.table();
        assert_eq!(table[1].front_end_addr - table[0].front_end_addr, 8 * PAGE_BYTES);
        assert_eq!(
            memory.window(9 * PAGE_BYTES, 1).unwrap().front_end_addr(),
            table[1].front_end_addr
        );
    }
}
