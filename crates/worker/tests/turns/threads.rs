//! Workers on threads of their own, which sleep when nothing happens.

use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use helio_testkit::FarSide;
use helio_types::{VlanId, WorkerId};
use helio_worker::{Fleet, Polling, SpawnError, Worker, WorkerGone, spawn};

use crate::stage::{Stage, frame, ordinary};

/// A worker that was not woken wakes by itself after a second.
const LOST: Duration = Duration::from_millis(800);

fn run(workers: Vec<Worker>) -> Vec<JoinHandle<()>> {
    workers.into_iter().map(|worker| std::thread::spawn(move || worker.run())).collect()
}

/// Two workers with a port each, that go to sleep as soon as they may.
fn sleepy() -> (Arc<Fleet>, Vec<FarSide>, Vec<JoinHandle<()>>) {
    adaptive(Duration::from_micros(20))
}

fn adaptive(idle: Duration) -> (Arc<Fleet>, Vec<FarSide>, Vec<JoinHandle<()>>) {
    let polling = vec![Polling::Adaptive { idle }; 2];
    let stage = Stage::with_polling(polling, &[ordinary(), ordinary().on(1)], &[]);
    stage.know_all(VlanId::UNTAGGED);
    let Stage { fleet, workers, ports, .. } = stage;
    for (index, far) in ports.iter().enumerate() {
        fleet.wakeups(WorkerId::new(index).unwrap()).unwrap().watch(far.kick_fd()).unwrap();
    }
    (Arc::new(fleet), ports, run(workers))
}

/// Passes a time around that after which the workers fall asleep, another one in each round.
fn spin(round: u32) {
    let end = Instant::now() + Duration::from_nanos(u64::from(round) * 7919 % 60_000);
    while Instant::now() < end {}
}

fn wait_for(far: &FarSide, since: Instant) -> Duration {
    while far.received().is_empty() {
        assert!(since.elapsed() < Duration::from_secs(20), "a frame is lost");
        std::thread::yield_now();
    }
    since.elapsed()
}

#[test]
fn a_sleeping_worker_is_woken_by_each_kick_and_by_each_handoff() {
    let (fleet, ports, threads) = sleepy();
    let began = Instant::now();
    let mut rounds = 0_u32;
    while rounds < 3000 && began.elapsed() < Duration::from_secs(3) {
        for (from, to) in [(0, 1), (1, 0)] {
            // The long ones need a receipt.
            let payload_bytes = if rounds.is_multiple_of(2) { 500 } else { 50 };
            ports[from].send(&frame(from, to).payload(payload_bytes, 1).complete());
            let delay = wait_for(&ports[to], Instant::now());
            assert!(delay < LOST, "round {rounds}: a worker slept beside its work for {delay:?}");
            let delivered = Instant::now();
            while ports[from].in_flight() > 0 {
                assert!(delivered.elapsed() < LOST, "round {rounds}: a receipt woke nobody");
                std::thread::yield_now();
            }
        }
        // Sometimes at once, sometimes later, and often just when the workers fall asleep.
        spin(rounds);
        rounds += 1;
    }
    let sleeps = |worker| fleet.report(WorkerId::new(worker).unwrap()).unwrap().sleeps;
    assert!(sleeps(0) > 100 && sleeps(1) > 100, "they hardly slept, so nothing was shown");
    fleet.stop();
    threads.into_iter().for_each(|thread| thread.join().unwrap());
}

#[test]
fn every_frame_arrives_when_two_senders_send_as_fast_as_chains_come_back() {
    const FRAMES: u64 = 20_000;
    let (fleet, ports, threads) = sleepy();
    let began = Instant::now();
    std::thread::scope(|scope| {
        for (from, far) in ports.iter().enumerate() {
            scope.spawn(move || {
                let frame = frame(from, 1 - from).payload(300, 1).complete();
                for _ in 0..FRAMES {
                    // No more under way than the rings between workers hold.
                    while far.send_room() < 512 {
                        std::thread::yield_now();
                    }
                    far.send(&frame);
                }
            });
        }
        let mut received = [0, 0];
        while received.iter().sum::<u64>() < 2 * FRAMES {
            assert!(began.elapsed() < Duration::from_secs(20), "lost after {received:?}");
            for (count, far) in received.iter_mut().zip(&ports) {
                *count += u64::try_from(far.received().len()).unwrap();
            }
            std::thread::yield_now();
        }
        assert_eq!(received, [FRAMES, FRAMES]);
    });
    while ports.iter().any(|far| far.completed() < FRAMES) {
        assert!(began.elapsed() < Duration::from_secs(20), "a chain is held for ever");
        std::thread::yield_now();
    }
    for far in &ports {
        assert_eq!((far.in_flight(), far.completed()), (0, FRAMES));
        assert_eq!(fleet.counts(far.id()).drops().iter().sum::<u64>(), 0);
    }
    fleet.stop();
    threads.into_iter().for_each(|thread| thread.join().unwrap());
}

#[test]
fn a_guest_is_asked_to_kick_while_its_worker_sleeps_and_at_no_other_time() {
    let (fleet, ports, threads) = adaptive(Duration::from_millis(500));
    for _ in 0..2 {
        let began = Instant::now();
        while !ports[0].is_asked_to_kick() {
            assert!(began.elapsed() < Duration::from_secs(10), "the worker never sleeps");
            std::thread::yield_now();
        }
        ports[0].send(&frame(0, 1).payload(500, 1).complete());
        wait_for(&ports[1], Instant::now());
        assert!(!ports[0].is_asked_to_kick());
    }
    fleet.stop();
    threads.into_iter().for_each(|thread| thread.join().unwrap());
}

#[test]
fn a_request_reaches_a_sleeping_worker_at_once_and_a_stopped_one_not_at_all() {
    let (fleet, _ports, threads) = sleepy();
    let worker = WorkerId::new(0).unwrap();
    for round in 0..5000 {
        spin(round);
        let asked = Instant::now();
        fleet.report(worker).unwrap();
        assert!(asked.elapsed() < LOST);
    }
    fleet.stop();
    assert!(matches!(fleet.report(worker), Err(WorkerGone)));
    threads.into_iter().for_each(|thread| thread.join().unwrap());
    fleet.stop();
}

#[test]
fn a_worker_on_a_core_that_is_absent_is_refused_and_nobody_waits_for_it() {
    let Stage { fleet, mut workers, .. } = Stage::new(2, &[]);
    let refused = spawn(workers.remove(1), "worker 1".into(), 1000);
    assert!(matches!(refused, Err(SpawnError::Core(1000))));
    assert!(matches!(fleet.report(WorkerId::new(1).unwrap()), Err(WorkerGone)));
    let core = core_affinity::get_core_ids().unwrap()[0].id;
    let thread = spawn(workers.remove(0), "worker 0".into(), core).unwrap();
    fleet.report(WorkerId::new(0).unwrap()).unwrap();
    fleet.stop();
    thread.join().unwrap();
}
