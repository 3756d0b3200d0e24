//! The running switch as the control socket sees it: each request changes the settings of some port, compiles all of them
//! anew, and puts the result in place on all workers.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use helio_api::{
    ConfigInfo, FdbEntryInfo, FdbFilter, FlushReply, MirrorInfo, PortConfig, PortInfo,
    PortSettings, SessionConfig, SessionSettings, WorkerInfo,
};
use helio_config::{Config, MirrorDestination};
use helio_control::{ControlError, ControlErrorKind, Switch};
use helio_filter::Program;
use helio_frame::MemoryDirectory;
use helio_host::FirstTry;
use helio_switch::FlushFilter;
use helio_types::{Mirroring, VlanId, WorkerId};
use helio_uplink::SharedUmem;
use helio_vhost_user::SocketAccess;
use helio_worker::{Fleet, UnderlayReport, WorkerGone};

use crate::cards::Cards;
use crate::compile::compile;
use crate::forgetting::Forgetting;
use crate::info;
use crate::port_handle::{self, Surroundings};
use crate::port_state::{Condition, port_state};
use crate::ports::{Ports, ServedPort};
use crate::session_info::session_info;
use crate::sessions::ServedSessions;
use crate::underlay::{decap_points, endpoint, uplink_of};

/// How long who adds uplinks or TAPs waits to hear whether their interfaces can be used. A queue that its last owner has just
/// let go of takes a moment.
pub(crate) const INTERFACE_PATIENCE: Duration = Duration::from_secs(3);

/// A port that was added and started.
pub(crate) struct Begun {
    /// As it was right then.
    info: PortInfo,
    /// By which its interface is waited for, if it has one.
    pub(crate) first_try: Option<FirstTry>,
}

/// The switch while it runs.
pub(crate) struct RunningSwitch {
    fleet: Arc<Fleet>,
    forgetting: Arc<Forgetting>,
    /// What uplinks share, if the switch started with several.
    umem: Option<Arc<SharedUmem>>,
    /// The configuration it started with; its ports are those that are served now.
    config: Mutex<Config>,
    ports: Mutex<Ports>,
    /// Locked after `ports`.
    sessions: Mutex<ServedSessions>,
    /// The cards of uplinks as workers were last told of them. Locked after `sessions`.
    cards: Mutex<Cards>,
}

impl RunningSwitch {
    pub(crate) fn new(fleet: Arc<Fleet>, config: Config) -> Self {
        let umem = port_handle::share_umem(&config.ports);
        let config = Config { ports: Vec::new(), sessions: Vec::new(), ..config };
        Self {
            forgetting: Arc::new(Forgetting::new(Arc::clone(fleet.fdb()))),
            fleet,
            umem,
            config: Mutex::new(config),
            ports: Mutex::new(Ports::default()),
            sessions: Mutex::new(ServedSessions::default()),
            cards: Mutex::default(),
        }
    }

    pub(crate) fn fleet(&self) -> &Arc<Fleet> {
        &self.fleet
    }

    pub(crate) fn forgetting(&self) -> &Forgetting {
        &self.forgetting
    }

    /// Ends all ports: their sessions first, so that no guest waits for an answer.
    pub(crate) fn stop_ports(&self) {
        let names: Vec<String> =
            self.lock_ports().iter().map(|port| port.config.name.clone()).collect();
        for name in names {
            // It was there a moment ago; if it is not any more, so much the better.
            let _ = self.remove_port(&name);
        }
    }

    fn lock_ports(&self) -> MutexGuard<'_, Ports> {
        self.ports.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The names of all ports, with what each does.
    pub(crate) fn port_states(&self) -> Vec<(String, Condition)> {
        let ports = self.lock_ports();
        let state = |port: &ServedPort| (port.config.name.clone(), port_state(port, &ports));
        ports.iter().map(state).collect()
    }

