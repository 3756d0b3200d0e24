//! The checked plan of the whole switch.

use std::path::{Path, PathBuf};
use std::time::Duration;

use helio_types::{MAX_PORTS, SessionId};

use crate::own_address::OwnAddress;
use crate::port_entry::check_socket_path;
use crate::problem::Faults;
use crate::read::read_config;
use crate::read_mirror::FilterCheck;
use crate::session::MirrorDestination;
use crate::{
    Attachment, ConfigError, DecapPoint, PortConfig, PortError, Problem, SessionConfig,
    SocketAccess,
};

/// Where the switch and the command line meet when nobody says otherwise.
pub const DEFAULT_CONTROL: &str = "/run/helio/control.sock";

/// The switch as it shall be at its start.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// Settings of the whole switch.
    pub switch: SwitchConfig,
    /// The workers: 1 to 64, each on a core of its own.
    pub workers: Vec<WorkerConfig>,
    /// The ports: at most 256, with unique names, sockets, interfaces and static addresses.
    pub ports: Vec<PortConfig>,
    /// The numbered mirror sessions that have settings of their own.
    pub mirrors: Vec<MirrorConfig>,
    /// The named mirror sessions, with unique names and at most [`MAX_LEGS`](helio_types::MAX_LEGS) destinations in all.
    pub sessions: Vec<SessionConfig>,
}

/// Settings of the whole switch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SwitchConfig {
    /// Path of the control socket, at most 107 bytes.
    pub control: PathBuf,
    /// Who may connect to that socket, and to those of ports on which the switch listens.
    pub access: SocketAccess,
    /// Addresses the FDB has room for.
    pub fdb_size: usize,
    /// A learned address is forgotten when it was not seen for this long.
    pub fdb_ageing: Duration,
}

impl Default for SwitchConfig {
    fn default() -> Self {
        Self {
            control: PathBuf::from(DEFAULT_CONTROL),
            access: SocketAccess::default(),
            fdb_size: 16_384,
            fdb_ageing: Duration::from_secs(300),
        }
    }
}

/// One worker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WorkerConfig {
    /// The core it is pinned to, as the kernel counts them.
    pub core: usize,
    /// What it does without frames.
    pub poll: PollMode,
}

/// What a worker does when there are no frames.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PollMode {
    /// Polls on: lowest delay, and the core is always busy.
    Busy,
    /// Sleeps until a guest notifies it.
    Adaptive {
        /// How long it polls without a frame before it sleeps.
        idle: Duration,
    },
}

impl PollMode {
    /// The word in configuration and on the command line.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Busy => "busy",
            Self::Adaptive { .. } => "adaptive",
        }
    }
}

impl Default for PollMode {
    fn default() -> Self {
        Self::Adaptive { idle: Duration::from_micros(100) }
    }
}

/// Settings of one numbered mirror session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MirrorConfig {
    /// The session.
    pub session: SessionId,
    /// Whether every frame is copied once into private memory first, so that all receive identical bytes
    /// even when the sender rewrites its buffer meanwhile.
    pub exact: bool,
}

impl Config {
    /// The plan that `text` describes. `file_name` is only used in errors.
    ///
    /// Reads from the host one thing, and only when `text` names no worker: which core the default worker
    /// gets.
    ///
    /// # Errors
    ///
    /// Every problem found, each with line, key, and what to write instead.
    pub fn from_str(text: &str, file_name: &str) -> Result<Self, ConfigError> {
        Self::from_str_with(text, file_name, &|_| Ok(()))
    }

    /// As [`Config::from_str`], with a check of the filters of mirror sessions that this crate cannot make: each is told
    /// to `check_filter`, and is a problem when that says so.
    ///
    /// # Errors
    ///
    /// As [`Config::from_str`].
    pub fn from_str_with(
        text: &str,
        file_name: &str,
        check_filter: FilterCheck<'_>,
    ) -> Result<Self, ConfigError> {
        read_config(text, file_name, check_filter)
    }

    /// The plan in the file at `path`.
    ///
    /// # Errors
    ///
    /// The file cannot be read, or as [`Config::from_str`].
    pub fn load(path: &Path) -> Result<Self, ConfigError> {
        Self::load_with(path, &|_| Ok(()))
    }

    /// The plan in the file at `path`, with a check of filters as in [`Config::from_str_with`].
    ///
    /// # Errors
    ///
    /// As [`Config::load`].
    pub fn load_with(path: &Path, check_filter: FilterCheck<'_>) -> Result<Self, ConfigError> {
        let file = path.display().to_string();
        let text = std::fs::read_to_string(path).map_err(|cause| ConfigError {
            file: file.clone(),
            problems: vec![Problem {
                line: None,
                column: None,
                key: String::new(),
                message: format!("the configuration cannot be read: {cause}"),
            }],
        })?;
        Self::from_str_with(&text, &file, check_filter)
    }

