//! Our switch, as an operator starts it: `helio run -c FILE`, told what to do over its control socket.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Instant;

use helio_lab::{ChildProcess, Output};
use serde::Deserialize;

use super::{
    Command, Counters, Machine, Order, Peer, Sockets, as_typed, first_line_of, on_cores, wait_until,
};
use crate::cells::{Carried, Poll};
use crate::error::PerfError;
use crate::http::{self, Request};
use crate::peer_name::PeerName;

/// A running `helio`.
#[derive(Debug)]
pub(crate) struct Helio {
    name: PeerName,
    program: PathBuf,
    folder: PathBuf,
    order: Order,
    process: ChildProcess,
    started_at: Instant,
    commands: Vec<String>,
    destinations: Vec<usize>,
}

/// Whether the program is there.
pub(crate) fn find(program: &Path) -> Result<(), PerfError> {
    match program.is_file() {
        true => Ok(()),
        false => Err(PerfError::Missing {
            what: program.display().to_string(),
            remedy: "build it with cargo build --release -p helio, or name it with --helio PATH",
        }),
    }
}

impl Helio {
    pub(crate) fn start(
        name: PeerName,
        program: &Path,
        machine: &Machine,
        order: &Order,
    ) -> Result<Self, PerfError> {
        find(program)?;
        let file = order.folder.join("helio.toml");
        let text = configuration(machine, order);
        fs::write(&file, &text).map_err(PerfError::io("write helio.toml"))?;
        let mut command = on_cores(machine, program);
        command.arg("run").arg("-c").arg(&file).args(["--log", "warn"]);
        let commands = vec![as_typed(&command), format!("helio.toml:\n{text}")];
        let log = order.folder.join("helio.log");
        let started_at = Instant::now();
        let process = ChildProcess::spawn(name.name(), command, Output::Logged, log)?;
        Ok(Self {
            name,
            program: program.to_owned(),
            folder: order.folder.clone(),
            order: order.clone(),
            process,
            started_at,
            commands,
            destinations: Vec::new(),
        })
    }

    fn control(&self) -> PathBuf {
        self.folder.join("control.sock")
    }

    fn set(&mut self, port: usize, mirroring: &str) -> Result<(), PerfError> {
        let answer = http::ask(&self.control(), &mirroring_request(port, mirroring))?;
        match answer.is_good() {
            true => Ok(()),
            false => Err(PerfError::peer(self.name.name(), answer.text)),
        }
    }
}

fn mirroring_request(port: usize, mirroring: &str) -> Request {
    Request {
        method: "PATCH",
        path: format!("/v1/ports/p{port}"),
        body: format!("{{\"mirroring\":\"{mirroring}\"}}"),
    }
}

/// What a port has sent, by the names in its list of ports.
#[derive(Debug, Deserialize)]
struct Sent {
    ingress_frames: u64,
    ingress_drops: BTreeMap<String, u64>,
}

/// Frames that the ports in its list of them have sent, also those that were refused.
fn taken_in(ports: &str) -> Option<u64> {
    let ports: Vec<Sent> = serde_json::from_str(ports).ok()?;
    let sent = |port: &Sent| port.ingress_frames + port.ingress_drops.values().sum::<u64>();
    Some(ports.iter().map(sent).sum())
}

/// What the file says: one worker that may sleep, as it is by default, and ports with all defaults.
fn configuration(machine: &Machine, order: &Order) -> String {
    let folder = order.folder.display();
    let mut text = format!("[switch]\ncontrol = \"{folder}/control.sock\"\n");
    let many = order.macs > 4096;
    if many {
        // Buckets fill unevenly: half as many again have room for all.
        let _ = writeln!(text, "fdb-size = {}", order.macs + order.macs / 2);
    }
    let _ = writeln!(text, "\n[[worker]]\ncore = {}", machine.worker_core);
    if order.poll == Poll::Busy {
        text.push_str("poll = \"busy\"\n");
    }
    for port in 0..order.ports {
        let _ = write!(text, "\n[[port]]\nname = \"p{port}\"\n");
        match order.interface(port) {
            Some(interface) => {
                let _ = writeln!(text, "interface = \"{interface}\"");
            }
            None => {
                let _ = writeln!(text, "socket = \"{folder}/p{port}.sock\"");
                if order.sockets == Sockets::Guests {
                    text.push_str("mode = \"client\"\n");
                }
            }
        }
        if let Some(vlan) = order.vlan(port) {
            let _ = writeln!(text, "vlan = {{ access = {vlan} }}");
        }
        if order.carried == Carried::Tso {
            text.push_str("mtu = 9000\n");
        }
        if many {
            let _ = writeln!(text, "mac-limit = {}", order.macs);
        }
    }
    if let Some(copies) = order.copies {
        text.push_str(&copies.table(order.ports - 1));
    }
    text
}

