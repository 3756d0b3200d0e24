//! The only place where payload bytes move.
//!
//! Guests and front-ends can change both ends at any time, and can make them overlap. The copy is therefore made of
//! machine instructions that the compiler sees as opaque: it can assume nothing about the bytes, and whatever they
//! are, the result is some mixture of old and new bytes inside the two ranges.
//!
//! What bounds a long copy is not its loads but getting lines that another core has read: of 65,226 bytes, between cores far
//! apart, reading took 1.8 us and storing 8. So long pieces go through the microcode's loop, and everything that asks for a
//! line before it is overwritten as a whole is dearer. A frame for TCP of 65,226 bytes in buffers of 4096, on AMD Zen 5, in ns,
//! each beside what is done here (1490 to 1530 near, 4400 to 4780 far) on the same guests:
//!
//! | tried | cores near | far apart |
//! |---|---|---|
//! | 64-byte registers | 1570 | 8370 |
//! | the same, destination aligned to lines | 1610 | 7560 |
//! | the same, source fetched 16 lines ahead | 1590 | 9150 |
//! | the same, destination fetched for writing 16 or 32 lines ahead | 1650, 1720 | 8710, 8120 |
//! | the same, both fetched 16 lines ahead | 1670 | 7220 – 9320 |
//! | stores past the caches, and a fence | 5520 | 8160 |
//! | destination fetched for writing, then the microcode | 1700 | 8530 |
//! | the next buffer fetched for writing meanwhile | 1640 | 7400 |
//!
//! Only where the destination begins 1 to 63 bytes behind the source, as far as their places in pages go, the loop gains
//! little: 9 % dearer near and 8 % cheaper far than registers.

/// Copies `bytes` bytes from `src` to `dst`.
///
/// # Safety
///
/// `src` must be valid for reading and `dst` for writing `bytes` bytes, by this process, for the whole call. Neither
/// may be reachable through a Rust reference meanwhile, except that `src` may be a shared and `dst` an exclusive
/// borrow held by the caller.
#[cfg(target_arch = "x86_64")]
#[inline(always)]
pub(crate) unsafe fn copy(src: *const u8, dst: *mut u8, bytes: usize) {
    // The shortest frames, without a call: 0.7 of 16.5 ns.
    if (33..=64).contains(&bytes) {
        // SAFETY: the caller's promise, passed on; 16 bytes at least and no more than 64.
        return unsafe { copy_below_64(src, dst, bytes) };
    }
    // SAFETY: the caller's promise, passed on.
    unsafe { copy_any(src, dst, bytes) }
}

/// Copies any number of bytes.
///
/// # Safety
///
/// As [`copy`].
#[cfg(target_arch = "x86_64")]
#[inline(never)]
unsafe fn copy_any(src: *const u8, dst: *mut u8, bytes: usize) {
    match bytes {
        0..16 => {
            // SAFETY: the caller's promise, passed on.
            unsafe { copy_below_16(src, dst, bytes) }
        }
        16..64 => {
            // SAFETY: the caller's promise, passed on; 16 bytes at least and fewer than 64.
            unsafe { copy_below_64(src, dst, bytes) }
        }
        64..LONG => {
            // SAFETY: the caller's promise, passed on; at least 64 bytes, and the width is one that this processor has.
            unsafe { copy_by(width(), src, dst, bytes) }
        }
        _ => {
            // SAFETY: `rep movsb` reads and writes exactly `bytes` bytes at the two places, which the caller promised
            // are valid. The direction flag is clear by the calling convention.
            unsafe {
                std::arch::asm!("rep movsb", inout("rcx") bytes => _, inout("rsi") src => _, inout("rdi") dst => _,
                    options(nostack, preserves_flags));
            }
        }
    }
}

/// Stores 12 bytes that are in registers: written to an array first, they could not be loaded again before they had left the
/// store buffer.
///
/// # Safety
///
/// `dst` must be valid for writing 12 bytes, as in [`copy`].
#[cfg(target_arch = "x86_64")]
#[inline]
pub(crate) unsafe fn store_12(dst: *mut u8, low: u64, high: u32) {
    // SAFETY: the caller promises 12 valid bytes at `dst`; the instructions ask for no alignment.
    unsafe {
        std::arch::asm!("mov [{dst}], {low}", "mov [{dst} + 8], {high:e}",
            dst = in(reg) dst, low = in(reg) low.to_le(), high = in(reg) high.to_le(), options(nostack, preserves_flags));
    }
}

