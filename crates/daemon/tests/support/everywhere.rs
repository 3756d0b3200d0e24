//! A switch with ports of every kind, and one session that sends its copies to destinations of every kind.
//!
//! Ports hand on tags as they are, so that a copy has the bytes of the frame, whichever way it was seen.

use std::net::UdpSocket;

use helio_api::PortState;
use serde_json::{Value, json};

use super::collector::{Arrived, Stream, UPLINK, all_streams, destination, lay_collector_wire};
use super::station::{Station, number_of, numbered};
use super::switch::{Placement, Plan, TestSwitch};
use super::wire::{Card, enter_namespace, ip, lay_wire};
use super::{PATIENCE, wait_until};

/// Who sends and receives, and the number of the port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Who {
    /// Guests on VM ports.
    Alice = 0,
    Bob = 1,
    /// Behind an uplink.
    Side = 3,
    /// Behind a TAP.
    Host = 4,
    /// Another switch, whose stream arrives at a decap port.
    Remote = 8,
}

pub const STATIONS: [Who; 4] = [Who::Alice, Who::Bob, Who::Side, Who::Host];

impl Who {
    pub fn mac(self) -> [u8; 6] {
        [0x52, 0x54, 0, 0, 0, self as u8 + 1]
    }

    pub fn mac_text(self) -> String {
        format!("52:54:00:00:00:{:02x}", self as u8 + 1)
    }
}

/// Frames of one sender to one receiver.
#[derive(Clone, Copy, Debug)]
pub struct Flow {
    pub from: Who,
    pub to: Who,
    pub tci: Option<u16>,
}

impl Flow {
    pub fn vlan(&self) -> u16 {
        self.tci.map_or(NATIVE, |tci| tci & 0xfff)
    }
}

const fn flow(from: Who, to: Who, tci: Option<u16>) -> Flow {
    Flow { from, to, tci }
}

/// Priority 5 on VLAN 10.
pub const TEN: Option<u16> = Some(5 << 13 | 10);
const TWENTY: Option<u16> = Some(20);
/// VLAN of untagged frames.
const NATIVE: u16 = 5;
/// All ports but that towards the collector: whatever its network says of itself goes to nobody.
const VLANS: &str = "vlan = { trunk = [10, 20], native = 5 }";

/// All that is sent while copies are watched.
pub const FLOWS: [Flow; 12] = [
    flow(Who::Alice, Who::Bob, None),
    flow(Who::Bob, Who::Alice, None),
    flow(Who::Alice, Who::Bob, TEN),
    flow(Who::Bob, Who::Alice, TEN),
    flow(Who::Alice, Who::Bob, TWENTY),
    flow(Who::Side, Who::Bob, None),
    flow(Who::Bob, Who::Side, TEN),
    flow(Who::Host, Who::Bob, TEN),
    flow(Who::Bob, Who::Host, None),
    flow(Who::Alice, Who::Host, None),
    flow(Who::Remote, Who::Alice, TWENTY),
    flow(Who::Remote, Who::Bob, TEN),
];

/// Lengths of the frames of each flow. The longest copy fits a path of 1500 bytes with the longest outer headers.
const LENGTHS: [usize; 4] = [64, 128, 131, 1400];

/// VLAN of the RSPAN destination.
pub const RSPAN: u16 = 999;

/// One frame that was sent.
#[derive(Clone, Debug)]
pub struct Sent {
    pub flow: Flow,
    pub bytes: Vec<u8>,
}

/// Everything together.
pub struct Everywhere {
    pub switch: TestSwitch,
    pub streams: Vec<Stream>,
    alice: Station,
    bob: Station,
    side: Station,
    host: Station,
    sniffer: Station,
    span: Card,
    watch: Card,
    far: Card,
    /// Interfaces of the kernel that take its VXLAN copies apart, over IPv4 and over IPv6.
    vxlan: [Card; 2],
    remote: UdpSocket,
    next_number: u32,
}

