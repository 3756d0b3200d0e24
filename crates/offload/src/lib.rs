//! Checksum and segmentation offloads of VIRTIO-net: what a guest asked for, whether its frame allows it,
//! and how the frame looks to a receiver that cannot do it. Pure functions over a private copy of the
//! first bytes of a frame (`head`) and the bytes after it ([`Rest`]), which can only be summed.
//!
//! Called by workers, once per frame. What always holds: nothing allocates outside [`Segmenter::new`],
//! nothing panics whatever the bytes are, and no byte of the guest is read twice for a decision.
#![forbid(unsafe_code)]

mod check;
mod finish;
mod flow;
mod form;
mod headers;
mod net_header;
mod offloads;
mod rest;
mod segment;
mod sum;

#[cfg(test)]
mod tests;

pub use check::check;
pub use finish::finish;
pub use flow::flow_hash;
pub use form::{Form, SegmentChecksum};
pub use net_header::{
    Checksum, Ecn, Gso, GsoKind, MAX_SEGMENTS, NET_HEADER_BYTES, NetHeader, RawNetHeader,
    VIRTIO_NET_HDR_F_DATA_VALID, VIRTIO_NET_HDR_F_NEEDS_CSUM, VIRTIO_NET_HDR_F_RSC_INFO,
    VIRTIO_NET_HDR_GSO_ECN, VIRTIO_NET_HDR_GSO_NONE, VIRTIO_NET_HDR_GSO_TCPV4,
    VIRTIO_NET_HDR_GSO_TCPV6, VIRTIO_NET_HDR_GSO_UDP, VIRTIO_NET_HDR_GSO_UDP_L4,
};
pub use offloads::Offloads;
pub use rest::Rest;
pub use segment::{MAX_HEADER_BYTES, SegmentPlan, Segmenter};
pub use sum::{RunningSum, sum_words};