/// Stores 12 bytes.
///
/// # Safety
///
/// As on x86-64.
#[cfg(not(target_arch = "x86_64"))]
#[inline]
pub(crate) unsafe fn store_12(dst: *mut u8, low: u64, high: u32) {
    let bytes = (u128::from(low) | u128::from(high) << 64).to_le_bytes();
    // SAFETY: the caller's promise, passed on; the array has 16 bytes.
    unsafe { copy(bytes.as_ptr(), dst, 12) }
}

/// The 12 bytes at `src`, as a little-endian number of 8 bytes and one of 4.
///
/// # Safety
///
/// `src` must be valid for reading 12 bytes, as in [`copy`].
#[cfg(target_arch = "x86_64")]
#[inline]
pub(crate) unsafe fn load_12(src: *const u8) -> (u64, u32) {
    let (low, high): (u64, u32);
    // SAFETY: the caller promises 12 valid bytes at `src`; the instructions ask for no alignment.
    unsafe {
        std::arch::asm!("mov {low}, [{src}]", "mov {high:e}, [{src} + 8]",
            src = in(reg) src, low = out(reg) low, high = out(reg) high, options(nostack, preserves_flags, readonly));
    }
    (low, high)
}

/// The 12 bytes at `src`.
///
/// # Safety
///
/// As on x86-64.
#[cfg(not(target_arch = "x86_64"))]
#[inline]
pub(crate) unsafe fn load_12(src: *const u8) -> (u64, u32) {
    let mut bytes = [0; 16];
    // SAFETY: the caller's promise, passed on; the array has 16 bytes.
    unsafe { copy(src, bytes.as_mut_ptr(), 12) }
    let [a, b, c, d, e, f, g, h, i, j, k, l, ..] = bytes;
    (u64::from_le_bytes([a, b, c, d, e, f, g, h]), u32::from_le_bytes([i, j, k, l]))
}

/// From here on the microcode's own loop copies: it takes whole lines without asking for what they held. Up to 2050 bytes it
/// was seen not to, at 2112 it does.
#[cfg(target_arch = "x86_64")]
const LONG: usize = 2112;

/// As [`copy`], for 16 to 64 bytes: a block from the start and one that ends at the end.
#[cfg(target_arch = "x86_64")]
#[inline(always)]
unsafe fn copy_below_64(src: *const u8, dst: *mut u8, bytes: usize) {
    if bytes <= 32 {
        // SAFETY: `bytes >= 16`, so the first 16 bytes lie in both ranges.
        unsafe { copy_16(src, dst) }
        // SAFETY: and so do the last 16.
        return unsafe { copy_16(src.wrapping_add(bytes - 16), dst.wrapping_add(bytes - 16)) };
    }
    // SAFETY: `bytes > 32`, so the first 32 bytes lie in both ranges.
    unsafe { copy_32(src, dst) }
    // SAFETY: and so do the last 32.
    unsafe { copy_last_32(src, dst, bytes) }
}

/// Registers that a copy goes through.
///
/// Frames of 1514 bytes cost 67 ns in all by 16 bytes at a time, 62 by 32, and 62 by 64; by the microcode's loop 64. For
/// frames of 64 bytes there is no difference.
#[cfg(target_arch = "x86_64")]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Width {
    /// 16 bytes, on every x86-64.
    Sse2,
    /// 32 bytes.
    Avx2,
    /// 64 bytes.
    Avx512,
}

/// The widest registers that this processor has.
#[cfg(target_arch = "x86_64")]
#[inline]
fn width() -> Width {
    if std::is_x86_feature_detected!("avx512f") {
        Width::Avx512
    } else if std::is_x86_feature_detected!("avx2") {
        Width::Avx2
    } else {
        Width::Sse2
    }
}

/// Copies by registers of `width`.
///
/// # Safety
///
/// As [`copy`], for at least 64 bytes, and this processor must have such registers.
#[cfg(target_arch = "x86_64")]
unsafe fn copy_by(width: Width, src: *const u8, dst: *mut u8, bytes: usize) {
    match width {
        Width::Sse2 => each_block(bytes, |at| {
            // SAFETY: the block lies in both ranges, by `each_block`.
            unsafe { copy_64(src.wrapping_add(at), dst.wrapping_add(at)) }
        }),
        Width::Avx2 => {
            each_block(bytes, |at| {
                // SAFETY: as above, and the caller promises the registers.
                unsafe { copy_64_avx2(src.wrapping_add(at), dst.wrapping_add(at)) }
            });
            // SAFETY: the caller promises AVX.
            unsafe { leave_avx() }
        }
        Width::Avx512 => each_block(bytes, |at| {
            // SAFETY: as above.
            unsafe { copy_64_avx512(src.wrapping_add(at), dst.wrapping_add(at)) }
        }),
    }
}

