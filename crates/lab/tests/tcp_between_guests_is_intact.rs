//! TCP between two Linux guests of which one does everything in its card and the other nothing, while a third watches
//! that has no offloads either: it must be shown finished frames.
#![cfg(test)]

use helio_lab::{
    GuestImage, GuestPlan, LabDir, MachineLock, PortPlan, Qemu, Switch, SwitchPlan, Vnic, transfer,
};
use helio_types::{Mirroring, SessionId};

const SESSION: SessionId = SessionId(0);
const NO_OFFLOADS: [&str; 11] = [
    "csum",
    "gso",
    "guest_csum",
    "guest_tso4",
    "guest_tso6",
    "guest_ecn",
    "guest_ufo",
    "host_tso4",
    "host_tso6",
    "host_ecn",
    "host_ufo",
];

#[test]
fn data_is_intact_with_and_without_offloads_and_the_copies_have_right_checksums() {
    let _lock = MachineLock::take().unwrap();
    let dir = LabDir::new().unwrap();
    let image = GuestImage::prepare().unwrap();
    let source = |name: &str| PortPlan::new(name).mirroring(Mirroring::Source, SESSION);
    let sniffie = PortPlan::new("sniffie").mirroring(Mirroring::Destination, SESSION);
    let switch = Switch::start(
        &dir,
        &SwitchPlan::new(vec![source("columbia"), source("crusader"), sniffie]),
    )
    .unwrap();
    let nic = |port: &str, number: u8| {
        Vnic::new(port, &format!("02:00:00:00:00:0{number}"), switch.socket(port))
    };
    let boot =
        |guest: &str, nic| Qemu::start(&dir, &image, &GuestPlan::new(guest, vec![nic])).unwrap();
    let mut columbia = boot("columbia", nic("columbia", 1).address("10.0.0.1/24"));
    let mut crusader =
        boot("crusader", nic("crusader", 2).address("10.0.0.2/24").without(&NO_OFFLOADS));
    let mut pegasus = boot("pegasus", nic("sniffie", 3).without(&NO_OFFLOADS));
    for guest in [&mut columbia, &mut crusader, &mut pegasus] {
        guest.wait_ready().unwrap();
    }
    let features = columbia.must("ethtool -k columbia").unwrap();
    assert!(features.contains("tcp-segmentation-offload: on"), "{features}");
    let features = crusader.must("ethtool -k crusader").unwrap();
    assert!(features.contains("tcp-segmentation-offload: off"), "{features}");

    // Its kernel would join segments before the capture sees them, and leave their checksums unfinished.
    pegasus.must("ethtool -K sniffie gro off").unwrap();
    let capture = pegasus.spawn("tcpdump -i sniffie -w /tmp/seen -B 16384 tcp").unwrap();
    pegasus.job_says(capture, "listening on").unwrap();
    transfer(&mut columbia, &mut crusader, "10.0.0.2", 4).unwrap();
    transfer(&mut crusader, &mut columbia, "10.0.0.1", 4).unwrap();
    // What the card cannot switch off it reports as an error; what it can is off afterwards.
    columbia.exec("ethtool -K columbia tx off sg off tso off gso off").unwrap();
    let features = columbia.must("ethtool -k columbia").unwrap();
    assert!(features.contains("tcp-segmentation-offload: off"), "{features}");
    transfer(&mut columbia, &mut crusader, "10.0.0.2", 4).unwrap();
    transfer(&mut crusader, &mut columbia, "10.0.0.1", 4).unwrap();
    pegasus.finish(capture).unwrap();

    // Four transfers of 4 MiB make about 12,000 frames; a slow sniffer misses many of them.
    let read = "tcpdump -vvenr /tmp/seen 2>/dev/null";
    let correct = pegasus.exec(&format!("{read} | grep -c '(correct)'")).unwrap().output;
    assert!(correct.trim().parse::<u64>().unwrap() > 1000, "only {correct} frames were captured");
    let wrong = pegasus
        .exec(&format!("{read} | grep -B 1 -e incorrect -e 'bad cksum' | head -n 20"))
        .unwrap()
        .output;
    assert_eq!(wrong, "", "of {correct} right ones");
    // One guest handed over frames that were longer than the other could take.
    let entered = switch.port("columbia").unwrap().ingress_frames;
    let left = switch.port("crusader").unwrap().egress_frames;
    assert!(entered < left, "{entered} frames became {left}");
}
