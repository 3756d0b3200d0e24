//! Frames from one uplink to another that share a UMEM: they stay where they are, and every chunk is accounted for.
#![cfg(test)]

mod support;

use std::sync::Arc;
use std::time::{Duration, Instant};

use helio_frame::{LastRun, MEMORY_IDS, Origin, Port, Precedence};
use helio_mem::{MemoryTable, Segment};
use helio_testkit::{CountingAllocator, allocations_in};
use helio_types::{DropReason, UplinkMode};
use helio_uplink::{Census, SharedUmem, StateWord, UmemUse, UplinkWay};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use rustix::thread::{CapabilitySet, capabilities, set_capabilities};
use support::{FarEnd, Rig, Setting, Wire, frame, ip};

#[global_allocator]
static ALLOCATOR: CountingAllocator = CountingAllocator;

/// All chunks of one queue.
const CHUNKS: usize = 4096;

/// How long a frame may be on its way.
const PATIENCE: Duration = Duration::from_secs(30);

/// Two uplinks, each on a wire of its own.
struct Pair {
    a: Rig,
    b: Rig,
    shared: Arc<SharedUmem>,
    wire: Wire,
}

fn setting(interface: &'static str, mode: UplinkMode, umem: &Arc<SharedUmem>) -> Setting {
    let port = if interface == "near" { 1 } else { 2 };
    Setting { port, interface, umem: Some(Arc::clone(umem)), mode, ..Setting::default() }
}

impl Pair {
    /// Uplinks that share a UMEM with room for so many queues.
    fn up(mode: UplinkMode, room: u32) -> Self {
        let wire = Wire::new(9000);
        wire.lay_between("near2", "far2", 9000, 1);
        let shared = SharedUmem::make(room).unwrap();
        let [mut a, mut b] =
            ["near", "near2"].map(|interface| Rig::started(setting(interface, mode, &shared)));
        a.until_state(StateWord::Up);
        b.until_state(StateWord::Up);
        Self { a, b, shared, wire }
    }

    fn umem_use(&self) -> [UmemUse; 2] {
        [&self.a, &self.b].map(|rig| rig.handle.facts().unwrap().umem)
    }

    /// Frames from `b` to `a` from now on.
    fn turn_round(&mut self) {
        std::mem::swap(&mut self.a, &mut self.b);
    }

    /// A turn of a worker that has both: frames that came to `a` go to `b`, and nowhere else. Returns their origins when `b` had
    /// them, and why the first one was refused.
    fn carry(&mut self) -> (Vec<Origin>, Option<DropReason>) {
        let Self { a, b, .. } = self;
        b.take();
        b.port.release_all(b.burst.frames());
        a.take();
        let mut memories: Vec<Option<Arc<MemoryTable>>> = vec![None; MEMORY_IDS];
        memories[helio_frame::MemoryId::of_port(a.id()).index()] = a.table();
        let (memories, precedence) = (&memories, Precedence::Production);
        let frames = a.burst.frames_mut();
        let end = b.port.offer_last(LastRun { frames, memories, precedence });
        let origins = a.burst.frames().iter().map(|frame| frame.origin).collect();
        a.port.release_all(a.burst.frames());
        a.port.publish();
        b.port.publish();
        (origins, end.refused.map(|(reason, _)| reason))
    }

    /// Sends a frame at the far end of `a`, and returns its origin when it came to the far end of `b`, as it was.
    fn pass(&mut self, [from, to]: [&FarEnd; 2], sent: &[u8]) -> Origin {
        from.send(sent);
        let (mut origin, mut received) = (None, None);
        let until = Instant::now() + PATIENCE;
        while Instant::now() < until {
            let (origins, refused) = self.carry();
            assert_eq!(refused, None);
            origin = origin.or(origins.first().copied());
            received = received.or_else(|| to.try_receive());
            if received.is_some() {
                break;
            }
            std::thread::yield_now();
        }
        assert_eq!(received.as_deref(), Some(sent), "{} bytes", sent.len());
        origin.unwrap()
    }

