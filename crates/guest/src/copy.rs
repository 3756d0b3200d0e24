//! The one place where bytes move between private memory and memory shared with a back-end.
//!
//! Called by the thread that plays the guest. The compiler never sees an ordinary access to the shared side:
//! the moves are in assembly (or volatile where there is none), so that a back-end which writes at the same
//! time can spoil the bytes but not the program.

/// Moves `len` bytes.
///
/// # Safety
///
/// `src` is readable and `dst` is writable for `len` bytes. Both may be shared with another process that writes at
/// any time; a private range does not overlap the other one.
#[cfg(target_arch = "x86_64")]
#[inline]
pub(crate) unsafe fn copy_bytes(src: *const u8, dst: *mut u8, len: usize) {
    if len == 16 {
        // SAFETY: the obligations are those of this function; `len` is 16, as asked.
        unsafe { copy_one_block(src, dst) }
    } else if len > 16 {
        // SAFETY: the obligations are those of this function; `len` is at least 16, as asked.
        unsafe { copy_blocks(src, dst, len) }
    } else if len >= 8 {
        // SAFETY: the obligations are those of this function; `len` is 8 to 15, as asked.
        unsafe { copy_two_words(src, dst, len) }
    } else {
        // SAFETY: the obligations are those of this function.
        unsafe { copy_each(src, dst, len) }
    }
}

/// See above; the form for processors without an assembly version here.
///
/// # Safety
///
/// As above.
#[cfg(not(target_arch = "x86_64"))]
#[inline]
pub(crate) unsafe fn copy_bytes(src: *const u8, dst: *mut u8, len: usize) {
    // SAFETY: the obligations are those of this function.
    unsafe { copy_each(src, dst, len) }
}

/// Blocks of 16 bytes; the last one overlaps the one before it, so that no byte is left over.
///
/// # Safety
///
/// As [`copy_bytes`], and `len` is at least 16.
#[cfg(target_arch = "x86_64")]
#[inline]
unsafe fn copy_blocks(src: *const u8, dst: *mut u8, len: usize) {
    // SAFETY: every move takes 16 bytes at an offset of at most `len - 16`: inside both ranges, by the
    // caller's promise. Only the named registers and flags change.
    unsafe {
        std::arch::asm!(
            "2:",
            "movdqu {block}, [{src} + {at}]",
            "movdqu [{dst} + {at}], {block}",
            "add {at}, 16",
            "cmp {at}, {last}",
            "jb 2b",
            "movdqu {block}, [{src} + {last}]",
            "movdqu [{dst} + {last}], {block}",
            src = in(reg) src,
            dst = in(reg) dst,
            last = in(reg) len - 16,
            at = inout(reg) 0_usize => _,
            block = out(xmm_reg) _,
            options(nostack),
        );
    }
}

/// One block of 16 bytes: what a generator writes and reads per frame when it touches only their numbers.
///
/// # Safety
///
/// As [`copy_bytes`] with a length of 16.
#[cfg(target_arch = "x86_64")]
#[inline]
unsafe fn copy_one_block(src: *const u8, dst: *mut u8) {
    // SAFETY: both moves take the 16 bytes that the caller promised. Only the named register changes.
    unsafe {
        std::arch::asm!(
            "movdqu {block}, [{src}]",
            "movdqu [{dst}], {block}",
            src = in(reg) src,
            dst = in(reg) dst,
            block = out(xmm_reg) _,
            options(nostack, preserves_flags),
        );
    }
}

/// Reads a word of 8 bytes into a register: it need not wait until it has been to private memory and back.
///
/// # Safety
///
/// `src` is readable for 8 bytes, which may be shared with another process that writes at any time.
#[inline]
pub(crate) unsafe fn load_word(src: *const u8) -> [u8; 8] {
    #[cfg(target_arch = "x86_64")]
    {
        let word: u64;
        // SAFETY: the move takes the 8 bytes that the caller promised. Only the named register changes.
        unsafe {
            std::arch::asm!(
                "mov {word}, [{src}]",
                src = in(reg) src,
                word = out(reg) word,
                options(nostack, preserves_flags, readonly),
            );
        }
        word.to_le_bytes()
    }
    #[cfg(not(target_arch = "x86_64"))]
    {
        let mut word = [0; 8];
        // SAFETY: the obligations are those of this function; `word` has 8 bytes.
        unsafe { copy_each(src, word.as_mut_ptr(), 8) };
        word
    }
}

