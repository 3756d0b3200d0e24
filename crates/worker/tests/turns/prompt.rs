//! When in a turn the far sides see what was done.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use helio_frame::{Armed, Delivery, Frame, Head, Intake, Origin, Port};
use helio_mirror::MirrorTable;
use helio_offload::Offloads;
use helio_switch::{Fdb, FdbSettings, PortRole, PortSettings, SwitchTable};
use helio_types::{DropReason, VlanMode, WorkerId};
use helio_worker::{Clock, Fleet, FleetSettings, Polling, Snapshot};

use crate::stage::{frame, mac, port, vid};

/// A port that says what it is asked, and sends so many frames to one other when it is asked next.
struct Talker {
    index: usize,
    to: usize,
    sends: Arc<AtomicUsize>,
    said: Arc<Mutex<Vec<String>>>,
}

impl Talker {
    fn say(&self, what: &str) {
        self.said.lock().unwrap().push(format!("{what} {}", self.index));
    }
}

impl Port for Talker {
    fn take(&mut self, intake: &mut Intake<'_>) {
        self.say("take");
        for _ in 0..self.sends.swap(0, Ordering::Relaxed) {
            let head = Head::copy_of(&frame(self.index, self.to).complete().bytes);
            let bytes = u32::try_from(head.bytes().len()).unwrap();
            intake.burst.push(Frame { head, bytes, ..Frame::vacant() });
        }
    }
    fn hold(&mut self, _: Origin) {}
    fn release(&mut self, _: Origin) {}
    fn accepts(&self) -> Offloads {
        Offloads::NONE
    }
    fn offer(&mut self, _: &Delivery<'_>) -> Result<(), DropReason> {
        self.say("offer");
        Ok(())
    }
    fn publish(&mut self) {
        self.say("publish");
    }
    fn publish_early(&mut self) -> bool {
        // Port 2 would have to call the kernel.
        let is_early = self.index < 2;
        if is_early {
            self.publish();
        }
        is_early
    }
    fn notify(&mut self) {}
    fn arm(&mut self) -> Armed {
        Armed::Idle
    }
    fn disarm(&mut self) {}
}

/// What three ports are asked in a turn in which the first sends `sends` frames to the second.
fn turn(sends: usize) -> Vec<String> {
    turn_to(1, sends)
}

/// As [`turn`], with frames to another port.
fn turn_to(to: usize, sends: usize) -> Vec<String> {
    let vlan = VlanMode::Transparent;
    let settings = [0, 1, 2].map(|index| PortSettings {
        port: port(index),
        vlan: vlan.clone(),
        mtu: 1500,
        role: PortRole::Ordinary,
    });
    let table = SwitchTable::new(&settings);
    let owner = |_| WorkerId::new(0);
    let snapshot = Arc::new(Snapshot::new(table, MirrorTable::new(&[], &[]), 1, owner));
    let fdb = Arc::new(Fdb::new(FdbSettings { capacity: 16, ageing_s: 0, seed: 1 }));
    fdb.learn(vid(0), mac(to), port(to));
    let (polling, clock) = (vec![Polling::Busy], Clock::host());
    let (fleet, mut workers) = Fleet::new(FleetSettings { polling, snapshot, fdb, clock }).unwrap();
    let said = Arc::new(Mutex::new(Vec::new()));
    let first_sends = Arc::new(AtomicUsize::new(0));
    let mut worker = workers.pop().unwrap();
    std::thread::scope(|scope| {
        let adding = scope.spawn(|| {
            for index in 0..3 {
                let sends = if index == 0 {
                    Arc::clone(&first_sends)
                } else {
                    Arc::new(AtomicUsize::new(0))
                };
                let talker = Talker { index, to, sends, said: Arc::clone(&said) };
                let owner = WorkerId::new(0).unwrap();
                fleet.add_port(owner, port(index), Box::new(talker)).unwrap();
            }
        });
        while !adding.is_finished() {
            worker.step();
            // So few turns that no port counts as silent yet.
            std::thread::sleep(Duration::from_millis(1));
        }
    });
    while worker.poll_once() > 0 {}
    said.lock().unwrap().clear();
    first_sends.store(sends, Ordering::Relaxed);
    worker.poll_once();
    said.lock().unwrap().clone()
}

fn place(said: &[String], what: &str) -> usize {
    said.iter().position(|said| said == what).unwrap()
}

#[test]
fn few_frames_are_seen_before_the_next_port_is_looked_at() {
    for sends in [1, 4] {
        let said = turn(sends);
        assert!(place(&said, "publish 1") < place(&said, "take 1"), "{sends}: {said:?}");
        assert_eq!(said.iter().filter(|said| *said == "publish 1").count(), 1, "{said:?}");
    }
}

#[test]
fn a_port_that_must_call_the_kernel_is_published_to_once_in_a_turn() {
    let said = turn_to(2, 1);
    assert!(place(&said, "publish 2") > place(&said, "take 2"), "{said:?}");
    assert_eq!(said.iter().filter(|said| *said == "publish 2").count(), 1, "{said:?}");
}

#[test]
fn many_frames_are_seen_at_the_end_of_the_turn() {
    let said = turn(5);
    assert!(place(&said, "publish 1") > place(&said, "take 2"), "{said:?}");
    assert_eq!(said.iter().filter(|said| *said == "offer 1").count(), 5);
}
