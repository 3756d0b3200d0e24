//! How copies for collectors look when they come back: by a cable, by a mirror port of another switch, or because the way to the
//! collector leads through a port that is watched.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use helio_types::MacAddr;
use helio_underlay::Endpoint;

/// Types of tags. IEEE 802.1Q-2018, table 9-1, and what was written for the outer one before there was a standard.
const TAGS: [[u8; 2]; 3] = [[0x81, 0x00], [0x88, 0xa8], [0x91, 0x00]];

/// That of the datagram, and that of a switch on its way, such as a remote VLAN.
const MOST_TAGS: usize = 2;

/// Types of what follows. IEEE 802 numbers.
const IPV4: [u8; 2] = [0x08, 0x00];
const IPV6: [u8; 2] = [0x86, 0xdd];

/// From where to where copies for collectors go. Fragments of them have the same addresses.
#[derive(Debug, Default)]
pub(crate) struct OwnCopies {
    /// For each value of the low six bits of an address whether a card of ours has them: by that nearly every frame of others is
    /// told, however many collectors there are.
    low_bits: u64,
    /// The cards, each once.
    cards: Vec<MacAddr>,
    /// Each once.
    ways: Vec<Way>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Way {
    card: MacAddr,
    from: IpAddr,
    to: IpAddr,
}

impl OwnCopies {
    /// Adds the way to a collector.
    pub(crate) fn add(&mut self, endpoint: &Endpoint) {
        let (card, from, to) = (endpoint.own_mac(), endpoint.own_address(), endpoint.remote());
        self.low_bits |= low_bit(card);
        if !self.cards.contains(&card) {
            self.cards.push(card);
        }
        let way = Way { card, from, to };
        if !self.ways.contains(&way) {
            self.ways.push(way);
        }
    }

    /// Whether there is no collector.
    #[inline]
    pub(crate) const fn is_empty(&self) -> bool {
        self.low_bits == 0
    }

    /// Whether a frame from `source` can be a copy.
    #[inline]
    pub(crate) fn are_from(&self, source: MacAddr) -> bool {
        self.low_bits & low_bit(source) != 0 && self.cards.contains(&source)
    }

