//! Who is believed about where the next hop is.

use helio_types::{MacAddr, VlanId};
use helio_underlay::{EndpointSettings, NeighbourState, Observed, Refusal, UnderlayTag};

use crate::wire::{Arp, NOBODY, Ndisc, link_option, tagged};
use crate::world::{
    ALL_NODES, BOTH, OTHER_MAC, OTHER4, OTHER6, OVERRIDE, OWN_MAC, OWN4, OWN6, PEER_MAC, SOLICITED,
    Says, Version, World, arp, ndisc,
};

/// What becomes of `frame` when the neighbour is being asked. What is not learned leaves it unknown.
fn when_asked(version: Version, frame: &[u8]) -> Observed {
    let mut world = World::new(version);
    world.turn().unwrap();
    let seen = world.see(frame);
    assert_eq!(world.neighbour.mac().is_some(), seen == Observed::Learned, "{seen:?}");
    seen
}

fn answer4(change: impl FnOnce(&mut Arp)) -> Observed {
    let mut answer = arp(Says::Answer(PEER_MAC));
    change(&mut answer);
    when_asked(Version::V4, &answer.frame())
}

fn answer6(change: impl FnOnce(&mut Ndisc)) -> Observed {
    let mut answer = ndisc(Says::Answer(PEER_MAC));
    change(&mut answer);
    when_asked(Version::V6, &answer.frame())
}

#[test]
fn nobody_is_believed_unasked_while_no_neighbour_is_known() {
    for version in BOTH {
        for says in [Says::Answer(PEER_MAC), Says::Announce(PEER_MAC)] {
            let mut world = World::new(version);
            assert_eq!(world.hear(says), Observed::Refused(Refusal::Unasked));
            assert_eq!((world.neighbour.mac(), world.neighbour.use_mac()), (None, None));
        }
        // One who asks is answered, and not believed either.
        let mut world = World::new(version);
        assert!(matches!(world.hear(Says::Ask(PEER_MAC)), Observed::Reply(_)));
        assert_eq!(world.neighbour.mac(), None);
    }
}

#[test]
fn only_what_comes_within_three_seconds_of_a_question_is_an_answer() {
    for version in BOTH {
        for (late, expected) in
            [(3000, Observed::Learned), (3001, Observed::Refused(Refusal::Unasked))]
        {
            let mut world = World::new(version);
            // The last question was asked at 32 s.
            assert_eq!(world.questions(33).last().unwrap().0, 32_000);
            world.pass(late - 1000);
            assert_eq!(world.hear(Says::Answer(PEER_MAC)), expected, "{late}");
        }
    }
}

#[test]
fn an_announcement_is_no_answer_also_when_somebody_asked() {
    for version in BOTH {
        let frame = version.frame(Says::Announce(PEER_MAC));
        assert_eq!(when_asked(version, &frame), Observed::Refused(Refusal::Unasked));
    }
}

#[test]
fn an_answer_by_broadcast_is_an_answer() {
    assert_eq!(answer4(|it| it.to = MacAddr::BROADCAST), Observed::Learned);
}

#[test]
fn an_arp_that_is_not_about_our_neighbour_and_us_is_not_ours() {
    assert_eq!(answer4(|it| it.sender = OTHER4), Observed::NotOurs);
    assert_eq!(answer4(|it| it.target = OTHER4), Observed::NotOurs);
    assert_eq!(answer4(|it| it.operation = 3), Observed::NotOurs);
    assert_eq!(answer4(|it| it.operation = 8), Observed::NotOurs);
    assert_eq!(answer4(|it| it.to = OTHER_MAC), Observed::NotOurs);
    assert_eq!(answer4(|it| it.to = MacAddr([1, 0, 0x5e, 0, 0, 1])), Observed::NotOurs);
}

#[test]
fn an_answer_to_somebody_elses_card_is_none_to_us() {
    assert_eq!(answer4(|it| it.target_mac = OTHER_MAC), Observed::Refused(Refusal::Unasked));
}

#[test]
fn an_arp_of_another_kind_of_network_is_not_ours() {
    for (place, wrong) in [(15, 6), (16, 0x86), (18, 8), (19, 16)] {
        let mut frame = arp(Says::Answer(PEER_MAC)).frame();
        frame[place] = wrong;
        assert_eq!(when_asked(Version::V4, &frame), Observed::NotOurs, "{place}");
    }
}

