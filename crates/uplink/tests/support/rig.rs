//! An uplink on the near end, and the turns that a worker would take.

use std::io;
use std::os::fd::BorrowedFd;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use helio_frame::{
    Burst, Delivery, Frame, Intake, MemoryDirectory, MemoryId, Origin, Pool, Port, Wakeups,
};
use helio_mem::MemoryTable;
use helio_offload::NetHeader;
use helio_types::{DropReason, PassRule, PortId, UplinkMode, WorkerId};
use helio_uplink::{
    SharedUmem, StateWord, UplinkEvent, UplinkHandle, UplinkParts, UplinkPort, UplinkQueues,
    UplinkState, WorkerPolling,
};

/// How long anything may take that is to happen.
const PATIENCE: Duration = Duration::from_secs(30);

/// How the uplink of a test is set.
pub struct Setting {
    /// Which port of the switch it would be.
    pub port: usize,
    pub interface: &'static str,
    pub umem: Option<Arc<SharedUmem>>,
    pub mode: UplinkMode,
    pub queues: UplinkQueues,
    pub pass: Vec<PassRule>,
    pub polling: WorkerPolling,
}

impl Default for Setting {
    fn default() -> Self {
        Self {
            port: 3,
            interface: "near",
            umem: None,
            mode: UplinkMode::Auto,
            queues: UplinkQueues::All,
            pass: Vec::new(),
            polling: WorkerPolling::Adaptive,
        }
    }
}

/// Where the memory of the uplink is looked up.
#[derive(Default)]
struct Memories(Mutex<Option<Arc<MemoryTable>>>);

impl MemoryDirectory for Memories {
    fn replace(&self, _: MemoryId, table: Option<Arc<MemoryTable>>) {
        *self.0.lock().unwrap() = table;
    }
}

/// The worker of a test never sleeps.
struct Sleepless;

impl Wakeups for Sleepless {
    fn wake(&self) {}
    fn watch(&self, _: BorrowedFd<'_>) -> io::Result<()> {
        Ok(())
    }
    fn unwatch(&self, _: BorrowedFd<'_>) {}
}

fn parts(
    setting: Setting,
    memories: Arc<Memories>,
    events: Arc<Mutex<Vec<UplinkEvent>>>,
) -> UplinkParts {
    UplinkParts {
        id: PortId::new(setting.port).unwrap(),
        name: "uplink0".to_owned(),
        interface: setting.interface.to_owned(),
        mode: setting.mode,
        queues: setting.queues,
        pass: setting.pass,
        wakeups: Arc::new(Sleepless),
        polling: setting.polling,
        umem: setting.umem,
        directory: memories,
        events: Box::new(move |event| events.lock().unwrap().push(event.clone())),
    }
}

/// An uplink that is never started.
pub fn unused_port() -> (UplinkPort, UplinkHandle) {
    UplinkPort::create(parts(Setting::default(), Arc::default(), Arc::default())).unwrap()
}

pub struct Rig {
    id: PortId,
    pub port: UplinkPort,
    pub handle: UplinkHandle,
    pub burst: Burst,
    pub pool: Pool,
    pub refused: [u32; DropReason::COUNT],
    memories: Arc<Memories>,
    events: Arc<Mutex<Vec<UplinkEvent>>>,
}

impl Rig {
    /// An uplink in `mode` that carries frames.
    pub fn up(mode: UplinkMode) -> Self {
        let mut rig = Self::started(Setting { mode, ..Setting::default() });
        rig.until_state(StateWord::Up);
        rig
    }

    /// An uplink that has been started.
    pub fn started(setting: Setting) -> Self {
        let id = PortId::new(setting.port).unwrap();
        let memories = Arc::new(Memories::default());
        let events = Arc::new(Mutex::new(Vec::new()));
        let (port, mut handle) =
            UplinkPort::create(parts(setting, Arc::clone(&memories), Arc::clone(&events))).unwrap();
        handle.start().unwrap();
        Self {
            id,
            port,
            handle,
            burst: Burst::new(),
            pool: Pool::new(1, MemoryId::of_worker(WorkerId::new(0).unwrap())).unwrap(),
            refused: [0; DropReason::COUNT],
            memories,
            events,
        }
    }

