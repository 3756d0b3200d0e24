//! Who is told where we are, and how. Nobody is told anything else.

use std::net::{Ipv4Addr, Ipv6Addr};

use helio_types::{MacAddr, VlanId};
use helio_underlay::{EndpointSettings, Observed, Refusal, UnderlayTag};

use crate::wire::{Arp, Ipv4, NOBODY, Ndisc, ethernet, icmp4, icmp6, ipv4, link_option, tagged};
use crate::world::{
    ADVERTISEMENT, ALL_NODES, ALL_NODES_MAC, BOTH, OTHER_MAC, OTHER4, OTHER6, OVERRIDE, OWN_GROUP,
    OWN_MAC, OWN4, OWN6, PEER_MAC, PEER4, PEER6, REPLY, SOLICITED, Says, Version, World, arp,
    ndisc,
};

/// The answer to a frame.
fn answer(world: &mut World, frame: &[u8]) -> Vec<u8> {
    match world.see(frame) {
        Observed::Reply(reply) => reply.bytes().to_vec(),
        other => panic!("{other:?}"),
    }
}

fn our_reply(to: MacAddr, target: Ipv4Addr) -> Arp {
    let (from, sender_mac, sender) = (OWN_MAC, OWN_MAC, OWN4);
    Arp { to, from, operation: REPLY, sender_mac, sender, target_mac: to, target }
}

fn our_advertisement(to: MacAddr, destination: Ipv6Addr, flags: u8) -> Ndisc {
    Ndisc {
        to,
        from: OWN_MAC,
        source: OWN6,
        destination,
        hops: 255,
        kind: ADVERTISEMENT,
        code: 0,
        flags,
        target: OWN6,
        options: link_option(2, OWN_MAC),
    }
}

fn request4(change: impl FnOnce(&mut Arp)) -> Vec<u8> {
    let mut request = arp(Says::Ask(OTHER_MAC));
    request.sender = OTHER4;
    change(&mut request);
    request.frame()
}

fn request6(change: impl FnOnce(&mut Ndisc)) -> Vec<u8> {
    let mut request = ndisc(Says::Ask(OTHER_MAC));
    request.source = OTHER6;
    change(&mut request);
    request.frame()
}

#[test]
fn whoever_asks_for_our_address_by_arp_is_told() {
    let mut world = World::new(Version::V4);
    let expected = our_reply(OTHER_MAC, OTHER4).frame();
    assert_eq!(answer(&mut world, &request4(|_| ())), expected);
    // Also by a probe of what he knows.
    assert_eq!(answer(&mut world, &request4(|it| it.to = OWN_MAC)), expected);
    assert_eq!(answer(&mut world, &request4(|it| it.target_mac = OWN_MAC)), expected);
}

#[test]
fn whoever_looks_whether_our_address_is_free_is_told_that_it_is_not() {
    let mut world = World::new(Version::V4);
    let probe = request4(|it| it.sender = Ipv4Addr::UNSPECIFIED);
    let expected = our_reply(OTHER_MAC, Ipv4Addr::UNSPECIFIED).frame();
    assert_eq!(answer(&mut world, &probe), expected);

    let mut world = World::new(Version::V6);
    let probe = request6(|it| (it.source, it.options) = (Ipv6Addr::UNSPECIFIED, vec![]));
    let expected = our_advertisement(ALL_NODES_MAC, ALL_NODES, OVERRIDE).frame();
    assert_eq!(answer(&mut world, &probe), expected);
}

#[test]
fn whoever_asks_for_our_address_by_neighbour_discovery_is_told() {
    let mut world = World::new(Version::V6);
    let expected = our_advertisement(OTHER_MAC, OTHER6, SOLICITED | OVERRIDE).frame();
    assert_eq!(answer(&mut world, &request6(|_| ())), expected);
    let by_probe = request6(|it| (it.to, it.destination) = (OWN_MAC, OWN6));
    assert_eq!(answer(&mut world, &by_probe), expected);
    let without_option = request6(|it| it.options.clear());
    assert_eq!(answer(&mut world, &without_option), expected);
}

#[test]
fn an_answer_has_the_tag_of_the_underlay() {
    let tag = Some(UnderlayTag { vlan: VlanId::new(100).unwrap(), priority: 6 });
    for version in BOTH {
        let settings = EndpointSettings { tag, ..version.settings() };
        let mut world = World::of(version, &settings);
        let told = answer(&mut world, &tagged(version.frame(Says::Ask(OTHER_MAC)), 100));
        let plain = answer(&mut World::new(version), &version.frame(Says::Ask(OTHER_MAC)));
        assert_eq!(told, tagged(plain, 0xc064));
    }
}

