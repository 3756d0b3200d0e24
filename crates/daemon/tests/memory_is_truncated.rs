//! Front-ends that take away memory they had shared, idle and under load, as sources, receivers and monitors. Only they
//! lose their port, and nothing of them stays behind.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]

mod support;

use std::sync::Arc;

use helio_api::PortState;
use helio_frame::PortFault;
use helio_guest::{Flow, Guest, GuestConfig, GuestMemory, MemoryLayout, PAGE_BYTES, Sealing};
use rustix::fs::FallocateFlags;

use support::lane::{FRAME_BYTES, Lane, ping};
use support::monitor::Monitor;
use support::pair::{Pair, VLAN};
use support::process::{guest_mappings, mappings, open_files};
use support::switch::{Placement, Plan, TestSwitch};
use support::{PATIENCE, wait_until};

/// How much of its memory the victim keeps.
#[derive(Clone, Copy, Debug)]
enum Keep {
    Nothing,
    Half,
}

const BOTH: [Keep; 2] = [Keep::Nothing, Keep::Half];

/// A switch with a pair, and with the ports "victim" and "witness" beside it.
struct Scene {
    pair: Pair,
    // Dropped last.
    switch: TestSwitch,
}

impl Scene {
    fn new(placement: Placement, victim: &str) -> Self {
        let plan = Plan::new(placement).port("columbia", VLAN).port("crusader", VLAN);
        let switch = plan.port("victim", victim).port("witness", "").start();
        let pair = Pair::start(switch.guest("columbia"), switch.guest("crusader"));
        Self { pair, switch }
    }

    /// A guest whose memory can be cut off.
    fn victim(&self) -> Guest {
        let config = GuestConfig {
            memory: MemoryLayout::FittingWith(Sealing::Open),
            // Most of its memory, and the middle of it: frames are received there sooner or later.
            rx_buffer_bytes: 8192,
            ..self.switch.guest_config("victim")
        };
        self.switch.guest_with("victim", config)
    }

    /// The victim has lost its port, and the operator is told why.
    #[track_caller]
    fn is_faulted(&self) {
        let info = self.switch.wait_state("victim", PortState::Faulted);
        assert!(info.detail.contains(&PortFault::MemoryTruncated.to_string()), "{}", info.detail);
    }

    /// The port works with another front-end, and the pair lost nothing.
    #[track_caller]
    fn end(self) {
        let mut witness = self.switch.guest("witness");
        ping(&mut self.victim(), &mut witness, 50);
        self.pair.go_on();
        self.pair.end();
    }
}

/// Cuts memory off while somebody uses it.
fn truncate(memory: &GuestMemory, keep: Keep) {
    let bytes = memory.table()[0].size_bytes;
    let keep_bytes = match keep {
        Keep::Nothing => 0,
        Keep::Half => bytes / 2,
    };
    memory.truncate(0, keep_bytes).unwrap();
}

fn send_a_little(witness: &mut Guest, victim: &Guest) {
    let flow = Flow { frame_bytes: FRAME_BYTES, ..Flow::between(witness.mac(), victim.mac()) };
    Lane::of(flow).send(witness, 8);
    witness.wait_all_sent(PATIENCE).unwrap();
}

/// Sends frames to the victim until its port has noticed that its memory is gone.
#[track_caller]
fn send_until_noticed(scene: &Scene, witness: &mut Guest, victim: &Guest) {
    wait_until("the port has noticed", || {
        send_a_little(witness, victim);
        scene.switch.port("victim").state == PortState::Faulted
    });
}

#[test]
fn c100_memory_that_is_cut_off_while_idle() {
    for keep in BOTH {
        let scene = Scene::new(Placement::OneWorker, "");
        let (mut witness, victim) = (scene.switch.guest("witness"), scene.victim());
        truncate(victim.memory(), keep);
        send_until_noticed(&scene, &mut witness, &victim);
        scene.is_faulted();
        drop((witness, victim));
        scene.end();
    }
}

/// The memory of the victim is cut off while it exchanges frames with the witness.
fn cut_off_under_load(placement: Placement, victim: &str, keep: Keep) {
    let scene = Scene::new(placement, victim);
    let traffic = Pair::start(scene.victim(), scene.switch.guest("witness"));
    traffic.wait_frames(2000);
    truncate(traffic.memory(), keep);
    scene.is_faulted();
    drop(traffic.abandon());
    scene.end();
}

#[test]
fn r11_c100_memory_that_is_cut_off_while_its_guest_sends_and_receives() {
    for placement in [Placement::OneWorker, Placement::Alternating] {
        for keep in BOTH {
            cut_off_under_load(placement, "", keep);
        }
    }
}

