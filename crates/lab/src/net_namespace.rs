//! A network namespace of its own for a process of the scene, as another host would be: it has its own interfaces.
//!
//! It has no name. A process that only sleeps keeps it, so it goes, with all its interfaces, when that process and all
//! that were started in it are gone, however that came.

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use crate::child_process::{ChildProcess, Output};
use crate::error::{LabError, tail_of};
use crate::lab_dir::LabDir;

/// How long the process that keeps the namespace may take to make it.
const MAKING: Duration = Duration::from_secs(10);

/// A network namespace; it goes when the value is dropped and nothing runs in it any more.
#[derive(Debug)]
pub struct NetNamespace {
    keeper: ChildProcess,
}

impl NetNamespace {
    /// Makes a namespace without interfaces but its loopback. Needs root.
    ///
    /// # Errors
    ///
    /// When this process may not.
    pub fn new(dir: &LabDir) -> Result<Self, LabError> {
        let mut command = ChildProcess::command("unshare");
        command.args(["--net", "--", "sleep", "infinity"]);
        let log = dir.file("namespace.log");
        let keeper = ChildProcess::spawn("unshare", command, Output::Logged, log)?;
        let mut namespace = Self { keeper };
        namespace.wait_made()?;
        // No frames but those of the scene.
        let quiet = "echo 1 >/proc/sys/net/ipv6/conf/default/disable_ipv6";
        namespace.run("sh", &["-c", quiet])?;
        Ok(namespace)
    }

    fn wait_made(&mut self) -> Result<(), LabError> {
        let own = identity(Path::new("/proc/self/ns/net"));
        let deadline = Instant::now() + MAKING;
        while identity(&self.file()) == own {
            self.keeper.must_run()?;
            if Instant::now() > deadline {
                let seen = tail_of(self.keeper.log());
                return Err(LabError::TooLate {
                    waiting_for: "a network namespace".to_owned(),
                    seen,
                });
            }
            thread::sleep(Duration::from_millis(5));
        }
        Ok(())
    }

    /// A command that runs in the namespace, and is killed when the calling thread ends.
    #[must_use]
    pub fn command(&self, program: impl AsRef<Path>) -> Command {
        let mut command = ChildProcess::command("nsenter");
        command.arg(format!("--net={}", self.file().display())).arg("--").arg(program.as_ref());
        command
    }

    /// Runs a program in the namespace and gives what it printed.
    ///
    /// # Errors
    ///
    /// When it fails; with what it said.
    pub fn run<A: AsRef<OsStr>>(&self, program: &str, arguments: &[A]) -> Result<String, LabError> {
        let mut command = self.command(program);
        command.args(arguments);
        let output = command.output().map_err(LabError::io(format!("run {program}")))?;
        if output.status.success() {
            return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
        }
        Err(LabError::Refused {
            command: format!("{command:?}"),
            answer: String::from_utf8_lossy(&output.stderr).into_owned(),
        })
    }

    /// Lays a wire to another namespace: an interface called `name` at each end, both up.
    ///
    /// # Errors
    ///
    /// When there is an interface of this name already.
    pub fn lay_wire(&self, other: &Self, name: &str, mtu: u16) -> Result<(), LabError> {
        let far = other.keeper.id();
        let end = format!("name {name} mtu {mtu} numrxqueues 1 numtxqueues 1");
        self.ip(&format!("link add {end} type veth peer {end} netns {far}"))?;
        self.ip(&format!("link set {name} up"))?;
        other.ip(&format!("link set {name} up"))?;
        Ok(())
    }

    /// Runs `ip` in the namespace, with arguments that have spaces between them.
    ///
    /// # Errors
    ///
    /// When it refuses.
    pub fn ip(&self, arguments: &str) -> Result<String, LabError> {
        self.run("ip", &arguments.split(' ').collect::<Vec<_>>())
    }

    fn file(&self) -> PathBuf {
        PathBuf::from(format!("/proc/{}/ns/net", self.keeper.id()))
    }
}

/// Which namespace this is; none when the process is gone.
fn identity(file: &Path) -> Option<PathBuf> {
    fs::read_link(file).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wire_has_an_end_in_each_namespace_and_none_here() {
        let (near_dir, far_dir) = (LabDir::new().unwrap(), LabDir::new().unwrap());
        let near = NetNamespace::new(&near_dir).unwrap();
        let far = NetNamespace::new(&far_dir).unwrap();
        near.lay_wire(&far, "wire", 9000).unwrap();
        for end in [&near, &far] {
            let shown = end.ip("link show wire").unwrap();
            assert!(shown.contains("mtu 9000") && shown.contains("LOWER_UP"), "{shown}");
            // Nothing but the loopback beside it.
            assert_eq!(end.ip("-o link").unwrap().lines().count(), 2);
        }
        let here = Command::new("ip").args(["link", "show", "wire"]).output().unwrap();
        assert!(!here.status.success());
    }

    #[test]
    fn a_namespace_goes_with_its_value() {
        let dir = LabDir::new().unwrap();
        let namespace = NetNamespace::new(&dir).unwrap();
        let file = namespace.file();
        drop(namespace);
        assert!(!file.exists());
    }
}
