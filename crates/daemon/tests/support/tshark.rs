//! Frames as tshark, an independent reader, takes them apart.

use std::fs;
use std::process::Command;

/// Frames in the order they were captured, under names that say where they came from.
#[derive(Default)]
pub struct Decoder {
    frames: Vec<Vec<u8>>,
}

/// What tshark said of one frame.
#[derive(Clone, Debug)]
pub struct Decoded {
    names: Vec<String>,
    values: Vec<String>,
}

/// What a dissector finds worth a warning; below are remarks. Wireshark, epan/proto.h: `PI_WARN`.
const WARNING: u64 = 0x0060_0000;

impl Decoder {
    pub fn push(&mut self, frame: &[u8]) {
        self.frames.push(frame.to_vec());
    }

    /// The file, in the classic format of libpcap with microseconds.
    fn file(&self) -> Vec<u8> {
        let word = |number: u32| number.to_le_bytes();
        let version = [2, 0, 4, 0];
        let ethernet = word(1);
        let head = [word(0xa1b2_c3d4), version, word(0), word(0), word(262_144), ethernet];
        let mut file = head.concat();
        for (second, frame) in (0..).zip(&self.frames) {
            let bytes = word(frame.len() as u32);
            file.extend([word(second), word(0), bytes, bytes].concat());
            file.extend(frame);
        }
        file
    }

    /// The values of `names` in each frame, in the order of the frames, once tshark has found nothing strange in any.
    #[track_caller]
    pub fn decode(&self, names: &[&str]) -> Vec<Decoded> {
        let expert = ["_ws.expert.severity", "_ws.expert.message", "_ws.malformed"];
        let all: Vec<_> = expert.iter().chain(names).copied().collect();
        let output = self.tshark(&all);
        let rows: Vec<Vec<String>> =
            output.lines().map(|line| line.split('|').map(str::to_owned).collect()).collect();
        assert_eq!(rows.len(), self.frames.len(), "tshark knows each frame");
        for (row, frame) in rows.iter().zip(&self.frames) {
            let severities = row[0].split(',').filter(|text| !text.is_empty());
            let worst = severities.map(|text| text.parse::<u64>().unwrap()).max().unwrap_or(0);
            assert!(worst < WARNING && row[2].is_empty(), "{:?} about {frame:02x?}", &row[..3]);
        }
        let names: Vec<_> = names.iter().map(|name| (*name).to_owned()).collect();
        let decoded =
            |row: Vec<String>| Decoded { names: names.clone(), values: row[3..].to_vec() };
        rows.into_iter().map(decoded).collect()
    }

    fn tshark(&self, fields: &[&str]) -> String {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("copies.pcap");
        fs::write(&file, self.file()).unwrap();
        let mut tshark = Command::new("tshark");
        tshark.arg("-nr").arg(&file).args(["-o", "ip.check_checksum:TRUE"]);
        tshark.args(["-o", "udp.check_checksum:TRUE", "-T", "fields"]);
        tshark.args(["-E", "separator=|", "-E", "aggregator=,"]);
        tshark.args(fields.iter().flat_map(|field| ["-e", field]));
        let output = tshark.output().expect("tshark: scripts/install-packages capture");
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "tshark failed: {errors}");
        String::from_utf8(output.stdout).unwrap()
    }
}

impl Decoded {
    /// All values of a field, outer ones first, with commas between them.
    #[track_caller]
    pub fn get(&self, name: &str) -> &str {
        &self.values[self.names.iter().position(|known| known == name).unwrap()]
    }

    /// The value of a field that is there once, or is the outer one.
    #[track_caller]
    pub fn number(&self, name: &str) -> u64 {
        let text = self.get(name).split(',').next().unwrap();
        let number = match text.strip_prefix("0x") {
            Some(digits) => u64::from_str_radix(digits, 16),
            None => text.parse(),
        };
        number.unwrap_or_else(|_| panic!("{name} is {text:?}"))
    }

    #[track_caller]
    pub fn assert(&self, fields: &[(&str, &str)]) {
        for (name, value) in fields {
            assert_eq!(self.get(name), *value, "{name}");
        }
    }
}
