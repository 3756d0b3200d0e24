//! Every form of ring and frame against a whole switch in this process: nothing is lost, and what was asked for was
//! negotiated.
#![allow(
    clippy::expect_used,
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

#[allow(dead_code, reason = "the other tests of this crate use the rest of it")]
mod lab;

use std::time::Duration;

use helio_bench::{
    DrainPlan, FramePlan, IMIX, LanePlan, LatencyPlan, Load, Loop, Outcome, Payload, RingPlan,
    StagePlan, Task,
};
use helio_guest::{Cutting, HeaderPlace, Pages, Rewriting, SetupOrder, features};
use lab::{Lab, assert_nothing_is_lost, outcome, report, short_rate};

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
fn tags_that_the_switch_adds_and_takes_away_change_nothing() {
    let lab = Lab::new(&["vlan = { trunk = [10] }", "vlan = { access = 10 }"]);
    let mut plan = lab.plan();
    plan.frames.vlans = vec![10];
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
fn what_is_asked_for_is_negotiated() {
    let lab = Lab::new(&["", ""]);
    let mut plan = lab.plan();
    plan.rings.features |= features::INDIRECT_DESC | features::EVENT_IDX | features::IN_ORDER;
    plan.rings.cutting = Cutting::Indirect(4096);
    let report = report(&plan, &short_rate(Loop::Closed));
    assert_eq!(
        report.cells[0].features,
        ["INDIRECT_DESC", "EVENT_IDX", "VERSION_1", "IN_ORDER"].map(str::to_owned)
    );
}

#[test]
fn rings_in_order_lose_nothing_neither_flowing_nor_drained() {
    let lab = Lab::new(&["", ""]);
    for extra in [0, features::MRG_RXBUF | features::EVENT_IDX] {
        let mut plan = lab.plan();
        plan.rings.features |= features::IN_ORDER | extra;
        plan.frames = plan.frames.clone().with_wire_sizes(&[64, 1518]);
        assert_nothing_is_lost(&plan);
        let task = Task::Drain(DrainPlan { rounds: 10, ..DrainPlan::default() });
        let Outcome::Drain(drain) = outcome(&plan, &task) else {
            panic!("another outcome than was asked for")
        };
        assert_eq!((drain.lost, drain.descriptors), (0, "rewritten"));
    }
}

#[test]
fn the_shortest_and_the_longest_rings_lose_nothing() {
    let lab = Lab::new(&["", ""]);
    for size in [64, 32_768] {
        let mut plan = lab.plan();
        plan.rings.size = size;
        assert_nothing_is_lost(&plan);
    }
}

#[test]
fn frames_are_spread_over_all_queue_pairs_and_none_is_lost() {
    let lab = Lab::new(&["mirroring = \"source\"", "", "mirroring = \"destination\""]);
    for (queue_pairs, flows) in [(2, 1), (4, 50), (8, 50)] {
        let mut plan = lab.plan();
        plan.rings.queue_pairs = queue_pairs;
        plan.frames.flows = flows;
        let (sent, copies) = assert_nothing_is_lost(&plan);
        assert_eq!(copies, [sent], "{queue_pairs} pairs");
    }
}

#[test]
fn more_queue_pairs_than_a_port_has_are_refused() {
    let lab = Lab::new(&["queue-pairs = 2", "queue-pairs = 2"]);
    let mut plan = lab.plan();
    plan.rings.queue_pairs = 3;
    let refused = lab::try_task(&plan, &short_rate(Loop::Closed)).unwrap_err().to_string();
    assert!(refused.contains("0.sock: ") && refused.contains("queue pairs"), "{refused}");
}

#[test]
fn guests_in_huge_pages_lose_nothing() {
    make_huge_pages(32);
    let lab = Lab::new(&["", ""]);
    let mut plan = lab.plan();
    plan.rings.pages = Pages::Huge;
    assert_nothing_is_lost(&plan);
    assert_eq!(report(&plan, &short_rate(Loop::Closed)).setting.pages, "2 MiB");
}

/// Sees that so many pages of 2 MiB are free.
fn make_huge_pages(count: u64) {
    let meminfo = std::fs::read_to_string("/proc/meminfo").unwrap();
    let field = |name| -> u64 {
        let line = meminfo.lines().find_map(|line| line.strip_prefix(name)).unwrap();
        line.trim().parse().unwrap()
    };
    let (total, free) = (field("HugePages_Total:"), field("HugePages_Free:"));
    if free < count {
        let wanted = (total + count - free).to_string();
        std::fs::write("/proc/sys/vm/nr_hugepages", wanted).unwrap();
    }
}

#[test]
fn several_vlans_are_learned_and_tagged_in_turn() {
    let trunk = "vlan = { trunk = [10, 20, 30] }";
    let lab = Lab::new(&[trunk, trunk, "vlan = { access = 20 }"]);
    let mut plan = lab.plan();
    plan.frames = FramePlan { vlans: vec![10, 20, 30], macs: 7, ..plan.frames };
    plan.frames = plan.frames.clone().with_wire_sizes(&[64, 300]);
    let (sent, strangers) = assert_nothing_is_lost(&plan);
    assert!(sent > 0);
    assert_eq!(strangers, [0], "a frame was flooded: an address was not learned in its VLAN");
}

#[test]
fn a_hundred_thousand_addresses_and_flows_are_told_apart() {
    let many = "mac-limit = 100000";
    let lab = Lab::with("fdb-size = 1048576", &[many, many, ""]);
    let mut plan = lab.plan();
    plan.rings.size = 1024;
    plan.frames = FramePlan { macs: 100_000, flows: 100_000, ..plan.frames };
    let (_sent, strangers) = assert_nothing_is_lost(&plan);
    assert_eq!(strangers, [0], "a frame was flooded: an address was not learned");
}

#[test]
fn all_addresses_are_learned_when_a_ring_holds_few_frames() {
    let lab = Lab::new(&["", "", ""]);
    let mut plan = lab.plan();
    plan.rings.size = 64;
    // The net header apart: a frame takes four descriptors, and a ring holds sixteen.
    plan.rings.cutting = Cutting::Linked(24);
    plan.lanes = vec![LanePlan { from: 0, to: 1 }];
    plan.burst = 8;
    plan.frames = FramePlan { macs: 200, ..plan.frames };
    let (_sent, strangers) = assert_nothing_is_lost(&plan);
    assert_eq!(strangers, [0], "a frame was flooded: an address was not learned");
}

#[test]
fn a_switch_that_sleeps_is_woken_by_index() {
    let lab = Lab::new(&["", ""]);
    let mut plan = lab.plan();
    plan.rings.features |= features::EVENT_IDX;
    // Far less than a frame in the time after which an idle worker sleeps.
    let (loads, duration) = (vec![Load::Frames(200.0)], Duration::from_millis(500));
    let task = Task::Latency(LatencyPlan { loads, duration, burst: 1 });
    let Outcome::Latency(latency) = outcome(&plan, &task) else {
        panic!("another outcome than was asked for")
    };
    assert_eq!((latency.loads[0].latency_ns.count, latency.loads[0].loss), (100, 0.0));
}
