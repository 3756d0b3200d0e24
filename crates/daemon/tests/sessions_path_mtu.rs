//! A router with a narrower link behind it says so, and the copies for the collector beyond obey it.
//!
//! Each test has network namespaces without names, which are gone when the test is. They need root.
#![cfg(test)]

mod support;

use std::collections::BTreeMap;
use std::time::Duration;

use helio_api::PortState;

use support::collector::{Arrived, Form, NETWORKS, Stream, UPLINK, all_streams, collect_copies};
use support::router::Router;
use support::station::{Station, assert_same, collect, numbered};
use support::switch::{Placement, Plan, TestSwitch};
use support::wait_until;
use support::wire::{Card, enter_namespace, ip};

/// Longest datagram behind the router.
const PATH_MTU: u16 = 1300;

/// Two guests, of whom one is watched, and a collector beyond a router.
struct Scene {
    switch: TestSwitch,
    alice: Station,
    bob: Station,
    beyond: Card,
    streams: Vec<Stream>,
    next_number: u32,
    _router: Router,
}

impl Scene {
    #[track_caller]
    fn start(streams: &[Stream], oversize: &str) -> Self {
        enter_namespace();
        let (router, beyond) = Router::join(PATH_MTU.into());
        let more = format!("oversize = \"{oversize}\"");
        let legs = streams.iter().map(|stream| router.destination(*stream, &more));
        let legs: String = legs.collect();
        let session = format!("[[mirror]]\nname = \"watch\"\nsource-ports = [\"alice\"]\n{legs}");
        let plan = Plan::new(Placement::OneWorker).port("alice", TEN).port("bob", TEN);
        let switch = plan.more(UPLINK).more(&session).start();
        switch.wait_state("uplink0", PortState::Up);
        switch.wait_collectors("watch");
        let [alice, bob] = ["alice", "bob"].map(|name| Station::guest(switch.guest(name)));
        let streams = streams.to_vec();
        Self { switch, alice, bob, beyond, streams, next_number: 1, _router: router }
    }

    /// Alice sends a frame to bob.
    fn send(&mut self, bytes: usize) -> Vec<u8> {
        let [alice, bob] = ["alice", "bob"].map(|name| self.switch.mac(name));
        self.next_number += 1;
        let frame = numbered(alice, bob, None, self.next_number, bytes);
        self.alice.send(&frame);
        frame
    }

    fn path_mtus(&self) -> Vec<u16> {
        let legs = self.switch.session("watch").destinations;
        legs.into_iter().map(|leg| leg.remote.unwrap().path_mtu).collect()
    }

    /// Sends what is too long for the path until the router was heard for each stream, and then a frame that is returned: the
    /// last one that came of all this.
    #[track_caller]
    fn learn(&mut self) -> Vec<u8> {
        assert_eq!(self.path_mtus(), vec![1500; self.streams.len()], "nobody has complained yet");
        wait_until("the router is heeded", || {
            self.send(1400);
            std::thread::sleep(Duration::from_millis(20));
            self.path_mtus().iter().all(|bytes| *bytes == PATH_MTU)
        });
        let last = self.send(60);
        await_all(&last, self.streams.len(), || self.beyond.take());
        await_all(&last, 1, || self.bob.take());
        last
    }

    /// What was wanted, delivered and dropped so far, of each stream.
    fn counts(&self) -> Vec<[u64; 3]> {
        let legs = self.switch.settled("watch");
        let dropped = |reason: &BTreeMap<String, u64>| reason.get("mtu").copied().unwrap_or(0);
        legs.iter().map(|leg| [leg.wanted, leg.delivered, dropped(&leg.dropped)]).collect()
    }

    /// Takes what arrives beyond the router until `count` copies have come.
    fn collect(&mut self, count: usize) -> Vec<Arrived> {
        collect_copies(&mut self.beyond, count)
    }
}

const TEN: &str = "vlan = { access = 10 }";

/// Waits until `frame`, which went last, has come so often, by itself or in datagrams. Forgets what came before.
#[track_caller]
fn await_all(frame: &[u8], count: usize, mut take: impl FnMut() -> Vec<Vec<u8>>) {
    let holds = |all: &Vec<u8>| all.windows(frame.len()).any(|part| part == frame);
    let mut came = 0;
    wait_until("the last frame has come", || {
        came += take().iter().filter(|all| holds(all)).count();
        came == count
    });
}

/// Whether a datagram is a part of another one.
fn is_fragment(frame: &[u8]) -> bool {
    match (frame[12], frame[13]) {
        (8, 0) => frame[20] & 0x3f != 0 || frame[21] != 0,
        (0x86, 0xdd) => frame[20] == 44,
        _ => false,
    }
}

/// Most bytes of a frame in a datagram that the path takes.
fn limit((network, form): Stream) -> usize {
    let ip = [20, 40][network as usize];
    let shim = match form {
        Form::Erspan1 => 4,
        Form::Erspan2 | Form::Vxlan => 16,
        Form::Erspan3 => 28,
        Form::Gre => 12,
    };
    usize::from(PATH_MTU) - ip - shim
}

/// Around the limit of each stream, and others.
fn lengths() -> Vec<usize> {
    let limits = all_streams().into_iter().map(limit);
    limits.flat_map(|limit| [limit, limit + 1]).chain([60, 1400]).collect()
}

