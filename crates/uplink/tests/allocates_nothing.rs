//! Once an interface is open, nothing that a worker calls allocates.
#![cfg(test)]

mod support;

use helio_frame::{Delivery, Intake, Port, RestBytes};
use helio_mem::{MemoryTable, Segment};
use helio_offload::NetHeader;
use helio_testkit::{CountingAllocator, allocations_in};
use helio_types::UplinkMode;
use support::{FarEnd, Rig, Wire, frame};

#[global_allocator]
static ALLOCATOR: CountingAllocator = CountingAllocator;

#[test]
fn turns_with_frames_in_both_directions_allocate_nothing() {
    let _wire = Wire::new(9000);
    let mut rig = Rig::up(UplinkMode::Auto);
    let far = FarEnd::new();
    let memory = MemoryTable::anonymous(9000).unwrap();
    let mut frames = 0;
    for turn in 0..200 {
        for bytes in [60, 1514, 9000] {
            far.send(&frame(bytes, turn));
        }
        let allocations = allocations_in(|| {
            let Rig { port, burst, pool, refused, .. } = &mut rig;
            burst.clear();
            port.take(&mut Intake { burst, pool, refused });
            frames += burst.frames().len();
            port.release_all(burst.frames());
            for bytes in [0, 500, 8800] {
                let rest = [Segment { offset: 0, bytes, region: 0 }];
                let rest = RestBytes::new(Some(&memory), &rest);
                let delivery = Delivery::whole(NetHeader::PLAIN, &[2; 128], &[], rest);
                port.offer(&delivery).unwrap();
            }
            port.publish();
            port.notify();
            port.arm();
            port.disarm();
        });
        assert_eq!(allocations, 0, "turn {turn}");
        while far.try_receive().is_some() {}
    }
    assert!(frames > 0);
}
