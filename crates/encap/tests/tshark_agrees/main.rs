//! Copies as tshark, an independent reader, takes them apart: every field is as configured, and nothing is strange.
#![cfg(test)]

mod capture;

use std::net::{Ipv4Addr, Ipv6Addr};
use std::num::NonZeroU8;

use capture::Capture;
use etherparse::PacketBuilder;
use helio_encap::{
    Addresses, CopyFields, Cos, Direction, DontFragment, Dscp, Encapsulation, ErspanSession,
    GreSequence, HardwareId, Integrity, OriginalTag, OuterHeader, OuterTag, Oversize, Path,
    SnapLen, SourceIndex, SubHeaderChoice, Template, Timestamp, Truncation, UdpChecksum, Underlay,
    VXLAN_PORT, Vni,
};
use helio_types::{MacAddr, VlanId};

const OUTER_SOURCE: MacAddr = MacAddr([2, 0, 0, 0, 0, 1]);
const OUTER_DESTINATION: MacAddr = MacAddr([2, 0, 0, 0, 0, 2]);
const INNER_SOURCE: MacAddr = MacAddr([2, 0, 0, 0, 0, 3]);
const INNER_DESTINATION: MacAddr = MacAddr([2, 0, 0, 0, 0, 4]);

const V4: Addresses = Addresses::V4 {
    source: Ipv4Addr::new(192, 0, 2, 1),
    destination: Ipv4Addr::new(198, 51, 100, 2),
};
const V6: Addresses = Addresses::V6 {
    source: Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1),
    destination: Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 2),
};
const ETHERNET_PATH: Path = Path { mtu_bytes: 1500, oversize: Oversize::Drop };

fn underlay(addresses: Addresses) -> Underlay {
    Underlay {
        source_mac: OUTER_SOURCE,
        destination_mac: OUTER_DESTINATION,
        tag: Some(OuterTag { vlan: vlan(77), cos: Cos::new(3).unwrap() }),
        addresses,
        dscp: Dscp::new(10).unwrap(),
        hop_limit: NonZeroU8::new(61).unwrap(),
        dont_fragment: DontFragment::Set,
    }
}

fn vlan(id: u16) -> VlanId {
    VlanId::new(id).unwrap()
}

fn session() -> ErspanSession {
    ErspanSession::new(777).unwrap()
}

fn type_iii(sub_header: SubHeaderChoice) -> Encapsulation {
    let hardware = HardwareId::new(41).unwrap();
    Encapsulation::ErspanIII { session: session(), security_group: 0xabc, hardware, sub_header }
}

fn vxlan(checksum: UdpChecksum) -> Encapsulation {
    Encapsulation::Vxlan { vni: Vni::new(0xab_cdef).unwrap(), port: VXLAN_PORT, checksum }
}

/// About a frame of VLAN 100 that has lost its tag.
fn copy() -> CopyFields {
    CopyFields {
        sequence: 0x8000_0001,
        identification: 0x1234_5678,
        vlan: vlan(100),
        cos: Cos::new(5).unwrap(),
        original_tag: OriginalTag::Removed,
        integrity: Integrity::Oversized,
        truncation: Truncation::Whole,
        direction: Direction::Egress,
        source: SourceIndex::new(0x9_8765).unwrap(),
        timestamp: Timestamp(0x1234_5678_9abc_def0),
        flow_hash: 0x000f_1234,
        inner_sum: 0,
    }
}

/// A UDP datagram of a guest.
fn inner(payload_bytes: usize) -> Vec<u8> {
    let addresses = ([10, 0, 0, 1], [10, 0, 0, 2]);
    let builder = PacketBuilder::ethernet2(INNER_SOURCE.0, INNER_DESTINATION.0)
        .ipv4(addresses.0, addresses.1, 64)
        .udp(40_001, 40_002);
    let mut bytes = Vec::new();
    builder.write(&mut bytes, &vec![0x5a; payload_bytes]).unwrap();
    bytes
}

/// Of a type for experiments, so that nobody misses what is cut off. IEEE 802-2014, 9.2.3.
fn opaque(bytes: usize) -> Vec<u8> {
    let mut frame = [&INNER_DESTINATION.0[..], &INNER_SOURCE.0, &[0x88, 0xb5]].concat();
    frame.resize(bytes, 0x5a);
    frame
}

