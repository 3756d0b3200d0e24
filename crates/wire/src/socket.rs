//! AF_XDP sockets of our own: in copy mode, because a veth has no other, and without a program of the library.

use std::io;
use std::num::NonZeroU32;
use std::os::fd::AsRawFd;
use std::str::FromStr;

use xsk_rs::config::{
    BindFlags, FrameSize, Interface, LibxdpFlags, QueueSize, SocketConfig, UmemConfig,
};
use xsk_rs::{CompQueue, FillQueue, FrameDesc, RxQueue, Socket, TxQueue, Umem};

/// Chunks of a UMEM.
pub(crate) const CHUNKS: u32 = 4096;
/// Entries of each ring.
pub(crate) const ENTRIES: u32 = 4096;
/// Bytes of a chunk.
pub(crate) const CHUNK_BYTES: u32 = 4096;

/// Frames that one call may send; the kernel's own bound is 32, and kernels before 6.17 keep to it.
const TX_BUDGET: u32 = 256;
/// The option for it. Linux 6.18, include/uapi/linux/if_xdp.h.
const XDP_MAX_TX_SKB_BUDGET: libc::c_int = 9;

/// The rings of one interface.
#[derive(Debug)]
pub(crate) struct Rings {
    pub(crate) rx: RxQueue,
    pub(crate) tx: TxQueue,
    pub(crate) fill: FillQueue,
    pub(crate) completion: CompQueue,
}

/// Memory for frames, and the descriptors of its chunks.
pub(crate) fn memory() -> io::Result<(Umem, Vec<FrameDesc>)> {
    let entries = QueueSize::new(ENTRIES).map_err(io::Error::other)?;
    let config = UmemConfig::builder()
        .frame_size(FrameSize::new(CHUNK_BYTES).map_err(io::Error::other)?)
        .fill_queue_size(entries)
        .comp_queue_size(entries)
        .build()
        .map_err(io::Error::other)?;
    let count = NonZeroU32::new(CHUNKS).ok_or(io::ErrorKind::InvalidInput)?;
    Umem::new(config, count, false).map_err(io::Error::other)
}

/// Binds the first queue of an interface.
pub(crate) fn bind(interface: &str, umem: &Umem) -> io::Result<Rings> {
    let entries = QueueSize::new(ENTRIES).map_err(io::Error::other)?;
    let config = SocketConfig::builder()
        .rx_queue_size(entries)
        .tx_queue_size(entries)
        .libxdp_flags(LibxdpFlags::XSK_LIBXDP_FLAGS_INHIBIT_PROG_LOAD)
        .bind_flags(BindFlags::XDP_COPY | BindFlags::XDP_USE_NEED_WAKEUP)
        .build();
    let name = Interface::from_str(interface).map_err(io::Error::other)?;
    // SAFETY: the library loads no program, which is what it demands when a queue is bound twice.
    let made = unsafe { Socket::new(config, umem, &name, 0) };
    let (tx, rx, others) = made.map_err(io::Error::other)?;
    // Only a second socket on the same queue gets no rings of its own.
    let none = || io::Error::other(format!("the queue of {interface} is in use"));
    let (fill, completion) = others.ok_or_else(none)?;
    raise_tx_budget(&rx);
    Ok(Rings { rx, tx, fill, completion })
}

fn raise_tx_budget(rx: &RxQueue) {
    let budget = TX_BUDGET;
    let bytes = libc::socklen_t::try_from(size_of_val(&budget)).unwrap_or(0);
    // SAFETY: the kernel reads `bytes` bytes from `budget`, which has as many.
    let _ = unsafe {
        libc::setsockopt(
            rx.fd().as_raw_fd(),
            libc::SOL_XDP,
            XDP_MAX_TX_SKB_BUDGET,
            (&raw const budget).cast(),
            bytes,
        )
    };
}
