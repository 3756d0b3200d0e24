//! Cells with wires played for real: our switch on each way that frames can go, one round. How fast anything was is not
//! judged. Needs root; the wires lie in a network namespace of the test.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test fails by panicking")]

use std::path::PathBuf;
use std::time::{Duration, Instant};

use helio_guest::Pages;
use helio_perf::contest::{Settings, play};
use helio_perf::measure::Effort;
use helio_perf::peers::Machine;
use helio_perf::{PeerName, cells};
use rustix::thread::{UnshareFlags, unshare_unsafe};

const CELLS: &str = r#"
    [[cell]]
    name = "p2p"
    title = "P2P"
    tiers = []
    measure = "wire"
    path = "p2p"

    [[cell]]
    name = "p2v"
    title = "P2V"
    tiers = []
    measure = "wire"
    path = "p2v"
    wire-bytes = 1518

    [[cell]]
    name = "v2p"
    title = "V2P"
    tiers = []
    measure = "wire"
    path = "v2p"

    [[cell]]
    name = "pvp"
    title = "PVP"
    tiers = []
    measure = "wire"
    path = "pvp"

    [[cell]]
    name = "mirror"
    title = "P2P with copies"
    tiers = []
    measure = "wire"
    path = "p2p"
    variants = { port = { watchers = 1, mirrors = 1 }, far = { watchers = 1, mirrors = 1, copies = "vxlan" } }
"#;

/// The program named by `HELIO_BIN`, or the one that was built beside this test.
fn helio() -> PathBuf {
    std::env::var_os("HELIO_BIN").map(PathBuf::from).unwrap_or_else(|| {
        let own = std::env::current_exe().unwrap();
        let beside = own.ancestors().nth(2).unwrap().join("helio");
        assert!(beside.is_file(), "build helio with the same profile first, or set HELIO_BIN");
        beside
    })
}

#[test]
fn frames_go_every_way_and_come_out_as_they_went_in() {
    // SAFETY: this thread, and what it starts from now on, get another network namespace, nothing else.
    unsafe { unshare_unsafe(UnshareFlags::NEWNET) }.unwrap();
    helio_bench::pin(0).unwrap();
    let settings = Settings {
        run: "test".to_owned(),
        machine: Machine { worker_core: 1, other_core: 0, helio: helio(), helio2: None },
        peers: vec![PeerName::Helio],
        rounds: 1,
        effort: Effort {
            drains: 8,
            window: Duration::from_millis(40),
            idle: Duration::from_millis(100),
            ports: 3,
        },
        pages: Pages::Usual,
        seed: 1,
        cores: None,
    };
    for cell in cells::parse(CELLS).unwrap() {
        // The rounds that were asked for are played even if the time is up already.
        let outcome = play(&cell, &settings, Instant::now(), |_told| {}).unwrap();
        assert_eq!(outcome.failures, [], "{}", cell.name);
        let last = outcome.windows.iter().map(|window| window.round).max();
        assert_eq!(last, Some(settings.rounds - 1), "{}", cell.name);
        for window in &outcome.windows {
            let measured = &window.measured;
            // The median may be 0: the machine may run somebody else for most of such short windows.
            let rates = measured.detail["windows_mpps"].as_array().unwrap();
            assert!(rates.iter().any(|rate| rate.as_f64().unwrap() > 0.0), "{window:?}");
            assert!(measured.figures.values().all(|figure| figure.is_finite()), "{window:?}");
            assert!(measured.oddities.is_empty(), "{window:?}");
        }
    }
}
