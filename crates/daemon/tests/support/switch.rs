//! A running switch in a folder of its own, and the guests on its ports.

use std::fmt::Write as _;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::Child;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use helio_api::{MirrorDestinationInfo, MirrorInfo, PortInfo, PortState};
use helio_config::Config;
use helio_daemon::Daemon;
use helio_guest::{Guest, GuestConfig};
use serde_json::{Value, json};
use tempfile::TempDir;

use super::apart;
use super::control::Control;
use super::{PATIENCE, wait_until};

/// One switch at a time in a process: workers are pinned to cores, and some tests count descriptors.
static ONE_SWITCH: Mutex<()> = Mutex::new(());

/// Which worker serves which port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Placement {
    /// There is one worker.
    OneWorker,
    /// Two workers; the first port on one, the second on the other, and so on.
    Alternating,
    /// Two workers; the first two ports on one, all others on the other.
    PairApart,
}

impl Placement {
    fn workers(self) -> usize {
        if self == Self::OneWorker { 1 } else { 2 }
    }

    fn worker_of(self, port: usize) -> usize {
        match self {
            Self::OneWorker => 0,
            Self::Alternating => port % 2,
            Self::PairApart => usize::from(port >= 2),
        }
    }
}

/// The configuration of a switch that is to be started.
pub struct Plan {
    placement: Placement,
    ports: Vec<(String, String)>,
    more: String,
}

impl Plan {
    pub fn new(placement: Placement) -> Self {
        Self { placement, ports: Vec::new(), more: String::new() }
    }

    /// One more port with these lines of TOML besides the usual ones.
    pub fn port(mut self, name: &str, lines: &str) -> Self {
        self.ports.push((name.to_owned(), lines.to_owned()));
        self
    }

    /// More lines of TOML behind all ports.
    pub fn more(mut self, lines: &str) -> Self {
        self.more.push_str(lines);
        self
    }

    fn to_toml(&self, folder: &Path) -> String {
        let folder = folder.display();
        let mut text = format!("[switch]\ncontrol = \"{folder}/control.sock\"\n");
        for core in 0..self.placement.workers() {
            writeln!(text, "[[worker]]\ncore = {core}").unwrap();
        }
        for (index, (name, lines)) in self.ports.iter().enumerate() {
            let worker = self.placement.worker_of(index);
            let usual = format!("name = \"{name}\"\nsocket = \"{folder}/{name}.sock\"");
            writeln!(text, "[[port]]\n{usual}\nworker = {worker}").unwrap();
            // Known from the start, so that nothing is flooded only because nobody has spoken yet.
            let mac = mac(index).map(|byte| format!("{byte:02x}")).join(":");
            writeln!(text, "static-mac = [\"{mac}\"]\n{lines}").unwrap();
        }
        text.push_str(&self.more);
        text
    }

    pub fn start(self) -> TestSwitch {
        let alone = ONE_SWITCH.lock().unwrap_or_else(PoisonError::into_inner);
        let folder = tempfile::tempdir().unwrap();
        let config = Config::from_str(&self.to_toml(folder.path()), "test.toml");
        let config = config.unwrap_or_else(|error| panic!("{error}"));
        let running = Running::Here(Daemon::start(config).unwrap());
        let names = self.ports.into_iter().map(|(name, _)| name).collect();
        TestSwitch { running, names, folder, _alone: alone }
    }

    /// Starts it in a process of its own. The test, of this name, begins with [`apart::serve_if_asked`].
    pub fn start_apart(self, test: &'static str) -> TestSwitch {
        let alone = ONE_SWITCH.lock().unwrap_or_else(PoisonError::into_inner);
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(apart::config_file(folder.path()), self.to_toml(folder.path())).unwrap();
        let names = self.ports.into_iter().map(|(name, _)| name).collect();
        let mut switch = TestSwitch { running: Running::No, names, folder, _alone: alone };
        switch.start_again(test);
        switch
    }
}

/// The address of the guest on the port that was planned as number `index`.
pub fn mac(index: usize) -> [u8; 6] {
    [0x52, 0x54, 0, 0, 0, index as u8 + 1]
}

/// Where a switch runs.
enum Running {
    Here(Daemon),
    Apart(Child),
    No,
}

/// A switch that runs. Dropping it stops it.
pub struct TestSwitch {
    running: Running,
    names: Vec<String>,
    folder: TempDir,
    /// Released last.
    _alone: MutexGuard<'static, ()>,
}

impl TestSwitch {
    /// Kills the process of a switch that runs in its own, as by `kill -9`.
    pub fn kill(&mut self) {
        let Running::Apart(mut process) = std::mem::replace(&mut self.running, Running::No) else {
            panic!("it has no process of its own");
        };
        process.kill().unwrap();
        process.wait().unwrap();
    }

    /// Starts the switch that was killed once more, and waits until it answers.
    pub fn start_again(&mut self, test: &'static str) {
        self.running = Running::Apart(apart::start(self.folder(), test));
        let path = self.control_path();
        wait_until("the switch answers", || UnixStream::connect(&path).is_ok());
    }

    /// The process of a switch that runs in its own.
    #[track_caller]
    pub fn process(&self) -> u32 {
        let Running::Apart(process) = &self.running else { panic!("it has no process of its own") };
        process.id()
    }

    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    pub fn socket(&self, name: &str) -> PathBuf {
        self.folder.path().join(format!("{name}.sock"))
    }

