//! Guests that send and receive, honestly and not.

use crate::Seed;
use crate::frames::{net_header, tcp4};
use crate::script::{
    CSUM, DATA, EVENT_IDX, INDIRECT, INDIRECT_DESC, MRG_RXBUF, NEXT, ONE_REGION, Place,
    RINGS_ANYWHERE, SEAM, Script, TABLES, THREE_REGIONS, TSO4, VERSION_1, WRITE, descriptor,
};

const V1: u8 = VERSION_1;

/// A buffer in `DATA`, alone.
fn data(bytes: u32) -> Vec<u8> {
    descriptor(Place::At(DATA), bytes, 0, 0)
}

/// A buffer to write to.
fn room(place: Place, bytes: u32) -> Vec<u8> {
    descriptor(place, bytes, WRITE, 0)
}

fn table(bytes: u32) -> Vec<u8> {
    descriptor(Place::At(TABLES), bytes, INDIRECT, 0)
}

pub(crate) fn transmit() -> Vec<Seed> {
    let seed =
        |name, script: Script, outcome| Seed::new("transmit_chain", name, script.bytes(), outcome);
    let mut seeds = vec![
        seed("one_frame", one_frame(), [1, 0]),
        seed("net_header_and_payload_in_pieces", in_pieces(), [1, 0]),
        seed("more_pieces_than_a_frame_can_name", many_pieces(), [3, 1]),
        seed("tcp_to_be_segmented", segmentation(), [2, 0]),
        seed("chains_that_break_a_rule", broken_chains(), [0, 10]),
        seed("an_impossible_avail_index", impossible_index(), [1, 1]),
        seed("held_out_of_order_across_the_wrap", out_of_order(), [4, 0]),
        seed("avail_and_used_ring_in_one_place", overlapping(), [1, 0]),
        seed("loops_that_fill_a_turn", loops(), [0, 16]),
        seed("a_disabled_queue", one_frame().offer(0).discard().publish(), [1, 0]),
        seed("a_ring_size_of_three", Script::new(0x83, V1, ONE_REGION, 0), [0, 1]),
        seed(
            "a_ring_beyond_memory",
            Script::new(9, V1, ONE_REGION | RINGS_ANYWHERE, 0).places([0, 0x2000, 0x7fc0]),
            [0, 1],
        ),
    ];
    let kept = [
        seed("an_indirect_table_longer_than_the_ring", long_table(), [1, 0]),
        seed("more_bad_heads_than_a_turn_may_read", bad_heads(), [0, 2048]),
    ];
    seeds.extend(kept.map(Seed::kept));
    seeds
}

fn one_frame() -> Script {
    let script = Script::new(3, V1, ONE_REGION, 0).write(DATA + 12, &tcp4(20));
    script.put(0, &data(86)).offer(0).take().release(0).publish()
}

fn in_pieces() -> Script {
    let first = descriptor(Place::At(DATA), 5, NEXT, 1);
    let second = descriptor(Place::At(DATA + 5), 0, NEXT, 2);
    let third = descriptor(Place::At(DATA + 5), 7, NEXT, 7);
    let across = descriptor(Place::At(SEAM - 100), 300, NEXT, 3);
    let last = descriptor(Place::Last(0xff0), 16, 0, 0);
    Script::new(3, V1, THREE_REGIONS, 0)
        .write(SEAM - 100, &tcp4(180))
        .put(0, &first)
        .put(1, &second)
        .put(2, &third)
        .put(7, &across)
        .put(3, &last)
        .offer(0)
        .ask_for_kick()
        .take()
        .release(0)
        .publish()
}

fn many_pieces() -> Script {
    Script::new(6, 0, THREE_REGIONS, 9)
        .link(0, 40, &descriptor(Place::At(SEAM - 50), 100, 0, 0))
        .offer_many(4, 0, 0)
        .take()
        .release(1)
        .publish()
}

fn segmentation() -> Script {
    let header = net_header(1, 1, 100, 34, 16);
    Script::new(2, V1 | CSUM | TSO4, ONE_REGION, 0)
        .write(DATA, &header)
        .write(DATA + 12, &tcp4(180))
        .put(0, &descriptor(Place::At(DATA), 12, NEXT, 1))
        .put(1, &descriptor(Place::At(DATA + 12), 234, 0, 0))
        .offer_many(2, 0, 0)
        .take()
        .publish()
}

fn broken_chains() -> Script {
    let nested = descriptor(Place::At(TABLES), 16, INDIRECT, 0);
    Script::new(4, V1 | INDIRECT_DESC, ONE_REGION, 0)
        .put(0, &descriptor(Place::At(DATA), 12, NEXT, 0))
        .put(1, &descriptor(Place::At(DATA), 12, NEXT, 16))
        .put(2, &descriptor(Place::At(DATA), 80, WRITE, 0))
        .put(3, &descriptor(Place::Any(u64::MAX), 80, 0, 0))
        .put(4, &data(11))
        .put(5, &data(12 + 13))
        .put(6, &descriptor(Place::At(DATA), u32::MAX, 0, 0))
        .put(7, &descriptor(Place::At(TABLES), 17, INDIRECT, 0))
        .put_indirect(0, &nested)
        .put(8, &nested)
        .offer_many(9, 0, 1)
        .offer(16)
        .take()
        .publish()
}