    /// Takes turns until all chunks of both are at rest, and the UMEM has what they have not.
    fn settle(&mut self) {
        let at_rest = Census { spare: 960, lent: 1088, free: 2048, ..Census::default() };
        for rig in [&mut self.a, &mut self.b] {
            rig.until("all chunks are at rest", |rig| {
                assert_eq!(rig.port.census().total(), CHUNKS);
                rig.port.census() == at_rest
            });
            assert_eq!(rig.refused, [0; DropReason::COUNT]);
        }
        assert_eq!(self.shared.total() - self.shared.free(), 2 * CHUNKS);
    }
}

fn ends() -> [FarEnd; 2] {
    [FarEnd::on("far"), FarEnd::on("far2")]
}

#[test]
fn a_frame_from_uplink_to_uplink_is_sent_from_where_it_was_received() {
    for mode in [UplinkMode::Copy, UplinkMode::Skb] {
        let mut pair = Pair::up(mode, 2);
        assert_eq!(pair.umem_use(), [UmemUse::Shared; 2]);
        let [far_a, far_b] = ends();
        let table = pair.a.table().unwrap();
        for (number, bytes) in [129, 1514, 3840, 3841, 7680, 7681, 9014].into_iter().enumerate() {
            for ends in [[&far_a, &far_b], [&far_b, &far_a]] {
                let sent = frame(bytes, u32::try_from(number).unwrap());
                let origin = pair.pass(ends, &sent);
                let Origin::Exchanged { chunk, instead, .. } = origin else {
                    panic!("{mode} {bytes}: {origin:?}")
                };
                // The frame is in the chunk that it came in, and not in the one that was given for it.
                let read = |chunk: u16| {
                    let offset = u64::from(chunk) * 4096 + 256;
                    let bytes = u32::try_from(sent.len().min(3840)).unwrap();
                    let mut read = vec![0; bytes as usize];
                    assert_eq!(
                        table.read(Segment { offset, bytes, region: 0 }, &mut read),
                        read.len()
                    );
                    read
                };
                assert!(sent.starts_with(&read(chunk)) && !sent.starts_with(&read(instead)));
                pair.turn_round();
            }
        }
        pair.settle();
    }
}

#[test]
fn a_frame_within_its_head_is_copied_as_that_costs_less() {
    let mut pair = Pair::up(UplinkMode::Auto, 2);
    let [far_a, far_b] = ends();
    for bytes in [60, 64, 128] {
        assert_eq!(pair.pass([&far_a, &far_b], &frame(bytes, 1)), Origin::Nothing);
    }
    pair.settle();
}

#[test]
fn every_chunk_is_accounted_for_after_many_frames_both_ways_whichever_are_refused() {
    for mode in [UplinkMode::Copy, UplinkMode::Skb] {
        let mut pair = Pair::up(mode, 2);
        let [far_a, far_b] = ends();
        let mut random = fastrand::Rng::with_seed(5);
        let (mut exchanged, mut refused) = (0, 0);
        for turn in 0..20_000 {
            let [from, to] = if turn % 2 == 0 { [&far_a, &far_b] } else { [&far_b, &far_a] };
            for _ in 0..random.usize(..12) {
                let bytes = if random.u8(..) < 20 { 9000 } else { random.usize(60..1500) };
                let _full_or_not = from.try_send(&frame(bytes, 1));
            }
            // Frames that nobody publishes for some turns: they find no chunk in the end.
            let (origins, why) = pair.carry();
            exchanged += origins.iter().filter(|it| matches!(it, Origin::Exchanged { .. })).count();
            refused += usize::from(why.is_some());
            while to.try_receive().is_some() {}
            assert_eq!(
                (pair.a.port.census().total(), pair.b.port.census().total()),
                (CHUNKS, CHUNKS)
            );
            pair.turn_round();
        }
        assert!(exchanged > 10_000, "{exchanged} exchanged, {refused} refused");
        pair.settle();
    }
}

