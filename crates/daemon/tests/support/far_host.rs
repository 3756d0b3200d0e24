//! Another host, at the far end of two wires: a network namespace with a bridge that joins them. What leaves the switch by the
//! uplink "up-near" on the interface "near" comes back by "up-back" on "back".

use std::process::Command;

use super::namespace::Namespace;
use super::wait_until;

/// The interfaces at the near ends of its wires.
pub const NEAR_ENDS: [&str; 2] = ["near", "back"];

/// The far ends, in the other namespace.
const FAR_ENDS: [&str; 2] = ["far-near", "far-back"];

/// Runs `ip` in the namespace of this thread. Whether it succeeded.
pub fn try_ip(arguments: &str) -> bool {
    Command::new("ip").args(arguments.split(' ')).output().unwrap().status.success()
}

/// Runs `ip` in the namespace of this thread.
#[track_caller]
pub fn ip(arguments: &str) -> String {
    let run = Command::new("ip").args(arguments.split(' ')).output().unwrap();
    assert!(run.status.success(), "ip {arguments}: {}", String::from_utf8_lossy(&run.stderr));
    String::from_utf8(run.stdout).unwrap()
}

/// The other host, while it is there.
pub struct FarHost {
    host: Namespace,
}

impl FarHost {
    /// A host, and wires to it from the namespace of this thread.
    pub fn join(mtu: u32) -> Self {
        // No frames but those of the test.
        let settings = "echo 1 >/proc/sys/net/ipv6/conf/default/disable_ipv6";
        let host = Namespace::new(settings);
        host.ip("link add bridge type bridge");
        host.ip("link set bridge up");
        for (near, far) in NEAR_ENDS.into_iter().zip(FAR_ENDS) {
            let namespace = host.id();
            ip(&format!(
                "link add {near} mtu {mtu} type veth peer {far} mtu {mtu} netns {namespace}"
            ));
            ip(&format!("link set {near} up"));
            host.ip(&format!("link set {far} master bridge up"));
        }
        Self { host }
    }

    /// Pulls a wire out at the far end, or puts it in again.
    pub fn set_link(&self, near: &str, state: &str) {
        self.host.ip(&format!("link set far-{near} {state}"));
    }

    /// Takes the namespace away, and all that is in it. The kernel takes the wires away a little later.
    pub fn delete(self) {
        drop(self);
        wait_until("the wires are gone", || !NEAR_ENDS.iter().any(has_interface));
    }
}

fn has_interface(name: &&str) -> bool {
    try_ip(&format!("link show {name}"))
}
