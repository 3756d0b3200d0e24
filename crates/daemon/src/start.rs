//! Starting the switch in order, and ending it in the opposite order.

use std::hash::{BuildHasher as _, RandomState};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Instant;

use helio_config::{Config, PollMode, check_host};
use helio_control::{ControlServer, ServeError, Switch as _, serve_to};
use helio_switch::{Fdb, FdbSettings};
use helio_worker::{Clock, Fleet, FleetSettings, Polling, spawn};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

use crate::DaemonError;
use crate::compile::compile;
use crate::housekeeping::Housekeeping;
use crate::switch::{INTERFACE_PATIENCE, RunningSwitch};

/// A switch that runs. Ends with [`Daemon::stop`].
pub struct Daemon {
    switch: Arc<RunningSwitch>,
    control: ControlServer,
    housekeeping: Housekeeping,
    workers: Vec<JoinHandle<()>>,
}

/// Runs the switch until SIGINT or SIGTERM.
///
/// # Errors
///
/// When it cannot start.
pub fn run(config: Config) -> Result<(), DaemonError> {
    let mut signals = Signals::new([SIGINT, SIGTERM])?;
    let daemon = Daemon::start(config)?;
    tracing::info!("helio is ready");
    signals.forever().next();
    tracing::info!("helio stops");
    daemon.stop();
    Ok(())
}

impl Daemon {
    /// Starts workers, ports and the control socket; the control socket last, so that who reaches it finds everything.
    ///
    /// # Errors
    ///
    /// When any of them cannot start; what had started has ended by then.
    pub fn start(config: Config) -> Result<Self, DaemonError> {
        check_host(&config)?;
        // Before the ports, whose sockets would be in use too: this says better why.
        if UnixStream::connect(&config.switch.control).is_ok() {
            return Err(ServeError::AlreadyRunning { path: config.switch.control }.into());
        }
        raise_descriptor_limit();
        let (fleet, workers) = make_fleet(&config)?;
        let mut started = Started { fleet: Arc::clone(&fleet), workers: Vec::new() };
        for (worker, (index, settings)) in
            workers.into_iter().zip(config.workers.iter().enumerate())
        {
            started.workers.push(spawn(worker, format!("worker {index}"), settings.core)?);
        }
        let switch = Arc::new(RunningSwitch::new(fleet, config.clone()));
        if let Err(error) = open_ports(&switch, &config) {
            switch.stop_ports();
            return Err(error);
        }
        let control = match start_control(&switch, &config) {
            Ok(control) => control,
            Err(error) => {
                switch.stop_ports();
                return Err(error);
            }
        };
        let housekeeping = Housekeeping::start(Arc::clone(&switch))?;
        Ok(Self { switch, control, housekeeping, workers: std::mem::take(&mut started.workers) })
    }

    /// Ends everything: no more requests, no more sessions, no more workers.
    pub fn stop(self) {
        self.control.stop();
        drop(self.housekeeping);
        self.switch.stop_ports();
        end_workers(self.switch.fleet(), self.workers);
    }
}

impl std::fmt::Debug for Daemon {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Daemon").field("workers", &self.workers.len()).finish_non_exhaustive()
    }
}

/// Worker threads, ended again when the start goes no further.
struct Started {
    fleet: Arc<Fleet>,
    workers: Vec<JoinHandle<()>>,
}

impl Drop for Started {
    fn drop(&mut self) {
        if !self.workers.is_empty() {
            end_workers(&self.fleet, std::mem::take(&mut self.workers));
        }
    }
}

fn end_workers(fleet: &Fleet, workers: Vec<JoinHandle<()>>) {
    fleet.stop();
    for worker in workers {
        if worker.join().is_err() {
            tracing::error!("a worker thread broke off");
        }
    }
}

fn make_fleet(config: &Config) -> Result<(Arc<Fleet>, Vec<helio_worker::Worker>), DaemonError> {
    let polling = config.workers.iter().map(|worker| match worker.poll {
        PollMode::Busy => Polling::Busy,
        PollMode::Adaptive { idle } => Polling::Adaptive { idle },
    });
    let fdb = Fdb::new(FdbSettings {
        capacity: config.switch.fdb_size,
        ageing_s: u32::try_from(config.switch.fdb_ageing.as_secs()).unwrap_or(u32::MAX),
        // The library's own per-process secret, so that no guest can choose addresses that collide.
        seed: RandomState::new().hash_one("fdb"),
    });
    let settings = FleetSettings {
        polling: polling.collect(),
        snapshot: Arc::new(compile(std::iter::empty(), &config.mirrors, config.workers.len())),
        fdb: Arc::new(fdb),
        clock: Clock::host(),
    };
    let (fleet, workers) = Fleet::new(settings)?;
    Ok((Arc::new(fleet), workers))
}

/// Opens all ports. Their interfaces are waited for together.
fn open_ports(switch: &RunningSwitch, config: &Config) -> Result<(), DaemonError> {
    let mut first_tries = Vec::new();
    for port in &config.ports {
        if let Some(socket) = port.attachment.socket() {
            create_parent(socket)?;
        }
        let refused = |error: helio_control::ControlError| DaemonError::Port {
            name: port.name.clone(),
            cause: error.message,
        };
        first_tries.extend(switch.begin_port(port.clone()).map_err(refused)?.first_try);
    }
    let latest = Instant::now() + INTERFACE_PATIENCE;
    first_tries.iter().for_each(|first_try| first_try.wait(latest));
    for session in &config.sessions {
        let refused = |error: helio_control::ControlError| DaemonError::Session {
            name: session.name.clone(),
            cause: error.message,
        };
        switch.add_mirror(session.clone()).map_err(refused)?;
    }
    Ok(())
}

fn start_control(
    switch: &Arc<RunningSwitch>,
    config: &Config,
) -> Result<ControlServer, DaemonError> {
    create_parent(&config.switch.control)?;
    Ok(serve_to(Arc::clone(switch), &config.switch.control, &config.switch.access)?)
}

/// Makes the folder of a socket, as for /run/helio after a boot.
fn create_parent(socket: &std::path::Path) -> Result<(), DaemonError> {
    let Some(folder) = socket.parent() else { return Ok(()) };
    std::fs::create_dir_all(folder)
        .map_err(|cause| DaemonError::Folder { folder: folder.to_owned(), cause })
}

/// Each port needs some thirty descriptors; the usual soft limit of 1024 would end with the 30th port.
fn raise_descriptor_limit() {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit { current: limit.maximum, maximum: limit.maximum };
    if let Err(error) = setrlimit(Resource::Nofile, raised) {
        tracing::warn!("the limit of open files stays as it is: {error}");
    }
}
