//! Frames between an uplink and the far end of its wire, byte by byte.
#![cfg(test)]

mod support;

use helio_frame::{Armed, Port};
use helio_types::{DropReason, PassRule, UplinkMode};
use helio_uplink::{StateWord, UplinkQueues, UplinkWay, WorkerPolling};
use support::{FarEnd, Rig, Setting, Wire, frame};

const MODES: [(UplinkMode, UplinkWay); 3] = [
    (UplinkMode::Auto, UplinkWay::Copy),
    (UplinkMode::Copy, UplinkWay::Copy),
    (UplinkMode::Skb, UplinkWay::Skb),
];

/// The next frame at the far end.
fn received(rig: &mut Rig, far: &FarEnd) -> Vec<u8> {
    let mut got = None;
    rig.until("the far end received", |_| {
        got = far.try_receive();
        got.is_some()
    });
    got.unwrap()
}

#[test]
fn all_lengths_arrive_as_they_were_sent_in_each_mode_that_a_veth_has() {
    for (mode, way) in MODES {
        let _wire = Wire::new(1500);
        let mut rig = Rig::up(mode);
        let facts = rig.handle.facts().unwrap();
        assert_eq!((facts.way, facts.queues, facts.mtu), (way, 1, 1500), "{mode}");
        let far = FarEnd::new();
        for (number, bytes) in (0..).zip([60, 61, 64, 127, 128, 129, 192, 255, 1000, 1513, 1514]) {
            let sent = frame(bytes, number);
            far.send(&sent);
            assert_eq!(rig.receive(1), [sent], "{mode} {bytes}");
            let back = frame(bytes, number + 100);
            assert_eq!(rig.offer(&back), Ok(()));
            rig.port.publish();
            assert_eq!(received(&mut rig, &far), back, "{mode} {bytes}");
        }
    }
}

#[test]
fn a_mode_that_the_driver_has_not_is_refused_with_a_sentence() {
    let _wire = Wire::new(1500);
    let mode = UplinkMode::ZeroCopy;
    let mut rig = Rig::started(Setting { mode, ..Setting::default() });
    rig.until("it was refused", |rig| !rig.events().is_empty());
    let state = rig.state();
    assert_eq!(state.word, StateWord::Waiting);
    assert!(state.detail.starts_with("near has no mode \"zero-copy\" ("), "{}", state.detail);
    assert_eq!(rig.offer(&frame(60, 0)), Err(DropReason::PortDown));
}

#[test]
fn frames_that_are_too_short_for_a_wire_are_padded_with_zeroes() {
    let _wire = Wire::new(1500);
    let mut rig = Rig::up(UplinkMode::Auto);
    let far = FarEnd::new();
    // All chunks have held something else before.
    for number in 0..2048 {
        assert_eq!(rig.offer(&vec![0xff; 1000]), Ok(()));
        rig.port.publish();
        assert_eq!(received(&mut rig, &far).len(), 1000, "{number}");
    }
    for bytes in [14, 15, 42, 59] {
        let sent = frame(bytes, 7);
        assert_eq!(rig.offer(&sent), Ok(()));
        rig.port.publish();
        let mut padded = sent.clone();
        padded.resize(60, 0);
        assert_eq!(received(&mut rig, &far), padded, "{bytes}");
    }
}

#[test]
fn a_tag_arrives_where_it_stood() {
    for (mode, _) in MODES {
        let _wire = Wire::new(1500);
        let mut rig = Rig::up(mode);
        let far = FarEnd::new();
        let mut tagged = frame(1518, 1);
        tagged.splice(12..16, [0x81, 0, 0x60, 0x0a]);
        far.send(&tagged);
        assert_eq!(rig.receive(1), [tagged.clone()], "{mode}");
        assert_eq!(rig.offer(&tagged), Ok(()));
        rig.port.publish();
        assert_eq!(received(&mut rig, &far), tagged, "{mode}");
    }
}

#[test]
fn jumbo_frames_lie_in_several_chunks_in_both_directions() {
    for (mode, _) in MODES {
        let _wire = Wire::new(9000);
        let mut rig = Rig::up(mode);
        assert!(rig.handle.facts().unwrap().multi_buffer);
        let far = FarEnd::new();
        for (number, bytes) in (0..).zip([3839, 3840, 3841, 4096, 7680, 7681, 9000, 9014]) {
            let sent = frame(bytes, number);
            far.send(&sent);
            assert_eq!(rig.receive(1), [sent], "{mode} {bytes}");
            let back = frame(bytes, number + 100);
            assert_eq!(rig.offer(&back), Ok(()));
            rig.port.publish();
            assert_eq!(received(&mut rig, &far), back, "{mode} {bytes}");
        }
        assert_eq!(rig.offer(&frame(9018, 0)), Ok(()));
        assert_eq!(rig.offer(&frame(9019, 0)), Err(DropReason::Mtu));
    }
}

#[test]
fn frames_are_for_the_switch_whatever_their_address_and_some_are_the_hosts_if_that_is_wanted() {
    let _wire = Wire::new(1500);
    let host = "52:54:00:00:00:09".parse().unwrap();
    let pass = vec![PassRule::EtherType(0x88cc), PassRule::Destination(host)];
    let mut rig = Rig::started(Setting { pass, ..Setting::default() });
    rig.until_state(StateWord::Up);
    let (far, own) = (FarEnd::new(), FarEnd::on("near"));
    let mut for_host = frame(100, 1);
    for_host[5] = 9;
    let mut lldp = frame(200, 2);
    lldp[12..14].copy_from_slice(&[0x88, 0xcc]);
    // The bytes of the type in the address, and those of the address behind it.
    let mut neither = frame(300, 3);
    neither[..6].copy_from_slice(&[0x88, 0xcc, 0, 0, 1, 0]);
    for sent in [&for_host, &lldp, &neither, &frame(400, 4)] {
        far.send(sent);
    }
    assert_eq!(rig.receive(2), [neither, frame(400, 4)]);
    assert_eq!(own.try_receive(), Some(for_host));
    assert_eq!(own.try_receive(), Some(lldp));
    assert_eq!(own.try_receive(), None);
}