    fn lock_config(&self) -> MutexGuard<'_, Config> {
        self.config.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn lock_sessions(&self) -> MutexGuard<'_, ServedSessions> {
        self.sessions.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn lock_cards(&self) -> MutexGuard<'_, Cards> {
        self.cards.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Tells the workers if the card of an uplink has another address now: it was not there before, or somebody changed it.
    pub(crate) fn renew_cards(&self) {
        let ports = self.lock_ports();
        // A host that does not tell now is asked again soon.
        let Ok(cards) = Cards::of_uplinks(&ports) else { return };
        let are_known = *self.lock_cards() == cards;
        if !are_known {
            // A worker that has ended needs to know nothing.
            let _ = self.install(&ports);
        }
    }

    /// Puts the settings of `ports`, and the named sessions, in place on all workers.
    fn install(&self, ports: &Ports) -> Result<(), ControlError> {
        self.install_sessions(ports, &self.lock_sessions())
    }

    fn install_sessions(
        &self,
        ports: &Ports,
        sessions: &ServedSessions,
    ) -> Result<(), ControlError> {
        // Where the host does not tell, they are what they were.
        let cards = Cards::of_uplinks(ports).unwrap_or_else(|_| self.lock_cards().clone());
        let mirrors = self.lock_config().mirrors.clone();
        let settings = ports.iter().map(|port| (port.id, port.worker, &port.config));
        let snapshot = compile(settings, &mirrors, self.fleet.len())
            .with_sessions(sessions.compile(ports, &cards))
            .with_decaps(decap_points(ports, &cards));
        self.fleet.install(&Arc::new(snapshot)).map_err(gone)?;
        *self.lock_cards() = cards;
        Ok(())
    }

    /// Puts a named session in place: that of the one of the same name, or the last.
    fn put_session(
        &self,
        session: SessionConfig,
        filter: Option<Program>,
        ports: &Ports,
    ) -> Result<(), ControlError> {
        check_ways(&session, ports, &self.lock_cards())?;
        self.change_sessions(ports, |sessions| {
            sessions.put(session.clone(), filter, |leg| self.fleet.leg_counts(leg))
        })?;
        let mut config = self.lock_config();
        match config.sessions.iter_mut().find(|known| known.name == session.name) {
            Some(known) => *known = session,
            None => config.sessions.push(session),
        }
        Ok(())
    }

    /// Changes the list of named sessions, and puts it in place. Where that fails, the list is as before. A `change` that
    /// fails has changed nothing.
    fn change_sessions(
        &self,
        ports: &Ports,
        change: impl FnOnce(&mut ServedSessions) -> Result<(), ControlError>,
    ) -> Result<(), ControlError> {
        let mut sessions = self.lock_sessions();
        let before = sessions.clone();
        change(&mut sessions)?;
        let installed = self.install_sessions(ports, &sessions);
        if installed.is_err() {
            sessions.go_back(before);
            // Some workers have been told already. If they cannot be told otherwise either, the first error says why.
            let _ = self.install_sessions(ports, &sessions);
        }
        // What still goes by a leg that is no more, or never came to be, is counted before its number is another's.
        self.fleet.drain();
        installed
    }

    /// A named session as it is configured.
    fn session_config(&self, name: &str) -> Result<SessionConfig, ControlError> {
        let config = self.lock_config();
        let found = config.sessions.iter().find(|session| session.name == name);
        found.cloned().ok_or_else(|| ControlError::no_such_mirror(name))
    }

    /// Lets the counts of a mirror destination begin at zero when it changes its session: first it takes no part, and once
    /// no copy for it is under way, its counters stand still and are what the new session begins with.
    fn begin_mirror_counts(
        &self,
        ports: &mut Ports,
        old: &PortConfig,
        new: &PortConfig,
    ) -> Result<(), ControlError> {
        if (old.mirroring, old.session) == (new.mirroring, new.session) {
            return Ok(());
        }
        let unknown = || ControlError::no_such_port(&new.name);
        ports.find_mut(&new.name).ok_or_else(unknown)?.config.mirroring = Mirroring::None;
        self.install(ports)?;
        self.fleet.drain();
        let port = ports.find_mut(&new.name).ok_or_else(unknown)?;
        port.base.mirror = self.fleet.counts(port.id).mirror;
        port.config.mirroring = new.mirroring;
        Ok(())
    }

