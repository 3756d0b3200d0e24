//! The bounded parser of link, network and transport headers that the rest of this crate shares. Works on
//! the private head of a frame; steps through at most two tags and a fixed number of extension headers.

use std::ops::Range;

/// TCP in the protocol field of IP.
const TCP: u8 = 6;
const ETHER_IPV4: u16 = 0x0800;
const ETHER_IPV6: u16 = 0x86dd;
const ETHER_VLAN: u16 = 0x8100;
const ETHER_SERVICE_VLAN: u16 = 0x88a8;
const HOP_BY_HOP: u8 = 0;
const ROUTING: u8 = 43;
const FRAGMENT: u8 = 44;
const DESTINATION_OPTIONS: u8 = 60;

/// Most IPv6 extension headers we step over; RFC 8200, section 4.1, knows fewer in a sensible order.
const MAX_EXTENSIONS: usize = 8;

/// Why a header could not be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unparsed {
    /// The bytes end before the header does.
    Short,
    /// It is none of those known here, or contradicts itself.
    Unknown,
}

/// The `N` bytes at `at`.
pub(crate) fn chunk<const N: usize>(head: &[u8], at: usize) -> Option<[u8; N]> {
    head.get(at..)?.first_chunk().copied()
}

fn byte(head: &[u8], at: usize) -> Result<u8, Unparsed> {
    head.get(at).copied().ok_or(Unparsed::Short)
}

fn word(head: &[u8], at: usize) -> Option<u16> {
    chunk(head, at).map(u16::from_be_bytes)
}

/// The Ethernet header with its tags.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Link {
    /// Type of what follows; a third tag is not looked into.
    pub(crate) ether_type: u16,
    /// Where the network header begins.
    pub(crate) end: usize,
}

impl Link {
    /// Reads addresses, a customer tag or a service tag with a customer tag in it, and the type.
    /// IEEE 802.1Q-2018, section 9.5. `None` when the head ends before the type.
    pub(crate) fn parse(head: &[u8]) -> Option<Self> {
        let outer = word(head, 12)?;
        let (ether_type, end) = match outer {
            ETHER_VLAN => (word(head, 16)?, 18),
            ETHER_SERVICE_VLAN => match word(head, 16)? {
                ETHER_VLAN => (word(head, 20)?, 22),
                inner => (inner, 18),
            },
            plain => (plain, 14),
        };
        Some(Self { ether_type, end })
    }
}

/// Version of the Internet Protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Version {
    V4,
    V6,
}

/// Whether all of a datagram is here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wholeness {
    Whole,
    /// A fragment, or a datagram with a fragment header.
    Fragment,
}

/// The IPv4 header with its options, or the fixed IPv6 header.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Network {
    pub(crate) version: Version,
    /// Where it begins in the frame.
    pub(crate) start: usize,
    /// Where it ends; in IPv6 extension headers may follow.
    pub(crate) end: usize,
    /// The protocol, or next header, field.
    pub(crate) protocol: u8,
    wholeness: Wholeness,
}

impl Network {
    pub(crate) fn parse(head: &[u8], link: &Link) -> Result<Self, Unparsed> {
        let first = || byte(head, link.end);
        match link.ether_type {
            ETHER_IPV4 => Self::parse_v4(head, link.end, first()?),
            ETHER_IPV6 => Self::parse_v6(head, link.end, first()?),
            _ => Err(Unparsed::Unknown),
        }
    }

    fn parse_v4(head: &[u8], start: usize, first: u8) -> Result<Self, Unparsed> {
        let header_bytes = usize::from(first & 0x0f) * 4;
        if first >> 4 != 4 || header_bytes < 20 {
            return Err(Unparsed::Unknown);
        }
        let end = start + header_bytes;
        head.get(start..end).ok_or(Unparsed::Short)?;
        let fragment = word(head, start + 6).ok_or(Unparsed::Short)?;
        // More-fragments bit and offset.
        let wholeness = if fragment & 0x3fff == 0 { Wholeness::Whole } else { Wholeness::Fragment };
        let protocol = byte(head, start + 9)?;
        Ok(Self { version: Version::V4, start, end, protocol, wholeness })
    }

    fn parse_v6(head: &[u8], start: usize, first: u8) -> Result<Self, Unparsed> {
        if first >> 4 != 6 {
            return Err(Unparsed::Unknown);
        }
        let end = start + 40;
        head.get(start..end).ok_or(Unparsed::Short)?;
        let protocol = byte(head, start + 6)?;
        Ok(Self { version: Version::V6, start, end, protocol, wholeness: Wholeness::Whole })
    }