#[test]
fn c100_memory_that_is_cut_off_while_its_guest_is_a_source() {
    for placement in [Placement::OneWorker, Placement::Alternating] {
        for keep in BOTH {
            cut_off_under_load(placement, "mirroring = \"source\"", keep);
        }
    }
}

#[test]
fn c100_memory_that_is_cut_off_while_its_guest_is_a_monitor() {
    for placement in [Placement::OneWorker, Placement::PairApart] {
        for keep in BOTH {
            let destination = "mirroring = \"destination\"\nvlan = { trunk = [10], native = 1 }";
            let scene = Scene::new(placement, destination);
            scene.switch.set_mirroring("columbia", "source");
            let victim = scene.victim();
            let memory = Arc::clone(victim.memory());
            let monitor = Monitor::start(victim);
            wait_until("the monitor sees frames", || monitor.received() > 1000);
            truncate(&memory, keep);
            scene.is_faulted();
            drop(monitor.stop());
            wait_until("copies for it are refused", || {
                scene.switch.copies("victim").dropped.contains_key("port-down")
            });
            scene.switch.set_mirroring("columbia", "none");
            scene.switch.settled_copies("victim");
            scene.switch.set("victim", &serde_json::json!({ "vlan": {} }));
            scene.end();
        }
    }
}

#[test]
fn c100_nothing_stays_behind_of_memory_that_was_cut_off() {
    let scene = Scene::new(Placement::OneWorker, "");
    let mut witness = scene.switch.guest("witness");
    // Of the witness and of the pair: their own, and those of the switch.
    wait_until("all guests are mapped twice", || guest_mappings() == 6);
    let held = || open_files() + guest_mappings();
    let before = held();
    let mut all = 0;
    for round in 0..40 {
        let victim = scene.victim();
        truncate(victim.memory(), BOTH[round % 2]);
        send_until_noticed(&scene, &mut witness, &victim);
        drop(victim);
        scene.switch.wait_state("victim", PortState::Waiting);
        wait_until("nothing is left", || held() <= before);
        if round == 10 {
            all = mappings();
        }
    }
    // Threads that come and go may leave a stack or an arena to be used again, but not one for each round.
    assert!(mappings() < all + 15, "{} mappings, and {all} before", mappings());
    drop(witness);
    scene.end();
}

#[test]
fn c101_a_hole_punched_into_memory_reads_as_zeroes() {
    let scene = Scene::new(Placement::OneWorker, "");
    let (mut witness, mut victim) = (scene.switch.guest("witness"), scene.victim());
    for _ in 0..10 {
        ping(&mut victim, &mut witness, 100);
        let buffers = victim.driver_mut().transmit_queue(0).unwrap().buffers().clone();
        let start = buffers.guest_addr().next_multiple_of(PAGE_BYTES);
        let len = (buffers.len() as u64 - PAGE_BYTES) / PAGE_BYTES * PAGE_BYTES;
        let flags = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
        rustix::fs::fallocate(victim.memory().files()[0], flags, start, len).unwrap();
        let mut bytes = [1; 16];
        victim.memory().window(start, 16).unwrap().read(0, &mut bytes);
        assert_eq!(bytes, [0; 16]);
    }
    ping(&mut victim, &mut witness, 100);
    assert_eq!(scene.switch.port("victim").state, PortState::Up);
    drop((witness, victim));
    scene.end();
}

#[test]
fn c102_memory_that_grows_again_is_used_after_the_driver_was_loaded_again() {
    let scene = Scene::new(Placement::OneWorker, "");
    let (mut witness, mut victim) = (scene.switch.guest("witness"), scene.victim());
    let bytes = victim.memory().table()[0].size_bytes;
    truncate(victim.memory(), Keep::Nothing);
    send_until_noticed(&scene, &mut witness, &victim);
    rustix::fs::ftruncate(victim.memory().files()[0], bytes).unwrap();
    send_a_little(&mut witness, &victim);
    scene.is_faulted();
    victim.restart().unwrap();
    scene.switch.wait_state("victim", PortState::Up);
    drop((witness, victim));
    scene.end();
}

#[test]
fn c104_a_port_shows_whether_its_memory_can_be_cut_off() {
    let scene = Scene::new(Placement::OneWorker, "");
    let (open, sealed) = (scene.victim(), scene.switch.guest("witness"));
    for (name, guest, expected) in [("victim", &open, false), ("witness", &sealed, true)] {
        let memory = scene.switch.port(name).memory.unwrap();
        assert_eq!((memory.sealed, memory.regions), (expected, 1), "{name}");
        assert_eq!(memory.bytes, guest.memory().table()[0].size_bytes);
    }
    drop((open, sealed));
    scene.end();
}
