//! Whole runs against a whole switch in this process: every frame is accounted for, in every form. How fast anything
//! was is not judged here.
#![allow(
    clippy::expect_used,
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

#[allow(dead_code, reason = "the other tests of this crate use the rest of it")]
mod lab;

use std::path::Path;
use std::time::Duration;

use helio_bench::{
    Attach, BenchError, DrainPlan, FirstCopy, FirstCopyPlan, Helpers, LatencyPlan, LearningPlan,
    Load, Loop, Outcome, Progress, StagePlan, Subject, Task, ThroughputPlan, run,
};
use lab::{Lab, assert_nothing_is_lost, outcome, short_rate, try_task};

#[test]
fn a_watcher_at_a_mirror_destination_receives_a_copy_of_every_frame() {
    let lab = Lab::new(&["mirroring = \"source\"", "", "mirroring = \"destination\""]);
    let (sent, copies) = assert_nothing_is_lost(&lab.plan());
    assert_eq!(copies, [sent]);
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

/// How long until the first copy, when the command does nothing.
fn first_copy_of_no_command(lab: &Lab) -> Result<FirstCopy, BenchError> {
    let plan = FirstCopyPlan { patience: Duration::from_millis(100), ..FirstCopyPlan::default() };
    Subject::attach(lab.plan()).unwrap().first_copy(&plan, || Ok(()))
}

#[test]
fn a_command_without_effect_has_no_time_and_its_frames_are_counted() {
    let first = first_copy_of_no_command(&Lab::new(&["", "", ""])).unwrap();
    assert_eq!((first.first_copy_ns, first.copies, first.lost), (None, 0, 0));
    assert!(first.sent > 0);
}

#[test]
fn a_copy_that_comes_before_the_command_is_not_taken_for_the_first_one() {
    let lab = Lab::new(&["mirroring = \"source\"", "", "mirroring = \"destination\""]);
    let error = first_copy_of_no_command(&lab).unwrap_err();
    assert!(error.to_string().contains("before the command"), "{error}");
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
    let (all, undisturbed) = (first.latency_ns, first.undisturbed_ns);
    assert!(undisturbed.count <= all.count && undisturbed.max <= all.max);
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

#[test]
fn guests_that_were_at_other_ports_before_are_found_where_they_are_now() {
    let lab = Lab::new(&["", "", "", ""]);
    let mut plan = lab.plan();
    let elsewhere = plan.sockets.split_off(2);
    assert_nothing_is_lost(&plan);
    plan.sockets = elsewhere;
    assert_nothing_is_lost(&plan);
}

#[test]
fn addresses_are_learned_and_asked_for_in_the_same_vlan() {
    let trunk = "vlan = { trunk = [10, 20, 30] }";
    let lab = Lab::new(&[trunk, trunk, trunk]);
    let mut plan = lab.plan();
    plan.frames.vlans = vec![10, 20, 30];
    plan.frames = plan.frames.clone().with_wire_sizes(&[68]);
    let task = Task::Learning(LearningPlan {
        max_addresses: 400,
        rate_addresses: 100,
        ..LearningPlan::default()
    });
    let Outcome::Learning(learning) = outcome(&plan, &task) else {
        panic!("another outcome than was asked for")
    };
    assert_eq!((learning.capacity, learning.is_capacity_open), (400, true), "{learning:?}");
}