    /// Moves the control socket to `path`.
    ///
    /// # Errors
    ///
    /// A sentence that says what to write: the path is too long, or it is the socket of a port.
    pub fn set_control(&mut self, path: &Path) -> Result<(), String> {
        check_socket_path("control", &path.to_string_lossy())?;
        if let Some(port) = self.ports.iter().find(|port| port.attachment.socket() == Some(path)) {
            let (shown, name) = (path.display(), &port.name);
            return Err(format!("{shown} is the socket of port {name:?}; write another path"));
        }
        self.switch.control = path.to_owned();
        Ok(())
    }

    /// Whether `port` can join the ports of this plan.
    ///
    /// # Errors
    ///
    /// Name, socket, interface or a static address belongs to another port or to the control socket already, there is
    /// no such worker, or the switch is full.
    pub fn check_fits(&self, port: &PortConfig) -> Result<(), PortError> {
        let mut faults = Faults::default();
        if self.ports.len() >= MAX_PORTS {
            faults.add(
                "name",
                format!("a switch has at most {MAX_PORTS} ports; leave {} out", port.name),
            );
        }
        if self.ports.iter().any(|other| other.name == port.name) {
            faults.add(
                "name",
                format!("there is a port {:?} already; write another name", port.name),
            );
        }
        self.check_attachment(port, &mut faults);
        if let Some(worker) = port.worker.filter(|worker| worker.index() >= self.workers.len()) {
            let (index, last) = (worker.index(), self.workers.len().saturating_sub(1));
            faults.add(
                "worker",
                format!("worker = {index}, but the last worker is {last}; write 0 to {last}, or add a [[worker]]"),
            );
        }
        self.check_static_entries(port, &mut faults);
        self.check_labels_into(port, &mut faults);
        faults.none_or(Some(()))
    }

    fn check_attachment(&self, port: &PortConfig, faults: &mut Faults) {
        let attachment = &port.attachment;
        let others = || self.ports.iter();
        if let Some(socket) = attachment.socket() {
            let shown = socket.display();
            if socket == self.switch.control {
                faults.add("socket", format!("{shown} is the control socket; write another path"));
            }
            if let Some(other) = others().find(|port| port.attachment.socket() == Some(socket)) {
                let name = &other.name;
                let text = format!("{shown} is the socket of port {name:?}; write another path");
                faults.add("socket", text);
            }
        }
        if let Attachment::Decap(point) = attachment {
            self.check_decap(point, faults);
            self.check_streams_into(port, "decap", faults);
        }
        if let Some(own) = attachment.interface()
            && let Some(other) = others().find(|port| port.attachment.interface() == Some(own))
        {
            let name = &other.name;
            let text = format!("{own} is the interface of port {name:?}; write another one");
            faults.add(attachment.key(), text);
        }
    }

    fn check_decap(&self, point: &DecapPoint, faults: &mut Faults) {
        faults.keep("decap", self.check_uplink(&point.uplink));
        let taken = |port: &&PortConfig| match &port.attachment {
            Attachment::Decap(other) => other.is_same_place(point),
            _ => false,
        };
        if let Some(other) = self.ports.iter().find(taken) {
            let (local, name) = (point.local, &other.name);
            let text = format!("{local} belongs to port {name:?} already; write another address");
            faults.add("decap", text);
        }
        let own = OwnAddress::from(point);
        let beside = |session: &SessionConfig| {
            let owner = format!("the session {:?}", session.name);
            session.destinations.iter().try_for_each(|destination| match destination {
                MirrorDestination::Remote(remote) => own.check_beside(&remote.into(), &owner),
                MirrorDestination::Port { .. } | MirrorDestination::Rspan { .. } => Ok(()),
            })
        };
        faults.keep("decap", self.sessions.iter().try_for_each(beside));
    }

    /// Whether there is an uplink of that name.
    pub(crate) fn check_uplink(&self, name: &str) -> Result<(), String> {
        match self.port_named(name).map(|port| &port.attachment) {
            Some(Attachment::Uplink(_)) => Ok(()),
            Some(_) => Err(format!(
                "the port {name:?} is no uplink; write the name of a port that has an interface"
            )),
            None => Err(format!("there is no port {name:?}; write the name of an uplink")),
        }
    }

    /// The port of that name.
    pub(crate) fn port_named(&self, name: &str) -> Option<&PortConfig> {
        self.ports.iter().find(|port| port.name == name)
    }

    fn check_static_entries(&self, port: &PortConfig, faults: &mut Faults) {
        for (vlan, mac) in port.static_entries() {
            let holds =
                |other: &&PortConfig| other.static_entries().any(|entry| entry == (vlan, mac));
            if let Some(other) = self.ports.iter().find(holds) {
                let name = &other.name;
                faults.add(
                    "static-mac",
                    format!("static-mac {mac} on VLAN {vlan} is behind port {name:?} already; keep one of the two"),
                );
            }
        }
    }
}
