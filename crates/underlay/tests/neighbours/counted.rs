//! What was not believed is counted, each frame once and under its reason.

use std::collections::BTreeMap;

use helio_underlay::{Endpoint, EndpointSettings, Observed, Refusal};

use crate::world::{BOTH, OTHER_MAC, PEER_MAC, Says, Version, World};

/// A world that has seen good frames and bad ones, and how often it said that it did not believe one.
fn after_lies(version: Version) -> (World, BTreeMap<Refusal, u64>) {
    let mut world = World::new(version);
    let mut said = BTreeMap::new();
    let mut see = |world: &mut World, frame: &[u8]| {
        if let Observed::Refused(reason) = world.see(frame) {
            *said.entry(reason).or_default() += 1;
        }
    };
    see(&mut world, &version.frame(Says::Answer(PEER_MAC)));
    world.turn();
    see(&mut world, &version.frame(Says::Answer(PEER_MAC)));
    see(&mut world, &version.frame(Says::Announce(OTHER_MAC)));
    for _ in 0..3 {
        let mut frame = version.frame(Says::Answer(PEER_MAC));
        frame[11] ^= 1;
        see(&mut world, &frame);
    }
    see(&mut world, &version.frame(Says::Answer(PEER_MAC))[..20]);
    (world, said)
}

#[test]
fn each_frame_that_is_not_believed_is_counted_once_under_the_reason_that_is_given() {
    for version in BOTH {
        let (world, said) = after_lies(version);
        let refused = world.neighbour.refused();
        assert_eq!(refused.iter().collect::<BTreeMap<_, _>>(), said, "{version:?}");
        assert_eq!((refused.of(Refusal::Unasked), refused.of(Refusal::SenderMac)), (1, 3));
        assert!(refused.of(Refusal::TooSoon) == 1 && refused.of(Refusal::Checksum) == 0);
        assert_eq!(refused.total(), Refusal::ALL.iter().map(|reason| refused.of(*reason)).sum());
        assert_eq!(refused.total(), said.values().sum());
    }
}

#[test]
fn another_way_there_is_not_known_and_goes_on_counting() {
    for version in BOTH {
        let (mut world, _) = after_lies(version);
        let before = *world.neighbour.refused();
        let same = Endpoint::new(&version.settings()).unwrap();
        assert!(!world.neighbour.replace_endpoint(same) && world.neighbour.mac().is_some());
        let other = EndpointSettings { own_mac: OTHER_MAC, ..version.settings() };
        assert!(world.neighbour.replace_endpoint(Endpoint::new(&other).unwrap()));
        assert_eq!((world.neighbour.mac(), *world.neighbour.refused()), (None, before));
        assert_eq!(world.neighbour.endpoint().own_mac(), OTHER_MAC);
    }
}
