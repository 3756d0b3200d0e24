//! Mirror streams as other switches send them, written byte by byte and with mistakes on request.

/// An IPv4 datagram in a frame.
#[derive(Clone, Debug)]
pub struct Datagram {
    pub to_mac: [u8; 6],
    pub to: [u8; 4],
    pub from: [u8; 4],
    /// Version and length of the header.
    pub first: u8,
    /// Flags and fragment offset.
    pub fragment: u16,
    pub protocol: u8,
    /// What is added to the length that is right.
    pub length_lie: i16,
    /// Added to the checksum that is right.
    pub sum_lie: u16,
    pub payload: Vec<u8>,
}

impl Datagram {
    pub fn new(to_mac: [u8; 6], protocol: u8, payload: Vec<u8>) -> Self {
        Self {
            to_mac,
            to: [10, 9, 0, 2],
            from: [10, 9, 0, 9],
            first: 0x45,
            fragment: 0,
            protocol,
            length_lie: 0,
            sum_lie: 0,
            payload,
        }
    }

    pub fn frame(&self) -> Vec<u8> {
        let length = (20 + self.payload.len() as u16).wrapping_add_signed(self.length_lie);
        let mut ip = vec![self.first, 0];
        ip.extend(length.to_be_bytes());
        ip.extend([0, 1]);
        ip.extend(self.fragment.to_be_bytes());
        ip.extend([64, self.protocol, 0, 0]);
        ip.extend(self.from);
        ip.extend(self.to);
        let sum: u32 =
            ip.chunks(2).map(|pair| u32::from(u16::from_be_bytes([pair[0], pair[1]]))).sum();
        let sum = !((sum & 0xffff) + (sum >> 16)) as u16;
        ip[10..12].copy_from_slice(&sum.wrapping_add(self.sum_lie).to_be_bytes());
        let link = [&self.to_mac[..], &[2, 0, 0, 0, 0, 9], &[8, 0]].concat();
        [link, ip, self.payload.clone()].concat()
    }
}

/// GRE with a number, ERSPAN type II with this session, and a frame.
pub fn erspan_2(session: u16, number: u32, inner: &[u8]) -> Vec<u8> {
    let gre = [&[0x10, 0, 0x88, 0xbe][..], &number.to_be_bytes()].concat();
    let session = (session & 0x3ff).to_be_bytes();
    [&gre[..], &[0x10, 0], &session, &[0; 4], inner].concat()
}

/// UDP to this port, VXLAN with these flags, and a frame.
pub fn vxlan(port: u16, flags: u8, inner: &[u8]) -> Vec<u8> {
    let length = (16 + inner.len() as u16).to_be_bytes();
    let udp = [&[0xc0, 0][..], &port.to_be_bytes(), &length, &[0, 0]].concat();
    [&udp[..], &[flags, 0, 0, 0, 0, 0, 9, 0], inner].concat()
}
