//! A neighbour on the underlay: what happens to it, in any order, with frames of any bytes and frames that are nearly right.
//!
//! Watched from outside: it becomes known only by an answer to a question asked a moment ago, and from the card that the
//! frame came from; questions are a second apart; answers go to who asked; a path MTU keeps its bounds; and a head that
//! holds less of a frame either is enough, or says that it is not.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::{Duration, Instant};

use helio_types::{MacAddr, VlanId};
use helio_underlay::{
    Carrier, Endpoint, EndpointSettings, IpNet, Neighbour, NeighbourState, Observed, Refusal,
    UnderlayTag,
};

use crate::Outcome;
use crate::input::Input;

const OWN_MAC: MacAddr = MacAddr([2, 0, 0, 0, 0, 1]);
const OWN_V4: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 1);
const PEER_V4: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 2);
const OWN_V6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1);
const PEER_V6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 2);
/// Copies that begin with zeros.
const GRE: Carrier = Carrier::Gre { first_word: [0; 4], key: None };
/// Steps of one input, so that it takes no time.
const MOST_STEPS: usize = 64;
/// Longest frame that is made of the input.
const MOST_BYTES: usize = 200;

/// Runs one input: first what the neighbour is, then what happens, step by step.
///
/// # Panics
///
/// When something does not hold.
pub fn run(data: &[u8]) -> Outcome {
    let mut input = Input::new(data);
    let mut outcome = Outcome::default();
    let kind = Kind::of(input.u8());
    let mut watch = Watch::new(kind);
    for _ in 0..MOST_STEPS {
        if input.is_empty() {
            break;
        }
        match input.u8() % 8 {
            0 => watch.now += Duration::from_millis(u64::from(input.u16()) * 16),
            1 => watch.turn(),
            2 => assert_eq!(watch.neighbour.use_mac(), watch.neighbour.mac()),
            3 => watch.neighbour.restart(),
            4 => {
                let bytes = usize::from(input.u8()).min(MOST_BYTES);
                watch.frame(input.bytes(bytes), &mut outcome);
            }
            _ => watch.frame(&kind.frame(&mut input), &mut outcome),
        }
        watch.check();
    }
    outcome
}

/// The settings that matter.
#[derive(Clone, Copy)]
struct Kind {
    is_v6: bool,
    is_tagged: bool,
    is_udp: bool,
}

impl Kind {
    fn of(byte: u8) -> Self {
        Self { is_v6: byte & 1 != 0, is_tagged: byte & 2 != 0, is_udp: byte & 4 != 0 }
    }

    fn ends(self) -> [IpAddr; 2] {
        if self.is_v6 { [OWN_V6.into(), PEER_V6.into()] } else { [OWN_V4.into(), PEER_V4.into()] }
    }

    fn least_mtu(self) -> u16 {
        if self.is_v6 { 1280 } else { 576 }
    }

    fn settings(self) -> EndpointSettings {
        let [own, remote] = self.ends();
        let tag = UnderlayTag { vlan: VlanId::new(5).unwrap(), priority: 3 };
        EndpointSettings {
            own_mac: OWN_MAC,
            own: IpNet::new(own, if self.is_v6 { 64 } else { 24 }).unwrap(),
            tag: self.is_tagged.then_some(tag),
            remote,
            gateway: None,
            carrier: if self.is_udp { Carrier::Udp { port: 4789 } } else { GRE },
            mtu_bytes: 1500,
        }
    }

    /// A frame that is right, but for a few bytes that the input may change.
    fn frame(self, input: &mut Input<'_>) -> Vec<u8> {
        let choice = input.u8();
        let mac = MacAddr([2, 0, 0, 0, 0, choice >> 5]);
        let mut frame = match (self.is_v6, choice & 3) {
            (false, 3) => self.too_big_v4(mac),
            (false, says) => self.arp(says, mac),
            (true, 3) => self.too_big_v6(mac),
            (true, says) => self.ndisc(says, mac),
        };
        for _ in 0..choice >> 2 & 3 {
            let (at, value) = (usize::from(input.u8()), input.u8());
            if let Some(byte) = frame.get_mut(at) {
                *byte = value;
            }
        }
        if self.is_v6 && choice & 16 == 0 {
            self.repair(&mut frame);
        }
        frame
    }

    fn ethernet(self, to: [u8; 6], from: MacAddr, kind: [u8; 2], rest: &[u8]) -> Vec<u8> {
        let tag: &[u8] = if self.is_tagged { &[0x81, 0, 0xa0, 5] } else { &[] };
        [&to[..], &from.0, tag, &kind, rest].concat()
    }

