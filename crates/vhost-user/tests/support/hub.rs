//! The worker of the tests, and what it shares with them.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering, fence};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

use helio_frame::{
    Armed, Burst, Frame, Intake, MEMORY_IDS, MemoryDirectory, MemoryId, Origin, Pool, Port,
    Precedence, Run, Wakeups,
};
use helio_mem::MemoryTable;
use helio_types::{DropReason, PortId, WorkerId};
use helio_vhost_user::VhostPort;
use rustix::event::{EventfdFlags, Timespec, epoll, eventfd};

type Tables = Vec<Option<Arc<MemoryTable>>>;

/// What tests and the worker share.
pub struct Shared {
    /// Locked by the worker for a whole turn, so that a table is replaced between turns only.
    tables: Mutex<Tables>,
    event: OwnedFd,
    poll: OwnedFd,
    /// Frames are held, not given back, while this is set.
    hold: AtomicBool,
    /// Frames held now.
    pub held: AtomicU64,
    pub sleeps: AtomicU64,
    /// Frames refused or dropped, by reason.
    drops: Vec<AtomicU64>,
    /// Descriptors watched.
    pub watched: AtomicU64,
    paused: AtomicBool,
    /// Ports are prepared for frames, and not offered them, while this is set.
    only_prepares: AtomicBool,
}

impl Shared {
    pub fn dropped(&self, reason: DropReason) -> u64 {
        self.drops[reason.index()].load(Ordering::Relaxed)
    }

    pub fn has_memory(&self, port: PortId) -> bool {
        self.tables.lock().unwrap()[MemoryId::of_port(port).index()].is_some()
    }

    /// Lets the worker stand still.
    pub fn pause(&self) {
        self.paused.store(true, Ordering::SeqCst);
        self.wake();
    }

    /// Lets it go on.
    pub fn resume(&self) {
        self.paused.store(false, Ordering::SeqCst);
    }

    /// From now on ports are told of frames, and do not get them.
    pub fn withhold_frames(&self) {
        self.only_prepares.store(true, Ordering::SeqCst);
    }

    /// From now on they get them again.
    pub fn offer_frames(&self) {
        self.only_prepares.store(false, Ordering::SeqCst);
    }

    /// From now on frames are delivered, but not given back.
    pub fn hold_frames(&self) {
        self.hold.store(true, Ordering::SeqCst);
    }

    /// Gives all of them back.
    pub fn release_frames(&self) {
        self.hold.store(false, Ordering::SeqCst);
        self.wake();
    }
}

impl MemoryDirectory for Shared {
    fn replace(&self, id: MemoryId, table: Option<Arc<MemoryTable>>) {
        self.tables.lock().unwrap()[id.index()] = table;
    }
}

impl Wakeups for Shared {
    fn wake(&self) {
        let _ = rustix::io::write(&self.event, &1_u64.to_ne_bytes());
    }

    fn watch(&self, fd: BorrowedFd<'_>) -> io::Result<()> {
        let flags = epoll::EventFlags::IN | epoll::EventFlags::ET;
        epoll::add(&self.poll, fd, epoll::EventData::new_u64(1), flags)?;
        self.watched.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }

    fn unwatch(&self, fd: BorrowedFd<'_>) {
        epoll::delete(&self.poll, fd).unwrap();
        self.watched.fetch_sub(1, Ordering::Relaxed);
    }
}

enum Order {
    Add(PortId, Box<VhostPort>),
    Remove(PortId),
    End,
}

/// The worker thread.
pub struct Hub {
    pub shared: Arc<Shared>,
    orders: Sender<(Order, Sender<()>)>,
    thread: Option<JoinHandle<()>>,
}

impl Hub {
    pub fn start() -> Self {
        let event = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK).unwrap();
        let poll = epoll::create(epoll::CreateFlags::CLOEXEC).unwrap();
        let flags = epoll::EventFlags::IN | epoll::EventFlags::ET;
        epoll::add(&poll, event.as_fd(), epoll::EventData::new_u64(0), flags).unwrap();
        let shared = Arc::new(Shared {
            tables: Mutex::new(vec![None; MEMORY_IDS]),
            event,
            poll,
            hold: AtomicBool::new(false),
            held: AtomicU64::new(0),
            sleeps: AtomicU64::new(0),
            drops: DropReason::ALL.iter().map(|_| AtomicU64::new(0)).collect(),
            watched: AtomicU64::new(0),
            paused: AtomicBool::new(false),
            only_prepares: AtomicBool::new(false),
        });
        let (orders, inbox) = channel();
        let worker = Worker::new(Arc::clone(&shared), inbox);
        let thread = std::thread::spawn(move || worker.run());
        Self { shared, orders, thread: Some(thread) }
    }

    pub fn add(&self, id: PortId, port: VhostPort) {
        self.order(Order::Add(id, Box::new(port)));
    }

    /// Drops the port, whatever its state.
    pub fn remove(&self, id: PortId) {
        self.order(Order::Remove(id));
    }

    fn order(&self, order: Order) {
        let (done, answer) = channel();
        self.orders.send((order, done)).unwrap();
        self.shared.wake();
        answer.recv().unwrap();
    }
}

impl Drop for Hub {
    fn drop(&mut self) {
        if let Some(thread) = self.thread.take() {
            self.order(Order::End);
            let ended = thread.join();
            if !std::thread::panicking() {
                ended.unwrap();
            }
        }
    }
}

