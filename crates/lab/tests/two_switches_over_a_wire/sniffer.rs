//! A guest in user space on a mirror destination: it keeps all that it is given, and tshark says what that is.

use std::fs;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use helio_guest::{Guest, GuestConfig};
use helio_lab::{LabDir, Switch};

/// How long copies may take to arrive.
const PATIENCE: Duration = Duration::from_secs(30);

/// Pause of a sniffer that finds nothing.
const PAUSE: Duration = Duration::from_micros(100);

#[derive(Default)]
struct Shared {
    seen: AtomicUsize,
    stop: AtomicBool,
}

/// A guest that listens on a thread of its own.
pub(crate) struct Sniffer {
    shared: Arc<Shared>,
    thread: JoinHandle<Vec<Vec<u8>>>,
}

impl Sniffer {
    /// Joins a port, with room for all that a window of TCP may bring in one turn of a worker.
    pub(crate) fn join(switch: &Switch, port: &str) -> Self {
        let config = GuestConfig {
            ring_size: 8192,
            rx_buffer_bytes: 9216,
            ..GuestConfig::with_mac([2, 0, 0, 0, 0, 0x99])
        };
        let mut guest = Guest::connect(&switch.socket(port), config).unwrap();
        guest.start().unwrap();
        switch.wait_up(port).unwrap();
        let shared = Arc::new(Shared::default());
        let seen = Arc::clone(&shared);
        let thread = thread::spawn(move || listen(&mut guest, &seen));
        Self { shared, thread }
    }

    /// Leaves the port once it has had `count` frames.
    #[track_caller]
    pub(crate) fn leave_after(self, count: u64) -> Capture {
        let deadline = Instant::now() + PATIENCE;
        while (self.shared.seen.load(Ordering::Relaxed) as u64) < count {
            assert!(Instant::now() < deadline, "of {count} frames some did not come");
            thread::sleep(Duration::from_millis(5));
        }
        self.shared.stop.store(true, Ordering::Relaxed);
        Capture { frames: self.thread.join().unwrap() }
    }
}

fn listen(guest: &mut Guest, shared: &Shared) -> Vec<Vec<u8>> {
    let mut frames: Vec<Vec<u8>> = Vec::new();
    while !shared.stop.load(Ordering::Relaxed) {
        if guest.poll_once(|_, _, frame| frames.push(frame.to_vec())) == 0 {
            thread::sleep(PAUSE);
        }
        shared.seen.store(frames.len(), Ordering::Relaxed);
    }
    frames
}

/// Frames that were seen.
pub(crate) struct Capture {
    pub(crate) frames: Vec<Vec<u8>>,
}

impl Capture {
    /// The file, in the classic format of libpcap.
    fn bytes(&self) -> Vec<u8> {
        let word = |number: u32| number.to_le_bytes();
        let (version, ethernet) = ([2, 0, 4, 0], word(1));
        let head = [word(0xa1b2_c3d4), version, word(0), word(0), word(262_144), ethernet];
        let mut file = head.concat();
        for (second, frame) in (0..).zip(&self.frames) {
            let bytes = word(u32::try_from(frame.len()).unwrap());
            file.extend([word(second), word(0), bytes, bytes].concat());
            file.extend(frame);
        }
        file
    }

    /// What tshark prints of the frames that fit `filter`: these fields, one frame a line.
    pub(crate) fn tshark(&self, filter: &str, fields: &[&str]) -> Vec<String> {
        let dir = LabDir::new().unwrap();
        let file = dir.file("copies.pcap");
        fs::write(&file, self.bytes()).unwrap();
        let mut command = Command::new("tshark");
        command.arg("-nr").arg(&file).args(["-Y", filter, "-T", "fields", "-E", "separator=|"]);
        command.args(["-o", "ip.check_checksum:TRUE", "-o", "tcp.check_checksum:TRUE"]);
        command.args(fields.iter().flat_map(|field| ["-e", field]));
        let output = command.output().expect("tshark: run scripts/install-packages capture");
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "tshark failed: {errors}");
        String::from_utf8(output.stdout).unwrap().lines().map(str::to_owned).collect()
    }

    /// Every frame of TCP is there, with the tag of VLAN 10, as a wire with this MTU would show it.
    #[track_caller]
    pub(crate) fn assert_whole_and_right(&self, payload_bytes: u64, mtu: u64) {
        let longest = mtu + 18;
        let fields =
            ["tcp.len", "frame.len", "vlan.id", "ip.checksum.status", "tcp.checksum.status"];
        let segments = self.tshark("tcp", &fields);
        let mut payload = 0;
        for segment in &segments {
            let figures: Vec<u64> = segment.split('|').map(|text| text.parse().unwrap()).collect();
            payload += figures[0];
            assert!(figures[1] <= longest, "{segment}");
            // 1 is "good".
            assert_eq!(figures[2..], [10, 1, 1], "{segment}");
        }
        assert!(payload >= payload_bytes, "{payload} bytes in {} segments", segments.len());
        let missing = "tcp.analysis.lost_segment || tcp.analysis.ack_lost_segment || _ws.malformed";
        assert_eq!(self.tshark(missing, &["frame.number", "_ws.col.info"]), Vec::<String>::new());
    }
}