#[test]
fn questions_for_others_are_not_answered() {
    let mut world = World::new(Version::V4);
    for other in [OTHER4, PEER4, Ipv4Addr::UNSPECIFIED] {
        assert_eq!(world.see(&request4(|it| it.target = other)), Observed::NotOurs);
    }
    let mut world = World::new(Version::V6);
    // This one has our group.
    let alike: Ipv6Addr = "2001:db8::1:aa:bb10".parse().unwrap();
    for other in [OTHER6, PEER6, alike] {
        assert_eq!(world.see(&request6(|it| it.target = other)), Observed::NotOurs, "{other}");
    }
}

#[test]
fn a_question_from_an_address_that_nobody_has_is_not_answered() {
    let refused = Observed::Refused(Refusal::SenderAddress);
    let mut world = World::new(Version::V4);
    for wrong in ["127.0.0.1", "224.0.0.1", "255.255.255.255"] {
        assert_eq!(world.see(&request4(|it| it.sender = wrong.parse().unwrap())), refused);
    }
    let mut world = World::new(Version::V6);
    for wrong in ["::1", "ff02::1"] {
        assert_eq!(world.see(&request6(|it| it.source = wrong.parse().unwrap())), refused);
    }
}

#[test]
fn a_question_from_another_card_than_it_names_is_not_answered() {
    let refused = Observed::Refused(Refusal::SenderMac);
    let mut world = World::new(Version::V4);
    assert_eq!(world.see(&request4(|it| it.sender_mac = PEER_MAC)), refused);
    assert_eq!(world.see(&request4(|it| it.from = PEER_MAC)), refused);
    assert_eq!(world.see(&request4(|it| (it.from, it.sender_mac) = (NOBODY, NOBODY))), refused);
    let mut world = World::new(Version::V6);
    assert_eq!(world.see(&request6(|it| it.options = link_option(1, PEER_MAC))), refused);
    assert_eq!(world.see(&request6(|it| it.from = PEER_MAC)), refused);
}

#[test]
fn a_solicitation_that_is_not_valid_is_not_answered() {
    let mut world = World::new(Version::V6);
    let mut seen = |change: fn(&mut Ndisc)| world.see(&request6(change));
    let malformed = Observed::Refused(Refusal::Malformed);
    assert_eq!(seen(|it| it.hops = 254), Observed::Refused(Refusal::HopLimit));
    assert_eq!(seen(|it| it.hops = 1), Observed::Refused(Refusal::HopLimit));
    assert_eq!(seen(|it| it.code = 1), malformed);
    assert_eq!(seen(|it| it.options[1] = 0), malformed);
    assert_eq!(seen(|it| it.options[1] = 2), malformed);
    // Who has no address yet asks the group, and has nobody to be told back.
    assert_eq!(seen(|it| it.source = Ipv6Addr::UNSPECIFIED), malformed);
    assert_eq!(
        seen(|it| {
            (it.source, it.destination) = (Ipv6Addr::UNSPECIFIED, OWN6);
            (it.to, it.options) = (OWN_MAC, vec![]);
        }),
        malformed
    );
    assert_eq!(seen(|it| it.destination = ALL_NODES), world_answer());
    let mut wrong = request6(|_| ());
    wrong[56] ^= 1;
    assert_eq!(World::new(Version::V6).see(&wrong), Observed::Refused(Refusal::Checksum));
}

/// The answer to a valid solicitation.
fn world_answer() -> Observed {
    World::new(Version::V6).see(&request6(|_| ()))
}

#[test]
fn nothing_else_is_answered() {
    let mut world = World::new(Version::V4);
    let to_us = Ipv4 { source: PEER4, destination: OWN4, protocol: 1, fragment: 0, total: None };
    for (kind, code) in [(8, 0), (13, 0), (17, 0), (3, 3), (3, 1), (5, 1), (11, 0)] {
        let datagram = ipv4(to_us, &icmp4(kind, code, 1400, &[0; 28]));
        let frame = ethernet(OWN_MAC, PEER_MAC, 0x0800, &datagram);
        assert_eq!(world.see(&frame), Observed::NotOurs, "{kind} {code}");
    }
    let mut world = World::new(Version::V6);
    for kind in [1, 3, 4, 128, 130, 133, 134, 137] {
        let message = [&[kind, 0, 0, 0, 0, 0, 5, 0][..], &[0; 48]].concat();
        for destination in [OWN6, OWN_GROUP, ALL_NODES] {
            let datagram = icmp6(PEER6, destination, 255, &message);
            let frame = ethernet(OWN_MAC, PEER_MAC, 0x86dd, &datagram);
            assert_eq!(world.see(&frame), Observed::NotOurs, "{kind}");
        }
    }
}

#[test]
fn one_question_has_one_answer_no_longer_than_itself() {
    for version in BOTH {
        let mut world = World::new(version);
        let question = version.frame(Says::Ask(OTHER_MAC));
        assert_eq!(answer(&mut world, &question).len(), question.len());
    }
}
