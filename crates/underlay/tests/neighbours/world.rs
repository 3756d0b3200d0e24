//! A network with us, a collector, a router and a stranger, in both IP versions, and a clock.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::{Duration, Instant};

use helio_types::MacAddr;
use helio_underlay::{Carrier, Endpoint, EndpointSettings, Neighbour, Observed, OwnFrame};

use crate::wire::{Arp, NOBODY, Ndisc, link_option};

pub(crate) const OWN_MAC: MacAddr = MacAddr([2, 0, 0, 0, 0, 0x10]);
pub(crate) const PEER_MAC: MacAddr = MacAddr([2, 0, 0, 0, 0, 0x20]);
pub(crate) const OTHER_MAC: MacAddr = MacAddr([2, 0, 0, 0, 0, 0x30]);

pub(crate) const OWN4: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 10);
pub(crate) const PEER4: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 20);
pub(crate) const OTHER4: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 30);
/// Beyond the router.
pub(crate) const FAR4: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 1);

pub(crate) const OWN6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0xaa, 0xbb10);
pub(crate) const PEER6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0xcc, 0xdd20);
pub(crate) const OTHER6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0xee, 0xff30);
/// Beyond the router.
pub(crate) const FAR6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0xffff, 0, 0, 0, 0, 1);

/// The groups of our address and of the peer's, and their frames.
pub(crate) const OWN_GROUP: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 1, 0xffaa, 0xbb10);
pub(crate) const OWN_GROUP_MAC: MacAddr = MacAddr([0x33, 0x33, 0xff, 0xaa, 0xbb, 0x10]);
pub(crate) const ALL_NODES: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1);
pub(crate) const ALL_NODES_MAC: MacAddr = MacAddr([0x33, 0x33, 0, 0, 0, 1]);

/// Copies that begin with zeros.
pub(crate) const SOME_GRE: Carrier = Carrier::Gre { first_word: [0; 4], key: None };

pub(crate) const REQUEST: u16 = 1;
pub(crate) const REPLY: u16 = 2;
pub(crate) const SOLICITATION: u8 = 135;
pub(crate) const ADVERTISEMENT: u8 = 136;
pub(crate) const SOLICITED: u8 = 0x40;
pub(crate) const OVERRIDE: u8 = 0x20;

/// A collector on our link.
pub(crate) fn settings4() -> EndpointSettings {
    EndpointSettings {
        own_mac: OWN_MAC,
        own: "192.0.2.10/24".parse().unwrap(),
        tag: None,
        remote: IpAddr::V4(PEER4),
        gateway: None,
        carrier: SOME_GRE,
        mtu_bytes: 1500,
    }
}

/// The same with IPv6.
pub(crate) fn settings6() -> EndpointSettings {
    let own = format!("{OWN6}/64").parse().unwrap();
    EndpointSettings { own, remote: IpAddr::V6(PEER6), ..settings4() }
}

/// Which version a test is about, when it is about both.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Version {
    V4,
    V6,
}

pub(crate) const BOTH: [Version; 2] = [Version::V4, Version::V6];

/// What the peer says in one frame, in either version.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Says {
    /// To us: "I am at this address".
    Answer(MacAddr),
    /// To all: "I am at this address".
    Announce(MacAddr),
    /// To whom it may concern: "who is our address? I am at this address".
    Ask(MacAddr),
}

impl Version {
    pub(crate) fn settings(self) -> EndpointSettings {
        match self {
            Self::V4 => settings4(),
            Self::V6 => settings6(),
        }
    }

    pub(crate) fn frame(self, says: Says) -> Vec<u8> {
        match self {
            Self::V4 => arp(says).frame(),
            Self::V6 => ndisc(says).frame(),
        }
    }
}

pub(crate) fn arp(says: Says) -> Arp {
    let (operation, mac, to, target_mac, target) = match says {
        Says::Answer(mac) => (REPLY, mac, OWN_MAC, OWN_MAC, OWN4),
        Says::Announce(mac) => (REQUEST, mac, MacAddr::BROADCAST, NOBODY, PEER4),
        Says::Ask(mac) => (REQUEST, mac, MacAddr::BROADCAST, NOBODY, OWN4),
    };
    Arp { to, from: mac, operation, sender_mac: mac, sender: PEER4, target_mac, target }
}

pub(crate) fn ndisc(says: Says) -> Ndisc {
    let (kind, flags, mac, to, destination, target, option) = match says {
        Says::Answer(mac) => (ADVERTISEMENT, SOLICITED | OVERRIDE, mac, OWN_MAC, OWN6, PEER6, 2),
        Says::Announce(mac) => (ADVERTISEMENT, OVERRIDE, mac, ALL_NODES_MAC, ALL_NODES, PEER6, 2),
        Says::Ask(mac) => (SOLICITATION, 0, mac, OWN_GROUP_MAC, OWN_GROUP, OWN6, 1),
    };
    let options = link_option(option, mac);
    let (source, hops, code) = (PEER6, 255, 0);
    Ndisc { to, from: mac, source, destination, hops, kind, code, flags, target, options }
}

/// One neighbour, and the time.
pub(crate) struct World {
    pub(crate) neighbour: Neighbour,
    pub(crate) now: Instant,
    pub(crate) version: Version,
}

impl World {
    pub(crate) fn new(version: Version) -> Self {
        Self::of(version, &version.settings())
    }

    pub(crate) fn of(version: Version, settings: &EndpointSettings) -> Self {
        let neighbour = Neighbour::new(Endpoint::new(settings).unwrap());
        Self { neighbour, now: Instant::now(), version }
    }

    /// One that has asked and got its answer.
    pub(crate) fn resolved(version: Version) -> Self {
        let mut world = Self::new(version);
        assert!(world.turn().is_some());
        assert_eq!(world.hear(Says::Answer(PEER_MAC)), Observed::Learned);
        world
    }

    pub(crate) fn pass(&mut self, milliseconds: u64) {
        self.now += Duration::from_millis(milliseconds);
    }

    pub(crate) fn turn(&mut self) -> Option<OwnFrame> {
        self.neighbour.turn(self.now)
    }

    pub(crate) fn see(&mut self, frame: &[u8]) -> Observed {
        let bytes = u32::try_from(frame.len()).unwrap();
        self.neighbour.observe(frame, bytes, self.now)
    }

    pub(crate) fn hear(&mut self, says: Says) -> Observed {
        self.see(&self.version.frame(says))
    }

    /// Milliseconds from now on at which it asks, for `seconds`, when a turn comes each 100 ms and a copy is sent each
    /// time that one can be. To whom it asked is beside it.
    pub(crate) fn questions(&mut self, seconds: u64) -> Vec<(u64, MacAddr)> {
        let mut questions = Vec::new();
        for at in 0..seconds * 10 {
            self.neighbour.use_mac();
            if let Some(frame) = self.turn() {
                let to = MacAddr(*frame.bytes().first_chunk().unwrap());
                questions.push((at * 100, to));
            }
            self.pass(100);
        }
        questions
    }
}
