//! The bridge of Linux, with mirrors by `tc`. What arrives is handed to the core of the worker, so that the bridge works where
//! the switches do.

use std::path::PathBuf;
use std::process::Command as Program;
use std::time::Instant;

use helio_lab::{ChildProcess, Output};

use super::{Command, Machine, Order, Peer, on_path, run};
use crate::error::PerfError;
use crate::peer_name::PeerName;

/// A bridge. It goes with its process, or when it is dropped.
#[derive(Debug)]
pub(crate) struct Bridge {
    name: String,
    interfaces: Vec<String>,
    /// The kernel has no process that could be parked. One that sleeps stands for it.
    process: ChildProcess,
    started_at: Instant,
    commands: Vec<String>,
}

/// Whether the programs are there.
pub(crate) fn find() -> Result<(), PerfError> {
    let remedy = "install Debian's package iproute2";
    let missing = |what: &str| PerfError::Missing { what: what.to_owned(), remedy };
    ["ip", "tc"]
        .into_iter()
        .try_for_each(|program| on_path(program).map(drop).ok_or_else(|| missing(program)))
}

impl Bridge {
    pub(crate) fn start(machine: &Machine, order: &Order) -> Result<Self, PerfError> {
        find()?;
        let interfaces: Vec<String> = order.interfaces.iter().flatten().cloned().collect();
        let (Some(first), true) = (interfaces.first(), interfaces.len() == order.ports) else {
            return Err(PerfError::peer("bridge", "takes no guests"));
        };
        let command = {
            let mut command = ChildProcess::command("sleep");
            command.arg("infinity");
            command
        };
        let log = order.folder.join("bridge.log");
        let process = ChildProcess::spawn("bridge", command, Output::Logged, log)?;
        let mut bridge = Self {
            name: format!("{first}b"),
            process,
            started_at: Instant::now(),
            commands: Vec::new(),
            interfaces,
        };
        bridge.set_up(machine)?;
        Ok(bridge)
    }

    /// Joins the first two interfaces. Others only take copies.
    fn set_up(&mut self, machine: &Machine) -> Result<(), PerfError> {
        let name = self.name.clone();
        self.tell(&format!("ip link add {name} type bridge mcast_snooping 0"))?;
        self.tell(&format!("ip link set {name} up"))?;
        let mask = 1_u64 << machine.worker_core;
        for interface in self.interfaces.clone().iter().take(2) {
            self.tell(&format!("ip link set {interface} master {name}"))?;
            // The files of this namespace are not those of the usual mount.
            let file = format!("/sys/class/net/{interface}/queues/rx-0/rps_cpus");
            let script = format!("mount -t sysfs sysfs /sys && echo {mask:x} >{file}");
            self.commands.push(format!("echo {mask:x} >{file}"));
            let mut program = Program::new("unshare");
            run(PeerName::Bridge, program.args(["--mount", "sh", "-c", &script]))?;
        }
        Ok(())
    }

    fn tell(&mut self, line: &str) -> Result<String, PerfError> {
        self.commands.push(line.to_owned());
        let mut words = line.split_whitespace();
        run(PeerName::Bridge, Program::new(words.next().unwrap_or_default()).args(words))
    }

    /// The filters that copy what the first interface receives and sends to another one.
    fn mirror(&mut self, destination: &str) -> Result<(), PerfError> {
        let Some(source) = self.interfaces.first().cloned() else { return Ok(()) };
        self.tell(&format!("tc qdisc add dev {source} clsact"))?;
        for way in ["ingress", "egress"] {
            self.tell(&format!(
                "tc filter add dev {source} {way} protocol all u32 match u32 0 0 action mirred egress mirror dev \
                 {destination}"
            ))?;
        }
        Ok(())
    }
}

impl Peer for Bridge {
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
        Ok(())
    }

    fn mirror_to(&mut self, destinations: &[usize]) -> Result<(), PerfError> {
        let Some(source) = self.interfaces.first().cloned() else { return Ok(()) };
        // There may be none.
        let _ = self.tell(&format!("tc qdisc del dev {source} clsact"));
        match destinations {
            [] => Ok(()),
            [one] => {
                let name = self.interfaces.get(*one).cloned().unwrap_or_default();
                self.mirror(&name)
            }
            _ => Err(PerfError::peer("bridge", "is measured with one mirror")),
        }
    }

    fn mirror_command(&mut self, _destination: usize) -> Result<Command, PerfError> {
        Err(PerfError::peer("bridge", "has no control socket"))
    }

    fn commands(&self) -> Vec<String> {
        self.commands.clone()
    }

    fn version(&self) -> String {
        super::first_line_of("uname".as_ref(), &["-r"])
    }
}

impl Drop for Bridge {
    fn drop(&mut self) {
        // With its interfaces it may have gone already.
        let _ = self.tell(&format!("ip link del {}", self.name.clone()));
    }
}