/// What was seen at each place since the last time, but for frames without a number or with number 0.
#[derive(Clone, Debug, Default)]
pub struct Seen {
    pub sniffer: Vec<Vec<u8>>,
    pub watch: Vec<Vec<u8>>,
    pub span: Vec<Vec<u8>>,
    pub rspan: Vec<Vec<u8>>,
    pub far: Vec<Arrived>,
    pub vxlan: [Vec<Vec<u8>>; 2],
    /// By `STATIONS`.
    pub stations: [Vec<Vec<u8>>; 4],
}

fn ports() -> String {
    let station = |name: &str, what: &str, who: Who| {
        let mac = who.mac_text();
        format!("[[port]]\nname = \"{name}\"\n{what}\n{VLANS}\nstatic-mac = [\"{mac}\"]\n")
    };
    let watcher =
        |name: &str, what: &str| format!("[[port]]\nname = \"{name}\"\n{what}\n{VLANS}\n");
    [
        &station("side", "interface = \"side\"", Who::Side),
        &station("host", "tap = \"helio1\"\nmtu = 1500", Who::Host),
        &watcher("span", "interface = \"span\""),
        &watcher("watch", "tap = \"helio0\"\nmtu = 1500"),
        UPLINK,
        "[[port]]\nname = \"remote0\"\ndecap = { uplink = \"uplink0\", local = \"10.9.0.2/24\" }\n",
    ]
    .concat()
}

/// The session, which watches nothing that anybody sends until it is told to.
fn session(streams: &[Stream]) -> String {
    let local = "[[mirror.destination]]\nport = ";
    let mut text = "[[mirror]]\nname = \"all\"\nsource-labels = [\"nobody\"]\n".to_owned();
    for port in ["\"sniffie\"", "\"watch\"", "\"span\"", "\"span\"\nrspan-vlan = 999"] {
        text.push_str(&format!("{local}{port}\n"));
    }
    for stream in streams {
        text.push_str(&destination(*stream, "dscp = 10\nttl = 61"));
    }
    text
}

impl Everywhere {
    #[track_caller]
    pub fn start(placement: Placement) -> Self {
        enter_namespace();
        let far = lay_collector_wire(1500);
        lay_wire("side", "side-far", 1500);
        lay_wire("span", "span-far", 1500);
        let vxlan = [("vx4", "10.9.0.9"), ("vx6", "fd09::9")].map(|(name, local)| {
            ip(&format!("link add {name} type vxlan id 705 dev far local {local} dstport 4789"));
            ip(&format!("link set {name} up"));
            Card::on(name)
        });
        let streams = all_streams();
        let switch = Plan::new(placement)
            .port("alice", &format!("labels = [\"sql\"]\n{VLANS}"))
            .port("bob", VLANS)
            .port("sniffie", VLANS)
            .more(&ports())
            .more(&session(&streams))
            .start();
        for port in ["side", "span", "uplink0", "host", "watch"] {
            switch.wait_state(port, PortState::Up);
        }
        let [alice, bob, sniffer] =
            ["alice", "bob", "sniffie"].map(|name| Station::guest(switch.guest(name)));
        let [side, host] = ["side-far", "helio1"].map(|name| Station::Card(Card::on(name)));
        let (span, watch) = (Card::on("span-far"), Card::on("helio0"));
        let remote = UdpSocket::bind("10.9.0.9:0").unwrap();
        remote.connect("10.9.0.2:4789").unwrap();
        let next_number = 1;
        let mut all = Self {
            switch,
            streams,
            alice,
            bob,
            side,
            host,
            sniffer,
            span,
            watch,
            far,
            vxlan,
            remote,
            next_number,
        };
        all.switch.wait_collectors("all");
        all.introduce();
        all
    }

    fn station(&mut self, who: Who) -> &mut Station {
        match who {
            Who::Alice => &mut self.alice,
            Who::Bob => &mut self.bob,
            Who::Side => &mut self.side,
            Who::Host | Who::Remote => &mut self.host,
        }
    }

