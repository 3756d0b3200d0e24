//! What may happen to the interfaces of uplinks, and to a switch with uplinks, under load: service resumes by itself, no chunk
//! is lost, and guests whose frames do not use an uplink notice nothing.
//!
//! Each test has network namespaces without names, which are gone when the test is. They need root.
#![cfg(test)]

mod support;

use helio_api::{ChunkInfo, PortState};
use helio_guest::{Connection, Guest};
use rustix::thread::{UnshareFlags, unshare_unsafe};

use support::apart::serve_if_asked;
use support::far_host::{FarHost, NEAR_ENDS, ip};
use support::lane::ping;
use support::load::{Load, come_to_rest};
use support::pair::{Pair, VLAN};
use support::switch::{Placement, Plan, TestSwitch};
use support::wait_until;

/// Chunks of one queue to receive into, and as many to send from.
const CHUNKS: usize = 2048;
/// Those of them that the kernel has to receive into.
const LENT: usize = 1088;

const UPLINKS: [&str; 2] = ["up-near", "up-back"];

/// A namespace of its own for this thread, and those that it starts from now on.
fn enter_namespace() {
    // SAFETY: they get another network namespace, nothing else.
    unsafe { unshare_unsafe(UnshareFlags::NEWNET) }.unwrap();
    // No frames but those of the test.
    for which in ["all", "default"] {
        std::fs::write(format!("/proc/sys/net/ipv6/conf/{which}/disable_ipv6"), "1").ok();
    }
}

/// What alice sends goes by one uplink to the other host, comes back by the other uplink, and goes to bob. Carol and dave have a
/// VLAN without uplinks.
fn plan(placement: Placement, mode: &str) -> Plan {
    let uplink = |name: &str, vlan: u16| {
        format!(
            "[[port]]\nname = \"up-{name}\"\ninterface = \"{name}\"\nmode = \"{mode}\"\nvlan = {{ access = {vlan} }}\n"
        )
    };
    Plan::new(placement)
        .port("alice", "vlan = { access = 20 }")
        .port("bob", "vlan = { access = 30 }")
        .port("carol", VLAN)
        .port("dave", VLAN)
        .more(&uplink("near", 20))
        .more(&uplink("back", 30))
}

fn wait_up(switch: &TestSwitch) {
    for name in UPLINKS {
        switch.wait_state(name, PortState::Up);
    }
}

/// What the switch says of the chunks of an uplink; they add up whenever it is asked.
#[track_caller]
fn chunks(switch: &TestSwitch, name: &str) -> ChunkInfo {
    let chunks = switch.port(name).uplink.unwrap().chunks;
    let ChunkInfo { total, spare, lent, held, lost, free, staged, sent } = chunks;
    assert_eq!((total, lost), (2 * CHUNKS, 0), "{name}: {chunks}");
    assert_eq!((spare + lent + held, free + staged + sent), (CHUNKS, CHUNKS), "{name}: {chunks}");
    chunks
}

/// The way works, loses nothing, and then no chunk is anywhere but where it belongs.
#[track_caller]
fn works_and_has_all_chunks(switch: &TestSwitch, [alice, bob]: [Guest; 2]) -> [Guest; 2] {
    let (mut alice, mut bob) = (alice, bob);
    ping(&mut alice, &mut bob, 1000);
    for name in UPLINKS {
        let mut last = chunks(switch, name);
        wait_until("all chunks are at rest", || {
            last = chunks(switch, name);
            (last.held, last.lent, last.free) == (0, LENT, CHUNKS)
        });
    }
    [alice, bob]
}

/// Something that happens to the interfaces, with what the uplinks say of it, and is undone.
#[derive(Clone, Copy, Debug)]
enum Mishap {
    /// The far end of a wire is pulled out.
    Pulled,
    /// The other host goes, and the wires with it; a new one comes.
    HostGone,
    /// The interface of one uplink is deleted here; then all is made anew.
    Deleted,
}

