//! Rings in impossible places, of impossible sizes, and in states in which they must not be touched, each while a pair on
//! other ports exchanges frames and loses none of them.

mod support;

use helio_api::PortState;
use helio_frame::PortFault;
use helio_guest::{
    Flow, Guest, GuestConfig, GuestError, MessageId, Numbered, RingAddresses, RingPlace, RingState,
    features,
};

use support::PATIENCE;
use support::hostile::{self, Hostile};
use support::lane::stream;
use support::liar::{self, SCRATCH, SEAM};
use support::switch::mac;

const RING_SIZE: u16 = 256;

/// Bytes from the beginning of a ring to the place behind it.
const RING_BYTES: u64 = 8192;

/// A place for a ring of the usual size in memory that nothing else uses.
const FREE: RingPlace =
    RingPlace { table: SCRATCH, avail: SCRATCH + RING_BYTES, used: SCRATCH + 2 * RING_BYTES };

#[test]
fn c016_c017_rings_on_top_of_each_other_harm_nobody() {
    let mut scene = Hostile::new();
    let [receive, transmit] = scene.liar.places();
    let frames = transmit.table + 128;
    let places = [
        ("used on descriptors", [receive, RingPlace { used: transmit.table, ..transmit }]),
        ("used on avail", [receive, RingPlace { used: transmit.avail & !3, ..transmit }]),
        ("used on buffers", [receive, RingPlace { used: frames, ..transmit }]),
        ("used on the other ring", [receive, RingPlace { used: receive.table, ..transmit }]),
        ("both the same", [transmit, transmit]),
        ("used shared", [RingPlace { used: transmit.used, ..receive }, transmit]),
    ];
    for (what, places) in places {
        let rings = places.map(|place| scene.liar.ring_at(place));
        scene.liar.start_rings(&rings).unwrap_or_else(|error| panic!("{what}: {error}"));
        for round in 1..200 {
            for ring in &rings {
                ring.set_avail_entry(round % RING_SIZE, round);
                ring.set_avail_idx(ring.avail_idx().wrapping_add(1));
            }
            scene.liar.guest.driver().kick_all();
            scene.tempt();
        }
        scene.pair.go_on();
        scene.liar_behaves_again();
    }
    scene.end();
}

#[test]
fn c016_rings_that_are_not_aligned_are_refused() {
    let mut scene = Hostile::new();
    let other = scene.liar.ring_at(scene.liar.places()[0]);
    let unaligned = [
        RingPlace { table: FREE.table + 8, ..FREE },
        RingPlace { avail: FREE.avail + 1, ..FREE },
        RingPlace { used: FREE.used + 2, ..FREE },
    ];
    for place in unaligned {
        let ring = scene.liar.ring_at(place);
        let started = scene.liar.start_rings(&[other.clone(), ring]);
        let info = scene.switch.port("liar");
        assert!(started.is_err() || info.state == PortState::Faulted, "{place:?}: {}", info.detail);
        scene.reconnect();
        scene.assert_liar_is_heard();
    }
    scene.end();
}

#[test]
fn c016_rings_across_regions_are_refused() {
    let mut scene = Hostile::new();
    let other = scene.liar.ring_at(scene.liar.places()[0]);
    let across = [
        RingPlace { table: SEAM - 16, ..FREE },
        RingPlace { avail: SEAM - 2, ..FREE },
        RingPlace { used: SEAM - 4, ..FREE },
    ];
    for place in across {
        let ring = scene.liar.ring_at(place);
        let started = scene.liar.start_rings(&[other.clone(), ring]);
        assert!(started.is_ok(), "{started:?}");
        scene.is_faulted(PortFault::RingAddress);
        scene.liar_behaves_again();
    }
    scene.end();
}

#[test]
fn c019_sizes_that_no_ring_has_are_refused() {
    for size in [0, 3, 255, 257, 32_769, 65_535, 65_536, u32::MAX] {
        let mut scene = Hostile::new();
        scene.liar.guest.stop().unwrap();
        let state = RingState { index: 1, number: size };
        let session = scene.liar.guest.session();
        let answer = session.command(MessageId::SetVringNum, &state.encode(), &[]);
        let rest = answer.and_then(|()| {
            let session = scene.liar.guest.session();
            session.share_memory(scene.liar.guest.memory())?;
            let (area, events) = scene.liar.guest.driver().rings().nth(1).unwrap();
            let addresses = area.front_end_addresses(1).encode();
            session.command(MessageId::SetVringAddr, &addresses, &[])?;
            session.set_event(MessageId::SetVringKick, 1, Some(&events.kick))
        });
        match rest {
            Ok(()) => scene.is_faulted(PortFault::RingSize),
            Err(_) => {
                assert!(scene.liar.guest.session().connection().wait_closed(PATIENCE))
            }
        }
        scene.reconnect();
        scene.assert_liar_is_heard();
        scene.end();
    }
}

#[test]
fn c020_indices_wrap_in_rings_of_all_sizes() {
    for ring_size in [1, 2, 256, 32_768] {
        let switch = hostile::plan().start();
        let guest = |name| {
            let config = GuestConfig { ring_size, ..switch.guest_config(name) };
            switch.guest_with(name, config)
        };
        // An index has 16 bits: it comes round once, and a little further.
        stream(&mut guest("liar"), &mut guest("tempter"), 70_000);
    }
}

