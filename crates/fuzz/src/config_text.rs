//! A configuration of any text.
//!
//! What is refused is refused with a reason and a line of the text. What is accepted keeps the limits that the rest of the
//! switch builds on, its ports survive the way to JSON and back, and as a whole
//! it survives the way to text and back.

use std::collections::BTreeSet;

use helio_config::{
    Attachment, Config, ConfigError, PortConfig, PortEntry, PortSettings, SessionConfig,
    check_port_name,
};
use helio_types::{MAX_LEGS, MAX_PORTS, MAX_WORKERS, Mirroring};

use crate::Outcome;

/// Runs one input.
///
/// # Panics
///
/// When something does not hold.
pub fn run(data: &[u8]) -> Outcome {
    let mut outcome = Outcome::default();
    let Ok(text) = std::str::from_utf8(data) else { return outcome };
    let read = Config::from_str(text, "fuzz.toml");
    outcome.count(&read);
    match read {
        Ok(config) => {
            assert_limits(&config);
            config.ports.iter().for_each(assert_port);
            let written = config.to_toml().unwrap();
            assert_eq!(Config::from_str(&written, "written.toml"), Ok(config), "{written}");
        }
        Err(error) => assert_explained(&error, text),
    }
    outcome
}

fn assert_explained(error: &ConfigError, text: &str) {
    let lines = text.bytes().filter(|byte| *byte == b'\n').count() + 1;
    assert!(!error.problems.is_empty());
    for problem in &error.problems {
        assert!(problem.line.is_some_and(|line| (1..=lines).contains(&line)));
        assert!(!problem.message.is_empty());
    }
    assert!(error.to_string().starts_with("fuzz.toml:"));
}

fn assert_limits(config: &Config) {
    assert!((1..=MAX_WORKERS).contains(&config.workers.len()));
    assert!(config.ports.len() <= MAX_PORTS);
    let names: BTreeSet<_> = config.ports.iter().map(|port| &port.name).collect();
    let ports = config.ports.iter().filter_map(|port| port.attachment.socket());
    let sockets = ports.chain([config.switch.control.as_path()]);
    let statics: Vec<_> = config.ports.iter().flat_map(PortConfig::static_entries).collect();
    assert_eq!(names.len(), config.ports.len());
    let interfaces = config.ports.iter().filter_map(|port| port.attachment.interface());
    let points = config.ports.iter().filter_map(|port| match &port.attachment {
        Attachment::Decap(point) => Some((&point.uplink, point.vlan, point.local)),
        Attachment::Vm(_) | Attachment::Uplink(_) | Attachment::Tap(_) => None,
    });
    let far_sides = sockets.collect::<BTreeSet<_>>().len()
        + interfaces.collect::<BTreeSet<_>>().len()
        + points.collect::<BTreeSet<_>>().len();
    assert_eq!(far_sides, config.ports.len() + 1);
    for (at, entry) in statics.iter().enumerate() {
        assert!(!statics[..at].contains(entry), "{entry:?} is there twice");
    }
    let cores: BTreeSet<_> = config.workers.iter().map(|worker| worker.core).collect();
    assert_eq!(cores.len(), config.workers.len());
    assert_sessions(config);
    for port in &config.ports {
        assert!(port.worker.is_none_or(|worker| worker.index() < config.workers.len()));
    }
}

fn assert_sessions(config: &Config) {
    let sessions = &config.sessions;
    let names: BTreeSet<_> = sessions.iter().map(|session| &session.name).collect();
    assert_eq!(names.len(), sessions.len());
    let destinations: usize = sessions.iter().map(|session| session.destinations.len()).sum();
    assert!(destinations <= MAX_LEGS);
    for session in sessions {
        assert!(!session.destinations.is_empty());
        let json = serde_json::to_string(session).unwrap();
        assert_eq!(serde_json::from_str::<SessionConfig>(&json).unwrap(), *session);
    }
}

fn assert_port(port: &PortConfig) {
    assert_eq!(check_port_name(&port.name), Ok(()));
    assert!(port.mtu >= 68);
    match &port.attachment {
        Attachment::Vm(socket) => {
            let path = socket.path.as_os_str();
            assert!((1..=PortConfig::MAX_SOCKET_BYTES).contains(&path.len()));
            assert!((1..=128).contains(&socket.queue_pairs));
        }
        Attachment::Uplink(uplink) => {
            assert!((1..=15).contains(&uplink.name.len()));
            assert!(uplink.queues.is_none_or(|count| (1..=64).contains(&count)));
        }
        Attachment::Tap(tap) => assert!((1..=15).contains(&tap.name.len())),
        Attachment::Decap(point) => assert!(point.vlan.is_none_or(|vlan| vlan.get() > 0)),
    }
    assert!(!port.receive_only || port.mirroring != Mirroring::Source);
    for entry in &port.static_macs {
        assert!(!entry.mac.is_group());
    }
    for (vlan, _) in port.static_entries() {
        assert!(port.vlan.is_member(vlan));
    }
    assert_eq!(port.static_entries().count(), port.static_macs.len());
    let json = serde_json::to_string(port).unwrap();
    assert_eq!(serde_json::from_str::<PortConfig>(&json).unwrap(), *port);
    assert_eq!(PortEntry::from(port.clone()).check().as_ref(), Ok(port));
    assert_eq!(PortSettings::default().applied_to(port).as_ref(), Ok(port));
}
