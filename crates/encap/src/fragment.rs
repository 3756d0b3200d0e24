//! One fragment of an IP datagram: of which datagram, and which bytes of it. Read by workers from the private head of a frame
//! that is none of ours as a whole.

use std::net::IpAddr;

use crate::Refusal;
use crate::gre::GRE;
use crate::parse::{Ip, read_ip};
use crate::plan::More;
use crate::reader::Reader;
use crate::vxlan::UDP;

/// Bytes that a fragment's offset counts in. RFC 791, section 3.1; RFC 8200, section 4.5.
const UNIT: u32 = 8;

/// Longest datagram by the length field of its IP header.
const LONGEST: u32 = 65_535;

/// Where a fragment stands in its datagram, as its IP header says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    identification: u32,
    /// Bytes of the payload that are in fragments before it.
    start: u32,
    more: More,
    /// Bytes that the length field of the datagram counts before its payload.
    before: u32,
}

impl Place {
    /// From the word of flags and offset. `None` where that is the whole datagram. RFC 791, section 3.1.
    pub(crate) fn of_v4(word: u16, identification: u32, header_bytes: usize) -> Option<Self> {
        let start = u32::from(word & 0x1fff) * UNIT;
        Self::new(start, word & 0x2000, identification, header_bytes)
    }

    /// The same for IPv6, where `before` bytes of extension headers come first. RFC 8200, section 4.5. Two bits are reserved.
    pub(crate) fn of_v6(word: u16, identification: u32, before: usize) -> Option<Self> {
        Self::new(u32::from(word & 0xfff8), word & 1, identification, before)
    }

    fn new(start: u32, more: u16, identification: u32, before: usize) -> Option<Self> {
        let before = u32::try_from(before).unwrap_or(LONGEST);
        match (start, more) {
            (0, 0) => None,
            (_, 0) => Some(Self { identification, start, more: More::Last, before }),
            (_, _) => Some(Self { identification, start, more: More::Follow, before }),
        }
    }
}

/// What the fragments of one datagram have in common. RFC 791, section 2.3; RFC 8200, section 4.5, where what a fragment
/// announces behind its header does not count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Key {
    pub(crate) source: IpAddr,
    pub(crate) destination: IpAddr,
    identification: u32,
    /// Of IPv4.
    protocol: Option<u8>,
}

/// A fragment that arrived.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fragment {
    pub(crate) key: Key,
    pub(crate) outer_tci: Option<u16>,
    /// What the fragment says of what the datagram carries; that of the first one counts.
    pub(crate) protocol: u8,
    pub(crate) more: More,
    start: u32,
    data_start: u32,
    data_bytes: u32,
}

impl Fragment {
    /// Reads a frame of `frame_bytes` that begins with `head`. `None` when it holds a whole datagram.
    ///
    /// # Errors
    ///
    /// Why it cannot be a part of a copy.
    pub fn read(head: &[u8], frame_bytes: u32) -> Result<Option<Self>, Refusal> {
        let mut reader = Reader::new(head, frame_bytes);
        let (outer_tci, ip) = read_ip(&mut reader)?;
        let Ip { source, destination, protocol, place } = ip;
        let Some(Place { identification, start, more, before }) = place else { return Ok(None) };
        let of_v4 = source.is_ipv4().then_some(protocol);
        if of_v4.is_some_and(|protocol| !matches!(protocol, GRE | UDP)) {
            return Err(Refusal::Protocol);
        }
        let data_start = u32::try_from(reader.at()).map_err(|_| Refusal::FragmentLength)?;
        let data_bytes = u32::try_from(reader.left()).map_err(|_| Refusal::FragmentLength)?;
        let is_even = more == More::Last || data_bytes % UNIT == 0;
        // Each term is below 2^17: lengths of frames are.
        if data_bytes == 0 || !is_even || before + start + data_bytes > LONGEST {
            return Err(Refusal::FragmentLength);
        }
        let key = Key { source, destination, identification, protocol: of_v4 };
        Ok(Some(Self { key, outer_tci, protocol, more, start, data_start, data_bytes }))
    }

    /// Where its bytes begin in what the datagram carries behind its IP header.
    #[must_use]
    pub const fn start(&self) -> u32 {
        self.start
    }

    /// Where they begin in the frame: within the head, or where it ends.
    #[must_use]
    pub const fn data_start(&self) -> u32 {
        self.data_start
    }

    /// How many they are: one at least, and none beyond what a datagram can have.
    #[must_use]
    pub const fn data_bytes(&self) -> u32 {
        self.data_bytes
    }

    /// Where they end in what the datagram carries.
    pub(crate) const fn end(&self) -> u32 {
        self.start + self.data_bytes
    }
}
