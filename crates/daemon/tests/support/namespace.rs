//! The network namespace of another host. It has no name, and goes with the process that keeps it.

use std::io::{BufRead as _, BufReader};
use std::process::{Child, Command, Stdio};

/// A namespace, for as long as it is wanted.
pub struct Namespace {
    keeper: Child,
}

impl Namespace {
    /// A new one, in which a shell runs `settings` first.
    #[track_caller]
    pub fn new(settings: &str) -> Self {
        // The word says that the namespace is there.
        let keep = format!("{settings}; echo made; exec sleep infinity");
        let mut keeper = Command::new("setpriv")
            .args(["--pdeathsig", "KILL", "unshare", "--net", "sh", "-c", &keep])
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut said = String::new();
        BufReader::new(keeper.stdout.take().unwrap()).read_line(&mut said).unwrap();
        assert_eq!(said, "made\n", "these tests need root");
        Self { keeper }
    }

    /// By which `ip` knows it.
    pub fn id(&self) -> u32 {
        self.keeper.id()
    }

    /// Runs `ip` over there.
    #[track_caller]
    pub fn ip(&self, arguments: &str) {
        let namespace = format!("--net=/proc/{}/ns/net", self.id());
        let mut command = Command::new("nsenter");
        let run = command.args([&namespace, "ip"]).args(arguments.split(' ')).output().unwrap();
        assert!(run.status.success(), "ip {arguments}: {}", String::from_utf8_lossy(&run.stderr));
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        self.keeper.kill().unwrap();
        self.keeper.wait().unwrap();
    }
}
