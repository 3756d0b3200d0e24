//! A running `helio run`, seen through its own command line.

use std::env;
use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use helio_types::{Mirroring, SessionId};
use serde::de::DeserializeOwned;

use crate::child_process::{ChildProcess, Output};
use crate::error::{LabError, tail_of};
use crate::lab_dir::LabDir;
use crate::net_namespace::NetNamespace;
use crate::switch_config::SwitchPlan;
use crate::switch_figures::{DestinationFigures, MirrorFigures, PortFigures};

/// How long the switch may take to answer for the first time.
const STARTING: Duration = Duration::from_secs(20);

/// How long is waited for a port or its counters.
const PATIENCE: Duration = Duration::from_secs(30);

/// A running switch; it is asked to end when the value is dropped.
#[derive(Debug)]
pub struct Switch {
    program: PathBuf,
    control: PathBuf,
    folder: PathBuf,
    process: ChildProcess,
}

impl Switch {
    /// Writes the configuration into the folder, starts the switch, and waits until it answers.
    ///
    /// # Errors
    ///
    /// When the program is missing, or ends or does not answer in time; with the end of its log.
    pub fn start(dir: &LabDir, plan: &SwitchPlan) -> Result<Self, LabError> {
        let program = helio_program()?;
        let command = ChildProcess::command(&program);
        Self::run(dir, plan, program, command)
    }

    /// The same in a network namespace: the interfaces that its uplinks name are those of the namespace. Its sockets are
    /// files as ever.
    ///
    /// # Errors
    ///
    /// As [`Switch::start`].
    pub fn start_in(
        namespace: &NetNamespace,
        dir: &LabDir,
        plan: &SwitchPlan,
    ) -> Result<Self, LabError> {
        let program = helio_program()?;
        let command = namespace.command(&program);
        Self::run(dir, plan, program, command)
    }

    fn run(
        dir: &LabDir,
        plan: &SwitchPlan,
        program: PathBuf,
        mut command: Command,
    ) -> Result<Self, LabError> {
        let config = dir.file("helio.toml");
        fs::write(&config, plan.text(dir.path())).map_err(LabError::io("write helio.toml"))?;
        command.arg("run").arg("-c").arg(&config);
        let process = ChildProcess::spawn("helio", command, Output::Logged, dir.file("helio.log"))?;
        let (control, folder) = (dir.file("control.sock"), dir.path().to_owned());
        let mut switch = Self { program, control, folder, process };
        switch.wait_answer()?;
        Ok(switch)
    }

    /// The socket of a port that was in the plan.
    #[must_use]
    pub fn socket(&self, port: &str) -> PathBuf {
        self.folder.join(format!("{port}.sock"))
    }

    /// Runs a subcommand against this switch and gives what it printed.
    ///
    /// # Errors
    ///
    /// When the command fails; with what it said.
    pub fn cli<A: AsRef<OsStr>>(&self, arguments: &[A]) -> Result<String, LabError> {
        let mut command = Command::new(&self.program);
        command.args(arguments).arg("--control").arg(&self.control);
        let output = command.output().map_err(LabError::io("run helio"))?;
        if output.status.success() {
            return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
        }
        Err(LabError::Refused {
            command: format!("{command:?}"),
            answer: String::from_utf8_lossy(&output.stderr).into_owned(),
        })
    }

    /// What `helio port list --json` tells.
    ///
    /// # Errors
    ///
    /// When the command fails or its JSON lacks a key.
    pub fn ports(&self) -> Result<Vec<PortFigures>, LabError> {
        self.json(&["port", "list", "--json"])
    }

    /// What `helio port show NAME --json` tells.
    ///
    /// # Errors
    ///
    /// When there is no such port, or the JSON lacks a key.
    pub fn port(&self, name: &str) -> Result<PortFigures, LabError> {
        self.json(&["port", "show", name, "--json"])
    }

    /// What `helio mirror list --json` tells.
    ///
    /// # Errors
    ///
    /// When the command fails or its JSON lacks a key.
    pub fn mirrors(&self) -> Result<Vec<MirrorFigures>, LabError> {
        self.json(&["mirror", "list", "--json"])
    }

    /// What became of the copies for one destination of session 0.
    ///
    /// # Errors
    ///
    /// When session 0 has no such destination.
    pub fn destination(&self, port: &str) -> Result<DestinationFigures, LabError> {
        let mirrors = self.mirrors()?;
        let session = mirrors.into_iter().find(|mirror| mirror.session == 0);
        let destinations = session.into_iter().flat_map(|mirror| mirror.destinations);
        destinations.into_iter().find(|destination| destination.port == port).ok_or_else(|| {
            LabError::Unreadable {
                what: "helio mirror list",
                text: format!("no destination {port}"),
            }
        })
    }

