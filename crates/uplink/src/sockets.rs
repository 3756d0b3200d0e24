//! The sockets of an uplink, one for each queue. Opened and closed by the control thread; their rings go to the worker.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};
use std::str::FromStr;
use std::sync::Arc;

use xsk_rs::config::{BindFlags, Interface, LibxdpFlags, QueueSize, SocketConfig};
use xsk_rs::{CompQueue, FillQueue, RxQueue, Socket, TxQueue, Umem};

use crate::busy_poll::{self, Looks};
use crate::shared_umem::{Lots, SharedUmem};
use crate::status::UplinkFacts;
use crate::umem::{CHUNK_ROOM, Chunks, ENTRIES, QueueChunks, RX_ENTRIES, host_cause};

/// Frames that one call sends where the kernel copies them, if it leaves that to us.
const TX_BUDGET: u32 = 256;
/// The same if it does not: before Linux 6.17. What exceeds it stays in the tx ring for the next call.
pub(crate) const KERNEL_TX_BUDGET: u32 = 32;
/// The option for it. Linux 6.18, include/uapi/linux/if_xdp.h.
const XDP_MAX_TX_SKB_BUDGET: libc::c_int = 9;

/// Bytes that a frame has beside what counts for the MTU: an Ethernet header and a VLAN tag.
pub(crate) const LINK_BYTES: u32 = 18;

/// Whether the longest frame of an interface with this MTU lies in one chunk.
pub(crate) fn fits_one_chunk(mtu: u32) -> bool {
    mtu.saturating_add(LINK_BYTES) <= CHUNK_ROOM
}

/// Who moves the bytes between card and chunks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mover {
    /// The card.
    Card,
    /// The kernel.
    Kernel,
}

/// The four rings of one queue.
#[derive(Debug)]
pub(crate) struct Rings {
    pub(crate) rx: RxQueue,
    pub(crate) fill: FillQueue,
    pub(crate) tx: TxQueue,
    pub(crate) completion: CompQueue,
}

/// Where the chunks of an uplink come from.
#[derive(Debug)]
pub(crate) enum Source {
    /// A UMEM of its own.
    Own(Chunks),
    /// One that it shares with other uplinks.
    Shared(Arc<Lots>),
}

impl Source {
    pub(crate) fn chunks(&self) -> &Chunks {
        match self {
            Self::Own(chunks) => chunks,
            Self::Shared(lots) => lots.chunks(),
        }
    }

    /// The chunks that are to be given back when no socket is open any more.
    pub(crate) fn lots(&self) -> Option<Arc<Lots>> {
        match self {
            Self::Own(_) => None,
            Self::Shared(lots) => Some(Arc::clone(lots)),
        }
    }

    /// The part of one queue.
    pub(crate) fn of_queue(&self, queue: u32) -> Option<QueueChunks> {
        match self {
            Self::Own(chunks) => chunks.of_queue(queue),
            Self::Shared(lots) => lots.of_queue(queue),
        }
    }
}

/// The sockets of all queues, bound.
#[derive(Debug)]
pub(crate) struct Sockets {
    // Declared before the chunks, which others may have when the sockets are closed.
    pub(crate) rings: Vec<Rings>,
    pub(crate) source: Source,
    /// Whether a frame may lie in several chunks.
    pub(crate) multi_buffer: bool,
}

/// Why a socket could not be made.
#[derive(Debug)]
pub(crate) struct BindError {
    /// The queue; `None` when there is no memory for any.
    pub(crate) queue: Option<u32>,
    pub(crate) cause: io::Error,
}

impl BindError {
    pub(crate) fn is(&self, code: i32) -> bool {
        self.cause.raw_os_error() == Some(code)
    }

    /// Whether another UMEM would not change it.
    fn is_of_interface(&self) -> bool {
        [libc::EBUSY, libc::ENODEV, libc::EPERM, libc::EACCES].into_iter().any(|code| self.is(code))
    }
}

impl Sockets {
    /// Binds sockets to the first `queues` queues of an interface. Frames in several chunks are possible if the driver has
    /// them; it need not when `mtu` fits one chunk. The chunks are those of `shared`, if there is such a UMEM and it has as many.
    pub(crate) fn bind(
        interface: &str,
        queues: u32,
        mover: Mover,
        mtu: u32,
        shared: Option<&Arc<SharedUmem>>,
    ) -> Result<Self, BindError> {
        let lots = shared.filter(|_| mover == Mover::Kernel).and_then(|shared| shared.take(queues));
        match lots.map(|lots| Self::bind_shared(interface, queues, mtu, lots)) {
            None => {}
            Some(Err(error)) if !error.is_of_interface() => {}
            Some(bound) => return bound,
        }
        Self::bind_own(interface, queues, mover, mtu)
    }

