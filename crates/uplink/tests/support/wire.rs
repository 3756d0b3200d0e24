//! A wire of veth, and what goes over it.
//!
//! Each test lives in a network namespace without a name, which is gone when the test is, however it ends.

use std::process::Command;

/// A wire between `near` and `far`, in a network namespace of this thread.
pub struct Wire;

impl Wire {
    /// A wire with one queue at each end.
    pub fn new(mtu: u32) -> Self {
        Self::with_queues(mtu, 1)
    }

    pub fn with_queues(mtu: u32, queues: u32) -> Self {
        // SAFETY: this thread gets another network namespace, nothing else.
        assert_eq!(unsafe { libc::unshare(libc::CLONE_NEWNET) }, 0, "these tests need root");
        // No frames but those of the test.
        std::fs::write("/proc/sys/net/ipv6/conf/all/disable_ipv6", "1").ok();
        std::fs::write("/proc/sys/net/ipv6/conf/default/disable_ipv6", "1").ok();
        let wire = Self;
        wire.lay(mtu, queues);
        wire
    }

    /// Makes both ends, as after they were deleted.
    pub fn lay(&self, mtu: u32, queues: u32) {
        self.lay_between("near", "far", mtu, queues);
    }

    /// Makes another wire in the same namespace.
    pub fn lay_between(&self, near: &str, far: &str, mtu: u32, queues: u32) {
        let end = format!("numrxqueues {queues} numtxqueues {queues} mtu {mtu}");
        ip(&format!("link add {near} {end} type veth peer name {far} {end}"));
        ip(&format!("link set {near} up"));
        ip(&format!("link set {far} up"));
    }
}

/// Runs `ip` in the namespace of this thread.
pub fn ip(arguments: &str) -> String {
    let run = Command::new("ip").args(arguments.split(' ')).output().unwrap();
    assert!(run.status.success(), "ip {arguments}: {}", String::from_utf8_lossy(&run.stderr));
    String::from_utf8(run.stdout).unwrap()
}

/// A frame of `bytes` bytes that no other number makes.
pub fn frame(bytes: usize, number: u32) -> Vec<u8> {
    let mut frame = vec![0x52, 0x54, 0, 0, 0, 2, 0x52, 0x54, 0, 0, 0, 1, 0x88, 0xb5];
    frame.extend(number.to_be_bytes());
    let seed = number.wrapping_mul(2_654_435_761);
    let body = (0_u32..).map(|at| (at.wrapping_mul(31).wrapping_add(seed) >> 3).to_le_bytes()[0]);
    frame.extend(body.take(bytes.saturating_sub(frame.len())));
    frame.truncate(bytes);
    frame
}
