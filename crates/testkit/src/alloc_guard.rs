//! Whether a piece of code allocates: an allocator that counts what each thread asks of it.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

thread_local! {
    /// Calls of this thread. Constant and without a destructor, so that reaching it allocates nothing.
    static CALLS: Cell<u64> = const { Cell::new(0) };
}

/// The allocator of the system, counting. A test program says
/// `#[global_allocator] static ALLOCATOR: CountingAllocator = CountingAllocator;`
#[derive(Debug)]
pub struct CountingAllocator;

/// Calls to the allocator, to take memory or to give it back, that this thread makes while `work` runs.
///
/// # Panics
///
/// When the program does not use [`CountingAllocator`], as nothing would be counted then.
pub fn allocations_in(work: impl FnOnce()) -> u64 {
    let before = CALLS.get();
    drop(std::hint::black_box(Box::new(0_u8)));
    let probed = CALLS.get();
    assert!(probed > before, "the test program does not use CountingAllocator");
    work();
    CALLS.get() - probed
}

fn count() {
    // A thread that is ending has no count any more.
    let _ = CALLS.try_with(|calls| calls.set(calls.get() + 1));
}

// SAFETY: all calls go to the system's allocator unchanged; counting neither allocates nor unwinds.
unsafe impl GlobalAlloc for CountingAllocator {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count();
        // SAFETY: the caller's promise, passed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        count();
        // SAFETY: the caller's promise, passed on.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn realloc(&self, block: *mut u8, layout: Layout, bytes: usize) -> *mut u8 {
        count();
        // SAFETY: the caller's promise, passed on.
        unsafe { System.realloc(block, layout, bytes) }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        count();
        // SAFETY: the caller's promise, passed on.
        unsafe { System.dealloc(block, layout) }
    }
}
