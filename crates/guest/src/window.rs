//! A checked piece of guest memory, with the only accesses that shared memory allows: atomics and whole copies.
//!
//! Any thread may use one. Holding it keeps the memory mapped. Offsets are bytes from its start; a wrong offset
//! is a mistake of the test that uses it, and panics.

use std::marker::PhantomData;
use std::ptr::NonNull;
use std::sync::Arc;
use std::sync::atomic::{AtomicU16, AtomicU32, AtomicU64, Ordering};

use crate::copy::{copy_bytes, load_word, prefetch_line, prefetch_line_to_write, store_word};
use crate::memory::GuestMemory;

/// A part of a [`Window`], checked once: what is done to it is checked against its own length only.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Piece<'a> {
    start: NonNull<u8>,
    len: usize,
    window: PhantomData<&'a Window>,
}

/// A range of guest memory that is mapped here. Made by [`GuestMemory::window`] only.
#[derive(Clone, Debug)]
pub struct Window {
    start: NonNull<u8>,
    len: usize,
    guest_addr: u64,
    memory: Arc<GuestMemory>,
}

// SAFETY: the pointer is to memory that `memory` keeps mapped, in any thread; all accesses are atomic or are
// done by `copy_bytes`, which allows for writers elsewhere.
unsafe impl Send for Window {}
// SAFETY: as above; no method relies on being alone.
unsafe impl Sync for Window {}

/// Defines the load and the store of one width. VIRTIO 1.2, 2.7: all fields are little-endian.
macro_rules! access {
    ($load:ident, $store:ident, $atomic:ty, $int:ty) => {
        /// The number at `offset`.
        ///
        /// # Panics
        ///
        /// When it does not lie in the window, or is not aligned to its width.
        #[inline]
        #[must_use]
        pub fn $load(&self, offset: usize, order: Ordering) -> $int {
            let place = self.place(offset, size_of::<$int>(), align_of::<$atomic>());
            // SAFETY: `place` checked that the field is aligned and inside the window; the window keeps it
            // mapped; shared memory is only reached by atomics and by `copy_bytes`.
            let field = unsafe { <$atomic>::from_ptr(place.cast()) };
            <$int>::from_le(field.load(order))
        }

        /// Writes the number at `offset`.
        ///
        /// # Panics
        ///
        /// When it does not lie in the window, or is not aligned to its width.
        #[inline]
        pub fn $store(&self, offset: usize, value: $int, order: Ordering) {
            let place = self.place(offset, size_of::<$int>(), align_of::<$atomic>());
            // SAFETY: as for the load.
            let field = unsafe { <$atomic>::from_ptr(place.cast()) };
            field.store(value.to_le(), order);
        }
    };
}

impl Window {
    /// The caller, [`GuestMemory::window`], has checked that `len` bytes from `start` are mapped by `memory`.
    pub(crate) fn new(
        start: NonNull<u8>,
        len: usize,
        guest_addr: u64,
        memory: Arc<GuestMemory>,
    ) -> Self {
        Self { start, len, guest_addr, memory }
    }

    /// Where it begins, as the guest numbers its memory.
    #[must_use]
    pub fn guest_addr(&self) -> u64 {
        self.guest_addr
    }

    /// Where it begins in this process: what a front-end tells as "user address".
    #[must_use]
    pub fn front_end_addr(&self) -> u64 {
        self.start.as_ptr().addr() as u64
    }

    /// Its length in bytes.
    #[must_use]
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether it has no bytes.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The memory it is a part of.
    #[must_use]
    pub fn memory(&self) -> &Arc<GuestMemory> {
        &self.memory
    }

    access!(load_u16, store_u16, AtomicU16, u16);
    access!(load_u32, store_u32, AtomicU32, u32);
    access!(load_u64, store_u64, AtomicU64, u64);

    /// Copies `into.len()` bytes from `offset` on.
    ///
    /// # Panics
    ///
    /// When they do not all lie in the window.
    #[inline]
    pub fn read(&self, offset: usize, into: &mut [u8]) {
        let place = self.place(offset, into.len(), 1);
        // SAFETY: `place` checked the shared side; `into` is private, so the two cannot overlap.
        unsafe { copy_bytes(place, into.as_mut_ptr(), into.len()) }
    }

