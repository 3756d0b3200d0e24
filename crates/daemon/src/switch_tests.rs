//! What the running switch keeps when its workers cannot do what it asks.

use std::thread::{JoinHandle, scope, spawn, yield_now};

use helio_switch::{Fdb, FdbSettings};
use helio_testkit::{FarSide, FrameBuilder, fake_port};
use helio_types::{LegId, MacAddr};
use helio_worker::{Clock, FleetSettings, Polling, Worker};
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

fn fleet_of(workers: usize) -> (Fleet, Vec<Worker>) {
    let fdb = FdbSettings { capacity: 64, ageing_s: 300, seed: 1 };
    Fleet::new(FleetSettings {
        polling: vec![Polling::Busy; workers],
        snapshot: Arc::new(compile(std::iter::empty(), &[], workers)),
        fdb: Arc::new(Fdb::new(fdb)),
        clock: Clock::host(),
    })
    .unwrap()
}

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
        let (fleet, workers) = fleet_of(2);
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

#[test]
fn cards_are_as_workers_were_told_of_them_also_when_they_do_not_take_a_change() {
    let scene = Scene::new();
    let switch = &scene.switch;
    // The uplink is gone, and nobody has told them yet.
    let told = Cards::one("eth1", MacAddr([2, 0, 0, 0, 0, 7]));
    *switch.lock_cards() = told.clone();
    switch.renew_cards();
    assert_eq!(*switch.lock_cards(), Cards::default());
    *switch.lock_cards() = told.clone();
    switch.fleet.stop();
    assert!(switch.add_mirror(scene.web.clone()).is_err());
    assert_eq!(*switch.lock_cards(), told);
    switch.renew_cards();
    assert_eq!(*switch.lock_cards(), told);
}

/// A switch whose workers take their turns when the test says so: that of `sniffie`, which is to receive the copies of a
/// session, that of `sender`, whose frames it is about, and a third one.
struct Turns {
    switch: RunningSwitch,
    workers: Vec<Worker>,
    sender: FarSide,
    /// What copies would lie in.
    _sniffie: FarSide,
    session: SessionConfig,
    _folder: TempDir,
}

impl Turns {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let port = |name: &str, worker: usize| {
            let socket = folder.path().join(format!("{name}.sock"));
            format!("[[port]]\nname = {name:?}\nsocket = {socket:?}\nworker = {worker}\n")
        };
        let cores: String = (0..3).map(|core| format!("[[worker]]\ncore = {core}\n")).collect();
        let session = "[[mirror]]\nname = \"web\"\nsource-ports = [\"sender\"]\n\
             [[mirror.destination]]\nport = \"sniffie\"\n";
        let text = format!("{cores}{}{}{session}", port("sniffie", 0), port("sender", 1));
        let config = Config::from_str(&text, "a test").unwrap();
        let (fleet, mut workers) = fleet_of(3);
        let switch = RunningSwitch::new(Arc::new(fleet), config.clone());
        let far_sides = while_workers_turn(&mut workers, || {
            [0, 1].map(|index| {
                let port = config.ports[index].clone();
                switch.begin_port(port.clone()).unwrap();
                let id = switch.lock_ports().find(&port.name).unwrap().id;
                let (fake, far) = fake_port(id);
                switch.fleet.replace(far.memory_id(), Some(Arc::clone(far.memory())));
                let worker = WorkerId::new(index).unwrap();
                switch.fleet.add_port(worker, id, Box::new(fake)).unwrap();
                far
            })
        });
        let [_sniffie, sender] = far_sides;
        let session = config.sessions[0].clone();
        Self { switch, workers, sender, _sniffie, session, _folder: folder }
    }
}

/// Does what waits for workers, which take one turn after the other meanwhile.
fn while_workers_turn<T: Send>(workers: &mut [Worker], ask: impl FnOnce() -> T + Send) -> T {
    scope(|scope| {
        let asker = scope.spawn(ask);
        while !asker.is_finished() {
            workers.iter_mut().for_each(|worker| _ = worker.step());
            yield_now();
        }
        asker.join().unwrap()
    })
}

impl Drop for Turns {
    fn drop(&mut self) {
        let Self { switch, workers, .. } = self;
        while_workers_turn(workers, || switch.stop_ports());
    }
}

#[test]
fn copies_of_a_session_that_never_came_to_be_are_counted_when_that_is_said() {
    let mut scene = Turns::new();
    // The last worker to be told has ended.
    drop(scene.workers.pop());
    let Turns { switch, workers, sender, session, .. } = &mut scene;
    let [copying, sending] = &mut workers[..] else { unreachable!() };
    let frame = FrameBuilder::new(MacAddr([2, 0, 0, 0, 0, 1]), MacAddr::BROADCAST);
    scope(|scope| {
        let asker = scope.spawn(|| switch.add_mirror(session.clone()));
        while !asker.is_finished() {
            copying.step();
            // Once it has the session it sends a copy, whatever the other has been told meanwhile, before it is told too.
            if sender.send_room() > 0 {
                sender.send(&frame.complete());
            }
            sending.poll_once();
            sending.step();
            // Who asked is let on before the copy arrives.
            (0..1000).take_while(|_| !asker.is_finished()).for_each(|_| yield_now());
        }
        assert!(asker.join().unwrap().is_err());
    });
    let counts = || switch.fleet.leg_counts(LegId::new(0).unwrap());
    let counted = counts();
    // The last came to a worker that did not have the session any more.
    let dropped: u64 = counted.dropped.iter().map(|count| count.frames).sum();
    assert!(dropped > 0, "{counted:?}");
    assert_eq!(counted.wanted.frames, counted.delivered.frames + dropped, "{counted:?}");
    copying.step();
    sending.step();
    assert_eq!(counts(), counted);
}