    /// Lets everybody be known in every VLAN, so that nothing is flooded.
    fn introduce(&mut self) {
        for tci in [None, TEN, TWENTY] {
            for who in STATIONS {
                let frame = numbered(who.mac(), [0xff; 6], tci, 0, 64);
                self.station(who).send(&frame);
            }
        }
        wait_until("everybody is known everywhere", || {
            let answer = self.switch.control().request("GET", "/v1/fdb", "");
            let known = answer.json();
            let is_known = |who: &Who, vlan: u16| {
                let is_it = |entry: &Value| entry["mac"] == who.mac_text() && entry["vlan"] == vlan;
                known.as_array().unwrap().iter().any(is_it)
            };
            STATIONS.iter().all(|who| [NATIVE, 10, 20].iter().all(|vlan| is_known(who, *vlan)))
        });
    }

    /// Lets the session watch this and nothing else.
    #[track_caller]
    pub fn watch(&self, sources: &Value, direction: &str) {
        let mut settings = json!({
            "source_ports": [], "source_labels": [], "source_vlans": [], "source_macs": [],
            "direction": direction
        });
        for (key, value) in sources.as_object().unwrap() {
            settings[key] = value.clone();
        }
        self.switch.change_session("all", &settings);
    }

    /// Sends a few frames of each flow.
    #[track_caller]
    pub fn send(&mut self) -> Vec<Sent> {
        let mut all = Vec::new();
        for length in LENGTHS {
            for flow in FLOWS {
                let number = self.next_number;
                self.next_number += 1;
                let bytes = numbered(flow.from.mac(), flow.to.mac(), flow.tci, number, length);
                self.send_frame(flow, &bytes);
                all.push(Sent { flow, bytes });
            }
        }
        all
    }

    #[track_caller]
    fn send_frame(&mut self, flow: Flow, frame: &[u8]) {
        if flow.from == Who::Remote {
            let vxlan = [&[8, 0, 0, 0, 0, 0, 9, 0][..], frame].concat();
            self.remote.send(&vxlan).unwrap();
        } else {
            self.station(flow.from).send(frame);
        }
    }

    /// All that arrives until `done`, and a little longer for what should not come.
    pub fn see(&mut self, done: impl Fn(&Seen) -> bool) -> Seen {
        let mut seen = Seen::default();
        let deadline = std::time::Instant::now() + PATIENCE;
        while !done(&seen) && std::time::Instant::now() < deadline {
            self.look(&mut seen);
            std::thread::sleep(std::time::Duration::from_millis(1));
        }
        for _ in 0..20 {
            self.look(&mut seen);
            std::thread::sleep(std::time::Duration::from_millis(1));
        }
        seen
    }

    fn look(&mut self, seen: &mut Seen) {
        let numbered = |frame: &Vec<u8>| number_of(frame).is_none_or(|number| number > 0);
        let keep = |into: &mut Vec<Vec<u8>>, frames: Vec<Vec<u8>>| {
            into.extend(frames.into_iter().filter(numbered));
        };
        keep(&mut seen.sniffer, self.sniffer.take());
        keep(&mut seen.watch, self.watch.take());
        let is_rspan = |frame: &Vec<u8>| {
            frame[12..14] == [0x81, 0]
                && u16::from_be_bytes([frame[14], frame[15]]) & 0xfff == RSPAN
        };
        let (rspan, span) = self.span.take().into_iter().partition(is_rspan);
        keep(&mut seen.span, span);
        keep(&mut seen.rspan, rspan);
        let arrived = self.far.take();
        let copies = arrived.iter().filter_map(|frame| Arrived::read(frame));
        seen.far.extend(copies.filter(|arrived| numbered(&arrived.copy)));
        for (into, card) in seen.vxlan.iter_mut().zip(&mut self.vxlan) {
            keep(into, card.take());
        }
        for (into, who) in seen.stations.iter_mut().zip(STATIONS) {
            keep(into, self.station(who).take());
        }
    }
}
