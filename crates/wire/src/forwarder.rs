//! The least that any switch between two wires must do: descriptors from one socket go to the other as they are.
//!
//! One UMEM for both sockets, so that no byte is copied but by the kernel; no look at frames, no counter. Frames that cannot
//! be sent at once wait.

use std::io;
use std::os::fd::{AsRawFd, OwnedFd};

use libbpf_sys::{
    BPF_MAP_TYPE_XSKMAP, BPF_PROG_TYPE_XDP, BPF_XDP, XDP_FLAGS_DRV_MODE, bpf_map_update_elem,
};
use xsk_rs::{FrameDesc, Umem};

use crate::bpf::{self, load_map, op};
use crate::socket::{self, ENTRIES, Rings};

/// Frames that are moved in one step.
const BURST: usize = BURST_FRAMES as usize;

/// The same, as rings count.
const BURST_FRAMES: u32 = 64;

/// Where the number of the queue is in the context of an XDP program.
const QUEUE_AT: i16 = 16;
/// Lets a frame go to the host. Linux 6.18, include/uapi/linux/bpf.h, enum xdp_action.
const XDP_PASS: i32 = 2;

#[derive(Debug)]
struct Side {
    rings: Rings,
    /// The kernel has not taken all that is in the tx ring.
    backlog: bool,
    _link: OwnedFd,
}

/// Forwards frames between the first queues of two interfaces.
#[derive(Debug)]
pub struct Forwarder {
    _umem: Umem,
    sides: [Side; 2],
}

impl Forwarder {
    /// Opens both interfaces.
    ///
    /// # Errors
    ///
    /// When one is not there, or the kernel refuses.
    pub fn open(interfaces: [&str; 2]) -> io::Result<Self> {
        let (umem, chunks) = socket::memory()?;
        let (first, second) = chunks.split_at(chunks.len() / 2);
        let [left, right] = interfaces;
        let sides = [side(left, &umem, first)?, side(right, &umem, second)?];
        Ok(Self { _umem: umem, sides })
    }

    /// Moves what is there, both ways.
    #[inline]
    pub fn turn(&mut self) {
        let [left, right] = &mut self.sides;
        forward(left, right);
        forward(right, left);
    }
}

fn side(interface: &str, umem: &Umem, chunks: &[FrameDesc]) -> io::Result<Side> {
    let mut rings = socket::bind(interface, umem)?;
    // SAFETY: the chunks are of this UMEM, and nobody else's.
    unsafe { rings.fill.produce(chunks) };
    let map = bpf::make_map(BPF_MAP_TYPE_XSKMAP, c"wire_sockets", 4, 0)?;
    let (key, socket) = (0_u32, rings.rx.fd().as_raw_fd());
    // SAFETY: key and value have the sizes that the map was made with.
    let result = unsafe {
        bpf_map_update_elem(map.as_raw_fd(), (&raw const key).cast(), (&raw const socket).cast(), 0)
    };
    if result < 0 {
        return Err(io::Error::from_raw_os_error(-result));
    }
    // `return bpf_redirect_map(&sockets, ctx->rx_queue_index, XDP_PASS)`
    let mut code = vec![op(bpf::LOAD_WORD, 2, 1, QUEUE_AT, 0)];
    code.extend(load_map(1, map.as_raw_fd()));
    code.extend([
        op(bpf::MOVE_VALUE, 3, 0, 0, XDP_PASS),
        op(bpf::CALL, 0, 0, 0, bpf::REDIRECT),
        op(bpf::EXIT, 0, 0, 0, 0),
    ]);
    let program = bpf::load(BPF_PROG_TYPE_XDP, c"wire_redirect", &code)?;
    let link = bpf::attach(&program, interface, BPF_XDP, XDP_FLAGS_DRV_MODE)?;
    Ok(Side { rings, backlog: false, _link: link })
}

#[inline]
fn forward(from: &mut Side, to: &mut Side) {
    let mut batch = [FrameDesc::default(); BURST];
    // What was sent is lent again to where it came from.
    // SAFETY: both rings are those of sockets of one UMEM.
    let sent = unsafe { to.rings.completion.consume(&mut batch) };
    if sent > 0 {
        // SAFETY: the kernel has given the chunks back. The ring has an entry for each.
        unsafe { from.rings.fill.produce(batch.get(..sent).unwrap_or_default()) };
    }
    let room = (to.rings.tx.nb_free(BURST_FRAMES) as usize).min(BURST);
    // SAFETY: as before.
    let came = unsafe { from.rings.rx.consume(batch.get_mut(..room).unwrap_or_default()) };
    if came > 0 {
        // SAFETY: the kernel has given the chunks to us, and nobody else has them.
        unsafe { to.rings.tx.produce(batch.get(..came).unwrap_or_default()) };
        to.backlog = true;
    } else if from.rings.fill.needs_wakeup() {
        // What it did shows in the ring.
        let _ = from.rings.fill.wakeup(from.rings.rx.fd_mut(), 0);
    }
    if to.backlog {
        if to.rings.tx.needs_wakeup() {
            let _ = to.rings.tx.wakeup();
        }
        to.backlog = to.rings.tx.nb_free_exact() < ENTRIES;
    }
}