impl Peer for Helio {
    fn sockets(&self) -> Vec<PathBuf> {
        super::sockets(self.name, &self.order)
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
        let control = self.control();
        let workers =
            Request { method: "GET", path: "/v1/workers".to_owned(), body: String::new() };
        wait_until(self.name.name(), &mut self.process, "an answer", || {
            http::ask(&control, &workers).is_ok_and(|answer| answer.is_good())
        })
    }

    fn mirror_to(&mut self, destinations: &[usize]) -> Result<(), PerfError> {
        self.set(0, "none")?;
        for port in std::mem::take(&mut self.destinations) {
            self.set(port, "none")?;
        }
        for port in destinations {
            self.set(*port, "destination")?;
        }
        if !destinations.is_empty() {
            self.set(0, "source")?;
        }
        self.destinations = destinations.to_vec();
        Ok(())
    }

    fn mirror_command(&mut self, destination: usize) -> Result<Command, PerfError> {
        self.set(destination, "destination")?;
        self.destinations = vec![destination];
        let stream = http::connect(&self.control())?;
        let request = mirroring_request(0, "source");
        let words = format!("{} {} {}", request.method, request.path, request.body);
        Ok(Command::new(stream, request.bytes(), words))
    }

    fn counters(&mut self) -> Result<Option<Counters>, PerfError> {
        let ports = Request { method: "GET", path: "/v1/ports".to_owned(), body: String::new() };
        let text = http::ask(&self.control(), &ports)?.text;
        let taken_in = taken_in(&text);
        Counters::read(self.name, text, taken_in)
    }

    fn commands(&self) -> Vec<String> {
        self.commands.clone()
    }

    fn version(&self) -> String {
        first_line_of(&self.program, &["--version"])
    }

    fn polls_always(&self) -> bool {
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn order() -> Order {
        Order {
            folder: "/r".into(),
            ports: 2,
            sockets: Sockets::Switch,
            carried: Carried::Udp,
            macs: 2,
            poll: Poll::Adaptive,
            path: None,
            interfaces: Vec::new(),
            copies: None,
        }
    }

    fn machine() -> Machine {
        Machine { worker_core: 1, other_core: 0, helio: "/helio".into(), helio2: None }
    }

    #[test]
    fn a_switch_of_two_ports_has_defaults_but_for_its_core() {
        let expected = "[switch]\ncontrol = \"/r/control.sock\"\n\n[[worker]]\ncore = 1\n\
            \n[[port]]\nname = \"p0\"\nsocket = \"/r/p0.sock\"\n\
            \n[[port]]\nname = \"p1\"\nsocket = \"/r/p1.sock\"\n";
        assert_eq!(configuration(&machine(), &order()), expected);
    }

    #[test]
    fn a_switch_for_many_addresses_has_room_for_them() {
        let text = configuration(&machine(), &Order { macs: 100_000, ..order() });
        assert!(text.contains("fdb-size = 150000\n") && text.contains("mac-limit = 100000\n"));
    }

    #[test]
    fn a_switch_that_must_not_sleep_is_told_so() {
        let text = configuration(&machine(), &Order { poll: Poll::Busy, ..order() });
        assert!(text.contains("core = 1\npoll = \"busy\"\n"));
    }

    #[test]
    fn a_switch_whose_guests_listen_connects() {
        let text = configuration(&machine(), &Order { sockets: Sockets::Guests, ..order() });
        assert_eq!(text.matches("mode = \"client\"").count(), 2);
    }

    #[test]
    fn a_frame_that_was_refused_was_taken_in_all_the_same() {
        let ports = r#"[{"name":"p0","ingress_frames":5,"ingress_drops":{"no-vlan":2},"x":1},
            {"name":"p1","ingress_frames":1,"ingress_drops":{}}]"#;
        assert_eq!(taken_in(ports), Some(8));
        assert_eq!(taken_in("{}"), None);
    }

    #[test]
    fn a_port_on_a_wire_has_an_interface_and_no_socket() {
        let interfaces = vec![Some("n0".to_owned()), None];
        let path = Some(crate::cells::Path::P2v);
        let text = configuration(&machine(), &Order { path, interfaces, ..order() });
        assert!(text.contains("name = \"p0\"\ninterface = \"n0\"\n"), "{text}");
        assert!(text.contains("name = \"p1\"\nsocket = \"/r/p1.sock\"\n"), "{text}");
    }
}
