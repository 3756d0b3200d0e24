//! What the running switch keeps when its workers cannot do what it asks.

use std::thread::{JoinHandle, spawn};

use helio_switch::{Fdb, FdbSettings};
use helio_worker::{Clock, FleetSettings, Polling};
use tempfile::TempDir;

use super::*;

const TWO_SESSIONS: &str = "\
[[mirror]]
name = \"sql\"
source-vlans = [10]
[[mirror.destination]]
port = \"sniffie\"
[[mirror]]
name = \"web\"
source-vlans = [20]
[[mirror.destination]]
port = \"sniffie\"
";

/// A switch with the port `sniffie` and the session `sql`, and the session `web` that it does not have yet.
struct Scene {
    switch: RunningSwitch,
    web: SessionConfig,
    workers: Vec<JoinHandle<()>>,
    _folder: TempDir,
}

impl Scene {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let socket = folder.path().join("sniffie.sock");
        let port = format!("[[port]]\nname = \"sniffie\"\nsocket = {socket:?}\n");
        let text = format!("[[worker]]\ncore = 0\n[[worker]]\ncore = 1\n{port}{TWO_SESSIONS}");
        let config = Config::from_str(&text, "a test").unwrap();
        let fdb = FdbSettings { capacity: 64, ageing_s: 300, seed: 1 };
        let (fleet, workers) = Fleet::new(FleetSettings {
            polling: vec![Polling::Busy; 2],
            snapshot: Arc::new(compile(std::iter::empty(), &[], 2)),
            fdb: Arc::new(Fdb::new(fdb)),
            clock: Clock::host(),
        })
        .unwrap();
        let workers = workers.into_iter().map(|worker| spawn(move || worker.run())).collect();
        let switch = RunningSwitch::new(Arc::new(fleet), config.clone());
        switch.begin_port(config.ports[0].clone()).unwrap();
        switch.add_mirror(config.sessions[0].clone()).unwrap();
        Self { switch, web: config.sessions[1].clone(), workers, _folder: folder }
    }

    /// Name and sample of each session.
    fn sessions(&self) -> Vec<(String, Option<u64>)> {
        let named = |info: MirrorInfo| Some((info.name?, info.settings?.sample));
        self.switch.mirrors().unwrap().into_iter().filter_map(named).collect()
    }
}

impl Drop for Scene {
    fn drop(&mut self) {
        self.switch.stop_ports();
        self.switch.fleet.stop();
        for worker in self.workers.drain(..) {
            worker.join().unwrap();
        }
    }
}

#[test]
fn the_sessions_are_as_before_when_workers_do_not_take_a_change() {
    let scene = Scene::new();
    let switch = &scene.switch;
    let sampled = |one_in| SessionSettings { sample: Some(one_in), ..SessionSettings::default() };
    switch.set_mirror("sql", sampled(2)).unwrap();
    let before = scene.sessions();
    assert_eq!(before, [("sql".to_owned(), Some(2))]);
    switch.fleet.stop();
    assert!(switch.set_mirror("sql", sampled(3)).is_err());
    assert_eq!(scene.sessions(), before);
    assert!(switch.add_mirror(scene.web.clone()).is_err());
    assert_eq!(scene.sessions(), before);
    assert!(switch.remove_mirror("sql").is_err());
    assert_eq!(scene.sessions(), before);
}
