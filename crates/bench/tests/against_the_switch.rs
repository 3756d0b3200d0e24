//! Whole runs against a whole switch in this process: every frame is accounted for, in every form. How fast anything
//! was is not judged here.
#![allow(
    clippy::expect_used,
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use helio_bench::{
    Attach, BenchError, DrainPlan, FramePlan, Helpers, IMIX, LanePlan, LatencyPlan, LearningPlan,
    Load, Loop, Oddities, Outcome, Payload, Progress, RatePlan, Report, RingPlan, StagePlan, Task,
    ThroughputPlan, run, to_markdown, to_svg,
};
use helio_config::Config;
use helio_daemon::Daemon;
use helio_guest::{Cutting, HeaderPlace, Rewriting, SetupOrder, features};
use tempfile::TempDir;

/// One switch at a time: its worker and our guests need both cores.
static ONE_SWITCH: Mutex<()> = Mutex::new(());

struct Lab {
    daemon: Option<Daemon>,
    folder: TempDir,
    ports: usize,
    _alone: MutexGuard<'static, ()>,
}

impl Lab {
    /// A switch with one port for each entry, which holds more lines of its configuration.
    fn new(ports: &[&str]) -> Self {
        let alone = ONE_SWITCH.lock().unwrap_or_else(PoisonError::into_inner);
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().display();
        let mut text = format!("[switch]\ncontrol = \"{path}/control.sock\"\n");
        for (number, lines) in ports.iter().enumerate() {
            let usual = format!("name = \"p{number}\"\nsocket = \"{path}/{number}.sock\"");
            text.push_str(&format!("[[port]]\n{usual}\n{lines}\n"));
        }
        let daemon = Some(Daemon::start(Config::from_str(&text, "test").unwrap()).unwrap());
        Self { daemon, folder, ports: ports.len(), _alone: alone }
    }

    fn plan(&self) -> StagePlan {
        let socket = |number: usize| self.folder.path().join(format!("{number}.sock"));
        let mut plan = StagePlan::new((0..self.ports).map(socket).collect());
        plan.rings.size = 256;
        plan
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        self.daemon.take().unwrap().stop();
    }
}

fn try_task(plan: &StagePlan, task: &Task) -> Result<Report, BenchError> {
    let kinds = [("test".to_owned(), plan.frames.clone())];
    run(plan, &kinds, task, &mut Helpers::default(), &mut Progress::silent())
}

fn report(plan: &StagePlan, task: &Task) -> Report {
    let report = try_task(plan, task).unwrap();
    assert!(to_markdown(&report).contains("| test"));
    assert!(report.to_json().contains("\"schema\": 1"));
    assert!(to_svg(&report).unwrap().ends_with("</svg>\n"));
    report
}

fn outcome(plan: &StagePlan, task: &Task) -> Outcome {
    report(plan, task).cells.remove(0).outcome
}

fn short_rate(kind: Loop) -> Task {
    let window = Duration::from_millis(50);
    Task::Rate(RatePlan { kind, warm_up: window, windows: 3, window }, None)
}

/// Runs a closed loop; frames sent, and copies that watchers saw.
fn assert_nothing_is_lost(plan: &StagePlan) -> (u64, Vec<u64>) {
    let Outcome::Rate { sustained, drain: None } = outcome(plan, &short_rate(Loop::Closed)) else {
        panic!("another outcome than was asked for")
    };
    assert_eq!(sustained.windows_mpps.len(), 3);
    assert!(sustained.sent > 0);
    assert_eq!((sustained.lost, sustained.oddities), (0, Oddities::default()), "{plan:?}");
    (sustained.sent, sustained.copies)
}

#[test]
fn a_closed_loop_loses_nothing_in_any_form_of_ring_and_frame() {
    let lab = Lab::new(&["", ""]);
    let v1 = features::VERSION_1;
    let rings = [
        RingPlan { size: 256, ..RingPlan::default() },
        RingPlan {
            size: 256,
            features: v1 | features::MRG_RXBUF | features::EVENT_IDX,
            rewriting: Rewriting::Always,
            header_place: HeaderPlace::SameLine,
            rx_buffer_bytes: Some(512),
            ..RingPlan::default()
        },
        RingPlan {
            size: 256,
            features: v1 | features::INDIRECT_DESC,
            cutting: Cutting::Indirect(400),
            setup_order: SetupOrder::VirtioUser,
            ..RingPlan::default()
        },
        RingPlan { size: 256, cutting: Cutting::Linked(600), ..RingPlan::default() },
    ];
    for rings in rings {
        for payload in [Payload::None, Payload::Line, Payload::All] {
            let frames = FramePlan { payload, macs: 50, flows: 9, ..FramePlan::default() };
            let plan = StagePlan { rings: rings.clone(), burst: 16, ..lab.plan() };
            assert_nothing_is_lost(&StagePlan { frames: frames.with_wire_sizes(&IMIX), ..plan });
        }
    }
}

#[test]
fn a_watcher_at_a_mirror_destination_receives_a_copy_of_every_frame() {
    let lab = Lab::new(&["mirroring = \"source\"", "", "mirroring = \"destination\""]);
    let (sent, copies) = assert_nothing_is_lost(&lab.plan());
    assert_eq!(copies, [sent]);
}

#[test]
fn tags_that_the_switch_adds_and_takes_away_change_nothing() {
    let lab = Lab::new(&["vlan = { trunk = [10] }", "vlan = { access = 10 }"]);
    let mut plan = lab.plan();
    plan.frames.vlan = Some(10);
    plan.lanes = vec![LanePlan { from: 0, to: 1 }];
    plan.frames = plan.frames.clone().with_wire_sizes(&[128]);
    assert_nothing_is_lost(&plan);
}

