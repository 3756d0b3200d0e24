//! Several neighbours at one address of ours: whom it concerns that a router says that a copy was too long.

use std::net::IpAddr;
use std::time::Instant;

use helio_types::VlanId;
use helio_underlay::{
    Carrier, Endpoint, EndpointSettings, Neighbour, Observed, Refusal, UnderlayTag,
};

use crate::too_long::{GRE, NOT_QUOTED, VXLAN, copy4, copy6, too_big4, too_big6, world};
use crate::wire::{Ipv4, ipv4};
use crate::world::{BOTH, OTHER4, OTHER6, OWN_MAC, PEER_MAC, SOME_GRE, Version, World};

const fn keyed(key: u32) -> Carrier {
    Carrier::Gre { first_word: [0x20, 0, 0x65, 0x58], key: Some(key) }
}

/// A collector that copies with the key 7 go to, and then all that can be beside it at our address: other carriers to the same
/// collector, another collector, and a decap port.
fn neighbours(version: Version) -> Vec<World> {
    let carriers = [keyed(7), keyed(8), SOME_GRE, VXLAN];
    let mut all: Vec<_> = carriers.map(|carrier| world(version, carrier, 1500)).into();
    let remote = match version {
        Version::V4 => IpAddr::V4(OTHER4),
        Version::V6 => IpAddr::V6(OTHER6),
    };
    let elsewhere = EndpointSettings { remote, carrier: keyed(7), ..version.settings() };
    all.push(World::of(version, &elsewhere));
    let listening = Endpoint::listening(OWN_MAC, version.settings().own, None).unwrap();
    all.push(World { neighbour: Neighbour::new(listening), now: Instant::now(), version });
    all
}

/// A router whose next link takes 1400 bytes quotes a copy of `bytes` with this key.
fn too_big(version: Version, bytes: u16, key: u8) -> Vec<u8> {
    too_big_for(1400, version, bytes, key)
}

fn too_big_for(mtu: u16, version: Version, bytes: u16, key: u8) -> Vec<u8> {
    let gre = [0x20, 0, 0x65, 0x58, 0, 0, 0, key];
    match version {
        Version::V4 => too_big4(mtu, &ipv4(Ipv4 { total: Some(bytes), ..copy4(GRE) }, &gre)),
        Version::V6 => {
            let mut copy = copy6(GRE, &gre);
            copy[4..6].copy_from_slice(&(bytes - 40).to_be_bytes());
            too_big6(mtu.into(), &copy)
        }
    }
}

/// What the first of all neighbours makes of `frame`, to which it is nothing for the others, and how often it was refused.
fn seen_by_first(version: Version, frame: &[u8]) -> (Observed, u64) {
    let mut all = neighbours(version);
    let seen: Vec<_> = all.iter_mut().map(|world| world.see(frame)).collect();
    let (first, others) = all.split_first().unwrap();
    assert!(seen[1..].iter().all(|seen| *seen == Observed::NotOurs), "{version:?}: {seen:?}");
    for other in others {
        assert_eq!((other.neighbour.mtu_bytes(), other.neighbour.refused().total()), (1500, 0));
        assert!(other.neighbour.endpoint().is_addressed(frame), "it is for us all the same");
    }
    let refused = first.neighbour.refused();
    assert_eq!(refused.total(), refused.of(Refusal::NotQuoted));
    (seen[0], refused.total())
}

#[test]
fn a_true_word_is_heeded_by_the_one_that_it_concerns_and_refused_by_none() {
    for version in BOTH {
        let seen = seen_by_first(version, &too_big(version, 1500, 7));
        assert_eq!(seen, (Observed::PathMtu(1400), 0), "{version:?}");
    }
}

#[test]
fn a_copy_that_cannot_be_is_refused_once_by_the_one_that_it_names() {
    for version in BOTH {
        // One that was not too long, and one that was longer than ours are.
        for bytes in [1400, 1501] {
            let seen = seen_by_first(version, &too_big(version, bytes, 7));
            assert_eq!(seen, (NOT_QUOTED, 1), "{version:?} {bytes}");
        }
    }
}

#[test]
fn a_copy_that_names_nobody_of_ours_is_counted_by_none() {
    for version in BOTH {
        for bytes in [1400, 1500, 1501] {
            let seen = seen_by_first(version, &too_big(version, bytes, 9));
            assert_eq!(seen, (Observed::NotOurs, 0), "{version:?} {bytes}");
        }
    }
}

#[test]
fn a_longer_copy_of_another_that_goes_the_same_way_is_no_lie_and_shortens_what_is_longer_than_it_says()
 {
    for version in BOTH {
        let seen = |bytes, said: fn(Version, u16) -> Vec<u8>| {
            let mut short = world(version, keyed(7), 1390);
            short.neighbour.share_path(1500);
            let seen = short.see(&said(version, bytes));
            (seen, short.neighbour.mtu_bytes(), short.neighbour.refused().total())
        };
        let wide = |version, bytes| too_big(version, bytes, 7);
        let narrow = |version, bytes| too_big_for(1300, version, bytes, 7);
        assert_eq!(seen(1500, wide), (Observed::Unchanged, 1390, 0));
        assert_eq!(seen(1500, narrow), (Observed::PathMtu(1300), 1300, 0));
        // One of its own.
        assert_eq!(seen(1390, narrow), (Observed::PathMtu(1300), 1300, 0));
        assert_eq!(seen(1501, wide), (NOT_QUOTED, 1390, 1));
    }
}

#[test]
fn copies_go_one_way_between_the_same_ends_in_the_same_carrier() {
    for version in BOTH {
        let way = EndpointSettings { carrier: keyed(7), ..version.settings() };
        let is_one = |change: &dyn Fn(&mut EndpointSettings)| {
            let mut other = way;
            change(&mut other);
            Endpoint::new(&way).unwrap().is_way_of(&Endpoint::new(&other).unwrap())
        };
        assert!(is_one(&|other| other.mtu_bytes = 1400));
        assert!(!is_one(&|other| other.carrier = keyed(8)));
        assert!(!is_one(&|other| other.own_mac = PEER_MAC));
        let tag = UnderlayTag { vlan: VlanId::new(5).unwrap(), priority: 0 };
        assert!(!is_one(&|other| other.tag = Some(tag)));
        let remote = if version == Version::V4 { IpAddr::V4(OTHER4) } else { IpAddr::V6(OTHER6) };
        assert!(!is_one(&|other| other.remote = remote));
    }
}
