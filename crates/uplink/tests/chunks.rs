//! Where the chunks of an uplink are: none is lost, whatever happens.
#![cfg(test)]

mod support;

use helio_frame::{Armed, Origin, Port};
use helio_types::{DropReason, UplinkMode};
use helio_uplink::{Census, StateWord};
use support::{FarEnd, Rig, Wire, frame, ip};

/// All chunks of one queue.
const CHUNKS: usize = 4096;

/// The kernel, which copies here, has 1088 of those to receive into: 1024, and a burst.
fn at_rest() -> Census {
    Census { spare: 960, lent: 1088, free: 2048, ..Census::default() }
}

/// Takes turns until the kernel has given back all that was sent, and has all that it may have to receive into.
fn settle(rig: &mut Rig) {
    rig.until("all chunks are at rest", |rig| {
        assert_eq!(rig.port.census().total(), CHUNKS);
        rig.port.census() == at_rest()
    });
    rig.until("operators see that, too", |rig| rig.handle.census() == at_rest());
    assert_eq!(rig.handle.facts().map(|facts| facts.chunks() as usize), Some(CHUNKS));
}

#[test]
fn every_chunk_is_accounted_for_after_100_000_frames_of_which_many_are_dropped() {
    for mode in [UplinkMode::Copy, UplinkMode::Skb] {
        let _wire = Wire::new(9000);
        let mut rig = Rig::up(mode);
        let far = FarEnd::new();
        let (mut sent, mut received, mut delivered, mut dropped) = (0_u64, 0_u64, 0_u64, 0_u64);
        let mut kept: Vec<Origin> = Vec::new();
        let mut random = fastrand::Rng::with_seed(7);
        while sent + delivered + dropped < 100_000 {
            // Most turns bring little, some more than the kernel has chunks for.
            let burst = if random.u8(..) == 0 { 3000 } else { random.usize(..40) };
            for _ in 0..burst {
                let bytes = if random.u8(..) < 10 { 9000 } else { random.usize(60..400) };
                sent += u64::from(far.try_send(&frame(bytes, 1)));
            }
            received += rig.take() as u64;
            let frames = rig.burst.frames().to_vec();
            for frame in &frames {
                if let Origin::Umem { .. } = frame.origin
                    && random.u8(..) < 50
                {
                    // Another delivery is under way.
                    rig.port.hold(frame.origin);
                    kept.push(frame.origin);
                }
            }
            rig.port.release_all(&frames);
            let burst = if random.u8(..) == 0 { 3000 } else { random.usize(..80) };
            for _ in 0..burst {
                match rig.offer(&frame(if random.u8(..) < 10 { 9000 } else { 128 }, 2)) {
                    Ok(()) => delivered += 1,
                    Err(DropReason::NoTxChunk) => dropped += 1,
                    Err(other) => panic!("{other}"),
                }
            }
            while kept.len() > 400 {
                rig.port.release(kept.swap_remove(random.usize(..kept.len())));
            }
            // Some turns end without publishing, as when a worker has more to do.
            if random.u8(..) < 200 {
                rig.port.publish();
            }
            assert_eq!(rig.port.census().total(), CHUNKS);
            while far.try_receive().is_some() {}
        }
        kept.drain(..).for_each(|origin| rig.port.release(origin));
        settle(&mut rig);
        let drops = rig.handle.kernel_drops();
        assert!(drops.no_chunk > 0, "{drops:?}: no burst was too large");
        assert!(received > 0 && delivered > 0 && dropped > 0, "{received} {delivered} {dropped}");
        assert_eq!((drops.refused_to_send, rig.refused), (0, [0; DropReason::COUNT]));
    }
}

#[test]
fn a_frame_that_is_held_keeps_its_bytes_while_others_come_and_go() {
    let _wire = Wire::new(1500);
    let mut rig = Rig::up(UplinkMode::Auto);
    let far = FarEnd::new();
    let kept = frame(1000, 1);
    far.send(&kept);
    rig.repeat("the first frame came", |rig| rig.take() == 1);
    let held = rig.burst.frames()[0].clone();
    rig.port.hold(held.origin);
    rig.port.release(held.origin);
    for number in 0..5000 {
        far.send(&frame(1000, number + 2));
        assert_eq!(rig.receive(1), [frame(1000, number + 2)]);
    }
    assert_eq!(rig.content(&held), kept);
    assert_eq!(rig.port.census().held, 1);
    rig.port.release(held.origin);
    settle(&mut rig);
}

#[test]
fn frames_that_are_given_back_at_once_come_into_no_more_chunks_than_the_kernel_has() {
    let _wire = Wire::new(1500);
    let mut rig = Rig::up(UplinkMode::Copy);
    let far = FarEnd::new();
    let mut seen = std::collections::BTreeSet::new();
    for number in 0..5000 {
        far.send(&frame(500, number));
        rig.repeat("the frame came", |rig| rig.take() == 1);
        let origin = rig.burst.frames()[0].origin;
        let Origin::Umem { chunk, .. } = origin else { panic!("{origin:?}") };
        seen.insert(chunk);
        rig.port.release(origin);
        rig.port.publish();
    }
    // All that the kernel has go round, and no others.
    assert_eq!(seen.len(), at_rest().lent);
}

