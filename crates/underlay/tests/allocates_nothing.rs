//! What a worker does with a neighbour allocates nothing.
#![cfg(test)]

use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

use helio_testkit::{CountingAllocator, allocations_in};
use helio_types::MacAddr;
use helio_underlay::{Carrier, Endpoint, EndpointSettings, Neighbour, Observed};

#[global_allocator]
static ALLOCATOR: CountingAllocator = CountingAllocator;

const OWN: [u8; 6] = [2, 0, 0, 0, 0, 1];
const PEER: [u8; 6] = [2, 0, 0, 0, 0, 2];

fn endpoint(own: &str, remote: &str) -> Endpoint {
    let settings = EndpointSettings {
        own_mac: MacAddr(OWN),
        own: own.parse().unwrap(),
        tag: None,
        remote: remote.parse().unwrap(),
        gateway: None,
        carrier: Carrier::Udp { port: 4789 },
        mtu_bytes: 1500,
    };
    Endpoint::new(&settings).unwrap()
}

/// From the peer to us: a request (1) or a reply (2).
fn arp(operation: u8) -> Vec<u8> {
    let addresses = [Ipv4Addr::new(192, 0, 2, 2), Ipv4Addr::new(192, 0, 2, 1)];
    let [peer, own] = addresses.map(|address| address.octets());
    let head = [8, 6, 0, 1, 8, 0, 6, 4, 0, operation];
    [&OWN[..], &PEER, &head, &PEER, &peer, &OWN, &own].concat()
}

/// What two endpoints say to each other: a frame of the one, with the addresses of the other.
fn exchange(from: &mut Neighbour, to: &mut Neighbour, now: Instant) -> Observed {
    let Some(question) = from.turn(now) else { return Observed::NotOurs };
    let bytes = u32::try_from(question.bytes().len()).unwrap();
    assert!(to.endpoint().may_concern(question.bytes()));
    match to.observe(question.bytes(), bytes, now) {
        Observed::Reply(reply) => from.observe(reply.bytes(), bytes, now),
        other => other,
    }
}

fn mirrored(own: &str, remote: &str) -> (Neighbour, Neighbour) {
    let (here, there) = (own.split_once('/').unwrap(), remote);
    let other = EndpointSettings {
        own_mac: MacAddr(PEER),
        own: format!("{there}/{}", here.1).parse().unwrap(),
        tag: None,
        remote: here.0.parse().unwrap(),
        gateway: None,
        carrier: Carrier::Udp { port: 4789 },
        mtu_bytes: 1500,
    };
    (Neighbour::new(endpoint(own, remote)), Neighbour::new(Endpoint::new(&other).unwrap()))
}

#[test]
fn turns_frames_answers_and_copies_allocate_nothing() {
    let (mut v4, mut peer4) = mirrored("192.0.2.1/24", "192.0.2.2");
    let (mut v6, mut peer6) = mirrored("2001:db8::1/64", "2001:db8::2");
    let (request, reply) = (arp(1), arp(2));
    let start = Instant::now();
    let (mut learned, mut answered, mut refused) = (0, 0, 0);
    let calls = allocations_in(|| {
        for second in 0..100 {
            let now = start + Duration::from_secs(second);
            for seen in [exchange(&mut v4, &mut peer4, now), exchange(&mut v6, &mut peer6, now)] {
                learned += u32::from(seen == Observed::Learned);
            }
            for cut in 0..=request.len() {
                let seen = v4.observe(&request[..cut], 42, now);
                answered += u32::from(matches!(seen, Observed::Reply(_)));
                refused +=
                    u32::from(matches!(v4.observe(&reply[..cut], 42, now), Observed::Refused(_)));
            }
            assert_eq!((v4.use_mac(), v6.use_mac()), (Some(MacAddr(PEER)), Some(MacAddr(PEER))));
            assert_eq!((v4.mtu_bytes(), v6.mtu_bytes()), (1500, 1500));
        }
    });
    assert_eq!(calls, 0);
    // Each was learned at first and confirmed three times, once in half a minute.
    assert_eq!((learned, answered), (8, 100));
    assert!(refused > 0);
}
