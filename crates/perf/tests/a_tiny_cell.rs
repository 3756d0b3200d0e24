//! A cell played for real: our switch, its guests, two rounds. How fast anything was is not judged.
#![allow(
    clippy::expect_used,
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

use std::path::PathBuf;
use std::time::{Duration, Instant};

use helio_bench::Host;
use helio_guest::Pages;
use helio_perf::contest::{Settings, play};
use helio_perf::measure::Effort;
use helio_perf::peers::Machine;
use helio_perf::report::{About, Played, Report};
use helio_perf::results::Results;
use helio_perf::{PeerName, cells, verdict};

const CELLS: &str = r#"
    [[cell]]
    name = "drain"
    title = "with and without a mirror"
    tiers = []
    measure = "drain"
    [cell.variants]
    plain = { watchers = 1, dead-watchers = 1, idle-guests = 2 }
    mirrored = { watchers = 1, mirrors = 1, dead-watchers = 1, idle-guests = 2 }
    dead = { watchers = 1, dead-watchers = 1, dead-mirrors = 1, idle-guests = 2 }
    [[cell.line]]
    of = "mirrored"
    against = "=plain"
    at-least = 0.0

    [[cell]]
    name = "rate"
    title = "both ways"
    tiers = []
    measure = "rate"
    lanes = 2

    [[cell]]
    name = "on"
    title = "mirror on"
    tiers = []
    measure = "mirror-on"
    scene = { watchers = 1 }

    [[cell]]
    name = "start"
    title = "start"
    tiers = []
    measure = "start"

    [[cell]]
    name = "memory"
    title = "memory"
    tiers = []
    measure = "memory"
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

fn settings() -> Settings {
    let milliseconds = Duration::from_millis;
    Settings {
        run: "test".to_owned(),
        machine: Machine { worker_core: 1, other_core: 0, helio: helio(), helio2: None },
        peers: vec![PeerName::Helio, PeerName::Vpp],
        rounds: 1,
        effort: Effort { drains: 8, window: milliseconds(40), idle: milliseconds(100), ports: 3 },
        pages: Pages::Usual,
        seed: 1,
        cores: None,
    }
}

#[test]
fn every_cell_has_figures_and_every_frame_and_copy_arrives() {
    helio_bench::pin(0).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let results = Results::create(folder.path(), "test").unwrap();
    let mut all = Vec::new();
    for cell in cells::parse(CELLS).unwrap() {
        let outcome =
            play(&cell, &settings(), Instant::now() + Duration::from_secs(60), |_told| {}).unwrap();
        assert_eq!(outcome.failures, [], "{}", cell.name);
        assert!(!outcome.windows.is_empty(), "{}", cell.name);
        for window in &outcome.windows {
            let what = format!("{window:?}");
            assert!(!window.measured.figures.is_empty(), "{what}");
            assert!(window.measured.figures.values().all(|figure| figure.is_finite()), "{what}");
            assert_eq!(window.measured.lost, 0, "{what}");
            assert!(window.measured.oddities.is_empty(), "{what}");
            assert_eq!(window.figure("copies_lost_percent").unwrap_or(0.0), 0.0, "{what}");
        }
        for counted in &outcome.counted {
            assert!(counted.agrees(), "{counted:?}");
        }
        let lines = verdict::judge(&cell, &outcome.windows);
        let played = Played { cell, outcome, lines };
        results.add(&played).unwrap();
        all.push(played);
    }
    let asked: Vec<usize> = all.iter().map(|played| played.outcome.counted.len()).collect();
    assert_eq!(
        asked,
        [1, 1, 1, 0, 0],
        "each switch is asked once, and none that lives for one window only"
    );
    let drained: Vec<&str> =
        all[0].outcome.windows.iter().map(|window| window.contestant.as_str()).collect();
    for contestant in ["helio=plain", "helio=mirrored", "helio=dead"] {
        assert!(drained.contains(&contestant), "{drained:?}");
    }
    let about = About {
        run: "test".into(),
        command: "test".into(),
        host: Host::this(),
        seconds: 0,
        left_out: Vec::new(),
    };
    let report = Report::of(&about, &all).whole();
    assert!(report.contains("| with and without a mirror | plain |"), "{report}");
    let lines = std::fs::read_to_string(results.folder().join("windows.jsonl")).unwrap();
    let windows: usize = all.iter().map(|played| played.outcome.windows.len()).sum();
    assert_eq!(lines.lines().count(), windows);
    for line in lines.lines() {
        let window: serde_json::Value = serde_json::from_str(line).unwrap();
        assert_eq!(window["schema"], 1);
    }
}
