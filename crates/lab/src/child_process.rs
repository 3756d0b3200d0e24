//! A process of a scene: started with a log, signalled, watched through `/proc`, ended when its value is dropped.
//!
//! The kernel kills it when the thread that started it ends. So no way of dying leaves it behind.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use crate::error::{LabError, tail_of};

/// How long a process that was asked to end may take before it is killed.
const PATIENCE: Duration = Duration::from_secs(5);

/// A running process of the scene.
#[derive(Debug)]
pub struct ChildProcess {
    name: String,
    child: Child,
    log: PathBuf,
}

impl ChildProcess {
    /// A command that the kernel kills when the calling thread ends.
    #[must_use]
    pub fn command(program: impl AsRef<Path>) -> Command {
        let mut command = Command::new("setpriv");
        command.args(["--pdeathsig", "KILL", "--"]).arg(program.as_ref());
        command
    }

    /// Starts `command` with errors, and output unless it is piped, going to `log`.
    ///
    /// # Errors
    ///
    /// When the log cannot be written or the program cannot be started.
    pub fn spawn(
        name: &str,
        mut command: Command,
        output: Output,
        log: PathBuf,
    ) -> Result<Self, LabError> {
        let doing = || LabError::io(format!("start {name}"));
        let file = File::create(&log).map_err(doing())?;
        match output {
            Output::Logged => {
                command.stdin(Stdio::null()).stdout(file.try_clone().map_err(doing())?).stderr(file)
            }
            Output::Piped => command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(file),
        };
        let child = command.spawn().map_err(doing())?;
        Ok(Self { name: name.to_owned(), child, log })
    }

    /// The process id.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Where its output goes.
    #[must_use]
    pub fn log(&self) -> &Path {
        &self.log
    }

    /// The pipes of a process started with [`Output::Piped`].
    pub fn pipes(&mut self) -> &mut Child {
        &mut self.child
    }

    /// Fails when the process has ended, with the end of its log.
    ///
    /// # Errors
    ///
    /// [`LabError::Ended`] when it does not run any more.
    pub fn must_run(&mut self) -> Result<(), LabError> {
        match self.child.try_wait() {
            Ok(None) => Ok(()),
            Ok(Some(status)) => Err(LabError::Ended {
                who: format!("{} ({status})", self.name),
                last_words: tail_of(&self.log),
            }),
            Err(source) => Err(LabError::Io { doing: format!("watch {}", self.name), source }),
        }
    }

    /// Sends a signal.
    ///
    /// # Errors
    ///
    /// When the process is gone.
    pub fn signal(&self, signal: Signal) -> Result<(), LabError> {
        kill_process(Pid::from_child(&self.child), signal)
            .map_err(|errno| LabError::io(format!("signal {}", self.name))(errno.into()))
    }

    /// Kills the process at once and waits until it is gone.
    pub fn kill(&mut self) {
        // It may have ended by itself; then there is nothing left to do.
        drop(self.child.kill());
        drop(self.child.wait());
    }

    /// Asks the process to end, and kills it when it does not.
    pub fn end(&mut self) {
        // One that is gone already has no process id any more.
        if !matches!(self.child.try_wait(), Ok(None)) {
            return;
        }
        if self.signal(Signal::TERM).is_err() {
            return self.kill();
        }
        let deadline = Instant::now() + PATIENCE;
        while Instant::now() < deadline {
            if !matches!(self.child.try_wait(), Ok(None)) {
                return;
            }
            thread::sleep(Duration::from_millis(10));
        }
        self.kill();
    }

    /// Processor time all threads of the process have used, in user and in kernel mode.
    ///
    /// # Errors
    ///
    /// When the process is gone.
    pub fn cpu_time(&self) -> Result<Duration, LabError> {
        let stat = self.proc_file("stat")?;
        let ticks = cpu_ticks(&stat)
            .ok_or(LabError::Unreadable { what: "/proc/PID/stat", text: stat.clone() })?;
        let per_second = rustix::param::clock_ticks_per_second().max(1);
        Ok(Duration::from_millis(ticks.saturating_mul(1000) / per_second))
    }

