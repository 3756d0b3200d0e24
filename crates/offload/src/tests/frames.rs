//! TCP frames described by etherparse's types, and written by etherparse.

use etherparse::checksum::Sum16BitWords;
use etherparse::{
    EtherType, Ethernet2Header, IpHeaders, IpNumber, Ipv4Extensions, Ipv4Header, Ipv6Extensions,
    Ipv6FlowLabel, Ipv6Header, Ipv6RawExtHeader, Ipv6RoutingExtensions, TcpHeader,
};

use crate::{
    Offloads, RawNetHeader, VIRTIO_NET_HDR_F_NEEDS_CSUM, VIRTIO_NET_HDR_GSO_TCPV4,
    VIRTIO_NET_HDR_GSO_TCPV6,
};

/// Length of the private head in the worker.
pub(super) const HEAD_BYTES: usize = 128;

pub(super) fn everything() -> Offloads {
    Offloads::CSUM.union(Offloads::TSO4).union(Offloads::TSO6).union(Offloads::ECN)
}

/// A TCP frame with any number of payload bytes.
#[derive(Clone, Debug)]
pub(super) struct TcpFrame {
    /// Type and content of each tag, outermost first.
    pub(super) tags: Vec<(u16, u16)>,
    pub(super) ip: IpHeaders,
    pub(super) tcp: TcpHeader,
    pub(super) payload: Vec<u8>,
}

pub(super) fn payload(bytes: usize) -> Vec<u8> {
    let mut state = 0x1234_5678_u32;
    std::iter::repeat_with(|| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        state.to_be_bytes()[0]
    })
    .take(bytes)
    .collect()
}

fn tcp() -> TcpHeader {
    let mut tcp = TcpHeader::new(40_000, 80, 0x1000_0000, 0x7210);
    tcp.ack = true;
    tcp.acknowledgment_number = 0x2222_3333;
    tcp
}

impl TcpFrame {
    pub(super) fn v4(payload_bytes: usize) -> Self {
        let mut ip =
            Ipv4Header::new(0, 64, IpNumber::TCP, [10, 1, 2, 3], [192, 168, 255, 254]).unwrap();
        ip.identification = 0x00ff;
        let ip = IpHeaders::Ipv4(ip, Ipv4Extensions::default());
        Self { tags: vec![], ip, tcp: tcp(), payload: payload(payload_bytes) }
    }

    pub(super) fn v6(payload_bytes: usize) -> Self {
        let mut source = [0xfe; 16];
        source[15] = 1;
        let ip = Ipv6Header {
            flow_label: Ipv6FlowLabel::try_new(0xabcde).unwrap(),
            next_header: IpNumber::TCP,
            hop_limit: 64,
            source,
            destination: [0x20; 16],
            ..Ipv6Header::default()
        };
        let ip = IpHeaders::Ipv6(ip, Ipv6Extensions::default());
        Self { tags: vec![], ip, tcp: tcp(), payload: payload(payload_bytes) }
    }

    pub(super) fn tagged(mut self, tags: &[(u16, u16)]) -> Self {
        self.tags = tags.to_vec();
        self
    }

    /// Hop-by-hop options (a pad), a routing header that is done, and destination options.
    pub(super) fn with_extensions(mut self) -> Self {
        let pad = || Ipv6RawExtHeader::new_raw(IpNumber::TCP, &[1, 4, 0, 0, 0, 0]).unwrap();
        let routing = Ipv6RawExtHeader::new_raw(IpNumber::TCP, &[4, 0, 0, 0, 0, 0]).unwrap();
        if let IpHeaders::Ipv6(_, extensions) = &mut self.ip {
            extensions.hop_by_hop_options = Some(pad());
            extensions.routing =
                Some(Ipv6RoutingExtensions { routing, final_destination_options: Some(pad()) });
        }
        self.ip.set_next_headers(IpNumber::TCP);
        self
    }

    /// 40 bytes of IPv4 options: the most there can be.
    pub(super) fn with_ip_options(mut self) -> Self {
        if let IpHeaders::Ipv4(ip, _) = &mut self.ip {
            let mut options = [1; 40];
            options[0..4].copy_from_slice(&[0x94, 4, 0, 0]);
            ip.options = options.into();
        }
        self
    }

    /// `bytes` of TCP options that are not all alike.
    pub(super) fn with_tcp_options(mut self, bytes: usize) -> Self {
        let options: Vec<u8> =
            [8, 10, 1, 2, 3, 4, 5, 6, 7, 8, 1, 1].into_iter().cycle().take(bytes).collect();
        self.tcp.set_options_raw(&options).unwrap();
        self
    }

