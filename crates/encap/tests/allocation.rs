//! The way of a copy allocates nothing.
#![cfg(test)]

use std::net::{IpAddr, Ipv6Addr};
use std::num::NonZeroU8;

use helio_encap::{
    Addresses, CopyFields, DontFragment, Dscp, Encapsulation, ErspanSession, HardwareId,
    OuterHeader, Oversize, Path, SequenceTracker, SnapLen, SubHeaderChoice, Template, Underlay,
    VXLAN_PORT, parse,
};
use helio_testkit::{CountingAllocator, allocations_in};
use helio_types::MacAddr;

#[global_allocator]
static ALLOCATOR: CountingAllocator = CountingAllocator;

#[test]
fn planning_filling_reading_and_counting_allocate_nothing() {
    let here = IpAddr::V6(Ipv6Addr::LOCALHOST);
    let underlay = Underlay {
        source_mac: MacAddr([2; 6]),
        destination_mac: MacAddr([4; 6]),
        tag: None,
        addresses: Addresses::new(here, here).unwrap(),
        dscp: Dscp::default(),
        hop_limit: NonZeroU8::MAX,
        dont_fragment: DontFragment::Set,
    };
    let encapsulation = Encapsulation::ErspanIII {
        session: ErspanSession::MAX,
        security_group: 0,
        hardware: HardwareId::MAX,
        sub_header: SubHeaderChoice::SourceIndex,
    };
    let path = Path { mtu_bytes: 1500, oversize: Oversize::Fragment };
    let (mut header, mut tracker) = (OuterHeader::new(), SequenceTracker::new());
    let calls = allocations_in(|| {
        let template = Template::new(&underlay, encapsulation);
        for sequence in 0..100 {
            let copy = CopyFields { sequence, ..CopyFields::default() };
            for frame_bytes in [60, 9000] {
                let plan = template.plan(frame_bytes, SnapLen::WHOLE, path).unwrap();
                let mut read = 0;
                for part in plan.parts() {
                    template.fill(&copy, &part, &mut header);
                    let bytes = u32::try_from(header.bytes().len()).unwrap() + part.inner_bytes();
                    read += u32::from(parse(header.bytes(), bytes, VXLAN_PORT).is_ok());
                }
                assert_eq!(read, u32::from(plan.count() == 1));
            }
            tracker.observe(sequence);
        }
    });
    assert_eq!((calls, tracker.counts().received), (0, 100));
}