/// Receives at `a` and offers to `b`, which publishes nothing, until it refuses a frame.
fn offer_until_refused(pair: &mut Pair, far: &FarEnd) -> DropReason {
    let until = Instant::now() + PATIENCE;
    while Instant::now() < until {
        far.try_send(&frame(700, 1));
        let Pair { a, b, .. } = &mut *pair;
        a.take();
        let mut memories = vec![None; MEMORY_IDS];
        memories[helio_frame::MemoryId::of_port(a.id()).index()] = a.table();
        let (memories, precedence) = (&memories, Precedence::Production);
        let end = b.port.offer_last(LastRun { frames: a.burst.frames_mut(), memories, precedence });
        a.port.release_all(a.burst.frames());
        a.port.publish();
        if let Some((reason, _)) = end.refused {
            return reason;
        }
    }
    panic!("nothing was refused")
}

#[test]
fn an_uplink_that_sends_nothing_runs_out_of_its_own_chunks_and_takes_none_from_others() {
    let mut pair = Pair::up(UplinkMode::Copy, 2);
    let [far_a, _far_b] = ends();
    assert_eq!(offer_until_refused(&mut pair, &far_a), DropReason::NoTxChunk);
    assert_eq!(pair.b.port.census().staged, 2048);
    let census = pair.a.port.census();
    assert_eq!((census.spare + census.lent + census.held, census.free), (2048, 2048));
    // The other one goes on.
    let sent = frame(800, 2);
    far_a.send(&sent);
    pair.a.repeat("the frame came", |rig| rig.turn().contains(&sent));
    pair.settle();
}

#[test]
fn without_a_link_the_other_uplink_refuses_and_frames_go_on_to_come() {
    let mut pair = Pair::up(UplinkMode::Copy, 2);
    let [far_a, far_b] = ends();
    ip("link set far2 down");
    pair.b.until_state(StateWord::Waiting);
    assert_eq!(offer_until_refused(&mut pair, &far_a), DropReason::PortDown);
    ip("link set far2 up");
    pair.b.until_state(StateWord::Up);
    pair.settle();
    while far_b.try_receive().is_some() {}
    assert!(matches!(pair.pass([&far_a, &far_b], &frame(900, 3)), Origin::Exchanged { .. }));
}

#[test]
fn an_interface_that_is_deleted_joins_the_umem_again_when_it_is_back_while_the_other_goes_on() {
    for mode in [UplinkMode::Copy, UplinkMode::Skb] {
        let mut pair = Pair::up(mode, 2);
        for round in 0..4 {
            let (near, far) = if round % 2 == 0 { ("near", "far") } else { ("near2", "far2") };
            let [far_a, far_b] = ends();
            // Each has chunks of the other by now.
            for number in 0..200 {
                let origin = pair.pass([&far_a, &far_b], &frame(1000, number));
                assert!(matches!(origin, Origin::Exchanged { .. }), "{origin:?}");
            }
            drop((far_a, far_b));
            let Pair { a, b, shared, wire } = &mut pair;
            let (gone, other) = if round % 2 == 0 { (a, b) } else { (b, a) };
            ip(&format!("link del {near}"));
            gone.until("its chunks are given back", |_| shared.free() == CHUNKS);
            assert_eq!(gone.port.census(), Census::default());
            other.until("the other one has its own", |rig| rig.port.census().total() == CHUNKS);
            wire.lay_between(near, far, 9000, 1);
            gone.until_state(StateWord::Up);
            assert_eq!(shared.free(), 0);
            pair.settle();
        }
    }
}

#[test]
fn uplinks_can_be_stopped_in_any_order_and_all_chunks_come_back() {
    for first in ["near", "near2"] {
        let mut pair = Pair::up(UplinkMode::Auto, 3);
        let [far_a, far_b] = ends();
        for number in 0..50 {
            pair.pass([&far_a, &far_b], &frame(5000, number));
        }
        assert_eq!(pair.shared.free(), CHUNKS);
        if first == "near2" {
            pair.turn_round();
        }
        pair.a.stop();
        assert_eq!(pair.shared.free(), 2 * CHUNKS);
        pair.b.stop();
        assert_eq!(pair.shared.free(), 3 * CHUNKS);
    }
}

