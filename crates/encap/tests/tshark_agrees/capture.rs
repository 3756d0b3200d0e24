//! A capture file, and tshark's opinion about it.

use std::fs;
use std::io::ErrorKind;
use std::process::Command;

/// Frames as a collector captures them.
#[derive(Default)]
pub(crate) struct Capture {
    frames: Vec<Vec<u8>>,
}

impl Capture {
    pub(crate) fn push(&mut self, frame: Vec<u8>) {
        self.frames.push(frame);
    }

    /// The file, in the classic format of libpcap with microseconds.
    fn bytes(&self) -> Vec<u8> {
        let word = |number: u32| number.to_le_bytes();
        let version = [2, 0, 4, 0];
        let ethernet = word(1);
        let head = [word(0xa1b2_c3d4), version, word(0), word(0), word(262_144), ethernet];
        let mut file = head.concat();
        for (second, frame) in (0..).zip(&self.frames) {
            let bytes = word(u32::try_from(frame.len()).unwrap());
            file.extend([word(second), word(0), bytes, bytes].concat());
            file.extend(frame);
        }
        file
    }

    /// The values of `fields` in each frame, in the order of the frame, with commas between several of one name.
    pub(crate) fn fields(&self, fields: &[&str]) -> Vec<Vec<String>> {
        let options = ["-T", "fields", "-E", "separator=|", "-E", "aggregator=,"];
        let fields = fields.iter().flat_map(|field| ["-e", field]);
        let output = self.tshark(&options.into_iter().chain(fields).collect::<Vec<_>>());
        let lines = output.lines();
        lines.map(|line| line.split('|').map(str::to_owned).collect()).collect()
    }

    /// All that tshark finds strange, with wrong checksums.
    pub(crate) fn complaints(&self) -> String {
        self.tshark(&["-Y", "_ws.expert || _ws.malformed || _ws.unreassembled", "-V"])
    }

    fn tshark(&self, options: &[&str]) -> String {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("copies.pcap");
        fs::write(&file, self.bytes()).unwrap();
        let checks = ["-o", "ip.check_checksum:TRUE", "-o", "udp.check_checksum:TRUE"];
        let output =
            Command::new("tshark").arg("-nr").arg(&file).args(checks).args(options).output();
        let output = match output {
            Err(error) if error.kind() == ErrorKind::NotFound => {
                panic!("tshark is missing: run scripts/install-packages capture")
            }
            output => output.unwrap(),
        };
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "tshark failed: {errors}");
        String::from_utf8(output.stdout).unwrap()
    }
}
