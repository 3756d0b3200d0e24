//! What happens to an interface while an uplink has it, or wants it.
#![cfg(test)]

mod support;

use std::sync::Arc;

use helio_frame::{BURST_FRAMES, Port};
use helio_types::{DropReason, UplinkMode};
use helio_uplink::{Census, StateWord, UplinkEvent};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use rustix::thread::{CapabilitySet, capabilities, set_capabilities};
use support::{FarEnd, Rig, Setting, Wire, frame, ip};

fn carries_frames(rig: &mut Rig) {
    let far = FarEnd::new();
    rig.until_state(StateWord::Up);
    let sent = frame(700, 1);
    far.send(&sent);
    assert_eq!(rig.receive(1), std::slice::from_ref(&sent));
    assert_eq!(rig.offer(&sent), Ok(()));
    rig.port.publish();
    rig.until("the far end received", |_| far.try_receive().as_ref() == Some(&sent));
}

fn has_program() -> bool {
    ip("link show near").contains("xdp")
}

/// Soon: a process that another test just starts has what is ours open until it becomes another program.
fn leaves_no_program(rig: &mut Rig) {
    rig.repeat("no program is left", |_| !has_program());
}

#[test]
fn a_link_that_goes_down_stops_the_uplink_and_one_that_comes_up_starts_it_again() {
    for mode in [UplinkMode::Copy, UplinkMode::Skb] {
        let _wire = Wire::new(1500);
        let mut rig = Rig::up(mode);
        carries_frames(&mut rig);
        let set_down = "near is set down: set it up by ip link set near up";
        for (end, told) in [("far", "near has no link"), ("near", set_down)] {
            ip(&format!("link set {end} down"));
            rig.until(told, |rig| {
                let state = rig.state();
                (state.word, state.detail.as_str()) == (StateWord::Waiting, told)
            });
            assert_eq!(rig.offer(&frame(60, 0)), Err(DropReason::PortDown));
            ip(&format!("link set {end} up"));
            carries_frames(&mut rig);
        }
        assert_eq!(rig.port.census().total(), 4096);
    }
}

#[test]
fn an_interface_that_is_deleted_takes_the_uplink_down_and_a_new_one_brings_it_back() {
    for mode in [UplinkMode::Copy, UplinkMode::Skb] {
        let wire = Wire::new(1500);
        let mut rig = Rig::up(mode);
        carries_frames(&mut rig);
        for _ in 0..3 {
            // Frames are under way while it goes.
            for number in 0..100 {
                assert_eq!(rig.offer(&frame(300, number)), Ok(()));
            }
            rig.port.publish();
            ip("link del near");
            // That the link is down may be seen first.
            rig.until("the uplink says that its interface is gone", |rig| {
                let state = rig.state();
                let is_gone = |why| state.detail.contains(why);
                state.word == StateWord::Waiting
                    && (is_gone("near is gone") || is_gone("no interface near"))
            });
            rig.until("its chunks are gone, too", |rig| rig.port.census() == Census::default());
            assert_eq!(rig.handle.census(), Census::default());
            assert_eq!(rig.offer(&frame(60, 0)), Err(DropReason::PortDown));
            wire.lay(1500, 1);
            carries_frames(&mut rig);
        }
        let closed = |event: &&UplinkEvent| matches!(event, UplinkEvent::Closed(_));
        assert_eq!(rig.events().iter().filter(closed).count(), 3);
    }
}

#[test]
fn frames_that_others_hold_keep_an_interface_that_is_gone_until_they_are_given_back() {
    let _wire = Wire::new(1500);
    let mut rig = Rig::up(UplinkMode::Auto);
    let far = FarEnd::new();
    far.send(&frame(700, 1));
    rig.repeat("the frame came", |rig| rig.take() == 1);
    let held = rig.burst.frames()[0].clone();
    ip("link del near");
    rig.repeat("the uplink has noticed", |rig| {
        let had = rig.take();
        had == 0 && rig.state().word == StateWord::Waiting
    });
    for _ in 0..1000 {
        rig.turn();
        assert_eq!(rig.content(&held), frame(700, 1));
    }
    rig.port.release(held.origin);
    rig.until("its chunks are gone", |rig| rig.port.census() == Census::default());
    rig.until("its memory is gone", |rig| rig.table().is_none());
}