/// Puts a copy of `inner` into the capture, in as many parts as `path` demands.
fn send(
    capture: &mut Capture,
    template: &Template,
    copy: CopyFields,
    inner: &[u8],
    snap_len: SnapLen,
    path: Path,
) {
    let bytes = u32::try_from(inner.len()).unwrap();
    let plan = template.plan(bytes, snap_len, path).unwrap();
    let mut copy = copy;
    if template.wants_inner_sum() {
        copy.inner_sum = helio_offload::sum_words(&inner[..plan.inner_bytes() as usize]);
    }
    let mut header = OuterHeader::new();
    for part in plan.parts() {
        template.fill(&copy, &part, &mut header);
        let start = part.inner_start() as usize;
        let body = &inner[start..start + part.inner_bytes() as usize];
        capture.push([header.bytes(), body].concat());
    }
}

/// Sends one copy and compares fields, each by its name and value.
fn assert_fields(underlay: &Underlay, encapsulation: Encapsulation, fields: &[(&str, &str)]) {
    let mut capture = Capture::default();
    let template = Template::new(underlay, encapsulation);
    send(&mut capture, &template, copy(), &inner(100), SnapLen::WHOLE, ETHERNET_PATH);
    assert_eq!(capture.complaints(), "", "{encapsulation:?}");
    assert_eq!(capture.fields(&names(fields)), [values(fields)], "{:?}", names(fields));
}

fn names<'a>(fields: &[(&'a str, &str)]) -> Vec<&'a str> {
    fields.iter().map(|(name, _)| *name).collect()
}

fn values(fields: &[(&str, &str)]) -> Vec<String> {
    fields.iter().map(|(_, value)| (*value).to_owned()).collect()
}

/// Outer Ethernet and the inner frame, for every encapsulation.
const FRAMES: [(&str, &str); 7] = [
    ("eth.src", "02:00:00:00:00:01,02:00:00:00:00:03"),
    ("eth.dst", "02:00:00:00:00:02,02:00:00:00:00:04"),
    ("vlan.id", "77"),
    ("vlan.priority", "3"),
    ("vlan.dei", "0"),
    ("data.len", "100"),
    ("frame.len", ""),
];

/// Fields of the outer IP header and the inner frame around those of `middle`.
fn over<'a>(
    addresses: Addresses,
    outer_bytes: &'a str,
    middle: &[(&'a str, &'a str)],
) -> Vec<(&'a str, &'a str)> {
    let ip: &[_] = match addresses {
        Addresses::V4 { .. } => &[
            ("ip.src", "192.0.2.1,10.0.0.1"),
            ("ip.dst", "198.51.100.2,10.0.0.2"),
            ("ip.dsfield.dscp", "10,0"),
            ("ip.dsfield.ecn", "0,0"),
            ("ip.ttl", "61,64"),
            ("ip.id", "0x5678,0x0000"),
            ("ip.flags.df", "1,1"),
            ("ip.checksum.status", "1,1"),
        ],
        Addresses::V6 { .. } => &[
            ("ipv6.src", "2001:db8::1"),
            ("ipv6.dst", "2001:db8::2"),
            ("ipv6.tclass.dscp", "10"),
            ("ipv6.tclass.ecn", "0"),
            ("ipv6.hlim", "61"),
            ("ipv6.flow", "0x0f1234"),
            ("ip.src", "10.0.0.1"),
            ("ip.checksum.status", "1"),
        ],
    };
    let [frames @ .., (length, _)] = FRAMES;
    [&frames[..], &[(length, outer_bytes)], ip, middle].concat()
}

#[test]
fn type_i_is_gre_without_anything_more() {
    let fields = [("gre.proto", "0x88be"), ("gre.flags_and_version", "0x0000")];
    let none = [("gre.sequence_number", ""), ("erspan.version", "")];
    let fields = [fields, none].concat();
    assert_fields(&underlay(V4), Encapsulation::ErspanI, &over(V4, "184", &fields));
    assert_fields(&underlay(V6), Encapsulation::ErspanI, &over(V6, "204", &fields));
}

#[test]
fn type_ii_tells_vlan_priority_tag_session_and_index() {
    let fields = [
        ("gre.proto", "0x88be"),
        ("gre.flags_and_version", "0x1000"),
        ("gre.sequence_number", "2147483649"),
        ("erspan.version", "1"),
        ("erspan.vlan", "100"),
        ("erspan.cos", "5"),
        ("erspan.encap", "2"),
        ("erspan.truncated", "0"),
        ("erspan.spanid", "777"),
        ("erspan.reserved", "0"),
        ("erspan.index", "624485"),
    ];
    let encapsulation = Encapsulation::ErspanII { session: session() };
    assert_fields(&underlay(V4), encapsulation, &over(V4, "196", &fields));
    assert_fields(&underlay(V6), encapsulation, &over(V6, "216", &fields));
}