#[test]
fn all_queues_of_an_interface_bring_frames_and_send_them() {
    let _wire = Wire::with_queues(1500, 4);
    let mut rig = Rig::started(Setting::default());
    rig.until_state(StateWord::Up);
    assert_eq!(rig.handle.facts().unwrap().queues, 4);
    carries_two_hundred_flows(&mut rig);
}

#[test]
fn frames_go_by_the_queues_that_send_where_an_interface_has_fewer_of_them() {
    let _wire = Wire::with_queues(1500, 4);
    set_queues_to_send_on(1);
    let mut rig = Rig::started(Setting::default());
    rig.until_state(StateWord::Up);
    let facts = rig.handle.facts().unwrap();
    assert_eq!((facts.queues, facts.sending_queues), (4, 1));
    carries_two_hundred_flows(&mut rig);
    rig.repeat("all chunks are back, and nothing is left to do", |rig| {
        rig.turn();
        let is_idle = rig.port.arm() == Armed::Idle;
        rig.port.disarm();
        is_idle && rig.port.census().sent == 0
    });
    // More of them while it runs; the kernel refuses fewer.
    set_queues_to_send_on(4);
    rig.until("it is opened anew", |rig| {
        rig.handle.facts().is_some_and(|facts| facts.sending_queues == 4)
    });
    rig.until_state(StateWord::Up);
    carries_two_hundred_flows(&mut rig);
}

fn set_queues_to_send_on(count: u32) {
    let count = count.to_string();
    let set = std::process::Command::new("ethtool").args(["-L", "near", "tx", &count]).status();
    assert!(set.unwrap().success());
}

fn carries_two_hundred_flows(rig: &mut Rig) {
    let far = FarEnd::new();
    // The far end chooses its queue by the flow, and so do we.
    let flow = |number: u32| {
        let mut sent = frame(600, number);
        let [a, b, ..] = number.to_le_bytes();
        sent[12..14].copy_from_slice(&[8, 0]);
        let header = [0x45, 0, 2, 0x4a, 0, 0, 0, 0, 64, 17, 0, 0, 10, 0, 0, 1, 10, 0, a, b];
        sent[14..34].copy_from_slice(&header);
        sent[34..38].copy_from_slice(&[a, 1, b, 2]);
        sent
    };
    let sent: Vec<_> = (0..200).map(flow).collect();
    sent.iter().for_each(|frame| far.send(frame));
    let mut got = rig.receive(200);
    got.sort();
    let mut expected = sent.clone();
    expected.sort();
    assert_eq!(got, expected);
    for frame in &sent {
        assert_eq!(rig.offer(frame), Ok(()));
    }
    rig.port.publish();
    let mut got: Vec<_> = (0..200).map(|_| received(rig, &far)).collect();
    got.sort();
    assert_eq!(got, expected);
}

#[test]
fn fewer_queues_than_the_interface_has_are_possible_and_more_are_not() {
    let _wire = Wire::with_queues(1500, 2);
    let setting = |count| Setting { queues: UplinkQueues::First(count), ..Setting::default() };
    let mut rig = Rig::started(setting(1));
    rig.until_state(StateWord::Up);
    assert_eq!(rig.handle.facts().unwrap().queues, 1);
    let detail = rig.state().detail;
    let note = "1 of the 2 queues that it had when it was opened are used, as the setting queues says, and the host has what arrives on others";
    assert!(detail.contains(note), "{detail}");
    drop(rig);
    let mut rig = Rig::started(setting(2));
    rig.until_state(StateWord::Up);
    assert!(!rig.state().detail.contains("queues says"));
    drop(rig);
    let mut rig = Rig::started(setting(3));
    rig.until("it was refused", |rig| !rig.events().is_empty());
    assert!(rig.state().detail.starts_with("near receives on 2 of 3 queues that are asked for"));
}

#[test]
fn an_interface_with_more_queues_than_an_uplink_can_have_is_refused_until_it_has_fewer() {
    let _wire = Wire::with_queues(1500, 65);
    let mut rig = Rig::started(Setting::default());
    rig.until("it was refused", |rig| !rig.events().is_empty());
    let state = rig.state();
    assert_eq!(state.word, StateWord::Waiting);
    let begin =
        "near has 65 queues, and an uplink can use 64: set fewer by ethtool -L near combined 64";
    assert!(state.detail.starts_with(begin), "{}", state.detail);
    let mut ethtool = std::process::Command::new("ethtool");
    let set = ethtool.args(["-L", "near", "rx", "2", "tx", "2"]).status();
    assert!(set.unwrap().success());
    rig.until_state(StateWord::Up);
    assert_eq!(rig.handle.facts().unwrap().queues, 2);
}

#[test]
fn a_busy_worker_leaves_it_to_the_kernel_to_bring_what_that_copies() {
    let _wire = Wire::new(1500);
    for (mode, _) in MODES {
        let mut rig =
            Rig::started(Setting { mode, polling: WorkerPolling::Busy, ..Setting::default() });
        rig.until_state(StateWord::Up);
        assert!(!rig.handle.facts().unwrap().busy_poll);
        let far = FarEnd::new();
        far.send(&frame(500, 1));
        assert_eq!(rig.receive(1), [frame(500, 1)]);
    }
}