#[test]
fn an_interface_that_comes_later_is_found() {
    let wire = Wire::new(1500);
    ip("link del near");
    let mut rig = Rig::started(Setting::default());
    let detail = rig.until_state(StateWord::Waiting);
    rig.until("it was refused", |rig| !rig.events().is_empty());
    assert!(detail.contains("near"), "{detail}");
    assert!(rig.state().detail.starts_with("there is no interface near"));
    wire.lay(1500, 1);
    carries_frames(&mut rig);
    // Told once, however often it was tried.
    let refused = |event: &&UplinkEvent| matches!(event, UplinkEvent::Refused(_));
    assert_eq!(rig.events().iter().filter(refused).count(), 1);
}

#[test]
fn an_mtu_that_changes_changes_what_is_sent() {
    let _wire = Wire::new(1500);
    let mut rig = Rig::up(UplinkMode::Auto);
    assert_eq!(rig.offer(&frame(1518, 0)), Ok(()));
    assert_eq!(rig.offer(&frame(1519, 0)), Err(DropReason::Mtu));
    ip("link set near mtu 3000");
    rig.until("the MTU is seen", |rig| rig.handle.facts().is_some_and(|facts| facts.mtu == 3000));
    assert_eq!(rig.offer(&frame(3018, 0)), Ok(()));
    assert_eq!(rig.offer(&frame(3019, 0)), Err(DropReason::Mtu));
}

#[test]
fn an_uplink_that_stops_leaves_its_interface_to_the_host_and_to_the_next_one() {
    let _wire = Wire::new(1500);
    for mode in [UplinkMode::Copy, UplinkMode::Skb, UplinkMode::Copy] {
        let mut rig = Rig::up(mode);
        carries_frames(&mut rig);
        assert!(has_program());
        rig.stop();
        leaves_no_program(&mut rig);
        assert_eq!((rig.port.census(), rig.state().word), (Census::default(), StateWord::Down));
        assert!(rig.table().is_none());
    }
}

#[test]
fn a_second_uplink_on_the_same_interface_is_refused_and_harms_nobody() {
    let _wire = Wire::new(1500);
    let mut first = Rig::up(UplinkMode::Auto);
    for mode in [UplinkMode::Auto, UplinkMode::Skb] {
        let mut second = Rig::started(Setting { mode, ..Setting::default() });
        second.until("it was refused", |rig| !rig.events().is_empty());
        let detail = second.state().detail;
        let begin = "another XDP program is attached to near (helio_uplink, number ";
        assert!(detail.starts_with(begin), "{detail}");
        assert!(detail.contains("ip link set dev near xdpdrv off"), "{detail}");
    }
    carries_frames(&mut first);
}

#[test]
fn an_uplink_whose_worker_has_dropped_the_port_ends_and_leaves_nothing() {
    let _wire = Wire::new(1500);
    let mut rig = Rig::up(UplinkMode::Auto);
    carries_frames(&mut rig);
    let (spare, _stopped) = support::unused_port();
    drop(std::mem::replace(&mut rig.port, spare));
    rig.handle.stop();
    leaves_no_program(&mut rig);
    assert_eq!(rig.state().word, StateWord::Down);
}

#[test]
fn a_process_without_rights_is_told_which_it_needs() {
    let _wire = Wire::new(1500);
    // Of this thread only, and of those that it starts.
    // SAFETY: no pointers are passed.
    assert_eq!(unsafe { libc::syscall(libc::SYS_setresuid, 65_534, 65_534, 65_534) }, 0);
    let mut rig = Rig::started(Setting::default());
    rig.until("it was refused", |rig| !rig.events().is_empty());
    assert_eq!(
        rig.state().detail,
        "near cannot be used without the right to receive all frames: run this process as root, or give it CAP_NET_RAW"
    );
}

