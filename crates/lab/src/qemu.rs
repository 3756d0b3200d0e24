//! A real Linux guest in QEMU, its NICs joined to ports of the switch by vhost-user.
//!
//! Guests run under QEMU's own translator (TCG), which every machine has; `HELIO_LAB_ACCEL=kvm` asks for another.

use std::env;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::Signal;
use serde_json::{Value, json};

use crate::child_process::{ChildProcess, Output};
use crate::console::Console;
pub use crate::console::Outcome;
use crate::error::{LabError, tail_of};
use crate::guest_image::GuestImage;
use crate::lab_dir::LabDir;
use crate::qmp::Qmp;
use crate::vnic::Vnic;

/// How long a guest may take to boot on a machine that is busy with others.
const BOOTING: Duration = Duration::from_secs(120);

/// How long a guest may take to give memory back.
const UNPLUGGING: Duration = Duration::from_secs(30);

/// How long an ordinary command in a guest may take.
const COMMAND: Duration = Duration::from_secs(60);

/// What a guest is like.
#[derive(Clone, Debug)]
pub struct GuestPlan {
    /// Name of the guest; its files in the lab's folder begin with it.
    pub name: String,
    /// Memory in MiB.
    pub memory_mib: u32,
    /// How many pieces of memory can be plugged into it while it runs.
    pub memory_slots: u32,
    /// Number of processors.
    pub processors: u32,
    /// Network cards.
    pub nics: Vec<Vnic>,
}

impl GuestPlan {
    /// A small guest with one processor.
    #[must_use]
    pub fn new(name: &str, nics: Vec<Vnic>) -> Self {
        Self { name: name.to_owned(), memory_mib: 160, memory_slots: 0, processors: 1, nics }
    }
}

/// A command that runs in the background of a guest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GuestJob {
    number: u32,
    process: u32,
}

impl GuestJob {
    /// The file in the guest that collects what the command says.
    #[must_use]
    pub fn file(self) -> String {
        format!("/tmp/job.{}", self.number)
    }
}

/// A running guest; it is killed when the value is dropped.
#[derive(Debug)]
pub struct Qemu {
    process: ChildProcess,
    console: Console,
    qmp: Option<Qmp>,
    qmp_socket: PathBuf,
    kernel_log: PathBuf,
    jobs: u32,
}

impl Qemu {
    /// Starts a guest; [`Qemu::wait_ready`] tells when it has booted, so that several can boot side by side.
    ///
    /// # Errors
    ///
    /// When QEMU cannot be started.
    pub fn start(dir: &LabDir, image: &GuestImage, plan: &GuestPlan) -> Result<Self, LabError> {
        let file = |kind: &str| dir.file(format!("{}.{kind}", plan.name));
        let mut command = ChildProcess::command("qemu-system-x86_64");
        command.args(machine_options(plan));
        command.arg("-kernel").arg(&image.kernel).arg("-initrd").arg(&image.initramfs);
        command.arg("-append").arg(kernel_command_line(plan));
        command.arg("-serial").arg(format!("file:{}", file("kernel").display()));
        command.arg("-serial").arg(listening(&file("line")));
        command.arg("-qmp").arg(listening(&file("qmp")));
        for (index, nic) in plan.nics.iter().enumerate() {
            command.args(nic.qemu_options(index));
        }
        let mut process = ChildProcess::spawn(&plan.name, command, Output::Logged, file("log"))?;
        let console = match Console::open(&file("line")) {
            Ok(console) => console,
            // Before QEMU opens its own sockets it waits for the switch; its log tells.
            Err(unconnected) => {
                process.must_run()?;
                let waiting_for = format!("QEMU to open its sockets ({unconnected})");
                return Err(LabError::TooLate { waiting_for, seen: tail_of(process.log()) });
            }
        };
        let (qmp_socket, kernel_log) = (file("qmp"), file("kernel"));
        Ok(Self { process, console, qmp: None, qmp_socket, kernel_log, jobs: 0 })
    }

    /// Waits until the guest has booted, or has booted again after [`Qemu::reset`].
    ///
    /// # Errors
    ///
    /// When it does not boot in time, with the end of its kernel's log.
    pub fn wait_ready(&mut self) -> Result<(), LabError> {
        self.console.wait_ready(BOOTING).map_err(|error| match self.process.must_run() {
            Err(ended) => ended,
            Ok(()) => LabError::TooLate {
                waiting_for: format!("a guest to boot ({error})"),
                seen: tail_of(&self.kernel_log),
            },
        })
    }

