//! What tshark makes of our frames.

use std::fs;
use std::io::ErrorKind;
use std::net::Ipv6Addr;
use std::process::Command;

use helio_types::VlanId;
use helio_underlay::{EndpointSettings, Observed, UnderlayTag};

use crate::wire::tagged;
use crate::world::{OTHER_MAC, PEER_MAC, Says, Version, World, ndisc};

/// A capture file in the classic format of libpcap.
fn capture(frames: &[Vec<u8>]) -> Vec<u8> {
    let word = |number: u32| number.to_le_bytes();
    let ethernet = word(1);
    let head = [word(0xa1b2_c3d4), [2, 0, 4, 0], word(0), word(0), word(262_144), ethernet];
    let mut file = head.concat();
    for (second, frame) in (0..).zip(frames) {
        let bytes = word(u32::try_from(frame.len()).unwrap());
        file.extend([word(second), word(0), bytes, bytes].concat());
        file.extend(frame);
    }
    file
}

fn tshark(frames: &[Vec<u8>], options: &[&str]) -> String {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("frames.pcap");
    fs::write(&file, capture(frames)).unwrap();
    let output = match Command::new("tshark").arg("-nr").arg(&file).args(options).output() {
        Err(error) if error.kind() == ErrorKind::NotFound => {
            panic!("tshark is missing: run scripts/install-packages capture")
        }
        output => output.unwrap(),
    };
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// All that tshark finds strange.
fn complaints(frames: &[Vec<u8>]) -> String {
    tshark(frames, &["-Y", "_ws.expert || _ws.malformed", "-V"])
}

/// The values of `fields` in each frame.
fn fields(frames: &[Vec<u8>], fields: &[&str]) -> Vec<Vec<String>> {
    let fields = fields.iter().flat_map(|field| ["-e", field]);
    let options = ["-T", "fields", "-E", "separator=|"].into_iter().chain(fields);
    let output = tshark(frames, &options.collect::<Vec<_>>());
    output.lines().map(|line| line.split('|').map(str::to_owned).collect()).collect()
}

/// A question to everybody, a question to one, and an answer, under `tag`.
fn frames(version: Version, tag: Option<UnderlayTag>) -> Vec<Vec<u8>> {
    let settings = EndpointSettings { tag, ..version.settings() };
    let mut world = World::of(version, &settings);
    let incoming = |frame| match tag {
        Some(tag) => tagged(frame, tag.vlan.get()),
        None => frame,
    };
    let question = world.turn().unwrap();
    let told = world.see(&incoming(version.frame(Says::Answer(PEER_MAC))));
    assert_eq!(told, Observed::Learned);
    let mut frames = vec![question.bytes().to_vec()];
    world.pass(1000);
    world.neighbour.restart();
    frames.push(world.turn().unwrap().bytes().to_vec());
    match world.see(&incoming(version.frame(Says::Ask(PEER_MAC)))) {
        Observed::Reply(reply) => frames.push(reply.bytes().to_vec()),
        other => panic!("{other:?}"),
    }
    frames
}

fn tag() -> Option<UnderlayTag> {
    Some(UnderlayTag { vlan: VlanId::new(100).unwrap(), priority: 5 })
}

#[test]
fn arp_is_what_it_should_be() {
    let frames = frames(Version::V4, None);
    assert_eq!(complaints(&frames), "");
    let wanted = [
        "eth.dst",
        "eth.src",
        "frame.protocols",
        "arp.hw.type",
        "arp.proto.type",
        "arp.opcode",
        "arp.src.hw_mac",
        "arp.src.proto_ipv4",
        "arp.dst.hw_mac",
        "arp.dst.proto_ipv4",
    ];
    let (own, peer, nobody) = ("02:00:00:00:00:10", "02:00:00:00:00:20", "00:00:00:00:00:00");
    let row = |to, operation, target| {
        let sender = [own, "192.0.2.10", target, "192.0.2.20"];
        [&[to, own, "eth:ethertype:arp", "1", "0x0800", operation], &sender[..]].concat()
    };
    let everybody = "ff:ff:ff:ff:ff:ff";
    let expected = [row(everybody, "1", nobody), row(peer, "1", nobody), row(peer, "2", peer)];
    assert_eq!(fields(&frames, &wanted), expected);
}

#[test]
fn neighbour_discovery_is_what_it_should_be() {
    let mut frames = frames(Version::V6, None);
    // Somebody looks whether our address is free.
    let mut check = ndisc(Says::Ask(OTHER_MAC));
    (check.source, check.options) = (Ipv6Addr::UNSPECIFIED, vec![]);
    match World::new(Version::V6).see(&check.frame()) {
        Observed::Reply(reply) => frames.push(reply.bytes().to_vec()),
        other => panic!("{other:?}"),
    }
    assert_eq!(complaints(&frames), "");
    let wanted = [
        "eth.dst",
        "ipv6.src",
        "ipv6.dst",
        "ipv6.hlim",
        "icmpv6.type",
        "icmpv6.code",
        "icmpv6.checksum.status",
        "icmpv6.nd.ns.target_address",
        "icmpv6.nd.na.target_address",
        "icmpv6.nd.na.flag.r",
        "icmpv6.nd.na.flag.s",
        "icmpv6.nd.na.flag.o",
        "icmpv6.opt.type",
        "icmpv6.opt.linkaddr",
    ];
    let (own, peer) = ("2001:db8::aa:bb10", "2001:db8::cc:dd20");
    let mac = "02:00:00:00:00:10";
    let question = |to, destination| {
        let option = ["", "", "", "", "1", mac];
        [&[to, own, destination, "255", "135", "0", "1", peer], &option[..]].concat()
    };
    let answer = |to, destination, solicited| {
        let flags = ["0", solicited, "1"];
        let head = [to, own, destination, "255", "136", "0", "1", "", own];
        [&head[..], &flags, &["2", mac]].concat()
    };
    let expected = [
        question("33:33:ff:cc:dd:20", "ff02::1:ffcc:dd20"),
        question("02:00:00:00:00:20", peer),
        answer("02:00:00:00:00:20", peer, "1"),
        answer("33:33:00:00:00:01", "ff02::1", "0"),
    ];
    let truth = |value: &str| match value {
        "True" => "1".to_owned(),
        "False" => "0".to_owned(),
        other => other.to_owned(),
    };
    let seen = fields(&frames, &wanted);
    let seen: Vec<Vec<_>> =
        seen.iter().map(|row| row.iter().map(|value| truth(value)).collect()).collect();
    assert_eq!(seen, expected);
}

#[test]
fn the_tag_of_the_underlay_is_the_only_difference_that_it_makes() {
    for (version, kind) in [(Version::V4, "arp"), (Version::V6, "ipv6:icmpv6")] {
        let frames = frames(version, tag());
        assert_eq!(complaints(&frames), "");
        let row = ["100", "5", "0", &format!("eth:ethertype:vlan:ethertype:{kind}")];
        let wanted = ["vlan.id", "vlan.priority", "vlan.dei", "frame.protocols"];
        let truth = |value: &String| if value == "False" { "0".to_owned() } else { value.clone() };
        for seen in fields(&frames, &wanted) {
            assert_eq!(seen.iter().map(truth).collect::<Vec<_>>(), row);
        }
    }
}

#[test]
fn tshark_complains_about_what_is_wrong() {
    let mut frames = frames(Version::V6, None);
    frames[0][60] ^= 1;
    assert!(complaints(&frames).contains("Bad checksum"));
}