fn of_stream(copies: &[Arrived], stream: Stream) -> Vec<Vec<u8>> {
    let own = copies.iter().filter(|copy| copy.stream == stream);
    own.map(|copy| copy.copy.clone()).collect()
}

#[test]
fn copies_are_truncated_to_what_a_router_says() {
    let mut scene = Scene::start(&all_streams(), "truncate");
    scene.learn();
    let sent: Vec<_> = lengths().into_iter().map(|bytes| scene.send(bytes)).collect();
    let copies = scene.collect(sent.len() * all_streams().len());
    for stream in all_streams() {
        let cut = |frame: &Vec<u8>| frame[..frame.len().min(limit(stream))].to_vec();
        let wanted: Vec<_> = sent.iter().map(cut).collect();
        assert_same("copies", of_stream(&copies, stream), &wanted);
    }
    assert_same("production", collect(&mut scene.bob, sent.len()), &sent);
}

#[test]
fn copies_that_a_router_would_not_forward_are_dropped_and_counted() {
    let mut scene = Scene::start(&all_streams(), "drop");
    scene.learn();
    let before = scene.counts();
    let sent: Vec<_> = lengths().into_iter().map(|bytes| scene.send(bytes)).collect();
    let fits = |stream: Stream| -> Vec<_> {
        sent.iter().filter(|frame| frame.len() <= limit(stream)).cloned().collect()
    };
    let total = all_streams().into_iter().map(|stream| fits(stream).len()).sum();
    let copies = scene.collect(total);
    let after = scene.counts();
    for (place, stream) in all_streams().into_iter().enumerate() {
        assert_same("copies", of_stream(&copies, stream), &fits(stream));
        let added = [0, 1, 2].map(|at| after[place][at] - before[place][at]);
        let [all, fitting] = [sent.len(), fits(stream).len()].map(|count| count as u64);
        assert_eq!(added, [all, fitting, all - fitting], "{stream:?}");
    }
    assert_same("production", collect(&mut scene.bob, sent.len()), &sent);
}

#[test]
fn copies_are_fragmented_for_what_a_router_says_and_put_together_by_the_kernel() {
    let streams = NETWORKS.map(|network| (network, Form::Vxlan));
    let mut scene = Scene::start(&streams, "fragment");
    let mut collectors = [("vx4", "10.8.0.9"), ("vx6", "fd08::9")].map(|(name, local)| {
        ip(&format!("link add {name} type vxlan id 705 dev beyond local {local} dstport 4789"));
        ip(&format!("link set {name} up"));
        Station::Card(Card::on(name))
    });
    let last = scene.learn();
    for collector in &mut collectors {
        await_all(&last, 1, || collector.take());
    }
    let sent: Vec<_> = lengths().into_iter().map(|bytes| scene.send(bytes)).collect();
    for collector in &mut collectors {
        assert_same("kernel VXLAN", collect(collector, sent.len()), &sent);
    }
    let too_long = |stream: Stream| sent.iter().filter(|frame| frame.len() > limit(stream)).count();
    let fragments = scene.beyond.take().iter().filter(|frame| is_fragment(frame)).count();
    assert_eq!(fragments, 2 * streams.into_iter().map(too_long).sum::<usize>());
    assert_same("production", collect(&mut scene.bob, sent.len()), &sent);
}

#[test]
fn legs_of_different_lengths_on_one_path_all_heed_the_router_and_none_takes_its_word_for_a_lie() {
    enter_namespace();
    let (router, _beyond) = Router::join(PATH_MTU.into());
    let leg = |network, (id, mtu)| {
        let more = format!("mtu = {mtu}\noversize = \"truncate\"");
        let text = router.destination((network, Form::Erspan2), &more);
        text.replace("id = 702", &format!("id = {id}"))
    };
    // What a router quotes of them is alike: the session of a copy is not in what it must quote.
    let lengths = [(1, 1500), (2, 1400), (3, 1320)];
    let legs = NETWORKS.iter().flat_map(|network| lengths.map(|length| leg(*network, length)));
    let session = format!(
        "[[mirror]]\nname = \"watch\"\nsource-ports = [\"alice\"]\n{}",
        legs.collect::<String>()
    );
    let plan = Plan::new(Placement::OneWorker).port("alice", TEN).port("bob", TEN);
    let switch = plan.more(UPLINK).more(&session).start();
    switch.wait_state("uplink0", PortState::Up);
    switch.wait_collectors("watch");
    let mut alice = Station::guest(switch.guest("alice"));
    let remotes = || {
        let legs = switch.session("watch").destinations;
        legs.into_iter().map(|leg| leg.remote.unwrap()).collect::<Vec<_>>()
    };
    let mut number = 0;
    wait_until("the router is heeded", || {
        number += 1;
        alice.send(&numbered(switch.mac("alice"), switch.mac("bob"), None, number, 1440));
        std::thread::sleep(Duration::from_millis(20));
        remotes().iter().all(|remote| remote.path_mtu == PATH_MTU)
    });
    for remote in remotes() {
        assert!(remote.neighbour_refused.is_empty(), "{remote:?}");
    }
}
