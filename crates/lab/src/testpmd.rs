//! A running `dpdk-testpmd`, driven by its own command line.

use std::fs;
use std::io::Write;
use std::process::ChildStdin;
use std::time::Duration;

use crate::child_process::{ChildProcess, Output};
use crate::error::{LabError, tail_of};
use crate::hugepages;
use crate::lab_dir::LabDir;
use crate::testpmd_plan::TestpmdPlan;
use crate::testpmd_stats::{ForwardStats, PortStats, forward_stats, port_stats};
use crate::transcript::Transcript;

const PROMPT: &str = "testpmd> ";
const PROGRAM: &str = "/usr/bin/dpdk-testpmd";

/// How long testpmd may take to start or to answer.
const PATIENCE: Duration = Duration::from_secs(60);

/// Hugepages of 2 MiB for one testpmd: its 128 MiB, and what its rings and pools round up to.
const HUGEPAGES: u64 = 128;

/// A running testpmd; it is killed when the value is dropped.
#[derive(Debug)]
pub struct Testpmd {
    name: String,
    process: ChildProcess,
    input: ChildStdin,
    transcript: Transcript,
}

impl Testpmd {
    /// Starts testpmd and waits for its prompt; it forwards nothing yet.
    ///
    /// # Errors
    ///
    /// When the program or its hugepages are missing, or it does not come up with all ports.
    pub fn start(dir: &LabDir, plan: &TestpmdPlan) -> Result<Self, LabError> {
        if !fs::exists(PROGRAM).unwrap_or(false) {
            let remedy = "run scripts/install-packages testpmd";
            return Err(LabError::Missing { what: PROGRAM.to_owned(), remedy });
        }
        hugepages::provide(HUGEPAGES)?;
        for socket in &plan.own_sockets {
            // Left behind by a killed one; testpmd refuses to start while it is there.
            drop(fs::remove_file(socket));
        }
        let log = dir.file(format!("{}.log", plan.name));
        // Into a pipe the C library would hold text back that belongs before the prompt.
        let mut command = ChildProcess::command("stdbuf");
        command.arg("-oL").arg(PROGRAM).args(plan.options()).env("TERM", "dumb");
        let mut process = ChildProcess::spawn(&plan.name, command, Output::Piped, log.clone())?;
        let pipes = process.pipes();
        let (Some(input), Some(output)) = (pipes.stdin.take(), pipes.stdout.take()) else {
            return Err(LabError::Ended { who: plan.name.clone(), last_words: tail_of(&log) });
        };
        let mut testpmd = Self {
            name: plan.name.clone(),
            process,
            input,
            transcript: Transcript::follow(output),
        };
        let hello =
            testpmd.transcript.until(PROMPT, PATIENCE).map_err(|error| testpmd.explain(error))?;
        testpmd.check_ports(plan, &hello)?;
        Ok(testpmd)
    }

    /// Runs one command and gives what it printed.
    ///
    /// # Errors
    ///
    /// When testpmd has ended or does not come back to its prompt.
    pub fn command(&mut self, text: &str) -> Result<String, LabError> {
        let write = self.input.write_all(format!("{text}\n").as_bytes());
        write.map_err(LabError::io(format!("write to {}", self.name)))?;
        self.transcript.until(PROMPT, PATIENCE).map_err(|error| self.explain(error))
    }

    /// Starts forwarding.
    ///
    /// # Errors
    ///
    /// When testpmd refuses.
    pub fn forward(&mut self) -> Result<(), LabError> {
        self.start_by("start")
    }

    /// Sends so many bursts from every port, then starts forwarding: what it receives, it sends again.
    ///
    /// # Errors
    ///
    /// When testpmd refuses.
    pub fn forward_after_bursts(&mut self, bursts: u16) -> Result<(), LabError> {
        self.start_by(&format!("start tx_first {bursts}"))
    }

    fn start_by(&mut self, command: &str) -> Result<(), LabError> {
        let answer = self.command(command)?;
        if answer.contains("packet forwarding") {
            return Ok(());
        }
        Err(LabError::Refused { command: command.to_owned(), answer })
    }

    /// Stops forwarding, and tells what was forwarded since it started.
    ///
    /// # Errors
    ///
    /// When testpmd was not forwarding.
    pub fn halt(&mut self) -> Result<Vec<ForwardStats>, LabError> {
        forward_stats(&self.command("stop")?)
    }

    /// The counters of all ports.
    ///
    /// # Errors
    ///
    /// When testpmd has ended.
    pub fn port_stats(&mut self) -> Result<Vec<PortStats>, LabError> {
        port_stats(&self.command("show port stats all")?)
    }

    /// The process, for signals and figures.
    #[must_use]
    pub fn process(&self) -> &ChildProcess {
        &self.process
    }

    /// Kills testpmd without warning.
    pub fn kill(&mut self) {
        self.process.kill();
    }

    /// Testpmd starts happily without the ports it was told to have.
    fn check_ports(&self, plan: &TestpmdPlan, hello: &str) -> Result<(), LabError> {
        let configured = hello.matches("Configuring Port").count();
        if configured == plan.devices.len() {
            return Ok(());
        }
        let log = tail_of(self.process.log());
        Err(LabError::Refused { command: self.name.clone(), answer: format!("{hello}\n{log}") })
    }

    fn explain(&self, error: LabError) -> LabError {
        match error {
            LabError::Ended { last_words, .. } => LabError::Ended {
                who: self.name.clone(),
                last_words: format!("{last_words}\n{}", tail_of(self.process.log())),
            },
            other => other,
        }
    }
}

impl Drop for Testpmd {
    fn drop(&mut self) {
        self.process.kill();
        // Only a folder for files that --in-memory does not make; DPDK leaves it behind.
        drop(fs::remove_dir_all(format!("/var/run/dpdk/{}", self.name)));
    }
}
