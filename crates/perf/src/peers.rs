//! One adapter for each switch: how it is started, told what to do, asked, and stopped.
//!
//! A peer that is not measured is parked by SIGSTOP: it costs nothing then, and keeps its sockets and its guests.
//! Every process is killed by the kernel when the thread that started it ends.

mod bridge;
mod command;
mod helio;
mod ovs;
mod ovs_commands;
mod raw;
mod testpmd;
mod vpp;
mod vpp_commands;

use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use helio_lab::ChildProcess;
use rustix::process::Signal;

use crate::cells::{Carried, Path as FramePath, Poll};
use crate::copies::Copies;
use crate::error::PerfError;
use crate::peer_name::PeerName;

pub use command::Command;

/// How long a switch may take to start.
const STARTING: Duration = Duration::from_secs(60);

/// Who listens on the sockets of the ports.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Sockets {
    /// The switch does.
    #[default]
    Switch,
    /// The guests do.
    Guests,
}

/// Where programs are and threads run.
#[derive(Clone, Debug)]
pub struct Machine {
    /// The core of the switch's worker.
    pub worker_core: usize,
    /// The core of everything else.
    pub other_core: usize,
    /// Our program.
    pub helio: PathBuf,
    /// Another build of it.
    pub helio2: Option<PathBuf>,
}

/// What a switch is started for.
#[derive(Clone, Debug)]
pub struct Order {
    /// An empty folder of its own, with a short path.
    pub folder: PathBuf,
    /// Number of ports.
    pub ports: usize,
    /// Who listens.
    pub sockets: Sockets,
    /// What it must be able to carry.
    pub carried: Carried,
    /// Addresses it must be able to learn.
    pub macs: u32,
    /// How its worker waits for frames, when it is ours.
    pub poll: Poll,
    /// The way of frames, when wires are part of it.
    pub path: Option<FramePath>,
    /// For each port, the interface that it is on when it is on a wire. Empty when none is.
    pub interfaces: Vec<Option<String>>,
    /// A session with a name copies port 0 to the last port, in this form. Only for ours.
    pub copies: Option<Copies>,
}

impl Order {
    /// The interface of a port that is on a wire.
    fn interface(&self, port: usize) -> Option<&str> {
        self.interfaces.get(port)?.as_deref()
    }

    /// The VLAN of a port, when they have some: a guest that frames pass through has a vNIC in each.
    fn vlan(&self, port: usize) -> Option<u16> {
        let is_first = port < self.ports / 2;
        (self.path == Some(FramePath::Pvp)).then_some(if is_first { 10 } else { 20 })
    }

    /// Numbers of the ports that guests have.
    pub(crate) fn guest_ports(&self) -> impl Iterator<Item = usize> {
        (0..self.ports).filter(|port| self.interface(*port).is_none())
    }
}

/// What a switch says of itself.
#[derive(Clone, Debug)]
pub struct Counters {
    /// Frames that it took from guests, those included that it refused.
    pub taken_in: u64,
    /// All that it said.
    pub text: String,
}

impl Counters {
    /// From what `who` said; `taken_in` is what could be read in it.
    fn read(who: PeerName, text: String, taken_in: Option<u64>) -> Result<Option<Self>, PerfError> {
        match taken_in {
            Some(taken_in) => Ok(Some(Self { taken_in, text })),
            None => {
                Err(PerfError::peer(who.name(), format!("its counters are unreadable: {text}")))
            }
        }
    }
}

/// A running switch.
pub trait Peer: std::fmt::Debug {
    /// Sockets of its ports, in order.
    fn sockets(&self) -> Vec<PathBuf>;

    /// The process with the worker.
    fn process(&self) -> &ChildProcess;

    /// The process with the worker, to see whether it still runs.
    fn process_mut(&mut self) -> &mut ChildProcess;

    /// When the program was started.
    fn started_at(&self) -> Instant;

    /// Waits until it can take guests. One that connects to its guests need not be waited for.
    ///
    /// # Errors
    ///
    /// When it ends or takes too long; with the end of its log.
    fn wait_ready(&mut self) -> Result<(), PerfError>;

    /// Copies all that port 0 sends and receives to these ports, and to no other.
    ///
    /// # Errors
    ///
    /// When it refuses or cannot.
    fn mirror_to(&mut self, destinations: &[usize]) -> Result<(), PerfError>;

    /// The order to mirror port 0 to `destination`, ready to be issued.
    ///
    /// # Errors
    ///
    /// When it cannot.
    fn mirror_command(&mut self, destination: usize) -> Result<Command, PerfError>;

    /// What it has counted since it was started; `None` from one that takes no guests. Asked last: one that says it only
    /// when it ends is ended by this.
    ///
    /// # Errors
    ///
    /// When it does not answer.
    fn counters(&mut self) -> Result<Option<Counters>, PerfError> {
        Ok(None)
    }

    /// The commands that started and configured it.
    fn commands(&self) -> Vec<String>;

    /// Its version in its own words.
    fn version(&self) -> String;

    /// Whether its worker never sleeps.
    fn polls_always(&self) -> bool {
        true
    }

    /// Keeps it from running.
    ///
    /// # Errors
    ///
    /// When it is gone.
    fn park(&self) -> Result<(), PerfError> {
        Ok(self.process().signal(Signal::STOP)?)
    }

    /// Lets it run again.
    ///
    /// # Errors
    ///
    /// When it is gone.
    fn go_on(&self) -> Result<(), PerfError> {
        Ok(self.process().signal(Signal::CONT)?)
    }
}