/// Where the blocks of 64 bytes begin that `bytes` bytes, at least 64, consist of; the last one overlaps the one before it.
#[cfg(target_arch = "x86_64")]
#[inline]
fn each_block(bytes: usize, copy_block: impl Fn(usize)) {
    let mut done = 0;
    while bytes - done >= 64 {
        copy_block(done);
        done += 64;
    }
    if done < bytes {
        copy_block(bytes - 64);
    }
}

/// Copies 64 bytes by one register that no older instruction shares, so that none waits for its upper part.
///
/// # Safety
///
/// As [`copy`] with 64 bytes; the processor must have AVX-512F.
#[cfg(target_arch = "x86_64")]
#[inline]
unsafe fn copy_64_avx512(src: *const u8, dst: *mut u8) {
    // SAFETY: the caller promises 64 valid bytes at both places; the instructions ask for no alignment.
    unsafe {
        std::arch::asm!("vmovdqu64 zmm16, [{src}]", "vmovdqu64 [{dst}], zmm16",
            src = in(reg) src, dst = in(reg) dst, out("zmm16") _, options(nostack, preserves_flags));
    }
}

/// Copies 64 bytes. To be followed by [`leave_avx`].
///
/// # Safety
///
/// As [`copy`] with 64 bytes; the processor must have AVX.
#[cfg(target_arch = "x86_64")]
#[inline]
unsafe fn copy_64_avx2(src: *const u8, dst: *mut u8) {
    // SAFETY: the caller promises 64 valid bytes at both places; the instructions ask for no alignment.
    unsafe {
        std::arch::asm!("vmovdqu ymm0, [{src}]", "vmovdqu ymm1, [{src} + 32]",
            "vmovdqu [{dst}], ymm0", "vmovdqu [{dst} + 32], ymm1",
            src = in(reg) src, dst = in(reg) dst, out("ymm0") _, out("ymm1") _, options(nostack, preserves_flags));
    }
}

/// Clears the upper halves of the registers, which slow down all older instructions until then.
///
/// # Safety
///
/// The processor must have AVX.
#[cfg(target_arch = "x86_64")]
#[inline]
unsafe fn leave_avx() {
    // A compiler that uses AVX itself keeps something there, and does this by itself.
    #[cfg(not(target_feature = "avx"))]
    // SAFETY: the compiler uses no AVX, so nothing is in the upper halves but what `copy_64_avx2` left there.
    unsafe {
        std::arch::asm!("vzeroupper", options(nostack, nomem, preserves_flags));
    }
}

/// Copies 64 bytes.
///
/// # Safety
///
/// As [`copy`] with 64 bytes.
#[cfg(target_arch = "x86_64")]
#[inline]
pub(crate) unsafe fn copy_64(src: *const u8, dst: *mut u8) {
    // SAFETY: the caller promises 64 valid bytes at both places; the instructions ask for no alignment.
    unsafe {
        std::arch::asm!(
            "movdqu {a}, [{src}]", "movdqu {b}, [{src} + 16]", "movdqu {c}, [{src} + 32]", "movdqu {d}, [{src} + 48]",
            "movdqu [{dst}], {a}", "movdqu [{dst} + 16], {b}", "movdqu [{dst} + 32], {c}", "movdqu [{dst} + 48], {d}",
            src = in(reg) src, dst = in(reg) dst,
            a = out(xmm_reg) _, b = out(xmm_reg) _, c = out(xmm_reg) _, d = out(xmm_reg) _,
            options(nostack, preserves_flags));
    }
}

/// Copies 64 bytes.
///
/// # Safety
///
/// As on x86-64.
#[cfg(not(target_arch = "x86_64"))]
#[inline]
pub(crate) unsafe fn copy_64(src: *const u8, dst: *mut u8) {
    // SAFETY: the caller's promise, passed on.
    unsafe { copy(src, dst, 64) }
}