fn impossible_index() -> Script {
    Script::new(2, V1, ONE_REGION, 0)
        .put(0, &data(60))
        .avail_index(5)
        .take()
        .avail_index(0)
        .offer(0)
        .take()
        .release(0)
        .publish()
}

fn out_of_order() -> Script {
    Script::new(2, V1 | EVENT_IDX, ONE_REGION, 0xfffe)
        .link(0, 1, &data(60))
        .put(1, &data(70))
        .put(2, &data(80))
        .put(3, &data(90))
        .offer(3)
        .offer(1)
        .offer(2)
        .offer(0)
        .take()
        .hold(1)
        .release(3)
        .publish()
        .release(0)
        .publish()
        .release(0)
        .ask_for_kick()
        .publish()
}

fn overlapping() -> Script {
    Script::new(2, V1, ONE_REGION | RINGS_ANYWHERE, 0)
        .places([0, 0x100, 0x100])
        .put(0, &data(60))
        .offer(0)
        .take()
        .release(0)
        .publish()
        .take()
}

/// As Linux makes them for small rings.
fn long_table() -> Script {
    Script::new(1, V1 | INDIRECT_DESC, ONE_REGION, 0)
        .link_indirect(5, &data(40))
        .put(1, &table(80))
        .offer(1)
        .take()
        .release(0)
        .publish()
}

/// 512 chains that loop through 512 descriptors each: a turn must end long before the last.
fn loops() -> Script {
    Script::new(9, V1, ONE_REGION, 0)
        .link(0, 512, &descriptor(Place::At(DATA), 1, NEXT, 0))
        .offer_many(255, 0, 1)
        .offer_many(255, 0, 1)
        .take()
        .take()
        .take()
        .take()
        .publish()
}

/// Chains that take one step each: they fill no burst, which must not be all that ends a turn.
fn bad_heads() -> Script {
    let script = Script::new(0x7f, V1, THREE_REGIONS, 0);
    (0..20).fold(script, |script, _| script.offer_many(255, 0xffff, 0)).take().publish()
}

pub(crate) fn receive() -> Vec<Seed> {
    let seed =
        |name, script: Script, outcome| Seed::new("receive_buffers", name, script.bytes(), outcome);
    let mut seeds = vec![
        seed("one_buffer", one_buffer(V1), [1, 1]),
        seed("the_short_net_header", one_buffer(0), [1, 1]),
        seed("a_frame_in_many_chains", many_chains(), [3, 1]),
        seed("a_buffer_across_regions", across_regions(), [1, 0]),
        seed("an_indirect_table", indirect_room(), [2, 0]),
        seed("chains_that_break_a_rule", broken_room(), [1, 6]),
        seed("a_frame_that_does_not_fit", too_small(), [1, 1]),
        seed("frames_refused_until_the_next_turn", refused_until_next_turn(), [1, 13]),
        seed("an_impossible_avail_index", one_buffer(V1).avail_index(99).deliver(1), [1, 2]),
        seed("runs_with_and_without_buffers_looked_at_ahead", runs(), [24, 10]),
        seed("runs_into_chains_that_break_a_rule", broken_runs(), [4, 9]),
        seed("buffers_that_change_after_they_were_looked_at", changed_since(), [3, 1]),
        seed("an_impossible_avail_index_in_a_run", impossible_run(), [2, 3]),
    ];
    let kept = [
        seed("empty_descriptors_without_end", empty_room(), [0, 2]),
        seed("good_chains_in_too_many_pieces", too_many_pieces(), [1, 1]),
    ];
    seeds.extend(kept.map(Seed::kept));
    seeds
}

fn one_buffer(features: u8) -> Script {
    Script::new(3, features, ONE_REGION, 0xffff)
        .put(0, &room(Place::At(DATA), 1526))
        .offer(0)
        .deliver(1300)
        .publish_received()
        .deliver(1)
}

fn many_chains() -> Script {
    Script::new(4, V1 | MRG_RXBUF | EVENT_IDX, ONE_REGION, 0xfff8)
        .put(0, &room(Place::At(DATA), 100))
        .put(1, &room(Place::At(DATA + 0x200), 700))
        .offer_many(4, 0, 1)
        .offer_many(4, 0, 1)
        .offer_many(4, 0, 1)
        .put(2, &room(Place::At(DATA + 0x500), 1))
        .put(3, &room(Place::At(DATA + 0x501), 1000))
        .deliver(1000)
        .deliver(500)
        .publish_received()
        .deliver(5)
        .deliver(5000)
}

fn across_regions() -> Script {
    Script::new(1, V1, THREE_REGIONS, 0)
        .put(0, &descriptor(Place::At(SEAM - 7), 300, WRITE | NEXT, 1))
        .put(1, &room(Place::Last(0), 0x1000))
        .offer(0)
        .deliver(2000)
        .publish_received()
}

