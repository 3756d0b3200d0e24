//! Every configuration that is shipped loads, and says what its file name promises.
#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test fails by panicking, also in what it calls"
)]

use std::path::{Path, PathBuf};

use helio_config::{
    Attachment, Config, MirrorDestination, MirrorDirection, MirrorRate, PollMode,
    RemoteDestination, SwitchConfig,
};
use helio_types::{Mirroring, VlanMode};

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../config")
}

fn load(name: &str) -> Config {
    Config::load(&folder().join(name)).unwrap_or_else(|error| panic!("{error}"))
}

fn shipped_files() -> Vec<PathBuf> {
    let files = std::fs::read_dir(folder()).unwrap().map(|entry| entry.unwrap().path());
    files.filter(|path| path.extension().is_some_and(|end| end == "toml")).collect()
}

#[test]
fn every_shipped_file_loads() {
    let files = shipped_files();
    assert!(files.len() >= 4, "{files:?}");
    for path in files {
        Config::load(&path).unwrap_or_else(|error| panic!("{error}"));
    }
}

#[test]
fn every_shipped_file_is_the_same_plan_after_it_was_read_and_written_also_with_all_its_comments() {
    for path in shipped_files() {
        let text = std::fs::read_to_string(&path).unwrap();
        for text in [text.replace("#: ", ""), text] {
            let plan = Config::from_str(&text, "shipped.toml").unwrap();
            let written = plan.to_toml().unwrap();
            let again = Config::from_str(&written, "written.toml");
            assert_eq!(again, Ok(plan), "{}: {written}", path.display());
        }
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
    assert_eq!((config.workers.len(), config.ports.len(), config.mirrors.len()), (1, 4, 1));
    assert!(matches!(config.ports[3].attachment, Attachment::Decap(_)));
    let session = &config.sessions[0];
    assert_eq!((config.sessions.len(), session.destinations.len()), (1, 6));
    // What is shown as a default is one.
    let destinations = &session.destinations;
    let shown: Vec<_> = destinations.iter().map(|destination| destination.port()).collect();
    assert_eq!(shown, ["host", "uplink0", "uplink0", "uplink0", "uplink0", "uplink0"]);
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
fn what_the_default_file_shows_of_a_session_are_the_defaults() {
    let text = std::fs::read_to_string(folder().join("default.toml")).unwrap();
    let uncommented = text.replace("#: ", "");
    let shown = Config::from_str(&uncommented, "default.toml").unwrap().sessions.remove(0);
    let bare: Vec<_> = uncommented.lines().filter(|line| !line.contains(" = false")).collect();
    let ignored =
        ["direction", "sample", "rate-burst", "mtu = 1500", "oversize", "dscp", "ttl", "pcp"];
    let more = ["security-group", "hardware-id", "sub-header", "udp-port"];
    let is_kept = |line: &&str| !ignored.iter().chain(&more).any(|key| line.starts_with(key));
    let bare = bare.into_iter().filter(is_kept).collect::<Vec<_>>().join("\n");
    assert!(!bare.contains("include-dropped") && !bare.contains("udp-port ="), "{bare}");
    assert_eq!(Config::from_str(&bare, "bare.toml").unwrap().sessions.remove(0), shown);
}

#[test]
fn the_sessions_example_has_every_kind_of_source_and_destination() {
    let config = load("sessions.toml");
    let named = |name: &str| {
        config.sessions.iter().find(|session| session.name == name).expect("the file has it")
    };
    assert_eq!(named("vlan10").sources.vlans.len(), 1);
    assert_eq!(
        (named("web").direction, named("web").snap_len),
        (MirrorDirection::Ingress, Some(128))
    );
    assert!(matches!(named("web").rate, Some(MirrorRate::BytesPerSecond { .. })));
    assert_eq!(named("sql").filter.as_deref(), Some("tcp port 1433"));
    assert!(named("sql").exact && named("audit").include_dropped);
    let audit = &named("audit").destinations;
    assert!(matches!(
        audit[..],
        [
            MirrorDestination::Port { .. },
            MirrorDestination::Port { .. },
            MirrorDestination::Rspan { .. }
        ]
    ));
    let [MirrorDestination::Remote(remote)] = &named("collector").destinations[..] else {
        panic!("{config:?}")
    };
    assert_eq!((remote.mtu, remote.ttl), (1500, RemoteDestination::DEFAULT_TTL));
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
