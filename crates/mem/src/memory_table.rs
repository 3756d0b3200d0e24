//! The memory that one front-end shares, as regions of guest addresses, and all access to it.

use std::ptr::NonNull;
use std::sync::Arc;
use std::{fmt, io};

use vm_memory::{
    GuestAddress, GuestMemoryBackend, GuestMemoryMmap, GuestMemoryRegion, GuestRegionMmap,
    MmapRegion,
};

use crate::copy::{copy, store_12};
use crate::guard::Guard;
use crate::region_file::{check_file, mapped_bytes};
use crate::{GuestAddr, GuestBytes, RingArea, Segment};

#[derive(Clone, Copy, Debug)]
struct Region {
    guest_start: u64,
    bytes: u64,
    host: NonNull<u8>,
}

impl Region {
    /// No bytes at all.
    const NOTHING: Self = Self { guest_start: 0, bytes: 0, host: NonNull::dangling() };

    /// The `bytes` bytes after the first `offset`, if there are that many.
    ///
    /// # Safety
    ///
    /// The region must be one of a table that lives as long as `'table`.
    #[inline]
    unsafe fn bytes_at<'table>(&self, offset: u64, bytes: u32) -> Option<GuestBytes<'table>> {
        if offset > self.bytes || u64::from(bytes) > self.bytes - offset {
            return None;
        }
        let mapped = self.bytes - offset;
        // SAFETY: `offset` is at most the length of the region, which is one mapping.
        let start = unsafe { self.host.add(usize::try_from(offset).ok()?) };
        let mapped = u32::try_from(mapped).unwrap_or(u32::MAX);
        // SAFETY: the region is mapped as long as its table lives, which the caller promises to be long enough; `mapped`
        // bytes of it follow `start`, and `bytes` are not more.
        Some(unsafe { GuestBytes::new(start, bytes, mapped) })
    }
}

/// Finds bytes of a table by their guest address. The first region, in which nearly all buffers of a guest lie, is held by
/// value: so it stays in registers, whatever is written between two lookups.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Lookup<'table> {
    first: Region,
    others: &'table [Region],
}

impl<'table> Lookup<'table> {
    /// The `bytes` bytes at `addr`, if all of them lie in one region.
    #[inline]
    pub(crate) fn bytes_at(&self, addr: GuestAddr, bytes: u32) -> Option<GuestBytes<'table>> {
        let offset = addr.0.wrapping_sub(self.first.guest_start);
        if offset < self.first.bytes {
            // SAFETY: the region is one of a table that is borrowed for `'table`.
            return unsafe { self.first.bytes_at(offset, bytes) };
        }
        let region = region_of(self.others, addr)?;
        // SAFETY: as above.
        unsafe { region.bytes_at(addr.0.wrapping_sub(region.guest_start), bytes) }
    }
}

/// The regions of guest memory that one front-end shares. Immutable: when the front-end changes its memory, a new
/// table takes the place of this one.
pub struct MemoryTable {
    regions: Box<[Region]>,
    // Declared before the mappings: a guard must end before its region is unmapped.
    guard: Guard,
    mappings: Arc<GuestMemoryMmap>,
    /// Keeps mapped what a library mapped.
    _owner: Option<Box<dyn Send + Sync>>,
}

/// The one of `regions` that `addr` lies in. Not inlined: so what the first region needs stays in registers. What it returns is
/// in a register, too: bytes that were returned in memory were loaded before their parts had left the store buffer, and a frame
/// of 64 bytes took 16.1 ns instead of 13.6.
#[inline(never)]
fn region_of(regions: &[Region], addr: GuestAddr) -> Option<&Region> {
    regions.iter().find(|region| addr.0.wrapping_sub(region.guest_start) < region.bytes)
}

// SAFETY: the pointers lead to mappings that live as long as the table (`mappings`), are never handed out, and are
// only used by copies and atomics that allow for concurrent access by anybody.
unsafe impl Send for MemoryTable {}
// SAFETY: as for Send.
unsafe impl Sync for MemoryTable {}

/// The memory that a front-end shared cannot be used.
#[derive(Debug)]
pub enum MemoryError {
    /// A region ends behind the end of its file, so touching it would raise SIGBUS.
    FileTooShort {
        /// Guest address of the region.
        start: GuestAddr,
        /// Bytes of the file that the region needs, counted from the start of the file.
        needed_bytes: u64,
        /// Bytes the file has.
        file_bytes: u64,
    },
    /// A region lies in a file whose pages may have to be waited for.
    ForeignFile {
        /// Guest address of the region.
        start: GuestAddr,
        /// The file system, as statfs(2) tells it.
        kind: i128,
    },
    /// More regions than we map at a time.
    TooManyRegions,
    /// The host refused.
    Host(io::Error),
}