fn indirect_room() -> Script {
    Script::new(1, V1 | INDIRECT_DESC, ONE_REGION, 0)
        .link_indirect(5, &room(Place::At(DATA), 100))
        .put(1, &table(80))
        .offer_many(2, 1, 0)
        .deliver(300)
        .deliver(200)
        .publish_received()
}

fn broken_room() -> Script {
    Script::new(3, V1 | MRG_RXBUF, ONE_REGION, 0)
        .put(0, &descriptor(Place::At(DATA), 12, WRITE | NEXT, 0))
        .put(1, &descriptor(Place::At(DATA), 12, WRITE | NEXT, 8))
        .put(2, &data(80))
        .put(3, &room(Place::Any(1), 80))
        .put(4, &descriptor(Place::At(TABLES), 16, INDIRECT, 0))
        .put(5, &room(Place::At(DATA), 100))
        .put(6, &room(Place::At(DATA), u32::MAX))
        .put(7, &room(Place::At(DATA), 2000))
        .offer_many(8, 0, 1)
        .deliver_many(5)
        .deliver(50)
        .deliver(50)
        .publish_received()
}

fn too_small() -> Script {
    Script::new(3, V1, ONE_REGION, 0)
        .put(0, &room(Place::At(DATA), 200))
        .offer_many(8, 0, 0)
        .deliver(100)
        .deliver(30)
        .publish_received()
}

/// 40 chains of 512 buffers without a byte: what was read for one frame is read again for the next.
fn empty_room() -> Script {
    Script::new(9, V1 | MRG_RXBUF, ONE_REGION, 0)
        .link(0, 512, &room(Place::At(DATA), 0))
        .offer_many(40, 0, 0)
        .deliver_many(2)
        .publish_received()
}

/// A frame of 2,000 bytes in buffers of one byte is refused, and the chain stays for a shorter one.
fn too_many_pieces() -> Script {
    Script::new(9, V1 | MRG_RXBUF, ONE_REGION, 0)
        .link(0, 512, &room(Place::At(DATA), 1))
        .offer_many(8, 0, 0)
        .deliver(2000)
        .publish_received()
        .deliver(100)
        .publish_received()
}

/// Twelve frames are refused for their pieces; then the turn has read so much that also one that fits must wait.
fn refused_until_next_turn() -> Script {
    let script = Script::new(9, V1 | MRG_RXBUF, ONE_REGION, 0)
        .link(0, 512, &room(Place::At(DATA), 1))
        .offer_many(8, 0, 0);
    (0..12)
        .fold(script, |script, _| script.deliver(2000))
        .deliver(100)
        .publish_received()
        .deliver(100)
        .publish_received()
}

/// Prepared for fewer frames than come, then for more.
fn runs() -> Script {
    Script::new(5, V1 | MRG_RXBUF, ONE_REGION, 0xfff0)
        .put(0, &room(Place::At(DATA), 1526))
        .put(1, &room(Place::At(DATA + 0x600), 200))
        .offer_many(16, 0, 0)
        .offer_many(8, 1, 0)
        .prepare(5)
        .deliver_run(10, 60, 40)
        .prepare(20)
        .publish_received()
        .deliver_run(4, 1000, 90)
        .deliver_run(20, 120, 3)
        .publish_received()
}

/// Chains that break a rule, and buffers that are too small, between good ones.
fn broken_runs() -> Script {
    Script::new(4, V1, ONE_REGION, 0)
        .put(0, &room(Place::At(DATA), 300))
        .put(1, &data(80))
        .put(2, &room(Place::At(DATA + 0x200), 300))
        .put(3, &room(Place::At(DATA + 0x400), 30))
        .put(4, &room(Place::At(DATA + 0x600), 300))
        .offer_many(5, 0, 1)
        .prepare(8)
        .deliver_run(3, 60, 0)
        .deliver_run(8, 288, 0xff)
        .deliver_run(2, 14, 0)
        .publish_received()
}

/// What was looked at is written, and what stands there meanwhile is not.
fn changed_since() -> Script {
    Script::new(3, V1, ONE_REGION, 0)
        .put(0, &room(Place::At(DATA), 300))
        .put(1, &room(Place::At(DATA + 0x200), 300))
        .offer_many(3, 0, 1)
        .prepare(3)
        .put(0, &descriptor(Place::Any(1), 300, WRITE | NEXT, 0))
        .put(1, &data(300))
        .put(2, &room(Place::At(DATA + 0x400), 300))
        .deliver_run(4, 150, 1)
        .publish_received()
}

/// The avail index becomes impossible when two of five frames have a buffer.
fn impossible_run() -> Script {
    Script::new(3, V1, ONE_REGION, 0)
        .put(0, &room(Place::At(DATA), 300))
        .offer_many(2, 0, 0)
        .prepare(2)
        .avail_index(11)
        .deliver_run(5, 150, 1)
        .publish_received()
}