#[cfg(target_arch = "x86_64")]
#[inline]
unsafe fn copy_32(src: *const u8, dst: *mut u8) {
    // SAFETY: the caller promises 32 valid bytes at both places; the instructions ask for no alignment.
    unsafe {
        std::arch::asm!("movdqu {a}, [{src}]", "movdqu {b}, [{src} + 16]", "movdqu [{dst}], {a}", "movdqu [{dst} + 16], {b}",
            src = in(reg) src, dst = in(reg) dst, a = out(xmm_reg) _, b = out(xmm_reg) _,
            options(nostack, preserves_flags));
    }
}

/// Copies the last 32 of `bytes` bytes. The instructions themselves find where those begin.
#[cfg(target_arch = "x86_64")]
#[inline]
unsafe fn copy_last_32(src: *const u8, dst: *mut u8, bytes: usize) {
    // SAFETY: the caller promises `bytes` valid bytes at both places, at least 32; the instructions ask for no alignment.
    unsafe {
        std::arch::asm!("movdqu {a}, [{src} + {bytes} - 32]", "movdqu {b}, [{src} + {bytes} - 16]",
            "movdqu [{dst} + {bytes} - 32], {a}", "movdqu [{dst} + {bytes} - 16], {b}",
            src = in(reg) src, dst = in(reg) dst, bytes = in(reg) bytes, a = out(xmm_reg) _, b = out(xmm_reg) _,
            options(nostack, preserves_flags));
    }
}

#[cfg(target_arch = "x86_64")]
#[inline]
unsafe fn copy_16(src: *const u8, dst: *mut u8) {
    // SAFETY: the caller promises 16 valid bytes at both places; the instruction asks for no alignment.
    unsafe {
        std::arch::asm!("movdqu {a}, [{src}]", "movdqu [{dst}], {a}",
            src = in(reg) src, dst = in(reg) dst, a = out(xmm_reg) _, options(nostack, preserves_flags));
    }
}

#[cfg(target_arch = "x86_64")]
#[inline]
unsafe fn copy_below_16(src: *const u8, dst: *mut u8, bytes: usize) {
    if bytes >= 8 {
        // SAFETY: two blocks of 8, the second ending at the end: both lie in the ranges, as `bytes >= 8`.
        unsafe {
            std::arch::asm!("mov {a}, [{src}]", "mov {b}, [{src_end}]", "mov [{dst}], {a}", "mov [{dst_end}], {b}",
                src = in(reg) src, src_end = in(reg) src.wrapping_add(bytes - 8),
                dst = in(reg) dst, dst_end = in(reg) dst.wrapping_add(bytes - 8),
                a = out(reg) _, b = out(reg) _, options(nostack, preserves_flags));
        }
    } else if bytes >= 4 {
        // SAFETY: as above with blocks of 4, as `bytes >= 4`.
        unsafe {
            std::arch::asm!("mov {a:e}, [{src}]", "mov {b:e}, [{src_end}]", "mov [{dst}], {a:e}", "mov [{dst_end}], {b:e}",
                src = in(reg) src, src_end = in(reg) src.wrapping_add(bytes - 4),
                dst = in(reg) dst, dst_end = in(reg) dst.wrapping_add(bytes - 4),
                a = out(reg) _, b = out(reg) _, options(nostack, preserves_flags));
        }
    } else {
        for done in 0..bytes {
            // SAFETY: `done < bytes`.
            let byte = unsafe { src.wrapping_add(done).read_volatile() };
            // SAFETY: `done < bytes`.
            unsafe { dst.wrapping_add(done).write_volatile(byte) }
        }
    }
}