/// All but the sub-header and the bit that announces it.
const TYPE_III: [(&str, &str); 16] = [
    ("gre.proto", "0x22eb"),
    ("gre.flags_and_version", "0x1000"),
    ("gre.sequence_number", "2147483649"),
    ("erspan.version", "2"),
    ("erspan.vlan", "100"),
    ("erspan.cos", "5"),
    ("erspan.bso", "2"),
    ("erspan.truncated", "0"),
    ("erspan.spanid", "777"),
    ("erspan.timestamp", "2596069104"),
    ("erspan.sgt", "2748"),
    ("erspan.p", "1"),
    ("erspan.ft", "0"),
    ("erspan.hw", "41"),
    ("erspan.direction", "1"),
    ("erspan.gra", "1"),
];

#[test]
fn type_iii_tells_the_source_and_the_whole_stamp_in_its_sub_header() {
    let sub_header = [
        ("erspan.o", "1"),
        ("erspan.platid", "7"),
        ("erspan.pid7.rsvd1", "0"),
        ("erspan.pid7.source_index", "624485"),
        ("erspan.pid7.timestamp", "305419896"),
    ];
    let fields = [&TYPE_III[..], &sub_header].concat();
    let encapsulation = type_iii(SubHeaderChoice::SourceIndex);
    assert_fields(&underlay(V4), encapsulation, &over(V4, "208", &fields));
    assert_fields(&underlay(V6), encapsulation, &over(V6, "228", &fields));
}

#[test]
fn type_iii_does_without_its_sub_header() {
    let fields = [&TYPE_III[..], &[("erspan.o", "0"), ("erspan.platid", "")]].concat();
    let encapsulation = type_iii(SubHeaderChoice::Absent);
    assert_fields(&underlay(V4), encapsulation, &over(V4, "200", &fields));
    assert_fields(&underlay(V6), encapsulation, &over(V6, "220", &fields));
}

#[test]
fn gre_has_a_key_and_a_number_when_asked_for() {
    use GreSequence::{Absent, Present};
    let cases = [
        (None, Absent, "0x0000", "", "", "184"),
        (Some(0xfeed_beef), Absent, "0x2000", "0xfeedbeef", "", "188"),
        (None, Present, "0x1000", "", "2147483649", "188"),
        (Some(7), Present, "0x3000", "0x00000007", "2147483649", "192"),
    ];
    for (key, sequence, flags, shown_key, shown_sequence, bytes) in cases {
        let fields = [
            ("gre.proto", "0x6558"),
            ("gre.flags_and_version", flags),
            ("gre.key", shown_key),
            ("gre.sequence_number", shown_sequence),
        ];
        let encapsulation = Encapsulation::Gre { key, sequence };
        assert_fields(&underlay(V4), encapsulation, &over(V4, bytes, &fields));
    }
    let fields = [("gre.proto", "0x6558"), ("gre.flags_and_version", "0x0000")];
    let encapsulation = Encapsulation::Gre { key: None, sequence: Absent };
    assert_fields(&underlay(V6), encapsulation, &over(V6, "204", &fields));
}

#[test]
fn vxlan_has_its_number_its_port_and_the_checksum_that_its_network_wants() {
    let fields = |status| {
        [
            ("udp.srcport", "53812,40001"),
            ("udp.dstport", "4789,40002"),
            ("udp.checksum.status", status),
            ("vxlan.flags", "0x0800"),
            ("vxlan.vni", "11259375"),
            ("vxlan.reserved8", "0"),
        ]
    };
    let (absent, good) = ("3,1", "1,1");
    let zero = vxlan(UdpChecksum::Zero);
    let complete = vxlan(UdpChecksum::Complete);
    assert_eq!(UdpChecksum::default_over(V4.version()), UdpChecksum::Zero);
    assert_eq!(UdpChecksum::default_over(V6.version()), UdpChecksum::Complete);
    assert_fields(&underlay(V4), zero, &over(V4, "196", &fields(absent)));
    assert_fields(&underlay(V4), complete, &over(V4, "196", &fields(good)));
    assert_fields(&underlay(V6), complete, &over(V6, "216", &fields(good)));
}

