//! A capture file, and which of its frames tcpdump wants.

use std::collections::BTreeSet;
use std::fs;
use std::io::ErrorKind;
use std::process::Command;

use tempfile::TempDir;

/// A file of frames. Each has its number for a time, by which it is known again.
pub(crate) struct Capture {
    folder: TempDir,
}

impl Capture {
    pub(crate) fn of(frames: &[Vec<u8>]) -> Self {
        let word = |number: usize| u32::try_from(number).unwrap().to_le_bytes();
        let head = [word(0xa1b2_c3d4), [2, 0, 4, 0], word(0), word(0), word(262_144), word(1)];
        let mut file = head.concat();
        for (index, frame) in frames.iter().enumerate() {
            file.extend([word(index), word(0), word(frame.len()), word(frame.len())].concat());
            file.extend(frame);
        }
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("all.pcap"), file).unwrap();
        Self { folder }
    }

    /// The numbers of the frames that tcpdump writes when it is given `filter`.
    pub(crate) fn wanted(&self, filter: &str) -> BTreeSet<usize> {
        let mut command = Command::new("tcpdump");
        command.arg("-r").arg(self.folder.path().join("all.pcap")).args(["-w", "-", filter]);
        let output = match command.output() {
            Err(error) if error.kind() == ErrorKind::NotFound => {
                panic!("tcpdump is missing: run scripts/install-packages capture")
            }
            output => output.unwrap(),
        };
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{filter}: {errors}");
        let word = |at: &[u8]| u32::from_le_bytes(*at.first_chunk().unwrap()) as usize;
        let (mut numbers, mut left) = (BTreeSet::new(), &output.stdout[24..]);
        while !left.is_empty() {
            assert!(numbers.insert(word(left)));
            left = &left[16 + word(&left[8..])..];
        }
        numbers
    }
}