#[test]
fn c022_what_was_sent_and_kicked_before_the_start_arrives_after_it() {
    let switch = hostile::plan().start();
    for _ in 0..20 {
        let mut other = switch.guest("tempter");
        let mut one = Guest::connect(&switch.socket("liar"), switch.guest_config("liar")).unwrap();
        let mut frame = Vec::new();
        Numbered::new(Flow::between(one.mac(), other.mac())).write_next(&mut frame);
        one.send(&frame).unwrap();
        one.kick();
        one.driver().kick_all();
        one.start().unwrap();
        assert_eq!(other.wait_received(1, PATIENCE).unwrap().len(), 1);
        drop((one, other));
        for name in ["liar", "tempter"] {
            switch.wait_state(name, PortState::Waiting);
        }
    }
}

#[test]
fn c023_the_first_frame_after_each_start_is_called_for() {
    let plain = features::VERSION_1 | features::MRG_RXBUF;
    for features in [plain, plain | features::EVENT_IDX] {
        let base = liar::config(mac(2));
        let mut scene = Hostile::with(GuestConfig { features, ..base });
        for _ in 0..20 {
            scene.tempt();
            // Sleeps until it is called.
            let received = scene.liar.guest.wait_received(1, PATIENCE).unwrap();
            assert_eq!(received.len(), 1);
            scene.liar.guest.restart().unwrap();
        }
        scene.end();
    }
}

#[test]
fn c024_what_is_sent_on_a_disabled_ring_is_discarded_and_nothing_is_received() {
    let mut scene = Hostile::new();
    for index in 0..2 {
        scene.liar.guest.session().disable_ring(index).unwrap();
    }
    let before = scene.switch.port("liar");
    for _ in 0..10 {
        scene.liar.send_honestly();
        scene.tempt();
    }
    let after = scene.switch.port("liar");
    assert_eq!(after.ingress_frames, before.ingress_frames);
    assert_eq!(after.egress_frames, before.egress_frames);
    let expected = [("port-down", 10), ("ring-disabled", 10)];
    assert_eq!(after.drops, expected.map(|(reason, count)| (reason.to_owned(), count)).into());
    for index in 0..2 {
        scene.liar.guest.session().enable_ring(index).unwrap();
    }
    scene.assert_liar_is_heard();
    scene.end();
}

#[test]
fn c024_not_one_byte_is_written_to_a_stopped_ring() {
    let mut scene = Hostile::new();
    scene.tempt();
    scene.liar.guest.wait_received(1, PATIENCE).unwrap();
    for index in 0..2 {
        scene.liar.guest.session().stop_ring(index).unwrap();
    }
    let memory = || {
        let mut bytes = vec![0; usize::try_from(SEAM).unwrap()];
        scene.liar.window(0, SEAM).read(0, &mut bytes);
        bytes
    };
    let before = memory();
    let (tempter, temptation) = (&mut scene.tempter, &mut scene.temptation);
    for _ in 0..200 {
        let mut frame = Vec::new();
        temptation.write_next(&mut frame);
        tempter.send_blocking(&frame, PATIENCE).unwrap();
    }
    tempter.wait_all_sent(PATIENCE).unwrap();
    scene.pair.go_on();
    assert!(before == memory(), "the memory of a stopped guest changed");
    scene.end();
}

#[test]
fn c026_a_running_ring_keeps_its_size_and_base_and_must_not_be_moved() {
    let mut scene = Hostile::new();
    let session = scene.liar.guest.session();
    for (message, number) in [(MessageId::SetVringNum, 128), (MessageId::SetVringBase, 77)] {
        let state = RingState { index: 1, number };
        session.command(message, &state.encode(), &[]).unwrap();
    }
    let detail = scene.switch.port("liar").detail;
    assert!(detail.contains("for a running ring was ignored"), "{detail}");
    scene.assert_liar_is_heard();
    let (area, _) = scene.liar.guest.driver().rings().nth(1).unwrap();
    let own = area.front_end_addresses(1);
    let moved = RingAddresses { used: own.used + 64, ..own };
    let session = scene.liar.guest.session();
    session.command(MessageId::SetVringAddr, &own.encode(), &[]).unwrap();
    let answer = session.command(MessageId::SetVringAddr, &moved.encode(), &[]);
    assert!(matches!(answer, Err(GuestError::Refused { .. })), "{answer:?}");
    assert!(session.connection().wait_closed(PATIENCE));
    scene.switch.wait_detail("liar", "moved a ring while it runs");
    scene.reconnect();
    scene.assert_liar_is_heard();
    scene.end();
}

#[test]
fn c018_c063_rings_whose_memory_is_removed_stand_still_until_it_comes_back() {
    let mut scene = Hostile::new();
    for _ in 0..10 {
        let session = scene.liar.guest.session();
        session.withdraw_memory(scene.liar.guest.memory()).unwrap();
        assert_eq!(scene.switch.port("liar").state, PortState::Waiting);
        scene.liar.guest.driver().kick_all();
        scene.tempt();
        scene.pair.go_on();
        scene.liar.guest.session().share_memory(scene.liar.guest.memory()).unwrap();
        scene.switch.wait_state("liar", PortState::Up);
        scene.assert_liar_is_heard();
    }
    scene.end();
}