    /// Memory of the process that lies in RAM now, in bytes.
    ///
    /// # Errors
    ///
    /// When the process is gone.
    pub fn resident_bytes(&self) -> Result<u64, LabError> {
        let status = self.proc_file("status")?;
        let kib =
            status.lines().find_map(|line| line.strip_prefix("VmRSS:")).and_then(first_number);
        kib.map(|kib| kib * 1024)
            .ok_or(LabError::Unreadable { what: "/proc/PID/status", text: status })
    }

    /// How many file descriptors the process has open.
    ///
    /// # Errors
    ///
    /// When the process is gone.
    pub fn open_files(&self) -> Result<usize, LabError> {
        let path = format!("/proc/{}/fd", self.id());
        Ok(fs::read_dir(&path).map_err(LabError::io(format!("list {path}")))?.count())
    }

    fn proc_file(&self, file: &str) -> Result<String, LabError> {
        let path = format!("/proc/{}/{file}", self.id());
        fs::read_to_string(&path).map_err(LabError::io(format!("read {path}")))
    }
}

impl Drop for ChildProcess {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Where the output of a process goes; its errors always go to the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Output {
    /// To the log; there is no input.
    Logged,
    /// To a pipe, and input comes from one.
    Piped,
}

/// User and system time in ticks, fields 14 and 15 of `/proc/PID/stat`, counted from the end of the name, which may
/// hold spaces.
fn cpu_ticks(stat: &str) -> Option<u64> {
    let mut after_name = stat.rsplit_once(')')?.1.split_whitespace().skip(11);
    let user: u64 = after_name.next()?.parse().ok()?;
    let system: u64 = after_name.next()?.parse().ok()?;
    Some(user + system)
}

fn first_number(text: &str) -> Option<u64> {
    text.split_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lab_dir::LabDir;

    fn sleeper(dir: &LabDir) -> ChildProcess {
        let mut command = ChildProcess::command("sleep");
        command.arg("60");
        ChildProcess::spawn("sleeper", command, Output::Logged, dir.file("log")).unwrap()
    }

    #[test]
    fn cpu_ticks_are_read_behind_a_name_with_spaces_and_brackets() {
        let stat = "7 (a (b) c) S 1 2 3 4 5 6 7 8 9 10 30 12 13 14";
        assert_eq!(cpu_ticks(stat), Some(42));
    }

    #[test]
    fn a_running_process_has_memory_and_files() {
        let dir = LabDir::new().unwrap();
        let mut process = sleeper(&dir);
        process.must_run().unwrap();
        assert!(process.resident_bytes().unwrap() > 0);
        assert!(process.open_files().unwrap() >= 3);
        assert!(process.cpu_time().unwrap() < Duration::from_secs(1));
    }

    #[test]
    fn a_dropped_process_is_gone_even_when_it_was_stopped() {
        let dir = LabDir::new().unwrap();
        let process = sleeper(&dir);
        let proc_entry = PathBuf::from(format!("/proc/{}", process.id()));
        process.signal(Signal::STOP).unwrap();
        drop(process);
        assert!(!proc_entry.exists());
    }

    #[test]
    fn a_process_that_ended_is_reported_with_its_last_words() {
        let dir = LabDir::new().unwrap();
        let mut command = ChildProcess::command("sh");
        command.args(["-c", "echo farewell; exit 3"]);
        let mut process =
            ChildProcess::spawn("short", command, Output::Logged, dir.file("log")).unwrap();
        process.child.wait().unwrap();
        let told = process.must_run().unwrap_err().to_string();
        assert!(told.contains("farewell") && told.contains("3"), "{told}");
    }

    #[test]
    fn a_process_ends_with_the_thread_that_started_it() {
        let dir = LabDir::new().unwrap();
        let log = dir.file("log");
        let starter = thread::spawn(move || {
            let mut command = ChildProcess::command("sleep");
            command.arg("60");
            let process = ChildProcess::spawn("orphan", command, Output::Logged, log).unwrap();
            // Let `setpriv` come into effect before the thread ends.
            thread::sleep(Duration::from_millis(200));
            let id = process.id();
            std::mem::forget(process);
            id
        });
        let id = starter.join().unwrap();
        let state = |id| fs::read_to_string(format!("/proc/{id}/stat")).unwrap_or_default();
        let deadline = Instant::now() + Duration::from_secs(5);
        while !state(id).contains(") Z ") && Instant::now() < deadline {
            thread::sleep(Duration::from_millis(10));
        }
        assert!(state(id).contains(") Z "), "still there: {}", state(id));
    }
}