struct Worker {
    shared: Arc<Shared>,
    inbox: Receiver<(Order, Sender<()>)>,
    ports: Vec<(PortId, Box<VhostPort>)>,
    burst: Burst,
    pool: Pool,
    refused: [u32; DropReason::COUNT],
    held: Vec<(PortId, Origin)>,
    idle: u32,
}

impl Worker {
    fn new(shared: Arc<Shared>, inbox: Receiver<(Order, Sender<()>)>) -> Self {
        let id = MemoryId::of_worker(WorkerId::new(0).unwrap());
        let pool = Pool::new(64, id).unwrap();
        shared.replace(id, Some(Arc::clone(pool.table())));
        let refused = [0; DropReason::COUNT];
        let (burst, held) = (Burst::new(), Vec::new());
        Self { shared, inbox, ports: Vec::new(), burst, pool, refused, held, idle: 0 }
    }

    fn run(mut self) {
        loop {
            while let Ok((order, done)) = self.inbox.try_recv() {
                match order {
                    Order::Add(id, port) => self.ports.push((id, port)),
                    Order::Remove(id) => {
                        self.held.retain(|(port, _)| *port != id);
                        self.ports.retain(|(port, _)| *port != id);
                    }
                    Order::End => {
                        done.send(()).unwrap();
                        return;
                    }
                }
                done.send(()).unwrap();
            }
            if self.shared.paused.load(Ordering::SeqCst) {
                std::thread::sleep(std::time::Duration::from_millis(1));
                continue;
            }
            self.idle = if self.turn() > 0 { 0 } else { self.idle + 1 };
            if self.idle > 20 {
                self.sleep();
            }
        }
    }

    fn sleep(&mut self) {
        let armed: Vec<_> = self.ports.iter_mut().map(|(_, port)| port.arm()).collect();
        if armed.iter().all(|armed| *armed == Armed::Idle) {
            self.shared.sleeps.fetch_add(1, Ordering::Relaxed);
            let mut events = Vec::with_capacity(16);
            // Longer than any test waits: a lost kick or wake shows.
            let long = Timespec { tv_sec: 60, tv_nsec: 0 };
            let _ = epoll::wait(
                &self.shared.poll,
                rustix::buffer::spare_capacity(&mut events),
                Some(&long),
            );
        }
        for (_, port) in &mut self.ports {
            port.disarm();
        }
        self.idle = 0;
    }

    fn turn(&mut self) -> usize {
        let shared = Arc::clone(&self.shared);
        let tables = shared.tables.lock().unwrap();
        let mut found = 0;
        if !shared.hold.load(Ordering::SeqCst) && !self.held.is_empty() {
            found += self.held.len();
            // The last one first: deliveries end in any order.
            for (id, origin) in std::mem::take(&mut self.held).into_iter().rev() {
                self.release(id, origin);
            }
        }
        for place in 0..self.ports.len() {
            found += self.receive(place, &tables);
        }
        shared.held.store(self.held.len() as u64, Ordering::SeqCst);
        if found == 0 {
            return 0;
        }
        for (_, port) in &mut self.ports {
            port.publish();
        }
        fence(Ordering::SeqCst);
        for (_, port) in &mut self.ports {
            port.notify();
        }
        found
    }

    fn receive(&mut self, place: usize, tables: &Tables) -> usize {
        let id = self.ports[place].0;
        self.burst.clear();
        let Self { burst, pool, refused, .. } = self;
        self.ports[place].1.foresee();
        self.ports[place].1.take(&mut Intake { burst, pool, refused });
        let mut found = self.burst.frames().len();
        for (count, total) in self.refused.iter_mut().zip(&self.shared.drops) {
            found += *count as usize;
            total.fetch_add(u64::from(std::mem::take(count)), Ordering::Relaxed);
        }
        let frames = self.burst.frames();
        let others: Vec<_> = (0..self.ports.len()).filter(|other| *other != place).collect();
        for other in others.iter().copied() {
            // In two parts, as if each were a run.
            let (first, second) = frames.split_at(frames.len() / 2);
            self.ports[other].1.prepare(first);
            self.ports[other].1.prepare(second);
        }
        if !self.shared.only_prepares.load(Ordering::SeqCst) {
            for other in others.iter().copied() {
                deliver(&mut self.ports[other].1, frames, tables, &self.shared);
            }
        }
        for index in 0..self.burst.frames().len() {
            let origin = self.burst.frames()[index].origin;
            if self.shared.hold.load(Ordering::SeqCst) {
                self.held.push((id, origin));
            } else {
                self.release(id, origin);
            }
        }
        found
    }

    fn release(&mut self, id: PortId, origin: Origin) {
        match origin {
            Origin::Umem { .. } | Origin::Exchanged { .. } => {
                panic!("a guest's frame lies in no UMEM")
            }
            Origin::Nothing => {}
            Origin::Chunk(chunk) => self.pool.release(chunk),
            Origin::Chain { .. } => {
                for (port, vhost) in &mut self.ports {
                    if *port == id {
                        vhost.release(origin);
                    }
                }
            }
        }
    }
}

/// Offers frames as a worker does: as a run, and from behind those that are refused anew.
fn deliver(port: &mut VhostPort, frames: &[Frame], tables: &Tables, shared: &Shared) {
    let mut left = frames;
    while !left.is_empty() {
        let run = Run { frames: left, memories: tables, precedence: Precedence::Production };
        let end = port.offer_run(run);
        let mut done = end.written;
        if let Some((reason, count)) = end.refused {
            assert!(count > 0);
            shared.drops[reason.index()].fetch_add(count as u64, Ordering::Relaxed);
            done += count;
        } else {
            assert_eq!(done, left.len());
        }
        left = &left[done..];
    }
}
