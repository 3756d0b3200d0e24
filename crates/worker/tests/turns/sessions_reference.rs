//! Random traffic through random named sessions, against the rules written down leg by leg.

use std::num::{NonZeroU32, NonZeroU64};

use helio_counters::MirrorCounts;
use helio_mirror::{Rate, Session};
use helio_testkit::Received;
use helio_types::DropReason;
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;

use crate::reference::{PORTS, Receiver, any_plan, any_receiver};
use crate::sessions_model::{Rules, Shot, Transport, any_session, any_shots, sessions};
use crate::stage::{PortPlan, Stage};

/// What each port got, and the counts of each leg.
type Outcome = (Vec<Vec<Received>>, Vec<MirrorCounts>);

/// Whether frames of one sender that follow each other are sent in one burst.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Sending {
    Together,
    OneByOne,
}

fn play(
    workers: usize,
    plans: &[PortPlan],
    receivers: Option<&[Receiver]>,
    sessions: Vec<Session>,
    shots: &[Shot],
) -> Outcome {
    play_by(Sending::Together, workers, plans, receivers, sessions, shots)
}

fn play_by(
    sending: Sending,
    workers: usize,
    plans: &[PortPlan],
    receivers: Option<&[Receiver]>,
    sessions: Vec<Session>,
    shots: &[Shot],
) -> Outcome {
    let mut plans: Vec<_> =
        (0..PORTS).map(|index| plans[index].clone().on(index % workers)).collect();
    for (plan, receiver) in plans.iter_mut().zip(receivers.unwrap_or_default()) {
        plan.mtu = receiver.mtu;
    }
    let mut stage = Stage::with_exact(workers, &plans, &[1]);
    for (far, receiver) in stage.ports.iter().zip(receivers.unwrap_or_default()) {
        far.accept(receiver.accepts);
        far.set_room(receiver.room);
        far.set_longest(receiver.longest);
    }
    let legs = sessions.iter().map(|session| session.legs.len()).sum();
    stage.configure_sessions(&plans, sessions);
    for (index, shot) in shots.iter().enumerate() {
        stage.send_in_pieces(shot.from, &shot.frame(), 3);
        let is_last = shots.get(index + 1).is_none_or(|next| next.from != shot.from);
        if is_last || sending == Sending::OneByOne {
            stage.settle();
        }
    }
    assert_eq!(stage.chunks_in_use(), 0);
    let received = (0..PORTS).map(|index| stage.received(index)).collect();
    (received, (0..legs).map(|leg| stage.leg_counts(leg)).collect())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn every_leg_gets_what_the_rules_say_in_its_form_and_nothing_else(
        plans in vec(any_plan(), PORTS),
        watching in vec(any_session(), 1..5),
        mut shots in any_shots(),
        workers in 1..4_usize,
    ) {
        for shot in &mut shots {
            if shot.transport == Transport::Long {
                shot.transport = Transport::Tcp;
            }
        }
        let mut rules = Rules::new(&plans, &watching);
        shots.iter().for_each(|shot| rules.shoot(shot));
        let (received, counts) = play(workers, &plans, None, sessions(&watching), &shots);
        for (to, (received, expected)) in received.iter().zip(&rules.got).enumerate() {
            let bytes: Vec<_> = received.iter().map(|received| &received.bytes).collect();
            prop_assert!(bytes.iter().copied().eq(expected), "port {}:\n{:02x?}\n{:02x?}", to, bytes, expected);
        }
        for (counts, expected) in counts.iter().zip(&rules.legs) {
            let [wanted, returned, not_member, for_bridge] = *expected;
            prop_assert_eq!(counts.wanted, wanted);
            let dropped = |reason: DropReason| counts.dropped[reason.index()];
            prop_assert_eq!(dropped(DropReason::ReturnToSender), returned);
            prop_assert_eq!(dropped(DropReason::Vlan), not_member);
            prop_assert_eq!(dropped(DropReason::LinkLocal), for_bridge);
            prop_assert_eq!(counts.dropped_total(), returned + not_member + for_bridge);
        }
    }

    #[test]
    fn any_number_of_workers_gives_the_same_copies_and_the_same_counts_whatever_receivers_refuse(
        plans in vec(any_plan(), PORTS),
        receivers in vec(any_receiver(), PORTS),
        watching in vec(any_session(), 1..5),
        shots in any_shots(),
    ) {
        let receivers = Some(&receivers[..]);
        let one = play(1, &plans, receivers, sessions(&watching), &shots);
        for workers in [2, 3] {
            let several = play(workers, &plans, receivers, sessions(&watching), &shots);
            prop_assert!(one.0 == several.0, "other frames with {} workers", workers);
            prop_assert_eq!(&one.1, &several.1);
        }
    }

    #[test]
    fn sessions_change_nothing_for_ports_without_legs(
        plans in vec(any_plan(), PORTS),
        receivers in vec(any_receiver(), PORTS),
        watching in vec(any_session(), 1..5),
        one_in in 1..4_u32,
        per_second in 1..100_u64,
        burst in 1..20_u32,
        mut shots in any_shots(),
        workers in 1..4_usize,
    ) {
        // By a session that sends there numbered ones learn that these are copies.
        shots.retain(|shot| !shot.is_on_remote_vlan());
        let mut limited = sessions(&watching);
        for session in &mut limited {
            session.one_in = NonZeroU32::new(one_in).unwrap();
            let (per_second, burst) =
                (NonZeroU64::new(per_second).unwrap(), NonZeroU32::new(burst).unwrap());
            session.rate = Some(Rate::Frames { per_second, burst });
        }
        let legs_at = |index: usize| watching.iter().any(|plan| plan.legs.iter().any(|leg| leg.0 == index));
        let with = play(workers, &plans, Some(&receivers), limited, &shots);
        let without = play(workers, &plans, Some(&receivers), Vec::new(), &shots);
        for index in (0..PORTS).filter(|index| !legs_at(*index)) {
            prop_assert!(with.0[index] == without.0[index], "port {}", index);
        }
    }

    #[test]
    fn frames_of_a_burst_become_what_they_would_one_by_one_and_every_copy_is_delivered_or_dropped(
        plans in vec(any_plan(), PORTS),
        receivers in vec(any_receiver(), PORTS),
        watching in vec(any_session(), 1..5),
        bursts in vec(option::of(1..20_u32), 5),
        shots in any_shots(),
        workers in 1..4_usize,
    ) {
        let limited = || {
            let mut limited = sessions(&watching);
            for (session, burst) in limited.iter_mut().zip(&bursts) {
                session.rate = burst.map(|burst| {
                    let burst = NonZeroU32::new(burst).unwrap();
                    Rate::Frames { per_second: NonZeroU64::MIN, burst }
                });
            }
            limited
        };
        let play = |sending| play_by(sending, workers, &plans, Some(&receivers), limited(), &shots);
        let (together, alone) = (play(Sending::Together), play(Sending::OneByOne));
        prop_assert!(together.0 == alone.0, "other frames one by one");
        prop_assert_eq!(&together.1, &alone.1);
        for counts in together.1 {
            let dropped = counts.dropped_total();
            prop_assert_eq!(counts.wanted.frames, counts.delivered.frames + dropped.frames);
            prop_assert_eq!(counts.wanted.bytes, counts.delivered.bytes + dropped.bytes);
        }
    }
}