    /// Takes turns until it is in this state. Returns the sentence.
    pub fn until_state(&mut self, word: StateWord) -> String {
        let what = format!("the uplink is {}", word.name());
        self.until(&what, |rig| rig.handle.state().word == word);
        self.handle.state().detail
    }

    pub fn state(&self) -> UplinkState {
        self.handle.state()
    }

    pub fn events(&self) -> Vec<UplinkEvent> {
        self.events.lock().unwrap().clone()
    }

    /// Takes turns until `done`. What is received meanwhile is lost.
    pub fn until(&mut self, what: &str, mut done: impl FnMut(&mut Self) -> bool) {
        self.repeat(what, |rig| {
            rig.turn();
            done(rig)
        });
    }

    /// Does `step` again and again until it says that it is done.
    pub fn repeat(&mut self, what: &str, mut step: impl FnMut(&mut Self) -> bool) {
        let until = Instant::now() + PATIENCE;
        while !step(self) {
            if Instant::now() > until {
                let (drops, census) = (self.handle.kernel_drops(), self.port.census());
                panic!("not in time: {what}; {:?}, {drops:?}, {census:?}", self.state());
            }
            std::thread::yield_now();
        }
    }

    /// Takes a burst into `burst`. What is held must be released.
    pub fn take(&mut self) -> usize {
        let Self { port, burst, pool, refused, .. } = self;
        burst.clear();
        port.take(&mut Intake { burst, pool, refused });
        burst.frames().len()
    }

    /// One turn. Returns what was received.
    pub fn turn(&mut self) -> Vec<Vec<u8>> {
        self.take();
        let received = self.burst.frames().iter().map(|frame| self.content(frame)).collect();
        self.port.release_all(self.burst.frames());
        self.port.publish();
        received
    }

    /// Receives this many frames.
    pub fn receive(&mut self, frames: usize) -> Vec<Vec<u8>> {
        let mut received = Vec::new();
        self.repeat("the frames came", |rig| {
            received.extend(rig.turn());
            received.len() >= frames
        });
        received
    }

    /// Which port of the switch it would be.
    pub fn id(&self) -> PortId {
        self.id
    }

    pub fn table(&self) -> Option<Arc<MemoryTable>> {
        self.memories.0.lock().unwrap().clone()
    }

    /// All bytes of a frame.
    pub fn content(&self, frame: &Frame) -> Vec<u8> {
        let mut content = frame.head.bytes().to_vec();
        assert_eq!(frame.net, NetHeader::PLAIN);
        assert_eq!(frame.memory, MemoryId::of_port(self.id));
        assert_eq!(frame.rest.is_empty(), frame.origin == Origin::Nothing);
        let table = self.table();
        for segment in &frame.rest {
            let start = content.len();
            content.resize(start + segment.bytes as usize, 0);
            let read = table.as_ref().unwrap().read(*segment, &mut content[start..]);
            assert_eq!(read, segment.bytes as usize);
        }
        assert_eq!(content.len(), frame.bytes as usize);
        content
    }

    /// Offers a frame: its head by itself, its rest from the memory of somebody else, in two pieces.
    pub fn offer(&mut self, frame: &[u8]) -> Result<(), DropReason> {
        let (head, rest) = frame.split_at(frame.len().min(128));
        let memory = MemoryTable::anonymous(rest.len().max(1)).unwrap();
        let bytes = u32::try_from(rest.len()).unwrap();
        let whole = helio_mem::Segment { offset: 0, bytes, region: 0 };
        assert_eq!(memory.write(whole, rest), rest.len());
        let pieces = [whole.limit(bytes / 3), whole.skip(bytes / 3)];
        let rest = helio_frame::RestBytes::new(Some(&memory), &pieces);
        let (header, tail) = head.split_at(head.len().min(14));
        self.port.offer(&Delivery::whole(NetHeader::PLAIN, header, tail, rest))
    }

    /// Stops the uplink while its worker goes on.
    pub fn stop(&mut self) {
        let Self { port, handle, burst, pool, refused, .. } = self;
        std::thread::scope(|scope| {
            let stopping = scope.spawn(|| handle.stop());
            while !stopping.is_finished() {
                burst.clear();
                port.take(&mut Intake { burst, pool, refused });
                port.release_all(burst.frames());
                port.publish();
                std::thread::yield_now();
            }
            stopping.join().unwrap();
        });
    }
}

impl Drop for Rig {
    fn drop(&mut self) {
        self.stop();
    }
}
