//! One UMEM for the queues of several uplinks, so that a frame from one to another is sent from where it lies. Made when the
//! switch starts; control threads take chunks out of it when an interface is opened, and give them back when it is closed.
//!
//! The kernel has sockets join a UMEM by the one that was bound to it first, takes the mode from that, and refuses when it is not
//! bound any more: so that one is bound to no uplink, which can go, but to the loopback of a network namespace that it alone
//! keeps. Nothing is ever received or sent there.
//!
//! Each chunk is free, or belongs to one queue. Queues exchange chunks one for one, so each gives back as many as it took.

use std::collections::VecDeque;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;

use helio_host::Interfaces;
use xsk_rs::Umem;
use xsk_rs::config::BindFlags;

use crate::ethtool::{QueueCounts, queue_counts};
use crate::opening::wanted_queues;
use crate::parts::UplinkQueues;
use crate::sockets::{Rings, bind_one};
use crate::umem::{CHUNKS, Chunks, QueueChunks, Stock};

/// Most queues that share a UMEM: chunks are known by numbers of 16 bits.
const MOST_QUEUES: u32 = 15;

/// A UMEM that the queues of several uplinks share.
pub struct SharedUmem {
    chunks: Chunks,
    stock: Stock,
    /// Whether a frame may lie in several chunks.
    multi_buffer: bool,
    /// Chunks that no queue has. Those that were given back last are taken last: a card may still read what they hold.
    free: Mutex<VecDeque<u16>>,
    /// Keeps the first socket bound.
    _anchor: Mutex<Rings>,
}

impl SharedUmem {
    /// A UMEM for these uplinks, each an interface in the network namespace of the calling thread and which of its queues are
    /// used: for as many queues as they have now, of those that fit into it together. `None` when fewer than two do: they need
    /// none.
    ///
    /// # Errors
    ///
    /// When the host refuses: it takes CAP_SYS_ADMIN, besides what uplinks need. Then each uplink is to have a UMEM of its own.
    pub fn for_uplinks<'a>(
        uplinks: impl Iterator<Item = (&'a str, UplinkQueues)>,
    ) -> io::Result<Option<Arc<Self>>> {
        let interfaces = Interfaces::new()?;
        let queues = uplinks.map(|(interface, queues)| {
            // One that is not there yet has one queue, as most have.
            let there = queue_counts(&interfaces, interface).unwrap_or(QueueCounts::ONE);
            wanted_queues(queues, there).receiving
        });
        queues_together(queues).map(Self::make).transpose()
    }

    /// A UMEM for `queues` queues, 15 at most.
    ///
    /// # Errors
    ///
    /// When the host refuses.
    pub fn make(queues: u32) -> io::Result<Arc<Self>> {
        let queues = queues.clamp(1, MOST_QUEUES);
        let thread = thread::Builder::new().name("anchor".to_owned());
        let anchored = thread.spawn(move || anchor(queues))?.join();
        let broke_off = |_| io::Error::other("the thread that makes the UMEM broke off");
        let (chunks, anchor, multi_buffer) = anchored.map_err(broke_off)??;
        let stock = chunks.shared_stock();
        let free = Mutex::new((0..stock.count()).collect());
        Ok(Arc::new(Self { chunks, stock, multi_buffer, free, _anchor: Mutex::new(anchor) }))
    }

    /// Number of all chunks.
    #[must_use]
    pub fn total(&self) -> usize {
        usize::from(self.stock.count())
    }

    /// Number of chunks that no queue has.
    #[must_use]
    pub fn free(&self) -> usize {
        self.lock().len()
    }

    fn lock(&self) -> MutexGuard<'_, VecDeque<u16>> {
        self.free.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes the chunks of `queues` queues; `None` when there are not as many.
    pub(crate) fn take(self: &Arc<Self>, queues: u32) -> Option<Arc<Lots>> {
        let wanted = queues.checked_mul(CHUNKS)? as usize;
        let mut free = self.lock();
        if free.len() < wanted {
            return None;
        }
        let chunks = Mutex::new(free.drain(..wanted).collect());
        drop(free);
        Some(Arc::new(Lots { shared: Arc::clone(self), chunks }))
    }
}

impl std::fmt::Debug for SharedUmem {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SharedUmem")
            .field("total", &self.total())
            .field("free", &self.free())
            .finish_non_exhaustive()
    }
}

/// Chunks of a shared UMEM that one uplink has. They are given back when the last who keeps them has dropped them: all who have
/// one of its sockets open keep them.
#[derive(Debug)]
pub(crate) struct Lots {
    shared: Arc<SharedUmem>,
    chunks: Mutex<Vec<u16>>,
}

impl Lots {
    /// What is given back, in the place of what was taken: queues have exchanged chunks with others.
    pub(crate) fn replace(&self, chunks: Vec<u16>) {
        *self.lock() = chunks;
    }

    fn lock(&self) -> MutexGuard<'_, Vec<u16>> {
        self.chunks.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn chunks(&self) -> &Chunks {
        &self.shared.chunks
    }

