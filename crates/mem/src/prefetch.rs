//! Asking for cache lines before they are needed. A hint: it reads nothing, writes nothing and never faults.

/// Bytes of a cache line.
pub(crate) const LINE_BYTES: usize = 64;

/// Fetches the line that `value` begins in, to be read soon. For tables of our own that do not fit the first cache.
#[inline]
pub fn fetch<T>(value: &T) {
    to_read(std::ptr::from_ref(value).cast());
}

/// Fetches the line at `place`, to be read.
#[inline]
pub(crate) fn to_read(place: *const u8) {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: the instruction is a hint that is valid for every address; SSE is part of every x86-64.
    unsafe {
        use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        _mm_prefetch::<_MM_HINT_T0>(place.cast());
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = place;
}

/// Fetches the line at `place`, to be written: no other core has it then.
///
/// The compiler's own hint is no better than that for reading where it may not use the instruction for writing, which is not
/// part of every x86-64.
#[inline]
pub(crate) fn to_write(place: *const u8) {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: the instruction is a hint that is valid for every address; a 64-bit processor that does not know it takes it for
    // one that does nothing.
    unsafe {
        std::arch::asm!("prefetchw [{place}]", place = in(reg) place, options(nostack, preserves_flags, readonly));
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = place;
}