#[test]
fn long_tcp_goes_through_whole() {
    let lab = Lab::new(&["", ""]);
    let mut plan = lab.plan();
    plan.frames.carried = helio_bench::Carried::Tso;
    plan.frames = plan.frames.clone().with_wire_sizes(&[65_000]);
    let offloads =
        features::CSUM | features::GUEST_CSUM | features::HOST_TSO4 | features::GUEST_TSO4;
    plan.rings.features |= offloads | features::MRG_RXBUF;
    plan.rings.cutting = Cutting::Linked(4096);
    plan.burst = 2;
    assert_nothing_is_lost(&plan);
}

#[test]
fn the_switch_may_connect_to_us() {
    let lab = Lab::new(&["mode = \"client\"", "mode = \"client\""]);
    assert_nothing_is_lost(&StagePlan { attach: Attach::Listen, ..lab.plan() });
}

#[test]
fn an_open_loop_accounts_for_what_it_loses() {
    let lab = Lab::new(&["", ""]);
    let Outcome::Rate { sustained, .. } = outcome(&lab.plan(), &short_rate(Loop::Open)) else {
        panic!("another outcome than was asked for")
    };
    assert!(sustained.sent > sustained.lost);
    assert_eq!((sustained.oddities.corrupt, sustained.oddities.duplicates), (0, 0));
}

#[test]
fn draining_waits_for_every_frame_and_for_the_watchers() {
    let lab = Lab::new(&["mirroring = \"source\"", "", "mirroring = \"destination\""]);
    let task = Task::Drain(DrainPlan { rounds: 20, ..DrainPlan::default() });
    let Outcome::Drain(drain) = outcome(&lab.plan(), &task) else {
        panic!("another outcome than was asked for")
    };
    assert_eq!((drain.lost, drain.service_ns.count), (0, 20));
    assert_eq!((drain.frames, drain.waited_for), ([128, 32], vec![2]));
    assert!(drain.whole_ns.min > 0.0);
}

#[test]
fn every_frame_on_schedule_has_a_latency() {
    let lab = Lab::new(&["", ""]);
    let duration = Duration::from_millis(200);
    let loads = vec![Load::Frames(5000.0), Load::Percent(1.0)];
    let task = Task::Latency(LatencyPlan { loads, duration, burst: 1 });
    let Outcome::Latency(latency) = outcome(&lab.plan(), &task) else {
        panic!("another outcome than was asked for")
    };
    assert!(latency.closed_loop_mpps.unwrap() > 0.0);
    let first = &latency.loads[0];
    // A machine that keeps us from running for a while makes us miss some, and that is told as loss.
    let lost = (0..=1000_u32).find(|lost| f64::from(*lost) / 1000.0 >= first.loss).unwrap();
    assert_eq!(first.latency_ns.count + u64::from(lost), 1000);
    assert!(lost < 500);
    assert!(first.latency_ns.min > 0 && first.latency_ns.p50 <= first.latency_ns.max);
    assert!(latency.machine_ns.count > 1000);
}

#[test]
fn a_search_that_allows_any_loss_ends_above_where_it_began() {
    let lab = Lab::new(&["", ""]);
    let plan = ThroughputPlan {
        losses: vec![1.0],
        trial: Duration::from_millis(20),
        trials: 1,
        ..ThroughputPlan::default()
    };
    let Outcome::Throughput(found) = outcome(&lab.plan(), &Task::Throughput(plan)) else {
        panic!("another outcome than was asked for")
    };
    assert!(found.found[0].mpps > found.closed_loop_mpps);
    assert_eq!(found.found[0].upper_mpps, None);
}

#[test]
fn as_many_addresses_are_found_as_the_port_may_learn() {
    let lab = Lab::new(&["mac-limit = 600", "", ""]);
    let task = Task::Learning(LearningPlan {
        max_addresses: 2000,
        rate_addresses: 300,
        ageing: Duration::ZERO,
        ..LearningPlan::default()
    });
    // Nobody makes this switch forget: addresses of one trial are still there in the next.
    let plan = lab.plan();
    let mut forgetful = Forgetful(lab.folder.path());
    let mut helpers = Helpers { meter: None, control: Some(&mut forgetful) };
    let kinds = [("test".to_owned(), plan.frames.clone())];
    let report = run(&plan, &kinds, &task, &mut helpers, &mut Progress::silent()).unwrap();
    let Outcome::Learning(learning) = &report.cells[0].outcome else {
        panic!("another outcome than was asked for")
    };
    assert!((590..=600).contains(&learning.capacity), "{learning:?}");
    assert!(!learning.is_capacity_open && learning.fps > 0.0);
}

/// Makes a switch forget through its control socket, with the plainest request there is.
struct Forgetful<'a>(&'a Path);

impl helio_bench::SwitchControl for Forgetful<'_> {
    fn forget_addresses(&mut self) -> Result<(), BenchError> {
        use std::io::{Read, Write};
        let path = self.0.join("control.sock");
        let mut socket = std::os::unix::net::UnixStream::connect(path).unwrap();
        let request = "DELETE /v1/fdb HTTP/1.1\r\nhost: helio\r\nconnection: close\r\n\r\n";
        socket.write_all(request.as_bytes()).unwrap();
        let mut answer = String::new();
        socket.read_to_string(&mut answer).unwrap();
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
        Ok(())
    }
}

#[test]
fn ports_that_do_not_reach_each_other_are_named() {
    let lab = Lab::new(&["vlan = { access = 10 }", "vlan = { access = 20 }"]);
    let plan = StagePlan { patience: Duration::from_millis(100), ..lab.plan() };
    let refused = try_task(&plan, &short_rate(Loop::Closed)).unwrap_err();
    assert!(matches!(refused, BenchError::Silent { .. }), "{refused}");
}