    /// An answer, an announcement or a question of the peer's.
    fn arp(self, says: u8, mac: MacAddr) -> Vec<u8> {
        let (operation, to, target) = match says {
            0 => (2, OWN_MAC.0, OWN_V4),
            1 => (1, [0xff; 6], PEER_V4),
            _ => (1, [0xff; 6], OWN_V4),
        };
        let sender = [&mac.0[..], &PEER_V4.octets()].concat();
        let target = [&OWN_MAC.0[..], &target.octets()].concat();
        let head = [0, 1, 8, 0, 6, 4, 0, operation];
        self.ethernet(to, mac, [8, 6], &[&head[..], &sender, &target].concat())
    }

    /// The same by neighbour discovery.
    fn ndisc(self, says: u8, mac: MacAddr) -> Vec<u8> {
        let all = ([0x33, 0x33, 0, 0, 0, 1], Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1));
        let group = ([0x33, 0x33, 0xff, 0, 0, 1], Ipv6Addr::new(0xff02, 0, 0, 0, 0, 1, 0xff00, 1));
        let (kind, flags, (to, destination), target, option) = match says {
            0 => (136, 0x60, (OWN_MAC.0, OWN_V6), PEER_V6, 2),
            1 => (136, 0x20, all, PEER_V6, 2),
            _ => (135, 0, group, OWN_V6, 1),
        };
        let head = [kind, 0, 0, 0, flags, 0, 0, 0];
        let message = [&head[..], &target.octets(), &[option, 1], &mac.0].concat();
        self.icmp_v6(to, mac, [PEER_V6, destination], 255, &message)
    }

    fn icmp_v6(
        self,
        to: [u8; 6],
        from: MacAddr,
        [source, destination]: [Ipv6Addr; 2],
        hops: u8,
        message: &[u8],
    ) -> Vec<u8> {
        let length = u8::try_from(message.len()).unwrap();
        let head = [0x60, 0, 0, 0, 0, length, 58, hops];
        let ends = [source.octets(), destination.octets()].concat();
        self.ethernet(to, from, [0x86, 0xdd], &[&head[..], &ends, message].concat())
    }

    fn carrier(self) -> (u8, [u8; 8]) {
        if self.is_udp { (17, [0xc0, 0, 0x12, 0xb5, 5, 0, 0, 0]) } else { (47, [0; 8]) }
    }

    /// A router that quotes a copy of 1500 bytes.
    fn too_big_v4(self, mac: MacAddr) -> Vec<u8> {
        let (protocol, payload) = self.carrier();
        let head = [0x45, 0, 5, 220, 0, 7, 0x40, 0, 60, protocol, 0, 0];
        let quote = [&head[..], &OWN_V4.octets(), &PEER_V4.octets(), &payload].concat();
        let mut message = [&[3, 4, 0, 0, 0, 0, 5, 120][..], &quote].concat();
        let sum = checksum(&message);
        message[2..4].copy_from_slice(&sum);
        let total = u8::try_from(20 + message.len()).unwrap();
        let head = [0x45, 0, 0, total, 0, 7, 0, 0, 60, 1, 0, 0];
        let mut header = [&head[..], &PEER_V4.octets(), &OWN_V4.octets()].concat();
        let sum = checksum(&header);
        header[10..12].copy_from_slice(&sum);
        self.ethernet(OWN_MAC.0, mac, [8, 0], &[header, message].concat())
    }

    fn too_big_v6(self, mac: MacAddr) -> Vec<u8> {
        let (protocol, payload) = self.carrier();
        let head = [0x60, 0, 0, 0, 5, 180, protocol, 60];
        let quote = [&head[..], &OWN_V6.octets(), &PEER_V6.octets(), &payload].concat();
        let message = [&[2, 0, 0, 0, 0, 0, 5, 120][..], &quote].concat();
        self.icmp_v6(OWN_MAC.0, mac, [PEER_V6, OWN_V6], 60, &message)
    }

    /// Puts the checksum of an ICMPv6 message right.
    fn repair(self, frame: &mut [u8]) {
        let ip = if self.is_tagged { 18 } else { 14 };
        let Some(datagram) = frame.get_mut(ip..).filter(|datagram| datagram.len() >= 44) else {
            return;
        };
        let length = usize::from(u16::from_be_bytes([datagram[4], datagram[5]]));
        if length < 4 || datagram.len() < 40 + length {
            return;
        }
        datagram[42..44].fill(0);
        let pseudo = [&datagram[8..40], &[0, 0], &datagram[4..6], &[0, 0, 0, 58]].concat();
        let sum = checksum(&[&pseudo, &datagram[40..40 + length]].concat());
        datagram[42..44].copy_from_slice(&sum);
    }
}