    /// Copies `bytes` to `offset`.
    ///
    /// # Panics
    ///
    /// When they do not all lie in the window.
    #[inline]
    pub fn write(&self, offset: usize, bytes: &[u8]) {
        let place = self.place(offset, bytes.len(), 1);
        // SAFETY: `place` checked the shared side; `bytes` is private, so the two cannot overlap.
        unsafe { copy_bytes(bytes.as_ptr(), place, bytes.len()) }
    }

    /// The 8 bytes at `offset`, aligned or not.
    ///
    /// # Panics
    ///
    /// When they do not all lie in the window.
    #[inline]
    #[must_use]
    pub fn read_word(&self, offset: usize) -> [u8; 8] {
        let place = self.place(offset, 8, 1);
        // SAFETY: `place` checked the 8 bytes, which the window keeps mapped.
        unsafe { load_word(place) }
    }

    /// Writes the 8 bytes at `offset`, aligned or not.
    ///
    /// # Panics
    ///
    /// When they do not all lie in the window.
    #[inline]
    pub fn write_word(&self, offset: usize, word: [u8; 8]) {
        let place = self.place(offset, 8, 1);
        // SAFETY: `place` checked the 8 bytes, which the window keeps mapped.
        unsafe { store_word(place, word) }
    }

    /// Copies `len` bytes from `offset` on to `target`, where they go to `at`. Of ranges that overlap a mixture
    /// arrives.
    ///
    /// # Panics
    ///
    /// When they do not all lie in both windows.
    #[inline]
    pub fn copy_to(&self, offset: usize, target: &Self, at: usize, len: usize) {
        let (from, to) = (self.place(offset, len, 1), target.place(at, len, 1));
        // SAFETY: `place` checked both sides, which stay mapped as long as the windows live.
        unsafe { copy_bytes(from, to, len) }
    }

    /// The `len` bytes at `offset`.
    ///
    /// # Panics
    ///
    /// When they do not all lie in the window.
    #[inline]
    pub(crate) fn piece(&self, offset: usize, len: usize) -> Piece<'_> {
        self.place(offset, len, 1);
        // SAFETY: `place` checked that the window, which is mapped, has `offset` bytes and more.
        let start = unsafe { self.start.add(offset) };
        Piece { start, len, window: PhantomData }
    }

    /// Asks for the cache line of the byte at `offset`, to read it soon. An offset outside is ignored.
    #[inline]
    pub fn prefetch(&self, offset: usize) {
        if offset < self.len {
            prefetch_line(self.start.as_ptr().wrapping_add(offset));
        }
    }

    /// Asks for the cache line of the byte at `offset`, to write it soon. An offset outside is ignored.
    #[inline]
    pub fn prefetch_to_write(&self, offset: usize) {
        if offset < self.len {
            prefetch_line_to_write(self.start.as_ptr().wrapping_add(offset));
        }
    }

    /// Writes `byte` everywhere.
    pub fn fill(&self, byte: u8) {
        let block = [byte; 4096];
        let mut at = 0;
        while at < self.len {
            let piece = block.get(..(self.len - at).min(block.len())).unwrap_or(&block);
            self.write(at, piece);
            at += piece.len();
        }
    }

    /// The address of `len` bytes at `offset`, checked.
    #[inline]
    fn place(&self, offset: usize, len: usize, align: usize) -> *mut u8 {
        let inside = offset.checked_add(len).is_some_and(|end| end <= self.len);
        if !inside {
            refuse_range(offset, len, self.len);
        }
        let place = self.start.as_ptr().wrapping_add(offset);
        if !place.addr().is_multiple_of(align) {
            refuse_alignment(offset);
        }
        place
    }
}

