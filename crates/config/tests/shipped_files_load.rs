//! Every configuration that is shipped loads, and says what its file name promises.
#![allow(
    clippy::expect_used,
    clippy::panic,
    reason = "a test fails by panicking, also in what it calls"
)]

use std::path::{Path, PathBuf};

use helio_config::{Config, PollMode, SwitchConfig};
use helio_types::{Mirroring, VlanMode};

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../config")
}

fn load(name: &str) -> Config {
    Config::load(&folder().join(name)).unwrap_or_else(|error| panic!("{error}"))
}

#[test]
fn every_shipped_file_loads() {
    let files = std::fs::read_dir(folder()).unwrap().map(|entry| entry.unwrap().path());
    let tomls: Vec<_> =
        files.filter(|path| path.extension().is_some_and(|e| e == "toml")).collect();
    assert!(tomls.len() >= 4, "{tomls:?}");
    for path in tomls {
        Config::load(&path).unwrap_or_else(|error| panic!("{error}"));
    }
}

#[test]
fn the_default_file_states_the_defaults() {
    let config = load("default.toml");
    assert_eq!(config, Config::from_str("", "empty.toml").unwrap());
    assert_eq!(config.switch, SwitchConfig::default());
    assert_eq!(config.workers[0].poll, PollMode::default());
}

#[test]
fn the_commented_lines_of_the_default_file_are_a_right_configuration() {
    let text = std::fs::read_to_string(folder().join("default.toml")).unwrap();
    let uncommented: String = text
        .lines()
        .map(|line| line.strip_prefix("#: ").unwrap_or(line))
        .flat_map(|line| [line, "\n"])
        .collect();
    let config = Config::from_str(&uncommented, "default.toml, uncommented")
        .unwrap_or_else(|error| panic!("{error}"));
    assert_eq!((config.workers.len(), config.ports.len(), config.mirrors.len()), (1, 3, 1));
    assert_eq!(config.ports[1].attachment.interface(), Some("eth1"));
    assert_eq!(config.ports[2].attachment.interface(), Some("helio0"));
}

#[test]
fn three_guests_watch_nothing_at_first_and_sniffie_is_the_destination() {
    let config = load("three-guests.toml");
    let ports: Vec<_> = config.ports.iter().map(|p| (p.name.as_str(), p.mirroring)).collect();
    assert_eq!(
        ports,
        [
            ("columbia", Mirroring::None),
            ("crusader", Mirroring::None),
            ("sniffie", Mirroring::Destination)
        ]
    );
}

#[test]
fn the_vlan_example_has_all_three_forms() {
    let config = load("vlans.toml");
    let has = |form: fn(&VlanMode) -> bool| config.ports.iter().any(|port| form(&port.vlan));
    assert!(has(|vlan| matches!(vlan, VlanMode::Access(_))));
    assert!(has(|vlan| matches!(vlan, VlanMode::Trunk { native: Some(_), .. })));
    assert!(has(|vlan| matches!(vlan, VlanMode::Transparent)));
}

#[test]
fn the_uplink_of_two_hosts_is_a_trunk_of_the_vlans_of_their_guests() {
    let config = load("two-hosts.toml");
    let uplink = config.ports.iter().find(|port| port.attachment.interface().is_some()).unwrap();
    assert!(matches!(uplink.vlan, VlanMode::Trunk { native: None, .. }));
    let accessed = config.ports.iter().filter_map(|port| match port.vlan {
        VlanMode::Access(vlan) => Some(vlan),
        _ => None,
    });
    let accessed: Vec<_> = accessed.collect();
    assert!(accessed.len() >= 2 && accessed.iter().all(|vlan| uplink.vlan.is_member(*vlan)));
}

#[test]
fn a_file_that_is_cut_anywhere_is_read_or_answered_with_a_line_of_it() {
    let text = std::fs::read_to_string(folder().join("vlans.toml")).unwrap();
    let mut refused = 0;
    for (end, _) in text.char_indices() {
        let cut = &text[..end];
        let Err(error) = Config::from_str(cut, "cut.toml") else { continue };
        refused += 1;
        let last = cut.split('\n').count();
        for problem in &error.problems {
            assert!(problem.line.is_some_and(|line| (1..=last).contains(&line)), "{end}: {error}");
        }
    }
    assert!(refused > 100, "{refused}");
}
