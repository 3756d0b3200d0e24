//! The least that any switch between two wires must do: descriptors from one socket go to the other as they are.
//!
//! One UMEM for both sockets, so that no byte is copied but by the kernel; no look at frames, no counter. Frames that cannot
//! be sent at once wait. A third socket can be given all of them too: then a chunk is lent again when both have sent it.

use std::io;
use std::os::fd::{AsRawFd, OwnedFd};

use libbpf_sys::{
    BPF_MAP_TYPE_XSKMAP, BPF_PROG_TYPE_XDP, BPF_XDP, XDP_FLAGS_DRV_MODE, bpf_map_update_elem,
};
use xsk_rs::{FrameDesc, Umem};

use crate::bpf::{self, load_map, op};
use crate::socket::{self, CHUNK_BYTES, ENTRIES, Rings};

/// Frames that are moved in one step.
const BURST: usize = BURST_FRAMES as usize;

/// The same, as rings count.
const BURST_FRAMES: u32 = 64;

/// Chunks that are taken back in one step from those who sent frames both ways and to a watcher.
const SENT: usize = 4 * BURST;

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

/// Who gets a copy of all frames.
#[derive(Debug)]
struct Watcher {
    rings: Rings,
    backlog: bool,
    /// For each chunk, whether one of the two that send it has done so.
    half_sent: Vec<bool>,
    /// Room for what was sent, and for what is lent again to each side, in one step.
    sent: Vec<FrameDesc>,
    lent: [Vec<FrameDesc>; 2],
}

/// Forwards frames between the first queues of two interfaces.
#[derive(Debug)]
pub struct Forwarder {
    _umem: Umem,
    sides: [Side; 2],
    watcher: Option<Watcher>,
}

impl Forwarder {
    /// Opens both interfaces, and the one that gets copies, if any.
    ///
    /// # Errors
    ///
    /// When one is not there, or the kernel refuses.
    pub fn open(interfaces: [&str; 2], watcher: Option<&str>) -> io::Result<Self> {
        let (umem, chunks) = socket::memory()?;
        let (first, second) = chunks.split_at(chunks.len() / 2);
        let [left, right] = interfaces;
        let sides = [side(left, &umem, first)?, side(right, &umem, second)?];
        let watcher = watcher.map(|interface| -> io::Result<Watcher> {
            let rings = socket::bind(interface, &umem)?;
            Ok(Watcher {
                rings,
                backlog: false,
                half_sent: vec![false; chunks.len()],
                sent: vec![FrameDesc::default(); SENT],
                lent: [(); 2].map(|()| Vec::with_capacity(SENT)),
            })
        });
        Ok(Self { _umem: umem, sides, watcher: watcher.transpose()? })
    }

    /// Moves what is there, both ways.
    #[inline]
    pub fn turn(&mut self) {
        let [left, right] = &mut self.sides;
        match &mut self.watcher {
            None => {
                lend_again(left, right);
                lend_again(right, left);
            }
            Some(watcher) => watcher.take_back(left, right),
        }
        forward(left, right, self.watcher.as_mut());
        forward(right, left, self.watcher.as_mut());
        if let Some(watcher) = &mut self.watcher {
            wake(&mut watcher.rings, &mut watcher.backlog);
        }
    }
}

impl Watcher {
    /// Takes what was sent from all three, and lends what both who sent it have sent to where it came from: the chunks of each
    /// side are a half of all.
    fn take_back(&mut self, left: &mut Side, right: &mut Side) {
        let Self { rings, half_sent, sent, lent: [of_left, of_right], .. } = self;
        let mut count = 0;
        // The watcher sends what goes either way.
        for (rings, most) in
            [(&mut left.rings, BURST), (&mut right.rings, BURST), (rings, 2 * BURST)]
        {
            let room = sent.get_mut(count..count + most).unwrap_or_default();
            // SAFETY: the rings are those of sockets of one UMEM.
            count += unsafe { rings.completion.consume(room) };
        }
        let chunks = half_sent.len();
        for chunk in sent.get(..count).unwrap_or_default() {
            let number = chunk.addr() / CHUNK_BYTES as usize;
            let Some(half_sent) = half_sent.get_mut(number) else { continue };
            *half_sent = !*half_sent;
            if !*half_sent {
                let owner = if number < chunks / 2 { &mut *of_left } else { &mut *of_right };
                owner.push(*chunk);
            }
        }
        for (owner, lent) in [(left, of_left), (right, of_right)] {
            // SAFETY: both have given the chunks back. The ring has an entry for each.
            unsafe { owner.rings.fill.produce(lent) };
            lent.clear();
        }
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

/// What was sent is lent again to where it came from.
#[inline]
fn lend_again(from: &mut Side, to: &mut Side) {
    let mut batch = [FrameDesc::default(); BURST];
    // SAFETY: both rings are those of sockets of one UMEM.
    let sent = unsafe { to.rings.completion.consume(&mut batch) };
    if sent > 0 {
        // SAFETY: the kernel has given the chunks back. The ring has an entry for each.
        unsafe { from.rings.fill.produce(batch.get(..sent).unwrap_or_default()) };
    }
}

#[inline]
fn forward(from: &mut Side, to: &mut Side, mut watcher: Option<&mut Watcher>) {
    let mut batch = [FrameDesc::default(); BURST];

    let mut room = (to.rings.tx.nb_free(BURST_FRAMES) as usize).min(BURST);
    if let Some(watcher) = &mut watcher {
        room = room.min(watcher.rings.tx.nb_free(BURST_FRAMES) as usize);
    }
    // SAFETY: both rings are those of sockets of one UMEM.
    let came = unsafe { from.rings.rx.consume(batch.get_mut(..room).unwrap_or_default()) };
    if came > 0 {
        let frames = batch.get(..came).unwrap_or_default();
        // SAFETY: the kernel has given the chunks to us, and nobody else has them.
        unsafe { to.rings.tx.produce(frames) };
        to.backlog = true;
        if let Some(watcher) = watcher {
            // SAFETY: a frame that is sent is only read, so that two may send it. It is lent again when both have.
            unsafe { watcher.rings.tx.produce(frames) };
            watcher.backlog = true;
        }
    } else if from.rings.fill.needs_wakeup() {
        // What it did shows in the ring.
        let _ = from.rings.fill.wakeup(from.rings.rx.fd_mut(), 0);
    }
    wake(&mut to.rings, &mut to.backlog);
}

/// Tells the kernel to send, while it has not taken all.
#[inline]
fn wake(rings: &mut Rings, backlog: &mut bool) {
    if *backlog {
        if rings.tx.needs_wakeup() {
            let _ = rings.tx.wakeup();
        }
        *backlog = rings.tx.nb_free_exact() < ENTRIES;
    }
}