#[test]
fn an_arp_that_is_cut_off_is_refused_by_what_is_missing() {
    let frame = arp(Says::Answer(PEER_MAC)).frame();
    assert_eq!(when_asked(Version::V4, &frame[..41]), Observed::Refused(Refusal::Malformed));
    let mut world = World::new(Version::V4);
    world.turn();
    let seen = world.neighbour.observe(&frame[..41], 60, world.now);
    assert_eq!(seen, Observed::Refused(Refusal::HeaderLong));
    let padded = [&frame[..], &[0; 18]].concat();
    assert_eq!(world.see(&padded), Observed::Learned);
}

#[test]
fn a_sender_that_names_another_card_a_group_or_none_is_refused() {
    let refused = Observed::Refused(Refusal::SenderMac);
    let group = MacAddr([3, 0, 0, 0, 0, 1]);
    for mac in [group, NOBODY, MacAddr::BROADCAST] {
        let both = |it: &mut Arp| (it.sender_mac, it.from) = (mac, mac);
        assert_eq!(answer4(both), refused, "{mac}");
        let both = |it: &mut Ndisc| (it.options, it.from) = (link_option(2, mac), mac);
        assert_eq!(answer6(both), refused, "{mac}");
    }
    assert_eq!(answer4(|it| it.from = OTHER_MAC), refused);
    assert_eq!(answer4(|it| it.sender_mac = OTHER_MAC), refused);
    assert_eq!(answer6(|it| it.from = OTHER_MAC), refused);
    assert_eq!(answer6(|it| it.options = link_option(2, OTHER_MAC)), refused);
}

#[test]
fn our_own_frames_that_come_back_say_nothing() {
    let own = Observed::Refused(Refusal::OwnSource);
    assert_eq!(answer4(|it| (it.sender_mac, it.from) = (OWN_MAC, OWN_MAC)), own);
    assert_eq!(answer6(|it| (it.options, it.from) = (link_option(2, OWN_MAC), OWN_MAC)), own);
    for version in BOTH {
        let mut world = World::resolved(version);
        world.pass(5000);
        assert_eq!(world.hear(Says::Announce(OWN_MAC)), own);
        assert_eq!(world.hear(Says::Ask(OWN_MAC)), own);
        assert_eq!(world.neighbour.mac(), Some(PEER_MAC));
    }
}

#[test]
fn somebody_else_with_our_address_is_told() {
    let conflict = Observed::Refused(Refusal::AddressConflict);
    assert_eq!(
        answer4(|it| (it.sender, it.from, it.sender_mac) = (OWN4, OTHER_MAC, OTHER_MAC)),
        conflict
    );
    let mut gratuitous = arp(Says::Announce(OTHER_MAC));
    (gratuitous.sender, gratuitous.target) = (OWN4, OWN4);
    assert_eq!(when_asked(Version::V4, &gratuitous.frame()), conflict);
    assert_eq!(answer6(|it| it.target = OWN6), conflict);
    let mut asks = ndisc(Says::Ask(OTHER_MAC));
    asks.source = OWN6;
    assert_eq!(when_asked(Version::V6, &asks.frame()), conflict);
}

#[test]
fn an_advertisement_that_is_not_valid_is_refused() {
    let malformed = Observed::Refused(Refusal::Malformed);
    assert_eq!(answer6(|it| it.hops = 254), Observed::Refused(Refusal::HopLimit));
    assert_eq!(answer6(|it| it.code = 1), malformed);
    assert_eq!(answer6(|it| it.source = ALL_NODES), Observed::Refused(Refusal::SenderAddress));
    assert_eq!(answer6(|it| it.options = vec![2, 0, 2, 0, 0, 0, 0, 0x20]), malformed);
    assert_eq!(answer6(|it| it.options = vec![2, 2, 2, 0, 0, 0, 0, 0x20]), malformed);
    assert_eq!(answer6(|it| it.options.push(1)), malformed);
    // It must say where it is, as nobody knows.
    assert_eq!(answer6(|it| it.options = vec![]), malformed);
    assert_eq!(answer6(|it| it.options = link_option(1, PEER_MAC)), malformed);
    let mut to_all = ndisc(Says::Announce(PEER_MAC));
    to_all.flags = SOLICITED | OVERRIDE;
    assert_eq!(when_asked(Version::V6, &to_all.frame()), malformed);
}