    pub(super) fn is_v4(&self) -> bool {
        matches!(self.ip, IpHeaders::Ipv4(..))
    }

    pub(super) fn link_bytes(&self) -> usize {
        14 + 4 * self.tags.len()
    }

    pub(super) fn tcp_start(&self) -> usize {
        self.link_bytes() + self.ip.header_len()
    }

    pub(super) fn header_bytes(&self) -> usize {
        self.tcp_start() + self.tcp.header_len()
    }

    /// The frame with these headers as they are, but for the lengths in IP and the IPv4 checksum.
    pub(super) fn write(&self) -> Vec<u8> {
        let network = if self.is_v4() { EtherType::IPV4 } else { EtherType::IPV6 };
        let first = self.tags.first().map_or(network, |tag| EtherType(tag.0));
        let mut bytes = Vec::new();
        Ethernet2Header {
            source: [2, 0, 0, 0, 0, 1],
            destination: [2, 0, 0, 0, 0, 2],
            ether_type: first,
        }
        .write(&mut bytes)
        .unwrap();
        for (index, (_, content)) in self.tags.iter().enumerate() {
            let inner = self.tags.get(index + 1).map_or(network.0, |tag| tag.0);
            bytes.extend(content.to_be_bytes());
            bytes.extend(inner.to_be_bytes());
        }
        let mut ip = self.ip.clone();
        ip.set_payload_len(self.tcp.header_len() + self.payload.len()).unwrap();
        if let IpHeaders::Ipv4(header, _) = &mut ip {
            header.header_checksum = header.calc_header_checksum();
        }
        ip.write(&mut bytes).unwrap();
        self.tcp.write(&mut bytes).unwrap();
        bytes.extend(&self.payload);
        bytes
    }

    pub(super) fn with_partial_checksum(mut self) -> Self {
        let tcp_bytes = u32::try_from(self.tcp.header_len() + self.payload.len()).unwrap();
        let sum = match &self.ip {
            IpHeaders::Ipv4(ip, _) => {
                Sum16BitWords::new().add_4bytes(ip.source).add_4bytes(ip.destination)
            }
            IpHeaders::Ipv6(ip, _) => {
                Sum16BitWords::new().add_16bytes(ip.source).add_16bytes(ip.destination)
            }
        };
        let sum = sum.add_2bytes([0, 6]).add_4bytes(tcp_bytes.to_be_bytes());
        self.tcp.checksum = !sum.ones_complement().to_be();
        self
    }

    pub(super) fn with_complete_checksum(mut self) -> Self {
        self.tcp.checksum = match &self.ip {
            IpHeaders::Ipv4(ip, _) => self.tcp.calc_checksum_ipv4(ip, &self.payload).unwrap(),
            IpHeaders::Ipv6(ip, _) => self.tcp.calc_checksum_ipv6(ip, &self.payload).unwrap(),
        };
        self
    }

    /// The net header of a guest that leaves checksum and segmentation to us, with a `hdr_len` that is
    /// wrong.
    pub(super) fn raw(&self, gso_size: u16) -> RawNetHeader {
        let gso_type =
            if self.is_v4() { VIRTIO_NET_HDR_GSO_TCPV4 } else { VIRTIO_NET_HDR_GSO_TCPV6 };
        RawNetHeader {
            flags: VIRTIO_NET_HDR_F_NEEDS_CSUM,
            gso_type,
            hdr_len: 0xdead,
            gso_size,
            csum_start: u16::try_from(self.tcp_start()).unwrap(),
            csum_offset: 16,
            num_buffers: 0,
        }
    }
}

/// One frame of each kind of headers.
pub(super) fn kinds(payload_bytes: usize) -> Vec<TcpFrame> {
    let v4 = || TcpFrame::v4(payload_bytes);
    let v6 = || TcpFrame::v6(payload_bytes);
    vec![
        v4(),
        v6(),
        v4().with_tcp_options(12),
        v6().with_tcp_options(20),
        v4().with_ip_options().with_tcp_options(32),
        v6().with_extensions(),
        v4().tagged(&[(0x8100, 0x600a)]),
        v6().tagged(&[(0x8100, 0x0fff)]),
        v4().tagged(&[(0x88a8, 7), (0x8100, 9)]),
        v6().with_extensions().tagged(&[(0x88a8, 7), (0x8100, 9)]),
    ]
}