    pub fn control_path(&self) -> PathBuf {
        self.folder.path().join("control.sock")
    }

    pub fn control(&self) -> Control {
        Control::connect(&self.control_path())
    }

    pub fn port(&self, name: &str) -> PortInfo {
        self.control().port(name)
    }

    pub fn drops(&self, name: &str, reason: helio_types::DropReason) -> u64 {
        self.port(name).drops.get(reason.name()).copied().unwrap_or(0)
    }

    pub fn set(&self, name: &str, settings: &Value) {
        self.control().set(name, settings);
    }

    pub fn set_mirroring(&self, name: &str, mirroring: &str) {
        self.set(name, &json!({ "mirroring": mirroring }));
    }

    /// What became of the copies for `name`.
    #[track_caller]
    pub fn copies(&self, name: &str) -> MirrorDestinationInfo {
        let sessions = self.control().mirrors();
        let mut destinations = sessions.into_iter().flat_map(|session| session.destinations);
        destinations.find(|info| info.port == name).unwrap()
    }

    /// What became of the copies for `name`, once every one of them has its outcome.
    #[track_caller]
    pub fn settled_copies(&self, name: &str) -> MirrorDestinationInfo {
        let mut copies = self.copies(name);
        wait_until("every copy was delivered or dropped", || {
            copies = self.copies(name);
            let dropped: u64 = copies.dropped.values().sum();
            copies.wanted == copies.delivered + dropped
        });
        let dropped_bytes: u64 = copies.dropped_bytes.values().sum();
        assert_eq!(copies.wanted_bytes, copies.delivered_bytes + dropped_bytes);
        copies
    }

    /// A named session with its counters.
    #[track_caller]
    pub fn session(&self, name: &str) -> MirrorInfo {
        let sessions = self.control().mirrors();
        sessions.into_iter().find(|session| session.name.as_deref() == Some(name)).unwrap()
    }

    /// What became of the copies of a named session by each of its destinations, once every one has its outcome.
    #[track_caller]
    pub fn settled(&self, session: &str) -> Vec<MirrorDestinationInfo> {
        let mut legs = Vec::new();
        wait_until("every copy was delivered or dropped", || {
            legs = self.session(session).destinations;
            legs.iter().all(|leg| leg.wanted == leg.delivered + leg.dropped_total())
        });
        for leg in &legs {
            let dropped_bytes: u64 = leg.dropped_bytes.values().sum();
            assert_eq!(leg.wanted_bytes, leg.delivered_bytes + dropped_bytes, "{leg:?}");
        }
        legs
    }

    /// Changes a named session. `settings` is JSON.
    #[track_caller]
    pub fn change_session(&self, name: &str, settings: &Value) {
        let path = format!("/v1/mirrors/{name}");
        let answer = self.control().request("PATCH", &path, &settings.to_string());
        assert_eq!(answer.status, 200, "{settings}: {}", answer.body);
    }

    /// Waits until the way to every collector of a named session is known.
    #[track_caller]
    pub fn wait_collectors(&self, session: &str) {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let legs = self.session(session).destinations;
            let remotes: Vec<_> = legs.iter().filter_map(|leg| leg.remote.as_ref()).collect();
            if remotes.iter().all(|remote| remote.mac.is_some()) {
                return;
            }
            if Instant::now() >= deadline {
                let ports = self.control().ports();
                let ports = ports
                    .iter()
                    .map(|port| (&port.name, port.ingress_frames, port.egress_frames, &port.drops));
                panic!("unknown collectors: {remotes:?} {:?}", ports.collect::<Vec<_>>());
            }
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    pub fn mac(&self, name: &str) -> [u8; 6] {
        mac(self.names.iter().position(|known| known == name).unwrap())
    }

    /// What a guest on this port is like when nothing else is wanted.
    pub fn guest_config(&self, name: &str) -> GuestConfig {
        GuestConfig::with_mac(self.mac(name))
    }

    /// A guest on the port, up and running.
    pub fn guest(&self, name: &str) -> Guest {
        self.guest_with(name, self.guest_config(name))
    }

    pub fn guest_with(&self, name: &str, config: GuestConfig) -> Guest {
        let mut guest = Guest::connect(&self.socket(name), config).unwrap();
        guest.start().unwrap();
        self.wait_state(name, PortState::Up);
        guest
    }

    /// Waits until the port says this of itself, among other things.
    #[track_caller]
    pub fn wait_detail(&self, name: &str, part: &str) {
        let what = format!("port {name} says {part:?}");
        wait_until(&what, || self.port(name).detail.contains(part));
    }

    #[track_caller]
    pub fn wait_state(&self, name: &str, state: PortState) -> PortInfo {
        let mut info = self.port(name);
        let what = format!("port {name} is {state}");
        wait_until(&what, || {
            info = self.port(name);
            info.state == state
        });
        info
    }
}

impl Drop for TestSwitch {
    fn drop(&mut self) {
        match std::mem::replace(&mut self.running, Running::No) {
            Running::Here(daemon) => daemon.stop(),
            Running::Apart(mut process) => {
                process.kill().unwrap();
                process.wait().unwrap();
            }
            Running::No => {}
        }
    }
}
