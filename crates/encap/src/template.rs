//! The outer headers of one session towards one destination, compiled once by the control thread and filled in per copy
//! by the worker that sends it.

use helio_offload::RunningSum;

use crate::erspan::{ErspanII, ErspanIII, SubHeader};
use crate::gre::GRE;
use crate::outer_header::PREFIX_BYTES;
use crate::plan::{More, Overhead, Position};
use crate::underlay::{
    ETHER_IPV4, ETHER_IPV6, ETHER_VLAN, FRAGMENT_BYTES, FRAGMENT_HEADER, IPV4_BYTES, IPV6_BYTES,
};
use crate::vxlan::{UDP, source_port, vxlan_header};
use crate::{
    Addresses, CopyFields, DontFragment, Encapsulation, Granularity, GreSequence, IpVersion, NoFit,
    OuterHeader, Part, Path, Plan, SnapLen, SubHeaderChoice, UdpChecksum, Underlay, Vni,
};

/// The bit of IPv4 that forbids fragments, with its word. RFC 791, section 3.1.
const DONT_FRAGMENT: u16 = 0x4000;
/// The bit of IPv4 that announces more of them.
const MORE_FRAGMENTS: u16 = 0x2000;

/// Places in the IPv4 header.
const V4_LENGTH: usize = 2;
const V4_IDENTIFICATION: usize = 4;
const V4_FRAGMENT: usize = 6;
const V4_CHECKSUM: usize = 10;
/// Places in the IPv6 header.
const V6_FLOW: usize = 0;
const V6_LENGTH: usize = 4;
const V6_NEXT: usize = 6;

/// All that is the same for the copies of a session on their way to a destination.
#[derive(Clone, Debug)]
pub struct Template {
    /// Ethernet and IP, with zeros where copies differ.
    prefix: [u8; PREFIX_BYTES],
    ip_start: usize,
    ip_end: usize,
    version: IpVersion,
    protocol: u8,
    /// Sum of the IPv4 header.
    header_sum: u16,
    /// Sum of what the checksum of UDP covers and is the same for all copies.
    udp_sum: u16,
    /// Word of version and traffic class of IPv6.
    class: u32,
    /// Flags of an IPv4 datagram that is not a fragment.
    whole_flags: u16,
    encapsulation: Encapsulation,
    shim_bytes: u32,
}

impl Template {
    /// Compiles a session's encapsulation and the way to a destination.
    #[must_use]
    pub fn new(underlay: &Underlay, encapsulation: Encapsulation) -> Self {
        let protocol = match encapsulation {
            Encapsulation::Vxlan { .. } => UDP,
            _ => GRE,
        };
        let version = underlay.addresses.version();
        let ip = ip_header(underlay, protocol);
        let mut header = OuterHeader::new();
        push_ethernet(underlay, &mut header);
        let ip_start = header.bytes().len();
        match ip {
            IpHeader::V4(bytes) => header.push(bytes),
            IpHeader::V6(bytes) => header.push(bytes),
        }
        let whole_flags = match underlay.dont_fragment {
            DontFragment::Set => DONT_FRAGMENT,
            DontFragment::Clear => 0,
        };
        let class = 6 << 28 | u32::from(underlay.dscp.get()) << 22;
        let shim_bytes = u32::try_from(encapsulation.header_bytes()).unwrap_or(0);
        Self {
            ip_start,
            ip_end: header.bytes().len(),
            prefix: prefix_of(&header),
            version,
            protocol,
            header_sum: ip.sum(),
            udp_sum: udp_sum(&underlay.addresses, &encapsulation),
            class,
            whole_flags,
            encapsulation,
            shim_bytes,
        }
    }

    /// Bytes in front of a copy that is not fragmented, Ethernet included.
    #[must_use]
    pub fn outer_bytes(&self) -> usize {
        self.ip_end + self.encapsulation.header_bytes()
    }

    /// Bytes of the path's MTU that a copy cannot have.
    #[must_use]
    pub fn mtu_overhead(&self) -> usize {
        self.version.header_bytes() + self.encapsulation.header_bytes()
    }

    /// Whether [`CopyFields::inner_sum`] must be filled in.
    #[must_use]
    pub const fn wants_inner_sum(&self) -> bool {
        matches!(self.encapsulation, Encapsulation::Vxlan { checksum: UdpChecksum::Complete, .. })
    }

    /// What is sent of a frame of `frame_bytes` over `path`.
    ///
    /// # Errors
    ///
    /// Why nothing can be sent. The copy is lost then, and counted by its session.
    pub fn plan(&self, frame_bytes: u32, snap_len: SnapLen, path: Path) -> Result<Plan, NoFit> {
        let overhead = Overhead { version: self.version, shim_bytes: self.shim_bytes };
        Plan::new(overhead, frame_bytes, snap_len, path)
    }

