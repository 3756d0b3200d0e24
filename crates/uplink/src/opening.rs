//! Opening an interface: program, sockets and queues, in the best way that is allowed and possible. Done by the control
//! thread.

use std::cell::RefCell;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::sync::Arc;
use std::time::{Duration, Instant};

use helio_host::{Interface, Interfaces, PortEvent, Stop};
use helio_types::UplinkMode;

use crate::busy_poll::Looks;
use crate::ethtool::{QueueCounts, queue_counts};
use crate::parts::{MAX_QUEUES, Shared, UplinkError, UplinkQueues, WorkerPolling};
use crate::port::{Queue, Queues};
use crate::prepared::Prepared;
use crate::program::{Attached, Hook, OtherProgram, Program, attached_to};
use crate::receiver::{Place, Receiver};
use crate::sender::Sender;
use crate::shared_umem::Lots;
use crate::sockets::{BindError, Mover, Sockets};
use crate::status::{UmemUse, UplinkFacts, UplinkWay};
use crate::umem::{CHUNK_BYTES, CHUNKS, MOST_LENT_TO_COPY, RX_CHUNKS};
use crate::waker::Waker;

/// How long a queue or a program of a process that has just ended is waited for: the kernel takes them away a little later.
const RELEASE_PATIENCE: Duration = Duration::from_secs(2);
/// The number of the loopback in each network namespace: the first socket of a shared UMEM is bound to such a one, and libraries
/// tell sockets of a UMEM apart by the number.
const LOOPBACK: u32 = 1;
/// Memory of the chunks of one queue.
const MIB_OF_QUEUE: u32 = (CHUNKS * CHUNK_BYTES) >> 20;
/// First pause between two tries; each is twice as long as the one before.
const FIRST_PAUSE: Duration = Duration::from_millis(10);

/// An interface that is open.
#[derive(Debug)]
pub(crate) struct Opening {
    pub(crate) attached: Attached,
    pub(crate) queues: Box<Queues>,
    /// Kept by whoever has the sockets open.
    pub(crate) lots: Option<Arc<Lots>>,
    pub(crate) table: Arc<helio_mem::MemoryTable>,
    /// Second descriptors of the sockets, to ask for what was dropped.
    pub(crate) watched: Vec<OwnedFd>,
    pub(crate) interface: Interface,
    pub(crate) facts: UplinkFacts,
    /// What is not as an operator would expect.
    pub(crate) note: Option<String>,
}

/// Opens the interface of an uplink. `prepared` is what is asked of the interface: it stays there when a try fails after that.
pub(crate) fn open(
    shared: &Shared,
    interfaces: &Interfaces,
    stop: &Stop,
    prepared: &RefCell<Option<Prepared>>,
) -> Result<Opening, UplinkError> {
    // Undone if it does not come to asking again: the interface may be gone, or another's.
    let before = prepared.take();
    let opener = Opener { shared, stop, name: &shared.interface };
    let interface = interfaces
        .find(opener.name)
        .map_err(|cause| opener.host("its settings cannot be read", cause))?
        .ok_or_else(|| UplinkError::NoInterface { interface: opener.name.to_owned() })?;
    let there = queue_counts(interfaces, opener.name)
        .map_err(|cause| opener.host("its settings cannot be read", cause))?;
    let used = opener.queues(there)?;
    opener.wait_for_others(&interface)?;
    let asked = opener.prepare(&interface, before)?;
    let driver_note = asked.note.clone();
    prepared.replace(Some(asked));
    let (attached, sockets, way) = opener.reach(&interface, used.receiving)?;
    let looks = match (way, shared.polling) {
        (UplinkWay::ZeroCopy, WorkerPolling::Busy) => sockets.look_by_worker(),
        _ => Looks::ByCard,
    };
    let most_lent = match way {
        UplinkWay::ZeroCopy => usize::from(RX_CHUNKS),
        UplinkWay::Copy | UplinkWay::Skb => MOST_LENT_TO_COPY,
    };
    let facts = UplinkFacts {
        way,
        queues: used.receiving,
        sending_queues: used.sending,
        mtu: interface.mtu,
        multi_buffer: sockets.multi_buffer,
        pages: sockets.source.chunks().pages,
        umem: UmemUse::of(&sockets.source),
        busy_poll: looks == Looks::ByWorker,
        tx_budget: (way != UplinkWay::ZeroCopy).then(|| sockets.raise_tx_budget()),
    };
    let unused = unused_queues(used.receiving, there.receiving);
    let note = [driver_note, unused, opener.why_copied(&facts).map(str::to_owned)];
    let note = note.into_iter().flatten().reduce(|note, more| format!("{note}; {more}"));
    // Before all that has the sockets open, so that it is dropped after it.
    let lots = sockets.source.lots();
    let refused = |cause| opener.host("its sockets cannot be watched", cause);
    let wakers = sockets.watched().map_err(refused)?;
    let watched = sockets.watched().map_err(refused)?;
    let table = Arc::clone(&sockets.source.chunks().table);
    let queues = opener.make_queues(sockets, used.sending, wakers, looks, most_lent)?;
    for (queue, socket) in (0_u32..).zip(&watched) {
        let connected = attached.connect(queue, socket.as_raw_fd());
        connected.map_err(|cause| opener.host("its program finds no sockets", cause))?;
    }
    Ok(Opening { attached, queues, lots, table, watched, interface, facts, note })
}

