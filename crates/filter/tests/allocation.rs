//! Judging a frame allocates nothing.
#![cfg(test)]

use helio_filter::compile;
use helio_frame::RestBytes;
use helio_mem::{MemoryTable, Segment};
use helio_testkit::{CountingAllocator, allocations_in};

#[global_allocator]
static ALLOCATOR: CountingAllocator = CountingAllocator;

#[test]
fn judging_the_head_and_the_rest_of_a_frame_allocates_nothing() {
    let table = MemoryTable::anonymous(4096).unwrap();
    let pieces = [(0, 101), (500, 99)].map(|(offset, bytes)| Segment { offset, bytes, region: 0 });
    assert!(pieces.iter().all(|piece| table.write(*piece, &[7; 101]) == piece.bytes as usize));
    let rest = RestBytes::new(Some(&table), &pieces);
    let head = [6; 128];
    let (in_head, crossing) =
        (compile("ether[0] = 6").unwrap(), compile("ether[126:4] = 0x06060707"));
    let (crossing, beyond) = (crossing.unwrap(), compile("ether[228:4] = 0x07070707").unwrap());
    let behind = compile("ether[326:4] >= 0").unwrap();
    let mut verdicts = [false; 4];
    let calls = allocations_in(|| {
        verdicts = [&in_head, &crossing, &beyond, &behind].map(|it| it.accepts(&head, &rest, 328));
    });
    assert_eq!((calls, verdicts), (0, [true, true, true, false]));
}