    /// Whether a frame that begins with `head` is a copy, or a fragment of one.
    pub(crate) fn contain(&self, head: &[u8]) -> bool {
        let Some(card) = head.get(6..).and_then(<[u8]>::first_chunk) else { return false };
        let card = MacAddr(*card);
        self.are_from(card)
            && ends(head).is_some_and(|(from, to)| self.ways.contains(&Way { card, from, to }))
    }
}

#[inline]
const fn low_bit(mac: MacAddr) -> u64 {
    1 << (mac.0[5] & 63)
}

/// The addresses of a datagram, source first.
fn ends(head: &[u8]) -> Option<(IpAddr, IpAddr)> {
    let mut at = 12;
    let type_at = |at| head.get(at..).and_then(<[u8]>::first_chunk::<2>);
    for _ in 0..MOST_TAGS {
        if !TAGS.contains(type_at(at)?) {
            break;
        }
        at += 4;
    }
    let ip = head.get(at + 2..)?;
    match *type_at(at)? {
        // RFC 791, section 3.1.
        IPV4 => {
            let address = |at| ip.get(at..).and_then(<[u8]>::first_chunk::<4>);
            let address = |at| address(at).map(|octets| IpAddr::V4(Ipv4Addr::from(*octets)));
            Some((address(12)?, address(16)?))
        }
        // RFC 8200, section 3.
        IPV6 => {
            let address = |at| ip.get(at..).and_then(<[u8]>::first_chunk::<16>);
            let address = |at| address(at).map(|octets| IpAddr::V6(Ipv6Addr::from(*octets)));
            Some((address(8)?, address(24)?))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use helio_underlay::{Carrier, EndpointSettings, IpNet};

    const CARD: MacAddr = MacAddr([2, 0xaa, 0, 0, 0, 1]);

    fn endpoint(own_mac: MacAddr, own: &str, remote: &str) -> Endpoint {
        let settings = EndpointSettings {
            own_mac,
            own: IpNet::new(own.parse().unwrap(), if own.contains(':') { 64 } else { 24 }).unwrap(),
            tag: None,
            remote: remote.parse().unwrap(),
            gateway: None,
            carrier: Carrier::Nothing,
            mtu_bytes: 1500,
        };
        Endpoint::new(&settings).unwrap()
    }

    fn copies() -> OwnCopies {
        let mut copies = OwnCopies::default();
        copies.add(&endpoint(CARD, "192.0.2.1", "192.0.2.2"));
        copies.add(&endpoint(CARD, "2001:db8::1", "2001:db8::2"));
        copies
    }

    /// A frame from `card` with these types of tags, and the addresses of its datagram.
    fn head(card: MacAddr, tags: &[[u8; 2]], from: &str, to: &str) -> Vec<u8> {
        let mut head = [&[2, 0xcc, 0, 0, 0, 1][..], &card.0].concat();
        tags.iter().for_each(|tag| head.extend([tag[0], tag[1], 0, 7]));
        match (from.parse().unwrap(), to.parse().unwrap()) {
            (IpAddr::V4(from), IpAddr::V4(to)) => {
                head.extend([8, 0]);
                head.extend([0x45, 0, 0, 60, 0, 0, 0, 0, 64, 47, 0, 0]);
                head.extend([from.octets(), to.octets()].concat());
            }
            (IpAddr::V6(from), IpAddr::V6(to)) => {
                head.extend([0x86, 0xdd, 0x60, 0, 0, 0, 0, 20, 47, 64]);
                head.extend([from.octets(), to.octets()].concat());
            }
            _ => panic!("two versions"),
        }
        head
    }

    #[test]
    fn a_copy_is_known_by_its_card_and_both_addresses_behind_up_to_two_tags() {
        let copies = copies();
        for [from, to, other] in
            [["192.0.2.1", "192.0.2.2", "192.0.2.3"], ["2001:db8::1", "2001:db8::2", "2001:db8::3"]]
        {
            let [c, s, old] = TAGS;
            for tags in [&[][..], &[c], &[s], &[c, c], &[s, c], &[old, c]] {
                let is_copy = |card, from, to| copies.contain(&head(card, tags, from, to));
                assert!(is_copy(CARD, from, to), "{tags:02x?}");
                assert!(!is_copy(CARD, from, other) && !is_copy(CARD, other, to));
                assert!(!is_copy(CARD, to, from));
                assert!(!is_copy(MacAddr([2, 0xbb, 0, 0, 0, 1]), from, to));
            }
            assert!(!copies.contain(&head(CARD, &[c, c, c], from, to)));
        }
    }

    #[test]
    fn a_copy_that_is_cut_before_its_addresses_end_is_none() {
        for (from, to) in [("192.0.2.1", "192.0.2.2"), ("2001:db8::1", "2001:db8::2")] {
            let whole = head(CARD, &[TAGS[0]; 2], from, to);
            let is_copy = |bytes| copies().contain(&whole[..bytes]);
            assert!(is_copy(whole.len()) && (0..whole.len()).all(|bytes| !is_copy(bytes)));
        }
    }

    #[test]
    fn the_addresses_of_two_collectors_are_not_mixed() {
        let mut copies = copies();
        let other = MacAddr([2, 0xaa, 0, 0, 0, 65]);
        copies.add(&endpoint(other, "198.51.100.1", "198.51.100.2"));
        assert!(copies.contain(&head(other, &[], "198.51.100.1", "198.51.100.2")));
        assert!(!copies.contain(&head(CARD, &[], "198.51.100.1", "198.51.100.2")));
        assert!(!copies.contain(&head(other, &[], "192.0.2.1", "192.0.2.2")));
    }

    #[test]
    fn without_a_collector_nothing_is_a_copy() {
        let copies = OwnCopies::default();
        assert!(copies.is_empty() && !copies.are_from(CARD) && !copies.are_from(MacAddr([0; 6])));
        assert!(!copies.contain(&head(CARD, &[], "192.0.2.1", "192.0.2.2")));
    }
}
