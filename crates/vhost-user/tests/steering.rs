//! Bursts of several flows for a guest with several receiveqs: each frame comes once, on the queue of its flow, in order.
#![cfg(test)]

mod support;

use std::collections::BTreeMap;
use std::sync::atomic::Ordering;
use std::time::Duration;

use helio_guest::{Flow, Guest, GuestConfig, Numbered, Refill, TestFrame};
use helio_types::DropReason;
use support::lab::{Lab, config, hears_nothing};
use support::{PATIENCE, wait_until};

const PAIRS: u16 = 4;

/// A guest that receives on all pairs.
fn receiver() -> GuestConfig {
    GuestConfig { queue_pairs: PAIRS, active_pairs: PAIRS, ..config(0) }
}

/// The flow with number `number` between two guests, as the second one sends it.
fn back(receiver: &Guest, sender: &Guest, number: u16) -> Flow {
    Flow {
        sender: number,
        addresses: [[10, 0, 0, 2], [10, 0, 0, 1]],
        ports: [53, 1000 + number],
        ..Flow::between(sender.mac(), receiver.mac())
    }
}

/// `receiver` sends a frame of each flow on the pair that `pair_of` says, so that it is known where the flow belongs.
fn announce(
    receiver: &mut Guest,
    sender: &mut Guest,
    flows: &[u16],
    pair_of: impl Fn(u16) -> usize,
) {
    for number in flows {
        let back = back(receiver, sender, *number);
        let there = Flow {
            source: back.destination,
            destination: back.source,
            addresses: [back.addresses[1], back.addresses[0]],
            ports: [back.ports[1], back.ports[0]],
            ..back
        };
        let mut bytes = Vec::new();
        let header = Numbered::new(there).write_next(&mut bytes);
        receiver.send_on(pair_of(*number), &header, &bytes).unwrap();
        receiver.kick();
        sender.wait_received(1, PATIENCE).unwrap();
    }
}

/// Sends frames of these flows together, `order` saying of which flow each is.
fn send_together(
    lab: &Lab,
    sender: &mut Guest,
    flows: &mut BTreeMap<u16, Numbered>,
    order: impl Iterator<Item = u16>,
) {
    lab.hub.shared.pause();
    let mut bytes = Vec::new();
    for number in order {
        flows.get_mut(&number).unwrap().write_next(&mut bytes);
        sender.send(&bytes).unwrap();
    }
    sender.kick();
    lab.hub.shared.resume();
    sender.wait_all_sent(PATIENCE).unwrap();
}

fn numbered(receiver: &Guest, sender: &Guest, flows: &[u16]) -> BTreeMap<u16, Numbered> {
    flows.iter().map(|flow| (*flow, Numbered::new(back(receiver, sender, *flow)))).collect()
}

/// Takes `count` frames: the pairs and numbers of those of each flow, in the order in which they came.
fn take(guest: &mut Guest, count: usize) -> BTreeMap<u16, Vec<(usize, u64)>> {
    let mut flows: BTreeMap<u16, Vec<_>> = BTreeMap::new();
    let mut received = guest.wait_received(count, PATIENCE).unwrap();
    received.extend(guest.receive_for(Duration::from_millis(20)).unwrap());
    assert_eq!(received.len(), count);
    for one in received {
        let frame = TestFrame::parse(&one.frame).unwrap();
        flows.entry(frame.sender).or_default().push((one.pair, frame.sequence));
    }
    assert_eq!(guest.faults().total(), 0);
    flows
}

fn numbers(pair: usize, range: std::ops::Range<u64>) -> Vec<(usize, u64)> {
    range.map(|number| (pair, number)).collect()
}

#[test]
fn c040_frames_of_several_flows_in_turn_come_on_the_pairs_of_their_flows_in_order() {
    let lab = Lab::new(2);
    let (mut one, mut other) = (lab.guest_with(0, receiver()), lab.guest(1));
    let flows: Vec<u16> = (0..8).collect();
    for shift in 0..3 {
        let pair_of = |flow: u16| usize::from((flow + shift) % PAIRS);
        announce(&mut one, &mut other, &flows, pair_of);
        let mut sent = numbered(&one, &other, &flows);
        // In turn, then three of each together, then of one pair only.
        let order = (0..80).map(|frame| frame % 8);
        let order = order.chain((0..96).map(|frame| frame / 3 % 8)).chain([2; 50]);
        send_together(&lab, &mut other, &mut sent, order);
        let received = take(&mut one, 226);
        for flow in &flows {
            let count = if *flow == 2 { 72 } else { 22 };
            assert_eq!(received[flow], numbers(pair_of(*flow), 0..count), "flow {flow}");
        }
    }
}

#[test]
fn c040_a_pair_without_buffers_takes_nothing_from_the_others() {
    let lab = Lab::new(2);
    let by_hand = GuestConfig { refill: Refill::ByHand, ..receiver() };
    let (mut one, mut other) = (lab.guest_with(0, by_hand), lab.guest(1));
    let flows = [0, 1, 2];
    announce(&mut one, &mut other, &flows, |flow| usize::from(flow.min(1)));
    let mut sent = numbered(&one, &other, &flows);
    let dropped = || lab.hub.shared.dropped(DropReason::NoRxBuffer);
    // No pair has any.
    send_together(&lab, &mut other, &mut sent, (0..60).map(|frame| frame % 2));
    wait_until("all are dropped", || dropped() == 60);
    one.post_receive(40);
    one.kick();
    // Two of three frames are for the second pair, which has room for 40.
    send_together(&lab, &mut other, &mut sent, (0..90).map(|frame| frame % 3));
    let received = take(&mut one, 70);
    assert_eq!(dropped(), 60 + 20);
    assert_eq!(received[&0], numbers(0, 30..60));
    assert_eq!(received[&1], numbers(1, 30..50));
    assert_eq!(received[&2], numbers(1, 0..20));
}

#[test]
fn c040_what_was_prepared_for_frames_that_did_not_come_is_used_for_those_that_do() {
    let lab = Lab::new(2);
    let (mut one, mut other) = (lab.guest_with(0, receiver()), lab.guest(1));
    let flows = [0, 1, 2, 3];
    announce(&mut one, &mut other, &flows, usize::from);
    let mut sent = numbered(&one, &other, &flows);
    for active in [4, 2, 1, 3, 4, 0, 4] {
        let before: Vec<_> = flows.iter().map(|flow| sent[flow].next()).collect();
        lab.hub.shared.withhold_frames();
        let mut lost = sent.clone();
        send_together(&lab, &mut other, &mut lost, (0..200).map(|frame| frame % 4));
        hears_nothing(&mut one);
        lab.hub.shared.offer_frames();
        // Pairs are taken away between the one and the other.
        one.set_active_pairs(active).unwrap();
        lab.ports[0].wait_active(active);
        if active == 0 {
            continue;
        }
        send_together(&lab, &mut other, &mut sent, (0..200).map(|frame| frame % 4));
        let received = take(&mut one, 200);
        for (flow, start) in flows.iter().zip(before) {
            let came = &received[flow];
            let pair = came[0].0;
            assert!(pair < usize::from(active));
            assert!(*flow >= active || pair == usize::from(*flow), "flow {flow} on pair {pair}");
            assert_eq!(*came, numbers(pair, start..start + 50));
        }
    }
    assert_eq!(lab.hub.shared.held.load(Ordering::SeqCst), 0);
}