    fn bind_shared(
        interface: &str,
        queues: u32,
        mtu: u32,
        lots: Arc<Lots>,
    ) -> Result<Self, BindError> {
        let multi_buffer = lots.multi_buffer();
        if !multi_buffer && !fits_one_chunk(mtu) {
            let cause = io::Error::from_raw_os_error(libc::EOPNOTSUPP);
            return Err(BindError { queue: None, cause });
        }
        // All else is as with the first socket of the UMEM.
        let rings = bind_all(interface, queues, BindFlags::empty(), &lots.chunks().umem)?;
        Ok(Self { rings, source: Source::Shared(lots), multi_buffer })
    }

    fn bind_own(interface: &str, queues: u32, mover: Mover, mtu: u32) -> Result<Self, BindError> {
        let mover = match mover {
            Mover::Card => BindFlags::XDP_ZEROCOPY,
            Mover::Kernel => BindFlags::XDP_COPY,
        };
        let flags = mover | BindFlags::XDP_USE_NEED_WAKEUP;
        let bind = |flags, multi_buffer| {
            let no_memory = |cause| BindError { queue: None, cause };
            let chunks = Chunks::make(queues).map_err(no_memory)?;
            let rings = bind_all(interface, queues, flags, &chunks.umem)?;
            Ok::<_, BindError>(Self { rings, source: Source::Own(chunks), multi_buffer })
        };
        match bind(flags | BindFlags::XDP_USE_SG, true) {
            Err(error)
                if fits_one_chunk(mtu)
                    && (error.is(libc::EOPNOTSUPP) || error.is(libc::EINVAL)) =>
            {
                bind(flags, false)
            }
            bound => bound,
        }
    }

    /// Lets one call of the kernel send more frames, if it leaves that to us. Returns how many it sends.
    pub(crate) fn raise_tx_budget(&self) -> u32 {
        let raised = self.rings.iter().all(|rings| raise_tx_budget(&rings.rx).is_ok());
        if raised { TX_BUDGET } else { KERNEL_TX_BUDGET }
    }

    /// Leaves it to the worker to make the driver look for frames, if the host has that for all queues. Returns who does it.
    pub(crate) fn look_by_worker(&self) -> Looks {
        let all = self.rings.iter().all(|rings| busy_poll::demand(descriptor(&rings.rx)).is_ok());
        if all {
            return Looks::ByWorker;
        }
        self.rings.iter().for_each(|rings| busy_poll::withdraw(descriptor(&rings.rx)));
        Looks::ByCard
    }

    /// A second descriptor of each socket, to watch it by.
    pub(crate) fn watched(&self) -> io::Result<Vec<OwnedFd>> {
        self.rings.iter().map(|rings| descriptor(&rings.rx).try_clone_to_owned()).collect()
    }
}

fn bind_all(
    interface: &str,
    queues: u32,
    flags: BindFlags,
    umem: &Umem,
) -> Result<Vec<Rings>, BindError> {
    let rings = (0..queues).map(|queue| {
        let bound = bind_one(interface, queue, flags, umem);
        bound.map_err(|cause| BindError { queue: Some(queue), cause })
    });
    rings.collect()
}

/// Binds a socket to one queue. Where it is not the first one of the UMEM, that says what the flags would.
pub(crate) fn bind_one(
    interface: &str,
    queue: u32,
    flags: BindFlags,
    umem: &Umem,
) -> io::Result<Rings> {
    let entries = |count: u32| QueueSize::new(count).map_err(io::Error::other);
    let config = SocketConfig::builder()
        .rx_queue_size(entries(RX_ENTRIES)?)
        .tx_queue_size(entries(ENTRIES)?)
        .libxdp_flags(LibxdpFlags::XSK_LIBXDP_FLAGS_INHIBIT_PROG_LOAD)
        .bind_flags(flags)
        .build();
    let interface = Interface::from_str(interface).map_err(io::Error::other)?;
    // SAFETY: the library loads no program, which is what it demands when a queue is bound twice.
    let made = unsafe { Socket::new(config, umem, &interface, queue) };
    let (tx, rx, others) = made.map_err(|error| host_cause(&error))?;
    // Only a second socket on the same queue gets no rings of its own.
    let none = || io::Error::other("the socket has no fill ring");
    let (fill, completion) = others.ok_or_else(none)?;
    Ok(Rings { rx, fill, tx, completion })
}

