//! The outer headers of a frame that arrived: what stream it belongs to, and where the copy in it lies. Called by workers
//! on the private head of the frame, or of a datagram that was put together.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use helio_offload::sum_words;
use helio_types::MIN_FRAME_BYTES;

use crate::erspan::{ErspanII, ErspanIII};
use crate::fragment::Place;
use crate::gre::{ERSPAN_I_II, ERSPAN_III, ETHERNET_BRIDGING, GRE, Gre};
use crate::reader::Reader;
use crate::underlay::{
    ETHER_IPV4, ETHER_IPV6, ETHER_SERVICE_VLAN, ETHER_VLAN, FRAGMENT_BYTES, FRAGMENT_HEADER,
    IPV4_BYTES,
};
use crate::vxlan::{UDP, UDP_BYTES, VALID_VNI};
use crate::{Assembled, IpVersion, Refusal, RemoteSession, Stream, Vni};

/// Most IPv6 extension headers that are stepped over; RFC 8200, section 4.1, knows fewer in a sensible order.
const MAX_EXTENSIONS: usize = 8;
const HOP_BY_HOP: u8 = 0;
const ROUTING: u8 = 43;
const DESTINATION_OPTIONS: u8 = 60;

/// A copy that arrived.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Decapsulated {
    /// Address of the sender.
    pub source: IpAddr,
    /// Address it was sent to.
    pub destination: IpAddr,
    /// Content of the first tag outside, if there is one.
    pub outer_tci: Option<u16>,
    /// What is told about the copy.
    pub stream: Stream,
    /// Where it begins in the frame; no further than the frame is long, and maybe beyond the head.
    pub inner_start: u32,
    /// Its length, an Ethernet header at least. What follows it in the frame is padding.
    pub inner_bytes: u32,
}

impl Decapsulated {
    /// The stream it is numbered in.
    #[must_use]
    pub const fn remote_session(&self) -> RemoteSession {
        RemoteSession {
            source: self.source,
            destination: self.destination,
            kind: self.stream.kind(),
            session: self.stream.session(),
        }
    }
}

/// Reads the outer headers of a frame of `frame_bytes` that begins with `head`. VXLAN is what comes to UDP port
/// `vxlan_port`.
///
/// Steps over IPv4 options and up to 8 IPv6 extension headers, two tags, and the checksums of GRE and UDP: these are over
/// bytes that are not in the head. RFC 7348, section 5, allows that.
///
/// # Errors
///
/// Why the frame is not a copy that can be delivered. [`Refusal::Fragment`]: it may be a [`Fragment`](crate::Fragment).
pub fn parse(head: &[u8], frame_bytes: u32, vxlan_port: u16) -> Result<Decapsulated, Refusal> {
    let mut reader = Reader::new(head, frame_bytes);
    let (outer_tci, ip) = read_ip(&mut reader)?;
    if ip.place.is_some() {
        return Err(Refusal::Fragment);
    }
    read_copy(&mut reader, &ip, outer_tci, vxlan_port)
}

/// Reads a datagram that was put together. `head` is how it begins behind the IP header; what is told of places in the frame
/// is told of places there.
///
/// # Errors
///
/// As of [`parse`].
pub fn parse_assembled(
    head: &[u8],
    datagram: &Assembled,
    vxlan_port: u16,
) -> Result<Decapsulated, Refusal> {
    let Assembled { source, destination, outer_tci, protocol, payload_bytes } = *datagram;
    let mut reader = Reader::new(head, payload_bytes);
    let extended = match source {
        IpAddr::V4(_) => Extended { protocol, place: None },
        IpAddr::V6(_) => skip_extensions(&mut reader, protocol)?,
    };
    if extended.place.is_some() {
        return Err(Refusal::Fragment);
    }
    let ip = Ip { source, destination, protocol: extended.protocol, place: None };
    read_copy(&mut reader, &ip, outer_tci, vxlan_port)
}