/// The queues that an uplink shall use of those that are there. What is given to a queue beyond those that send, the kernel takes
/// no notice of (Linux 6.18, net/xdp/xsk.c, __xsk_generic_xmit).
pub(crate) fn wanted_queues(queues: UplinkQueues, there: QueueCounts) -> QueueCounts {
    let receiving = match queues {
        UplinkQueues::All => there.receiving,
        UplinkQueues::First(count) => count,
    };
    QueueCounts { receiving, sending: there.sending.min(receiving) }
}

/// What becomes of frames that arrive on queues that are not used, if there are any.
fn unused_queues(used: u32, there: u32) -> Option<String> {
    let told = || {
        format!(
            "{used} of the {there} queues that it had when it was opened are used, as the setting queues says, and the \
             host has what arrives on others"
        )
    };
    (used < there).then(told)
}

struct Opener<'a> {
    shared: &'a Shared,
    stop: &'a Stop,
    name: &'a str,
}

impl Opener<'_> {
    fn queues(&self, there: QueueCounts) -> Result<QueueCounts, UplinkError> {
        let used = wanted_queues(self.shared.queues, there);
        let (wanted, there) = (used.receiving, there.receiving);
        if wanted > there {
            return Err(UplinkError::Queues { interface: self.name.to_owned(), wanted, there });
        }
        if wanted > MAX_QUEUES {
            return Err(UplinkError::TooManyQueues { interface: self.name.to_owned(), there });
        }
        Ok(used)
    }

    /// Waits until nobody has a program there, as one who has just ended. Until then nothing is asked of the interface.
    fn wait_for_others(&self, interface: &Interface) -> Result<(), UplinkError> {
        let mut pauses = Pauses::begin(self.stop);
        while let Some(OtherProgram { which, word }) = attached_to(interface.index) {
            if !pauses.next() {
                let interface = self.name.to_owned();
                return Err(UplinkError::OtherProgram { interface, which, word });
            }
        }
        Ok(())
    }

    /// Asks of the interface what is to be asked of it, again if that was done `before`.
    fn prepare(
        &self,
        interface: &Interface,
        before: Option<Prepared>,
    ) -> Result<Prepared, UplinkError> {
        let asked = match before {
            Some(before) => before.again(interface.index),
            None => Prepared::new(interface.index).map(|prepared| (prepared, None)),
        };
        let (prepared, news) = asked.map_err(|cause| {
            self.refused(
                "receive all frames",
                "CAP_NET_RAW",
                "it does not receive all frames",
                cause,
            )
        })?;
        if let Some(news) = news {
            self.shared.tell(&PortEvent::Note(format!("{} {news}", self.name)));
        }
        Ok(prepared)
    }

    /// Attaches the program and binds the sockets in the first way that the host has.
    fn reach(
        &self,
        interface: &Interface,
        queues: u32,
    ) -> Result<(Attached, Sockets, UplinkWay), UplinkError> {
        let load = || {
            Program::load(queues, &self.shared.pass).map_err(|cause| {
                let rights = "CAP_BPF and CAP_NET_ADMIN";
                self.refused("load an XDP program", rights, "the XDP program is refused", cause)
            })
        };
        let mut attached: Option<(Attached, Hook)> = None;
        let mut refusal = None;
        for way in UplinkWay::of(self.shared.mode) {
            let hook = match way {
                UplinkWay::ZeroCopy | UplinkWay::Copy => Hook::Driver,
                UplinkWay::Skb => Hook::Kernel,
            };
            // A program that is there for a way before stays; until it has sockets, frames are the host's.
            let kept = attached.take().filter(|(_, at)| *at == hook);
            // One at another hook has gone with that: the kernel refuses to have both.
            let program = match kept {
                Some((program, _)) => program,
                None => match self.attach(load()?, interface, hook)? {
                    Ok(program) => program,
                    Err(cause) => {
                        refusal = Some(self.no_mode(cause));
                        continue;
                    }
                },
            };
            match self.bind(interface, queues, way.mover()) {
                Ok(Ok(sockets)) => return Ok((program, sockets, *way)),
                Ok(Err(error)) => refusal = Some(self.no_mode(error.cause)),
                // Another way may need none: where the kernel copies, uplinks share a UMEM that is there already.
                Err(error @ UplinkError::LockedMemory { .. }) => refusal = Some(error),
                Err(error) => return Err(error),
            }
            attached = Some((program, hook));
        }
        let none = || self.no_mode(io::Error::from_raw_os_error(libc::EOPNOTSUPP));
        Err(refusal.unwrap_or_else(none))
    }

    /// The inner error is one that another way may not have.
    fn attach(
        &self,
        program: Program,
        interface: &Interface,
        hook: Hook,
    ) -> Result<io::Result<Attached>, UplinkError> {
        let mut pauses = Pauses::begin(self.stop);
        let mut program = program;
        loop {
            let (again, cause) = match program.attach(interface.index, hook) {
                Ok(attached) => return Ok(Ok(attached)),
                Err(refused) => refused,
            };
            program = again;
            match cause.raw_os_error() {
                Some(libc::EBUSY | libc::EEXIST) if pauses.next() => {}
                Some(libc::EBUSY | libc::EEXIST) => {
                    // It may be gone by now.
                    let other = attached_to(interface.index);
                    let (which, word) =
                        other.map_or((String::new(), "xdp"), |other| (other.which, other.word));
                    let interface = self.name.to_owned();
                    return Err(UplinkError::OtherProgram { interface, which, word });
                }
                Some(libc::EPERM | libc::EACCES) => {
                    let rights = "CAP_BPF and CAP_NET_ADMIN";
                    return Err(self.refused("attach an XDP program", rights, "", cause));
                }
                _ => return Ok(Err(cause)),
            }
        }
    }

    /// The inner error is one that another way may not have.
    fn bind(
        &self,
        interface: &Interface,
        queues: u32,
        mover: Mover,
    ) -> Result<Result<Sockets, BindError>, UplinkError> {
        let mut pauses = Pauses::begin(self.stop);
        let umem = self.shared.umem.as_ref().filter(|_| interface.index != LOOPBACK);
        loop {
            let error = match Sockets::bind(self.name, queues, mover, interface.mtu, umem) {
                Ok(sockets) => return Ok(Ok(sockets)),
                Err(error) => error,
            };
            match (error.cause.raw_os_error(), error.queue) {
                (Some(libc::EBUSY), Some(_)) if pauses.next() => {}
                (Some(libc::EBUSY), Some(queue)) => {
                    return Err(UplinkError::QueueInUse { interface: self.name.to_owned(), queue });
                }
                (Some(libc::EPERM | libc::EACCES), _) => {
                    return Err(self.refused(
                        "open AF_XDP sockets",
                        "CAP_NET_RAW",
                        "",
                        error.cause,
                    ));
                }
                (Some(libc::ENODEV), _) => {
                    return Err(UplinkError::NoInterface { interface: self.name.to_owned() });
                }
                // Linux 6.18, net/xdp/xdp_umem.c, xdp_umem_account_pages: beyond RLIMIT_MEMLOCK.
                (Some(libc::ENOBUFS), None) => {
                    let mib = queues * MIB_OF_QUEUE;
                    return Err(UplinkError::LockedMemory { interface: self.name.to_owned(), mib });
                }
                (_, None) => {
                    return Err(self.host("there is no memory for its chunks", error.cause));
                }
                _ => return Ok(Err(error)),
            }
        }
    }

    fn make_queues(
        &self,
        sockets: Sockets,
        sending: u32,
        wakers: Vec<OwnedFd>,
        looks: Looks,
        most_lent: usize,
    ) -> Result<Box<Queues>, UplinkError> {
        let Sockets { source, rings, .. } = sockets;
        let (umem, table) = (&source.chunks().umem, Arc::clone(&source.chunks().table));
        let mut queues = Vec::with_capacity(rings.len());
        for (number, (rings, waker)) in (0_u8..).zip(rings.into_iter().zip(wakers)) {
            let missing = || self.host("its chunks do not suffice", io::ErrorKind::Other.into());
            let own = source.of_queue(u32::from(number)).ok_or_else(missing)?;
            let place = Place { port: self.shared.id, queue: number };
            queues.push(Queue {
                receiver: Receiver::new(place, rings.rx, rings.fill, &own, looks, most_lent),
                sender: Sender::new(umem.clone(), rings.tx, rings.completion, &own),
                waker: Waker::new(waker),
            });
        }
        Ok(Box::new(Queues::new(queues, sending as usize, table, source.lots())))
    }

    /// Why frames to and from other uplinks are copied although there is memory that they share.
    fn why_copied(&self, facts: &UplinkFacts) -> Option<&'static str> {
        self.shared.umem.as_ref()?;
        match (facts.umem, facts.way) {
            (UmemUse::Shared, _) => None,
            (UmemUse::Own, UplinkWay::ZeroCopy) => Some(
                "frames to and from other uplinks are copied, as in this mode each has its own memory",
            ),
            (UmemUse::Own, _) => Some(
                "frames to and from other uplinks are copied, as the memory that they share has no room for it",
            ),
        }
    }

    fn host(&self, what: &'static str, cause: io::Error) -> UplinkError {
        UplinkError::Host { interface: self.name.to_owned(), what, cause }
    }

    /// The error for something that the host refused: for want of a right, or else.
    fn refused(
        &self,
        right: &'static str,
        capabilities: &'static str,
        otherwise: &'static str,
        cause: io::Error,
    ) -> UplinkError {
        let interface = self.name.to_owned();
        match cause.raw_os_error() {
            Some(libc::EPERM | libc::EACCES) => {
                UplinkError::NotPermitted { interface, what: right, capabilities }
            }
            _ => self.host(otherwise, cause),
        }
    }

    fn no_mode(&self, cause: io::Error) -> UplinkError {
        let mode: UplinkMode = self.shared.mode;
        UplinkError::NoSuchMode { interface: self.name.to_owned(), mode, cause }
    }
}

/// Pauses between tries, longer and longer, until patience or the uplink ends.
struct Pauses<'a> {
    stop: &'a Stop,
    until: Instant,
    pause: Duration,
}

impl<'a> Pauses<'a> {
    fn begin(stop: &'a Stop) -> Self {
        Self { stop, until: Instant::now() + RELEASE_PATIENCE, pause: FIRST_PAUSE }
    }

    /// Waits. `false` when there is nothing more to wait for.
    fn next(&mut self) -> bool {
        if self.stop.is_wanted() || Instant::now() + self.pause > self.until {
            return false;
        }
        self.stop.wait(None, self.pause);
        self.pause *= 2;
        true
    }
}
