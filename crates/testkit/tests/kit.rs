//! The tools judge rightly: what they build is sound, and what is broken they notice.

use helio_testkit::{CountingAllocator, FrameBuilder, Seen, TestFrame, allocations_in};
use helio_types::MacAddr;

#[global_allocator]
static ALLOCATOR: CountingAllocator = CountingAllocator;

fn builders() -> Vec<FrameBuilder> {
    let plain = FrameBuilder::new(MacAddr([2, 0, 0, 0, 0, 1]), MacAddr::BROADCAST);
    let four = [plain.clone(), plain.clone().tcp(), plain.clone().ipv6(), plain.tcp().ipv6()];
    let sized = four
        .into_iter()
        .flat_map(|builder| [0, 1, 700, 1401].map(|bytes| builder.clone().payload(bytes, 7)));
    sized.flat_map(|builder| [builder.clone(), builder.tagged(0xa00a)]).collect()
}

#[test]
fn a_complete_frame_is_sound_and_a_partial_one_is_not() {
    for builder in builders() {
        let complete = builder.complete();
        let seen = Seen::of(&complete.bytes);
        assert_eq!(seen.wrong, None, "{builder:?}");
        let partial = builder.partial();
        assert_eq!(partial.bytes.len(), complete.bytes.len());
        let seen = Seen::of(&partial.bytes);
        assert_eq!(seen.wrong, Some("the checksum of the transport"), "{builder:?}");
    }
}

#[test]
fn any_flipped_bit_behind_the_addresses_of_a_frame_is_noticed() {
    let builder = FrameBuilder::new(MacAddr([2, 0, 0, 0, 0, 1]), MacAddr::BROADCAST);
    let TestFrame { bytes, .. } = builder.tcp().payload(40, 3).complete();
    // From the source address of IP on; what comes before may make it another protocol.
    for at in 26..bytes.len() {
        let mut broken = bytes.clone();
        broken[at] ^= 0x10;
        if at != 46 {
            assert!(Seen::of(&broken).wrong.is_some(), "{at}");
        }
    }
}

#[test]
fn taking_and_giving_back_memory_are_both_counted() {
    assert_eq!(allocations_in(|| {}), 0);
    assert_eq!(allocations_in(|| drop(std::hint::black_box(vec![1_u8; 64]))), 2);
    let mut room = Vec::with_capacity(4);
    assert_eq!(allocations_in(|| room.extend([1, 2, 3, 4])), 0);
    assert!(allocations_in(|| room.push(5)) > 0);
}