#[test]
fn an_uplink_for_which_there_is_no_room_has_a_umem_of_its_own_and_frames_are_copied() {
    let mut pair = Pair::up(UplinkMode::Auto, 1);
    let mut both = pair.umem_use().map(|it| it == UmemUse::Shared);
    both.sort_unstable();
    assert_eq!((both, pair.shared.free()), ([false, true], 0));
    let says_so =
        |rig: &Rig| rig.state().detail.contains("frames to and from other uplinks are copied");
    assert_eq!([&pair.a, &pair.b].into_iter().filter(|rig| says_so(rig)).count(), 1);
    let [far_a, far_b] = ends();
    for ends in [[&far_a, &far_b], [&far_b, &far_a]] {
        let origin = pair.pass(ends, &frame(1500, 1));
        assert!(matches!(origin, Origin::Umem { .. }), "{origin:?}");
        pair.turn_round();
    }
}

#[test]
fn an_uplink_on_a_loopback_has_a_umem_of_its_own_as_the_shared_one_is_bound_to_such_a_one() {
    let _wire = Wire::new(1500);
    ip("link set lo up");
    let shared = SharedUmem::make(1).unwrap();
    let mut rig = Rig::started(setting("lo", UplinkMode::Skb, &shared));
    rig.until_state(StateWord::Up);
    assert_eq!(rig.handle.facts().unwrap().umem, UmemUse::Own);
    assert_eq!(shared.free(), CHUNKS);
}

#[test]
fn exchanging_allocates_nothing() {
    let mut pair = Pair::up(UplinkMode::Auto, 2);
    let [far_a, far_b] = ends();
    let mut memories = vec![None; MEMORY_IDS];
    memories[helio_frame::MemoryId::of_port(pair.a.id()).index()] = pair.a.table();
    let mut exchanged = 0;
    for number in 0..200 {
        far_a.send(&frame(1500, number));
        far_a.send(&frame(9000, number));
        let Pair { a, b, .. } = &mut pair;
        let allocations = allocations_in(|| {
            let Rig { port, burst, pool, refused, .. } = &mut *a;
            burst.clear();
            port.take(&mut helio_frame::Intake { burst, pool, refused });
            let (memories, precedence) = (&memories, Precedence::Production);
            b.port.offer_last(LastRun { frames: burst.frames_mut(), memories, precedence });
            port.release_all(burst.frames());
            port.publish();
            b.port.publish();
        });
        assert_eq!(allocations, 0);
        let origins = a.burst.frames().iter().map(|frame| frame.origin);
        exchanged += origins.filter(|it| matches!(it, Origin::Exchanged { .. })).count();
        while far_b.try_receive().is_some() {}
    }
    assert!(exchanged > 0);
    pair.settle();
}

#[test]
fn an_uplink_that_may_lock_no_memory_of_its_own_takes_the_mode_in_which_it_shares_what_is_there() {
    let _wire = Wire::new(1500);
    let shared = SharedUmem::make(1).unwrap();
    // Of this thread, and of those that it starts; whoever has the capability does not feel the limit.
    let mut rights = capabilities(None).unwrap();
    rights.effective.remove(CapabilitySet::IPC_LOCK);
    set_capabilities(None, rights).unwrap();
    let limit = getrlimit(Resource::Memlock);
    setrlimit(Resource::Memlock, Rlimit { current: Some(1 << 20), ..limit }).unwrap();
    // It tries zero-copy first, which takes a UMEM of its own.
    let mut rig = Rig::started(setting("near", UplinkMode::Auto, &shared));
    rig.until_state(StateWord::Up);
    let facts = rig.handle.facts().unwrap();
    assert_eq!((facts.way, facts.umem), (UplinkWay::Copy, UmemUse::Shared));
}