    /// Runs a command in the guest's shell and waits for it.
    ///
    /// # Errors
    ///
    /// When the guest does not answer; a command that fails is an ordinary outcome.
    pub fn exec(&mut self, command: &str) -> Result<Outcome, LabError> {
        self.exec_within(command, COMMAND)
    }

    /// Like [`Qemu::exec`], for a command that may take as long as `patience`.
    ///
    /// # Errors
    ///
    /// When the guest does not answer.
    pub fn exec_within(&mut self, command: &str, patience: Duration) -> Result<Outcome, LabError> {
        self.console.exec(command, patience)
    }

    /// Runs a command that must succeed, and gives its output.
    ///
    /// # Errors
    ///
    /// When the guest does not answer, or the command fails.
    pub fn must(&mut self, command: &str) -> Result<String, LabError> {
        let outcome = self.exec(command)?;
        if outcome.status == 0 {
            return Ok(outcome.output);
        }
        Err(LabError::Refused { command: command.to_owned(), answer: outcome.output })
    }

    /// Starts one command, not a list of them, in the background of the guest.
    ///
    /// # Errors
    ///
    /// When the guest does not answer.
    pub fn spawn(&mut self, command: &str) -> Result<GuestJob, LabError> {
        self.jobs += 1;
        let number = self.jobs;
        let output = self.must(&format!("{command} >/tmp/job.{number} 2>&1 & echo $!"))?;
        match output.trim().parse() {
            Ok(process) => Ok(GuestJob { number, process }),
            Err(_) => Err(LabError::Unreadable { what: "a process id in the guest", text: output }),
        }
    }

    /// What a background command has said so far.
    ///
    /// # Errors
    ///
    /// When the guest does not answer.
    pub fn job_output(&mut self, job: GuestJob) -> Result<String, LabError> {
        Ok(self.exec(&format!("cat {}", job.file()))?.output)
    }

    /// Waits until a background command has said `text`.
    ///
    /// # Errors
    ///
    /// When it ends before that, or does not say it within 30 seconds; with what it said instead.
    pub fn job_says(&mut self, job: GuestJob, text: &str) -> Result<(), LabError> {
        let (file, process) = (job.file(), job.process);
        self.must(&format!(
            "for i in $(seq 300); do grep -q '{text}' {file} && exit 0; [ -d /proc/{process} ] || break; \
             usleep 100000; done; cat {file}; exit 1"
        ))
        .map(|_| ())
    }

    /// Waits until a background command has ended by itself.
    ///
    /// # Errors
    ///
    /// When it goes on for 30 seconds.
    pub fn job_ends(&mut self, job: GuestJob) -> Result<(), LabError> {
        let process = job.process;
        self.must(&format!(
            "for i in $(seq 600); do [ -d /proc/{process} ] || exit 0; usleep 50000; done; \
             echo process {process} goes on; exit 1"
        ))
        .map(|_| ())
    }

    /// Interrupts a background command as Ctrl-C does, and gives all it said. For commands that catch the signal, as
    /// tcpdump, ping and iperf3 do: a shell makes what it starts in the background ignore it.
    ///
    /// # Errors
    ///
    /// When the command goes on for 30 seconds.
    pub fn finish(&mut self, job: GuestJob) -> Result<String, LabError> {
        // A command that is gone already is fine: what it said is still there.
        self.exec(&format!("kill -INT {}", job.process))?;
        self.job_ends(job)?;
        self.job_output(job)
    }

    /// Resets the guest's machine; it boots again on the same QEMU process.
    ///
    /// # Errors
    ///
    /// When QEMU does not answer.
    pub fn reset(&mut self) -> Result<(), LabError> {
        self.qmp("system_reset")
    }

    /// Stops the guest's processors; QEMU itself goes on and answers the switch.
    ///
    /// # Errors
    ///
    /// When QEMU does not answer.
    pub fn pause(&mut self) -> Result<(), LabError> {
        self.qmp("stop")
    }

    /// Lets a paused guest go on.
    ///
    /// # Errors
    ///
    /// When QEMU does not answer.
    pub fn resume(&mut self) -> Result<(), LabError> {
        self.qmp("cont")
    }

    /// Stops the whole QEMU process (SIGSTOP): it answers nobody.
    ///
    /// # Errors
    ///
    /// When the process is gone.
    pub fn freeze(&self) -> Result<(), LabError> {
        self.process.signal(Signal::STOP)
    }