/// Writes a word of 8 bytes from a register.
///
/// # Safety
///
/// `dst` is writable for 8 bytes, which may be shared with another process that writes at any time.
#[inline]
pub(crate) unsafe fn store_word(dst: *mut u8, word: [u8; 8]) {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: the move takes the 8 bytes that the caller promised.
    unsafe {
        std::arch::asm!(
            "mov [{dst}], {word}",
            dst = in(reg) dst,
            word = in(reg) u64::from_le_bytes(word),
            options(nostack, preserves_flags),
        );
    }
    #[cfg(not(target_arch = "x86_64"))]
    // SAFETY: the obligations are those of this function; `word` has 8 bytes.
    unsafe {
        copy_each(word.as_ptr(), dst, 8);
    }
}

/// Asks for the cache line at `place`, to read it. A hint: any address will do.
#[inline]
pub(crate) fn prefetch_line(place: *const u8) {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: a prefetch touches nothing the program can see and does not fault, wherever `place` is.
    unsafe {
        std::arch::asm!("prefetcht0 [{}]", in(reg) place.addr(), options(nostack, preserves_flags, nomem));
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _no_hint = place;
}

/// Asks for the cache line at `place`, to write it: without this the line comes shared first, and is asked for again.
#[inline]
pub(crate) fn prefetch_line_to_write(place: *const u8) {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: as above; processors without this instruction take it for one that does nothing.
    unsafe {
        std::arch::asm!("prefetchw [{}]", in(reg) place.addr(), options(nostack, preserves_flags, nomem));
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _no_hint = place;
}

/// Two words of 8 bytes that overlap unless `len` is 16.
///
/// # Safety
///
/// As [`copy_bytes`], and `len` is 8 to 16.
#[cfg(target_arch = "x86_64")]
#[inline]
unsafe fn copy_two_words(src: *const u8, dst: *mut u8, len: usize) {
    // SAFETY: the moves take 8 bytes at offset 0 and at `len - 8`: inside both ranges, by the caller's promise.
    unsafe {
        std::arch::asm!(
            "mov {first}, [{src}]",
            "mov {second}, [{src} + {last}]",
            "mov [{dst}], {first}",
            "mov [{dst} + {last}], {second}",
            src = in(reg) src,
            dst = in(reg) dst,
            last = in(reg) len - 8,
            first = out(reg) _,
            second = out(reg) _,
            options(nostack, preserves_flags),
        );
    }
}

/// Byte by byte.
///
/// # Safety
///
/// As [`copy_bytes`].
#[inline]
unsafe fn copy_each(src: *const u8, dst: *mut u8, len: usize) {
    for at in 0..len {
        // SAFETY: `at` is below `len`, so the address lies in the range that the caller promised.
        let from = unsafe { src.add(at) };
        // SAFETY: as above.
        let to = unsafe { dst.add(at) };
        // SAFETY: readable by the caller's promise; a byte has no alignment and no invalid value.
        let byte = unsafe { from.read_volatile() };
        // SAFETY: writable by the caller's promise.
        unsafe { to.write_volatile(byte) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_moved_at_any_alignment_and_nothing_beyond() {
        let mut bytes: Vec<u8> = (0..32).collect();
        for skew in 0..16 {
            // SAFETY: skew + 8 is below 32, the length of `bytes`.
            let word = unsafe { load_word(bytes.as_ptr().wrapping_add(skew)) };
            assert_eq!(word, bytes[skew..skew + 8]);
            let mut expected = bytes.clone();
            expected[skew + 3..skew + 11].copy_from_slice(&word);
            // SAFETY: as above, skew + 11 is below 32.
            unsafe { store_word(bytes.as_mut_ptr().wrapping_add(skew + 3), word) };
            assert_eq!(bytes, expected);
        }
    }

    #[test]
    fn every_length_and_alignment_is_copied_and_nothing_beyond() {
        let source: Vec<u8> = (0..200_u8).collect();
        for len in 0..130 {
            for skew in 0..9 {
                let mut target = [0xee_u8; 200];
                // SAFETY: skew + len is below 200, the length of both, and they are different objects.
                unsafe {
                    copy_bytes(
                        source.as_ptr().wrapping_add(skew),
                        target.as_mut_ptr().wrapping_add(skew),
                        len,
                    );
                }
                assert_eq!(target[skew..skew + len], source[skew..skew + len]);
                assert!(target[..skew].iter().chain(&target[skew + len..]).all(|&b| b == 0xee));
            }
        }
    }
}