    /// Who may connect to the sockets of ports. The group is looked up for each, as it may have come or gone.
    fn access(&self) -> Result<SocketAccess, ControlError> {
        let access = self.lock_config().switch.access.clone();
        let group = access.group_id().map_err(|error| ControlError::conflict(error.to_string()))?;
        Ok(SocketAccess { mode: access.mode, group })
    }

    /// Makes a port, opens its socket if it has one, and gives it to its worker. It serves nobody yet.
    fn open(&self, config: PortConfig, ports: &mut Ports) -> Result<ServedPort, ControlError> {
        let full = || ControlError::conflict("the switch has no free port slot");
        let id = ports.free_id().ok_or_else(full)?;
        let chosen = config.worker.or_else(|| ports.least_loaded(self.fleet.len()));
        let worker = chosen.ok_or_else(|| ControlError::conflict("the switch has no worker"))?;
        let wakeups = self.fleet.wakeups(worker).ok_or_else(|| gone(WorkerGone))?;
        let access = self.access()?;
        let polling = self.lock_config().workers.get(worker.index()).map(|worker| worker.poll);
        let around = Surroundings {
            id,
            name: config.name.clone(),
            wakeups,
            polling: polling.unwrap_or_default(),
            directory: Arc::clone(&self.fleet) as Arc<dyn MemoryDirectory>,
            umem: self.umem.clone(),
            forgetting: Arc::clone(&self.forgetting),
        };
        let (port, handle) = port_handle::make(&config, around, access)?;
        let base = self.fleet.counts(id);
        if let Some(port) = port {
            self.fleet.add_port(worker, id, port).map_err(gone)?;
        }
        let number = ports.next_number();
        Ok(ServedPort { id, number, config, worker, handle, base })
    }

    /// Adds a port and starts it. What it is attached to may be under way to it when this returns.
    pub(crate) fn begin_port(&self, port: PortConfig) -> Result<Begun, ControlError> {
        let mut ports = self.lock_ports();
        self.lock_config().check_fits(&port).map_err(conflict)?;
        let name = port.name.clone();
        let served = self.open(port, &mut ports)?;
        self.settle_fdb(&served);
        self.lock_config().ports.push(served.config.clone());
        ports.insert(served);
        let started = self.install(&ports).and_then(|()| {
            let port = ports.find_mut(&name).ok_or_else(|| ControlError::no_such_port(&name))?;
            let first_try = port.handle.start()?;
            let port = ports.find(&name).ok_or_else(|| ControlError::no_such_port(&name))?;
            let info = info::port_info(port, &ports, &self.fleet, &UnderlayReport::default());
            Ok(Begun { info, first_try })
        });
        drop(ports);
        if started.is_err() {
            // If somebody else has removed it already, so much the better.
            let _ = self.remove_port(&name);
        }
        started
    }

    /// Makes limit and static addresses of the FDB those of `port`.
    fn settle_fdb(&self, port: &ServedPort) {
        let fdb = self.fleet.fdb();
        fdb.set_limit(port.id, port.config.mac_limit);
        for (vlan, mac) in port.config.static_entries() {
            if let Err(refused) = fdb.add_static(vlan, mac, port.id) {
                tracing::warn!("port {}: {mac} is not pinned to it: {refused}", port.config.name);
            }
        }
    }
}

impl Switch for RunningSwitch {
    fn ports(&self) -> Result<Vec<PortInfo>, ControlError> {
        let ports = self.lock_ports();
        let underlay = info::underlay_for(ports.iter(), &self.fleet);
        Ok(ports.iter().map(|port| info::port_info(port, &ports, &self.fleet, &underlay)).collect())
    }

    fn port(&self, name: &str) -> Result<PortInfo, ControlError> {
        let ports = self.lock_ports();
        let port = ports.find(name).ok_or_else(|| ControlError::no_such_port(name))?;
        let underlay = info::underlay_for(std::iter::once(port), &self.fleet);
        Ok(info::port_info(port, &ports, &self.fleet, &underlay))
    }