impl fmt::Display for MemoryError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::FileTooShort { start, needed_bytes, file_bytes } => write!(
                f,
                "the memory region at guest address {:#x} needs {needed_bytes} bytes of its file, which has {file_bytes}",
                start.0
            ),
            Self::ForeignFile { start, kind } => write!(
                f,
                "the memory region at guest address {:#x} lies in a file system (type {kind:#x}) that may keep us waiting; use memory-backend-memfd,share=on, or a file on tmpfs or hugetlbfs",
                start.0
            ),
            Self::TooManyRegions => {
                f.write_str("the front-end shares more memory regions than can be mapped")
            }
            Self::Host(error) => write!(f, "mapping guest memory: {error}"),
        }
    }
}

impl std::error::Error for MemoryError {}

/// An address range that lies in no region, or crosses the end of the last one it touches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AddressFault;

impl MemoryTable {
    /// Takes over the mappings of a front-end and guards them against truncation of their files.
    ///
    /// # Errors
    ///
    /// When a file is too short for its region, or the guard cannot be set up.
    pub fn new(mappings: Arc<GuestMemoryMmap>) -> Result<Self, MemoryError> {
        let mut regions = Vec::with_capacity(mappings.num_regions());
        let mut ranges = Vec::with_capacity(mappings.num_regions());
        for region in mappings.iter() {
            check_file(region)?;
            let Some(host) = NonNull::new(region.as_ptr()) else { continue };
            ranges.push((host.as_ptr() as usize, mapped_bytes(region)?));
            regions.push(Region { guest_start: region.start_addr().0, bytes: region.len(), host });
        }
        if regions.len() > usize::from(u16::MAX) {
            return Err(MemoryError::TooManyRegions);
        }
        // The largest first: nearly all addresses lie there.
        regions.sort_by_key(|region| std::cmp::Reverse(region.bytes));
        let guard = Guard::new(ranges.into_iter()).map_err(MemoryError::Host)?;
        Ok(Self { regions: regions.into_boxed_slice(), guard, mappings, _owner: None })
    }

    /// Private memory of our own, as one region at guest address 0.
    ///
    /// # Errors
    ///
    /// When the host has no memory.
    pub fn anonymous(bytes: usize) -> Result<Self, MemoryError> {
        let mappings = GuestMemoryMmap::<()>::from_ranges(&[(GuestAddress(0), bytes)])
            .map_err(|error| MemoryError::Host(io::Error::other(error)))?;
        Self::new(Arc::new(mappings))
    }

    /// Memory that a library mapped, as one region at guest address 0: the UMEM of an uplink. `owner` is dropped with the
    /// table. Nobody can truncate such memory, so it is not guarded.
    ///
    /// # Errors
    ///
    /// When `start` is no beginning of a page.
    ///
    /// # Safety
    ///
    /// `bytes` bytes from `start` on must be mapped for reading and writing until `owner` is dropped. Meanwhile they may be
    /// reached by the kernel and through memory tables only, never through a Rust reference, but for bytes that are at that
    /// time named by no segment in use.
    pub unsafe fn of_mapping(
        start: NonNull<u8>,
        bytes: usize,
        owner: Box<dyn Send + Sync>,
    ) -> Result<Self, MemoryError> {
        let refused = |error| MemoryError::Host(io::Error::other(error));
        let (protection, flags) =
            (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_SHARED | libc::MAP_ANONYMOUS);
        // SAFETY: the caller promises that the range is mapped; the region does not own it, so it never unmaps it.
        let mapped =
            unsafe { MmapRegion::<()>::build_raw(start.as_ptr(), bytes, protection, flags) };
        let mapped = mapped.map_err(|error| refused(error.to_string()))?;
        let mapped = GuestRegionMmap::new(mapped, GuestAddress(0))
            .ok_or_else(|| refused("the memory has no end".to_owned()))?;
        let mappings = GuestMemoryMmap::from_regions(vec![mapped])
            .map_err(|error| refused(error.to_string()))?;
        Ok(Self {
            regions: Box::new([Region { guest_start: 0, bytes: bytes as u64, host: start }]),
            guard: Guard::new(std::iter::empty()).map_err(MemoryError::Host)?,
            mappings: Arc::new(mappings),
            _owner: Some(owner),
        })
    }

