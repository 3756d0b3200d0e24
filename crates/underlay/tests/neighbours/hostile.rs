//! Frames of any bytes, most of them nearly right, at any time: what must hold whatever they say.

use std::time::{Duration, Instant};

use helio_types::MacAddr;
use helio_underlay::{Neighbour, NeighbourState, Observed, Refusal};
use proptest::collection::vec;
use proptest::prelude::*;

use crate::wire::{Ipv4, checksum, ethernet, icmp4, icmp6, ipv4};
use crate::world::{
    ALL_NODES_MAC, BOTH, OTHER_MAC, OTHER4, OTHER6, OWN_MAC, OWN4, OWN6, PEER_MAC, PEER4, PEER6,
    Says, Version, World,
};

/// One thing that happens.
#[derive(Clone, Debug)]
enum Event {
    Pass(u64),
    Turn,
    Copy,
    Restart,
    Frame(Vec<u8>),
}

fn too_big(version: Version) -> Vec<u8> {
    match version {
        Version::V4 => {
            let ip = |source, destination, protocol| {
                let total = (protocol == 47).then_some(1500);
                Ipv4 { source, destination, protocol, fragment: 0x4000, total }
            };
            let message = icmp4(3, 4, 1400, &ipv4(ip(OWN4, PEER4, 47), &[0; 8]));
            ethernet(OWN_MAC, OTHER_MAC, 0x0800, &ipv4(ip(OTHER4, OWN4, 1), &message))
        }
        Version::V6 => {
            let quote = [0x60, 0, 0, 0, 5, 180, 47, 60];
            let ends = [OWN6.octets(), PEER6.octets()].concat();
            let message = [&[2, 0, 0, 0, 0, 0, 5, 120][..], &quote, &ends, &[0; 8]].concat();
            ethernet(OWN_MAC, OTHER_MAC, 0x86dd, &icmp6(OTHER6, OWN6, 60, &message))
        }
    }
}

/// The frame with the checksum of its ICMPv6 message, if it has one, put right.
fn repaired(mut frame: Vec<u8>) -> Vec<u8> {
    if frame.len() < 58 || frame[12..14] != [0x86, 0xdd] {
        return frame;
    }
    let length = usize::from(u16::from_be_bytes([frame[18], frame[19]]));
    let Some(message) = frame.get(54..54 + length).filter(|message| message.len() >= 4) else {
        return frame;
    };
    let mut message = message.to_vec();
    message[2..4].fill(0);
    let pseudo = [&frame[22..54], &[0, 0], &frame[18..20], &[0, 0, 0, 58], &message].concat();
    frame[56..58].copy_from_slice(&checksum(&pseudo).to_be_bytes());
    frame
}

fn nearly_right(version: Version) -> impl Strategy<Value = Vec<u8>> {
    let macs = prop::sample::select(vec![PEER_MAC, OTHER_MAC, OWN_MAC, MacAddr([3; 6])]);
    let frame = (0..4, macs).prop_map(move |(kind, mac)| match kind {
        0 => version.frame(Says::Answer(mac)),
        1 => version.frame(Says::Announce(mac)),
        2 => version.frame(Says::Ask(mac)),
        _ => too_big(version),
    });
    let patches = vec((any::<prop::sample::Index>(), any::<u8>()), 0..3);
    (frame, patches, any::<bool>(), prop::option::weighted(0.1, any::<prop::sample::Index>()))
        .prop_map(|(mut frame, patches, repair, cut)| {
            for (at, value) in patches {
                let at = at.index(frame.len());
                frame[at] = value;
            }
            if let Some(cut) = cut {
                frame.truncate(cut.index(frame.len()));
            }
            if repair { repaired(frame) } else { frame }
        })
}

fn event(version: Version) -> impl Strategy<Value = Event> {
    prop_oneof![
        2 => (0_u64..4000).prop_map(Event::Pass),
        1 => (0_u64..700_000).prop_map(Event::Pass),
        3 => Just(Event::Turn),
        1 => Just(Event::Copy),
        1 => Just(Event::Restart),
        1 => vec(any::<u8>(), 0..140).prop_map(Event::Frame),
        8 => nearly_right(version).prop_map(Event::Frame),
    ]
}

/// A world that is watched.
struct Watch {
    world: World,
    /// When a question was asked last.
    asked: Option<Instant>,
    /// When the address that is known was taken.
    taken: Option<Instant>,
}

