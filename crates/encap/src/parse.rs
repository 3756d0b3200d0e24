//! The outer headers of a frame that arrived: what stream it belongs to, and where the copy in it lies. Called by workers
//! on the private head of the frame.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use helio_offload::sum_words;
use helio_types::MIN_FRAME_BYTES;

use crate::erspan::{ErspanII, ErspanIII};
use crate::gre::{ERSPAN_I_II, ERSPAN_III, ETHERNET_BRIDGING, GRE, Gre};
use crate::reader::Reader;
use crate::underlay::{
    ETHER_IPV4, ETHER_IPV6, ETHER_SERVICE_VLAN, ETHER_VLAN, FRAGMENT_HEADER, IPV4_BYTES,
};
use crate::vxlan::{UDP, UDP_BYTES, VALID_VNI};
use crate::{IpVersion, Refusal, RemoteSession, Stream, Vni};

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
/// Why the frame is not a copy that can be delivered.
pub fn parse(head: &[u8], frame_bytes: u32, vxlan_port: u16) -> Result<Decapsulated, Refusal> {
    let mut reader = Reader::new(head, frame_bytes);
    let (version, outer_tci) = read_ethernet(&mut reader)?;
    let ip = match version {
        IpVersion::V4 => read_v4(&mut reader)?,
        IpVersion::V6 => read_v6(&mut reader)?,
    };
    let stream = match ip.protocol {
        GRE => read_gre(&mut reader)?,
        UDP => read_vxlan(&mut reader, vxlan_port)?,
        _ => return Err(Refusal::Protocol),
    };
    let inner_bytes = u32::try_from(reader.left()).unwrap_or(0);
    if inner_bytes < MIN_FRAME_BYTES {
        return Err(Refusal::InnerRunt);
    }
    let inner_start = u32::try_from(reader.at()).map_err(|_| Refusal::Short)?;
    let Ip { source, destination, .. } = ip;
    Ok(Decapsulated { source, destination, outer_tci, stream, inner_start, inner_bytes })
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

/// What the IP header says; the reader stands behind it and all that belongs to it, and ends with the datagram.
struct Ip {
    source: IpAddr,
    destination: IpAddr,
    protocol: u8,
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
    let Some(&[_, _, _, _, _, _, o0, o1, _, protocol, _, _, a, b, c, d, e, f, g, h]) =
        header.first_chunk::<IPV4_BYTES>()
    else {
        return Err(Refusal::IpLength);
    };
    // More-fragments bit and offset.
    if u16::from_be_bytes([o0, o1]) & 0x3fff != 0 {
        return Err(Refusal::Fragment);
    }
    let source = IpAddr::V4(Ipv4Addr::new(a, b, c, d));
    let destination = IpAddr::V4(Ipv4Addr::new(e, f, g, h));
    Ok(Ip { source, destination, protocol })
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
    let protocol = skip_extensions(reader, next)?;
    Ok(Ip { source, destination, protocol })
}

/// Returns what the last extension header announces. RFC 8200, section 4.
fn skip_extensions(reader: &mut Reader<'_>, first: u8) -> Result<u8, Refusal> {
    let mut protocol = first;
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
                let [_, _, o0, o1] = reader.peek()?;
                // Alone in its datagram it is not one. RFC 6946, section 4. Two bits are reserved.
                if u16::from_be_bytes([o0, o1]) & 0xfff9 != 0 {
                    return Err(Refusal::Fragment);
                }
                0
            }
            other => return Ok(other),
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
