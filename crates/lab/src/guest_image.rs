//! The disk-less image that guests boot: Debian's kernel, and an initramfs of busybox and the tools of the tests.
//!
//! The initramfs is built once and kept in the cache folder until one of its ingredients changes.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::error::LabError;
use crate::guest_kernel::{GuestKernel, REMEDY, cache_folder};
use crate::initramfs::Initramfs;

const INIT: &str = include_str!("guest_init.sh");
const TOOLS: [&str; 3] = ["tcpdump", "iperf3", "ethtool"];
const PROGRAM_FOLDERS: [&str; 4] = ["/usr/bin", "/usr/sbin", "/bin", "/sbin"];

/// Kernel and initramfs, ready to boot.
#[derive(Clone, Debug)]
pub struct GuestImage {
    pub(crate) kernel: PathBuf,
    pub(crate) initramfs: PathBuf,
}

impl GuestImage {
    /// The image from the cache folder, built first when it is not there or not up to date.
    ///
    /// # Errors
    ///
    /// When the kernel or a tool is missing, or the cache folder cannot be written.
    pub fn prepare() -> Result<Self, LabError> {
        let kernel = GuestKernel::find()?;
        let content = ingredients(&kernel)?;
        let initramfs = cache_folder().join("initramfs");
        let list = cache_folder().join("initramfs.list");
        let current = listing(&content)?;
        let old = fs::read_to_string(&list).unwrap_or_default();
        if old != current || !initramfs.exists() {
            replace(&initramfs, &build(&kernel, &content)?)?;
            replace(&list, current.as_bytes())?;
        }
        Ok(Self { kernel: kernel.image, initramfs })
    }
}

/// Path in the guest to path on this machine.
type Content = BTreeMap<String, PathBuf>;

fn ingredients(kernel: &GuestKernel) -> Result<Content, LabError> {
    let mut content = Content::new();
    content.insert("bin/busybox".to_owned(), program("busybox")?);
    for tool in TOOLS {
        let path = program(tool)?;
        for library in libraries(&path)? {
            content.insert(library.trim_start_matches('/').to_owned(), PathBuf::from(library));
        }
        content.insert(format!("bin/{tool}"), path);
    }
    for module in &kernel.modules {
        content.insert(format!("lib/modules/{}", file_name(module)), module.clone());
    }
    Ok(content)
}

fn build(kernel: &GuestKernel, content: &Content) -> Result<Vec<u8>, LabError> {
    let mut archive = Initramfs::default();
    for folder in folders(content) {
        archive.folder(&folder);
    }
    archive.program("init", INIT.as_bytes());
    let order: Vec<String> = kernel.modules.iter().map(|module| file_name(module)).collect();
    archive.program("lib/modules/order", order.join("\n").as_bytes());
    for (name, path) in content {
        let bytes = fs::read(path).map_err(LabError::io(format!("read {}", path.display())))?;
        archive.program(name, &bytes);
    }
    Ok(archive.finish())
}

/// Every folder of the guest, parents first.
fn folders(content: &Content) -> Vec<String> {
    let mut folders: Vec<String> =
        ["dev", "proc", "sys", "tmp", "run", "etc"].map(str::to_owned).to_vec();
    for name in content.keys() {
        folders.extend(
            name.match_indices('/').filter_map(|(at, _)| name.get(..at).map(str::to_owned)),
        );
    }
    // A parent is a prefix of its children, so it sorts before them.
    folders.sort();
    folders.dedup();
    folders
}

/// What the image is made of, with sizes and times: it changes when an ingredient does.
fn listing(content: &Content) -> Result<String, LabError> {
    let mut lines = vec![INIT.to_owned()];
    for (name, path) in content {
        let metadata =
            fs::metadata(path).map_err(LabError::io(format!("look at {}", path.display())))?;
        lines.push(format!("{name} {} {:?}", metadata.len(), metadata.modified().ok()));
    }
    Ok(lines.join("\n"))
}

/// Puts a new file in the place of an old one that a guest may be booting from.
fn replace(path: &Path, bytes: &[u8]) -> Result<(), LabError> {
    let mut new = path.as_os_str().to_owned();
    new.push(format!(".{}", std::process::id()));
    fs::write(&new, bytes)
        .and_then(|()| fs::rename(&new, path))
        .map_err(LabError::io(format!("write {}", path.display())))
}

fn program(name: &str) -> Result<PathBuf, LabError> {
    let candidates = PROGRAM_FOLDERS.iter().map(|folder| Path::new(folder).join(name));
    let mut present = candidates.filter(|path| path.exists());
    present.next().ok_or(LabError::Missing { what: format!("the program {name}"), remedy: REMEDY })
}

/// The shared libraries of a program, and its loader, as absolute paths.
fn libraries(program: &Path) -> Result<Vec<String>, LabError> {
    let output = Command::new("ldd").arg(program).output().map_err(LabError::io("run ldd"))?;
    let text = String::from_utf8_lossy(&output.stdout);
    Ok(text.split_whitespace().filter(|word| word.starts_with('/')).map(str::to_owned).collect())
}

fn file_name(path: &Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_libraries_of_a_program_are_its_loader_and_the_c_library() {
        let found = libraries(Path::new("/bin/sh")).unwrap();
        assert!(found.iter().any(|path| path.contains("libc.so")), "{found:?}");
        assert!(found.iter().any(|path| path.contains("ld-linux")), "{found:?}");
    }

    #[test]
    fn folders_come_before_what_lies_in_them() {
        let content = Content::from([("lib/x/y/file".to_owned(), PathBuf::new())]);
        let folders = folders(&content);
        let place = |name| folders.iter().position(|folder| folder == name).unwrap();
        assert!(place("lib") < place("lib/x") && place("lib/x") < place("lib/x/y"));
    }
}