    /// Whether a frame may lie in several chunks.
    pub(crate) fn multi_buffer(&self) -> bool {
        self.shared.multi_buffer
    }

    /// The part of one queue.
    pub(crate) fn of_queue(&self, queue: u32) -> Option<QueueChunks> {
        let start = queue.checked_mul(CHUNKS)? as usize;
        let chunks = self.lock();
        let chunks = chunks.get(start..start + CHUNKS as usize)?;
        Some(QueueChunks::new(self.shared.stock.clone(), chunks))
    }
}

impl Drop for Lots {
    fn drop(&mut self) {
        let chunks = self.chunks.get_mut().unwrap_or_else(PoisonError::into_inner);
        self.shared.lock().extend(chunks.drain(..));
    }
}

/// How many queues those uplinks have together that fit into one UMEM, given how many each has. `None` when not even two do.
fn queues_together(each: impl Iterator<Item = u32>) -> Option<u32> {
    let (mut uplinks, mut together) = (0, 0_u32);
    for queues in each {
        if let Some(more) = together.checked_add(queues).filter(|more| *more <= MOST_QUEUES) {
            uplinks += 1;
            together = more;
        }
    }
    (uplinks > 1).then_some(together)
}

/// Makes chunks, and binds the first socket to them in a network namespace of this thread, which ends with it: then the socket
/// alone keeps the namespace.
fn anchor(queues: u32) -> io::Result<(Chunks, Rings, bool)> {
    // SAFETY: this thread, which nobody else runs anything on, gets another network namespace, nothing else.
    if unsafe { libc::unshare(libc::CLONE_NEWNET) } != 0 {
        return Err(io::Error::last_os_error());
    }
    let flags = BindFlags::XDP_COPY | BindFlags::XDP_USE_NEED_WAKEUP;
    let bind = |flags| {
        // Anew for each try: a UMEM whose first socket could not be bound is of no use.
        let chunks = Chunks::make(queues)?;
        let umem: &Umem = &chunks.umem;
        let rings = bind_one("lo", 0, flags, umem)?;
        Ok::<_, io::Error>((chunks, rings))
    };
    match bind(flags | BindFlags::XDP_USE_SG) {
        Ok((chunks, rings)) => Ok((chunks, rings, true)),
        // Before Linux 6.6.
        Err(error) if matches!(error.raw_os_error(), Some(libc::EOPNOTSUPP | libc::EINVAL)) => {
            bind(flags).map(|(chunks, rings)| (chunks, rings, false))
        }
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn lots_are_taken_and_given_back_and_none_is_had_twice() {
        let shared = SharedUmem::make(3).unwrap();
        assert_eq!((shared.total(), shared.free()), (3 * 4096, 3 * 4096));
        let one = shared.take(1).unwrap();
        let two = shared.take(2).unwrap();
        assert!(shared.take(1).is_none());
        let all: BTreeSet<u16> = [&one, &two].iter().flat_map(|lots| lots.lock().clone()).collect();
        assert_eq!(all.len(), 3 * 4096);
        assert!(two.of_queue(1).is_some() && two.of_queue(2).is_none());
        let kept = Arc::clone(&one);
        drop(one);
        assert_eq!(shared.free(), 0, "somebody has its sockets open");
        drop(kept);
        assert_eq!(shared.free(), 4096);
        drop(two);
        assert_eq!(shared.free(), 3 * 4096);
    }

    #[test]
    fn a_umem_has_room_for_15_queues_at_most() {
        assert_eq!(SharedUmem::make(16).unwrap().total(), 15 * 4096);
    }

    #[test]
    fn who_may_not_make_a_namespace_is_refused() {
        let refused = thread::spawn(|| {
            // Of this thread only, and of those that it starts.
            // SAFETY: no pointers are passed.
            let done = unsafe { libc::syscall(libc::SYS_setresuid, 65_534, 65_534, 65_534) };
            assert_eq!(done, 0);
            SharedUmem::make(2).err()?.raw_os_error()
        });
        assert_eq!(refused.join().unwrap(), Some(libc::EPERM));
    }

    #[test]
    fn uplinks_that_do_not_fit_together_get_no_memory_that_nobody_could_use() {
        assert_eq!(queues_together([63, 63].into_iter()), None);
        assert_eq!(queues_together([8, 8].into_iter()), None);
        assert_eq!(queues_together([8, 7].into_iter()), Some(15));
        assert_eq!(queues_together([8, 63, 2].into_iter()), Some(10));
        assert_eq!(queues_together([u32::MAX, 1].into_iter()), None);
    }

    #[test]
    fn one_uplink_shares_with_nobody() {
        let one = [("lo", UplinkQueues::First(2))];
        assert!(SharedUmem::for_uplinks(one.into_iter()).unwrap().is_none());
        let two = [("lo", UplinkQueues::First(2)), ("no-such", UplinkQueues::All)];
        let shared = SharedUmem::for_uplinks(two.into_iter()).unwrap().unwrap();
        assert_eq!(shared.total(), 3 * 4096);
    }
}
