//! Open vSwitch on DPDK, with a database and a run folder of its own, switching by `NORMAL` as its bridges do by default.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command as Program;
use std::time::Instant;

use helio_lab::{ChildProcess, Output};

use super::{
    Command, Counters, Machine, Order, Peer, as_typed, listens, on_cores, on_path, ovs_commands,
    package_version, wait_until,
};
use crate::error::PerfError;
use crate::peer_name::PeerName;

const DAEMON: &str = "/usr/lib/openvswitch-switch-dpdk/ovs-vswitchd-dpdk";
const SCHEMA: &str = "/usr/share/openvswitch/vswitch.ovsschema";

/// A running Open vSwitch.
#[derive(Debug)]
pub(crate) struct Ovs {
    folder: PathBuf,
    prefix: String,
    /// Ends after the one below.
    process: ChildProcess,
    started_at: Instant,
    _database: ChildProcess,
    order: Order,
    commands: Vec<String>,
}

/// Whether the programs are there.
pub(crate) fn find() -> Result<(), PerfError> {
    let remedy = "install Debian's package openvswitch-switch-dpdk";
    let missing = |what: &str| PerfError::Missing { what: what.to_owned(), remedy };
    for program in ["ovsdb-server", "ovsdb-tool", "ovs-vsctl", "ovs-appctl"] {
        on_path(program).ok_or_else(|| missing(program))?;
    }
    match Path::new(DAEMON).is_file() && Path::new(SCHEMA).is_file() {
        true => Ok(()),
        false => Err(missing(DAEMON)),
    }
}

impl Ovs {
    pub(crate) fn start(machine: &Machine, order: &Order) -> Result<Self, PerfError> {
        find()?;
        let folder = order.folder.clone();
        let mut commands = Vec::new();
        let file = folder.join("conf.db");
        super::run(PeerName::Ovs, Program::new("ovsdb-tool").arg("create").arg(&file).arg(SCHEMA))?;
        let mut database = on_cores(machine, Path::new("ovsdb-server"));
        database.args(ovs_commands::database(&folder)).env("OVS_RUNDIR", &folder);
        commands.push(as_typed(&database));
        let log = folder.join("ovsdb.log");
        let mut database = ChildProcess::spawn("ovsdb-server", database, Output::Logged, log)?;
        let socket = folder.join("db.sock");
        wait_until("ovs", &mut database, "its database", || listens(&socket))?;
        // Its own words for the kinds of hosts do not matter; that it may not change while we run does.
        let prefix = format!("helio-perf-ovs-{}", std::process::id());
        vsctl(&folder, &["--no-wait", "init"], &mut commands)?;
        let mut words =
            vec!["--no-wait".to_owned(), "set".into(), "Open_vSwitch".into(), ".".into()];
        words.extend(ovs_commands::settings(machine, order, &prefix));
        vsctl(&folder, &words, &mut commands)?;
        let mut daemon = on_cores(machine, Path::new(DAEMON));
        daemon.args(ovs_commands::daemon(&folder));
        daemon.env("OVS_RUNDIR", &folder).env("OVS_DBDIR", &folder);
        commands.push(as_typed(&daemon));
        // The bridge is in the database before the daemon reads it, as it is when a host boots.
        let mut words = vec!["--no-wait".to_owned()];
        words.extend(ovs_commands::bridge(order));
        vsctl(&folder, &words, &mut commands)?;
        let log = folder.join("vswitchd.out");
        let started_at = Instant::now();
        let process = ChildProcess::spawn("ovs-vswitchd", daemon, Output::Logged, log)?;
        Ok(Self {
            folder,
            prefix,
            process,
            started_at,
            _database: database,
            order: order.clone(),
            commands,
        })
    }

    /// Runs `ovs-appctl` on its daemon.
    fn appctl(&mut self, command: &str) -> Result<String, PerfError> {
        self.commands.push(format!("ovs-appctl {command}"));
        super::run(
            PeerName::Ovs,
            Program::new("ovs-appctl").arg("-t").arg(self.folder.join("vs.ctl")).arg(command),
        )
    }