    /// Changes the part a port takes in mirroring.
    ///
    /// # Errors
    ///
    /// When the switch refuses.
    pub fn set_mirroring(
        &self,
        port: &str,
        mirroring: Mirroring,
        session: SessionId,
    ) -> Result<(), LabError> {
        let (mirroring, session) = (mirroring.to_string(), session.to_string());
        self.cli(&["port", "set", port, "--mirroring", &mirroring, "--session", &session])
            .map(|_| ())
    }

    /// Waits until `condition` holds for what `helio port show NAME --json` tells.
    ///
    /// # Errors
    ///
    /// When it does not hold within 30 seconds; with what the port looked like.
    pub fn wait_port(
        &self,
        name: &str,
        waiting_for: &str,
        condition: impl Fn(&PortFigures) -> bool,
    ) -> Result<PortFigures, LabError> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let port = self.port(name)?;
            if condition(&port) {
                return Ok(port);
            }
            if Instant::now() > deadline {
                let waiting_for = format!("port {name}: {waiting_for}");
                return Err(LabError::TooLate { waiting_for, seen: format!("{port:#?}") });
            }
            thread::sleep(Duration::from_millis(50));
        }
    }

    /// Waits until a port's state is `up`.
    ///
    /// # Errors
    ///
    /// When it is not within 30 seconds.
    pub fn wait_up(&self, name: &str) -> Result<PortFigures, LabError> {
        self.wait_port(name, "state up", |port| port.state == "up")
    }

    /// What [`Switch::ports`] tells once the counters have stood still for a moment.
    ///
    /// # Errors
    ///
    /// When they go on for 30 seconds.
    pub fn ports_at_rest(&self) -> Result<Vec<PortFigures>, LabError> {
        let deadline = Instant::now() + PATIENCE;
        let mut before = self.ports()?;
        loop {
            thread::sleep(Duration::from_millis(200));
            let now = self.ports()?;
            if now == before {
                return Ok(now);
            }
            if Instant::now() > deadline {
                let waiting_for = "the counters to stand still".to_owned();
                return Err(LabError::TooLate { waiting_for, seen: format!("{now:#?}") });
            }
            before = now;
        }
    }

    /// Kills the switch without warning (SIGKILL), and waits until it is gone.
    pub fn kill(&mut self) {
        self.process.kill();
    }

    /// The process, for its figures: processor time, memory, open files.
    #[must_use]
    pub fn process(&self) -> &ChildProcess {
        &self.process
    }

    /// Everything the switch has written to its log.
    #[must_use]
    pub fn log(&self) -> String {
        String::from_utf8_lossy(&fs::read(self.process.log()).unwrap_or_default()).into_owned()
    }

    /// Fails when the switch has ended.
    ///
    /// # Errors
    ///
    /// [`LabError::Ended`] with the end of its log.
    pub fn must_run(&mut self) -> Result<(), LabError> {
        self.process.must_run()
    }

    fn json<T: DeserializeOwned>(&self, arguments: &[&str]) -> Result<T, LabError> {
        let text = self.cli(arguments)?;
        serde_json::from_str(&text).map_err(|error| LabError::Unreadable {
            what: "helio's JSON",
            text: format!("{error} in {text}"),
        })
    }

    fn wait_answer(&mut self) -> Result<(), LabError> {
        let deadline = Instant::now() + STARTING;
        while self.cli(&["worker", "list"]).is_err() {
            self.process.must_run()?;
            if Instant::now() > deadline {
                let seen = tail_of(self.process.log());
                return Err(LabError::TooLate { waiting_for: "helio to answer".to_owned(), seen });
            }
            thread::sleep(Duration::from_millis(20));
        }
        Ok(())
    }
}

impl Drop for Switch {
    fn drop(&mut self) {
        self.process.end();
    }
}

/// The program named by `HELIO_BIN`, or the one built beside the running test or demo.
fn helio_program() -> Result<PathBuf, LabError> {
    if let Some(path) = env::var_os("HELIO_BIN") {
        return Ok(PathBuf::from(path));
    }
    let own = env::current_exe().map_err(LabError::io("find the running program"))?;
    let folders = own.ancestors().skip(1).take(2);
    let mut candidates = folders.map(|folder: &Path| folder.join("helio"));
    candidates.find(|path| path.is_file()).ok_or(LabError::Missing {
        what: format!("the program helio beside {}", own.display()),
        remedy: "run cargo build -p helio with the same profile, or set HELIO_BIN",
    })
}