    /// Writes the outer headers of `part`, which this template has planned, to `out`.
    pub fn fill(&self, copy: &CopyFields, part: &Part, out: &mut OuterHeader) {
        out.begin(&self.prefix, self.ip_end);
        let shim_bytes = if part.position.is_first() { self.shim_bytes } else { 0 };
        let payload_bytes = shim_bytes.saturating_add(part.inner_bytes());
        match self.version {
            IpVersion::V4 => self.fill_v4(copy, part.position, payload_bytes, out),
            IpVersion::V6 => self.fill_v6(copy, part.position, payload_bytes, out),
        }
        if part.position.is_first() {
            self.push_shim(copy, part, out);
        }
    }

    /// RFC 791, section 3.1.
    fn fill_v4(&self, copy: &CopyFields, at: Position, payload_bytes: u32, out: &mut OuterHeader) {
        let ip_bytes = u32::try_from(IpVersion::V4.header_bytes()).unwrap_or(0);
        let length = length_field(payload_bytes.saturating_add(ip_bytes));
        let [_, _, identification @ ..] = copy.identification.to_be_bytes();
        let fragment = match at {
            Position::Whole => self.whole_flags,
            Position::Fragment { units, more: More::Follow } => units | MORE_FRAGMENTS,
            Position::Fragment { units, more: More::Last } => units,
        };
        let mut sum = RunningSum::new();
        let identification_word = u16::from_be_bytes(identification);
        for word in [self.header_sum, length, identification_word, fragment] {
            sum.push_summed(word, 2);
        }
        out.put(self.ip_start + V4_LENGTH, length.to_be_bytes());
        out.put(self.ip_start + V4_IDENTIFICATION, identification);
        out.put(self.ip_start + V4_FRAGMENT, fragment.to_be_bytes());
        out.put(self.ip_start + V4_CHECKSUM, (!sum.value()).to_be_bytes());
    }

    /// RFC 8200, sections 3 and 4.5.
    fn fill_v6(&self, copy: &CopyFields, at: Position, payload_bytes: u32, out: &mut OuterHeader) {
        let flow = self.class | (copy.flow_hash & 0xf_ffff);
        out.put(self.ip_start + V6_FLOW, flow.to_be_bytes());
        let Position::Fragment { units, more } = at else {
            out.put(self.ip_start + V6_LENGTH, length_field(payload_bytes).to_be_bytes());
            return;
        };
        let length = payload_bytes.saturating_add(u32::try_from(FRAGMENT_BYTES).unwrap_or(0));
        out.put(self.ip_start + V6_LENGTH, length_field(length).to_be_bytes());
        out.put(self.ip_start + V6_NEXT, [FRAGMENT_HEADER]);
        let [o0, o1] = match more {
            More::Follow => units << 3 | 1,
            More::Last => units << 3,
        }
        .to_be_bytes();
        let [i0, i1, i2, i3] = copy.identification.to_be_bytes();
        out.push([self.protocol, 0, o0, o1, i0, i1, i2, i3]);
    }

    /// What stands between the IP header and the copy.
    fn push_shim(&self, copy: &CopyFields, part: &Part, out: &mut OuterHeader) {
        let truncation = part.datagram.truncation.or(copy.truncation);
        if let Some(first_word) = self.encapsulation.gre_first_word() {
            out.push(first_word);
        }
        match self.encapsulation {
            Encapsulation::ErspanI => {}
            Encapsulation::ErspanII { session } => {
                out.push(copy.sequence.to_be_bytes());
                let header = ErspanII {
                    vlan: copy.vlan.into(),
                    cos: copy.cos,
                    original_tag: copy.original_tag,
                    truncation,
                    session,
                    index: copy.source,
                };
                out.push(header.to_bytes());
            }
            Encapsulation::ErspanIII { session, security_group, hardware, sub_header } => {
                out.push(copy.sequence.to_be_bytes());
                let sub_header = match sub_header {
                    SubHeaderChoice::Absent => None,
                    SubHeaderChoice::SourceIndex => {
                        Some(SubHeader::of_source(copy.source, copy.timestamp))
                    }
                };
                let header = ErspanIII {
                    vlan: copy.vlan.into(),
                    cos: copy.cos,
                    integrity: copy.integrity,
                    truncation,
                    session,
                    timestamp: copy.timestamp.low(),
                    security_group,
                    hardware,
                    direction: copy.direction,
                    granularity: Granularity::HundredNanoseconds,
                    sub_header,
                };
                out.push(header.to_bytes());
                if let Some(sub_header) = sub_header {
                    out.push(sub_header.to_bytes());
                }
            }
            Encapsulation::Gre { key, sequence } => push_gre(key, sequence, copy, out),
            Encapsulation::Vxlan { vni, port, checksum } => {
                self.push_vxlan(vni, port, checksum, copy, part, out);
            }
        }
    }