#[test]
fn a_copy_that_was_cut_says_so() {
    for (encapsulation, outer_bytes) in [
        (Encapsulation::ErspanII { session: session() }, 54),
        (type_iii(SubHeaderChoice::SourceIndex), 66),
    ] {
        let mut capture = Capture::default();
        let template = Template::new(&underlay(V4), encapsulation);
        let narrow = Path { mtu_bytes: 99, oversize: Oversize::Truncate };
        let snap_len = SnapLen::new(64).unwrap();
        for (frame_bytes, path) in [(65, ETHERNET_PATH), (64, ETHERNET_PATH), (1000, narrow)] {
            send(&mut capture, &template, copy(), &opaque(frame_bytes), snap_len, path);
        }
        assert_eq!(capture.complaints(), "");
        let row = |truncated: &str, bytes: usize| [truncated.to_owned(), bytes.to_string()];
        let whole = outer_bytes + 64;
        let narrowed = 18 + 99;
        let expected = [row("1", whole), row("0", whole), row("1", narrowed)];
        assert_eq!(capture.fields(&["erspan.truncated", "frame.len"]), expected);
    }
}

#[test]
fn fragments_are_put_together_to_the_copy_that_was_sent() {
    for (addresses, count, numbers) in
        [(V4, "ip.fragment.count", ["", "", "3"]), (V6, "ipv6.fragment.count", ["", "", "3"])]
    {
        for encapsulation in [
            Encapsulation::ErspanII { session: session() },
            type_iii(SubHeaderChoice::SourceIndex),
            vxlan(UdpChecksum::Complete),
        ] {
            let mut capture = Capture::default();
            let template = Template::new(&underlay(addresses), encapsulation);
            let path = Path { mtu_bytes: 1500, oversize: Oversize::Fragment };
            send(&mut capture, &template, copy(), &inner(4000), SnapLen::WHOLE, path);
            assert_eq!(capture.complaints(), "", "{encapsulation:?}");
            let found = capture.fields(&[count, "data.len", "udp.checksum.status"]);
            let counts: Vec<_> = found.iter().map(|row| row[0].as_str()).collect();
            assert_eq!(counts, numbers, "{encapsulation:?}");
            let last = found.last().unwrap();
            assert!(last[1].ends_with("4000"), "{last:?}");
            assert!(last[2].split(',').all(|status| status == "1"), "{last:?}");
        }
    }
}

#[test]
fn the_tag_of_a_frame_is_told_as_it_is() {
    use OriginalTag::{Absent, Isl, Kept, Removed};
    let template = Template::new(&underlay(V4), Encapsulation::ErspanII { session: session() });
    let tags = [(Absent, "0"), (Isl, "1"), (Removed, "2"), (Kept, "3")];
    let mut capture = Capture::default();
    for (original_tag, _) in tags {
        let mut frame = inner(100);
        if original_tag == Kept {
            frame.splice(12..12, [0x81, 0, 0xa0, 100]);
        }
        let copy = CopyFields { original_tag, ..copy() };
        send(&mut capture, &template, copy, &frame, SnapLen::WHOLE, ETHERNET_PATH);
    }
    assert_eq!(capture.complaints(), "");
    let vlans = ["77", "77", "77", "77,100"];
    let expected = tags.iter().zip(vlans).map(|((_, en), vlans)| [*en, vlans].map(str::to_owned));
    assert_eq!(capture.fields(&["erspan.encap", "vlan.id"]), expected.collect::<Vec<_>>());
}

#[test]
fn tshark_complains_about_what_is_wrong() {
    let mut capture = Capture::default();
    // Without a checksum, which a reader of IPv6 must have been told to accept.
    let zero = Template::new(&underlay(V6), vxlan(UdpChecksum::Zero));
    send(&mut capture, &zero, copy(), &inner(100), SnapLen::WHOLE, ETHERNET_PATH);
    assert!(capture.complaints().contains("Illegal checksum"));
    let mut capture = Capture::default();
    let template = Template::new(&underlay(V6), vxlan(UdpChecksum::Complete));
    let bytes = u32::try_from(inner(100).len()).unwrap();
    let plan = template.plan(bytes, SnapLen::WHOLE, ETHERNET_PATH).unwrap();
    let mut header = OuterHeader::new();
    let wrong = helio_offload::sum_words(&inner(100)).wrapping_add(1);
    let copy = CopyFields { inner_sum: wrong, ..copy() };
    template.fill(&copy, &plan.parts().next().unwrap(), &mut header);
    capture.push([header.bytes(), &inner(100)].concat());
    assert!(capture.complaints().contains("Bad checksum"));
}