#[test]
fn an_advertisement_for_others_is_not_ours() {
    assert_eq!(answer6(|it| it.target = OTHER6), Observed::NotOurs);
    assert_eq!(answer6(|it| it.destination = OTHER6), Observed::NotOurs);
    assert_eq!(answer6(|it| it.to = OTHER_MAC), Observed::NotOurs);
    assert_eq!(answer6(|it| it.kind = 137), Observed::NotOurs);
}

#[test]
fn other_options_and_padding_do_not_matter() {
    let nonce = [14, 1, 1, 2, 3, 4, 5, 6];
    assert_eq!(answer6(|it| it.options.extend(nonce)), Observed::Learned);
    assert_eq!(answer6(|it| drop(it.options.splice(..0, nonce))), Observed::Learned);
    let padded = [&ndisc(Says::Answer(PEER_MAC)).frame()[..], &[7; 9]].concat();
    assert_eq!(when_asked(Version::V6, &padded), Observed::Learned);
}

#[test]
fn an_advertisement_is_refused_with_any_bit_of_it_wrong() {
    let frame = ndisc(Says::Answer(PEER_MAC)).frame();
    for byte in 14 + 4..frame.len() {
        for bit in 0..8 {
            let mut wrong = frame.clone();
            wrong[byte] ^= 1 << bit;
            let seen = when_asked(Version::V6, &wrong);
            assert!(seen == Observed::NotOurs || matches!(seen, Observed::Refused(_)), "{byte}");
        }
    }
}

#[test]
fn an_advertisement_must_be_here_to_its_end() {
    let frame = ndisc(Says::Answer(PEER_MAC)).frame();
    let bytes = u32::try_from(frame.len()).unwrap();
    for cut in 0..frame.len() {
        let mut world = World::new(Version::V6);
        world.turn();
        let seen = world.neighbour.observe(&frame[..cut], bytes, world.now);
        let expected = Observed::Refused(Refusal::HeaderLong);
        assert_eq!(seen, if cut < 54 { Observed::NotOurs } else { expected }, "{cut}");
        let seen = world.see(&frame[..cut]);
        let expected = Observed::Refused(Refusal::Malformed);
        assert_eq!(seen, if cut < 54 { Observed::NotOurs } else { expected }, "{cut}");
    }
}

#[test]
fn without_the_override_flag_an_unknown_neighbour_becomes_known_and_a_known_one_only_doubtful() {
    assert_eq!(answer6(|it| it.flags = SOLICITED), Observed::Learned);
    let mut world = World::resolved(Version::V6);
    world.pass(5000);
    let mut other = ndisc(Says::Answer(OTHER_MAC));
    other.flags = SOLICITED;
    assert_eq!(world.see(&other.frame()), Observed::Unchanged);
    assert_eq!(
        (world.neighbour.mac(), world.neighbour.state()),
        (Some(PEER_MAC), NeighbourState::Stale)
    );
    // It is asked, and another answer of that kind changes nothing.
    assert_eq!(world.questions(1), [(0, PEER_MAC)]);
    assert_eq!(world.see(&other.frame()), Observed::Unchanged);
    assert_eq!(
        (world.neighbour.mac(), world.neighbour.state()),
        (Some(PEER_MAC), NeighbourState::Probe)
    );
}

#[test]
fn an_answer_to_a_probe_may_leave_out_where_it_is() {
    let mut world = World::resolved(Version::V6);
    assert_eq!(world.questions(31).len(), 1);
    let mut answer = ndisc(Says::Answer(PEER_MAC));
    answer.options.clear();
    answer.from = OTHER_MAC;
    assert_eq!(world.see(&answer.frame()), Observed::Refused(Refusal::SenderMac));
    assert_eq!(world.neighbour.state(), NeighbourState::Probe);
    answer.from = PEER_MAC;
    assert_eq!(world.see(&answer.frame()), Observed::Learned);
    assert_eq!(world.neighbour.state(), NeighbourState::Reachable);
}

