//! UDP and VXLAN: their numbers. RFC 768; RFC 7348, section 5.

use crate::Vni;

/// UDP in the protocol field of IP.
pub(crate) const UDP: u8 = 17;
/// Two ports, length and checksum.
pub(crate) const UDP_BYTES: usize = 8;
/// Flags, network identifier and what is reserved.
pub(crate) const VXLAN_BYTES: usize = 8;
/// The network identifier is valid. All other flags are zero, and not looked at.
pub(crate) const VALID_VNI: u8 = 0x08;

/// The port that VXLAN has at IANA.
pub const VXLAN_PORT: u16 = 4789;

/// The VXLAN header.
pub(crate) const fn vxlan_header(vni: Vni) -> [u8; VXLAN_BYTES] {
    let [_, a, b, c] = vni.get().to_be_bytes();
    [VALID_VNI, 0, 0, 0, a, b, c, 0]
}

/// The port that copies of a flow come from: one of the dynamic ports, so that the flows of a session spread over the
/// ways of the network and the cores of the collector. RFC 7348, section 5.
pub(crate) const fn source_port(flow_hash: u32) -> u16 {
    let [_, _, low @ ..] = flow_hash.to_be_bytes();
    0xc000 | (u16::from_be_bytes(low) & 0x3fff)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_flow_comes_from_a_dynamic_port() {
        assert_eq!(source_port(0), 49_152);
        assert_eq!(source_port(u32::MAX), 65_535);
        assert_eq!(source_port(0x1234_4001), 49_153);
    }
}
