//! Hugepages for DPDK: enough free ones, and nothing of ours left in the mount.

use std::fs;
use std::path::Path;
use std::process::Command;

use crate::error::LabError;

const COUNT: &str = "/proc/sys/vm/nr_hugepages";
const MOUNT: &str = "/dev/hugepages";

/// Makes at least `wanted` hugepages of the default size free, and mounts their file system.
pub(crate) fn provide(wanted: u64) -> Result<(), LabError> {
    mount()?;
    let free = meminfo("HugePages_Free:")?;
    if free >= wanted {
        return Ok(());
    }
    let total = meminfo("HugePages_Total:")? + wanted - free;
    fs::write(COUNT, total.to_string())
        .map_err(LabError::io(format!("write {total} to {COUNT}")))?;
    if meminfo("HugePages_Free:")? < wanted {
        return Err(LabError::Missing {
            what: format!("room for {wanted} hugepages"),
            remedy: "free some memory",
        });
    }
    Ok(())
}

fn mount() -> Result<(), LabError> {
    let mounts = fs::read_to_string("/proc/mounts").map_err(LabError::io("read /proc/mounts"))?;
    if mounts.lines().any(|line| line.split(' ').nth(2) == Some("hugetlbfs")) {
        return Ok(());
    }
    fs::create_dir_all(Path::new(MOUNT)).map_err(LabError::io(format!("create {MOUNT}")))?;
    let output = Command::new("mount")
        .args(["-t", "hugetlbfs", "none", MOUNT])
        .output()
        .map_err(LabError::io("run mount"))?;
    if output.status.success() {
        return Ok(());
    }
    Err(LabError::Refused {
        command: format!("mount -t hugetlbfs none {MOUNT}"),
        answer: String::from_utf8_lossy(&output.stderr).into_owned(),
    })
}

fn meminfo(key: &str) -> Result<u64, LabError> {
    let text = fs::read_to_string("/proc/meminfo").map_err(LabError::io("read /proc/meminfo"))?;
    number_after(&text, key).ok_or(LabError::Unreadable { what: "/proc/meminfo", text })
}

fn number_after(text: &str, key: &str) -> Option<u64> {
    text.lines()
        .find_map(|line| line.strip_prefix(key))
        .and_then(|rest| rest.split_whitespace().next()?.parse().ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_is_read_behind_its_key() {
        let text = "HugePages_Total:     512\nHugePages_Free:       12\n";
        assert_eq!(number_after(text, "HugePages_Free:"), Some(12));
        assert_eq!(number_after(text, "Hugepagesize:"), None);
    }
}
