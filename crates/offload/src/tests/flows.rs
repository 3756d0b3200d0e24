//! The flow hash.

use etherparse::{IpHeaders, PacketBuilder};
use proptest::prelude::*;

use super::frames::{TcpFrame, kinds};
use crate::flow_hash;

/// The same frame on its way back.
fn reversed(frame: &TcpFrame) -> TcpFrame {
    let mut back = frame.clone();
    match &mut back.ip {
        IpHeaders::Ipv4(ip, _) => std::mem::swap(&mut ip.source, &mut ip.destination),
        IpHeaders::Ipv6(ip, _) => std::mem::swap(&mut ip.source, &mut ip.destination),
    }
    std::mem::swap(&mut back.tcp.source_port, &mut back.tcp.destination_port);
    back
}

fn udp(source: u16, destination: u16) -> Vec<u8> {
    let mut frame = Vec::new();
    PacketBuilder::ethernet2([2; 6], [4; 6])
        .ipv4([10, 0, 0, 1], [10, 0, 0, 2], 64)
        .udp(source, destination)
        .write(&mut frame, &[0; 16])
        .unwrap();
    frame
}

#[test]
fn both_directions_of_a_flow_have_one_hash() {
    for frame in kinds(100) {
        let back = reversed(&frame);
        assert_ne!(frame.write(), back.write());
        assert_eq!(flow_hash(&frame.write()), flow_hash(&back.write()));
    }
}

#[test]
fn ports_belong_to_their_addresses() {
    let frame = TcpFrame::v4(0);
    let mut other = frame.clone();
    std::mem::swap(&mut other.tcp.source_port, &mut other.tcp.destination_port);
    assert_ne!(flow_hash(&frame.write()), flow_hash(&other.write()));
}

#[test]
fn a_tag_and_the_payload_do_not_matter() {
    let plain = flow_hash(&TcpFrame::v6(500).write());
    assert_eq!(plain, flow_hash(&TcpFrame::v6(3).tagged(&[(0x8100, 5)]).write()));
    assert_eq!(plain, flow_hash(&TcpFrame::v6(3).tagged(&[(0x88a8, 5), (0x8100, 6)]).write()));
    assert_eq!(plain, flow_hash(&TcpFrame::v6(3).with_extensions().write()));
}

#[test]
fn t44_all_fragments_of_a_datagram_have_one_hash() {
    let mut first = udp(1000, 2000);
    first[20] = 0x20;
    let mut later = udp(7777, 8888);
    later[20..22].copy_from_slice(&[0, 185]);
    assert_eq!(flow_hash(&first), flow_hash(&later));
    assert_ne!(flow_hash(&first), flow_hash(&udp(1000, 2000)));
}

#[test]
fn t44_protocols_without_ports_and_of_any_number_are_told_apart_by_address_and_protocol() {
    let with_protocol = |protocol, source: u16| {
        let mut frame = udp(source, 2000);
        frame[23] = protocol;
        flow_hash(&frame)
    };
    for protocol in [0, 1, 255] {
        assert_eq!(with_protocol(protocol, 1000), with_protocol(protocol, 1001));
        assert_ne!(with_protocol(protocol, 1000), with_protocol(47, 1000));
    }
    assert_ne!(with_protocol(17, 1000), with_protocol(17, 1001));
}

#[test]
fn what_is_not_ip_is_told_apart_by_its_ethernet_addresses() {
    let frame = |source, destination, ether_type: [u8; 2]| {
        [&[destination; 6][..], &[source; 6], &ether_type, &[0; 46]].concat()
    };
    let arp = flow_hash(&frame(2, 4, [8, 6]));
    assert_eq!(arp, flow_hash(&frame(4, 2, [8, 6])));
    assert_ne!(arp, flow_hash(&frame(2, 6, [8, 6])));
    // An IPv4 type with something else behind it is not IP either.
    assert_eq!(arp, flow_hash(&frame(2, 4, [8, 0])));
}

#[test]
fn consecutive_ports_spread_over_the_low_bits() {
    let mut buckets = [0_u32; 8];
    for port in 10_000..14_096 {
        buckets[usize::try_from(flow_hash(&udp(port, 80)) % 8).unwrap()] += 1;
    }
    // 512 expected in each; four standard deviations are 85.
    assert!(buckets.iter().all(|count| (427..=597).contains(count)), "{buckets:?}");
}

#[test]
fn consecutive_addresses_spread_over_the_low_bits() {
    let mut buckets = [0_u32; 8];
    for host in 0..=u8::MAX {
        for network in 0..16 {
            let mut frame = udp(1000, 80);
            frame[28..30].copy_from_slice(&[network, host]);
            buckets[usize::try_from(flow_hash(&frame) % 8).unwrap()] += 1;
        }
    }
    assert!(buckets.iter().all(|count| (427..=597).contains(count)), "{buckets:?}");
}

proptest! {
    #[test]
    fn any_bytes_have_a_hash_and_swapped_ethernet_addresses_do_not_split_a_flow(
        bytes in proptest::collection::vec(any::<u8>(), 0..130),
    ) {
        let hash = flow_hash(&bytes);
        let mut swapped = bytes;
        if swapped.len() >= 12 {
            swapped[0..12].rotate_left(6);
        }
        prop_assert_eq!(hash, flow_hash(&swapped));
    }
}
