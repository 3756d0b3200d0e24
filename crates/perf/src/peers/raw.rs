//! Two AF_XDP sockets and nothing in between: what any switch between wires must cost at least.

use std::path::{Path, PathBuf};
use std::time::Instant;

use helio_lab::{ChildProcess, Output};

use super::{Command, Machine, Order, Peer, as_typed, wait_until};
use crate::error::PerfError;

const PROGRAM: &str = "helio-wire-forward";

/// The forwarder, running.
#[derive(Debug)]
pub(crate) struct Raw {
    process: ChildProcess,
    started_at: Instant,
    commands: Vec<String>,
    /// Whether it has a third wire, and copies all frames to it for as long as it runs.
    copies: bool,
}

/// The program: it is built beside this one.
pub(crate) fn find() -> Result<PathBuf, PerfError> {
    let own = std::env::current_exe().unwrap_or_default();
    // A test lies one folder deeper.
    let places = own.ancestors().skip(1).take(2).map(|folder| folder.join(PROGRAM));
    places.into_iter().find(|path| path.is_file()).ok_or(PerfError::Missing {
        what: PROGRAM.to_owned(),
        remedy: "build it with cargo build --release -p helio-wire",
    })
}

impl Raw {
    pub(crate) fn start(machine: &Machine, order: &Order) -> Result<Self, PerfError> {
        let program = find()?;
        let wires: Vec<&str> = (0..order.ports).filter_map(|port| order.interface(port)).collect();
        if wires.len() != order.ports || !(2..=3).contains(&wires.len()) {
            return Err(PerfError::peer("raw", "joins two wires, and can copy to a third"));
        }
        let mut command = ChildProcess::command("taskset");
        command.args(["-c", &machine.worker_core.to_string()]).arg(program).args(&wires);
        let commands = vec![as_typed(&command)];
        let log = order.folder.join("raw.log");
        let started_at = Instant::now();
        let process = ChildProcess::spawn("raw", command, Output::Logged, log)?;
        Ok(Self { process, started_at, commands, copies: wires.len() == 3 })
    }
}

impl Peer for Raw {
    fn sockets(&self) -> Vec<PathBuf> {
        Vec::new()
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
        let log = self.process.log().to_owned();
        let is_ready = |log: &Path| std::fs::read_to_string(log).is_ok_and(|said| !said.is_empty());
        wait_until("raw", &mut self.process, "its sockets", || is_ready(&log))
    }

    fn mirror_to(&mut self, destinations: &[usize]) -> Result<(), PerfError> {
        match (destinations, self.copies) {
            ([], false) | ([2], true) => Ok(()),
            _ => {
                Err(PerfError::peer("raw", "copies all to a third wire from the start, or nothing"))
            }
        }
    }

    fn mirror_command(&mut self, _destination: usize) -> Result<Command, PerfError> {
        Err(PerfError::peer("raw", "takes no commands"))
    }

    fn commands(&self) -> Vec<String> {
        self.commands.clone()
    }

    fn version(&self) -> String {
        env!("CARGO_PKG_VERSION").to_owned()
    }
}
