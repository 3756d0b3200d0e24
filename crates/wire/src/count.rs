//! What arrives at the far end of a wire: counted and dropped by a program at the first place that sees a frame, so that the
//! sender's core pays as little for the receiver as can be. Read by the generator from memory that both share.

use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd, RawFd};
use std::ptr::{self, NonNull};
use std::sync::atomic::{AtomicU64, Ordering};

use libbpf_sys::{BPF_F_MMAPABLE, BPF_MAP_TYPE_ARRAY, BPF_PROG_TYPE_SCHED_CLS, BPF_TCX_INGRESS};
use rustix::mm::{MapFlags, ProtFlags, mmap, munmap};

use crate::bpf::{self, Instruction, load_map, op};

/// Bytes of the counters, and of the mapping that they begin.
const VALUE_BYTES: u32 = 16;
const PAGE_BYTES: usize = 4096;

/// Says that the frame ends here. Linux 6.18, include/uapi/linux/bpf.h, enum tcx_action_base.
const TCX_DROP: i32 = 2;

/// What has arrived.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counted {
    /// Frames.
    pub frames: u64,
    /// Their bytes, without the checksum of a wire.
    pub bytes: u64,
}

/// Counts all frames that arrive at an interface, and drops them.
#[derive(Debug)]
pub struct WireCount {
    counters: NonNull<[AtomicU64; 2]>,
    _link: OwnedFd,
}

impl WireCount {
    /// Counts from now on, until it is dropped.
    ///
    /// # Errors
    ///
    /// When there is no such interface, or the kernel refuses.
    pub fn begin(interface: &str) -> io::Result<Self> {
        let map = bpf::make_map(BPF_MAP_TYPE_ARRAY, c"wire_count", VALUE_BYTES, BPF_F_MMAPABLE)?;
        let program = bpf::load(BPF_PROG_TYPE_SCHED_CLS, c"wire_count", &code(map.as_raw_fd()))?;
        let link = bpf::attach(&program, interface, BPF_TCX_INGRESS, 0)?;
        // SAFETY: no address is asked for, so nothing that is mapped already changes.
        let place = unsafe {
            mmap(ptr::null_mut(), PAGE_BYTES, ProtFlags::READ, MapFlags::SHARED, map.as_fd(), 0)
        }?;
        let counters = NonNull::new(place.cast()).ok_or(io::ErrorKind::OutOfMemory)?;
        Ok(Self { counters, _link: link })
    }

    /// What has arrived so far.
    #[inline]
    #[must_use]
    pub fn now(&self) -> Counted {
        // SAFETY: two counters at the beginning of a page that stays mapped as long as `self`; the kernel changes them by
        // atomic instructions.
        let [frames, bytes] = unsafe { self.counters.as_ref() };
        Counted { frames: frames.load(Ordering::Acquire), bytes: bytes.load(Ordering::Relaxed) }
    }
}

impl Drop for WireCount {
    fn drop(&mut self) {
        // SAFETY: the page was mapped by `begin`, and no reference to it is left.
        let _ = unsafe { munmap(self.counters.as_ptr().cast(), PAGE_BYTES) };
    }
}

/// `counters->bytes += frame->len; counters->frames += 1; return TCX_DROP`: who sees the frame sees its bytes too.
fn code(map: RawFd) -> Vec<Instruction> {
    let mut code = vec![
        // The length is the first member of the context.
        op(bpf::LOAD_WORD, 6, 1, 0, 0),
        op(bpf::STORE_WORD_VALUE, bpf::STACK, 0, -4, 0),
        op(bpf::MOVE, 2, bpf::STACK, 0, 0),
        op(bpf::ADD_VALUE, 2, 0, 0, -4),
    ];
    code.extend(load_map(1, map));
    code.extend([
        op(bpf::CALL, 0, 0, 0, bpf::LOOK_UP),
        op(bpf::JUMP_IF_VALUE, 0, 0, 3, 0),
        op(bpf::ADD_ATOMIC, 0, 6, 8, 0),
        op(bpf::MOVE_VALUE, 1, 0, 0, 1),
        op(bpf::ADD_ATOMIC, 0, 1, 0, 0),
        op(bpf::MOVE_VALUE, 0, 0, 0, TCX_DROP),
        op(bpf::EXIT, 0, 0, 0, 0),
    ]);
    code
}