    /// The mappings, for code that works on `vm-memory`'s types.
    #[must_use]
    pub fn mappings(&self) -> &Arc<GuestMemoryMmap> {
        &self.mappings
    }

    /// Number of regions.
    #[must_use]
    pub fn region_count(&self) -> usize {
        self.regions.len()
    }

    /// Sum of the lengths of all regions.
    #[must_use]
    pub fn total_bytes(&self) -> u64 {
        self.regions.iter().map(|region| region.bytes).sum()
    }

    /// Whether the front-end has taken away memory that it had shared. What is read here is zero then.
    #[must_use]
    pub fn is_poisoned(&self) -> bool {
        self.guard.is_poisoned()
    }

    pub(crate) fn guard(&self) -> &Guard {
        &self.guard
    }

    /// Finds the `bytes` bytes at `addr` and passes them to `push` in order, cut where regions meet. `push` returns
    /// whether it had room.
    ///
    /// An address is checked even when `bytes` is 0; nothing is pushed then. At most one step per region is taken.
    ///
    /// # Errors
    ///
    /// When a byte lies in no region, or `push` had no room.
    #[inline]
    pub fn resolve(
        &self,
        addr: GuestAddr,
        bytes: u32,
        mut push: impl FnMut(Segment) -> bool,
    ) -> Result<(), AddressFault> {
        let mut addr = addr.0;
        let mut left = bytes;
        for _ in 0..=self.regions.len() {
            let segment = self.locate(addr, left).ok_or(AddressFault)?;
            if left == 0 {
                return Ok(());
            }
            if !push(segment) {
                return Err(AddressFault);
            }
            left -= segment.bytes;
            if left == 0 {
                return Ok(());
            }
            addr = addr.checked_add(u64::from(segment.bytes)).ok_or(AddressFault)?;
        }
        Err(AddressFault)
    }