    fn add_port(&self, port: PortConfig) -> Result<PortInfo, ControlError> {
        let Begun { info, first_try } = self.begin_port(port)?;
        let Some(first_try) = first_try else { return Ok(info) };
        // The answer says whether the interface can be used. Nobody else waits for that.
        first_try.wait(Instant::now() + INTERFACE_PATIENCE);
        // Another client may have removed it by now; that it was added is true all the same.
        Ok(self.port(&info.name).unwrap_or(info))
    }

    fn set_port(&self, name: &str, settings: PortSettings) -> Result<PortInfo, ControlError> {
        let mut ports = self.lock_ports();
        let port = ports.find_mut(name).ok_or_else(|| ControlError::no_such_port(name))?;
        let changed = settings.applied_to(&port.config)?;
        self.lock_config().check_labels(&changed).map_err(conflict)?;
        let old = std::mem::replace(&mut port.config, changed.clone());
        let id = port.id;
        if old.mirroring == Mirroring::Destination || changed.mirroring == Mirroring::Destination {
            self.begin_mirror_counts(&mut ports, &old, &changed)?;
        }
        self.install(&ports)?;
        if let Some(known) = self.lock_config().ports.iter_mut().find(|known| known.name == name) {
            *known = changed.clone();
        }
        let port = ports.find(name).ok_or_else(|| ControlError::no_such_port(name))?;
        port.handle.set_mtu(changed.mtu);
        if old.vlan != changed.vlan {
            // What was learned and pinned belongs to the old VLANs.
            self.fleet.fdb().flush(FlushFilter::RemovedPort(id));
            self.settle_fdb(port);
        }
        let underlay = info::underlay_for(std::iter::once(port), &self.fleet);
        Ok(info::port_info(port, &ports, &self.fleet, &underlay))
    }

    fn remove_port(&self, name: &str) -> Result<(), ControlError> {
        let mut ports = self.lock_ports();
        let mut port = ports.take(name).ok_or_else(|| ControlError::no_such_port(name))?;
        // First no frame goes to it any more, then its session ends, then its worker forgets it. The session may take its
        // time, and nobody else has to wait for that; name and socket are free when all is done.
        let installed = self.install(&ports);
        drop(ports);
        port.handle.stop();
        let removed = self.fleet.remove_port(port.worker, port.id).map(drop).map_err(gone);
        // A control thread that waited in vain for the worker ends now, before another port has this number.
        port.handle.stop();
        self.fleet.fdb().flush(FlushFilter::RemovedPort(port.id));
        self.lock_ports().gone(port.id);
        self.lock_config().ports.retain(|known| known.name != name);
        installed.and(removed)
    }

    fn mirrors(&self) -> Result<Vec<MirrorInfo>, ControlError> {
        let ports = self.lock_ports();
        let sessions = self.lock_sessions();
        let underlay = self.fleet.report_underlay();
        let mirrors = self.lock_config().mirrors.clone();
        let mut infos = info::mirror_infos(&ports, &mirrors, &self.fleet);
        let named = |session| session_info(session, &ports, &self.fleet, &underlay);
        infos.extend(sessions.iter().map(named));
        Ok(infos)
    }

    fn add_mirror(&self, session: SessionConfig) -> Result<MirrorInfo, ControlError> {
        let filter = compile_filter(&session)?;
        let name = session.name.clone();
        let ports = self.lock_ports();
        self.lock_config().check_session_fits(&session).map_err(conflict)?;
        self.put_session(session, filter, &ports)?;
        drop(ports);
        self.mirror(&name)
    }