#[test]
fn a_known_neighbour_that_moves_says_so_and_is_asked_there_once_it_is_used() {
    for version in BOTH {
        for says in [Says::Announce(OTHER_MAC), Says::Ask(OTHER_MAC), Says::Answer(OTHER_MAC)] {
            let mut world = World::resolved(version);
            world.pass(1000);
            let seen = world.hear(says);
            let is_asking = matches!(says, Says::Ask(_));
            assert_eq!(
                (seen == Observed::Learned, matches!(seen, Observed::Reply(_))),
                (!is_asking, is_asking)
            );
            assert_eq!(world.neighbour.mac(), Some(OTHER_MAC));
            assert_eq!((world.neighbour.state(), world.turn()), (NeighbourState::Stale, None));
            assert_eq!(world.questions(1), [(0, OTHER_MAC)]);
        }
    }
}

#[test]
fn of_two_that_claim_an_address_within_a_second_the_first_counts() {
    for version in BOTH {
        let mut world = World::resolved(version);
        world.pass(999);
        assert_eq!(world.hear(Says::Answer(OTHER_MAC)), Observed::Refused(Refusal::TooSoon));
        assert_eq!(world.hear(Says::Announce(OTHER_MAC)), Observed::Refused(Refusal::TooSoon));
        assert_eq!(world.neighbour.mac(), Some(PEER_MAC));
        assert_eq!(world.neighbour.state(), NeighbourState::Reachable);
    }
}

#[test]
fn an_answer_to_a_probe_from_another_card_moves_a_neighbour() {
    for version in BOTH {
        let mut world = World::resolved(version);
        assert_eq!(world.questions(31).len(), 1);
        assert_eq!(world.hear(Says::Answer(OTHER_MAC)), Observed::Learned);
        let known = (world.neighbour.mac(), world.neighbour.state());
        assert_eq!(known, (Some(OTHER_MAC), NeighbourState::Reachable));
    }
}

#[test]
fn an_announcement_of_what_is_known_confirms_nothing() {
    for version in BOTH {
        let mut world = World::resolved(version);
        world.pass(29_000);
        for says in [Says::Announce(PEER_MAC), Says::Answer(PEER_MAC)] {
            assert_eq!(world.hear(says), Observed::Unchanged);
        }
        world.pass(1000);
        world.turn();
        assert_eq!(world.neighbour.state(), NeighbourState::Stale);
    }
}

#[test]
fn only_the_vlan_of_the_underlay_is_listened_to() {
    let vlan = |id| VlanId::new(id).unwrap();
    for version in BOTH {
        let tag = Some(UnderlayTag { vlan: vlan(5), priority: 3 });
        let settings = EndpointSettings { tag, ..version.settings() };
        let mut world = World::of(version, &settings);
        let question = world.turn().unwrap();
        assert_eq!(question.bytes()[12..16], [0x81, 0, 0x60, 5]);
        let answer = version.frame(Says::Answer(PEER_MAC));
        assert_eq!(world.see(&answer), Observed::NotOurs);
        assert_eq!(world.see(&tagged(answer.clone(), 6)), Observed::NotOurs);
        assert_eq!(world.see(&tagged(answer.clone(), 0xe005)), Observed::Learned);
        assert_eq!(World::resolved(version).see(&tagged(answer, 5)), Observed::NotOurs);
    }
}

#[test]
fn what_may_concern_us_is_all_that_could_have_been_observed() {
    for version in BOTH {
        let world = World::new(version);
        let endpoint = world.neighbour.endpoint();
        let ours = [Says::Answer(PEER_MAC), Says::Announce(PEER_MAC), Says::Ask(PEER_MAC)];
        for frame in ours.map(|says| version.frame(says)) {
            assert!(endpoint.may_concern(&frame));
            // What lies behind the addresses does not matter.
            assert!(endpoint.may_concern(&frame[..if version == Version::V4 { 14 } else { 54 }]));
            assert!(!endpoint.may_concern(&frame[..13]));
        }
    }
    let (v4, v6) = (World::new(Version::V4), World::new(Version::V6));
    let (v4, v6) = (v4.neighbour.endpoint(), v6.neighbour.endpoint());
    assert!(!v4.may_concern(&Version::V6.frame(Says::Answer(PEER_MAC))));
    assert!(!v6.may_concern(&Version::V4.frame(Says::Answer(PEER_MAC))));
    // To our card and our address, and of another protocol: TCP.
    let mut tcp = Version::V6.frame(Says::Answer(PEER_MAC));
    tcp[20] = 6;
    assert!(!v6.may_concern(&tcp));
}