/// What follows the IP header and all that belongs to it.
fn read_copy(
    reader: &mut Reader<'_>,
    ip: &Ip,
    outer_tci: Option<u16>,
    vxlan_port: u16,
) -> Result<Decapsulated, Refusal> {
    let stream = match ip.protocol {
        GRE => read_gre(reader)?,
        UDP => read_vxlan(reader, vxlan_port)?,
        _ => return Err(Refusal::Protocol),
    };
    let inner_bytes = u32::try_from(reader.left()).unwrap_or(0);
    if inner_bytes < MIN_FRAME_BYTES {
        return Err(Refusal::InnerRunt);
    }
    let inner_start = u32::try_from(reader.at()).map_err(|_| Refusal::Short)?;
    let Ip { source, destination, .. } = *ip;
    Ok(Decapsulated { source, destination, outer_tci, stream, inner_start, inner_bytes })
}

/// Everything up to what the datagram carries. The reader stands there, and ends with the datagram.
pub(crate) fn read_ip(reader: &mut Reader<'_>) -> Result<(Option<u16>, Ip), Refusal> {
    let (version, outer_tci) = read_ethernet(reader)?;
    let ip = match version {
        IpVersion::V4 => read_v4(reader)?,
        IpVersion::V6 => read_v6(reader)?,
    };
    Ok((outer_tci, ip))
}

/// Addresses, up to two tags, and the type. IEEE 802.1Q-2018, section 9.5.
fn read_ethernet(reader: &mut Reader<'_>) -> Result<(IpVersion, Option<u16>), Refusal> {
    reader.take::<12>()?;
    let mut tci = None;
    let mut ether_type = reader.take()?;
    for _ in 0..2 {
        if !matches!(ether_type, ETHER_VLAN | ETHER_SERVICE_VLAN) {
            break;
        }
        let [c0, c1, t0, t1] = reader.take()?;
        tci = tci.or(Some(u16::from_be_bytes([c0, c1])));
        ether_type = [t0, t1];
    }
    match ether_type {
        ETHER_IPV4 => Ok((IpVersion::V4, tci)),
        ETHER_IPV6 => Ok((IpVersion::V6, tci)),
        _ => Err(Refusal::NotIp),
    }
}

/// What the IP header says, and all that belongs to it.
pub(crate) struct Ip {
    pub(crate) source: IpAddr,
    pub(crate) destination: IpAddr,
    pub(crate) protocol: u8,
    /// Of a fragment, where it stands in its datagram.
    pub(crate) place: Option<Place>,
}

/// RFC 791, section 3.1.
fn read_v4(reader: &mut Reader<'_>) -> Result<Ip, Refusal> {
    let [first, _, l0, l1] = reader.peek()?;
    if first >> 4 != 4 {
        return Err(Refusal::IpVersion);
    }
    let header_bytes = usize::from(first & 0x0f) * 4;
    let total_bytes = usize::from(u16::from_be_bytes([l0, l1]));
    if header_bytes < IPV4_BYTES || total_bytes < header_bytes {
        return Err(Refusal::IpLength);
    }
    reader.limit(total_bytes).ok_or(Refusal::IpLength)?;
    let header = reader.slice(header_bytes)?;
    if sum_words(header) != u16::MAX {
        return Err(Refusal::IpChecksum);
    }
    let Some(&[_, _, _, _, i0, i1, o0, o1, _, protocol, _, _, a, b, c, d, e, f, g, h]) =
        header.first_chunk::<IPV4_BYTES>()
    else {
        return Err(Refusal::IpLength);
    };
    let identification = u16::from_be_bytes([i0, i1]).into();
    let place = Place::of_v4(u16::from_be_bytes([o0, o1]), identification, header_bytes);
    let source = IpAddr::V4(Ipv4Addr::new(a, b, c, d));
    let destination = IpAddr::V4(Ipv4Addr::new(e, f, g, h));
    Ok(Ip { source, destination, protocol, place })
}

