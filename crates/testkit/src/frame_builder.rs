//! Frames as a guest sends them, written by `etherparse`.

use etherparse::checksum::Sum16BitWords;
use etherparse::{NetSlice, PacketBuilder, SlicedPacket, TransportSlice};
use helio_offload::{Checksum, Ecn, Gso, GsoKind, NetHeader};
use helio_types::MacAddr;

/// Where the addresses end and a tag would stand.
const ADDRESSES: usize = 12;

/// A frame with what its sender says about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TestFrame {
    /// All its bytes.
    pub bytes: Vec<u8>,
    /// What is left to be done.
    pub net: NetHeader,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Network {
    V4,
    V6,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Transport {
    Tcp,
    Udp,
}

/// Builds frames: UDP over IPv4 without a tag, unless told otherwise.
#[derive(Clone, Debug)]
pub struct FrameBuilder {
    from: MacAddr,
    to: MacAddr,
    tci: Option<u16>,
    network: Network,
    transport: Transport,
    payload: Vec<u8>,
}

impl FrameBuilder {
    /// A frame from one address to another, without payload.
    #[must_use]
    pub fn new(from: MacAddr, to: MacAddr) -> Self {
        let (network, transport) = (Network::V4, Transport::Udp);
        Self { from, to, tci: None, network, transport, payload: Vec::new() }
    }

    /// With a VLAN tag of this content.
    #[must_use]
    pub fn tagged(mut self, tci: u16) -> Self {
        self.tci = Some(tci);
        self
    }

    /// Over IPv6.
    #[must_use]
    pub fn ipv6(mut self) -> Self {
        self.network = Network::V6;
        self
    }

    /// With TCP.
    #[must_use]
    pub fn tcp(mut self) -> Self {
        self.transport = Transport::Tcp;
        self
    }

    /// With `bytes` bytes of payload that `seed` decides.
    #[must_use]
    pub fn payload(mut self, bytes: usize, seed: u8) -> Self {
        let mut next = u32::from(seed).wrapping_mul(0x9e37_79b9) | 1;
        self.payload.clear();
        self.payload.resize_with(bytes, || {
            next = next.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            next.to_be_bytes()[0]
        });
        self
    }

    /// With complete checksums.
    #[must_use]
    pub fn complete(&self) -> TestFrame {
        let mut bytes = self.untagged();
        if let Some(tci) = self.tci {
            let [high, low] = tci.to_be_bytes();
            bytes.splice(ADDRESSES..ADDRESSES, [0x81, 0, high, low]);
        }
        TestFrame { bytes, net: NetHeader::PLAIN }
    }

    /// With the checksum of the transport left to be done.
    #[must_use]
    pub fn partial(&self) -> TestFrame {
        let TestFrame { mut bytes, .. } = self.complete();
        let start = self.transport_start(&bytes);
        let offset = match self.transport {
            Transport::Tcp => 16,
            Transport::Udp => 6,
        };
        let sum = pseudo_header_sum(&bytes);
        bytes[start + offset..start + offset + 2].copy_from_slice(&sum);
        let (start, offset) = (u16::try_from(start).unwrap(), u16::try_from(offset).unwrap());
        let checksum = Checksum::Partial { start, offset };
        TestFrame { bytes, net: NetHeader { checksum, gso: None } }
    }

    /// To be cut into TCP segments of `segment_bytes` of payload.
    #[must_use]
    pub fn to_segment(&self, segment_bytes: u16) -> TestFrame {
        assert_eq!(self.transport, Transport::Tcp, "only TCP is segmented");
        let mut frame = self.partial();
        let kind = match self.network {
            Network::V4 => GsoKind::Tcp4,
            Network::V6 => GsoKind::Tcp6,
        };
        let header_bytes = u16::try_from(frame.bytes.len() - self.payload.len()).unwrap();
        frame.net.gso = Some(Gso { kind, ecn: Ecn::Absent, segment_bytes, header_bytes });
        frame
    }

    fn untagged(&self) -> Vec<u8> {
        let link = PacketBuilder::ethernet2(self.from.0, self.to.0);
        let network = match self.network {
            Network::V4 => link.ipv4([10, 0, 0, 1], [10, 0, 0, 2], 64),
            Network::V6 => link.ipv6([0xfd; 16], [0xfe; 16], 64),
        };
        let mut bytes = Vec::new();
        let written = match self.transport {
            Transport::Tcp => network
                .tcp(4711, 80, 0xffff_ff00, 1024)
                .ack(1)
                .psh()
                .write(&mut bytes, &self.payload),
            Transport::Udp => network.udp(4711, 53).write(&mut bytes, &self.payload),
        };
        written.expect("the payload fits the length fields");
        bytes
    }

    fn transport_start(&self, bytes: &[u8]) -> usize {
        let header_bytes = match self.transport {
            Transport::Tcp => 20,
            Transport::Udp => 8,
        };
        bytes.len() - self.payload.len() - header_bytes
    }
}

impl TestFrame {
    /// A frame of any bytes.
    #[must_use]
    pub fn raw(bytes: Vec<u8>) -> Self {
        Self { bytes, net: NetHeader::PLAIN }
    }
}

/// The sum of the pseudo-header, as a guest leaves it where the checksum belongs.
fn pseudo_header_sum(frame: &[u8]) -> [u8; 2] {
    let packet = SlicedPacket::from_ethernet(frame).expect("a frame that was just built");
    let (protocol, bytes) = match packet.transport.expect("with a transport") {
        TransportSlice::Tcp(tcp) => (6, tcp.slice().len()),
        TransportSlice::Udp(udp) => (17, udp.slice().len()),
        _ => unreachable!("only TCP and UDP are built"),
    };
    let mut sum = Sum16BitWords::new();
    let sum = match packet.net.expect("with a network") {
        NetSlice::Ipv4(ip) => {
            sum.add_4bytes(ip.header().source()).add_4bytes(ip.header().destination())
        }
        NetSlice::Ipv6(ip) => {
            sum.add_16bytes(ip.header().source()).add_16bytes(ip.header().destination())
        }
        NetSlice::Arp(_) => unreachable!("only IP is built"),
    };
    let mut sum = sum.add_2bytes([0, protocol]);
    let sum = sum.add_4bytes(u32::try_from(bytes).unwrap().to_be_bytes());
    // The library hands out the complement, in memory order.
    (!sum.ones_complement()).to_ne_bytes()
}
