//! A collector of copies behind an uplink: the kernel at the far end of a wire, which answers for its addresses, and a reader
//! of what arrives there that shares nothing with the switch.

use std::time::{Duration, Instant};

use super::PATIENCE;
use super::station::SURPRISES;
use super::wire::{Card, give_address, lay_wire};

/// Addresses of the switch in the network of the collector, and of the collector.
pub const LOCAL: [&str; 2] = ["10.9.0.1/24", "fd09::1/64"];
pub const REMOTE: [&str; 2] = ["10.9.0.9", "fd09::9"];

/// The uplink towards the collector, in TOML. Nothing is forwarded there.
pub const UPLINK: &str =
    "[[port]]\nname = \"uplink0\"\ninterface = \"near\"\nvlan = { access = 4000 }\n";

/// The network that copies travel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Network {
    V4,
    V6,
}

/// What stands in front of a copy.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Form {
    Erspan1,
    Erspan2,
    Erspan3,
    Gre,
    Vxlan,
}

/// The copies of one destination.
pub type Stream = (Network, Form);

pub const NETWORKS: [Network; 2] = [Network::V4, Network::V6];
pub const FORMS: [Form; 5] = [Form::Erspan1, Form::Erspan2, Form::Erspan3, Form::Gre, Form::Vxlan];

pub fn all_streams() -> Vec<Stream> {
    NETWORKS.into_iter().flat_map(|network| FORMS.map(|form| (network, form))).collect()
}

impl Form {
    /// Its keys in a destination, all numbers different from those of the other forms.
    fn keys(self) -> &'static str {
        match self {
            Self::Erspan1 => "encapsulation = \"erspan-1\"",
            Self::Erspan2 => "encapsulation = \"erspan-2\"\nid = 702",
            Self::Erspan3 => {
                "encapsulation = \"erspan-3\"\nid = 703\nsecurity-group = 2748\nhardware-id = 41"
            }
            Self::Gre => "encapsulation = \"gre\"\nid = 704\nsequence = true",
            Self::Vxlan => "encapsulation = \"vxlan\"\nid = 705",
        }
    }

    /// Fields that are the same in each copy, as tshark calls them.
    pub fn fields(self) -> &'static [(&'static str, &'static str)] {
        match self {
            Self::Erspan1 => &[
                ("gre.proto", "0x88be"),
                ("gre.flags_and_version", "0x0000"),
                ("erspan.version", ""),
            ],
            Self::Erspan2 => &[
                ("gre.proto", "0x88be"),
                ("gre.flags_and_version", "0x1000"),
                ("erspan.version", "1"),
                ("erspan.spanid", "702"),
                ("erspan.reserved", "0"),
            ],
            Self::Erspan3 => &[
                ("gre.proto", "0x22eb"),
                ("gre.flags_and_version", "0x1000"),
                ("erspan.version", "2"),
                ("erspan.spanid", "703"),
                ("erspan.sgt", "2748"),
                ("erspan.p", "1"),
                ("erspan.ft", "0"),
                ("erspan.hw", "41"),
                ("erspan.gra", "1"),
                ("erspan.o", "1"),
                ("erspan.platid", "7"),
            ],
            Self::Gre => &[
                ("gre.proto", "0x6558"),
                ("gre.flags_and_version", "0x3000"),
                ("gre.key", "0x000002c0"),
            ],
            Self::Vxlan => {
                &[("udp.dstport", "4789"), ("vxlan.flags", "0x0800"), ("vxlan.vni", "705")]
            }
        }
    }
}

/// One `[[mirror.destination]]` for the collector, with more keys.
pub fn destination((network, form): Stream, more: &str) -> String {
    let (local, remote) = (LOCAL[network as usize], REMOTE[network as usize]);
    let way = format!("uplink = \"uplink0\"\nlocal = \"{local}\"\nremote = \"{remote}\"");
    format!("[[mirror.destination]]\n{way}\n{}\n{more}\n", form.keys())
}