/// Starts a switch; does not wait until it is ready.
///
/// # Errors
///
/// [`PerfError::Missing`] when its program is not on this machine; else what the host says.
pub fn start(name: PeerName, machine: &Machine, order: &Order) -> Result<Box<dyn Peer>, PerfError> {
    Ok(match name {
        PeerName::Helio => Box::new(helio::Helio::start(name, &machine.helio, machine, order)?),
        PeerName::Helio2 => {
            let remedy = "name another build of ours with --helio2 PATH";
            let missing = PerfError::Missing { what: "a second helio".to_owned(), remedy };
            let program = machine.helio2.as_ref().ok_or(missing)?;
            Box::new(helio::Helio::start(name, program, machine, order)?)
        }
        PeerName::Testpmd => Box::new(testpmd::TestpmdVhost::start(machine, order)?),
        PeerName::Ovs => Box::new(ovs::Ovs::start(machine, order)?),
        PeerName::Vpp => Box::new(vpp::Vpp::start(machine, order)?),
        PeerName::Raw => Box::new(raw::Raw::start(machine, order)?),
        PeerName::Bridge => Box::new(bridge::Bridge::start(machine, order)?),
    })
}

/// Who listens on the sockets of a switch, by what its documentation recommends.
#[must_use]
pub fn usual_sockets(name: PeerName) -> Sockets {
    match name {
        PeerName::Helio | PeerName::Helio2 | PeerName::Testpmd | PeerName::Vpp => Sockets::Switch,
        // They take no guests.
        PeerName::Raw | PeerName::Bridge => Sockets::Switch,
        // Ports that listen are deprecated there, and cannot carry long TCP.
        PeerName::Ovs => Sockets::Guests,
    }
}

/// Sockets of those ports of a switch that guests have, in order.
#[must_use]
pub fn sockets(name: PeerName, order: &Order) -> Vec<PathBuf> {
    let file = |port: usize| match name {
        PeerName::Helio | PeerName::Helio2 => format!("p{port}.sock"),
        PeerName::Testpmd | PeerName::Vpp => format!("v{port}"),
        PeerName::Raw | PeerName::Bridge => String::new(),
        PeerName::Ovs => format!("vh{port}"),
    };
    order.guest_ports().map(|port| order.folder.join(file(port))).collect()
}

/// Whether a switch is on this machine; if not, what is missing.
///
/// # Errors
///
/// [`PerfError::Missing`] with the remedy.
pub fn find(name: PeerName, machine: &Machine) -> Result<(), PerfError> {
    match name {
        PeerName::Helio => helio::find(&machine.helio),
        PeerName::Helio2 => match &machine.helio2 {
            Some(program) => helio::find(program),
            None => Err(PerfError::Missing {
                what: "a second helio".to_owned(),
                remedy: "name another build of ours with --helio2 PATH",
            }),
        },
        PeerName::Testpmd => testpmd::find(),
        PeerName::Ovs => ovs::find(),
        PeerName::Vpp => vpp::find().map(drop),
        PeerName::Raw => raw::find().map(drop),
        PeerName::Bridge => bridge::find(),
    }
}

/// Whether somebody takes commands there. That the socket exists is not enough: it is made before anybody listens.
fn listens(socket: &Path) -> bool {
    UnixStream::connect(socket).is_ok()
}

/// Waits until `look` says yes, or the process has ended, or too long.
fn wait_until(
    who: &str,
    process: &mut ChildProcess,
    waiting_for: &str,
    mut look: impl FnMut() -> bool,
) -> Result<(), PerfError> {
    let deadline = Instant::now() + STARTING;
    while !look() {
        process.must_run()?;
        if Instant::now() > deadline {
            return Err(PerfError::peer(who, format!("waited too long for {waiting_for}")));
        }
        std::thread::sleep(Duration::from_millis(2));
    }
    Ok(())
}

/// A command that may use the cores of the comparison, and no other; the generator that starts it has only one.
fn on_cores(machine: &Machine, program: &Path) -> std::process::Command {
    let cores = format!("{},{}", machine.other_core, machine.worker_core);
    let mut command = ChildProcess::command("taskset");
    command.args(["-c", &cores]).arg(program);
    command
}

/// A command as one would type it, without what only keeps it in bounds.
fn as_typed(command: &std::process::Command) -> String {
    let words: Vec<String> =
        command.get_args().map(|word| word.to_string_lossy().into_owned()).collect();
    let from = words.iter().position(|word| word == "taskset").unwrap_or(0);
    words.get(from..).unwrap_or_default().join(" ")
}

/// The program of this name on the search path.
fn on_path(name: &str) -> Option<PathBuf> {
    let paths = std::env::var_os("PATH")?;
    std::env::split_paths(&paths).map(|folder| folder.join(name)).find(|path| path.is_file())
}

/// Runs a program to its end; what it printed.
fn run(who: PeerName, program: &mut std::process::Command) -> Result<String, PerfError> {
    let output = program.output().map_err(PerfError::io(format!("run {program:?}")))?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    Err(PerfError::peer(who.name(), format!("{program:?}: {said}")))
}

/// What a program prints, in one line.
fn first_line_of(program: &Path, arguments: &[&str]) -> String {
    let output = std::process::Command::new(program).args(arguments).output();
    let text = output.map(|output| String::from_utf8_lossy(&output.stdout).into_owned());
    text.unwrap_or_default().lines().next().unwrap_or_default().trim().to_owned()
}

/// Version of a Debian package, when it is installed.
fn package_version(package: &str) -> String {
    let form = "-f=${Package} ${Version}";
    first_line_of(Path::new("dpkg-query"), &["-W", form, package])
}