    fn push_vxlan(
        &self,
        vni: Vni,
        port: u16,
        checksum: UdpChecksum,
        copy: &CopyFields,
        part: &Part,
        out: &mut OuterHeader,
    ) {
        let source = source_port(copy.flow_hash);
        let length = length_field(self.shim_bytes.saturating_add(part.datagram.inner_bytes));
        let checksum = match checksum {
            UdpChecksum::Zero => 0,
            UdpChecksum::Complete => {
                let mut sum = RunningSum::new();
                // The length is in the pseudo-header and in the header.
                for word in [self.udp_sum, source, length, length, copy.inner_sum] {
                    sum.push_summed(word, 2);
                }
                // Zero would say that there is none. RFC 768.
                if sum.value() == u16::MAX { u16::MAX } else { !sum.value() }
            }
        };
        let ([s0, s1], [d0, d1]) = (source.to_be_bytes(), port.to_be_bytes());
        let ([l0, l1], [c0, c1]) = (length.to_be_bytes(), checksum.to_be_bytes());
        out.push([s0, s1, d0, d1, l0, l1, c0, c1]);
        out.push(vxlan_header(vni));
    }
}

/// What follows flags and type. RFC 2890, section 2.
fn push_gre(key: Option<u32>, sequence: GreSequence, copy: &CopyFields, out: &mut OuterHeader) {
    if let Some(key) = key {
        out.push(key.to_be_bytes());
    }
    if sequence == GreSequence::Present {
        out.push(copy.sequence.to_be_bytes());
    }
}

/// A length that a plan has checked.
fn length_field(bytes: u32) -> u16 {
    u16::try_from(bytes).unwrap_or(u16::MAX)
}

fn push_ethernet(underlay: &Underlay, out: &mut OuterHeader) {
    out.push(underlay.destination_mac.0);
    out.push(underlay.source_mac.0);
    if let Some(tag) = underlay.tag {
        out.push(ETHER_VLAN);
        out.push((u16::from(tag.cos.get()) << 13 | tag.vlan.get()).to_be_bytes());
    }
    out.push(match underlay.addresses.version() {
        IpVersion::V4 => ETHER_IPV4,
        IpVersion::V6 => ETHER_IPV6,
    });
}

/// The IP header, with zeros where copies differ.
enum IpHeader {
    V4([u8; IPV4_BYTES]),
    V6([u8; IPV6_BYTES]),
}

impl IpHeader {
    /// Sum of all words of an IPv4 header; IPv6 has no checksum.
    fn sum(&self) -> u16 {
        match self {
            Self::V4(bytes) => helio_offload::sum_words(bytes),
            Self::V6(_) => 0,
        }
    }
}

fn ip_header(underlay: &Underlay, protocol: u8) -> IpHeader {
    let (class, hop_limit) = (underlay.dscp.get() << 2, underlay.hop_limit.get());
    match underlay.addresses {
        Addresses::V4 { source, destination } => {
            let ([a, b, c, d], [e, f, g, h]) = (source.octets(), destination.octets());
            IpHeader::V4([
                0x45, class, 0, 0, 0, 0, 0, 0, hop_limit, protocol, 0, 0, a, b, c, d, e, f, g, h,
            ])
        }
        Addresses::V6 { source, destination } => {
            let mut bytes = [0; IPV6_BYTES];
            let parts = [0x60, 0, 0, 0, 0, 0, protocol, hop_limit]
                .into_iter()
                .chain(source.octets())
                .chain(destination.octets());
            for (to, from) in bytes.iter_mut().zip(parts) {
                *to = from;
            }
            IpHeader::V6(bytes)
        }
    }
}

/// All that the checksum of UDP covers but the source port, the lengths and the copy. RFC 768; RFC 8200, section 8.1.
fn udp_sum(addresses: &Addresses, encapsulation: &Encapsulation) -> u16 {
    let Encapsulation::Vxlan { vni, port, .. } = encapsulation else { return 0 };
    let mut sum = RunningSum::new();
    match addresses {
        Addresses::V4 { source, destination } => {
            sum.push(&source.octets());
            sum.push(&destination.octets());
        }
        Addresses::V6 { source, destination } => {
            sum.push(&source.octets());
            sum.push(&destination.octets());
        }
    }
    sum.push(&[0, UDP]);
    sum.push(&port.to_be_bytes());
    sum.push(&vxlan_header(*vni));
    sum.value()
}

/// The bytes of `header`, filled up with zeros.
fn prefix_of(header: &OuterHeader) -> [u8; PREFIX_BYTES] {
    let mut prefix = [0; PREFIX_BYTES];
    for (to, from) in prefix.iter_mut().zip(header.bytes()) {
        *to = *from;
    }
    prefix
}