    /// Where the source address lies.
    pub(crate) const fn source(&self) -> Range<usize> {
        match self.version {
            Version::V4 => self.start + 12..self.start + 16,
            Version::V6 => self.start + 8..self.start + 24,
        }
    }

    /// Where the destination address lies.
    pub(crate) const fn destination(&self) -> Range<usize> {
        match self.version {
            Version::V4 => self.start + 16..self.start + 20,
            Version::V6 => self.start + 24..self.start + 40,
        }
    }

    /// What the length field of this header must say in a frame of `frame_bytes`: the total length in
    /// IPv4, the length after the fixed header in IPv6. `None` when the field cannot say it.
    pub(crate) fn length_field(&self, frame_bytes: u32) -> Option<u16> {
        let before = match self.version {
            Version::V4 => self.start,
            Version::V6 => self.end,
        };
        u16::try_from(frame_bytes.checked_sub(u32::try_from(before).ok()?)?).ok()
    }
}

/// Where the transport begins, beyond all extension headers.
#[derive(Clone, Debug)]
pub(crate) struct Transport {
    pub(crate) protocol: u8,
    pub(crate) start: usize,
    pub(crate) wholeness: Wholeness,
    /// Where the destination address of the pseudo-header lies. RFC 8200, section 8.1.
    pub(crate) destination: Range<usize>,
}

impl Transport {
    pub(crate) fn parse(head: &[u8], network: &Network) -> Result<Self, Unparsed> {
        let here = Self {
            protocol: network.protocol,
            start: network.end,
            wholeness: network.wholeness,
            destination: network.destination(),
        };
        match network.version {
            Version::V4 => Ok(here),
            Version::V6 => here.skip_extensions(head),
        }
    }

    fn skip_extensions(mut self, head: &[u8]) -> Result<Self, Unparsed> {
        for _ in 0..=MAX_EXTENSIONS {
            let units = match self.protocol {
                ROUTING => {
                    if let Some(destination) = final_destination(head, self.start)? {
                        self.destination = destination;
                    }
                    byte(head, self.start + 1)?
                }
                HOP_BY_HOP | DESTINATION_OPTIONS => byte(head, self.start + 1)?,
                FRAGMENT => {
                    self.wholeness = Wholeness::Fragment;
                    // Its second byte is reserved, not a length.
                    0
                }
                _ => return Ok(self),
            };
            self.protocol = byte(head, self.start)?;
            self.start += (usize::from(units) + 1) * 8;
            if self.wholeness == Wholeness::Fragment {
                return Ok(self);
            }
        }
        Err(Unparsed::Unknown)
    }
}

/// Where the routing header at `at` keeps the address of the final destination; `None` when the one in
/// the fixed header is it. RFC 8200, section 4.4; RFC 6275, section 6.4; RFC 8754, section 2.
fn final_destination(head: &[u8], at: usize) -> Result<Option<Range<usize>>, Unparsed> {
    let body_bytes = usize::from(byte(head, at + 1)?) * 8;
    let kind = byte(head, at + 2)?;
    if byte(head, at + 3)? == 0 {
        return Ok(None);
    }
    if body_bytes < 16 {
        return Err(Unparsed::Unknown);
    }
    let start = match kind {
        // A list of addresses to visit: the last one.
        0 => at + 8 + body_bytes - 16,
        // The home address, the only one; the segment list, which is kept in reverse order.
        2 | 4 => at + 8,
        _ => return Err(Unparsed::Unknown),
    };
    head.get(start..start + 16).ok_or(Unparsed::Short)?;
    Ok(Some(start..start + 16))
}

/// All headers of an unfragmented TCP frame. Every byte before `end` lies in the head it was parsed from.
#[derive(Clone, Debug)]
pub(crate) struct TcpHeaders {
    pub(crate) network: Network,
    pub(crate) transport: Transport,
    /// Where the TCP options end.
    pub(crate) end: usize,
}

impl TcpHeaders {
    pub(crate) fn parse(head: &[u8]) -> Result<Self, Unparsed> {
        let link = Link::parse(head).ok_or(Unparsed::Short)?;
        let network = Network::parse(head, &link)?;
        let transport = Transport::parse(head, &network)?;
        if transport.protocol != TCP || transport.wholeness == Wholeness::Fragment {
            return Err(Unparsed::Unknown);
        }
        let header_bytes = usize::from(byte(head, transport.start + 12)? >> 4) * 4;
        if header_bytes < 20 {
            return Err(Unparsed::Unknown);
        }
        let end = transport.start + header_bytes;
        head.get(..end).ok_or(Unparsed::Short)?;
        Ok(Self { network, transport, end })
    }
}