/// Receives into every chunk, and gives none back: the kernel has had each of them.
fn hold_all(rig: &mut Rig, far: &FarEnd) -> Vec<Origin> {
    let mut held = Vec::new();
    rig.repeat("all chunks are held", |rig| {
        far.try_send(&frame(500, 1));
        rig.take();
        held.extend(rig.burst.frames().iter().map(|frame| frame.origin));
        rig.port.publish();
        rig.port.census().held == 2048
    });
    assert_eq!(held.len(), 2048);
    held
}

/// Sends from every chunk.
fn send_from_all(rig: &mut Rig) {
    for _ in 0..2048 {
        assert_eq!(rig.offer(&frame(128, 1)), Ok(()));
    }
    assert_eq!(rig.offer(&frame(60, 1)), Err(DropReason::NoTxChunk));
    rig.port.publish();
}

#[test]
fn after_many_pulled_wires_under_load_frames_can_be_in_every_chunk() {
    for mode in [UplinkMode::Copy, UplinkMode::Skb] {
        let _wire = Wire::new(9000);
        let mut rig = Rig::up(mode);
        let far = FarEnd::new();
        let mut random = fastrand::Rng::with_seed(11);
        for end in ["far", "near"].repeat(5) {
            for (state, word) in [("down", StateWord::Waiting), ("up", StateWord::Up)] {
                ip(&format!("link set {end} {state}"));
                // Frames come and go before it is noticed, and while it is.
                rig.until("it was noticed", |rig| {
                    let bytes = if random.u8(..) < 30 { 9000 } else { 300 };
                    far.try_send(&frame(bytes, 1));
                    let _port_down_or_not = rig.offer(&frame(bytes, 2));
                    while far.try_receive().is_some() {}
                    rig.state().word == word
                });
            }
        }
        settle(&mut rig);
        hold_all(&mut rig, &far).into_iter().for_each(|origin| rig.port.release(origin));
        rig.port.publish();
        settle(&mut rig);
        send_from_all(&mut rig);
        settle(&mut rig);
    }
}

#[test]
fn an_uplink_whose_chunks_were_all_held_goes_on_when_they_are_given_back() {
    for mode in [UplinkMode::Copy, UplinkMode::Skb] {
        let _wire = Wire::new(1500);
        let mut rig = Rig::up(mode);
        let far = FarEnd::new();
        let mut held = hold_all(&mut rig, &far);
        let before = rig.handle.kernel_drops().no_chunk;
        (0..10).for_each(|_| far.send(&frame(500, 2)));
        rig.repeat("the kernel finds no chunk", |rig| {
            assert_eq!(rig.take(), 0);
            rig.handle.kernel_drops().no_chunk >= before + 10
        });
        held.drain(..).for_each(|origin| rig.port.release(origin));
        rig.port.publish();
        far.send(&frame(500, 3));
        assert_eq!(rig.receive(1), [frame(500, 3)]);
        settle(&mut rig);
    }
}

#[test]
fn what_finds_no_chunk_to_be_sent_from_is_refused_and_the_next_turn_has_room() {
    let _wire = Wire::new(9000);
    let mut rig = Rig::up(UplinkMode::Auto);
    for _ in 0..2047 {
        assert_eq!(rig.offer(&frame(128, 1)), Ok(()));
    }
    // One chunk is left: not for a frame that needs two.
    assert_eq!(rig.offer(&frame(3841, 1)), Err(DropReason::NoTxChunk));
    assert_eq!(rig.offer(&frame(3840, 1)), Ok(()));
    assert_eq!(rig.offer(&frame(60, 1)), Err(DropReason::NoTxChunk));
    rig.port.publish();
    settle(&mut rig);
    assert_eq!(rig.offer(&frame(9000, 1)), Ok(()));
    rig.port.publish();
    settle(&mut rig);
}

#[test]
fn a_worker_may_sleep_when_nothing_waits_and_not_before() {
    let _wire = Wire::new(1500);
    let mut rig = Rig::up(UplinkMode::Auto);
    let far = FarEnd::new();
    assert_eq!(rig.port.arm(), Armed::Idle);
    far.send(&frame(100, 1));
    rig.repeat("the frame shows", |rig| rig.port.arm() == Armed::WorkPending);
    assert_eq!(rig.receive(1).len(), 1);
    assert_eq!(rig.port.arm(), Armed::Idle);
    // More than one call of the kernel sends.
    for _ in 0..2000 {
        assert_eq!(rig.offer(&frame(60, 1)), Ok(()));
    }
    rig.port.publish();
    assert_eq!(rig.port.arm(), Armed::WorkPending);
    rig.until("all is sent", |rig| rig.port.arm() == Armed::Idle);
    settle(&mut rig);
}
