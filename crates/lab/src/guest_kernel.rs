//! The kernel that guests boot: Debian's cloud kernel, unpacked into the cache folder by `scripts/install-packages`.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};

use crate::error::LabError;

/// How a person gets what the guests need.
pub(crate) const REMEDY: &str = "run scripts/install-packages qemu";

/// Modules for a virtio NIC and for VLAN tags, in the order in which they must be loaded.
const MODULES: [&str; 13] = [
    "virtio_ring",
    "virtio",
    "virtio_pci_legacy_dev",
    "virtio_pci_modern_dev",
    "virtio_pci",
    "failover",
    "net_failover",
    "virtio_net",
    "llc",
    "stp",
    "garp",
    "mrp",
    "8021q",
];

/// A kernel and the modules a guest loads.
#[derive(Debug)]
pub(crate) struct GuestKernel {
    /// The compressed kernel.
    pub(crate) image: PathBuf,
    /// The modules, in loading order.
    pub(crate) modules: Vec<PathBuf>,
}

impl GuestKernel {
    /// Finds the unpacked kernel in the cache folder.
    pub(crate) fn find() -> Result<Self, LabError> {
        let root = cache_folder().join("kernel");
        let image = entry_starting_with(&root.join("boot"), "vmlinuz-")
            .ok_or_else(|| missing(&root, "a guest kernel"))?;
        let found: Option<Vec<PathBuf>> = MODULES
            .iter()
            .map(|name| file_below(&root.join("lib/modules"), &format!("{name}.ko")))
            .collect();
        let modules = found.ok_or_else(|| missing(&root, "a kernel module"))?;
        Ok(Self { image, modules })
    }
}

/// Where kernel and guest image are kept between runs.
pub(crate) fn cache_folder() -> PathBuf {
    match env::var_os("HELIO_LAB_CACHE") {
        Some(folder) => PathBuf::from(folder),
        None => Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/lab-cache"),
    }
}

fn missing(root: &Path, what: &str) -> LabError {
    LabError::Missing { what: format!("{what} in {}", root.display()), remedy: REMEDY }
}

fn entry_starting_with(folder: &Path, prefix: &str) -> Option<PathBuf> {
    let entries = fs::read_dir(folder).ok()?;
    let mut paths = entries.flatten().map(|entry| entry.path());
    paths.find(|path| {
        path.file_name().is_some_and(|name| name.to_string_lossy().starts_with(prefix))
    })
}

fn file_below(folder: &Path, name: &str) -> Option<PathBuf> {
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).ok()?.flatten() {
            let kind = entry.file_type().ok()?;
            if kind.is_dir() {
                folders.push(entry.path());
            } else if entry.file_name() == name {
                return Some(entry.path());
            }
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lab_dir::LabDir;

    #[test]
    fn a_file_is_found_however_deep_it_lies() {
        let dir = LabDir::new().unwrap();
        fs::create_dir_all(dir.file("a/b/c")).unwrap();
        fs::write(dir.file("a/b/c/x.ko"), "").unwrap();
        assert_eq!(file_below(dir.path(), "x.ko"), Some(dir.file("a/b/c/x.ko")));
        assert_eq!(file_below(dir.path(), "y.ko"), None);
    }
}
