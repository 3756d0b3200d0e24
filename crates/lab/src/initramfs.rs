//! Writes an initramfs: a cpio archive in the "newc" form that the kernel unpacks into its root file system.
//!
//! Form: Linux, Documentation/driver-api/early-userspace/buffer-format.rst.

/// An initramfs that grows entry by entry.
#[derive(Debug, Default)]
pub(crate) struct Initramfs {
    bytes: Vec<u8>,
    entries: u32,
}

const FOLDER: u32 = 0o040_755;
const PROGRAM: u32 = 0o100_755;

impl Initramfs {
    /// Adds a folder; its parent must be there already. `name` has no slash in front.
    pub(crate) fn folder(&mut self, name: &str) {
        self.entry(name, FOLDER, &[]);
    }

    /// Adds a file that may be executed.
    pub(crate) fn program(&mut self, name: &str, content: &[u8]) {
        self.entry(name, PROGRAM, content);
    }

    /// The finished archive.
    pub(crate) fn finish(mut self) -> Vec<u8> {
        self.entry("TRAILER!!!", 0, &[]);
        self.bytes
    }

    fn entry(&mut self, name: &str, mode: u32, content: &[u8]) {
        self.entries += 1;
        // inode, mode, uid, gid, links, mtime, size, device (4 fields), length of the name with its NUL, checksum
        let fields: [usize; 13] = [
            self.entries as usize,
            mode as usize,
            0,
            0,
            1,
            0,
            content.len(),
            0,
            0,
            0,
            0,
            name.len() + 1,
            0,
        ];
        self.bytes.extend(b"070701");
        for field in fields {
            self.bytes.extend(format!("{field:08x}").bytes());
        }
        self.bytes.extend(name.bytes().chain([0]));
        self.pad();
        self.bytes.extend(content);
        self.pad();
    }

    fn pad(&mut self) {
        self.bytes.resize(self.bytes.len().next_multiple_of(4), 0);
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::process::Command;

    use super::*;
    use crate::lab_dir::LabDir;

    #[test]
    fn the_cpio_program_unpacks_what_we_wrote() {
        let dir = LabDir::new().unwrap();
        let mut archive = Initramfs::default();
        archive.folder("bin");
        archive.program("bin/odd", b"12345");
        archive.program("init", b"#!/bin/sh\n");
        fs::write(dir.file("archive"), archive.finish()).unwrap();
        let unpack = Command::new("sh")
            .args(["-c", "cpio -i --quiet <archive"])
            .current_dir(dir.path())
            .status()
            .unwrap();
        assert!(unpack.success());
        assert_eq!(fs::read(dir.file("bin/odd")).unwrap(), b"12345");
        assert_eq!(fs::read(dir.file("init")).unwrap(), b"#!/bin/sh\n");
    }
}
