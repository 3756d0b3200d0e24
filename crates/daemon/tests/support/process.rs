//! What this process holds: descriptors, mappings of guest memory, memory of its own.

use std::fs;

/// Descriptors that are open.
pub fn open_files() -> usize {
    // The folder itself is open while it is read.
    fs::read_dir("/proc/self/fd").unwrap().count() - 1
}

/// Mappings of guest memory: the guests' own, and those of the switch.
pub fn guest_mappings() -> usize {
    let maps = fs::read_to_string("/proc/self/maps").unwrap();
    maps.lines().filter(|line| line.contains("guest-memory")).count()
}

/// All mappings.
pub fn mappings() -> usize {
    fs::read_to_string("/proc/self/maps").unwrap().lines().count()
}

/// Threads of ports and of their sessions.
pub fn port_threads() -> usize {
    let threads = fs::read_dir("/proc/self/task").unwrap();
    let is_of_port = |name: &String| name.starts_with("port ") || name.starts_with("session ");
    // A thread may end while it is looked at.
    let names = threads.filter_map(|task| fs::read_to_string(task.ok()?.path().join("comm")).ok());
    names.filter(is_of_port).count()
}

/// Memory in use, in bytes.
pub fn resident_bytes() -> u64 {
    let statm = fs::read_to_string("/proc/self/statm").unwrap();
    statm.split(' ').nth(1).unwrap().parse::<u64>().unwrap() * 4096
}