impl Watch {
    fn happen(&mut self, event: &Event) {
        match event {
            Event::Pass(milliseconds) => self.world.pass(*milliseconds),
            Event::Copy => assert_eq!(self.world.neighbour.use_mac(), self.world.neighbour.mac()),
            Event::Restart => self.restart(),
            Event::Turn => self.turn(),
            Event::Frame(frame) => self.frame(frame),
        }
        let state = self.world.neighbour.state();
        let is_unknown = matches!(state, NeighbourState::Incomplete | NeighbourState::Failed);
        assert_eq!(self.world.neighbour.mac().is_none(), is_unknown);
        let least = if self.world.version == Version::V4 { 576 } else { 1280 };
        assert!((least..=1500).contains(&self.world.neighbour.mtu_bytes()));
    }

    fn restart(&mut self) {
        let known = self.world.neighbour.mac();
        self.world.neighbour.restart();
        assert_eq!(self.world.neighbour.mac(), known);
    }

    fn turn(&mut self) {
        let before = self.world.neighbour.mac();
        let question = self.world.turn();
        let (now, after) = (self.world.now, self.world.neighbour.mac());
        assert!(after == before || after.is_none(), "time alone teaches nothing");
        let Some(question) = question else { return };
        let second = Duration::from_secs(1);
        assert!(self.asked.is_none_or(|asked| now.duration_since(asked) >= second));
        self.asked = Some(now);
        let (to, rest) = question.bytes().split_first_chunk::<6>().unwrap();
        assert!(after.is_none() && to[0] & 1 == 1 || after == Some(MacAddr(*to)));
        assert_eq!(rest[..6], OWN_MAC.0);
    }

    fn frame(&mut self, frame: &[u8]) {
        let (now, before) = (self.world.now, self.world.neighbour.clone());
        let seen = self.world.see(frame);
        let after = &self.world.neighbour;
        let source = frame.get(6..12).map(|source| MacAddr(source.try_into().unwrap()));
        if !after.endpoint().may_concern(frame) {
            assert_eq!(seen, Observed::NotOurs);
        }
        if after.mac() != before.mac() {
            let mac = after.mac().unwrap();
            assert!(Some(mac) == source && !mac.is_group() && mac != OWN_MAC && mac.to_u64() != 0);
            if before.mac().is_none() {
                let waited = now.duration_since(self.asked.unwrap());
                assert!(waited <= Duration::from_secs(3) && seen == Observed::Learned);
            } else if before.state() != NeighbourState::Probe {
                assert!(now.duration_since(self.taken.unwrap()) >= Duration::from_secs(1));
                assert_eq!(after.state(), NeighbourState::Stale);
            }
            self.taken = Some(now);
        }
        assert!(after.mac().is_some() || before.mac().is_none(), "no frame makes us forget");
        let is_same = (after.mac(), after.mtu_bytes()) == (before.mac(), before.mtu_bytes());
        match seen {
            Observed::NotOurs | Observed::Unchanged => assert!(is_same),
            Observed::Refused(_) => {
                assert!(is_same && after.state() == before.state());
            }
            Observed::Learned => assert_eq!(after.mac(), source),
            Observed::PathMtu(bytes) => assert_eq!(after.mtu_bytes(), bytes),
            Observed::Reply(reply) => {
                let (to, rest) = reply.bytes().split_first_chunk::<6>().unwrap();
                assert!(Some(MacAddr(*to)) == source || *to == ALL_NODES_MAC.0);
                assert_eq!(rest[..6], OWN_MAC.0);
            }
        }
        self.assert_less_says_nothing_else(&before, frame, seen);
    }

    /// A head that holds less of a frame either is enough, or says so.
    fn assert_less_says_nothing_else(&self, before: &Neighbour, frame: &[u8], seen: Observed) {
        let bytes = u32::try_from(frame.len()).unwrap();
        for cut in 0..frame.len() {
            let less = before.clone().observe(&frame[..cut], bytes, self.world.now);
            let is_short = less == Observed::Refused(Refusal::HeaderLong);
            let is_unchecked = seen == Observed::Refused(Refusal::Checksum);
            assert!(is_short || is_unchecked || less == seen || less == Observed::NotOurs, "{cut}");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, ..ProptestConfig::default() })]

    #[test]
    fn whatever_arrives_the_rules_hold(
        (version, script) in prop::sample::select(BOTH.to_vec())
            .prop_flat_map(|version| (Just(version), vec(event(version), 1..60))),
    ) {
        let mut watch = Watch { world: World::new(version), asked: None, taken: None };
        for event in &script {
            watch.happen(event);
        }
    }
}

#[test]
fn the_frames_that_are_changed_here_are_right_before() {
    for version in BOTH {
        let mut world = World::resolved(version);
        assert_eq!(world.see(&too_big(version)), Observed::PathMtu(1400));
        let mut wrong = version.frame(Says::Ask(PEER_MAC));
        if version == Version::V6 {
            wrong[56] ^= 1;
            assert_eq!(world.see(&wrong), Observed::Refused(Refusal::Checksum));
        }
        assert!(matches!(world.see(&repaired(wrong)), Observed::Reply(_)));
    }
}
