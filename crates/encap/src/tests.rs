//! Tests over several files of this crate.

mod etherparse_agrees;
mod fragments;
mod fragments_any;
mod parse_edges;
mod plan_edges;
mod round_trip;
mod strategies;

use crate::{CopyFields, OuterHeader, Oversize, Part, Path, Plan, SnapLen, Template};

/// A path that takes everything that fits a datagram.
pub(crate) const WIDE: Path = Path { mtu_bytes: u16::MAX, oversize: Oversize::Drop };

/// Bytes of a frame, none like its neighbours.
pub(crate) fn frame(bytes: u32) -> Vec<u8> {
    (0..bytes).map(|at| u8::try_from(at * 7 % 251).unwrap()).collect()
}

/// The datagrams of a copy of `inner`, as a wire has them.
pub(crate) fn datagrams(
    template: &Template,
    copy: &CopyFields,
    plan: &Plan,
    inner: &[u8],
) -> Vec<Vec<u8>> {
    let mut copy = *copy;
    copy.inner_sum = helio_offload::sum_words(&inner[..plan.inner_bytes() as usize]);
    let mut header = OuterHeader::new();
    let mut datagram = |part: Part| {
        template.fill(&copy, &part, &mut header);
        let start = part.inner_start() as usize;
        let body = &inner[start..start + part.inner_bytes() as usize];
        [header.bytes(), body].concat()
    };
    plan.parts().map(&mut datagram).collect()
}

/// A copy of `inner` in one datagram.
pub(crate) fn datagram(template: &Template, copy: &CopyFields, inner: &[u8]) -> Vec<u8> {
    let bytes = u32::try_from(inner.len()).unwrap();
    let plan = template.plan(bytes, SnapLen::WHOLE, WIDE).unwrap();
    datagrams(template, copy, &plan, inner).remove(0)
}