    fn port_row(&mut self, port: usize) -> Result<String, PerfError> {
        let name = ovs_commands::name(&self.order, port);
        let words = ["get", "Port", &name, "_uuid"];
        Ok(vsctl(&self.folder, &words, &mut self.commands)?.trim().to_owned())
    }

    fn log(&self) -> String {
        fs::read_to_string(self.folder.join("ovs-vswitchd.log")).unwrap_or_default()
    }
}

/// Runs `ovs-vsctl` on the database in `folder`.
fn vsctl<S: AsRef<str>>(
    folder: &Path,
    words: &[S],
    commands: &mut Vec<String>,
) -> Result<String, PerfError> {
    let mut program = Program::new("ovs-vsctl");
    program.arg(format!("--db=unix:{}/db.sock", folder.display())).arg("--timeout=30");
    program.args(words.iter().map(AsRef::as_ref));
    program.env("OVS_RUNDIR", folder);
    commands.push(format!(
        "ovs-vsctl {}",
        words.iter().map(AsRef::as_ref).collect::<Vec<_>>().join(" ")
    ));
    super::run(PeerName::Ovs, &mut program)
}

impl Peer for Ovs {
    fn sockets(&self) -> Vec<PathBuf> {
        super::sockets(PeerName::Ovs, &self.order)
    }

    fn process(&self) -> &ChildProcess {
        &self.process
    }

    fn process_mut(&mut self) -> &mut ChildProcess {
        &mut self.process
    }

    fn started_at(&self) -> Instant {
        self.started_at
    }

    fn wait_ready(&mut self) -> Result<(), PerfError> {
        if self.order.sockets == super::Sockets::Guests {
            return Ok(());
        }
        let sockets = self.sockets();
        let waited = wait_until("ovs", &mut self.process, "its sockets", || {
            sockets.iter().all(|socket| socket.exists())
        });
        waited.map_err(|error| PerfError::peer("ovs", format!("{error}\n{}", self.log())))
    }

    fn mirror_to(&mut self, destinations: &[usize]) -> Result<(), PerfError> {
        vsctl(&self.folder, &ovs_commands::mirrors(&self.order, &[]), &mut self.commands)?;
        if !destinations.is_empty() {
            let words = ovs_commands::mirrors(&self.order, destinations);
            vsctl(&self.folder, &words, &mut self.commands)?;
        }
        // A mirror that comes or goes is no reason for it to look at flows again that are in use.
        self.appctl(ovs_commands::PURGE).map(drop)
    }

    fn mirror_command(&mut self, destination: usize) -> Result<Command, PerfError> {
        let (source, destination) = (self.port_row(0)?, self.port_row(destination)?);
        let stream = crate::http::connect(&self.folder.join("db.sock"))?;
        let last = ["get", "Open_vSwitch", ".", "next_cfg"];
        let last = vsctl(&self.folder, &last, &mut self.commands)?;
        let number = last.trim().parse::<u64>().unwrap_or(0) + 1;
        let [make, wait] = ovs_commands::mirror_transactions(&source, &destination, number);
        let words = format!(
            "a transaction of ovsdb that makes the mirror, and one that waits until that is configured, as ovs-vsctl \
             says and waits; then {}, as ovs-appctl says it",
            ovs_commands::PURGE
        );
        let control = crate::http::connect(&self.folder.join("vs.ctl"))?;
        let next = ovs_commands::purge().into_bytes();
        Command::new(stream, (make + &wait).into_bytes(), words).then(2, control, next)
    }

    fn counters(&mut self) -> Result<Option<Counters>, PerfError> {
        let text = self.appctl("dpif-netdev/pmd-stats-show")?;
        let taken_in = ovs_commands::taken_in(&text);
        Counters::read(PeerName::Ovs, text, taken_in)
    }

    fn commands(&self) -> Vec<String> {
        self.commands.clone()
    }

    fn version(&self) -> String {
        package_version("openvswitch-switch-dpdk")
    }
}

impl Drop for Ovs {
    fn drop(&mut self) {
        self.process.kill();
        drop(fs::remove_dir_all(Path::new("/var/run/dpdk").join(&self.prefix)));
    }
}