impl Piece<'_> {
    /// Its length in bytes.
    #[inline(always)]
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// Copies `into.len()` bytes from `offset` on.
    ///
    /// # Panics
    ///
    /// When they do not all lie in the piece.
    #[inline(always)]
    pub(crate) fn read(&self, offset: usize, into: &mut [u8]) {
        let place = self.place(offset, into.len());
        // SAFETY: `place` checked the shared side; `into` is private, so the two cannot overlap.
        unsafe { copy_bytes(place, into.as_mut_ptr(), into.len()) }
    }

    /// The 8 bytes at `offset`, aligned or not; `None` when they do not all lie in the piece.
    #[inline(always)]
    pub(crate) fn word(&self, offset: usize) -> Option<[u8; 8]> {
        if self.len < 8 || offset > self.len - 8 {
            return None;
        }
        // SAFETY: the 8 bytes lie in the piece, as was just checked, and the window keeps them mapped.
        Some(unsafe { load_word(self.start.as_ptr().wrapping_add(offset)) })
    }

    /// Copies `bytes` to `offset`.
    ///
    /// # Panics
    ///
    /// When they do not all lie in the piece.
    #[inline(always)]
    pub(crate) fn write(&self, offset: usize, bytes: &[u8]) {
        let place = self.place(offset, bytes.len());
        // SAFETY: `place` checked the shared side; `bytes` is private, so the two cannot overlap.
        unsafe { copy_bytes(bytes.as_ptr(), place, bytes.len()) }
    }

    /// Writes the 8 bytes at `offset`, aligned or not.
    ///
    /// # Panics
    ///
    /// When they do not all lie in the piece.
    #[inline(always)]
    pub(crate) fn write_word(&self, offset: usize, word: [u8; 8]) {
        let place = self.place(offset, 8);
        // SAFETY: `place` checked the 8 bytes, which the window keeps mapped.
        unsafe { store_word(place, word) }
    }

    /// The address of `len` bytes at `offset`, checked.
    #[inline(always)]
    fn place(&self, offset: usize, len: usize) -> *mut u8 {
        // One comparison for both: what is subtracted is no more than it is subtracted from.
        if len > self.len || offset > self.len - len {
            refuse_range(offset, len, self.len);
        }
        self.start.as_ptr().wrapping_add(offset)
    }
}

/// Takes numbers, not references to them: those would have to be stored before every check.
#[cold]
#[inline(never)]
#[allow(clippy::panic, reason = "a mistake of the test that uses it")]
fn refuse_range(offset: usize, len: usize, window: usize) -> ! {
    panic!("{len} bytes at {offset} do not lie in a window of {window}")
}

#[cold]
#[inline(never)]
#[allow(clippy::panic, reason = "a mistake of the test that uses it")]
fn refuse_alignment(offset: usize) -> ! {
    panic!("a field at {offset} is not aligned")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::memory::MemoryLayout;

    fn window() -> Window {
        let memory = GuestMemory::new(&MemoryLayout::Fitting.plans(4096)).unwrap();
        memory.window(0, 4096).unwrap()
    }

    #[test]
    fn a_piece_has_its_bytes_and_no_others() {
        let window = window();
        let piece = window.piece(100, 20);
        piece.write_word(12, *b"abcdefgh");
        assert_eq!(window.read_word(112), *b"abcdefgh");
        assert_eq!((piece.word(12), piece.word(13)), (Some(*b"abcdefgh"), None));
        assert_eq!(piece.word(usize::MAX), None);
        assert_eq!(window.piece(100, 7).word(0), None);
        piece.write(19, b"x");
        let mut last = [0];
        piece.read(19, &mut last);
        assert_eq!((&last, window.piece(4096, 0).len()), (b"x", 0));
    }

    #[test]
    fn what_lies_beyond_a_piece_or_window_is_refused() {
        let refused: [fn(); 6] = [
            || window().piece(100, 20).write_word(13, [0; 8]),
            || window().piece(100, 20).write(20, b"x"),
            || window().piece(100, 20).write(usize::MAX, b"xy"),
            || window().piece(100, 20).read(1, &mut [0; 20]),
            || assert_eq!(window().piece(4090, 7).len(), 7),
            || window().store_u16(1, 0, Ordering::Relaxed),
        ];
        for (number, call) in refused.into_iter().enumerate() {
            assert!(std::panic::catch_unwind(call).is_err(), "call {number}");
        }
    }
}
