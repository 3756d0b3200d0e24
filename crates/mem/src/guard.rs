//! The SIGBUS guard: what happens when a front-end shrinks a memory file that we have mapped.
//!
//! Touching such a hole raises SIGBUS in the worker. The handler lays anonymous memory over the whole region, marks the
//! memory table it belongs to as poisoned, and lets the worker go on; the port sees the mark and stops. A SIGBUS
//! anywhere else is fatal, as it always was.
//!
//! Slots are claimed and given back by control threads under a lock; the handler only reads them, by atomics. Several
//! tables may guard the same mapping: a hole under it marks them all.

use std::io;
use std::mem::MaybeUninit;
use std::ops::Range;
use std::ptr;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering, fence};
use std::sync::{Mutex, OnceLock};

/// Most regions guarded at a time: 256 ports with 64 regions each, and room to replace them all.
const SLOTS: usize = 32_768;

struct Slot {
    /// First byte; 0 while the slot is free.
    start: AtomicUsize,
    /// One past the last byte.
    end: AtomicUsize,
    /// The slot whose `poisoned` stands for the whole table.
    leader: AtomicUsize,
    poisoned: AtomicBool,
}

static TABLE: [Slot; SLOTS] = [const {
    Slot {
        start: AtomicUsize::new(0),
        end: AtomicUsize::new(0),
        leader: AtomicUsize::new(0),
        poisoned: AtomicBool::new(false),
    }
}; SLOTS];

static CLAIM: Mutex<()> = Mutex::new(());
static INSTALLED: OnceLock<Result<(), i32>> = OnceLock::new();

/// The guarded regions of one memory table. Dropping it ends the guard; do that before the regions are unmapped.
#[derive(Debug)]
pub(crate) struct Guard {
    slots: Vec<usize>,
}

impl Guard {
    /// Guards the ranges `(start address, bytes)`.
    pub(crate) fn new(ranges: impl Iterator<Item = (usize, usize)>) -> io::Result<Self> {
        if let Err(errno) = INSTALLED.get_or_init(install) {
            return Err(io::Error::from_raw_os_error(*errno));
        }
        // Declared before the lock, and so dropped after it on failure: giving slots back takes the lock, too.
        let mut guard = Self { slots: Vec::new() };
        let _claim = CLAIM.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        // Whoever sees a new end or leader sees that the old start is gone.
        fence(Ordering::Release);
        let mut free =
            TABLE.iter().enumerate().filter(|(_, slot)| slot.start.load(Ordering::Relaxed) == 0);
        for (start, bytes) in ranges {
            let Some((index, slot)) = free.next() else {
                return Err(io::Error::other("more than 32768 memory regions are mapped"));
            };
            slot.poisoned.store(false, Ordering::Relaxed);
            slot.leader.store(*guard.slots.first().unwrap_or(&index), Ordering::Relaxed);
            slot.end.store(start + bytes, Ordering::Relaxed);
            // Release: whoever sees the start sees the rest.
            slot.start.store(start, Ordering::Release);
            guard.slots.push(index);
        }
        Ok(guard)
    }

    /// Set when a hole was found under one of the regions. `None` when there are no regions. It stands for this guard only as
    /// long as that is kept.
    pub(crate) fn mark(&self) -> Option<&'static AtomicBool> {
        let leader = self.slots.first().and_then(|index| TABLE.get(*index))?;
        Some(&leader.poisoned)
    }

    /// Whether a hole was found under one of the regions.
    pub(crate) fn is_poisoned(&self) -> bool {
        self.mark().is_some_and(|mark| mark.load(Ordering::Relaxed))
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        let _claim = CLAIM.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        for slot in self.slots.iter().filter_map(|index| TABLE.get(*index)) {
            slot.start.store(0, Ordering::Release);
        }
    }
}

fn install() -> Result<(), i32> {
    let mut action = MaybeUninit::<libc::sigaction>::zeroed();
    // SAFETY: all-zero bytes are a valid sigaction: no handler, empty mask, no flags.
    let action_ref = unsafe { action.assume_init_mut() };
    action_ref.sa_sigaction = on_sigbus as *const () as usize;
    action_ref.sa_flags = libc::SA_SIGINFO;
    // SAFETY: the action is initialised, and the handler is async-signal-safe: it uses atomics, mmap and signal only.
    let result = unsafe { libc::sigaction(libc::SIGBUS, action.as_ptr(), ptr::null_mut()) };
    if result == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error().raw_os_error().unwrap_or(libc::EINVAL))
    }
}

extern "C" fn on_sigbus(
    _signal: libc::c_int,
    info: *mut libc::siginfo_t,
    _context: *mut libc::c_void,
) {
    // SAFETY: with SA_SIGINFO the kernel passes a valid siginfo.
    let info = unsafe { &*info };
    // SAFETY: for SIGBUS the fault address is the member that is set.
    let address = unsafe { info.si_addr() } as usize;
    if !cover(address) {
        // Not ours: the default action, with its core file, when the instruction runs again.
        // SAFETY: `signal` with SIG_DFL is async-signal-safe and touches no memory of ours.
        unsafe { libc::signal(libc::SIGBUS, libc::SIG_DFL) };
    }
}

/// Lays anonymous memory over the guarded region around `address`; `false` when there is none.
fn cover(address: usize) -> bool {
    let mut region = None;
    for slot in &TABLE {
        let Some((range, leader)) = slot.guarded(address) else { continue };
        if let Some(leader) = TABLE.get(leader) {
            leader.poisoned.store(true, Ordering::Relaxed);
        }
        region = Some(range);
    }
    let Some(region) = region else { return false };
    // SAFETY: the range is a mapping that this process made for a memory table and that is still mapped, because
    // its guard is dropped first. MAP_FIXED replaces exactly it. Nobody holds a reference into it, by the rules
    // of this crate.
    let mapped = unsafe {
        libc::mmap(
            ptr::without_provenance_mut(region.start),
            region.end - region.start,
            libc::PROT_READ | libc::PROT_WRITE,
            libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_FIXED | libc::MAP_NORESERVE,
            -1,
            0,
        )
    };
    mapped != libc::MAP_FAILED
}

impl Slot {
    /// The range guarded here and its leader, if `address` lies in it.
    ///
    /// The slot of the region that was touched stands still, because its table is in use. Any other may be given to
    /// another region between two loads: start and end belong together only if the start is still the same afterwards.
    fn guarded(&self, address: usize) -> Option<(Range<usize>, usize)> {
        let start = self.start.load(Ordering::Acquire);
        let range = start..self.end.load(Ordering::Relaxed);
        let leader = self.leader.load(Ordering::Relaxed);
        fence(Ordering::Acquire);
        let settled = self.start.load(Ordering::Relaxed) == start;
        (settled && start != 0 && range.contains(&address)).then_some((range, leader))
    }
}