/// Lays the wire "near" to "far", where the collector is.
#[track_caller]
pub fn lay_collector_wire(mtu: u32) -> Card {
    lay_wire("near", "far", mtu);
    give_collector_addresses("far");
    Card::on("far")
}

/// Gives the kernel the addresses of the collector.
#[track_caller]
pub fn give_collector_addresses(interface: &str) {
    for (address, prefix) in REMOTE.into_iter().zip(["24", "64"]) {
        give_address(interface, &format!("{address}/{prefix}"));
    }
}

/// The copies among frames that arrived at the collector.
pub fn arrived(frames: &[Vec<u8>]) -> Vec<Arrived> {
    frames.iter().filter_map(|frame| Arrived::read(frame)).collect()
}

/// Takes frames until `count` copies have come, and a little longer for those that should not.
pub fn collect_copies(far: &mut Card, count: usize) -> Vec<Arrived> {
    let mut copies = Vec::new();
    let deadline = Instant::now() + PATIENCE;
    while copies.len() < count && Instant::now() < deadline {
        copies.extend(arrived(&far.take()));
        std::thread::sleep(Duration::from_millis(1));
    }
    std::thread::sleep(SURPRISES);
    copies.extend(arrived(&far.take()));
    copies
}

/// A copy as it arrived at the collector.
#[derive(Clone, Debug)]
pub struct Arrived {
    pub stream: Stream,
    /// Its number, where the form has one.
    pub sequence: Option<u32>,
    /// The copy.
    pub copy: Vec<u8>,
    /// All of it.
    pub datagram: Vec<u8>,
}

fn half(bytes: &[u8], at: usize) -> usize {
    usize::from(u16::from_be_bytes([bytes[at], bytes[at + 1]]))
}

fn word(bytes: &[u8], at: usize) -> u32 {
    u32::from_be_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
}

impl Arrived {
    /// A frame that is a copy. Others are those of neighbours.
    pub fn read(frame: &[u8]) -> Option<Self> {
        let ip = if half(frame, 12) == 0x8100 { 18 } else { 14 };
        let (network, protocol, at, end) = match half(frame, ip - 2) {
            0x0800 => (Network::V4, frame[ip + 9], ip + 20, ip + half(frame, ip + 2)),
            0x86dd => (Network::V6, frame[ip + 6], ip + 40, ip + 40 + half(frame, ip + 4)),
            _ => return None,
        };
        let (form, skip, sequence) = match protocol {
            17 if half(frame, at + 2) == 4789 => (Form::Vxlan, 16, None),
            47 => Self::read_gre(&frame[at..])?,
            _ => return None,
        };
        let copy = frame[at + skip..end].to_vec();
        Some(Self { stream: (network, form), sequence, copy, datagram: frame.to_vec() })
    }

    fn read_gre(gre: &[u8]) -> Option<(Form, usize, Option<u32>)> {
        let (has_key, has_number) = (gre[0] & 0x20 != 0, gre[0] & 0x10 != 0);
        let number_at = if has_key { 8 } else { 4 };
        let header_bytes = number_at + if has_number { 4 } else { 0 };
        let sequence = has_number.then(|| word(gre, number_at));
        let (form, more) = match (half(gre, 2), has_number) {
            (0x88be, false) => (Form::Erspan1, 0),
            (0x88be, true) => (Form::Erspan2, 8),
            (0x22eb, _) => {
                let has_sub_header = gre[header_bytes + 11] & 1 == 1;
                (Form::Erspan3, if has_sub_header { 20 } else { 12 })
            }
            (0x6558, _) => (Form::Gre, 0),
            _ => return None,
        };
        Some((form, header_bytes + more, sequence))
    }
}

/// The same destination as the control socket takes it.
pub fn destination_json(stream: Stream, more: &str) -> serde_json::Value {
    let text = destination(stream, more);
    let pairs = text.lines().filter_map(|line| line.split_once(" = "));
    let entry = pairs.map(|(key, value)| {
        (key.replace('-', "_"), serde_json::from_str::<serde_json::Value>(value).unwrap())
    });
    serde_json::Value::Object(entry.collect())
}
