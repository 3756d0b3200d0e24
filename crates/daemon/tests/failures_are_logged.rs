//! What the log says of ports on interfaces: a failure is a warning, told once for each reason, and all else is none.
//!
//! The test has a network namespace without a name, which is gone when the test is. It needs root.
#![cfg(test)]

mod support;

use std::io;
use std::sync::{Arc, Mutex};

use rustix::thread::{UnshareFlags, unshare_unsafe};
use tracing_subscriber::fmt::MakeWriter;

use support::far_host::ip;
use support::switch::{Placement, Plan};
use support::wait_until;

/// What was logged.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl MakeWriter<'_> for Log {
    type Writer = Self;

    fn make_writer(&self) -> Self {
        self.clone()
    }
}

impl Log {
    /// How often a line of this level begins so.
    fn count(&self, level: &str, line: &str) -> usize {
        let logged = String::from_utf8(self.0.lock().unwrap().clone()).unwrap();
        logged.lines().filter(|logged| is_line(logged, level, line)).count()
    }

    #[track_caller]
    fn wait(&self, level: &str, line: &str) {
        wait_until(&format!("{level} {line}"), || self.count(level, line) > 0);
    }
}

fn is_line(logged: &str, level: &str, line: &str) -> bool {
    let told = logged.trim_start().strip_prefix(level);
    told.is_some_and(|told| told.trim_start().starts_with(line))
}

#[test]
fn an_interface_that_cannot_be_used_is_a_warning_once_and_its_recovery_and_its_links_are_none() {
    // SAFETY: this thread and those that it starts get another network namespace, nothing else.
    unsafe { unshare_unsafe(UnshareFlags::NEWNET) }.unwrap();
    let log = Log::default();
    let lines = tracing_subscriber::fmt().with_ansi(false).without_time().with_target(false);
    lines.with_writer(log.clone()).init();
    ip("link add helio0 type bridge");
    let _switch = Plan::new(Placement::OneWorker)
        .more("[[port]]\nname = \"host\"\ntap = \"helio0\"\n")
        .more("[[port]]\nname = \"uplink\"\ninterface = \"near\"\nmode = \"skb\"\n")
        .start();
    log.wait("WARN", "port host: waiting: ");
    log.wait("WARN", "port uplink: waiting: there is no interface near");

    ip("link del helio0");
    log.wait("INFO", "port host: up: helio0");
    ip("link add near type veth peer far");
    log.wait("INFO", "port uplink: waiting: near is set down");
    ip("link set far up");
    ip("link set near up");
    log.wait("INFO", "port uplink: up: near");

    ip("link del near");
    wait_until("it is gone once more", || log.count("WARN", "port uplink: waiting: ") >= 2);
    assert_eq!(log.count("WARN", "port host: waiting: "), 1);
    assert_eq!(log.count("INFO", "port uplink: waiting: there is no interface"), 0);
}