fn raise_tx_budget(rx: &RxQueue) -> io::Result<()> {
    let budget = TX_BUDGET;
    let bytes = libc::socklen_t::try_from(size_of_val(&budget)).unwrap_or(0);
    // SAFETY: the kernel reads `bytes` bytes from `budget`, which has as many.
    let result = unsafe {
        libc::setsockopt(
            rx.fd().as_raw_fd(),
            libc::SOL_XDP,
            XDP_MAX_TX_SKB_BUDGET,
            (&raw const budget).cast(),
            bytes,
        )
    };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// The descriptor of the socket that a ring belongs to.
pub(crate) fn descriptor(rx: &RxQueue) -> BorrowedFd<'_> {
    // SAFETY: the descriptor is open as long as the ring lives, which is borrowed.
    unsafe { BorrowedFd::borrow_raw(rx.fd().as_raw_fd()) }
}

/// Frames that the kernel could not bring to the switch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct KernelDrops {
    /// No chunk was in the fill ring: the worker, or those it delivers to, fell behind. Always 0 where the card reads and
    /// writes the chunks itself: it counts such frames, the kernel only how often the driver looked in vain.
    pub no_chunk: u64,
    /// The rx ring was full.
    pub ring_full: u64,
    /// Any other reason, as a frame too large for a chunk where frames in several are not possible.
    pub other: u64,
    /// Descriptors to be sent that the kernel refused.
    pub refused_to_send: u64,
}

impl KernelDrops {
    /// What the kernel has counted on one socket of an interface that is used like `facts`.
    pub(crate) fn read(socket: &OwnedFd, facts: &UplinkFacts) -> io::Result<Self> {
        let mut counts = libc::xdp_statistics {
            rx_dropped: 0,
            rx_invalid_descs: 0,
            tx_invalid_descs: 0,
            rx_ring_full: 0,
            rx_fill_ring_empty_descs: 0,
            tx_ring_empty_descs: 0,
        };
        let mut bytes = libc::socklen_t::try_from(size_of_val(&counts)).unwrap_or(0);
        // SAFETY: the kernel writes at most `bytes` bytes to `counts`, which has as many.
        let result = unsafe {
            libc::getsockopt(
                socket.as_raw_fd(),
                libc::SOL_XDP,
                libc::XDP_STATISTICS,
                (&raw mut counts).cast(),
                &raw mut bytes,
            )
        };
        if result != 0 {
            return Err(io::Error::last_os_error());
        }
        Ok(Self::of(&counts, facts))
    }

    fn of(counts: &libc::xdp_statistics, facts: &UplinkFacts) -> Self {
        let no_chunk = match (facts.way.mover(), facts.multi_buffer) {
            (Mover::Card, _) => 0,
            // Linux 6.18, net/xdp/xsk.c, __xsk_rcv and xsk_rcv_check: it drops for nothing else then, and counts no look in vain
            // when there are some chunks, but fewer than the frame needs.
            (Mover::Kernel, true) => counts.rx_dropped,
            // Such frames are among those dropped, too.
            (Mover::Kernel, false) => counts.rx_fill_ring_empty_descs,
        };
        Self {
            no_chunk,
            ring_full: counts.rx_ring_full,
            other: counts.rx_dropped.saturating_sub(no_chunk) + counts.rx_invalid_descs,
            refused_to_send: counts.tx_invalid_descs,
        }
    }

    pub(crate) fn add(&mut self, more: &Self) {
        self.no_chunk += more.no_chunk;
        self.ring_full += more.ring_full;
        self.other += more.other;
        self.refused_to_send += more.refused_to_send;
    }

    /// All together.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.no_chunk + self.ring_full + self.other + self.refused_to_send
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::status::UplinkWay;
    use crate::status::tests::FACTS;

    #[test]
    fn each_frame_that_the_kernel_dropped_has_one_reason_and_looks_in_vain_are_no_frames() {
        let counts = libc::xdp_statistics {
            rx_dropped: 10,
            rx_invalid_descs: 1,
            tx_invalid_descs: 2,
            rx_ring_full: 4,
            rx_fill_ring_empty_descs: 7,
            tx_ring_empty_descs: 100,
        };
        let told = |way, multi_buffer| {
            let drops = KernelDrops::of(&counts, &UplinkFacts { way, multi_buffer, ..FACTS });
            (drops.no_chunk, drops.ring_full, drops.other, drops.refused_to_send)
        };
        assert_eq!(told(UplinkWay::Copy, false), (7, 4, 4, 2));
        assert_eq!(told(UplinkWay::Copy, true), (10, 4, 1, 2));
        assert_eq!(told(UplinkWay::ZeroCopy, true), (0, 4, 11, 2));
    }
}
