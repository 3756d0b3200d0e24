//! Front-ends that send what they like to one port, beside a pair that must not notice.

use std::cell::Cell;
use std::os::fd::BorrowedFd;
use std::time::{Duration, Instant};

use helio_guest::{Connection, FrontEnd, Guest, GuestConfig, GuestError, encode_header, features};

use super::PATIENCE;
use super::hostile;
use super::pair::Pair;
use super::process::open_files;
use super::switch::TestSwitch;

/// A header that says `said` bytes, and `bytes` bytes behind it.
pub fn header_and(id: u32, flags: u32, said: u32, bytes: usize) -> Vec<u8> {
    let mut message = encode_header(id, flags, said).to_vec();
    message.resize(message.len() + bytes, 0);
    message
}

/// Whether the switch said no, or ended the session. Silence is neither.
pub fn is_refused(answer: &Result<(), GuestError>) -> bool {
    matches!(answer, Err(GuestError::Refused { .. } | GuestError::Closed))
}

/// Sessions on one port are let in at a certain pace; with several ports a test need not wait for it.
const PORTS: usize = 16;

/// The scene. [`Garbage::end`] says whether anybody was harmed.
pub struct Garbage {
    pub pair: Pair,
    /// Descriptors open when everything was in place.
    pub open_at_start: usize,
    next_port: Cell<usize>,
    // Dropped last.
    pub switch: TestSwitch,
}

impl Garbage {
    pub fn new() -> Self {
        Self::with(|| ()).0
    }

    /// The scene, and what `make` makes for the test: descriptors that stay open to its end.
    pub fn with<T>(make: impl FnOnce() -> T) -> (Self, T) {
        let ports = (1..PORTS).map(name_of);
        let switch = ports.fold(hostile::plan(), |plan, name| plan.port(&name, "")).start();
        let made = make();
        let pair = Pair::start(switch.guest("columbia"), switch.guest("crusader"));
        // The control socket was used by now, so its threads and descriptors are there.
        let open_at_start = open_files();
        (Self { pair, open_at_start, next_port: Cell::new(0), switch }, made)
    }

    /// One of the ports that wait for front-ends, another one each time.
    pub fn port(&self) -> Port<'_> {
        let index = self.next_port.get();
        self.next_port.set((index + 1) % PORTS);
        Port { switch: &self.switch, name: name_of(index) }
    }

    /// Sends something on a connection of its own, and goes.
    pub fn send(&self, bytes: &[u8], fds: &[BorrowedFd<'_>]) {
        // It may have been closed in the middle.
        let _ = self.port().connect().send_raw(bytes, fds);
    }

    /// All ports serve guests, all descriptors are closed, and the pair lost nothing.
    #[track_caller]
    pub fn end(self) {
        for index in 0..PORTS {
            drop(self.switch.guest(&name_of(index)));
        }
        let port = Port { switch: &self.switch, name: name_of(0) };
        let (mut guest, mut other) = (port.guest(), self.switch.guest("tempter"));
        super::lane::ping(&mut guest, &mut other, 20);
        drop((guest, other));
        let mut open = open_files();
        let deadline = Instant::now() + PATIENCE;
        while open > self.open_at_start {
            let started = self.open_at_start;
            assert!(Instant::now() < deadline, "{open} descriptors are open, and {started} were");
            std::thread::sleep(Duration::from_millis(1));
            open = open_files();
        }
        self.pair.go_on();
        self.pair.end();
    }
}

/// The port of this number.
fn name_of(index: usize) -> String {
    if index == 0 { "liar".to_owned() } else { format!("liar-{index}") }
}

/// A port that waits for front-ends.
pub struct Port<'a> {
    switch: &'a TestSwitch,
    pub name: String,
}

impl Port<'_> {
    pub fn connect(&self) -> Connection {
        Connection::connect(&self.switch.socket(&self.name)).unwrap()
    }

    /// A session in which features are known, and nothing else was said.
    #[track_caller]
    pub fn session(&self) -> FrontEnd {
        FrontEnd::open(self.connect(), features::PLAIN, features::protocol::USUAL).unwrap()
    }

    #[track_caller]
    pub fn guest(&self) -> Guest {
        self.switch.guest(&self.name)
    }

    /// A guest that shares its memory in one table.
    #[track_caller]
    pub fn guest_without_slots(&self) -> Guest {
        let protocol_features =
            features::protocol::USUAL & !features::protocol::CONFIGURE_MEM_SLOTS;
        let config = GuestConfig { protocol_features, ..self.switch.guest_config(&self.name) };
        self.switch.guest_with(&self.name, config)
    }
}