/// RFC 8200, section 3.
fn read_v6(reader: &mut Reader<'_>) -> Result<Ip, Refusal> {
    let [first, _, _, _, l0, l1, next, _] = reader.take()?;
    if first >> 4 != 6 {
        return Err(Refusal::IpVersion);
    }
    let source = IpAddr::V6(Ipv6Addr::from(reader.take::<16>()?));
    let destination = IpAddr::V6(Ipv6Addr::from(reader.take::<16>()?));
    reader.limit(usize::from(u16::from_be_bytes([l0, l1]))).ok_or(Refusal::IpLength)?;
    let Extended { protocol, place } = skip_extensions(reader, next)?;
    Ok(Ip { source, destination, protocol, place })
}

/// What extension headers come to.
struct Extended {
    /// What the last of them announces.
    protocol: u8,
    /// That was a fragment header, which says this.
    place: Option<Place>,
}

/// Steps over extension headers, up to a fragment header at most. RFC 8200, section 4.
fn skip_extensions(reader: &mut Reader<'_>, first: u8) -> Result<Extended, Refusal> {
    let mut protocol = first;
    let from = reader.at();
    for _ in 0..=MAX_EXTENSIONS {
        let units = match protocol {
            HOP_BY_HOP | DESTINATION_OPTIONS => {
                let [_, units] = reader.peek()?;
                units
            }
            ROUTING => {
                let [_, units, _, segments_left] = reader.peek()?;
                if segments_left != 0 {
                    return Err(Refusal::Routed);
                }
                units
            }
            FRAGMENT_HEADER => {
                let [next, _, o0, o1, i0, i1, i2, i3] = reader.peek()?;
                let identification = u32::from_be_bytes([i0, i1, i2, i3]);
                let before = reader.at() - from;
                let word = u16::from_be_bytes([o0, o1]);
                // Alone in its datagram it is not one. RFC 6946, section 4.
                if let Some(place) = Place::of_v6(word, identification, before) {
                    reader.skip(FRAGMENT_BYTES)?;
                    return Ok(Extended { protocol: next, place: Some(place) });
                }
                0
            }
            other => return Ok(Extended { protocol: other, place: None }),
        };
        [protocol] = reader.peek()?;
        reader.skip((usize::from(units) + 1) * 8)?;
    }
    Err(Refusal::Extensions)
}

fn read_gre(reader: &mut Reader<'_>) -> Result<Stream, Refusal> {
    let gre = Gre::read(reader)?;
    let is_erspan = matches!(gre.protocol, ERSPAN_I_II | ERSPAN_III);
    if is_erspan && (gre.has_checksum || gre.key.is_some()) {
        return Err(Refusal::GreFlags);
    }
    match (gre.protocol, gre.sequence) {
        (ETHERNET_BRIDGING, sequence) => Ok(Stream::Gre { key: gre.key, sequence }),
        // Nothing else tells the two types apart.
        (ERSPAN_I_II, None) => Ok(Stream::ErspanI),
        (ERSPAN_I_II, Some(sequence)) => {
            Ok(Stream::ErspanII { sequence, header: ErspanII::read(reader)? })
        }
        (ERSPAN_III, Some(sequence)) => {
            Ok(Stream::ErspanIII { sequence, header: ErspanIII::read(reader)? })
        }
        (ERSPAN_III, None) => Err(Refusal::GreFlags),
        _ => Err(Refusal::GreProtocol),
    }
}

/// RFC 768; RFC 7348, section 5.
fn read_vxlan(reader: &mut Reader<'_>, vxlan_port: u16) -> Result<Stream, Refusal> {
    let [_, _, d0, d1, l0, l1, _, _] = reader.take()?;
    if u16::from_be_bytes([d0, d1]) != vxlan_port {
        return Err(Refusal::UdpPort);
    }
    let message_bytes = usize::from(u16::from_be_bytes([l0, l1]));
    let body_bytes = message_bytes.checked_sub(UDP_BYTES).ok_or(Refusal::UdpLength)?;
    reader.limit(body_bytes).ok_or(Refusal::UdpLength)?;
    let [flags, _, _, _, a, b, c, _] = reader.take()?;
    if flags & VALID_VNI == 0 {
        return Err(Refusal::VxlanFlags);
    }
    Ok(Stream::Vxlan { vni: Vni::of_low_bits(u32::from_be_bytes([0, a, b, c])) })
}
