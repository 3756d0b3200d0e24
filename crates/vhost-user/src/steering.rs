//! Which queue pair a flow is delivered on: the one the guest last sent it on. Used by the worker, for ports with more
//! than one enabled pair; where there is one, no flow is looked at.

use helio_frame::{Delivery, HEAD_BYTES};
use helio_offload::flow_hash;

const ENTRIES: usize = 256;
const UNKNOWN: u8 = u8::MAX;

/// Where flows were last sent from, by the low bits of their hash. Flows that share an entry share a pair, which costs
/// speed at most.
#[derive(Debug)]
struct Flows([u8; ENTRIES]);

impl Flows {
    pub(crate) fn new() -> Self {
        Self([UNKNOWN; ENTRIES])
    }

    /// The guest sent a frame that begins with `head` on `pair`. VIRTIO 1.2, section 5.1.6.5.6.
    #[inline]
    pub(crate) fn sent(&mut self, head: &[u8], pair: u8) {
        if let Some(entry) = self.0.get_mut(flow_hash(head) as usize % ENTRIES) {
            *entry = pair;
        }
    }

    /// The pair that a flow with `hash` was last sent on.
    #[inline]
    pub(crate) fn last_sent(&self, hash: u32) -> Option<u8> {
        self.0.get(hash as usize % ENTRIES).copied().filter(|pair| *pair != UNKNOWN)
    }
}

/// The pairs whose receiveq carries frames, and which of them gets which flow.
#[derive(Debug)]
pub(crate) struct Steering {
    receivers: Vec<u8>,
    /// The pair that gets whatever comes: the only one there is, or the one that is being served.
    only: Option<u8>,
    flows: Flows,
}

impl Steering {
    /// For up to `pairs` pairs, none of which carries frames yet.
    pub(crate) fn new(pairs: usize) -> Self {
        Self { receivers: Vec::with_capacity(pairs), only: None, flows: Flows::new() }
    }

    /// Forgets all receivers. Flows are remembered.
    pub(crate) fn clear(&mut self) {
        self.receivers.clear();
        self.widen();
    }

    /// The receiveq of one more pair carries frames.
    pub(crate) fn add(&mut self, pair: u8) {
        self.receivers.push(pair);
        self.widen();
    }

    /// From now on whatever comes is for `pair`, which carries frames.
    #[inline]
    pub(crate) fn narrow(&mut self, pair: u8) {
        self.only = Some(pair);
    }

    /// From now on it is for the pair of its flow again.
    #[inline]
    pub(crate) fn widen(&mut self) {
        self.only = match self.receivers.as_slice() {
            [one] => Some(*one),
            _ => None,
        };
    }

    /// Whether flows must be told apart.
    #[inline]
    pub(crate) fn is_needed(&self) -> bool {
        self.receivers.len() > 1
    }

    /// The pair that gets whatever comes, if one does.
    #[inline]
    pub(crate) fn only_receiver(&self) -> Option<u8> {
        self.only
    }

    /// The guest sent a frame that begins with `head` on `pair`.
    #[inline]
    pub(crate) fn sent(&mut self, head: &[u8], pair: u8) {
        self.flows.sent(head, pair);
    }

    /// The pair that gets a flow: the one it was last sent on, or any that carries frames. `None` when none does.
    #[inline]
    pub(crate) fn receiver_of(&self, hash: impl FnOnce() -> u32) -> Option<u8> {
        if self.only.is_some() || self.receivers.is_empty() {
            return self.only;
        }
        let (hash, many) = (hash(), self.receivers.as_slice());
        let known = self.flows.last_sent(hash).filter(|pair| many.contains(pair));
        // The low bits chose the entry; others choose the pair.
        let other = || many.get((hash >> 8) as usize % many.len()).copied();
        known.or_else(other)
    }
}

/// The hash of the flow of a frame about to be delivered. The headers may be cut in two, where fresh bytes end and those
/// of the snapshot go on.
#[inline]
pub(crate) fn delivery_hash(delivery: &Delivery<'_>) -> u32 {
    if delivery.tail.is_empty() || delivery.header.len() >= HEAD_BYTES {
        return flow_hash(delivery.header);
    }
    let mut head = [0; HEAD_BYTES];
    let mut bytes = 0;
    for (to, from) in head.iter_mut().zip(delivery.header.iter().chain(delivery.tail)) {
        *to = *from;
        bytes += 1;
    }
    flow_hash(head.get(..bytes).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;
    use helio_frame::RestBytes;
    use helio_offload::NetHeader;

    fn udp(source: [u8; 6], destination: [u8; 6], ports: [u8; 4]) -> Vec<u8> {
        let mut frame = vec![2; 12];
        frame.extend([8, 0, 0x45, 0, 0, 28, 0, 0, 0, 0, 64, 17, 0, 0]);
        frame.extend(&source[2..]);
        frame.extend(&destination[2..]);
        frame.extend(ports);
        frame.extend([0, 8, 0, 0]);
        frame
    }

    #[test]
    fn c040_a_reply_finds_the_pair_its_flow_was_sent_on() {
        let (a, b) = ([0, 0, 10, 0, 0, 1], [0, 0, 10, 0, 0, 2]);
        let mut flows = Flows::new();
        let there = udp(a, b, [0x12, 0x34, 0, 53]);
        let back = udp(b, a, [0, 53, 0x12, 0x34]);
        assert_eq!(flows.last_sent(flow_hash(&back)), None);
        flows.sent(&there, 3);
        assert_eq!(flows.last_sent(flow_hash(&back)), Some(3));
    }

    #[test]
    fn one_pair_gets_everything_while_it_is_alone_or_being_served() {
        let mut steering = Steering::new(3);
        let of_flow = |steering: &Steering, hash| steering.receiver_of(|| hash);
        assert_eq!((steering.only_receiver(), of_flow(&steering, 0x100)), (None, None));
        steering.add(2);
        assert_eq!(steering.only_receiver(), Some(2));
        assert_eq!(steering.receiver_of(|| unreachable!("no flow is looked at")), Some(2));
        steering.add(5);
        assert!(steering.is_needed());
        for _ in 0..2 {
            assert_eq!(steering.only_receiver(), None);
            let both = [0x100, 0x200].map(|hash| of_flow(&steering, hash));
            assert_eq!(both, [Some(5), Some(2)]);
            steering.narrow(5);
            assert_eq!((steering.only_receiver(), of_flow(&steering, 0x200)), (Some(5), Some(5)));
            steering.widen();
        }
        steering.clear();
        assert_eq!((steering.only_receiver(), of_flow(&steering, 0x100)), (None, None));
    }

    #[test]
    fn a_header_cut_in_two_hashes_like_the_whole() {
        let frame = udp([0, 0, 10, 0, 0, 1], [0, 0, 10, 0, 0, 2], [1, 2, 3, 4]);
        let whole = Delivery::whole(NetHeader::PLAIN, &frame, &[], RestBytes::EMPTY);
        for cut in [0, 14, 26, 36] {
            let (header, tail) = frame.split_at(cut);
            let delivery = Delivery::whole(NetHeader::PLAIN, header, tail, RestBytes::EMPTY);
            assert_eq!(delivery_hash(&delivery), delivery_hash(&whole), "cut at {cut}");
        }
    }
}
