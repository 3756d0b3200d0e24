//! VPP as a bridge domain of vhost-user interfaces, with SPAN for mirrors.
//!
//! One worker that polls, huge pages for buffers and heap, no plugin that is not needed. Other settings made no difference:
//! see `perf/tried.md`. It is told what to do by `vppctl`.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command as Program;
use std::time::Instant;

use helio_lab::{ChildProcess, Output};

use super::vpp_commands::{self, Span};
use super::{
    Command, Counters, Machine, Order, Peer, Sockets, as_typed, first_line_of, listens, on_cores,
    on_path, wait_until,
};
use crate::error::PerfError;
use crate::peer_name::PeerName;

/// A running VPP.
#[derive(Debug)]
pub(crate) struct Vpp {
    folder: PathBuf,
    /// What the names of its shared memory begin with.
    prefix: String,
    process: ChildProcess,
    started_at: Instant,
    commands: Vec<String>,
    program: PathBuf,
    order: Order,
    destinations: Vec<usize>,
}

/// A name that no other VPP of this host has: that of its folder.
fn prefix_of(folder: &Path) -> String {
    folder.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

/// Where the program is.
pub(crate) fn find() -> Result<PathBuf, PerfError> {
    let remedy =
        "put VPP's programs vpp and vppctl on the search path; Debian 12 has no package of it";
    let missing = || PerfError::Missing { what: "vpp".to_owned(), remedy };
    on_path("vppctl").ok_or_else(missing)?;
    on_path("vpp").ok_or_else(missing)
}

impl Vpp {
    pub(crate) fn start(machine: &Machine, order: &Order) -> Result<Self, PerfError> {
        let program = find()?;
        let file = order.folder.join("startup.conf");
        let prefix = prefix_of(&order.folder);
        let text = vpp_commands::startup(machine, &order.folder, &prefix);
        fs::write(&file, &text).map_err(PerfError::io("write startup.conf"))?;
        let mut command = on_cores(machine, &program);
        command.arg("-c").arg(&file);
        let commands = vec![as_typed(&command), format!("startup.conf:\n{text}")];
        let log = order.folder.join("vpp.log");
        let started_at = Instant::now();
        let process = ChildProcess::spawn("vpp", command, Output::Logged, log)?;
        let mut started = Self {
            folder: order.folder.clone(),
            prefix,
            process,
            started_at,
            commands,
            program,
            order: order.clone(),
            destinations: Vec::new(),
        };
        // It reads a file of commands by itself only two seconds after its start.
        started.make_ports()?;
        Ok(started)
    }

    fn make_ports(&mut self) -> Result<(), PerfError> {
        let cli = self.cli();
        wait_until("vpp", &mut self.process, "its command line", || listens(&cli))?;
        let file = self.folder.join("setup.vpp");
        let text = vpp_commands::setup(&self.order);
        fs::write(&file, &text).map_err(PerfError::io("write setup.vpp"))?;
        self.commands.push(format!("setup.vpp:\n{text}"));
        self.tell(&format!("exec {}", file.display()))?;
        let ports: Vec<String> = (0..self.order.ports).map(vpp_commands::interface).collect();
        let answer = self.ask(vpp_commands::MEMBERS)?;
        match vpp_commands::members(&answer) == ports {
            true => Ok(()),
            false => Err(PerfError::peer("vpp", format!("it has not made all ports: {answer}"))),
        }
    }

    fn cli(&self) -> PathBuf {
        self.folder.join("cli.sock")
    }

    /// What it answers to a line.
    fn ask(&mut self, line: &str) -> Result<String, PerfError> {
        self.commands.push(format!("vppctl {line}"));
        let mut program = Program::new("vppctl");
        program.arg("-s").arg(self.cli()).args(line.split(' '));
        let output = program.output().map_err(PerfError::io("run vppctl"))?;
        match output.status.success() {
            true => Ok(String::from_utf8_lossy(&output.stdout).into_owned()),
            false => {
                let said = String::from_utf8_lossy(&output.stderr).into_owned();
                Err(PerfError::peer("vpp", format!("vppctl {line}: {said}")))
            }
        }
    }

    /// Tells it a line that is answered by nothing. `vppctl` ends well also when the line failed.
    fn tell(&mut self, line: &str) -> Result<(), PerfError> {
        let answer = self.ask(line)?;
        match vpp_commands::complaint(&answer) {
            None => Ok(()),
            Some(complaint) => Err(PerfError::peer("vpp", format!("{line}: {complaint}"))),
        }
    }
}

impl Peer for Vpp {
    fn sockets(&self) -> Vec<PathBuf> {
        super::sockets(PeerName::Vpp, &self.order)
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
        if self.order.sockets == Sockets::Guests {
            return Ok(());
        }
        let sockets = self.sockets();
        wait_until("vpp", &mut self.process, "its sockets", || {
            sockets.iter().all(|socket| socket.exists())
        })
    }

    fn mirror_to(&mut self, destinations: &[usize]) -> Result<(), PerfError> {
        for port in std::mem::take(&mut self.destinations) {
            self.tell(&vpp_commands::span(port, Span::Off))?;
        }
        for port in destinations {
            self.tell(&vpp_commands::span(*port, Span::Both))?;
            self.destinations.push(*port);
        }
        Ok(())
    }

    fn mirror_command(&mut self, destination: usize) -> Result<Command, PerfError> {
        let mut stream = crate::http::connect(&self.cli())?;
        let spoken = vpp_commands::introduce(&mut stream);
        spoken.map_err(PerfError::io("speak to VPP's command line"))?;
        let line = vpp_commands::span(destination, Span::Both);
        self.destinations = vec![destination];
        Ok(Command::new(stream, format!("{line}\n").into_bytes(), line))
    }

    fn counters(&mut self) -> Result<Option<Counters>, PerfError> {
        let text = self.ask("show interface")?;
        let taken_in = vpp_commands::taken_in(&text);
        Counters::read(PeerName::Vpp, text, taken_in)
    }

    fn commands(&self) -> Vec<String> {
        self.commands.clone()
    }

    fn version(&self) -> String {
        vpp_commands::version_in(&first_line_of(&self.program, &["--version"]))
    }
}

impl Drop for Vpp {
    fn drop(&mut self) {
        self.process.kill();
        for name in ["vpe-api", "global_vm"] {
            drop(fs::remove_file(format!("/dev/shm/{}-{name}", self.prefix)));
        }
    }
}
