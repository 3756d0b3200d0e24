//! A switch that is only its tables, for tests of what talks to a switch.

use std::sync::{Mutex, MutexGuard};

use helio_api::{
    ConfigInfo, FdbEntryInfo, FdbEntryKind, FdbFilter, FlushReply, MirrorDestinationInfo,
    MirrorInfo, PortConfig, PortInfo, PortSettings, PortState, SessionConfig, SessionSettings,
    TurnTimes, WorkerInfo,
};
use helio_control::{ControlError, Switch};
use helio_types::Mirroring;

/// Holds the plan of its ports, and invents counters.
#[derive(Debug, Default)]
pub(crate) struct FakeSwitch {
    ports: Mutex<Vec<PortConfig>>,
    sessions: Mutex<Vec<SessionConfig>>,
    flushed: Mutex<Vec<FdbFilter>>,
}

impl FakeSwitch {
    /// Columbia, crusader, and sniffie as the destination.
    pub(crate) fn three_guests() -> Self {
        let switch = Self::default();
        for name in ["columbia", "crusader", "sniffie"] {
            let mut port = PortConfig::new(name, &format!("/run/helio/{name}.sock")).unwrap();
            if name == "sniffie" {
                port.mirroring = Mirroring::Destination;
            }
            switch.add_port(port).unwrap();
        }
        switch
    }

    fn plan(&self) -> MutexGuard<'_, Vec<PortConfig>> {
        self.ports.lock().unwrap()
    }
}

fn info(port: &PortConfig) -> PortInfo {
    let mut info = PortInfo::new(port);
    info.state = PortState::Waiting;
    info.detail = format!("waiting for a front-end to connect to {}", info.socket);
    info.ingress_frames = 12;
    info.drops.insert("no-rx-buffer".to_owned(), 3);
    info
}

fn session_info(session: &SessionConfig) -> MirrorInfo {
    let mut info = MirrorInfo::named(session);
    info.sources.clone_from(&session.sources.ports);
    for destination in &mut info.destinations {
        (destination.wanted, destination.delivered) = (7, 4);
        destination.dropped = [("rate-limit".to_owned(), 2), ("no-neighbour".to_owned(), 1)].into();
        destination.detail = "this is only a fake".to_owned();
    }
    info
}

impl Switch for FakeSwitch {
    fn ports(&self) -> Result<Vec<PortInfo>, ControlError> {
        Ok(self.plan().iter().map(info).collect())
    }

    fn port(&self, name: &str) -> Result<PortInfo, ControlError> {
        assert_ne!(name, "panic", "this port breaks the fake switch");
        let plan = self.plan();
        let found = plan.iter().find(|port| port.name == name);
        found.map(info).ok_or_else(|| ControlError::no_such_port(name))
    }

    fn add_port(&self, port: PortConfig) -> Result<PortInfo, ControlError> {
        let mut plan = self.plan();
        if plan.iter().any(|other| other.name == port.name) {
            return Err(ControlError::conflict(format!("there is a port {:?} already", port.name)));
        }
        plan.push(port.clone());
        Ok(info(&port))
    }

    fn set_port(&self, name: &str, settings: PortSettings) -> Result<PortInfo, ControlError> {
        let mut plan = self.plan();
        let port = plan.iter_mut().find(|port| port.name == name);
        let port = port.ok_or_else(|| ControlError::no_such_port(name))?;
        *port = settings.applied_to(port)?;
        Ok(info(port))
    }

    fn remove_port(&self, name: &str) -> Result<(), ControlError> {
        let mut plan = self.plan();
        let before = plan.len();
        plan.retain(|port| port.name != name);
        if plan.len() == before { Err(ControlError::no_such_port(name)) } else { Ok(()) }
    }

    fn mirrors(&self) -> Result<Vec<MirrorInfo>, ControlError> {
        let plan = self.plan();
        let named = |wanted: Mirroring| {
            let chosen = plan.iter().filter(move |port| port.mirroring == wanted);
            chosen.map(|port| port.name.clone())
        };
        let destination = |port| MirrorDestinationInfo {
            port,
            wanted: 5,
            delivered: 4,
            dropped: [("no-rx-buffer".to_owned(), 1)].into(),
            wanted_bytes: 500,
            delivered_bytes: 400,
            dropped_bytes: [("no-rx-buffer".to_owned(), 100)].into(),
            ..MirrorDestinationInfo::default()
        };
        let numbered = MirrorInfo {
            sources: named(Mirroring::Source).collect(),
            destinations: named(Mirroring::Destination).map(destination).collect(),
            ..MirrorInfo::numbered(0)
        };
        let sessions = self.sessions.lock().unwrap();
        Ok([numbered].into_iter().chain(sessions.iter().map(session_info)).collect())
    }

    fn add_mirror(&self, session: SessionConfig) -> Result<MirrorInfo, ControlError> {
        let mut sessions = self.sessions.lock().unwrap();
        if sessions.iter().any(|other| other.name == session.name) {
            return Err(ControlError::conflict(format!("there is a session {:?}", session.name)));
        }
        sessions.push(session.clone());
        Ok(session_info(&session))
    }

    fn set_mirror(
        &self,
        name: &str,
        settings: SessionSettings,
    ) -> Result<MirrorInfo, ControlError> {
        let mut sessions = self.sessions.lock().unwrap();
        let session = sessions.iter_mut().find(|session| session.name == name);
        let session = session.ok_or_else(|| ControlError::no_such_mirror(name))?;
        *session = settings.applied_to(session)?;
        Ok(session_info(session))
    }

    fn remove_mirror(&self, name: &str) -> Result<(), ControlError> {
        let mut sessions = self.sessions.lock().unwrap();
        let place = sessions.iter().position(|session| session.name == name);
        sessions.remove(place.ok_or_else(|| ControlError::no_such_mirror(name))?);
        Ok(())
    }

    fn fdb(&self) -> Result<Vec<FdbEntryInfo>, ControlError> {
        let entry = |vlan, last: u8, port: &str| FdbEntryInfo {
            vlan,
            mac: format!("52:54:00:00:00:{last:02x}"),
            port: port.to_owned(),
            kind: FdbEntryKind::Learned,
            age_s: 7,
        };
        Ok(vec![entry(0, 1, "columbia"), entry(10, 2, "crusader")])
    }

    fn flush_fdb(&self, filter: &FdbFilter) -> Result<FlushReply, ControlError> {
        self.flushed.lock().unwrap().push(filter.clone());
        let removed = self.fdb()?.iter().filter(|entry| filter.matches(entry)).count();
        Ok(FlushReply { removed: u64::try_from(removed).unwrap() })
    }

    fn config(&self) -> Result<ConfigInfo, ControlError> {
        let ports: Vec<_> = self.plan().iter().map(|port| port.name.clone()).collect();
        let sessions = self.sessions.lock().unwrap();
        let problems = sessions.iter().map(|session| format!("{} is only a fake", session.name));
        Ok(ConfigInfo {
            toml: format!("# the ports {}\n", ports.join(" ")),
            problems: problems.collect(),
        })
    }

    fn workers(&self) -> Result<Vec<WorkerInfo>, ControlError> {
        Ok(vec![WorkerInfo {
            worker: 0,
            core: 1,
            poll: "adaptive".to_owned(),
            ports: self.plan().iter().map(|port| port.name.clone()).collect(),
            turns: 100,
            frames: 12,
            sleeps: 9,
            busy_ns: 250,
            idle_ns: 750,
            turn_ns: TurnTimes { p50: 800, p99: 4000, max: 90_000 },
        }])
    }
}