    /// The `bytes` bytes at `addr`, if all of them lie in one region, to be reached at once.
    #[inline]
    #[must_use]
    pub fn bytes_at(&self, addr: GuestAddr, bytes: u32) -> Option<GuestBytes<'_>> {
        self.lookup().bytes_at(addr, bytes)
    }

    /// For finding many bytes.
    #[inline]
    pub(crate) fn lookup(&self) -> Lookup<'_> {
        match &*self.regions {
            [first, others @ ..] => Lookup { first: *first, others },
            [] => Lookup { first: Region::NOTHING, others: &[] },
        }
    }

    /// The segment that `place` is, which must be of this table.
    #[inline]
    #[must_use]
    pub fn segment_of(&self, place: GuestBytes<'_>) -> Option<Segment> {
        let start = place.start().as_ptr().addr();
        for (index, region) in self.regions.iter().enumerate() {
            let offset = start.wrapping_sub(region.host.as_ptr().addr()) as u64;
            if offset < region.bytes {
                let region = u16::try_from(index).ok()?;
                return Some(Segment { offset, bytes: place.bytes(), region });
            }
        }
        None
    }

    /// The bytes of `segment`, to be reached at once. `None` when it lies outside.
    ///
    /// They keep the table from going, and with it the mapping:
    ///
    /// ```compile_fail,E0505
    /// # use helio_mem::{MemoryTable, Segment};
    /// let table = MemoryTable::anonymous(4096).unwrap();
    /// let bytes = table.bytes_of(Segment { offset: 0, bytes: 60, region: 0 }).unwrap();
    /// drop(table);
    /// assert_eq!(bytes.bytes(), 60);
    /// ```
    #[inline]
    #[must_use]
    pub fn bytes_of(&self, segment: Segment) -> Option<GuestBytes<'_>> {
        let region = self.regions.get(usize::from(segment.region))?;
        // SAFETY: the region is one of this table, which is borrowed.
        unsafe { region.bytes_at(segment.offset, segment.bytes) }
    }

    /// The `bytes` bytes at `addr`, if all of them lie in one region.
    #[inline]
    #[must_use]
    pub fn resolve_whole(&self, addr: GuestAddr, bytes: u32) -> Option<Segment> {
        self.locate(addr.0, bytes).filter(|segment| segment.bytes == bytes)
    }

    /// The longest piece, up to `bytes`, that begins at `addr` and lies in one region.
    #[inline]
    fn locate(&self, addr: u64, bytes: u32) -> Option<Segment> {
        for (index, region) in self.regions.iter().enumerate() {
            let offset = addr.wrapping_sub(region.guest_start);
            if offset < region.bytes {
                let bytes =
                    u32::try_from(region.bytes - offset).map_or(bytes, |room| room.min(bytes));
                return Some(Segment { offset, bytes, region: u16::try_from(index).ok()? });
            }
        }
        None
    }

    /// A ring of `bytes` bytes at `addr`, which must lie in one region and be aligned to `align`.
    ///
    /// # Errors
    ///
    /// When it does not.
    pub fn ring_area(
        self: &Arc<Self>,
        addr: GuestAddr,
        bytes: usize,
        align: u64,
    ) -> Result<RingArea, AddressFault> {
        let wanted = u32::try_from(bytes).map_err(|_| AddressFault)?;
        let segment = self
            .locate(addr.0, wanted)
            .filter(|segment| segment.bytes == wanted)
            .ok_or(AddressFault)?;
        if !addr.0.is_multiple_of(align) {
            return Err(AddressFault);
        }
        let start = self.pointer(segment).ok_or(AddressFault)?;
        // Regions begin at page boundaries of the host, but a front-end may have given one an odd guest address.
        if !start.as_ptr().addr().is_multiple_of(usize::try_from(align).unwrap_or(usize::MAX)) {
            return Err(AddressFault);
        }
        Ok(RingArea::new(start, bytes, Arc::clone(self)))
    }

    /// Copies the bytes of `segment` out, as many as `out` takes. Returns how many; 0 when the segment lies outside.
    #[inline]
    pub fn read(&self, segment: Segment, out: &mut [u8]) -> usize {
        let Some(src) = self.pointer(segment) else { return 0 };
        let bytes = out.len().min(segment.bytes as usize);
        // SAFETY: `pointer` proved that `segment.bytes` bytes are mapped at `src`; `out` is exclusively borrowed and at
        // least `bytes` long.
        unsafe { copy(src.as_ptr(), out.as_mut_ptr(), bytes) };
        bytes
    }

    /// Copies `data` in, as much as `segment` takes. Returns how much; 0 when the segment lies outside.
    #[inline]
    pub fn write(&self, segment: Segment, data: &[u8]) -> usize {
        let Some(dst) = self.pointer(segment) else { return 0 };
        let bytes = data.len().min(segment.bytes as usize);
        // SAFETY: as in `read`, the other way round.
        unsafe { copy(data.as_ptr(), dst.as_ptr(), bytes) };
        bytes
    }

    /// Writes 12 bytes, the little-endian bytes of `low` and then of `high`. `false` when `segment` is shorter or lies
    /// outside: nothing is written then.
    #[inline]
    #[must_use]
    pub fn write_12(&self, segment: Segment, low: u64, high: u32) -> bool {
        let Some(dst) = self.pointer(segment).filter(|_| segment.bytes >= 12) else { return false };
        // SAFETY: `pointer` proved that `segment.bytes` bytes, which are at least 12, are mapped at `dst`.
        unsafe { store_12(dst.as_ptr(), low, high) };
        true
    }

    /// Copies from `from` of this table to `to` of table `target`, as much as both hold. Returns how much; 0 when
    /// either lies outside. The two may overlap: the bytes are then a mixture of old and new.
    #[inline]
    pub fn copy_to(&self, from: Segment, target: &Self, to: Segment) -> usize {
        let (Some(src), Some(dst)) = (self.pointer(from), target.pointer(to)) else { return 0 };
        let bytes = from.bytes.min(to.bytes) as usize;
        // SAFETY: `pointer` proved both ranges; no reference into either exists, by the rules of this crate.
        unsafe { copy(src.as_ptr(), dst.as_ptr(), bytes) };
        bytes
    }

    /// Where `segment` begins, if all of it lies inside its region.
    #[inline]
    fn pointer(&self, segment: Segment) -> Option<NonNull<u8>> {
        let region = self.regions.get(usize::from(segment.region))?;
        let end = segment.offset.checked_add(u64::from(segment.bytes))?;
        if end > region.bytes {
            return None;
        }
        let offset = usize::try_from(segment.offset).ok()?;
        NonNull::new(region.host.as_ptr().wrapping_add(offset))
    }
}

impl fmt::Debug for MemoryTable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list()
            .entries(self.regions.iter().map(|r| format!("{:#x}+{:#x}", r.guest_start, r.bytes)))
            .finish()
    }
}

#[cfg(test)]
mod tests;
