//! VPP as a bridge domain of vhost-user interfaces, written from its documentation.
//!
//! Debian 12 has no package of it, so that this adapter could not be tried where it was written: whoever has a `vpp` may
//! find that a name has changed. The tests hold the text of its configuration only.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command as Program;
use std::time::Instant;

use helio_lab::{ChildProcess, Output};

use super::{
    Command, Machine, Order, Peer, Sockets, as_typed, first_line_of, on_cores, on_path, wait_until,
};
use crate::cells::Carried;
use crate::error::PerfError;
use crate::peer_name::PeerName;

/// A running VPP.
#[derive(Debug)]
pub(crate) struct Vpp {
    folder: PathBuf,
    process: ChildProcess,
    started_at: Instant,
    commands: Vec<String>,
    program: PathBuf,
    order: Order,
    destinations: Vec<usize>,
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
        let text = startup(machine, &order.folder);
        fs::write(&file, &text).map_err(PerfError::io("write startup.conf"))?;
        let mut command = on_cores(machine, &program);
        command.arg("-c").arg(&file);
        let commands = vec![as_typed(&command), format!("startup.conf:\n{text}")];
        let log = order.folder.join("vpp.log");
        let started_at = Instant::now();
        let process = ChildProcess::spawn("vpp", command, Output::Logged, log)?;
        Ok(Self {
            folder: order.folder.clone(),
            process,
            started_at,
            commands,
            program,
            order: order.clone(),
            destinations: Vec::new(),
        })
    }

    fn cli(&self) -> PathBuf {
        self.folder.join("cli.sock")
    }

    fn tell(&mut self, line: &str) -> Result<String, PerfError> {
        self.commands.push(format!("vppctl {line}"));
        let mut program = Program::new("vppctl");
        program.arg("-s").arg(self.cli()).args(line.split(' '));
        let output = program.output().map_err(PerfError::io("run vppctl"))?;
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        // It ends well also when a command failed, but does not answer one that did not.
        match output.status.success() && !text.contains("unknown input") {
            true => Ok(text),
            false => Err(PerfError::peer("vpp", format!("{line}: {text}"))),
        }
    }
}

fn startup(machine: &Machine, folder: &Path) -> String {
    let (folder, main, worker) = (folder.display(), machine.other_core, machine.worker_core);
    format!(
        "unix {{ nodaemon cli-listen {folder}/cli.sock }}\n\
         cpu {{ main-core {main} corelist-workers {worker} }}\n\
         buffers {{ buffers-per-numa 65536 }}\n\
         plugins {{ plugin default {{ disable }} plugin vhost_plugin.so {{ enable }} }}\n"
    )
}

/// One bridge domain, which learns as ours does.
fn setup(order: &Order) -> Vec<String> {
    let (server, gso) = (
        if order.sockets == Sockets::Switch { " server" } else { "" },
        if order.carried == Carried::Tso { " gso" } else { "" },
    );
    let mut lines = Vec::new();
    for (port, socket) in super::sockets(PeerName::Vpp, order).iter().enumerate() {
        let name = interface(port);
        lines.push(format!("create vhost-user socket {}{server}{gso}", socket.display()));
        lines.push(format!("set interface state {name} up"));
        lines.push(format!("set interface l2 bridge {name} 1"));
    }
    lines
}

fn interface(port: usize) -> String {
    format!("VirtualEthernet0/0/{port}")
}

fn span(destination: usize, what: &str) -> String {
    format!("set interface span {} l2 destination {} {what}", interface(0), interface(destination))
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
        let cli = self.cli();
        wait_until("vpp", &mut self.process, "its command line", || cli.exists())?;
        for line in setup(&self.order) {
            self.tell(&line)?;
        }
        Ok(())
    }

    fn mirror_to(&mut self, destinations: &[usize]) -> Result<(), PerfError> {
        for port in std::mem::take(&mut self.destinations) {
            self.tell(&span(port, "disable"))?;
        }
        for port in destinations {
            self.tell(&span(*port, "both"))?;
        }
        self.destinations = destinations.to_vec();
        Ok(())
    }

    fn mirror_command(&mut self, destination: usize) -> Result<Command, PerfError> {
        let stream = crate::http::connect(&self.cli())?;
        self.destinations = vec![destination];
        Ok(Command { stream, request: format!("{}\n", span(destination, "both")).into_bytes() })
    }

    fn counters(&mut self) -> Result<String, PerfError> {
        let mut text = self.tell("show interface")?;
        let _ = write!(text, "{}", self.tell("show runtime")?);
        Ok(text)
    }

    fn commands(&self) -> Vec<String> {
        self.commands.clone()
    }

    fn version(&self) -> String {
        first_line_of(&self.program, &["--version"])
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cells::Poll;

    #[test]
    fn its_ports_are_one_bridge_domain_that_learns() {
        let order = Order {
            folder: "/r".into(),
            ports: 2,
            sockets: Sockets::Switch,
            carried: Carried::Udp,
            macs: 2,
            poll: Poll::Adaptive,
            path: None,
            interfaces: Vec::new(),
        };
        assert_eq!(
            setup(&order).get(3..),
            Some(
                &[
                    "create vhost-user socket /r/v1 server".to_owned(),
                    "set interface state VirtualEthernet0/0/1 up".to_owned(),
                    "set interface l2 bridge VirtualEthernet0/0/1 1".to_owned(),
                ][..]
            )
        );
        assert_eq!(
            span(2, "both"),
            "set interface span VirtualEthernet0/0/0 l2 destination VirtualEthernet0/0/2 both"
        );
    }

    #[test]
    fn its_worker_has_the_core_of_workers() {
        let machine =
            Machine { worker_core: 1, other_core: 0, helio: "/helio".into(), helio2: None };
        assert!(startup(&machine, Path::new("/r")).contains("main-core 0 corelist-workers 1"));
    }
}