/// RFC 1071.
fn checksum(bytes: &[u8]) -> [u8; 2] {
    let word = |word: &[u8]| u32::from(word[0]) << 8 | u32::from(*word.get(1).unwrap_or(&0));
    let mut sum: u32 = bytes.chunks(2).map(word).sum();
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    (!u16::try_from(sum).unwrap()).to_be_bytes()
}

/// The neighbour, and what was seen of it.
struct Watch {
    neighbour: Neighbour,
    kind: Kind,
    now: Instant,
    /// When a question was asked last.
    asked: Option<Instant>,
    /// When the address that is known was taken.
    taken: Option<Instant>,
}

impl Watch {
    fn new(kind: Kind) -> Self {
        let neighbour = Neighbour::new(Endpoint::new(&kind.settings()).unwrap());
        Self { neighbour, kind, now: Instant::now(), asked: None, taken: None }
    }

    fn since(&self, then: Option<Instant>) -> Duration {
        self.now.duration_since(then.unwrap())
    }

    fn check(&self) {
        let state = self.neighbour.state();
        let is_unknown = matches!(state, NeighbourState::Incomplete | NeighbourState::Failed);
        assert_eq!(self.neighbour.mac().is_none(), is_unknown);
        assert!((self.kind.least_mtu()..=1500).contains(&self.neighbour.mtu_bytes()));
    }

    fn turn(&mut self) {
        let before = self.neighbour.mac();
        let question = self.neighbour.turn(self.now);
        let after = self.neighbour.mac();
        assert!(after == before || after.is_none(), "time alone teaches nothing");
        let Some(question) = question else { return };
        assert!(self.asked.is_none() || self.since(self.asked) >= Duration::from_secs(1));
        self.asked = Some(self.now);
        let to = MacAddr(*question.bytes().first_chunk().unwrap());
        assert!(after.is_none() && to.is_group() || after == Some(to));
        assert_eq!(question.bytes()[6..12], OWN_MAC.0);
    }

    fn frame(&mut self, frame: &[u8], outcome: &mut Outcome) {
        let before = self.neighbour.clone();
        let bytes = u32::try_from(frame.len()).unwrap();
        let seen = self.neighbour.observe(frame, bytes, self.now);
        match seen {
            Observed::Learned | Observed::Reply(_) | Observed::PathMtu(_) => outcome.accepted += 1,
            Observed::Refused(_) => outcome.refused += 1,
            Observed::NotOurs | Observed::Unchanged => {}
        }
        let source = frame.get(6..12).map(|source| MacAddr(source.try_into().unwrap()));
        self.check_change(&before, seen, source);
        let is_same = self.neighbour.mac() == before.mac();
        let is_path_same = self.neighbour.mtu_bytes() == before.mtu_bytes();
        match seen {
            Observed::NotOurs | Observed::Unchanged | Observed::Refused(_) => {
                assert!(is_same && is_path_same);
            }
            Observed::Learned => assert!(is_path_same && self.neighbour.mac() == source),
            Observed::PathMtu(mtu) => assert!(is_same && self.neighbour.mtu_bytes() == mtu),
            Observed::Reply(reply) => {
                let to = MacAddr(*reply.bytes().first_chunk().unwrap());
                assert!(Some(to) == source || to == MacAddr([0x33, 0x33, 0, 0, 0, 1]));
                assert_eq!(reply.bytes()[6..12], OWN_MAC.0);
            }
        }
        assert!(seen == Observed::NotOurs || self.neighbour.endpoint().may_concern(frame));
        for cut in 0..frame.len() {
            let less = before.clone().observe(&frame[..cut], bytes, self.now);
            let is_short = less == Observed::Refused(Refusal::HeaderLong);
            // What is not here is not summed up.
            let is_unchecked = seen == Observed::Refused(Refusal::Checksum);
            assert!(is_short || is_unchecked || less == seen || less == Observed::NotOurs, "{cut}");
        }
    }

    /// Whether the neighbour may be where it is now, after a frame from `source`.
    fn check_change(&mut self, before: &Neighbour, seen: Observed, source: Option<MacAddr>) {
        if self.neighbour.mac() == before.mac() {
            return;
        }
        let mac = self.neighbour.mac().unwrap();
        assert!(Some(mac) == source && !mac.is_group() && mac != OWN_MAC && mac.to_u64() != 0);
        if before.mac().is_none() {
            assert!(self.since(self.asked) <= Duration::from_secs(3) && seen == Observed::Learned);
        } else if before.state() != NeighbourState::Probe {
            assert!(self.since(self.taken) >= Duration::from_secs(1));
            assert_eq!(self.neighbour.state(), NeighbourState::Stale);
        }
        self.taken = Some(self.now);
    }
}