#[test]
fn a_process_that_may_lock_less_memory_than_the_chunks_take_is_told_what_to_raise() {
    let _wire = Wire::new(1500);
    // Of this thread, and of those that it starts; whoever has the capability does not feel the limit.
    let mut rights = capabilities(None).unwrap();
    rights.effective.remove(CapabilitySet::IPC_LOCK);
    set_capabilities(None, rights).unwrap();
    let limit = getrlimit(Resource::Memlock);
    setrlimit(Resource::Memlock, Rlimit { current: Some(1 << 20), ..limit }).unwrap();
    let mut rig = Rig::started(Setting::default());
    rig.until("it was refused", |rig| !rig.events().is_empty());
    let detail = rig.state().detail;
    assert!(detail.starts_with("near needs 16 MiB of locked memory"), "{detail}");
    assert!(detail.contains("CAP_IPC_LOCK") && detail.contains("ulimit -l"), "{detail}");
    // It is tried again each second, and while it is, a program is attached.
    rig.stop();
    leaves_no_program(&mut rig);
}

#[test]
fn a_silent_worker_is_told_once_and_nothing_is_replaced_before_it_answers() {
    let wire = Wire::new(1500);
    // It takes no turn: first the queues are not taken, then they are not given back.
    let mut rig = Rig::started(Setting::default());
    let told = |rig: &Rig| rig.events().iter().filter(|e| **e == UplinkEvent::WorkerSilent).count();
    for silences in 1..=2 {
        rig.repeat("the silence is told", |rig| told(rig) == silences);
        let state = rig.state();
        let sentence = UplinkEvent::WorkerSilent.to_string();
        assert_eq!((state.word, state.detail), (StateWord::Waiting, sentence));
        let table = rig.table().unwrap();
        if silences == 2 {
            // Another interface has the name by now: it has to wait.
            let opened = |e: &&UplinkEvent| matches!(e, UplinkEvent::Opened(_));
            assert_eq!(rig.events().iter().filter(opened).count(), 1);
            assert_eq!(rig.port.census().total(), 4096);
        }
        carries_frames(&mut rig);
        assert_eq!(Arc::ptr_eq(&table, &rig.table().unwrap()), silences == 1);
        assert_eq!(told(&rig), silences);
        if silences == 1 {
            ip("link del near");
            wire.lay(1500, 1);
        }
    }
}

/// Frames that came by `near`, as the kernel counts them.
fn arrived() -> usize {
    let told = ip("-s -o link show near");
    let (_, counts) = told.split_once("RX:").unwrap();
    let (_, numbers) = counts.split_once('\\').unwrap();
    numbers.split_whitespace().nth(1).unwrap().parse().unwrap()
}

fn downs(rig: &Rig) -> usize {
    rig.events().iter().filter(|event| **event == UplinkEvent::LinkDown).count()
}

#[test]
fn a_link_that_goes_down_is_told_when_what_had_come_by_it_was_taken_and_not_before() {
    const FRAMES: usize = 3 * BURST_FRAMES + 1;
    for mode in [UplinkMode::Copy, UplinkMode::Skb] {
        let _wire = Wire::new(1500);
        let mut rig = Rig::up(mode);
        carries_frames(&mut rig);
        let (far, before) = (FarEnd::new(), arrived());
        for number in 0..FRAMES {
            far.send(&frame(300, u32::try_from(number).unwrap()));
        }
        rig.repeat("all have come", |_| arrived() == before + FRAMES);
        ip("link set far down");
        // Without a turn: the worker is busy elsewhere.
        rig.repeat("the link is down", |rig| rig.state().word == StateWord::Waiting);
        let mut taken = 0;
        rig.repeat("all were taken", |rig| {
            assert_eq!(downs(rig), 0, "told after {taken}");
            taken += rig.turn().len();
            taken == FRAMES
        });
        rig.until("it was told", |rig| downs(rig) > 0);
        ip("link set far up");
        carries_frames(&mut rig);
    }
}

#[test]
fn an_interface_that_is_lost_is_told_once_its_queues_are_back() {
    let wire = Wire::new(1500);
    let mut rig = Rig::up(UplinkMode::Auto);
    carries_frames(&mut rig);
    assert_eq!(downs(&rig), 0);
    ip("link del near");
    rig.until("it was told", |rig| downs(rig) > 0);
    wire.lay(1500, 1);
    carries_frames(&mut rig);
}