impl Mishap {
    /// Lets it happen, waits for `noticed`, and undoes it.
    fn happen(self, switch: &TestSwitch, host: FarHost, while_broken: impl Fn()) -> FarHost {
        match self {
            Self::Pulled => {
                host.set_link("near", "down");
                switch.wait_detail("up-near", "near has no link");
                while_broken();
                host.set_link("near", "up");
                host
            }
            Self::HostGone => {
                host.delete();
                switch.wait_detail("up-near", "there is no interface near");
                switch.wait_detail("up-back", "there is no interface back");
                while_broken();
                FarHost::join(1500)
            }
            Self::Deleted => {
                ip("link del near");
                switch.wait_detail("up-near", "there is no interface near");
                while_broken();
                host.delete();
                switch.wait_detail("up-back", "there is no interface back");
                FarHost::join(1500)
            }
        }
    }
}

fn recovers(placement: Placement, mode: &str) {
    enter_namespace();
    let mut host = FarHost::join(1500);
    let switch = plan(placement, mode).start();
    wait_up(&switch);
    let pair = Pair::start(switch.guest("carol"), switch.guest("dave"));
    let mut guests = [switch.guest("alice"), switch.guest("bob")];
    guests = works_and_has_all_chunks(&switch, guests);
    for mishap in [Mishap::Pulled, Mishap::HostGone, Mishap::Deleted, Mishap::Pulled] {
        let [alice, bob] = guests;
        let load = Load::start(alice, bob);
        load.arrives();
        host = mishap.happen(&switch, host, || {
            load.goes_on();
            pair.go_on();
            for name in ["alice", "bob", "carol", "dave"] {
                assert_eq!(switch.port(name).state, PortState::Up, "{mishap:?}");
            }
        });
        // Nobody does anything about it.
        load.arrives();
        wait_up(&switch);
        guests = works_and_has_all_chunks(&switch, load.stop());
    }
    pair.end();
}

#[test]
fn uplinks_resume_under_load_whatever_happens_to_their_interfaces_and_no_chunk_is_lost() {
    for placement in [Placement::OneWorker, Placement::Alternating] {
        for mode in ["auto", "skb"] {
            recovers(placement, mode);
        }
    }
}

/// The guests of a switch that was killed go on with the next one.
fn reconnect(switch: &TestSwitch, names: [&str; 2], guests: &mut [Guest; 2]) {
    for (name, guest) in names.into_iter().zip(guests) {
        guest.resume(Connection::connect(&switch.socket(name)).unwrap()).unwrap();
        switch.wait_state(name, PortState::Up);
    }
}

const KILLED: &str =
    "a_switch_that_is_killed_under_load_leaves_no_program_and_the_next_one_goes_on_with_its_guests";

#[test]
fn a_switch_that_is_killed_under_load_leaves_no_program_and_the_next_one_goes_on_with_its_guests() {
    serve_if_asked();
    for mode in ["auto", "skb"] {
        enter_namespace();
        let _host = FarHost::join(1500);
        let mut switch = plan(Placement::Alternating, mode).start_apart(KILLED);
        wait_up(&switch);
        let mut outer = ["alice", "bob"].map(|name| switch.guest(name));
        let mut inner = ["carol", "dave"].map(|name| switch.guest(name));
        for _ in 0..3 {
            let [over_wire, inside] = [outer, inner].map(|[one, other]| Load::start(one, other));
            over_wire.arrives();
            inside.arrives();
            switch.kill();
            for near in NEAR_ENDS {
                let shown = ip(&format!("-d link show {near}"));
                assert!(!shown.contains("xdp") && shown.contains("promiscuity 0"), "{shown}");
            }
            [outer, inner] = [over_wire.abandon(), inside.abandon()];
            switch.start_again(KILLED);
            reconnect(&switch, ["alice", "bob"], &mut outer);
            reconnect(&switch, ["carol", "dave"], &mut inner);
            wait_up(&switch);
            come_to_rest(&mut outer);
            come_to_rest(&mut inner);
            outer = works_and_has_all_chunks(&switch, outer);
            let [carol, dave] = &mut inner;
            ping(carol, dave, 1000);
        }
    }
}
