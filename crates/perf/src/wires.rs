//! Wires: pairs of veth interfaces in the network namespace of this process, gone when they are dropped.

use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};

use crate::error::PerfError;

/// Tells the wires of one switch from those of another.
static NEXT: AtomicU32 = AtomicU32::new(0);

/// Some wires. The near ends are for a switch, the far ends for the generator.
#[derive(Debug)]
pub(crate) struct Wires {
    prefix: String,
    count: usize,
}

impl Wires {
    /// Lays wires, up and silent.
    pub(crate) fn lay(count: usize) -> Result<Self, PerfError> {
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        // Each test has a namespace of its own, so a number of the process is enough.
        let wires = Self { prefix: format!("w{number}"), count };
        // Neither end says anything by itself.
        for which in ["all", "default"] {
            let file = format!("/proc/sys/net/ipv6/conf/{which}/disable_ipv6");
            // A kernel without IPv6 has no such file.
            let _ = std::fs::write(file, "1");
        }
        for wire in 0..count {
            let (near, far) = (wires.near(wire), wires.far(wire));
            let queues = "numrxqueues 1 numtxqueues 1";
            ip(&format!("link add {near} {queues} type veth peer name {far} {queues}"))?;
            ip(&format!("link set {near} up"))?;
            ip(&format!("link set {far} up"))?;
        }
        Ok(wires)
    }

    /// The end of a wire that a switch gets.
    pub(crate) fn near(&self, wire: usize) -> String {
        format!("{}n{wire}", self.prefix)
    }

    /// The other end.
    pub(crate) fn far(&self, wire: usize) -> String {
        format!("{}f{wire}", self.prefix)
    }
}

impl Drop for Wires {
    fn drop(&mut self) {
        for wire in 0..self.count {
            // One that could not be laid is not there.
            let _ = ip(&format!("link del {}", self.near(wire)));
        }
    }
}

fn ip(words: &str) -> Result<(), PerfError> {
    let run = Command::new("ip").args(words.split(' ')).output();
    let run = run.map_err(PerfError::io("run ip"))?;
    match run.status.success() {
        true => Ok(()),
        false => {
            let said = String::from_utf8_lossy(&run.stderr);
            Err(PerfError::Plan(format!("ip {words}: {}", said.trim())))
        }
    }
}