/// Copies `bytes` bytes from `src` to `dst`.
///
/// # Safety
///
/// As on x86-64.
#[cfg(not(target_arch = "x86_64"))]
#[inline]
pub(crate) unsafe fn copy(src: *const u8, dst: *mut u8, bytes: usize) {
    for done in 0..bytes {
        // SAFETY: `done < bytes`.
        let byte = unsafe { src.wrapping_add(done).read_volatile() };
        // SAFETY: `done < bytes`.
        unsafe { dst.wrapping_add(done).write_volatile(byte) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_length_is_copied_whole_and_nothing_beside_it() {
        for bytes in (0..300).chain([2111, 2112, 2113, 4095, 4096, 4097, 9000, 65_535]) {
            let src: Vec<u8> = (0..bytes + 2).map(|i| u8::try_from(i % 251).unwrap()).collect();
            let mut dst = vec![0xee_u8; bytes + 2];
            // SAFETY: both vectors hold `bytes + 1` bytes from index 1.
            unsafe { copy(src.as_ptr().wrapping_add(1), dst.as_mut_ptr().wrapping_add(1), bytes) }
            assert_eq!(dst[1..=bytes], src[1..=bytes], "{bytes}");
            assert_eq!((dst[0], dst[bytes + 1]), (0xee, 0xee), "{bytes}");
        }
    }

    #[test]
    fn source_and_destination_may_overlap_and_bytes_outside_stay() {
        for bytes in [1_usize, 3, 4, 7, 8, 15, 16, 17, 63, 64, 65, 127, 128, 300, 4095, 4096, 9000]
        {
            for shift in [0, 1, 2, 8, 15, 16, 63, 64, 100] {
                for (from, to) in [(8, 8 + shift), (8 + shift, 8)] {
                    let mut place: Vec<u8> =
                        (0..bytes + shift + 16).map(|i| u8::try_from(i % 251).unwrap()).collect();
                    let before = place.clone();
                    let start = place.as_mut_ptr();
                    // SAFETY: both ranges lie in the vector, which nobody else refers to.
                    unsafe { copy(start.wrapping_add(from), start.wrapping_add(to), bytes) }
                    assert_eq!(place[..to], before[..to], "{bytes} {from} {to}");
                    assert_eq!(place[to + bytes..], before[to + bytes..], "{bytes} {from} {to}");
                    // Without an overlap the copy is exact; with one, every byte is one that was there.
                    if shift >= bytes {
                        assert_eq!(place[to..to + bytes], before[from..from + bytes]);
                    }
                    let old = &before[8..8 + shift + bytes];
                    assert!(place[to..to + bytes].iter().all(|byte| old.contains(byte)));
                }
            }
        }
    }

    #[test]
    fn a_long_copy_is_exact_wherever_the_two_lie_in_their_pages() {
        let src: Vec<u8> = (0..5000_u32).map(|i| u8::try_from(i % 251).unwrap()).collect();
        for shift in (0..130).chain([4032, 4033, 4095]) {
            let mut dst = vec![0xee_u8; 10_000];
            let at = (src.as_ptr().addr() + shift).wrapping_sub(dst.as_ptr().addr()) % 4096 + 1;
            // SAFETY: the first vector holds 5000 bytes, and so does the second one from index 4097 on.
            unsafe { copy(src.as_ptr(), dst.as_mut_ptr().wrapping_add(at), 5000) }
            assert_eq!(dst[at..at + 5000], src, "{shift}");
            assert!(dst[..at].iter().chain(&dst[at + 5000..]).all(|byte| *byte == 0xee), "{shift}");
        }
    }

    #[test]
    #[cfg(target_arch = "x86_64")]
    fn all_widths_copy_alike() {
        let widest = width();
        let widths = [Width::Sse2, Width::Avx2, Width::Avx512];
        let known = widths.iter().position(|width| *width == widest).unwrap();
        let src: Vec<u8> = (0..5000_u32).map(|i| u8::try_from(i % 251).unwrap()).collect();
        for (bytes, width) in (64..4100).flat_map(|n| widths[..=known].iter().map(move |w| (n, *w)))
        {
            let mut dst = vec![0xee_u8; bytes + 2];
            // SAFETY: both vectors hold `bytes + 1` bytes from index 1, and what the processor has at its widest includes the others.
            unsafe {
                copy_by(
                    width,
                    src.as_ptr().wrapping_add(1),
                    dst.as_mut_ptr().wrapping_add(1),
                    bytes,
                )
            }
            assert_eq!(dst[1..=bytes], src[1..=bytes], "{bytes} {width:?}");
            assert_eq!((dst[0], dst[bytes + 1]), (0xee, 0xee), "{bytes} {width:?}");
        }
    }

    #[test]
    fn every_alignment_of_both_ends_is_copied_whole() {
        let src: Vec<u8> = (0..200_u8).collect();
        for (from, to) in (0..16).flat_map(|from| (0..16).map(move |to| (from, to))) {
            for bytes in [5, 12, 14, 31, 60, 128, 150] {
                let mut dst = vec![0xee_u8; 200];
                // SAFETY: both vectors hold 200 bytes, and `15 + 150` are fewer.
                unsafe {
                    copy(src.as_ptr().wrapping_add(from), dst.as_mut_ptr().wrapping_add(to), bytes)
                }
                assert_eq!(dst[to..to + bytes], src[from..from + bytes]);
                assert!(dst[..to].iter().chain(&dst[to + bytes..]).all(|byte| *byte == 0xee));
            }
        }
    }
}