    fn set_mirror(
        &self,
        name: &str,
        settings: SessionSettings,
    ) -> Result<MirrorInfo, ControlError> {
        let old = self.session_config(name)?;
        let changed = settings.applied_to(&old)?;
        let filter = compile_filter(&changed)?;
        let ports = self.lock_ports();
        if self.session_config(name)? != old {
            return Err(ControlError::conflict(format!(
                "somebody else has changed the mirror session {name:?} meanwhile; look at it and try again"
            )));
        }
        self.lock_config().check_session_change(&changed, &old).map_err(conflict)?;
        self.put_session(changed, filter, &ports)?;
        drop(ports);
        self.mirror(name)
    }

    fn remove_mirror(&self, name: &str) -> Result<(), ControlError> {
        let ports = self.lock_ports();
        self.change_sessions(&ports, |sessions| {
            let taken = sessions.take(name).map(drop);
            taken.ok_or_else(|| ControlError::no_such_mirror(name))
        })?;
        self.lock_config().sessions.retain(|known| known.name != name);
        Ok(())
    }

    fn fdb(&self) -> Result<Vec<FdbEntryInfo>, ControlError> {
        let ports = self.lock_ports();
        let mut entries: Vec<_> = self.fleet.fdb().entries();
        entries.sort_by_key(|entry| (entry.vlan, entry.mac));
        Ok(entries.iter().map(|entry| info::fdb_info(entry, &ports)).collect())
    }

    fn flush_fdb(&self, filter: &FdbFilter) -> Result<FlushReply, ControlError> {
        let ports = self.lock_ports();
        let port = match &filter.port {
            Some(name) => {
                Some(ports.find(name).ok_or_else(|| ControlError::no_such_port(name))?.id)
            }
            None => None,
        };
        let vlan = match filter.vlan {
            Some(vlan) => {
                let unknown =
                    || ControlError::invalid(format!("{vlan} is no VLAN; write 0 to 4094"));
                Some(VlanId::new(vlan).ok_or_else(unknown)?)
            }
            None => None,
        };
        let filter = match (port, vlan) {
            (None, None) => FlushFilter::All,
            (Some(port), None) => FlushFilter::Port(port),
            (None, Some(vlan)) => FlushFilter::Vlan(vlan),
            (Some(port), Some(vlan)) => FlushFilter::PortVlan(port, vlan),
        };
        Ok(FlushReply { removed: self.fleet.fdb().flush(filter) as u64 })
    }

    fn config(&self) -> Result<ConfigInfo, ControlError> {
        let config = self.lock_config().clone();
        info::config_info(&config).map_err(ControlError::internal)
    }

    fn workers(&self) -> Result<Vec<WorkerInfo>, ControlError> {
        let ports = self.lock_ports();
        let workers = self.lock_config().workers.clone();
        let info = |(index, config)| {
            let id = WorkerId::new(index).ok_or(WorkerGone)?;
            Ok(info::worker_info(index, config, &self.fleet.report(id)?, &ports))
        };
        workers.iter().enumerate().map(info).collect::<Result<_, WorkerGone>>().map_err(gone)
    }
}

/// Whether the collectors of a session can be reached by the addresses it names.
fn check_ways(session: &SessionConfig, ports: &Ports, cards: &Cards) -> Result<(), ControlError> {
    for destination in &session.destinations {
        if let MirrorDestination::Remote(remote) = destination
            && let Some(interface) = uplink_of(ports, &remote.uplink)
        {
            endpoint(remote, interface, cards)
                .map_err(|error| ControlError::invalid(error.to_string()))?;
        }
    }
    Ok(())
}

/// The program of a session's filter. To be called while no lock is held: a name in a filter is looked up by the host's resolver.
fn compile_filter(session: &SessionConfig) -> Result<Option<Program>, ControlError> {
    let program = session.filter.as_deref().map(helio_filter::compile).transpose();
    program.map_err(|error| ControlError::invalid(error.to_string()))
}

/// What is right in itself and does not fit what is there.
fn conflict(error: impl Into<ControlError>) -> ControlError {
    error.into().of_conflict()
}

fn gone(error: WorkerGone) -> ControlError {
    ControlError::new(ControlErrorKind::Internal, error.to_string())
}

#[cfg(test)]
#[path = "switch_tests.rs"]
mod tests;