    /// Lets a frozen QEMU process go on (SIGCONT).
    ///
    /// # Errors
    ///
    /// When the process is gone.
    pub fn thaw(&self) -> Result<(), LabError> {
        self.process.signal(Signal::CONT)
    }

    /// Kills the guest without warning (SIGKILL).
    pub fn kill(&mut self) {
        self.process.kill();
    }

    /// The process, for its figures.
    #[must_use]
    pub fn process(&self) -> &ChildProcess {
        &self.process
    }

    /// Plugs a piece of memory into the running guest, which takes it into use by itself and can give it back.
    ///
    /// # Errors
    ///
    /// When QEMU refuses: it has no slot left, or something of this name.
    pub fn plug_memory(&mut self, name: &str, mib: u32) -> Result<(), LabError> {
        let bytes = u64::from(mib) << 20;
        let backend = json!({
            "qom-type": "memory-backend-memfd", "id": name, "size": bytes, "share": true
        });
        let device = json!({ "driver": "pc-dimm", "id": format!("dimm-{name}"), "memdev": name });
        self.qmp_with("object-add", &backend)?;
        self.qmp_with("device_add", &device).map(|_| ())
    }

    /// Asks the guest to give a piece of memory back, and takes it away when it has.
    ///
    /// # Errors
    ///
    /// When the guest has not given it back in 30 seconds.
    pub fn unplug_memory(&mut self, name: &str) -> Result<(), LabError> {
        self.qmp_with("device_del", &json!({ "id": format!("dimm-{name}") }))?;
        let deadline = Instant::now() + UNPLUGGING;
        loop {
            let devices = self.qmp_with("query-memory-devices", &json!({}))?.to_string();
            if !devices.contains(&format!("\"dimm-{name}\"")) {
                return self.qmp_with("object-del", &json!({ "id": name })).map(|_| ());
            }
            if Instant::now() > deadline {
                let waiting_for = format!("a guest to give back memory {name}");
                return Err(LabError::TooLate { waiting_for, seen: tail_of(&self.kernel_log) });
            }
            thread::sleep(Duration::from_millis(50));
        }
    }

    fn qmp(&mut self, command: &str) -> Result<(), LabError> {
        self.qmp_with(command, &json!({})).map(|_| ())
    }

    fn qmp_with(&mut self, command: &str, arguments: &Value) -> Result<Value, LabError> {
        let qmp = match self.qmp.take() {
            Some(qmp) => qmp,
            None => Qmp::open(&self.qmp_socket)?,
        };
        self.qmp.insert(qmp).run_with(command, arguments)
    }
}

fn machine_options(plan: &GuestPlan) -> Vec<String> {
    let accelerator = env::var("HELIO_LAB_ACCEL").unwrap_or_else(|_| "tcg".to_owned());
    let memory = plan.memory_mib;
    let room = match plan.memory_slots {
        0 => String::new(),
        slots => format!(",slots={slots},maxmem=4G"),
    };
    let options = format!(
        "-name {} -accel {accelerator} -cpu max -smp {} -machine pc,memory-backend=ram -m {memory}M{room} \
         -object memory-backend-memfd,id=ram,size={memory}M,share=on -nodefaults -display none",
        plan.name, plan.processors
    );
    options.split_whitespace().map(str::to_owned).collect()
}

fn kernel_command_line(plan: &GuestPlan) -> String {
    // Without IPv6 a guest sends nothing by itself. The loop count and "nokaslr" only save boot time.
    let mut words = vec![
        "console=ttyS0 loglevel=4 ipv6.disable=1 random.trust_cpu=on mitigations=off nokaslr lpj=4000000"
            .to_owned(),
    ];
    if plan.memory_slots > 0 {
        // Memory that is plugged in is used for what can be moved out of it again.
        words.push("memhp_default_state=online_movable".to_owned());
    }
    words.extend(plan.nics.iter().map(Vnic::kernel_word));
    words.join(" ")
}

fn listening(socket: &Path) -> String {
    format!("unix:{},server=on,wait=off", socket.display())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_memory_of_a_guest_is_shared() {
        let options = machine_options(&GuestPlan::new("columbia", vec![])).join(" ");
        assert!(options.contains("memory-backend-memfd,id=ram,size=160M,share=on"), "{options}");
    }
}
