//! DPDK's testpmd as a switch of two vhost ports: it forwards each frame to the other port without looking at it.
//!
//! As its documentation has it at its fastest: one forwarding core, `io` mode, rings of 1024, huge pages, no telemetry.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Instant;

use helio_lab::{ChildProcess, Output};

use super::{
    Command, Counters, Machine, Order, Peer, Sockets, as_typed, on_cores, on_path, package_version,
    wait_until,
};
use crate::cells::Carried;
use crate::error::PerfError;
use crate::peer_name::PeerName;

/// A running testpmd.
#[derive(Debug)]
pub(crate) struct TestpmdVhost {
    sockets: Vec<PathBuf>,
    sockets_of: Sockets,
    prefix: String,
    process: ChildProcess,
    started_at: Instant,
    commands: Vec<String>,
}

/// Whether the program is there.
pub(crate) fn find() -> Result<(), PerfError> {
    let remedy = "install Debian's package dpdk-dev";
    on_path("dpdk-testpmd")
        .map(drop)
        .ok_or(PerfError::Missing { what: "dpdk-testpmd".to_owned(), remedy })
}

impl TestpmdVhost {
    pub(crate) fn start(machine: &Machine, order: &Order) -> Result<Self, PerfError> {
        find()?;
        if !order.ports.is_multiple_of(2) || order.ports > 4 {
            let what = format!("joins pairs of ports, and {} are none", order.ports);
            return Err(PerfError::peer("testpmd", what));
        }
        let sockets = super::sockets(PeerName::Testpmd, order);
        let prefix = format!("helio-perf-{}", std::process::id());
        let mut command = on_cores(machine, Path::new("dpdk-testpmd"));
        command.args(options(machine, order, &sockets, &prefix));
        let commands = vec![as_typed(&command)];
        let log = order.folder.join("testpmd.log");
        let started_at = Instant::now();
        let process = ChildProcess::spawn("testpmd", command, Output::Logged, log)?;
        Ok(Self { sockets, sockets_of: order.sockets, prefix, process, started_at, commands })
    }
}

fn options(machine: &Machine, order: &Order, sockets: &[PathBuf], prefix: &str) -> Vec<String> {
    let Machine { worker_core, other_core, .. } = machine;
    let (memory, frames) = match order.carried {
        Carried::Udp => (256, "--total-num-mbufs=65536"),
        // One buffer for a whole frame: a chain of short ones is slower.
        Carried::Tso => (1024, "--total-num-mbufs=4096 --mbuf-size=65535 --max-pkt-len=65535"),
    };
    let client = match order.sockets {
        Sockets::Switch => 0,
        Sockets::Guests => 1,
    };
    let tso = match order.carried {
        Carried::Udp => "",
        Carried::Tso => ",tso=1",
    };
    let mut options = words(&format!(
        "--lcores 0@{other_core},1@{worker_core} --socket-mem={memory} --in-memory --no-pci --no-telemetry \
         --file-prefix={prefix}"
    ));
    // Ports are joined in pairs, in the order in which they stand here.
    let mut sockets = sockets.iter();
    for number in 0..order.ports {
        options.push("--vdev".to_owned());
        if let Some(name) = order.interface(number) {
            let queue = "start_queue=0,queue_count=1";
            options.push(format!("net_af_xdp{number},iface={name},{queue}"));
        } else if let Some(socket) = sockets.next() {
            let socket = socket.display();
            options.push(format!("net_vhost{number},iface={socket},queues=1,client={client}{tso}"));
        }
    }
    // Without a terminal it ends with its input, unless it has statistics to print now and then.
    options.extend(words(&format!(
        "-- --nb-cores=1 --forward-mode=io --rxd=1024 --txd=1024 {frames} --record-core-cycles \
         --stats-period=100000"
    )));
    options
}

/// Frames that all ports received, by what it says at its end.
fn taken_in(log: &str) -> Option<u64> {
    let sums = log.split("Accumulated forward statistics").nth(1)?;
    sums.split("RX-total:").nth(1)?.split_whitespace().next()?.parse().ok()
}

fn words(text: &str) -> Vec<String> {
    text.split_whitespace().map(str::to_owned).collect()
}

impl Peer for TestpmdVhost {
    fn sockets(&self) -> Vec<PathBuf> {
        self.sockets.clone()
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
        if self.sockets_of == Sockets::Guests {
            return Ok(());
        }
        let sockets = self.sockets.clone();
        wait_until("testpmd", &mut self.process, "its sockets", || {
            sockets.iter().all(|socket| socket.exists())
        })
    }

    fn mirror_to(&mut self, destinations: &[usize]) -> Result<(), PerfError> {
        match destinations {
            [] => Ok(()),
            _ => Err(PerfError::peer("testpmd", "has no mirrors")),
        }
    }

    fn mirror_command(&mut self, _destination: usize) -> Result<Command, PerfError> {
        Err(PerfError::peer("testpmd", "has no mirrors"))
    }

    fn counters(&mut self) -> Result<Option<Counters>, PerfError> {
        // Without a terminal it says them when it ends.
        self.process.end();
        let doing = PerfError::io("read the log of testpmd");
        let text = fs::read_to_string(self.process.log()).map_err(doing)?;
        let taken_in = taken_in(&text);
        Counters::read(PeerName::Testpmd, text, taken_in)
    }

    fn commands(&self) -> Vec<String> {
        self.commands.clone()
    }

    fn version(&self) -> String {
        package_version("dpdk-dev")
    }
}

impl Drop for TestpmdVhost {
    fn drop(&mut self) {
        self.process.kill();
        drop(fs::remove_dir_all(Path::new("/var/run/dpdk").join(&self.prefix)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cells::Poll;

    fn line(carried: Carried, sockets: Sockets) -> String {
        let machine =
            Machine { worker_core: 1, other_core: 0, helio: "/helio".into(), helio2: None };
        let order = Order {
            folder: "/r".into(),
            ports: 2,
            sockets,
            carried,
            macs: 2,
            poll: Poll::Adaptive,
            path: None,
            interfaces: Vec::new(),
            copies: None,
        };
        options(&machine, &order, &["/r/v0".into(), "/r/v1".into()], "x").join(" ")
    }

    #[test]
    fn it_forwards_on_the_core_of_the_worker() {
        assert_eq!(
            line(Carried::Udp, Sockets::Switch),
            "--lcores 0@0,1@1 --socket-mem=256 --in-memory --no-pci --no-telemetry --file-prefix=x \
             --vdev net_vhost0,iface=/r/v0,queues=1,client=0 --vdev net_vhost1,iface=/r/v1,queues=1,client=0 \
             -- --nb-cores=1 --forward-mode=io --rxd=1024 --txd=1024 --total-num-mbufs=65536 \
             --record-core-cycles --stats-period=100000"
        );
    }

    #[test]
    fn what_all_its_ports_received_is_read_at_its_end() {
        let log = "
  ---------------------- Forward statistics for port 0  ----------------------
  RX-packets: 8              RX-dropped: 0             RX-total: 8
  +++++++++++++++ Accumulated forward statistics for all ports+++++++++++++++
  RX-packets: 9              RX-dropped: 1             RX-total: 10
  TX-packets: 9              TX-dropped: 9             TX-total: 9
";
        assert_eq!(taken_in(log), Some(10));
        assert_eq!(taken_in("Bye..."), None);
    }

    #[test]
    fn it_connects_to_guests_that_listen_and_passes_long_frames_when_asked() {
        let line = line(Carried::Tso, Sockets::Guests);
        assert!(line.contains("client=1,tso=1") && line.contains("--mbuf-size=65535"), "{line}");
    }
}
